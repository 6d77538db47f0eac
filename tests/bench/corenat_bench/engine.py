"""Engine-only figures: bench_engine and bench_engines measure, here their measures become rows."""

import os
import pathlib
import re
import subprocess
import tempfile

from .pages import Pages
from .rows import Figure
from .stolen import Stolen

SMALL, MIDDLE, LARGE = 1 << 16, 1 << 20, 1 << 24
SIZES = {"64k": SMALL, "256k": 1 << 18, "1m": MIDDLE, "4m": 1 << 22, "16m": LARGE}
BURSTS = (1, 2, 4, 8, 16, 32, 64)
ENGINES = (1, 2, 8, 64)
BLOCK = 512  # packets, as in workload.h
COUNTED_BLOCKS = 24  # instructions hardly vary: little is counted, since counting is slow; less than the last fifth of SMALL
COUNTED = 1 << 18  # sessions meanwhile: what a packet executes does not depend on how many there are
LIMIT_S = 300
SMALL_PAGES = "pages.4k"
LARGE_BYTES = 5 << 30  # memory that 16 M sessions and their generator take, with room to spare


def options(**kw):
    return [f"--{k}={v}" for k, v in kw.items() if v is not None]


def run(argv):
    """Ahead of what else the machine does: the fewer interruptions, the fewer stretches to discard."""
    done = subprocess.run(["nice", "-n", "-15", *map(str, argv)], text=True, capture_output=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def value(text):
    return float(text) if text[0].isdigit() else text


def parse(text):
    """{measure: {field: number or text}} of lines `measure field=value field="text" …`."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        pairs = re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', rest)
        found[name] = {k: quoted or value(plain) for k, quoted, plain in pairs}
    return found


class Engine:
    """Runs the programs, each set of measures once."""

    def __init__(self, build, cpu):
        self.bench, self.bench_engines = (pathlib.Path(build) / "tests/bench" / n for n in ("bench_engine", "bench_engines"))
        self.cpu = cpu

    def measure(self, sessions, measures, **kw):
        """With `meter` goes what the hypervisor took of the CPU meanwhile."""
        stolen = Stolen(self.cpu)
        m = parse(run([self.bench, *options(sessions=sessions, measure=",".join(measures) or "none", cpu=self.cpu, **kw)]))
        m["meter"]["stolen_percent"] = stolen.percent()
        return m

    def engines(self, **kw):
        return parse(run([self.bench_engines, *options(**kw)]))

    def together(self, sessions):
        stolen = Stolen()
        m = parse(run([self.bench_engines, "--together", *options(sessions=sessions)]))
        return m | {"stolen_percent": stolen.percent()}

    def count(self, argv):
        """What the measured stretches of a program executed: instructions, and callgrind's file's text."""
        with tempfile.TemporaryDirectory() as directory:
            out = pathlib.Path(directory) / "out"
            text = run(["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
                        f"--callgrind-out-file={out}", *argv])
            return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1]), parse(text)

    def instructions(self, sessions, name, **kw):
        """Per packet."""
        total, _ = self.count([self.bench, *options(sessions=sessions, measure=name, cpu=self.cpu, runs=1,
                                                    blocks=COUNTED_BLOCKS, **kw)])
        return total / (COUNTED_BLOCKS * BLOCK)

    def engines_instructions(self, engines, sessions, name):
        total, said = self.count([self.bench_engines, *options(engines=engines, sessions=sessions, measure=name, blocks=1)])
        return total / said[name]["packets"]


def memory_available():
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# ---- the rows, by the number of sessions that has to be set up for them ----

BURST_ROWS = tuple(f"burst.{n}" for n in BURSTS)
AGING = ("G11.share", "G11.slice", "G11.ending")
NEEDS = {
    SMALL: ("sessions.64k", "G4", "G4.1m"),
    SIZES["256k"]: ("sessions.256k",),
    MIDDLE: ("sessions.1m", "G1", "G2", "G4.1m", "G5.1m", "G6", "G7", "G9.arena_1m", "G10", "G10.kept", *BURST_ROWS),
    SIZES["4m"]: ("sessions.4m",),
    LARGE: ("sessions.16m", "G3", "G4", "G5", *AGING),
}
LAST = {row: sessions for sessions, rows in NEEDS.items() for row in rows}  # then all it needs is there
EVERY = tuple(f"sessions.{k}" for k in SIZES)
MEASURES = {
    "hit": (*EVERY, *BURST_ROWS, "G1", "G2", "G3", "G4", "G4.1m", "G5", "G5.1m"),
    "inbound": (*EVERY, "G2", "G3", "G10.kept"),
    "hit_with_loop": ("G2",),
    "hit_burst_1": ("G5", "G5.1m"),
    **{f"hit_burst_{n}": (f"burst.{n}",) for n in BURSTS if n not in (1, 32)},
    "create": ("G6",),
    "create_reply": ("G7",),
    "unknown": ("G10", "G10.kept"),
    "half_unknown": ("G10.kept",),
    "aging": AGING,
    "ending": ("G11.ending",),
}
MEASURES["hit_burst_1"] += ("burst.1",)


def figures(build, cpu, wanted):
    e, got = Engine(build, cpu), {}
    for sessions, rows in NEEDS.items():
        if not wanted.any(*rows):
            continue
        if sessions == LARGE and memory_available() < LARGE_BYTES:
            raise RuntimeError(f"16 M sessions need {LARGE_BYTES >> 30} GiB of memory: no {', '.join(rows)}")
        got[sessions] = e.measure(sessions, [m for m, of in MEASURES.items() if wanted.any(*set(of) & set(rows))])
        for name, make in MAKE.items():
            if LAST[name] == sessions and name in wanted:
                yield make(e, name, got)
    yield from coming_and_going(e, wanted)
    if wanted.any(SMALL_PAGES):
        yield on_small_pages(e, got.get(LARGE))
    yield from several(e, wanted)


CREATED_WITH = {"create.statics": {"statics": 1000}, "create.blocks": {"nat": '"ports":"blocks"', "addresses": 600}}


def coming_and_going(e, wanted):
    """Each in a process of its own: nothing is left to be measured after them."""
    for name, kw in CREATED_WITH.items():
        if name in wanted:
            m = e.measure(MIDDLE, ["create"], **kw)
            yield Figure.of(name, m["create"]["cycles"], sessions=MIDDLE, instructions=e.instructions(SMALL, "count_create", **kw),
                            **filled(m["create"]), **clock(m))
    if "ending.cost" in wanted:
        m = e.measure(MIDDLE, ["end"])
        total, said = e.count([e.bench, *options(sessions=SMALL, measure="count_end", cpu=e.cpu)])
        yield Figure.of("ending.cost", m["end"]["cycles"], sessions=MIDDLE, **runs(m["end"]), middle=m["end"]["middle"],
                        instructions=total / said["count_end"]["ended"], **clock(m))
    if "ending.churn" in wanted:
        m = e.measure(MIDDLE, ["churn"])
        c = m["churn"]
        yield Figure.of("ending.churn", c["cycles"], sessions=MIDDLE, **runs(c), of_which_reply=c["reply"], made=int(c["made"]),
                        ended=int(c["ended"]), **clock(m))


def on_small_pages(e, huge):
    """What huge pages are worth: the same as G3 without them."""
    with Pages(huge=False):
        m = e.measure(LARGE, ["hit", "inbound"])
    compared = {"with_huge_pages": huge["hit"]["cycles"]} if huge and "hit" in huge else {}
    return Figure.of(SMALL_PAGES, m["hit"]["cycles"], sessions=LARGE, **runs(m["hit"]), inbound=m["inbound"]["cycles"],
                     arena=clock(m)["memory"], **compared, **clock(m))


def clock(m):
    meter = m["meter"]
    return {"source": meter["source"], "stolen_percent": meter["stolen_percent"], "tsc_ghz": meter["tsc_ghz"], "core_ghz": meter["core_ghz"],
            "memory": meter["memory"].partition(" (")[0].replace(" ", "_")}


def plain(measure, sessions):
    """A row that is one measure's cycles."""
    def make(_, name, got):
        m = got[sessions]
        return Figure.of(name, m[measure]["cycles"], sessions=sessions, **runs(m[measure]), **clock(m))
    return make


def at_size(_, name, got):
    sessions = SIZES[name.partition(".")[2]]
    m = got[sessions]
    return Figure.of(name, m["hit"]["cycles"], sessions=sessions, **runs(m["hit"]), inbound=m["inbound"]["cycles"], **clock(m))


def at_burst(_, name, got):
    m, n = got[MIDDLE], int(name.partition(".")[2])
    measured = m["hit" if n == 32 else f"hit_burst_{n}"]
    return Figure.of(name, measured["cycles"], **runs(measured), sessions=MIDDLE, **clock(m))


def counted(e, name, got):
    hit = got[MIDDLE]["hit"]
    if hit["instructions"]:
        return Figure.of(name, hit["instructions"], sessions=MIDDLE, source="perf")
    return Figure.of(name, e.instructions(COUNTED, "hit"), sessions=COUNTED, inbound=e.instructions(COUNTED, "inbound"),
                     with_engine_loop=e.instructions(COUNTED, "hit_with_loop"), source="valgrind")


def hits(sessions):
    def make(_, name, got):
        m, loop = got[sessions], {}
        if "hit_with_loop" in m:
            loop = {"with_engine_loop": m["hit_with_loop"]["cycles"]}
        return Figure.of(name, m["hit"]["cycles"], sessions=sessions, **runs(m["hit"]),
                         inbound=m["inbound"]["cycles"], **loop, **clock(m))
    return make


def bounds(over, under):
    """Of a ratio of two measures: what the runs of either leave open."""
    return {"least": over["least"] / under["most"], "most": over["most"] / under["least"], "runs": int(over["runs"])}


def flat(sessions):
    """Of several processes, any of which may have been disturbed: 64 K sessions are measured again after so many, and the
    quicker time counts, since a slow one would flatter the ratio."""
    def make(e, name, got):
        m, before, after = got[sessions], got[SMALL], e.measure(SMALL, ["hit"])
        small, slow = sorted((before["hit"], after["hit"]), key=lambda hit: hit["cycles"])
        worst = {"stolen_percent": max(clock(each)["stolen_percent"] for each in (m, before, after))}
        over = bounds(m["hit"], {k: pick(small[k], slow[k]) for k, pick in (("least", min), ("most", max))})
        return Figure.of(name, m["hit"]["cycles"] / small["cycles"], at_64k=small["cycles"], at_64k_other_time=slow["cycles"],
                         at_size=m["hit"]["cycles"], sessions=sessions, **over, **(clock(m) | worst))
    return make


def batching(sessions):
    def make(_, name, got):
        m = got[sessions]
        one, usual = m["hit_burst_1"], m["hit"]
        return Figure.of(name, one["cycles"] / usual["cycles"], burst_1=one["cycles"], burst_32=usual["cycles"], sessions=sessions,
                         **bounds(one, usual), **clock(m))
    return make


def created(e, name, got):
    m = got[MIDDLE]
    return Figure.of(name, m["create"]["cycles"], sessions=MIDDLE, instructions=e.instructions(SMALL, "count_create"),
                     refused=int(m["create"]["refused"]), **filled(m["create"]), **clock(m))


def filled(create):
    """The value is of the last fifth of a filling: what all of it took, and its first fifth. And what the runs were."""
    return {k: create[k] for k in ("while_filling", "nearly_empty")} | runs(create)


def runs(measured):
    return {"least": measured["least"], "most": measured["most"], "runs": int(measured["runs"])}


def rate(_, name, got):
    m = got[MIDDLE]
    r = m["create_reply"]
    of = {k: r["core_ghz"] * 1e9 / v for k, v in filled(r).items() if k != "runs"}
    return Figure.of(name, r["core_ghz"] * 1e9 / r["cycles"], cycles=r["cycles"], of_which_reply=r["reply"], sessions=MIDDLE,
                     **(of | {"least": of["most"], "most": of["least"], "runs": int(r["runs"])}), **clock(m))


def kept(_, name, got):
    """Good packets and as much junk on top: what is left for the good ones of a core that does nothing else."""
    m = got[MIDDLE]
    alone, half = m["inbound"], m["half_unknown"]
    of = bounds(alone, half)
    return Figure.of(name, 50 * alone["cycles"] / half["cycles"], good_alone=alone["cycles"], mean_with_junk=half["cycles"],
                     **(of | {k: 50 * of[k] for k in ("least", "most")}), **clock(m))


def aging(field, scale, **context):
    def make(_, name, got):
        m = got[LARGE]["aging"]
        return Figure.of(name, m[field] * scale, sessions=LARGE, **{k: m[v] for k, v in context.items()}, runs=1,
                         source="cpu_clock", stolen_percent=clock(got[LARGE])["stolen_percent"])
    return make


def ending(_, name, got):
    m = got[LARGE]["ending"]
    return Figure.of(name, m["p99"], sessions=LARGE, middle=m["middle"], longest=m["longest"], turns=int(m["turns"]),
                     ended=int(m["ended"]), runs=1, source="cpu_clock", stolen_percent=clock(got[LARGE])["stolen_percent"])


def arena_bytes(_, name, got):
    return Figure.of(name, got[MIDDLE]["meter"]["bytes_per_session"], sessions=MIDDLE)


MAKE = {
    **{name: at_size for name in EVERY},
    "G1": counted, "G2": hits(MIDDLE), "G3": hits(LARGE), "G4.1m": flat(MIDDLE), "G4": flat(LARGE),
    "G5.1m": batching(MIDDLE), "G5": batching(LARGE),
    **{name: at_burst for name in BURST_ROWS},
    "G6": created, "G7": rate, "G9.arena_1m": arena_bytes, "G10": plain("unknown", MIDDLE), "G10.kept": kept,
    # A turn each millisecond: microseconds a turn are tenths of a per cent of the core.
    "G11.share": aging("middle", 0.1, mean="mean", passes="passes"),
    "G11.slice": aging("p99", 1, middle="middle", machine_adds="machine", p999="p999", longest="longest"),
    "G11.ending": ending,
}


# ---- several engines ----

IN_TURN = 1 << 18  # sessions, shared out
TOGETHER = ("G12.disjoint", "G12.replies")
ENGINE_ROWS = tuple(f"engines.{n}" for n in ENGINES)


def several(e, wanted):
    if wanted.any(*TOGETHER):
        m = e.together(MIDDLE)
        for name in TOGETHER:
            if name in wanted:
                r = m[name.partition(".")[2]]
                yield Figure.of(name, r["ratio"], one=r["alone"], first_of_two=r["first"], second_of_two=r["second"],
                                **runs(r), sessions=MIDDLE, source=r["source"],
                                stolen_percent=m["stolen_percent"],
                                **(away(m) if name == "G12.replies" else {}))
    for name in ENGINE_ROWS:
        if name in wanted:
            yield in_turn(e, name)


def away(m):
    lines = m["replies_lines"]
    return {"adopting": m["adopt"]["cycles"], "lines_changed_per_packet": lines["lines_changed"],
            "lines_of_two_engines": int(lines["lines_of_two"])}


def in_turn(e, name):
    """The cost per engine count beyond what there are CPUs for: instructions, and lines that two engines change."""
    n = int(name.partition(".")[2])
    m = e.engines(engines=n, sessions=IN_TURN, blocks=max(4, 400 // n))
    out, back = m["outbound"], m["inbound"]
    return Figure.of(name, e.engines_instructions(n, SMALL, "outbound"), cycles=out["cycles"],
                     inbound_cycles=back["cycles"], create_cycles=m["create"]["cycles"],
                     create_instructions=e.engines_instructions(n, SMALL, "create"),
                     replies_home_percent=m["create"]["replies_home_percent"],
                     lines_changed_per_packet=out["lines_changed"], lines_of_two_engines=int(out["lines_of_two"] + back["lines_of_two"]))
