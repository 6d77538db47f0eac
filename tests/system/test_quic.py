"""QUIC through two engines: downloads, a client that moves to another port, a path whose MTU has to be found, a server
inside."""

import os
import pathlib
import shutil
import time

from beyond import BeyondCase, EITHER_ENGINE, EitherEngine, FAR
from corenat_lab import services, topology
from corenat_lab.process import tool
from harness import sha256, wait_for

PORT = 4433
PUBLISHED = "198.51.100.14"  # sub2's address outside, 1:1
CONFIG = {"static": [{"protocol": "any", "inside": topology.subscriber(2), "nat": PUBLISHED}]}
SERVER = "/usr/sbin/gtlsserver"
SIZE = 3_000_000


class Quic(BeyondCase):
    OPTIONS = {"subs": 3, "config": CONFIG}

    def setUp(self):
        if not shutil.which("gtlsclient") or not os.path.exists(SERVER):
            self.skipTest("ngtcp2 is not installed")

    def server(self, name, address):
        """An HTTP/3 server with one large file."""
        root = self.tmp / f"htdocs-{name}"
        root.mkdir(exist_ok=True)
        (root / "file").write_bytes(os.urandom(SIZE))
        key, cert = self.tmp / "quic.key", self.tmp / "quic.crt"
        if not key.exists():
            tool(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-days", "2", "-subj", "/CN=quic", "-keyout", key, "-out", cert])
        self.background(name, [SERVER, "-q", "-d", root, address, str(PORT), key, cert])
        wait_for("it listens", lambda: f"{address}:{PORT}" in self.out(name, ["ss", "-Hlnu"]))
        return root / "file"

    def download(self, sub, address, *how):
        """Returns what was downloaded, and what the client says."""
        into = self.tmp / f"{sub}-{time.monotonic_ns()}"
        into.mkdir()
        said = self.said(sub, ["gtlsclient", "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close",
                              "--timeout=20s", "--download", into, *how, address, str(PORT), "https://quic/file"])
        return pathlib.Path(into / "file"), said

    def said(self, name, argv):
        """Of a program that says everything on standard error."""
        return self.out(name, ["sh", "-c", '"$@" 2>&1', "sh", *map(str, argv)])

    def assert_same(self, got, file):
        self.assertEqual(sha256(got), sha256(file), "other bytes than the server's")

    def test_downloads(self):
        file = self.server("inet", services.HTTP[0])
        for sub in ("sub1", "sub2", "sub3"):
            for _ in range(3):
                self.assert_same(self.download(sub, services.HTTP[0])[0], file)
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)

    def test_over_a_small_link(self):
        """The least that QUIC can do with: its first packets are of 1,228 bytes, and must not be cut (RFC 9000 §14)."""
        file = self.server("far", FAR)
        tool(["ip", "link", "set", "beyond", "mtu", "1300"], self.lab.netns("inet"))
        tool(["ip", "link", "set", "near", "mtu", "1300"], self.lab.netns("router"))
        self.forget_paths("sub1", "inet", "far")
        self.assert_same(self.download("sub1", FAR)[0], file)

    def test_a_client_that_moves(self):
        """To another local port, in the middle: for the NAT a new flow, for QUIC the same connection."""
        file = self.server("inet", services.HTTP[0])
        for sub in ("sub1", "sub2"):
            got, said = self.download(sub, services.HTTP[0], "--change-local-addr=20ms")
            self.assert_same(got, file)
            self.assertIn("Local address is now", said)

    def test_a_server_inside(self):
        file = self.server("sub2", topology.subscriber(2))
        self.assert_same(self.download("inet", PUBLISHED)[0], file)
        self.assert_same(self.download("sub1", PUBLISHED)[0], file)  # through hairpin


class QuicOfEither(EitherEngine, Quic):
    OPTIONS = {"subs": 3, "config": {**CONFIG, **EITHER_ENGINE}}
