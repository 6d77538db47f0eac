"""flood.py SECONDS: new flows as fast as one process can, from random ports to random servers and ports: a UDP datagram and a
TCP SYN in turn, each of a flow of its own. Prints how many."""

import random
import socket
import struct
import sys
import time

seconds = float(sys.argv[1])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect(("203.0.113.13", 9))
    source = socket.inet_aton(probe.getsockname()[0])


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(n):
    protocol = socket.IPPROTO_TCP if n % 2 else socket.IPPROTO_UDP
    target = bytes((203, 0, 113, random.randrange(20, 250)))
    ports = struct.pack("!HH", random.randrange(1024, 65536), random.randrange(1, 65536))
    if protocol == socket.IPPROTO_TCP:
        body = ports + struct.pack("!IIBBHHH", random.getrandbits(32), 0, 5 << 4, 2, 65535, 0, 0)
        pseudo = source + target + struct.pack("!BBH", 0, protocol, len(body))
        body = body[:16] + struct.pack("!H", checksum(pseudo + body)) + body[18:]
    else:
        body = ports + struct.pack("!HH", 8, 0)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + source + target + body, target


sent, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    for _ in range(64):
        data, target = packet(sent)
        try:
            raw.sendto(data, (socket.inet_ntoa(target), 0))
            sent += 1
        except OSError:  # the device's queue is full
            time.sleep(0.001)
print(sent)
