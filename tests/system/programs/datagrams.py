"""datagrams.py ADDRESS PORT BYTES...: datagrams of these sizes without DF to echo.py, one after the other from one socket,
each until it comes back; at most 8 times.
"""

import os
import socket
import sys
import time

IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
s.connect((sys.argv[1], int(sys.argv[2])))


def answered(data):
    """Within a second; a refusal may be the answer to an earlier one."""
    deadline = time.monotonic() + 1
    while (left := deadline - time.monotonic()) > 0:
        s.settimeout(left)
        try:
            if s.recv(65536).startswith(data):
                return True
        except OSError:
            pass
    return False


def comes_back(size):
    data = os.urandom(size)
    for _ in range(8):
        try:
            s.send(data)
        except ConnectionRefusedError:  # said of one before: this one was not sent
            s.send(data)
        if answered(data):
            return True
    return False


for word in sys.argv[3:]:
    if not comes_back(int(word)):
        sys.exit(f"no answer to {word} bytes")
