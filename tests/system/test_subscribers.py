"""Subscribers by name, and one of them that floods new flows: the others keep what they had, and its page says which limit
it meets, how often, and since when."""

import json
import sys

from corenat_lab import services, topology
from harness import PROGRAMS, LabCase, wait_for

LIMITS = [{"name": "all", "tcp_ports": 300, "udp_ports": 200, "sessions": 400}]
FLOOD_S = 12
PAGES = 40
KEEPS = 0.95  # of throughput and of connections
RATE = 2_000_000  # bytes per second that a download asks for


class Subscribers(LabCase):
    OPTIONS = {"subs": 3, "config": {"limits": LIMITS}}

    def page_of(self, k):
        return json.loads(self.ctl("subscribers", "show", "--inside", topology.subscriber(k), "--json"))

    def connects(self, sub):
        """How many of PAGES connections succeed, and the bytes per second of a download beside them."""
        child = self.lab.popen(sub, ["curl", "-sS", "--limit-rate", str(RATE), "-m", "4", "-o", "/dev/null",
                                     "-w", "%{speed_download}", f"http://{services.HTTP[1]}/large.bin"],
                               stdin=-3, stdout=-1, stderr=-3, text=True)
        good = 0
        for _ in range(PAGES):
            done = self.lab.exec(sub, ["curl", "-sS", "-f", "-m", "5", f"http://{services.HTTP[0]}/"], stdin=-3,
                                 capture_output=True, text=True, timeout=20)
            good += done.returncode == 0 and done.stdout == services.PAGE
        speed = float(child.communicate(timeout=20)[0])
        return good, speed

    def test_flood(self):
        good, speed = self.connects("sub2")
        self.assertEqual(good, PAGES)

        flood = self.lab.popen("sub1", ["nice", "-n", "19", sys.executable, PROGRAMS / "flood.py", str(FLOOD_S)],
                               stdin=-3, stdout=-1, text=True)
        wait_for("the flooder meets a limit", lambda: [
            s for s in self.lab.api("/api/v1/subscribers?top=refused")["subscribers"] if s["refused"]])
        good_then, speed_then = self.connects("sub2")
        sent = int(flood.communicate(timeout=FLOOD_S + 30)[0])
        print(f"\n  {sent / FLOOD_S:.0f} new flows/s; others: {good_then} of {good} connections, "
              f"{speed_then / min(speed, RATE):.1%} of the throughput asked for", flush=True)
        self.assertGreaterEqual(good_then, KEEPS * good)
        # At first curl takes more than its limit: what it asks for is what counts.
        self.assertGreaterEqual(speed_then, KEEPS * min(speed, RATE))

        def all_counted():
            """What lies in the engines' rings when the flood ends is refused later."""
            refused = self.page_of(1)["refused"]
            total = sum(r["count"] for r in refused.values())
            return total and total == sum(self.total(f"drop_limit_{q}") for q in ("sessions", "udp_ports", "tcp_ports"))
        wait_for("what the subscriber was refused is what engines refused", all_counted)
        page = self.page_of(1)
        use, refused = page["use"], page["refused"]
        self.assertLessEqual(use["sessions"]["used"], 400)
        self.assertLessEqual(use["udp_ports"]["used"], 200)
        self.assertLessEqual(use["tcp_ports"]["used"], 300)
        self.assertEqual(use["sessions"]["used"], 400)  # what it may it has
        self.assertEqual(set(refused) - {"udp_ports", "tcp_ports", "sessions"}, set())
        total = sum(r["count"] for r in refused.values())
        self.assertGreater(total, sent * 0.5)
        for r in refused.values():
            self.assertLessEqual(r["last_s_ago"], r["since_s_ago"])
            self.assertLess(r["since_s_ago"], 120)
        self.assertEqual(self.page_of(2)["refused"], {})
        self.assertEqual(self.command("corenatctl", "check").returncode, 0)
        self.assertRegex(self.ctl("subscribers", "list", "--top", "refused").splitlines()[1],
                         rf"^{topology.subscriber(1)} ")
        self.ctl("sessions", "clear", "--inside", topology.subscriber(1))

    def test_named(self):
        """A name and a limit are in force at once, and still there after mgmtd was killed."""
        self.ctl("subscribers", "set", "--inside", topology.subscriber(3), "--name", "Customer 3", "--limits",
                 "udp_ports=5")
        flows = self.flows("sub3", 20)
        answered = [v for v in flows.exchange(tries=4).values() if v]
        self.assertEqual(len(answered), 5)
        self.crash("mgmtd")
        self.restart("mgmtd")
        page = self.page_of(3)
        self.assertEqual((page["name"], page["own_limits"], page["use"]["udp_ports"]),
                         ("Customer 3", ["udp_ports"], {"used": 5, "limit": 5}))
        self.ctl("subscribers", "set", "--inside", topology.subscriber(3), "--name", "Customer 3", "--limits",
                 "udp_ports=20")
        self.assertNotIn(None, flows.exchange().values())
        self.ctl("subscribers", "delete", "--inside", topology.subscriber(3))
        self.assertIsNone(self.page_of(3)["name"])
