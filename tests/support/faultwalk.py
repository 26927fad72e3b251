#!/usr/bin/env python3
"""Fails the system calls of a launch, one at a time, and says what came of it.

    faultwalk.py [--seconds S] [--plan NAME] [--only PLAN:ROLE:CALL:K:ERRNO]
                 [--forwards] [--example NAME REGEX PROGRAM]... CONDROID_RUN HOST FAIL_CALL PAYLOAD CALLS

For each plan a container is launched whose command prints the state of its container. Then for
every system call that is made on the way there, for each of its occurrences K and each error
number, the same again with that call failing (fail_call.cpp). Each kind of process is walked on its
own: the host program, the zygote, what it clones, helpers such as newuidmap. CALLS has the macros
of <sys/syscall.h>.

An example is a plan of its name, whose containers come and go: every call until it ends, each with
one of the error numbers.

Good is: a status other than zero with a message that names a step and its object, or a container
that is all that its plan promises (promise.py) and that reports the very same as undisturbed; of an
example that its output is what it is to be (REGEX). Bad are
  hang      no end in time
  crash     a signal ended it
  silent    failed without a word
  vague     failed, and the word is no step of a launch, or there is nothing that it was done to
  degraded  said to be good, but the container is another one
  leak      something stays behind (leakwatch.py)

At the end it prints how often each step of a launch was named, and how often with the error number
that was made: where it is tried again in another way, the one told is of the second try.

--seconds S takes cases by chance for so long, of all plans and roles alike, and of five of the
examples (CONDROID_SEED repeats the choice). Needs root. As many cases at once as there are processors, in namespaces of their own.
"""
import argparse
import errno
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import leakwatch  # noqa: E402
from promise import Plan  # noqa: E402

SKIPPED = 77
ERRNOS = ("EIO", "ENOMEM", "EPERM")
# And those that only some may have: what a signal may interrupt, what makes a descriptor, takes
# room, or makes a process.
SOME = {
    "EINTR": """read write recvmsg sendmsg poll ppoll epoll_pwait wait4 waitid openat openat2 connect
        close""",
    "EMFILE": """open openat openat2 socket socketpair pipe2 dup fcntl eventfd2 epoll_create1
        timerfd_create memfd_create pidfd_open pidfd_getfd inotify_init1 fsopen fsmount open_tree
        accept4 signalfd4""",
    "ENOSPC": """mkdir mkdirat mknodat symlinkat linkat write ftruncate mount move_mount fsmount
        clone clone3 unshare epoll_ctl""",
    "EAGAIN": "clone clone3 fork vfork setuid setresuid keyctl",
}
SOME = {error: set(calls.split()) for error, calls in SOME.items()}
# Waiting for one's own child ends early by a signal alone, waitid(2).
WAITS = {"wait4", "waitid"}
# ERESTARTSYS and the like, of which the program sees nothing: the call is made once more.
RESTARTED = range(-516, -511)
# What a case may miss: the program need not make the very same calls each time.
MOST_UNHIT = 0.05
STEPS = set(re.findall(r'^ {6}"([a-z A-Z_]+)",', (
    pathlib.Path(__file__).resolve().parents[2] / "src/step.cpp").read_text(), re.MULTILINE)) - {"no step"}
TIMEOUT = 30
PARTS = max(2, os.cpu_count() or 1)
AS_USER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "as_user.sh")

# Memory and threads of the C++ runtime, ends, and what cannot fail.
SPARED = set("""mmap munmap mprotect brk madvise mremap exit exit_group rt_sigaction rt_sigreturn
    arch_prctl set_tid_address set_robust_list rseq futex getpid gettid getuid geteuid getgid
    getegid getppid umask sched_yield restart_syscall clock_nanosleep nanosleep""".split())

RICH = ["--memory", "64m", "--pids", "50", "--init", "--ephemeral", "--tmpfs", "/mnt:size=1m",
        "--hostname", "walk", "--env", "A=b"]
CABLE = ["--net", "veth", "--host-ip", "192.0.2.1/32", "--ip", "192.0.2.2/32", "--gateway", "192.0.2.1"]
# A veth of the host's is there under these names, both ends of it down, and another one that is up.
LENT, ABOVE = ("lent0", "lent1"), ("above0", "above1")
BRIDGE = "condroid0"
# By which the zygote removes the bridge.
LEAVING = {"sendto", "recvfrom", "openat", "fcntl", "statx", "pread64", "unlinkat"}
# name -> (kind of user, whether it has the root, options of condroid-run or the verb of HOST). What
# is to tell its interfaces has no root of its own, since that takes a shell.
PLANS = {
    "rootfs": ("root", True, []),
    "host": ("root", False, []),
    "rich": ("root", True, ["--userns", "0:100000:65536", *RICH, *CABLE]),
    "tty": ("root", True, ["--tty", "--set", "terminal.ttys = 2", "--set", "terminal.tty_dir = lxc"]),
    "joined": ("root", True, ["--spec", "JOINED"]),
    "detached": ("root", True, "probe-detached"),
    "attached": ("root", True, "probe-attached"),
    "placed": ("root", True, ["--set", "resources.cgroup = everywhere", "--set", "PLACED"]),
    "pooled": ("root", True, "probe-pooled"),
    "frozen": ("root", True, "probe-frozen"),
    "subids": ("subids", True, ["--tty", "--init", "--hostname", "walk"]),
    "bridge": ("root", False, ["--net", "bridge", "--publish", "127.0.0.1:8080:80", "--publish",
                               "53:53/udp", "--dns", "192.0.2.53"]),
    "phys": ("root", False, ["--set", f"network.interfaces = phys eth0 parent={LENT[0]} mtu=1400 "
                             "mac=02:00:00:00:00:07 addresses=192.0.2.2/24"]),
    "macvlan": ("root", False, ["--net", f"macvlan:{ABOVE[0]}", "--ip", "192.0.2.2/24"]),
    "pasta": ("root", False, ["--net", "pasta"]),
}
NETWORKS = {"bridge", "phys", "macvlan", "pasta"}
EXAMPLES = {}  # name -> (what its output is to be, the program)


class Site:
    """One call to be failed."""

    def __init__(self, plan, role, call, occurrence, error):
        self.plan, self.role, self.call = plan, role, call
        self.occurrence, self.error = occurrence, error

    def __str__(self):
        return f"{self.plan}:{self.role}:{self.call}:{self.occurrence}:{self.error}"


def system_calls(path):
    """name -> number"""
    macros = dict(re.findall(r"^#define __NR(?:3264)?_(\w+) (\w+)", pathlib.Path(path).read_text(),
                             re.MULTILINE))
    return {name: int(value) for name, value in macros.items() if value.isdigit()}


class Walk:
    def __init__(self, condroid_run, host, fail_call, payload, calls):
        self.condroid_run, self.host, self.fail_call = condroid_run, host, fail_call
        self.payload = payload
        self.numbers = system_calls(calls)
        self.names = {number: name for name, number in self.numbers.items()}
        self.own = {f"ns.{name}": os.readlink(f"/proc/self/ns/{name}")
                    for name in os.listdir("/proc/self/ns")}
        self.directory = tempfile.mkdtemp(prefix="walk-")
        os.chmod(self.directory, 0o755)
        self.root = self._make_root()
        self.log, self.console = f"{self.directory}/log", f"{self.directory}/console"
        for path in (self.log, self.console):
            pathlib.Path(path).touch(0o600)
        self.joined = f"{self.directory}/joined.spec"
        # Another one than of the walks beside this one
        self.words = {"JOINED": self.joined,
                      "PLACED": f"resources.cgroup_path = {os.path.basename(self.directory)}/a/b"}
        self.holder = subprocess.Popen(["unshare", "--net", "--ipc", "sleep", "100000"])
        while os.readlink(f"/proc/{self.holder.pid}/ns/ipc") == self.own["ns.ipc"]:
            time.sleep(0.001)
        pathlib.Path(self.joined).write_text(
            f"name = joined\nnamespaces = mount pid uts cgroup\njoin = net pid:{self.holder.pid}\n"
            f"join = ipc path:/proc/{self.holder.pid}/ns/ipc\n", encoding="ascii")
        self._furnish()
        self.plans = {}  # name -> (the plan, the report of an undisturbed container)
        self.watch = leakwatch.Watch()

    def _make_root(self):
        root = f"{self.directory}/root"
        for name in ("bin", "dev", "etc", "mnt", "proc", "sys", "run", "tmp"):
            os.makedirs(f"{root}/{name}", 0o755)
        shutil.copy(self.payload, f"{root}/bin/payload")
        return root

    @staticmethod
    def _furnish():
        """What plans find on the host: LENT and ABOVE, and a default route."""
        there = os.listdir("/proc/sys/net/ipv4/conf")
        if LENT[0] not in there:
            leakwatch.make_cable(*LENT)
        if ABOVE[0] not in there:
            leakwatch.make_cable(*ABOVE)
            for name in ABOVE:
                # Its addresses and routes would come by and by.
                pathlib.Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
                leakwatch.raise_device(name)
            leakwatch.add_address(ABOVE[0], "198.51.100.1", 24)
            leakwatch.add_route(ABOVE[0], "0.0.0.0", 0, "198.51.100.2")

    @staticmethod
    def _forget_forwarding():
        """It stays, so that the next one would not switch it on."""
        leakwatch.forward(False)
        for path in pathlib.Path("/proc/sys/net/ipv6/conf").glob("*/accept_ra"):
            if path.read_text().strip() == "2":
                path.write_text("1")

    def end(self):
        self.holder.kill()
        self.holder.wait()
        shutil.rmtree(self.directory)

    def command(self, name, paths=None):
        """What launches the payload; without paths, what prints the plan."""
        if name in EXAMPLES:
            return [EXAMPLES[name][1]]
        kind, with_root, options = PLANS[name]
        dry = ["--dry-run"] if paths is None else []
        if isinstance(options, str):
            return [self.host, options, self.root, self.console, *(dry or paths)]
        program = "/bin/payload" if with_root else self.payload
        shell = ["/bin/sh", "-c", '"$0" interfaces && exec "$0" "$@"'] if name in NETWORKS else []
        command = [self.condroid_run, *(self.words.get(o, o) for o in options), *dry,
                   *(["--rootfs", self.root] if with_root else []), "--", *shell, program, "probe",
                   *(paths or [])]
        return command if kind == "root" else [AS_USER, kind, *command]

    def run(self, name, target=()):
        """(status or None, what the payload said, what was said on stderr, the log)"""
        program = (EXAMPLES[name][1] if name in EXAMPLES else
                   self.host if isinstance(PLANS[name][2], str) else self.condroid_run)
        paths = [] if name in EXAMPLES else self.plans[name][0].paths
        with tempfile.TemporaryFile() as out:
            code, said = leakwatch.run(
                [self.fail_call, self.log, program, *target, "--",
                 *self.command(name, paths)], TIMEOUT, out)
            if name == "bridge":
                self._forget_forwarding()
            out.seek(0)
            text = out.read().decode(errors="replace")
        log = pathlib.Path(self.log).read_text(errors="replace").splitlines()
        if code == 0:
            ended = next((line for line in log if line.startswith("end ")), "")
            number = int(ended.split()[2]) if ended else 126
            code = -number if ended.startswith("end signaled") else number
        return code, text.splitlines(), said.decode(errors="replace"), log

    def normal(self, lines):
        """Of a namespace it matters whether it is a new one, not which."""
        normal = []
        for line in lines:
            key, _, value = line.partition("=")
            if key.startswith("address.") and value.startswith("fe80:"):
                continue  # of a random Ethernet address, and not at once
            if key in self.own:
                line = f"{key}={'host' if value == self.own[key] else 'new'}"
            normal.append(line)
        return normal

    def sites_of_example(self, name):
        """Every call that is made until it ends."""
        code, lines, said, log = self.run(name)
        if code != 0 or not self.is_as_wanted(name, lines, said):
            raise SystemExit(f"faultwalk: undisturbed '{name}' ends with {code}: {said}" +
                             "\n".join(lines))
        if left := self.watch.left(10.0):
            raise SystemExit(f"faultwalk: undisturbed '{name}' leaves {left}")
        sites = {}
        for site in self._sites_of(name, log):
            if site.role == "helper":
                continue  # a program of somebody else's, as mksquashfs; those of launches have plans
            sites.setdefault((site.role, site.call, site.occurrence), []).append(site)
        return [group[zlib.crc32(str(key).encode()) % len(group)] for key, group in sites.items()]

    def is_as_wanted(self, name, lines, said):
        return re.search(EXAMPLES[name][0], "\n".join([*lines, said])) is not None

    def sites(self, name):
        """Every call that is made on the way to the payload."""
        text = subprocess.run(self.command(name), check=True, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL).stdout
        plan = Plan(text)
        verb = "late" if name in ("detached", "frozen") else "probe"
        program = "/bin/payload" if PLANS[name][1] else self.payload
        plan.argv = [program, verb, *plan.paths]
        plan.interfaces = name in NETWORKS
        if name == "attached":
            plan.pid = "2"
        self.plans[name] = (plan, [])
        code, lines, said, log = self.run(name)
        again = self.run(name)
        if code != 0 or self.normal(lines) != self.normal(again[1]) or not lines:
            raise SystemExit(f"faultwalk: undisturbed '{name}' ends with {code}: {said}" +
                             "\n".join(set(self.normal(lines)) ^ set(self.normal(again[1]))))
        if broken := plan.broken(lines):
            raise SystemExit(f"faultwalk: undisturbed '{name}': " + "; ".join(broken))
        self.plans[name] = (plan, self.normal(lines))
        if left := self.watch.left(10.0):
            raise SystemExit(f"faultwalk: undisturbed '{name}' leaves {left}")
        return self._sites_of(name, log)

    def _sites_of(self, name, log):
        # A setting of the network is written anew by the kernel for as long as others hold its lock.
        calls = [(words[1], self.names.get(int(words[2]), words[2]))
                 for words in map(str.split, log)
                 if words[0] == "call" and int(words[3]) not in RESTARTED]
        # The loader of the host program ends with giving back its cache; a static one has none.
        host = [call for role, call in calls if role == "host"]
        has_loader = "munmap" in host and "clone3" not in host[:host.index("munmap")]
        loaded = calls.index(("host", "munmap")) if has_loader else -1
        counts, early = {}, {}
        for i, key in enumerate(calls):
            counts[key] = counts.get(key, 0) + 1
            if i <= loaded:
                early[key] = counts[key]
        # By EIO a terminal says that nobody has it open any more: that is no failure.
        has_terminal = name in EXAMPLES or "--tty" in PLANS[name][2]
        return [Site(name, role, call, k, error)
                for (role, call), most in sorted(counts.items())
                if call not in SPARED and call in self.numbers
                for k in range(early.get((role, call), 0) + 1, most + 1)
                for error in (*(() if call in WAITS else ERRNOS),
                              *(e for e, calls in SOME.items() if call in calls))
                if not (has_terminal and (role, call, error) == ("host", "read", "EIO"))]

    def judge(self, site):
        """(verdict, what there is to say)"""
        code, lines, said, log = self.run(
            site.plan, (site.role, str(self.numbers[site.call]), str(site.occurrence),
                        str(getattr(errno, site.error))))
        said_of_lent = f"return interface: '{LENT[0]}'" in said
        left = self.watch.left(1.0 if said_of_lent else 10.0)
        if (left and (site.plan, site.role) == ("bridge", "zygote") and site.call in LEAVING and
                all(of_bridge(kind, what) for kind, what in left)):
            # The last one who could do it has nobody to tell that it could not: the next Runtime
            # finds it.
            subprocess.run([self.condroid_run, "--", "/bin/true"], check=True, capture_output=True)
            left = self.watch.left(10.0)
        if left:
            leakwatch.clean(left + [("network device", name) for name in (LENT[0], ABOVE[0])
                                    if any(kind == "network device" and what.startswith(name + " ")
                                           for kind, what in left)])
            self._furnish()
            self.watch = leakwatch.Watch()
        hits = [line for line in log if line.startswith("hit ")]
        detail = f"status {code}, it said: {said.strip()}\n    " + "\n    ".join(hits)
        if code is None:
            return "hang", detail
        # What was lent is not as it was, as it is said.
        if said_of_lent:
            left = [(kind, what) for kind, what in left if not (
                kind == "network device" and what.startswith(f"{LENT[0]} changed from"))]
        # What an example could not remove, and said so, is what failed.
        said_so = code not in (None, 0) and all(
            kind == "file" and any(f"removing {at}" in said for at in [what, *parents(what)])
            for kind, what in left)
        if left and not (site.plan in EXAMPLES and said_so) and not (site.plan == "detached" and site.role == "zygote" and
                         site.call == "unlinkat" and {kind for kind, _ in left} == {"file"}):
            # (What cannot be removed when the host is gone can be told to nobody. The next Runtime
            # finds it.)
            return "leak", "; ".join(f"{kind} {what}" for kind, what in left) + ", " + detail
        if not hits:
            return "unhit", detail
        # The program's own output: it names no step. An example does not look after it, and
        # fmt::print throws.
        printing = site.role == "host" and site.call == "write" and any(
            h.split()[2] in ("1", "2") for h in hits)
        if (printing and site.plan in EXAMPLES and
                code in (-signal.SIGABRT, 128 + signal.SIGABRT)):
            return "tolerated", detail
        if code < 0 or code in (128 + 4, 128 + 6, 128 + 7, 128 + 8, 128 + 11):
            return "crash", detail
        if code != 0:
            if not said.strip():
                return "silent", detail
            # An example has calls of its own, too.
            own = (printing or site.plan in EXAMPLES) and (
                os.strerror(getattr(errno, site.error)) in said)
            return ("loud" if own or step_of(said) else "vague"), detail
        if site.plan in EXAMPLES:
            detail += "\n    ".join(["", *lines])
            if printing or self.is_as_wanted(site.plan, lines, said):
                return "tolerated", detail
            # Or it goes on, and says in its output what went wrong.
            return ("loud" if f"({site.error})" in detail else "degraded"), detail
        plan, wanted = self.plans[site.plan]
        other = sorted(set(self.normal(lines)) ^ set(wanted))
        other += plan.broken(lines)
        if other:
            return "degraded", detail + "\n    " + "\n    ".join(other[:8])
        return "tolerated", detail


def parents(path):
    return [str(p) for p in pathlib.PurePath(path).parents]


def of_bridge(kind, what):
    """Whether that is BRIDGE, its addresses and routes, or its file in the state directory."""
    if kind == "file":
        return os.path.basename(what).startswith(f"bridge.{BRIDGE}.") or what == "/run/condroid"
    return kind in ("network device", "address", "route") and BRIDGE in what.replace(",", " ").split()


def step_of(said):
    """The step that a message names, with an object behind it; else nothing."""
    for line in said.splitlines():
        for step, rest in re.findall(r"(?:^ *|: )([a-z][a-zA-Z_ ]+)(?=: (.*))", line):
            if step in STEPS and ": " in rest:
                return step
    return None


def sample(sites, chance):
    """All of them, those of each plan and role by chance, and these in turn."""
    groups = {}
    for site in sites:
        groups.setdefault((site.plan, site.role), []).append(site)
    groups = [chance.sample(group, len(group)) for group in groups.values()]
    while groups:
        for group in groups:
            yield group.pop()
        groups = [group for group in groups if group]


BAD = ("hang", "crash", "silent", "vague", "degraded", "leak")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, help="for so long, by chance")
    parser.add_argument("--plan", metavar="NAME", action="append", help="only this plan")
    parser.add_argument("--example", nargs=3, metavar=("NAME", "REGEX", "PROGRAM"), action="append",
                        default=[], help="in place of the plans; and its output matches REGEX")
    parser.add_argument("--only", metavar="CASE", help="one case, in full, as a failure names it")
    parser.add_argument("--forwards", action="store_true", help="the host is a router already")
    parser.add_argument("programs", nargs=5, metavar="PROGRAM")
    options = parser.parse_args()
    seed = os.environ.setdefault("CONDROID_SEED", str(random.randrange(1 << 30)))
    if leakwatch.PART not in os.environ and options.seconds:
        print(f"CONDROID_SEED={seed}", flush=True)
    part = leakwatch.in_parts(1 if options.only else PARTS)
    if part is None:
        print("skipped: needs root of the machine", file=sys.stderr)
        return 1 if "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",") else SKIPPED
    programs = [os.path.abspath(p) for p in options.programs]
    if programs[3].startswith(("/tmp/", "/run/")):
        # A container without a root of its own does not see these directories.
        print("faultwalk: plans without a root are left out: the build directory is in /tmp or /run")
        for name in [name for name, plan in PLANS.items() if not plan[1]]:
            del PLANS[name]
    if "pasta" in PLANS and not (shutil.which("pasta") and os.path.exists("/dev/net/tun")):
        print("faultwalk: plan 'pasta' is left out: it is not installed, or there is no /dev/net/tun")
        del PLANS["pasta"]
    if options.forwards:
        leakwatch.forward()
    walk = Walk(*programs)
    for name, regex, program in options.example:
        EXAMPLES[name] = (regex, os.path.abspath(program))
    if options.seconds and EXAMPLES:
        # Looking for the calls of all would take longer than that.
        for name in random.Random(int(seed)).sample(sorted(EXAMPLES), max(0, len(EXAMPLES) - 5)):
            del EXAMPLES[name]
    if unknown := set(options.plan or ()) - set(EXAMPLES or PLANS):
        parser.error(f"no plan {', '.join(sorted(unknown))}")
    sites = [site for plan in options.plan or EXAMPLES or PLANS
             if not options.only or options.only.startswith(plan + ":")
             for site in (walk.sites_of_example if plan in EXAMPLES else walk.sites)(plan)]
    if options.only:
        sites = [s for s in sites if str(s) == options.only]
    else:
        # By name: the parts need not count the very same calls.
        sites = [site for site in sample(sites, random.Random(int(seed)))
                 if zlib.crc32(str(site).encode()) % PARTS == part]
    seen, told, named = {}, {}, 0
    until = time.monotonic() + (options.seconds or 1e9)
    slowest = (0.0, None)
    for site in sites:
        began = time.monotonic()
        if began > until:
            break
        verdict, detail = walk.judge(site)
        slowest = max(slowest, (time.monotonic() - began, str(site)))
        seen.setdefault(verdict, []).append(site)
        if verdict == "loud":
            step = step_of(detail) or "(none)"
            told[step] = told.get(step, 0) + 1
            named += f"({site.error})" in detail
        if verdict in BAD or options.only:
            print(f"{verdict:9} {site}: {detail}", flush=True)
    walk.end()
    for step, count in sorted(told.items()):
        print(f"  {step:28}{count:5}", flush=True)
    roles = {site.role for group in seen.values() for site in group}
    print(f"{sum(map(len, seen.values()))} of {len(sites)} cases, of {', '.join(sorted(roles))}: " +
          ", ".join(f"{len(group)} {verdict}" for verdict, group in sorted(seen.items())) +
          f"; the slowest took {slowest[0]:.1f} s ({slowest[1]})", flush=True)
    print(f"{named} of {len(seen.get('loud', []))} that were loud named the error number")
    if all(verdict == "unhit" for verdict in seen):
        print("nothing was hit")
        return 1
    if len(seen.get("unhit", [])) > max(5, MOST_UNHIT * sum(map(len, seen.values()))):
        print("too many were never hit")
        return 1
    return 1 if any(verdict in BAD for verdict in seen) else 0


if __name__ == "__main__":
    sys.exit(main())
