"""Configuration files as the programs take them from the command line; no lab is needed."""

import json
import pathlib
import tempfile
import unittest

from harness import program, run

CORPUS = pathlib.Path(__file__).resolve().parents[1] / "config"

# Refused by all programs alike: one of each kind of fault.
FEW = ["json-cut", "unknown-option", "wrong-type-integer", "engines-range", "pool-overlap-other", "missing-pools"]
OTHERS = [("corenat-pe", ["--engine", "0"]), ("corenat-aggregator", []), ("corenatctl", ["arena", "info"])]


def check(file):
    return run(["corenat-mgmtd", "--check", "--config", file], executable=program("corenat-mgmtd"))


def sentence(stderr):
    """What was said, without the program's name in front."""
    return stderr.removeprefix("corenat-mgmtd: ").removeprefix("error: ")


class Config(unittest.TestCase):
    def test_each_bad_file_gives_its_sentence(self):
        files = sorted((CORPUS / "bad").glob("*.json"))
        self.assertGreaterEqual(len(files), 20)
        for file in files:
            with self.subTest(file.stem):
                done = check(file)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(sentence(done.stderr), file.with_suffix(".expect").read_text())
                self.assertEqual(done.stdout, "")

    def test_each_good_file_is_printed_in_full_and_printing_that_changes_nothing(self):
        files = sorted((CORPUS / "good").glob("*.json"))
        self.assertGreaterEqual(len(files), 3)
        for file in files:
            with self.subTest(file.stem), tempfile.NamedTemporaryFile("w", suffix=".json") as again:
                first = check(file)
                self.assertEqual((first.returncode, first.stderr), (0, ""))
                self.assertEqual(first.stdout.rstrip("\n"), file.with_suffix(".expect").read_text().rstrip("\n"))
                again.write(first.stdout)
                again.flush()
                second = check(again.name)
                self.assertEqual((second.returncode, second.stderr), (0, ""))
                self.assertEqual(second.stdout, first.stdout)
                json.loads(second.stdout)

    def test_every_program_refuses_alike(self):
        for name, args in OTHERS:
            for stem in FEW:
                with self.subTest(program=name, file=stem):
                    file = CORPUS / "bad" / f"{stem}.json"
                    done = run([program(name), "--config", file, *args])
                    self.assertEqual(done.returncode, 2, done.stderr)
                    self.assertEqual(done.stderr, f"{name}: error: {file.with_suffix('.expect').read_text()}")

    def test_a_file_that_is_not_there(self):
        for name, args in [*OTHERS, ("corenat-mgmtd", ["--check"])]:
            with self.subTest(program=name):
                done = run([program(name), "--config", "/nonexistent/corenat.json", *args])
                self.assertEqual(done.returncode, 2)
                self.assertIn("/nonexistent/corenat.json", done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_an_engine_wants_no_captures(self):
        file = CORPUS / "good/minimal.json"
        for args, says in [(["--engine", "0", "--inside", "in.pcap"], "captures and --changes are for --replay"),
                           ([], "say --engine N, or --replay")]:
            done = run([program("corenat-pe"), "--config", file, *args])
            self.assertEqual(done.returncode, 2)
            self.assertIn(says, done.stderr)
        done = run([program("corenat-pe"), "--config", file, "--replay", "--inside", "/nonexistent.pcap"])
        self.assertEqual((done.returncode, done.stderr.count("/nonexistent.pcap")), (1, 1), done.stderr)

    def test_usage(self):
        for name, args in [*OTHERS, ("corenat-mgmtd", [])]:
            with self.subTest(program=name):
                self.assertIn("--config", run([program(name), "--help"]).stdout)
                self.assertRegex(run([program(name), "--version"]).stdout, rf"^{name} \d+\.\d+\.\d+\n$")
                for wrong in (["--no-such-option"], args):  # the latter without --config
                    done = run([program(name), *wrong])
                    self.assertEqual(done.returncode, 2)
                    self.assertTrue(done.stderr.startswith(f"{name}: "), done.stderr)
