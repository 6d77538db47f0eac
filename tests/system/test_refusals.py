"""What the programs refuse, each in one sentence that says why."""

import json
import os
import pathlib

from corenat_lab.process import tool
from harness import LabCase, run

VERSION_AT = 8  # struct arena_header: version_major, 16 bits
LAYOUT_AT = 12
ROLES = ["pe0", "pe1", "aggregator", "mgmtd"]

FOREIGN_XDP = """
#include <linux/bpf.h>
__attribute__((section("xdp"), used)) int somebody_elses(struct xdp_md *ctx) { return XDP_PASS; }
char _license[] __attribute__((section("license"), used)) = "GPL";
"""


class Refusals(LabCase):
    OPTIONS = {"subs": 1}

    def refused(self, done, status, pattern):
        self.assertEqual(done.returncode, status, done.stderr)
        errors = [line for line in done.stderr.splitlines() if "error: " in line]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertRegex(errors[0], pattern)

    def whole(self):
        self.lab.wait_healthy()
        self.assert_page("sub1")

    def test_a_second_engine_of_the_same_number(self):
        pid = self.engines()[0]["pid"]
        self.refused(self.command("corenat-pe", "--engine", 0), 1, f"engine 0 is already run by process {pid}$")
        self.whole()

    def test_a_second_management(self):
        self.refused(self.command("corenat-mgmtd"), 1, "another corenat-mgmtd manages it already$")
        self.whole()

    def test_a_second_aggregator(self):
        done = self.command("corenat-aggregator")
        self.refused(done, 1, "aggregator")
        self.whole()

    def test_an_engine_that_the_configuration_does_not_have(self):
        self.refused(self.command("corenat-pe", "--engine", 2), 2, "--engine must be 0 to 1, as arena.engines says, not 2$")

    def test_removing_the_arena_under_running_processes(self):
        self.refused(self.command("corenatctl", "arena", "remove"), 1, r"is in use: stop .* first$")
        self.whole()

    # ---- arenas that are not what they should be ----

    def arena(self):
        return pathlib.Path("/dev/shm") / self.lab.state["arena"].lstrip("/")

    def stop_all(self):
        for role in ROLES:
            self.lab.kill(role)

    def start_all_anew(self):
        done = self.command("corenatctl", "arena", "remove")
        self.assertEqual(done.returncode, 0, done.stderr)
        for role in ROLES:
            self.lab.start(role)
        self.whole()

    def everybody_refuses(self, pattern):
        for name, args in (("corenat-pe", ["--engine", 0]), ("corenat-mgmtd", []), ("corenatctl", ["arena", "info"])):
            with self.subTest(program=name):
                self.refused(self.command(name, *args), 1, pattern)

    def test_an_arena_of_another_version_or_layout(self):
        self.stop_all()
        try:
            for at in (VERSION_AT, LAYOUT_AT):
                with open(self.arena(), "r+b", buffering=0) as f:
                    f.seek(at)
                    was = f.read(1)
                    f.seek(at)
                    f.write(bytes([was[0] ^ 0x40]))
                    self.everybody_refuses(r"arena has layout \d+\.\d+ \([0-9a-f]{8}\), this program needs 1\.0 "
                                           r"\([0-9a-f]{8}\): stop all processes of the other version and remove it with "
                                           r"`corenatctl arena remove`; its sessions are lost$")
                    f.seek(at)
                    f.write(was)
        finally:
            self.start_all_anew()

    def test_a_truncated_arena(self):
        self.stop_all()
        try:
            size = self.arena().stat().st_size
            os.truncate(self.arena(), size // 2)
            self.everybody_refuses(f"arena is truncated: {size // 2} bytes where its header says {size}")
        finally:
            self.start_all_anew()

    def test_a_file_that_is_no_arena(self):
        self.stop_all()
        try:
            with open(self.arena(), "r+b") as f:
                f.write(b"something else entirely")
            self.everybody_refuses(r"not a CoreNAT arena \(no magic number\)")
        finally:
            self.start_all_anew()

    # ---- XDP ----

    def test_an_interface_with_a_foreign_xdp_program(self):
        source, obj = self.tmp / "foreign.c", self.tmp / "foreign.o"
        source.write_text(FOREIGN_XDP)
        built = run(["clang", "-O2", "-g", "-target", "bpf", f"-I/usr/include/{os.uname().machine}-linux-gnu", "-c", source,
                     "-o", obj])
        self.assertEqual(built.returncode, 0, built.stderr)
        cgn = self.lab.netns("cgn")
        for role in ("pe0", "pe1"):
            self.lab.kill(role)
        self.assertEqual(self.command("corenat-pe", "--remove-xdp").returncode, 0)
        tool(["ip", "link", "set", "dev", "cgn-in", "xdp", "obj", obj, "sec", "xdp"], cgn)
        try:
            self.refused(self.command("corenat-pe", "--engine", 0), 1,
                         r"interface cgn-in carries another XDP program \(somebody_elses, id \d+\): detach it first "
                         r"\(ip link set dev cgn-in xdp off\), or configure another interface$")
            self.assertIn("somebody_elses", tool(["bpftool", "net", "show", "dev", "cgn-in"], cgn) +
                          tool(["bpftool", "prog", "show"]))
        finally:
            tool(["ip", "link", "set", "dev", "cgn-in", "xdp", "off"], cgn)
            for role in ("pe0", "pe1"):
                self.lab.start(role)
        self.whole()

    def test_interfaces_of_another_appliance(self):
        """The same interfaces under another pin directory belong to somebody else."""
        config = self.tmp / "other.json"
        document = {**self.lab.document, "arena": {**self.lab.document["arena"], "name": self.lab.state["arena"] + "x"},
                    "system": {**self.lab.document["system"], "bpffs": str(self.lab.state.dir / "bpf/other")}}
        config.write_text(json.dumps(document))
        try:
            self.refused(self.command("corenat-pe", "--engine", 0, config=config), 1,
                         "interface cgn-(in|out) is in use by a CoreNAT whose pins are in another directory")
        finally:
            done = self.command("corenatctl", "arena", "remove", config=config)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.whole()
