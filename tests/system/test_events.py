"""Events: who had a NAT address and port, of pools with port blocks, and who was refused, why and how often; none lost and none
twice when mgmtd is killed."""

import json
import time

from corenat_lab import topology
from harness import ECHO, LabCase, wait_for

LIMITS = [{"name": "few", "inside": [f"{topology.subscriber(2)}/32"], "udp_ports": 5}]
POOL = {"pools": [{"name": "main", "addresses": ["198.51.100.0/28"], "block_size": 64, "blocks_max": 6}]}


class Events(LabCase):
    OPTIONS = {"subs": 2, "engines": 2, "config": {"limits": LIMITS, "events": {"destinations": "on"}, "nat": {"ports": "blocks"}, **POOL}}

    def events(self, **query):
        """All that match, by pages of a few."""
        found, cursor = [], ""
        while cursor is not None:
            text = "&".join(f"{k}={v}" for k, v in {**query, "limit": 7, **({"cursor": cursor} if cursor else {})}.items())
            answer = self.lab.api(f"/api/v1/events?{text}")
            found += answer["events"]
            cursor = answer["next"]
        return found

    def who(self, end, when):
        lines = self.ctl("who", "--nat", end, "--time", f"{when:.3f}", "--skew", "0", "--json").splitlines()
        return [json.loads(line) for line in lines]

    def assert_named(self, ends, k, when):
        for end in ends:
            found = self.who(end, when)
            self.assertEqual([f["inside"] for f in found], [topology.subscriber(k)], f"{end} at {when}: {found}")
            self.assertIsNone(found[0]["until"])

    def blocks_told(self):
        given, returned = self.events(kind="block_given"), self.events(kind="block_returned")
        return (len(given), len(returned)) == (self.total("blocks_made"), self.total("blocks_returned"))

    def test_who(self):
        """The subscriber is named, as of now and as of then; also what happened while mgmtd was not there."""
        begun = time.time() - 1
        first = self.flows("sub1", 80).exchange()  # more than a block
        self.assertTrue(all(first.values()))
        then = time.time()
        wait_for("the blocks are in the file", self.blocks_told)
        self.assert_named(first.values(), 1, then)
        address, port = next(iter(first.values())).split(":")
        self.assertEqual(self.who(f"{address}:{port}", begun), [])

        for _ in range(2):
            blocks = self.total("blocks_made")
            self.crash("mgmtd")
            later = self.flows("sub1", 70).exchange()  # another block
            self.assertTrue(all(later.values()))
            when = time.time()
            self.restart("mgmtd")
            wait_for("what happened meanwhile is in the file", self.blocks_told)
            self.assertGreater(self.total("blocks_made"), blocks)
            self.assert_named(later.values(), 1, when)
        self.assert_named(first.values(), 1, then)
        ids = [e["id"] for e in self.events()]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(self.events(kind="lost"), [])
        self.assertIn(topology.subscriber(1), self.ctl("events", "--kind", "block_given", "--nat", f"{address}:{port}"))
        self.assertIn(f"1 found for {address}:{port}", self.ctl("who", "--nat", f"{address}:{port}"))
        self.assertIn("no block with this port was held then", self.ctl("who", "--nat", f"{address}:80"))
        self.assertIn("it was nobody's", self.ctl("who", "--nat", "192.0.2.1:80"))
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)

    def test_refused(self):
        """The limit, the flow that met it, and how often, once a second; and nothing of who was not refused."""
        answered = [v for v in self.flows("sub2", 20).exchange(tries=4).values() if v]
        self.assertEqual(len(answered), 5)
        refused = wait_for("the refusals are in the file",
                           lambda: self.events(verdict="drop_limit_udp_ports", inside=topology.subscriber(2)))
        for e in refused:
            self.assertEqual((e["verdict"], e["of"], e["protocol"]), ("drop_limit_udp_ports", "subscriber", "udp"))
            self.assertEqual(e["remote"], f"{ECHO[0]}:{ECHO[1]}")
        counted = self.total("drop_limit_udp_ports")
        for engine in (0, 1):
            totals = [e["total"] for e in refused if e["engine"] == engine]
            self.assertEqual(totals, sorted(set(totals), reverse=True))  # newest first, and it only grows
        self.assertLessEqual(sum(max([e["total"] for e in refused if e["engine"] == n], default=0) for n in (0, 1)), counted)
        self.assertLess(len(refused), counted)
        self.assertEqual(self.events(verdict="drop_limit_udp_ports", inside=topology.subscriber(1)), [])
