"""Pinholes: servers inside that are reached from the Internet for a time, whoever of the appliance dies meanwhile."""

import json
import sys

from beyond import BeyondCase
from corenat_lab import services, topology
from harness import ECHO, PROGRAMS, program, run, wait_for

WEB_PORT = 8080


class Pinholes(BeyondCase):
    OPTIONS = {"subs": 3}

    def ctl(self, *args):
        """From the host, where the lab has the API; the appliance's own namespace has not."""
        return run([program("corenatctl"), "--config", self.lab.state.dir / "config.json", "pinholes", *args, "--json"])

    def said(self, *args):
        done = self.ctl(*args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [json.loads(line) for line in done.stdout.splitlines()]

    def asked(self, *args):
        """The same as ctl, asked again while an engine has no processor for half a second: it does what was asked later."""
        def ask():
            done = self.ctl(*args)
            return None if done.returncode and "answer" in done.stderr else done
        return wait_for("an engine answers", ask)

    def open(self, protocol, k, port, lifetime_s=600, *args):
        """(address, port) outside."""
        inside = f"{topology.subscriber(k)}:{port}"
        done = self.asked("open", "--protocol", protocol, "--inside", inside, "--lifetime-s", str(lifetime_s), *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        row = json.loads(done.stdout)
        self.addCleanup(self.ctl, "close", "--protocol", protocol, "--inside", inside)
        self.assertEqual((row["inside"], row["protocol"]), (inside, protocol))
        address, _, outside = row["nat"].partition(":")
        return address, int(outside)

    def page(self, nat):
        done = self.lab.exec("inet", ["curl", "-sS", "-f", "-m", "5", "--interface", services.HTTP[0],
                                      "http://{}:{}/1000".format(*nat)], capture_output=True)
        return done.returncode == 0 and len(done.stdout) == 1000

    def test_a_web_server_of_a_subscriber(self):
        for k in (1, 2):
            self.serve(f"sub{k}", "httpd.py", topology.subscriber(k), WEB_PORT)
            nat = self.open("tcp", k, WEB_PORT)
            wait_for("it is open", lambda: self.page(nat))
            self.fetch("far", "http://{}:{}".format(*nat), 1_000_000)
            self.fetch("sub3", "http://{}:{}".format(*nat), 1_000_000)  # through hairpin
            self.assert_page(f"sub{k}")
            self.asked("close", "--protocol", "tcp", "--inside", f"{topology.subscriber(k)}:{WEB_PORT}")
            self.assertEqual(self.said("list", "--inside", topology.subscriber(k)), [])
            self.assertFalse(self.page(nat))
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)

    def test_it_outlives_engines_and_mgmtd(self):
        self.serve("sub1", "httpd.py", topology.subscriber(1), WEB_PORT)
        nat = self.open("tcp", 1, WEB_PORT)
        before = self.said("list")
        for role in ("pe0", "pe1", "mgmtd"):
            self.crash(role)
            self.restart(role)
            wait_for(f"it is open after {role}", lambda: self.page(nat))
        after = self.said("list")
        for row in (*before, *after):
            self.assertTrue(0 < row.pop("lifetime_s") <= 600)
        self.assertEqual(before, after)
        self.assertEqual(self.open("tcp", 1, WEB_PORT, 1200), nat)  # more time
        self.assertGreater(self.said("list")[0]["lifetime_s"], 1000)

    def test_datagrams_by_a_wanted_port(self):
        self.serve("sub2", "echo.py", topology.subscriber(2), ECHO[1])
        address, port = self.open("udp", 2, ECHO[1], 600, "--nat", "198.51.100.3:40000")
        self.assertEqual((address, port), ("198.51.100.3", 40000))
        for name in ("inet", "far", "sub3"):
            self.out(name, [sys.executable, PROGRAMS / "datagrams.py", address, str(port), "100", "1400"])
        done = self.asked("open", "--protocol", "udp", "--inside", f"{topology.subscriber(1)}:1", "--lifetime-s", "600",
                          "--nat", f"{address}:{port}")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no such port is to be had", done.stderr)

    def test_it_ends_by_itself(self):
        self.serve("sub3", "echo.py", topology.subscriber(3), 9000)
        self.open("udp", 3, 9000, 120)
        wait_for("its time is up", lambda: not self.said("list", "--inside", topology.subscriber(3)), 140, 2)
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)
