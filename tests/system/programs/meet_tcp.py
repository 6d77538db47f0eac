"""meet_tcp.py ADDRESS PORT REMOTE PORT TEXT: a TCP connection from exactly there; prints what the other end says in exchange
for TEXT. Exit status 1 and the reason when it cannot be opened.
"""

import socket
import sys

address, port, remote, remote_port, text = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.settimeout(20)
try:
    s.bind((address, int(port)))
    s.connect((remote, int(remote_port)))
    s.sendall(text.encode())
    s.shutdown(socket.SHUT_WR)
    print(s.makefile().read())
except OSError as e:
    sys.exit(str(e))
