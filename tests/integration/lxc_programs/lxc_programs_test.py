#!/usr/bin/env python3
"""lxc_programs_test.py BIN [TEST...]: LXC's programs of ours, in the directory BIN of a build, beside Debian's: ours on containers of
either, Debian's on ours, the same situations side by side; and what scripts and terminals meet.

Runs as root. Needs busybox-static and Debian's lxc; without them it ends with 77, or fails when CONDROID_MUST_RUN names root."""
import concurrent.futures
import contextlib
import errno
import fcntl
import glob
import os
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest
import unittest.mock

BIN = os.path.abspath(sys.argv.pop(1))
DEBIAN = "/usr/bin"
UNANSWERED = os.strerror(errno.ENOSYS).lower()  # what a call gets that nobody answers for
FAKE_INIT = os.path.join(BIN, "../../../tests/support/fake-init")  # of the same build
INIT = """#!/bin/sh
trap 'exit 0' PWR
trap 'reboot -f' INT
echo booted
: > /booted
while :; do sleep 1 & wait $!; done
"""
NETLESS = "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\nlxc.mount.auto = proc:mixed\n"


def run(*command, stdin="", timeout=100, **more):
    """Status, standard output, standard error. Removing thousands of files takes its time on a busy disk."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, **more)
    return done.returncode, done.stdout, done.stderr


def eventually(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not (got := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return got


def read(path):
    with open(path) as f:
        return f.read()


def unless_gone(_, __, what):
    """For rmtree: a program that ends removes its own file meanwhile."""
    if not isinstance(what[1], FileNotFoundError):
        raise what[1]


class Box:
    """An LXCPATH with one container in it, whose root file system is busybox."""

    def __init__(self, config="", init=INIT, name="web"):
        self.path, self.name = tempfile.mkdtemp(prefix="condroid-lxc-"), name
        os.chmod(self.path, 0o755)
        self.root = f"{self.path}/{name}/rootfs"
        for folder in ("bin", "dev", "proc", "sys", "etc", "tmp", "root", "sbin", "data", "vendor"):
            os.makedirs(f"{self.root}/{folder}")
        shutil.copy(shutil.which("busybox"), f"{self.root}/bin/busybox")
        for applet in "sh sleep cat echo env id true false kill stty tty reboot hostname ps mount test touch ls tr rm mkdir".split():
            os.symlink("busybox", f"{self.root}/bin/{applet}")
        self.write(f"{self.root}/sbin/init", init, 0o755)
        self.write(f"{self.root}/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        self.config = f"{self.path}/{name}/config"
        self.write(self.config, f"lxc.uts.name = {name}\nlxc.rootfs.path = dir:{self.root}\n{NETLESS}{config}")

    @staticmethod
    def write(path, text, mode=0o644):
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def at(self, where, tool, *args, **more):
        return run(f"{where}/{tool}", "-P", self.path, "-n", self.name, *args, **more)

    def ours(self, tool, *args, **more):
        return self.at(BIN, tool, *args, **more)

    def state(self):
        return self.ours("lxc-info", "-sH")[1].strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.state() != "STOPPED":
            self.ours("lxc-stop", "-k")
        shutil.rmtree(self.path, onerror=unless_gone)
        shutil.rmtree(f"/run/lxc/lock{self.path}", ignore_errors=True)  # LXC's, for whoever asks about it


def is_read(fifo):
    """An lxc-monitor has it. Another one that asked might have it first."""
    if not os.path.exists(fifo):
        return False
    pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        lock = fcntl.fcntl(pipe, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        return struct.unpack("hhqqi4x", lock)[0] != fcntl.F_UNLCK
    finally:
        os.close(pipe)


def sweep(name):
    """The cgroups that LXC leaves when a start fails, or a process outlives the first; of a name that nobody else has."""
    for folder in glob.glob(f"/sys/fs/cgroup/lxc.*.{name}*") + glob.glob(f"/sys/fs/cgroup/*/lxc.*.{name}*"):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


@contextlib.contextmanager
def started(where=BIN, config="", *args):
    """A container that runs in the background and has booted."""
    with Box(config) as box:
        status, _, err = box.at(where, "lxc-start", *args)
        assert status == 0, err
        eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot")
        yield box


class Terminal:
    """A program on a terminal of its own, as a user sits before it."""

    def __init__(self, *command):
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 91, 0, 0))
        self.before = termios.tcgetattr(self.slave)

        def own_session():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        preexec_fn=own_session)
        self.shown = ""

    def until(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.shown:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {text!r} within {seconds} s, but {self.shown!r}")
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before

    def type(self, text):
        os.write(self.master, text.encode())

    def raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class SideBySide(unittest.TestCase):
    """The same question to ours and to Debian's: the same status and output."""

    def same(self, box, tool, *args, error=False):
        ours, theirs = box.ours(tool, *args), box.at(DEBIAN, tool, *args)
        self.assertEqual(ours[:2], theirs[:2], (tool, args, ours[2], theirs[2]))
        if error:
            self.assertRegex(ours[2], rf"^{tool}: .+\n$")

    def test_of_a_stopped_container(self):
        with Box("lxc.group = a\nlxc.group = b\nlxc.start.auto = 1\nlxc.idmap = u 0 1000 5\nlxc.idmap = g 0 1000 5\n") as box:
            for args in ((), ("-sH",), ("-s",), ("-p",), ("-pH",), ("-i",), ("-S",), ("-c", "lxc.uts.name"), ("-c", "lxc.bad.key"),
                         ("-c", "lxc.group", "-c", "lxc.net.0.type")):
                self.same(box, "lxc-info", *args)
            for args in ((), ("-k",), ("-r",)):
                self.same(box, "lxc-stop", *args, error=True)
            for tool in ("lxc-freeze", "lxc-console"):
                self.same(box, tool, error=True)
            self.same(box, "lxc-unfreeze")
            self.same(box, "lxc-attach", "--", "true", error=True)
            for args in (("-s", "STOPPED"), ("-s", "RUNNING", "-t", "1"), ("-s", "RUNNING|STOPPED")):
                self.same(box, "lxc-wait", *args)
            for args in (("-s", "stopped"), ()):
                self.same(box, "lxc-wait", *args, error=True)
            self.same(box, "lxc-start", "-s", "lxc.bad.key=1", error=True)

    def test_of_no_container(self):
        with Box() as box:
            box.name = "nobody"
            for tool in ("lxc-stop", "lxc-freeze", "lxc-unfreeze", "lxc-console", "lxc-start", "lxc-destroy"):
                self.same(box, tool, error=True)
            self.assertEqual(box.ours("lxc-info"), box.at(DEBIAN, "lxc-info"))
            self.same(box, "lxc-wait", "-s", "STOPPED")

    def test_of_lists(self):
        with Box("lxc.group = a\n") as box:
            os.mkdir(f"{box.path}/longer-name")
            box.write(f"{box.path}/longer-name/config", "lxc.start.auto = 1\n")
            os.mkdir(f"{box.path}/no-container")
            for args in ((), ("-1",), ("-f",), ("-f", "-F", "NAME,PID,RAM,SWAP,INTERFACE,IPV4"), ("--running",), ("--stopped",),
                         ("-f", "-F", "name,State"), ("-F", "bogus"), ("--filter", "^w"), ("-g", "a"), ("-g", "a,b"), ("--active", "-1")):
                command = ("lxc-ls", "-P", box.path, *args)
                self.assertEqual(run(f"{BIN}/{command[0]}", *command[1:]), run(f"{DEBIAN}/{command[0]}", *command[1:]), args)
            for args in (("-f", "-F", "name,bogus"), ("--filter", "[")):
                command = ("lxc-ls", "-P", box.path, *args)
                self.assertEqual(*(run(f"{where}/{command[0]}", *command[1:])[:2] for where in (BIN, DEBIAN)), args)

    def test_of_lists_in_lists(self):
        with Box("lxc.group = a\n") as box:
            for name, files in (("aa", ""), ("aa/x{0}/deep", "lxc.group = a\n"), ("aa/x{0}/deep/deeper{0}/deepest", ""), ("aa/x{0}/web", "")):
                folder = f"{box.path}/{name.format(box.path)}"
                os.makedirs(folder, exist_ok=True)
                root = {"aa": "/aa/x", "deep": "/deep/deeper"}.get(os.path.basename(folder))
                box.write(f"{folder}/config", (f"lxc.rootfs.path = dir:{box.path}{root}\n" if root else "") + files)
            for args in (("-1",), (), ("-f",), ("-f", "-F", "STATE,NAME,GROUPS"), ("-1f",), ("-1", "--stopped"), ("-1", "--running"), ("-1", "--active"),
                         ("-1", "--filter", "^[adw]"), ("-1", "^[aw]"), ("-1", "-g", "a"), ("-1", "a", "b"), ("-1", "--defined")):
                for nesting in ((), ("--nesting",), ("--nesting=1",), ("--nesting=0",), ("--nesting=0x2",), ("--nesting=-3",), ("--nesting=x",)):
                    command = ("lxc-ls", "-P", box.path, *args, *nesting)
                    self.assertEqual(*(run(f"{where}/{command[0]}", *command[1:])[:2] for where in (BIN, DEBIAN)), command)
            # What is called the same outside is not what is in one that does not run.
            self.assertEqual(box.ours("lxc-start")[0], 0)
            listed = run(f"{BIN}/lxc-ls", "-P", box.path, "--nesting", "-f", "-F", "NAME,STATE")[1].split("\n")
            self.assertEqual([" ".join(line.split()) for line in listed],
                             ["NAME STATE", "aa STOPPED", "\\deep STOPPED", "\\deepest STOPPED", "\\web STOPPED", "web RUNNING", ""])

    def test_of_what_is_in_one_that_runs(self):
        """Debian's dies of SIGSEGV there."""
        folder = os.path.dirname(BIN)
        binds = "".join(f"lxc.mount.entry = {d} {d[1:]} none bind,ro,create=dir 0 0\n" for d in ("/usr", "/lib", "/lib64", folder) if os.path.isdir(d))
        with Box(binds + "lxc.mount.auto = proc:rw sys:rw cgroup-full:rw:force\nlxc.cap.drop =\n") as box:
            inner = f"{box.path}/inner"
            shutil.copytree(f"{box.root}/bin", f"{box.root}{inner}/rootfs/bin", symlinks=True)
            for name in ("sbin", "proc", "sys", "dev", "run"):
                os.makedirs(f"{box.root}{inner}/rootfs/{name}")
            os.makedirs(f"{box.root}/run")
            box.write(f"{box.root}{inner}/config", f"lxc.rootfs.path = dir:{inner}/rootfs\nlxc.group = a\nlxc.start.auto = 1\n"
                      "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n")
            os.mkdir(f"{box.root}{box.path}/\x1b[31mred")
            box.write(f"{box.root}{box.path}/\x1b[31mred/config", "")
            os.mkfifo(f"{box.root}{box.path}/\x1b[31mred/fifo")
            os.mkdir(f"{box.root}{box.path}/pipe")
            os.mkfifo(f"{box.root}{box.path}/pipe/config")
            os.symlink("/proc/1/root", f"{box.root}{box.path}/link")
            self.assertEqual(box.ours("lxc-start")[0], 0)
            eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot")

            def inside(tool, *args):
                return box.ours("lxc-attach", "--", f"{BIN}/{tool}", "-P", box.path, "-n", "inner", *args)

            def listed(*args):
                status, out, err = run(f"{BIN}/lxc-ls", "-P", box.path, *args)
                self.assertEqual((status, err), (0, ""))
                return out

            def rows(*args):
                return [line.split() for line in listed("-f", "-F", *args).split("\n")[1:-1]]
            self.assertEqual(listed("-1", "--nesting"), "web\nweb/?[31mred\nweb/inner\nweb/pipe\n")
            self.assertEqual(rows("NAME,STATE,PID", "--nesting", "--filter", "web|inner")[1], ["\\inner", "STOPPED", "-"])
            self.assertEqual(listed("-1", "--nesting=0"), "web\n")
            status, _, err = inside("lxc-start", "--", "/bin/sh", "-c", "while :; do sleep 1; done")
            self.assertEqual(status, 0, err)
            pid = inside("lxc-info", "-pH")[1].strip()
            self.assertEqual(listed("-1", "--nesting", "--running"), "web\nweb/inner\n")
            self.assertEqual(rows("NAME,STATE,PID,INTERFACE,GROUPS,AUTOSTART", "--nesting", "--running")[1],
                             ["\\inner", "RUNNING", pid, "lo", "a", "1"])
            # Nothing of it stays.
            self.assertNotIn("lxc-ls", box.ours("lxc-attach", "--", "ps")[1])
            self.assertEqual(box.ours("lxc-freeze")[0], 0)
            self.assertEqual(listed("-1", "--nesting"), "web\n")
            self.assertEqual(box.ours("lxc-unfreeze")[0], 0)
            self.assertEqual(inside("lxc-stop", "-k")[0], 0)

    def test_of_what_is_in_one_with_an_id_map(self):
        with Box("lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n") as box:
            os.makedirs(f"{box.root}{box.path}/inner")
            box.write(f"{box.root}{box.path}/inner/config", "lxc.group = a\n", 0o600)
            self.assertEqual(run("chown", "-R", "100000:100000", box.root)[0], 0)
            status, _, err = box.ours("lxc-start")
            self.assertEqual(status, 0, err)
            self.assertEqual(run(f"{BIN}/lxc-ls", "-P", box.path, "-1", "--nesting", "-g", "a"), (0, "", ""))
            self.assertEqual(run(f"{BIN}/lxc-ls", "-P", box.path, "-1", "--nesting"), (0, "web\nweb/inner\n", ""))

    def test_one_path_and_many(self):
        with Box() as box, Box() as other:
            for tool in ("lxc-info", "lxc-stop", "lxc-ls", "lxc-autostart"):
                words = ("-P", other.path, "-P", box.path, *(() if tool in ("lxc-ls", "lxc-autostart") else ("-n", "web")))
                self.assertEqual(*(run(f"{where}/{tool}", *words)[:2] for where in (BIN, DEBIAN)), tool)

    def check_running(self, box):
        # With nothing but cgroup v2 LXC 5.0 looks for files of version 1, and has no figures to show.
        v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")

        def figures(text):
            if v2:
                text = re.sub(r"^\w+ use:.*\n", "", text, flags=re.MULTILINE)
            return re.sub(r"[0-9.]+ (bytes|KiB|MiB|seconds)|[0-9.]+MB", "N", text)
        for args in ((), ("-sH",), ("-p",), ("-pH",), ("-i",), ("-S",), ("-c", "lxc.uts.name", "-c", "lxc.net.0.type"),
                     ("-c", "lxc.hook.pre-start")):
            ours, theirs = (box.at(where, "lxc-info", *args) for where in (BIN, DEBIAN))
            self.assertEqual((ours[0], figures(ours[1])), (theirs[0], figures(theirs[1])), args)
        for args in (("-1", "--active"), ("-f",), ("-f", "-F", "NAME,STATE,PID,INTERFACE")):
            self.assertEqual(*(run(f"{where}/lxc-ls", "-P", box.path, *args)[:2] for where in (BIN, DEBIAN)))
        for args in (("--", "sh", "-c", "exit 7"), ("--", "sh", "-c", "kill -9 $$"), ("--", "nothing-such"), ("--", "/etc/passwd"),
                     ("--", "id"), ("-u", "5", "-g", "6", "--", "id"), ("--clear-env", "--", "env"),
                     ("--clear-env", "--set-var", "A=b c", "-v", "D=e", "--", "env"), ("--", "hostname"),
                     ("-s", "UTSNAME", "--", "hostname"), ("-e", "--", "id"), ("-eCAP", "--", "id"),
                     ("--clear-env", "--keep-var", "KEPT", "--", "env")):
            with unittest.mock.patch.dict(os.environ, {"KEPT": "here"}):
                self.same(box, "lxc-attach", *args)
        self.same(box, "lxc-attach", "-s", "NOTHING", "--", "id", error=True)
        for args in (("-s", "uts"), ("-s", "Uts|net"), ("-s", "TIME"), ("-s", "time|UTSNAME"), ("-a", "i686"), ("-a", "arm64"), ("-R",),
                     ("-R", "-s", "UTSNAME|MOUNT")):
            self.same(box, "lxc-attach", *args, "--", "hostname")
        if "selinuxfs" not in read("/proc/filesystems"):
            self.same(box, "lxc-attach", "-c", "some:context", "--", "hostname")
        # Of the host's own mounts, with /proc and /sys of the namespaces that are entered; nobody else sees them.
        mounts = read("/proc/mounts")
        for namespaces in ("PID", "PID|NETWORK", "PID|NETWORK|UTSNAME|IPC"):
            self.same(box, "lxc-attach", "-R", "-s", namespaces, "--", "sh", "-c",
                      "tr '\\0' ' ' </proc/1/cmdline; ls /sys/class/net /sys/fs/cgroup; readlink /proc/self/ns/pid; exit 3")
        self.assertIn("/sbin/init", box.ours("lxc-attach", "-R", "-s", "PID", "--", "cat", "/proc/1/cmdline")[1])
        self.assertEqual(box.ours("lxc-attach", "-R", "-s", "PID", "--", "/nothing/such")[0], 127)
        self.assertEqual(read("/proc/mounts"), mounts)
        for args in (("-a", "bogus"), ("-s", "mount"), ("-s", "network")):
            self.same(box, "lxc-attach", *args, "--", "hostname", error=True)
        for number in ("-5", "-1", "x"):
            self.same(box, "lxc-console", "-t", number, error=True)
        for args in (("-s", "RUNNING"), ("-s", "STOPPED|RUNNING"), ("-s", "FROZEN", "-t", "1")):
            self.same(box, "lxc-wait", *args)
        self.same(box, "lxc-start")
        for where, other in ((BIN, DEBIAN), (DEBIAN, BIN)):
            self.assertEqual(box.at(where, "lxc-freeze")[0], 0)
            for each in (where, other):
                self.assertEqual(box.at(each, "lxc-info", "-sH")[1], "FROZEN\n")
            self.assertEqual(box.at(each, "lxc-wait", "-s", "FROZEN", "-t", "30")[0], 0)
            self.assertEqual(box.at(other, "lxc-unfreeze")[0], 0)
            self.assertEqual(box.at(where, "lxc-info", "-sH")[1], "RUNNING\n")

    def check_ends(self, box, where):
        """Of one that runs; each way to end it, by the programs in `where`."""
        first = box.ours("lxc-info", "-pH")[1]
        self.assertEqual(box.at(where, "lxc-stop", "-r", "-t", "60")[0], 0)
        self.assertEqual(box.state(), "RUNNING")
        self.assertNotEqual(box.ours("lxc-info", "-pH")[1], first)
        self.assertEqual(box.at(where, "lxc-freeze")[0], 0)
        self.assertEqual(box.at(where, "lxc-stop", "-k")[0], 0)
        self.assertEqual(box.at(where, "lxc-info", "-sH")[1], "STOPPED\n")
        self.assertEqual(box.at(where, "lxc-stop", "-k")[0], 2)

    def test_on_a_container_of_ours(self):
        with started() as box:
            self.check_running(box)
            self.check_ends(box, DEBIAN)

    def test_on_a_container_of_debians(self):
        with started(DEBIAN) as box:
            self.check_running(box)
            self.check_ends(box, BIN)

    def test_a_polite_stop(self):
        for starts, stops in ((BIN, BIN), (BIN, DEBIAN), (DEBIAN, BIN)):
            with started(starts) as box:
                waiter = subprocess.Popen([f"{stops}/lxc-wait", "-P", box.path, "-n", box.name, "-s", "STOPPED"])
                self.assertEqual(box.at(stops, "lxc-stop", "-t", "60")[0], 0)
                self.assertEqual(waiter.wait(60), 0)
                self.assertEqual(box.state(), "STOPPED")

    def test_a_polite_stop_of_a_frozen_one(self):
        for where in (BIN, DEBIAN):
            with started(where) as box:
                self.assertEqual(box.ours("lxc-freeze"), (0, "", ""))
                self.assertEqual(box.ours("lxc-stop", "--nokill", "-t", "60"), (0, "", ""))
                self.assertEqual(box.state(), "STOPPED")

    def test_a_stop_that_is_not_heard(self):
        with Box(init="#!/bin/sh\ntrap '' PWR\nwhile :; do sleep 1; done\n") as box:
            self.assertEqual(box.ours("lxc-start")[0], 0)
            eventually(lambda: "sleep" in box.ours("lxc-attach", "--", "ps")[1], "its loop")
            self.assertEqual(box.ours("lxc-stop", "--nokill", "-t", "1"), (1, "", "lxc-stop: web: it has not ended within 1 seconds\n"))
            self.assertEqual(box.ours("lxc-stop", "-W")[0], 0)
            self.assertEqual(box.state(), "RUNNING")
            self.assertEqual(box.ours("lxc-stop", "-t", "1")[0], 0)
            self.assertEqual(box.state(), "STOPPED")

    def test_a_frozen_one_is_restarted(self):
        init = "#!/bin/sh\ntrap 'sleep 1; reboot -f' INT\ntrap 'exit 0' PWR\nwhile :; do sleep 0.1; done\n"
        with Box(init=init) as box:
            self.assertEqual(box.ours("lxc-start")[0], 0)
            eventually(lambda: "sleep" in box.ours("lxc-attach", "--", "ps")[1], "its loop")
            before = box.ours("lxc-info", "-p", "-H")[1]
            self.assertEqual(box.ours("lxc-freeze")[0], 0)
            self.assertEqual(box.ours("lxc-stop", "-r", "-t", "60"), (0, "", ""))
            self.assertNotEqual(box.ours("lxc-info", "-p", "-H")[1], before)
            self.assertEqual(box.ours("lxc-stop", "-k"), (0, "", ""))

    def test_a_kill_waits_for_the_hooks(self):
        # With words after it, which sleep(1) would not take.
        with Box('lxc.hook.post-stop = sh -c "sleep 11"\n') as box:
            # Of one that is destroyed there is no state.
            for tool, arg, state in (("lxc-stop", "-k", "STOPPED"), ("lxc-destroy", "-f", "")):
                self.assertEqual(box.ours("lxc-start")[0], 0)
                asked = time.monotonic()
                self.assertEqual(box.ours(tool, arg), (0, "", ""))
                self.assertGreater(time.monotonic() - asked, 11)
                self.assertEqual(box.state(), state)
            self.assertEqual(os.listdir(box.path), [])

    def test_what_was_left_half_made_is_not_run(self):
        with Box() as box:
            open(f"{box.path}/web/partial", "w").close()
            status, out, err = box.ours("lxc-execute", "--", "true")
            self.assertEqual((status, out), (1, ""))
            self.assertIn("was never made whole", err)

    def test_execute(self):
        with Box() as box:
            for args in (("--", "sh", "-c", "exit 42"), ("--", "sh", "-c", "kill -9 $$"), ("--", "true"),
                         ("-u", "7", "-g", "8", "--", "id"), ("-s", "lxc.environment=A=b", "--", "env")):
                self.same(box, "lxc-execute", *args)
            self.assertEqual(box.ours("lxc-execute", "--", "cat", stdin="typed")[:2], (0, "typed"))
            self.assertEqual(box.ours("lxc-execute", "--", "/nothing/such")[0], 1)
            status, _, err = box.ours("lxc-execute")
            self.assertEqual((status, "lxc.execute.cmd" in err), (1, True))
            box.name = "nobody"
            for args in ((), ("-s", "lxc.net.0.type=empty")):
                self.same(box, "lxc-execute", *args, "--", "true", error=True)


class Start(unittest.TestCase):
    def test_a_failed_start_says_the_step(self):
        with Box() as box:
            for mode in ("-d", "-F"):
                status, out, err = box.ours("lxc-start", mode, "--", "/nothing/such")
                self.assertEqual((status, out), (1, ""))
                self.assertRegex(err, "^lxc-start: web: the container failed to start\nlxc-start: web: exec: '/nothing/such': .*ENOENT")
            self.assertEqual(box.state(), "STOPPED")
            shutil.rmtree(box.root)
            self.assertIn(box.root, box.ours("lxc-start")[2])

    def test_every_mistake_of_a_configuration_is_said(self):
        with Box("lxc.nothing = 1\nlxc.tty.max = four\nlxc.pty.max = -1\n") as box:
            status, _, err = box.ours("lxc-start")
            self.assertEqual(status, 1)
            for line in ("config:6:", "config:7:", "config:8:"):
                self.assertIn(line, err)

    def test_the_foreground_without_a_terminal(self):
        with Box() as box:
            log, pids = f"{box.path}/log", f"{box.path}/pid"
            process = subprocess.Popen([f"{BIN}/lxc-start", "-P", box.path, "-F", "-n", box.name, "-L", log, "-p", pids, "--",
                                        "/bin/sh", "-c", "echo $0 $1; tty; sleep 1000", "here", "words"],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            eventually(lambda: os.path.exists(log) and "/dev/" in read(log), "its output")
            self.assertIn("here words", read(log))
            self.assertEqual(int(read(pids)), process.pid)
            self.assertEqual(box.ours("lxc-wait", "-s", "RUNNING", "-t", "60")[0], 0)
            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
            self.assertEqual(process.wait(60), 0)
            self.assertFalse(os.path.exists(pids))
            process.stdout.close()
            process.stderr.close()

    def test_a_killed_front_end_leaves_nothing(self):
        with Box() as box:
            process = subprocess.Popen([f"{BIN}/lxc-start", "-P", box.path, "-F", "-n", box.name], stdin=subprocess.DEVNULL)
            self.assertEqual(box.ours("lxc-wait", "-s", "RUNNING", "-t", "60")[0], 0)
            pid = int(box.ours("lxc-info", "-pH")[1])
            process.kill()
            process.wait()
            eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the end of its first process")
            self.assertEqual(box.state(), "STOPPED")

    def test_nobody_waits_for_a_pipe_of_the_background(self):
        with Box() as box:
            done = subprocess.run(f"{BIN}/lxc-start -P {box.path} {box.name} | cat", shell=True, capture_output=True, timeout=60)
            self.assertEqual((done.stdout, box.state()), (b"", "RUNNING"))

    def test_hooks(self):
        for version in (0, 1):
            with tempfile.TemporaryDirectory() as there:
                os.chmod(there, 0o755)
                script = f"{there}/hook"
                Box.write(script, f"#!/bin/sh\necho \"$LXC_NAME|$LXC_HOOK_TYPE|$LXC_HOOK_SECTION|$LXC_TARGET|${{LXC_PID:+pid}}|$LXC_HOOK_VERSION"
                                  f"|$*\" >> {there}/log\n", 0o755)
                points = ("pre-start", "pre-mount", "mount", "start-host", "stop", "post-stop")
                config = f"lxc.hook.version = {version}\n" + "".join(f"lxc.hook.{p} = {script} word\n" for p in points)
                with started(BIN, config) as box:
                    self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                    eventually(lambda: len(read(f"{there}/log").splitlines()) == len(points), "post-stop")
                    lines = read(f"{there}/log").splitlines()
                    for point, line in zip(points, lines):
                        name, kind, section, target, pid, said, words = line.split("|")
                        self.assertEqual((name, said), ("web", str(version)), line)
                        self.assertEqual((kind, section), (point, "lxc") if version else ("", ""), line)
                        self.assertEqual(target, "stop" if point in ("stop", "post-stop") else "", line)
                        if not version:
                            self.assertTrue(words.startswith(f"word web lxc {point}"), line)

    def test_one_that_is_ephemeral_and_fails_is_removed(self):
        for where, args in ((BIN, ()), (BIN, ("-F",)), (DEBIAN, ())):
            for more in ("lxc.hook.pre-start = false\n", "lxc.init.cmd = /nothing/such\n"):
                with Box("lxc.ephemeral = 1\n" + more, name=f"fails-{os.getpid()}") as box:
                    self.addCleanup(sweep, box.name)
                    self.assertEqual(box.at(where, "lxc-start", *args)[0], 1)
                    eventually(lambda at=box.path: os.listdir(at) == [], "its end", 20)
        # Nothing was begun.
        with Box("lxc.ephemeral = 1\nlxc.bad = 1\n") as box:
            for where in (BIN, DEBIAN):
                self.assertEqual(box.at(where, "lxc-start")[0], 1)
            self.assertEqual(os.listdir(box.path), ["web"])
        # Who has the name keeps its files.
        with started(BIN, "lxc.ephemeral = 1\n") as box:
            self.assertEqual(box.ours("lxc-execute", "--", "true")[0], 1)
            self.assertEqual((box.state(), os.listdir(box.path)), ("RUNNING", ["web"]))
            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
            eventually(lambda: os.listdir(box.path) == [], "its end", 20)

    def test_a_start_that_takes_its_time_is_told_of(self):
        with Box('lxc.hook.pre-start = sh -c "sleep 1000"\n') as box:
            process = subprocess.Popen([f"{BIN}/lxc-start", "-P", box.path, "-n", box.name], stderr=subprocess.PIPE)
            for where in (BIN, DEBIAN):
                eventually(lambda at=where: box.at(at, "lxc-info", "-sH")[1] == "STARTING\n", "STARTING")
            self.assertEqual(box.at(DEBIAN, "lxc-wait", "-s", "STARTING", "-t", "30")[0], 0)
            self.assertIn("running already", box.ours("lxc-start")[2])
            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
            self.assertEqual(process.wait(60), 1)
            process.stderr.close()
            self.assertEqual(box.state(), "STOPPED")

    def test_a_stalled_terminal_stops_nobody(self):
        with Box() as box, Terminal(f"{BIN}/lxc-start", "-P", box.path, "-F", "-n", box.name, "--", "/bin/sh", "-c",
                                    "while :; do echo something that nobody reads; done") as user:
            eventually(lambda: box.state() == "RUNNING", "RUNNING")
            time.sleep(1)
            for _ in range(5):
                self.assertEqual(box.ours("lxc-info", "-sH", timeout=20)[:2], (0, "RUNNING\n"))
            self.assertEqual(box.ours("lxc-stop", "-k", timeout=20)[0], 0)
            user.process.wait(60)

    def test_the_pid_file_is_of_who_has_the_name(self):
        with Box() as box, socket.socket(socket.AF_UNIX) as held:
            box.write(f"{box.path}/pid", "somebody's")
            held.bind(f"\0{box.path}/web/command")
            status, _, err = box.ours("lxc-start", "-p", f"{box.path}/pid")
            self.assertEqual((status, "has its name" in err), (1, True), err)
            self.assertEqual(read(f"{box.path}/pid"), "somebody's")

    def test_relative_paths(self):
        with Box("lxc.hook.pre-start = echo $LXC_CONFIG_FILE >&2\n") as box:
            os.rename(box.config, f"{box.path}/given")
            box.write(box.config, "")
            done = run(f"{BIN}/lxc-start", "-P", ".", "-n", "web", "-f", "given", "-p", "pid", "-o", "log", "-l", "DEBUG", "-L", "console",
                       "-c", "peer", cwd=box.path)
            self.assertEqual(done, (0, "", ""))
            eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot")
            self.assertTrue({"pid", "log", "console", "peer"} <= set(os.listdir(box.path)))
            self.assertIn(f"{box.path}/given", read(f"{box.path}/log"))
            self.assertEqual(run(f"{BIN}/lxc-stop", "-P", ".", "-n", "web", "-k", cwd=box.path)[0], 0)
            eventually(lambda: not os.path.exists(f"{box.path}/pid"), "the end of the pid file")

    def test_shared_namespaces(self):
        with started() as box:
            os.makedirs(f"{box.path}/other")
            box.write(f"{box.path}/other/config", read(box.config).replace("lxc.net.0.type = empty\n", ""))
            status, out, err = run(f"{BIN}/lxc-execute", "-P", box.path, "-n", "other", "--share-net", box.name, "--",
                                   "/bin/sh", "-c", "ls -l /proc/self/ns/net")
            pid = box.ours("lxc-info", "-pH")[1].strip()
            self.assertEqual(status, 0, err)
            self.assertIn(os.readlink(f"/proc/{pid}/ns/net"), out)
            with open(f"{box.path}/other/config", "a", encoding="utf-8") as config:
                config.write(f"lxc.namespace.share.uts = {box.name}\n")
            status, out, err = run(f"{BIN}/lxc-execute", "-P", box.path, "-n", "other", "--", "/bin/sh", "-c", "ls -l /proc/self/ns/uts")
            self.assertEqual(status, 0, err)
            self.assertIn(os.readlink(f"/proc/{pid}/ns/uts"), out)
            status, _, err = run(f"{BIN}/lxc-execute", "-P", box.path, "-n", "other", "--share-net", "nobody", "--", "/bin/true")
            self.assertEqual(status, 1)
            self.assertIn("'nobody' does not run", err)

    def test_each_shared_namespace(self):
        kinds, name = ("net", "ipc", "uts", "pid"), f"other-{os.getpid()}"
        # What shares its pids may outlive the first process for a moment.
        self.addCleanup(eventually, lambda: sweep(name) or not glob.glob(f"/sys/fs/cgroup/**/lxc.payload.{name}*", recursive=True), "the end of all")
        with started() as box:
            pid = box.ours("lxc-info", "-pH")[1].strip()
            theirs = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}
            other = ("-P", box.path, "-n", name)
            os.mkdir(f"{box.path}/{name}")
            for kind in kinds:
                config = read(box.config).replace("proc:mixed", "proc:rw").replace("lxc.uts.name = web\n", "" if kind == "uts" else f"lxc.uts.name = {name}\n")
                box.write(f"{box.path}/{name}/config", config.replace("lxc.net.0.type = empty\n", "") if kind == "net" else config)
                for where in (BIN, DEBIAN):
                    with self.subTest(kind=kind, where=where):
                        # Of those alone that one.
                        status, out, err = run(f"{where}/lxc-execute", *other, f"--share-{kind}", box.name, "--", "/bin/sh", "-c", "ls -l /proc/self/ns; hostname")
                        self.assertEqual((status, [k for k in kinds if theirs[k] in out]), (0, [kind]), err)
                        self.assertEqual(out.split()[-1], "web" if kind == "uts" else name)
                        self.assertEqual(run(f"{where}/lxc-start", *other, f"--share-{kind}", box.name)[0], 0)
                        its = run(f"{BIN}/lxc-info", *other, "-pH")[1].strip()
                        self.assertEqual([k for k in kinds if os.readlink(f"/proc/{its}/ns/{k}") == theirs[k]], [kind])
                        self.assertEqual(run(f"{BIN}/lxc-stop", *other, "-k"), (0, "", ""))
            self.assertEqual(box.state(), "RUNNING")

    def test_execute_in_the_background(self):
        for where in (BIN, DEBIAN):
            with self.subTest(where), Box() as box:
                os.mkfifo(f"{box.root}/data/go")
                self.assertEqual(box.at(where, "lxc-execute", "-d", "--", "sh", "-c", "ls -l /proc/self/fd >/data/fds; cat /data/go; exit 5"), (0, "", ""))
                self.assertEqual(box.state(), "RUNNING")
                with open(f"{box.root}/data/go", "w"):
                    pass
                self.assertEqual(box.ours("lxc-wait", "-s", "STOPPED", "-t", "60")[0], 0)
                self.assertEqual(sorted(re.findall(r" ([0-2]) -> /dev/null", read(f"{box.root}/data/fds"))), ["0", "2"])

    def test_an_overlay_whose_upper_layer_is_not_there(self):
        with Box("lxc.console.path = none\n") as box:
            box.write(box.config, read(box.config).replace(f"dir:{box.root}", f"overlay:{box.root}:{box.path}/upper"))
            status, _, err = box.ours("lxc-start", "-F", "--", "/bin/touch", "/new")
            self.assertEqual(status, 0, err)
            self.assertTrue(os.path.exists(f"{box.path}/upper/new"))
            self.assertFalse(os.path.exists(f"{box.root}/new"))

    def test_roots_that_are_images(self):
        makers = {"ext4": ("mke2fs", "-q", "-t", "ext4", "-d"), "squashfs": ("mksquashfs",), "erofs": ("mkfs.erofs", "--quiet")}
        for kind, maker in makers.items():
            with self.subTest(kind), Box("lxc.console.path = none\n") as box, contextlib.ExitStack() as undo:
                image = f"{box.path}/{kind}.img"
                where = {"ext4": (box.root, image, "32M"), "squashfs": (box.root, image, "-quiet", "-no-progress"), "erofs": (image, box.root)}[kind]
                status, _, err = run(*maker, *where)
                self.assertEqual(status, 0, err)
                status, device, err = run("losetup", "--find", "--show", image)
                self.assertEqual(status, 0, err)
                undo.callback(run, "losetup", "-d", device.strip())
                for path in (f"loop:{image}", image, device.strip()):
                    box.write(box.config, re.sub("rootfs.path = .*", f"rootfs.path = {path}", read(box.config)))
                    status, _, err = box.ours("lxc-start", "-F", "--", "/bin/sh", "-c", f"grep ' / ' /proc/mounts | grep -q {kind}")
                    self.assertEqual(status, 0, (path, err))
                undo.close()
                eventually(lambda: image not in run("losetup", "-a")[1], "no loop device of it")

    def test_a_configuration_says_all_of_its_mistakes(self):
        wrong = ("lxc.tyt.max = 4", "lxc.tty.max = two", "lxc.cap.drop = sys_admn", "lxc.mount.entry = /a b", "lxc.prlimit.nofile = 2:1",
                 "lxc.mount.fstab = /no/such", "lxc.net.1.type = token", "lxc.signal.halt = SIGNO", "lxc.idmap = u 0 1", "lxc.start.auto = maybe")
        with Box("\n".join(wrong) + "\n") as box:
            status, _, err = box.ours("lxc-start", "-F")
            self.assertEqual(status, 1)
            lines = read(box.config).splitlines()
            for line in wrong:
                self.assertIn(f"{box.config}:{lines.index(line) + 1}: ", err)
            self.assertEqual(len(err.splitlines()), len(wrong), err)

    def test_the_log_of_a_console_has_a_size(self):
        config = "lxc.console.logfile = {0}\nlxc.console.size = 8KB\nlxc.console.rotate = {1}\n"
        for rotate in (0, 1):
            with self.subTest(rotate), Box() as box:
                log = f"{box.path}/console"
                box.write(box.config, read(box.config) + config.format(log, rotate))
                status, _, err = box.ours("lxc-start", "-F", "--", "/bin/sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done")
                self.assertEqual(status, 0, err)
                self.assertTrue(read(log).endswith("line 1999\n"))
                self.assertLessEqual(os.path.getsize(log), 8192)
                self.assertEqual(os.path.exists(f"{log}.1"), rotate == 1)
                if rotate:
                    self.assertEqual(os.path.getsize(f"{log}.1"), 8192)

    def test_who_reads_the_log_of_a_console_stops_nobody(self):
        with Box() as box:
            log, pids = f"{box.path}/console", f"{box.path}/pid"
            os.mkfifo(log)
            shouts = ("--", "/bin/sh", "-c", "while :; do echo something that nobody reads; done")
            # Nobody has it open yet.
            self.assertEqual(box.ours("lxc-start", "-L", log, "-p", pids, *shouts), (0, "", ""))
            keeper = int(read(pids))

            def resident():
                return int(re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{keeper}/status"))[1])

            def answers():
                for _ in range(5):
                    self.assertEqual(box.ours("lxc-info", "-sH", timeout=20)[:2], (0, "RUNNING\n"))
            reader = os.open(log, os.O_RDONLY)
            self.assertIn(b"something", os.read(reader, 100))
            before = resident()
            time.sleep(2)
            answers()
            self.assertLess(resident() - before, 8192)
            # It goes away, and somebody else comes.
            os.close(reader)
            time.sleep(0.2)
            answers()
            reader = os.open(log, os.O_RDONLY)
            self.assertIn(b"something", os.read(reader, 100))
            os.close(reader)
            self.assertEqual(box.ours("lxc-stop", "-k", timeout=20), (0, "", ""))

    def test_a_full_disk_stops_no_console(self):
        with Box() as box:
            folder = f"{box.path}/small"
            os.mkdir(folder)
            self.assertEqual(run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)[0], 0)
            try:
                says = "i=0; while [ $i -lt 8000 ]; do echo a line that has no room $i; i=$((i+1)); done; touch /said"
                status, _, err = box.ours("lxc-start", "-F", "-L", f"{folder}/console", "--", "/bin/sh", "-c", says)
                self.assertEqual(status, 0, err)
                self.assertTrue(os.path.exists(f"{box.root}/said"))
                self.assertLessEqual(os.path.getsize(f"{folder}/console"), 65536)
                self.assertIn("has no room", read(f"{folder}/console"))
            finally:
                self.assertEqual(run("umount", folder)[0], 0)

    def test_a_user_who_may_make_no_cgroups(self):
        with Box("lxc.console.path = none\nlxc.idmap = u 0 12345 1\nlxc.idmap = g 0 12345 1\n") as box:
            box.write(box.config, read(box.config).replace("lxc.mount.auto = proc:mixed\n", ""))
            program = shutil.copy(os.path.realpath(f"{BIN}/lxc-start"), f"{box.path}/condroid-lxc")
            run("chown", "-R", "12345:12345", box.path)
            status, out, err = run("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "env", "-i", f"HOME={box.path}", "PATH=/usr/bin",
                                   program, "lxc-start", "-P", box.path, "-n", box.name, "-F", "--", "/bin/sh", "-c", "echo $(id -u) > /written")
            self.assertEqual(status, 0, err)
            self.assertIn("this user may make none", err)
            self.assertEqual(read(f"{box.root}/written"), "0\n")


class Failures(unittest.TestCase):
    """What goes wrong around a container: one clear error or the right answer, and nobody waits for ever."""

    BEGUN = "pre-start pre-mount mount autodev start start-host".split()

    def test_hooks_that_fail(self):
        wrong = {"/no/such/hook": "it ended with status 127: .*/no/such/hook: not found", "/bin/false": "it ended with status 1; hint: it said nothing",
                 'sh -c "echo some; echo why >&2; exit 3"': "it ended with status 3: why", 'sh -c "kill -9 \\$\\$"': "it was killed by signal 9.*"}
        for point in (*self.BEGUN, "up"):
            # Of two the second, where there can be two.
            for command, why in wrong.items():
                with self.subTest(point=point, command=command), Box() as box:
                    key = "net.{}script.up" if point == "up" else "hook." + point
                    first = "" if point == "up" else f"lxc.{key} = /bin/true\n"
                    box.write(box.config, read(box.config) + f"{first}lxc.{key.format('0.')} = {command}\n")
                    for mode in ("-d", "-F"):
                        status, out, err = box.ours("lxc-start", mode)
                        self.assertEqual((status, out), (1, ""), err)
                        begins = f"lxc-start: web: the container failed to start\nlxc-start: web: run hook: lxc.{key.format('')} '{command}': "
                        self.assertRegex(err, f"^{re.escape(begins)}{why}\n$")
                    self.assertEqual(box.state(), "STOPPED")

    def test_hooks_of_the_end_that_fail(self):
        for point in ("stop", "post-stop"):
            with self.subTest(point), Box(f"lxc.hook.{point} = /bin/true\nlxc.hook.{point} = /no/such/hook\n") as box:
                log = f"{box.path}/log"
                for life in (1, 2):
                    self.assertEqual(box.ours("lxc-start", "-o", log, "-l", "WARN"), (0, "", ""))
                    self.assertEqual(box.ours("lxc-stop", "-k"), (0, "", ""))
                    eventually(lambda n=life: len(read(log).splitlines()) == n, "its failure in the log")
                for line in read(log).splitlines():
                    self.assertRegex(line, f"WARN +run hook: lxc.hook.{point} '/no/such/hook': it ended with status 127: ")

    def test_hooks_that_hang(self):
        mine = f"1000.{os.getpid()}"

        def one(point):
            with Box(f"lxc.hook.{point} = sh -c \"sleep {mine}\"\n") as box:
                log = f"{box.path}/log"
                started = box.ours("lxc-start", "-o", log, "-l", "WARN")
                return started, box.ours("lxc-stop", "-k")[0], box.state(), read(log).splitlines()[-1]
        # All at once: each is killed after a minute.
        points = ("pre-start", "mount", "start", "start-host", "stop", "post-stop")
        with concurrent.futures.ThreadPoolExecutor(len(points)) as pool:
            for point, (start, stopped, state, logged) in zip(points, pool.map(one, points)):
                with self.subTest(point):
                    said = f"run hook: lxc.hook.{point} 'sh -c \"sleep {mine}\"': it ran for [0-9.]+ s, and 60 s is its limit; hint: it said nothing"
                    fails = point not in ("stop", "post-stop")
                    self.assertEqual((start[0], stopped, state), (1, 2, "STOPPED") if fails else (0, 0, "STOPPED"), start)
                    if fails:
                        self.assertRegex(start[2], f"^lxc-start: web: the container failed to start\nlxc-start: web: {said}\n$")
                    self.assertRegex(logged, f" {said}$")
        eventually(lambda: mine not in run("ps", "-eo", "args")[1], "the end of all hooks", 20)

    @staticmethod
    def as_user(box, tool, *args, where=BIN):
        """As somebody who has no way to the build's directory where that is root's alone."""
        program, home = f"{box.path}/condroid-lxc", f"{box.path}/home"
        if not os.path.exists(program):
            os.mkdir(home)
            os.chown(home, 12345, 12345)
            shutil.copy(os.path.realpath(f"{BIN}/lxc-start"), program)
        return run("setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "env", "-i", f"HOME={home}", "PATH=/usr/bin:/bin",
                   *((program, tool) if where == BIN else (f"{where}/{tool}",)), "-P", box.path, *args)

    def test_one_of_another_users(self):
        for where in (BIN, DEBIAN):
            with started(where) as box:
                for tool, *args in (("lxc-info",), ("lxc-info", "-sH"), ("lxc-info", "-c", "lxc.uts.name"), ("lxc-stop",), ("lxc-stop", "-k"),
                                    ("lxc-stop", "-r"), ("lxc-attach", "--", "true"), ("lxc-freeze",), ("lxc-unfreeze",), ("lxc-console",),
                                    ("lxc-wait", "-s", "STOPPED"), ("lxc-wait", "-s", "RUNNING"), ("lxc-cgroup", "cgroup.procs"),
                                    ("lxc-device", "add", "/dev/full"), ("lxc-start",), ("lxc-execute", "--", "true"), ("lxc-destroy", "-f")):
                    ours, theirs = (self.as_user(box, tool, "-n", box.name, *args, where=w) for w in (BIN, DEBIAN))
                    self.assertEqual(ours[:2], theirs[:2], (tool, args))
                    self.assertRegex(ours[2], rf"^{tool}: web: .*(EPERM|started by another user|only root can).*\n$")
                for args in ((), ("-1",), ("--active",), ("--running",), ("--frozen",), ("-f", "-F", "NAME,STATE,PID,RAM,IPV4"), ("-f",)):
                    ours, theirs = (self.as_user(box, "lxc-ls", *args, where=w) for w in (BIN, DEBIAN))
                    self.assertEqual(ours, theirs, args)
                self.assertEqual(box.state(), "RUNNING")

    def test_somebody_else_has_its_name(self):
        with Box("lxc.ephemeral = 1\n") as box:
            for user, listens, said in ((0, False, "another program works on 'web', or has its name"),
                                        (12345, False, "another program works on 'web', or has its name"), (12345, True, "the name 'web' is in use by another user")):
                with self.subTest(user=user, listens=listens), socket.socket(socket.AF_UNIX) as held:
                    os.seteuid(user)
                    try:
                        held.bind(f"\0{box.path}/web/command")
                        if listens:
                            held.listen(100)
                    finally:
                        os.seteuid(0)
                    for tool, *args in (("lxc-start", "-d"), ("lxc-start", "-F"), ("lxc-execute", "--", "true")):
                        self.assertEqual(box.ours(tool, *args), (1, "", f"{tool}: web: {said}\n"))
                    for tool, *args in (("lxc-stop", "-k"), ("lxc-attach", "--", "true"), ("lxc-freeze",), ("lxc-console",), ("lxc-destroy",)):
                        status, _, err = box.ours(tool, *args)
                        self.assertEqual(status, 2 if tool == "lxc-stop" and not listens else 1)
                        self.assertRegex(err, f"^{tool}: web: .*{'EACCES.*' if listens else ''}\n$")
                    for tool, *args in (("lxc-info", "-sH"), ("lxc-wait", "-s", "STOPPED")):
                        status, out, err = box.ours(tool, *args)
                        self.assertEqual((status, "EACCES" in err), (int(listens), listens))
                        self.assertEqual(out, "STOPPED\n" if tool == "lxc-info" and not listens else "")
                    self.assertTrue(os.path.exists(box.config))

    def test_one_that_vanishes(self):
        # Who is at it meanwhile, and how that ends.
        deaf = INIT.replace("trap 'exit 0' PWR\ntrap 'reboot -f' INT", "trap '' PWR INT")
        ends = {("lxc-wait", "-s", "STOPPED"): (0, ""), ("lxc-wait", "-s", "FROZEN", "-t", "30"): (1, ""), ("lxc-attach", "--", "sleep", "1000"): (137, ""),
                ("lxc-attach", "--", "sh", "-c", "sleep 1000 & wait"): (137, ""), ("lxc-console", "-t", "0"): (0, "\nConnected to tty 0\n.*\n"),
                ("lxc-console", "-t", "1"): (0, "\nConnected to tty 1\n.*\n"), ("lxc-stop", "--nokill", "-t", "100"): (0, ""),
                ("lxc-stop", "-t", "100"): (0, ""), ("lxc-stop", "-r", "-t", "100"): (1, "lxc-stop: web: it ended, and did not restart\n")}
        for where in (BIN, DEBIAN):
            with Box("lxc.tty.max = 1\n", init=deaf) as box:
                self.assertEqual(box.at(where, "lxc-start")[0], 0)
                eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot")
                processes = [subprocess.Popen([f"{BIN}/{tool}", "-P", box.path, "-n", box.name, *args], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                              stderr=subprocess.PIPE, text=True) for tool, *args in ends]
                try:
                    # Its socket has them all: the ones that wait, a connection each.
                    eventually(lambda: read("/proc/net/unix").count(f"@{box.path}/web/command") > len([t for t in ends if t[0] != "lxc-attach"])
                               and box.ours("lxc-attach", "--", "ps")[1].count("sleep 1000") == 3, "that all are at it")
                    self.assertEqual(box.ours("lxc-destroy", "-f"), (0, "", ""))
                    for process, (words, (status, said)) in zip(processes, ends.items()):
                        self.assertEqual(process.wait(60), status, words)
                        self.assertRegex(process.stderr.read(), f"^{said}$", words)
                finally:
                    for process in processes:
                        process.kill()
                        process.communicate()
                self.assertEqual(os.listdir(box.path), [])

    def test_one_that_comes_and_goes(self):
        # Whatever is asked, and whenever: it is answered, or there is one line about why not.
        tools = {("lxc-info",): (0, 1), ("lxc-attach", "--", "true"): (0, 1, 137), ("lxc-freeze",): (0, 1), ("lxc-unfreeze",): (0, 1),
                 ("lxc-wait", "-s", "RUNNING|STOPPED"): (0,), ("lxc-console", "-t", "0"): (0, 1), ("lxc-cgroup", "cgroup.procs"): (0, 1),
                 ("lxc-device", "add", "/dev/full", "/data/full"): (0, 1), ("lxc-ls", "-f"): (0,), ("lxc-stop", "-W"): (0, 1, 2),
                 ("lxc-execute", "--", "true"): (0, 1, 137, 128 + signal.SIGPWR, 128 + signal.SIGRTMIN + 3)}
        over, wrong = threading.Event(), []

        def hammer(box, tool, args, fine):
            words = [f"{BIN}/{tool}", "-P", box.path, *(() if tool == "lxc-ls" else ("-n", box.name)), *args]
            while not over.is_set():
                status, _, err = run(*words, timeout=60)
                err = re.sub("\nConnected to tty .*\nType .*\n", "", err)
                # A failed start says that first.
                if status not in fine or len(err.replace("the container failed to start\n", "").splitlines()) > 1 + (tool == "lxc-execute"):
                    wrong.append((words, status, err))
        with Box(name=f"comes-{os.getpid()}") as box, concurrent.futures.ThreadPoolExecutor(len(tools)) as pool:
            self.addCleanup(sweep, box.name)
            jobs = [pool.submit(hammer, box, tool, args, fine) for (tool, *args), fine in tools.items()]
            try:
                for n in range(12):
                    where = (BIN, DEBIAN)[n % 2]
                    box.at(where, "lxc-start")
                    box.ours("lxc-unfreeze")
                    box.at(where, "lxc-stop", "-k")
            finally:
                over.set()
                for job in jobs:
                    job.result(100)
            eventually(lambda: box.ours("lxc-stop", "-k")[0] == 2, "its end")
        self.assertEqual(wrong, [])


@contextlib.contextmanager
def own_network():
    """A network with a bridge and three cables, and what a command begins with that is run in there."""
    # Debian's lxc-start knows a bridge by what is in /sys, and that shows the network of who mounted it.
    script = """set -e
    at=$(mktemp -d); mount -t sysfs sysfs $at
    for of in class/net devices/virtual/net; do mount --bind $at/$of /sys/$of; done
    umount -l $at; rmdir $at
    ip link set lo up
    ip link add bridge0 address 02:00:00:00:01:01 type bridge; ip link set bridge0 up
    for n in 0 1 2; do ip link add cable$n address 02:00:00:00:02:0$n type veth peer name end$n address 02:00:00:00:03:0$n; done
    echo; exec cat"""
    holder = subprocess.Popen(["unshare", "-n", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"\n"
        yield "nsenter", "-t", str(holder.pid), "-n", "-m"
    finally:
        holder.stdin.close()
        holder.wait(60)
        holder.stdout.close()


class Hooked(Box):
    """A container that is started in a network of its own; each of its hooks keeps what it was told."""

    POINTS = "pre-start pre-mount mount autodev start-host start stop post-stop".split()
    # The number of its arguments, these, its environment, an empty word, and what its namespaces' paths lead to.
    HOOK = """#!/bin/sh
n=$(busybox ls TOLD | busybox wc -l)
{
    printf '%s\\0' $# "$@"
    busybox env -0
    printf '\\0'
    for kind in USER MNT PID UTS IPC NET CGROUP TIME; do
        eval "at=\\$LXC_${kind}_NS"
        [ -z "$at" ] || printf '%s\\0' "LXC_${kind}_NS=$(busybox readlink "$at")"
    done
} >TOLD/.new
busybox mv TOLD/.new "TOLD/$(printf %03d $n)-${0##*/}"
"""

    def __init__(self, inside, config):
        """In `config`, BOX is its directory, and each line SCRIPTS those of the interfaces 0, 1 and so on."""
        super().__init__(init=INIT.replace("/booted", "/data/.booted"))
        self.inside, self.told, self.hooks = inside, f"{self.path}/told", f"{self.path}/hooks"
        for folder in (self.told, self.hooks, f"{self.root}/hooks"):
            os.mkdir(folder)
        self.write(f"{self.root}/hooks/start", self.HOOK.replace("TOLD", "/data"), 0o755)
        # LXC looks for all of a start hook's line as for a file: there it can have no words.
        lines = [f"lxc.hook.{p} = " + ("/hooks/start" if p == "start" else self.hook(p)) for p in self.POINTS]
        for n in range(config.count("SCRIPTS")):
            scripts = "\n".join(f"lxc.net.{n}.script.{way} = " + self.hook(f"{way}-{n}") for way in ("up", "down"))
            config = config.replace("SCRIPTS", scripts, 1)
        lines += [f"lxc.mount.entry = {self.told} data none bind 0 0", config.replace("BOX", self.path)]
        self.write(self.config, read(self.config).replace("lxc.net.0.type = empty\n", "") + "\n".join(lines))

    def hook(self, name):
        self.write(f"{self.hooks}/{name}", self.HOOK.replace("TOLD", self.told), 0o755)
        return f"{self.hooks}/{name} 'two words' \"$LXC_NAME\" %{{pid}}%"

    def at(self, where, tool, *args, **more):
        return run(*self.inside, f"{where}/{tool}", "-P", self.path, "-n", self.name, *args, **more)

    def __exit__(self, *_):
        if self.state() != "STOPPED":
            self.ours("lxc-stop", "-k")
        try:
            # Its last hooks write there.
            eventually(lambda: not os.path.exists(f"{self.path}/pid"), "the end of who kept it", 60)
        finally:
            super().__exit__()

    def booted(self):
        """Its first process, and its namespaces by the variables that tell of them."""
        eventually(lambda: os.path.exists(f"{self.told}/.booted"), "boot", 60)
        os.remove(f"{self.told}/.booted")
        pid = self.ours("lxc-info", "-pH")[1].strip()
        kinds = "user mnt pid uts ipc net cgroup time".split()
        return pid, {f"LXC_{k.upper()}_NS": os.readlink(f"/proc/{pid}/ns/{k}") for k in kinds}

    def calls(self):
        """Those since the last time: the hook, its arguments, its environment, what its namespaces' paths led to."""
        every = []
        for name in sorted(n for n in os.listdir(self.told) if n[0] != "."):
            count, *words = read(f"{self.told}/{name}").split("\0")[:-1]
            os.remove(f"{self.told}/{name}")
            arguments, words = words[:int(count)], words[int(count):]
            end = words.index("")
            every.append((name[4:], arguments, *(dict(w.split("=", 1) for w in some) for some in (words[:end], words[end + 1:]))))
        return every


class Hooks(unittest.TestCase):
    """One configuration, started by Debian's and by ours: which hooks are run, and what each is told."""

    MOUNT = "lxc.rootfs.mount = /usr/lib/x86_64-linux-gnu/lxc/rootfs\n"
    VETH = "lxc.net.0.type = veth\nlxc.net.0.link = bridge0\nlxc.net.0.flags = up\nSCRIPTS\n"
    INSIDE = ("pre-mount", "mount", "autodev", "start")

    @contextlib.contextmanager
    def box(self, config, version):
        with own_network() as inside, Hooked(inside, f"lxc.hook.version = {version}\n{config}") as box:
            yield box

    @staticmethod
    def points(interfaces=1):
        ups, downs = ([f"{way}-{n}" for n in range(interfaces)] for way in ("up", "down"))
        return ["pre-start", *ups, "pre-mount", "mount", "autodev", "start", "start-host", *downs, "stop", "post-stop"]

    def start(self, box, where, *args):
        environment = dict(os.environ, CALLERS="of the caller", BOTH="of the caller")
        return box.at(where, "lxc-start", "-p", f"{box.path}/pid", *args, env=environment)

    def started(self, box, where, *args):
        status, _, err = self.start(box, where, *args)
        self.assertEqual(status, 0, err)
        return box.booted()

    def ended(self, box):
        eventually(lambda: not os.path.exists(f"{box.path}/pid"), "the end of who kept it", 60)
        return box.calls()

    @staticmethod
    def comparable(calls, pid, namespaces=None):
        """With words for what no two lives have alike: the first process, where a descriptor of its namespaces is, a peer's
        made up name. Only where it is right: that of this process, of one of `namespaces`, the same down as up."""
        names, told = {}, []
        for point, arguments, environment, led in calls:
            way, _, number = point.partition("-")
            if way in ("up", "down") and re.fullmatch("veth[0-9A-Za-z]{4,}", arguments[-1]) and f"PEER {number}" not in names.values():
                names[arguments[-1]] = f"PEER {number}"
            paths = {environment[name]: place.split(":")[0].upper() for name, place in led.items()
                     if (place == namespaces[name] if namespaces else f"LXC_{place.split(':')[0].upper()}_NS" == name)}

            def plain(text, paths=paths):
                return names.get(text) or re.sub("/proc/[0-9]+/fd/[0-9]+", lambda at: paths.get(at[0], at[0]), text)
            environment = {name: plain(value) for name, value in environment.items()}
            if environment.get("LXC_PID") == pid:
                environment["LXC_PID"] = "ITS PROCESS"
            arguments = [plain(a) for a in arguments]
            # LXC says them as it makes them: that of cgroups is there before that of the network when the child of one with ids
            # mapped begins in its cgroup, with nothing but version 2.
            first = next((n for n, a in enumerate(arguments) if re.match("[a-z]+:[A-Z]+$", a)), len(arguments))
            told.append((point, arguments[:first] + sorted(arguments[first:]), environment))
        return told

    @staticmethod
    def without_leftovers(told, again=False):
        """Of Debian's. LXC sets variables in its own environment, where they stay for every hook that comes after, in
        lives after a reboot, too. They are about something else there, lxc.container.conf(5) has none of them for these hooks."""
        of_ns = [f"LXC_{kind}_NS" for kind in ("USER", "MNT", "PID", "UTS", "IPC", "NET", "CGROUP", "TIME")]
        for point, _, environment in told:
            way = point.split("-")[0]
            gone, kind = [], environment.get("LXC_NET_TYPE") if way in ("up", "down") else None
            # The interface's whose script was last.
            gone += [] if kind else ["LXC_NET_TYPE"]
            gone += [] if kind in ("veth", "macvlan", "phys") else ["LXC_NET_PARENT"]
            gone += [] if kind == "veth" else ["LXC_NET_PEER"]
            # Paths of descriptors that are closed: of this life, or of the one before.
            gone += of_ns if point == "post-stop" or again and way not in ("down", "stop") else []
            # How the life before ended, and its first process.
            gone += ["LXC_TARGET"] if again and point not in ("stop", "post-stop") else []
            gone += ["LXC_PID"] if again and (point == "pre-start" or point in Hooks.INSIDE) else []
            for name in gone:
                environment.pop(name, None)
        return told

    def same(self, ours, theirs):
        self.assertEqual([point for point, *_ in ours], [point for point, *_ in theirs])
        differ = {}
        for (point, arguments, environment), (_, others, variables) in zip(ours, theirs):
            if arguments != others:
                differ.setdefault(f"arguments: {arguments}, LXC: {others}", []).append(point)
            for name in sorted({name for name, _ in environment.items() ^ variables.items()}):
                differ.setdefault(f"{name}: {environment.get(name)}, LXC: {variables.get(name)}", []).append(point)
        self.assertFalse(differ)

    def check(self, config, *args, version, points, only_ours=()):
        with self.subTest(config=config, args=args, version=version), self.box(config, version) as box:
            lives = []
            for where in (DEBIAN, BIN):
                pid, namespaces = self.started(box, where, *(a.replace("BOX", box.path) for a in args))
                self.assertEqual(box.at(where, "lxc-stop", "-k")[0], 0)
                lives.append(self.comparable(self.ended(box), pid, namespaces))
            theirs, ours = self.without_leftovers(lives[0]), lives[1]
            self.assertEqual([point for point, *_ in ours], points)
            ours = [one for one in ours if one[0] not in only_ours]
            if "lxc.rootfs.mount" not in config:
                # LXC has a directory of its own for it. A hook is told which one it is.
                for (*_, environment), (*_, variables) in zip(ours, theirs):
                    self.assertEqual(environment["LXC_ROOTFS_MOUNT"], "/mnt")
                    variables["LXC_ROOTFS_MOUNT"] = "/mnt"
            self.same(ours, theirs)

    def test_what_they_are_told(self):
        everything = self.MOUNT + ("lxc.environment = GIVEN=by the configuration\nlxc.environment = BOTH=by the configuration\n"
                                   "lxc.console.logfile = BOX/shown\nlxc.log.level = NOTICE\n")
        for version in (0, 1):
            self.check(self.VETH, version=version, points=self.points())
            self.check(everything + self.VETH, version=version, points=self.points())
            self.check(everything, "-l", "INFO", "-L", "BOX/other", version=version, points=self.points(0))
            # Id 0 is that of the host, which may write down what it is told.
            self.check(self.MOUNT + "lxc.idmap = u 0 0 65536\nlxc.idmap = g 0 0 65536\nlxc.autodev = 0\n", version=version,
                       points=[p for p in self.points(0) if p != "autodev"])
        self.check(self.MOUNT + "lxc.rootfs.path = overlay:BOX/web/rootfs:BOX/upper\nlxc.console.path = none\n", version=1,
                   points=self.points(0))
        self.check(self.MOUNT, "-f", "BOX/web/config", "-s", "lxc.log.level=warn", version=1, points=self.points(0))

    def test_a_level_and_a_console_of_the_command_line(self):
        master, slave = os.openpty()
        try:
            for config, *args in (("", "-l", "debug", "-o", "BOX/log"), ("", "-c", os.ttyname(slave)), ("", "-c", "none"),
                                  ("lxc.console.path = none\n", "-c", os.ttyname(slave))):
                self.check(self.MOUNT + config, *args, version=1, points=self.points(0))
        finally:
            os.close(master)
            os.close(slave)

    def test_scripts_of_interfaces(self):
        kinds = [("veth", "link = bridge0", "flags = up"), ("veth", "link = bridge0", "veth.pair = named0"), ("veth",),
                 ("veth", "veth.mode = router", "link = cable2", "flags = up", "ipv4.address = 192.0.2.2/32"),
                 ("macvlan", "link = cable0"), ("phys", "link = cable1")]
        with own_network() as inside:
            # Not every kernel has them.
            for kind, *more in (("vlan", "id", "7"), ("ipvlan",)):
                if run(*inside, "ip", "link", "add", "link", "cable2", "name", "tried", "type", kind, *more)[0] == 0:
                    run(*inside, "ip", "link", "del", "tried")
                    kinds.append((kind, "link = cable2", *(["vlan.id = 7"] if kind == "vlan" else [])))
        config = ""
        for n, (kind, *more) in enumerate(kinds):
            config += "".join(f"lxc.net.{n}.{line}\n" for line in (f"type = {kind}", *more)) + "SCRIPTS\n"
        for version in (0, 1):
            self.check(self.MOUNT + config, version=version, points=self.points(len(kinds)))

    def test_scripts_of_a_network_without_interfaces(self):
        for version in (0, 1):
            # LXC forgets its script.down, as there is nothing to be taken down.
            self.check(self.MOUNT + "lxc.net.0.type = empty\nSCRIPTS\n", version=version, points=self.points(), only_ours=("down-0",))

    def test_over_a_reboot(self):
        for version in (0, 1):
            with self.subTest(version=version), self.box(self.MOUNT + self.VETH, version) as box:
                every = []
                for where in (DEBIAN, BIN):
                    first = self.started(box, where)
                    self.assertEqual(box.at(where, "lxc-stop", "-r", "-t", "60")[0], 0)
                    second = box.booted()
                    self.assertEqual(box.at(where, "lxc-stop", "-t", "60")[0], 0)
                    calls = self.ended(box)
                    end = [point for point, *_ in calls].index("post-stop") + 1
                    every.append((self.comparable(calls[:end], *first), self.comparable(calls[end:], *second)))
                for told, again in zip(every[0], (False, True)):
                    self.assertEqual([point for point, *_ in told], self.points())
                    self.without_leftovers(told, again)
                # Ours keeps the interface, which is neither taken down nor made again.
                self.assertEqual(len({words[-1] for point, words, *_ in calls if point in ("up-0", "down-0")}), 1)
                every[0][0][:] = [one for one in every[0][0] if one[0] != "down-0"]
                every[0][1][:] = [one for one in every[0][1] if one[0] != "up-0"]
                for which, ours, theirs in zip(("first", "second"), every[1], every[0]):
                    with self.subTest(life=which):
                        self.same(ours, theirs)

    def test_who_stops_it_waits_for_them(self):
        slow = "".join(f'lxc.hook.{point} = sh -c "sleep 1; echo {point} >>TOLD"\n' for point in ("stop", "post-stop"))
        for where in (DEBIAN, BIN):
            for stop in (("-k",), ("-t", "60")):
                with self.subTest(where=where, stop=stop), Box(slow + 'lxc.hook.pre-start = sh -c "echo pre-start >>TOLD"\n') as box:
                    box.write(box.config, read(box.config).replace("TOLD", told := f"{box.path}/told"))
                    try:
                        for life in (1, 2):
                            self.assertEqual(box.at(where, "lxc-start", "-p", f"{box.path}/pid{life}"), (0, "", ""))
                            eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot", 60)
                            os.remove(f"{box.root}/booted")
                            self.assertEqual(box.at(where, "lxc-stop", *stop), (0, "", ""))
                            self.assertEqual(read(told).split(), ["pre-start", "stop", "post-stop"] * life)
                            self.assertEqual(box.state(), "STOPPED")
                    finally:
                        box.ours("lxc-stop", "-k")
                        eventually(lambda: not any(n.startswith("pid") for n in os.listdir(box.path)), "the end of who kept it", 60)

    def test_of_a_start_that_fails(self):
        fails = "lxc.hook.{} = /bin/false\n".format
        # After a failing pre-start LXC runs stop, of no child: ours does not (docs/hooks.md).
        for config, *args in (("", "--", "/nothing/such"), (fails("mount"),), (fails("start-host"),)):
            for version in (0, 1):
                with self.subTest(config=config, args=args, version=version), self.box(self.MOUNT + self.VETH + config, version) as box:
                    lives = []
                    for where in (DEBIAN, BIN):
                        self.assertEqual(self.start(box, where, *args)[0], 1)
                        calls = self.ended(box)
                        pid = [variables["LXC_PID"] for point, _, variables, _ in calls if point == "up-0"]
                        lives.append(self.comparable(calls, *pid or [""]))
                    theirs, ours = self.without_leftovers(lives[0]), lives[1]
                    self.assertEqual([theirs[0][0], theirs[-1][0]], ["pre-start", "post-stop"])
                    if config:
                        # LXC runs no script.down then, of an interface that was up. What namespaces a child had that was
                        # never complete, ours does not tell.
                        self.assertNotIn("down-0", [point for point, *_ in theirs])
                        self.assertEqual([point for point, *_ in ours].count("down-0"), 1)
                        ours = [one for one in ours if one[0] != "down-0"]
                        for life in (ours, theirs):
                            at = [point for point, *_ in life].index("stop")
                            life[at] = ("stop", [a for a in life[at][1] if not re.match("[a-z]+:[A-Z]+$", a)],
                                        {n: v for n, v in life[at][2].items() if not re.match("LXC_[A-Z]+_NS$", n)})
                    self.same(ours, theirs)

    def test_in_the_foreground(self):
        with self.box(self.MOUNT + self.VETH, 1) as box:
            lives = []
            # What a shell adds when it goes elsewhere.
            environment = {name: value for name, value in os.environ.items() if name != "OLDPWD"}
            for where in (DEBIAN, BIN):
                process = subprocess.Popen([*box.inside, "env", "-C", box.path, f"{where}/lxc-start", "-P", box.path, "-n", box.name, "-F"],
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
                try:
                    pid, namespaces = box.booted()
                    self.assertEqual(box.at(where, "lxc-stop", "-k")[0], 0)
                    self.assertEqual(process.wait(60), 0)
                finally:
                    if process.poll() is None:
                        process.kill()
                        process.wait()
                lives.append(self.comparable(box.calls(), pid, namespaces))
            self.same(lives[1], self.without_leftovers(lives[0]))


class Inside(unittest.TestCase):
    """One configuration with a little of everything, started by Debian's and by ours: what is to be seen inside. What differs has its
    line in docs/lxc-config.md."""

    CONFIG = """lxc.tty.max = 3
lxc.pty.max = 16
lxc.cap.drop = sys_module mac_admin sys_time
lxc.prlimit.nofile = 512:1024
lxc.prlimit.core = 0
lxc.sysctl.net.ipv4.ip_forward = 1
lxc.proc.oom_score_adj = 10
lxc.environment = A=b c
lxc.environment = LANG=C.UTF-8
lxc.mount.auto = sys:mixed
lxc.mount.entry = tmpfs data tmpfs size=1m,nosuid,nodev,mode=750 0 0
lxc.mount.entry = /usr/share vendor none bind,ro 0 0
lxc.mount.entry = /dev/full dev/made none bind,create=file 0 0
"""
    LIMITS = "lxc.cgroup.memory.limit_in_bytes = 64M\nlxc.cgroup.cpu.shares = 333\nlxc.cgroup.pids.max = 99\n"
    IDS = "lxc.idmap = u 0 0 65536\nlxc.idmap = g 0 0 65536\n"
    # Only of the first process, which neither has changed by itself.
    ASKED = {"limits": "cat /proc/1/limits", "status": "cat /proc/1/status", "environment": "tr '\\0' '\\n' </proc/1/environ", "mounts": "cat /proc/1/mountinfo",
             "ids": "cat /proc/1/uid_map /proc/1/gid_map /proc/1/setgroups /proc/1/oom_score_adj", "system": "cat /proc/sys/net/ipv4/ip_forward; hostname",
             "descriptors": "ls -l /proc/1/fd | tr -s ' ' | cut -d' ' -f9-", "session": "cut -d' ' -f4-8 /proc/1/stat", "devices": "ls -lna /dev /dev/pts", "root": "ls -lna /"}

    def look(self, where, config):
        with Box(config) as box:
            status, _, err = box.at(where, "lxc-start")
            self.assertEqual(status, 0, err)
            eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot")
            seen = {}
            for what, question in self.ASKED.items():
                status, out, err = box.ours("lxc-attach", "-e", "--clear-env", "--", "sh", "-c", question)
                self.assertEqual(status, 0, (what, err))
                seen[what] = out.replace(box.path, "BOX").splitlines()
            for name in re.findall("lxc.cgroup.([a-z_.]+)", config):
                seen[name] = box.ours("lxc-cgroup", name)[1].splitlines()
        fields = "Umask|[TU]gid|[UG]id|Groups|NStgid|Cap|NoNewPrivs|Seccomp|Sig(Blk|Ign)|Cpus_allowed:|THP"
        seen["status"] = [line for line in seen["status"] if re.match(fields, line)]
        # Where, of what, and with which options; neither the order nor numbers, nor whether it is shared.
        mounts = {}
        for line in seen["mounts"]:
            of, place, options = line.split()[3:6]
            kind, source, more = line.split(" - ")[1].split()
            mounts[place] = (of, set(options.split(",")), kind, source, more)
        seen["mounts"] = mounts
        # Without link counts and times.
        for what in ("devices", "root"):
            entries, folder = {}, ""
            for line in seen[what]:
                words = line.split()
                if len(words) == 1:
                    folder = line.rstrip(":") + "/"
                elif len(words) > 8:
                    # A node has two numbers where others have a size; a link says where it leads.
                    node = words[0][0] in "bc"
                    at = 9 if node else 8
                    entries[folder + words[at]] = [words[0], *words[2:4], *(words[4:6] if node else []), *words[at + 1:]]
            seen[what] = entries
        return seen

    def compare(self, config):
        theirs, ours = (self.look(where, config) for where in (DEBIAN, BIN))
        for seen in (theirs, ours):
            self.assertEqual(len(seen["mounts"]["/"]), 5)
        # /proc/sys is closed in parts, /dev/ptmx is a link, the boot id another file, and /dev is nosuid.
        for seen in (theirs, ours):
            boot = seen["mounts"].pop("/proc/sys/kernel/random/boot_id")
            self.assertTrue({"ro", "nosuid", "nodev", "noexec"} <= boot[1])
            parts = {place: seen["mounts"].pop(place) for place in list(seen["mounts"]) if place.startswith("/proc/sys")}
            self.assertTrue(all("ro" in one[1] for place, one in parts.items() if place != "/proc/sys/net"), parts)
        self.assertEqual(theirs["mounts"].pop("/dev/ptmx")[0], "/ptmx")
        self.assertEqual(ours["devices"].pop("/dev/ptmx")[-1], "pts/ptmx")
        self.assertEqual(theirs["devices"].pop("/dev/ptmx")[0], "crw-rw-rw-")
        self.assertEqual(ours["mounts"]["/dev"][1] - theirs["mounts"]["/dev"][1], {"nosuid"})
        for seen in (theirs, ours):
            seen["mounts"]["/dev"] = seen["mounts"]["/dev"][4]
            # Its nodes are an empty directory's for who mounts there.
            for name in ("/dev/shm", "/dev/mqueue", "/dev/.lxc-boot-id", "/dev/.condroid"):
                seen["devices"].pop(name, None)
            # Terminals are of root and its group, or of tty's; the console is 0700 with LXC.
            for name, entry in seen["devices"].items():
                if entry[0][0] == "c" and "136," in entry:
                    self.assertEqual((entry[1], entry[2]), ("0", "5" if seen is theirs else "0"), name)
                    self.assertIn(entry[0], ("crw--w----", "crwx------") if seen is theirs else ("crw--w----",), name)
                    entry[0], entry[2] = "its mode", "its group"
        self.assertEqual([e for e in ours["environment"] if e.startswith("container_ttys=")], ["container_ttys=pts/1 pts/2 pts/3"])
        ours["environment"] = [e for e in ours["environment"] if not e.startswith("container_ttys=")]
        for seen in (theirs, ours):
            seen["environment"].sort()
        for what in ours:
            with self.subTest(what):
                self.assertTrue(theirs[what])
                self.assertEqual(ours[what], theirs[what])

    def test_without_and_with_an_id_map(self):
        limits = "" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else self.LIMITS
        for ids in ("", self.IDS):
            with self.subTest(ids=ids):
                self.compare(self.CONFIG + limits + ids)

    def test_settings_of_the_kernel(self):
        # Those that are its own, where LXC finds /proc/sys closed already.
        with started(BIN, "lxc.sysctl.kernel.msgmax = 9000\n") as box:
            self.assertEqual(box.ours("lxc-attach", "--", "cat", "/proc/sys/kernel/msgmax")[1], "9000\n")
            self.assertNotEqual(read("/proc/sys/kernel/msgmax"), "9000\n")
            self.assertNotEqual(box.ours("lxc-attach", "--", "sh", "-c", "echo 1 >/proc/sys/kernel/msgmax")[0], 0)


class Signals(unittest.TestCase):
    """What lxc-start -F makes of a signal, on a terminal."""

    INIT = "#!/bin/sh\n" + "".join(f"trap 'echo got {s}; exit 0' {s}\n" for s in ("TERM", "INT", "QUIT", "HUP", "PWR", "USR1")) + ": >/booted\nwhile :; do sleep 0.1; done\n"

    def started(self, where, box):
        user = Terminal(f"{where}/lxc-start", "-P", box.path, "-F", "-n", box.name)
        with contextlib.ExitStack() as undo:
            undo.enter_context(user)
            eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot")
            eventually(user.raw, "a raw terminal")
            undo.pop_all()
        os.remove(f"{box.root}/booted")
        return user

    def nothing_left(self, box, user, pid):
        self.assertTrue(user.restored())
        self.assertEqual(box.state(), "STOPPED")
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertEqual([p for p in glob.glob("/sys/fs/cgroup/**/*", recursive=True) if f"/{box.name}." in p], [])
        self.assertNotIn(box.path, read("/proc/mounts"))
        # Who restores a terminal is gone, too.
        self.assertNotIn(box.path, run("ps", "-eo", "args")[1])

    def test_each(self):
        for name, got in (("TERM", "TERM"), ("INT", "INT"), ("HUP", "TERM"), ("QUIT", "QUIT"), ("PWR", "PWR"), ("USR1", "USR1")):
            for where in (BIN, DEBIAN):
                # LXC takes SIGTERM for its own where it has a terminal: it kills the container and fails.
                if (where, name) == (DEBIAN, "TERM"):
                    continue
                with self.subTest(name, where=where), Box(init=self.INIT, name=f"signal-{os.getpid()}") as box:
                    with self.started(where, box) as user:
                        pid = box.ours("lxc-info", "-pH")[1].strip()
                        user.process.send_signal(getattr(signal, f"SIG{name}"))
                        self.assertEqual(user.process.wait(60), 0)
                        user.until(f"got {got}\r")
                        if where == BIN:
                            self.nothing_left(box, user, pid)

    def test_a_size(self):
        for where in (BIN, DEBIAN):
            with self.subTest(where), Box(init=self.INIT) as box, self.started(where, box) as user:
                seen = lambda at=box: at.ours("lxc-attach", "--", "sh", "-c", "stty size </dev/console")[1]
                self.assertEqual(seen(), "33 91\n")
                fcntl.ioctl(user.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 99, 0, 0))
                user.process.send_signal(signal.SIGWINCH)
                eventually(lambda: seen() == "44 99\n", "the new size")
                self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                user.process.wait(60)

    def test_one_that_cannot_be_caught(self):
        with Box(init=self.INIT, name=f"signal-{os.getpid()}") as box, self.started(BIN, box) as user:
            pid = box.ours("lxc-info", "-pH")[1].strip()
            user.process.kill()
            user.process.wait(60)
            eventually(lambda: not os.path.exists(f"/proc/{pid}") and user.restored(), "its end")
            eventually(lambda: not [p for p in glob.glob("/sys/fs/cgroup/**/*", recursive=True) if f"/{box.name}." in p], "the end of its cgroups")
            self.nothing_left(box, user, pid)
            # The name is free.
            self.assertEqual(box.ours("lxc-start"), (0, "", ""))


class Terminals(unittest.TestCase):
    def lxc(self, tool, box, *args):
        return Terminal(f"{BIN}/{tool}", "-P", box.path, "-n", box.name, *args)

    def test_a_console_in_the_foreground(self):
        with Box() as box, self.lxc("lxc-start", box, "-F", "--", "/bin/sh") as user:
            eventually(user.raw, "a raw terminal")
            user.type("stty size; echo sa''id\n")
            self.assertIn("33 91", user.until("\nsaid"))
            user.type("exit\n")
            self.assertEqual(user.process.wait(60), 0)
            self.assertTrue(user.restored())

    def test_a_terminal_is_restored_after_sigkill(self):
        for tool, args in (("lxc-start", ("-F",)), ("lxc-attach", ()), ("lxc-console", ("-t", "0"))):
            with Box() as box:
                if tool != "lxc-start":
                    self.assertEqual(box.ours("lxc-start")[0], 0)
                with self.lxc(tool, box, *args) as user:
                    eventually(user.raw, f"{tool}: a raw terminal")
                    user.process.kill()
                    user.process.wait()
                    eventually(user.restored, f"{tool}: the terminal as it was")

    def test_attach(self):
        with started() as box:
            with self.lxc("lxc-attach", box, "--", "sh", "-c", "tty; stty size; read x; echo got $x; exit 3") as user:
                self.assertIn("/dev/pts/", user.until("33 91"))
                user.type("a\n")
                user.until("got a")
                self.assertEqual(user.process.wait(60), 3)
                self.assertTrue(user.restored())

    def test_console(self):
        for where in (BIN, DEBIAN):
            with self.subTest(where), started(where, "lxc.tty.max = 1\n") as box:
                for number, file in (("1", "tty1"), ("0", "console")):
                    with self.lxc("lxc-console", box, "-t", number) as user:
                        user.until(f"Connected to tty {number}")
                        eventually(user.raw, "a raw terminal")
                        # Both ways, with its size.
                        script = f"exec </dev/{file} >/dev/{file}; stty size 2>&1; echo ready; read x; echo got $x"
                        inside = subprocess.Popen([f"{BIN}/lxc-attach", "-P", box.path, "-n", box.name, "--", "sh", "-c", script],
                                                  stdin=subprocess.DEVNULL)
                        try:
                            # LXC does not pass the size of who looks at a console on, for its own either.
                            self.assertIn("33 91" if (where, number) != (DEBIAN, "0") else "", user.until("ready"))
                            user.type("some words\r")
                            user.until("got some words")
                            self.assertEqual(inside.wait(60), 0)
                        finally:
                            inside.kill()
                            inside.wait()
                        if number != "0":
                            self.assertEqual(box.ours("lxc-console", "-t", number)[0], 1)
                        user.type("\x01q")
                        self.assertEqual(user.process.wait(60), 0)
                        self.assertTrue(user.restored())


class LegacyBox(Box):
    """A container with busybox' own init and a configuration as it was written for LXC 1.0: four terminals, pseudo terminals of its
    own, limits of blkio and cpuset."""

    CONFIG = """# as lxc-create of LXC 1.0 left it
lxc.utsname = web
lxc.rootfs = ROOT
lxc.tty = 4
lxc.pts = 1024
lxc.arch = MACHINE
lxc.mount.auto = proc:mixed sys:ro
lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0
lxc.cap.drop = sys_module mac_admin mac_override sys_time
lxc.aa_profile = unconfined
lxc.haltsignal = SIGUSR1
lxc.rebootsignal = SIGTERM
lxc.pivotdir = lxc_putold
lxc.network.type = empty
lxc.network.flags = up
"""
    INITTAB = """::sysinit:/etc/rc
tty1::respawn:/sbin/getty -n -l /bin/sh -L tty1 115200 vt100
tty2::askfirst:/bin/sh
tty3::askfirst:/bin/sh
tty4::respawn:/bin/sh
"""

    def __init__(self):
        super().__init__()
        os.remove(f"{self.root}/sbin/init")
        for applet in ("init", "getty"):
            os.symlink("/bin/busybox", f"{self.root}/sbin/{applet}")
        self.write(f"{self.root}/etc/inittab", self.INITTAB)
        self.write(f"{self.root}/etc/rc", "#!/bin/sh\n: >/booted\n", 0o755)
        config = self.CONFIG.replace("ROOT", self.root).replace("MACHINE", os.uname().machine)
        self.write(self.config, config + "".join(f"lxc.cgroup.{name} = {value}\n" for name, value in self.limits().items()))

    @staticmethod
    def limits():
        """Those of version 1 that this kernel has; on a machine with version 2 alone they are passed over."""
        limits = {"cpuset.cpus": "0", "cpuset.mems": "0"}
        there = "/sys/fs/cgroup/blkio"
        for name in ("blkio.weight", "blkio.bfq.weight"):
            if os.path.exists(f"{there}/{name}"):
                limits[name] = "500"
                break
        disks = [d for d in sorted(os.listdir("/sys/block")) if os.path.exists(f"/sys/block/{d}/device")]
        if disks:
            limits["blkio.throttle.read_bps_device"] = read(f"/sys/block/{disks[0]}/dev").strip() + " 104857600"
        return limits


class Legacy(unittest.TestCase):
    """A whole container of LXC 1.0's time: its terminals, its limits, its ends."""

    def check_terminal(self, box, where, number):
        with Terminal(f"{where}/lxc-console", "-P", box.path, "-n", box.name, "-t", str(number)) as user:
            user.until(f"Connected to tty {number}", 20)
            eventually(user.raw, "a raw terminal", 20)
            # The shell may have printed its prompt long ago, or be asked for first. A getty that comes later throws
            # away what was typed before.
            said = ""
            def answers():
                nonlocal said
                user.type(f"\necho on $((40 + {number})), $(tty)\n")
                with contextlib.suppress(AssertionError):
                    said = user.until(f"on {40 + number}, ", 2) + user.until("\n", 20)
                return said
            eventually(answers, "an answer", 40)
            self.assertRegex(said, "/dev/(tty|pts)")
            user.type("stty size\n")
            user.until("33 91", 20)
            user.type("\x01q")
            self.assertEqual(user.process.wait(60), 0)
            self.assertTrue(user.restored())

    def check(self, box, *tools):
        """Of one that runs, by the programs in these directories."""
        self.assertEqual(box.state(), "RUNNING")
        self.assertEqual(box.ours("lxc-info", "-c", "lxc.tty.max", "-c", "lxc.pty.max")[1], "lxc.tty.max = 4\nlxc.pty.max = 1024\n")
        for number in (1, 2, 3, 4):
            for where in tools:
                with self.subTest(where=where, number=number):
                    self.check_terminal(box, where, number)
        for where in tools:
            self.assertEqual(box.at(where, "lxc-console", "-t", "5")[0], 1)
        mounts = [line.split() for line in box.ours("lxc-attach", "--", "cat", "/proc/mounts")[1].splitlines()]
        (options,) = (of[3].split(",") for of in mounts if of[1:3] == ["/dev/pts", "devpts"])
        self.assertTrue({"gid=5", "mode=620", "ptmxmode=666", "max=1028"} <= set(options), options)
        # All of the container's: none of the host's is there.
        names = box.ours("lxc-attach", "--", "ls", "/dev/pts")[1].split()
        self.assertLess(set(names), {"ptmx", *map(str, range(10))})
        for name, value in box.limits().items():
            if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
                break
            for where in tools:
                self.assertEqual(box.at(where, "lxc-cgroup", name)[1].strip(), value, name)
            controller = name.split(".")[0]
            pid = box.ours("lxc-info", "-pH")[1].strip()
            (at,) = (line.split(":", 2)[2] for line in read(f"/proc/{pid}/cgroup").splitlines() if line.split(":")[1] == controller)
            self.assertEqual(read(f"/sys/fs/cgroup/{controller}{at}/{name}").strip(), value)

    def booted(self, box):
        eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot", 60)
        os.remove(f"{box.root}/booted")
        return box.ours("lxc-info", "-pH")[1]

    def test_its_life(self):
        with LegacyBox() as box:
            status, _, err = box.ours("lxc-start")
            self.assertEqual(status, 0, err)
            first = self.booted(box)
            self.check(box, BIN)
            self.assertEqual(box.ours("lxc-stop", "-r", "-t", "60"), (0, "", ""))
            second = self.booted(box)
            self.assertNotEqual(second, first)
            # LXC 5.0 reads no old words, not even to ask.
            self.assertEqual(box.at(DEBIAN, "lxc-info")[0], 1)
            self.assertEqual(run(f"{BIN}/lxc-update-config", "-c", box.config)[0], 0)
            self.check(box, BIN, DEBIAN)
            # From inside: its init ends all and asks the kernel.
            self.assertIn(box.ours("lxc-attach", "--", "reboot")[0], (0, 128 + signal.SIGTERM, 128 + signal.SIGKILL))
            self.assertNotEqual(self.booted(box), second)
            eventually(lambda: box.state() == "RUNNING", "RUNNING", 20)
            asked = time.monotonic()
            self.assertEqual(box.ours("lxc-stop", "-t", "100", timeout=200), (0, "", ""))
            self.assertLess(time.monotonic() - asked, 90)  # it was not killed
            self.assertEqual(box.state(), "STOPPED")

    def test_debians_does_the_same_with_what_lxc_update_config_makes_of_it(self):
        with LegacyBox() as box:
            self.assertEqual(run(f"{BIN}/lxc-update-config", "-c", box.config)[0], 0)
            status, _, err = box.at(DEBIAN, "lxc-start")
            self.assertEqual(status, 0, err)
            self.booted(box)
            self.check(box, BIN, DEBIAN)
            self.assertEqual(box.ours("lxc-stop", "-t", "60"), (0, "", ""))


class WaydroidBox(Box):
    """What Waydroid has below /var/lib/waydroid: the directory lxc with its files of configuration, written as `waydroid init` and
    each start of a session do, and rootfs, an overlay that it mounts; a shell in the place of Android's init. In a network of its own."""

    KEPT = ("audit_control sys_nice wake_alarm setpcap setgid setuid sys_ptrace sys_admin wake_alarm block_suspend sys_time net_admin net_raw "
            "net_bind_service kill dac_override dac_read_search fsetid mknod syslog chown sys_resource fowner ipc_lock sys_chroot")
    BASE = """# Waydroid's
lxc.rootfs.path = ROOTFS
lxc.arch = LXCARCH
lxc.autodev = 0
# lxc.autodev.tmpfs.size = 25000000

lxc.cap.keep = KEPT

lxc.mount.auto = cgroup:ro sys:ro proc

lxc.console.path = none

lxc.include = LXC/config_nodes
lxc.include = LXC/config_session

lxc.hook.post-stop = LXC/waydroid-post-stop.sh
"""
    SNIPPETS = {1: """lxc.utsname = waydroid
lxc.aa_profile = unconfined
lxc.seccomp = LXC/waydroid.seccomp
lxc.init_cmd = /init
lxc.no_new_privs = 1
lxc.network.type = veth
lxc.network.flags = up
lxc.network.link = waydroid0
lxc.network.name = eth0
lxc.network.hwaddr = 00:16:3e:f9:d3:03
lxc.network.mtu = 1500
lxc.pts = 10
""", 3: """lxc.uts.name = waydroid
lxc.apparmor.profile = unconfined
lxc.seccomp.profile = LXC/waydroid.seccomp
lxc.init.cmd = /init
lxc.no_new_privs = 1
lxc.net.0.type = veth
lxc.net.0.flags = up
lxc.net.0.link = waydroid0
lxc.net.0.name = eth0
lxc.net.0.hwaddr = 00:16:3e:f9:d3:03
lxc.net.0.mtu = 1500
lxc.pty.max = 10
""", 4: "lxc.seccomp.allow_nesting = 1\n"}
    SECCOMP = """2
blacklist
init_module
finit_module
delete_module
_sysctl
kexec_file_load
kexec_load
reboot
open_by_handle_at errno 38
adjtimex errno 0
clock_adjtime errno 0
clock_adjtime64 errno 0
clock_settime errno 0
clock_settime64 errno 0
settimeofday errno 0
stime errno 0
add_key errno 0
keyctl errno 0
request_key errno 0
swapoff errno 0
swapon errno 0
"""
    # As Android's, it has no PATH of its own to rely on.
    INIT = """#!/bin/sh
export PATH=/bin:/sbin
echo booted
: >/data/booted
while :; do sleep 1 & wait $!; done
"""

    def __init__(self, inside, versions=(3, 4), address="00:16:3e:f9:d3:03"):
        super().__init__(name="waydroid")
        self.inside = inside
        self.lxc, self.system, self.rootfs = f"{self.path}/waydroid", self.root, f"{self.path}/rootfs"
        for name in ("rootfs", "overlay_rw", "overlay_work", "userdata/system/environ", "host-permissions", "session/pulse"):
            os.makedirs(f"{self.path}/{name}")
        for name in ("mnt_extra", "var", "run", "vendor/etc/host-permissions", "system/bin", "system/etc"):
            os.makedirs(f"{self.system}/{name}")
        os.symlink("/bin/busybox", f"{self.system}/system/bin/cat")
        for applet in ("ip", "uname", "swapoff", "umount"):
            os.symlink("busybox", f"{self.system}/bin/{applet}")
        self.write(f"{self.system}/init", self.INIT, 0o755)
        self.write(f"{self.path}/userdata/system/environ/classpath", "export BOOTCLASSPATH /a.jar:/b.jar\nexport EXTERNAL /c\n")
        for name in ("wayland-0", "pulse/native"):
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(f"{self.path}/session/{name}")
        self.write(f"{self.lxc}/waydroid.seccomp", self.SECCOMP)
        self.write(f"{self.lxc}/waydroid-post-stop.sh", f"""#!/bin/sh
echo "$LXC_TARGET" >>{self.path}/targets
[ "$LXC_TARGET" = stop ]
""", 0o755)
        config = self.BASE + "".join(self.SNIPPETS[v] for v in versions)
        for word, value in (("ROOTFS", self.rootfs), ("LXCARCH", os.uname().machine), ("KEPT", self.KEPT), ("LXC/", self.lxc + "/"),
                            ("00:16:3e:f9:d3:03", address)):
            config = config.replace(word, value)
        self.write(self.config, config)
        self.write(f"{self.lxc}/config_nodes", self.nodes())
        self.write(f"{self.lxc}/config_session", "")
        self.put("ip", "link", "add", "waydroid0", "type", "bridge")
        self.put("ip", "link", "set", "waydroid0", "up")
        self.put("mount", "-t", "overlay", "-o", f"lowerdir={self.system},upperdir={self.path}/overlay_rw,workdir={self.path}/overlay_work",
                 "overlay", self.rootfs)

    @staticmethod
    def entry(source, target=None, kind="none", options="bind,create=file,optional"):
        return f"lxc.mount.entry = {source} {target or source.lstrip('/')} {kind} {options} 0 0\n"

    def nodes(self):
        """All that are there on any machine: those that are not here are passed over."""
        entry, text = self.entry, self.entry("tmpfs", "dev", "tmpfs", "nosuid")
        for name in "zero null full ashmem fuse ion tty".split():
            text += entry(f"/dev/{name}")
        text += entry("/dev/char", options="bind,create=dir,optional")
        for name in "kgsl-3d0 mali0 pvr_sync pmsg0 dxg dri/renderD128 fb0 graphics/fb0 video0 dma_heap/system".split():
            text += entry(f"/dev/{name}")
        for name in ("binder", "vndbinder", "hwbinder"):
            text += entry(f"/dev/anbox-{name}", f"dev/{name}")
        text += entry("/dev/hwbinder", "dev/host_hwbinder") + entry("/vendor", "vendor_extra", options="rbind,optional")
        text += entry("none", "dev/pts", "devpts", "defaults,mode=644,ptmxmode=666,create=dir")
        text += entry("/dev/uhid") + entry("/dev/net/tun", "dev/tun")
        text += entry("/sys/module/lowmemorykiller", options="bind,create=dir,optional")
        text += entry(f"{self.path}/host-permissions", "vendor/etc/host-permissions", options="bind,optional")
        text += entry("/dev/sw_sync") + entry("/sys/kernel/debug", options="rbind,create=dir,optional")
        for name in ("class/leds/vibrator", "devices/virtual/timed_output/vibrator"):
            text += entry(f"/sys/{name}", options="bind,create=dir,optional")
        for name in "Vcodec MTK_SMI mdp_sync mtk_cmdq".split():
            text += entry(f"/dev/{name}")
        text += entry("tmpfs", "mnt_extra", "tmpfs", "nodev") + entry("/mnt/wslg", "mnt_extra/wslg", options="rbind,create=dir,optional")
        for name in ("tmp", "var", "run"):
            text += entry("tmpfs", name, "tmpfs", "nodev")
        return text + entry("/system/etc/libnfc-nci.conf", options="bind,optional")

    def write_session(self):
        """Written anew at each start."""
        text = self.entry("tmpfs", "/run/xdg", options="create=dir")
        for name in ("wayland-0", "pulse/native"):
            text += self.entry(f"{self.path}/session/{name}", f"run/xdg/{name}", options="rbind,create=file")
        self.write(f"{self.lxc}/config_session", text + self.entry(f"{self.path}/userdata", "data", options="rbind"))

    def put(self, *command):
        done = run(*self.inside, *command)
        assert done[0] == 0, (command, done)
        return done[1]

    def command(self, where, tool, *args):
        return [*self.inside, f"{where}/{tool}", "-P", self.path, "-n", self.name, *args]

    def at(self, where, tool, *args, **more):
        return run(*self.command(where, tool, *args), **more)

    def status(self, where):
        """As Waydroid asks for it."""
        status, out, _ = self.at(where, "lxc-info", "-sH")
        return out.strip() if status == 0 else "STOPPED"

    @contextlib.contextmanager
    def session(self, where):
        """What it runs for one, with pipes that it reads."""
        self.write_session()
        process = subprocess.Popen(self.command(where, "lxc-start", "-F", "--", "/init"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        try:
            eventually(lambda: self.status(where) == "RUNNING", "RUNNING")
            eventually(lambda: os.path.exists(f"{self.path}/userdata/booted"), "boot")
            yield process
        finally:
            if process.poll() is None:
                self.at(where, "lxc-stop", "-k")
            process.communicate(timeout=60)

    def __exit__(self, *_):
        if self.state() != "STOPPED":
            self.ours("lxc-stop", "-k")
        run(*self.inside, "umount", "-l", self.rootfs)
        super().__exit__()


class Waydroid(unittest.TestCase):
    """Waydroid's files, started for real, and the commands of its helpers/lxc.py, in their order, with what it makes of their output."""

    @contextlib.contextmanager
    def box(self, *args, **more):
        with own_network() as inside, WaydroidBox(inside, *args, **more) as box:
            yield box

    def look(self, box, where):
        """What there is inside, by one's programs."""
        def said(*command):
            status, out, err = box.at(where, "lxc-attach", "--clear-env", "--", "/bin/busybox", *command)
            self.assertEqual(status, 0, (command, err))
            return out
        seen = {line.split(":")[0]: line.split()[1:] for line in said("cat", "/proc/1/status").splitlines()
                if re.match("Cap|NoNewPrivs|Seccomp:", line)}
        seen["environment"] = sorted(said("cat", "/proc/1/environ").split("\0"))
        seen["command"] = said("cat", "/proc/1/cmdline").split("\0")
        seen["host"] = said("uname", "-nm")
        link = said("ip", "link", "show", "eth0")
        # A terminal is to be had, from the devpts that is there.
        seen["terminals"] = said("sh", "-c", "exec 3<>/dev/ptmx; ls /dev/pts")
        seen["link"] = [re.search(f"{word} (\\S+)", link)[1] for word in ("mtu", "link/ether")], "LOWER_UP" in link
        seen["files"] = set(said("find", "/dev", "/run", "/mnt_extra", "/tmp", "/var", "-xdev").split())
        seen["mounts"] = {}
        for _, target, kind, options, *_ in (line.split() for line in said("cat", "/proc/mounts").splitlines()):
            if not target.startswith(("/proc/", "/sys/fs/cgroup")):
                words = {w for w in options.split(",") if not w.startswith(("lowerdir=", "upperdir=", "workdir="))}
                seen["mounts"][target] = kind, sorted(words - {"relatime"})
        return seen

    def test_each_version_of_its_configuration_is_what_lxc_makes_of_it(self):
        seen = []
        for where, versions, address in ((DEBIAN, (3, 4), "00:16:3e:f9:d3:03"), (BIN, (3, 4), "00:16:3e:f9:d3:03"),
                                         (BIN, (3,), "00:16:3e:f9:d3:03"), (BIN, (1,), "00:16:3e:12:34:56")):
            with self.subTest(where=where, versions=versions), self.box(versions, address) as box, box.session(where):
                there = self.look(box, where)
                self.assertEqual(there.pop("link"), (["1500", address], True))
                self.assertEqual((there["NoNewPrivs"], there["Seccomp"], there["command"]), (["1"], ["2"], ["/bin/sh", "/init", ""]))
                # The kernel's own file systems have nothing to be kept from.
                kind, options = there["mounts"]["/sys"]
                there["mounts"]["/sys"] = kind, "ro" in options
                # LXC leaves empty files, too, where something optional is missing.
                files = there.pop("files")
                self.assertLessEqual({"/dev/ptmx", "/dev/pts", "/dev/null", "/mnt_extra", "/run/xdg/wayland-0", "/run/xdg/pulse/native", "/tmp",
                                      "/var"}, files)
                self.assertEqual("/dev/binder" in files, where == DEBIAN)
                seen.append(there)
                self.assertEqual(there, seen[0])
                self.assertEqual(box.at(where, "lxc-stop", "-k")[0], 0)

    def report(self, where):
        """What fake-init finds in the place of Android's init, a set of "name=value"."""
        with self.box() as box:
            shutil.copy(FAKE_INIT, f"{box.system}/init")
            box.write_session()
            with subprocess.Popen(box.command(where, "lxc-start", "-F", "--", "/init"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True) as session:
                try:
                    lines = set()
                    for line in session.stdout:
                        # The numbers that change from start to start.
                        lines.add(re.sub(r"size=\d+k|inode\d+", "", line.rstrip("\n").replace(box.path, "PATH")))
                        if line == "ready=yes\n":
                            break
                    self.assertIn("ready=yes", lines)
                    # Of LXC's it is not, until its parent has gone on.
                    eventually(lambda: box.status(where) == "RUNNING", "RUNNING")
                    self.assertEqual(box.at(where, "lxc-stop", "-k")[0], 0)
                    self.assertEqual(session.wait(60), 0)
                finally:
                    if session.poll() is None:
                        session.kill()
                        box.at(where, "lxc-stop", "-k")
                self.assertEqual(box.status(where), "STOPPED")
        return lines

    # What is not the same under ours, and why. Of each the lines of LXC's report alone, and those of ours.
    OTHER = [
        ("what is optional and missing leaves no empty file or directory: Android takes a file for a driver",
         r"(binder:/dev/\w+=ENOTTY|dir:/dev/(char|dma_heap|dri|graphics)=.*)", r"binder:/dev/\w+=ENOENT"),
        ("without lxc.autodev /dev is what the configuration makes of it", r"link:/dev/(fd|std(in|out|err))=/proc/self/fd(/\d)?", None),
        ("a devpts below the container's own is covered, not unmounted", None,
         r"(mount:/dev/pts=devpts rw,relatime|super:/dev/pts=rw,mode=644,ptmxmode=666)"),
        ("of /proc/sys each directory but net is read-only, by a mount of its own", r"(mount|super):/proc/sys(/net)?=.*",
         r"(mount|super):/proc/sys/(?!net=)[^/=]+=.*"),
        ("/sys is mounted with nosuid, nodev and noexec; the mount is read-only, and not the file system", r"(mount|super):/sys=.*",
         r"(mount:/sys=sysfs ro,nosuid,nodev,noexec,relatime|super:/sys=rw)"),
    ]

    def test_the_report_of_fake_init_is_lxcs(self):
        theirs, ours = self.report(DEBIAN), self.report(BIN)
        for which, alone in ((1, theirs - ours), (2, ours - theirs)):
            for line in alone:
                self.assertTrue(any(other[which] and re.fullmatch(other[which], line) for other in self.OTHER),
                                f"under {('LXC', 'ours')[which - 1]} alone: {line}")
            for other in self.OTHER:
                if other[which]:
                    self.assertTrue(any(re.fullmatch(other[which], line) for line in alone), f"not so any more: {other[0]}")
        # The rest is no small talk: its rights, its filter, its mounts, its nodes.
        for name in ("CapBnd", "Seccomp", "call:init_module", "call:clock_settime", "mount:/data", "node:/dev/null", "hidden:/proc/kcore", "write:/data/"):
            self.assertTrue(any(line.startswith(name) for line in theirs & ours), name)

    def test_a_session(self):
        lxc = run(f"{BIN}/lxc-info", "--version")
        self.assertEqual((lxc[0], lxc[1].count("\n"), int(lxc[1][0])), (0, 1, 5))  # more than one digit would be another version
        with self.box((3, 4)) as box:
            self.assertEqual(box.ours("lxc-info", "-sH"), (0, "STOPPED\n", ""))
            for tool, args, status in (("lxc-stop", ("-k",), 2), ("lxc-freeze", (), 1), ("lxc-unfreeze", (), 0), ("lxc-attach", ("--", "true"), 1)):
                self.assertEqual((box.ours(tool, *args)[0], box.at(DEBIAN, tool, *args)[0]), (status, status), tool)
            self.assertEqual(run("awk", '$1 == "lxc.net.0.link" {print $3}', box.config)[1], "waydroid0\n")
            with box.session(BIN) as session:
                mode = os.fstat(session.stdout.fileno()).st_mode
                for _ in range(50):  # it does not sleep between them
                    self.assertEqual(box.ours("lxc-info", "-sH"), (0, "RUNNING\n", ""))
                self.assertEqual(box.put("ip", "-o", "link", "show", "master", "waydroid0").count("LOWER_UP"), 1)
                self.check_shell(box)
                self.assertEqual(box.ours("lxc-freeze"), (0, "", ""))
                self.assertEqual(box.status(BIN), "FROZEN")
                # Before a shell and after it.
                self.assertEqual(box.ours("lxc-unfreeze"), (0, "", ""))
                self.assertEqual(box.status(BIN), "RUNNING")
                self.assertEqual(box.ours("lxc-freeze"), (0, "", ""))
                self.assertEqual(box.ours("lxc-stop", "-k"), (0, "", ""))
                while box.status(BIN) != "STOPPED":
                    pass
                # At once: nothing of the guest may hold them any more.
                box.put("ip", "link", "del", "waydroid0")
                box.put("umount", box.rootfs)
                self.assertEqual(session.wait(60), 0)
                self.assertEqual(read(f"{box.path}/targets"), "stop\n")
                # LXC takes the rights from a pipe that is not its own.
                self.assertEqual(os.fstat(session.stdout.fileno()).st_mode, mode)
                self.assertIn("booted\n", session.stdout.read())

    @staticmethod
    def labels():
        parameter = "/sys/module/apparmor/parameters/enabled"
        return os.path.exists("/sys/fs/selinux/enforce") or os.path.exists(parameter) and read(parameter) == "Y\n"

    def check_shell(self, box):
        """What `waydroid shell` and `waydroid logcat` run."""
        status, out, _ = box.ours("lxc-attach", "--clear-env", "--", "/system/bin/cat", "/data/system/environ/classpath")
        exports = dict(line.split(" ", 2)[1:] for line in out.splitlines())
        self.assertEqual((status, exports), (0, {"BOOTCLASSPATH": "/a.jar:/b.jar", "EXTERNAL": "/c"}))
        self.assertNotEqual(box.ours("lxc-attach", "--clear-env", "--", "/system/bin/cat", "/data/nothing")[0], 0)
        variables = {**exports, "PATH": "/bin:/system/bin", "ANDROID_ROOT": "/system", "SPACES": "a b", **{f"V{i}": "x" * 1500 for i in range(10)}}
        words = [w for name, value in variables.items() for w in ("--set-var", f"{name}={value}")]
        # In its own cgroup of version 2 LXC makes one more, .lxc, for those who come later.
        script = ("env | sort; id -u; id -g; grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; "
                  "sed -n 's/^0::.*//; /./p' /proc/self/cgroup; exit 7")
        # Of no meaning where there is no security module.
        context = ("--context=u:r:shell:s0",) if not self.labels() else ()
        for options in ((), ("--uid=2000",), ("--uid=2000", "--gid=2000"), ("--elevated-privileges=CAP",), ("--elevated-privileges=LSM",),
                        ("--elevated-privileges=CGROUP",), ("--elevated-privileges=LSM|CAP|CGROUP",), context):
            ours, theirs = (box.at(where, "lxc-attach", "--clear-env", *words, *options, "--", "/bin/busybox", "sh", "-c", script)
                            for where in (BIN, DEBIAN))
            with self.subTest(options=options):
                self.assertEqual(ours[:2], theirs[:2])
                self.assertEqual((ours[0], ours[1].count("x" * 1500)), (7, 10), ours)
        # The policy kills, or pretends.
        for command, status in (("reboot -f", 128 + signal.SIGSYS), ("swapoff /dev/null", 0)):
            for where in (BIN, DEBIAN):
                self.assertEqual(box.at(where, "lxc-attach", "--clear-env", "--", "/bin/busybox", *command.split())[0], status, command)
        with Terminal(*box.command(BIN, "lxc-attach", "--clear-env", *words, "--uid=0", "--", "/bin/sh")) as user:
            eventually(user.raw, "a raw terminal", 20)
            user.type("stty size; echo $SPACES''!\n")
            self.assertIn("33 91", user.until("\na b!", 20))
            user.type("exit 5\n")
            self.assertEqual(user.process.wait(20), 5)
            self.assertTrue(user.restored())

    def test_its_hook_says_that_a_reboot_is_an_end(self):
        for where in (DEBIAN, BIN):
            with Box('lxc.hook.post-stop = sh -c "echo $LXC_TARGET >>TOLD; [ $LXC_TARGET = stop ]"\n') as box:
                box.write(box.config, read(box.config).replace("TOLD", told := f"{box.path}/told"))
                session = subprocess.Popen([f"{where}/lxc-start", "-P", box.path, "-F", "-n", box.name], stdin=subprocess.DEVNULL,
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                eventually(lambda at=box: os.path.exists(f"{at.root}/booted"), "boot", 60)
                self.assertEqual(box.at(where, "lxc-stop", "-W", "-r")[0], 0)
                session.communicate(timeout=60)
                self.assertEqual((read(told), box.state()), ("reboot\n", "STOPPED"))


class CommandLines(unittest.TestCase):
    TOOLS = sorted(os.listdir(BIN))

    def test_wrong_ones_are_one_clear_line(self):
        for tool in self.TOOLS:
            for args in (("--nothing-such",), ("-Y",), ("-n",)):
                status, out, err = run(f"{BIN}/{tool}", *args)
                self.assertEqual((status, out, err.count("\n")), (1, "", 1), (tool, args, err))
                self.assertTrue(err.startswith(f"{tool}: "), err)

    def test_help(self):
        for tool in self.TOOLS:
            status, out, err = run(f"{BIN}/{tool}", "--help")
            self.assertEqual((status, err, out.startswith(f"Usage: {tool} ")), (0, "", True))
            theirs = run(f"{DEBIAN}/{tool}", "--help")
            # Every option that LXC's own help names.
            for option in re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z-]+)", theirs[1] + theirs[2], re.M):
                self.assertRegex(out, rf"{option}\b", tool)
            self.assertEqual(run(f"{BIN}/{tool}", "--version")[1].split()[0], "5.0.2")
            self.assertEqual(out, run(f"{os.path.dirname(BIN)}/condroid-lxc", tool.removeprefix("lxc-"), "-?")[1])

    def test_every_option_of_debians_is_known(self):
        def options(where, tool):
            text = "".join(run(f"{where}/{tool}", "--help")[1:])
            lines = [line for line in text.split("\n") if re.match(r" +-", line)]
            return {o for line in lines for o in re.findall(r"(?:^|,?) +(-[\w?](?=[, ])|--[\w-]+)", line[:32])}
        for tool in sorted(os.listdir(BIN)):
            theirs = options(DEBIAN, tool)
            if tool == "lxc-start":  # written as one
                theirs = {o for o in theirs if not o.startswith("--share-")} | {f"--share-{n}" for n in ("net", "ipc", "uts", "pid")}
            self.assertEqual(theirs - options(BIN, tool), set(), tool)
            if tool not in ("lxc-checkconfig", "lxc-config", "lxc-update-config", "lxc-usernsexec"):  # of which it has no table
                self.assertGreater(len(theirs), 6, tool)

    def test_completion(self):
        script = run(f"{os.path.dirname(BIN)}/condroid-lxc", "--bash-completion")[1]
        asks = "COMP_WORDS=(lxc-stop --no); COMP_CWORD=1; _condroid_lxc; echo ${COMPREPLY[@]}"
        self.assertEqual(run("bash", "-c", f"{script}\n{asks}")[:2], (0, "--nowait --nolock --nokill\n"))

    def test_completion_of_everything(self):
        binary = f"{os.path.dirname(BIN)}/condroid-lxc"
        script = run(binary, "--bash-completion")[1]

        def offered(*words):
            quoted = " ".join(f"'{w}'" for w in words)
            asks = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _condroid_lxc; printf '%s\\n' \"${{COMPREPLY[@]}}\""
            status, out, err = run("bash", "-c", f"{script}\n{asks}", env=dict(os.environ, PATH=f"{BIN}:{os.environ['PATH']}"))
            self.assertEqual((status, [line for line in err.split("\n") if "compopt" not in line and line]), (0, []))
            return out.split("\n")[:-1]
        for tool in self.TOOLS:
            # The same options as its help has, none more and none less.
            named = re.findall(r"^ +(?:-., )?--([a-z-]+)", run(f"{BIN}/{tool}", "--help")[1], re.M)
            self.assertEqual(sorted(o.strip("-=") for o in offered(tool, "--")), sorted(named), tool)
            self.assertEqual(offered("condroid-lxc", tool.removeprefix("lxc-"), "--"), offered(tool, "--"))
        self.assertEqual(sorted(offered("condroid-lxc", "")[:-3]), [tool.removeprefix("lxc-") for tool in self.TOOLS])
        self.assertEqual(offered("lxc-wait", "-s", "ST"), ["STOPPED", "STARTING", "STOPPING"])
        self.assertEqual(offered("lxc-wait", "-s", '"STOPPED|ST'), ["STOPPED|STARTING", "STOPPED|STOPPING"])
        self.assertEqual(offered("lxc-wait", "--state", "=", "FROZ"), ["FROZEN"])
        self.assertEqual(offered("lxc-attach", "-s", "U"), ["UTSNAME", "USER"])
        self.assertEqual(offered("lxc-attach", "-e", "C"), ["CAP", "CGROUP"])
        self.assertEqual(offered("condroid-lxc", "unshare", "-s", "MOUNT|P"), ["MOUNT|PID"])
        self.assertEqual(offered("lxc-ls", "-F", "NAME,ST"), ["NAME,STATE"])
        self.assertEqual(offered("lxc-info", "-l", "D"), ["DEBUG"])
        self.assertIn("busybox", offered("lxc-create", "-t", "bu"))
        self.assertIn("download", offered("lxc-create", "-t", ""))
        self.assertEqual(offered("lxc-start", "--", "w"), [""])
        with Box("lxc.group = one\n") as box:
            at = ("-P", box.path)
            for tool in ("lxc-start", "lxc-destroy", "lxc-info", "lxc-wait"):
                self.assertEqual(offered(tool, *at, "w"), ["web"], tool)
                self.assertEqual(offered(tool, *at, "-n", ""), ["web"], tool)
            for tool in ("lxc-stop", "lxc-attach", "lxc-console", "lxc-freeze", "lxc-unfreeze", "lxc-create", "lxc-ls"):
                self.assertEqual(offered(tool, *at, ""), [""], tool)
            self.assertEqual(offered("lxc-info", *at, "-n", "web", ""), [""])
            self.assertEqual(offered("lxc-autostart", *at, "-g", ""), ["one"])
            for _ in range(2):
                self.assertEqual(box.ours("lxc-snapshot")[0], 0)
            self.assertEqual(offered("lxc-snapshot", *at, "-n", "web", "-r", ""), ["snap0", "snap1"])
            self.assertEqual(offered("lxc-snapshot", *at, "web", "-d", ""), ["ALL", "snap0", "snap1"])
        with started() as box:
            at = ("-P", box.path)
            for tool, names in (("lxc-stop", ["web"]), ("lxc-attach", ["web"]), ("lxc-start", [""]), ("lxc-info", ["web"]), ("lxc-unfreeze", [""])):
                self.assertEqual(offered(tool, *at, "w"), names, tool)
            self.assertEqual(offered("lxc-start", *at, "--share-net", "w"), ["web"])

    def test_words_and_options_mix(self):
        with Box() as box:
            self.assertEqual(run(f"{BIN}/lxc-info", box.name, "-sH", "-P", box.path)[1], "STOPPED\n")
            self.assertEqual(run(f"{BIN}/lxc-info", f"--name={box.name}", "-HsP", box.path)[1], "STOPPED\n")

    def test_destroy(self):
        with started() as box:
            status, _, err = box.ours("lxc-destroy")
            self.assertEqual((status, err.count("\n")), (1, 1))
            self.assertEqual(box.ours("lxc-destroy", "-f")[0], 0)
            self.assertEqual(os.listdir(box.path), [])

    def test_a_log(self):
        with Box() as box:
            log = f"{box.path}/log"
            self.assertEqual(box.ours("lxc-start", "-q", "-o", log, "-l", "DEBUG", "--", "/nothing/such"), (1, "", ""))
            self.assertRegex(read(log), r"lxc-start web [0-9.]+ ERROR +exec: '/nothing/such'")


@contextlib.contextmanager
def own_syslog():
    """The socket at which /dev/log is listened, and what a command begins with that sees it there and nowhere else."""
    script = """set -e
    for n in null zero full random urandom tty ptmx; do : >"$1/dev/$n"; mount --bind /dev/$n "$1/dev/$n"; done
    for n in pts shm; do mkdir "$1/dev/$n"; mount --bind /dev/$n "$1/dev/$n"; done
    ln -s /proc/self/fd "$1/dev/fd"
    : >"$1/dev/log"; mount --bind "$1/socket" "$1/dev/log"; mount --rbind "$1/dev" /dev
    echo; exec cat"""
    with tempfile.TemporaryDirectory() as there, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        os.mkdir(f"{there}/dev")
        log.bind(f"{there}/socket")
        holder = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", there], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert holder.stdout.readline() == b"\n"
            yield log, ("nsenter", "-t", str(holder.pid), "-m")
        finally:
            holder.stdin.close()
            holder.wait(60)
            holder.stdout.close()


class Syslog(unittest.TestCase):
    def start(self, box, where, *args):
        return run(*self.inside, f"{where}/lxc-start", "-P", box.path, "-n", box.name, *args)

    def lines(self):
        """What has come: priority, who, text."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while line := self.log.recv(65536, socket.MSG_DONTWAIT).decode():
                found.append(re.fullmatch(r"<(\d+)>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d (\S+)\[(\d+)\]: (.*?)\0?\n?", line).groups())
        return found

    def test_what_is_logged(self):
        with own_syslog() as (self.log, self.inside), Box() as box:
            # Nothing without the setting.
            self.assertEqual(self.start(box, BIN, "-F", "--", "/nothing/such")[0], 1)
            self.assertEqual(self.lines(), [])
            for word, number in (("daemon", 3), ("local0", 16), ("LOCAL3", 19), ("local7", 23)):
                for where in (BIN, DEBIAN):
                    setting = f"lxc.log.syslog={word}"
                    self.assertEqual(self.start(box, where, "-F", "-s", setting, "--", "/nothing/such")[0], 1)
                    lines = self.lines()
                    self.assertTrue(lines, where)
                    for priority, who, _, text in lines:
                        self.assertEqual((int(priority), who, text.startswith("web: ")), (number * 8 + 3, "lxc-start", True), text)
                    self.assertEqual(self.start(box, where, "-F", "-s", "lxc.log.syslog=mail")[0], 1)

    def test_who_keeps_it_in_the_background(self):
        with own_syslog() as (self.log, self.inside), Box("lxc.log.syslog = local5\nlxc.log.level = INFO\n") as box:
            log = f"{box.path}/log"
            self.assertEqual(self.start(box, BIN, "-s", f"lxc.log.file={log}", "-p", f"{box.path}/pid")[0], 0)
            keeper = read(f"{box.path}/pid")
            eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot", 30)
            # Its end is of level INFO, and told in the background.
            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
            eventually(lambda: not os.path.exists(f"{box.path}/pid"), "the end of who kept it", 30)
            lines = self.lines()
            self.assertIn(("174", "lxc-start", keeper), [line[:3] for line in lines])
            # The file has the same.
            self.assertEqual([line[3].removeprefix("web: ") for line in lines], [line.split(None, 4)[4] for line in read(log).splitlines()])


class Mounts(unittest.TestCase):
    def test_a_table_of_who_keeps_it(self):
        for where in (BIN, DEBIAN):
            for setting in (1, 0):
                with tempfile.TemporaryDirectory() as there:
                    os.mkdir(f"{there}/mounted")
                    for name, does in (("pre-start", f"mount -t tmpfs of-a-hook {there}/mounted && : >{there}/mounted/seen"),
                                       ("post-stop", f"readlink /proc/self/ns/mnt >{there}/.after && mv {there}/.after {there}/after")):
                        Box.write(f"{there}/{name}", f"#!/bin/sh\n{does}\n", 0o755)
                    config = (f"lxc.monitor.unshare = {setting}\nlxc.hook.pre-start = {there}/pre-start\nlxc.hook.post-stop = {there}/post-stop\n"
                              f"lxc.mount.entry = {there}/mounted data none bind 0 0\n")
                    try:
                        with Box(config) as box:
                            self.assertEqual(box.at(where, "lxc-start", "-p", f"{box.path}/pid")[::2], (0, ""))
                            eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot", 30)
                            keeper = read(f"{box.path}/pid").strip()
                            ours, its = os.readlink("/proc/self/ns/mnt"), os.readlink(f"/proc/{keeper}/ns/mnt")
                            self.assertEqual(its != ours, bool(setting), where)
                            self.assertEqual(f"{there}/mounted" in read("/proc/self/mountinfo"), not setting, where)
                            self.assertIn(f"{there}/mounted", read(f"/proc/{keeper}/mountinfo"))
                            self.assertIn("seen", box.ours("lxc-attach", "--", "ls", "/data")[1])
                            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                            eventually(lambda: os.path.exists(f"{there}/after"), "its last hook", 30)
                            self.assertEqual(read(f"{there}/after").strip(), its)
                    finally:
                        if not setting:
                            subprocess.run(["umount", f"{there}/mounted"], check=True)

    # Of each hierarchy: may it make cgroups at the top of what it sees, and in its own?
    MAKES = r'''while IFS=: read number controllers own; do
        case $number in
            0) at=/sys/fs/cgroup; [ ! -d $at/unified ] || at=$at/unified ;;
            *) at=/sys/fs/cgroup/${controllers#name=} ;;
        esac
        [ -d $at ] || continue
        for folder in $at $at$own; do
            if mkdir $folder/new-cgroup 2>/dev/null; then echo writable; busybox rmdir $folder/new-cgroup; else echo closed; fi
        done
    done </proc/self/cgroup | busybox sort | busybox uniq'''

    def test_cgroups_that_are_mounted(self):
        shared = "lxc.namespace.keep = cgroup user\n"
        for config, words, answer in (("", "cgroup-full:ro:force", "closed\n"), ("", "cgroup-full:mixed:force", "writable\n"),
                                      ("", "cgroup-full:rw:force", "writable\n"), (shared, "cgroup-full:ro", "closed\n"),
                                      ("lxc.cap.drop = sys_admin\n", "cgroup-full", "writable\n")):
            for where in (BIN, DEBIAN):
                if where == DEBIAN and config == shared and os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
                    continue  # it fails there
                with self.subTest(config=config, words=words, where=where), Box(f"{config}lxc.mount.auto = sys {words}\n", name="mounts-cgroups") as box:
                    done = box.at(where, "lxc-execute", "--", "/bin/sh", "-c", self.MAKES)
                    sweep(box.name)
                    self.assertEqual(done[:2], (0, answer), done[2])
        # Where there is version 2 alone it is what cgroup is.
        alone = 'umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"'
        for words, answer in (("cgroup-full", "writable\n"), ("cgroup-full:mixed", "writable\n"), ("cgroup-full:ro", "closed\n")):
            for where in (BIN, DEBIAN):
                with self.subTest(words=words, where=where), Box(f"lxc.mount.auto = sys {words}\n", name="mounts-cgroups") as box:
                    done = run("unshare", "-m", "sh", "-c", alone, "sh", f"{where}/lxc-execute", "-P", box.path, "-n", box.name, "--",
                               "/bin/sh", "-c", f"busybox sed -n 's/ - cgroup2 .*/ /p' /proc/self/mountinfo | busybox cut -d ' ' -f 4,5; {self.MAKES}")
                    sweep(box.name)
                    self.assertEqual(done[:2], (0, f"/ /sys/fs/cgroup\n{answer}"), done[2])
        # What LXC says of these, and does of cgroup:mixed alone: of all that it sees its own are open.
        for words in ("cgroup-full:mixed", "cgroup:mixed"):
            with self.subTest(words=words), Box(f"{shared}lxc.mount.auto = sys {words}\n") as box:
                self.assertEqual(box.ours("lxc-execute", "--", "/bin/sh", "-c", self.MAKES)[:2], (0, "closed\nwritable\n"))

    def test_one_that_is_to_be_moved(self):
        with tempfile.TemporaryDirectory() as there:
            Box.write(f"{there}/seen", "")
            for where in (BIN, DEBIAN):
                with self.subTest(where), Box(f"lxc.mount.entry = {there} data none bind,move 0 0\n", name="mounts-moved") as box:
                    done = box.at(where, "lxc-execute", "--", "ls", "/data")
                    self.assertEqual(done[:2], (0, "seen\n"), done[2])
                    self.assertEqual(os.listdir(there), ["seen"])
                with self.subTest(where), Box(f"lxc.mount.entry = {there} data none move 0 0\n", name="mounts-moved") as box:
                    self.assertEqual(box.at(where, "lxc-execute", "--", "ls", "/data")[:2], (1, ""))
                    sweep(box.name)

    def test_owners_by_a_namespace_that_is_named(self):
        # One user namespace is the container's, another one has the map of the mount.
        holder = subprocess.Popen(["unshare", "-U", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.assertEqual(holder.stdout.readline(), b"\n")
            for kind in ("uid", "gid"):
                with open(f"/proc/{holder.pid}/{kind}_map", "w") as own:
                    own.write("0 40000 1000\n")
            for ids in ("", "lxc.idmap = u 0 0 65536\nlxc.idmap = g 0 0 65536\n"):
                for where in (BIN, DEBIAN):
                    if where == DEBIAN and ids:
                        continue  # it opens the file inside, where it may not
                    with self.subTest(where=where, ids=ids), Box(ids, name="mounts-idmap") as box:
                        os.makedirs(f"{box.path}/of-7")
                        os.chown(f"{box.path}/of-7", 7, 7)
                        with open(box.config, "a") as config:
                            config.write(f"lxc.mount.entry = {box.path}/of-7 data none bind,idmap=/proc/{holder.pid}/ns/user 0 0\n")
                        done = box.at(where, "lxc-execute", "--", "busybox", "stat", "-c", "%u %g", "/data")
                        sweep(box.name)
                        self.assertEqual(done[:2], (0, "40007 40007\n"), done[2])
        finally:
            holder.stdin.close()
            holder.wait(60)
            holder.stdout.close()


class Networks(unittest.TestCase):
    """In a network of the test's own, with Debian's beside ours."""

    @contextlib.contextmanager
    def started(self, inside, where, config):
        with Box(config, name="networks") as box:
            words = "-P", box.path, "-n", box.name
            try:
                status, _, err = run(*inside, f"{where}/lxc-start", *words)
                self.assertEqual(status, 0, err)
                eventually(lambda: os.path.exists(f"{box.root}/booted"), "boot")
                yield lambda script: run(*inside, f"{BIN}/lxc-attach", *words, "--", "sh", "-c", script)[1]
            finally:  # its socket is in there, too
                run(*inside, f"{BIN}/lxc-stop", *words, "-k")

    def test_a_gateway_of_one_family(self):
        config = ("lxc.net.1.type = veth\nlxc.net.1.link = bridge0\nlxc.net.1.flags = up\nlxc.net.1.ipv4.address = 10.77.0.2/24\n"
                  "lxc.net.1.ipv6.address = fd77::2/64\n")
        with own_network() as inside:
            for address in ("10.77.0.1/24", "fd77::1/64"):
                self.assertEqual(run(*inside, "ip", "address", "add", address, "dev", "bridge0", *("nodad",) * (":" in address))[0], 0)
            for family, four, six in ((4, "default via 10.77.0.1 dev eth0 ", ""), (6, "", "default via fd77::1 dev eth0 ")):
                for where in (BIN, DEBIAN):
                    with self.subTest(where=where, family=family), self.started(inside, where, f"{config}lxc.net.1.ipv{family}.gateway = auto\n") as shell:
                        for words, route in (("ip route", four), ("ip -6 route", six)):
                            found = [line for line in shell(f"busybox {words}").splitlines() if line.startswith("default ")]
                            self.assertEqual([line[:len(route)] for line in found], [route] if route else [])

    def test_routes_by_a_port_of_a_bridge(self):
        config = ("lxc.net.1.type = veth\nlxc.net.1.link = bridge0\nlxc.net.1.flags = up\nlxc.net.1.veth.pair = port0\n"
                  "lxc.net.1.veth.ipv4.route = 10.99.0.0/16\nlxc.net.1.veth.ipv6.route = fd99::/64\n")
        with own_network() as inside:
            for where in (BIN, DEBIAN):
                with self.subTest(where), self.started(inside, where, config):
                    self.assertRegex(run(*inside, "ip", "route", "show", "dev", "port0")[1], r"^10\.99\.0\.0/16 .*scope link")
                    self.assertIn("fd99::/64 ", run(*inside, "ip", "-6", "route", "show", "dev", "port0")[1])
                    self.assertIn(" master bridge0 ", run(*inside, "ip", "link", "show", "port0")[1])
                eventually(lambda: not run(*inside, "ip", "link", "show", "port0")[1], "its end", 20)

    def test_one_that_is_lent_by_the_beginning_of_its_name(self):
        config = "lxc.net.1.type = phys\nlxc.net.1.link = cable+\n"
        with own_network() as inside:
            def here():
                return sorted(re.findall(r"^(cable\d)", run(*inside, "ip", "-br", "link")[1], re.MULTILINE))
            for where in (BIN, DEBIAN):
                with self.subTest(where), self.started(inside, where, config) as shell:
                    self.assertEqual(re.findall(r"cable\d", shell("cat /proc/net/dev")), ["cable2"])
                    self.assertEqual(here(), ["cable0", "cable1"])
                eventually(lambda: here() == ["cable0", "cable1", "cable2"], "that it is back", 20)
            with Box(config.replace("cable", "nothing")) as box:
                status, _, err = run(*inside, f"{BIN}/lxc-start", "-P", box.path, "-n", box.name)
                self.assertEqual(status, 1)
                self.assertIn("lxc.net.1.link = nothing+: is the beginning of no interface's name here", err)


class Inherited(unittest.TestCase):
    def inside(self, where, listening, *args):
        """The further descriptors that a container's command has, and what it is told of them."""
        with Box() as box, open(box.config) as some:
            script = "ls -l /proc/$$/fd >/data/fds; env >/data/env; : >/data/done; while :; do sleep 1; done"
            command = [f"{where}/lxc-start", "-P", box.path, "-n", box.name, *args, "--", "/bin/sh", "-c", script]
            shell = 'exec 7<&0 6<&0 5<&0 4<&0 3<&0 </dev/null; export LISTEN_FDS=$0 LISTEN_PID=$$ LISTEN_FDNAMES=a:b; exec "$@"'
            process = subprocess.Popen(["sh", "-c", shell, str(listening), *command], stdin=some, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            eventually(lambda: os.path.exists(f"{box.root}/data/done"), "its command", 60)
            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
            process.wait(30)
            process.stderr.close()
            found = re.findall(r"(\d+) -> .*/config$", read(f"{box.root}/data/fds"), re.MULTILINE)
            return sorted(map(int, found)), sorted(line for line in read(f"{box.root}/data/env").splitlines() if line.startswith("LISTEN_"))

    def test_nothing_else(self):
        for args in (("-d",), ("-F",), ("-F", "-C")):
            self.assertEqual(self.inside(BIN, 0, *args), ([], []), args)
        for args in (("-d",), ("-F", "-C")):
            self.assertEqual(self.inside(DEBIAN, 0, *args), ([], []), args)
        # LXC only warns of them there.
        self.assertEqual(self.inside(DEBIAN, 0, "-F"), ([3, 4, 5, 6, 7], []))

    def test_those_of_systemd(self):
        told = ["LISTEN_FDNAMES=a:b", "LISTEN_FDS=2", "LISTEN_PID=1"]
        for args in (("-d",), ("-F",), ("-F", "-C")):
            self.assertEqual(self.inside(BIN, 2, *args), ([3, 4], told), args)
        # LXC 5.0 takes the number for that of the last one.
        self.assertEqual(self.inside(DEBIAN, 4, "-d"), ([3, 4], []))


class Peers(unittest.TestCase):
    """A terminal that is not the user's as the other end of a console."""
    # LXC's own streams are /dev/null in the background.
    SCRIPT = "exec </dev/console >/dev/console 2>&1; stty size; while read x; do echo got $x; [ $x != end ] || exit 0; done"

    @contextlib.contextmanager
    def started(self, where, mode):
        with Box() as box:
            # Terminal has all but a user: nobody's session has it.
            user = Terminal.__new__(Terminal)
            user.master, user.slave = os.openpty()
            fcntl.ioctl(user.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 91, 0, 0))
            user.before, user.shown = termios.tcgetattr(user.slave), ""
            user.process = subprocess.Popen([f"{where}/lxc-start", "-P", box.path, "-n", box.name, mode, "-p", f"{box.path}/pid", "-c",
                                             os.ttyname(user.slave), "--", "/bin/sh", "-c", self.SCRIPT],
                                            stdin=subprocess.DEVNULL, start_new_session=True)
            with user:
                user.until("33 91", 60)
                eventually(user.raw, "a raw terminal", 60)
                user.type("hello\n")
                user.until("got hello", 60)
                yield box, user

    def test_both_ways(self):
        for where, mode in ((BIN, "-d"), (BIN, "-F"), (DEBIAN, "-d"), (DEBIAN, "-F")):
            with self.started(where, mode) as (box, user):
                user.type("end\n")
                user.until("got end", 60)
                eventually(user.restored, "the terminal as it was", 60)
                eventually(lambda b=box: b.state() == "STOPPED", "its end", 60)

    def test_it_is_restored(self):
        for mode in ("-d", "-F"):
            for end in (signal.SIGKILL, signal.SIGTERM, None):
                with self.started(BIN, mode) as (box, user):
                    if end is None:
                        self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                    elif end == signal.SIGTERM:
                        os.kill(int(box.ours("lxc-info", "-pH")[1]), signal.SIGKILL)
                    else:
                        os.kill(int(read(f"{box.path}/pid")), end)
                    eventually(user.restored, f"the terminal as it was after {end}", 60)

    def test_one_that_goes_away(self):
        with self.started(BIN, "-d") as (box, user):
            keeper = int(read(f"{box.path}/pid"))
            for end in (user.master, user.slave):
                os.close(end)
            user.master, user.slave = os.openpty()
            time.sleep(1)
            before = sum(map(int, read(f"/proc/{keeper}/stat").rsplit(")", 1)[1].split()[11:13]))
            time.sleep(1)
            after = sum(map(int, read(f"/proc/{keeper}/stat").rsplit(")", 1)[1].split()[11:13]))
            self.assertLess(after - before, os.sysconf("SC_CLK_TCK") // 4)
            self.assertEqual(box.state(), "RUNNING")


class SyscallProxy:
    """What lxc.seccomp.notify.proxy names. It keeps what it was told; `answer` makes an answer of a message, or None."""
    HEAD, REQUEST, RESPONSE = struct.Struct("<QiiHHHHQ"), struct.Struct("<QIIiIQ6Q"), struct.Struct("<QqiI")

    def __init__(self, path, answer):
        self.path, self.answer, self.told, self.connections = path, answer, [], 0

    def __enter__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path)
        self.socket.bind(self.path)
        self.socket.listen(8)
        self.wake, self.over = socket.socketpair()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.wake.close()
        self.thread.join()
        for one in (self.socket, self.over):
            one.close()

    def serve(self):
        peers = []
        while True:
            ready = select.select([self.socket, self.over, *peers], [], [])[0]
            if self.over in ready:
                break
            if self.socket in ready:
                peers.append(self.socket.accept()[0])
                self.connections += 1
            for peer in [p for p in peers if p in ready]:
                message, fds, _, _ = socket.recv_fds(peer, 65536, 16)
                with contextlib.suppress(OSError):
                    answer = self.take(message, fds) if message else b""
                    if answer:
                        peer.send(answer)
                    if answer != b"":
                        continue
                peers.remove(peer)
                peer.close()
        for peer in peers:
            peer.close()

    def take(self, message, fds):
        reserved, keeper, init, request_size, response_size, data_size, padding, cookie_size = self.HEAD.unpack_from(message)
        at = self.HEAD.size
        request = self.REQUEST.unpack_from(message, at)
        response = message[at + request_size:at + request_size + response_size]
        told = {"head": (reserved, request_size, response_size, data_size, padding, cookie_size), "size": len(message), "keeper": keeper,
                "init": init, "flags": request[2], "call": request[3:5], "mode": request[7], "cookie": message[at + request_size + response_size:],
                "response": self.RESPONSE.unpack(response) == (request[0], 0, 0, 0), "pid": request[1],
                "fds": [os.readlink(f"/proc/self/fd/{fd}").replace(f"/{request[1]}", "/PID") for fd in fds],
                "ways": [fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_DIRECTORY) for fd in fds]}
        for fd in fds:
            os.close(fd)
        self.told.append(told)
        return self.answer(message[:at + request_size], request[0])

    @classmethod
    def says(cls, error=0, flags=0, value=0, other=0):
        return lambda before, number: before + cls.RESPONSE.pack(number + other, value, -error, flags)


class Proxies(unittest.TestCase):
    @contextlib.contextmanager
    def box(self, answer, config=""):
        with Box() as box:
            box.write(f"{box.path}/policy", "2\ndenylist\nmkdir notify\nmkdirat notify\n")
            box.write(box.config, f"{read(box.config)}lxc.seccomp.profile = {box.path}/policy\n"
                                  f"lxc.seccomp.notify.proxy = unix:{box.path}/socket\n{config}")
            with SyscallProxy(f"{box.path}/socket", answer) as proxy:
                yield box, proxy

    @staticmethod
    def asks(box, where=BIN, times=1):
        """What is said to a command that makes a directory."""
        return box.at(where, "lxc-start", "-F", "-s", "lxc.console.path=none", "--", "/bin/sh", "-c",
                      f"for i in $(echo {' '.join(map(str, range(times)))}); do mkdir /tmp/$i 2>&1 && echo made; done")[1].splitlines()

    def test_the_messages_are_lxcs(self):
        told = []
        for where in (BIN, DEBIAN):
            for cookie in ("", "lxc.seccomp.notify.cookie = tasty\n"):
                with self.box(SyscallProxy.says(errno.ENOSPC), cookie) as (box, proxy):
                    lines = self.asks(box, where, 2)
                    self.assertEqual([line.rsplit(": ", 1)[1] for line in lines], ["No space left on device"] * 2)
                    self.assertEqual((len(proxy.told), proxy.connections), (2, 1))
                    for one in proxy.told:
                        self.assertEqual(len({one.pop("keeper"), one.pop("init"), one.pop("pid")}), 3)
                    told.append(proxy.told)
        self.assertEqual(told[:2], told[2:])
        self.assertEqual((told[1][0]["cookie"], told[1][0]["fds"]), (b"tasty", ["/proc/PID", "/proc/PID/mem", "anon_inode:seccomp notify"]))

    def test_answers(self):
        for where in (BIN, DEBIAN):
            for answer, means in ((SyscallProxy.says(flags=1), "made"), (SyscallProxy.says(value=7), "made"), (SyscallProxy.says(errno.EXDEV), "cross-device"),
                                  (lambda *_: b"nonsense", UNANSWERED), (lambda *_: b"", UNANSWERED)):
                with self.box(answer) as (box, _):
                    self.assertIn(means, self.asks(box, where)[0].lower(), where)
        # LXC takes it for one to the call that waits, or has the call wait for ever.
        for answer in (SyscallProxy.says(errno.EXDEV, other=1), SyscallProxy.says(errno.EXDEV, flags=1), lambda *_: bytes(65536)):
            with self.box(answer) as (box, _):
                self.assertIn(UNANSWERED, self.asks(box)[0].lower())

    def test_nobody_there(self):
        for where in (BIN, DEBIAN):
            with self.box(None) as (box, proxy):
                os.remove(proxy.path)
                status, _, err = box.at(where, "lxc-start", "-F", "-s", "lxc.console.path=none", "--", "/bin/true")
                self.assertEqual((status, proxy.path in err if where == BIN else True), (1, True), err)
                self.assertEqual(box.state(), "STOPPED")
        with self.box(None) as (box, _):
            said = box.ours("lxc-start", "-F", "-s", "lxc.console.path=none", "-s", "lxc.seccomp.notify.proxy=", "--", "/bin/sh", "-c",
                            "mkdir /tmp/x 2>&1")[1]
            self.assertIn(UNANSWERED, said.lower())

    def test_one_that_is_started_again(self):
        script = "while :; do mkdir /tmp/x 2>/data/said; cat /data/said >>/data/all; : >/data/round; while [ -e /data/round ]; do sleep 0.1; done; done"
        with self.box(SyscallProxy.says(errno.EXDEV)) as (box, proxy):
            def said():
                eventually(lambda: os.path.exists(f"{box.root}/data/round"), "an answer", 60)
                return read(f"{box.root}/data/said")
            self.assertEqual(box.ours("lxc-start", "--", "/bin/sh", "-c", script)[0], 0)
            self.assertIn("ross-device", said())
            proxy.__exit__()
            os.remove(f"{box.root}/data/round")
            self.assertIn(UNANSWERED, said().lower())
            proxy.__enter__()
            os.remove(f"{box.root}/data/round")
            self.assertIn("ross-device", said())

    def test_a_silent_one_stops_nobody(self):
        with self.box(lambda *_: None) as (box, proxy):
            with Terminal(f"{BIN}/lxc-start", "-P", box.path, "-n", box.name, "-F", "--", "/bin/sh", "-c",
                          "(mkdir /tmp/x 2>/data/.said; mv /data/.said /data/said) & while read x; do echo got $x; done") as user:
                eventually(lambda: proxy.told, "a question", 60)
                user.type("hello\n")
                user.until("got hello", 20)
                self.assertEqual(box.state(), "RUNNING")
                self.assertFalse(os.path.exists(f"{box.root}/data/said"))
                eventually(lambda: os.path.exists(f"{box.root}/data/said"), "an end of patience", 60)
                self.assertIn(UNANSWERED, read(f"{box.root}/data/said").lower())
                self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)

    def test_over_a_reboot(self):
        script = "trap 'reboot -f' INT; mkdir /tmp/x 2>>/data/said; while :; do sleep 1 & wait $!; done"
        with self.box(SyscallProxy.says(errno.EXDEV)) as (box, proxy):
            self.assertEqual(box.ours("lxc-start", "--", "/bin/sh", "-c", script)[0], 0)
            for lives in (1, 2, 3):
                eventually(lambda n=lives: os.path.exists(f"{box.root}/data/said") and read(f"{box.root}/data/said").count("ross-device") == n,
                           "an answer", 60)
                self.assertEqual(proxy.told[-1]["init"], int(box.ours("lxc-info", "-pH")[1]))
                eventually(lambda: "sleep" in box.ours("lxc-attach", "-s", "PID|MOUNT", "--", "ps")[1], "its loop", 60)
                if lives < 3:
                    self.assertEqual(box.ours("lxc-stop", "-r", "-t", "60")[0], 0)
            self.assertEqual(proxy.connections, 1)

    def test_what_is_attached(self):
        for starts, attaches in ((BIN, BIN), (BIN, DEBIAN), (DEBIAN, BIN)):
            with self.box(SyscallProxy.says(errno.EXDEV)) as (box, proxy):
                self.assertEqual(box.at(starts, "lxc-start", "--", "/bin/sh", "-c", "while :; do sleep 1; done")[0], 0)
                def attached(attaches=attaches, box=box):
                    return box.at(attaches, "lxc-attach", "--", "sh", "-c", "mkdir /tmp/x 2>&1")[1]
                for _ in range(2):
                    if attaches == DEBIAN:  # which at times ends without having given its listener to anybody: ENOSYS
                        eventually(lambda: "ross-device" in attached(), "an answer to who is attached by Debian's")
                    else:
                        self.assertIn("ross-device", attached(), (starts, attaches))
                self.assertEqual(len(proxy.told), 2)
                self.assertEqual(proxy.told[0]["init"], int(box.ours("lxc-info", "-pH")[1]))


def furnish(root):
    """What a copy could lose."""
    Box.write(f"{root}/etc/hostname", "web\n")
    Box.write(f"{root}/data/owned", "1", 0o4751)
    os.chown(f"{root}/data/owned", 1000, 1001)
    os.chmod(f"{root}/data/owned", 0o4751)
    os.setxattr(f"{root}/data/owned", "trusted.some", b"thing")  # which tmpfs has, too
    # cap_net_raw+ep, and an access list with one more user.
    os.setxattr(f"{root}/data/owned", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in
                                          ((1, 6, 2**32 - 1), (2, 4, 1234), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)))
    Box.write(f"{root}/data/listed", "2")
    os.setxattr(f"{root}/data/listed", "system.posix_acl_access", acl)
    os.link(f"{root}/data/listed", f"{root}/data/linked")
    with open(f"{root}/data/sparse", "wb") as f:
        f.truncate(64 << 20)
    os.mknod(f"{root}/data/null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mkfifo(f"{root}/data/fifo")
    os.symlink("/etc/hostname", f"{root}/data/absolute")
    os.symlink("nowhere", f"{root}/data/dangling")
    os.utime(f"{root}/data/owned", ns=(10**18, 10**18 + 5))
    os.chmod(f"{root}/tmp", 0o1777)


def looks(root, without=("etc/hostname",)):
    """All that there is to see of a tree."""
    found, links = {}, {}
    for folder, folders, files in os.walk(root):
        folders.sort()  # and walked so: of links, whichever a file system has first
        for name in ["."] * (folder == root) + folders + sorted(files):
            path = os.path.normpath(f"{folder}/{name}")
            relative, at = os.path.relpath(path, root), os.lstat(path)
            if relative in without:
                continue
            more = os.readlink(path) if stat.S_ISLNK(at.st_mode) else None
            if stat.S_ISREG(at.st_mode):
                with open(path, "rb") as f:
                    more = hash(f.read()), links.setdefault(at.st_ino, relative), at.st_blocks
            # The time of /etc is that of its hostname.
            found[relative] = (at.st_mode, at.st_uid, at.st_gid, at.st_rdev, relative in ("etc", "bin") or at.st_mtime_ns, more,
                               sorted((x, os.getxattr(path, x, follow_symlinks=False)) for x in os.listxattr(path, follow_symlinks=False)))
    return found


class Copies(unittest.TestCase):
    @contextlib.contextmanager
    def furnished(self, config="", **more):
        with Box(config, **more) as box:
            furnish(box.root)
            # Debian's copies by rsync(1), where that is not installed by this.
            self.addCleanup(shutil.rmtree, tools := tempfile.mkdtemp(prefix="condroid-lxc-"))
            box.write(f"{tools}/rsync", "#!/bin/sh\nfor a; do from=$to; to=$a; done\nexec cp -a \"$from/.\" \"$to\"\n", 0o755)
            self.env = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}")
            yield box

    def same(self, box, tool, *args):
        ours, theirs = box.ours(tool, *args), box.at(DEBIAN, tool, *args, env=self.env)
        # In the order of a directory, theirs.
        self.assertEqual([ours[0], *sorted(ours[1].split("\n"))], [theirs[0], *sorted(theirs[1].split("\n"))],
                         (tool, args, ours[2], theirs[2]))
        return ours

    def refused(self, box, tool, *args, says):
        before, names = looks(box.root), sorted(os.listdir(box.path))
        status, out, err = box.ours(tool, *args)
        self.assertEqual((status, out), (1, ""), err)
        self.assertIn(says, err)
        self.assertEqual(looks(box.root), before)
        self.assertEqual(sorted(os.listdir(box.path)), names)

    def test_a_copy_has_everything(self):
        with self.furnished("# kept\nlxc.net.0.hwaddr = 00:16:3e:11:22:33\nlxc.hook.clone = DIR/hook\n") as box:
            directory = os.path.dirname(box.config)
            box.write(box.config, read(box.config).replace("DIR", directory))
            box.write(f"{directory}/hook", f"#!/bin/sh\necho $0 $* $LXC_SRC_NAME $LXC_ROOTFS_MOUNT >{box.path}/hooked\n", 0o755)
            before = looks(box.root)
            self.assertEqual(box.ours("lxc-copy", "-N", "new", "--", "a", "b c"), (0, "", ""))
            new = f"{box.path}/new"
            self.assertEqual(looks(f"{new}/rootfs"), before)
            self.assertEqual(looks(box.root), before)
            self.assertEqual(read(f"{new}/rootfs/etc/hostname"), "new\n")
            self.assertEqual(read(f"{box.path}/hooked"), f"{new}/hook new lxc clone a b c web {new}/rootfs\n")
            os.remove(f"{box.path}/hooked")
            self.assertEqual(sorted(os.listdir(new)), ["config", "hook", "rootfs"])
            self.assertEqual(box.at(DEBIAN, "lxc-copy", "-N", "theirs", env=self.env)[0], 0)

            def told(name):
                return sorted(re.sub(r"3e(:\w\w){3}", "3e", read(f"{box.path}/{name}/config")).replace(name, "NAME").split("\n"))
            self.assertEqual(told("new"), told("theirs"))
            self.assertNotIn("11:22:33", read(f"{new}/config"))
            self.assertEqual(box.ours("lxc-copy", "-N", "kept", "-K", "-M")[0], 0)
            self.assertEqual(read(f"{box.path}/kept/config"), read(box.config).replace("/web/", "/kept/"))
            self.assertEqual(read(f"{box.path}/kept/rootfs/etc/hostname"), "web\n")
            self.assertEqual(run(f"{BIN}/lxc-execute", "-P", box.path, "-n", "new", "--", "hostname")[:2], (0, "new\n"))

    def test_what_hooks_of_a_copy_and_of_its_end_are_told(self):
        hook = """#!/bin/sh
{ printf '%s\\0' $# "$@"; env -0; } >TOLD/$LXC_NAME-${0##*/}
"""
        for version in (0, 1):
            lines = f"lxc.hook.version = {version}\nlxc.log.level = WARN\nlxc.console.logfile = /dev/null\n"
            with self.subTest(version), self.furnished(lines) as box:
                told = f"{box.path}/told"
                os.mkdir(told)
                for name in ("clone", "destroy"):
                    box.write(f"{told}/{name}", hook.replace("TOLD", told), 0o755)
                box.write(box.config, read(box.config) + f"lxc.hook.clone = {told}/clone word\nlxc.hook.destroy = {told}/destroy word\n")
                seen = []
                for where, copy in ((BIN, "ours"), (DEBIAN, "theirs")):
                    status, _, err = box.at(where, "lxc-copy", "-N", copy, "--", "a", "b", env=self.env)
                    self.assertEqual(status, 0, err)
                    self.assertEqual(run(f"{where}/lxc-destroy", "-P", box.path, "-n", copy, env=self.env)[0], 0)
                    for name in ("clone", "destroy"):
                        count, *words = read(f"{told}/{copy}-{name}").replace(copy, "NAME").split("\0")[:-1]
                        variables = dict(w.split("=", 1) for w in words[int(count):])
                        seen.append((words[:int(count)], {n: v for n, v in variables.items() if n.startswith("LXC_") and n != "LXC_ROOTFS_MOUNT"}))
                for (words, variables), (theirs, those) in zip(seen[:2], seen[2:]):
                    self.assertEqual(words, theirs)
                    # LXC says less of it.
                    self.assertEqual({n: variables.get(n) for n in those}, those)
                    self.assertEqual(set(variables) - set(those) - {"LXC_CGNS_AWARE", "LXC_CONSOLE_LOGPATH", "LXC_LOG_LEVEL", "LXC_HOOK_VERSION"}, set())
                self.assertEqual([s[1].get("LXC_HOOK_TYPE") for s in seen[:2]], ["clone", "destroy"] if version else [None, None])

    def test_what_is_no_copy(self):
        with self.furnished() as box:
            self.refused(box, "lxc-copy", says="-N")
            self.refused(box, "lxc-copy", "-N", "../x", says="no name")
            self.refused(box, "lxc-copy", "-N", "web", says="exists already")
            self.refused(box, "lxc-copy", "-N", "x", "-B", "zfs", says="dir or overlay")
            self.refused(box, "lxc-copy", "-N", "x", "-L", "much", says="--fssize")
            self.refused(box, "lxc-copy", "-e", "-m", "bin=/etc", says="neither bind nor overlay")
            self.refused(box, "lxc-copy", "-e", "-m", "overlay=/etc/passwd", says="no directory")
            subprocess.run(["mount", "--bind", f"{box.root}/etc", f"{box.root}/data"], check=True)
            try:
                for args in (("lxc-copy", "-N", "x"), ("lxc-snapshot",), ("lxc-copy", "-N", "x", "-R"), ("lxc-destroy",)):
                    self.refused(box, *args, says=f"'{box.root}/data'")
            finally:
                subprocess.run(["umount", f"{box.root}/data"], check=True)
            shutil.rmtree(f"{box.path}/web/snaps", ignore_errors=True)
            box.name = "nobody"
            for tool in ("lxc-copy", "lxc-snapshot"):
                self.same(box, tool, "-N", "x")
            box.name = "web"
            box.write(box.config, read(box.config).replace(f"dir:{box.root}", f"{box.path}/link"))
            os.symlink(box.root, f"{box.path}/link")
            self.refused(box, "lxc-copy", "-N", "x", says="symbolic link")
            box.write(box.config, read(box.config).replace(f"{box.path}/link", "zfs:a/b"))
            self.refused(box, "lxc-copy", "-N", "x", says="zfs:a/b")

    def test_a_copy_that_fails_leaves_nothing(self):
        with self.furnished("lxc.hook.clone = /bin/false\n") as box:
            self.refused(box, "lxc-copy", "-N", "x", says="ended with status 1")
            self.refused(box, "lxc-copy", "-N", "x", "-s", says="ended with status 1")
            self.assertFalse(os.path.exists(f"{box.path}/web/lxc_snapshots"))
            with tempfile.TemporaryDirectory() as small:
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "small", small], check=True)
                try:
                    self.refused(box, "lxc-copy", "-N", "x", "-p", small, says="cp ended with status 1")
                    self.assertEqual(os.listdir(small), [])
                finally:
                    subprocess.run(["umount", small], check=True)

    def test_a_copy_that_is_interrupted(self):
        with self.furnished('lxc.hook.clone = sh -c "sleep 1000"\n') as box:
            before = looks(box.root)
            process = subprocess.Popen([f"{BIN}/lxc-copy", "-P", box.path, "-n", "web", "-N", "x"], stderr=subprocess.PIPE)
            eventually(lambda: os.path.exists(f"{box.path}/x/config"), "the hook")
            self.assertIn("being made", run(f"{BIN}/lxc-start", "-P", box.path, "-n", "x")[2])
            self.assertIn("another program", box.ours("lxc-start")[2] + box.ours("lxc-destroy")[2])
            time.sleep(0.2)
            process.terminate()
            self.assertEqual(process.wait(60), 1)
            process.stderr.close()
            self.assertEqual((os.listdir(box.path), looks(box.root)), (["web"], before))

    def test_what_was_never_made_whole(self):
        with self.furnished() as box:
            os.mkdir(f"{box.path}/x")
            for name in ("config", "partial"):
                box.write(f"{box.path}/x/{name}", "")
            words = ("-P", box.path, "-n", "x")
            self.assertIn("never made whole", run(f"{BIN}/lxc-start", *words)[2])
            self.assertEqual(run(f"{BIN}/lxc-destroy", *words), (0, "", ""))
            self.assertEqual(os.listdir(box.path), ["web"])

    def test_an_overlay(self):
        with self.furnished() as box:
            before = looks(box.root)
            self.assertEqual(box.ours("lxc-copy", "-N", "above", "-s"), (0, "", ""))
            words = ("-P", box.path, "-n", "above")
            command = ("--", "sh", "-c", "hostname; cat /etc/hostname; echo x >/data/new; test -e /data/owned && ls /data/new")
            self.assertEqual(run(f"{BIN}/lxc-execute", *words, *command)[:2], (0, "above\nabove\n/data/new\n"))
            self.assertEqual(looks(box.root), before)
            for where in (BIN, DEBIAN):
                status, _, err = box.at(where, "lxc-destroy")
                self.assertEqual((status, "has clones" in err), (1, True), err)
            self.refused(box, "lxc-copy", "-N", "x", "-R", says="clones")
            # A copy of it is one of the same, and knows that it has the same below.
            self.assertEqual(run(f"{BIN}/lxc-copy", *words, "-N", "second", "-s"), (0, "", ""))
            self.assertEqual(run(f"{BIN}/lxc-copy", *words, "-N", "third")[0], 1)
            self.assertEqual(run(f"{BIN}/lxc-snapshot", *words), (0, "", ""))
            # What it hides of the other is hidden in its copies, too.
            hide = ("--", "sh", "-c", "rm -r /data && mkdir /data && ls -A /data")
            self.assertEqual(run(f"{BIN}/lxc-execute", *words, *hide, env=dict(os.environ, PATH="/bin"))[:2], (0, ""))
            self.assertEqual(run(f"{BIN}/lxc-copy", *words, "-N", "hidden", "-s"), (0, "", ""))
            self.assertEqual(run(f"{BIN}/lxc-execute", "-P", box.path, "-n", "hidden", "--", "ls", "-A", "/data")[:2], (0, ""))
            self.assertEqual(run(f"{BIN}/lxc-destroy", "-P", box.path, "-n", "hidden"), (0, "", ""))
            self.assertEqual(run(f"{BIN}/lxc-snapshot", *words, "-r", "snap0"), (0, "", ""))
            self.assertEqual(run(f"{BIN}/lxc-execute", *words, "--", "cat", "/data/new")[:2], (0, "x\n"))
            self.assertEqual(sorted(os.listdir(f"{box.path}/above")), ["config", "lxc_rdepends", "overlay", "rootfs", "snaps"])
            self.assertEqual(sorted(read(f"{box.path}/web/lxc_snapshots").split()),
                             sorted([box.path, "above", box.path, "second", f"{box.path}/above/snaps", "snap0"]))
            self.assertEqual(run(f"{BIN}/lxc-execute", "-P", box.path, "-n", "second", "--", "cat", "/data/new")[:2], (0, "x\n"))
            self.assertEqual(run(f"{BIN}/lxc-copy", "-P", box.path, "-n", "second", "-N", "2nd", "-R"), (0, "", ""))
            self.assertEqual(run(f"{BIN}/lxc-destroy", *words, "-s"), (0, "", ""))
            self.assertEqual(read(f"{box.path}/web/lxc_snapshots").split(), [box.path, "2nd"])
            self.assertEqual(run(f"{DEBIAN}/lxc-destroy", "-P", box.path, "-n", "2nd")[0], 0)
            self.assertEqual(box.ours("lxc-destroy"), (0, "", ""))
            self.assertEqual(os.listdir(box.path), [])

    def test_an_image(self):
        with self.furnished() as box:
            image = f"{box.path}/image"
            with open(image, "wb") as f:
                f.truncate(32 << 20)
                f.write(b"something")
            box.write(box.config, f"lxc.rootfs.path = loop:{image}\n")
            self.assertEqual(box.ours("lxc-copy", "-N", "x"), (0, "", ""))
            self.assertIn(f"lxc.rootfs.path = loop:{box.path}/x/rootdev\n", read(f"{box.path}/x/config"))
            self.assertEqual(looks(f"{box.path}/x")["rootdev"][5][0], looks(box.path)["image"][5][0])
            self.assertLess(os.stat(f"{box.path}/x/rootdev").st_blocks, 1000)
            self.refused(box, "lxc-copy", "-N", "y", "-s", says="image")

    def test_another_name(self):
        with started() as box:
            furnish(box.root)
            for args in (("-N", "new", "-R"), ("-N", "new"), ("-N", "new", "-s")):
                self.assertEqual((box.ours("lxc-copy", *args)[0], box.at(DEBIAN, "lxc-copy", *args)[0]), (1, 1))
            self.assertEqual(box.ours("lxc-snapshot")[0], 1)
            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
            before = looks(box.root)
            self.assertEqual(box.ours("lxc-copy", "-N", "new", "-R"), (0, "", ""))
            self.assertEqual(os.listdir(box.path), ["new"])
            self.assertEqual(looks(f"{box.path}/new/rootfs"), before)
            self.assertEqual(run(f"{DEBIAN}/lxc-info", "-P", box.path, "-n", "new", "-c", "lxc.rootfs.path")[1],
                             f"lxc.rootfs.path = {box.path}/new/rootfs\n")

    def test_for_one_run(self):
        with self.furnished() as box:
            before = looks(box.root)
            box.write(f"{box.path}/some", "file")
            status, out, err = box.ours(
                "lxc-copy", "-e", "-m", f"bind={box.path}/some:/tmp/some:ro,overlay={box.root}/data:/vendor", "--", "sh", "-c",
                "cat /tmp/some; echo x >/vendor/x && ls /vendor/owned; ls /data/x; hostname >/root/name")
            self.assertEqual(status, 0, err)
            self.assertRegex(out, "^Created (web_\\w{6}) as clone of web\nfile/vendor/owned\n$")
            eventually(lambda: sorted(os.listdir(box.path)) == ["some", "web"], "its end")
            self.assertEqual(looks(box.root), before)
            self.assertFalse(os.path.exists(f"{box.path}/web/lxc_snapshots"))
            os.chmod(f"{box.root}/sbin/init", 0o644)
            self.assertEqual(box.ours("lxc-copy", "-e", "-N", "x")[0], 1)
            self.assertEqual(sorted(os.listdir(box.path)), ["some", "web"])

    def test_for_one_run_in_memory(self):
        with self.furnished() as box:
            before = looks(box.root)
            for args in (("-t", "-N", "x"), ("-e", "-t", "-D"), ("-e", "-t", "-B", "dir"), ("-e", "-L", "much")):
                self.refused(box, "lxc-copy", *args, says="--fssize" if "-L" in args else "tmpfs")
            words = "as clone of web\nContainer is placed on tmpfs.\nRebooting will cause all changes made to it to be lost!\n"
            for where in (BIN, DEBIAN):
                name = f"x{len(where)}"
                status, out, err = box.at(where, "lxc-copy", "-e", "-t", "-L", "8M", "-N", name, env=self.env)
                self.assertEqual((status, out), (0, f"Created {name} {words}"), err)

                def attached(*command):
                    return run(f"{BIN}/lxc-attach", "-P", box.path, "-n", name, "--", *command)

                def again():
                    return run(f"{BIN}/lxc-stop", "-P", box.path, "-n", name, "-r", "-t", "60")
                eventually(lambda: attached("ls", "/booted")[0] == 0, "boot")
                self.assertEqual(attached("touch", "/root/new")[0], 0)
                self.assertEqual(attached("ls", "/root/new")[0], 0)
                self.assertEqual([d for d, _, files in os.walk(f"{box.path}/{name}") if "new" in files], [])
                self.assertEqual(attached("hostname")[1], f"{name}\n")
                if where == BIN:
                    self.assertEqual(attached("cat", "/etc/hostname")[1], f"{name}\n")
                    self.assertEqual(*(text.split()[:3:2] for text in (attached("ls", "-ld", "/")[1], box.ours("lxc-execute", "--", "ls", "-ld", "/")[1])))
                    self.assertIn("No space", attached("busybox", "dd", "if=/dev/zero", "of=/root/big", "bs=1M", "count=9")[2])
                self.assertEqual(again(), (0, "", ""))
                eventually(lambda: attached("ls", "/booted")[0] == 0, "boot")
                self.assertNotEqual(attached("ls", "/root/new")[0], 0)
                self.assertEqual(run(f"{BIN}/lxc-stop", "-P", box.path, "-n", name, "-k")[0], 0)
                eventually(lambda: os.listdir(box.path) == ["web"], "its end")
                self.assertEqual(looks(box.root), before)

    def test_an_image_that_is_larger(self):
        with Box() as box:
            self.assertEqual(run(f"{BIN}/lxc-create", "-P", box.path, "-n", "small", "-t", "busybox", "-B", "loop", "--fssize", "24M")[0], 0)
            copy = (f"{BIN}/lxc-copy", "-P", box.path, "-n", "small")
            self.assertEqual(run(*copy, "-N", "large", "-L", "48M"), (0, "", ""))
            self.assertEqual(os.path.getsize(f"{box.path}/large/rootdev"), 48 << 20)
            self.assertEqual(run("/sbin/e2fsck", "-f", "-n", f"{box.path}/large/rootdev")[0], 0)
            told = dict(re.findall(r"^Block (count|size): +(\d+)$", run("/sbin/dumpe2fs", "-h", f"{box.path}/large/rootdev")[1], re.MULTILINE))
            self.assertEqual(int(told["count"]) * int(told["size"]), 48 << 20)
            status, _, err = run(*copy, "-N", "smaller", "-L", "8M")
            self.assertEqual((status, "larger" in err, os.path.exists(f"{box.path}/smaller")), (1, True, False))

    def test_snapshots(self):
        with self.furnished() as box:
            self.same(box, "lxc-snapshot", "-L")
            self.same(box, "lxc-snapshot", "-r", "snap0")
            box.write(f"{box.path}/comment", "why\n")
            before = looks(box.root)
            self.assertEqual(box.ours("lxc-snapshot"), (0, "", ""))
            self.assertEqual(box.ours("lxc-snapshot", "-c", f"{box.path}/comment"), (0, "", ""))
            self.assertEqual(box.at(DEBIAN, "lxc-snapshot", env=self.env)[0], 0)
            self.assertRegex(self.same(box, "lxc-snapshot", "-L")[1], rf"^snap0 \({box.path}/web/snaps\) \d{{4}}:\d\d:\d\d \d\d:\d\d:\d\d\n")
            self.assertIn("\nwhy\n", self.same(box, "lxc-snapshot", "-L", "-C")[1])
            self.assertEqual(looks(box.root), before)
            self.same(box, "lxc-destroy")
            self.same(box, "lxc-copy", "-N", "x", "-R")
            os.remove(f"{box.root}/data/owned")
            box.write(f"{box.root}/data/more", "later")
            config = read(box.config)
            box.write(box.config, config + "lxc.tty.max = 3\n")
            self.assertEqual(box.ours("lxc-snapshot", "-r", "snap1"), (0, "", ""))
            self.assertEqual((looks(box.root, ()), read(box.config)), (looks(f"{box.path}/web/snaps/snap1/rootfs", ()), config))
            self.assertEqual(looks(box.root), before)
            self.assertEqual(sorted(os.listdir(f"{box.path}/web")), ["config", "rootfs", "snaps"])
            self.assertEqual(box.ours("lxc-snapshot", "-r", "snap0", "-N", "new"), (0, "", ""))
            self.assertEqual(looks(f"{box.path}/new/rootfs"), before)
            for args in (("-r", "snap7"), ("-d", "snap7"), ("-r", "../web"), ("-d", "..")):
                self.same(box, "lxc-snapshot", *args)
            self.assertEqual(box.ours("lxc-snapshot", "-d", "snap0"), (0, "", ""))
            self.assertEqual(box.ours("lxc-snapshot", "-d", "ALL"), (0, "", ""))
            self.assertEqual(sorted(os.listdir(f"{box.path}/web")), ["config", "rootfs"])
            self.assertEqual(box.ours("lxc-snapshot"), (0, "", ""))
            self.assertEqual(box.ours("lxc-destroy", "-s"), (0, "", ""))
            self.assertEqual(sorted(os.listdir(box.path)), ["comment", "new"])

    def test_a_way_back_that_is_killed_has_all_of_one_or_the_other(self):
        with self.furnished() as box:
            for i in range(300):
                box.write(f"{box.root}/data/many{i}", str(i))
            self.assertEqual(box.ours("lxc-snapshot"), (0, "", ""))
            then = looks(box.root)
            for i in range(300):
                box.write(f"{box.root}/data/many{i}", "later")
            now, seen = looks(box.root), set()
            for i in range(24):
                process = subprocess.Popen([f"{BIN}/lxc-snapshot", "-P", box.path, "-n", "web", "-r", "snap0"])
                time.sleep(0.004 * i)
                process.kill()
                process.wait()
                found = looks(box.root)
                self.assertIn(found, (now, then))
                seen.add(found == then)
            self.assertEqual(looks(f"{box.path}/web/snaps/snap0/rootfs"), then)
            self.assertEqual(box.ours("lxc-snapshot", "-r", "snap0"), (0, "", ""))
            self.assertEqual(looks(box.root), then)
            self.assertEqual(box.ours("lxc-destroy", "-s"), (0, "", ""))
            self.assertEqual(os.listdir(box.path), [])

    def test_nothing_is_started_while_it_is_removed(self):
        with self.furnished('lxc.hook.destroy = sh -c "env >$LXC_CONFIG_FILE.told; sleep 2"\n') as box:
            process = subprocess.Popen([f"{BIN}/lxc-destroy", "-P", box.path, "-n", "web"])
            eventually(lambda: os.path.exists(f"{box.config}.told"), "its hook")
            self.assertEqual(box.state(), "STOPPED")
            self.assertIn("another program works on 'web'", box.ours("lxc-start")[2])
            self.assertIn("another program", box.ours("lxc-destroy")[2] + box.ours("lxc-copy", "-N", "x")[2])
            self.assertIn(f"LXC_ROOTFS_PATH={box.root}\n", read(f"{box.config}.told"))
            self.assertIn("LXC_ROOTFS_MOUNT=/", read(f"{box.config}.told"))
            self.assertEqual(box.at(DEBIAN, "lxc-start")[0], 1)
            self.assertEqual(process.wait(60), 0)
            self.assertEqual(os.listdir(box.path), [])

    def test_a_way_back_that_fails_changes_nothing(self):
        with self.furnished() as box:
            with tempfile.TemporaryDirectory() as small:
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", small], check=True)
                try:
                    self.assertEqual(box.ours("lxc-copy", "-N", "x", "-p", small), (0, "", ""))
                    words = ("-P", small, "-n", "x")
                    self.assertEqual(run(f"{BIN}/lxc-snapshot", *words), (0, "", ""))
                    with contextlib.suppress(OSError), open(f"{small}/full", "wb", 0) as f:
                        while f.write(bytes(65536)):
                            pass
                    box.write(f"{small}/x/rootfs/etc/hostname", "")
                    before = looks(small, ())
                    status, _, err = run(f"{BIN}/lxc-snapshot", *words, "-r", "snap0")
                    self.assertEqual((status, "cp ended" in err), (1, True), err)
                    after = looks(small, ())
                    for each in (before, after):
                        del each["x"]  # its time
                    self.assertEqual(after, before)
                finally:
                    subprocess.run(["umount", small], check=True)


class Running(unittest.TestCase):
    """What is done to containers that run."""

    def test_devices(self):
        for where in (BIN, DEBIAN):
            with started(where) as box:
                for args in ((), ("add",), ("add", "/etc/passwd"), ("add", "/nothing/such"), ("mul", "/dev/full"), ("del", "/dev/full", "/x")):
                    self.assertEqual((box.ours("lxc-device", *args)[0], box.at(DEBIAN, "lxc-device", *args)[0]), (1, 1), args)
                self.assertEqual(box.ours("lxc-device", "--", "add", "/dev/full", "/data/below/full"), (0, "", ""))
                self.assertIn("1,   7", box.ours("lxc-attach", "--", "ls", "-l", "/data/below/full")[1])
                self.assertEqual(box.ours("lxc-attach", "--", "sh", "-c", "cat </data/below/full | true")[0], 0)
                self.assertEqual(box.ours("lxc-device", "add", "/dev/full", "/data/below/full")[0], 1)
                self.assertEqual(box.ours("lxc-device", "del", "/dev/zero", "/data/below/full")[0], 1)
                self.assertEqual(box.ours("lxc-device", "del", "/dev/full", "/data/below/full"), (0, "", ""))
                # A link of the container's leads nowhere but in it.
                os.symlink("/etc", f"{box.root}/data/link")
                self.assertEqual(box.ours("lxc-device", "add", "/dev/full", "/data/link/full"), (0, "", ""))
                self.assertTrue(os.path.exists(f"{box.root}/etc/full"))
        with Box() as box:
            self.assertEqual((box.ours("lxc-device", "add", "/dev/full")[0], box.at(DEBIAN, "lxc-device", "add", "/dev/full")[0]), (1, 1))

    def test_devices_that_it_may_not_open(self):
        if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            return  # its filter is that of its start
        config = "lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 1:3 rwm\nlxc.cgroup.devices.allow = c *:* m\n"
        for starts in (BIN, DEBIAN):
            for adds in (BIN, DEBIAN):
                with self.subTest(starts=starts, adds=adds), started(starts, config) as box:
                    root = f"/proc/{box.ours('lxc-info', '-pH')[1].strip()}/root"
                    reads = lambda at=box: at.ours("lxc-attach", "--", "sh", "-c", ": </dev/kmsg")[0] == 0
                    self.assertEqual(box.at(adds, "lxc-device", "add", "/dev/kmsg")[0], 0)
                    self.assertIn("1,  11", box.ours("lxc-attach", "--", "ls", "-l", "/dev/kmsg")[1])
                    self.assertTrue(reads())
                    self.assertEqual(box.at(adds, "lxc-device", "del", "/dev/kmsg")[0], 0)
                    self.assertFalse(os.path.exists(f"{root}/dev/kmsg"))
                    # Its permission has gone with it.
                    os.mknod(f"{root}/dev/kmsg", 0o666 | stat.S_IFCHR, os.makedev(1, 11))
                    self.assertFalse(reads())

    def test_interfaces(self):
        # In a namespace of its own: nothing of this machine's is moved.
        with Box() as box:
            words = f"-P {box.path} -n web"
            script = (f"set -e; export PATH={BIN}:$PATH; ip link add some type veth peer name more; lxc-start {words}; lxc-device {words} add some other; "
                      f"lxc-attach {words} -- cat /proc/net/dev; ! lxc-device {words} del some; lxc-device {words} del other back; "
                      f"ip -br link show dev back; lxc-stop {words} -k")
            status, out, err = run("unshare", "-n", "sh", "-c", script)
            self.assertEqual((status, "other:" in out, "back" in out), (0, True, True), out + err)

    def test_what_they_use(self):
        for where in (BIN, DEBIAN):
            with self.subTest(where):
                self.look_at(where)

    def look_at(self, where):
        with started(where) as box, Terminal(f"{DEBIAN}/lxc-top", "-P", box.path, "-b") as theirs:
            head = theirs.until("\r\n")
            ours = subprocess.Popen([f"{BIN}/lxc-top", "-P", box.path, "-b", "-d", "1"], stdout=subprocess.PIPE, text=True)
            try:
                self.assertEqual(ours.stdout.readline(), head + "\n")
                mine, other = ours.stdout.readline().strip().split(","), []
                while len(other) < 2:  # it says first what it cannot read
                    other = theirs.until("\r\n").split(",")
                self.assertEqual((mine[1], len(mine)), (other[1], len(other)))
                self.assertTrue(all(one.isdigit() for one in mine[2:]), mine)
                self.assertGreater(int(mine[2]), 0)
                # Not at the same moment: a shell forks, slabs are freed.
                self.assertAlmostEqual(int(mine[7]), int(other[7]), delta=8 << 20)
                self.assertIn(",web,", ours.stdout.readline())
            finally:
                ours.kill()
                ours.wait()
                ours.stdout.close()
            self.assertEqual(box.ours("lxc-top")[0], 1)
            for args in (("-d", "x"), ("-d", "0"), ("-s", "z")):
                self.assertEqual(run(f"{BIN}/lxc-top", *args)[0], 1)

    def test_what_they_use_on_a_terminal(self):
        with started() as box, Terminal(f"{BIN}/lxc-top", "-P", box.path) as user:
            user.until("TOTAL 1 of 1")
            for key in "cbmsknrr":
                user.type(key)
                user.until("TOTAL 1 of 1")
            user.type("q")
            self.assertEqual(user.process.wait(60), 0)
            self.assertTrue(user.restored())


class Others(unittest.TestCase):
    def tool(self, name, *args, **more):
        return run(f"{BIN}/{name}", *args, **more)

    def test_a_container_from_busybox(self):
        with tempfile.TemporaryDirectory() as path:
            given = f"{path}/given"
            Box.write(given, NETLESS)
            words = ("-P", path, "-n", "made")
            self.assertEqual(self.tool("lxc-create", *words, "-t", "busybox", "-f", given), (0, "", ""))
            self.assertEqual(self.tool("lxc-create", *words, "-t", "none")[0], 1)
            self.assertEqual(self.tool("lxc-start", *words)[::2], (0, ""))
            self.assertEqual(self.tool("lxc-attach", *words, "--", "/bin/hostname")[1], "made\n")
            self.assertEqual(self.tool("lxc-stop", *words, "-t", "60")[0], 0)
            self.assertEqual(self.tool("lxc-destroy", *words)[0], 0)
            self.assertEqual(os.listdir(path), ["given"])

    def test_a_container_from_a_directory_and_an_archive(self):
        with Box() as box:
            subprocess.run(["tar", "-cf", f"{box.path}/tar", "-C", box.root, "."], check=True)
            for name, template in (("a", box.root), ("b", f"{box.path}/tar")):
                words = ("-P", box.path, "-n", name)
                self.assertEqual(self.tool("lxc-create", *words, "-t", template, "-f", "/dev/null"), (0, "", ""))
                self.assertEqual(self.tool("lxc-execute", *words, "--", "/bin/hostname")[:2], (0, f"{name}\n"))
            self.assertEqual(self.tool("lxc-create", "-P", box.path, "-n", "c", "-t", "nothing-such", "-f", "/dev/null")[0], 1)
            self.assertFalse(os.path.exists(f"{box.path}/c"))

    def test_a_container_from_a_script(self):
        with tempfile.TemporaryDirectory() as path:
            script, given = f"{path}/script", f"{path}/given"
            Box.write(script, '#!/bin/sh\nprintf "<%s>" "$@"; pwd; mkdir -p "$LXC_TEST/tmp"\necho "lxc.tty.max = 3" >>"${1#--path=}/config"\n', 0o755)
            Box.write(given, NETLESS)
            made = []
            for where in (BIN, DEBIAN):
                with unittest.mock.patch.dict(os.environ, {"LXC_TEST": path}):
                    one = run(f"{where}/lxc-create", "-P", path, "-n", "made", "-t", script, "-f", given, "--", "--own", "x y")
                made.append((*one, re.sub("lxc.uts.name.*\n", "", read(f"{path}/made/config")), sorted(os.listdir(f"{path}/made"))))
                shutil.rmtree(f"{path}/made")
            self.assertEqual(*made)
            self.assertIn(f"<--path={path}/made><--name=made><--rootfs={path}/made/rootfs><--own><x y>", made[0][1])
            self.assertTrue(made[0][3].startswith(f"# Template used to create this container: {script}\n"), made[0][3])
            self.assertIn("lxc.tty.max = 3\n", made[0][3])
            # One that fails, and one that must not be run; an archive stays one, whatever its mode is.
            Box.write(f"{path}/fails", "#!/bin/sh\nexit 3\n", 0o755)
            Box.write(f"{path}/plain", "#!/bin/sh\nexit 0\n")
            for where in (BIN, DEBIAN):
                for name in ("fails", "plain"):
                    self.assertEqual(run(f"{where}/lxc-create", "-P", path, "-n", "made", "-t", f"{path}/{name}", "-f", given)[0], 1)
                    self.assertFalse(os.path.exists(f"{path}/made"))
            subprocess.run(["tar", "-cf", f"{path}/tar", "-C", path, "given"], check=True)
            os.chmod(f"{path}/tar", 0o755)
            self.assertEqual(self.tool("lxc-create", "-P", path, "-n", "made", "-t", f"{path}/tar", "-f", given), (0, "", ""))
            self.assertTrue(os.path.exists(f"{path}/made/rootfs/given"))

    def test_kinds_of_storage(self):
        with tempfile.TemporaryDirectory() as path:
            for kind, status in (("none", 0), ("dir", 0), ("loop", 0), ("nothing-such", 1)):
                for where in (BIN, DEBIAN):
                    self.assertEqual(run(f"{where}/lxc-create", "-P", path, "-n", "x", "-t", "none", "-B", kind, "-f", "/dev/null")[0], status)
                    self.assertEqual(os.path.exists(f"{path}/x/config"), status == 0)
                    shutil.rmtree(f"{path}/x", ignore_errors=True)

    def test_a_container_in_an_image(self):
        with Box("lxc.console.path = none\n") as box:
            given = f"{box.path}/given"
            box.write(given, NETLESS + "lxc.console.path = none\n")
            for kind, size, bytes in (("ext4", "64M", 64 << 20), ("ext2", "48", 48 << 20)):
                with self.subTest(kind):
                    words = ("-P", box.path, "-n", f"in-{kind}")
                    self.assertEqual(self.tool("lxc-create", *words, "-t", box.root, "-B", "loop", "--fstype", kind, "--fssize", size, "-f", given), (0, "", ""))
                    image = f"{box.path}/in-{kind}/rootdev"
                    self.assertEqual((os.path.getsize(image), os.listdir(f"{box.path}/in-{kind}/rootfs")), (bytes, []))
                    self.assertIn(f"lxc.rootfs.path = loop:{image}\n", read(f"{box.path}/in-{kind}/config"))
                    # By both, and what one writes is there for the other.
                    for where in (BIN, DEBIAN):
                        self.assertEqual(run(f"{where}/lxc-execute", *words, "--", "sh", "-c", f"grep -c ' / ext[24] ' /proc/mounts; ls /data/new 2>/dev/null; : >/data/new")[:2],
                                         (0, "1\n" + ("/data/new\n" if where == DEBIAN else "")))
                    self.assertEqual(self.tool("lxc-destroy", *words), (0, "", ""))
            # What goes wrong leaves nothing.
            for wrong in (("--fssize", "x"), ("--fssize", "-1"), ("--fssize", "99999999999999G"), ("--fstype", "nothing-such"), ("--dir", f"{box.path}/x"),
                          ("-t", "/nothing/such", "--fssize", "64M"), ("-t", f"{box.path}/web/config", "--fssize", "64M")):
                self.assertEqual(self.tool("lxc-create", "-P", box.path, "-n", "x", "-t", box.root, "-B", "loop", "-f", given, *wrong)[0], 1, wrong)
                self.assertEqual(sorted(os.listdir(box.path)), ["given", "web"])
            for more in (("--fssize", "64M"), ("--fstype", "ext4"), ("--lvname", "x")):
                self.assertEqual(self.tool("lxc-create", "-P", box.path, "-n", "x", "-t", box.root, "-f", given, *more)[0], 1)
        self.assertNotIn(box.path, run("losetup", "-a")[1])

    def test_what_is_not_made_to_its_end(self):
        with Box() as box, tempfile.TemporaryDirectory() as tools:
            box.write(f"{tools}/cp", "#!/bin/sh\nexec sleep 1000\n", 0o755)
            words = ("-P", box.path, "-n", "x", "-t", box.root, "-f", "/dev/null")
            process = subprocess.Popen([f"{BIN}/lxc-create", *words], stderr=subprocess.PIPE, text=True,
                                       env=dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}"))
            eventually(lambda: os.path.exists(f"{box.path}/x/rootfs"), "its beginning")
            self.assertEqual(self.tool("lxc-create", *words)[0], 1)
            self.assertIn("being made", self.tool("lxc-destroy", "-P", box.path, "-n", "x")[2])
            process.terminate()
            self.assertEqual((process.wait(60), os.listdir(box.path)), (1, ["web"]))
            process.stderr.close()
            self.assertEqual(self.tool("lxc-create", *words, "--dir", "/dev/null/x")[0], 1)
            self.assertEqual(os.listdir(box.path), ["web"])

    def test_cgroup(self):
        name, value = ("cpu.weight", "77") if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else ("cpu.shares", "512")
        for where in (BIN, DEBIAN):
            with started(where) as box:
                self.assertEqual(box.ours("lxc-cgroup", name, value), (0, "", ""))
                for tools in (BIN, DEBIAN):
                    self.assertEqual(box.at(tools, "lxc-cgroup", name)[:2], (0, f"{value}\n\n"))
                self.assertEqual(box.ours("lxc-cgroup", "nothing.such")[0], 1)
                self.assertEqual(box.ours("lxc-cgroup", "../x")[0], 1)

    def test_places_of_cgroups(self):
        def places(box):
            pid = box.ours("lxc-info", "-pH")[1].strip()
            return sorted({line.split(":", 2)[2] for line in read(f"/proc/{pid}/cgroup").splitlines()} - {"/"})

        def left(top):
            return glob.glob(f"/sys/fs/cgroup/{top}*") + glob.glob(f"/sys/fs/cgroup/*/{top}*")
        top = f"test-{os.getpid()}"
        inner = f"lxc.cgroup.dir.monitor = {top}/m\nlxc.cgroup.dir.container = {top}/c\nlxc.cgroup.dir.container.inner = ns\n"
        name, value = ("cpu.weight", "77") if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else ("cpu.shares", "512")
        for config, home in ((f"lxc.cgroup.dir = {top}\n", f"/{top}/lxc.payload.web"), (inner, f"/{top}/c/ns")):
            for where in (BIN, DEBIAN):
                with self.subTest(home=home, where=where), started(where, config) as box:
                    self.assertEqual(places(box), [home])
                    for tools in (BIN, DEBIAN):
                        self.assertEqual(box.at(tools, "lxc-cgroup", name, value)[0], 0)
                        self.assertEqual(box.at(tools, "lxc-cgroup", name)[:2], (0, f"{value}\n\n"))
                    # The limits are on the outer one.
                    (file,) = glob.glob(f"/sys/fs/cgroup/{home.removesuffix('/ns')}/{name}") or glob.glob(
                        f"/sys/fs/cgroup/cpu{home.removesuffix('/ns')}/{name}")
                    if where == BIN:
                        self.assertEqual(read(file), f"{value}\n")
                    self.assertEqual(box.ours("lxc-attach", "--", "sh", "-c", "sed -n '/:\\/$/!p' /proc/self/cgroup")[:2], (0, ""))
                    self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                if where == BIN:
                    eventually(lambda: not left(top), "that they are gone")
                for folder in sorted(left(top)):  # LXC's stay
                    for at, _, _ in os.walk(folder, topdown=False):
                        os.rmdir(at)
        with started() as box:  # without: names that nobody else has
            self.assertRegex(" ".join(places(box)), r"^/condroid-[0-9a-f]+/web\.\d+$")

    def test_a_pattern_for_all_cgroups(self):
        top = f"test-pattern-{os.getpid()}"
        settings = f"mount -t tmpfs tmpfs /etc/lxc && echo 'lxc.cgroup.pattern = /{top}/%n' >/etc/lxc/lxc.conf && exec \"$@\""

        def remove():
            for folder in glob.glob(f"/sys/fs/cgroup/{top}*") + glob.glob(f"/sys/fs/cgroup/*/{top}*"):
                for at, _, _ in os.walk(folder, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(at)
            return not glob.glob(f"/sys/fs/cgroup/{top}*") + glob.glob(f"/sys/fs/cgroup/*/{top}*")
        try:
            for config, home in (("", f"/{top}/web/payload"), (f"lxc.cgroup.dir = {top}-own\n", f"/{top}-own/lxc.payload.web")):
                for where in (BIN, DEBIAN):
                    with self.subTest(where=where, config=config), Box(config) as box:
                        status, _, err = run("unshare", "-m", "sh", "-c", settings, "sh", f"{where}/lxc-start", "-P", box.path, "-n", box.name)
                        self.assertEqual(status, 0, err)
                        eventually(lambda b=box: os.path.exists(f"{b.root}/booted"), "boot")
                        pid = box.ours("lxc-info", "-pH")[1].strip()
                        self.assertEqual({line.split(":", 2)[2] for line in read(f"/proc/{pid}/cgroup").splitlines()}, {home})
                    eventually(remove, "an end of its cgroups", 30)
        finally:
            remove()

    def test_cgroups_below_who_starts_it(self):
        top, homes = f"test-relative-{os.getpid()}", []
        for line in read("/proc/self/mountinfo").splitlines():
            fields = line.split()
            if line.rpartition(" - ")[2].startswith("cgroup") and fields[3] == "/":
                homes.append(f"{fields[4]}/{top}")
        for home in homes:
            os.mkdir(home)
            for file in ("cpuset.cpus", "cpuset.mems"):  # of version 1: without, nobody may be in it
                if os.path.exists(f"{home}/tasks") and os.path.exists(f"{home}/{file}"):
                    Box.write(f"{home}/{file}", read(f"{os.path.dirname(home)}/{file}"))

        def go_there():
            for home in homes:
                with open(f"{home}/cgroup.procs", "w") as procs:
                    procs.write("0")
        try:
            for where, setting, place in ((BIN, 1, rf"^/{top}/condroid-[0-9a-f]+/web\.\d+$"), (BIN, 0, r"^/condroid-[0-9a-f]+/web\.\d+$"),
                                          (DEBIAN, 1, rf"^/{top}/lxc\.payload\.web(-\d+)?$"), (DEBIAN, 0, r"^/lxc\.payload\.web(-\d+)?$")):
                with self.subTest(where=where, setting=setting), Box(f"lxc.cgroup.relative = {setting}\n") as box:
                    status, _, err = box.at(where, "lxc-start", preexec_fn=go_there)
                    self.assertEqual(status, 0, err)
                    eventually(lambda b=box: os.path.exists(f"{b.root}/booted"), "boot")
                    pid = box.ours("lxc-info", "-pH")[1].strip()
                    for line in read(f"/proc/{pid}/cgroup").splitlines():
                        self.assertRegex(line.split(":", 2)[2], place)
        finally:
            def gone(home):
                for at, _, _ in os.walk(home, topdown=False):  # LXC's stay
                    with contextlib.suppress(OSError):
                        os.rmdir(at)
                return not os.path.exists(home)
            for home in homes:
                eventually(lambda h=home: gone(h), "an end of its cgroups", 30)

    def test_monitor(self):
        # Either's lxc-monitor, of a container of either's.
        for looks, starts in ((BIN, BIN), (BIN, DEBIAN), (DEBIAN, BIN)):
            with self.subTest(looks=looks, starts=starts), Box() as box:
                fifo = f"/run/lxc/{box.path}/monitor-fifo"
                monitor = subprocess.Popen([f"{looks}/lxc-monitor", "-P", box.path, "-n", "we."], stdout=subprocess.PIPE, text=True)
                try:
                    if looks == BIN:
                        eventually(lambda at=fifo: is_read(at), "that it is taken", 20)
                        self.assertEqual(self.tool("lxc-monitor", "-P", box.path)[0], 1)
                    else:
                        self.until_it_tells(box, fifo, monitor)
                    self.assertEqual(box.at(starts, "lxc-start")[0], 0)
                    self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                    told = (line for line in monitor.stdout if not line.startswith("'wex'"))
                    lines = [next(told).split("'", 2)[2].strip() for _ in range(5)]
                    self.assertEqual(lines, ["changed state to [STARTING]", "changed state to [RUNNING]", lines[2],
                                             "changed state to [STOPPING]", "changed state to [STOPPED]"])
                    self.assertRegex(lines[2], "exited with status")
                finally:
                    monitor.kill()
                    monitor.wait()
                    monitor.stdout.close()
                    if looks == DEBIAN:
                        # Its daemon comes, is told, and goes.
                        for status in (0, 1):
                            eventually(lambda to=status, at=box: self.tool("lxc-monitor", "-Q", "-P", at.path)[0] == to, "its daemon", 40)
                    shutil.rmtree(os.path.dirname(fifo), ignore_errors=True)

    def until_it_tells(self, box, fifo, monitor):
        """LXC's hands on what its daemon reads, once both are there: asked by words of another container's."""
        def told():
            with contextlib.suppress(OSError):
                pipe = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                try:
                    os.write(pipe, struct.pack("i256si", 0, b"wex", 7))
                finally:
                    os.close(pipe)
            return select.select([monitor.stdout], [], [], 0.1)[0]
        eventually(told, "that it tells", 40)
        while select.select([monitor.stdout], [], [], 0.5)[0]:
            self.assertEqual(monitor.stdout.readline(), "'wex' changed state to [THAWED]\n")

    def test_monitor_of_what_is_frozen(self):
        for where in (BIN, DEBIAN):
            with started(where) as box:
                monitor = subprocess.Popen([f"{BIN}/lxc-monitor", "-P", box.path], stdout=subprocess.PIPE, text=True)
                fifo = f"/run/lxc/{box.path}/monitor-fifo"
                try:
                    eventually(lambda at=fifo: is_read(at), "that it is taken", 20)
                    for tool in ("lxc-freeze", "lxc-unfreeze"):
                        self.assertEqual(box.ours(tool), (0, "", ""))
                    told = [re.search(r"\[(.*)\]", monitor.stdout.readline())[1] for _ in range(4)]
                    self.assertEqual(told, ["FREEZING", "FROZEN", "THAWED", "RUNNING"])
                finally:
                    monitor.kill()
                    monitor.wait()
                    monitor.stdout.close()
                    shutil.rmtree(os.path.dirname(fifo), ignore_errors=True)

    def test_monitor_of_two_paths(self):
        with Box() as box, Box(name="other") as other:
            monitor = subprocess.Popen([f"{BIN}/lxc-monitor", "-P", box.path, "-P", other.path], stdout=subprocess.PIPE, text=True)
            pipes = [f"/run/lxc/{one.path}/monitor-fifo" for one in (box, other)]
            try:
                eventually(lambda: all(is_read(p) for p in pipes), "that they are taken", 20)
                self.assertEqual(self.tool("lxc-monitor", "-P", other.path)[0], 1)
                for one in (other, box):
                    self.assertEqual(one.ours("lxc-start")[0], 0)
                    seen = [monitor.stdout.readline() for _ in range(2)]
                    self.assertEqual(seen, [f"'{one.name}' changed state to [{state}]\n" for state in ("STARTING", "RUNNING")])
            finally:
                monitor.kill()
                monitor.wait()
                monitor.stdout.close()
                for p in pipes:
                    shutil.rmtree(os.path.dirname(p), ignore_errors=True)

    def test_monitor_of_a_user(self):
        with Box() as box:
            home = f"{box.path}/home"
            os.mkdir(home)
            os.chown(home, 1234, 1234)
            os.chmod(box.path, 0o755)
            for more, below in (({}, f"{home}/.cache/lxc/run"), ({"XDG_RUNTIME_DIR": f"{home}"}, home)):
                fifo = f"{below}/lxc/{box.path}/monitor-fifo"
                for where in (BIN, DEBIAN):
                    # A user has no way to the build's directory where that is root's alone.
                    with open(f"{BIN}/lxc-monitor", "rb") as program:
                        monitor = subprocess.Popen([f"{where}/lxc-monitor" if where == DEBIAN else f"/proc/self/fd/{program.fileno()}",
                                                    *(["lxc-monitor"] if where == BIN else []), "-P", box.path], user=1234, group=1234,
                                                   extra_groups=[], pass_fds=[program.fileno()], stdout=subprocess.DEVNULL,
                                                   env={"PATH": "/usr/bin:/bin", "HOME": home, **more})
                    try:
                        eventually(lambda at=fifo: os.path.exists(at), "the pipe", 20)
                    finally:
                        monitor.kill()
                        monitor.wait()
                        if where == DEBIAN:
                            # Its daemon comes, is told, and goes.
                            for status in (0, 1):
                                eventually(lambda to=status: self.tool("lxc-monitor", "-Q", "-P", box.path)[0] == to, "its daemon", 40)
                    with contextlib.suppress(FileNotFoundError):
                        os.remove(fifo)

    def test_keys(self):
        binary = f"{os.path.dirname(BIN)}/condroid-lxc"
        self.assertIn("\nlxc.uts.name\n    ", run(binary, "--keys")[1])
        status, out, err = run(binary, "--keys", "lxc.cap.")
        self.assertEqual((status, err, [line for line in out.split("\n") if line[:1] not in ("", " ")]), (0, "", ["lxc.cap.drop", "lxc.cap.keep"]))
        self.assertEqual(run(binary, "--keys", "nothing.such")[:2], (1, ""))

    def test_settings(self):
        for args in ((), ("-l",), ("lxc.lxcpath",), ("lxc.bdev.lvm.vg",)):
            status, out, err = run(f"{DEBIAN}/lxc-config", *args)
            self.assertEqual(self.tool("lxc-config", *args), (status, out.replace(f"{DEBIAN}/", ""), err))
        self.assertEqual(self.tool("lxc-config", "nothing.such")[0], 1)

    def test_an_old_configuration(self):
        with Box() as box:
            box.write(box.config, "lxc.utsname = old\nlxc.tty = 4\n# kept\n")
            status, out, _ = self.tool("lxc-update-config", "-c", box.config)
            self.assertEqual((status, out.count("\n")), (0, 2))
            self.assertEqual(read(box.config), "lxc.uts.name = old\nlxc.tty.max = 4\n# kept\n")
            self.assertEqual(read(f"{box.config}.backup"), "lxc.utsname = old\nlxc.tty = 4\n# kept\n")

    def test_autostart(self):
        with Box("lxc.start.auto = 1\nlxc.start.order = 1\n") as box:
            for name, more in (("first", "lxc.start.order = 9\nlxc.start.delay = 3\nlxc.start.auto = 1\n"),
                               ("in-a", "lxc.start.auto = 1\nlxc.group = a\n"), ("in-b", "lxc.start.auto = 1\nlxc.group = b\n"), ("never", "")):
                os.mkdir(f"{box.path}/{name}")
                box.write(f"{box.path}/{name}/config", f"lxc.uts.name = {name}\n{more}")
            for args in (("-L",), ("-L", "-a"), ("-L", "-g", "a"), ("-L", "-g", "a,"), ("-L", "-A"), ("-L", "-s", "-a"),
                         ("-L", "-g", "a", "-g", "b"), ("-L", "-g", "b", "-g", "a"), ("-L", "-g", "a", "-g", "")):
                command = ("lxc-autostart", "-P", box.path, *args)
                self.assertEqual(*(run(f"{where}/{command[0]}", *command[1:])[:2] for where in (BIN, DEBIAN)), args)
            shutil.rmtree(f"{box.path}/first")
            self.assertEqual(self.tool("lxc-autostart", "-P", box.path)[0], 0)
            self.assertEqual(box.state(), "RUNNING")
            self.assertEqual(self.tool("lxc-autostart", "-P", box.path, "-k")[0], 0)
            self.assertEqual(box.state(), "STOPPED")

    def test_autostart_of_what_fails(self):
        mine = f"fails-{os.getpid()}-"
        self.addCleanup(sweep, mine)
        with tempfile.TemporaryDirectory() as path:
            for auto, status in (("", 1), ("x", 1), ("xx", 1), ("xx-", 2), ("--", 0)):
                folders = [f"{path}/{mine}{i}" for i in range(len(auto))]
                for folder, kind in zip(folders, auto):
                    os.mkdir(folder)
                    Box.write(f"{folder}/config", f"{NETLESS}lxc.rootfs.path = dir:/nothing\nlxc.start.auto = {int(kind == 'x')}\n")
                for where in (BIN, DEBIAN):
                    self.assertEqual(run(f"{where}/lxc-autostart", "-P", path)[0], status, (auto, where))
                for folder in folders:
                    shutil.rmtree(folder)
            shutil.rmtree(f"/run/lxc/lock{path}", ignore_errors=True)

    def test_namespaces_by_their_words(self):
        for words in ("uts", "mnt|net", "Ipc", "time", "TIME", "mount", "network", "utsname"):
            # Debian's does not always find its own process in a new time namespace.
            theirs = 0 if words.lower() == "time" else run(f"{DEBIAN}/lxc-unshare", "-s", words, "true")[0]
            self.assertEqual(self.tool("lxc-unshare", "-s", words, "true")[0], theirs, words)
        names = f"import os; print(os.stat('/proc/self/ns/time').st_ino != {os.stat('/proc/self/ns/time').st_ino})"
        self.assertEqual(self.tool("lxc-unshare", "-s", "TIME", "--", sys.executable, "-c", names)[:2], (0, "True\n"))

    def test_all_ids_that_a_user_has(self):
        with tempfile.TemporaryDirectory() as path:
            for kind, first in (("uid", 200000), ("gid", 300000)):
                Box.write(f"{path}/{kind}", f"other:1:1\nroot:{first}:1000\n")
            script = (f"mount --bind {path}/uid /etc/subuid && mount --bind {path}/gid /etc/subgid && "
                      "{}/lxc-usernsexec -- sh -c 'cat /proc/self/[ug]id_map; id -u'")
            mine, theirs = (run("unshare", "-m", "sh", "-c", script.format(where)) for where in (BIN, DEBIAN))
            self.assertEqual((mine[0], mine[1].split()), (0, "0 300000 1000 0 200000 1000 0".split()), mine[2])
            self.assertEqual(mine[:2], theirs[:2])
            with open(f"{path}/uid", "a") as f:
                f.write("0:500000:7\n")
            self.assertIn("1000 500000 7", " ".join(run("unshare", "-m", "sh", "-c", script.format(BIN))[1].split()))
            for kind in ("uid", "gid"):
                Box.write(f"{path}/{kind}", "")
            self.assertEqual(run("unshare", "-m", "sh", "-c", script.format(BIN))[:2], (1, ""))

    def test_namespaces_alone(self):
        same = ("-s", "UTSNAME|NETWORK", "-H", "elsewhere", "--", "sh", "-c", "hostname; exit 4")
        self.assertEqual(self.tool("lxc-unshare", *same)[:2], (4, "elsewhere\n"))
        self.assertEqual(self.tool("lxc-unshare", "-s", "BAD", "true")[0], 1)
        self.assertEqual(self.tool("lxc-unshare", "-s", "PID")[0], 1)
        status, out, err = self.tool("lxc-usernsexec", "-m", "u:0:1000:10", "-m", "g:0:2000:10", "--", "sh", "-c",
                                     "id -u; id -g; cat /proc/self/uid_map; exit 6")
        self.assertEqual((status, out.split()), (6, "0 0 0 1000 10".split()), err)
        self.assertEqual(self.tool("lxc-usernsexec", "-m", "b:0:x:10")[0], 1)

    def test_namespaces_one_by_one(self):
        kinds = {"MOUNT": "mnt", "PID": "pid", "UTSNAME": "uts", "IPC": "ipc", "USER": "user", "NETWORK": "net", "CGROUP": "cgroup"}
        here = {name: os.readlink(f"/proc/self/ns/{name}") for name in kinds.values()}

        def other(where, words, *args):
            names = " ".join(f"/proc/self/ns/{name}" for name in here)
            status, out, err = run(f"{where}/lxc-unshare", "-s", words, *args, "--", "readlink", *names.split())
            self.assertEqual(status, 0, err)
            return [name for name, link in zip(here, out.split()) if link != here[name]]
        for where in (BIN, DEBIAN):
            for word, name in kinds.items():
                self.assertEqual(other(where, word), [name], (where, word))
            self.assertEqual(other(where, "|".join(kinds)), list(here), where)
        # Its ids, its name.
        for args, said in (((), "0 0 0"), (("-u", "5"), "5 5 0")):
            out = self.tool("lxc-unshare", "-s", "USER", *args, "--", "sh", "-c", "id -u; cat /proc/self/uid_map")[1]
            self.assertEqual(" ".join(out.split()), f"{said} 1")
        for where in (BIN, DEBIAN):
            self.assertEqual(run(f"{where}/lxc-unshare", "-s", "UTSNAME", "-H", "else.where", "--", "hostname")[:2], (0, "else.where\n"))
            for args in (("-s", "MOUNT", "-H", "x"), ("-s", "MOUNT", "-i", "lo")):
                self.assertEqual(run(f"{where}/lxc-unshare", *args, "--", "true")[:2], (1, ""), args)
        for args in (("-s", "UTSNAME", "-M"), ("-s", "MOUNT", "-u", "5")):
            self.assertEqual(self.tool("lxc-unshare", *args, "--", "true")[:2], (1, ""), args)

    def test_namespaces_with_their_own_files(self):
        # /proc of its pids, a /dev/shm and /dev/mqueue with nothing of here in it; and here is as it was.
        mounts = read("/proc/self/mounts")
        with tempfile.NamedTemporaryFile(dir="/dev/shm") as there:
            script = "echo $$; ls -d /proc/[0-9]* | head -1; ls /dev/shm | wc -l; grep -c ' /dev/mqueue mqueue' /proc/self/mounts"
            status, out, err = self.tool("lxc-unshare", "-s", "MOUNT|PID|IPC", "-M", "--", "sh", "-c", script)
            self.assertEqual((status, out.split()), (0, ["1", "/proc/1", "0", "1"]), err)
            self.assertTrue(os.path.exists(there.name))
        self.assertEqual(read("/proc/self/mounts"), mounts)

    def test_namespaces_with_interfaces(self):
        with own_network() as inside:
            for where in (BIN, DEBIAN):
                # Gone with its namespace: a cable's other end, too.
                number = "12"[where == DEBIAN]
                status, out, err = run(*inside, f"{where}/lxc-unshare", "-s", "NETWORK", "-i", f"cable{number}", "--", "sh", "-c",
                                       # LXC's does not wait for it.
                                       f"until ip -br link show dev cable{number} 2>/dev/null; do sleep 0.1; done; ip -br link")
                out = "\n".join(out.splitlines()[1:])
                self.assertEqual((status, sorted(line.split()[0].split("@")[0] for line in out.splitlines())), (0, sorted(["lo", f"cable{number}"])), err)
                eventually(lambda n=number: f"end{n}" not in run(*inside, "ip", "-br", "link")[1], "its end", 20)
            status, out, err = run(*inside, f"{BIN}/lxc-unshare", "-s", "NETWORK", "-i", "nothing", "--", "echo", "run")
            self.assertEqual((status, out, err.splitlines()[-1]), (1, "", "lxc-unshare: interface 'nothing' could not be moved"))

    def test_namespaces_in_the_background(self):
        for where in (BIN, DEBIAN):
            with tempfile.TemporaryDirectory() as path:
                os.mkfifo(f"{path}/go")
                self.assertEqual(run(f"{where}/lxc-unshare", "-d", "-s", "UTSNAME", "--", "sh", "-c",
                                     f"exec >{path}/said 2>&1; cat {path}/go; readlink /proc/self/ns/uts"), (0, "", ""))
                with open(f"{path}/go", "w"):
                    pass
                self.assertRegex(eventually(lambda at=path: os.path.exists(f"{at}/said") and read(f"{at}/said"), "its word"), r"uts:\[")
                self.assertNotEqual(read(f"{path}/said").strip(), os.readlink("/proc/self/ns/uts"))

    def test_what_works_here(self):
        status, out, _ = self.tool("lxc-checkconfig", "--try")
        self.assertEqual((status, "namespaces" in out), (0, True))

    def checked(self, where, **env):
        status, out, err = run(f"{where}/lxc-checkconfig", env=dict(os.environ, **env))
        return status, re.sub(r"(?m)^(LXC version 5\.0\.2).*|(?<=config )\S*(?=lxc-checkconfig$)", r"\1", out), bool(err)

    def test_what_a_kernel_was_built_with(self):
        usual = "".join(f"CONFIG_{o}=y\n" for o in "NAMESPACES UTS_NS PID_NS NET_NS SMP CPUSETS CGROUPS VETH".split()) + "CONFIG_BRIDGE=m\n"
        with tempfile.TemporaryDirectory() as there:
            for n, text in enumerate((
                    "# Linux/x86 6.1.0 Kernel Configuration\n" + usual + "CONFIG_USER_NS=y\nCONFIG_MEMCG=y\n",
                    "# Linux/x86_64 4.4.20 Kernel Configuration\n" + usual, "# Linux/x86 4.15.0 Kernel Configuration\n" + usual,
                    "# Linux kernel version: 2.6.32 Kernel Configuration\n" + usual + "CONFIG_CGROUP_MEM_RES_CTLR=y\n",
                    "# Linux/x86 3.2.1 Kernel Configuration\nCONFIG_SMP=y\n", usual, "")):
                Box.write(f"{there}/{n}", text)
                self.assertEqual(self.checked(BIN, CONFIG=f"{there}/{n}"), self.checked(DEBIAN, CONFIG=f"{there}/{n}"), text)
            self.assertEqual(run("gzip", f"{there}/0")[0], 0)
            self.assertEqual(self.checked(BIN, CONFIG=f"{there}/0.gz"), self.checked(DEBIAN, CONFIG=f"{there}/0.gz"))
            with Terminal("env", f"CONFIG={there}/0.gz", f"{BIN}/lxc-checkconfig") as ours, \
                    Terminal("env", f"CONFIG={there}/0.gz", f"{DEBIAN}/lxc-checkconfig") as theirs:
                shown = [t.until("Note :").partition("---")[2] for t in (ours, theirs)]
                self.assertEqual(*shown)
                self.assertIn("\033[1;31mrequired\033[0;39m", shown[0])
            self.assertEqual(self.checked(BIN, CONFIG=f"{there}/nothing")[::2], self.checked(DEBIAN, CONFIG=f"{there}/nothing")[::2])
        self.assertEqual(self.checked(BIN)[0], 0)
        if os.path.exists("/proc/config.gz"):
            self.assertEqual(self.checked(BIN), self.checked(DEBIAN))

    def test_a_kernel_that_does_not_tell_what_it_was_built_with(self):
        # Neither the file of the kernel nor those of the distribution are there.
        hide = "".join(f"[ ! -e {f} ] || mount --bind {with_} {f}; " for f, with_ in
                       (("/proc/config.gz", "/dev/null"), (f"/boot/config-{os.uname().release}", "/dev/null"),
                        (f"/lib/modules/{os.uname().release}/build/.config", "/dev/null")))
        status, out, err = run("unshare", "-m", "sh", "-ec", hide + f"exec {BIN}/lxc-checkconfig")
        self.assertEqual((status, err), (0, ""))
        for line in ("asking the running kernel", "Namespaces: enabled", "User namespace: enabled", "Cgroups: enabled", "CONFIG_EPOLL: enabled"):
            self.assertIn(line, out)
        self.assertRegex(out, r"Veth pair device: (enabled|missing)")


def main():
    missing = [p for p in ("busybox", "lxc-start") if shutil.which(p) is None]
    if missing or os.geteuid() != 0:
        print("needs root and", *(missing or ["nothing else"]))
        sys.exit(1 if "root" in os.environ.get("CONDROID_MUST_RUN", "") else 77)
    # Where a shell runs this in the background it is ignored, which Debian's lxc-start hands on to a container's init.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Whoever runs this may ignore some: Debian's programs have the container ignore them, too.
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    unittest.main(verbosity=1)


main()
