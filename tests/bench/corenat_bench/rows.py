"""Rows: what is measured, in which unit, and the goal. A row's name is that of the design's table of goals; a case
(after the dot) is a variant that is told apart."""

import dataclasses


DISTURBED_PERCENT = 5
NOISY_RATIO = 2.0  # between the rounds of one figure: with so many, the median still says something below it


@dataclasses.dataclass(frozen=True)
class Row:
    what: str
    unit: str
    goal: float = None
    more_is_better: bool = False


ROWS = {
    "G1": Row("engine only, sessions found, 64-byte UDP, 1 M sessions: instructions per packet", "instructions", 250),
    "G2": Row("same: cycles per packet, flows in random order", "cycles", 160),
    "G3": Row("same at 16 M sessions", "cycles", 260),
    "pages.4k": Row("as G3, but on 4 KiB pages: cycles per packet", "cycles"),
    "G4.1m": Row("flatness: cycles at 1 M ÷ at 64 K sessions", "ratio"),
    "G4": Row("flatness: cycles at 16 M ÷ at 64 K sessions", "ratio", 2.2),
    "G5.1m": Row("batching: cycles at burst 1 ÷ burst 32, 1 M sessions", "ratio", None, True),
    "G5": Row("batching: cycles at burst 1 ÷ burst 32, 16 M sessions", "ratio", 2.5, True),
    "G6": Row("session creation, engine only, of the last fifth up to the planned load: cycles", "cycles", 450),
    "G7": Row("new sessions per second and core, each with one reply, at the planned load as G6", "per_second", 4e6, True),
    "G8": Row("creation at 99 % of the ports in use ÷ at 50 %", "ratio", 1.7),
    "G8.roomy": Row("same, tables planned for twice as many sessions: what ports alone make of it", "ratio"),
    "G8.refused": Row("same: new flows refused of 10,000 while ports are free", "per_10000", 0),
    "G9": Row("bytes per session, tables included, by the plan of the arena", "bytes", 112),
    "G9.arena_1m": Row("the whole arena ÷ 1 M sessions", "bytes", 112),
    "G10": Row("unknown inbound packet, to any free port amid those taken: cycles to its drop", "cycles", 100),
    "G10.kept": Row("engine only: good traffic kept when as much junk comes on top", "percent", None, True),
    "G10.lab": Row("lab: the same, both without bound", "percent", 80, True),
    "G11.share": Row("aging 16 M sessions: share of a core", "percent", 1.5),
    "G11.slice": Row("same: longest of 99 slices in 100", "us", 20),
    "G11.ending": Row("same while all 16 M end at once", "us"),
    "create.statics": Row("G6 with a thousand static mappings", "cycles"),
    "create.blocks": Row("G6 with port blocks", "cycles"),
    "ending.cost": Row("1 M idle sessions in random order: cycles for one that ends, the sweep and its turns included", "cycles"),
    "ending.churn": Row("a session made, answered once and ended, as many at a time as come", "cycles"),
    "G12.disjoint": Row("two engines ÷ one: subscribers of their own", "ratio", 1.9, True),
    "G12.replies": Row("two engines ÷ one: every reply on the other engine", "ratio", 1.6, True),
    "engines": Row("engines in turn: instructions per packet", "instructions"),
    "sessions": Row("cycles per packet by sessions", "cycles"),
    "burst": Row("cycles per packet by burst, 1 M sessions", "cycles"),
    "home": Row("replies that come home, least over table sizes and engines, an address filled to 80 %", "percent", 90, True),
    "home.in_use": Row("ports in use when the first engine is refused, engines wanting unevenly", "percent", 99, True),
    **{f"home.cost_{n}": Row(f"a port taken and given back, 99 % in use ÷ none, {n} engines", "ratio", 2) for n in (1, 2, 8, 64)},
    "tables": Row("tables alone: cycles per entry in bursts of 32 and 1, load at the first failure", "cycles"),
    "ports": Row("cycles per new session by ports in use", "cycles"),
    "reattach.1m": Row("a restarted engine takes over 1 M sessions", "ms", 1000),
    "quota.warm": Row("what a session takes of its subscriber's quotas and gives back, in caches", "cycles"),
    "quota.cold": Row("same, of 1 M subscribers at random, nothing fetched ahead", "cycles"),
    "subscriber.first_touch": Row("a subscriber and its part made", "cycles"),
    "subscriber.idle_bytes": Row("a subscriber without sessions, tables of 4 engines included", "bytes"),
    "subscriber.active_bytes": Row("one with sessions on one engine", "bytes"),
    "limits.walk": Row("1 M subscribers walked after a change of limits, all turns together", "s"),
    "limits.slice": Row("same: longest of 99 slices in 100", "us", 20),
    "G15": Row("lab: CoreNAT ÷ plain AF_XDP forwarder, packets/s, 1 K flows", "ratio", 0.85, True),
    "G15.100k": Row("same, 100 K flows", "ratio", 0.85, True),
    "G16.1k": Row("lab: CoreNAT ÷ Linux nft (snat to range), packets/s, 1 K flows", "ratio", 1.5, True),
    "G16.100k": Row("same, 100 K flows", "ratio", 2.0, True),
    "calls.usual": Row("lab: system calls of the engine for 1,000 packets received under load, 1 K flows", "calls"),
    "calls.polled": Row("same, the engine polling the drivers (engine.busy_poll)", "calls"),
    "G17": Row("lab: CoreNAT ÷ Linux nft (snat to range), new flows/s", "ratio", 3, True),
}


def row_of(name):
    """Of a case, its own or that of all cases; None for a figure that belongs to no row."""
    return ROWS.get(name) or ROWS.get(name.partition(".")[0])


@dataclasses.dataclass
class Figure:
    """One line of the output."""
    name: str            # row or row.case
    value: float
    unit: str
    goal: float = None
    context: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, name, value, **context):
        row = row_of(name)
        return cls(name, value, row.unit, row.goal, context)

    @classmethod
    def parse(cls, line):
        """The line of a program that speaks the same language."""
        word, name, *pairs = line.split()
        if word != "bench":
            raise ValueError(line)
        fields = dict(p.split("=", 1) for p in pairs)
        goal = fields.pop("goal", None)
        return cls(name, float(fields.pop("value")), fields.pop("unit"), goal and float(goal), fields)

    def __str__(self):
        parts = [f"bench {self.name} value={number(self.value)} unit={self.unit}"]
        if self.goal is not None:
            parts.append(f"goal={number(self.goal)}")
        return " ".join(parts + [f"{k}={number(v)}" for k, v in self.context.items()])

    @property
    def doubt(self):
        """Why the value says little, if it does. What a hypervisor takes from a CPU falsifies ratios most: it may have hit
        one side of them only."""
        if self.context.get("stolen_percent", 0) > DISTURBED_PERCENT:
            return "disturbed"
        if self.context.get("most", 0) > NOISY_RATIO * self.context.get("least", 1):
            return "noisy"
        return "generator-limited" if self.context.get("limited_by") == "generator" else None

    @property
    def met(self):
        """Whether the goal is reached; None when there is none, or the measurement cannot tell."""
        if self.goal is None or self.doubt:
            return None
        row = row_of(self.name)
        return self.value >= self.goal if row and row.more_is_better else self.value <= self.goal


def number(v):
    """Three or four digits that mean something, never an exponent."""
    if not isinstance(v, float):
        return str(v)
    text = f"{v:.0f}" if abs(v) >= 1000 else f"{v:.1f}" if abs(v) >= 100 else f"{v:.2f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Wanted:
    """ONLY=G1,G8: rows with all their cases, or single cases. Nothing: all."""

    def __init__(self, text):
        self.names = [n.strip() for n in text.split(",") if n.strip()]

    def __bool__(self):
        return bool(self.names)

    def __contains__(self, name):
        return not self.names or name in self.names or name.partition(".")[0] in self.names

    def any(self, *names):
        return any(n in self for n in names)
