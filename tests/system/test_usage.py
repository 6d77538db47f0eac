"""corenatctl's own help and what it says of a command line that means nothing; no lab is needed."""

import pathlib
import re
import unittest

from harness import program, run

INSTALLED = "/etc/corenat/corenat.json"


def ctl(*args):
    return run([program("corenatctl"), *args])


class Usage(unittest.TestCase):
    def refused(self, *args):
        """What it says, in its first line, and the lines below."""
        done = ctl(*args)
        self.assertEqual((done.returncode, done.stdout), (2, ""), args)
        return done.stderr.split("\n", 1)

    def commands(self):
        """From its help: "sessions list", and what is said of it."""
        return re.findall(r"^  ([a-z]+(?: +[a-z]+)?)  +\S", ctl("--help").stdout, re.M)

    def test_every_command_has_help_with_its_options_only(self):
        names = [" ".join(c.split()) for c in self.commands()]
        self.assertGreaterEqual(len(names), 20)
        self.assertIn("subscribers set", names)
        for name in names:
            with self.subTest(name):
                done = ctl(*name.split(), "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertTrue(done.stdout.startswith(f"corenatctl {name}: "), done.stdout)
                self.assertEqual("--peak" in done.stdout, name == "plan")
                self.assertEqual("--remote" in done.stdout, name.startswith("sessions"))
                self.assertEqual("--limits" in done.stdout, name == "subscribers set")
                self.assertLess(max(map(len, done.stdout.splitlines())), 200)

    def test_no_such_command(self):
        line, rest = self.refused("sessions", "lst")
        self.assertEqual(line, "corenatctl: there is no command 'sessions lst'; these are there:")
        self.assertEqual(len(rest.splitlines()), 3)  # those of sessions
        line, rest = self.refused("frobnicate")
        self.assertIn("'frobnicate'", line)
        self.assertGreaterEqual(len(rest.splitlines()), 20)
        self.assertIn("'check a ...'", self.refused("check", "a", "b")[0])
        self.assertIn("which command?", self.refused()[0])
        self.assertEqual(ctl("frobnicate", "--help").returncode, 0)

    def test_an_option_of_another_command_is_named(self):
        for command, option in [("sessions list", ["--exact"]), ("pinholes list", ["--remote", "192.0.2.1"]),
                                ("pinholes close", ["--nat", "198.51.100.1"]), ("plan", ["--inside", "100.64.0.2"]),
                                ("who", ["--inside", "100.64.0.2"]), ("subscribers set", ["--top", "ports"])]:
            with self.subTest(command):
                self.assertEqual(self.refused(*command.split(), *option)[0],
                                 f"corenatctl: {option[0]} means nothing to {command}; try corenatctl {command} --help")

    def test_what_needs_no_configuration(self):
        self.assertEqual(ctl("arena", "map").returncode, 0)
        self.assertEqual(ctl("plan", "--subscribers", "100", "--sessions-per-subscriber", "3").returncode, 0)

    def test_without_a_configuration_the_installed_one_is_meant(self):
        if not pathlib.Path(INSTALLED).exists():
            self.assertEqual(self.refused("sessions", "list")[0],
                             f"corenatctl: error: {INSTALLED}: cannot be read: No such file or directory; "
                             "--config FILE names another file")
