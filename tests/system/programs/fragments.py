"""fragments.py PROTOCOL SOURCE DESTINATION BYTES ORDER...: one ICMP echo, or UDP datagram to port 7007, sent in fragments
of 1000 bytes, in the order given by their numbers, until it is answered; at most 8 times. Exit status 0 if it was.
"""

import os
import socket
import struct
import sys
import time

PIECE = 1000  # a multiple of 8
MORE = 0x2000
PORT = 7007

protocol, source, destination, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
order = [int(a) for a in sys.argv[5:]]
number = socket.IPPROTO_ICMP if protocol == "icmp" else socket.IPPROTO_UDP


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def echo(data):
    head = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xffff, 1)
    return head[:2] + struct.pack("!H", checksum(head + data)) + head[4:] + data


def datagram(data, port):
    head = struct.pack("!HHHH", port, PORT, 8 + len(data), 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!HH", number, 8 + len(data))
    return head[:6] + struct.pack("!H", checksum(pseudo + head + data) or 0xffff) + data


def fragments(body):
    ident = int.from_bytes(os.urandom(2), "big") | 1
    for at in range(0, len(body), PIECE):
        piece = body[at:at + PIECE]
        more = MORE if at + PIECE < len(body) else 0
        yield struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(piece), ident, more | at // 8, 64, number, 0,
                          socket.inet_aton(source), socket.inet_aton(destination)) + piece


data = os.urandom(size & ~1)
if protocol == "icmp":
    answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    body = echo(data)
else:
    answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answers.bind((source, 0))
    body = datagram(data, answers.getsockname()[1])
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def answered():
    deadline = time.monotonic() + 1
    while (left := deadline - time.monotonic()) > 0:
        answers.settimeout(left)
        try:
            got = answers.recv(65536)
        except OSError:
            continue
        if protocol == "udp" and got.startswith(data[:1000]):
            return True
        if protocol == "icmp" and got[20] == 0 and got[24:] == body[4:]:  # an echo reply of ours
            return True
    return False


for _ in range(8):
    pieces = list(fragments(body))
    for i in order or range(len(pieces)):
        out.sendto(pieces[i], (destination, 0))
    if answered():
        sys.exit(0)
sys.exit(f"not answered: {protocol} in the order {order}")
