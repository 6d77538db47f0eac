"""Replay cases of the ways to choose ports. What they show does not hang on which ports are drawn: nearly all ports are
reserved, so that the rules leave one answer, and that is said here (`answers`) and compared before a case is written.
Where ports are drawn all the same, what must hold for any is checked instead."""
import copy
import functools
import json
import pathlib
import subprocess
import tempfile

from packets import IP, SERVER, TCP, UDP, answer, config, out, replayed_outside, wrpcap, write_changes

POOL = "198.51.100."
DPORT = 4000
NAME_BYTES = 24
SUB = "100.64.0.2"
UDP_IDLE_S = 300
KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


# ---- packets that say whose they are ----

def flow(sub, l4, sport, t):
    """An outbound packet whose payload is its name."""
    header = UDP(sport=sport, dport=DPORT) if l4 == "udp" else TCP(sport=sport, dport=DPORT, flags="S", seq=1)
    return out(sub, header, t, payload=f"{sub} {l4} {sport}".encode().ljust(NAME_BYTES))


def answers(left):
    """{who: NAT endpoint} of what left outside; a flow has one all the time."""
    found = {}
    for p in left:
        sub, l4, sport = p.original[-NAME_BYTES:].decode().split()
        is_at = (p[IP].src, p[UDP if UDP in p else TCP].sport)
        assert found.setdefault((sub, l4, int(sport)), is_at) == is_at, f"{sub} {l4} {sport} moved to {is_at}"
    return found


def finish(pe, conf, inside, must, changes=(), more=lambda left: []):
    """The case, if the answers are those that must be; every packet that leaves is answered."""
    left = replayed_outside(pe, conf, inside, changes)
    found = answers(left)
    must(found) if callable(must) else same(found, must)
    outside = [answer(p, float(p.time) + 0.0005) for p in left] + more(left)
    outside.sort(key=lambda p: p.time)
    report = replayed(pe, conf, inside, outside, changes)
    assert "drop_no_session" not in report, "an answer was lost"
    return conf, inside, outside, changes


def same(found, must):
    wrong = [f"{who}: {found.get(who)}, not {must.get(who)}"
             for who in sorted({*found, *must}) if found.get(who) != must.get(who)]
    assert not wrong, "\n".join(wrong)


def replayed(pe, conf, inside, outside, changes):
    """What a replay says."""
    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        (d / "c.json").write_text(json.dumps(conf))
        wrpcap(str(d / "i.pcap"), inside)
        wrpcap(str(d / "o.pcap"), outside)
        write_changes(d, changes)
        return subprocess.run([pe, "--replay", "--config", d / "c.json", "--changes", d / "changes", "--inside",
                               d / "i.pcap", "--outside", d / "o.pcap"], check=True, capture_output=True,
                              text=True).stdout


# ---- configurations ----

# An even and an odd port of one chunk, as chunks are in this mode with the customary key: of one chunk, parity is certain.
PAIR = {"shuffled": (2048, 2277), "ordered": (2062, 2063), "blocks": (2062, 2063)}
FIRST, LAST = 2048, 2303


def one_address(mode, reserved, **nat):
    conf = config(1)
    conf["pools"] = [{"name": "main", "addresses": [f"{POOL}0"], "block_size": 64}]
    conf["nat"] = {"ports": mode, "port_first": FIRST, "port_last": LAST, **nat, "reserved_ports": reserved}
    return conf


def all_but(first, last, *ports):
    """Ranges of first to last without these ports, for nat.reserved_ports."""
    ends = [first - 1, *sorted(ports), last + 1]
    return [f"{a + 1}-{b - 1}" if a + 1 < b - 1 else str(a + 1) for a, b in zip(ends, ends[1:]) if a + 1 < b]


def toeplitz(data):
    """Microsoft's RSS hash."""
    bits, key, result = len(KEY) * 8, int.from_bytes(KEY, "big"), 0
    for i in range(len(data) * 8):
        if data[i // 8] & 0x80 >> i % 8:
            result ^= key >> (bits - 32 - i) & 0xFFFFFFFF
    return result


def octets(address):
    return bytes(int(x) for x in address.split("."))


def engine_of(sub, sport, engines):
    """Who receives the packet, with the customary table."""
    data = octets(sub) + octets(SERVER) + sport.to_bytes(2, "big") + DPORT.to_bytes(2, "big")
    return toeplitz(data) % 128 % engines


def sports_of(engine, sub, engines, first, step=1):
    """Source ports from `first` on whose packets that engine receives."""
    return (p for p in range(first, 65536, step) if engine_of(sub, p, engines) == engine)


# ---- cases of each mode ----

def parity_range(pe, mode):
    """Four ports are left, an even and an odd one on either side of 1024. Inside ports from 1024 up never get those below,
    and inside ports below 1024 get them as long as there are some; both keep their parity. Blocks have none below 1024."""
    even, odd = PAIR[mode]
    conf = one_address(mode, all_but(1, 1023, 500, 501) + all_but(FIRST, LAST, even, odd),
                       port_parity="preserve", port_range="preserve")
    inside, must, t = [], {}, 1000.0
    for l4 in ("udp", "tcp"):
        for sport, port in ((5001, odd), (5000, even), (5003, None), (81, 501), (80, 500), (83, None)):
            inside.append(flow(SUB, l4, sport, t))
            t += 1.1  # refusals are told once a second
            if port and (mode != "blocks" or port >= 1024):
                must[SUB, l4, sport] = (f"{POOL}0", port)
    return finish(pe, conf, inside, must)


def next_to(pe, mode):
    """Of pairs of UDP ports (RTP and RTCP) the second one comes to lie beside the first, whichever is first, though 24
    others of its parity would suit: those are reserved until the first one has got its port."""
    conf = one_address(mode, all_but(1, 1023, 501) + all_but(FIRST, LAST, 2062),
                       port_parity="preserve", port_range="preserve")
    later = copy.deepcopy(conf)
    later["nat"]["reserved_ports"] = (all_but(1, 1023, 501, *range(500, 549, 2)) +
                                      all_but(FIRST, LAST, 2062, *range(2063, 2112, 2)))
    rows = ((1000, 5000, 2062), (1001, 301, 501), (1020, 5001, 2063), (1021, 300, 500))
    rows = [row for row in rows if mode != "blocks" or row[2] >= 1024]
    return finish(pe, conf, [flow(SUB, "udp", sport, t) for t, sport, _ in rows],
                  {(SUB, "udp", sport): (f"{POOL}0", port) for _, sport, port in rows}, [(1010, later)])


def hold_down(pe, mode, percent=100, first_back=1620):
    """Two ports, hold time 60 s, a try every 10 s. The odd port's session ends at 1501 (epoch 25), the even one's at 1571
    (epoch 26): the odd one, freed first, comes back first, at 1620 (epoch 27) and not before, and though an even one is
    wished; the even one at 1680."""
    even, odd = PAIR[mode]
    conf = one_address(mode, all_but(FIRST, LAST, even, odd), port_parity="preserve", hold_s=60, hold_percent=percent)
    inside = [flow(SUB, "udp", 5001, 1501.0 - UDP_IDLE_S), flow(SUB, "udp", 6000, 1571.0 - UDP_IDLE_S)]
    inside += [flow(SUB, "udp", 2 * t, float(t)) for t in range(1490, 1700, 10)]
    return finish(pe, conf, inside, {(SUB, "udp", 5001): (f"{POOL}0", odd), (SUB, "udp", 6000): (f"{POOL}0", even),
                                     (SUB, "udp", 2 * first_back): (f"{POOL}0", odd),
                                     (SUB, "udp", 2 * 1680): (f"{POOL}0", even)})


def hold_percent(pe, mode):
    """The same when half of an address's ports may rest at a time. From 1571 on both rest: the one freed first is woken
    early, the other one rests on until 1680."""
    return hold_down(pe, mode, 50, 1580)


# ---- cases of one mode ----

def block_return(pe):
    """One address with two blocks, in each of which one port is left. The first subscriber gets one, grows into the second,
    and may have no third. The other subscriber tries every 10 s. Of the first one's two sessions one ends at 1301; its port
    rests from 60 s to 120 s, its block 120 s from then on; then it is the other subscriber's. The other session lives.
    Which of the two blocks comes first is drawn."""
    conf = config(1)
    conf["pools"] = [{"name": "main", "addresses": [f"{POOL}0"], "block_size": 64, "blocks_max": 2, "block_hold_s": 120}]
    conf["nat"] = {"ports": "blocks", "port_first": 2048, "port_last": 2175, "hold_s": 60,
                   "reserved_ports": all_but(2048, 2175, 2062, 2126)}
    one, other = SUB, "100.64.0.3"
    inside = [flow(one, "udp", 5001, 1001.0), flow(one, "udp", 5002, 1002.0)]
    inside += [flow(one, "udp", 5000, 1000.0 + t) for t in range(0, 700, 100)]
    inside += [flow(other, "udp", 6000, 1003.0 + t) for t in range(0, 600, 10)]

    def must(found):
        assert len(found) == 3 and (one, "udp", 5002) not in found
        assert found[one, "udp", 5000] != found[one, "udp", 5001] == found[other, "udp", 6000]

    return finish(pe, conf, sorted(inside, key=lambda p: p.time), must)


def ordered(pe):
    """Ports in their natural order are dealt to two engines in runs of 128. One port is left in each of two runs: each engine
    gives its own first, then the other's, so that none is refused while there is one. Shuffled, these two would be dealt the
    other way round."""
    conf = config(2)
    conf["pools"] = [{"name": "main", "addresses": [f"{POOL}0"]}]
    conf["nat"] = {"ports": "ordered", "port_first": 2048, "port_last": 2303, "own_share_percent": 100,
                   "reserved_ports": all_but(2048, 2303, 2066, 2194)}
    inside, must, t = [], {}, 1000.0
    for l4, first in (("udp", 0), ("tcp", 1)):
        own = sports_of(first, SUB, 2, 5000)
        sports = [next(own), next(own), next(sports_of(1 - first, SUB, 2, 6000))]
        for sport, port in zip(sports, ((2066, 2194), (2194, 2066))[first] + (None,)):
            inside.append(flow(SUB, l4, sport, t))
            t += 1.1
            if port:
                must[SUB, l4, sport] = (f"{POOL}0", port)
    return finish(pe, conf, inside, must)


def shuffled(pe):
    """Four engines, a key that repeats every 16 bits (replies hash like what they answer) and an uneven table: ports are
    drawn, but every reply comes home."""
    conf = config(4)
    conf["outside"]["rss"] = {"key": "6d5a" * 20, "table": [3, 1, 0, 2, 0, 0, 1, 3, 2, 1, 0, 0, 2, 2, 3, 0]}
    inside = [flow(f"100.64.0.{2 + i % 5}", l4, 5000 + i, 1000.0 + i / 10) for i in range(40) for l4 in ("udp", "tcp")]

    def must(found):
        ports = {l4: [port for (_, kind, _), (_, port) in found.items() if kind == l4] for l4 in ("udp", "tcp")}
        assert all(len({*p}) == 40 and min(p) >= 1024 and len({x // 16 for x in p}) > 20 for p in ports.values())

    case = finish(pe, conf, inside, must)
    report = replayed(pe, *case)
    assert "replies_home 80\n" in report and "away" not in report and "adopted" not in report, report
    return case


def pooling(pe):
    """Replies are spread by their destination, which makes two addresses home to either engine. A subscriber's flows arrive
    at both. Paired, he has the one address that was home to the first flow's engine; arbitrary, each flow gets the address
    that is home to its engine. Ports dealt to an engine lie in runs of 128, parity tells the two in each."""
    homes = [[f"{POOL}{i}" for i in range(256) if toeplitz(bytes(4) + octets(f"{POOL}{i}")) % 128 % 2 == engine]
             for engine in (0, 1)]
    conf = config(2)
    conf["outside"]["rss"] = {"mode": "destination"}
    conf["pools"] = [{"name": p, "addresses": [homes[0][i], homes[1][i]]} for i, p in enumerate(("paired", "arbitrary"))]
    conf["nat"] = {"ports": "ordered", "port_first": 2048, "port_last": 2303, "own_share_percent": 100,
                   "port_parity": "preserve", "reserved_ports": all_but(2048, 2303, 2048, 2049, 2176, 2177)}
    conf["rules"] = [{"name": p, "inside": [f"100.64.0.{i + 2}/32"], "pool": p, "pooling": p}
                     for i, p in enumerate(("paired", "arbitrary"))]
    inside, must, t = [], {}, 1000.0
    for i, way in enumerate(("paired", "arbitrary")):
        sub = f"100.64.0.{i + 2}"
        for engine, port in ((1, 2176), (0, 2048), (1, 2177), (0, 2049)):
            sport = next(sports_of(engine, sub, 2, 5000 + (port - 2048) * 20 + port % 2, 2))
            inside.append(flow(sub, "udp", sport, t))
            t += 0.1
            must[sub, "udp", sport] = (homes[1 if way == "paired" else engine][i], port)
    return finish(pe, conf, inside, must)


def block_rotation(pe):
    """After 100 s new mappings move on to a fresh block, though the old one has a free port; when there may be no more
    blocks, the old ones are good enough. Which of the two blocks comes first is drawn."""
    conf = config(1)
    conf["pools"] = [{"name": "main", "addresses": [f"{POOL}0"], "block_size": 64, "blocks_max": 2, "active_block_s": 100}]
    conf["nat"] = {"ports": "blocks", "port_first": 2048, "port_last": 2175,
                   "reserved_ports": all_but(2048, 2175, 2062, 2063, 2126, 2127)}
    inside = [flow(SUB, "udp", sport, t) for sport, t in ((5000, 1000.0), (5002, 1110.0), (5004, 1220.0), (5006, 1221.0),
                                                          (5000, 1250.0), (5008, 1222.0))]

    def must(found):
        block = {sport: port // 64 for (_, _, sport), (_, port) in found.items()}
        assert block[5000] != block[5002] and sorted(block) == [5000, 5002, 5004, 5006], block

    return finish(pe, conf, sorted(inside, key=lambda p: p.time), must)


def computed(pe):
    """Of the 16 computed ports of a subscriber, 2080 to 2095, one odd one is not reserved. An odd inside port gets it, and
    its neighbour gets the port beside it, though eight would suit; the others are used up by flows that live. The odd one's
    session ends at 1501 (epoch 25 of 60 s); its port rests, whoever tries, until 1620 (epoch 27)."""
    conf = config(1)
    conf["pools"] = [{"name": "main", "addresses": [f"{POOL}0"]}]
    conf["rules"] = [{"name": "homes", "inside": ["100.64.0.0/30"], "ports": "deterministic",
                      "ports_per_subscriber": 16}, {"name": "no", "action": "drop"}]
    conf["nat"] = {"port_first": 2048, "port_last": 2111, "port_parity": "preserve", "hold_s": 60,
                   "reserved_ports": [str(port) for port in range(2081, 2096, 2) if port != 2083]}
    living = [5000, *range(6000, 6014, 2)]
    inside = [flow(SUB, "udp", 5001, 1201.0)]
    inside += [flow(SUB, "udp", sport, 1202.0 + i + t) for i, sport in enumerate(living) for t in (0, 200, 400)]
    inside += [flow(SUB, "udp", 2 * t, float(t)) for t in range(1490, 1640, 10)]

    def must(found):
        port = {sport: port for (_, _, sport), (_, port) in found.items()}
        assert port[5001] == 2083 == port[2 * 1620] and port[5000] == 2082, port
        assert {port[sport] for sport in living} == {*range(2080, 2096, 2)} and len(port) == 10, port

    return finish(pe, conf, sorted(inside, key=lambda p: p.time), must)


def live_block_size(pe):
    """Blocks of 64 become blocks of 128 while a session lives and is answered: it keeps its port in its old block. That one
    does not count any more, nor does it get new mappings, though it has a free port (until 1600, when that is reserved): the
    next one goes into a block of the new size. Another subscriber finds none, until the old block has fallen empty and
    rested."""
    conf = config(1)
    conf["pools"] = [{"name": "main", "addresses": [f"{POOL}0"], "block_size": 64, "blocks_max": 1, "block_hold_s": 60}]
    conf["nat"] = {"ports": "blocks", "port_first": 2048, "port_last": 2175, "hold_s": 60,
                   "reserved_ports": all_but(FIRST, LAST, 2062, 2190)}
    later = copy.deepcopy(conf)
    later["pools"][0]["block_size"] = 128
    later["nat"].update(port_last=2303, reserved_ports=all_but(FIRST, LAST, 2062, 2063, 2190))
    last = copy.deepcopy(later)
    last["nat"]["reserved_ports"] = conf["nat"]["reserved_ports"]
    one, other = SUB, "100.64.0.3"
    inside = [flow(one, "udp", 5000, t) for t in (1000.0, 1009.0, 1011.0, 1101.0, 1201.0)]
    inside += [flow(one, "udp", 5001, 1012.0 + t) for t in range(0, 900, 100)]
    inside += [flow(other, "udp", 6000, 1013.0 + t) for t in range(0, 900, 20)]
    must = {(one, "udp", 5000): (f"{POOL}0", 2062), (one, "udp", 5001): (f"{POOL}0", 2190),
            (other, "udp", 6000): (f"{POOL}0", 2062)}
    return finish(pe, conf, sorted(inside, key=lambda p: p.time), must, [(1010, later), (1600, last)],
                  lambda left: [answer(left[0], 1010.5)])


def live_mode_and_pool(pe):
    """From ordered to shuffled on the same address, to a pool of another one, and back, under sessions that go on both ways
    under their old ports. Two ports are left on each address: nobody gets one that lives from an earlier time."""
    conf = config(1)
    conf["pools"] = [{"name": "main", "addresses": [f"{POOL}0"]}]
    conf["nat"] = {"ports": "ordered", "port_first": 2062, "port_last": 2063, "port_parity": "preserve"}
    shuffled = copy.deepcopy(conf)
    shuffled["nat"]["ports"] = "shuffled"
    moved = copy.deepcopy(shuffled)
    moved["pools"][0]["addresses"] = [f"{POOL}8"]
    changes = [(1010, shuffled), (1020, moved), (1030, shuffled), (1040, conf)]
    # When each first tries, and what it gets then; it tries again after every change.
    rows = ((1000, "100.64.0.2", 5000, (f"{POOL}0", 2062)), (1011, "100.64.0.3", 6000, (f"{POOL}0", 2063)),
            (1012, "100.64.0.4", 6005, None), (1021, "100.64.0.5", 6007, (f"{POOL}8", 2063)),
            (1022, "100.64.0.2", 7000, (f"{POOL}8", 2062)), (1023, "100.64.0.6", 6009, None),
            (1033, "100.64.0.7", 7002, None))
    inside = [flow(sub, "udp", sport, at) for at, sub, sport, _ in rows]
    inside += [flow(sub, "udp", sport, t + 4 + i / 10) for i, (at, sub, sport, nat) in enumerate(rows)
               for t in (1010, 1020, 1030, 1040) if nat and t > at]
    must = {(sub, "udp", sport): nat for _, sub, sport, nat in rows if nat}
    return finish(pe, conf, sorted(inside, key=lambda p: p.time), must, changes,
                  lambda left: [answer(left[0], t + 0.5) for t, _ in changes])


def live_limit(pe):
    """A subscriber may use two UDP ports. A higher limit lets the very next packet pass; a lower one cuts nothing that
    lives, and lets nothing new in."""
    conf = config(1)
    conf["nat"] = {"port_first": FIRST, "port_last": LAST, "reserved_ports": all_but(FIRST, LAST, 2062)}
    conf["pools"][0]["addresses"] = [f"{POOL}{i}" for i in range(4)]  # full ones are passed by: one port on each
    conf["limits"] = [{"name": "all", "inside": ["100.64.0.0/10"], "udp_ports": 2}]
    higher, lower = copy.deepcopy(conf), copy.deepcopy(conf)
    higher["limits"][0]["udp_ports"], lower["limits"][0]["udp_ports"] = 4, 1
    first, last = (5000, 5002), (5004, 5006)
    inside = [flow(SUB, "udp", sport, t) for t, sports in (
        (1000.0, first), (1001.0, last[:1]), (1009.0, last[:1]), (1010.0, last[:1]), (1011.0, first),
        (1021.0, first + last)) for sport in sports]

    def must(found):
        assert {*found} == {(SUB, "udp", sport) for sport in (*first, last[0])} and len({*found.values()}) == 3

    return finish(pe, conf, inside, must, [(1009.999999999, higher), (1020, lower)])


CASES = {f"{case.__name__}_{mode}": functools.partial(case, mode=mode)
         for case, modes in ((parity_range, PAIR), (next_to, PAIR), (hold_down, PAIR), (hold_percent, ("shuffled", "ordered")))
         for mode in modes}
CASES |= {case.__name__: case for case in (shuffled, ordered, computed, pooling, block_return, block_rotation,
                                          live_block_size, live_mode_and_pool, live_limit)}
