"""Config: the appliance's configuration document, and what the lab's wiring must know of it.

The document, after a file given by --config is merged over it, is the only truth: number of queues, RSS
key and table, pool and interface names are read back from it when the topology is made.
"""

import copy
import ipaddress
import json
import os
import pathlib

from .process import LabError
from .rss import ALL_FIELDS, DESTINATION

REPO = pathlib.Path(__file__).resolve().parents[3]

# The key of Microsoft's RSS verification suite, which most drivers have as their default.
RSS_KEY = "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa"
RSS_TABLE_LEN = 128
POOL = "198.51.100.0/28"


def generate(state, options):
    over = load(options.config) if options.config else {}
    n = over.get("arena", {}).get("engines", options.engines)
    rss = {"mode": "single"}
    if options.rss == "toeplitz":
        table = [i % n for i in range(RSS_TABLE_LEN)]
        rss = {"mode": "toeplitz", "key": RSS_KEY, "table": table}
    run = state.dir
    cpus = sorted(os.sched_getaffinity(0))
    document = {
        "arena": {"name": f"/corenat-{state['id']}", "engines": n,
                  "sessions": options.sessions},
        # No two engines may name the same CPU: a machine with too few leaves the choice to them.
        "engine": {"cpus": cpus[:n]} if n <= len(cpus) else {},
        "inside": {"interface": "cgn-in", "prefixes": ["100.64.0.0/10"], "rss": rss},
        "outside": {"interface": "cgn-out", "rss": copy.deepcopy(rss)},
        "pools": [{"name": "main", "addresses": [POOL]}],
        "system": {"runtime_dir": str(run / "run"), "bpffs": str(run / "bpf/corenat")},
        "api": {"web_dir": str(REPO / "build/web")},
        "history": {"file": str(run / "history.db")},
        "subscribers": {"file": str(run / "subscribers.db")},
        "events": {"file": str(run / "events.db")},
        "versions": {"file": str(run / "versions.db")},
    }
    merge(document, over)
    return document


def load(path):
    """A file's document; one that is at hand already is taken as it is."""
    if isinstance(path, dict):
        return path
    try:
        over = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as e:
        raise LabError(f"--config {path}: {e}") from e
    if not isinstance(over, dict):
        raise LabError(f"--config {path}: not a JSON object")
    return over


def merge(base, over):
    """Objects merge key by key; everything else, lists too, is replaced."""
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value


def engines(document):
    return document["arena"]["engines"]


def pool_networks(document):
    """All NAT addresses as prefixes that a route can name."""
    networks = []
    for pool in document["pools"]:
        for item in pool["addresses"]:
            first, dash, last = item.partition("-")
            if dash:
                networks += ipaddress.summarize_address_range(ipaddress.IPv4Address(first.strip()),
                                                              ipaddress.IPv4Address(last.strip()))
            else:
                networks.append(ipaddress.IPv4Network(first))
    return networks


def rss_fields(document, side):
    """The bytes of the input that the NIC of one side hashes."""
    return DESTINATION if document[side].get("rss", {}).get("mode") == "destination" else ALL_FIELDS


def rss(document, side):
    """(key, table) of one side as the NIC emulation wants them; `single` is a table of one zero."""
    r = document[side].get("rss", {})
    if r.get("mode", "toeplitz") == "single":
        return bytes.fromhex(RSS_KEY), [0]
    n = engines(document)
    return (bytes.fromhex(r.get("key", RSS_KEY)),
            r.get("table") or [i % n for i in range(RSS_TABLE_LEN)])
