"""What the cases of the replay tests are made of: configurations, packets, and a first replay that tells which NAT endpoints
the appliance chose."""
import json
import logging
import pathlib
import subprocess
import tempfile

logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import ICMP, IP, TCP, UDP, Dot1Q, Ether, Raw, rdpcap, wrpcap  # noqa: E402

SERVER = "203.0.113.2"


def config(engines, sessions=1024):
    return {
        "arena": {"engines": engines, "sessions": sessions},
        "inside": {"interface": "in", "prefixes": ["100.64.0.0/10"]},
        "outside": {"interface": "out"},
        "pools": [{"name": "main", "addresses": ["198.51.100.0/30", "198.51.100.99"]}],
    }


def at(t, packet):
    packet.time = t
    return packet


def ether():
    return Ether(src="02:00:00:00:01:02", dst="02:00:00:00:01:01", type=0x0800)


def out(sub, l4, t, payload=b"x" * 18, **ip):
    return at(t, ether() / IP(src=sub, dst=SERVER, **ip) / l4 / Raw(payload))


def answer(packet, t, flags=None):
    """What the server says to a packet it received."""
    ip = packet[IP]
    back = Ether(src="02:00:00:00:02:02", dst="02:00:00:00:02:01") / IP(src=ip.dst, dst=ip.src, id=7)
    if UDP in packet:
        back /= UDP(sport=packet[UDP].dport, dport=packet[UDP].sport) / Raw(b"answer")
    elif TCP in packet:
        back /= TCP(sport=packet[TCP].dport, dport=packet[TCP].sport, flags=flags or "SA", seq=1, ack=2)
    else:
        back /= ICMP(type=0, id=packet[ICMP].id, seq=packet[ICMP].seq) / Raw(bytes(packet[ICMP].payload))
    return at(t, back)


def write_changes(folder, changes):
    """The list of later configurations: changes is [(time, configuration)]."""
    lines = []
    for i, (t, conf) in enumerate(changes, 1):
        (folder / f"later-{i}.json").write_text(json.dumps(conf, indent=1) + "\n")
        lines.append(f"{t} later-{i}.json\n")
    (folder / "changes").write_text("".join(lines))


def replayed_outside(pe, conf, packets, changes=()):
    """What leaves outside when only the inside is played."""
    with tempfile.TemporaryDirectory() as d:
        c, i, o = (pathlib.Path(d) / n for n in ("c.json", "i.pcap", "o.pcap"))
        c.write_text(json.dumps(conf))
        wrpcap(str(i), packets)
        write_changes(pathlib.Path(d), changes)
        subprocess.run([pe, "--replay", "--config", c, "--changes", pathlib.Path(d) / "changes", "--inside", i,
                        "--write-outside", o], check=True, stdout=subprocess.DEVNULL)
        return list(rdpcap(str(o)))


def tagged(packet, vlan):
    """With one more tag, unless vlan is 0."""
    if not vlan:
        return packet
    behind = packet.payload
    return at(float(packet.time), Ether(src=packet.src, dst=packet.dst, type=0x8100) / Dot1Q(vlan=vlan, type=packet.type) / behind)
