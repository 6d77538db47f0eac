"""Engine-only figures: bench_engine measures, here its measures become rows."""

import pathlib
import re
import subprocess
import tempfile

from .rows import Figure

SMALL, MIDDLE, LARGE = 1 << 16, 1 << 20, 1 << 24
COUNTED = dict(runs=1, blocks=4)  # instructions hardly vary: little is counted, since counting is slow
LIMIT_S = 240


def program(build):
    return pathlib.Path(build) / "tests/bench/bench_engine"


def options(**kw):
    return [f"--{k}={v}" for k, v in kw.items()]


def run(argv):
    done = subprocess.run([str(a) for a in argv], text=True, capture_output=True, timeout=LIMIT_S, check=False)
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
    return total / (COUNTED["runs"] * COUNTED["blocks"] * 4096)


# The rows, by the number of sessions that has to be set up for them.
NEEDS = {
    SMALL: ("G4", "G4.1m"),
    MIDDLE: ("G1", "G2", "G4.1m", "G5.1m", "G6", "G9", "G10"),
    LARGE: ("G3", "G4", "G5"),
}
MEASURES = {
    SMALL: ("hit",),
    MIDDLE: ("create", "hit", "hit_burst_1", "hit_with_loop", "inbound", "unknown"),
    LARGE: ("hit", "hit_burst_1"),
}


def figures(build, cpu, wanted, large):
    got = {}
    for sessions, rows in NEEDS.items():
        if wanted.any(*rows) and (sessions < LARGE or large or (wanted and wanted.any("G3", "G5"))):
            got[sessions] = measure(build, cpu, sessions, MEASURES[sessions])
    for make in (one_million, sixteen_million):
        for f in make(build, cpu, wanted, got):
            if f.name in wanted:
                yield f


def clock(m):
    meter = m["meter"]
    return {"source": meter["source"], "tsc_ghz": meter["tsc_ghz"], "core_ghz": meter["core_ghz"],
            "memory": meter["memory"].partition(" (")[0].replace(" ", "_")}


def one_million(build, cpu, wanted, got):
    m, small = got.get(MIDDLE), got.get(SMALL)
    if not m:
        return
    of = clock(m)
    if "G1" in wanted:
        yield counted(build, cpu, m["hit"])
    cycles = {name: m[name]["cycles"] for name in MEASURES[MIDDLE]}
    yield Figure.of("G2", cycles["hit"], sessions=MIDDLE, least=m["hit"]["least"], inbound=cycles["inbound"],
                    with_engine_loop=cycles["hit_with_loop"], **of)
    if small:
        yield Figure.of("G4.1m", cycles["hit"] / small["hit"]["cycles"], at_64k=small["hit"]["cycles"],
                        at_1m=cycles["hit"], **of)
    yield Figure.of("G5.1m", cycles["hit_burst_1"] / cycles["hit"], burst_1=cycles["hit_burst_1"],
                    burst_32=cycles["hit"], **of)
    yield Figure.of("G6", cycles["create"], sessions=MIDDLE, least=m["create"]["least"],
                    refused=m["create"]["refused"], **of)
    yield Figure.of("G9", m["meter"]["bytes_per_session"], sessions=MIDDLE)
    yield Figure.of("G10", cycles["unknown"], sessions=MIDDLE, least=m["unknown"]["least"], **of)


def counted(build, cpu, hit):
    if hit["instructions"]:
        return Figure.of("G1", hit["instructions"], sessions=MIDDLE, source="perf")
    per_packet = {n: instructions(build, cpu, MIDDLE, n) for n in ("hit", "hit_with_loop")}
    return Figure.of("G1", per_packet["hit"], sessions=MIDDLE, with_engine_loop=per_packet["hit_with_loop"],
                     source="valgrind")


def sixteen_million(_build, _cpu, _wanted, got):
    m, small = got.get(LARGE), got.get(SMALL)
    if not m:
        return
    hit = m["hit"]["cycles"]
    yield Figure.of("G3", hit, sessions=LARGE, least=m["hit"]["least"], **clock(m))
    if small:
        yield Figure.of("G4", hit / small["hit"]["cycles"], at_64k=small["hit"]["cycles"], at_16m=hit, **clock(m))
    yield Figure.of("G5", m["hit_burst_1"]["cycles"] / hit, burst_1=m["hit_burst_1"]["cycles"], burst_32=hit,
                    **clock(m))
