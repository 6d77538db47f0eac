"""Ways of choosing ports, changed one after another under programs that run: nothing that lives is lost, nothing is refused,
and what is computed is what servers see."""

import copy
import ipaddress
import json
import signal
import time

from corenat_lab import services, topology
from harness import LabCase, run, wait_for

# Not drop_lock_busy: on a machine with fewer CPUs than busy programs, who holds a lock may be put aside; the sender tries again.
REFUSALS = ["drop_no_port", "drop_no_block", "drop_block_limit", "drop_draining", "drop_no_session"]
HOMES = str(ipaddress.ip_network(f"{topology.subscriber(1)}/24", strict=False))
DEALT = {"rules": [{"name": "homes", "inside": [HOMES], "ports": "deterministic"},
                   {"name": "no", "action": "drop"}]}


def pool(**more):
    return {"pools": [{"name": "main", "addresses": ["198.51.100.0/28"], **more}]}


KEPT = {"nat": {"port_parity": "preserve", "port_range": "preserve"}}
LOW = 777  # an inside port below 1024
# A name is asked for from a port that no socket is given: the mapping lives on, and a later socket's of the same port would be it.
ASKED_FROM = 1053

# What the configuration says besides, in this order.
CHANGES = [
    ("ordered", pool()), ("shuffled", pool()), ("blocks", pool()), ("blocks", pool(block_size=256)),
    ("blocks", pool(drain=["198.51.100.8/29"], block_size=64)), ("blocks", pool(drain=["198.51.100.0/29"])), ("ordered", pool()),
    ("shuffled", {**pool(), **DEALT}), ("shuffled", {**pool(), **KEPT}), ("ordered", {**pool(), **KEPT}),
]


class PortsCase(LabCase):
    def put_in_force(self, document):
        generation = self.health()["config_generation"]
        (self.lab.state.dir / "config.json").write_text(json.dumps(document))
        self.lab.kill("mgmtd", signal.SIGTERM)
        self.lab.start("mgmtd")
        wait_for("the new configuration is in force", lambda: self.health()["config_generation"] > generation)
        wait_for("engines use it", lambda: {e["config_generation"] for e in self.engines()} == {self.health()["config_generation"]})

    def refusals(self):
        return {name: self.total(name) for name in REFUSALS}


class Ways(PortsCase):
    OPTIONS = {"subs": 2, "engines": 2}

    def ask(self, sub, host, port):
        me = topology.subscriber(int(sub[3:]))
        return self.out(sub, ["dig", "+short", "+tries=3", "+time=2", "-b", f"{me}#{port}", f"@{services.DNS}", host]).split()

    def use_programs(self, sub):
        self.assert_page(sub)
        self.out(sub, ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", services.HTTP[0]])
        host, address = next(iter(services.HOSTS.items()))
        self.assertEqual(self.ask(sub, host, ASKED_FROM), [address])
        self.lab.await_iperf(int(sub[3:]))
        self.out(sub, ["iperf3", "-c", services.IPERF, "-p", str(services.IPERF_PORT + int(sub[3:]) - 1), "-n", "1M"])
        flows = self.flows(sub, 20)
        seen = flows.exchange()
        flows.close()
        return seen

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
                elif "nat" in more:
                    self.assert_kept(seen)
                elif way == "blocks":
                    self.assert_one_block(seen.values(), more["pools"][0].get("block_size", 512))
                self.assertEqual(self.refusals(), before)
        self.assert_downloaded(long)

    def assert_kept(self, seen):
        """Even stays even, odd stays odd; a port below 1024 stays below."""
        self.assertEqual({p: int(end.split(":")[1]) % 2 for p, end in seen.items()}, {p: p % 2 for p in seen})
        self.ask("sub1", next(iter(services.HOSTS)), LOW)
        nats = {s["nat"] for s in self.sessions(inside=topology.subscriber(1), protocol="udp")
                if s["inside"].endswith(f":{LOW}")}
        self.assertTrue(nats and all(int(n.split(":")[1]) < 1024 and int(n.split(":")[1]) % 2 for n in nats), nats)

    def assert_one_block(self, seen, size):
        blocks = {(end.split(":")[0], int(end.split(":")[1]) // size) for end in seen}
        self.assertEqual(len(blocks), 1, f"20 sockets of one subscriber: {sorted(seen)}")

    def assert_computed(self, seen):
        """The calculator names the subscriber of each end a server saw."""
        now = str(int(time.time()))
        for end in seen:
            self.assertIn(topology.subscriber(1), self.ctl("deterministic", "--nat", end, "--time", now), end)


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


class HomeByAddress(PortsCase):
    """The NIC looks at the destination alone: the NAT address decides who gets the replies."""
    OPTIONS = {"subs": 2, "engines": 2, "config": {"outside": {"rss": {"mode": "destination"}}, "nat": {
        "mapping": "address-and-port-dependent", "filtering": "address-and-port-dependent", "pooling": "arbitrary"}}}

    def test_replies_come_home(self):
        for sub in ("sub1", "sub2"):
            self.assertTrue(all(self.flows(sub, 200).exchange().values()))
            self.assert_page(sub)
            self.out(sub, ["iperf3", "-c", services.IPERF, "-p", str(services.IPERF_PORT + int(sub[3:]) - 1), "-n", "1M"])
        home, away = self.total("replies_home"), self.total("replies_away")
        self.assertGreaterEqual(home, 400)
        self.assertEqual((away, self.total("fwd_in_adopted")), (0, 0), f"{home} came home")
        received = [c["rx_outside_packets"] for c in self.counters()]
        self.assertTrue(all(received), f"both engines are home to some: {received}")

    def test_an_interface_whose_rss_cannot_be_read_is_named(self):
        """A veth pair has none."""
        document = json.loads((self.lab.state.dir / "config.json").read_text())
        document["outside"]["rss"] = {"mode": "nic"}
        (self.tmp / "nic.json").write_text(json.dumps(document))
        self.lab.kill("mgmtd", signal.SIGTERM)
        done = self.command("corenat-mgmtd", config=self.tmp / "nic.json")
        self.restart("mgmtd")
        self.assertEqual(done.returncode, 1)
        self.assertIn("cgn-out: its RSS cannot be read (Operation not supported); rss.mode 'nic' needs a driver that shows it: "
                      "give `rss.key` and `rss.table` with mode 'toeplitz', or mode 'single'\n", done.stderr.replace('"', "'"))


class Removed(PortsCase):
    """NAT addresses that are taken out of the configuration while programs use them."""
    OPTIONS = {"subs": 2, "engines": 2, "config": {"nat": {"hold_s": 1, "udp_timeout_s": 120}}}

    def leaving(self):
        return {a["address"]: a["tcp_used"] + a["other_used"] for a in self.lab.api("/api/v1/pools")["leaving"]}

    def test_what_lives_there_goes_on(self):
        document = json.loads((self.lab.state.dir / "config.json").read_text())
        long = self.download("sub1", "3M")
        flows = self.flows("sub2", 40)
        first = flows.exchange()
        used = {s["nat"].split(":")[0] for s in self.sessions()}
        lost = self.total("drop_no_session")
        others = sorted(str(a) for a in ipaddress.ip_network("198.51.100.0/28") if str(a) not in used)
        self.put_in_force({**document, "pools": [{"name": "main", "addresses": others}]})
        self.assertEqual(set(self.leaving()), used)

        self.assertEqual(flows.exchange(), first, "sockets that spoke before their address was removed")
        self.assertIn(self.ends(self.flows("sub2", 20)), others)
        self.assertEqual(self.total("drop_no_session"), lost)
        self.crash("pe1")
        self.restart("pe1")
        self.assertEqual(flows.exchange(), first, "the same with an engine's successor")
        self.assert_downloaded(long)
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)

        self.clear(used)
        wait_for("nothing is left of them", lambda: not self.leaving())
        wait_for("what is put in force is used", lambda: len({e["config_generation"] for e in self.engines()}) == 1)
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)

    def ends(self, flows):
        """The one NAT address of a subscriber's new sockets."""
        addresses = {end.split(":")[0] for end in flows.exchange().values()}
        self.assertEqual(len(addresses), 1, addresses)
        return addresses.pop()

    def clear(self, addresses):
        for address in addresses:
            run(["curl", "-sS", "-X", "DELETE", self.lab.url.rstrip("/") + f"/api/v1/sessions?nat={address}"])
