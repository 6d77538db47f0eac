"""Ordinary programs of several subscribers reach ordinary servers through two engines."""

import pathlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

from corenat_lab import config, rss, services, topology, traffic
from harness import ECHO, LabCase, POOL, sanitized, wait_for

WAYS = [("rx_inside_packets", "tx_outside_packets"), ("rx_outside_packets", "tx_inside_packets")]


def difference(after, before):
    return [{k: a[k] - b[k] for k in a} for a, b in zip(after, before)]


class Traffic(LabCase):
    OPTIONS = {"subs": 4}
    SUBS = [f"sub{k}" for k in range(1, 5)]

    def each(self, job):
        """Runs job(run, k) for every subscriber k at once, as lab traffic does."""
        def one(k):
            return job(lambda argv: self.out(f"sub{k}", argv), k)
        with ThreadPoolExecutor(len(self.SUBS)) as pool:
            return list(pool.map(one, range(1, len(self.SUBS) + 1)))

    def settled(self):
        """Counters once nothing moves any more: of a connection's last packets, too."""
        return self.counters_of(self.at_rest(lambda rows: [
            (e["counters"]["rx_inside_packets"], e["counters"]["rx_outside_packets"]) for e in rows]))

    def test_pages(self):
        self.each(traffic.page)

    def test_large_files_arrive_unchanged(self):
        for download in [self.download(sub, "40M") for sub in self.SUBS]:
            self.assert_downloaded(download)

    def test_names(self):
        self.each(traffic.name)

    def test_ping(self):
        self.each(traffic.ping)

    def test_iperf3_tcp_and_udp_both_ways(self):
        ways = list(traffic.IPERF_WAYS)
        def one(run, k):
            self.lab.await_iperf(k)
            return traffic.iperf(ways[k - 1])(run, k)
        got = self.each(one)
        self.assertTrue(all(n > 500_000 for n in got), dict(zip(ways, got)))

    def test_packets_of_the_full_mtu(self):
        for size, ok in ((1472, True), (1473, False)):
            done = self.lab.exec("sub1", ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", str(size),
                                          services.HTTP[0]], capture_output=True, text=True)
            self.assertEqual("3 received" in done.stdout, ok, done.stdout)

    def test_ttl_ends_here(self):
        dropped = self.total("drop_ttl")
        wire = self.capture("inet", "outside", "icmp")
        done = self.lab.exec("sub2", ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-t", "1", services.HTTP[0]],
                             capture_output=True, text=True)
        self.assertIn("0 received", done.stdout)
        wait_for("all three are dropped", lambda: self.total("drop_ttl") >= dropped + 3)
        self.assertEqual(self.total("drop_ttl"), dropped + 3)
        self.assertEqual(self.captured(wire), [])

    def test_ttl_is_lowered_by_one(self):
        wire = self.capture("inet", "outside", "icmp[icmptype] == icmp-echo and ip[8] == 41")
        said = self.out("sub2", ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", "-t", "42", services.HTTP[0]])
        self.assertIn("3 received", said)
        self.assertEqual(len(self.captured(wire)), 3)

    def test_both_engines_carry_both_ways_and_replies_come_home(self):
        before, sent = self.settled(), 0
        for sub in self.SUBS:
            flows = self.flows(sub, 50)
            for _ in range(2):
                self.assertNotIn(None, flows.exchange().values())
            sent += flows.sent
        moved = difference(self.settled(), before)
        for engine, c in enumerate(moved):
            for names in WAYS:
                for name in names:
                    self.assertGreater(c[name], 20, f"engine {engine}: {name}")
        # Ports are chosen so that replies land where the first packet did; test_ports.py has ways that do not.
        self.assertLessEqual(sum(c["replies_away"] for c in moved), 20)
        self.assertEqual(sum(c["replies_home"] + c["replies_away"] for c in moved), 200)
        self.assertEqual(sum(c["sessions_created"] for c in moved), 200)
        # A first packet that had to wait for its next hop finds its session when it moves.
        self.assertEqual(sum(c["fwd_out_new"] + c["fwd_out_hit"] + c["fwd_out_adopted"] for c in moved), sent)
        self.assertEqual(sum(c["fwd_in_hit"] + c["fwd_in_adopted"] for c in moved), sent)

    def test_sessions_are_held_by_the_engines_the_hash_says(self):
        """Owner: where the first packet lands; adopter: where the reply lands, if that is another engine."""
        flows = self.flows("sub1", 100)
        seen = flows.exchange()
        inside, outside = (config.rss(self.lab.document, side) for side in ("inside", "outside"))
        # Of those to the echo server: a name may have been asked for from the same port.
        listed = {s["inside"]: s for s in self.sessions(inside=topology.subscriber(1))
                  if s["remote"] == "{}:{}".format(*ECHO)}
        away = 0
        for port, nat in seen.items():
            s = listed[f"{topology.subscriber(1)}:{port}"]
            self.assertEqual(s["nat"], nat)
            owner = rss.queue_of(*inside, topology.subscriber(1), ECHO[0], port, ECHO[1])
            address, _, nat_port = nat.partition(":")
            reply = rss.queue_of(*outside, ECHO[0], address, ECHO[1], int(nat_port))
            self.assertEqual(s["owner"], owner)
            self.assertEqual(s["adopters"], [] if reply == owner else [reply])
            away += reply != owner
        self.assertLessEqual(away, 10, f"{away} of 100 replies landed on the other engine")

    def test_one_mapping_for_all_destinations(self):
        """RFC 4787 REQ-1: the same inside address and port keep their NAT address and port."""
        end = f"{topology.subscriber(3)}:1234"  # a port that no other socket is given
        for server in (services.DNS, *services.HTTP):
            self.out("sub3", ["dig", "+short", "-b", end.replace(":", "#"), f"@{server}", "www.lab.test"])
        listed = self.sessions(inside=end, protocol="udp")
        self.assertEqual(len(listed), 3)
        self.assertEqual(len({s["nat"] for s in listed}), 1, listed)
        self.assertEqual([s["mapping"] for s in listed].count(True), 1)

    def gentle_tcp(self, *more):
        """In gusts that no ring minds, even when its engine gets no processor for a while."""
        def job(run, k):
            self.lab.await_iperf(k)
            run(["iperf3", "-c", services.IPERF, "-p", str(services.IPERF_PORT + k - 1), "-t", "2", "-b", "4M", "-l", "8K",
                 *more])
        return job

    def kernel_settled(self):
        """The same with what the kernel counts, which engines ask for once a second."""
        time.sleep(1.2)
        return self.settled()

    def test_nothing_is_dropped_in_a_quiet_run(self):
        before = self.kernel_settled()
        for job in (traffic.page, traffic.name, traffic.ping, self.gentle_tcp("-R"), self.gentle_tcp()):
            self.each(job)
        moved = difference(self.kernel_settled(), before)
        total = {k: sum(c[k] for c in moved) for k in moved[0]}
        lost = {k: v for k, v in total.items() if v and (k.startswith("drop_") or k in ("rx_ring_drops", "xdp_no_engine"))}
        self.assertEqual(lost, {})
        for rx, tx in WAYS:
            self.assertEqual(total[rx], total[tx])
        for rx, _ in WAYS:
            self.assertGreater(total[rx], 2000)

    def test_nobody_logs_a_fault(self):
        # That an engine or the aggregator was slow to answer or to start, or was interrupted, is the machine's fault, and said
        # rightly.
        machine = r"engine \d: (silent|a turn from)|the aggregator does not answer"
        for role in ("pe0", "pe1", "aggregator", "mgmtd"):
            self.assertNotRegex(self.log(role), rf"error:|warning: (?!{machine})")

    def test_quiet_engines_rest(self):
        def cpu_s():
            ticks = 0
            for e in self.engines():
                fields = pathlib.Path(f"/proc/{e['pid']}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
            return ticks / os.sysconf("SC_CLK_TCK")
        self.settled()
        begin, used = time.monotonic(), cpu_s()
        time.sleep(3)
        share = (cpu_s() - used) / (time.monotonic() - begin)
        self.assertLess(share, 0.3 if sanitized() else 0.1, "of one CPU, with nothing to do")

    def test_aggregator_counts_the_same(self):
        self.each(traffic.page)
        self.settled()

        def same():
            now, got = self.counters(), self.lab.api("/api/v1/stats")["appliance"]["counters"]
            return all(got[k] == sum(c[k] for c in now) for k in ("rx_inside_packets", "rx_outside_packets", "sessions_created"))
        wait_for("the aggregator's sums are the engines'", same)


class SingleQueue(LabCase):
    """A NIC without RSS: everything is engine 0's."""
    OPTIONS = {"subs": 2, "rss": "single"}

    def test_engine_0_does_it_all(self):
        for sub in ("sub1", "sub2"):
            self.assert_page(sub)
            seen = self.flows(sub, 20).exchange()
            self.assertTrue(all(v and POOL.match(v.partition(":")[0]) for v in seen.values()), seen)
        one, other = self.counters()
        self.assertGreaterEqual(one["rx_inside_packets"], 2 * (5 + 20))  # a connection's least, and the datagrams
        self.assertEqual([other[name] for way in WAYS for name in way], [0] * 4)
        self.assertEqual(one["fwd_in_adopted"] + one["replies_away"], 0)
        self.assertTrue(all(s["owner"] == 0 and s["adopters"] == [] for s in self.sessions()))
