"""Nothing stays on the machine: after `down`, after an `up` that failed, after whatever was killed half-way."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from corenat_lab import appliance, state
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


class Clean(unittest.TestCase):
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
        out = child.communicate(timeout=60)[0]
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
            out = child.communicate(timeout=60)[0]
        self.assertEqual(child.returncode, 1, out)
        self.assertIn("nat.udp_timeout_s", out)
        self.assert_clean(self.id_of(child))

    def test_engine_killed_before_down(self):
        child = self.spawn(LAB / "lab", "up", "--subs", "1")
        out = child.communicate(timeout=60)[0]
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
                child.kill()
                child.communicate()
                lab_id = self.id_of(child)
                namespaces = inodes(lab_id)
                done = self.lab("--id", lab_id, "down")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assert_clean(lab_id, namespaces)

    def begin_run(self, *more):
        child = self.spawn(LAB / "run", *more)
        lab_id = self.id_of(child)
        self.assertIn(lab_id, child.stdout.readline())
        return child, lab_id, inodes(lab_id)

    def test_run(self):
        child, lab_id, namespaces = self.begin_run("--duration", "12")
        out = child.communicate(timeout=120)[0]
        self.assertEqual(child.returncode, 0, out)
        self.assertIn("Every kind of traffic succeeded.", out)
        self.assertIn("0 with a private source", out)
        self.assert_clean(lab_id, namespaces)

    def test_run_interrupted(self):
        for sig in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(sig.name):
                child, lab_id, namespaces = self.begin_run()
                time.sleep(2)
                child.send_signal(sig)
                out = child.communicate(timeout=60)[0]
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
