#!/usr/bin/env python3
"""Runs a command and says what it left behind.

    leakwatch.py [--repeat N] [--expect STATUS] [--as KIND] -- COMMAND...

Looked for, once everything had a second to vanish: processes that the command started (also those
that double-forked or changed their session), mounts, cgroups, new namespaces that are still alive,
and files named condroid* in /run, /tmp, /dev/shm and $XDG_RUNTIME_DIR.

As root all of it happens in pid, mount, ipc and cgroup namespaces of its own with an empty /run and
/tmp, so that what others do on the machine meanwhile is not blamed on the command. KIND is a kind of
user of as_user.sh. Exit status: 0 nothing is left, 1 something is (one line each), 2 the command itself did
not end as expected.

As a module: isolate() at the start of a script, then Watch() before and watch.left() after.
"""
import argparse
import ctypes
import errno
import glob
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

INSIDE = "CONDROID_LEAKWATCH"
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FILES = ("/run/condroid*", "/tmp/condroid*", "/dev/shm/condroid*")

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option, value):
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


# ---- where it runs ------------------------------------------------------------------------------


def hierarchies():
    """(mount point, options of mount(8), is v2) of each cgroup hierarchy."""
    found = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        kind, _, options = right.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            keep = [o for o in options.split(",") if o not in ("rw", "ro", "clone_children", "xattr")
                    and not o.startswith(("release_agent", "nsdelegate", "memory_"))]
            found[left.split()[4]] = (",".join(keep), kind == "cgroup2")
    return [(point, *rest) for point, rest in found.items()]


def _own_path(point):
    """This process's cgroup in the hierarchy that is mounted there."""
    wanted = os.path.basename(point)
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if (number == "0" and os.path.exists(f"{point}/cgroup.controllers")) or (
                controllers and (wanted in controllers.split(",") or wanted == controllers
                                 or "name=" + wanted == controllers)):
            return point + path.rstrip("/")
    return point


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _outside():
    """Makes cgroups, runs this very script again in namespaces, removes the cgroups."""
    made = []
    homes = []
    try:
        for point, _, v2 in hierarchies():
            if not os.access(point, os.W_OK):
                continue
            home = _own_path(point)
            mine = f"{home if not v2 else point}/leakwatch-{os.getpid()}"
            try:
                os.mkdir(mine)
            except OSError:
                continue
            made.append(mine)
            for name in ("cpuset.cpus", "cpuset.mems"):  # v1 wants them written
                if not v2 and os.path.exists(f"{mine}/{name}"):
                    text = pathlib.Path(os.path.dirname(mine), name).read_text()
                    if text.strip():
                        _write(f"{mine}/{name}", text)
            if v2:
                have = pathlib.Path(point, "cgroup.subtree_control").read_text().split()
                for controller in have:
                    _write(f"{mine}/cgroup.subtree_control", "+" + controller)
            homes.append((home, mine))

        def enter():
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for _, mine in homes:
                _write(f"{mine}/cgroup.procs", "0")

        # Controllers are switched on below a cgroup only while it has no process itself: those of v2
        # are entered by a leaf after the namespace was made, see _inside().
        command = ["unshare", "--mount", "--pid", "--fork", "--ipc", "--cgroup", "--kill-child",
                   "--propagation", "private", sys.executable] + sys.argv
        for _, mine in homes:
            if os.path.exists(f"{mine}/cgroup.controllers"):
                for controller in pathlib.Path(mine, "cgroup.subtree_control").read_text().split():
                    _write(f"{mine}/cgroup.subtree_control", "-" + controller)
        environment = {**os.environ, INSIDE: "1"}
        environment.pop("XDG_RUNTIME_DIR", None)
        ran = subprocess.Popen(command, env=environment, preexec_fn=enter)
        # Nor may unshare(1) stay there, which waits outside: it leaves once _inside() is in its leaf.
        for _, mine in homes:
            if os.path.exists(f"{mine}/cgroup.controllers"):
                while not os.path.isdir(f"{mine}/self") and ran.poll() is None:
                    time.sleep(0.005)
                if ran.poll() is None:
                    os.mkdir(f"{mine}/outside")
                    _write(f"{mine}/outside/cgroup.procs", str(ran.pid))
        return ran.wait()
    finally:
        for mine in made:
            for _ in range(200):
                try:
                    for path, _, _ in os.walk(mine, topdown=False):
                        os.rmdir(path)
                    break
                except OSError:
                    time.sleep(0.01)


def _mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def _switch_on(path, controller):
    """As soon as the cgroup is empty: see _outside()."""
    end = time.monotonic() + 60
    while True:
        try:
            return _write(path, "+" + controller)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
            time.sleep(0.005)


def _inside():
    """First process of the namespaces: its own /proc, /run, /tmp and cgroup hierarchies."""
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
    # What the command needs of /tmp, a build directory for example, stays.
    paths = [os.getcwd(), *(os.path.abspath(a) for a in sys.argv if a[:1] in ("/", "."))]
    needed = {path.split("/")[2] for path in paths if path.startswith("/tmp/")}
    os.mkdir("/run/tmp")
    _mount("--rbind", "/tmp", "/run/tmp")
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
    for name in needed:
        if os.path.isdir("/run/tmp/" + name):
            os.mkdir("/tmp/" + name)
            _mount("--rbind", "/run/tmp/" + name, "/tmp/" + name)
    os.chdir(os.getcwd())
    subprocess.run(["umount", "--lazy", "/run/tmp"], check=True)
    os.rmdir("/run/tmp")
    for point, options, v2 in hierarchies():
        if not os.access(point, os.W_OK):
            continue
        # Not on top: the kernel refuses the same file system twice in one place.
        subprocess.run(["umount", "--lazy", point], check=True)
        if v2:
            _mount("-t", "cgroup2", "cgroup2", point)
            os.mkdir(f"{point}/self")
            _write(f"{point}/self/cgroup.procs", "0")
            controllers = pathlib.Path(point, "cgroup.controllers").read_text().split()
            for controller in controllers:
                _switch_on(f"{point}/cgroup.subtree_control", controller)
        else:
            _mount("-t", "cgroup", "-o", options, "cgroup", point)


def isolate():
    """Makes the rest of the script run in namespaces of its own, if this is root. True if it does."""
    if os.geteuid() != 0 or not os.access("/sys/fs/cgroup", os.F_OK) or in_user_namespace():
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        return False
    if INSIDE not in os.environ:
        sys.exit(_outside())
    del os.environ[INSIDE]
    _inside()
    Watch.alone = True
    return True


def in_user_namespace():
    words = pathlib.Path("/proc/self/uid_map").read_text().split()
    return words[:3] != ["0", "0", "4294967295"]


# ---- what there is ------------------------------------------------------------------------------


def processes():
    """pid -> (parent, state, name)"""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = pathlib.Path("/proc", name, "stat").read_text(errors="replace")
        except OSError:
            continue
        words = stat[stat.rindex(")") + 2:].split()
        found[int(name)] = (int(words[1]), words[0], stat[stat.index("(") + 1:stat.rindex(")")])
    return found


def descendants():
    """Living processes below this one."""
    table = processes()
    found = set()
    todo = [os.getpid()]
    while todo:
        parent = todo.pop()
        for pid, (above, _, _) in table.items():
            if above == parent and pid not in found:
                found.add(pid)
                todo.append(pid)
    return {pid: table[pid] for pid in found if table[pid][1] not in "ZX"}


def cgroups():
    found = set()
    for point, _, _ in hierarchies():
        try:
            for path, directories, _ in os.walk(point):
                # Of others on a machine that is not ours alone only the name tells.
                found.update(f"{path}/{d}" for d in directories if "condroid-" in f"{path}/{d}")
        except OSError:
            pass
    return found


def namespaces():
    found = {}
    for path in glob.glob("/proc/[0-9]*/ns/*"):
        try:
            found.setdefault(os.readlink(path), path)
        except OSError:
            pass
    return found


def files():
    patterns = list(FILES)
    if "XDG_RUNTIME_DIR" in os.environ:
        patterns.append(os.environ["XDG_RUNTIME_DIR"] + "/condroid*")
    found = set()
    for pattern in patterns:
        for path in glob.glob(pattern):
            found.add(path)
            if os.path.isdir(path):
                try:
                    found.update(f"{path}/{name}" for name in os.listdir(path))
                except OSError:
                    pass
    return found


def mounts():
    lines = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    return {" ".join(line.split()[3:5]) + " " + line.split(" - ")[1] for line in lines}


class Watch:
    """What there is now; left() says what is new later."""

    alone = False  # nobody else can have made what is new

    def __init__(self):
        self._before = self._look()

    @staticmethod
    def _look():
        seen = {("process", f"{pid} {name} ({state}), child of {parent}")
                for pid, (parent, state, name) in descendants().items()}
        seen |= {("mount", m) for m in mounts()}
        seen |= {("cgroup", c) for c in cgroups()}
        seen |= {("file", f) for f in files()}
        seen |= {("namespace", f"{ns} of {path.split('/')[2]}") for ns, path in namespaces().items()
                 if int(path.split("/")[2]) in descendants()}
        return seen

    def left(self, settle=1.0):
        """List of (kind, what) that is still there after at most `settle` seconds, and after how long."""
        began = time.monotonic()
        while True:
            reap()
            new = sorted(self._look() - self._before)
            if not new or time.monotonic() - began > settle:
                return new
            time.sleep(0.005)


def reap():
    """Zombies that were left to us."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def clean(left):
    """Ends and removes what was found, so that the next run starts anew."""
    for kind, what in left:
        if kind == "process":
            try:
                os.kill(int(what.split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                pass
    time.sleep(0.05)
    reap()
    if not Watch.alone:
        return
    for path in sorted(cgroups(), reverse=True):
        if ("cgroup", path) in left:
            try:
                os.rmdir(path)
            except OSError:
                pass
    for kind, what in sorted(left, reverse=True):
        if kind == "file":
            try:
                os.rmdir(what) if os.path.isdir(what) else os.unlink(what)
            except OSError:
                pass


def run(command, timeout, stdout=None):
    """(exit status, bytes on stderr); the status is None when it did not end in time."""
    # A file, not a pipe: a process that is left behind would keep a pipe open.
    with tempfile.TemporaryFile() as said:
        try:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=said,
                                  timeout=timeout, check=False).returncode
        except subprocess.TimeoutExpired:
            code = None
        said.seek(0)
        return code, said.read()


# ---- as a program -------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1, help="how often the command is run")
    parser.add_argument("--expect", default="0", metavar="STATUS",
                        help="the command's status, or any; 124 and more need words on stderr, too")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one run")
    parser.add_argument("--settle", type=float, default=1, help="seconds that leftovers may take")
    parser.add_argument("--as", dest="kind", help="a kind of user of as_user.sh")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.kind not in (None, "root"):
        helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "as_user.sh")
        options.command = [helper, options.kind] + options.command
    isolate()
    watch = Watch()
    status = 0
    for _ in range(options.repeat):
        code, said = run(options.command, options.timeout)
        sys.stderr.buffer.write(said)
        if code is None:
            print(f"leakwatch: no end within {options.timeout} s", file=sys.stderr)
            return 2
        if options.expect not in (str(code), "any") or code < 0 or (code > 123 and not said):
            print(f"leakwatch: status {code}, not {options.expect}", file=sys.stderr)
            status = 2
            break
    left = watch.left(options.settle)
    for kind, what in left:
        print(f"leakwatch: left {kind} {what}", file=sys.stderr)
    clean(left)
    return 1 if left else status


if __name__ == "__main__":
    sys.exit(main())
