"""httpd.py ADDRESS PORT: GET /N gives N bytes, always the same ones, GET /me the client's address:port;
PUT answers with the SHA-256 of what it got.

Prints a line when it listens.
"""

import hashlib
import random
import socketserver
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/me":
            self.answer("{}:{}".format(*self.client_address).encode())
            return
        self.answer(random.Random(1).randbytes(int(self.path[1:] or 0)))

    def do_PUT(self):
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            got = self.rfile.read(min(left, 65536))
            if not got:
                return
            digest.update(got)
            left -= len(got)
        self.answer(digest.hexdigest().encode())

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the DNS for our name


server = Server((sys.argv[1], int(sys.argv[2])), Handler)
print("listens", flush=True)
server.serve_forever()
