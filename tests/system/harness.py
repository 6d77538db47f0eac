"""Harness of the system tests: a class of tests with one lab, and what those tests have in common.

    class Pages(LabCase):
        OPTIONS = {"subs": 2}

        def test_page(self):
            self.curl("sub1", "/")

After every test, the processes of the appliance must be there and their logs free of complaints of sanitizers;
after every class, nothing of its lab may be left on the machine.
"""

import collections
import hashlib
import http.client
import itertools
import json
import os
import pathlib
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest

from corenat_lab import Lab, LabError, Options, appliance, services
from starved import TOO_MUCH, Stolen

BUILD = pathlib.Path("build/release").resolve()  # set by `run`
PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
ECHO = "203.0.113.13", 7007  # where programs/echo.py answers in `inet`

FAULT = re.compile(r"(ERROR|WARNING): \w*Sanitizer|runtime error:|Assertion .*failed|\*\*\* .* \*\*\*")
# Below those that the kernel gives to sockets: a socket of the same number as an earlier one's has the mapping that lives on.
FLOW_PORTS = range(10000, 32768)
POOL = re.compile(r"198\.51\.100\.([0-9]|1[0-5])$")  # config.POOL of the lab

_labs = []
_serial = itertools.count()


def tails():
    """The ends of the appliance's logs of all labs that are up, for the reader of a failure."""
    return "".join(f"  lab {lab.state['id']}:\n" + _indent(services.tails(lab.state, roles(lab)))
                   for lab in _labs if lab.state)


def _indent(text):
    return "".join(f"    {line}\n" for line in text.splitlines())


def end_all():
    """For a run that was interrupted: classes end their labs themselves."""
    while _labs:
        _labs.pop().down()


def roles(lab):
    """The appliance's own processes, the management first."""
    return [r for r in lab.state["processes"] if r in ("mgmtd", "aggregator") or re.fullmatch(r"pe\d+", r)]


def sanitized():
    return BUILD.name != "release"


def program(name):
    return BUILD / "bin" / name


def run(argv, **kw):
    """A program that ends by itself; output captured as text."""
    return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=kw.pop("timeout", 60), check=False, **kw)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def wait_for(what, condition, limit_s=20.0, every_s=0.05):
    """The first true answer of `condition`; an API that does not answer, or refuses to, has not said so yet."""
    deadline = time.monotonic() + limit_s
    while True:
        why = ""
        try:
            if got := condition():
                return got
        except (LabError, OSError, http.client.HTTPException) as e:
            why = f": {e}"
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {limit_s:g} s{why}")
        time.sleep(every_s)


def await_line(child, what, limit_s=60):
    """The first line of a program's, which says that it is ready."""
    if not select.select([child.stdout], [], [], limit_s)[0]:
        raise AssertionError(f"{what} does not begin")
    return child.stdout.readline().strip()


def state_of(pid):
    """A process's state as ps shows it: S when it waits for something to come, having worked off what was there."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class Flows:
    """UDP sockets of one subscriber and what the server saw of each; see programs/flows.py."""

    def __init__(self, lab, sub, ports):
        self.sent = 0  # datagrams, all exchanges together
        self._child = lab.popen(sub, [sys.executable, PROGRAMS / "flows.py", *map(str, ECHO), *map(str, ports)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def exchange(self, tries=8):
        """One datagram and its answer on every socket: {local port: "NAT address:port" or None}. A try takes a second."""
        self._child.stdin.write(f"{tries}\n")
        self._child.stdin.flush()
        if not select.select([self._child.stdout], [], [], 30)[0]:
            raise AssertionError("flows.py says nothing")
        answer = json.loads(self._child.stdout.readline())
        self.sent = answer["sent"]
        return {int(k): v for k, v in answer["seen"].items()}

    def close(self):
        self._child.stdin.close()
        self._child.wait(10)
        self._child.stdout.close()


class Patient(unittest.TestCase):
    TRIES = 3

    def run(self, result=None):
        """A failure counts, unless the hypervisor starved the machine meanwhile: then the test is run again, and says so."""
        for attempt in range(1, self.TRIES + 1):
            stolen, outcome = Stolen(), unittest.TestResult()
            result.startTest(self)
            super().run(outcome)
            share = stolen.share()
            if outcome.wasSuccessful() or attempt == self.TRIES or share < TOO_MUCH:
                break
            print(f"again {self.id()}: the hypervisor kept {share:.0%} of the CPU time from this machine", flush=True)
            if why := self.begin_anew():
                outcome.errors.append((self, why))
                break
        for _, why in outcome.skipped:
            result.addSkip(self, why)
        for _, text in outcome.failures + outcome.errors:
            result.addFailure(self, (AssertionError, AssertionError("\n" + text), None))
        if outcome.wasSuccessful() and not outcome.skipped:
            result.addSuccess(self)
        result.stopTest(self)
        return result

    def begin_anew(self):
        """What a failed attempt left behind is done away with; returns what goes wrong."""


class LabCase(Patient):
    OPTIONS = {}
    lab = None

    def begin_anew(self):
        """A new lab: sessions, mappings and counters of the attempt before would be taken for this one's."""
        cls = type(self)
        signal.alarm(0)
        cls.doClassCleanups()
        try:
            for _, e, _ in cls.tearDown_exceptions:
                raise e
            cls.setUpClass()
        except Exception:  # whatever it is, the test has failed
            return traceback.format_exc()
        return None

    # ---- one lab for each class ----

    @classmethod
    def setUpClass(cls):
        signal.alarm(0)
        cls.lab = Lab(Options(build=str(BUILD), **cls.OPTIONS))
        cls.addClassCleanup(cls._end)
        cls.lab.up()
        _labs.append(cls.lab)
        tmp = tempfile.TemporaryDirectory(prefix="corenat-system-")
        cls.tmp = pathlib.Path(tmp.name)
        cls.addClassCleanup(tmp.cleanup)
        cls._unused = collections.defaultdict(lambda: random.sample(FLOW_PORTS, len(FLOW_PORTS)))  # by subscriber
        echo = cls.lab.popen("inet", [sys.executable, PROGRAMS / "echo.py", *map(str, ECHO)], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, text=True)
        cls.addClassCleanup(echo.stdout.close)
        await_line(echo, "echo.py")

    @classmethod
    def _end(cls):
        lab = cls.lab
        if lab not in _labs:
            return  # it did not come up, and has taken itself down
        try:
            for role in reversed(roles(lab)):
                lab.kill(role)
            faults = cls._faults()
        finally:
            lab.down()
            _labs.remove(lab)
        if faults:
            raise AssertionError(faults)
        if lab.remains():
            raise AssertionError(f"left behind: {lab.remains()}")

    @classmethod
    def _faults(cls):
        """What sanitizers and assertions have said so far; empty when nothing."""
        said = []
        for role in roles(cls.lab):
            lines = cls.log(role).splitlines()
            first = next((i for i, line in enumerate(lines) if FAULT.search(line)), None)
            if first is not None:
                said.append(f"{role} complains:\n" + "\n".join(lines[first:first + 40]))
        return "\n".join(said)

    def tearDown(self):
        dead = [r for r in roles(self.lab) if not self.lab.running(r)]
        faults = self._faults()
        for role in dead:  # the next test is not to suffer from this one
            self.lab.start(role)
        if dead:
            self.lab.wait_healthy()
        self.assertFalse(faults, faults)
        self.assertEqual(dead, [], "processes that ended")

    # ---- the appliance ----

    @classmethod
    def log(cls, role):
        path = cls.lab.log(role)
        return path.read_text(errors="replace") if path.exists() else ""

    def engines(self):
        return self.lab.api("/api/v1/engines")["engines"]

    @staticmethod
    def counters_of(rows):
        """Counters and verdicts of each engine, in one dictionary for each."""
        return [{**e["counters"], **e["verdicts"]} for e in rows]

    def counters(self):
        return self.counters_of(self.engines())

    def at_rest(self, of):
        """The engines once `of` is the same at two looks, between which every one of them has turned."""
        def look():
            rows = self.engines()
            return rows if all(e["heartbeat_age_ms"] < 250 for e in rows) else None
        before = wait_for("every engine turns", look)
        while True:
            time.sleep(0.3)
            after = wait_for("every engine turns", look)
            if of(after) == of(before):
                return after
            before = after

    def ctl(self, *args):
        """From the host, where the lab has the API; the appliance's own namespace has not."""
        done = run([program("corenatctl"), "--config", self.lab.state.dir / "config.json", *args])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def health(self):
        """What is said of the appliance, once there is an answer."""
        return wait_for("health is told", lambda: "engines" in (h := self.lab.health()) and h)

    def total(self, name):
        return sum(c[name] for c in self.counters())

    def sessions(self, **filters):
        query = "&".join(f"{k}={v}" for k, v in {"limit": 1000, **filters}.items())
        return self.lab.api(f"/api/v1/sessions?{query}")["sessions"]

    def get(self, path):
        """(status, content type, body) without opinion about the status."""
        done = run(["curl", "-sS", "--noproxy", "*", "-m", "10", "-w", "\n%{http_code} %{content_type}",
                    self.lab.url.rstrip("/") + path])
        body, _, last = done.stdout.rpartition("\n")
        status, _, kind = last.partition(" ")
        return int(status), kind, body

    def crash(self, role):
        self.lab.kill(role, signal.SIGKILL)

    def restart(self, role):
        """Starts it and waits until the appliance is whole."""
        self.lab.start(role)
        self.lab.wait_healthy()

    def command(self, name, *args, config=None):
        """One of the appliance's programs, run to its end in the appliance's namespace."""
        config = config or self.lab.state.dir / "config.json"
        return self.lab.exec("cgn", [program(name), "--config", config, *map(str, args)], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=30)

    # ---- programs of subscribers ----

    def out(self, name, argv, timeout=60):
        """Standard output of a program that must succeed."""
        done = self.lab.exec(name, argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        self.assertEqual(done.returncode, 0, f"`{' '.join(map(str, argv))}` in {name}: {done.stderr or done.stdout}")
        return done.stdout

    def curl(self, sub, path, server=0, limit_s=40):
        return self.out(sub, ["curl", "-sS", "-f", "-m", str(limit_s), f"http://{services.HTTP[server]}{path}"])

    def assert_page(self, sub):
        self.assertEqual(self.curl(sub, "/"), services.PAGE)

    def download(self, sub, rate):
        """A large download under way; end it by assert_downloaded."""
        file = self.tmp / f"download{next(_serial)}.bin"
        child = self.lab.popen(sub, ["curl", "-sS", "-f", "--limit-rate", rate, "-m", "120", "-o", str(file),
                                     f"http://{services.HTTP[1]}/large.bin"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        return child, file

    def assert_downloaded(self, download, limit_s=90):
        child, file = download
        _, err = child.communicate(timeout=limit_s)
        self.assertEqual(child.returncode, 0, err)
        self.assertEqual(sha256(file), sha256(self.lab.state.dir / "www/large.bin"), "other bytes than the server's")
        file.unlink()

    def web_clients(self, mark, n=1):
        """Who asked for pages with this mark, once the web server has logged n of them: it does after it has answered."""
        def logged():
            log = (self.lab.state.dir / "access.log").read_text().splitlines()
            clients = [line.split()[0] for line in log if mark in line]
            return clients if len(clients) >= n else None
        return wait_for(f"{n} lines with {mark} in the web server's log", logged)

    def background(self, sub, argv):
        """A program, or a shell and what it starts, that goes on until the test's end."""
        child = self.lab.popen(sub, argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(child.wait)
        self.addCleanup(os.killpg, child.pid, signal.SIGKILL)
        return child

    def flows(self, sub, n):
        """Of ports that no flow of this lab had before."""
        flows = Flows(self.lab, sub, [self._unused[sub].pop() for _ in range(n)])
        self.addCleanup(flows.close)
        return flows

    def capture(self, name, device, *filter_words):
        """tcpdump into a file; returns (process, file). End it by assert_nothing_captured or captured()."""
        file = self.tmp / f"{self._testMethodName}.pcap"
        child = self.lab.popen(name, ["tcpdump", "-Z", "root", "-n", "-s", "96", "-U", "--immediate-mode", "-i", device,
                                      "-w", str(file), *filter_words],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.assertIn("listening", child.stderr.readline())
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child, file

    def captured(self, capture, expression=""):
        """The lines tcpdump prints of a finished or running capture, limited to an expression. What it has not read when it is
        told to end is lost: it is let read first."""
        child, file = capture
        wait_for("tcpdump has read all that came", lambda: child.poll() is not None or state_of(child.pid) == "S", every_s=0.01)
        child.send_signal(signal.SIGINT)
        child.wait(10)
        done = run(["tcpdump", "-n", "-e", "-r", file, expression])
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()


def health(lab):
    return appliance.health(lab.state["api_port"])
