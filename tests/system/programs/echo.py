"""echo.py ADDRESS PORT: answers each UDP datagram with the address and port it came from. Prints a line when it listens."""

import socket
import sys

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind((sys.argv[1], int(sys.argv[2])))
print("listens", flush=True)
while True:
    data, peer = s.recvfrom(65536)
    s.sendto(data + f" {peer[0]}:{peer[1]}".encode(), peer)
