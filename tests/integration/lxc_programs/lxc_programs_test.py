#!/usr/bin/env python3
"""lxc_programs_test.py BIN [TEST...]: LXC's programs of ours, in the directory BIN, beside Debian's: ours on containers of
either, Debian's on ours, the same situations side by side; and what scripts and terminals meet.

Runs as root. Needs busybox-static and Debian's lxc; without them it ends with 77, or fails when CONDROID_MUST_RUN names root."""
import contextlib
import fcntl
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import unittest.mock

BIN = os.path.abspath(sys.argv.pop(1))
DEBIAN = "/usr/bin"
INIT = """#!/bin/sh
trap 'exit 0' PWR
trap 'reboot -f' INT
echo booted
: > /booted
while :; do sleep 1 & wait $!; done
"""
NETLESS = "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\nlxc.mount.auto = proc:mixed\n"


def run(*command, stdin="", timeout=30, **more):
    """Status, standard output, standard error."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, **more)
    return done.returncode, done.stdout, done.stderr


def eventually(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not (got := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return got


def read(path):
    with open(path) as f:
        return f.read()


class Box:
    """An LXCPATH with one container in it, whose root file system is busybox."""

    def __init__(self, config="", init=INIT, name="web"):
        self.path, self.name = tempfile.mkdtemp(prefix="condroid-lxc-"), name
        os.chmod(self.path, 0o755)
        self.root = f"{self.path}/{name}/rootfs"
        for folder in ("bin", "dev", "proc", "sys", "etc", "tmp", "root", "sbin", "data", "vendor"):
            os.makedirs(f"{self.root}/{folder}")
        shutil.copy(shutil.which("busybox"), f"{self.root}/bin/busybox")
        for applet in "sh sleep cat echo env id true false kill stty tty reboot hostname ps mount test touch ls tr".split():
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
        shutil.rmtree(self.path)


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

    def until(self, text, seconds=10):
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
                         ("--filter", "^w"), ("-g", "a"), ("-g", "a,b"), ("--active", "-1")):
                command = ("lxc-ls", "-P", box.path, *args)
                self.assertEqual(run(f"{BIN}/{command[0]}", *command[1:]), run(f"{DEBIAN}/{command[0]}", *command[1:]), args)

    def check_running(self, box):
        def figures(text):
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
        for args in (("-s", "RUNNING"), ("-s", "STOPPED|RUNNING"), ("-s", "FROZEN", "-t", "1")):
            self.same(box, "lxc-wait", *args)
        self.same(box, "lxc-start")
        for where, other in ((BIN, DEBIAN), (DEBIAN, BIN)):
            self.assertEqual(box.at(where, "lxc-freeze")[0], 0)
            for each in (where, other):
                self.assertEqual(box.at(each, "lxc-info", "-sH")[1], "FROZEN\n")
            self.assertEqual(box.at(each, "lxc-wait", "-s", "FROZEN", "-t", "5")[0], 0)
            self.assertEqual(box.at(other, "lxc-unfreeze")[0], 0)
            self.assertEqual(box.at(where, "lxc-info", "-sH")[1], "RUNNING\n")

    def check_ends(self, box, where):
        """Of one that runs; each way to end it, by the programs in `where`."""
        first = box.ours("lxc-info", "-pH")[1]
        self.assertEqual(box.at(where, "lxc-stop", "-r", "-t", "10")[0], 0)
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
                self.assertEqual(box.at(stops, "lxc-stop", "-t", "20")[0], 0)
                self.assertEqual(waiter.wait(10), 0)
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

    def test_execute(self):
        with Box() as box:
            for args in (("--", "sh", "-c", "exit 42"), ("--", "sh", "-c", "kill -9 $$"), ("--", "true"),
                         ("-u", "7", "-g", "8", "--", "id"), ("-s", "lxc.environment=A=b", "--", "env")):
                self.same(box, "lxc-execute", *args)
            self.assertEqual(box.ours("lxc-execute", "--", "cat", stdin="typed")[:2], (0, "typed"))
            self.assertEqual(box.ours("lxc-execute", "--", "/nothing/such")[0], 1)
            status, _, err = box.ours("lxc-execute")
            self.assertEqual((status, "lxc.execute.cmd" in err), (1, True))


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
            self.assertEqual(box.ours("lxc-wait", "-s", "RUNNING", "-t", "5")[0], 0)
            self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
            self.assertEqual(process.wait(10), 0)
            self.assertFalse(os.path.exists(pids))
            process.stdout.close()
            process.stderr.close()

    def test_a_killed_front_end_leaves_nothing(self):
        with Box() as box:
            process = subprocess.Popen([f"{BIN}/lxc-start", "-P", box.path, "-F", "-n", box.name], stdin=subprocess.DEVNULL)
            self.assertEqual(box.ours("lxc-wait", "-s", "RUNNING", "-t", "10")[0], 0)
            pid = int(box.ours("lxc-info", "-pH")[1])
            process.kill()
            process.wait()
            eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the end of its first process")
            self.assertEqual(box.state(), "STOPPED")

    def test_nobody_waits_for_a_pipe_of_the_background(self):
        with Box() as box:
            done = subprocess.run(f"{BIN}/lxc-start -P {box.path} {box.name} | cat", shell=True, capture_output=True, timeout=20)
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

    def test_a_hook_that_fails(self):
        with Box("lxc.hook.pre-start = /bin/false\n") as box:
            status, _, err = box.ours("lxc-start")
            self.assertEqual(status, 1)
            self.assertIn("hook", err)
            self.assertEqual(box.state(), "STOPPED")

    def test_shared_namespaces(self):
        with started() as box:
            os.makedirs(f"{box.path}/other")
            box.write(f"{box.path}/other/config", read(box.config).replace("lxc.net.0.type = empty\n", ""))
            status, out, err = run(f"{BIN}/lxc-execute", "-P", box.path, "-n", "other", "--share-net", box.name, "--",
                                   "/bin/sh", "-c", "ls -l /proc/self/ns/net")
            pid = box.ours("lxc-info", "-pH")[1].strip()
            self.assertEqual(status, 0, err)
            self.assertIn(os.readlink(f"/proc/{pid}/ns/net"), out)


class Terminals(unittest.TestCase):
    def lxc(self, tool, box, *args):
        return Terminal(f"{BIN}/{tool}", "-P", box.path, "-n", box.name, *args)

    def test_a_console_in_the_foreground(self):
        with Box() as box, self.lxc("lxc-start", box, "-F", "--", "/bin/sh") as user:
            eventually(user.raw, "a raw terminal")
            user.type("stty size; echo sa''id\n")
            self.assertIn("33 91", user.until("\nsaid"))
            user.type("exit\n")
            self.assertEqual(user.process.wait(10), 0)
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
                self.assertEqual(user.process.wait(10), 3)
                self.assertTrue(user.restored())

    def test_console(self):
        with started(BIN, "lxc.tty.max = 1\n") as box:
            with self.lxc("lxc-console", box, "-t", "1") as user:
                user.until("Connected to tty 1")
                eventually(user.raw, "a raw terminal")
                self.assertEqual(box.ours("lxc-attach", "--", "sh", "-c", "echo from inside >/dev/tty1")[0], 0)
                user.until("from inside")
                self.assertEqual(box.ours("lxc-console", "-t", "1")[0], 1)
                user.type("\x01q")
                self.assertEqual(user.process.wait(10), 0)
                self.assertTrue(user.restored())


class Waydroid(unittest.TestCase):
    """The commands of Waydroid's helpers/lxc.py, in their order, and what it makes of their output."""

    def test_a_session(self):
        config = """lxc.arch = x86_64
lxc.autodev = 0
lxc.no_new_privs = 0
lxc.cap.keep = audit_control sys_nice setpcap setgid setuid sys_ptrace sys_admin wake_alarm block_suspend sys_time net_admin net_raw net_bind_service kill dac_override dac_read_search fsetid mknod syslog chown sys_resource fowner ipc_lock sys_chroot
lxc.console.path = none
lxc.mount.entry = tmpfs dev tmpfs nosuid 0 0
lxc.mount.entry = /dev/zero dev/zero none bind,create=file,optional 0 0
lxc.mount.entry = /dev/null dev/null none bind,create=file,optional 0 0
lxc.mount.entry = /dev/nothing-such dev/nothing none bind,create=file,optional 0 0
lxc.mount.entry = none dev/pts devpts defaults,mode=644,ptmxmode=666,create=dir 0 0
lxc.mount.entry = tmpfs tmp tmpfs nodev 0 0
lxc.mount.entry = SOURCE data none rbind 0 0
"""
        with tempfile.TemporaryDirectory() as data, Box(config.replace("SOURCE", data)) as box:
            subprocess.run(["mount", "--bind", box.root, box.root], check=True)
            mounted = True
            try:
                self.assertRegex(run(f"{BIN}/lxc-info", "--version")[1], r"^5.*\n$")
                self.assertEqual(box.ours("lxc-info", "-sH")[:2], (0, "STOPPED\n"))
                box.write(f"{box.root}/init", INIT, 0o755)
                session = subprocess.Popen([f"{BIN}/lxc-start", "-P", box.path, "-F", "-n", box.name, "--", "/init"],
                                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                eventually(lambda: box.state() == "RUNNING", "RUNNING")
                eventually(lambda: b"booted" in session.stdout.readline(), "its output in the pipe")
                status, out, _ = box.ours("lxc-attach", "--clear-env", "--", "/bin/cat", "/etc/passwd")
                self.assertEqual((status, out[:5]), (0, "root:"))
                words = [w for i in range(10) for w in ("--set-var", f"V{i}={'x' * 1500}")]
                status, out, _ = box.ours("lxc-attach", "--clear-env", *words, "--uid=0", "--gid=0", "--", "/bin/env")
                self.assertEqual((status, out.count("x" * 1500)), (0, 10))
                self.assertEqual(box.ours("lxc-freeze")[0], 0)
                self.assertEqual(box.state(), "FROZEN")
                self.assertEqual(box.ours("lxc-unfreeze")[0], 0)
                self.assertEqual(box.state(), "RUNNING")
                self.assertEqual(box.ours("lxc-freeze")[0], 0)
                self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                while box.state() != "STOPPED":
                    pass
                # At once: nothing of the guest may hold it any more.
                subprocess.run(["umount", box.root], check=True)
                mounted = False
                self.assertEqual(session.wait(10), 0)
                session.stdout.close()
            finally:
                if mounted:
                    box.ours("lxc-stop", "-k")
                    subprocess.run(["umount", "-l", box.root], check=True)


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

    def test_completion(self):
        script = run(f"{os.path.dirname(BIN)}/condroid-lxc", "--bash-completion")[1]
        asks = "COMP_WORDS=(lxc-stop --no); COMP_CWORD=1; _condroid_lxc; echo ${COMPREPLY[@]}"
        self.assertEqual(run("bash", "-c", f"{script}\n{asks}")[:2], (0, "--nowait --nolock --nokill\n"))

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
            self.assertEqual(self.tool("lxc-stop", *words, "-t", "5")[0], 0)
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

    def test_cgroup(self):
        name, value = ("cpu.weight", "77") if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else ("cpu.shares", "512")
        for where in (BIN, DEBIAN):
            with started(where) as box:
                self.assertEqual(box.ours("lxc-cgroup", name, value), (0, "", ""))
                for tools in (BIN, DEBIAN):
                    self.assertEqual(box.at(tools, "lxc-cgroup", name)[:2], (0, f"{value}\n\n"))
                self.assertEqual(box.ours("lxc-cgroup", "nothing.such")[0], 1)
                self.assertEqual(box.ours("lxc-cgroup", "../x")[0], 1)

    def test_monitor(self):
        with Box() as box:
            monitor = subprocess.Popen([f"{BIN}/lxc-monitor", "-P", box.path, "-n", "we."], stdout=subprocess.PIPE, text=True)
            fifo = f"/run/lxc/{box.path}/monitor-fifo"
            eventually(lambda: os.path.exists(fifo), "the pipe")
            try:
                eventually(lambda: self.tool("lxc-monitor", "-P", box.path)[0] == 1, "that it is taken")
                self.assertEqual(box.ours("lxc-start")[0], 0)
                self.assertEqual(box.ours("lxc-stop", "-k")[0], 0)
                lines = [monitor.stdout.readline().split("'", 2)[2].strip() for _ in range(5)]
                self.assertEqual(lines, ["changed state to [STARTING]", "changed state to [RUNNING]", lines[2],
                                         "changed state to [STOPPING]", "changed state to [STOPPED]"])
                self.assertRegex(lines[2], "exited with status")
            finally:
                monitor.kill()
                monitor.wait()
                monitor.stdout.close()
                shutil.rmtree(os.path.dirname(fifo), ignore_errors=True)

    def test_settings(self):
        for args in (("-l",), ("lxc.lxcpath",), ("lxc.bdev.lvm.vg",)):
            self.assertEqual(self.tool("lxc-config", *args), run(f"{DEBIAN}/lxc-config", *args))
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
                               ("in-a", "lxc.start.auto = 1\nlxc.group = a\n"), ("never", "")):
                os.mkdir(f"{box.path}/{name}")
                box.write(f"{box.path}/{name}/config", f"lxc.uts.name = {name}\n{more}")
            for args in (("-L",), ("-L", "-a"), ("-L", "-g", "a"), ("-L", "-g", "a,"), ("-L", "-A"), ("-L", "-s", "-a")):
                command = ("lxc-autostart", "-P", box.path, *args)
                self.assertEqual(*(run(f"{where}/{command[0]}", *command[1:])[:2] for where in (BIN, DEBIAN)), args)
            shutil.rmtree(f"{box.path}/first")
            self.assertEqual(self.tool("lxc-autostart", "-P", box.path)[0], 0)
            self.assertEqual(box.state(), "RUNNING")
            self.assertEqual(self.tool("lxc-autostart", "-P", box.path, "-k")[0], 0)
            self.assertEqual(box.state(), "STOPPED")

    def test_namespaces_alone(self):
        same = ("-s", "UTSNAME|NETWORK", "-H", "elsewhere", "--", "sh", "-c", "hostname; exit 4")
        self.assertEqual(self.tool("lxc-unshare", *same)[:2], (4, "elsewhere\n"))
        self.assertEqual(self.tool("lxc-unshare", "-s", "BAD", "true")[0], 1)
        self.assertEqual(self.tool("lxc-unshare", "-s", "PID")[0], 1)
        status, out, err = self.tool("lxc-usernsexec", "-m", "u:0:1000:10", "-m", "g:0:2000:10", "--", "sh", "-c",
                                     "id -u; id -g; cat /proc/self/uid_map; exit 6")
        self.assertEqual((status, out.split()), (6, "0 0 0 1000 10".split()), err)
        self.assertEqual(self.tool("lxc-usernsexec", "-m", "b:0:x:10")[0], 1)

    def test_what_works_here(self):
        status, out, _ = self.tool("lxc-checkconfig")
        self.assertEqual((status, "namespaces" in out), (0, True))


def main():
    missing = [p for p in ("busybox", "lxc-start") if shutil.which(p) is None]
    if missing or os.geteuid() != 0:
        print("needs root and", *(missing or ["nothing else"]))
        sys.exit(1 if "root" in os.environ.get("CONDROID_MUST_RUN", "") else 77)
    unittest.main(verbosity=1)


main()
