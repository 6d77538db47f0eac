"""flows.py ADDRESS PORT LOCAL...: UDP sockets of these local ports towards echo.py.

For each line of standard input, a number of tries of a second each: sends on every socket, waits for the answers, and
prints one line of JSON: "sent", datagrams so far, and "seen": local port to the address:port the server saw, or null.
The same sockets serve all lines.
"""

import json
import select
import socket
import sys
import time

address, port, local = sys.argv[1], int(sys.argv[2]), [int(a) for a in sys.argv[3:]]
sockets = {}
sent = 0
for a in local:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", a))
    s.connect((address, port))
    sockets[s] = a


def send(s, data):
    try:
        s.send(data)
    except ConnectionRefusedError:  # said of one before: this one was not sent
        s.send(data)


def exchange(serial, tries):
    global sent
    seen = {}
    for _ in range(tries):
        for k, s in enumerate(s for s in sockets if s not in seen):
            send(s, f"{serial}".encode())
            sent += 1
            if k % 32 == 31:
                time.sleep(0.002)  # in gusts that any ring holds
        deadline = time.monotonic() + 1
        while len(seen) < len(sockets) and (left := deadline - time.monotonic()) > 0:
            for s in select.select([s for s in sockets if s not in seen], [], [], left)[0]:
                try:
                    number, peer = s.recv(2048).decode().split()
                except OSError:  # refused: the next try tells
                    continue
                if int(number) == serial:  # not the late answer of a line before
                    seen[s] = peer
    return {sockets[s]: seen.get(s) for s in sockets}


for i, line in enumerate(sys.stdin):
    print(json.dumps({"seen": exchange(i, int(line)), "sent": sent}), flush=True)
