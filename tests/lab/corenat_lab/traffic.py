"""Traffic: ordinary programs run over and over in the subscribers, and a tally of how each kind fared.

Every subscriber gets three workers: small exchanges (page, names, ping), a large file, and iperf3 in its
four ways in turn. The order of the last is shifted from one subscriber to the next, so that with four of them
all ways are always under way. All rates are bounded: this shows that things work, not how fast.
"""

import dataclasses
import json
import re
import subprocess
import threading
import time

from . import services
from .process import LabError

RUN_S = 3           # length of one iperf3 run
RUN_LIMIT_S = 30    # a run that takes longer has failed
PINGS = 10
TCP_RATE, UDP_RATE, FILE_RATE = "20M", "10M", "4M"

IPERF_WAYS = {
    "tcp up": [],
    "tcp down": ["-R"],
    "udp up": ["-u"],
    "udp down": ["-u", "-R"],
}
KINDS = ["page", "file", "name", "ping", *IPERF_WAYS]


@dataclasses.dataclass
class Tally:
    """One kind's runs. Those cut short by the end of the demonstration count neither way."""
    runs: int = 0
    good: int = 0
    bytes: int = 0
    subs: set = dataclasses.field(default_factory=set)
    failures: list = dataclasses.field(default_factory=list)  # the first few, one line each


class Failed(Exception):
    pass


def page(run, _):
    out = run(["curl", "-sS", "-m", "10", "-w", "\n%{http_code} %{size_download}",
               f"http://{services.HTTP[0]}/"])
    body, _, result = out.rpartition("\n")
    if result.split()[0] != "200" or body != services.PAGE:
        raise Failed(f"unexpected page: {out[:100]!r}")
    return int(result.split()[1])


def file(run, _):
    out = run(["curl", "-sS", "-m", str(RUN_LIMIT_S), "--limit-rate", FILE_RATE, "-o", "/dev/null",
               "-w", "%{http_code} %{size_download}", f"http://{services.HTTP[1]}/large.bin"])
    if out.split() != ["200", str(services.LARGE_BYTES)]:
        raise Failed(f"unexpected file: {out[:100]}")
    return services.LARGE_BYTES


def name(run, _):
    got = 0
    for host, address in services.HOSTS.items():
        out = run(["dig", "+short", "+tries=2", "+time=2", f"@{services.DNS}", host])
        if out.split() != [address]:
            raise Failed(f"{host} resolved to {out.strip() or 'nothing'}")
        got += len(out)
    return got


def ping(run, _):
    """A gap is an engine that had no processor until its ring was full, not a fault; losses here and there are one."""
    out = run(["ping", "-n", "-c", str(PINGS), "-i", "0.2", "-W", "2", services.HTTP[0]])
    answered = sorted({int(n) for n in re.findall(r"icmp_seq=(\d+) ttl=", out)})
    gaps = [(a, b) for a, b in zip([0, *answered], [*answered, PINGS + 1]) if b - a > 1]
    if not answered or len(gaps) > 1:
        raise Failed(f"of {PINGS} echo requests only these were answered: {answered}")
    return len(answered) * 64


def iperf(way):
    def one(run, k):
        out = run(["iperf3", "-J", "-c", services.IPERF, "-p", str(services.IPERF_PORT + k - 1),
                   "-t", str(RUN_S), "--connect-timeout", "5000",
                   "-b", UDP_RATE if way.startswith("udp") else TCP_RATE, *IPERF_WAYS[way]])
        return iperf_bytes(json.loads(out), way)
    return one


def iperf_bytes(result, way):
    """What the receiving end got."""
    if "error" in result:
        raise Failed(result["error"])
    end = result["end"]
    if way.startswith("udp"):
        s = end["sum"]
        got = int(s["bytes"] * (1 - s["lost_percent"] / 100))
    else:
        got = end["sum_received"]["bytes"]
    if got <= 0:
        raise Failed("not one byte arrived")
    return got


class Traffic:
    """start(); let it run; stop(). `tally` maps each kind to its Tally, at any time."""

    def __init__(self, lab):
        self.lab = lab
        self.tally = {kind: Tally() for kind in KINDS}
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._running = set()
        self._threads = []

    def start(self):
        ways = list(IPERF_WAYS)
        for k in range(1, self.lab.options.subs + 1):
            turned = ways[(k - 1) % 4:] + ways[:(k - 1) % 4]
            for jobs, pause in (([("page", page), ("name", name), ("ping", ping)], 0.1),
                                ([("file", file)], 0.1),
                                ([(way, iperf(way)) for way in turned], 0.1)):
                thread = threading.Thread(target=self._work, args=(k, jobs, pause), daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self, grace_s):
        """No new runs; those under way may end within the grace, then are cut short."""
        self._stop.set()
        deadline = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        with self._lock:
            for child in self._running:
                child.kill()
        for thread in self._threads:
            thread.join()

    def good(self):
        return all(t.good and not t.failures for t in self.tally.values())

    def _work(self, k, jobs, pause):
        while not self._stop.is_set():
            for kind, job in jobs:
                if self._stop.is_set():
                    return
                self._once(k, kind, job)
                self._stop.wait(pause)

    def _once(self, k, kind, job):
        tally, sub = self.tally[kind], f"sub{k}"
        try:
            if kind in IPERF_WAYS:
                self.lab.await_iperf(k)
            got, why = job(lambda argv: self._run(sub, argv), k), None
        except (Failed, LabError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as e:
            got, why = 0, f"{sub}: {e}"
        if why and self._stop.is_set():
            return
        with self._lock:
            tally.runs += 1
            tally.bytes += got
            if why:
                tally.failures.append(why)
            else:
                tally.good += 1
                tally.subs.add(sub)

    def _run(self, sub, argv):
        child = self.lab.popen(sub, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        with self._lock:
            self._running.add(child)
        try:
            out, err = child.communicate(timeout=RUN_LIMIT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise
        finally:
            with self._lock:
                self._running.discard(child)
        if child.returncode:
            raise Failed(f"{argv[0]} ended with {child.returncode}: {brief(err, out)}")
        return out


def brief(err, out):
    """The one line that says why; iperf3 -J puts its complaint into the document."""
    try:
        return json.loads(out)["error"]
    except (ValueError, KeyError, TypeError):
        return " ".join((err or out).split())[-200:]
