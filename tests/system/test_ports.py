"""Ways of choosing ports, changed one after another under programs that run: nothing that lives is lost, nothing is refused,
and what is computed is what servers see."""

import copy
import ipaddress
import json
import signal
import time

from corenat_lab import services, topology
from harness import LabCase, program, run, wait_for

# Not drop_lock_busy: on a machine with fewer CPUs than busy programs, who holds a lock may be put aside; the sender tries again.
REFUSALS = ["drop_no_port", "drop_no_block", "drop_block_limit", "drop_draining", "drop_no_session"]
HOMES = str(ipaddress.ip_network(f"{topology.subscriber(1)}/24", strict=False))
DEALT = {"rules": [{"name": "homes", "inside": [HOMES], "ports": "deterministic"},
                   {"name": "no", "action": "drop"}]}


def pool(**more):
    return {"pools": [{"name": "main", "addresses": ["198.51.100.0/28"], **more}]}


# What the configuration says besides, in this order.
CHANGES = [
    ("ordered", pool()), ("shuffled", pool()), ("blocks", pool()), ("blocks", pool(block_size=256)),
    ("blocks", pool(drain=["198.51.100.8/29"], block_size=64)), ("blocks", pool(drain=["198.51.100.0/29"])), ("ordered", pool()),
    ("shuffled", {**pool(), **DEALT}), ("shuffled", pool()),
]


class PortsCase(LabCase):
    def put_in_force(self, document):
        generation = self.lab.health()["config_generation"]
        (self.lab.state.dir / "config.json").write_text(json.dumps(document))
        self.lab.kill("mgmtd", signal.SIGTERM)
        self.lab.start("mgmtd")
        wait_for("the new configuration is in force",
                 lambda: self.lab.health().get("config_generation", 0) > generation)

    def refusals(self):
        return {name: self.total(name) for name in REFUSALS}


class Ways(PortsCase):
    OPTIONS = {"subs": 2, "engines": 2}

    used = {}  # local ports of earlier sockets: a new one of the same number has the mapping that lives on

    def use_programs(self, sub):
        self.assert_page(sub)
        self.out(sub, ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", services.HTTP[0]])
        flows = self.flows(sub, 20)
        seen = flows.exchange()
        flows.close()
        fresh = {port: end for port, end in seen.items() if port not in self.used}
        self.used.update(seen)
        return fresh

    def test_changed_under_running_programs(self):
        document = json.loads((self.lab.state.dir / "config.json").read_text())
        before = self.refusals()
        long = self.download("sub1", "3M")
        flows = self.flows("sub2", 40)
        first = flows.exchange()
        for way, more in CHANGES:
            with self.subTest(way=way, more=more):
                changed = {**copy.deepcopy(document), **copy.deepcopy(more)}
                changed.setdefault("nat", {})["ports"] = way
                self.put_in_force(changed)
                seen = self.use_programs("sub1")
                self.assertTrue(all(seen.values()), f"unanswered: {seen}")
                self.assertEqual(flows.exchange(), first, "sockets that spoke before the change")
                if "rules" in more:
                    self.assert_computed(seen.values())
                elif way == "blocks":
                    self.assert_one_block(seen.values(), more["pools"][0].get("block_size", 512))
                self.assertEqual(self.refusals(), before)
        self.assert_downloaded(long)

    def assert_one_block(self, seen, size):
        blocks = {(end.split(":")[0], int(end.split(":")[1]) // size) for end in seen}
        self.assertEqual(len(blocks), 1, f"20 sockets of one subscriber: {sorted(seen)}")

    def assert_computed(self, seen):
        """The calculator names the subscriber of each end a server saw."""
        document = json.loads((self.lab.state.dir / "config.json").read_text())
        document["api"]["listen"] = f"127.0.0.1:{self.lab.state['api_port']}"  # mgmtd's was opened for it by the lab
        (self.tmp / "ctl.json").write_text(json.dumps(document))
        now = str(int(time.time()))
        for end in seen:
            done = run([program("corenatctl"), "--config", self.tmp / "ctl.json", "deterministic", "--nat", end, "--time", now])
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(topology.subscriber(1), done.stdout, end)


class Home(PortsCase):
    OPTIONS = {"subs": 2, "engines": 2, "config": {"nat": {
        "mapping": "address-and-port-dependent", "filtering": "address-and-port-dependent"}}}

    def test_replies_come_home(self):
        """Without choosing, half of them would."""
        for sub in ("sub1", "sub2"):
            self.assertTrue(all(self.flows(sub, 200).exchange().values()))
        home, away = self.total("replies_home"), self.total("replies_away")
        self.assertGreaterEqual(home + away, 400)
        self.assertGreaterEqual(home / (home + away), 0.9, f"{home} home, {away} away")
