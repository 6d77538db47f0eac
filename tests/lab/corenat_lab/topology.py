"""Topology: namespaces, links, addresses, routes.

Interface names are plain because every one is born in its namespace; only the namespaces, <id>-<name>, are
seen by the rest of the machine.
"""

import ipaddress

from . import config, rss, vlan
from .process import LabError, NETNS_DIR, tool

INSIDE_GATEWAY = "100.64.0.1"
INSIDE_NET = ipaddress.IPv4Network("100.64.0.0/10")
FIRST_SUBSCRIBER = ipaddress.IPv4Address("100.64.0.10")
OUTSIDE_CGN = "203.0.113.1"
OUTSIDE_INET = "203.0.113.2"
SERVERS = [f"203.0.113.{n}" for n in range(10, 18)]  # further addresses of inet
MTU = 1500

# (name of the BPF pin directory, namespace, device): the peers of the appliance's interfaces.
RSS_PEERS = {"inside": ("access", "uplink"), "outside": ("inet", "outside")}


def subscriber(k):
    return str(FIRST_SUBSCRIBER + k - 1)


def names(subs):
    return [f"sub{k}" for k in range(1, subs + 1)] + ["access", "cgn", "inet"]


def build(state, document):
    namespaces = state["namespaces"]
    for name, netns in namespaces.items():
        tool(["ip", "netns", "add", netns])
        calm(netns, forward=name == "cgn" and state["options"]["nat"] == "nft")
        ip(netns, ["link set lo up"])
    build_inside(namespaces, state["options"]["subs"], config.engines(document))
    build_outside(namespaces, document)
    rss.bpffs_mount(state.dir / "bpf")
    for side, (name, device) in RSS_PEERS.items():
        pins = state.dir / "bpf" / f"rss-{side}"
        rss.attach(state["build"], pins, "rss", namespaces[name], device, "egress")
        rss.configure(pins, *config.rss(document, side), config.rss_fields(document, side))
    vlan.build(state, document, whole_packets, (subscriber(1), INSIDE_GATEWAY, INSIDE_NET.prefixlen))
    rss.attach(state["build"], state.dir / "bpf/wire", "wire", namespaces["inet"], "outside", "ingress")


def calm(netns, forward):
    """No IPv6 chatter, no redirects, no reverse-path surprises."""
    tool(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
          "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
          "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0",
          f"net.ipv4.ip_forward={int(forward)}"], netns)


def ip(netns, lines):
    tool(["ip", "-batch", "-"], netns, text_in="\n".join(lines) + "\n")


def whole_packets(netns, device):
    """AF_XDP takes frames as they are: checksums complete, nothing larger than the MTU."""
    tool(["ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off", "sg", "off"],
         netns)


def queues(n):
    return f"numrxqueues {n} numtxqueues {n}"


def build_inside(namespaces, subs, n):
    access, cgn = namespaces["access"], namespaces["cgn"]
    tool(f"ip link add cgn-in netns {cgn} {queues(n)} type veth peer name uplink netns {access} {queues(n)}"
         .split())
    lines = [f"link add br0 mtu {MTU} type bridge forward_delay 0 mcast_snooping 0",
             "link set uplink master br0 up", "link set br0 up"]
    for k in range(1, subs + 1):
        sub = namespaces[f"sub{k}"]
        lines += [f"link add sub{k} type veth peer name eth0 netns {sub}",
                  f"link set sub{k} master br0 up"]
    ip(access, lines)
    for k in range(1, subs + 1):
        sub = namespaces[f"sub{k}"]
        whole_packets(sub, "eth0")
        whole_packets(access, f"sub{k}")
        ip(sub, [f"addr add {subscriber(k)}/{INSIDE_NET.prefixlen} dev eth0", "link set eth0 up",
                 f"route add default via {INSIDE_GATEWAY}"])
    whole_packets(access, "uplink")
    whole_packets(cgn, "cgn-in")
    ip(cgn, [f"addr add {INSIDE_GATEWAY}/{INSIDE_NET.prefixlen} dev cgn-in", "link set cgn-in up"])


def build_outside(namespaces, document):
    cgn, inet, n = namespaces["cgn"], namespaces["inet"], config.engines(document)
    tool(f"ip link add cgn-out netns {cgn} {queues(n)} type veth peer name outside netns {inet} {queues(n)}"
         .split())
    whole_packets(cgn, "cgn-out")
    whole_packets(inet, "outside")
    ip(inet, [f"addr add {a}/24 dev outside" for a in [OUTSIDE_INET, *SERVERS]]
       + ["link set outside up"]
       # What the Internet knows of us is the pool; to 100.64.0.0/10 it has no way.
       + [f"route add {p} via {OUTSIDE_CGN}" for p in config.pool_networks(document)])
    ip(cgn, [f"addr add {OUTSIDE_CGN}/24 dev cgn-out", "link set cgn-out up",
             f"route add default via {OUTSIDE_INET}"])


def nft_nat(state, document):
    """The reference contender: the kernel's own NAT to the same pool, instead of the appliance."""
    pool = config.pool_networks(document)[0]
    tool(["nft", "-f", "-"], state["namespaces"]["cgn"], text_in=f"""
table ip reference {{
	chain postrouting {{
		type nat hook postrouting priority srcnat
		oifname "cgn-out" ip saddr {INSIDE_NET} snat to {pool[0]}-{pool[-1]}
	}}
}}
""")


def strays(state):
    """Processes that still live in the lab's namespaces, which can only be ours or a user's of the lab."""
    pids = []
    for netns in present(state):
        pids += [int(p) for p in tool(["ip", "netns", "pids", netns]).split()]
    return pids


def present(state):
    return [n for n in state.get("namespaces", {}).values() if (NETNS_DIR / n).exists()]


def destroy(state):
    failed = []
    for netns in present(state):
        try:
            tool(["ip", "netns", "del", netns])
        except LabError as e:
            failed.append(str(e))
    rss.bpffs_unmount(state.dir / "bpf")
    if failed:
        raise LabError("; ".join(failed))
