"""Engine-only figures: bench_engine measures, here its measures become rows."""

import pathlib
import re
import subprocess
import tempfile

from .rows import Figure

SMALL, MIDDLE, LARGE = 1 << 16, 1 << 20, 1 << 24
COUNTED = dict(runs=1, blocks=32)  # instructions hardly vary: little is counted, since counting is slow
BLOCK = 512  # packets, as in bench_engine.c
LIMIT_S = 400


def program(build):
    return pathlib.Path(build) / "tests/bench/bench_engine"


def options(**kw):
    return [f"--{k}={v}" for k, v in kw.items()]


def run(argv):
    """Ahead of what else the machine does: the fewer interruptions, the fewer stretches to discard."""
    done = subprocess.run(["nice", "-n", "-15", *map(str, argv)], text=True, capture_output=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def measure(build, cpu, sessions, measures, **kw):
    """{measure: {field: number or text}}, the meter's line too."""
    text = run([program(build), *options(sessions=sessions, measure=",".join(measures), cpu=cpu, **kw)])
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        pairs = re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', rest)
        found[name] = {k: quoted or (float(plain) if plain[0].isdigit() else plain) for k, quoted, plain in pairs}
    return found


def instructions(build, cpu, sessions, name):
    """Per packet, from callgrind: what the measured stretch alone executed."""
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "out"
        run(["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
             f"--callgrind-out-file={out}", program(build),
             *options(sessions=sessions, measure=name, cpu=cpu, **COUNTED)])
        total = int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])
    return total / (COUNTED["runs"] * COUNTED["blocks"] * BLOCK)


# The rows, by the number of sessions that has to be set up for them.
NEEDS = {
    SMALL: ("G4", "G4.1m"),
    MIDDLE: ("G1", "G2", "G4.1m", "G5.1m", "G6", "G9.arena_1m", "G10"),
    LARGE: ("G3", "G4", "G5"),
}
MEASURES = {
    "hit": ("G1", "G2", "G3", "G4", "G4.1m", "G5", "G5.1m"),
    "hit_with_loop": ("G2",),
    "inbound": ("G2",),
    "hit_burst_1": ("G5", "G5.1m"),
    "create": ("G6",),
    "unknown": ("G10",),
}


def figures(build, cpu, wanted, large):
    got = {}
    large = large or (wanted and "G3" in wanted)
    for sessions, rows in NEEDS.items():
        if wanted.any(*rows) and (sessions < LARGE or large):
            needed = [m for m, of in MEASURES.items() if wanted.any(*set(of) & set(rows))]
            got[sessions] = measure(build, cpu, sessions, needed or ["none"])
        if sessions in MAKE:
            yield from MAKE[sessions](build, cpu, wanted, got)


def clock(m):
    meter = m["meter"]
    return {"source": meter["source"], "tsc_ghz": meter["tsc_ghz"], "core_ghz": meter["core_ghz"],
            "memory": meter["memory"].partition(" (")[0].replace(" ", "_")}


def one_million(build, cpu, wanted, got):
    m, small = got.get(MIDDLE), got.get(SMALL)
    if not m:
        return
    of, cycles = clock(m), {name: m[name]["cycles"] for name in MEASURES if name in m}
    if "G1" in wanted:
        yield counted(build, cpu, m["hit"])
    if "G2" in wanted:
        yield Figure.of("G2", cycles["hit"], sessions=MIDDLE, least=m["hit"]["least"], inbound=cycles["inbound"],
                        with_engine_loop=cycles["hit_with_loop"], **of)
    if small and "G4.1m" in wanted:
        yield Figure.of("G4.1m", cycles["hit"] / small["hit"]["cycles"], at_64k=small["hit"]["cycles"],
                        at_1m=cycles["hit"], **of)
    if "G5.1m" in wanted:
        yield Figure.of("G5.1m", cycles["hit_burst_1"] / cycles["hit"], burst_1=cycles["hit_burst_1"],
                        burst_32=cycles["hit"], **of)
    if "G6" in wanted:
        yield Figure.of("G6", cycles["create"], sessions=MIDDLE, least=m["create"]["least"],
                        refused=int(m["create"]["refused"]), **of)
    if "G9.arena_1m" in wanted:
        yield Figure.of("G9.arena_1m", m["meter"]["bytes_per_session"], sessions=MIDDLE)
    if "G10" in wanted:
        yield Figure.of("G10", cycles["unknown"], sessions=MIDDLE, least=m["unknown"]["least"], **of)


def counted(build, cpu, hit):
    if hit["instructions"]:
        return Figure.of("G1", hit["instructions"], sessions=MIDDLE, source="perf")
    per_packet = {n: instructions(build, cpu, MIDDLE, n) for n in ("hit", "hit_with_loop")}
    return Figure.of("G1", per_packet["hit"], sessions=MIDDLE, with_engine_loop=per_packet["hit_with_loop"],
                     source="valgrind")


def sixteen_million(_build, _cpu, wanted, got):
    m, small = got.get(LARGE), got.get(SMALL)
    if not m:
        return
    hit = m["hit"]["cycles"]
    if "G3" in wanted:
        yield Figure.of("G3", hit, sessions=LARGE, least=m["hit"]["least"], **clock(m))
    if small and "G4" in wanted:
        yield Figure.of("G4", hit / small["hit"]["cycles"], at_64k=small["hit"]["cycles"], at_16m=hit, **clock(m))
    if "G5" in wanted:
        yield Figure.of("G5", m["hit_burst_1"]["cycles"] / hit, burst_1=m["hit_burst_1"]["cycles"], burst_32=hit,
                        **clock(m))


MAKE = {MIDDLE: one_million, LARGE: sixteen_million}
