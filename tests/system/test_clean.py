"""Nothing stays on the machine: after `down`, after an `up` that failed, after whatever was killed half-way."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from corenat_lab import appliance, process, state
from harness import wait_for
import harness

LAB = pathlib.Path(__file__).resolve().parents[1] / "lab"


def inodes(lab_id):
    """Inode numbers of the lab's namespaces, by which processes are known to live there."""
    return {os.stat(p).st_ino for p in pathlib.Path("/run/netns").glob(f"{lab_id}-*")}


def processes(lab_id, namespaces):
    """Processes that name the lab in their command line, or live in one of its namespaces."""
    found = []
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().decode(errors="replace").split("\0")
            inode = os.stat(proc / "ns/net").st_ino
        except OSError:
            continue
        if inode in namespaces or any(f"/{lab_id}/" in w for w in words):
            found.append(f"process {proc.name}: {' '.join(words)[:80]}")
    return found


def left(lab_id, namespaces=frozenset()):
    """Everything of a lab that is on the machine, found without the lab's own help."""
    arena = f"corenat-{lab_id}"
    mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    return ([f"namespace {p.name}" for p in pathlib.Path("/run/netns").glob(f"{lab_id}-*")] +
            [f"shared memory {p}" for p in pathlib.Path("/dev/shm").glob(f"{arena}*")] +
            [f"SysV segment {i}" for i in appliance.mailboxes("/" + arena)] +
            [f"mount {m}" for m in mounts if f"/{lab_id}/" in m + "/"] +
            [f"directory {p}" for p in [state.ROOT / lab_id] if p.exists()] +
            processes(lab_id, namespaces))


def parent_and_session(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    return int(fields[1]), int(fields[3])


def tools_of(pid):
    """Children that are of their parent's session: what runs for a moment, not what was started to stay."""
    sought = pid, parent_and_session(pid)[1]
    found = [int(p.name) for p in pathlib.Path("/proc").glob("[0-9]*") if parent_and_session(p.name) == sought]
    return [(p, started) for p in found if (started := process.started_at(p)) is not None]


class Clean(harness.Patient):
    def spawn(self, *argv):
        child = subprocess.Popen([sys.executable, *map(str, argv), "--build", str(harness.BUILD)], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def lab(self, *argv):
        return harness.run([sys.executable, LAB / "lab", *argv])

    def id_of(self, child):
        """A lab's id begins with that of the process that brings it up."""
        return f"clab{child.pid}"

    def assert_clean(self, lab_id, namespaces=frozenset()):
        self.assertEqual(left(lab_id, namespaces), [])

    def test_up_and_down(self):
        child = self.spawn(LAB / "lab", "up", "--subs", "1")
        out = child.communicate(timeout=150)[0]
        self.assertEqual(child.returncode, 0, out)
        lab_id = self.id_of(child)
        self.assertIn(lab_id, out)
        self.addCleanup(self.lab, "--id", lab_id, "down")
        namespaces = inodes(lab_id)
        self.assertEqual(len(namespaces), 4)
        found = left(lab_id, namespaces)
        for kind in ("namespace", "shared memory", "SysV segment", "mount", "directory", "process"):
            self.assertTrue([f for f in found if f.startswith(kind)], f"{kind} is not even seen while the lab is up")
        self.assertEqual(self.lab("--id", lab_id, "down").returncode, 0)
        self.assert_clean(lab_id, namespaces)

    def test_up_that_fails(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
            json.dump({"nat": {"udp_timeout_s": 1}}, f)
            f.flush()
            child = self.spawn(LAB / "lab", "up", "--subs", "1", "--config", f.name)
            out = child.communicate(timeout=150)[0]
        self.assertEqual(child.returncode, 1, out)
        self.assertIn("nat.udp_timeout_s", out)
        self.assert_clean(self.id_of(child))

    def test_engine_killed_before_down(self):
        child = self.spawn(LAB / "lab", "up", "--subs", "1")
        out = child.communicate(timeout=150)[0]
        self.assertEqual(child.returncode, 0, out)
        lab_id = self.id_of(child)
        namespaces = inodes(lab_id)
        for role in ("pe0", "mgmtd"):
            self.assertEqual(self.lab("--id", lab_id, "kill", "-9", role).returncode, 0)
        self.assertEqual(self.lab("--id", lab_id, "down").returncode, 0)
        self.assert_clean(lab_id, namespaces)

    def test_lab_killed_half_way_up(self):
        for delay_s in (0.3, 0.8, 1.2):
            with self.subTest(delay_s=delay_s):
                child = self.spawn(LAB / "lab", "up", "--subs", "2")
                time.sleep(delay_s)
                self.kill_alone(child)
                lab_id = self.id_of(child)
                namespaces = inodes(lab_id)
                done = self.lab("--id", lab_id, "down")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assert_clean(lab_id, namespaces)

    def kill_alone(self, child):
        """And let end what it was just doing: a tool that has no processor for a while does its work later, when its lab is gone."""
        child.send_signal(signal.SIGSTOP)
        wait_for("it stands still", lambda: child.poll() is not None or harness.state_of(child.pid) in "TZ")
        tools = tools_of(child.pid)
        child.kill()
        child.communicate()
        wait_for("its last tools have ended", lambda: not any(process.alive(*t) for t in tools))

    def begin_run(self, *more):
        child = self.spawn(LAB / "run", *more)
        lab_id = self.id_of(child)
        self.assertIn(lab_id, child.stdout.readline())
        return child, lab_id, inodes(lab_id)

    def test_run(self):
        child, lab_id, namespaces = self.begin_run("--duration", "12")
        out = child.communicate(timeout=150)[0]
        self.assertEqual(child.returncode, 0, out)
        self.assertIn("Every kind of traffic succeeded.", out)
        self.assertIn("0 with a private source", out)
        self.assert_clean(lab_id, namespaces)

    def test_run_interrupted(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(sig.name):
                child, lab_id, namespaces = self.begin_run()
                wait_for("traffic runs", lambda: any("iperf3 -J" in p for p in processes(lab_id, namespaces)))
                time.sleep(2)
                child.send_signal(sig)
                out = child.communicate(timeout=150)[0]
                self.assertIn(f"{sig.name}: ending", out)
                self.assert_clean(lab_id, namespaces)

    def test_run_killed(self):
        child, lab_id, namespaces = self.begin_run()
        time.sleep(2)
        child.kill()
        child.wait()
        self.assertTrue(left(lab_id, namespaces))
        done = self.lab("--id", lab_id, "down")
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_for("programs of killed workers are gone too", lambda: not processes(lab_id, namespaces), 5)
        self.assert_clean(lab_id, namespaces)
