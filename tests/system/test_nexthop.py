"""The kernel's routes and neighbours decide where packets go, and changes are followed."""

import time

from corenat_lab import services, topology
from corenat_lab.process import tool
from harness import LabCase, wait_for

SERVER = services.HTTP[0]
NEIGHBOUR = "203.0.113.99", "02:00:00:00:00:99"  # nobody


class NextHop(LabCase):
    OPTIONS = {"subs": 3}

    def ip(self, name, *words):
        tool(["ip", *words], self.lab.netns(name))

    def reaches(self, sub, server=SERVER):
        done = self.lab.exec(sub, ["ping", "-n", "-c", "1", "-W", "1", server], capture_output=True)
        return done.returncode == 0

    def mac(self, name, device):
        return self.out(name, ["cat", f"/sys/class/net/{device}/address"]).strip()

    def dropped_while(self, sub, server, name):
        """How many packets of three pings to a server met this verdict. What is read is as old as the last report."""
        before = self.total(name)
        self.lab.exec(sub, ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", server], capture_output=True)
        wait_for(f"three packets met {name}", lambda: self.total(name) - before >= 3, every_s=0.1)
        wait_for("packets that wait are given up", lambda: self.held() == 0)
        return self.total(name) - before

    def met(self, sub, server, name):
        """Once engines know the route: until then they go by the one before."""
        def meets():
            before = self.total(name)
            self.reaches(sub, server)
            time.sleep(0.2)  # what is read is as old as the last report
            return self.total(name) > before
        wait_for(f"a packet meets {name}", meets)
        wait_for("packets that wait are given up", lambda: self.held() == 0)

    def held(self):
        time.sleep(0.1)
        return self.total("held_packets")

    def change_mac(self, mac, limit_s):
        """Of the Internet's router, under a running ping; returns the seconds until it answers again."""
        wait_for("the router is reached as it is", lambda: self.reaches("sub1"))
        self.ip("inet", "link", "set", "outside", "address", mac)
        begin = time.monotonic()
        wait_for(f"the router is reached at {mac}", lambda: self.reaches("sub1"), limit_s)
        return time.monotonic() - begin

    def test_a_router_that_announces_its_new_address_is_followed_at_once(self):
        old = self.lab.exec("inet", ["ip", "-br", "link", "show", "outside"], capture_output=True, text=True)
        old = old.stdout.split()[2]
        tool(["sysctl", "-qw", "net.ipv4.conf.outside.arp_notify=1"], self.lab.netns("inet"))
        time.sleep(1.1)  # the kernel believes a second change only a second after the first (locktime)
        try:
            self.change_mac("02:00:00:00:01:01", 5)
        finally:
            self.change_mac(old, 5)
            tool(["sysctl", "-qw", "net.ipv4.conf.outside.arp_notify=0"], self.lab.netns("inet"))

    def test_a_router_that_says_nothing_is_found_again(self):
        """By the kernel's probing, which happens because engines' use of the neighbour is told to it."""
        quick = {"base_reachable_time_ms": 1000, "delay_first_probe_time": 1, "retrans_time_ms": 200}
        tool(["sysctl", "-qw", *[f"net.ipv4.neigh.cgn-out.{k}={v}" for k, v in quick.items()]], self.lab.netns("cgn"))
        # The kernel draws a new random time from the changed one only every few minutes: a new entry has it at once.
        self.ip("cgn", "neigh", "flush", "dev", "cgn-out")
        self.assertTrue(wait_for("found after the flush", lambda: self.reaches("sub1")))
        self.change_mac("02:00:00:00:01:02", 20)

    def test_a_next_hop_that_does_not_answer(self):
        self.ip("cgn", "route", "add", "192.0.2.0/24", "via", "203.0.113.77")
        try:
            self.met("sub2", "192.0.2.1", "drop_next_hop")
            self.assertEqual(self.dropped_while("sub2", "192.0.2.1", "drop_next_hop"), 3)
        finally:
            self.ip("cgn", "route", "del", "192.0.2.0/24")

    def test_a_subscriber_that_went_away(self):
        """Replies to it are dropped with their own verdict; when it is back, they reach it."""
        self.background("sub3", ["iperf3", "-c", services.IPERF, "-p", str(services.IPERF_PORT + 2), "-u", "-R", "-b",
                                 "200K", "-t", "60"])
        inbound = self.total("tx_inside_packets")
        wait_for("datagrams come", lambda: self.sessions(inside=topology.subscriber(3), protocol="udp") and
                 self.total("tx_inside_packets") > inbound + 20)
        before = self.total("drop_next_hop")
        self.ip("access", "link", "set", "sub3", "down")
        try:
            self.ip("cgn", "neigh", "flush", "to", topology.subscriber(3))
            wait_for("replies are dropped", lambda: self.total("drop_next_hop") > before)
        finally:
            self.ip("access", "link", "set", "sub3", "up")
        wait_for("sub3 is reached again", lambda: self.reaches("sub3"))

    def test_a_route_that_changes_is_followed_by_live_sessions(self):
        self.ip("cgn", "neigh", "replace", NEIGHBOUR[0], "lladdr", NEIGHBOUR[1], "dev", "cgn-out", "nud", "permanent")
        flows = self.flows("sub1", 20)
        endpoints = flows.exchange()
        self.ip("cgn", "route", "add", "203.0.113.13/32", "via", NEIGHBOUR[0])
        try:
            wait_for("both engines know the new way", lambda: set(flows.exchange(tries=1).values()) == {None})
            wire = self.capture("inet", "outside", "udp and ether dst " + NEIGHBOUR[1])
            lost = flows.exchange(tries=1)
            self.assertEqual(set(lost.values()), {None}, "they went by the old way")
            self.assertGreaterEqual(len(self.captured(wire)), 20)
        finally:
            self.ip("cgn", "route", "del", "203.0.113.13/32")
        time.sleep(1)
        self.assertEqual(flows.exchange(), endpoints)

    def test_no_route(self):
        for kind in ("unreachable", "blackhole"):
            with self.subTest(kind):
                self.ip("cgn", "route", "add", kind, "203.0.113.11/32")
                try:
                    self.met("sub2", "203.0.113.11", "drop_no_route")
                    self.assertEqual(self.dropped_while("sub2", "203.0.113.11", "drop_no_route"), 3)
                finally:
                    self.ip("cgn", "route", "del", kind, "203.0.113.11/32")
                wait_for("there is a route again", lambda: self.reaches("sub2", "203.0.113.11"))
