"""VLANs: one subscriber in a namespace of its own for each realm of the configuration, all with the same address.

    realm-a ── veth r100 in `access` ─┐ tag 100                      tag 100 ┌─ cgn-in.100
    realm-b ── veth r200 in `access` ─┴──────── uplink ── veth ── cgn-in ────┴─ cgn-in.200

vlan.bpf.c takes the place of the kernel's VLAN links, which not every kernel has.
"""

import json
import struct

from . import rss
from .process import tool

INGRESS = 1  # BPF_F_INGRESS


def names(document):
    return [f"realm-{realm['name']}" for realm in document.get("realms", [])]


def build(state, document, whole_packets, addresses):
    """`addresses`: (subscriber, gateway, prefix length), the same in every realm."""
    realms = document.get("realms", [])
    if not realms:
        return
    access, cgn = state["namespaces"]["access"], state["namespaces"]["cgn"]
    for netns, device in ((access, "uplink"), (cgn, "cgn-in")):
        tool(["ethtool", "-K", device, "txvlan", "off"], netns)  # tags in the bytes, where XDP looks
    for realm in realms:
        links(state, realm, whole_packets, addresses)
    trunk(state, access, "uplink", {r["vlan"]: f"r{r['vlan']}" for r in realms}, 0)
    trunk(state, cgn, "cgn-in", {r["vlan"]: f"cgn-in.{r['vlan']}" for r in realms}, INGRESS)


def links(state, realm, whole_packets, addresses):
    host, gateway, length = addresses
    vlan, spaces = realm["vlan"], state["namespaces"]
    sub, access, cgn = spaces[f"realm-{realm['name']}"], spaces["access"], spaces["cgn"]
    tool(f"ip link add r{vlan} netns {access} type veth peer name eth0 netns {sub}".split())
    tool(f"ip link add cgn-in.{vlan} netns {cgn} type veth peer name none{vlan} netns {cgn}".split())
    for netns, device in ((sub, "eth0"), (access, f"r{vlan}"), (cgn, f"cgn-in.{vlan}"), (cgn, f"none{vlan}")):
        whole_packets(netns, device)
        tool(["ip", "link", "set", device, "up"], netns)
    tool(["ip", "addr", "add", f"{host}/{length}", "dev", "eth0"], sub)
    tool(["ip", "route", "add", "default", "via", gateway], sub)
    tool(["ip", "addr", "add", f"{gateway}/{length}", "dev", f"cgn-in.{vlan}"], cgn)
    port(state, access, f"r{vlan}", "ingress", "uplink", vlan)
    port(state, cgn, f"cgn-in.{vlan}", "egress", "cgn-in", vlan)


def index(netns, device):
    return json.loads(tool(["ip", "-j", "link", "show", device], netns))[0]["ifindex"]


def set_way(pins, key, *value):
    words = [f"{b:02x}" for b in struct.pack("=I", key)], [f"{b:02x}" for b in struct.pack("=III", *value)]
    tool(["bpftool", "map", "update", "pinned", pins / "vlan_ways", "key", "hex", *words[0], "value", "hex", *words[1]])


def port(state, netns, device, hook, trunk_device, vlan):
    pins = state.dir / "bpf" / f"vlan-{device.replace('.', '-')}"
    rss.attach(state["build"], pins, "vlan", netns, device, hook)
    set_way(pins, 0, index(netns, trunk_device), 0, vlan)


def trunk(state, netns, device, ports, flags):
    pins = state.dir / "bpf" / f"vlan-{device}"
    rss.attach(state["build"], pins, "vlan", netns, device, "ingress")
    for vlan, name in ports.items():
        set_way(pins, vlan, index(netns, name), flags, 0)
