#!/usr/bin/env python3
"""Fails the system calls of a launch, one at a time, and says what came of it.

    faultwalk.py [--quick N] [--plan NAME] [--only PLAN:CALL:K:ERRNO] CONDROID_RUN BURN PAYLOAD

For each plan: condroid-run runs `payload probe`, which prints the state of its container. Then for
every system call that condroid-run, the zygote or the container's process makes before exec, for
each of its occurrences K and each error number, the same again with that call failing (strace(1),
inject). The k-th call of every process of a run fails, for strace counts them per process; that of
the payload itself falls on calls that BURN makes for it.

Good is: a status other than zero with a message, or the very same output as undisturbed. Bad are
  hang      no end in time
  crash     a signal ended it
  silent    failed without a word
  degraded  said to be good, but the container is another one
  leak      something stays behind (leakwatch.py)

--quick N takes N of all cases by chance (CONDROID_SEED repeats them). Needs root and strace.
"""
import argparse
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import leakwatch  # noqa: E402

SKIPPED = 77
ERRNOS = ("EIO", "ENOMEM", "EPERM")
TIMEOUT = 30

# Memory and threads of the C++ runtime, ends, and what cannot fail.
SPARED = set("""mmap munmap mprotect brk madvise mremap exit exit_group rt_sigaction rt_sigreturn
    arch_prctl set_tid_address set_robust_list rseq futex getpid gettid getuid geteuid getgid
    getegid getppid umask sched_yield restart_syscall clock_nanosleep nanosleep""".split())

PLANS = {
    "rootfs": [],
    "host": [],
    "rich": ["--userns", "0:100000:65536", "--memory", "64m", "--pids", "50", "--init",
             "--ephemeral", "--tmpfs", "/mnt:size=1m", "--hostname", "walk", "--env", "A=b"],
}


class Site:
    """One call to be failed."""

    def __init__(self, plan, call, occurrence, errno):
        self.plan, self.call, self.occurrence, self.errno = plan, call, occurrence, errno

    def __str__(self):
        return f"{self.plan}:{self.call}:{self.occurrence}:{self.errno}"


class Walk:
    def __init__(self, condroid_run, burn, payload):
        self.condroid_run, self.burn, self.payload = condroid_run, burn, payload
        self.root = self._make_root()
        self.log = tempfile.mktemp(prefix="walk-")
        self.watch = leakwatch.Watch()
        self.own = {f"ns.{name}": os.readlink(f"/proc/self/ns/{name}")
                    for name in os.listdir("/proc/self/ns")}

    def _make_root(self):
        root = tempfile.mkdtemp(prefix="walk-root-")
        os.chmod(root, 0o755)
        for name in ("bin", "dev", "etc", "mnt", "proc", "sys", "run", "tmp"):
            os.mkdir(f"{root}/{name}")
        for program in (self.burn, self.payload):
            shutil.copy(program, f"{root}/bin/")
        return root

    def command(self, plan, call, count):
        options = list(PLANS[plan])
        directory = "/bin"
        if plan == "host":
            directory = None
        else:
            options += ["--rootfs", self.root]
        programs = [p if directory is None else f"{directory}/{os.path.basename(p)}"
                    for p in (self.burn, self.payload)]
        return [self.condroid_run, *options, "--", programs[0], call, str(count), programs[1],
                "probe"]

    def run(self, plan, call, count, strace):
        """(status or None, what the payload said, what was said on stderr, the log)"""
        with tempfile.TemporaryFile() as out:
            code, said = leakwatch.run(["strace", "-f", "-q", "-o", self.log, *strace,
                                        *self.command(plan, call, count)], TIMEOUT, out)
            out.seek(0)
            text = out.read().decode(errors="replace")
        log = pathlib.Path(self.log).read_text(errors="replace")
        return code, self.normal(text), said.decode(errors="replace"), log

    def normal(self, text):
        """Of a namespace it matters whether it is a new one, not which."""
        lines = []
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key in self.own:
                line = f"{key}={'host' if value == self.own[key] else 'new'}"
            lines.append(line)
        return lines

    def sites(self, plan):
        """Every call that is made on the way to the payload, and what the payload says undisturbed."""
        code, lines, said, log = self.run(plan, "none", 0, [])
        again = self.run(plan, "none", 0, [])
        if code != 0 or lines != again[1] or not lines:
            raise SystemExit(f"faultwalk: undisturbed '{plan}' ends with {code}: {said}"
                             + "\n".join(set(lines) ^ set(again[1])))
        most = {}
        counts = {}
        past = set()
        for line in log.splitlines():
            found = re.match(r"(\d+) +(\w+)\(", line)
            if not found or found[1] in past:
                continue
            pid, call = found[1], found[2]
            key = (pid, call)
            counts[key] = counts.get(key, 0) + 1
            most[call] = max(most.get(call, 0), counts[key])
            if call == "execve" and "/burn" in line and not line.rstrip().endswith(")"):
                past.add(pid)
        most["execve"] = most.get("execve", 1)
        found = [Site(plan, call, k, errno) for call in sorted(most) if call not in SPARED
                 for k in range(1, most[call] + 1) for errno in ERRNOS]
        return found, lines

    def judge(self, site, wanted):
        """(verdict, what there is to say)"""
        # More burnt calls than any site has occurrences.
        code, lines, said, log = self.run(
            site.plan, site.call, 1000,
            ["-e", f"trace={site.call}",
             "-e", f"inject={site.call}:error={site.errno}:when={site.occurrence}"])
        left = self.watch.left(1.0)
        if left:
            leakwatch.clean(left)
        hits = [line for line in log.splitlines() if "(INJECTED)" in line]
        detail = f"status {code}, it said: {said.strip()}\n    " + "\n    ".join(hits[:3])
        if code is None:
            return "hang", detail
        if left:
            return "leak", "; ".join(f"{kind} {what}" for kind, what in left) + ", " + detail
        if not hits:
            return "unhit", detail
        if code < 0 or code in (128 + 4, 128 + 6, 128 + 7, 128 + 8, 128 + 11):
            return "crash", detail
        if code != 0:
            return ("loud" if said.strip() else "silent"), detail
        if lines != wanted:
            other = sorted(set(lines) ^ set(wanted))
            return "degraded", detail + "\n    " + "\n    ".join(other[:8])
        return "tolerated", detail


BAD = ("hang", "crash", "silent", "degraded", "leak")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", type=int, metavar="N", help="so many cases, by chance")
    parser.add_argument("--plan", choices=PLANS, action="append", help="only this plan")
    parser.add_argument("--only", metavar="CASE", help="one case, in full, as a failure names it")
    parser.add_argument("programs", nargs=3, metavar="PROGRAM")
    options = parser.parse_args()
    must = "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",")
    if shutil.which("strace") is None:
        print("skipped: needs strace", file=sys.stderr)
        return 1 if must else SKIPPED
    if not leakwatch.isolate():
        print("skipped: needs root of the machine", file=sys.stderr)
        return 1 if must else SKIPPED
    programs = [os.path.abspath(p) for p in options.programs]
    if programs[1].startswith(("/tmp/", "/run/")):
        # A container without a root of its own does not see these directories.
        print("faultwalk: plan 'host' is left out: the build directory is in /tmp or /run")
        del PLANS["host"]
    walk = Walk(*programs)
    wanted = {}
    sites = []
    for plan in options.plan or PLANS:
        found, wanted[plan] = walk.sites(plan)
        sites += found
    if options.only:
        sites = [s for s in sites if str(s) == options.only]
    elif options.quick:
        seed = int(os.environ.get("CONDROID_SEED", "0")) or random.randrange(1 << 30)
        print(f"CONDROID_SEED={seed}")
        sites = random.Random(seed).sample(sites, min(options.quick, len(sites)))
    seen = {}
    for site in sites:
        verdict, detail = walk.judge(site, wanted[site.plan])
        seen[verdict] = seen.get(verdict, 0) + 1
        if verdict in BAD or options.only:
            print(f"{verdict:9} {site}: {detail}", flush=True)
    print(f"{len(sites)} cases: " + ", ".join(f"{n} {v}" for v, n in sorted(seen.items())))
    if not sites:
        return 1
    return 1 if any(v in BAD for v in seen) else 0


if __name__ == "__main__":
    sys.exit(main())
