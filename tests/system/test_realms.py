"""Subscribers with the same address behind two VLANs and behind none, all at once."""

import pathlib
import subprocess
import time

from corenat_lab import services, topology
from harness import LabCase, sha256

SAME = ["sub1", "realm-a", "realm-b"]
REALM = {"sub1": 0, "realm-a": 100, "realm-b": 200}
SERVER = services.HTTP[0]
PORT = 5000  # of all three at once; one that no other socket is given


class Realms(LabCase):
    OPTIONS = {"subs": 1, "config": str(pathlib.Path(__file__).with_name("realms.json"))}

    def test_pages_for_all_at_once(self):
        wire = self.lab.wire()["private"]
        children = {name: self.lab.popen(
            name, ["curl", "-sS", "-f", "-m", "60", "--local-port", str(PORT), "--limit-rate", "4M", "-o",
                   str(self.tmp / name), f"http://{SERVER}/large.bin"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for name in SAME}
        while any(c.poll() is None for c in children.values()):
            rows = self.sessions(inside=f"{topology.subscriber(1)}:{PORT}", protocol="tcp")
            if len(rows) == len(SAME):
                break
            time.sleep(0.05)
        self.assertEqual(sorted(r["realm"] for r in rows), [0, 100, 200], "sessions of one inside endpoint")
        self.assertEqual(len({r["nat"] for r in rows}), len(SAME), "NAT endpoints")
        for name, child in children.items():
            _, err = child.communicate(timeout=90)
            self.assertEqual(child.returncode, 0, f"{name}: {err}")
            self.assertEqual(sha256(self.tmp / name), sha256(self.lab.state.dir / "www/large.bin"))
        self.assertEqual(self.lab.wire()["private"], wire, "private sources on the wire")

    def test_sessions_are_listed_by_realm(self):
        for name in SAME:
            self.assert_page(name)
            self.assertTrue(all(r["realm"] == REALM[name] for r in self.sessions(realm=REALM[name])))
            self.assertTrue(self.sessions(realm=REALM[name]))

    def test_fragments(self):
        for name in SAME:
            self.out(name, ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-s", "4000", SERVER])

    def test_errors_come_back(self):
        """The appliance's own, and that of a closed port."""
        for name in SAME:
            done = self.lab.exec(name, ["ping", "-n", "-c", "1", "-W", "10", "-t", "1", SERVER], capture_output=True, text=True)
            self.assertIn(f"From {topology.INSIDE_GATEWAY} ", done.stdout, name)
            done = self.lab.exec(name, ["python3", "-c", "import socket; s = socket.socket(type=socket.SOCK_DGRAM); "
                                        f"s.settimeout(5); s.connect(('{SERVER}', 9)); s.send(b'x'); s.recv(1)"],
                                 capture_output=True, text=True)
            self.assertIn("ConnectionRefusedError", done.stderr, name)
