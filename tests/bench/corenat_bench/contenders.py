"""Lab figures: CoreNAT, the plain AF_XDP forwarder and Linux nft on the same kind of veth pairs and the same CPUs.

The generator has one CPU (sending, the veth pair, and what XDP does at the appliance's inside interface); the contender
has the other (the engine, the forwarder, or the kernel's forwarding path by RPS), with the sink on it as well.
All three labs are up at once and take turns, so that whatever else the machine does hits them alike."""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lab"))
from corenat_lab import Lab, LabError, Options  # noqa: E402
from corenat_lab.process import tool  # noqa: E402

from .report import Stolen  # noqa: E402
from .rows import Figure  # noqa: E402

CONTENDER_CPU, SENDER_CPU = 0, 1
ROUNDS = 5
WARM_MS, MEASURE_MS = 800, 2000
NEW_WARM_MS, NEW_MEASURE_MS = 50, 400
FLOWS = {"1k": 1000, "100k": 100_000}
NEW_FLOWS = 100_000_000  # so many that none comes twice
DESTINATION = "203.0.113.2"
FULL = 0.95  # who passes on more of what is offered could do more: not its limit is measured
READY_S = 10

CONFIG = {
    "arena": {"sessions": 1 << 21},
    "engine": {"cpus": [CONTENDER_CPU]},
    "pools": [{"name": "main", "addresses": ["198.51.100.0/26"]}],
}

# Empties the connection tracking table of a namespace: ctnetlink's delete without a tuple.
FLUSH = """
import socket, struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
s.bind((0, 0))
s.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 1 | 4, 1, 0, 2, 0, 0))
code = struct.unpack_from("=i", s.recv(4096), 16)[0]
raise SystemExit(code and f"cannot flush connection tracking: {code}")
"""


class Contender:
    """A lab with the generator's and the sink's ends prepared."""

    name = None
    options = {}

    def __init__(self, build, config):
        self.build = pathlib.Path(build).resolve()
        self.lab = Lab(Options(engines=1, subs=1, rss="single", build=str(self.build), sessions=1 << 21,
                               config=config, **self.options))
        self.skip = 0

    def __enter__(self):
        self.lab.up()
        try:
            self.attach_sink()
            self.prepare()
        except BaseException:
            self.lab.down()
            raise
        return self

    def __exit__(self, *exc):
        self.lab.down()

    @property
    def pins(self):
        return self.lab.state.dir / "bpf/sink"

    def attach_sink(self):
        inet, cgn = self.lab.netns("inet"), self.lab.netns("cgn")
        self.pins.mkdir()
        tool(["bpftool", "prog", "load", self.build / "tests/bench/sink.bpf.o", self.pins / "sink", "type", "xdp",
              "pinmaps", self.pins])
        tool(["ip", "link", "set", "dev", "outside", "xdpdrv", "pinned", self.pins / "sink"], inet)
        tool(["ip", "neigh", "replace", DESTINATION, "lladdr", self.mac("inet", "outside"), "dev", "cgn-out",
              "nud", "permanent"], cgn)

    def prepare(self):
        """What this contender needs besides."""

    def fresh(self):
        """Before new flows are counted."""

    def mac(self, name, device):
        return json.loads(tool(["ip", "-j", "link", "show", "dev", device], self.lab.netns(name)))[0]["address"]

    def send(self, flows, warm_ms, ms, skip=0):
        """Runs the generator once; its figures as numbers."""
        done = self.lab.exec("access", [
            self.build / "tests/bench/bench_sender", "--interface", "uplink", "--mac", self.mac("cgn", "cgn-in"),
            "--destination", DESTINATION, "--sink", self.pins / "sink_packets", "--flows", flows, "--skip", skip,
            "--warm-ms", warm_ms, "--ms", ms, "--cpu", SENDER_CPU],
            capture_output=True, text=True, timeout=(warm_ms + ms) / 1000 + 20)
        if done.returncode:
            raise LabError(f"{self.name}: {done.stderr.strip()}")
        return {k: float(v) for k, v in (p.split("=") for p in done.stdout.split())}

    def arrived(self, run):
        return run["translated"]

    def packets(self, flows):
        """Packets per second that arrive, and that were offered."""
        run = self.send(flows, WARM_MS, MEASURE_MS)
        if not self.arrived(run):
            raise LabError(f"{self.name}: no packet arrived of {run['sent']:.0f}")
        return self.arrived(run) / run["seconds"], run["sent"] / run["seconds"]

    def new_flows(self):
        self.fresh()
        run = self.send(NEW_FLOWS, NEW_WARM_MS, NEW_MEASURE_MS, self.skip)
        self.skip = int(run["next"])
        return self.arrived(run) / run["seconds"], run["sent"] / run["seconds"]


class CoreNat(Contender):
    name = "corenat"

    def prepare(self):
        self.lab.wait_healthy()


class Plain(Contender):
    """No NAT: subscribers' addresses leave as they are."""

    name = "plain"
    options = {"appliance": False}

    def prepare(self):
        log = self.lab.state.dir / "plain_forward.log"
        with open(log, "w", encoding="utf-8") as out:
            self.lab.popen("cgn", [
                self.build / "tests/bench/bench_plain_forward", "--inside", "cgn-in", "--outside", "cgn-out",
                "--inside-dst", self.mac("access", "uplink"), "--outside-dst", self.mac("inet", "outside"),
                "--subscribers", "100.64.0.0/10", "--pool", "198.51.100.0/26",
                "--bpffs", self.lab.state.dir / "bpf/corenat", "--cpu", CONTENDER_CPU, "--seconds", 1200],
                stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_S
        while "queue 0" not in log.read_text(encoding="utf-8"):
            if time.monotonic() > deadline:
                raise LabError(f"plain forwarder: {log.read_text(encoding='utf-8').strip()}")
            time.sleep(0.05)

    def arrived(self, run):
        return run["untranslated"]


class Nft(Contender):
    name = "nft"
    options = {"nat": "nft"}

    def prepare(self):
        # Without RPS the kernel would forward on the generator's CPU, and leave the contender's idle.
        mask = f"{1 << CONTENDER_CPU:x}"
        tool(["ip", "netns", "exec", self.lab.netns("cgn"), "sh", "-c",
              f"echo {mask} > /sys/class/net/cgn-in/queues/rx-0/rps_cpus"])

    def fresh(self):
        self.lab.exec("cgn", ["/usr/bin/python3", "-c", FLUSH], check=True)


CONTENDERS = (CoreNat, Plain, Nft)


# ---- rows ----

def rounds(contenders, measure):
    """Contenders take turns; {name: [(arrived, offered) of each round]}, and how disturbed it all was."""
    got, stolen = {c.name: [] for c in contenders}, Stolen()
    for _ in range(ROUNDS):
        for c in contenders:
            got[c.name].append(measure(c))
    return got, {"stolen_percent": round(stolen.percent())}


def ratio(got, reference):
    """The median of the rounds' ratios, each of turns next to each other, with what it is made of."""
    ratios = [a / b for (a, _), (b, _) in zip(got["corenat"], got[reference])]
    context = {f"{name}_pps": round(statistics.median(a for a, _ in got[name])) for name in ("corenat", reference)}
    context |= {f"offered_to_{name}": round(statistics.median(o for _, o in got[name]))
                for name in ("corenat", reference)}
    if any(context[f"{name}_pps"] > FULL * context[f"offered_to_{name}"] for name in ("corenat", reference)):
        context["limited_by"] = "generator"
    context |= {"least": min(ratios), "most": max(ratios)}
    return statistics.median(ratios), context


ROWS = {"1k": ("G15", "G16.1k"), "100k": ("G15.100k", "G16.100k")}


def wanted_names(wanted):
    plain, nft = wanted.any("G15", "G15.100k"), wanted.any("G16.1k", "G16.100k", "G17")
    return {"corenat"} | ({"plain"} if plain else set()) | ({"nft"} if nft else set()) if plain or nft else set()


def figures(build, wanted):
    names = wanted_names(wanted)
    if not names:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump(CONFIG, config)
        config.flush()
        up = []
        try:
            for kind in CONTENDERS:
                if kind.name in names:
                    up.append(kind(build, config.name).__enter__())
            yield from measured(up, wanted)
        finally:
            for c in reversed(up):
                c.__exit__(None, None, None)


def measured(up, wanted):
    if "G17" in wanted:
        got, disturbed = rounds([c for c in up if c.name != "plain"], Contender.new_flows)
        value, context = ratio(got, "nft")
        yield Figure.of("G17", value, **context, **disturbed)
    for case, (by_plain, by_nft) in ROWS.items():
        if not wanted.any(by_plain, by_nft):
            continue
        got, disturbed = rounds(up, lambda c, n=FLOWS[case]: c.packets(n))
        for name, reference in ((by_plain, "plain"), (by_nft, "nft")):
            if name in wanted and reference in got:
                value, context = ratio(got, reference)
                yield Figure.of(name, value, flows=FLOWS[case], **context, **disturbed)
