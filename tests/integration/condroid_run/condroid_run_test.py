#!/usr/bin/env python3
"""condroid_run_test.py CONDROID_RUN [TEST...]: condroid-run as its users meet it: options, statuses, streams, terminal.

Runs as root and without privileges; what is root's alone is no test for others. A skip is a failure when CONDROID_MUST_RUN
names the suite; a program that skipped everything ends with 77."""
import fcntl
import hashlib
import json
import os
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
import xml.dom.minidom

RUN = os.path.abspath(sys.argv.pop(1))
ROOT = os.geteuid() == 0 and " 0          0 4294967295" in open("/proc/self/uid_map").read()
SUITE = os.environ.get("CONDROID_SUITE", "root" if ROOT else "userns")


def has_limits():
    try:
        with open("/sys/fs/cgroup/cgroup.controllers") as f:
            return {"memory", "pids"} <= set(f.read().split())
    except OSError:
        return os.path.exists("/sys/fs/cgroup/memory")


LIMITS = has_limits()


def run(*args, stdin="", timeout=30):
    """Status, standard output, standard error."""
    done = subprocess.run([RUN, *args], input=stdin, capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


def mounts():
    with open("/proc/self/mountinfo") as f:
        return f.read()


MOUNTS = mounts()


def for_root(test):
    """Of something that others may not do: for them there is no such test."""
    return test if ROOT else None


def eventually(condition, what, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def pending(signal_number):
    """For Popen: the program starts with this signal blocked and waiting, so that it finds it when it first looks."""
    def prepare():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal_number})
        os.kill(os.getpid(), signal_number)
    return prepare


class Inside:
    """The processes of a container, seen from the host. The last argument of its command is `mark`."""

    def __init__(self, mark):
        self.mark = mark.encode()

    def states(self):
        """pid: state of proc(5), of all that have not ended; a small init among them."""
        seen = {}  # pid: (parent, state, name, last argument)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", "rb") as f:
                    before, _, after = f.read().rpartition(b")")
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    arguments = f.read().split(b"\0")[:-1]
            except OSError:
                continue
            state, parent = after.split()[:2]
            ours = bool(arguments) and arguments[-1] == self.mark and not arguments[0].endswith(b"condroid-run")
            seen[int(pid)] = (int(parent), state.decode(), before.partition(b"(")[2], ours)
        found = {pid for pid, (_, _, _, ours) in seen.items() if ours}
        found |= {seen[pid][0] for pid in found if seen.get(seen[pid][0], (0, 0, 0))[2] == b"condroid-init"}
        while True:
            more = {pid for pid, (parent, _, _, _) in seen.items() if parent in found} - found
            if not more:
                return {pid: seen[pid][1] for pid in found if seen[pid][1] not in "ZX"}
            found |= more


class Terminal:
    """condroid-run on a terminal of its own, as a user sits before it."""

    def __init__(self, *args, rows=30, columns=90, command=None):
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)

        def own_session():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(command or [RUN, *args], stdin=slave, stdout=slave, stderr=slave,
                                        preexec_fn=own_session, env={**os.environ, "TERM": "xterm"})
        self.master, self.slave, self.shown = master, slave, ""

    def until(self, text, seconds=10):
        """Reads until `text` was shown after what was asked for before; what was shown."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"{text!r} is not in {self.shown!r}")
            self.shown += os.read(self.master, 4096).decode()
        at = self.shown.index(text) + len(text)
        seen, self.shown = self.shown[:at], self.shown[at:]
        return seen

    def until_raw(self):
        eventually(lambda: not termios.tcgetattr(self.slave)[3] & termios.ICANON, "raw mode")

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, seconds=10):
        """The status; the terminal must be as it was."""
        status = self.process.wait(seconds)
        after = termios.tcgetattr(self.slave)
        os.close(self.slave)
        os.close(self.master)
        assert after[:4] == self.before[:4], "the terminal was left in another state"
        return status


class Case(unittest.TestCase):
    """A test that ends, whatever it waits for."""

    seconds = 60

    def setUp(self):
        def late(_number, _frame):
            raise AssertionError(f"not within {self.seconds} s")
        signal.signal(signal.SIGALRM, late)
        signal.alarm(self.seconds)
        self.addCleanup(signal.alarm, 0)

    def clean(self, process):
        """However the test ends: nothing of this process is left."""
        def end():
            process.kill()
            process.wait()
            for stream in [process.stdout, process.stderr]:
                if stream:
                    stream.close()
        self.addCleanup(end)
        return process


class Statuses(Case):
    def test_the_commands_own(self):
        self.assertEqual(run("--", "sh", "-c", "exit 7"), (7, "", ""))

    def test_a_signal_is_128_and_its_number(self):
        self.assertEqual(run("--init", "--", "sh", "-c", "kill -9 $$")[0], 137)

    def test_no_such_command_is_127(self):
        status, out, err = run("--", "no-such-command")
        self.assertEqual((status, out), (127, ""))
        self.assertRegex(err, r"^condroid-run: exec: 'no-such-command': .*ENOENT.*\n$")

    def test_no_program_is_126(self):
        status, _, err = run("--", "/etc/passwd")
        self.assertEqual(status, 126)
        self.assertRegex(err, r"^condroid-run: exec: '/etc/passwd': .*EACCES.*\n$")

    def test_our_own_failures_are_125_and_one_line(self):
        for args, says in [
            (["--rootfs", "/no/such/dir", "--", "true"], "/no/such/dir"),
            (["--no-such-option", "--", "true"], "no option '--no-such-option'"),
            ([], "no command"),
            (["--bind", "/etc", "--", "true"], "--bind: '/etc' is not SRC:DST"),
            (["--bind", "/etc:/mnt:bogus", "--", "true"], "bogus"),
            (["--bind", "/no/such/file:/mnt", "--", "true"], "/no/such/file"),
            (["--tmpfs", "/mnt:size=x", "--", "true"], "--tmpfs"),
            (["--user", "nobody-of-that-name", "--", "true"], "nobody-of-that-name"),
            (["--userns", "1:2", "--", "true"], "--userns: '1:2'"),
            (["--net", "bride", "--", "true"], "--net: 'bride'"),
            (["--share", "moon", "--", "true"], "--share: 'moon'"),
            (["--share", "mount", "--tmpfs", "/mnt", "--", "true"], "mounts"),
            (["--share", "mount", "--tty", "--", "true"], "mount namespace"),
            (["--ephemeral", "--read-only", "--", "true"], "root.read_only"),
            (["--timeout", "soon", "--", "true"], "--timeout: 'soon'"),
            (["--stop-timeout", "soon", "--", "true"], "--stop-timeout: 'soon'"),
            (["--stop-signal", "LATER", "--", "true"], "SIGLATER"),
            (["--restart", "perhaps", "--", "true"], "perhaps"),
            (["--cap-add", "fly", "--", "true"], "--cap-add: 'fly'"),
            (["--cap-add", "sys_admin", "--userns", "host", "--", "true"], "security"),
            (["--seccomp", "standart", "--", "true"], "--seccomp: open descriptor: 'standart': No such file or directory (ENOENT)"),
            (["--seccomp", "/etc", "--", "true"], "--seccomp: open descriptor: '/etc': Is a directory (EISDIR)"),
            (["--seccomp", "/etc/passwd", "--", "true"], "line 1: "),
            (["--seccomp", "/dev/zero", "--", "true"], "at most 1 MiB"),
            (["--landlock", "/usr", "--", "true"], "--landlock '/usr': expected PATH:RIGHTS"),
            (["--landlock", "/usr:raed", "--", "true"], "did you mean read?"),
            (["--landlock", "bind:70000", "--", "true"], "'70000' is no number in range"),
            (["--selinux", "u:r:t:s0", "--", "true"], "security.selinux: SELinux is not active"),
            (["--set", "process.umsk = 1", "--", "true"], "process.umsk"),
            (["--stop-before", "tea", "--", "true"], "tea"),
            (["--trace", "/tmp/x.txt", "--", "true"], "--trace"),
            (["--workdir", "/no/such/dir", "--", "true"], "/no/such/dir"),
            (["--name", "a b", "--", "true"], "name"),
            (["--name", "a", "--name", "b", "--", "true"], "--name is given twice"),
            (["--rootfs", "", "--", "true"], "--rootfs: is empty"),
            (["--memory", "", "--", "true"], "--memory: is empty"),
            (["--memory", "-1", "--", "true"], "--memory: '-1'"),
            (["--userns", "auto", "--userns", "0:1:1", "--", "true"], "--userns: 'auto'"),
            (["--set", "nonsense", "--", "true"], "line 1: nonsense"),
            (["--spec", "/etc/passwd", "--", "true"], " more lines"),
            (["--spec", "/etc", "--", "true"], "open descriptor: '/etc': Is a directory (EISDIR)"),
            (["--stop", "nobody-of-that-name"], "find container: 'nobody-of-that-name'"),
            (["--stop", ""], "--stop: is empty"),
            (["--stop", "a", "--ps"], "--ps and --stop"),
            (["--ps", "--", "true"], "run no command"),
            (["--detach", "--tty", "--", "true"], "--tty"),
            (["--detach", "--timeout", "1", "--", "true"], "--timeout"),
            (["--detach", "--rootfs", "/no/such/dir", "--", "true"], "/no/such/dir"),
        ]:
            with self.subTest(args):
                status, out, err = run(*args)
                self.assertEqual((status, out), (125, ""), err)
                self.assertEqual(err.count("\n"), 1, err)
                self.assertTrue(err.startswith("condroid-run: "), err)
                self.assertIn(says, err)

    def test_help_and_version_are_no_failures(self):
        self.assertEqual(run("--help")[0], 0)
        self.assertRegex(run("--version")[1], r"^condroid-run \d+\.\d+\.\d+\n$")
        self.assertFalse([line for line in run("--help")[1].splitlines() if len(line) > 100])


class Options(Case):
    def test_the_environment_is_empty_but_for_what_is_given(self):
        os.environ["CONDROID_TEST_SECRET"] = "x"
        out = run("--env", "A=1", "--env", "CONDROID_TEST_SECRET", "--", "env")[1]
        self.assertEqual(sorted(line.split("=")[0] for line in out.splitlines()),
                         ["A", "CONDROID_TEST_SECRET", "HOME", "PATH"])
        self.assertNotIn("SECRET", run("--", "env")[1])

    def test_paths_of_the_host_count_from_the_working_directory(self):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            with open(directory + "/file", "w") as file:
                file.write("here\n")
            done = subprocess.run([RUN, "--bind", ".:/mnt:ro", "--", "cat", "/mnt/file"], cwd=directory,
                                  capture_output=True, text=True, timeout=30)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "here\n", ""))

    def test_an_option_changes_what_a_stored_spec_says(self):
        with tempfile.NamedTemporaryFile("w", suffix=".spec") as stored:
            stored.write(run("--print-spec", "--net", "host", "--userns", "0:100000:10", "--", "true")[1])
            stored.flush()
            self.assertIn("host_network", run("--spec", stored.name, "--print-spec")[1])
            changed = run("--spec", stored.name, "--net", "none", "--userns", "host", "--print-spec")[1]
            self.assertNotIn("namespaces", changed)
            self.assertNotIn("100000", changed)

    def test_names(self):
        self.assertEqual(run("--name", "box", "--", "hostname")[1], "box\n")
        self.assertEqual(run("--name", "box", "--hostname", "other", "--", "hostname")[1], "other\n")

    def test_working_directory(self):
        self.assertEqual(run("--workdir", "/usr/bin", "--", "pwd")[1], "/usr/bin\n")

    def test_binds(self):
        with tempfile.TemporaryDirectory() as work:
            os.chmod(work, 0o755)
            with open(work + "/f", "w") as f:
                f.write("content\n")
            self.assertEqual(run("--bind", work + ":/mnt", "--", "cat", "/mnt/f")[1], "content\n")
            self.assertEqual(run("--bind", work + ":/mnt", "--", "touch", "/mnt/new")[0], 0)
            self.assertTrue(os.path.exists(work + "/new"))
            self.assertNotEqual(run("--bind", work + ":/mnt:ro", "--", "touch", "/mnt/newer")[0], 0)
            self.assertFalse(os.path.exists(work + "/newer"))

    def test_tmpfs(self):
        status, out, _ = run("--tmpfs", "/mnt:size=1m,mode=1777", "--", "sh", "-c",
                             "stat -c %a /mnt; df -k /mnt | tail -1 | tr -s ' ' | cut -d' ' -f2")
        self.assertEqual((status, out), (0, "1777\n1024\n"))

    def test_the_hosts_root_cannot_be_changed(self):
        status, _, err = run("--", "sh", "-c", "echo x > /etc/condroid-test-file")
        self.assertNotEqual(status, 0)
        self.assertFalse(os.path.exists("/etc/condroid-test-file"))

    @for_root
    def test_ephemeral_changes_are_forgotten(self):
        status, out, _ = run("--ephemeral", "--", "sh", "-c",
                             "echo x > /etc/condroid-test-file && cat /etc/condroid-test-file")
        self.assertEqual((status, out), (0, "x\n"))
        self.assertFalse(os.path.exists("/etc/condroid-test-file"))

    def test_a_read_only_root(self):
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0o755)
            for name in ["bin", "etc", "dev", "proc", "sys", "tmp", "mnt"]:
                os.mkdir(f"{root}/{name}")
            shutil.copy("/bin/busybox", root + "/bin/busybox")
            for name in ["sh", "touch", "ls"]:
                os.symlink("busybox", f"{root}/bin/{name}")
            status, out, err = run("--rootfs", root, "--read-only", "--tmpfs", "/mnt", "--", "/bin/sh", "-c",
                                   "touch /etc/new; touch /new; touch /mnt/new && ls /mnt")
            self.assertEqual((status, out), (0, "new\n"), err)
            self.assertEqual(err.count("Read-only file system"), 2, err)
            self.assertEqual(os.listdir(root + "/etc"), [])
            self.assertEqual(run("--rootfs", root, "--", "/bin/touch", "/etc/new"), (0, "", ""))
            self.assertEqual(os.listdir(root + "/etc"), ["new"])
            os.unlink(root + "/etc/new")
            status, out, err = run("--rootfs", root, "--ephemeral", "--", "/bin/sh", "-c", "touch /etc/new && ls /etc")
            self.assertEqual((status, out, err), (0, "new\n", ""))
            self.assertEqual(os.listdir(root + "/etc"), [])

    def test_network(self):
        self.assertEqual(run("--", "sh", "-c", "cat /sys/class/net/*/operstate; ls /sys/class/net")[1], "unknown\nlo\n")
        if ROOT:
            ours = sorted(os.listdir("/sys/class/net"))
            self.assertEqual(sorted(run("--net", "host", "--", "ls", "/sys/class/net")[1].split()), ours)
        for words, what in ((["--net", "nothing"], "none of none, host, bridge"), (["--net", "vlan:br0"], "vlan:DEV:ID"),
                            (["--ip", "192.0.2.2"], "go with one interface"),
                            (["--net", "veth", "--ip", "192.0.2"], "no address like"),
                            (["--net", "macvlan:x", "--host-ip", "192.0.2.1"], "goes with --net veth"),
                            (["--publish", "80"], "is not like 8080:80"),
                            (["--publish", "1.2:80:80"], "no address like 127.0.0.1"),
                            (["--publish", "80:80/sctp"], "neither tcp nor udp"),
                            (["--dns", "localhost"], "no address like 192.0.2.53"),
                            (["--net", "ns:blue"], "no file like"),
                            (["--net", "container:no-such-one"], "no-such-one")):
            status, out, err = run(*words, "--", "true")
            self.assertEqual((status, out, err.count("\n")), (125, "", 1))
            self.assertIn(what, err)

    @for_root
    def test_a_network_of_one_cable(self):
        cable = ["--net", "veth", "--host-ip", "192.0.2.1/32", "--ip", "192.0.2.2/24", "--gateway", "192.0.2.9"]
        done = subprocess.run(["unshare", "--net", RUN, *cable, "--", "sh", "-c",
                               "ls /sys/class/net; cut -f 2,3 /proc/net/route"],
                              capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.split(), ["eth0", "lo", "Destination", "Gateway", "00000000", "090200C0",
                                               "000200C0", "00000000"])

    @for_root
    def test_a_network_with_a_bridge_made_for_it(self):
        bridge = ["--net", "bridge:cr0", "--publish", "127.0.0.1:8080:80", "--dns", "192.0.2.53"]
        done = subprocess.run(["unshare", "--net", "sh", "-c",
                               'ip link set lo up; "$@"; ip -br link show type bridge; ls /proc/sys/net/ipv4/conf',
                               "sh", RUN, *bridge, "--", "sh", "-c",
                               "cat /etc/resolv.conf; cut -f 2,3 /proc/net/route"],
                              capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        words = done.stdout.split()
        self.assertEqual(words[:4], ["nameserver", "192.0.2.53", "Destination", "Gateway"])
        self.assertEqual(words[4:6], ["00000000", "0100D10A"])
        self.assertNotIn("cr0", words)

    def test_shared_namespaces(self):
        with tempfile.NamedTemporaryFile("w", suffix=".spec") as stored:
            stored.write("namespaces = mount pid uts ipc net cgroup time\n")
            stored.flush()
            # The machine's network, processes and ids are not shared from a user namespace.
            for kind in ["ipc", "uts", "cgroup", "mount", "time"] + (["net", "pid", "user"] if ROOT else []):
                with self.subTest(kind):
                    link = "/proc/self/ns/" + {"mount": "mnt"}.get(kind, kind)
                    ours = os.readlink(link)
                    own = {"user": ["--userns", "0:100000:65536"], "time": ["--spec", stored.name]}.get(kind, [])
                    status, out, err = run(*own, "--", "readlink", link)
                    self.assertEqual((status, err), (0, ""))
                    self.assertNotEqual(out.strip(), ours)
                    status, out, err = run(*own, "--share", kind, "--", "readlink", link)
                    self.assertEqual((status, out.strip(), err), (0, ours, ""))

    def test_sharing_goes_over_what_a_stored_spec_says(self):
        with tempfile.NamedTemporaryFile("w", suffix=".spec") as stored:
            stored.write("namespaces = mount pid uts ipc cgroup time user\njoin = net pid:1\nidmap.kind = single\n"
                         "time.monotonic = 3600s\nprocess.argv = true\n")
            stored.flush()
            shared = [word for kind in ["net", "user", "time"] for word in ["--share", kind]]
            status, changed, err = run("--spec", stored.name, *shared, "--print-spec")
            self.assertEqual((status, err), (0, ""))
            self.assertIn("host_network", changed)
            for word in ["join", "user", "time", "single"]:
                self.assertNotIn(word, changed)

    def test_ids(self):
        self.assertEqual(run("--", "id", "-u")[1], "0\n")
        if ROOT:
            self.assertEqual(run("--user", "12:34", "--", "sh", "-c", "id -u; id -g; id -G")[1], "12\n34\n34\n")
            self.assertEqual(run("--user", "daemon", "--", "id", "-un")[1], "daemon\n")
            self.assertEqual(run("--userns", "0:100000:1000", "--", "cat", "/proc/self/uid_map")[1].split(),
                             ["0", "100000", "1000"])

    def test_init_is_process_one(self):
        self.assertEqual(run("--", "sh", "-c", "echo $$")[1], "1\n")
        self.assertEqual(run("--init", "--", "sh", "-c", "echo $$; cat /proc/1/comm")[1], "2\ncondroid-init\n")

    @for_root
    def test_limits(self):
        if not LIMITS:  # a machine of cgroup v2 whose controllers are elsewhere
            for option, value in [("--memory", "32m"), ("--pids", "3")]:
                status, out, err = run(option, value, "--", "true")
                self.assertEqual((status, out, err.count("\n")), (125, "", 1), err)
            return
        status, _, err = run("--memory", "32m", "--init", "--", "sh", "-c", "x=$(head -c 200m /dev/zero | tr '\\0' x)")
        self.assertNotEqual(status, 0)
        self.assertIn("out of memory", err)
        bomb = "sleep 1 & sleep 1 & sleep 1 & sleep 1 & wait"
        self.assertNotEqual(run("--pids", "3", "--", "sh", "-c", bomb)[0], 0)
        self.assertNotEqual(run("--set", "pids.max=3", "--", "sh", "-c", bomb)[0], 0)
        allowed = run("--cpuset", "0", "--", "grep", "Cpus_allowed_list", "/proc/self/status")
        self.assertEqual(allowed, (0, "Cpus_allowed_list:\t0\n", ""))

    def test_files_of_a_cgroup_are_set_by_name(self):
        text = run("--set", "memory.high=64M", "--set", "cpu.max = 1000 100000", "--set", "memory.high=32M", "--print-spec")[1]
        self.assertEqual([line for line in text.splitlines() if line.startswith("resources")],
                         ['resources.settings = cpu.max "1000 100000"', "resources.settings = memory.high 32M"])
        for value in ["memory.high", "memory.high="]:
            status, _, err = run("--set", value, "--", "true")
            self.assertEqual((status, err.count("\n")), (125, 1), err)

    def test_optional_limits_that_cannot_be_had_are_said(self):
        optional = ["--set", "resources.hugetlb = 16GiB max", "--set", "resources.optional = hugetlb"]
        status, _, err = run(*optional, "--", "true")
        self.assertEqual(status, 0)
        self.assertRegex(err, r"\Acondroid-run: resources\.hugetlb\[0\] is left out: .*\n\Z")

    def test_capabilities(self):
        def effective(*args):
            return run(*args, "--", "sh", "-c", "grep CapEff /proc/self/status")[1].split()[1]

        small = int(effective(), 16)
        self.assertEqual(small & (1 << 21), 0, "CAP_SYS_ADMIN by default")
        self.assertEqual(int(effective("--cap-drop", "all"), 16), 0)
        self.assertEqual(int(effective("--cap-drop", "all", "--cap-add", "CAP_NET_RAW"), 16), 1 << 13)

    def test_a_filter_of_system_calls(self):
        def mode(*args):
            return run(*args, "--", "grep", "^Seccomp:", "/proc/self/status")[1].split()[-1]

        self.assertEqual((mode(), mode("--seccomp", "standard"), mode("--seccomp", "none")), ("2", "2", "0"))

    def test_a_policy_of_another_tool(self):
        lxc = "2\ndenylist\nmkdir errno 28\nmkdirat errno 28\narm_fadvise64_64 kill\n"
        oci = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat", "arm_fadvise64_64"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]})
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            file = os.path.join(folder, "policy")
            for policy in lxc, "\n " + oci:
                with self.subTest(policy[:2]):
                    with open(file, "w") as f:
                        f.write(policy)
                    status, _, err = run("--seccomp", file, "--", "mkdir", "/tmp/new")
                    if "this condroid was built without" in err or "this condroid reads no JSON" in err:
                        self.skipTest(err)
                    self.assertEqual(status, 1, err)
                    self.assertIn("No space left on device", err)
                    self.assertEqual(run("--seccomp", file, "--", "true"), (0, "", ""))
            # It goes over what a stored spec says, and is part of what is printed.
            printed = run("--seccomp", file, "--print-spec", "--", "true")[1]
            self.assertIn("security.seccomp.kind = rules", printed)
            with open(file, "w") as f:
                f.write(printed)
            self.assertEqual(run("--spec", file, "--", "mkdir", "/tmp/new")[0], 1)
            self.assertEqual(run("--spec", file, "--seccomp", "standard", "--", "mkdir", "/tmp/new")[0], 0)
            for policy, says in [("2\ndenylist\nmount errn 1\n[x68]\n", "line 3: mount: errn: unknown action"),
                                 ("2\ndenylist\nmoumt\n", "line 3: there is no system call 'moumt'; did you mean 'mount'?"),
                                 ('{"defaultAction": "SCMP_ACT_ALOW"}', "defaultAction: SCMP_ACT_ALOW: unknown")]:
                with open(file, "w") as f:
                    f.write(policy)
                status, out, err = run("--seccomp", file, "--", "true")
                self.assertEqual((status, out, err.count("\n")), (125, "", 1), err)
                self.assertIn(f"--seccomp {file}: ", err)
                self.assertIn(says, err)

    def test_a_policy_is_learnt(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            file = os.path.join(folder, "policy")
            status, out, err = run("--seccomp-learn", file, "--", "sh", "-c", "echo $((6 * 7))")
            if "this condroid was built without" in err:
                self.skipTest(err)
            self.assertEqual((status, out, err), (0, "42\n", ""))
            with open(file) as f:
                policy = f.read()
            self.assertTrue(policy.startswith("2\nallowlist errno 1\n"), policy)
            self.assertIn("\nwrite allow\n", policy)
            self.assertNotIn("mkdir", policy)
            self.assertEqual(run("--seccomp", file, "--", "sh", "-c", "echo $((6 * 7))"), (0, "42\n", ""))
            status, _, err = run("--seccomp", file, "--", "mkdir", "/tmp/new")
            self.assertNotEqual(status, 0)
            self.assertIn("Operation not permitted", err)
            with open(file, "w") as f:
                f.write("2\ndenylist\nmkdir notify\n")
            self.assertIn("answers nobody", run("--seccomp", file, "--", "true")[2])
            self.assertIn("--seccomp-learn", run("--seccomp-learn", file, "--detach", "--", "true")[2])

    def test_landlock(self):
        rules = ["--landlock", "best-effort", "--landlock", "/usr:run", "--landlock", "/etc/ld.so.cache:read"]
        status, out, err = run(*rules, "--landlock", "/etc/hosts:read", "--", "cat", "/etc/hosts", "/etc/passwd")
        if "no Landlock" in err:
            self.skipTest(err)
        self.assertEqual((status, out), (1, open("/etc/hosts").read()))
        self.assertIn("/etc/passwd: Permission denied", err)
        self.assertEqual(run(*rules[:2], "--landlock", "/etc:read", "--", "true")[0], 126)
        printed = run(*rules, "--landlock", "connect:443", "--landlock", "scope:signal", "--print-spec", "--", "true")[1]
        for line in ("handled = all", "rules = /usr access=run", "connect = 443", "scope = signal", "tcp = connect"):
            self.assertIn(f"security.landlock.{line}\n", printed)

    def test_timeout(self):
        began = time.monotonic()
        status, _, err = run("--timeout", "300ms", "--", "sleep", "20")
        self.assertEqual(status, 124)
        self.assertRegex(err, r"^condroid-run: .*300 ms\n$")
        self.assertLess(time.monotonic() - began, 10)

    def test_a_stop_is_asked_for_before_it_is_forced(self):
        code = "trap 'echo asked; exit 3' USR1; echo ready; while :; do sleep 0.01; done"
        status, out, _ = run("--timeout", "1s", "--stop-signal", "USR1", "--", "sh", "-c", code)
        self.assertEqual((status, out), (124, "ready\nasked\n"))
        began = time.monotonic()
        status, out, _ = run("--timeout", "700ms", "--stop-timeout", "300ms", "--", "sh", "-c",
                             "trap '' TERM; while :; do sleep 0.01; done")
        self.assertEqual(status, 124)
        self.assertGreater(time.monotonic() - began, 1.0)
        self.assertLess(time.monotonic() - began, 10)
        process = subprocess.Popen([RUN, "--stop-signal", "SIGINT", "--", "sh", "-c",
                                    "trap 'echo asked; exit 4' INT; echo ready; while :; do sleep 0.01; done"],
                                   stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.terminate()
        self.assertEqual(process.communicate(timeout=10)[0], "asked\n")
        self.assertEqual(process.returncode, 4)

    def test_it_is_launched_again(self):
        with tempfile.TemporaryDirectory() as notes:
            os.chmod(notes, 0o777)
            code = "echo life >> /mnt/lives; echo out; [ $(wc -l < /mnt/lives) -ge 3 ]"
            status, out, err = run("--restart", "on-failure", "--bind", f"{notes}:/mnt", "--", "sh", "-c", code)
            self.assertEqual((status, out), (0, "out\n" * 3), err)
        status, out, err = run("--restart", "always", "--", "sh", "-c", "echo life; exit 5")
        self.assertEqual((status, out), (5, "life\n" * 6))
        self.assertRegex(err, r"^condroid-run: not restarted: 5 times within 60 s is the limit\n$")
        # The terminal goes on: what the first life made of its size is there in the second.
        code = "set -- $(stty size); echo size $1; [ $1 = 7 ] || { stty rows 7; exit 1; }"
        self.assertEqual(run("--tty", "--restart", "on-failure", "--", "sh", "-c", code)[:2],
                         (0, "size 24\nsize 7\n"))
        process = subprocess.Popen([RUN, "--restart", "always", "--", "sh", "-c",
                                    "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done"],
                                   stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.terminate()
        self.assertEqual(process.communicate(timeout=10)[0], "")
        self.assertEqual(process.returncode, 4)

    def test_dry_run_launches_nothing_and_any_step_of_it_can_be_named(self):
        status, plan, _ = run("--dry-run", "--", "true")
        self.assertEqual(status, 0)
        self.assertRegex(plan, r"(?m)^ *0  host .*$")
        self.assertRegex(plan, r"(?m)^ *\d+  child +exec +'true'$")

    def test_a_spec_goes_round(self):
        text = run("--print-spec", "--hostname", "stored", "--env", "A=b", "--", "sh", "-c", "hostname; echo $A")[1]
        with tempfile.NamedTemporaryFile("w", suffix=".spec") as f:
            f.write(text)
            f.flush()
            self.assertEqual(run("--spec", f.name)[1], "stored\nb\n")
            self.assertEqual(run("--spec", f.name, "--print-spec")[1], text)

    def test_condroid_in_condroid(self):
        inside = [RUN, "--name", "inner", "--", "sh", "-c", "hostname; echo $$; test $(ls -d /proc/[0-9]* | wc -l) -lt 5 && echo few"]
        bind = ["--bind", os.path.dirname(os.path.abspath(RUN)) + ":/mnt:ro"]
        inside[0] = "/mnt/" + os.path.basename(RUN)
        outer = bind + ["--allow", "nesting"]
        if ROOT:
            outer += ["--user", "1000:1000"]
            # With rights over the machine, the masks of the outer one are no obstacle.
            rights = ["--cap-add", "all", "--cap-drop", "sys_resource", "--allow", "real_root"]
            self.assertEqual(run(*bind, *rights, "--", *inside), (0, "inner\n1\nfew\n", ""))
        else:
            outer += ["--cap-add", "setfcap"]
        self.assertEqual(run(*outer, "--", *inside), (0, "inner\n1\nfew\n", ""))
        status, _, err = run(*bind, *([] if not ROOT else ["--user", "1000:1000"]), "--", *inside)
        self.assertEqual(status, 125)
        self.assertEqual(err.count("\n"), 1, err)

    def test_a_machine_whose_memory_holds_no_programs(self):
        if not ROOT:
            return  # who alone may set it; what it does to others is the same
        # Of one pid namespace; Linux 6.3.
        setting = "/proc/sys/vm/memfd_noexec"
        if not os.path.exists(setting):
            self.assertLess(tuple(map(int, os.uname().release.split(".")[:2])), (6, 3))
            return
        script = 'echo 2 > "$1" && shift && exec "$@"'
        made = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", setting,
                               RUN, "--", "grep", "^Seccomp:", "/proc/self/status"], capture_output=True, text=True, timeout=60)
        self.assertEqual((made.returncode, made.stdout, made.stderr), (0, "Seccomp:\t2\n", ""))

    def test_traces(self):
        with tempfile.TemporaryDirectory() as work:
            self.assertEqual(run("--trace", work + "/t.json", "--", "true"), (0, "", ""))
            with open(work + "/t.json") as f:
                events = json.load(f)["traceEvents"]
            self.assertTrue(any(e["name"] == "pivot root" and e["dur"] >= 0 for e in events))
            self.assertEqual(run("--trace", work + "/t.svg", "--", "true"), (0, "", ""))
            xml.dom.minidom.parse(work + "/t.svg")

    def test_stop_before_waits_and_goes_on(self):
        process = subprocess.Popen([RUN, "--stop-before", "exec", "--", "echo", "went on"], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        line = process.stderr.readline()
        self.assertRegex(line, r"stopped before 'exec', process \d+; go on with: kill -CONT \d+\n")
        child = int(line.split("process ")[1].split(";")[0])
        self.assertTrue(os.path.exists(f"/proc/{child}"))
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=10)
        self.assertEqual((process.returncode, out), (0, "went on\n"))


class Streams(Case):
    def test_input_and_its_end_are_passed_on(self):
        self.assertEqual(run("--", "cat", stdin="abc\n"), (0, "abc\n", ""))
        self.assertEqual(run("--", "wc", "-c", stdin="")[1].strip(), "0")

    def test_the_end_of_a_pipe_ends_the_input_and_nothing_else_does(self):
        for tty in [[], ["--tty"]]:
            process = subprocess.Popen([RUN, *tty, "--", "sh", "-c", "while read x; do echo got $x; done; echo end; exit 3"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            shown = b""
            for word in [b"one", b"two"]:
                process.stdin.write(word + b"\n")
                process.stdin.flush()
                while b"got " + word not in shown:
                    shown += os.read(process.stdout.fileno(), 4096)
            self.assertIsNone(process.poll())
            shown = process.communicate(timeout=10)[0]  # closes the input
            self.assertEqual((process.returncode, shown.split()[-1]), (3, b"end"))

    def test_output_and_errors_stay_apart(self):
        self.assertEqual(run("--", "sh", "-c", "echo out; echo err >&2"), (0, "out\n", "err\n"))

    def test_much_output(self):
        self.assertEqual(len(run("--", "head", "-c", "3000000", "/dev/zero")[1]), 3000000)

    def test_a_terminal_without_a_user_gets_input_and_its_end(self):
        status, out, _ = run("--tty", "--", "cat", stdin="abc\n")
        self.assertEqual((status, out), (0, "abc\nabc\n"))  # \r\n, were it not for text mode


class Signals(Case):
    def start(self, *args):
        process = self.clean(subprocess.Popen([RUN, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        process.stdout.readline()
        return process

    def test_a_handler_answers(self):
        for name in ["INT", "TERM", "HUP"]:
            process = self.start("--", "sh", "-c", f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.05; done")
            process.send_signal(getattr(signal, "SIG" + name))
            out, _ = process.communicate(timeout=10)
            self.assertEqual((process.returncode, out), (9, "got\n"), name)

    def test_the_second_one_kills(self):
        for init in [[], ["--init"]]:
            for name in ["INT", "TERM", "HUP", "QUIT"]:
                with self.subTest(name, init=init):
                    number = getattr(signal, "SIG" + name)
                    process = self.start(*init, "--", "sh", "-c", f"trap 'echo got' {name}; echo ready; while :; do sleep 0.05; done")
                    process.send_signal(number)
                    self.assertEqual(process.stdout.readline(), "got\n")
                    self.assertIsNone(process.poll())
                    process.send_signal(number)
                    self.assertEqual(process.communicate(timeout=10)[0], "")
                    self.assertEqual(process.returncode, 128 + number)

    def test_typed_ones_reach_the_whole_process_group(self):
        inner = "trap 'echo inner; exit' INT; echo ready; while :; do sleep 0.05; done"
        outer = "trap 'echo outer' INT; sh -c \"$0\"; while :; do sleep 0.05; done"
        for init in [[], ["--init"]]:
            with self.subTest(init=init):
                process = self.start(*init, "--", "sh", "-c", outer, inner)
                process.send_signal(signal.SIGINT)
                self.assertEqual([process.stdout.readline() for _ in range(2)], ["inner\n", "outer\n"])
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=10)
                self.assertEqual(process.returncode, 130)

    def test_others_are_passed_on(self):
        for init in [[], ["--init"]]:
            for name in ["USR1", "USR2", "WINCH"]:
                with self.subTest(name, init=init):
                    process = self.start(*init, "--", "sh", "-c",
                                         f"trap 'echo got; exit 3' {name}; echo ready; while :; do sleep 0.05; done")
                    process.send_signal(getattr(signal, "SIG" + name))
                    self.assertEqual(process.communicate(timeout=10), ("got\n", ""))
                    self.assertEqual(process.returncode, 3)

    def test_one_that_comes_during_the_launch_is_passed_on_after_it(self):
        process = self.clean(subprocess.Popen([RUN, "--init", "--", "sleep", "100"], preexec_fn=pending(signal.SIGUSR1)))
        self.assertEqual(process.wait(10), 128 + signal.SIGUSR1)

    # Starts a process all the time, in three places that are not each other's parents.
    BUSY = """work() { while :; do sleep 0.01; echo $1; done; }
              work a & (work b; true) & work c"""

    def busy(self, *args, **how):
        mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
        process = self.clean(subprocess.Popen([RUN, *args, "--", "sh", "-c", self.BUSY, mark], stdout=subprocess.PIPE, **how))
        os.set_blocking(process.stdout.fileno(), False)
        return process, Inside(mark)

    def until_all_speak(self, process):
        heard = set()

        def listen():
            heard.update((process.stdout.read() or b"").split())
            return heard == {b"a", b"b", b"c"}
        eventually(listen, "output of all three")

    def sleeps(self, process, inside, init):
        status = os.waitpid(process.pid, os.WUNTRACED)[1]
        self.assertTrue(os.WIFSTOPPED(status), f"it ended with wait status {status:#x} instead of stopping")
        states = inside.states()
        self.assertGreaterEqual(len(states), 3 + len(init))
        # D: in the midst of a vfork, waiting for a child that is stopped.
        self.assertLessEqual(set(states.values()), {"T", "D"}, states)
        process.stdout.read()
        time.sleep(0.1)  # nothing may happen in it
        self.assertIsNone(process.stdout.read())

    def end_of(self, process):
        process.terminate()
        self.assertEqual(process.wait(10), 128 + signal.SIGTERM)

    def test_stopping_puts_all_of_the_container_to_sleep(self):
        for init in [[], ["--init"]]:
            with self.subTest(init=init):
                process, inside = self.busy(*init)
                for _ in range(3):
                    self.until_all_speak(process)
                    process.send_signal(signal.SIGTSTP)
                    self.sleeps(process, inside, init)
                    process.send_signal(signal.SIGCONT)
                self.until_all_speak(process)
                self.end_of(process)

    def test_processes_may_end_while_they_are_looked_at(self):
        # As the kernel says it of one that ended between open(2) and read(2); process 1 stands for it.
        process = self.clean(subprocess.Popen(
            ["strace", "-D", "-qq", "-o", "/dev/null", "-P", "/proc/1/stat", "-e", "trace=read", "-e", "inject=read:error=ESRCH",
             RUN, "--", "sh", "-c", "echo ready; while :; do sleep 0.01; done"], stdout=subprocess.PIPE))
        process.stdout.readline()
        process.send_signal(signal.SIGTSTP)
        status = os.waitpid(process.pid, os.WUNTRACED)[1]
        self.assertTrue(os.WIFSTOPPED(status), f"it ended with wait status {status:#x} instead of stopping")
        process.send_signal(signal.SIGCONT)
        self.end_of(process)

    def test_stopping_during_the_launch_is_not_lost(self):
        for init in [[], ["--init"]]:
            with self.subTest(init=init):
                process, inside = self.busy(*init, preexec_fn=pending(signal.SIGTSTP))
                self.assertTrue(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]))
                self.assertLessEqual(set(inside.states().values()), {"T", "D"})
                self.assertTrue(inside.states())
                process.send_signal(signal.SIGCONT)
                self.until_all_speak(process)
                self.end_of(process)

    def test_stopping_while_it_waits_before_a_step(self):
        process = self.clean(subprocess.Popen([RUN, "--stop-before", "exec", "--", "echo", "went on"], stdout=subprocess.PIPE,
                                              stderr=subprocess.PIPE, text=True))
        process.stderr.readline()
        process.send_signal(signal.SIGTSTP)
        self.assertTrue(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]))
        process.send_signal(signal.SIGCONT)
        self.assertEqual(process.communicate(timeout=10), ("went on\n", ""))

    def test_what_the_container_had_stopped_itself_stays_so(self):
        mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
        process = self.start("--", "sh", "-c", "sleep 100 & kill -STOP $!; echo ready; while :; do sleep 0.01; done", mark)
        inside = Inside(mark)

        def stopped():
            return [pid for pid, state in inside.states().items() if state == "T"]
        eventually(lambda: len(stopped()) == 1, "one that is stopped")
        before = stopped()
        process.send_signal(signal.SIGTSTP)
        self.assertTrue(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]))
        self.assertGreaterEqual(len(stopped()), 2)
        process.send_signal(signal.SIGCONT)
        eventually(lambda: len(stopped()) < 2 or len(inside.states()) > 2, "the others run")
        eventually(lambda: stopped() == before, "all but that one run")

    def test_a_process_one_without_a_handler_ends_too(self):
        process = self.start("--", "sh", "-c", "echo ready; exec sleep 100")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        self.assertEqual(process.returncode, 130)

    def test_one_that_is_only_blocked_for_a_moment_is_not_taken_for_heard(self):
        # A shell (dash) blocks all signals around each vfork, which is most of the time here.
        for _ in range(10):
            process = self.start("--", "sh", "-c", "echo ready; while :; do /bin/true; done")
            process.terminate()
            process.communicate(timeout=10)
            self.assertEqual(process.returncode, 143)

    def test_one_that_is_waited_for_is_left_to_the_command(self):
        code = ("import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, [15])\nprint('ready', flush=True)\ntime.sleep(1)\n"
                "print(signal.sigwait([15]).name, flush=True)\nraise SystemExit(3)")
        process = self.start("--", "/usr/bin/python3", "-c", code)
        process.terminate()
        self.assertEqual(process.communicate(timeout=10), ("SIGTERM\n", ""))
        self.assertEqual(process.returncode, 3)

    def test_what_the_host_ignores_is_not_ignored_inside(self):
        out = subprocess.run(["sh", "-c", f"trap '' HUP INT PIPE CHLD; exec {RUN} -- grep SigIgn /proc/self/status"],
                             capture_output=True, text=True).stdout
        self.assertEqual(out.split(), ["SigIgn:", "0" * 16])

    def test_while_it_is_launched(self):
        process = subprocess.Popen([RUN, "--stop-before", "pivot root", "--", "true"], stderr=subprocess.PIPE, text=True)
        process.stderr.readline()
        process.terminate()
        process.communicate(timeout=10)
        self.assertEqual(process.returncode, 143)


class Terminals(Case):
    def test_the_command_has_a_terminal_of_the_users_size(self):
        t = Terminal("--tty", "--", "sh", "-c", "tty; stty size; echo $TERM; exit 4")
        self.assertIn("/dev/pts/0\r\n30 90\r\nxterm\r\n", t.until("xterm\r\n"))
        self.assertEqual(t.end(), 4)

    def test_an_interactive_shell(self):
        for init in [[], ["--init"]]:
            t = Terminal("--tty", *init, "--env", "PS1=$", "--", "sh")
            t.until("$")
            t.type("sleep 100\r")
            t.until("\n")
            time.sleep(0.3)
            t.type("\x03")
            t.until("$")
            t.type("echo status $?\r")
            t.until("status 130\r\n")
            t.type("exit 7\r")
            self.assertEqual(t.end(), 7)

    def test_the_size_follows(self):
        t = Terminal("--tty", "--", "sh", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done")
        t.until("ready")
        fcntl.ioctl(t.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        t.process.send_signal(signal.SIGWINCH)
        t.until("40 120")
        self.assertEqual(t.end(), 0)

    def test_output_into_a_pipe_stays_there(self):
        t = Terminal(command=["sh", "-c", f"{RUN} --tty -- sh -c 'test -t 0 && echo in; test -t 1 || echo out' | tr a-z A-Z"])
        t.until("IN")
        t.until("OUT")
        self.assertEqual(t.end(), 0)

    def test_nothing_else_gets_into_what_is_redirected(self):
        payload = "echo to-out; echo to-err >&2; echo to-tty > /dev/tty; read x; echo read $x; exit 3"
        for redirected, out, err, shown in [
            ("> out", "to-out\nread typed\n", None, ["to-err", "to-tty"]),
            ("> out 2> err", "to-out\nread typed\n", "to-err\n", ["to-tty"]),
            ("> out 2> err < /dev/tty", "to-out\nread typed\n", "to-err\n", ["to-tty"]),  # not to be written to
            ("2> err", None, "to-err\n", ["to-out", "to-tty"]),
        ]:
            with self.subTest(redirected), tempfile.TemporaryDirectory() as directory:
                t = Terminal(command=["sh", "-c", f"cd {directory}; {RUN} --tty -- sh -c '{payload}' {redirected}"])
                for text in shown:
                    t.until(text + "\r\n")
                t.type("typed\r")
                t.until("typed\r\n")  # its echo
                self.assertEqual(t.end(), 3)
                for name, content in [("out", out), ("err", err)]:
                    if content is not None:
                        with open(f"{directory}/{name}") as f:
                            self.assertEqual(f.read(), content)

    def test_what_is_typed_arrives_though_the_input_is_a_pipe(self):
        payload = 'cat; read x < /dev/tty; echo got $x; trap "echo int; exit 5" INT; echo ready; while :; do sleep 0.05; done'
        t = Terminal(command=["sh", "-c", f"echo piped | {RUN} --tty -- sh -c '{payload}'"])
        t.until("piped\r\n")
        t.type("typed\r")
        t.until("got typed\r\n")
        t.until("ready")
        t.type("\x03")
        t.until("int")
        self.assertEqual(t.end(), 5)

    def test_the_end_of_input_can_be_typed(self):
        for tty in [[], ["--tty"]]:
            t = Terminal(*tty, "--", "sh", "-c", "while read x; do echo got $x; done; echo end; exit 3")
            t.type("one\r")
            t.until("got one\r\n")
            t.type("\x04")
            t.until("end")
            self.assertEqual(t.end(), 3)

    def test_stopping_gives_the_terminal_back(self):
        t = Terminal("--tty", "--", "sh", "-c", "echo ready; read x; echo done")
        t.until("ready")
        t.until_raw()
        raw = termios.tcgetattr(t.slave)
        t.process.send_signal(signal.SIGTSTP)
        os.waitpid(t.process.pid, os.WUNTRACED)
        self.assertEqual(termios.tcgetattr(t.slave)[:4], t.before[:4])
        t.process.send_signal(signal.SIGCONT)
        eventually(lambda: termios.tcgetattr(t.slave)[3] == raw[3], "raw mode again")
        t.type("x\r")
        t.until("done")
        self.assertEqual(t.end(), 0)

    def test_a_shell_inside_keeps_its_job_when_all_is_stopped(self):
        t = Terminal("--tty", "--env", "PS1=$", "--", "sh")
        t.until("$")
        t.type("cat\r")
        t.until("\n")
        t.type("one\r")
        t.until("one\r\none\r\n")
        t.process.send_signal(signal.SIGTSTP)
        os.waitpid(t.process.pid, os.WUNTRACED)
        t.process.send_signal(signal.SIGCONT)
        t.type("two\r")
        t.until("two\r\n")
        t.until("two\r\n")
        t.type("\x04")
        t.until("$")
        t.type("exit 7\r")
        self.assertEqual(t.end(), 7)

    def test_the_terminal_is_restored_after_a_signal(self):
        for init in [[], ["--init"]]:
            for name in ["INT", "TERM", "HUP", "QUIT"]:
                with self.subTest(name, init=init):
                    number = getattr(signal, "SIG" + name)
                    t = Terminal("--tty", *init, "--", "sh", "-c", "echo ready; while :; do sleep 0.05; done")
                    t.until("ready")
                    t.until_raw()
                    t.process.send_signal(number)
                    self.assertEqual(t.end(), 128 + number)

    def test_the_terminal_is_restored_after_the_second_signal(self):
        t = Terminal("--tty", "--", "sh", "-c", "trap 'echo got' TERM; echo ready; while :; do sleep 0.05; done")
        t.until("ready")
        t.until_raw()
        t.process.terminate()
        t.until("got")
        t.process.terminate()
        self.assertEqual(t.end(), 143)

    def test_the_terminal_is_as_it_was_when_nothing_was_launched(self):
        for args, status in [(["--", "no-such-command"], 127), (["--", "/etc/passwd"], 126),
                             (["--rootfs", "/no/such/dir", "--", "true"], 125), (["--workdir", "/no/such/dir", "--", "true"], 125)]:
            with self.subTest(args):
                t = Terminal("--tty", *args)
                self.assertRegex(t.until("\r\n"), r"^condroid-run: [^\r\n]+\r\n$")
                self.assertEqual(t.end(), status)

    def test_the_terminal_is_restored_when_the_container_is_killed(self):
        t = Terminal("--tty", "--timeout", "400ms", "--", "sleep", "100")
        t.until("ended after 400 ms")
        self.assertEqual(t.end(), 124)

    def test_ctrl_c_without_a_terminal_of_its_own(self):
        t = Terminal("--", "sh", "-c", "echo ready; sleep 100; true")
        t.until("ready")
        time.sleep(0.2)
        t.type("\x03")
        self.assertEqual(t.end(), 130)


@for_root
class Debian(Case):
    """A real root file system."""

    seconds = 240

    @classmethod
    def setUpClass(cls):
        cls.root = os.environ.get("CONDROID_DEBIAN_ROOT")
        if not cls.root:
            raise unittest.SkipTest("needs CONDROID_DEBIAN_ROOT")
        if not os.path.exists(cls.root + "/etc/debian_version"):
            shutil.rmtree(cls.root, ignore_errors=True)
            subprocess.run(["mmdebstrap", "--variant=apt", "--include=procps,hostname,mount", "bookworm", cls.root],
                           check=True, capture_output=True)

    @staticmethod
    def fingerprint(tree):
        """Names, kinds, owners, modes, times and content of everything."""
        listing = subprocess.run(f"cd {tree} && find . -printf '%p %y %m %U %G %s %T@ %C@ %l\\n' | LC_ALL=C sort; "
                                 f"find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum", shell=True, check=True,
                                 capture_output=True)
        return listing.stdout

    def test_a_distribution_works_and_stays_as_it_was(self):
        before = self.fingerprint(self.root)
        status, out, err = run("--rootfs", self.root, "--ephemeral", "--hostname", "deb", "--", "/bin/bash", "-c",
                               "set -e; cat /etc/debian_version; hostname; ps -e -o comm=; mount | head -1;"
                               "apt-get --version | head -1; dpkg --audit; apt-get check; apt-mark showmanual | wc -l;"
                               "rm -rf /usr/share/doc /etc/apt; echo x > /etc/motd; useradd someone; id someone", timeout=120)
        self.assertEqual(status, 0, err)
        for text in ["deb\n", "bash\n", "overlay on / type overlay", "apt 2.", "uid=1000(someone)"]:
            self.assertIn(text, out)
        self.assertEqual(before, self.fingerprint(self.root))

    @staticmethod
    def repository(directory):
        """A package with a program, a setting and scripts, and the index that apt-get reads."""
        os.chmod(directory, 0o755)
        control = ("Package: condroid-greeting\nVersion: 1.5\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n"
                   "Depends: bash, dpkg\nDescription: says something\n")
        for name, mode, content in [
            ("DEBIAN/control", 0o644, control),
            ("DEBIAN/conffiles", 0o644, "/etc/greeting\n"),
            ("DEBIAN/postinst", 0o755, "#!/bin/sh\nset -e\ngroupadd greeters\nchgrp greeters /etc/greeting\n"),
            ("DEBIAN/postrm", 0o755, "#!/bin/sh\n[ \"$1\" != purge ] || groupdel greeters\n"),
            ("etc/greeting", 0o640, "hello from a package\n"),
            ("usr/bin/greet", 0o755, "#!/bin/sh\ncat /etc/greeting\n"),
        ]:
            path = f"{directory}/tree/{name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(content)
            os.chmod(path, mode)
        file = directory + "/greeting.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", directory + "/tree", file], check=True, capture_output=True)
        with open(file, "rb") as f:
            content = f.read()
        with open(directory + "/Packages", "w") as f:
            f.write(f"{control}Filename: ./greeting.deb\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n")

    def test_packages_are_installed_and_removed(self):
        before = self.fingerprint(self.root)
        with tempfile.TemporaryDirectory() as directory:
            self.repository(directory)
            status, out, err = run("--rootfs", self.root, "--ephemeral", "--bind", directory + ":/mnt:ro", "--", "/bin/bash", "-c",
                                   "set -e; rm -rf /etc/apt/sources.list*;"
                                   "echo 'deb [trusted=yes] file:/mnt ./' > /etc/apt/sources.list;"
                                   "apt-get -q update; apt-cache policy condroid-greeting;"
                                   "apt-get -qy install condroid-greeting; greet;"
                                   "stat -c %G:%a /etc/greeting; dpkg -s condroid-greeting; dpkg --audit; apt-get -q check;"
                                   "apt-get -qy remove --purge condroid-greeting; ! test -e /etc/greeting; ! getent group greeters;"
                                   "dpkg -i /mnt/greeting.deb; greet", timeout=120)
        self.assertEqual(status, 0, out + err)
        self.assertEqual(out.count("hello from a package\n"), 2)
        for text in ["Candidate: 1.5\n", "Setting up condroid-greeting (1.5) ...", "greeters:640\n", "Status: install ok installed\n",
                     "Purging configuration files for condroid-greeting (1.5) ..."]:
            self.assertIn(text, out)
        self.assertEqual(before, self.fingerprint(self.root))

    def test_with_an_id_map(self):
        before = self.fingerprint(self.root)
        status, out, err = run("--rootfs", self.root, "--ephemeral", "--userns", "0:100000:65536", "--set", "root.idmapped = true",
                               "--", "/bin/sh", "-c", "touch /etc/x && stat -c %u:%g /etc/x /etc/passwd && cat /proc/self/uid_map")
        self.assertEqual((status, out.split()), (0, ["0:0", "0:0", "0", "100000", "65536"]), err)
        self.assertEqual(before, self.fingerprint(self.root))


class Running(unittest.TestCase):
    """Containers that nobody waits for."""

    def detached(self, name, *command, options=()):
        status, out, err = run("--detach", "--name", name, *options, "--", *command)
        self.assertEqual((status, err), (0, ""))
        self.assertRegex(out, rf"^{name} [0-9]+\n$")
        pid = int(out.split()[1])
        self.addCleanup(lambda: os.path.exists(f"/proc/{pid}") and run("--stop", str(pid)))
        return pid

    def listed(self, name):
        status, out, err = run("--ps")
        self.assertEqual((status, err), (0, ""))
        lines = out.splitlines()
        self.assertRegex(lines[0], r"^NAME +PID +AGE +STATE +MEMORY +COMMAND$")
        return [line.split(maxsplit=5) for line in lines[1:] if line.split()[0] == name]

    def test_one_is_left_listed_and_stopped(self):
        name = f"left-{os.getpid()}"
        pid = self.detached(name, "/bin/sleep", "1000")
        [row] = self.listed(name)
        self.assertEqual((row[1], row[3], row[5]), (str(pid), "running", "/bin/sleep 1000"))
        self.assertRegex(row[2], r"^[0-9]+s$")
        self.assertRegex(row[4], r"^[0-9.]+[KM]$")
        self.assertEqual(run("--stop", name), (0, "", ""))
        self.assertEqual(self.listed(name), [])
        self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_of_two_of_one_name_none_is_stopped(self):
        name = f"twin-{os.getpid()}"
        pids = [self.detached(name, "/bin/sleep", "1000") for _ in range(2)]
        self.assertEqual([row[1] for row in self.listed(name)], [str(p) for p in pids])
        status, out, err = run("--stop", name)
        self.assertEqual((status, out), (125, ""))
        for pid in pids:
            self.assertIn(f"(process {pid})", err)
        self.assertEqual(run("--stop", str(pids[0])), (0, "", ""))
        self.assertEqual(run("--stop", name), (0, "", ""))
        self.assertEqual(self.listed(name), [])

    @for_root
    def test_the_network_of_one_that_runs_is_joined(self):
        name = f"net-{os.getpid()}"
        pid = self.detached(name, "/bin/sleep", "1000")
        for which in name, str(pid):
            status, out, err = run("--net", f"container:{which}", "--", "readlink", "/proc/self/ns/net")
            self.assertEqual((status, out.strip(), err), (0, os.readlink(f"/proc/{pid}/ns/net"), ""))

    def test_a_command_is_run_in_one_that_runs(self):
        name = f"joined-{os.getpid()}"
        pid = self.detached(name, "/bin/sleep", "1000")
        for which in name, str(pid):
            status, out, err = run("--attach", which, "--env", "WORD=here", "--workdir", "/tmp", "--",
                                   "/bin/sh", "-c", "hostname; echo $WORD; pwd; cat /proc/1/comm; exit 6")
            self.assertEqual((status, out, err), (6, f"{name}\nhere\n/tmp\nsleep\n", ""))
        status, out, err = run("--attach", name, "--timeout", "0.3", "--", "/bin/sleep", "1000")
        self.assertEqual(status, 124, err)
        self.assertEqual(run("--attach", name, "--", "/bin/sh", "-c", "kill -TERM $$")[0], 128 + 15)
        self.assertEqual(len(self.listed(name)), 1)
        for wrong, said in [(("--attach", "no-such-one", "--", "true"), "no-such-one"),
                            (("--attach", name, "--memory", "1m", "--", "true"), "--memory"),
                            (("--attach", name, "--", "/no/such"), "/no/such")]:
            status, out, err = run(*wrong)
            self.assertIn(status, (125, 127))
            self.assertIn(said, err)
            self.assertEqual(err.count("\n"), 1, err)
        self.assertEqual(run("--stop", name), (0, "", ""))

    def test_rules_of_landlock_are_known_of_all_processes_of_a_container(self):
        name = f"ruled-{os.getpid()}"
        first = self.detached(name, "/bin/sh", "-c", "/bin/sleep 1000 & wait",
                              options=["--landlock", "best-effort", "--landlock", "/:run"])

        def children():
            with open(f"/proc/{first}/task/{first}/children") as f:
                return f.read().split()
        eventually(children, "a child of the container's first process")
        for which in name, str(first), children()[0]:
            status, _, err = run("--attach", which, "--", "/bin/true")
            self.assertEqual(status, 125, err)
            self.assertIn(f"'{which}' is under rules of Landlock", err)
            self.assertEqual(run("--attach", which, "--landlock", "best-effort", "--landlock", "/:run", "--",
                                 "/bin/true")[0], 0)
        self.assertEqual(run("--stop", name), (0, "", ""))

    def test_what_was_used_is_said(self):
        status, out, err = run("--stats", "--", "/bin/sh", "-c", "echo out; exit 4")
        self.assertEqual((status, out), (4, "out\n"))
        self.assertRegex(err, r"^condroid-run: ran [0-9.]+ s, [0-9.]+ s of processors, [0-9.]+ MiB at most(, [0-9]+ processes at most)?\n$")

    def test_one_that_is_waited_for_is_listed_too(self):
        name = f"waited-{os.getpid()}"
        with subprocess.Popen([RUN, "--name", name, "--", "/bin/sh", "-c", "trap 'exit 7' TERM; echo ready; sleep 1000 & wait"],
                              stdout=subprocess.PIPE, text=True) as program:
            self.assertEqual(program.stdout.readline(), "ready\n")
            self.assertEqual(len(self.listed(name)), 1)
            self.assertEqual(run("--stop", name), (0, "", ""))
            self.assertEqual(program.wait(timeout=20), 7)


# A program that answers at port 80 with its name and who has asked, and asks others what its input says.
PEER = """
import errno, json, select, socket, sys, threading

tcp = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
udp.bind(("::", 80))


def answer(who):
    return f"{sys.argv[1]} {who[0].removeprefix('::ffff:')}".encode()


def serve():
    while True:
        for at in select.select([tcp, udp], [], [])[0]:
            try:
                if at is tcp:
                    client, who = tcp.accept()
                    with client:
                        client.settimeout(20)
                        client.recv(100)
                        client.sendall(answer(who))
                else:
                    # From the address that was asked, by any interface.
                    [(level, kind, at)], _, who = udp.recvmsg(100, 100)[1:]
                    udp.sendmsg([answer(who)], [(level, kind, at[:16] + bytes(4))], 0, who)
            except OSError:
                pass  # it has gone again


def ask(protocol, address, port):
    if protocol == "tcp":
        with socket.create_connection((address, int(port)), timeout=20) as there, there.makefile() as said:
            # Whom a client from elsewhere reaches by an old pasta must not be the first to speak.
            there.sendall(b"who?")
            return said.read()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.connect((address, int(port)))
        there.settimeout(1)
        for _ in range(20):
            there.send(b"who?")
            try:
                return there.recv(100).decode()
            except TimeoutError:
                pass
    raise TimeoutError


def source(family, elsewhere):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try:
            one.connect((elsewhere, 9))
            return one.getsockname()[0]
        except OSError:
            return ""


threading.Thread(target=serve, daemon=True).start()
print(json.dumps([source(socket.AF_INET, "192.0.2.99"), source(socket.AF_INET6, "2001:db8::99")]), flush=True)
for line in sys.stdin:
    try:
        print(ask(*line.split()), flush=True)
    except OSError as error:
        print("late" if isinstance(error, TimeoutError) else errno.errorcode[error.errno], flush=True)
"""


class Peer:
    """PEER in a network. `before` are the words before its own: those of a container, or none."""

    def __init__(self, test, network, name, *before):
        self.name = name
        self.process = test.clean(network.start(*before, sys.executable, "-c", PEER, name))
        test.addCleanup(self.process.stdin.close)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"{name} has not begun: {self.process.stderr.read()}")
        # By which it reaches all else, of IPv4 and IPv6; "" is none.
        self.addresses = json.loads(line)

    def ask(self, address, protocol="tcp", port=80):
        """What it is answered there, or the error's name."""
        self.process.stdin.write(f"{protocol} {address} {port}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def end(self):
        """Status, and what is left to be read."""
        self.process.stdin.close()
        said = self.process.stdout.read(), self.process.stderr.read()
        return self.process.wait(), *said


class Network:
    """A network namespace of a test's own: a host with a loopback, and nothing else of the machine's. It goes with the test."""

    def __init__(self, test):
        self.test = test
        self.holder = test.clean(subprocess.Popen(["unshare", "--net", "sh", "-ec", "ip link set lo up; echo made; exec cat"],
                                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        test.addCleanup(self.holder.stdin.close)
        test.assertEqual(self.holder.stdout.readline(), "made\n")
        self.path = f"/proc/{self.holder.pid}/ns/net"
        test.addCleanup(eventually, lambda: self.processes() == [self.holder.pid], "no process is left", 20)

    def processes(self):
        """Those in it, which those in containers are not."""
        ours, found = os.readlink(self.path), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/ns/net") == ours:
                    found.append(int(pid))
            except OSError:
                continue
        return found

    def start(self, *command):
        return subprocess.Popen(["nsenter", f"--net={self.path}", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def output(self, *command):
        done = subprocess.run(["nsenter", f"--net={self.path}", *command], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60)
        self.test.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def run(self, *args):
        """What condroid-run writes here."""
        return self.output(RUN, *args)

    def ip(self, *lines):
        for line in lines:
            self.output("ip", *line.split())

    def link(self, name):
        """Its index, MTU and Ethernet address; None when there is none of that name."""
        for one in json.loads(self.output("ip", "-json", "link")):
            if one["ifname"] == name:
                return one["ifindex"], one["mtu"], one["address"]
        return None

    def links(self):
        return sorted(one["ifname"] for one in json.loads(self.output("ip", "-json", "link")))

    def bridge(self, *addresses):
        # With an Ethernet address of its own: another one's changes as ports come and go.
        self.ip("link add br0 address 02:00:00:00:01:01 type bridge", "link set br0 up",
                *(f"address add {one} dev br0" + " nodad" * (":" in one) for one in addresses))

    def cable(self, name, addresses, there, other, addresses_there):
        self.ip(f"link add {name} type veth peer name {other} netns {there.holder.pid}")
        for network, one, its in (self, name, addresses), (there, other, addresses_there):
            network.ip(f"link set {one} up", *(f"address add {a} dev {one}" + " nodad" * (":" in a) for a in its))

    def host(self, name="host"):
        return Peer(self.test, self, name)

    def container(self, name, *options):
        return Peer(self.test, self, name, RUN, *options, "--")


@for_root
class Networks(Case):
    """Each form of --net, with what really goes over it. The host is a network namespace of the test's own."""

    seconds = 120

    def talk(self, one, address, other, as_who, port=80):
        """`one` reaches `other` at this address, and is `as_who` there."""
        for protocol in "tcp", "udp":
            self.assertEqual(one.ask(address, protocol, port), f"{other.name} {as_who}", f"{one.name}: {protocol} {address} {port}")

    def way_out(self, network, *options):
        """The gateway of a container's IPv4, as /proc/net/route writes it."""
        routes = [line.split() for line in network.run(*options, "--", "cat", "/proc/net/route").splitlines()]
        [gateway] = [words[2] for words in routes if words[:2] == ["eth0", "00000000"]]
        return gateway

    def ends(self, *peers):
        for one in peers:
            self.assertEqual(one.end(), (0, "", ""), one.name)

    def test_none_is_a_loopback_of_its_own(self):
        here = Network(self)
        host, box = here.host(), here.container("box", "--net", "none")
        self.assertEqual(box.addresses, ["", ""])
        for loopback in "127.0.0.1", "::1":
            self.talk(box, loopback, box, loopback)
            self.talk(host, loopback, host, loopback)
        self.assertEqual(box.ask("192.0.2.1"), "ENETUNREACH")
        self.ends(box, host)
        # Nobody is there but the host.
        host = here.host()
        self.assertEqual(here.run("--net", "none", "--", "busybox", "ip", "-o", "link").count("\n"), 1)
        alone = here.start(RUN, "--net", "none", "--", "busybox", "nc", "127.0.0.1", "80")
        self.assertEqual((alone.communicate(timeout=60)[0], alone.returncode), ("", 1))
        self.ends(host)

    def test_host_is_the_network_of_who_calls(self):
        here = Network(self)
        here.bridge("10.0.3.1/24", "fd00:3::1/64")
        host = here.host()
        for address in "127.0.0.1", "::1", "10.0.3.1", "fd00:3::1":
            self.assertEqual(here.run("--net", "host", "--", "busybox", "nc", address, "80"), f"host {address}")
        self.ends(host)
        host = here.container("box", "--net", "host")
        self.assertEqual(here.output("busybox", "nc", "127.0.0.1", "80"), "box 127.0.0.1")
        self.ends(host)
        self.assertEqual(here.links(), ["br0", "lo"])

    def test_veths_at_a_bridge(self):
        here = Network(self)
        here.bridge("10.0.3.1/24", "10.0.4.1/24", "fd00:3::1/64", "fd00:4::1/64")
        # What only who has a gateway reaches.
        here.ip("address add 198.51.100.9/32 dev lo", "address add 2001:db8::9/128 dev lo nodad")
        host = here.host()
        one = here.container("one", "--net", "veth:br0", "--ip", "10.0.3.2/24", "--ip", "fd00:3::2/64",
                             "--gateway", "10.0.3.1", "--gateway", "fd00:3::1")
        two = here.container("two", "--net", "veth:br0", "--ip", "10.0.3.3/24", "--ip", "10.0.4.3/24", "--ip", "fd00:3::3/64",
                             "--ip", "fd00:4::3/64", "--gateway", "auto")
        no_way_out = here.container("near", "--net", "veth:br0", "--ip", "10.0.3.4/24", "--ip", "fd00:3::4/64")
        self.assertEqual(one.addresses, ["10.0.3.2", "fd00:3::2"])
        self.talk(one, "10.0.3.3", two, "10.0.3.2")
        self.talk(one, "fd00:3::3", two, "fd00:3::2")
        self.talk(two, "10.0.3.2", one, "10.0.3.3")
        self.talk(two, "fd00:3::2", one, "fd00:3::3")
        # Each of its addresses.
        self.talk(host, "10.0.3.3", two, "10.0.3.1")
        self.talk(host, "10.0.4.3", two, "10.0.4.1")
        self.talk(host, "fd00:3::3", two, "fd00:3::1")
        self.talk(host, "fd00:4::3", two, "fd00:4::1")
        for peer in one, two:
            self.talk(peer, "198.51.100.9", host, peer.addresses[0])
            self.talk(peer, "2001:db8::9", host, peer.addresses[1])
        self.talk(no_way_out, "10.0.3.1", host, "10.0.3.4")
        self.talk(no_way_out, "fd00:3::1", host, "fd00:3::4")
        self.assertEqual([no_way_out.ask("198.51.100.9"), no_way_out.ask("2001:db8::9")], ["ENETUNREACH"] * 2)
        self.ends(one, two, no_way_out, host)
        eventually(lambda: here.links() == ["br0", "lo"], "no veth is left", 20)

    def test_a_cable_to_the_host(self):
        here = Network(self)
        here.ip("address add 198.51.100.9/32 dev lo", "address add 2001:db8::9/128 dev lo nodad")
        host = here.host()
        box = here.container("box", "--net", "veth", "--host-ip", "192.0.2.1/32", "--host-ip", "fd00:5::1/128",
                             "--ip", "192.0.2.2/32", "--ip", "192.0.2.3/32", "--ip", "fd00:5::2/128",
                             "--gateway", "192.0.2.1", "--gateway", "fd00:5::1")
        self.talk(box, "192.0.2.1", host, "192.0.2.2")
        self.talk(box, "198.51.100.9", host, "192.0.2.2")
        self.talk(box, "fd00:5::1", host, "fd00:5::2")
        self.talk(box, "2001:db8::9", host, "fd00:5::2")
        self.talk(host, "192.0.2.2", box, "192.0.2.1")
        self.talk(host, "192.0.2.3", box, "192.0.2.1")
        self.talk(host, "fd00:5::2", box, "fd00:5::1")
        self.ends(box, host)
        eventually(lambda: here.links() == ["lo"], "no veth is left", 20)

    def test_a_bridge_of_our_own(self):
        here, world = Network(self), Network(self)
        # The world knows the way to the host, and none to what is behind it.
        here.cable("up0", ["198.51.100.2/24", "fd00:9::2/64"], world, "far0", ["198.51.100.1/24", "fd00:9::1/64"])
        host, far = here.host(), world.host("far")
        one = here.container("one", "--net", "bridge", "--publish", "8080:80", "--publish", "127.0.0.1:8081:80/udp",
                             "--publish", "198.51.100.2:8081:80/udp", "--publish", "[fd00:9::2]:8082:80")
        two = here.container("two", "--net", "bridge", "--ip", "10.209.0.77/20")
        self.assertEqual(two.addresses[0], "10.209.0.77")
        self.assertIn("condroid0", here.links())
        for peer, other in (one, two), (two, one):
            self.assertRegex(peer.addresses[0], r"^10\.209\.0\.[0-9]+$")
            self.talk(peer, other.addresses[0], other, peer.addresses[0])
            self.talk(peer, "198.51.100.1", far, "198.51.100.2")
            self.talk(peer, "10.209.0.1", host, peer.addresses[0])
            self.talk(host, peer.addresses[0], peer, "10.209.0.1")
        self.assertRegex(one.addresses[1], "^fd63:6e64:726f::[0-9a-f]+$")
        self.talk(one, "fd00:9::1", far, "fd00:9::2")
        self.talk(host, one.addresses[1], one, "fd63:6e64:726f::1")
        # The way in: from the host itself, and from the world, which a container sees as it is.
        self.assertRegex(host.ask("127.0.0.1", port=8080), r"^one ")
        self.assertRegex(host.ask("198.51.100.2", port=8080), r"^one ")
        self.assertRegex(host.ask("127.0.0.1", "udp", 8081), r"^one ")
        self.assertEqual(far.ask("198.51.100.2", port=8080), "one 198.51.100.1")
        self.assertEqual(far.ask("198.51.100.2", "udp", 8081), "one 198.51.100.1")
        self.assertEqual(far.ask("fd00:9::2", port=8082), "one fd00:9::1")
        # What is not published is the host's.
        self.assertEqual(far.ask("198.51.100.2"), "host 198.51.100.1")
        self.assertEqual(far.ask("198.51.100.2", port=8081), "ECONNREFUSED")
        self.ends(one)
        self.assertEqual(host.ask("127.0.0.1", port=8080), "ECONNREFUSED")
        self.ends(two, host, far)
        eventually(lambda: here.links() == ["lo", "up0"], "the bridge goes with the last one", 20)

    def test_name_servers(self):
        here = Network(self)
        here.bridge("10.0.3.1/24")
        servers = ["--dns", "192.0.2.53", "--dns", "2001:db8::53"]
        for net in ["bridge"], ["veth:br0", "--ip", "10.0.3.2/24"]:
            self.assertEqual(here.run("--net", *net, *servers, "--", "cat", "/etc/resolv.conf"),
                             "nameserver 192.0.2.53\nnameserver 2001:db8::53\n")

    def test_macvlans(self):
        here, world = Network(self), Network(self)
        here.cable("up0", [], world, "far0", ["192.168.1.1/24", "fd00:1::1/64"])
        world.ip("address add 198.51.100.9/32 dev lo", "address add 2001:db8::9/128 dev lo nodad")
        far = world.host("far")
        one, two = (here.container(name, "--net", "macvlan:up0", "--ip", f"192.168.1.{n}/24", "--ip", f"fd00:1::{n}/64",
                                   "--gateway", "192.168.1.1", "--gateway", "fd00:1::1") for name, n in (("one", 77), ("two", 78)))
        self.talk(one, "192.168.1.78", two, "192.168.1.77")
        self.talk(two, "fd00:1::77", one, "fd00:1::78")
        for n, peer in (77, one), (78, two):
            self.talk(peer, "192.168.1.1", far, f"192.168.1.{n}")
            self.talk(peer, "198.51.100.9", far, f"192.168.1.{n}")
            self.talk(peer, "2001:db8::9", far, f"fd00:1::{n}")
            self.talk(far, f"192.168.1.{n}", peer, "192.168.1.1")
            self.talk(far, f"fd00:1::{n}", peer, "fd00:1::1")
        self.ends(one, two, far)
        # That of the parent.
        here.ip("address add 192.168.1.9/24 dev up0")
        self.assertEqual(self.way_out(here, "--net", "macvlan:up0", "--ip", "192.168.1.77/24", "--gateway", "auto"), "0901A8C0")
        self.assertEqual(here.links(), ["lo", "up0"])

    def test_an_interface_that_is_lent(self):
        here, world = Network(self), Network(self)
        here.cable("lent0", [], world, "far0", ["192.168.2.1/24", "fd00:2::1/64"])
        world.ip("address add 198.51.100.9/32 dev lo", "address add 2001:db8::9/128 dev lo nodad")
        here.ip("link set lent0 mtu 1400")
        far, before = world.host("far"), here.link("lent0")
        for killed in False, True:
            box = here.container("box", "--net", "phys:lent0", "--ip", "192.168.2.2/24", "--ip", "fd00:2::2/64",
                                 "--gateway", "192.168.2.1", "--gateway", "fd00:2::1")
            self.assertEqual(here.links(), ["lo"])
            self.talk(box, "198.51.100.9", far, "192.168.2.2")
            self.talk(box, "2001:db8::9", far, "fd00:2::2")
            self.talk(far, "192.168.2.2", box, "192.168.2.1")
            self.talk(far, "fd00:2::2", box, "fd00:2::1")
            if killed:
                box.process.kill()
                eventually(lambda: here.link("lent0") == before, "it comes home", 20)
            else:
                self.ends(box)
                self.assertEqual(here.link("lent0"), before)
        self.ends(far)

    def test_pasta(self):
        here, world = Network(self), Network(self)
        here.cable("up0", ["198.51.100.2/24", "fd00:9::2/64"], world, "far0", ["198.51.100.1/24", "fd00:9::1/64"])
        here.ip("route add default via 198.51.100.1", "route add default via fd00:9::1")
        host, far = here.host(), world.host("far")
        box = here.container("box", "--net", "pasta", "--publish", "127.0.0.1:8080:80", "--publish", "198.51.100.2:8081:80")
        # Its addresses are the host's, and what it sends comes from there.
        self.assertEqual(box.addresses, ["198.51.100.2", "fd00:9::2"])
        self.talk(box, "198.51.100.1", far, "198.51.100.2")
        self.talk(box, "fd00:9::1", far, "fd00:9::2")
        self.assertRegex(host.ask("127.0.0.1", port=8080), "^box ")
        self.assertEqual(far.ask("198.51.100.2", port=8081), "box 198.51.100.1")
        self.ends(box)
        self.assertEqual(host.ask("127.0.0.1", port=8080), "ECONNREFUSED")
        own = ["--net", "pasta", "--ip", "10.1.1.2/24", "--gateway", "10.1.1.1"]
        self.assertEqual(self.way_out(here, *own), "0101010A")
        box = here.container("box", *own)
        self.assertEqual(box.addresses[0], "10.1.1.2")
        self.talk(box, "198.51.100.1", far, "198.51.100.2")
        self.ends(box, host, far)
        self.assertEqual(here.links(), ["lo", "up0"])

    def test_a_namespace_by_its_file(self):
        here = Network(self)
        here.bridge("10.0.3.1/24", "fd00:3::1/64")
        host = here.host()
        with tempfile.NamedTemporaryFile() as file:
            # The mount is of no other program's, and goes with it.
            bound = subprocess.run(["unshare", "--mount", "sh", "-ec",
                                    'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh", here.path, file.name,
                                    RUN, "--net", f"ns:{file.name}", "--", "sh", "-c",
                                    "readlink /proc/self/ns/net; busybox nc 127.0.0.1 80; echo; busybox nc fd00:3::1 80"],
                                   stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual((bound.returncode, bound.stderr), (0, ""))
        self.assertEqual(bound.stdout, f"{os.readlink(here.path)}\nhost 127.0.0.1\nhost fd00:3::1")
        self.ends(host)
        self.assertEqual(here.links(), ["br0", "lo"])

    def test_the_network_of_another_container(self):
        here = Network(self)
        here.bridge("10.0.3.1/24", "fd00:3::1/64")
        name = f"shared-{os.getpid()}"
        host = here.host()
        one = here.container("one", "--name", name, "--net", "veth:br0", "--ip", "10.0.3.2/24", "--ip", "fd00:3::2/64")
        self.talk(one, "10.0.3.1", host, "10.0.3.2")
        for address, who in ("127.0.0.1", "one 127.0.0.1"), ("10.0.3.1", "host 10.0.3.2"), ("fd00:3::1", "host fd00:3::2"):
            self.assertEqual(here.run("--net", f"container:{name}", "--", "busybox", "nc", address, "80"), who)
        # Nothing of it ends with who has joined it.
        self.talk(host, "fd00:3::2", one, "fd00:3::1")
        self.ends(one, host)


class ZNothing(unittest.TestCase):
    def test_is_left(self):
        """Runs after the others (by name): no process of ours, no mount, no state."""
        self.assertEqual(mounts(), MOUNTS)
        children = subprocess.run(["ps", "--no-headers", "--ppid", str(os.getpid()), "-o", "comm"], capture_output=True, text=True)
        self.assertEqual([c for c in children.stdout.split() if c != "ps"], [])


class ZSkips(unittest.TestCase):
    @for_root
    def test_are_failures_where_the_suite_must_run(self):
        for must, status in [("userns", 77), ("userns,root", 1)]:
            env = {**os.environ, "CONDROID_MUST_RUN": must, "CONDROID_SUITE": "root"}
            env.pop("CONDROID_DEBIAN_ROOT", None)
            done = subprocess.run([sys.executable, __file__, RUN, "Debian"], env=env, capture_output=True, text=True, timeout=30)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn("needs CONDROID_DEBIAN_ROOT", done.stderr)


def main():
    must = SUITE in os.environ.get("CONDROID_MUST_RUN", "").split(",")
    if SUITE == "root" and not ROOT:
        print("skipped: needs root")
        return 1 if must else 77
    result = unittest.main(verbosity=1, exit=False).result
    for test, reason in result.skipped:
        print(f"skipped: {test}: {reason}", file=sys.stderr)
    if not result.wasSuccessful() or (result.skipped and must):
        return 1
    return 77 if len(result.skipped) >= max(result.testsRun, 1) else 0


if __name__ == "__main__":
    sys.exit(main())
