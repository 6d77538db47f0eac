"""Who had an address and port, over configurations that one mgmtd after another put in force; and the calculator.
No lab is needed: no packet is sent."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from corenat_lab import services
from harness import Patient, program, run, wait_for


class Versions(Patient):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="corenat-versions-")
        self.addCleanup(self.dir.cleanup)
        self.path = pathlib.Path(self.dir.name)
        with services.host_listener() as listener:
            self.port = listener.getsockname()[1]
        self.arena = f"/corenat-versions-{os.getpid()}"
        self.addCleanup(lambda: pathlib.Path(f"/dev/shm{self.arena}").unlink(missing_ok=True))

        self.sessions = 1024

    def write(self, order):
        """256 subscribers on two addresses: 496 ports each, 130 of them on the first when it is filled."""
        file = self.path / "corenat.json"
        file.write_text(json.dumps({
            "arena": {"name": self.arena, "sessions": self.sessions},
            "inside": {"interface": "none-in", "prefixes": ["100.64.0.0/24"]},
            "outside": {"interface": "none-out"},
            "pools": [{"name": "dealt", "addresses": ["198.51.100.0/31"]}],
            "rules": [{"name": "homes", "ports": "deterministic", "order": order}],
            "system": {"runtime_dir": str(self.path)},
            "api": {"listen": f"127.0.0.1:{self.port}", "web_dir": str(self.path)},
            "history": {"file": str(self.path / "history.db")},
            "events": {"file": str(self.path / "events.db")},
            "versions": {"file": str(self.path / "versions.db")},
        }))
        return file

    @contextlib.contextmanager
    def mgmtd(self, order, how=signal.SIGTERM):
        file = self.write(order)
        with open(self.path / "log", "w") as log:
            child = subprocess.Popen([program("corenat-mgmtd"), "--config", file], stderr=log)
            try:
                # The last it says: what is in force has been dated in its file by then.
                wait_for("a configuration in force", lambda: "API on" in (self.path / "log").read_text())
                yield file
            finally:
                child.send_signal(how)
                child.wait(20)

    def ask(self, file, *args, status=0):
        done = run([program("corenatctl"), "--config", file, "deterministic", *args])
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def candidates(self, file, *args):
        answer = json.loads(self.ask(file, "--json", *args).stdout)
        self.assertTrue(answer["known"])
        return [(c["basis"], c.get("inside"), c.get("nat"), c.get("port_first")) for c in answer["candidates"]]

    def test_each_time_has_its_answer(self):
        """The first mgmtd is killed, the second one puts another order in force, the third the same again."""
        with self.mgmtd("fill", signal.SIGKILL) as file:
            first = time.time()
            self.assertEqual(self.candidates(file, "--nat", "198.51.100.1:1024"),
                             [("in force", "100.64.0.130", "198.51.100.1", 1024)])
        time.sleep(1.5)
        with self.mgmtd("spread") as file:
            second = time.time()
        with self.mgmtd("spread") as file:
            ask = ["--nat", "198.51.100.1:1024", "--skew", "0"]
            new = ("100.64.0.1", "198.51.100.1", 1024)
            old = ("100.64.0.130", "198.51.100.1", 1024)
            self.assertEqual(self.candidates(file, *ask, "--time", f"{first:.3f}"), [("in force", *old)])
            self.assertEqual(self.candidates(file, *ask, "--time", f"{second:.3f}", "--earlier", "0"),
                             [("in force", *new)])
            self.assertEqual(self.candidates(file, *ask, "--time", f"{second:.3f}"),
                             [("in force", *new), ("earlier", *old)])
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
            table = self.ask(file, "--inside", "100.64.0.255", "--time", at, "--skew", "2").stdout
            self.assertIn("198.51.100.1", table)
            self.assertIn("candidates at " + at, table)
            answer = json.loads(self.ask(file, "--json", "--inside", "100.64.0.1", "--time", "1000000000").stdout)
            self.assertFalse(answer["known"])
            self.assertIn("time: \"yesterday\" is not a point in time",
                          self.ask(file, "--inside", "100.64.0.1", "--time", "yesterday", status=1).stderr)
            log = (self.path / "log").read_text()
            self.assertIn("is in force already", log)  # and no third version:
            versions = run(["curl", "-s", f"http://127.0.0.1:{self.port}/api/v1/config/versions"]).stdout
            self.assertEqual([v["id"] for v in json.loads(versions)["versions"]], [2, 1])


    def test_an_arena_of_another_size_is_told(self):
        """It is used as it is; no option of it counts before it was removed."""
        with self.mgmtd("fill"):
            self.assertNotIn("was made for", (self.path / "log").read_text())
        self.sessions = 2048
        with self.mgmtd("fill"):
            self.assertIn("the arena was made for 1024 sessions, arena.sessions says 2048: remove it with",
                          (self.path / "log").read_text())


class Plan(unittest.TestCase):
    def plan(self, *args):
        return run([program("corenatctl"), "plan", *args])

    def test_table_and_json_say_the_same(self):
        args = ["--subscribers", "20000", "--sessions-per-subscriber", "25", "--block-size", "500"]
        table, doc = self.plan(*args), self.plan(*args, "--json")
        self.assertEqual((table.returncode, doc.returncode, table.stderr), (0, 0, ""))
        rows = json.loads(doc.stdout)["rows"]
        self.assertEqual([r["size"] for r in rows if r["mode"] == "blocks"],
                         [64, 128, 256, 500, 512, 1024, 2048, 4096])
        self.assertIn("500*", table.stdout)
        self.assertIn("No pool can have blocks of 500, 2048, 4096: ", table.stdout)
        for r in rows:
            self.assertIn(f"{r['addresses']:.0f}", table.stdout)
            self.assertGreaterEqual(r["addresses"] * r["subscribers_per_address"], 20000)
            self.assertLessEqual(r["address_runs_out"], 0.001)
        by_size = [r["addresses"] for r in rows if r["mode"] == "deterministic"]
        self.assertEqual(by_size, sorted(by_size))

    def test_nonsense_is_refused(self):
        for args, says in [
            ([], "plan needs --subscribers and --sessions-per-subscriber"),
            (["--subscribers", "1e3", "--sessions-per-subscriber", "many"], "takes a number, not 'many'"),
            (["--subscribers", "1e3", "--sessions-per-subscriber", "20", "--blocks-max", "9"], "give 1 to 8"),
            (["--subscribers", "1e3", "--sessions-per-subscriber", "nan"], "sessions per subscriber: give"),
            (["--subscribers", "1e3", "--sessions-per-subscriber", "20", "--block-size", "8"], "block size: give 16"),
            (["--subscribers", "1e3", "--sessions-per-subscriber", "20", "--addresses", "0"], "addresses: give 1 to"),
            (["--subscribers", "1e3", "--sessions-per-subscriber", "20", "--addresses", "1.5"], "takes a whole number"),
            (["--subscribers", "inf", "--sessions-per-subscriber", "20"], "takes a whole number"),
            (["--subscribers", "1e3", "--sessions-per-subscriber", "20", "--hold-percent", "101"], "give 0 to 100"),
        ]:
            with self.subTest(args):
                done = self.plan(*args)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertIn(says, done.stderr)
