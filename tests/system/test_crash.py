"""Processes die and come back, one at a time and in any order; what subscribers have under way goes on."""

import re
import signal
import subprocess
import time

from corenat_lab import services, topology, traffic
from harness import LabCase, health, sanitized, wait_for

TRANSFER_S = 14


class Crash(LabCase):
    OPTIONS = {"subs": 3}

    def counted(self):
        """Sessions of all engines: the gauge follows by a turn of housekeeping."""
        def now(rows):
            return sum(e["sessions"] for e in rows)
        return now(self.at_rest(now))

    def taken_over(self, role):
        """How many sessions it found, at each of its starts so far."""
        return [int(n) for n in re.findall(r"(\d+) sessions taken over", self.log(role))]

    def incarnations(self):
        return [e["incarnation"] for e in self.engines()]

    def generation(self):
        return self.health()["config_generation"]

    def iperf(self, sub, k, *more):
        self.lab.await_iperf(k)
        return self.lab.popen(sub, ["iperf3", "-c", services.IPERF, "-p", str(services.IPERF_PORT + k - 1), "-J",
                                    "-t", str(TRANSFER_S), "-b", "10M", *more],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def assert_iperf(self, child):
        out, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, traffic.brief(err, out))

    def web_sessions(self, sub):
        """Of connections to the web server that are not closing: inside endpoint to NAT endpoint."""
        return {s["inside"]: s["nat"] for s in self.sessions(inside=topology.subscriber(sub))
                if s["remote"] == f"{services.HTTP[1]}:80" and s["tcp"] == "established"}

    def test_engines_die_one_after_the_other_under_long_transfers(self):
        generation, before = self.generation(), self.incarnations()
        flows = self.flows("sub3", 100)
        endpoints = flows.exchange()
        self.assertNotIn(None, endpoints.values())
        down, up = self.iperf("sub2", 2, "-R"), self.iperf("sub3", 3)
        file = self.download("sub1", "1M")
        # Where each step takes long the download may end before the last look; this one does not.
        self.background("sub1", ["curl", "-s", "--limit-rate", "100K", "-o", "/dev/null", f"http://{services.HTTP[1]}/endless.bin"])
        web = wait_for("both sessions are listed", lambda: len(w := self.web_sessions(1)) == 2 and w)
        for n, role in enumerate(("pe0", "pe1")):
            time.sleep(0.5)
            owned = [e["sessions"] for e in self.engines()]
            self.crash(role)
            self.assertFalse(self.lab.running(role))
            self.assertNotEqual(self.lab.health()["status"], "ok")
            starts = len(self.taken_over(role))
            self.restart(role)
            wait_for(f"{role} forwards", lambda: len(self.taken_over(role)) > starts)
            again = self.engines()[n]
            self.assertGreater(owned[n], 20)
            self.assertGreaterEqual(again["sessions"], owned[n], f"{role} lost sessions")
            self.assertGreaterEqual(self.taken_over(role)[-1], owned[n])
            self.assertEqual(flows.exchange(), endpoints, "as the server sees them")
        self.assertEqual(self.incarnations(), [i + 1 for i in before])
        now = self.web_sessions(1)
        self.assertTrue(now)
        self.assertLessEqual(now.items(), web.items())
        self.assert_downloaded(file)
        self.assert_iperf(down)
        self.assert_iperf(up)
        self.assertEqual(self.generation(), generation)
        self.assertEqual(self.lab.wire()["private"], 0)

    def test_engine_dies_again_and_again(self):
        flows = self.flows("sub2", 200)
        endpoints = flows.exchange()
        count = self.counted()
        for _ in range(3):
            self.crash("pe1")
            self.restart("pe1")
        self.assertEqual(flows.exchange(), endpoints)
        self.assertEqual(self.counted(), count)
        self.assert_page("sub1")

    def test_both_engines_die_at_once(self):
        flows = self.flows("sub1", 100)
        endpoints = flows.exchange()
        for role in ("pe0", "pe1"):
            self.crash(role)
        for role in ("pe1", "pe0"):
            self.lab.start(role)
        self.lab.wait_healthy()
        self.assertEqual(flows.exchange(), endpoints)

    def test_aggregator_dies(self):
        file = self.download("sub1", "8M")
        self.crash("aggregator")
        wait_for("health says so", lambda: self.health()["aggregator"] == "down")
        self.assert_page("sub2")
        created = self.total("sessions_created")
        self.restart("aggregator")

        def counts_all():
            engines = self.lab.api("/api/v1/stats")["engines"]
            return all(e["state"] == "up" for e in engines) and \
                sum(e["counters"]["sessions_created"] for e in engines) >= created
        wait_for("statistics go on", counts_all)
        self.assert_downloaded(file)

    def test_management_dies(self):
        generation, count = self.generation(), self.counted()
        file = self.download("sub1", "8M")
        self.crash("mgmtd")
        self.assertEqual(health(self.lab)["status"], "unreachable")
        self.assert_page("sub2")
        self.assert_page("sub3")
        self.restart("mgmtd")
        again = time.time()
        self.assertEqual(self.generation(), generation, "nothing changed in the configuration")
        self.assertGreater(self.counted(), count)
        self.assert_downloaded(file)
        wait_for("history goes on", lambda: [at for at, value in self.lab.api(
            "/api/v1/stats/history?counter=sessions_created")["points"] if at > again and value is not None])

    def test_everything_ends_and_starts_in_another_order(self):
        for order in (["aggregator", "pe1", "pe0", "mgmtd"], ["pe0", "mgmtd", "aggregator", "pe1"]):
            with self.subTest(order=order):
                for role in order:
                    self.lab.kill(role)
                done = self.command("corenatctl", "arena", "remove")
                self.assertEqual(done.returncode, 0, done.stderr)
                for role in order:
                    self.lab.start(role)
                    time.sleep(0.3)
                self.lab.wait_healthy()
                self.assertEqual(self.generation(), 1, "of a new arena")
                self.assert_page("sub1")
                self.assertNotIn(None, self.flows("sub2", 50).exchange().values())

    def ends_when_asked(self, role, sig):
        """Cleanly; the seconds it took."""
        self.lab.kill(role)
        argv = self.lab.state["processes"][role]["argv"]
        log = self.tmp / f"{role}.log"
        with open(log, "w", encoding="utf-8") as f:
            child = self.lab.popen("cgn", argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        try:
            ready = {"pe": "forwarding", "ag": "asks 2 engines", "mg": "manages 2 engines"}[role[:2]]
            wait_for(f"{role} is ready", lambda: ready in log.read_text())
            child.send_signal(sig)
            begin = time.monotonic()
            self.assertEqual(child.wait(30), 0, log.read_text())
            return time.monotonic() - begin
        finally:
            child.kill()
            self.lab.start(role)

    def test_each_ends_cleanly_when_asked(self):
        """And soon. A machine that stood still for a time does not do so three times."""
        for role, sig in (("pe0", signal.SIGTERM), ("pe1", signal.SIGINT), ("aggregator", signal.SIGINT),
                          ("mgmtd", signal.SIGTERM)):
            with self.subTest(role=role, signal=sig.name):
                self.assertTrue(any(self.ends_when_asked(role, sig) < (6 if sanitized() else 3) for _ in range(3)))
        self.lab.wait_healthy()
        self.assert_page("sub1")
