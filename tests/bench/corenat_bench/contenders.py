"""The contenders of the lab: CoreNAT, the plain AF_XDP forwarder and Linux nft, each in a lab of its own.

The same kind of veth pairs and the same CPUs for all. The generator has one CPU, with what the appliance's inside interface
does on reception (XDP, or making socket buffers); the contender has the other (the engine, the forwarder, or the kernel's
forwarding path, moved there by RPS), with what it sends and the sink. The generator always offers more than any of them
carries, so both CPUs are busy all the time, whoever's turn it is."""

import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "lab"))
from corenat_lab import Lab, LabError, Options  # noqa: E402
from corenat_lab.process import tool  # noqa: E402

CONTENDER_CPU, SENDER_CPU = 0, 1
SESSIONS = 1 << 22
SUBSCRIBERS = 1 << 19
NEW_FLOWS = 1 << 24  # so many that none comes twice; of half the subscribers there is room for (source.h)
DESTINATION, POOL, POOL_ADDRESSES = "203.0.113.2", "198.51.100.0", 128
READY_S = 10
KNOW_MS = 1000  # in which every contender carries 100 K packets
DEFER_IRQS, FLUSH_NS = 2, 200_000  # see docs/nic.md, Polling
PRIORITY = -15  # of engines, see pe/live.c

CONFIG = {
    "arena": {"sessions": SESSIONS, "subscribers": SUBSCRIBERS},
    "engine": {"cpus": [CONTENDER_CPU]},
    "pools": [{"name": "main", "addresses": [f"{POOL}/25"]}],
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


def kernel_threads(name):
    """Process ids of those whose name begins like this."""
    found = set()
    for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text().startswith(name):
                found.add(int(comm.parent.name))
        except OSError:
            pass  # it ended meanwhile
    return found


class FairPriority:
    """The kernel's forwarding path gets the priority that engines give themselves: under load it runs in ksoftirqd, which
    else shares its CPU evenly with whatever runs on the machine besides. Put back at the end."""

    def __init__(self):
        self.was = {}

    def __enter__(self):
        for cpu in (CONTENDER_CPU, SENDER_CPU):
            for pid in kernel_threads(f"ksoftirqd/{cpu}\n"):
                self.was[pid] = os.getpriority(os.PRIO_PROCESS, pid)
                os.setpriority(os.PRIO_PROCESS, pid, PRIORITY)
        return self

    def __exit__(self, *exc):
        for pid, nice in self.was.items():
            try:
                os.setpriority(os.PRIO_PROCESS, pid, nice)
            except OSError:
                pass


class Contender:
    """A lab with the generator's and the sink's ends prepared."""

    name = None
    options = {}
    arrives_as = "translated"

    def __init__(self, build, config=None):
        self.build = pathlib.Path(build).resolve()
        self.lab = Lab(Options(engines=1, subs=1, rss="single", build=str(self.build), sessions=SESSIONS,
                               config=config or CONFIG, **self.options))
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
        """Before new flows are counted. CoreNAT has room for all of them, and is not helped by starting anew."""

    def mac(self, name, device):
        return json.loads(tool(["ip", "-j", "link", "show", "dev", device], self.lab.netns(name)))[0]["address"]

    def sender(self, flows, warm_ms, ms, skip=0, junk_percent=0, per_flow=0, at_random=False):
        """The generator's command line. Flows come in turn, or as chance has it."""
        side = {"inside": ("access", "uplink", "cgn-in"), "outside": ("inet", "outside", "cgn-out")}
        argv = ["nice", "-n", PRIORITY, self.build / "tests/bench/bench_sender",
                "--program", self.build / "tests/bench/source.bpf.o", "--sink", self.pins / "sink_packets",
                "--destination", DESTINATION, "--pool", POOL, "--pool-addresses", POOL_ADDRESSES,
                "--flows", flows, "--skip", skip, "--junk-percent", junk_percent, "--per-flow", per_flow, "--warm-ms", warm_ms, "--ms", ms,
                "--cpu", SENDER_CPU, "--contender-cpu", CONTENDER_CPU]
        for name, (netns, device, peer) in side.items():
            argv += [f"--{name}-netns", f"/run/netns/{self.lab.netns(netns)}", f"--{name}-interface", device,
                     f"--{name}-mac", self.mac("cgn", peer)]
        return [str(a) for a in argv + ["--random"] * at_random]

    def send(self, flows, warm_ms, ms, **kw):
        """Runs the generator once; its figures as numbers."""
        done = subprocess.run(self.sender(flows, warm_ms, ms, **kw), capture_output=True, text=True, check=False,
                              timeout=(warm_ms + ms) / 1000 + 20)
        if done.returncode:
            raise LabError(f"{self.name}: {done.stderr.strip()}")
        run = {k: float(v) for k, v in (p.split("=") for p in done.stdout.split())}
        run["arrived"] = run[self.arrives_as]
        if not run["arrived"]:
            raise LabError(f"{self.name}: no packet arrived of {run['sent']:.0f}")
        return run

    def know(self, flows):
        """Makes the sessions of all, in turn: chance would leave some to be made while it is measured."""
        self.send(flows, 0, KNOW_MS)

    def new_flows(self, warm_ms, ms):
        self.fresh()
        run = self.send(NEW_FLOWS, warm_ms, ms, skip=self.skip)
        self.skip = int(run["next"]) % NEW_FLOWS
        return run


class CoreNat(Contender):
    name = "corenat"

    def prepare(self):
        self.lab.wait_healthy()

    def calls(self):
        """What its engine has counted of system calls, and of what they were for."""
        return self.lab.api("/api/v1/engines")["engines"][0]["counters"]


class Polled(CoreNat):
    """The engine polls the drivers itself, whose interrupts wait meanwhile."""

    name = "polled"

    def __init__(self, build):
        super().__init__(build, CONFIG | {"engine": CONFIG["engine"] | {"busy_poll": "on"}})

    def prepare(self):
        super().prepare()
        for device in ("cgn-in", "cgn-out"):
            tool(["ip", "netns", "exec", self.lab.netns("cgn"), "sh", "-c",
                  f"cd /sys/class/net/{device} && echo {DEFER_IRQS} > napi_defer_hard_irqs && echo {FLUSH_NS} > gro_flush_timeout"])


class Plain(Contender):
    """No NAT: subscribers' addresses leave as they are."""

    name = "plain"
    options = {"appliance": False}
    arrives_as = "untranslated"

    def prepare(self):
        log = self.lab.state.dir / "plain_forward.log"
        with open(log, "w", encoding="utf-8") as out:
            self.lab.popen("cgn", [
                self.build / "tests/bench/bench_plain_forward", "--inside", "cgn-in", "--outside", "cgn-out",
                "--inside-dst", self.mac("access", "uplink"), "--outside-dst", self.mac("inet", "outside"),
                "--subscribers", "100.64.0.0/10", "--pool", f"{POOL}/25",
                "--bpffs", self.lab.state.dir / "bpf/corenat", "--cpu", CONTENDER_CPU, "--seconds", 1200],
                stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_S
        while "queue 0" not in log.read_text(encoding="utf-8"):
            if time.monotonic() > deadline:
                raise LabError(f"plain forwarder: {log.read_text(encoding='utf-8').strip()}")
            time.sleep(0.05)


class Nft(Contender):
    """As fast as it gets here: no checksums looked at (a NIC would have), and the generator's frames taken as they come."""

    name = "nft"
    options = {"nat": "nft"}

    def prepare(self):
        cgn = self.lab.netns("cgn")
        # A veth device takes frames from XDP only while it has a receive queue of its own, which GRO gives it.
        tool(["ethtool", "-K", "cgn-in", "gro", "on"], cgn)
        tool(["sysctl", "-qw", "net.netfilter.nf_conntrack_checksum=0"], cgn)
        # Without RPS the kernel would forward on the generator's CPU, and leave the contender's idle.
        mask = f"{1 << CONTENDER_CPU:x}"
        tool(["ip", "netns", "exec", cgn, "sh", "-c", f"echo {mask} > /sys/class/net/cgn-in/queues/rx-0/rps_cpus"])

    def fresh(self):
        self.lab.exec("cgn", ["/usr/bin/python3", "-c", FLUSH], check=True)


CONTENDERS = (CoreNat, Polled, Plain, Nft)
