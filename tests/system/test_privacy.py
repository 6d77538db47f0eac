"""Nothing private reaches the Internet, whatever happens to the engines."""

import json
import signal
import time

from corenat_lab import services
from corenat_lab.process import tool
from harness import LabCase, POOL, wait_for

POOL_NET = "198.51.100.0/28"
INET_NET = "203.0.113.0/24"


class Privacy(LabCase):
    """The appliance's kernel would forward: whatever XDP let by would leave untranslated and be seen."""
    OPTIONS = {"subs": 3}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        tool(["sysctl", "-qw", "net.ipv4.ip_forward=1"], cls.lab.netns("cgn"))

    def no_engine(self):
        """Packets XDP dropped because the queue's engine was not there, of all queues, asked of the kernel."""
        pin = self.lab.state.dir / "bpf/corenat/queue_stats"
        rows = json.loads(tool(["bpftool", "-j", "map", "dump", "pinned", pin]))
        # struct xdp_queue_stats: redirected, no_engine, to_kernel; 64 bits each.
        return sum(int.from_bytes(bytes(int(b, 16) for b in v["value"][8:16]), "little")
                   for row in rows for v in row["values"])

    def arrived(self):
        return sum(self.lab.queue_packets("inside"))

    def keep_sending(self):
        """TCP, UDP and ICMP from every subscriber, on and on."""
        loops = ["ping -n -q -i 0.02 -W 1 {0}", "while :; do curl -s -m 1 -o /dev/null http://{0}/; sleep 0.05; done",
                 "while :; do dig +tries=1 +time=1 @{1} www.lab.test >/dev/null; sleep 0.05; done"]
        for sub in ("sub1", "sub2", "sub3"):
            for loop in loops:
                self.background(sub, ["sh", "-c", loop.format(services.HTTP[0], services.DNS)])

    def test_the_server_sees_only_the_pool(self):
        wire = self.capture("inet", "outside", "ip")
        before = self.lab.wire()["private"]
        for sub in ("sub1", "sub2", "sub3"):
            self.curl(sub, "/?who-am-i")
            self.out(sub, ["ping", "-n", "-q", "-c", "3", "-i", "0.2", services.HTTP[0]])
            self.out(sub, ["dig", "+short", f"@{services.DNS}", "www.lab.test"])
        clients = self.web_clients("/?who-am-i", 3)
        self.assertEqual(len(clients), 3)
        self.assertTrue(all(POOL.match(c) for c in clients), clients)
        self.assertEqual(self.captured(wire, f"not src net {POOL_NET} and not src net {INET_NET}"), [])
        self.assertGreaterEqual(len(self.captured(wire, f"src net {POOL_NET}")), 3 * (5 + 3 + 1))
        self.assertEqual(self.lab.wire()["private"], before)

    def silent_without_engines(self, sig):
        self.keep_sending()
        self.assert_page("sub1")
        wire = self.capture("inet", "outside", "ip")
        leaked = self.lab.wire()["private"]
        for role in ("pe0", "pe1"):
            self.lab.kill(role, sig)
        dropped, sent = self.no_engine(), self.arrived()  # what comes between is counted as dropped, and not as sent
        wait_for("the subscribers go on sending", lambda: self.arrived() > sent + 300)
        sent, dropped = self.arrived() - sent, self.no_engine() - dropped
        self.assertGreater(dropped, 0.8 * sent, f"of {sent} packets that arrived; the others are for the kernel")
        self.assertEqual(self.health()["status"], "down")
        for role in ("pe0", "pe1"):
            self.lab.start(role)
        self.lab.wait_healthy()
        self.assert_page("sub2")
        time.sleep(0.5)
        private = self.captured(wire, f"not src net {POOL_NET} and not src net {INET_NET}")
        self.assertEqual(private, [], "packets that left untranslated")
        self.assertEqual(self.lab.wire()["private"], leaked)
        wait_for("engines say what was dropped while they were away", lambda: self.total("xdp_no_engine") >= dropped)

    def test_engines_that_ended_leak_nothing(self):
        self.silent_without_engines(signal.SIGTERM)

    def test_engines_that_were_killed_leak_nothing(self):
        self.silent_without_engines(signal.SIGKILL)

    def test_what_would_be_seen_of_a_leak(self):
        """The counterproof: with the XDP programs removed, the kernel forwards, and the wire shows it."""
        for role in ("pe0", "pe1"):
            self.lab.kill(role)
        before = self.lab.wire()["private"]
        done = self.command("corenat-pe", "--remove-xdp")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.lab.exec("sub1", ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", services.HTTP[0]], capture_output=True)
        self.assertGreaterEqual(self.lab.wire()["private"], before + 3)
        for role in ("pe0", "pe1"):
            self.lab.start(role)
        self.lab.wait_healthy()
        self.assert_page("sub1")
