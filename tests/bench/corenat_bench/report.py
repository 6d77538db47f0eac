"""docs/benchmarks.md: written after a full run."""

import datetime
import os
import pathlib
import platform
import subprocess

from .rows import DISTURBED_PERCENT, NOISY_RATIO, ROWS, number, row_of

REPO = pathlib.Path(__file__).resolve().parents[3]

HEAD = """\
# Benchmarks

Written by `make bench` on {date}; do not edit. Engine-only figures are medians of
the runs that they tell (`runs`), pinned to a CPU; each run is the median of stretches of 512 packets that were made beforehand, of flows
in random order. Lab figures are medians of the ratios of short rounds in which the contenders take turns.

| machine | |
| --- | --- |
| processor | {cpu}, {cpus} CPUs |
| memory | {memory} GiB; arena on {pages} |
| kernel | {kernel} |
| CoreNAT | {commit} |
| load before, and of the last five minutes after | {load}, {load_after} |
| CPU time the hypervisor took meanwhile | {stolen:.0f} % |
| it took | {duration} |

"""
CLOCK = {
    "tsc": "The machine counts no cycles for us: cycles are ticks of the time-stamp counter ({tsc_ghz} GHz) times the "
           "ratio of the core's clock ({core_ghz} GHz while measured) to it, found by timing a chain of "
           "multiplications. They include what hypervisor and interrupts take, but for stretches far off the median.",
    "perf": "Cycles are user-space cycles from perf_event.",
}
LAB = """
Lab: 60-byte UDP over veth pairs, one CPU for the generator (frames made in the kernel and handed to the veth peer, and what
the appliance's inside interface does on reception: XDP, or making socket buffers), the other for the contender (engine,
forwarder, or the kernel's forwarding path moved there by RPS) and for the sink, an XDP program that counts and drops. More
is offered than any contender carries, so both CPUs are busy throughout, whoever's turn it is. AF_XDP copies on veth; a NIC's zero-copy does
not. nft has the one rule `snat to` the range of the pool's addresses, looks at no checksums and runs at the engines' priority. Flows
have sessions before and are drawn at random for each packet, but for new ones (G17), which come once each.

*Generator-limited*: a contender passed on nearly all it was offered, so that the generator's CPU was measured and not
the contender's. *Disturbed*: the hypervisor took more than {percent} % of the CPUs' time meanwhile
(of an engine-only figure: of its CPU's, while the process ran that measured it; of a ratio of two: of either). *Noisy*: the
rounds' or runs' figures differ by more than a factor of {noisy:g} (least and most are told). Such figures show neither that a goal is reached nor that it
is missed."""
NOTES = pathlib.Path(__file__).resolve().parents[1] / "notes.md"
PROFILE = """The largest shares of what the engine itself takes; functions include what the compiler put into them. *Time* is sampled and counts waiting
for memory, *instructions* are counted by callgrind, and told by the file that they are written in as well."""
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


HIDDEN = ("tsc_ghz", "core_ghz", "memory")


def row(f):
    known = row_of(f.name)
    goal = "–" if f.goal is None else ("≥ " if known and known.more_is_better else "≤ ") + number(f.goal)
    met = f.doubt or {True: "yes", False: "no", None: ""}[f.met]
    context = ", ".join(f"{k} {number(v)}" for k, v in f.context.items() if k not in HIDDEN)
    what = ROWS[f.name].what if f.name in ROWS else known.what if known else ""
    return f"| {f.name} | {what} | **{number(f.value)}** {f.unit} | {goal} | {met} | {context} |"


# ---- plots: a bar per value, in text, so that they show in a terminal as well ----

def plot(title, bars):
    longest, width = max(v for _, v in bars) or 1, max(len(name) for name, _ in bars)
    lines = [f"{name:>{width}} {'█' * max(1, round(v / longest * BAR)) if v else ''} {number(v)}" for name, v in bars]
    return "\n".join([f"\n### {title}\n", "```", *lines, "```"])


def sized(text):
    return text.replace("k", " K").replace("m", " M")


# Title, the rows' prefix, what a row's bar is called, and which of its numbers it shows (None: the value).
PLOTS = (
    ("Cycles per packet by number of sessions, to the outside", "sessions.", sized, None),
    ("The same, from the outside", "sessions.", sized, "inbound"),
    ("Cycles per packet by burst, 1 M sessions", "burst.", lambda n: f"{n} at once", None),
    ("Cycles per new session by ports in use", "ports.fill_", lambda n: f"{n} %", None),
    ("Instructions per packet by number of engines", "engines.", lambda n: f"{n} engines", None),
    ("Cycles per packet by number of engines, one after the other", "engines.", lambda n: f"{n} engines", "cycles"),
    ("Instructions per new session by number of engines", "engines.", lambda n: f"{n} engines", "create_instructions"),
    ("Cache lines of the arena that an engine changes per packet, by number of engines", "engines.", lambda n: f"{n} engines",
     "lines_changed_per_packet"),
    ("Of those, lines that two engines change", "engines.", lambda n: f"{n} engines", "lines_of_two_engines"),
)


def plots(figures):
    for title, prefix, called, key in PLOTS:
        found = [(called(f.name[len(prefix):]), float(f.value if key is None else f.context[key]))
                 for f in figures if f.name.startswith(prefix)]
        if found:
            yield plot(title, found)
    by, pps = {f.name: f for f in figures}, {}
    for name in ("G15", "G16.1k", "G15.100k", "G16.100k", "G17"):
        if name in by:
            flows = f"{by[name].context['flows'] // 1000} K flows" if "flows" in by[name].context else "new flows"
            pps |= {f"{k[:-4]}, {flows}": float(v) for k, v in by[name].context.items() if k.endswith("_pps")}
    if "pages.4k" in by and "G3" in by:
        yield plot("Cycles per packet at 16 M sessions, by pages of the arena",
                   [(str(by[n].context["memory"]).replace("_", " "), float(by[n].value)) for n in ("G3", "pages.4k")])
    if pps:
        yield plot("Lab: packets per second by contender and flows", list(pps.items()))


def profile_table(title, rows):
    lines = [f"| {name} | {percent:.1f} |" for name, percent in rows]
    return "\n".join([f"\n### Profile: {title}\n", "| function | % |", "| --- | ---: |", *lines])


# ---- what is short of its goal ----

def notes(path=NOTES):
    """{row or case: text} of a file of sections, `## G2` and then the text; it is kept by hand."""
    found, name = {}, None
    if not pathlib.Path(path).exists():
        return found
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            name = line[3:].strip()
            found[name] = []
        elif name:
            found[name].append(line)
    return {name: "\n".join(lines).strip() for name, lines in found.items()}


def short_of_goal(figures):
    said = notes()
    for f in figures:
        if f.met is False or (f.doubt and f.goal is not None):
            note = said.get(f.name) or said.get(f.name.partition(".")[0]) or "Nothing noted yet."
            state = f.doubt or "short of the goal"
            yield f"\n### {f.name}: {number(f.value)} {f.unit}, goal {number(f.goal)} ({state})\n\n{note}"


def write(path, figures, facts, profiles=()):
    clock = next((f.context for f in figures if f.context.get("source") in CLOCK), {})
    took = facts["took"]
    facts = facts | {"load_after": f"{os.getloadavg()[1]:.1f}", "duration": f"{sum(took.values()) / 60:.0f} minutes: " + ", ".join(
        f"{name} {seconds:.0f} s" for name, seconds in took.items() if seconds >= 1)}
    parts = [HEAD.format(pages=str(clock.get("memory", "?")).replace("_", " "), **facts)]
    if clock:
        parts.append(CLOCK[clock["source"]].format(**{k: number(v) for k, v in clock.items()}))
    if any(f.context.get("source") == "valgrind" for f in figures):
        parts.append("Instructions were counted by callgrind over a smaller run.")
    parts.append(LAB.format(percent=DISTURBED_PERCENT, noisy=NOISY_RATIO))
    parts.append("\n| row | what | value | goal | met | made of |\n| --- | --- | --- | --- | --- | --- |")
    parts += [row(f) for f in figures]
    short = list(short_of_goal(figures))
    if short:
        parts += ["\n## Short of the goal: why, and what was tried"] + short
    parts += ["\n## Plots", *plots(figures)]
    if profiles:
        parts += ["\n## Where the cycles go\n", PROFILE, *(profile_table(*p) for p in profiles)]
    pathlib.Path(path).write_text("\n".join(parts) + "\n", encoding="utf-8")
