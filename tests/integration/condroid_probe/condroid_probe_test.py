#!/usr/bin/env python3
"""condroid_probe_test.py CONDROID_PROBE: the table, the JSON and the exit status of condroid-probe, as their readers meet them."""
import json
import os
import pty
import re
import subprocess
import sys
import unittest

PROBE = os.path.abspath(sys.argv.pop(1))
OUTCOMES = {"works", "refused", "fails", "unknown"}


def probe(*args, **more):
    return subprocess.run([PROBE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60, **more)


def on_terminal(env):
    """What it writes to a terminal, and its status."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(PROBE, [PROBE], env)
    said = b""
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:
            break
        if not block:
            break
        said += block
    os.close(master)
    return said.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Probe(unittest.TestCase):
    def test_the_table_is_for_eighty_columns_and_without_escapes(self):
        done = probe()
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("plain containers can be launched", done.stdout)
        self.assertNotIn("\x1b", done.stdout)
        for line in done.stdout.splitlines():
            self.assertLessEqual(len(line), 80, line)

    def test_problems_are_the_rest_of_the_table(self):
        done = probe("--problems")
        self.assertEqual(done.returncode, 0)
        self.assertIsNone(re.search(r"^  .* works\b", done.stdout, re.M), done.stdout)

    def test_json_has_what_the_table_has(self):
        done = probe("--json")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        report = json.loads(done.stdout)
        self.assertTrue(report["can_launch"])
        self.assertEqual(report["uid"], os.geteuid())
        self.assertGreater(len(report["findings"]), 60)
        self.assertEqual(len({f["id"] for f in report["findings"]}), len(report["findings"]))
        for finding in report["findings"]:
            self.assertIn(finding["outcome"], OUTCOMES)
            if finding["outcome"] != "works":
                self.assertTrue(finding["why"], finding)

    def test_colour_is_for_terminals_that_want_it(self):
        env = {"PATH": os.environ["PATH"], "TERM": "xterm"}
        said, status = on_terminal(env)
        self.assertEqual(status, 0)
        self.assertIn("\x1b[32mworks\x1b[0m", said)
        for without in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            self.assertNotIn("\x1b", on_terminal(env | without)[0])

    def test_mistakes_are_said_in_one_line(self):
        done = probe("--jsn")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, "condroid-probe: no option '--jsn'; --help lists what there is\n")
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([PROBE, "--json"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "condroid-probe: cannot write to standard output\n")


unittest.main(verbosity=1)
