"""The dashboard in a real browser while traffic flows; the pictures go to build/screenshots."""

import pathlib
import shutil
import subprocess

from corenat_lab.traffic import Traffic
from harness import LabCase

REPO = pathlib.Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Browser(LabCase):
    OPTIONS = {"subs": 4}

    def test_dashboard_under_traffic(self):
        for need, found in (("Chromium", any(map(shutil.which, BROWSERS))), ("node", shutil.which("node"))):
            if not found:
                self.skipTest(f"{need} is not installed")
        pictures = REPO / "build/screenshots"
        shutil.rmtree(pictures, ignore_errors=True)
        traffic = Traffic(self.lab)
        traffic.start()
        self.addCleanup(traffic.stop, 0)
        done = subprocess.run([REPO / "tests/e2e/run", "--traffic", self.lab.url, pictures], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=170, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr[-1000:])
        shots = sorted(pictures.glob("*.png"))
        self.assertGreaterEqual(len(shots), 2, shots)
        self.assertTrue(all(s.stat().st_size > 20_000 for s in shots), [(s.name, s.stat().st_size) for s in shots])
