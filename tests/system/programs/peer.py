"""peer.py ADDRESS PORT: one UDP socket, told line by line what to do; each line is answered by one.

    stun ADDRESS PORT        its endpoint as a STUN server sees it (RFC 5389 binding), "address port", or "-"
    send ADDRESS PORT TEXT   "sent"
    receive SECONDS          "address port text" of the next datagram, or "-"
"""

import os
import socket
import struct
import sys
import time

BINDING, SUCCESS, COOKIE, XOR_MAPPED_ADDRESS = 0x0001, 0x0101, 0x2112A442, 0x0020
TRIES = 8

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))


def attributes(message):
    at = 20
    while at + 4 <= len(message):
        kind, size = struct.unpack_from("!HH", message, at)
        yield kind, message[at + 4:at + 4 + size]
        at += 4 + (size + 3) // 4 * 4


def mapped(message):
    for kind, value in attributes(message):
        if kind == XOR_MAPPED_ADDRESS:
            _, _, port, address = struct.unpack("!BBHI", value)
            return f"{socket.inet_ntoa(struct.pack('!I', address ^ COOKIE))} {port ^ COOKIE >> 16}"
    return "-"


def stun(address, port):
    for _ in range(TRIES):
        request = struct.pack("!HHI", BINDING, 0, COOKIE) + os.urandom(12)
        s.sendto(request, (address, int(port)))
        deadline = time.monotonic() + 1
        while (left := deadline - time.monotonic()) > 0:
            s.settimeout(left)
            try:
                got, _ = s.recvfrom(2048)
            except OSError:
                continue
            if got[:2] == struct.pack("!H", SUCCESS) and got[4:20] == request[4:20]:
                return mapped(got)
    return "-"


def send(address, port, text):
    s.sendto(text.encode(), (address, int(port)))
    return "sent"


def receive(seconds):
    """A STUN server that was asked twice answers twice: that is nobody's message."""
    deadline = time.monotonic() + float(seconds)
    while (left := deadline - time.monotonic()) > 0:
        s.settimeout(left)
        try:
            data, (address, port) = s.recvfrom(65536)
        except OSError:
            continue
        if data[4:8] != struct.pack("!I", COOKIE):
            return f"{address} {port} {data.decode()}"
    return "-"


for line in sys.stdin:
    verb, *words = line.split()
    print({"stun": stun, "send": send, "receive": receive}[verb](*words), flush=True)
