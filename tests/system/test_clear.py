"""Sessions cleared by the operator, from the command line, while their programs go on."""

import json
import re

from corenat_lab import services, topology
from harness import ECHO, LabCase, program, run, wait_for


class Clear(LabCase):
    OPTIONS = {"subs": 2}

    def ctl(self, *args):
        """From the host, where the lab has the API; the appliance's own namespace has not."""
        return run([program("corenatctl"), "--config", self.lab.state.dir / "config.json", *args])

    def said(self, *args):
        done = self.ctl(*args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_a_subscribers_sessions(self):
        one, two = topology.subscriber(1), topology.subscriber(2)
        cleared = self.total("sessions_cleared")
        flows = {k: self.flows(f"sub{k}", 50) for k in (1, 2)}
        seen = {k: f.exchange() for k, f in flows.items()}
        mine = [json.loads(line) for line in self.said("sessions", "list", "--inside", one, "--json").splitlines()]
        self.assertEqual({s["inside"]: s["nat"] for s in mine if s["protocol"] == "udp"},
                         {f"{one}:{port}": nat for port, nat in seen[1].items()})
        self.assertEqual({s["owner"] for s in mine}, {0, 1})

        answer = self.said("sessions", "clear", "--inside", one, "--remote", "{}:{}".format(*ECHO))
        # An engine that has no processor for half a second is said to be still at it, and goes on.
        self.assertRegex(answer, r"^50 sessions cleared\n$|still at it")
        wait_for("they are gone", lambda: not self.sessions(inside=one, protocol="udp"))
        wait_for("they are counted", lambda: self.total("sessions_cleared") == cleared + 50)
        self.assertEqual(len(self.sessions(inside=two, protocol="udp")), 50)
        self.assertRegex(self.said("sessions", "clear", "--inside", one), r"^0 sessions cleared\n")

        self.assertNotIn(None, flows[1].exchange().values())  # new sessions, as ever
        self.assertEqual(len(self.sessions(inside=one, protocol="udp")), 50)
        self.assertEqual(flows[2].exchange(), seen[2])
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)

    def test_a_table_for_people(self):
        self.out("sub2", ["ping", "-n", "-q", "-c", "1", services.HTTP[0]])
        first, *rows, last = self.said("sessions", "--inside", topology.subscriber(2), "--protocol", "icmp").splitlines()
        self.assertEqual(first.split()[:4], ["protocol", "realm", "inside", "nat"])
        self.assertRegex(rows[0], rf"^icmp +0 {re.escape(topology.subscriber(2))}:\d+ +198\.51\.100\.\d+:\d+ ")
        self.assertEqual(last, f"{len(rows)} sessions")

    def test_a_transfer_of_another_goes_on(self):
        transfer = self.download("sub2", "4M")
        wait_for("it runs", lambda: self.sessions(inside=topology.subscriber(2), protocol="tcp"))
        self.assert_page("sub1")
        self.said("sessions", "clear", "--inside", topology.subscriber(1))
        self.assert_downloaded(transfer)

    def test_refusals(self):
        for args, status, sentence in ((["clear"], 1, "which sessions? give at least one of"),
                                       (["clear", "--inside", "one"], 1, 'inside: "one" is not an IPv4 address'),
                                       (["list", "--protocol", "gre"], 1, 'protocol: "gre" is none'),
                                       (["list", "--exact"], 2, "--exact means nothing to sessions list")):
            with self.subTest(args):
                done = self.ctl("sessions", *args)
                self.assertEqual((done.returncode, done.stdout), (status, ""))
                self.assertIn(sentence, done.stderr)
