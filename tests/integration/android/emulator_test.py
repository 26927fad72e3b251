#!/usr/bin/env python3
"""condroid-emulator as a person uses it, with a program that plays Android's init.

usage: emulator_test.py CONDROID_EMULATOR FAKE_INIT [Class.test]
"""

import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import xml.dom.minidom

PROGRAM = pathlib.Path(sys.argv[1]).resolve()
FAKE_INIT = pathlib.Path(sys.argv[2]).resolve()
PATIENCE = 60

ROOT_DIRS = """acct apex bootstrap-apex config data debug_ramdisk dev linkerconfig metadata mnt mnt_extra odm oem postinstall
proc product run second_stage_resources storage sys system/bin system/etc system_ext tmp var vendor""".split()

DEVICE = """name = "{name}"
data = "{name}-data"
binder = "none"
system.directory = "system"
[androidboot]
hardware = "fake"
serialno = 7
[limits]
pids = 500
"""


class Emulator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="test-emulator.", dir="/tmp"))
        cls.place.chmod(0o755)
        root = cls.place / "system"
        for name in ROOT_DIRS:
            (root / name).mkdir(parents=True)
        shutil.copy(FAKE_INIT, root / "init")
        (root / "vendor/waydroid.prop").touch()
        shutil.copy(shutil.which("busybox", path="/bin:/usr/bin"), root / "system/bin/busybox")
        for name in ("sh", "echo", "cat", "mkdir", "mount", "stty", "tty"):
            (root / "system/bin" / name).symlink_to("busybox")
        logcat = root / "system/bin/logcat"
        logcat.write_text('#!/system/bin/sh\necho "logs $1"\nexit 3\n')
        logcat.chmod(0o755)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.place)

    def setUp(self):
        self.started = []
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="state.", dir=self.place))

    def tearDown(self):
        for program in self.started:
            if program.poll() is None:
                program.kill()
                program.wait()
            for stream in (program.stdout, program.stderr):
                if stream:
                    stream.close()

    def command(self, *args):
        return [PROGRAM, "--state", self.state, *args]

    def run_it(self, *args, **more):
        return subprocess.run(self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE, check=False, **more)

    def device(self, name, text=None):
        file = self.place / f"{name}.toml"
        file.write_text(DEVICE.format(name=name) if text is None else text)
        (self.place / f"{name}-data").mkdir(exist_ok=True)
        return file

    def start(self, *args):
        program = subprocess.Popen(self.command("start", *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   bufsize=1)
        self.started.append(program)
        return program

    def read_until(self, program, *words):
        """Lines of its output until each word was in one of them."""
        lines, missing = [], set(words)
        while missing:
            if not select.select([program.stdout], [], [], PATIENCE)[0]:
                self.fail(f"no {missing} in {lines}")
            line = program.stdout.readline()
            if not line:
                self.fail(f"ended without {missing}: {lines} {program.stderr.read()}")
            lines.append(line)
            missing = {w for w in missing if w not in line}
        return lines

    def booted(self, *files):
        program = self.start(*files)
        names = [file.stem for file in files]
        # One line at a time, and nothing else buffered behind it: text streams read ahead.
        seen = ""
        end = time.monotonic() + PATIENCE
        os.set_blocking(program.stdout.fileno(), False)
        while not all(any(l.startswith(n) and l.endswith("boot completed") for l in seen.splitlines()) for n in names):
            self.assertLess(time.monotonic(), end, seen)
            if select.select([program.stdout], [], [], 1)[0]:
                seen += os.read(program.stdout.fileno(), 65536).decode()
            if program.poll() is not None:
                self.fail(f"ended: {seen} {program.stderr.read()}")
        return program

    def finish(self, program, status=0):
        os.set_blocking(program.stdout.fileno(), True)
        out, err = program.communicate(timeout=PATIENCE)
        self.assertEqual(program.returncode, status, out + err)
        return out

    def states(self):
        done = self.run_it("list")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()[1:]}

    def check_limits(self, name):
        """Its limit holds, and what it sees and may write to begins below."""
        look = "p=/sys/fs/cgroup; [ -e $p/pids.max ] || { p=/tmp/pids; mkdir $p; mount -t cgroup -o pids none $p; }; cat $p/pids.max"
        done = self.run_it("shell", name, "--", "sh", "-c", look)
        self.assertEqual(done.stdout, "max\n", done.stderr)
        pid = next(line.split()[2] for line in self.run_it("list").stdout.splitlines() if line.startswith(name))
        groups = [line.split(":", 2)[1:] for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
        here = [(pathlib.Path("/sys/fs/cgroup" + ("/pids" if "pids" in of else "")), path) for of, path in groups
                if f"/{name}/guest" in path and (of == "" or "pids" in of.split(","))]
        limits = [file.read_text() for mount, path in here
                  for file in [mount / path.split(f"/{name}/guest")[0].lstrip("/") / name / "pids.max"] if file.exists()]
        self.assertEqual(limits, ["500\n"], groups)

    def test_two_devices_from_start_to_stop(self):
        phone, tablet = self.device("phone"), self.device("tablet")
        program = self.booted(phone, tablet)
        self.assertEqual(self.states(), {"phone": "running", "tablet": "running"})

        self.assertEqual(self.run_it("freeze", phone).returncode, 0)
        self.assertEqual(self.states(), {"phone": "frozen", "tablet": "running"})
        done = self.run_it("shell", "phone", "--", "echo")
        self.assertEqual(done.returncode, 1)
        self.assertIn("is frozen", done.stderr)
        self.assertEqual(self.run_it("thaw", "phone").returncode, 0)
        self.assertEqual(self.states(), {"phone": "running", "tablet": "running"})

        done = self.run_it("shell", "phone", "--", "sh", "-c", "cat; cat /proc/cmdline; echo $ANDROID_ROOT; exit 3",
                           input="given\n")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertEqual(done.stdout, "given\nandroidboot.hardware=fake androidboot.serialno=7\n/system\n")
        self.check_limits("phone")
        done = self.run_it("logcat", tablet, "--", "-d")
        self.assertEqual((done.returncode, done.stdout), (3, "logs -d\n"), done.stderr)
        done = self.run_it("shell", "phone", "--", "/no/such")
        self.assertEqual(done.returncode, 127)
        self.assertIn("has no /no/such", done.stderr)

        # Another one of this name, or with these data, is refused and does no harm.
        done = self.run_it("start", phone)
        self.assertEqual(done.returncode, 1)
        self.assertIn("one of this name runs", done.stderr)
        text = DEVICE.format(name="phone").replace('"phone"', '"double"')
        done = self.run_it("start", self.device("double", text))
        self.assertEqual(done.returncode, 1)
        self.assertIn("a running device has it", done.stderr)

        # A frozen one can be stopped, too. The other goes on.
        done = self.run_it("freeze", "phone", "--reclaim")
        if done.returncode != 0:
            self.assertIn("memory.reclaim takes Linux 5.19", done.stderr)
        else:
            self.assertRegex(done.stdout, r"^[0-9.]+ MiB given back\n$")
        self.assertEqual(self.run_it("stop", phone).returncode, 0)
        self.assertEqual(self.states(), {"tablet": "running"})
        self.assertIsNone(program.poll())
        self.assertEqual(self.run_it("stop", "tablet").returncode, 0)
        out = self.finish(program)
        self.assertRegex(out, r"phone [0-9.]+ s: exited with status 0")
        self.assertRegex(out, r"tablet [0-9.]+ s: exited with status 0")
        self.assertEqual(self.states(), {})
        done = self.run_it("stop", "phone")
        self.assertEqual(done.returncode, 1)
        self.assertIn("none of this name runs", done.stderr)

    def ask_adb(self, port):
        """What whoever listens there says, up to its end; None when nobody is reached."""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                said = b""
                while some := s.recv(4096):
                    said += some
                return said
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            return None

    def is_open(self, port):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return True
        except (ConnectionRefusedError, ConnectionResetError, TimeoutError):
            return False

    def test_adb_by_a_port_of_the_host(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            busy = taken.getsockname()[1]
            with socket.socket() as one:
                one.bind(("127.0.0.1", 0))
                free = one.getsockname()[1]
            phone = self.device("phone", f"adb_port = {free}\n" + DEVICE.format(name="phone"))
            tablet = self.device("tablet", f"adb_port = {busy}\n" + DEVICE.format(name="tablet"))
            program = self.booted(phone, tablet)
            # In the place of adbd, again and again: nobody knows when it listens.
            listen = "while :; do busybox nc -l -p 5555 </proc/cmdline; done"
            server = subprocess.Popen(self.command("shell", "phone", "--", "sh", "-c", listen), stdin=subprocess.DEVNULL)
            self.started.append(server)
            end = time.monotonic() + PATIENCE
            while not (said := self.ask_adb(free)):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)
            self.assertEqual(said, b"androidboot.hardware=fake androidboot.serialno=7\n")
            self.assertEqual(self.run_it("stop", "phone").returncode, 0)
            server.wait(PATIENCE)
            # Its port goes with it. The other one has none, and lives.
            end = time.monotonic() + PATIENCE
            while self.ask_adb(free) is not None:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)
            self.assertEqual(self.states(), {"tablet": "running"})
            # Whoever had it lets it go.
            taken.close()
            end = time.monotonic() + PATIENCE
            while not self.is_open(busy):
                self.assertLess(time.monotonic(), end)
                time.sleep(0.05)
            self.assertEqual(self.run_it("stop", "tablet").returncode, 0)
            os.set_blocking(program.stdout.fileno(), True)
            _, err = program.communicate(timeout=PATIENCE)
            self.assertEqual(program.returncode, 0, err)
            self.assertEqual(len(re.findall(f"tablet: no adb at port {busy}: .*EADDRINUSE", err)), 1, err)
        done = self.run_it("start", phone, self.device("double", f"adb_port = {free}\n" + DEVICE.format(name="double")))
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"another file has the adb_port {free}, too", done.stderr)
        done = self.run_it("start", self.device("phone", "adb_port = 70000\n" + DEVICE.format(name="phone")))
        self.assertEqual(done.returncode, 2)
        self.assertIn("phone.toml:1:12: adb_port: 70000 is not among 1 to 65535", done.stderr)

    def test_the_sockets_of_a_session(self):
        sockets = {name: self.place / f"{name}.socket" for name in ("wayland", "pulse")}
        for path in sockets.values():
            with socket.socket(socket.AF_UNIX) as s:
                s.bind(str(path))
        session = "".join(f'{name} = "{path.name}"\n' for name, path in sockets.items())
        text = DEVICE.format(name="phone") + "[session]\n" + session
        program = self.booted(self.device("phone", text))
        look = "busybox ls -l /run/xdg/wayland-0 /run/xdg/pulse/native; cat /vendor/waydroid.prop"
        done = self.run_it("shell", "phone", "--", "sh", "-c", look)
        self.assertEqual([line[0] for line in done.stdout.splitlines()[:2]], ["s", "s"], done)
        for line in ("waydroid.xdg_runtime_dir=/run/xdg", "waydroid.wayland_display=wayland-0", "waydroid.pulse_runtime_path=/run/xdg/pulse"):
            self.assertIn(line, done.stdout.splitlines())
        self.assertEqual(self.run_it("stop", "phone").returncode, 0)
        self.finish(program)
        # What is none is told before anything runs.
        done = self.run_it("start", self.device("phone", text.replace("pulse.socket", "phone.toml")))
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "session.pulse: '.*phone.toml' is no socket")

    def test_ctrl_c_is_an_orderly_end_and_a_second_one_is_not(self):
        files = self.device("phone"), self.device("tablet")
        program = self.booted(*files)
        program.send_signal(signal.SIGINT)
        out = self.finish(program)
        for name in ("phone", "tablet"):
            self.assertIn(f"{name}: stopping", out)
            self.assertRegex(out, name + r" [0-9.]+ s: exited with status 0")
        self.assertEqual(self.states(), {})

        # A device that may reboot does not listen to SIGTERM.
        text = "may_reboot = true\n" + DEVICE.format(name="phone")
        program = self.booted(self.device("phone", text))
        program.send_signal(signal.SIGINT)
        os.set_blocking(program.stdout.fileno(), True)
        self.read_until(program, "phone: stopping")
        program.send_signal(signal.SIGINT)
        self.assertRegex(self.finish(program), r"killed by signal 9")
        self.assertEqual(self.states(), {})

    def test_for_scripts_and_pictures(self):
        for file in ("phone", "tablet"):
            self.device(file)
        timeline, view = self.place / "timeline.svg", self.place / "view.svg"
        program = self.start("--until-booted", "--timeline", timeline, "--view", view, self.place / "phone.toml",
                             self.place / "tablet.toml")
        out = self.finish(program)
        rungs = ["launched", "second stage", "servicemanager", "zygote", "boot completed"]
        for name in ("phone", "tablet"):
            lines = [line.split(": ", 1)[1] for line in out.splitlines() if line.startswith(name)]
            self.assertEqual([r for r in lines if r in rungs and r != "second stage"],
                             [r for r in rungs if r != "second stage"])
        for picture in (timeline, view):
            text = picture.read_text()
            xml.dom.minidom.parseString(text)
            for word in ("phone", "tablet", "zygote"):
                self.assertIn(word, text)
        self.assertIn("booted", view.read_text())
        self.assertEqual(self.run_it("start", "--for", "5", self.place / "phone.toml").returncode, 0)

    def test_one_that_ends_before_it_has_booted_is_told(self):
        text = DEVICE.format(name="phone").replace("serialno = 7", 'fake_end = "reboot"')
        done = self.run_it("start", "--until-booted", self.device("phone", "may_reboot = true\n" + text))
        self.assertIn("asked for a restart", done.stdout)
        self.assertEqual(done.returncode, 1, done.stdout)

    def terminal(self, *args):
        """What it is on a terminal of its own, and its process."""
        pid, master = pty.fork()
        if pid == 0:
            os.execv(PROGRAM, [str(a) for a in self.command(*args)])
        return pid, master

    def read_terminal(self, master, word):
        seen = b""
        while word not in seen:
            if not select.select([master], [], [], PATIENCE)[0]:
                self.fail(f"no {word} in {seen}")
            try:
                some = os.read(master, 65536)
            except OSError:
                some = b""
            if not some:
                self.fail(f"ended without {word}: {seen}")
            seen += some
        return seen

    def end_of_terminal(self, pid, master):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    os.read(master, 65536)
                except OSError:
                    pass
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                os.close(master)
                return os.waitstatus_to_exitcode(status)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return self.fail("it does not end")

    def test_on_a_terminal(self):
        pid, master = self.terminal("start", self.device("phone"), self.device("tablet"))
        seen = self.read_terminal(master, b"booted")
        self.assertIn(b"DEVICE", seen)
        shell, shell_master = self.terminal("shell", "phone")
        os.write(shell_master, b"tty; stty size; echo so$((1+1))\n")
        seen = self.read_terminal(shell_master, b"so2")
        self.assertIn(b"/dev/pts/", seen)
        os.write(shell_master, b"exit 4\n")
        self.assertEqual(self.end_of_terminal(shell, shell_master), 4)
        os.write(master, b"\x03")
        self.assertEqual(self.end_of_terminal(pid, master), 0)
        self.assertEqual(self.states(), {})

    def test_every_mistake_of_a_file_has_its_place(self):
        text = """name = 5
boot = "third"
colour = "red"
binder = "none"
data = "broken-data"
cmdline = ["quiet", 7]
network = "wifi"
host_devices = ["camera", "radar"]
[system]
directory = "system"
size = 4
[screen]
width = -1
[limits]
cpus = 0
memory_mib = "2G"
[properties]
when = 1979-05-27
[session]
x11 = ":0"
[[folder]]
name = "Shared"
"""
        file = self.device("broken", text)
        done = self.run_it("start", file)
        self.assertEqual(done.returncode, 2, done.stderr)
        told = [line.removeprefix(f"{file}:") for line in done.stderr.splitlines()]
        expected = {
            "1:8": ("name: is an integer, not a string",),
            "2:8": ("boot: 'third'", "patched, second_stage, redroid"),
            "3:1": ("colour: no such key", "name, boot, system"),
            "6:21": ("cmdline: is an integer, not a string",),
            "7:11": ("network: 'wifi'", "none, nat, bridge:NAME"),
            "8:27": ("host_devices: there are camera, sound, input",),
            "11:1": ("system.size: no such key", "image, directory, type"),
            "13:9": ("screen.width: -1",),
            "15:8": ("limits.cpus",),
            "16:14": ("limits.memory_mib: is a string, not an integer",),
            "18:8": ("properties.when: is a date",),
            "20:1": ("session.x11: no such key", "wayland, pulse"),
            "21:1": ("folder.source: is missing",),
        }
        self.assertEqual(len(told), len(expected), done.stderr)
        for place, words in expected.items():
            line = [t for t in told if t.startswith(place + ": ")]
            self.assertEqual(len(line), 1, (place, done.stderr))
            for word in words:
                self.assertIn(word, line[0])

    def test_files_that_are_none(self):
        for text, word in (("name = \n", ":1:8: "), ("a = 1\na = 2\n", ":2:"), ("", "system: is missing")):
            file = self.device("broken", text)
            done = self.run_it("start", file)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn(word, done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        done = self.run_it("start", self.place / "nowhere.toml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("nowhere.toml", done.stderr)
        # What only the library knows is told with the device; none is started then.
        text = DEVICE.format(name="broken") + '[screen]\ndensity = 1\n[system]\n'
        text = text.replace("[system]\n", "")
        done = self.run_it("start", self.device("phone"), self.device("broken", text))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("broken: ", done.stderr)
        self.assertIn("screen.density", done.stderr)
        self.assertEqual(self.states(), {})
        done = self.run_it("start", self.place / "phone.toml", self.place / "phone.toml")
        self.assertEqual(done.returncode, 2)
        self.assertIn("another file has the name", done.stderr)

    def test_arguments(self):
        for args in ((), ("start",), ("dance",), ("freeze",), ("start", "--for", "-1", "x.toml")):
            self.assertEqual(self.run_it(*args).returncode, 2, args)
        done = self.run_it("start", "--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--timeline", "--until-booted", "Ctrl-C"):
            self.assertIn(word, done.stdout)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
