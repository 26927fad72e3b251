#!/usr/bin/env python3
"""Runs a command and says what it left behind.

    leakwatch.py [--repeat N] [--expect STATUS] [--as KIND] [--forwards] -- COMMAND...

Looked for, once everything had a second to vanish: processes that the command started (also those
that double-forked or changed their session), mounts that are new, lost or changed, cgroups,
namespaces that a process, an open descriptor or a mount keeps alive, AF_UNIX sockets, network
devices (also those with another state, Ethernet address, MTU or index than before), their addresses
and routes, tables of nftables, pseudoterminals, System V and POSIX queues, semaphores and memory,
loop devices, kernel settings that have another value, files in /run, /tmp, /dev/shm and
$XDG_RUNTIME_DIR, and locks of files in /run: those are the leases of addresses.

As root all of it happens in namespaces of its own of every kind but user and time, with an empty
/run, /tmp, /dev/shm and /dev/pts, so that what others do on the machine meanwhile is not blamed on
the command. --forwards: as on a host that forwards packets already. Called by somebody else only what has condroid's name is looked for where others make
things, too. KIND is a kind of user of as_user.sh. Exit status: 0 nothing is left, 1 something is
(one line each), 2 the command itself did not end as expected.

As a module: isolate() at the start of a script, then Watch() before, watch.left() and watch.clean()
after.
"""
import argparse
import ctypes
import errno
import fcntl
import glob
import os
import pathlib
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

INSIDE = "CONDROID_LEAKWATCH"
PART = "CONDROID_PART"
KEPT = ("process", "namespace")  # may end, and change what is told of them
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
FILES = ("/run/condroid*", "/tmp/condroid*", "/dev/shm/condroid*")
DIRECTORIES = ("/run", "/tmp", "/dev/shm")
# What a launch could touch by mistake: settings of the namespaces that a container may share, and
# the ones that isolation rests on. Below /proc/sys.
SETTINGS = ("kernel/{hostname,domainname,core_pattern,core_uses_pid,shmmax,shmall,shmmni,msgmax,"
            "msgmnb,msgmni,sem,sysrq,printk,modprobe,overflowuid,overflowgid,pid_max,threads-max,"
            "randomize_va_space,dmesg_restrict,kptr_restrict,perf_event_paranoid,"
            "unprivileged_userns_clone,yama/ptrace_scope,keys/maxkeys}",
            "fs/{suid_dumpable,file-max,nr_open,pipe-max-size,protected_hardlinks,"
            "protected_symlinks,mqueue/queues_max,mqueue/msg_max,mqueue/msgsize_max,mount-max}",
            "vm/{overcommit_memory,overcommit_ratio,swappiness,max_map_count,memfd_noexec}",
            "user/max_{user,mnt,pid,net,ipc,uts,cgroup,time}_namespaces",
            "net/ipv4/{ip_forward,ping_group_range,ip_unprivileged_port_start,ip_local_port_range,"
            "conf/all/forwarding,conf/all/rp_filter,conf/default/rp_filter}",
            "net/ipv6/conf/{all,default}/{forwarding,disable_ipv6}", "net/core/somaxconn")

# rtnetlink(7) and nf_tables, as far as they are wanted here
IFF_UP = 1
NETLINK_NETFILTER = 12
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x4, 0x300, 0x10
NLM_F_CREATE, NLM_F_NEW = 0x400, 0x600  # the latter with NLM_F_EXCL
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 16, 17
NFT_MSG_NEWTABLE, NFT_MSG_GETTABLE, NFT_MSG_DELTABLE = 0xa00, 0xa01, 0xa02
FAMILIES = ("", "inet", "ip", "arp", "", "netdev", "", "bridge", "", "", "ip6")  # of tables

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
        command = ["unshare", "--mount", "--pid", "--fork", "--ipc", "--cgroup", "--net", "--uts",
                   "--kill-child", "--propagation", "private", sys.executable] + sys.argv
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


def raise_device(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh", name.encode(), IFF_UP)
        fcntl.ioctl(sock, 0x8914, request + bytes(24))  # SIOCSIFFLAGS


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
    if os.path.isdir("/dev/shm"):
        _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm")
    _mount("-t", "devpts", "-o", "newinstance,ptmxmode=0666,mode=0620,gid=5", "devpts", "/dev/pts")
    if not os.path.islink("/dev/ptmx"):
        _mount("--bind", "/dev/pts/ptmx", "/dev/ptmx")
    # The queues are seen through a descriptor alone: whatever is mounted shows in containers.
    os.mkdir("/run/mqueue")
    _mount("-t", "mqueue", "mqueue", "/run/mqueue")
    Watch.queues = os.open("/run/mqueue", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    subprocess.run(["umount", "--lazy", "/run/mqueue"], check=True)
    os.rmdir("/run/mqueue")
    raise_device("lo")
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


def in_parts(count):
    """Runs the script `count` times at once, each in namespaces of its own, and ends with 1 if one
    of them failed. Returns which part this is; of itself when it cannot be isolated."""
    if PART in os.environ:
        return int(os.environ[PART]) if isolate() else None
    if os.geteuid() != 0 or in_user_namespace():
        return None
    running = [subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, PART: str(i)})
               for i in range(count)]
    sys.exit(1 if any([part.wait() for part in running]) else 0)


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


def _read(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cgroups():
    found = set()
    for point, _, _ in hierarchies():
        try:
            for path, directories, _ in os.walk(point):
                # Of others on a machine that is not ours alone only the name tells.
                found.update(f"{path}/{d}" for d in directories
                             if Watch.alone or "condroid-" in f"{path}/{d}")
        except OSError:
            pass
    return found


def namespaces(pids, table):
    """namespace -> what keeps it alive: processes and their descriptors, and mounts of it."""
    found = {}
    for pid in pids:
        for directory in ("ns", "fd"):
            try:
                names = os.listdir(f"/proc/{pid}/{directory}")
            except OSError:
                continue
            for name in names:
                try:
                    link = os.readlink(f"/proc/{pid}/{directory}/{name}")
                except OSError:
                    continue
                if link.endswith("]") and not link.startswith(("pipe:", "socket:", "anon_inode:")):
                    by = "" if directory == "ns" else f"descriptor {name} of "
                    found.setdefault(link, by + f"process {pid}")
    for fields, kind in table:
        if kind[0] == "nsfs":
            found.setdefault(fields[3], f"mount {fields[4]}")
    return found


def files():
    found = {}

    def note(path):
        try:
            at = os.lstat(path)
        except OSError:
            return None
        found[path] = f"{stat.filemode(at.st_mode)} of {at.st_uid}:{at.st_gid}"
        return at

    def walk(path, device, depth):
        try:
            names = os.listdir(path)
        except OSError:
            return
        for name in names:
            at = note(f"{path}/{name}")
            # What is mounted in there is somebody else's, a build directory for example.
            if at and stat.S_ISDIR(at.st_mode) and at.st_dev == device and depth > 1:
                walk(f"{path}/{name}", device, depth - 1)

    if Watch.alone:
        for directory in filter(os.path.isdir, DIRECTORIES):
            walk(directory, os.lstat(directory).st_dev, 5)
        return found
    patterns = list(FILES)
    if "XDG_RUNTIME_DIR" in os.environ:
        patterns.append(os.environ["XDG_RUNTIME_DIR"] + "/condroid*")
    for pattern in patterns:
        for path in glob.glob(pattern):
            if note(path) and os.path.isdir(path):
                walk(path, os.lstat(path).st_dev, 1)
    return found


def attribute(kind, value):
    return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data):
    """kind -> value"""
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("HH", data)
        found[kind & 0x3fff] = data[4:size]
        data = data[max(4, (size + 3) & ~3):]
    return found


def message(kind, flags, body):
    return struct.pack("IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, 1, 0) + body


def netlink(protocol, messages):
    """What the kernel answers to them, up to the first acknowledgement or the end of a dump."""
    answers = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as sock:
        sock.send(messages)
        while True:
            data = sock.recv(1 << 18)
            while data:
                size, kind, flags, _, _ = struct.unpack_from("IHHII", data)
                if flags & NLM_F_DUMP_INTR:
                    return netlink(protocol, messages)
                if kind == NLMSG_ERROR and (error := -struct.unpack_from("i", data, 16)[0]):
                    raise OSError(error, os.strerror(error))
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    return answers
                answers.append(data[16:size])
                data = data[(size + 3) & ~3:]


def route_request(kind, flags, body):
    return netlink(socket.NETLINK_ROUTE, message(kind, flags, body))


def make_cable(name, peer, index=0):
    """A veth, both ends of it down; with an index the very same each time."""
    def end(word, number):
        return struct.pack("BxHiII", 0, 0, number, 0, 0) + attribute(3, word.encode() + b"\0") + (
            attribute(1, bytes([2, 0, 0, 0, 0, number])) if index else b"")

    # IFLA_LINKINFO with IFLA_INFO_KIND and IFLA_INFO_DATA, of which VETH_INFO_PEER
    other = attribute(1, end(peer, index + 1 if index else 0))
    info = attribute(1, b"veth") + attribute(2, other)
    route_request(RTM_NEWLINK, NLM_F_ACK | NLM_F_NEW, end(name, index) + attribute(18, info))


def remove_device(name):
    route_request(RTM_DELLINK, NLM_F_ACK, struct.pack("BxHiII", 0, 0, 0, 0, 0) +
                  attribute(3, name.encode() + b"\0"))


def _body_of_address(device, address, bits):
    return struct.pack("BBBBi", socket.AF_INET, bits, 0, 0, socket.if_nametoindex(device)) + attribute(
        2, socket.inet_aton(address))  # IFA_LOCAL


def add_address(device, address, bits):
    route_request(RTM_NEWADDR, NLM_F_ACK | NLM_F_NEW, _body_of_address(device, address, bits))


def remove_address(device, address, bits):
    route_request(RTM_DELADDR, NLM_F_ACK, _body_of_address(device, address, bits))


def _body_of_route(device, to, bits, via):
    # Of table main, as if somebody had typed it
    return struct.pack("BBBBBBBBI", socket.AF_INET, bits, 0, 0, 254, 4, 0 if via else 253, 1, 0) + (
        attribute(1, socket.inet_aton(to)) +  # RTA_DST, RTA_OIF, RTA_GATEWAY
        attribute(4, struct.pack("I", socket.if_nametoindex(device))) +
        (attribute(5, socket.inet_aton(via)) if via else b""))


def add_route(device, to, bits, via=None):
    route_request(RTM_NEWROUTE, NLM_F_ACK | NLM_F_NEW, _body_of_route(device, to, bits, via))


def remove_route(device, to, bits, via=None):
    route_request(RTM_DELROUTE, NLM_F_ACK, _body_of_route(device, to, bits, via))


def change_table(kind, family, name):
    """NFT_MSG_NEWTABLE or NFT_MSG_DELTABLE"""
    batch = struct.pack(">BBH", 0, 0, 10)  # of nf_tables
    netlink(NETLINK_NETFILTER, message(NFNL_MSG_BATCH_BEGIN, 0, batch) +
            message(kind, NLM_F_ACK | (NLM_F_CREATE if kind == NFT_MSG_NEWTABLE else 0),
                    struct.pack("BBH", family, 0, 0) + attribute(1, name.encode() + b"\0")) +
            message(NFNL_MSG_BATCH_END, 0, batch))


def tables():
    """(family, name, how much is in it) of each"""
    try:
        found = netlink(NETLINK_NETFILTER,
                        message(NFT_MSG_GETTABLE, NLM_F_DUMP, struct.pack("BBH", 0, 0, 0)))
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT):
            return  # the kernel has none
        raise
    for data in found:
        has = attributes(data[4:])  # NFTA_TABLE_NAME, NFTA_TABLE_USE
        yield data[0], has[1][:-1].decode(), struct.unpack(">I", has[3])[0]


def _address(data):
    return socket.inet_ntop(socket.AF_INET6 if len(data) == 16 else socket.AF_INET, data)


def network():
    """(kind, what) -> state, of this network namespace"""
    seen, names = {}, {}
    for data in route_request(RTM_GETLINK, NLM_F_DUMP, bytes(16)):
        _, _, index, flags, _ = struct.unpack_from("BxHiII", data)
        has = attributes(data[16:])
        names[index] = name = has[3][:-1].decode()  # IFLA_IFNAME
        mtu, above = (struct.unpack("I", has.get(kind, bytes(4)))[0] for kind in (4, 10))
        seen["network device", name] = (
            f"{index}, {'up' if flags & IFF_UP else 'down'}, {has.get(1, b'').hex(':')}, mtu {mtu}"
            + (f", port of {above}" if above else ""))
    for data in route_request(RTM_GETADDR, NLM_F_DUMP, bytes(8)):
        _, bits, _, _, index = struct.unpack_from("BBBBi", data)
        has = attributes(data[8:])
        at = has.get(2, has.get(1))  # IFA_LOCAL, IFA_ADDRESS
        seen["address", f"{_address(at)}/{bits} of {names.get(index, index)}"] = ""
    for data in route_request(RTM_GETROUTE, NLM_F_DUMP, bytes(12)):
        family, bits, _, _, table, _, _, kind, flags = struct.unpack_from("BBBBBBBBI", data)
        if family not in (socket.AF_INET, socket.AF_INET6) or flags & 0x200:  # RTM_F_CLONED
            continue
        has = attributes(data[12:])
        any_address = bytes(16 if family == socket.AF_INET6 else 4)
        index, metric, table = (struct.unpack("I", has[key])[0] if key in has else otherwise
                                for key, otherwise in ((4, 0), (6, 0), (15, table)))
        seen["route", f"{_address(has.get(1, any_address))}/{bits}"
             + (f" via {_address(has[5])}" if 5 in has else "")
             + f" dev {names.get(index, index)} table {table} type {kind} metric {metric}"] = ""
    for family, name, use in tables():
        seen["table", f"{FAMILIES[family]} {name}"] = f"{use} things"
    return seen


def locks(known):
    """Of files in /run, or of those that are known: an address is leased by one, for example."""
    paths = {}
    for path in known:
        try:
            at = os.lstat(path)
            paths[at.st_dev, at.st_ino] = path
        except OSError:
            pass  # it went in between
    run = os.lstat("/run").st_dev if Watch.alone else None
    for line in _read("/proc/locks").splitlines():
        words = line.split(":", 1)[1].split()
        if len(words) != 7 or words[4].count(":") != 2:
            continue  # somebody waits for it, or it is of no file
        major, minor, inode = words[4].split(":")
        where = os.makedev(int(major, 16), int(minor, 16))
        path = paths.get((where, int(inode)))
        if path or where == run:
            yield f"{path or 'inode ' + inode} {words[0]} {words[2]} {words[5]}-{words[6]}"


def _mount_table():
    """Each mount's fields before and after the dash of mountinfo, proc(5)."""
    table = []
    for line in _read("/proc/self/mountinfo").splitlines():
        left, right = line.split(" - ")
        table.append((left.split(), right.split(" ")))
    return table


def _sockets():
    for line in _read("/proc/net/unix").splitlines()[1:]:
        fields = line.split(None, 7)
        if len(fields) > 7:
            yield fields[7]
        elif Watch.alone:
            yield f"without a name, inode {fields[6]}"


def _queues():
    """System V and POSIX. Those of others cannot be told from ours."""
    if not Watch.alone:
        return
    for kind in ("shm", "sem", "msg"):
        for line in _read(f"/proc/sysvipc/{kind}").splitlines()[1:]:
            yield f"{kind} {line.split()[1]}"
    for name in os.listdir(Watch.queues):
        yield f"mqueue /{name}"


def _expand(pattern):
    """The words of a{b,c}d, as a shell makes them."""
    if "{" not in pattern:
        return [pattern]
    before, rest = pattern.split("{", 1)
    words, after = rest.split("}", 1)
    return [before + word + tail for word in words.split(",") for tail in _expand(after)]


class Watch:
    """What there is now; left() says what is new, lost or changed later."""

    alone = False  # nobody else can have made what is new
    queues = -1  # a directory of POSIX message queues
    settings = [f"/proc/sys/{path}" for pattern in SETTINGS for path in _expand(pattern)]

    def __init__(self):
        self._before = self._look()

    @classmethod
    def _look(cls):
        """(kind, what) -> in which state it is"""
        below = descendants()
        table = _mount_table()
        seen = {("process", str(pid)): f"{name} ({state}), child of {parent}"
                for pid, (parent, state, name) in below.items()}
        for fields, kind in table:
            seen["mount", f"{fields[4]} ({kind[0]}, {fields[3]} of {kind[1]}), id {fields[0]}"] = \
                " ".join(fields[5:] + kind[2:])
        seen |= {("cgroup", c): "" for c in cgroups()}
        known = files()
        seen |= {("file", path): state for path, state in known.items()}
        seen |= {("lock", what): "" for what in locks(known)}
        pids = ([n for n in os.listdir("/proc") if n.isdigit()] if cls.alone
                else [os.getpid(), *below])
        seen |= {("namespace", ns): f"kept by {holder}"
                 for ns, holder in namespaces(pids, table).items()}
        seen |= {("socket", name): "" for name in _sockets()
                 if cls.alone or "condroid" in name}
        seen |= network() if cls.alone else {}
        seen |= {("terminal", path): "" for path in glob.glob("/dev/pts/*") if cls.alone}
        seen |= {("queue", name): "" for name in _queues()}
        seen |= {("loop device", path.split("/")[3] + " on " + _read(path).strip()): ""
                 for path in glob.glob("/sys/block/loop*/loop/backing_file")}
        seen |= {("setting", path): _read(path).strip() for path in cls.settings}
        return seen

    def left(self, settle=1.0):
        """List of (kind, what) that is still there, lost or changed after at most `settle` seconds."""
        began = time.monotonic()
        while True:
            reap()
            new = self._new(self._look())
            if not new or time.monotonic() - began > settle:
                return new
            time.sleep(0.005)

    def _new(self, now):
        new = []
        for key, state in now.items():
            kind, what = key
            if key not in self._before:
                new.append((kind, f"{what} {state}" if kind in KEPT else what))
            elif self.alone and kind not in KEPT and state != self._before[key]:
                new.append((kind, f"{what} changed from '{self._before[key]}' to '{state}'"))
        if self.alone:
            new += [(kind, f"{what} is gone") for kind, what in self._before.keys() - now.keys()
                    if kind not in KEPT]
        return sorted(new)

    def clean(self, left):
        """Ends and removes what was found, so that the next run starts anew."""
        clean(left)
        self._before = self._look()


def reap():
    """Zombies that were left to us."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def clean(left):
    for kind, what in left:
        if kind == "process":
            try:
                os.kill(int(what.split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                pass
    if left:
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
        if kind == "mount" and not what.endswith(" is gone") and " changed from " not in what:
            subprocess.run(["umount", "--lazy", what.split(" (")[0]], check=False)
        if kind == "file" and os.path.lexists(what):
            try:
                os.unlink(what) if not os.path.isdir(what) else os.rmdir(what)
            except OSError:
                pass
        words = what.split()  # what is new is named alone
        try:
            if kind == "network device" and len(words) == 1:
                remove_device(what)
            elif kind == "table" and len(words) == 2:
                change_table(NFT_MSG_DELTABLE, FAMILIES.index(words[0]), words[1])
        except OSError:
            pass  # it went with another one


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


def forward(wanted=True):
    """Makes a router of this network namespace, or it is none any more."""
    for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        pathlib.Path("/proc/sys/net", setting).write_text("1" if wanted else "0")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1, help="how often the command is run")
    parser.add_argument("--expect", default="0", metavar="STATUS",
                        help="the command's status, or any; 124 and more need words on stderr, too")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one run")
    parser.add_argument("--settle", type=float, default=5, help="seconds that leftovers may take")
    parser.add_argument("--as", dest="kind", help="a kind of user of as_user.sh")
    parser.add_argument("--forwards", action="store_true", help="the host is a router already")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.kind not in (None, "root"):
        helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "as_user.sh")
        options.command = [helper, options.kind] + options.command
    isolate()
    if options.forwards:
        forward()
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
    watch.clean(left)
    return 1 if left else status


if __name__ == "__main__":
    sys.exit(main())
