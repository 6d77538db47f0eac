"""Lab figures: all contenders' labs are up at once and take turns, in rounds so short that whatever else the machine does hits
them alike. A figure is the median of the rounds' ratios."""

import contextlib
import statistics
import time

from .contenders import CONTENDERS, FairPriority
from .rows import Figure
from .stolen import Stolen

ROUNDS = 11
WARM_MS, MEASURE_MS = 60, 300
NEW_WARM_MS, NEW_MEASURE_MS = 20, 250
KNOWN_MS = 2500  # of new flows until nearly all subscribers have had one: new flows are measured, not new subscribers
CALL_ROUNDS, REPORT_S = 5, 0.3  # engines tell what they counted ten times a second
FLOWS = {"1k": 1000, "100k": 100_000}
FULL = 0.95  # who passes on more of what is offered could do more: not its limit is measured
JUNK_PERCENT = 50

ROWS = {"1k": ("G15", "G16.1k"), "100k": ("G15.100k", "G16.100k")}
JUNK = ("G10.lab",)
CALLS = ("calls.usual", "calls.polled")


class Rounds:
    """What every contender did in each round, of any number of turns by name."""

    def __init__(self, turns, rounds=ROUNDS):
        """turns: {name: a call that gives the generator's figures}."""
        self.runs, stolen = {name: [] for name in turns}, Stolen()
        for n in range(rounds + 1):
            for name, measure in turns.items():
                run = measure()
                if n:  # the first round fills tables and caches
                    self.runs[name].append(run)
        self.stolen_percent = round(stolen.percent())

    def each(self, name, of):
        return [of(run) for run in self.runs[name]]

    def ratios(self, name, reference, of):
        return [a / b for a, b in zip(self.each(name, of), self.each(reference, of))]


def arrived(run):
    return run["arrived"] / run["seconds"]


def offered(run):
    return run["sent"] / run["seconds"]


def median(values, digits=None):
    return round(statistics.median(values), digits)


def compare(rounds, name, reference):
    """The median of the rounds' ratios, and what it is made of."""
    ratios, context = rounds.ratios(name, reference, arrived), {}
    for who in (name, reference):
        context[f"{who}_pps"] = median(rounds.each(who, arrived))
        context[f"offered_to_{who}"] = median(rounds.each(who, offered))
        if context[f"{who}_pps"] > FULL * context[f"offered_to_{who}"]:
            context["limited_by"] = "generator"
    context |= {"least": min(ratios), "most": max(ratios), "stolen_percent": rounds.stolen_percent, "rounds": len(ratios)}
    return statistics.median(ratios), context | cpu_shares(rounds, (name, reference))


def cpu_shares(rounds, names):
    """How much of both CPUs each took, of what the hypervisor left; what other processes took is in it."""
    shares = {}
    for name in names:
        for cpu in ("contender", "generator"):
            shares[f"{name}_{cpu}_cpu"] = median(rounds.each(name, lambda r, c=cpu: sum(
                r[f"{c}_{k}"] for k in ("user", "system", "softirq")) / max(0.01, 1 - r[f"{c}_stolen"])), 2)
    return shares


# ---- rows ----

def wanted_names(wanted):
    plain, nft = wanted.any("G15", "G15.100k"), wanted.any("G16.1k", "G16.100k", "G17")
    junk, calls = wanted.any(*JUNK), wanted.any(*CALLS)
    return {name for name, is_wanted in (("corenat", plain or nft or junk or calls), ("polled", calls), ("plain", plain),
                                         ("nft", nft)) if is_wanted}


def figures(build, wanted):
    names = wanted_names(wanted)
    if not names:
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(FairPriority())
        up = {kind.name: stack.enter_context(kind(build)) for kind in CONTENDERS if kind.name in names}
        if wanted.any(*JUNK):  # while few ports are taken: one in 8,000 of those that junk goes to
            yield kept(up["corenat"])
        yield from packets(up, wanted)
        if wanted.any(*CALLS):
            yield from system_calls(up)
        if "G17" in wanted:
            yield new_flows(up)


def known(contender, flows, junk_percent=0):
    """A turn with flows that all have sessions; which comes next is chance's choice, as it is with subscribers."""
    contender.know(flows)
    return lambda: contender.send(flows, WARM_MS, MEASURE_MS, junk_percent=junk_percent, at_random=True)


def packets(up, wanted):
    for case, (by_plain, by_nft) in ROWS.items():
        if not wanted.any(by_plain, by_nft):
            continue
        turns = {name: known(c, FLOWS[case]) for name, c in up.items() if name != "polled"}
        rounds = Rounds(turns)
        for name, reference in ((by_plain, "plain"), (by_nft, "nft")):
            if name in wanted and reference in up:
                value, context = compare(rounds, "corenat", reference)
                yield Figure.of(name, value, flows=FLOWS[case], **context)


def system_calls(up):
    """How many the engine makes under load, leaving the driver to its interrupts and polling it, and what that makes of packets."""
    who = {name: up[name] for name in ("corenat", "polled")}
    before = {name: c.calls() for name, c in who.items()}
    rounds = Rounds({name: known(c, FLOWS["1k"]) for name, c in who.items()}, CALL_ROUNDS)
    time.sleep(REPORT_S)
    ratios = rounds.ratios("polled", "corenat", arrived)
    for row, (name, c) in zip(CALLS, who.items()):
        value, context = calls_of(before[name], c.calls())
        yield Figure.of(row, value, **context, pps=median(rounds.each(name, arrived)),
                        **({"pps_to_usual": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
                           if name == "polled" else {}), stolen_percent=rounds.stolen_percent, **cpu_shares(rounds, [name]))


def calls_of(before, after):
    """Of a thousand packets received; and what they were, by burst."""
    grew = {k: after[k] - before[k] for k in ("kicks", "polls", "idle_waits", "bursts")}
    packets = sum(after[k] - before[k] for k in ("rx_inside_packets", "rx_outside_packets"))
    calls = sum(grew[k] for k in ("kicks", "polls", "idle_waits"))
    return 1000 * calls / packets, {"packets_a_burst": packets / grew["bursts"], "kicks_a_burst": grew["kicks"] / grew["bursts"],
                                    "polls_a_burst": grew["polls"] / grew["bursts"], "sleeps": grew["idle_waits"]}


def kept(corenat):
    """Every second packet is junk from outside: how much of its throughput the good traffic keeps, both without bound."""
    rounds = Rounds({"junk": known(corenat, FLOWS["1k"], JUNK_PERCENT), "none": known(corenat, FLOWS["1k"])})
    ratios = rounds.ratios("junk", "none", arrived)
    return Figure.of("G10.lab", 100 * statistics.median(ratios), pps=median(rounds.each("none", arrived)),
                     pps_with_junk=median(rounds.each("junk", arrived)),
                     offered_junk=median(rounds.each("junk", lambda r: r["junk"] / r["seconds"])),
                     least=100 * min(ratios), most=100 * max(ratios), stolen_percent=rounds.stolen_percent)


def new_flows(up):
    for name in ("corenat", "nft"):
        up[name].new_flows(NEW_WARM_MS, KNOWN_MS)
    rounds = Rounds({name: lambda c=c: c.new_flows(NEW_WARM_MS, NEW_MEASURE_MS)
                     for name, c in up.items() if name in ("corenat", "nft")})
    value, context = compare(rounds, "corenat", "nft")
    return Figure.of("G17", value, **context)
