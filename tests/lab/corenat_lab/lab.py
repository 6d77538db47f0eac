"""Lab: one lab, from up to down."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import time

from . import appliance, config, process, rss, services, topology, vlan
from .process import LabError
from .state import State

IPERF_S = 20.0  # how long one of its servers may take to end a test
READY_S = 90.0  # how long up waits for servers and for health "ok"


@dataclasses.dataclass
class Options:
    engines: int = 2
    subs: int = 4
    rss: str = "toeplitz"      # or "single": every packet to queue 0
    config: str | dict = None  # JSON document, or a file of one, merged over the generated one
    appliance: bool = True     # False: wiring and servers only
    nat: str = None            # "nft": the kernel's NAT in cgn instead of the appliance
    build: str = None          # default: build/release of this tree
    sessions: int = 1 << 20
    api_port: int = 0          # on the host's loopback; 0: any free one

    def check(self):
        if self.nat == "nft":
            self.appliance = False
        elif self.nat is not None:
            raise LabError(f"--nat knows nft only, not {self.nat}")
        if not 1 <= self.engines <= 64 or not 1 <= self.subs <= 200:
            raise LabError("a lab has 1 to 64 engines and 1 to 200 subscribers")
        if self.rss not in ("toeplitz", "single"):
            raise LabError(f"--rss is toeplitz or single, not {self.rss}")


class Lab:
    """Namespaces `sub1`…`subK`, `access`, `cgn`, `inet`; processes by role: nginx, dnsmasq, iperf1…, and
    mgmtd, aggregator, pe0…peN. All is recorded in state.json, so any other process may open() the lab."""

    def __init__(self, options=None, **kw):
        self.options = options or Options(**kw)
        self.state = None
        self.document = None
        self._children = []

    @classmethod
    def open(cls, lab_id=None):
        lab = cls()
        lab.state = State.load(lab_id)
        lab.options = Options(**lab.state.get("options", {}))
        cfg = lab.state.dir / "config.json"
        try:
            lab.document = json.loads(cfg.read_text())
        except (OSError, ValueError):  # it can be taken down all the same
            lab.document = None
        return lab

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *exc):
        self.down()

    # ---- up and down ----

    def up(self):
        """Everything, or nothing: a failure takes down what was made, then is raised."""
        self.options.check()
        build = pathlib.Path(self.options.build or config.REPO / "build/release").resolve()
        self.state = State.create()
        try:
            self._describe(build)
            topology.build(self.state, self.document)
            if self.options.nat == "nft":
                topology.nft_nat(self.state, self.document)
            self._start_services()
            if self.options.appliance:
                self._start_appliance()
        except BaseException:
            self.down(keep=False)
            raise

    def _describe(self, build):
        state, options = self.state, self.options
        self.document = config.generate(state, options)
        state.update(
            build=str(build), created=time.time(), options=dataclasses.asdict(options),
            namespaces={n: f"{state['id']}-{n}" for n in topology.names(options.subs) + vlan.names(self.document)},
            arena=self.document["arena"]["name"], api_port=None)
        state.save()
        (state.dir / "run").mkdir()
        self._write_config()

    def _write_config(self):
        (self.state.dir / "config.json").write_text(json.dumps(self.document, indent=1))

    def _start_services(self):
        services.write_files(self.state)
        serving = services.commands(self.state)
        for role, (argv, _) in serving.items():
            self._spawn(role, argv, "inet")
        self._await_listening(serving)

    def _await_listening(self, serving):
        deadline = time.monotonic() + READY_S
        for role, (_, port) in serving.items():
            pid = self.state["processes"][role]["pid"]
            while port not in services.listening(pid, self.netns("inet")):
                self._fail_if_dead(serving, deadline, f"{role} does not listen on port {port}")
                time.sleep(0.02)

    def _start_appliance(self):
        port = self.options.api_port
        with services.host_listener(port) as listener:
            self.state["api_port"] = listener.getsockname()[1]
            self.document.setdefault("api", {})["listen"] = f"127.0.0.1:{self.state['api_port']}"
            self._write_config()  # so that corenatctl finds it, too
            roles = appliance.commands(self.state, self.document)
            for role, argv in roles.items():
                self._spawn(role, argv, "cgn", listener if role == "mgmtd" else None)
        deadline = time.monotonic() + READY_S
        while (h := appliance.health(self.state["api_port"])).get("status") != "ok":
            self._fail_if_dead(roles, deadline, f"health is {h.get('status')}: {h.get('reasons')}")
            time.sleep(0.1)

    def _fail_if_dead(self, roles, deadline, complaint):
        dead = [r for r in roles if not self.running(r)]
        if dead:
            complaint = f"{', '.join(dead)} ended"
        elif time.monotonic() < deadline:
            return
        raise LabError(f"{complaint}\n{services.tails(self.state, dead or roles)}")

    def down(self, keep=None):
        """Removes everything; what is already gone is no error. Every step is tried before one complains.
        KEEP=1 of the environment keeps the directory with configuration and logs."""
        keep = os.environ.get("KEEP") == "1" if keep is None else keep
        errors = []
        with process.undisturbed():
            for step in (self._end_processes, self._remove_appliance, self._remove_topology):
                try:
                    step()
                except (LabError, OSError) as e:
                    errors.append(str(e))
            errors += self.remains()
            if errors:
                raise LabError(f"lab {self.state['id']} is not all gone: " + "; ".join(errors))
            if not keep:
                self.state.remove()

    def remains(self):
        """What of this lab is still on the machine, its directory aside; nothing after down()."""
        found = [f"process {p['pid']} ({role})" for role, p in self.state["processes"].items()
                 if process.alive(p["pid"], p["started"])]
        found += [f"namespace {n}" for n in topology.present(self.state)]
        found += [f"mount {m}" for m in rss.mounts(self.state.dir)]
        if self.state.get("arena"):
            found += [f"shared memory {s}" for s in appliance.leftovers(self.state)]
        return found

    def _end_processes(self):
        for child in self._children:
            if child.poll() is None:
                child.terminate()
        recorded = [(p["pid"], p["started"]) for p in self.state["processes"].values()]
        process.end(recorded)
        process.end([(pid, process.started_at(pid)) for pid in topology.strays(self.state)])
        for child in self._children:
            child.wait()
        self._children.clear()

    def _remove_appliance(self):
        if self.state.get("arena"):
            appliance.remove(self.state)

    def _remove_topology(self):
        topology.destroy(self.state)

    # ---- processes ----

    def _spawn(self, role, argv, name, listener=None):
        argv = [str(a) for a in argv]
        pid = process.spawn(argv, self.netns(name), self.log(role), listener)
        self.state["processes"][role] = {"pid": pid, "started": process.started_at(pid), "argv": argv,
                                         "name": name, "listens": listener is not None}
        self.state.save()

    def running(self, role):
        p = self._process(role)
        return process.alive(p["pid"], p["started"])

    def _process(self, role):
        try:
            return self.state["processes"][role]
        except KeyError:
            known = ", ".join(self.state["processes"])
            raise LabError(f"no process {role}; there are {known}") from None

    def kill(self, role, sig=signal.SIGTERM):
        """Signals one process and waits until it has ended (20 seconds; then SIGKILL)."""
        p = self._process(role)
        process.end([(p["pid"], p["started"])], sig)

    def start(self, role):
        """Starts a role that has ended again, as up did; mgmtd gets the same port."""
        p = self._process(role)
        if self.running(role):
            raise LabError(f"{role} runs already, as process {p['pid']}")
        if not p["listens"]:
            self._spawn(role, p["argv"], p["name"])
            return
        with services.host_listener(self.state["api_port"]) as listener:
            self._spawn(role, p["argv"], p["name"], listener)

    def log(self, role):
        return self.state.dir / f"{role}.log"

    # ---- use ----

    def netns(self, name):
        try:
            return self.state["namespaces"][name]
        except KeyError:
            known = ", ".join(self.state.get("namespaces", {}))
            raise LabError(f"no namespace {name}; there are {known}") from None

    def exec(self, name, argv, **kw):
        """subprocess.run in a namespace; keywords are its own."""
        kw.setdefault("env", process.environment())
        return subprocess.run(process.inside(self.netns(name), argv), check=kw.pop("check", False), **kw)

    def popen(self, name, argv, **kw):
        """subprocess.Popen in a namespace, away from the terminal's signals; ended by down() at the latest."""
        kw.setdefault("env", process.environment())
        kw.setdefault("start_new_session", True)
        child = subprocess.Popen(process.inside(self.netns(name), argv), **kw)
        self._children = [c for c in self._children if c.poll() is None] + [child]
        return child

    def api(self, path, timeout=5.0):
        """GET of a path of the REST API, parsed; LabError for any status but 200."""
        status, body = appliance.request(self.state["api_port"], path, timeout)
        if status != 200:
            raise LabError(f"GET {path}: {status} {body.decode(errors='replace')[:500]}")
        return json.loads(body)

    def health(self):
        return appliance.health(self.state["api_port"])

    def wait_healthy(self, timeout_s=READY_S):
        deadline = time.monotonic() + timeout_s
        while (h := self.health()).get("status") != "ok":
            if time.monotonic() > deadline:
                raise LabError(f"health is {h.get('status')}: {h.get('reasons')}")
            time.sleep(0.1)

    def await_iperf(self, k):
        """Until subscriber k's iperf3 server, which makes its listening socket anew after each test, takes another."""
        pid, port = self._process(f"iperf{k}")["pid"], services.IPERF_PORT + k - 1
        deadline, looks = time.monotonic() + IPERF_S, 0
        while looks < 2:
            looks = looks + 1 if services.serves_nobody(pid, port) else 0
            if time.monotonic() > deadline:
                raise LabError(f"iperf{k} is still at its last test")
            time.sleep(0.05)

    def queue_packets(self, side):
        """Packets the NIC emulation sent to each queue of the appliance's `inside` or `outside` interface."""
        return rss.counters(self.state.dir / f"bpf/rss-{side}/rss_packets", config.engines(self.document))

    def wire(self):
        """Packets seen by inet from the appliance, by source: public, private (a leak!), not_ipv4."""
        return dict(zip(rss.WIRE, rss.counters(self.state.dir / "bpf/wire/wire_packets", len(rss.WIRE))))

    @property
    def url(self):
        port = self.state.get("api_port")
        return f"http://127.0.0.1:{port}/" if port else None

    def status(self):
        state, subs = self.state, self.state["options"]["subs"]
        if self.document is None:
            raise LabError(f"{state.dir / 'config.json'} is not there, or no JSON")
        addresses = {f"sub{k}": [topology.subscriber(k)] for k in range(1, subs + 1)}
        addresses["cgn"] = [topology.INSIDE_GATEWAY, topology.OUTSIDE_CGN]
        addresses["inet"] = [topology.OUTSIDE_INET, *topology.SERVERS]
        return {
            "id": state["id"], "dir": str(state.dir), "options": state["options"],
            "config": str(state.dir / "config.json"), "names": list(state["namespaces"]),
            "namespaces": state["namespaces"], "addresses": addresses,
            "pool": [str(n) for n in config.pool_networks(self.document)],
            "rss": {s: dict(zip(("key", "table"), (k.hex(), t)))
                    for s in topology.RSS_PEERS for k, t in [config.rss(self.document, s)]},
            "api": self.url and self.url + "api/v1", "dashboard": self.url,
            "services": services.describe(), "access_log": str(state.dir / "access.log"),
            "processes": {r: {"pid": p["pid"], "alive": self.running(r), "log": str(self.log(r))}
                          for r, p in state["processes"].items()},
            "queue_packets": {s: self.queue_packets(s) for s in topology.RSS_PEERS},
            "wire": self.wire(),
        }
