"""The dashboard in a real browser while traffic flows; the pictures go to build/screenshots."""

import os
import pathlib
import shutil
import signal
import subprocess

from corenat_lab import services, topology
from harness import LabCase

REPO = pathlib.Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Enough to see in every chart; the browser, which is slow on a small machine, gets the rest of it.
LOOPS = ["ping -n -q -i 0.05 {0}", "curl -s --limit-rate 1M -o /dev/null http://{0}/endless.bin",
         "while :; do curl -s -o /dev/null http://{0}/; dig +short @{1} www.lab.test >/dev/null; sleep 0.2; done"]


# Port blocks, so that there are events to be shown, and addresses that drain.
CONFIG = {"pools": [{"name": "main", "addresses": ["198.51.100.0/28"], "drain": ["198.51.100.12/30"]},
                    {"name": "blocks", "addresses": ["198.51.100.16/31"], "block_size": 64}],
          "rules": [{"name": "second", "inside": [f"{topology.subscriber(2)}/32"], "ports": "blocks", "pool": "blocks"}]}


class Browser(LabCase):
    OPTIONS = {"subs": 2, "config": CONFIG}
    LIMIT_S = 480

    def keep_busy(self):
        for sub in ("sub1", "sub2"):
            for loop in LOOPS:
                self.background(sub, ["sh", "-c", loop.format(services.HTTP[0], services.DNS)])

    def test_dashboard_under_traffic(self):
        for need, found in (("Chromium", any(map(shutil.which, BROWSERS))), ("node", shutil.which("node"))):
            if not found:
                self.skipTest(f"{need} is not installed")
        pictures = REPO / "build/screenshots"
        shutil.rmtree(pictures, ignore_errors=True)
        self.keep_busy()
        child = subprocess.Popen([REPO / "tests/e2e/run", "--traffic", self.lab.url, pictures], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        try:
            out = child.communicate()[0]
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            print(child.communicate()[0])
            raise
        self.assertEqual(child.returncode, 0, out)
        shots = sorted(pictures.glob("*.png"))
        self.assertGreaterEqual(len(shots), 2, shots)
        self.assertTrue(all(s.stat().st_size > 20_000 for s in shots), [(s.name, s.stat().st_size) for s in shots])
