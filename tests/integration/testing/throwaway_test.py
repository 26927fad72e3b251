#!/usr/bin/env python3
"""condroid-throwaway as a shell sees it.

usage: throwaway_test.py CONDROID_THROWAWAY [Class.test]
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv[1]).resolve()
APPLETS = ("cat", "echo", "hostname", "id", "ip", "ls", "pwd", "rm", "sh", "sleep", "test", "touch")


class Throwaway(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="test-throwaway.", dir="/tmp"))
        cls.place.chmod(0o755)
        root = cls.place / "root"
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            (root / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox", path="/bin:/usr/bin"), root / "bin/busybox")
        for name in APPLETS:
            (root / "bin" / name).symlink_to("busybox")
        with tarfile.open(cls.place / "image.tar.gz", "w:gz") as tar:
            tar.add(root, arcname=".")

    @classmethod
    def tearDownClass(cls):
        # What was unpacked has the modes that it had in the archive.
        shutil.rmtree(cls.place, ignore_errors=True)

    def run_it(self, *args, **more):
        return subprocess.run(
            [PROGRAM, "--cache", self.place / "cache", *args],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=100, check=False, **more)

    def test_status_and_streams_are_the_commands(self):
        # A build without the option images has directories only.
        archives = os.environ.get("CONDROID_IMAGES") != "0"
        for image in ("root", "image.tar.gz") if archives else ("root",):
            done = self.run_it(self.place / image, "--", "sh", "-c", "cat; echo bad >&2; exit 3", input="given")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (3, "given", "bad\n"))

    def test_nothing_stays(self):
        for _ in range(2):
            done = self.run_it(self.place / "root", "--", "sh", "-c", "test ! -e /mine && touch /mine && rm /bin/ls")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.place / "root/bin/ls").is_symlink())

    def test_a_signal_is_128_and_its_number(self):
        self.assertEqual(self.run_it(self.place / "root", "--", "sh", "-c", "kill -9 $$").returncode, 137)

    def test_the_deadline(self):
        done = self.run_it("--deadline", "3", self.place / "root", "--", "sh", "-c", "echo begun; sleep 1000")
        self.assertEqual((done.returncode, done.stdout), (124, "begun\n"))
        self.assertIn("deadline", done.stderr)

    def test_files_environment_and_place(self):
        (self.place / "script").write_text("echo $A from $(pwd)\n")
        done = self.run_it("--put", f"{self.place}/script:/opt/script", "--env", "A=hello", "--cwd", "/opt",
                           self.place / "root", "--", "sh", "/opt/script")
        self.assertEqual((done.returncode, done.stdout), (0, "hello from /opt\n"), done.stderr)

    def test_network(self):
        done = self.run_it("--network", "none", self.place / "root", "--", "ip", "-o", "link")
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        if os.environ.get("CONDROID_SUITE") == "root":
            done = self.run_it("--network", "host-less", self.place / "root", "--", "ip", "-o", "addr")
            self.assertIn("eth0", done.stdout, done.stderr)

    def test_what_cannot_be_run(self):
        for args, status, word in (
            ((self.place / "root", "--", "/no/such"), 127, "/no/such"),
            ((self.place / "root", "--", "/etc"), 126, "/etc"),
            ((self.place / "nothing", "--", "true"), 125, "nothing"),
            ((self.place / "script-that-is-none", "--", "true"), 125, "script-that-is-none"),
            (("--put", "x", self.place / "root", "--", "true"), 125, "--put"),
            (("--network", "host", self.place / "root", "--", "true"), 125, "network"),
            ((self.place / "root",), 125, "COMMAND"),
        ):
            done = self.run_it(*args)
            self.assertEqual(done.returncode, status, (args, done.stderr))
            self.assertIn(word, done.stderr)

    def test_help_is_a_manual(self):
        done = self.run_it("--help")
        self.assertEqual(done.returncode, 0)
        for word in ("Exit status:", "Examples:", "--deadline", "OCI image layout"):
            self.assertIn(word, done.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
