#!/usr/bin/env python3
"""Kills hosts, zygotes, both at once, and containers, before every step of a launch, of an attach, of
a take from a pool and of a next life, and after it; while hooks run, and the hooks themselves; and at
any time those that launch themselves again.

    deaths.py CONDROID_RUN HOST [--only WORD] [--every N] [--next-every N] [--network-every N]
              [--slow FACTOR]

HOST is the program of host.cpp. What must hold within a second of the kill (times FACTOR, on an
emulated machine; what was only late, as it is when others want the processors, is tried twice more,
and must be in time once): nothing is left that leakwatch.py knows of (of both at once: after the next
Runtime was opened); a program whose zygote or container was killed says so and ends. At every step the same with a user who has subids; with a
running container beside that cleared its death signal, and a forked child of the host that holds
copies of all it has; and with a detached container beside, which must live on. So of launches with a
bridge of our own and published ports, and with an interface that is lent, which comes home; being a
veth it may be gone where both were killed.

Runs as root: several parts at once, each with every so-manieth death, in namespaces and with a state
directory of its own.
"""
import argparse
import glob
import os
import random
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../support"))
import leakwatch  # noqa: E402

SKIPPED = 77
SETTLE = 1.0  # both times --slow
PATIENCE = 10.0  # for what should have come within SETTLE, too
TRIES = 3
PLAIN = []
CABLE = ["--net", "veth", "--host-ip", "192.0.2.1/32", "--ip", "192.0.2.2/32", "--gateway", "192.0.2.1"]
RICH = ["--userns", "0:100000:65536", "--memory", "64m", "--pids", "20", "--init", "--tty",
        "--ephemeral", *CABLE]
AS_USER = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../support/as_user.sh"),
           "subids"]
LAUNCHES = (("plain", [], PLAIN), ("rich", [], RICH), ("subids", AS_USER, ["--init", "--tty"]))
BRIDGE = ["--net", "bridge", "--publish", "127.0.0.1:8080:80", "--publish", "53:53/udp",
          "--dns", "192.0.2.53"]
LENT = ("lent0", "lent1", 100)  # a veth of the host's, and what index it has
PHYS = ["--set", f"network.interfaces = phys eth0 parent={LENT[0]} mtu=1400 mac=02:00:00:00:00:07 "
                 "addresses=192.0.2.2/24"]
NETWORKS = (("bridge", [], BRIDGE), ("phys", [], PHYS))
PARTS = 4
KILLED = ("host", "zygote", "both", "zygote first", "child")
POINTS = ("pre_start", "up", "configured", "pre_mount", "mount", "autodev", "start", "start_host",
          "started", "down", "stop", "post_stop")
SLEEP = ["/bin/sleep", "1000"]
STUBBORN = ["/usr/bin/setpriv", "--pdeathsig", "clear", *SLEEP]


class Failed(Exception):
    pass


late = []  # what took longer than it may, of one try
killed = []  # who was, of one try


def in_time(began, allowed, what):
    took = time.monotonic() - began
    if took > allowed:
        late.append(f"{what} after {took:.2f} s")


def zygote():
    """The zygote that runs now; its containers have its name, too, until they execute."""
    table = leakwatch.processes()
    found = [pid for pid, (parent, state, name) in table.items()
             if name == "condroid-zygote" and state not in "ZX"
             and table.get(parent, (0, "", ""))[2] != "condroid-zygote"]
    if len(found) != 1:
        raise Failed(f"{len(found)} zygotes")
    return found[0]


def state_files():
    """What the Runtimes of a root keep; one file each."""
    return glob.glob("/run/condroid/*")


def state_of(path):
    """Of a state file who wrote it, and who is there yet; of anything else nothing."""
    try:
        with open(path, "rb") as file:
            magic, version, host, server = struct.unpack("=IIii", file.read(16))
            size = os.fstat(file.fileno()).st_size
    except (OSError, struct.error):
        return ""
    alive = [pid for pid in (host, server) if pid > 0 and os.path.exists(f"/proc/{pid}")]
    return (f" (magic {magic:#x}, version {version}, host {host}, zygote {server}, of these alive "
            f"{alive}; {size} bytes)")


class Victim:
    """A program under test; line() reads what it says, one line at a time."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.said = b""
        os.set_blocking(self.process.stdout.fileno(), False)

    def until(self, word):
        end = time.monotonic() + PATIENCE
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
        began = time.monotonic()
        try:
            code = self.process.wait(max(timeout, PATIENCE))
        except subprocess.TimeoutExpired:
            raise Failed(f"it did not end, but said: {self.said.decode()}") from None
        in_time(began, timeout, "it ended")
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


def kill(who, host, server, child):
    """Both: one right after the other. Of a host that comes second the own end may come first."""
    killed.append(who)
    for pid in {"host": [host], "zygote": [server], "child": [child], "hook": [child],
                "both": [host, server], "zygote first": [server, host]}[who]:
        os.kill(pid, signal.SIGKILL)


def wait_until(true, what, patience=1):
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > max(patience * SETTLE, PATIENCE):
            raise Failed(what())
        leakwatch.reap()
        time.sleep(0.003)
    in_time(began, patience * SETTLE, "what was waited for came")


def ends_of_lent():
    return sum(os.path.exists(f"/proc/sys/net/ipv4/conf/{name}") for name in LENT[:2])


class Tests:
    def __init__(self, condroid_run, host, part, options, seed):
        self.condroid_run, self.host = condroid_run, host
        self.part, self.every, self.next_every = part, options.every, options.next_every
        self.network_every, self.networks = options.network_every, False
        self.chance = random.Random(seed)
        self.first = seed  # of each N cases another one, as the seed is
        leakwatch.forward()  # which stays, so it is not what is left
        leakwatch.make_cable(*LENT)
        self.specs = {label: self._spec(label, prefix, words)
                      for label, prefix, words in (*LAUNCHES, *NETWORKS)}
        self.watch = leakwatch.Watch()
        self.number = 0
        self.count = 0
        self.about = ""  # of the case, for who reads that it failed
        self.failures = []
        self.slowest = (0.0, "")

    def _spec(self, label, prefix, options):
        text = self.say(*prefix, self.condroid_run, "--print-spec", *options, "--", *SLEEP)
        with tempfile.NamedTemporaryFile("w", suffix=".spec", prefix=label, delete=False) as file:
            file.write(text)
        os.chmod(file.name, 0o644)
        return file.name

    def case(self, name, body):
        """One death, if it is of this part: body kills; then nothing may be left."""
        self.number += 1
        turn, which = divmod(self.number + self.first, self.every)
        if which != 0 or turn % PARTS != self.part:
            return
        self.count += 1
        self.about = ""
        try:
            for _ in range(TRIES):
                late.clear()
                killed.clear()
                body()
                if self.networks and killed in (["both"], ["zygote first"]):
                    self.bring_home(may_lose="phys" in name)
                begin = time.monotonic()
                left = self.watch.left(PATIENCE)
                self.slowest = max(self.slowest, (time.monotonic() - begin, name))
                if left:
                    told = "; ".join(f"{kind} {what}{state_of(what)}" for kind, what in left)
                    self.watch.clean(left)
                    raise Failed(f"left {told}{self.about}")
                in_time(begin, SETTLE, "nothing was left")
                if not late:
                    return
                print(f"late: {name}: {', '.join(late)}", flush=True)
            raise Failed(f"late {TRIES} times of {TRIES}")
        except Failed as failure:
            self.failures.append(name)
            print(f"FAILED {name}: {failure}", flush=True)
            self.watch.clean(self.watch.left(0.2 * SETTLE))
            if ends_of_lent() != 2:  # or the next ones fail, too
                leakwatch.clean([("network device", name) for name in LENT[:2]])
                leakwatch.make_cable(*LENT)
                self.watch = leakwatch.Watch()

    def next_runtime(self, prefix=()):
        """What both left is the next one's to find."""
        run = subprocess.run([*prefix, self.condroid_run, "--", "/bin/true"], check=False,
                             capture_output=True)
        if run.returncode != 0:
            raise Failed(f"the next launch: {run.stderr.decode()}")

    def bring_home(self, may_lose):
        """What is locked is the next Runtime's to find once nobody has it open any more: the zygote,
        its child, a forked child of the host. With the container's namespace goes a veth that was
        lent."""
        wait_until(lambda: not leakwatch.descendants(),
                   lambda: f"there is {leakwatch.descendants()}")
        self.next_runtime()
        wait_until(lambda: ends_of_lent() != 1, lambda: "one end of what was lent is there")
        if ends_of_lent() == 0:
            if not may_lose:
                raise Failed("an interface of the host's is gone, and was not lent")
            leakwatch.make_cable(*LENT)

    @staticmethod
    def say(*command):
        return subprocess.run(command, check=True, capture_output=True).stdout.decode()

    @staticmethod
    def ops(text):
        return [(int(m[1]), m[2]) for m in re.finditer(r"^ *(\d+)  (\w+)", text, re.MULTILINE)]

    # ---- before every step ----

    def at_op(self, prefix, options, op, actor, who):
        victim = Victim([*prefix, self.condroid_run, "--stop-before", str(op), *options, "--",
                         *SLEEP])
        try:
            told = victim.until(rb"stopped before '\d+'(?:, process (\d+))?;")
            child = int(told[1] or 0)
            if who == "child" and not child:
                if actor == "child":
                    raise Failed("the child is not told")
                victim.process.send_signal(signal.SIGTERM)  # nobody is there yet: it is given up
                if victim.end(SETTLE) != 128 + signal.SIGTERM:
                    raise Failed(f"given up: {victim.said.decode()}")
                return
            kill(who, victim.process.pid, zygote(), child)
            if actor != "child" and who in ("zygote", "child"):
                # A host that was told to stop does not look; it finds out when it goes on.
                victim.process.send_signal(signal.SIGCONT)
            code = victim.end(SETTLE)
            if who in ("host", "both", "zygote first"):
                if code != -signal.SIGKILL and (who, code) != ("zygote first", 125):
                    raise Failed(f"status {code}: {victim.said.decode()}")
            elif code != 125 or victim.said.count(b"condroid-run: ") < 2:
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who in ("both", "zygote first"):
                self.next_runtime(prefix)
        finally:
            victim.stop()

    def every_op(self, launches=LAUNCHES):
        for label, prefix, options in launches:
            text = self.say(*prefix, self.condroid_run, "--dry-run", *options, "--", *SLEEP)
            for op, actor in self.ops(text):
                for who in KILLED:
                    self.case(f"{label} {who} before op {op} of the {actor}",
                              lambda: self.at_op(prefix, options, op, actor, who))

    # ---- before every step, with others beside ----

    def beside(self, prefix, spec, op, actor, who, words):
        victim = Victim([*prefix, self.host, "stopped", spec, str(op), *words])
        forked = detached = 0
        try:
            told = victim.until(rb"^ready (\d+) (\d+) (\d+) (\d+)$")
            server, child, forked, other = (int(word) for word in told.groups())
            detached = other if "detached" in words else 0
            kill(who, victim.process.pid, server, child)
            if actor != "child" and who in ("zygote", "child"):
                victim.process.send_signal(signal.SIGCONT)
            code = victim.end(SETTLE)
            if who in ("zygote", "child"):
                if code != 1 or b"host: " not in victim.said:
                    raise Failed(f"status {code}, it said: {victim.said.decode()}")
            elif code != -signal.SIGKILL and (who, code) != ("zygote first", 1):
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who in ("both", "zygote first"):
                self.next_runtime(prefix)
            # A detached one lives as long as its monitor.
            stay = {forked} if forked else {detached, server} if detached and who in (
                "host", "child") else set()
            wait_until(lambda: set(leakwatch.descendants()) == stay,
                       lambda: f"there is {leakwatch.descendants()}, it should be {stay}")
        finally:
            for pid in (forked, detached):
                if pid in leakwatch.descendants():
                    os.kill(pid, signal.SIGKILL)
            victim.stop()

    def every_op_beside(self, launches=LAUNCHES):
        for label, prefix, _ in launches:
            spec = self.specs[label]
            for op, actor in self.ops(self.say(*prefix, self.host, "plan", spec)):
                for words in (["stubborn", "forked"], ["stubborn", "detached"]):
                    for who in KILLED:
                        # Before the clone there is none.
                        if who != "child" or actor == "child":
                            self.case(f"{label} {who} before op {op} of the {actor}, " +
                                      " and ".join(words),
                                      lambda: self.beside(prefix, spec, op, actor, who, words))

    # ---- before every step of an attach, and of a take ----

    def stepping(self, verb, op, who):
        """Of the child: who attaches is killed, or is taken."""
        victim = Victim([self.host, verb, str(op)])
        try:
            told = victim.until(rb"^ready (\d+) (\d+) \d+ \d+$")
            server, child = int(told[1]), int(told[2])
            if who == "child" and not child:
                victim.process.kill()  # nobody is there yet
                victim.end(SETTLE)
                return
            kill(who, victim.process.pid, server, child)
            if who in ("zygote", "child"):
                # A host that was told to stop does not look; it finds out when it goes on.
                victim.process.send_signal(signal.SIGCONT)
            # Its pid namespace ends when all that were attached are reaped: after their zygote's end
            # that is for us to do.
            began = time.monotonic()
            while victim.process.poll() is None and time.monotonic() < began + PATIENCE:
                for pid, (parent, state, _) in leakwatch.processes().items():
                    if (parent, state) == (os.getpid(), "Z") and pid != victim.process.pid:
                        os.waitpid(pid, os.WNOHANG)
                time.sleep(0.003)
            in_time(began, 3 * SETTLE, "it ended")
            code = victim.end(SETTLE)
            if who in ("zygote", "child"):
                # A zygote that takes its time to die sees the process run, and takes it along then.
                ran = b"not stopped" in victim.said and who == "child"
                if code != 1 or b"host: " not in victim.said or ran:
                    raise Failed(f"status {code}, it said: {victim.said.decode()}")
            elif code != -signal.SIGKILL and (who, code) != ("zygote first", 1):
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who in ("both", "zygote first"):
                self.next_runtime()
        finally:
            victim.stop()

    def every_op_of_an_attach(self):
        # How many there are is said to who asks for more.
        asked = subprocess.run([self.host, "attaching", "1000"], check=False, capture_output=True)
        for op in range(int(re.search(rb"the plan has (\d+) ops", asked.stdout)[1])):
            for who in KILLED:
                self.case(f"attach: {who} before op {op}", lambda: self.stepping("attaching", op, who))

    def every_op_of_a_take(self):
        asked = subprocess.run([self.host, "taking", "1000"], check=False, capture_output=True)
        first, last = re.search(rb"the ops (\d+) to (\d+)", asked.stdout).groups()
        for op in range(int(first), int(last) + 1):
            for who in KILLED:
                self.case(f"take: {who} before op {op}", lambda: self.stepping("taking", op, who))

    # ---- before every step of a next life ----

    @staticmethod
    def child_of(server):
        """Its container's first process, or what is to become that; 0: there is none."""
        return next((pid for pid, (parent, state, name) in leakwatch.processes().items()
                     if parent == server and state not in "ZX" and name != "sleep"), 0)

    def next_life(self, prefix, spec, op, who):
        victim = Victim([*prefix, self.host, "next", spec, str(op)])
        try:
            told = victim.until(rb"^ready (\d+) (\d+) \d+ \d+$")
            server, child = int(told[1]), int(told[2])
            if who == "child" and not child:
                victim.process.kill()  # nobody is there yet
                victim.end(SETTLE)
                return
            kill(who, victim.process.pid, server, child)
            if who == "zygote":
                # One that takes its time to die sees the container run.
                wait_until(lambda: leakwatch.processes().get(server, (0, "X", ""))[1] in "ZX",
                           lambda: "the zygote is not dead")
            if who in ("zygote", "child"):
                # A host that was told to stop does not look; it finds out when it goes on.
                victim.process.send_signal(signal.SIGCONT)
            code = victim.end(SETTLE)
            if who in ("zygote", "child"):
                if code != 1 or b"not restarted: " not in victim.said:
                    raise Failed(f"status {code}, it said: {victim.said.decode()}")
            elif code != -signal.SIGKILL and (who, code) != ("zygote first", 1):
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who in ("both", "zygote first"):
                self.next_runtime(prefix)
        finally:
            victim.stop()

    def every_op_of_a_next_life(self, launches=LAUNCHES):
        number = 0
        for label, prefix, _ in launches:
            spec = self.specs[label]
            asked = subprocess.run([*prefix, self.host, "next", spec, "1000"], check=False,
                                   capture_output=True)
            for op in range(int(re.search(rb"a next life has (\d+) ops", asked.stdout)[1])):
                for who in KILLED:
                    number += 1
                    if number % self.next_every == 0:
                        self.case(f"next life, {label}: {who} before op {op}",
                                  lambda: self.next_life(prefix, spec, op, who))

    # ---- while a hook runs ----

    def hooked(self, prefix, spec, point, who):
        victim = Victim([*prefix, self.host, "hooked", spec, point])
        try:
            def hooks():
                return [pid for pid, (_, state, name) in leakwatch.processes().items()
                        if name == "sleep" and state not in "ZX"]
            wait_until(hooks, lambda: "the hook was not run", 3)
            server, hook = zygote(), hooks()[0]
            child = self.child_of(server)
            if who == "child" and not child:
                victim.process.kill()  # it is not there yet, or any more
                victim.end(SETTLE)
                return
            kill(who, victim.process.pid, server, hook if who == "hook" else child)
            if (who, point) == ("child", "started"):
                os.kill(hook, signal.SIGKILL)  # it may last longer than the command
            code = victim.end(SETTLE)
            if who in ("zygote", "child", "hook"):
                told = b"host: " in victim.said and (
                    who != "hook" or b"killed by signal 9" in victim.said)
                if code != 1 or not told:
                    raise Failed(f"status {code}, it said: {victim.said.decode()}")
            elif code != -signal.SIGKILL and (who, code) != ("zygote first", 1):
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who in ("both", "zygote first"):
                self.next_runtime(prefix)
        finally:
            victim.stop()

    def every_hook(self, launches=LAUNCHES):
        for label, prefix, _ in launches:
            spec = self.specs[label]
            for point in POINTS:
                if label in ("plain", "subids") and point in ("up", "down"):
                    continue  # it has no interface
                for who in (*KILLED, "hook"):
                    self.case(f"hook at {point}, {label}: {who}",
                              lambda: self.hooked(prefix, spec, point, who))

    # ---- of a running container ----

    def running(self, prefix, options, command, who):
        victim = Victim([*prefix, self.condroid_run, *options, "--", "/bin/sh", "-c",
                         'echo up; exec "$@"', "sh", *command])
        try:
            victim.until(rb"^up\r?$")
            # The shell executes the command, which clears its death signal first.
            wait_until(lambda: any(name == "sleep" for _, _, name in leakwatch.processes().values()),
                       lambda: "the command was not executed")
            server = zygote()
            child = next(pid for pid, (parent, state, _) in leakwatch.processes().items()
                         if parent == server and state not in "ZX")
            kill(who, victim.process.pid, server, child)
            code = victim.end(SETTLE)
            wanted = {"zygote": [125], "child": [137], "zygote first": [-9, 125]}.get(who, [-9])
            if code not in wanted or (code == 125 and b"lost" not in victim.said):
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            if who in ("both", "zygote first"):
                self.next_runtime(prefix)
        finally:
            victim.stop()

    def every_running(self, launches=(("plain", [], PLAIN), ("rich", [], RICH),
                                      ("subids", AS_USER, PLAIN),
                                      ("subids with init", AS_USER, ["--init", "--tty"]))):
        for label, prefix, options in launches:
            for kind, command in (("sleeper", SLEEP), ("stubborn", STUBBORN)):
                for who in KILLED:
                    self.case(f"running {label} {kind}: {who}",
                              lambda: self.running(prefix, options, command, who))

    # ---- with what is made on the host ----

    def network(self):
        all_of, next_of = self.every, self.next_every
        self.every, self.next_every, self.networks = all_of * self.network_every, 1, True
        there = []
        for launch in NETWORKS:
            tried = subprocess.run([self.condroid_run, *launch[2], "--", "/bin/true"], check=False,
                                   capture_output=True)
            if tried.returncode != 0 and re.search(rb"EOPNOTSUPP|EPROTONOSUPPORT", tried.stderr):
                print(f"without '{launch[0]}', which this kernel has not: {tried.stderr.decode()}")
            else:
                there.append(launch)
        for group in (self.every_op, self.every_op_beside, self.every_op_of_a_next_life,
                      self.every_hook, self.every_running):
            group(there)
        self.every, self.next_every, self.networks = all_of, next_of, False

    # ---- other hosts ----

    def started(self, *verb):
        victim = Victim([self.host, *verb])
        told = victim.until(rb"^ready (\d+) (\d+) (\d+) \d+$")
        return victim, *(int(told[i]) for i in (1, 2, 3))

    def forked(self, who):
        victim, server, child, other = self.started("forked")
        try:
            kill(who, victim.process.pid, server, child)
            code = victim.end(SETTLE)
            if who in ("both", "zygote first"):
                self.next_runtime()
            wanted = {"zygote": b"lost with its zygote", "child": b"SIGKILL"}.get(who, b"")
            if (code != (0 if wanted else -signal.SIGKILL) or wanted not in victim.said) and (
                    who, code) != ("zygote first", 0):
                raise Failed(f"status {code}, it said: {victim.said.decode()}")
            # The forked child is the only one left, holding copies of all that the host had.
            wait_until(lambda: set(leakwatch.descendants()) == {other},
                       lambda: f"beside the forked child {other}: {leakwatch.descendants()}")
        finally:
            os.kill(other, signal.SIGKILL)
            victim.stop()

    def detached(self, how):
        victim, server, child, _ = self.started("detach", "end" if how == "end" else "wait")
        try:
            if how == "end":
                if (code := victim.end(3 * SETTLE)) != 0:
                    raise Failed(f"status {code}, it said: {victim.said.decode()}")
            elif how != "zygote":
                victim.process.kill()
                victim.end(SETTLE)
            time.sleep(0.3 * SETTLE)
            alive = leakwatch.descendants()
            if child not in alive or server not in alive:
                raise Failed("the detached container did not outlive its host")
            if how == "sweep":
                self.next_runtime()  # what lives is not swept
                if child not in leakwatch.descendants():
                    raise Failed("another Runtime ended the detached container")
            if how == "zygote":
                os.kill(server, signal.SIGKILL)  # takes it along
                wait_until(lambda: child not in leakwatch.descendants(),
                           lambda: "the container outlived its monitor")
                victim.process.kill()
                victim.end(SETTLE)
                self.next_runtime()
            else:
                os.kill(child, signal.SIGKILL)
        finally:
            victim.stop()

    def busy(self, who, pause, what):
        victim, server, _, _ = self.started("busy", what)
        self.about = f", zygote {server} of host {victim.process.pid} was there first"
        try:
            time.sleep(pause)
            if who == "zygote":
                os.kill(server, signal.SIGKILL)
                # It goes on with a new zygote, and cleans up after the old one.
                victim.until(rb"^again$")
                # Each thread lets go of the old one when it is done with what it was at.
                wait_until(lambda: len(state_files()) <= 1, lambda: f"state: {state_files()}", 5)
                victim.process.kill()
                victim.end(SETTLE)
            else:
                if who == "both":
                    os.kill(server, signal.SIGKILL)
                victim.process.kill()
                victim.end(SETTLE)
                if who == "both":
                    # The host may have got itself a new zygote between the two.
                    wait_until(lambda: not leakwatch.descendants(),
                               lambda: f"there is {leakwatch.descendants()}")
                    self.next_runtime()
        finally:
            victim.stop()

    def others(self):
        for who in KILLED:
            self.case(f"forked: {who}", lambda: self.forked(who))
        for how in ("end", "kill", "sweep", "zygote"):
            self.case(f"detached: {how}", lambda: self.detached(how))
        for i in range(108):
            who = ("host", "zygote", "both")[i % 3]
            what = ("launch", "pool", "restart")[i // 3 % 3]
            pause = self.chance.uniform(0, 0.02)
            self.case(f"busy {i}, {what}: {who}", lambda: self.busy(who, pause, what))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("condroid_run")
    parser.add_argument("host")
    groups = {"ops": Tests.every_op, "beside": Tests.every_op_beside,
              "attach": Tests.every_op_of_an_attach, "take": Tests.every_op_of_a_take,
              "next": Tests.every_op_of_a_next_life, "hooks": Tests.every_hook,
              "running": Tests.every_running, "network": Tests.network, "others": Tests.others}
    parser.add_argument("--only", choices=groups)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one of N cases")
    parser.add_argument("--next-every", type=int, default=1, metavar="N",
                        help="one of N cases of next lives")
    parser.add_argument("--network-every", type=int, metavar="N",
                        help="one of N cases of a bridge and of what is lent "
                        "(default: 20; all with --only network)")
    parser.add_argument("--slow", type=float, default=1.0, metavar="FACTOR", help="for all times")
    parser.add_argument("--no-ephemeral", action="store_true", help="where overlayfs cannot have it")
    options = parser.parse_args()
    if options.network_every is None:
        options.network_every = 1 if options.only == "network" else 20
    if options.no_ephemeral:
        RICH.remove("--ephemeral")
    global SETTLE, PATIENCE  # pylint: disable=global-statement
    SETTLE, PATIENCE = SETTLE * options.slow, PATIENCE * options.slow
    seed = os.environ.setdefault("CONDROID_SEED", str(random.randrange(1 << 30)))
    if leakwatch.PART not in os.environ:
        print(f"CONDROID_SEED={seed}", flush=True)
    part = leakwatch.in_parts(PARTS)
    if part is None:
        print("skipped: needs root of the machine", file=sys.stderr)
        return 1 if "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",") else SKIPPED
    tests = Tests(options.condroid_run, options.host, part, options, int(seed))
    for name, group in groups.items():
        if options.only in (None, name):
            group(tests)
    print(f"{tests.count} deaths, {len(tests.failures)} failed; "
          f"all was gone after {tests.slowest[0] * 1000:.0f} ms at most ({tests.slowest[1]})")
    return 1 if tests.failures or tests.count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
