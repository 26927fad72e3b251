#!/usr/bin/env python3
"""scope_test.py CONDROID_RUN CONDROID_PROBE SCOPE_HOST PAYLOAD [TEST...]: scopes of a real systemd.

Debian's systemd is started as process 1 of a container, with cgroups of its own in all hierarchies of this machine, with a
message bus, and with a `systemd --user` for one user. SCOPE_HOST (host.cpp) and containers of its run inside. Root only:
the container needs cgroups. A skip is a failure when CONDROID_MUST_RUN names the suite root.

scope_test.py --root makes the root directory, $CONDROID_SYSTEMD_ROOT, and ends: for machines that cannot."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest



def make_root(root):
    if not os.path.exists(root + "/usr/lib/systemd/systemd"):
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["mmdebstrap", "--variant=apt", "--include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,procps",
                        "bookworm", root], check=True, capture_output=True)


ROOT = os.environ.get("CONDROID_SYSTEMD_ROOT", "systemd-root")
if sys.argv[1:] == ["--root"]:
    make_root(ROOT)
    sys.exit()
RUN, PROBE, HOST, PAYLOAD = (os.path.abspath(sys.argv.pop(1)) for _ in range(4))
NAME = f"condroid-systemd-{os.getpid()}"
UID = 1000
V2_ALONE = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
SLOW = int(os.environ.get("CONDROID_SLOW", "1"))


def eventually(condition, what, seconds=10):
    end = time.monotonic() + seconds * SLOW
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds * SLOW} s: {what}")
        time.sleep(0.01)


def attach(*options):
    """The beginning of a command that runs in the container, in its cgroups but in none that is anybody's to divide."""
    if not V2_ALONE:
        return [RUN, "--attach", NAME, *options, "--"]
    # On v2 with nsdelegate a process enters a cgroup before it enters the namespace that the cgroup is seen from.
    pairs = list(zip(options[::2], options[1::2]))
    uid = dict(pairs).get("--user", "0")
    environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", *(value for option, value in pairs if option == "--env")]
    return ["sh", "-c", 'echo 0 > "/sys/fs/cgroup$(sed -n s/^0:://p "/proc/$0/cgroup")/cgroup.procs" && exec "$@"', f"{Scopes.pid}",
            "nsenter", "--target", f"{Scopes.pid}", "--all", "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups",
            "env", "-i", *environment]


# systemd moves itself from one cgroup of v1 to another whenever the first unit needs, or the last has needed, a controller:
# the one that it was in may be gone when it is entered. Then one tries again.
def moved(process):
    return process.wait() == 125 and "enter cgroup: " in process.stderr.read()


def inside(command, *options, check=True):
    for _ in range(20):
        done = subprocess.run([*attach(*options), "sh", "-c", command], capture_output=True, text=True, timeout=60 * SLOW)
        if done.returncode != 125 or "enter cgroup: " not in done.stderr:
            break
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}: {done.stderr}{done.stdout}")
    return done.stdout


class Program:
    """SCOPE_HOST inside, and what it said: key to value, keys that come several times to the last."""

    def __init__(self, use, *arguments, user=0, env=()):
        options = ["--user", f"{user}"]
        if user == UID:
            env = [f"XDG_RUNTIME_DIR=/run/user/{user}", *env]
        for one in ["SCOPE_PATIENCE_MS=20000", *env]:
            options += ["--env", one]
        self.user = user
        self.said = {}
        self.hierarchies = {}
        for _ in range(20):
            self.process = subprocess.Popen([*attach(*options), "/condroid/host", use, "/condroid/payload", *arguments],
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if self.until("ready") is not None or not moved(self.process):
                break
            for stream in self.process.stdin, self.process.stdout, self.process.stderr:
                stream.close()
        if not self.said:
            raise AssertionError(f"{use} {arguments}: {self.process.returncode}: {self.process.stderr.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def until(self, last):
        for line in self.process.stdout:
            key, _, value = line.rstrip("\n").partition("=")
            if key == "hierarchy":
                mount, parent, writable, controllers = (value + " ").split(" ")[:4]
                self.hierarchies[mount] = (parent, writable == "1", controllers.split(","))
            else:
                self.said[key] = value
            if key in (last, "error"):
                return self.said
        return None

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        if self.until("done") is None:
            raise AssertionError(f"{line}: it ended: {self.process.wait()}, {self.process.stderr.read()}, after {self.said}")
        if "error" in self.said:
            raise AssertionError(f"{line}: {self.said}")
        return self.said

    def end(self):
        if self.process.stdin.closed:
            return self.process.returncode
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return self.process.wait()

    def __getitem__(self, key):
        return self.said[key]

    def systemctl(self, command, check=True):
        """Of this program's systemd."""
        if self.user:
            return inside(f"systemctl --user {command}", "--user", f"{self.user}", "--env",
                          f"XDG_RUNTIME_DIR=/run/user/{self.user}", check=check)
        return inside(f"systemctl {command}", check=check)

    def gone(self, unit):
        eventually(lambda: "not-found" in self.systemctl(f"show --property LoadState {unit}"), f"the end of {unit}")


class Scopes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("needs root")
        make_root(ROOT)
        cls.programs = os.path.join(ROOT, "condroid")
        os.makedirs(cls.programs, exist_ok=True)
        for program, name in [(RUN, "run"), (PROBE, "probe"), (HOST, "host"), (PAYLOAD, "payload")]:
            shutil.copy(program, os.path.join(cls.programs, name))
        # In a user namespace, where the file system of that directory can be shifted: what systemd may do there is no
        # matter of this machine's.
        common = ["--rootfs", ROOT, "--ephemeral", "--allow", "nesting", "--cap-add", "all"]
        shifted = ["--set", "root.idmapped = true", "--userns", "0:100000:65536"]
        if subprocess.run([RUN, *common, *shifted, "--", "/bin/true"], capture_output=True).returncode != 0:
            shifted = ["--allow", "real_root"] + [f"--cap-drop={c}" for c in ("sys_module", "sys_time", "sys_rawio", "syslog")]
        done = subprocess.run(
            [RUN, "--name", NAME, "--detach", *common, *shifted, "--tmpfs", "/run", "--tmpfs", "/tmp",
             "--set", "mounts = cgroup flags=nosuid,nodev,noexec", "--set", "resources.cgroup = everywhere", "--env", "container=condroid",
             "--", "/lib/systemd/systemd", "--log-target=null", "--show-status=0"], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        cls.pid = int(done.stdout.split()[1])
        try:
            # What it cannot mount there has failed, and is of no interest.
            eventually(lambda: inside("systemctl is-system-running --wait", check=False).strip() in ("running", "degraded"),
                       "the start of systemd", 60)
            inside(f"useradd --uid {UID} ann && systemctl start user@{UID}.service")
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def tearDownClass(cls):
        os.kill(cls.pid, signal.SIGKILL)
        eventually(lambda: NAME not in subprocess.run([RUN, "--ps"], capture_output=True, text=True).stdout,
                   "the end of systemd's container")

    def check_scope(self, program, above):
        """The zygote, and a container, are below the scope; the program is where it was."""
        unit = program["unit"]
        self.assertRegex(unit, r"^condroid-[0-9a-f]{12}\.scope$")
        self.assertEqual(program["why_not"], "")
        self.assertTrue(program["zygote_v2"].endswith(f"{above}/{unit}/zygote"), program.said)
        self.assertNotIn(unit, program["own_v2"])
        self.assertEqual(program["descriptors"], program_without_scope_descriptors())
        program.ask("launch")
        self.assertTrue(re.search(rf"{above}/{unit}/condroid-[0-9a-f]+/inside\.1$", program["box_v2"]), program.said)
        program.ask("freeze")

    def test_root_has_one_on_request(self):
        with Program("required") as p:
            self.check_scope(p, "/system.slice")
            unit = p["unit"]
            shown = dict(line.split("=", 1) for line in p.systemctl(
                f"show --property Delegate,Slice,TasksMax,CollectMode,Description,ActiveState {unit}").splitlines())
            self.assertEqual(shown["Delegate"], "yes")
            self.assertEqual(shown["Slice"], "system.slice")
            self.assertEqual(shown["TasksMax"], "infinity")
            self.assertEqual(shown["CollectMode"], "inactive-or-failed")
            self.assertEqual(shown["ActiveState"], "active")
            self.assertTrue(shown["Description"].startswith("containers of process "))
            p.ask("limit")
            self.assertIn("forks=5", p["limit"])
            self.assertNotIn("cleanup", p.said)
            if not V2_ALONE:
                self.assertIn(f"/system.slice/{unit}", p["box_pids"] + p["zygote_pids"])
            self.assertEqual(p.end(), 0)
            p.gone(unit)

    def test_root_is_not_moved_unless_asked(self):
        with Program("when_needed") as p:
            self.assertEqual((p["unit"], p["why_not"]), ("", ""))
            self.assertNotIn(".scope/zygote", p["zygote_v2"])
            self.assertTrue(all(parent == "/" for parent, _, _ in p.hierarchies.values()), p.hierarchies)
        with Program("never") as p:
            self.assertEqual((p["unit"], p["why_not"]), ("", ""))

    def test_a_slice_of_choice(self):
        with Program("preferred", "batch-night.slice") as p:
            self.check_scope(p, "/batch.slice/batch-night.slice")
            unit = p["unit"]
        with Program("required", "no slice") as p:
            self.assertIn("open runtime: slice 'no slice'", p["error"])
        p.gone(unit)

    def test_a_user_gets_one_when_it_is_needed(self):
        above = f"/user.slice/user-{UID}.slice/user@{UID}.service/app.slice"
        for use in "when_needed", "required":
            with Program(use, user=UID) as p:
                self.check_scope(p, above)
                unit = p["unit"]
                if V2_ALONE:
                    ((parent, writable, controllers),) = p.hierarchies.values()
                    self.assertTrue(writable)
                    self.assertTrue({"memory", "pids"} <= set(controllers), controllers)
                    p.ask("limit")
                    self.assertIn("forks=5", p["limit"])
                self.assertEqual(p.end(), 0)
                p.gone(unit)

    def test_a_user_without_a_systemd_of_his_own(self):
        with Program("when_needed", user=1234) as p:
            self.assertEqual(p["unit"], "")
            self.assertIn("start scope: the user bus 'unix:path=/run/user/1234/bus': ", p["why_not"])
        with Program("required", user=1234) as p:
            self.assertIn("(ENOENT); hint: is systemd running here, for this user?", p["error"])

    def test_the_systems_systemd_refuses_a_user(self):
        with Program("required", user=UID, env=["DBUS_SESSION_BUS_ADDRESS=unix:path=/run/dbus/system_bus_socket"]) as p:
            self.assertIn("start scope: StartTransientUnit at the user bus ", p["error"])
            self.assertIn("(EACCES)", p["error"])

    def test_condroid_run_and_condroid_probe(self):
        as_ann = ["--user", f"{UID}", "--env", f"XDG_RUNTIME_DIR=/run/user/{UID}"]
        limit = "--pids 20" if V2_ALONE else "--set 'resources.cgroup = always'"
        below = rf"/user@{UID}.service/app.slice/condroid-[0-9a-f]+.scope/condroid-[0-9a-f]+/box.1\n"
        # Nobody is asked without a limit, which the cgroup shows.
        self.assertNotIn("app.slice", inside("/condroid/run --share cgroup --name box -- cat /proc/self/cgroup", *as_ann))
        self.assertRegex(inside(f"/condroid/run --share cgroup --name box {limit} -- cat /proc/self/cgroup", *as_ann), below)
        inside(f"/condroid/run --share cgroup --name box --detach {limit} -- sleep 1000", *as_ann)
        try:
            self.assertRegex(inside("/condroid/run --attach box -- sh -c 'ps ax; cat /proc/self/uid_map'", *as_ann), "sleep 1000")
            pid = inside("/condroid/run --ps", *as_ann).splitlines()[1].split()[1]
            group = inside(f"cat /proc/{pid}/cgroup")
            self.assertRegex(group, below)
        finally:
            inside("/condroid/run --stop box", *as_ann)
        found = {f["id"]: f for f in json.loads(inside("/condroid/probe --json", *as_ann))["findings"]}
        self.assertEqual(found["cgroup.scope"]["outcome"], "works", found["cgroup.scope"])
        self.assertIn("memory" if V2_ALONE else "without controllers", found["cgroup.scope"]["why"])
        self.assertEqual(found["launch.limits"]["outcome"], "works" if V2_ALONE else "fails")
        eventually(lambda: "condroid" not in inside("systemctl --user list-units --plain --no-legend 'condroid-*'", *as_ann),
                   "the end of its scopes")

    def test_the_next_zygote_is_in_it_again(self):
        for user in 0, UID:
            with Program("required", user=user) as p:
                p.ask("launch")
                unit, first, group = p["unit"], p["zygote"], p["box_v2"]
                p.ask("again")
                self.assertNotEqual(p["zygote"], first)
                self.assertTrue(p["zygote_v2"].endswith(f"/{unit}/zygote"), p.said)
                self.assertEqual(os.path.dirname(os.path.dirname(p["box_v2"])), os.path.dirname(os.path.dirname(group)))
                p.ask("freeze")
                p.end()
                p.gone(unit)

    def test_a_detached_container_keeps_it(self):
        with Program("required") as p:
            p.ask("launch")
            p.ask("detach")
            self.assertEqual(p.end(), 0)
            self.assertEqual(p.systemctl(f"is-active {p['unit']}", check=False).strip(), "active")
            inside(f"kill -9 {p['box']}")
            p.gone(p["unit"])

    def test_stopping_the_unit_ends_everything(self):
        with Program("required") as p:
            p.ask("launch")
            p.systemctl(f"stop {p['unit']}")
            p.gone(p["unit"])
            self.assertIn("gone", inside(f"test -d /proc/{p['box']} || echo gone"))

    def test_a_killed_host_leaves_no_scope(self):
        p = Program("required", user=UID)
        p.ask("launch")
        inside(f"kill -9 $(ps -C host -o pid= || pidof host)")
        p.end()
        p.gone(p["unit"])

    def test_z_nothing_is_left(self):
        """Runs after the others, by its name."""
        left = inside("systemctl list-units --all --plain --no-legend 'condroid-*.scope'")
        self.assertEqual(left.strip(), "")


def program_without_scope_descriptors():
    """How many descriptors a Runtime holds that asked nobody."""
    if not hasattr(program_without_scope_descriptors, "number"):
        with Program("never") as p:
            program_without_scope_descriptors.number = p["descriptors"]
    return program_without_scope_descriptors.number


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=2).result
    if result.skipped and "root" in os.environ.get("CONDROID_MUST_RUN", ""):
        print("skipped, but CONDROID_MUST_RUN names the suite")
        sys.exit(1)
    if result.skipped and result.testsRun == 0:
        sys.exit(77)
    sys.exit(0 if result.wasSuccessful() else 1)
