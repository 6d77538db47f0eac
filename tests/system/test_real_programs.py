"""Programs people look for trouble with, and what they run: traceroute, mtr, ping, tracepath, curl, OpenVPN, through two
engines and over a path of several routers."""

import json
import re
import sys

from beyond import BeyondCase, EITHER_ENGINE, EitherEngine, FAR, ROUTER, SMALL_MTU
from corenat_lab import config, rss, services, topology
from corenat_lab.process import tool
from harness import ECHO, PROGRAMS, wait_for

PUBLISHED = "198.51.100.14"  # sub2's address outside, 1:1
CONFIG = {"static": [{"protocol": "any", "inside": topology.subscriber(2), "nat": PUBLISHED}]}
PATH = [topology.INSIDE_GATEWAY, topology.OUTSIDE_INET, ROUTER, FAR]
WEB = f"http://{FAR}:8080"


class Paths(BeyondCase):
    OPTIONS = {"subs": 4, "config": CONFIG}
    SUBS = [f"sub{k}" for k in range(1, 5)]

    # ---- the hops ----

    def hops(self, sub, *how):
        """Address by address, as traceroute lists them; those that kept silent are '*'."""
        # One probe at a time (-N): with more under way the program now and then overlooks answers it has received.
        said = self.out(sub, ["traceroute", "-n", "-q", "2", "-N", "1", "-w", "3", "-m", "8", *how, FAR])
        return [re.match(r" *\d+ +(\S+)", line)[1] for line in said.splitlines()[1:]]

    def test_traceroute_shows_the_nat_in_its_place(self):
        for how in (["-U"], [], ["-I"], ["-T", "-p", "9"]):
            for sub in self.SUBS:
                with self.subTest(how=how, sub=sub):
                    self.assertEqual(self.hops(sub, *how), PATH)

    def test_mtr_shows_the_nat_in_its_place(self):
        for how in ([], ["-u"]):
            with self.subTest(how=how):
                said = self.out("sub1", ["mtr", "-n", "-j", "-c", "3", "-i", "0.3", "-G", "4", *how, FAR])
                hubs = json.loads(said)["report"]["hubs"]
                self.assertEqual([h["host"] for h in hubs], PATH)
                self.assertEqual([h["Loss%"] for h in hubs], [0] * len(PATH))

    def test_traceroute_from_outside_to_a_published_address(self):
        said = self.out("far", ["traceroute", "-n", "-q", "2", "-N", "1", "-w", "3", "-m", "8", "-I", PUBLISHED])
        found = [re.match(r" *\d+ +(\S+)", line)[1] for line in said.splitlines()[1:]]
        self.assertEqual(found, ["192.0.2.5", "192.0.2.1", topology.OUTSIDE_CGN, PUBLISHED])

    # ---- fragments ----

    def ping(self, name, to, *how):
        said = self.out(name, ["ping", "-n", "-c", "4", "-i", "0.2", "-W", "3", *how, to])
        self.assertIn("4 received", said)

    def test_large_pings_to_servers(self):
        for sub in self.SUBS:
            self.ping(sub, services.HTTP[0], "-s", "8000")
            self.ping(sub, FAR, "-s", "8000")

    def test_large_pings_from_servers_to_a_published_address(self):
        self.ping("inet", PUBLISHED, "-s", "8000", "-I", services.HTTP[0])
        self.ping("far", PUBLISHED, "-s", "8000")

    def test_fragments_arrive_out_of_order(self):
        """Of echoes and datagrams of five fragments, from inside and, to a published address, from outside."""
        orders = {"as cut": [0, 1, 2, 3, 4], "backwards": [4, 3, 2, 1, 0], "first one last": [1, 2, 3, 4, 0],
                  "mixed": [2, 0, 4, 1, 3]}
        self.serve("sub2", "echo.py", topology.subscriber(2), ECHO[1])
        ways = [(f"sub{k}", topology.subscriber(k), ECHO[0]) for k in range(1, 5)]
        ways.append(("inet", services.HTTP[0], PUBLISHED))
        for protocol in ("icmp", "udp"):
            for name, source, to in ways:
                for what, order in orders.items():
                    with self.subTest(protocol=protocol, name=name, order=what):
                        self.out(name, [sys.executable, PROGRAMS / "fragments.py", protocol, source, to, "4800",
                                        *order])

    def test_small_and_large_datagrams_of_one_socket(self):
        """A session made for one size serves the other, whose packets mostly land on the other engine: RSS hashes
        fragments by their addresses alone."""
        for sub in self.SUBS:
            for sizes in (["100", "4000", "100", "8000"], ["4000", "100"]) * 4:
                self.out(sub, [sys.executable, PROGRAMS / "datagrams.py", *map(str, ECHO), *sizes])

    # ---- path MTU ----

    def test_tracepath_finds_the_small_link(self):
        for sub in self.SUBS:
            self.forget_paths(sub)
            said = self.out(sub, ["tracepath", "-n", FAR])
            self.assertRegex(said, rf"Resume: pmtu {SMALL_MTU} hops 4")

    def test_uploads_and_downloads_over_a_small_link(self):
        """An upload depends on the router's Fragmentation Needed coming back in through the NAT."""
        self.serve("far", "httpd.py", FAR, 8080)
        for sub in self.SUBS:
            self.forget_paths(sub, "far")
            self.store(sub, WEB, 2_000_000)
            self.assertEqual(self.path_mtu(sub, FAR), SMALL_MTU)
            self.fetch(sub, WEB, 2_000_000)

    # ---- many at once ----

    def test_200_downloads_at_once(self):
        n, size = 200, 200_000
        whole = (self.lab.state.dir / "www/large.bin").read_bytes()[:size]
        self.out("sub1", ["curl", "-sS", "-f", "-m", "100", "-Z", "--parallel-immediate", "--parallel-max", str(n),
                          "-r", f"0-{size - 1}", "-o", f"{self.tmp}/many#1",
                          f"http://{services.HTTP[1]}/large.bin?[1-{n}]"], timeout=120)
        for i in range(1, n + 1):
            self.assertEqual((self.tmp / f"many{i}").read_bytes(), whole, f"download {i}")

    # ---- tunnels ----

    def identity(self, name):
        """A key and a certificate of its own; returns the options that name them, and the fingerprint."""
        key, cert = self.tmp / f"{name}.key", self.tmp / f"{name}.crt"
        tool(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
              "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert])
        said = tool(["openssl", "x509", "-in", cert, "-noout", "-fingerprint", "-sha256"])
        return ["--key", str(key), "--cert", str(cert)], said.strip().partition("=")[2]

    def openvpn(self, name, *how):
        log = self.tmp / f"openvpn-{name}.log"
        common = ["--dev", "tun", "--dev-type", "tun", "--proto", "udp4", "--cipher", "AES-256-GCM", "--data-ciphers",
                  "AES-256-GCM", "--ping", "5", "--connect-retry", "1", "--verb", "3", "--log", str(log)]
        self.background(name, ["openvpn", *common, *how])
        return log

    def test_an_openvpn_tunnel(self):
        """UDP to a server behind a link too small for its packets: what does not fit travels in fragments."""
        mine, fingerprint = self.identity("client")
        its, servers = self.identity("server")
        self.openvpn("far", "--local", FAR, "--port", "1194", "--tls-server", "--dh", "none", *its,
                     "--peer-fingerprint", fingerprint, "--ifconfig", "10.9.0.1", "10.9.0.2")
        log = self.openvpn("sub3", "--remote", FAR, "1194", "--nobind", "--tls-client", *mine,
                           "--peer-fingerprint", servers, "--ifconfig", "10.9.0.2", "10.9.0.1")
        wait_for("the tunnel is up", lambda: log.exists() and "Initialization Sequence Completed" in log.read_text(), 40)
        # The first large ones are lost, by which both ends learn what fits.
        wait_for("the tunnel carries", lambda: self.lab.exec(
            "sub3", ["ping", "-n", "-c", "1", "-W", "1", "-s", "1400", "10.9.0.1"], capture_output=True).returncode == 0)
        self.ping("sub3", "10.9.0.1", "-s", "1400")
        self.serve("far", "httpd.py", "10.9.0.1", 8080)
        self.fetch("sub3", "http://10.9.0.1:8080", 1_000_000)
        self.store("sub3", "http://10.9.0.1:8080", 1_000_000)

    def test_gre_through_a_published_address(self):
        self.serve("inet", "gre.py", PUBLISHED, "10.8.0.1/30")
        self.serve("sub2", "gre.py", services.HTTP[0], "10.8.0.2/30")
        # The raw socket of the server sends from the address the route says.
        tool(["ip", "route", "change", "198.51.100.0/28", "via", topology.OUTSIDE_CGN, "src", services.HTTP[0]],
             self.lab.netns("inet"))
        try:
            self.ping("sub2", "10.8.0.1")
            self.ping("inet", "10.8.0.2", "-s", "1300")
        finally:
            tool(["ip", "route", "change", "198.51.100.0/28", "via", topology.OUTSIDE_CGN], self.lab.netns("inet"))

    def test_gre_without_an_address_of_its_own_is_refused(self):
        before = self.total("drop_protocol")
        wire = self.capture("inet", "outside", "proto gre")
        self.serve("sub1", "gre.py", services.HTTP[0], "10.7.0.2/30")
        self.lab.exec("sub1", ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "10.7.0.1"], capture_output=True)
        wait_for("all three are dropped", lambda: self.total("drop_protocol") >= before + 3)
        self.assertEqual(self.captured(wire), [])


class PathsOfEither(EitherEngine, Paths):
    OPTIONS = {"subs": 4, "config": {**CONFIG, **EITHER_ENGINE}}


class SmallLinks(BeyondCase):
    """The appliance's own links are small: here it is the NAT that cuts, or says what fits."""
    OPTIONS = {"subs": 2, "config": CONFIG}
    MTU = 1280

    def mtu(self, *links, mtu=MTU):
        for name, device in links:
            tool(["ip", "link", "set", device, "mtu", str(mtu)], self.lab.netns(name))

    def small(self, *links):
        self.mtu(*links)
        self.addCleanup(self.mtu, *links, mtu=topology.MTU)
        self.forget_paths("sub1", "sub2", "inet", "far")

    def small_outside(self):
        self.small(("cgn", "cgn-out"), ("inet", "outside"))
        # Known by an engine when a packet that is too large is told so: one of the destinations for each.
        inside = config.rss(self.lab.document, "inside")
        to = {rss.queue_of(*inside, topology.subscriber(1), server): server for server in topology.SERVERS}
        self.assertEqual(len(to), 2, "engines that pings of sub1 reach")
        for engine, server in to.items():
            wait_for(f"engine {engine} knows the MTU", lambda: "Frag needed" in self.lab.exec(
                "sub1", ["ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1400", server],
                capture_output=True, text=True).stdout)
            self.forget_paths("sub1")

    def test_datagrams_that_may_be_cut_get_through(self):
        self.small_outside()
        wire = self.capture("inet", "outside", "udp and src net 198.51.100.0/28 and ip[6:2] & 0x2000 != 0")
        for sub in ("sub1", "sub2"):
            for size in (1300, 1472):
                said = self.out(sub, ["ping", "-n", "-c", "4", "-i", "0.2", "-W", "3", "-M", "dont", "-s", str(size),
                                      services.HTTP[0]])
                self.assertIn("4 received", said)
            self.out(sub, [sys.executable, PROGRAMS / "datagrams.py", *map(str, ECHO), "1472"])
        self.assertGreaterEqual(len(self.captured(wire)), 2)

    def test_the_nat_says_what_fits_outside(self):
        self.small_outside()
        self.serve("far", "httpd.py", FAR, 8080)
        said = self.out("sub1", ["tracepath", "-n", services.HTTP[0]])
        self.assertRegex(said, rf"{re.escape(topology.INSIDE_GATEWAY)} .*pmtu {self.MTU}")
        self.assertRegex(said, rf"Resume: pmtu {self.MTU} hops 2")
        self.store("sub2", WEB, 1_000_000)
        self.assertEqual(self.path_mtu("sub2", FAR), SMALL_MTU)

    def test_the_nat_says_what_fits_inside(self):
        """A server that sends full-size segments into a small access network is told by the NAT."""
        self.serve("inet", "httpd.py", services.HTTP[0], 8080)
        self.small(("cgn", "cgn-in"), ("access", "uplink"), ("sub1", "eth0"))
        route = ["default", "via", topology.INSIDE_GATEWAY]
        tool(["ip", "route", "change", *route, "advmss", "1460"], self.lab.netns("sub1"))
        self.addCleanup(tool, ["ip", "route", "change", *route], self.lab.netns("sub1"))
        before = self.total("drop_too_big")
        self.fetch("sub1", f"http://{services.HTTP[0]}:8080", 1_000_000)
        self.assertGreater(self.total("drop_too_big"), before)
