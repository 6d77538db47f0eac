"""Beyond: what lies behind the router outside, for tests of paths that are longer than one hop.

    inet 192.0.2.1 ── MTU 1200 ── 192.0.2.2 router 192.0.2.5 ── MTU 1500 ── 192.0.2.6 far

The two namespaces are the lab's like the others: `lab.exec("far", ...)`, and gone with it.
"""

import random
import re
import select
import subprocess
import sys

from corenat_lab import topology
from corenat_lab.process import tool
from harness import LabCase, PROGRAMS, await_line, sha256

SMALL_MTU = 1200
ROUTER = "192.0.2.2"
FAR = "192.0.2.6"

# Ports in order do not choose where replies land: about half of them come to the engine that did not make the session.
EITHER_ENGINE = {"nat": {"ports": "ordered"}}


def build(lab):
    spaces = lab.state["namespaces"]
    for name in ("router", "far"):
        spaces[name] = f"{lab.state['id']}-{name}"
        lab.state.save()
        tool(["ip", "netns", "add", spaces[name]])
        topology.calm(spaces[name], forward=name == "router")
        topology.ip(spaces[name], ["link set lo up"])
    link(spaces, ("inet", "beyond", "192.0.2.1/30"), ("router", "near", f"{ROUTER}/30"), SMALL_MTU)
    link(spaces, ("router", "beyond", "192.0.2.5/30"), ("far", "near", f"{FAR}/30"), topology.MTU)
    topology.ip(spaces["inet"], ["route add 192.0.2.4/30 via 192.0.2.2"])
    topology.ip(spaces["router"], ["route add default via 192.0.2.1"])
    topology.ip(spaces["far"], ["route add default via 192.0.2.5"])
    # Routers answer every traceroute that asks, not one a second.
    for name in ("inet", "router", "far"):
        tool(["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0"], spaces[name])
    tool(["sysctl", "-qw", "net.ipv4.ip_forward=1"], spaces["inet"])


def link(spaces, one, other, mtu):
    (space, device, _), (peer_space, peer, _) = one, other
    tool(["ip", "link", "add", device, "netns", spaces[space], "mtu", str(mtu), "type", "veth", "peer", "name", peer,
          "netns", spaces[peer_space], "mtu", str(mtu)])
    for name, end, address in (one, other):
        topology.whole_packets(spaces[name], end)
        topology.ip(spaces[name], [f"addr add {address} dev {end}", f"link set {end} up"])


class Peer:
    """A UDP socket of somebody's; see programs/peer.py."""

    def __init__(self, lab, name, address, port):
        self._child = lab.popen(name, [sys.executable, PROGRAMS / "peer.py", address, str(port)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

    def _ask(self, *words):
        self._child.stdin.write(" ".join(map(str, words)) + "\n")
        self._child.stdin.flush()
        if not select.select([self._child.stdout], [], [], 30)[0]:
            raise AssertionError("peer.py says nothing")
        return self._child.stdout.readline().split()

    def endpoint(self, server):
        """(address, port) that a STUN server sees; None: it did not answer."""
        got = self._ask("stun", *server)
        return (got[0], int(got[1])) if len(got) == 2 else None

    def send(self, to, text):
        self._ask("send", *to, text)

    def receive(self, limit_s=1):
        """((address, port), text), or None when nothing came."""
        got = self._ask("receive", limit_s)
        return ((got[0], int(got[1])), got[2]) if len(got) == 3 else None

    def close(self):
        self._child.stdin.close()
        self._child.wait(10)
        self._child.stdout.close()


class EitherEngine:
    """With EITHER_ENGINE: all tests of the class again, and one that replies do land on the other engine."""

    def test_replies_land_on_either_engine(self):
        before = self.total("replies_away")
        self.assertTrue(all(self.flows("sub1", 100).exchange().values()))
        self.assertGreaterEqual(self.total("replies_away") - before, 20)


class BeyondCase(LabCase):
    """Two engines, a path behind the router, and programs that serve until the test's end."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        build(cls.lab)

    def serve(self, name, *argv):
        """A program of programs/ that says a line when it is ready."""
        child = self.lab.popen(name, [sys.executable, PROGRAMS / argv[0], *map(str, argv[1:])], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        self.assertIn(await_line(child, f"{argv[0]} in {name}"), ("listens", "up"), f"{argv[0]} in {name}")

    def peer(self, name, address="0.0.0.0", port=0):
        peer = Peer(self.lab, name, address, port)
        self.addCleanup(peer.close)
        return peer

    def forget_paths(self, *names):
        """What was learnt of path MTUs, and of TCP peers."""
        for name in names:
            tool(["ip", "route", "flush", "cache"], self.lab.netns(name))
            tool(["ip", "tcp_metrics", "flush", "all"], self.lab.netns(name))

    def path_mtu(self, name, destination):
        """What the kernel of a namespace has learnt of the way; None: nothing."""
        found = re.search(r"\bmtu (\d+)", self.out(name, ["ip", "route", "get", destination]))
        return int(found[1]) if found else None

    def fetch(self, name, url, size):
        file = self.tmp / f"{name}.fetched"
        self.out(name, ["curl", "-sS", "-f", "-m", "40", "-o", file, f"{url}/{size}"])
        self.assertEqual(file.read_bytes(), random.Random(1).randbytes(size), f"{name} from {url}")

    def store(self, name, url, size):
        file = self.tmp / f"{name}.stored"
        file.write_bytes(random.Random(2).randbytes(size))
        said = self.out(name, ["curl", "-sS", "-f", "-m", "40", "-T", file, f"{url}/"])
        self.assertEqual(said, sha256(file), f"{name} to {url}")
