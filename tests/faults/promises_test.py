#!/usr/bin/env python3
"""A start that is reported as good shows exactly what its plan promised.

    promises_test.py CONDROID_RUN PAYLOAD

For each of many specs: the text of the plan (--dry-run) is compared with what the payload finds in
the container (tests/support/promise.py). Then reports are falsified, one line at a time: each lie
must be noticed. Needs root; the user with subids is one of as_user.sh.
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import leakwatch  # noqa: E402
from promise import Plan  # noqa: E402

SKIPPED = 77
AS_USER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support/as_user.sh")

# name -> (kind of user, with a root directory, options)
SPECS = {
    "plain": ("root", True, []),
    "read-only": ("root", True, ["--read-only"]),
    "ephemeral": ("root", True, ["--ephemeral"]),
    "the host's own": ("root", False, []),
    "the host's own, ephemeral": ("root", False, ["--ephemeral"]),
    "names": ("root", True, ["--hostname", "promised", "--set", "domainname = example.org"]),
    "user": ("root", True, ["--user", "1000:1001", "--set", "process.groups = 27 44"]),
    "user, ambient": ("root", True, ["--user", "1000:1001", "--set", "security.ambient = true"]),
    "no capabilities": ("root", True, ["--cap-drop", "all"]),
    "one more": ("root", True, ["--cap-add", "net_admin", "--cap-drop", "chown"]),
    "all capabilities": ("root", True, ["--cap-add", "all", "--userns", "0:100000:65536"]),
    "new privileges": ("root", True, ["--set", "security.no_new_privs = false",
                                      "--allow", "new_privileges"]),
    "mapped": ("root", True, ["--userns", "0:100000:65536"]),
    "mapped twice": ("root", True, ["--userns", "0:100000:1000", "--userns", "1000:200000:5"]),
    "mapped, the host's own": ("root", False, ["--userns", "0:100000:65536", "--ephemeral"]),
    "small init": ("root", True, ["--init"]),
    "terminal": ("root", True, ["--tty"]),
    "terminals": ("root", True, ["--tty", "--set", "terminal.ttys = 3"]),
    "terminals elsewhere": ("root", True, ["--tty", "--init", "--set", "terminal.ttys = 2",
                                           "--set", "terminal.tty_dir = lxc"]),
    "network shared": ("root", True, ["--net", "host"]),
    "ipc and pid shared": ("root", True, ["--share", "ipc", "--share", "pid"]),
    "joined": ("root", True, ["--set", "join = net pid:HOLDER", "--set",
                              "namespaces = mount pid uts ipc cgroup"]),
    "limits": ("root", True, ["--memory", "64m", "--pids", "50"]),
    "process": ("root", True, ["--set", "process.umask = 027", "--set",
                               "process.rlimits = nofile soft=100 hard=200", "--set",
                               "process.oom_score_adj = 500", "--workdir", "/mnt"]),
    "clocks": ("root", True, ["--set", "namespaces = mount pid uts ipc net cgroup time",
                              "--set", "time.boottime = 100s"]),
    "mounts": ("root", True, ["--bind", "/etc:/mnt/etc:ro,noexec", "--tmpfs",
                              "/tmp:size=1m,noexec", "--bind", "/etc/passwd:/mnt/file"]),
    "fewer masks": ("root", True, ["--set", "security.masked_paths = /proc/keys", "--allow",
                                   "unmasked_kernel"]),
    "subids": ("subids", True, []),
    "subids, the host's own": ("subids", False, []),
    "subids, everything": ("subids", True, ["--tty", "--init", "--tmpfs", "/mnt:ro",
                                            "--set", "terminal.ttys = 1", "--user", "5:6"]),
    "one id": ("single", True, []),
    "one id, the host's own": ("single", False, ["--init"]),
}

# What is changed in a report of "plain", as if the kernel had not done it.
LIES = {
    "a flag is missing": ("mount=/dev tmpfs rw,nosuid", "mount=/dev tmpfs rw"),
    "a flag too many": ("mount=/dev tmpfs rw,nosuid", "mount=/dev tmpfs rw,nosuid,nodev"),
    "another type": ("mount=/proc proc", "mount=/proc tmpfs"),
    "a mount is missing": ("mount=/dev/shm ", None),
    "a mount too many": ("arg=/bin/", "mount=/mnt tmpfs rw private\narg=/bin/"),
    "mounts travel": ("mount=/sys sysfs", "mount=/sys sysfs", " private", " shared"),
    "a path is not protected": ("path./proc/sys=directory read-only", "path./proc/sys=directory"),
    "its mount is writable": ("mount=/proc/sys proc ro,", "mount=/proc/sys proc rw,"),
    "a path is not hidden": ("path./proc/keys=null", "path./proc/keys=file"),
    "a mask is missing": ("mount=/proc/timer_list", None),
    "the host's network": ("ns.net=net:", f"ns.net={os.readlink('/proc/self/ns/net')}\nx="),
    "an own user namespace": ("ns.user=user:", "ns.user=user:[1]\nx="),
    "another uid": ("Uid=0 0 0 0", "Uid=0 0 0 1"),
    "another gid": ("call.gid=0 0", "call.gid=0 5"),
    "groups stay": ("call.groups=", "call.groups=4 20"),
    "another map": ("uid_map=0 0 4294967295", "uid_map=0 0 1"),
    "bounding set": ("call.bounding=00000000000405fb", "call.bounding=000001ffffffffff"),
    "permitted set": ("call.permitted=00000000000405fb", "call.permitted=00000000000405ff"),
    "ambient set": ("call.ambient=0000000000000000", "call.ambient=0000000000200000"),
    "privileges can grow": ("NoNewPrivs=1", "NoNewPrivs=0"),
    "privileges can grow, by call": ("call.no_new_privs=1", "call.no_new_privs=0"),
    "another name": ("hostname=condroid", "hostname=host"),
    "a descriptor too many": ("fd.2=", "fd.7=socket\nfd.2="),
    "a descriptor is missing": ("fd.2=", None),
    "not its own session": ("session.leader=yes", "session.leader=no"),
    "somebody's terminal": ("controlling_terminal=", "controlling_terminal=yes\nx="),
    "the host's pid": ("pid=1", "pid=4711"),
    "loopback is down": ("loopback=up", "loopback=down"),
    "somebody's keys": ("keyring=ENOSYS", "keyring=3 keys"),
    "no filter of system calls": ("Seccomp=2", "Seccomp=0"),
    "signals ignored": ("SigIgn=0000000000000000", "SigIgn=0000000000010000"),
    "no death signal": ("death_signal=9", "death_signal=0"),
    "another device": ("dev.null=char 1:3", "dev.null=char 1:1"),
    "other arguments": ("arg=probe", "arg=prober"),
}


def lie(lines, change):
    old, new = change[:2]
    out = []
    changed = False
    for line in lines:
        if not changed and line.startswith(old):
            changed = True
            if new is None:
                continue
            line = new + line[len(old):]
            if len(change) > 2:
                line = line.replace(change[2], change[3])
        out += line.split("\n")
    return out if changed else None


class Run:
    def __init__(self, condroid_run, payload):
        self.condroid_run, self.payload = condroid_run, payload
        self.root = tempfile.mkdtemp(prefix="promises-")
        os.chmod(self.root, 0o755)
        for name in ("bin", "dev", "etc", "mnt", "mnt/etc", "proc", "sys", "run", "tmp"):
            os.mkdir(f"{self.root}/{name}")
        shutil.copy(payload, f"{self.root}/bin/payload")
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            pass

    def end(self):
        self.holder.kill()
        self.holder.wait()
        shutil.rmtree(self.root)

    def __call__(self, kind, with_root, options, *more):
        """What it prints; more: further words of the command."""
        command = [self.condroid_run, *(o.replace("HOLDER", str(self.holder.pid)) for o in options)]
        if with_root:
            command += ["--rootfs", self.root]
        if kind != "root":
            command = [AS_USER, kind, *command]
        dry = not more
        program = "/bin/payload" if with_root else self.payload
        ended = subprocess.run(command + (["--dry-run"] if dry else []) +
                               ["--", program, "probe", *more], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, check=False, timeout=60)
        if ended.returncode != 0 or ended.stderr:
            raise RuntimeError(f"status {ended.returncode}: {ended.stderr}")
        return ended.stdout

    def both(self, *spec):
        """The plan, and what the payload says."""
        text = self(*spec)
        paths = Plan(text).paths or ["/"]
        program = "/bin/payload" if spec[1] else self.payload
        return Plan(text, [program, "probe", *paths]), self(*spec, *paths).splitlines()


def main():
    must = "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",")
    if not leakwatch.isolate():
        print("skipped: needs root of the machine", file=sys.stderr)
        return 1 if must else SKIPPED
    condroid_run, payload = (os.path.abspath(path) for path in sys.argv[1:3])
    specs = SPECS
    if payload.startswith(("/tmp/", "/run/")):
        # A container without a root of its own does not see these directories.
        print("the specs without a root are left out: the build directory is in /tmp or /run")
        specs = {name: spec for name, spec in SPECS.items() if spec[1]}
    run = Run(condroid_run, payload)
    failed = 0
    for name, spec in specs.items():
        try:
            plan, lines = run.both(*spec)
            broken = plan.broken(lines)
        except RuntimeError as error:
            broken = [str(error)]
        for line in broken:
            print(f"FAILED {name}: {line}")
        failed += bool(broken)
    plan, lines = run.both(*specs["plain"])
    for name, change in LIES.items():
        changed = lie(lines, change)
        if changed is None:
            # A kernel without this path has nothing to lie about.
            print(f"no such line: {change[0]}")
            failed += not change[0].startswith(("path.", "mount=/proc/"))
        elif not plan.broken(changed):
            print(f"FAILED not noticed: {name}")
            failed += 1
    run.end()
    print(f"{len(specs)} specs, {len(LIES)} lies, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
