"""Endpoints that meet: STUN, hole punching, servers published by static mappings, and who may answer whom, through two
engines."""

import subprocess
import sys
import time

from beyond import BeyondCase, EITHER_ENGINE, EitherEngine
from corenat_lab import services, topology
from harness import ECHO, POOL, PROGRAMS, wait_for

STUN = [("203.0.113.14", 3478), ("203.0.113.15", 3478)]  # coturn, on both addresses also at port 3479
STUN_ALT_PORT = 3479
STRANGER = "203.0.113.16"
MEET = [sys.executable, str(PROGRAMS / "meet_tcp.py")]

RESTRICTED, SYMMETRIC, ADDRESS_RESTRICTED = (topology.subscriber(k) for k in (4, 5, 6))
PUBLISHED, WHOLE = "198.51.100.13", "198.51.100.14"  # by ports, of sub3; 1:1, of sub2
CONFIG = {
    "static": [
        {"protocol": "any", "inside": topology.subscriber(2), "nat": WHOLE},
        {"protocol": "tcp", "inside": topology.subscriber(3), "inside_port": 8080, "nat": PUBLISHED, "nat_port": 80},
        {"protocol": "udp", "inside": topology.subscriber(3), "inside_port": 5000, "nat": PUBLISHED, "nat_port": 5000,
         "ports": 10},
    ],
    "rules": [
        {"name": "consoles", "inside": [f"{RESTRICTED}/32"], "type": "port-restricted"},
        {"name": "strict", "inside": [f"{SYMMETRIC}/32"], "type": "symmetric"},
        {"name": "some", "inside": [f"{ADDRESS_RESTRICTED}/32"], "type": "restricted"},
    ],
}


class Peers(BeyondCase):
    OPTIONS = {"subs": 6, "config": CONFIG}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        argv = ["turnserver", "-n", "--stun-only", "--no-tls", "--no-dtls", "--no-cli", "--log-file", "stdout",
                "--pidfile", str(cls.tmp / "turnserver.pid"), "--alt-listening-port", str(STUN_ALT_PORT)]
        for address, _ in STUN:
            argv += ["--listening-ip", address]
        cls.lab.popen("inet", argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("the STUN server is there", lambda: all(f"{address}:{port} " in cls.listening() for address, _ in STUN
                                                         for port in (3478, STUN_ALT_PORT)))

    @classmethod
    def listening(cls):
        return cls.lab.exec("inet", ["ss", "-Hnlu"], capture_output=True, text=True).stdout

    # ---- what STUN sees ----

    def test_one_endpoint_for_two_servers_and_two_ports(self):
        for sub in ("sub1", "sub3", "sub4"):
            peer = self.peer(sub)
            seen = {peer.endpoint((address, port)) for address, _ in STUN for port in (3478, STUN_ALT_PORT)}
            self.assertEqual(len(seen), 1, f"{sub}: {seen}")
            self.assertRegex(seen.pop()[0], POOL)

    def test_another_endpoint_for_each_server_and_port_where_a_rule_says_symmetric(self):
        peer = self.peer("sub5")
        seen = {peer.endpoint((address, port)) for address, _ in STUN for port in (3478, STUN_ALT_PORT)}
        self.assertNotIn(None, seen)
        self.assertEqual(len(seen), 4, seen)
        self.assertEqual(len({address for address, _ in seen}), 1, "paired")

    def test_a_stun_client_names_the_kind_of_nat(self):
        """RFC 5780, by coturn's own client: mapping and filtering as configured."""
        kinds = {
            "sub1": ("Endpoint Independent Mapping", "Endpoint Independent Filtering"),
            "sub4": ("Endpoint Independent Mapping", "Address and Port Dependent Filtering"),
            "sub5": ("Address and Port Dependent Mapping", "Address and Port Dependent Filtering"),
            "sub6": ("Endpoint Independent Mapping", "Address Dependent Filtering"),
        }
        for sub, names in kinds.items():
            with self.subTest(sub):
                said = self.out(sub, ["turnutils_natdiscovery", "-m", "-f", "-L", self.address(sub), STUN[0][0]])
                for name in names:
                    self.assertIn(name, said)

    def address(self, sub):
        return topology.subscriber(int(sub[3:]))

    # ---- subscribers meet ----

    def meet(self, a, b, tries=8):
        """Both send to where STUN sees the other, until both have heard: who they heard."""
        at, bt = a.endpoint(STUN[0]), b.endpoint(STUN[1])
        to_a = to_b = None
        for _ in range(tries):
            a.send(bt, "from-a")
            b.send(at, "from-b")
            to_a, to_b = to_a or a.receive(), to_b or b.receive()
            if to_a and to_b:
                break
        self.assertEqual((to_a, to_b), ((bt, "from-b"), (at, "from-a")))

    def test_subscribers_punch_holes(self):
        """Each is seen by the other where STUN sees it; on four sockets, so that packets meet on either engine."""
        hairpinned = self.total("fwd_hairpin")
        for one, other in (("sub1", "sub3"), ("sub1", "sub4"), ("sub4", "sub6"), ("sub1", "sub2"), ("sub1", "sub1")):
            for _ in range(4):
                with self.subTest(one=one, other=other):
                    self.meet(self.peer(one), self.peer(other))
        self.assertGreaterEqual(self.total("fwd_hairpin"), hairpinned + 40)
        for engine in self.counters():
            self.assertGreater(engine["fwd_hairpin"], 0, "on each engine")

    def test_a_published_server_is_reached_by_other_subscribers_and_itself(self):
        self.serve("sub3", "httpd.py", "0.0.0.0", 8080)
        for sub in ("sub1", "sub2", "sub4", "sub5", "sub3"):
            self.fetch(sub, f"http://{PUBLISHED}", 1_000_000)
            self.store(sub, f"http://{PUBLISHED}", 1_000_000)

    def test_pings_between_subscribers(self):
        for sub in ("sub1", "sub3", "sub5"):
            for size in ("56", "8000"):
                said = self.out(sub, ["ping", "-n", "-c", "4", "-i", "0.2", "-W", "3", "-s", size, WHOLE])
                self.assertIn("4 received", said)

    def test_small_and_large_datagrams_between_subscribers(self):
        """As in test_real_programs, but through two sessions."""
        self.serve("sub2", "echo.py", self.address("sub2"), ECHO[1])
        for sub in ("sub1", "sub3", "sub5"):
            for sizes in (["100", "4000", "100", "8000"], ["4000", "100"]) * 2:
                self.out(sub, [sys.executable, PROGRAMS / "datagrams.py", WHOLE, str(ECHO[1]), *sizes])

    def test_traceroute_between_subscribers(self):
        said = self.out("sub1", ["traceroute", "-n", "-q", "1", "-N", "1", "-w", "3", "-m", "5", WHOLE])
        self.assertEqual([line.split()[1] for line in said.splitlines()[1:]], [topology.INSIDE_GATEWAY, WHOLE])

    # ---- TCP from both ends at once ----

    def tcp_endpoint(self, sub, port):
        """Where TCP from a subscriber's port is seen outside; the server is in the way of no other connection."""
        self.serve("inet", "httpd.py", services.IPERF, 8080)
        said = self.out(sub, [*MEET, "0.0.0.0", port, services.IPERF, "8080", "GET /me HTTP/1.0\r\n\r\n"])
        return said.split()[-1].split(":")

    def test_tcp_opened_from_both_ends(self):
        """RFC 5382 REQ-2 and REQ-4: the SYN from outside comes first, where no filter lets it in, and waits for ours."""
        nat, nat_port = self.tcp_endpoint("sub4", "6100")
        held = self.total("held_syn")
        outside = self.lab.popen("inet", [*MEET, STRANGER, "7200", nat, nat_port, "from-outside"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(outside.communicate)
        wait_for("the SYN is held", lambda: self.total("held_syn") > held)
        self.assertEqual(self.out("sub4", [*MEET, "0.0.0.0", "6100", STRANGER, "7200", "from-inside"]).strip(),
                         "from-outside")
        self.assertEqual(outside.communicate(timeout=30)[0].strip(), "from-inside")
        self.assertEqual(outside.returncode, 0)

    def test_tcp_that_nobody_inside_opens_is_refused_in_the_end(self):
        nat, nat_port = self.tcp_endpoint("sub4", "6200")
        refused = self.total("drop_syn_unanswered")
        begin = time.monotonic()
        done = self.lab.exec("inet", ["curl", "-sS", "-m", "30", "--interface", STRANGER, f"http://{nat}:{nat_port}/"],
                             capture_output=True, text=True)
        self.assertEqual(done.returncode, 7, done.stderr)  # not timed out
        self.assertGreater(time.monotonic() - begin, 5.5, "RFC 5382 REQ-4: not before six seconds")
        self.assertGreater(self.total("drop_syn_unanswered"), refused)

    # ---- published ----

    def test_published_servers_are_reached_from_outside(self):
        self.serve("sub3", "httpd.py", "0.0.0.0", 8080)
        self.serve("sub2", "httpd.py", "0.0.0.0", 8080)
        for url in (f"http://{PUBLISHED}", f"http://{WHOLE}:8080"):
            for name in ("inet", "far"):
                self.fetch(name, url, 1_000_000)
                self.store(name, url, 1_000_000)
        for _ in range(20):  # new ports land on either engine
            self.fetch("inet", f"http://{PUBLISHED}", 1000)

    def test_published_ports_and_only_those(self):
        outside = self.peer("inet", STRANGER)
        for port in (5000, 5009):
            peer = self.peer("sub3", port=port)
            self.assertEqual(peer.endpoint(STUN[0]), (PUBLISHED, port))
            outside.send((PUBLISHED, port), "hello")
            (source, text) = peer.receive(5)
            self.assertEqual((source[0], text), (STRANGER, "hello"))
            peer.send(source, "answer")
            self.assertEqual(outside.receive(5), ((PUBLISHED, port), "answer"))
        beside = self.peer("sub3", port=5010)
        self.refused(lambda: outside.send((PUBLISHED, 5010), "hello"), beside)

    def test_a_subscriber_with_an_address_of_its_own_keeps_its_ports(self):
        for port in (4000, 40000):
            self.assertEqual(self.peer("sub2", port=port).endpoint(STUN[0]), (WHOLE, port))

    # ---- third parties ----

    def refused(self, send, peer):
        before = self.total("drop_no_session")
        send()
        wait_for("it is refused", lambda: self.total("drop_no_session") > before)
        self.assertIsNone(peer.receive(0.2))

    def test_who_may_answer(self):
        """To an endpoint that spoke with one port of one server: another port there, and another address."""
        allowed = {"sub1": (True, True), "sub6": (True, False), "sub4": (False, False), "sub5": (False, False)}
        others = [self.peer("inet", STUN[0][0]), self.peer("inet", STRANGER)]
        for sub, answers in allowed.items():
            peer = self.peer(sub)
            endpoint = peer.endpoint(STUN[0])
            for other, may in zip(others, answers):
                with self.subTest(sub=sub, may=may):
                    if may:
                        other.send(endpoint, "knock")
                        self.assertEqual((peer.receive(5) or (None, None))[1], "knock")
                    else:
                        self.refused(lambda: other.send(endpoint, "knock"), peer)

    def test_a_third_party_is_let_in_once_it_was_spoken_to(self):
        peer, other = self.peer("sub4"), self.peer("inet", STRANGER, 7100)
        endpoint = peer.endpoint(STUN[0])
        self.refused(lambda: other.send(endpoint, "knock"), peer)
        peer.send((STRANGER, 7100), "come-in")
        self.assertEqual(other.receive(5), (endpoint, "come-in"))
        other.send(endpoint, "thanks")
        self.assertEqual(peer.receive(5), ((STRANGER, 7100), "thanks"))


class PeersOfEither(EitherEngine, Peers):
    OPTIONS = {"subs": 6, "config": {**CONFIG, **EITHER_ENGINE}}
