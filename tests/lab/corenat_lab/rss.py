"""RSS: loads and feeds the tc programs on the peers of the appliance's interfaces (rss.bpf.c, wire.bpf.c).

Also Toeplitz in its plain form, bit by bit, as the judge of what the program and the appliance compute.
"""

import ipaddress
import json
import pathlib
import struct

from .process import LabError, tool

INPUT_MAX = 12
ALL_FIELDS, DESTINATION = range(INPUT_MAX), range(4, 8)  # bytes of the input that are hashed
TABLE_MAX = 2048
WIRE = ("public", "private", "not_ipv4")  # as wire.bpf.c: WIRE_*


def toeplitz(key, data):
    """For every set bit of the input, XOR the 32 bits of the key that start at the bit's position."""
    key_bits = int.from_bytes(key, "big")
    width = len(key) * 8
    result = 0
    for i in range(len(data) * 8):
        if data[i // 8] >> (7 - i % 8) & 1:
            result ^= key_bits >> (width - 32 - i) & 0xffffffff
    return result


def flow_bytes(source, destination, sport=None, dport=None):
    data = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed
    return data if sport is None else data + struct.pack("!HH", sport, dport)


def queue_of(key, table, *flow):
    return table[toeplitz(key, flow_bytes(*flow)) & (len(table) - 1)]


def words(key, hashed=ALL_FIELDS):
    """The key expanded: the hash's share of each value of each input byte (see rss.bpf.c). Bytes that are not hashed have none."""
    return [[toeplitz(key, bytes(i) + bytes([v])) if i in hashed else 0 for v in range(256)] for i in range(INPUT_MAX)]


def config_value(key, table, hashed=ALL_FIELDS):
    n = len(table)
    if not 1 <= n <= TABLE_MAX or n & (n - 1):
        raise LabError(f"an RSS table has 1 to {TABLE_MAX} entries, a power of two, not {n}")
    flat = [w for row in words(key, hashed) for w in row]
    return struct.pack(f"={len(flat)}II", *flat, n - 1) + bytes(table) + bytes(TABLE_MAX - n)


def bpffs_mount(directory):
    directory.mkdir(exist_ok=True)
    tool(["mount", "-t", "bpf", "corenat-lab", directory])


def mounts(directory):
    """Mount points at or below a directory."""
    points = [m.split()[1] for m in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    return [p for p in points if p == str(directory) or p.startswith(f"{directory}/")]


def bpffs_unmount(directory):
    for point in reversed(mounts(directory)):
        tool(["umount", point])


def attach(build, pins, program, netns, device, hook):
    """Loads build/tests/lab/<program>.bpf.o, pins program and maps in `pins`, attaches it to a device."""
    obj = pathlib.Path(build) / "tests/lab" / f"{program}.bpf.o"
    if not obj.exists():
        raise LabError(f"{obj} is not built: make lab-bpf")
    pins.mkdir()
    tool(["bpftool", "prog", "load", obj, pins / program, "type", "classifier", "pinmaps", pins])
    if not int(tool(["tc", "qdisc", "show", "dev", device], netns).count("clsact")):
        tool(["tc", "qdisc", "add", "dev", device, "clsact"], netns)
    tool(["tc", "filter", "add", "dev", device, hook, "bpf", "da", "object-pinned", pins / program],
         netns)


def configure(pins, key, table, hashed=ALL_FIELDS):
    value = config_value(key, table, hashed).hex(" ").split()
    tool(["bpftool", "map", "update", "pinned", pins / "rss_config", "key", "hex", *["00"] * 4,
          "value", "hex", *value])


def counters(pinned, n):
    """The first n slots of a per-CPU array of 64-bit counters, summed over CPUs; [] when it is gone."""
    if not pinned.exists():
        return []
    totals = [0] * n
    for entry in json.loads(tool(["bpftool", "-j", "map", "dump", "pinned", pinned])):
        slot = int.from_bytes(bytes(int(b, 16) for b in entry["key"]), "little")
        if slot < n:
            totals[slot] = sum(int.from_bytes(bytes(int(b, 16) for b in v["value"]), "little")
                               for v in entry["values"])
    return totals
