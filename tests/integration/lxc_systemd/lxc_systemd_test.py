#!/usr/bin/env python3
"""lxc_systemd_test.py BIN [TEST...]: a whole Debian, systemd its /sbin/init, as a container of LXC's, kept by the programs in the
directory BIN and met by Debian's beside ours.

Runs as root. The root directory is $CONDROID_SYSTEMD_ROOT, which scope_test.py --root makes once. Without mmdebstrap or
Debian's lxc it ends with 77, or fails when CONDROID_MUST_RUN names root; without a network it fails."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.path.abspath(sys.argv.pop(1))
DEBIAN = "/usr/bin"
ROOT = os.path.abspath(os.environ.get("CONDROID_SYSTEMD_ROOT", "systemd-root"))
SCOPE_TEST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scope/scope_test.py")
SLOW = int(os.environ.get("CONDROID_SLOW", "1"))
WITNESS = """[Unit]
Description=Says how it ended
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo up >> /witness'
ExecStop=/bin/sh -c 'echo down >> /witness'
[Install]
WantedBy=multi-user.target
"""


def run(*command, timeout=60):
    """Status, standard output, standard error."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout * SLOW)
    return done.returncode, done.stdout, done.stderr


def eventually(condition, what, seconds):
    end = time.monotonic() + seconds * SLOW
    while not (got := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds * SLOW} s: {what() if callable(what) else what}")
        time.sleep(0.1)
    return got


class Terminal:
    """A program with a terminal of its own, and what it wrote there."""

    def __init__(self, *command):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)

    def write(self, text):
        os.write(self.fd, text.encode())

    def until(self, pattern, seconds=30, again=""):
        """Writes `again` every second: who attaches to a terminal has missed what was said before."""
        end, next_write = time.monotonic() + seconds * SLOW, 0.0
        while not re.search(pattern, self.said):
            now = time.monotonic()
            if now > end:
                raise AssertionError(f"'{pattern}' did not come; '{self.said}' did")
            if again and now > next_write:
                self.write(again)
                next_write = now + 1
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    raise AssertionError(f"it ended before '{pattern}': {self.said}") from None


class Machine:
    """An LXCPATH with one container, whose root is ROOT below a layer of its own."""

    def __init__(self, first_id):
        self.name, self.path = "debian", tempfile.mkdtemp(prefix="condroid-lxc-systemd-", dir=os.path.dirname(ROOT))
        os.chmod(self.path, 0o755)
        self.upper = f"{self.path}/layer/upper"
        wants = f"{self.upper}/etc/systemd/system/multi-user.target.wants"
        os.makedirs(wants)
        os.makedirs(f"{self.path}/layer/work")
        os.makedirs(f"{self.path}/{self.name}")
        with open(f"{self.upper}/etc/systemd/system/witness.service", "w") as unit:
            unit.write(WITNESS)
        os.symlink("../witness.service", f"{wants}/witness.service")
        with open(f"{self.upper}/etc/hostname", "w") as hostname:  # systemd takes that, and not the name that it finds
            hostname.write(f"{self.name}\n")
        # As LXC's own templates have it.
        lines = ["lxc.include = /usr/share/lxc/config/common.conf", f"lxc.uts.name = {self.name}",
                 f"lxc.rootfs.path = overlay:{ROOT}:{self.upper}",
                 "lxc.net.0.type = empty", "lxc.apparmor.profile = unconfined"]
        if first_id:
            # Mounted for it, and so its own: what it mounts by itself is the host's root's.
            lines += ["lxc.include = /usr/share/lxc/config/userns.conf", "lxc.mount.auto = cgroup:mixed:force",
                      f"lxc.idmap = u 0 {first_id} 65536", f"lxc.idmap = g 0 {first_id} 65536",
                      "lxc.rootfs.options = idmap=container"]
            for folder, _, files in os.walk(self.upper):
                for one in [folder, *(f"{folder}/{file}" for file in files)]:
                    os.chown(one, first_id, first_id, follow_symlinks=False)
        with open(f"{self.path}/{self.name}/config", "w") as config:
            config.write("\n".join(lines) + "\n")

    def at(self, where, tool, *args, timeout=60):
        return run(f"{where}/{tool}", "-P", self.path, "-n", self.name, *args, timeout=timeout)

    def inside(self, *command):
        return self.at(BIN, "lxc-attach", "--", *command)

    def state(self):
        return self.at(BIN, "lxc-info", "-sH")[1].strip()

    def witness(self):
        try:
            with open(f"{self.upper}/witness") as f:
                return f.read().split()
        except FileNotFoundError:
            return []

    def booted(self):
        return self.inside("systemctl", "is-active", "multi-user.target")[1].strip() == "active"

    def await_boot(self):
        eventually(self.booted, lambda: f"the default target: {self.inside('systemctl', 'list-jobs')}", 120)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.at(BIN, "lxc-stop", "-k")
        eventually(lambda: self.state() == "STOPPED", "its end", 30)
        shutil.rmtree(self.path)


class Systemd(unittest.TestCase):
    def whole_life(self, first_id):
        with Machine(first_id) as machine:
            status, out, err = machine.at(BIN, "lxc-start", "-d")
            self.assertEqual(status, 0, err + out)
            machine.await_boot()
            self.assertEqual(machine.witness(), ["up"])
            status, out, err = machine.inside("systemctl", "is-system-running", "--wait")
            failed = [line.split()[0] for line in machine.inside("systemctl", "--failed", "--no-legend", "--plain")[1].splitlines()]
            # debugfs is nobody's but the machine's root's, and the unit asks for a capability alone: the same with LXC.
            expected = [("running", [])]
            if first_id:
                expected.append(("degraded", ["sys-kernel-debug.mount"]))
            self.assertIn((out.strip(), failed), expected, err)
            self.assertEqual(machine.at(DEBIAN, "lxc-attach", "--", "systemctl", "is-active", "default.target")[1], "active\n")

            for where in (BIN, DEBIAN):
                for number, terminal in (("0", "console"), ("1", "tty1")):
                    with self.subTest(where=where, terminal=terminal), \
                            Terminal(f"{where}/lxc-console", "-P", machine.path, "-n", machine.name, "-t", number) as screen:
                        screen.until("debian login:", again="\r")
                        screen.write("\x01q")
                        eventually(lambda: self.ended(screen.pid), "lxc-console's end", 10)
            self.assertEqual(machine.inside("passwd", "-d", "root")[0], 0)
            for number, files in (("1", r"/dev/(lxc/tty1|tty1|pts/\d+)\r"), ("0", r"/dev/(console|pts/\d+)\r")):
                with self.subTest(login=number), Terminal(f"{BIN}/lxc-console", "-P", machine.path, "-n", machine.name, "-t", number) as screen:
                    screen.until("debian login:", again="\r")
                    screen.said = ""
                    screen.write("root\r")
                    screen.until("root@debian:~# ")
                    screen.write("tty\r")
                    screen.until(files)
                    screen.said = ""
                    screen.write("exit\r")
                    # Its getty begins anew.
                    screen.until("debian login:", 60)

            first = machine.at(BIN, "lxc-info", "-pH")[1]
            machine.inside("systemctl", "reboot")
            eventually(lambda: len(machine.witness()) >= 3, "its second life", 120)
            machine.await_boot()
            self.assertEqual(machine.witness(), ["up", "down", "up"])
            self.assertNotEqual(machine.at(BIN, "lxc-info", "-pH")[1], first)

            begin = time.monotonic()
            status, out, err = machine.at(BIN, "lxc-stop", "-t", "60", timeout=90)
            self.assertEqual((status, out, err), (0, "", ""))
            self.assertLess(time.monotonic() - begin, 20 * SLOW)
            eventually(lambda: machine.state() == "STOPPED", "the end", 10)
            self.assertEqual(machine.witness(), ["up", "down", "up", "down"])

    @staticmethod
    def ended(pid):
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"

    def test_a_whole_debian(self):
        self.whole_life(0)

    def test_a_whole_debian_with_an_id_map(self):
        self.whole_life(100000)


def main():
    for need in "mmdebstrap", "lxc-console":
        if shutil.which(need) is None:
            print(f"{need} is missing")
            return 1 if "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",") else 77
    subprocess.run([sys.executable, SCOPE_TEST, "--root"], check=True, env=os.environ | {"CONDROID_SYSTEMD_ROOT": ROOT})
    unittest.main(verbosity=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
