"""docs/benchmarks.md: written after a full run."""

import datetime
import os
import pathlib
import platform
import subprocess

from .rows import DISTURBED_PERCENT, ROWS, number

REPO = pathlib.Path(__file__).resolve().parents[3]

HEAD = """\
# Benchmarks

Written by `make bench` on {date}; do not edit. Engine-only figures are medians of
five runs, pinned to a CPU; each run is the median of stretches of 512 packets that were made beforehand. Lab figures
are medians of the ratios of five rounds in which the contenders take turns.

| machine | |
| --- | --- |
| processor | {cpu}, {cpus} CPUs |
| memory | {memory} GiB; arena on {pages} |
| kernel | {kernel} |
| CoreNAT | {commit} |
| load before | {load} |
| CPU time the hypervisor took meanwhile | {stolen:.0f} % |

"""
CLOCK = {
    "tsc": "The machine counts no cycles for us: cycles are ticks of the time-stamp counter ({tsc_ghz} GHz) times the "
           "ratio of the core's clock ({core_ghz} GHz while measured) to it, found by timing a chain of "
           "multiplications. They include what hypervisor and interrupts take, but for stretches far off the median.",
    "perf": "Cycles are user-space cycles from perf_event.",
}
LAB = """
Lab: 60-byte UDP over veth pairs, one CPU for the generator (and XDP at the appliance's inside), the other for the
contender (engine, forwarder, or the kernel's forwarding path moved there by RPS) and for the sink, an XDP program that
counts and drops. AF_XDP copies on veth; a NIC's zero-copy does not. 

*Generator-limited*: a contender passed on nearly all it was offered, so that the generator's CPU was measured and not
the contender's. *Disturbed*: the hypervisor took more than {percent} % of the CPUs' time meanwhile. *Noisy*: the
rounds' ratios differ by more than half. Such figures show neither that a goal is reached nor that it is missed."""
BAR = 40


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    cpu = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "-C", REPO, "describe", "--always", "--dirty"], capture_output=True, text=True,
                            check=False).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(),
        "memory": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "commit": (REPO / "VERSION").read_text(encoding="utf-8").strip() + (f" ({commit})" if commit else ""),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


class Stolen:
    """The share of the CPUs' time that the hypervisor gave to others, since this was made."""

    def __init__(self):
        self.begin = self.read()

    @staticmethod
    def read():
        with open("/proc/stat", encoding="ascii") as f:
            return [int(n) for n in f.readline().split()[1:9]]

    def percent(self):
        spent = [b - a for a, b in zip(self.begin, self.read())]
        return 100 * spent[7] / (sum(spent) or 1)


def row(f):
    known = ROWS.get(f.name) or ROWS.get(f.name.partition(".")[0])
    goal = "–" if f.goal is None else ("≥ " if known and known.more_is_better else "≤ ") + number(f.goal)
    met = f.doubt or {True: "yes", False: "no", None: ""}[f.met]
    context = ", ".join(f"{k} {number(v)}" for k, v in f.context.items() if k not in ("tsc_ghz", "core_ghz", "memory"))
    what = ROWS[f.name].what if f.name in ROWS else f.name
    return f"| {f.name} | {what} | **{number(f.value)}** {f.unit} | {goal} | {met} | {context} |"


def plot(title, bars):
    """A bar per value, in text: it shows in a terminal as well."""
    longest = max(v for _, v in bars)
    lines = [f"{name:>12} {'█' * round(v / longest * BAR)} {number(v)}" for name, v in bars]
    return "\n".join([f"\n## {title}\n", "```", *lines, "```"])


def plots(figures):
    by = {f.name: f for f in figures}
    flat = {}
    for name in ("G4.1m", "G4"):
        if name in by:
            flat |= {k: v for k, v in by[name].context.items() if k.startswith("at_")}
    if flat:
        bars = [(k[3:].replace("k", " K").replace("m", " M"), v) for k, v in flat.items()]
        yield plot("Cycles per packet by number of sessions", bars)
    pps = {}
    for name in ("G15", "G16.1k", "G15.100k", "G16.100k"):
        if name in by:
            f = by[name]
            flows = f"{f.context['flows'] // 1000} K"
            pps |= {f"{k[:-4]} {flows}": float(v) for k, v in f.context.items() if k.endswith("_pps")}
    if pps:
        yield plot("Lab: packets per second by contender and flows", list(pps.items()))


def write(path, figures, facts):
    clock = next((f.context for f in figures if f.context.get("source") in CLOCK), {})
    text = HEAD.format(pages=str(clock.get("memory", "?")).replace("_", " "), **facts)
    if clock:
        text += CLOCK[clock["source"]].format(**{k: number(v) for k, v in clock.items()}) + "\n"
    if any(f.context.get("source") == "valgrind" for f in figures):
        text += "Instructions were counted by callgrind over a smaller run.\n"
    text += LAB.format(percent=DISTURBED_PERCENT) + "\n\n| row | what | value | goal | met | made of |\n| --- | --- | --- | --- | --- | --- |\n"
    text += "\n".join(row(f) for f in figures) + "\n" + "\n".join(plots(figures)) + "\n"
    pathlib.Path(path).write_text(text, encoding="utf-8")
