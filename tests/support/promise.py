"""What a plan promises, and whether a container's own report shows just that.

    plan = Plan(text of condroid-run --dry-run)
    plan.paths                     what `payload probe PATH...` must be asked beside the usual
    plan.interfaces = True         the lines of `payload interfaces` are there, too
    plan.broken(lines of payload)  each promise that does not hold, in words; empty when all do

The expectations come from the plan's text alone, not from another run: what an undisturbed launch
gets wrong is found, too.
"""
import ipaddress
import os
import re

KINDS = {"mount": "mnt", "pid": "pid", "uts": "uts", "ipc": "ipc", "net": "net", "user": "user",
         "cgroup": "cgroup", "time": "time"}
FLAGS = {"ro", "nosuid", "nodev", "noexec", "nosymfollow"}
SMALL = ("chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service "
         "sys_chroot").split()
CAPABILITIES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable "
    "net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio "
    "sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time "
    "sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog "
    "wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore").split()
UNLIMITED = str(2**64 - 1)


class Report:
    """Lines key=value of `payload probe`."""

    def __init__(self, lines):
        self.pairs = [tuple(line.split("=", 1)) for line in lines if "=" in line]

    def __getitem__(self, key):
        return next((value for k, value in self.pairs if k == key), None)

    def all(self, key):
        return [value for k, value in self.pairs if k == key]

    def below(self, prefix):
        return {k[len(prefix):]: value for k, value in self.pairs if k.startswith(prefix)}

    def mounts(self):
        """target -> (type, flags and options, propagation), of the uppermost mount there"""
        found = {}
        for value in self.all("mount"):
            target, kind, options, propagation = value.split(" ", 3)
            found[target] = (kind, set(options.split(",")), propagation)
        return found


class Plan:
    def __init__(self, text, argv=None):
        """argv: of the command that will be run, if it is not just that of the text."""
        self.ops = [(m[1], m[2], m[3].split("; undone by ")[0]) for m in
                    re.finditer(r"^ *\d+  (\w+) +(\w+(?: \w+)*) {2,}(.*)$", text, re.MULTILINE)]
        if not self.ops:
            raise ValueError(f"no plan: {text}")
        self.argv = argv
        self.interfaces = False
        self.pid = "2" if self.has("start init") else "1"  # of what reports
        self.paths = [what.strip("'") for what in self.all("mask path", "protect path")]

    def all(self, *steps):
        return [what for _, step, what in self.ops if step in steps]

    def has(self, step):
        return any(s == step for _, s, _ in self.ops)

    def broken(self, lines):
        report = Report(lines)
        failures = []

        def expect(what, seen, wanted):
            if seen != wanted:
                failures.append(f"{what}: '{seen}', the plan says '{wanted}'")

        self._namespaces(report, expect)
        self._ids(report, expect)
        self._process(report, expect)
        self._devices(report, expect)
        self._mounts(report, expect)
        self._paths(report, expect)
        self._interfaces(report, expect)
        return failures

    # ---- what each part promises ----

    def _namespaces(self, report, expect):
        new = set()
        for what in self.all("clone"):
            if found := re.match(r"new namespaces ([\w ]+)", what):
                new |= set(found[1].split())
        for what in self.all("unshare"):
            new |= set(what.split())
        if self.has("set time offsets"):
            new.add("time")
        joined = {}
        for what in self.all("open descriptor"):
            if found := re.match(r"(\w+) namespace (?:of process (\d+)|'(.*?)')", what):
                path = found[3] or f"/proc/{found[2]}/ns/{KINDS[found[1]]}"
                # A file of /proc is a link that tells which; a bind of one has only its inode.
                joined[found[1]] = f"{KINDS[found[1]]}:[{os.stat(path).st_ino}]"
        for kind, name in KINDS.items():
            seen = report[f"ns.{name}"]
            if kind in joined:
                expect(f"namespace {kind}", seen, joined[kind])
            else:
                host = os.readlink(f"/proc/self/ns/{name}")
                expect(f"namespace {kind}", "the host's" if seen == host else "new",
                       "new" if kind in new else "the host's")

    def _ids(self, report, expect):
        maps = self.all("write id map")
        for kind in ("uid", "gid"):
            wanted = ["0 0 4294967295"]
            if maps:
                part = re.search(rf"\b{kind} (.*?)(?:;|, by |, no |$)", maps[0])[1]
                wanted = []
                for m in re.finditer(r"(\d+)(?:-(\d+))? = host (\d+)", part):
                    wanted.append(f"{m[1]} {m[3]} {int(m[2] or m[1]) - int(m[1]) + 1}")
            expect(f"{kind} map", report[f"{kind}_map"], " ".join(wanted))
        words = self.all("set ids")[-1]
        uid, gid = (re.search(rf"\b{kind} (\d+)", words)[1] for kind in ("uid", "gid"))
        expect("uids", (report["Uid"], report["call.uid"]), (" ".join([uid] * 4), f"{uid} {uid}"))
        expect("gids", (report["Gid"], report["call.gid"]), (" ".join([gid] * 4), f"{gid} {gid}"))
        if "groups kept" not in words:
            groups = re.search(r", groups ([\d ]+)", words)
            expect("groups", report["call.groups"], groups[1].strip() if groups else "")
        if "the small set" in words:
            names = SMALL
        elif "all capabilities" in words:
            names = CAPABILITIES
        else:
            names = (re.search(r", capabilities ([\w ]+)", words) or ["", ""])[1].split()
        bits = sum(1 << CAPABILITIES.index(name) for name in names)
        sets = ["bounding"] + (["permitted", "effective"] if uid == "0" else [])
        for which in sets:
            expect(f"{which} capabilities", report[f"call.{which}"], f"{bits:016x}")
        # Whatever a command of another user has, it is no more than that.
        for which in ("permitted", "effective", "inheritable", "ambient"):
            more = int(report[f"call.{which}"] or "-1", 16) & ~bits
            expect(f"{which} capabilities beyond the plan's", f"{more:x}", "0")
        nnp = "1" if self.has("set no_new_privs") else "0"
        expect("no_new_privs", (report["NoNewPrivs"], report["call.no_new_privs"]), (nnp, nnp))

    def _process(self, report, expect):
        for what in self.all("set hostname"):
            key = "domainname" if what.startswith("domain ") else "hostname"
            expect(key, report[key], what.split("'")[1])
        numbers = re.search(r"descriptors ([\d ]+)", self.all("set stdio")[-1])[1].split()
        expect("descriptors", sorted(report.below("fd."), key=int), sorted(numbers, key=int))
        if self.has("new session"):
            terminal = "with the console" in self.all("new session")[-1]
            expect("session leader", report["session.leader"], "yes")
            expect("controlling terminal", report["controlling_terminal"] == "yes", terminal)
        if "pid" in self.all("clone")[0].split():
            expect("pid", report["pid"], self.pid)
        if self.has("raise loopback"):
            expect("loopback", report["loopback"], "up")
        if self.has("load seccomp"):
            expect("filter of system calls", report["Seccomp"], "2")
        if self.has("join keyring"):
            expect("keyring is empty", report["keyring"] in ("0 keys", "ENOSYS"), True)
        for what in self.all("set umask"):
            expect("umask", report["call.umask"], what)
        for what in self.all("set rlimit"):
            name, soft, hard = re.match(r"(\w+) (\w+) of (\w+)", what).groups()
            wanted = [UNLIMITED if n == "unlimited" else n for n in (soft, hard)]
            expect(f"limit {name}", report[f"rlimit.{name}"], " ".join(wanted))
        for what in self.all("write setting"):
            if found := re.match(r"/proc/self/oom_score_adj = '(-?\d+)'", what):
                expect("oom_score_adj", report["oom_score_adj"], found[1])
        for what in self.all("change directory"):
            expect("directory", report["cwd"], what.split("'")[1])
        for key, wanted in (("SigBlk", "0" * 16), ("SigIgn", "0" * 16), ("securebits", "0")):
            expect(key, report[key], wanted)
        expect("death signal", report["death_signal"] != "0", True)
        # The argument list of the plan is for a person: only what is plain can be compared.
        words = self.all("exec")[0]
        if self.argv:
            expect("arguments", report.all("arg"), self.argv)
        elif "..." not in words and "more" not in words:
            expect("arguments", report.all("arg"), words[1:-1].split("' '"))

    def _devices(self, report, expect):
        devices = report.below("dev.")
        for what in self.all("make node"):
            if found := re.match(r"'/dev/([^/']+)' (char|block) (\d+:\d+) mode (\d+)", what):
                seen = devices.get(found[1], "").split()
                expect(f"/dev/{found[1]}", seen[:3], [found[2], found[3], found[4]])
            elif found := re.match(r"bind host '/dev/\S+' -> guest '/dev/([^/']+)'", what):
                expect(f"/dev/{found[1]}", devices.get(found[1], "").split(" ")[0], "char")

    def _mounts(self, report, expect):
        """Every mount that is promised is there, as promised, and no other one is."""
        seen = report.mounts()
        wanted = {}  # target -> (type or None, flags, are these all)
        for step, what in [(s, w) for _, s, w in self.ops]:
            flags = set()
            if found := re.search(r"\(([\w,]+)\)(?:, optional)?$", what):
                flags = set(found[1].split(",")) & FLAGS
            if step == "mount root" and "attached to nothing" not in what and what[:12] != "overlay over":
                wanted["/"] = (None, flags, False)
            elif step == "set mount attributes":
                target = what.split("'")[1]
                words = set(re.split(r"[ ,]+", what.split("'")[2])) & FLAGS
                kind, old, exact = wanted.get(target, (None, set(), False))
                wanted[target] = (kind, old | words, exact)
            elif step == "mount" and (found := re.match(r"(\w+)\b.* -> guest '(.*?)'", what)):
                if what.endswith(", optional") and found[2] not in seen:
                    continue
                kind = None if found[1] in ("bind", "rbind", "prepared") else found[1]
                wanted[found[2]] = (kind, flags, kind is not None)
            elif step == "make node" and what.startswith("bind host"):
                wanted[re.search(r"guest '(.*?)'", what)[1]] = (None, set(), False)
            elif step == "open console" and (found := re.match(r"pty '(.*?)'", what)):
                wanted[f"/dev/{found[1]}"] = ("devpts", {"nosuid", "noexec"}, False)
                # Of the console it is a second mount, of others a link.
                if found[1].endswith("/console"):
                    wanted["/dev/console"] = wanted[f"/dev/{found[1]}"]
        for step, path in [(s, w.strip("'")) for _, s, w in self.ops]:
            if step in ("mask path", "protect path") and report[f"path.{path}"] != "ENOENT":
                kind, flags, exact = wanted.get(path, (None, set(), False))
                wanted[path] = (kind, flags | ({"ro"} if step == "protect path" else set()), exact)
        for target, (kind, flags, exact) in wanted.items():
            if target not in seen:
                expect(f"mount {target}", "none", kind or "one")
                continue
            if kind:
                expect(f"type of {target}", seen[target][0], kind)
            has = seen[target][1] & FLAGS
            expect(f"flags of {target}", sorted(has if exact else has & flags), sorted(flags))
        private = "every mount made private" in self.all("contain propagation")
        for target, (_, options, propagation) in seen.items():
            if private:
                expect(f"propagation of {target}", propagation.split()[0], "private")
            if target in wanted:
                continue
            # Below a recursive bind there is more; it has the flags of that one.
            above = [(t, f) for t, (_, f, _) in wanted.items()
                     if target.startswith(t.rstrip("/") + "/") and self._recursive(t)]
            expect(f"mount {target} was not promised", bool(above), True)
            if above:
                flags = max(above)[1]
                expect(f"flags of {target}", sorted(options & flags), sorted(flags))

    def _recursive(self, target):
        if target == "/":
            return any(what.startswith("the host's own") or "recursive" in what
                       for what in self.all("mount root", "open source"))
        return any(re.match(rf"rbind .* -> guest '{re.escape(target)}'", what) or
                   re.match(rf"prepared .* -> guest '{re.escape(target)}'", what)
                   for what in self.all("mount"))

    def _paths(self, report, expect):
        for path in (what.strip("'") for what in self.all("mask path")):
            seen = report[f"path.{path}"] or "not told"
            expect(f"'{path}' is hidden", seen.split()[0] in ("null", "empty", "ENOENT"), True)
        for path in (what.strip("'") for what in self.all("protect path")):
            seen = report[f"path.{path}"] or "not told"
            expect(f"'{path}' cannot be written", seen.endswith("read-only") or seen == "ENOENT",
                   True)

    def _interfaces(self, report, expect):
        """Those that are promised, each with its addresses and no others."""
        if not self.interfaces:
            return
        links = report.below("if.")
        networks = {}  # of what is leased
        for what in self.all("lease address"):
            networks[what.split("'")[1]] = re.findall(r"one of (\S+?)(?=[,;]|$)", what)
        promised = {"lo"}
        for what in self.all("configure interface"):
            name = what.split("'")[1]
            promised.add(name)
            if ", up" in what or ": up" in what:
                expect(f"interface {name}", links.get(name), "up")
            seen = [a for a in report.all(f"address.{name}") if not a.startswith("fe80:")]
            wanted = re.findall(r"(?:(?<=: )|(?<=, ))([0-9a-f.:]+/\d+)(?=,|$)", what)
            for network in map(ipaddress.ip_network, networks.get(name, [])):
                inside = [a for a in seen if ipaddress.ip_interface(a).network == network]
                expect(f"addresses of {name} in {network}", len(inside), 1)
                wanted += inside
            expect(f"addresses of {name}", sorted(seen), sorted(wanted))
        for what in self.all("start pasta"):
            name = what.split("'")[1]
            promised.add(name)
            expect(f"interface {name}", links.get(name), "up")
            expect(f"an address of {name}", bool(report.all(f"address.{name}")), True)
        expect("interfaces", sorted(links), sorted(promised))
