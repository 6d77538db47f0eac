"""The REST API answers as docs/interfaces.md says."""

import json
import pathlib
import re
import shutil
import subprocess
import time

from corenat_lab import services, topology
from harness import LabCase, POOL, wait_for

REPO = pathlib.Path(__file__).resolve().parents[2]
HEALTH = {"status", "engines", "engines_up", "aggregator", "config_generation", "version", "reasons"}
ENGINE = {"engine", "state", "pid", "cpu", "incarnation", "inside", "outside", "config_generation", "sessions", "pages",
          "heartbeat_age_ms", "counters", "verdicts"}
SESSION = {"protocol", "realm", "origin", "inside", "nat", "remote", "owner", "adopters", "tcp", "created_s_ago", "mapping"}


class Rest(LabCase):
    OPTIONS = {"subs": 2}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        self = cls()
        self.use_programs()
        wait_for("statistics have seen it", lambda: self.stats()["appliance"]["counters"]["sessions_created"] >= 18)

    def runTest(self):
        """For setUpClass, which wants the helpers of an instance."""

    def use_programs(self):
        """At least 18 sessions of three protocols: of 24, since now and then two sockets are of the same port."""
        for _ in range(4):
            for sub in ("sub1", "sub2"):
                self.assert_page(sub)
                self.out(sub, ["ping", "-n", "-q", "-c", "2", "-i", "0.2", services.HTTP[0]])
                self.out(sub, ["dig", "+short", f"@{services.DNS}", "www.lab.test"])

    def while_nothing_changes(self, ask):
        """The sessions there are, and what `ask` says of them: asked until they are the same before and after."""
        def asked():
            before = self.sessions()
            answer = ask(before)
            return (before, answer) if self.keys(self.sessions()) == self.keys(before) else None
        return wait_for("nothing begins or ends meanwhile", asked)

    def stats(self):
        return self.lab.api("/api/v1/stats")

    def schema(self):
        s = self.lab.api("/api/v1/stats/schema")
        return [c["name"] for c in s["counters"]], [v["name"] for v in s["verdicts"]]

    def problem(self, path, status, detail=None):
        got, kind, body = self.get(path)
        self.assertEqual((got, kind), (status, "application/problem+json"), f"{path}: {body}")
        doc = json.loads(body)
        self.assertLessEqual({"type", "title", "status", "detail"}, doc.keys())
        self.assertEqual(doc["status"], status)
        self.assertRegex(doc["detail"], detail or ".")

    # ---- resources ----

    def test_health(self):
        self.lab.wait_healthy()
        h = self.lab.api("/api/v1/health")
        self.assertEqual(h.keys(), HEALTH)
        self.assertEqual((h["status"], h["engines"], h["engines_up"], h["aggregator"], h["reasons"]), ("ok", 2, 2, "up", []))
        self.assertEqual(h["version"], (REPO / "VERSION").read_text().strip())
        self.assertGreaterEqual(h["config_generation"], 1)

    def test_health_of_an_appliance_that_is_not_whole(self):
        try:
            self.lab.kill("pe1")
            status, _, body = self.get("/api/v1/health")
            doc = json.loads(body)
            self.assertEqual((status, doc["status"], doc["engines_up"]), (200, "degraded", 1))
            self.assertTrue(any("engine 1 is down" in r for r in doc["reasons"]), doc)
            self.assertEqual([e["state"] for e in self.engines()], ["up", "down"])
            self.lab.kill("pe0")
            status, _, body = self.get("/api/v1/health")
            self.assertEqual((status, json.loads(body)["status"]), (503, "down"))
            wait_for("the aggregator notices", lambda: [e["state"] for e in self.stats()["engines"]] == ["silent"] * 2)
        finally:
            for role in ("pe0", "pe1"):
                self.lab.start(role)
            self.lab.wait_healthy()
        self.assert_page("sub1")

    def test_config(self):
        shown = self.lab.api("/api/v1/config")
        done = self.command("corenat-mgmtd", "--check")
        self.assertEqual(shown, json.loads(done.stdout))
        self.assertEqual(shown["pools"][0]["name"], "main")
        options = {o["path"]: o for o in self.lab.api("/api/v1/config/schema")["options"]}
        for path in ("arena.engines", "nat.udp_timeout_s", "statistics.interval_ms"):
            self.assertLessEqual({"type", "min", "max", "default", "change", "help"}, options[path].keys())
            group, name = path.split(".")
            self.assertIn(name, shown[group])

    def test_engines(self):
        counters, verdicts = self.schema()
        for n, e in enumerate(self.engines()):
            self.assertEqual(e.keys(), ENGINE)
            self.assertEqual((e["engine"], e["state"]), (n, "up"))
            self.assertEqual(e["pid"], self.lab.state["processes"][f"pe{n}"]["pid"])
            self.assertLess(e["heartbeat_age_ms"], 2000)
            self.assertRegex(e["inside"], "^(native|generic), (copy|zero-copy), need-wakeup$")
            self.assertEqual([*e["counters"]], counters)
            self.assertEqual([*e["verdicts"]], verdicts)
            self.assertEqual(e["sessions"], e["counters"]["sessions"])

    def test_sessions(self):
        self.use_programs()  # those of pings made in the beginning may have ended
        rows = self.sessions()
        self.assertGreaterEqual(len(rows), 18)
        for s in rows:
            self.assertEqual(s.keys(), SESSION)
            self.assertIn(s["protocol"], ("tcp", "udp", "icmp"))
            self.assertRegex(s["nat"].partition(":")[0], POOL)
            self.assertEqual(s["tcp"] is None, s["protocol"] != "tcp")
        self.assertEqual({s["protocol"] for s in rows}, {"tcp", "udp", "icmp"})

    def test_sessions_filtered(self):
        for sub in (1, 2):
            me = topology.subscriber(sub)
            rows, found = self.while_nothing_changes(lambda _, me=me: self.sessions(inside=me))
            self.assertEqual(self.keys(found), self.keys(s for s in rows if s["inside"].startswith(me + ":")))
        self.assertEqual(self.sessions(inside="100.64.9.9"), [])
        rows, found = self.while_nothing_changes(lambda rows: [(
            self.sessions(nat=s["nat"]), self.sessions(nat=s["nat"], inside=s["inside"]),
            self.sessions(nat=s["nat"].partition(":")[0])) for s in rows[:5]])
        for s, (of_end, of_both, of_address) in zip(rows, found, strict=False):
            self.assertIn(s["nat"], [r["nat"] for r in of_end])
            for r in of_both:
                self.assertEqual((r["nat"], r["inside"]), (s["nat"], s["inside"]))
            address = s["nat"].partition(":")[0]
            self.assertEqual(self.keys(of_address), self.keys(r for r in rows if r["nat"].startswith(address + ":")))

    @staticmethod
    def keys(rows):
        return sorted((s["protocol"], s["inside"], s["nat"], s["remote"]) for s in rows)

    def test_sessions_page_by_page(self):
        def by_pages(want):
            got, cursor = [], ""
            for _ in range(len(want) + 1):
                page = self.lab.api(f"/api/v1/sessions?limit=4{cursor}")
                self.assertLessEqual(len(page["sessions"]), 4)
                got += page["sessions"]
                if page["next"] is None:
                    break
                cursor = f"&cursor={page['next']}"
            return got
        want, got = self.while_nothing_changes(by_pages)
        self.assertEqual(self.keys(got), self.keys(want))

    def test_pools(self):
        # The gauge of mappings is written a turn after what it counts: it is asked on either side.
        rows, (_, pools, mappings) = self.while_nothing_changes(lambda _: (
            time.sleep(0.1), self.lab.api("/api/v1/pools")["pools"], self.total("mappings")))
        self.assertEqual([p["name"] for p in pools], ["main"])
        p = pools[0]
        self.assertEqual(p.keys(), {"name", "ports_total", "ports_used", "addresses"})
        self.assertEqual(p["ports_total"], 16 * 2 * (65535 - 1024 + 1))
        self.assertEqual([a["address"] for a in p["addresses"]], [f"198.51.100.{n}" for n in range(16)])
        self.assertEqual(sum(a["tcp_used"] + a["other_used"] for a in p["addresses"]), p["ports_used"])
        self.assertEqual(p["ports_used"], mappings)
        self.assertEqual(p["ports_used"], len({(s["protocol"], s["nat"]) for s in rows}))

    def test_stats(self):
        counters, verdicts = self.schema()
        def with_rates():
            s = self.stats()
            return s if all(e.get("rates") for e in s["engines"]) and abs(time.time() - s["time"]) < 5 else None
        s = wait_for("all have rates of now", with_rates)
        self.assertLessEqual({"time", "interval_ms", "appliance", "engines"}, s.keys())
        for part in (s["appliance"], *s["engines"]):
            self.assertEqual([*part["counters"]], counters)
            self.assertEqual([*part["verdicts"]], verdicts)
            self.assertIn("rx_inside_packets", part["rates"])
            self.assertNotIn("sessions", part["rates"], "a gauge has no rate")
        self.assertEqual([e["engine"] for e in s["engines"]], [0, 1])
        wait_for("both engines answer", lambda: [e["state"] for e in self.stats()["engines"]] == ["up", "up"])
        for name in counters:
            self.assertEqual(s["appliance"]["counters"][name], sum(e["counters"][name] for e in s["engines"]), name)

    def test_rates(self):
        ping = self.lab.popen("sub1", ["ping", "-n", "-q", "-i", "0.02", "-c", "1000", services.HTTP[0]],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.addCleanup(ping.wait)
        self.addCleanup(ping.kill)
        wait_for("fifty packets in a second are seen as such",
                 lambda: 15 < self.stats()["appliance"]["rates"].get("tx_outside_packets", 0) < 70)

    def test_stats_schema(self):
        s = self.lab.api("/api/v1/stats/schema")
        for c in s["counters"]:
            self.assertEqual(c.keys(), {"name", "kind", "unit", "help"})
            self.assertIn(c["kind"], ("sum", "gauge"))
        for v in s["verdicts"]:
            self.assertEqual(v.keys(), {"name", "class", "help"})

    def test_history(self):
        def points():
            h = self.lab.api(f"/api/v1/stats/history?counter=sessions&from={int(time.time()) - 60}")
            self.assertEqual((h["counter"], h["kind"]), ("sessions", "gauge"))
            return [p for p in h["points"] if p[1] is not None]
        now = wait_for("history has three points", lambda: (p := points()) and len(p) >= 3 and p)
        self.assertEqual(sorted(p[0] for p in now), [p[0] for p in now])
        self.assertGreater(now[-1][1], 0)
        for name in ("rx_inside_packets", "fwd_out_new"):
            self.assertEqual(self.lab.api(f"/api/v1/stats/history?counter={name}&step=10")["kind"], "sum")
        many = self.lab.api("/api/v1/stats/history?counter=sessions&from=0&step=1")
        self.assertLessEqual(len(many["points"]), 2000)

    # ---- metrics ----

    def test_metrics(self):
        status, kind, body = self.get("/api/v1/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(kind.startswith("text/plain; version=0.0.4"), kind)
        types, seen = {}, set()
        for line in body.splitlines():
            if m := re.fullmatch(r"# TYPE ([a-z0-9_]+) (counter|gauge)", line):
                self.assertNotIn(m[1], types)
                types[m[1]] = m[2]
            elif not line.startswith("# HELP "):
                m = re.fullmatch(r'([a-z0-9_]+)(\{[a-z]+="[^"\\]*"(,[a-z]+="[^"\\]*")*\})? (-?[0-9.e+]+)', line)
                self.assertTrue(m, line)
                self.assertIn(m[1], types)
                self.assertEqual(m[1].endswith("_total"), types[m[1]] == "counter", line)
                self.assertNotIn((m[1], m[2]), seen)
                seen.add((m[1], m[2]))
        counters, verdicts = self.schema()
        for engine in (0, 1):
            self.assertIn(("corenat_sessions", f'{{engine="{engine}"}}'), seen)
        self.assertGreaterEqual(len(seen), 2 * (len(counters) + len(verdicts)))
        self.assertEqual(self.get("/metrics")[0], 200)

    def test_metrics_as_promtool_sees_them(self):
        if not shutil.which("promtool"):
            self.skipTest("no promtool (Debian package prometheus)")
        body = self.get("/metrics")[2]
        done = subprocess.run(["promtool", "check", "metrics"], input=body, text=True, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr or done.stdout)

    # ---- what is not right ----

    def test_problems(self):
        for path, status, detail in (
                ("/api/v1/nothing", 404, "/api/v1/nothing"),
                ("/api", 404, None),
                ("/api/v1/health?verbose=1", 400, "verbose: unknown parameter"),
                ("/api/v1/sessions?limit=0", 400, "limit"),
                ("/api/v1/sessions?limit=1001", 400, "limit"),
                ("/api/v1/sessions?limit=ten", 400, "limit"),
                ("/api/v1/sessions?limit=1&limit=2", 400, "limit: is given twice"),
                ("/api/v1/sessions?inside=", 400, "inside"),
                ("/api/v1/sessions?inside=100.64.0", 400, "inside"),
                ("/api/v1/sessions?inside=100.64.0.10:65536", 400, "inside"),
                ("/api/v1/sessions?nat=host", 400, "nat"),
                ("/api/v1/sessions?cursor=x", 400, "cursor"),
                ("/api/v1/stats/history", 400, "counter: is missing"),
                ("/api/v1/stats/history?counter=nothing", 400, "counter"),
                ("/api/v1/stats/history?counter=sessions&from=9&to=5", 400, "from"),
                ("/api/v1/stats/history?counter=sessions&step=0", 400, "step")):
            with self.subTest(path):
                self.problem(path, status, detail)

    def test_nothing_but_get(self):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            done = subprocess.run(["curl", "-sS", "--noproxy", "*", "-X", method, "-w", "%{http_code} %{content_type}", "-o",
                                   "/dev/null", self.lab.url + "api/v1/config"], capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout, "405 application/problem+json", method)

    # ---- the dashboard's files ----

    def test_dashboard_files(self):
        status, kind, body = self.get("/")
        self.assertEqual((status, kind.partition(";")[0]), (200, "text/html"))
        for path in set(re.findall(r'(?:src|href)="([^"#:]+)"', body)):
            self.assertEqual(self.get("/" + path.lstrip("/"))[0], 200, path)
        self.assertEqual(self.get("/no-such-file")[0], 404)
        for path in ("/../config.json", "/%2e%2e/config.json", "/..%2fconfig.json"):
            self.assertIn(self.get(path)[0], (400, 403, 404), path)
