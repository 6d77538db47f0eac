"""Where the cycles go: by function, what the engine spends its time on (perf, sampling the CPU clock: it counts waiting for memory) and
what it executes (callgrind). Inlined functions count as what they are inlined into."""

import pathlib
import re
import shutil
import subprocess
import tempfile

from .engine import BLOCK, COUNTED, COUNTED_BLOCKS, MIDDLE, SMALL, Engine, options, parse, run

TOP = 15
FREQUENCY = 3999  # samples per second
RUNS = 12
# Of the program that measures, and what it does between stretches.
OURS = re.compile(r"^(packet_make|make_|flows_|rnd|stretch|workload_|note_nat|create_block|astray|meter_|median|by_value|main"
                  r"|measure_|read_event|ticks|run_|print|seconds|through_|_int_|__)")
SAMPLE = re.compile(r"^\s*([\d.]+)%\s+(\S+)\s+\[(.)\]\s+(\S+)", re.M)


def plain_name(function):
    """gcc's clones count with what they are clones of."""
    return re.sub(r"\.(isra|constprop|part|cold|lto_priv)(\.\d+)?", "", function)


def shares(pairs):
    """[(function, share)] of the largest, of all that is the engine's."""
    total = {}
    for function, amount in pairs:
        if not OURS.match(function):
            total[plain_name(function)] = total.get(plain_name(function), 0) + amount
    all_of_it = sum(total.values()) or 1
    ranked = sorted(total.items(), key=lambda p: -p[1])[:TOP]
    return [(name, 100 * amount / all_of_it) for name, amount in ranked]


def time_by_function(build, cpu, measure):
    """Of samples taken while it was measured, those in the program itself."""
    e = Engine(build, cpu)
    with tempfile.TemporaryDirectory() as directory:
        data = pathlib.Path(directory) / "perf.data"
        said = parse(run(["perf", "record", "-q", "-e", "cpu-clock:u", "-F", FREQUENCY, "-k", "CLOCK_MONOTONIC", "-o", data, "--",
                          e.bench, *options(sessions=MIDDLE, measure=measure if measure != "fill" else "none", cpu=cpu,
                                            runs=RUNS)]))
        window = f"{said[measure]['from']:.6f},{said[measure]['to']:.6f}"
        text = run(["perf", "report", "-i", data, "--stdio", "-g", "none", "--sort", "dso,symbol", "--time", window])
    return shares((function, float(percent)) for percent, dso, _, function in SAMPLE.findall(text)
                  if dso == e.bench.name)


def instructions_by_function(build, cpu, sessions, measure):
    e = Engine(build, cpu)
    with tempfile.TemporaryDirectory() as directory:
        out = pathlib.Path(directory) / "out"
        run(["valgrind", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", f"--callgrind-out-file={out}",
             e.bench, *options(sessions=sessions, measure=measure, cpu=cpu, runs=1, blocks=COUNTED_BLOCKS)])
        text = run(["callgrind_annotate", "--auto=no", "--threshold=100", out])
    # Lines like `1,234 (56.7%)  pe/flow.h:nat_burst [/path/program]`: a function appears once for each file that is inlined into it.
    pairs = [(f"{function}, {pathlib.Path(file).name}", int(count.replace(",", "")))
             for count, file, function in re.findall(r"^\s*([\d,]+) \([^)]*\)\s+([^\s:]+):(\S+)", text, re.M)]
    return shares(pairs), sum(n for _, n in pairs) / (COUNTED_BLOCKS * BLOCK)


def profiles(build, cpu):
    """[(title, [(function, percent)])]; none of a tool that the machine lacks."""
    found = []
    if shutil.which("perf"):
        for measure, title in (("hit", "time, sessions found, 1 M"), ("fill", "time, sessions created, 1 M")):
            try:
                found.append((title, time_by_function(build, cpu, measure)))
            except (RuntimeError, KeyError, subprocess.SubprocessError):
                pass  # perf of another kernel, or not allowed: callgrind's remain
    for sessions, measure, title in ((COUNTED, "hit", "instructions, sessions found"),
                                     (SMALL, "count_create", "instructions, sessions created")):
        table, each = instructions_by_function(build, cpu, sessions, measure)
        found.append((f"{title} ({each:.0f} a packet)", table))
    return found
