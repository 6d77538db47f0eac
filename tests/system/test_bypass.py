"""Destinations that a rule exempts from translation: their servers see the subscriber's own address, nobody else does."""

import json
import pathlib
import signal
import tempfile

from corenat_lab import services, topology
from corenat_lab.process import tool
from harness import LabCase, POOL, wait_for

EXEMPT, OTHER = services.HTTP[1], services.HTTP[0]


class Bypass(LabCase):
    @classmethod
    def setUpClass(cls):
        config = tempfile.NamedTemporaryFile("w", suffix=".json")
        cls.addClassCleanup(config.close)
        pathlib.Path(config.name).write_text(json.dumps({"rules": [
            {"name": "partner", "inside": [f"{topology.subscriber(1)}/32"], "destination": [f"{EXEMPT}/32"],
             "action": "bypass"}]}))
        cls.OPTIONS = {"subs": 2, "config": config.name}
        super().setUpClass()
        # The appliance's kernel would forward: what XDP let by would be seen. The partner knows its way to subscribers.
        tool(["sysctl", "-qw", "net.ipv4.ip_forward=1"], cls.lab.netns("cgn"))
        topology.ip(cls.lab.netns("inet"), [f"route add {topology.INSIDE_NET} via {topology.OUTSIDE_CGN}"])

    def test_only_the_exempt_server_sees_the_subscriber(self):
        me = topology.subscriber(1)
        wire = self.capture("inet", "outside", "tcp", "or", "icmp")
        self.curl("sub1", "/?exempt", server=1)
        self.curl("sub1", "/?translated", server=0)
        self.curl("sub2", "/?of-no-rule", server=1)
        self.out("sub1", ["ping", "-n", "-q", "-c", "3", "-i", "0.2", EXEMPT])
        self.assertEqual(self.web_clients("/?exempt"), [me])
        for mark in ("/?translated", "/?of-no-rule"):
            (client,) = self.web_clients(mark)
            self.assertRegex(client, POOL)
        self.assertEqual([s["remote"] for s in self.sessions(inside=me) if s["remote"].startswith(EXEMPT)], [])
        self.assertGreater(self.total("fwd_out_bypass"), 5)
        self.assertGreater(self.total("fwd_in_bypass"), 5)
        private = f"src net {topology.INSIDE_NET}"
        self.assertGreater(len(self.captured(wire, f"{private} and dst host {EXEMPT}")), 5)
        self.assertEqual(self.captured(wire, f"{private} and not (src host {me} and dst host {EXEMPT})"), [])

    def test_large_files_arrive_unchanged(self):
        self.assert_downloaded(self.download("sub1", "40M"))

    def test_from_the_exempt_server_only(self):
        """In: to the subscriber's own address, from the source that the rule names and from no other."""
        def ping(source, sub):
            done = self.lab.exec("inet", ["ping", "-n", "-q", "-c", "3", "-i", "0.2", "-W", "1", "-I", source,
                                          topology.subscriber(sub)], capture_output=True, text=True)
            return done.returncode == 0
        wait_for("the exempt server reaches it", lambda: ping(EXEMPT, 1))
        refused = self.total("drop_no_session")
        self.assertFalse(ping(OTHER, 1))
        wait_for("the other's are counted", lambda: self.total("drop_no_session") >= refused + 3)

    def test_the_appliances_own_inside_address_stays_the_kernels(self):
        self.out("sub1", ["ping", "-n", "-q", "-c", "3", "-i", "0.2", topology.INSIDE_GATEWAY])

    def test_without_engines_nothing_private_passes(self):
        inside = self.capture("sub1", "eth0", "icmp[icmptype] == icmp-echo and src host " + EXEMPT)
        before = self.lab.wire()["private"]
        for role in ("pe0", "pe1"):
            self.lab.kill(role, signal.SIGKILL)
        for sub, server in (("sub1", EXEMPT), ("sub1", OTHER), ("sub2", EXEMPT)):
            self.lab.exec(sub, ["ping", "-n", "-q", "-c", "5", "-i", "0.1", "-W", "1", server], capture_output=True)
        self.lab.exec("inet", ["ping", "-n", "-q", "-c", "5", "-i", "0.1", "-W", "1", "-I", EXEMPT,
                               topology.subscriber(1)], capture_output=True)
        self.assertEqual(self.lab.wire()["private"], before)
        self.assertEqual(self.captured(inside), [])
        for role in ("pe0", "pe1"):
            self.lab.start(role)
        self.lab.wait_healthy()
        wait_for("what was dropped is told", lambda: self.total("xdp_no_engine") >= 20)
        self.curl("sub1", "/", server=1)
