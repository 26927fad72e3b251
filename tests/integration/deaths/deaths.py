#!/usr/bin/env python3
"""Kills hosts, zygotes, both at once, and containers, before every step of a launch and after it.

    deaths.py CONDROID_RUN HOST [--only WORD]

HOST is the program of host.cpp. What must hold within a second of the kill: no process, mount,
cgroup or file is left (of both at once: after the next Runtime was opened); a program whose zygote
or container was killed says so and ends. Runs as root, in namespaces of its own.
"""
import argparse
import os
import random
import re
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../support"))
import leakwatch  # noqa: E402

SKIPPED = 77
SETTLE = 1.0
PLAIN = []
RICH = ["--userns", "0:100000:65536", "--memory", "64m", "--pids", "20", "--init", "--tty",
        "--ephemeral"]
SLEEP = ["/bin/sleep", "1000"]
STUBBORN = ["/usr/bin/setpriv", "--pdeathsig", "clear", *SLEEP]


class Failed(Exception):
    pass


def zygote():
    """The zygote that runs now; its containers have its name, too, until they execute."""
    table = leakwatch.processes()
    found = [pid for pid, (parent, state, name) in table.items()
             if name == "condroid-zygote" and state not in "ZX"
             and table.get(parent, (0, "", ""))[2] != "condroid-zygote"]
    if len(found) != 1:
        raise Failed(f"{len(found)} zygotes")
    return found[0]


class Victim:
    """A program under test; line() reads what it says, one line at a time."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.said = b""
        os.set_blocking(self.process.stdout.fileno(), False)

    def until(self, word, timeout=10.0):
        end = time.monotonic() + timeout
        while not re.search(word, self.said, re.MULTILINE):
            left = end - time.monotonic()
            if left <= 0:
                raise Failed(f"no '{word.decode()}' but: {self.said.decode()}")
            select.select([self.process.stdout], [], [], left)
            piece = self.process.stdout.read()
            if piece == b"":
                if re.search(word, self.said, re.MULTILINE):
                    break
                raise Failed(f"it ended without '{word.decode()}': {self.said.decode()}")
            self.said += piece or b""
        return re.search(word, self.said, re.MULTILINE)

    def end(self, timeout):
        """Its status, within a time; what it said is in `said`. Nobody may be left with our pipe."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"it did not end, but said: {self.said.decode()}") from None
        piece = self.process.stdout.read()
        self.said += piece or b""
        self.process.stdout.close()
        return code

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not self.process.stdout.closed:
            self.process.stdout.close()


class Tests:
    def __init__(self, condroid_run, host):
        self.condroid_run = condroid_run
        self.host = host
        self.watch = leakwatch.Watch()
        self.count = 0
        self.failures = []
        self.slowest = (0.0, "")

    def case(self, name, body):
        """One death: body kills; then nothing may be left."""
        self.count += 1
        try:
            body()
            begin = time.monotonic()
            left = self.watch.left(SETTLE)
            self.slowest = max(self.slowest, (time.monotonic() - begin, name))
            if left:
                self.watch.clean(left)
                raise Failed("left " + "; ".join(f"{kind} {what}" for kind, what in left))
        except Failed as failure:
            self.failures.append(name)
            print(f"FAILED {name}: {failure}")
            self.watch.clean(self.watch.left(0.2))

    def next_runtime(self):
        """What both left is the next one's to find."""
        run = subprocess.run([self.condroid_run, "--", "/bin/true"], check=False,
                             capture_output=True)
        if run.returncode != 0:
            raise Failed(f"the next launch: {run.stderr.decode()}")

    def ops(self, options):
        text = subprocess.run([self.condroid_run, "--dry-run", *options, "--", *SLEEP], check=True,
                              capture_output=True).stdout.decode()
        return [(int(m[1]), m[2]) for m in re.finditer(r"^ *(\d+)  (\w+)", text, re.MULTILINE)]

    # ---- before every step ----

    def at_op(self, options, op, actor, who):
        victim = Victim([self.condroid_run, "--stop-before", str(op), *options, "--", *SLEEP])
        try:
            told = victim.until(rb"stopped before '\d+'(?:, process (\d+))?;")
            child = int(told[1] or 0)
            if (who == "child") != bool(child) and who == "child":
                if actor == "child":
                    raise Failed("the child is not told")
                victim.process.send_signal(signal.SIGTERM)  # nobody is there yet: it is given up
                if victim.end(SETTLE) != 128 + signal.SIGTERM:
                    raise Failed(f"given up: {victim.said.decode()}")
                return
            targets = {"host": [victim.process.pid], "zygote": [zygote()], "child": [child],
                       "both": [victim.process.pid, zygote()]}[who]
            for pid in targets:
                os.kill(pid, signal.SIGKILL)
            if actor != "child" and who in ("zygote", "child"):
                # A host that was told to stop does not look; it finds out when it goes on.
                victim.process.send_signal(signal.SIGCONT)
            code = victim.end(SETTLE)
            if who in ("host", "both"):
                if code != -signal.SIGKILL:
                    raise Failed(f"status {code}: {victim.said.decode()}")
            elif code != 125 or victim.said.count(b"condroid-run: ") < 2:
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who == "both":
                self.next_runtime()
        finally:
            victim.stop()

    def every_op(self):
        for label, options in (("plain", PLAIN), ("rich", RICH)):
            for op, actor in self.ops(options):
                for who in ("host", "zygote", "both", "child"):
                    self.case(f"{label} {who} before op {op} of the {actor}",
                              lambda: self.at_op(options, op, actor, who))

    # ---- of a running container ----

    def running(self, options, command, who):
        victim = Victim([self.condroid_run, *options, "--", "/bin/sh", "-c",
                         'echo up; exec "$@"', "sh", *command])
        try:
            victim.until(rb"^up\r?$")
            time.sleep(0.03)  # the shell executes the command, which clears its death signal
            server = zygote()
            table = leakwatch.processes()
            child = next(pid for pid, (parent, state, _) in table.items()
                         if parent == server and state not in "ZX")
            for pid in {"host": [victim.process.pid], "zygote": [server], "child": [child],
                        "both": [victim.process.pid, server]}[who]:
                os.kill(pid, signal.SIGKILL)
            code = victim.end(SETTLE)
            wanted = {"host": -9, "both": -9, "zygote": 125, "child": 137}[who]
            if code != wanted or (code == 125 and b"lost" not in victim.said):
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who == "both":
                self.next_runtime()
        finally:
            victim.stop()

    def every_running(self):
        for label, options in (("plain", PLAIN), ("rich", RICH)):
            for kind, command in (("sleeper", SLEEP), ("stubborn", STUBBORN)):
                for who in ("host", "zygote", "both", "child"):
                    self.case(f"running {label} {kind}: {who}",
                              lambda: self.running(options, command, who))

    # ---- other hosts ----

    def started(self, *verb):
        victim = Victim([self.host, *verb])
        told = victim.until(rb"^ready (\d+) (\d+) (\d+)$")
        return victim, *(int(told[i]) for i in (1, 2, 3))

    def forked(self, who):
        victim, server, child, other = self.started("forked")
        try:
            for pid in {"host": [victim.process.pid], "zygote": [server], "child": [child],
                        "both": [victim.process.pid, server]}[who]:
                os.kill(pid, signal.SIGKILL)
            code = victim.end(SETTLE)
            if who == "both":
                self.next_runtime()
            wanted = {"zygote": b"lost with its zygote", "child": b"SIGKILL"}.get(who, b"")
            if code != (0 if wanted else -signal.SIGKILL) or wanted not in victim.said:
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            # The forked child is the only one left, holding copies of all that the host had.
            end = time.monotonic() + SETTLE
            while (left := set(leakwatch.descendants()) - {other}) and time.monotonic() < end:
                leakwatch.reap()
                time.sleep(0.005)
            if left or other not in leakwatch.descendants():
                raise Failed(f"left beside the forked child {other}: {left}")
        finally:
            os.kill(other, signal.SIGKILL)
            victim.stop()

    def detached(self, how):
        victim, server, child, _ = self.started("detach", "end" if how == "end" else "wait")
        try:
            if how == "end":
                if (code := victim.end(3)) != 0:
                    raise Failed(f"status {code}, it said: {victim.said.decode()}")
            elif how != "zygote":
                victim.process.kill()
                victim.end(SETTLE)
            time.sleep(0.3)
            alive = leakwatch.descendants()
            if child not in alive or server not in alive:
                raise Failed("the detached container did not outlive its host")
            if how == "sweep":
                self.next_runtime()  # what lives is not swept
                if child not in leakwatch.descendants():
                    raise Failed("another Runtime ended the detached container")
            if how == "zygote":
                os.kill(server, signal.SIGKILL)  # takes it along
                time.sleep(0.2)
                if child in leakwatch.descendants():
                    raise Failed("the container outlived its monitor")
                victim.process.kill()
                victim.end(SETTLE)
                self.next_runtime()
            else:
                os.kill(child, signal.SIGKILL)
        finally:
            victim.stop()

    def busy(self, who, pause):
        victim, server, _, _ = self.started("busy")
        try:
            time.sleep(pause)
            if who == "zygote":
                os.kill(server, signal.SIGKILL)
                time.sleep(0.3)  # it goes on with a new zygote, and cleans up after the old one
                victim.process.kill()
                victim.end(SETTLE)
            else:
                if who == "both":
                    os.kill(server, signal.SIGKILL)
                victim.process.kill()
                victim.end(SETTLE)
                if who == "both":
                    # The host may have got itself a new zygote between the two.
                    leakwatch.reap()
                    time.sleep(0.3)
                    self.next_runtime()
        finally:
            victim.stop()

    def others(self):
        for who in ("host", "zygote", "both", "child"):
            self.case(f"forked: {who}", lambda: self.forked(who))
        for how in ("end", "kill", "sweep", "zygote"):
            self.case(f"detached: {how}", lambda: self.detached(how))
        seed = int(os.environ.get("CONDROID_SEED", "0")) or random.randrange(1 << 30)
        chance = random.Random(seed)
        print(f"CONDROID_SEED={seed}")
        for i in range(30):
            who = ("host", "zygote", "both")[i % 3]
            self.case(f"busy {i}: {who}", lambda: self.busy(who, chance.uniform(0, 0.02)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("condroid_run")
    parser.add_argument("host")
    parser.add_argument("--only", choices=("ops", "running", "others"))
    options = parser.parse_args()
    if not leakwatch.isolate():
        print("skipped: needs root of the machine", file=sys.stderr)
        return 1 if "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",") else SKIPPED
    tests = Tests(options.condroid_run, options.host)
    for name, group in (("ops", tests.every_op), ("running", tests.every_running),
                        ("others", tests.others)):
        if options.only in (None, name):
            group()
    print(f"{tests.count} deaths, {len(tests.failures)} failed; "
          f"all was gone after {tests.slowest[0] * 1000:.0f} ms at most ({tests.slowest[1]})")
    return 1 if tests.failures else 0


if __name__ == "__main__":
    sys.exit(main())
