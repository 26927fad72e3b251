#!/usr/bin/env python3
"""Leaks one thing of each kind on purpose: leakwatch.py must see it, and nothing else.

As root: the things are made in the namespaces that leakwatch.isolate() makes.
"""
import ctypes
import fcntl
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import leakwatch  # noqa: E402

SKIPPED = 77
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def shell(text):
    subprocess.run(["sh", "-euc", text], check=True)


class Other:
    """A process that does something and stays; it must not count as what it did."""

    def __init__(self, body):
        ready, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            kept = body()  # noqa: F841 descriptors that are to stay open
            os.write(told, b".")
            while True:
                signal.pause()
        os.close(told)
        if os.read(ready, 1) != b".":
            raise RuntimeError("the other process failed")
        os.close(ready)

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def new_namespace(flag, entry):
    """A descriptor of a namespace that nobody is in."""
    holder = Other(lambda: call("unshare", flag))
    fd = os.open(f"/proc/{holder.pid}/ns/{entry}", os.O_RDONLY | os.O_CLOEXEC)
    holder.end()
    return fd


CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x04000000, 0x08000000, 0x40000000


# Each makes something and gives back how to undo it.

def process():
    other = Other(lambda: None)
    return other.end


def double_forked():
    shell("(setsid sleep 100 > /dev/null 2>&1 &)")
    # Ours now, the first process here. It may not have executed yet.
    return lambda: [os.kill(pid, signal.SIGKILL) for pid in leakwatch.descendants()]


def in_other_namespaces():
    other = Other(lambda: call("unshare", CLONE_NEWIPC))
    return other.end


def pinned_by_mount():
    pathlib.Path("/run/before/ns").touch()
    shell("unshare --uts=/run/before/ns true")
    return lambda: shell("umount /run/before/ns; rm /run/before/ns")


def pinned_by_descriptor():
    fd = new_namespace(CLONE_NEWNET, "net")
    return lambda: os.close(fd)


def mount_new():
    shell("mount -t tmpfs -o mode=0755 none /run/before/empty")
    return lambda: shell("umount /run/before/empty")


def mount_lost():
    shell("umount /run/before/mounted")
    return lambda: None


def mount_changed():
    shell("mount -o remount,bind,ro /run/before/kept")
    return lambda: shell("mount -o remount,bind,rw /run/before/kept")


def propagation_changed():
    shell("mount --make-shared /run/before/kept")
    return lambda: shell("mount --make-private /run/before/kept")


def cgroup():
    point = leakwatch.hierarchies()[0][0]
    os.mkdir(f"{point}/left-here")
    return lambda: os.rmdir(f"{point}/left-here")


def abstract_socket():
    fd = socket.socket(socket.AF_UNIX)
    fd.bind("\0left-here")
    return fd.close


def network_device():
    tap = os.open("/dev/net/tun", os.O_RDWR) if os.path.exists("/dev/net/tun") else -1
    if tap < 0:
        shell("ip link add left-here type dummy")
        return lambda: shell("ip link del left-here")
    fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"left-here", 0x1001))  # TUNSETIFF, IFF_TUN
    return lambda: os.close(tap)


def device_changed():
    def mtu(size):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, 0x8922, struct.pack("16si20x", b"lo", size))  # SIOCSIFMTU
    mtu(1400)
    return lambda: mtu(65536)


def address():
    leakwatch.add_address("lo", "192.0.2.1", 32)
    return lambda: leakwatch.remove_address("lo", "192.0.2.1", 32)


def route():
    leakwatch.add_route("lo", "198.51.100.0", 24)
    return lambda: leakwatch.remove_route("lo", "198.51.100.0", 24)


def table():
    leakwatch.change_table(leakwatch.NFT_MSG_NEWTABLE, 1, "left-here")
    return lambda: leakwatch.change_table(leakwatch.NFT_MSG_DELTABLE, 1, "left-here")


def lease():
    file = open("/run/before/file", "r+b")
    place = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1026, 1, 0)
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, place)
    return file.close


def lease_of_no_file():
    file = tempfile.TemporaryFile(dir="/run/before")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file.close


def terminal():
    pair = os.openpty()
    return lambda: [os.close(fd) for fd in pair]


def shared_memory():
    number = call("shmget", 0x1234, 4096, 0o1600)
    return lambda: call("shmctl", number, 0, None)


def semaphore():
    number = call("semget", 0x1234, 1, 0o1600)
    return lambda: call("semctl", number, 0, 0)


def message_queue():
    number = call("msgget", 0x1234, 0o1600)
    return lambda: call("msgctl", number, 0, None)


def posix_queue():
    libc_rt = ctypes.CDLL("librt.so.1", use_errno=True)
    fd = libc_rt.mq_open(b"/left-here", os.O_CREAT | os.O_RDWR, 0o600, None)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "mq_open")
    os.close(fd)
    return lambda: libc_rt.mq_unlink(b"/left-here")


def loop_device():
    path = "/run/before/disk"
    device = subprocess.run(["losetup", "--find", "--show", path], check=True,
                            capture_output=True, text=True).stdout.strip()
    return lambda: shell(f"losetup --detach {device}")


def host_name():
    old = socket.gethostname()
    socket.sethostname("left-here")
    return lambda: socket.sethostname(old)


def kernel_setting():
    path = pathlib.Path("/proc/sys/kernel/msgmax")
    old = path.read_text()
    path.write_text("12345")
    return lambda: path.write_text(old)


def file_new():
    pathlib.Path("/tmp/left-here").touch()
    return lambda: os.unlink("/tmp/left-here")


def file_deep():
    os.makedirs("/run/before/a/b", mode=0o700)
    return lambda: os.removedirs("/run/before/a/b")


def file_in_shm():
    pathlib.Path("/dev/shm/left-here").touch()
    return lambda: os.unlink("/dev/shm/left-here")


def file_lost():
    os.unlink("/run/before/file")
    return lambda: pathlib.Path("/run/before/file").touch()


def file_mode():
    os.chmod("/run/before/mode", 0o777)
    return lambda: os.chmod("/run/before/mode", 0o644)


def file_owner():
    os.chown("/run/before/mode", 1234, 0)
    return lambda: os.chown("/run/before/mode", 0, 0)


# What is made, as what kind it must be told, and with which words.
LEAKS = {
    process: ("process", "child of"),
    double_forked: ("process", "child of 1"),
    in_other_namespaces: ("namespace", "kept by process"),
    pinned_by_mount: ("namespace", "kept by mount /run/before/ns"),
    pinned_by_descriptor: ("namespace", "kept by descriptor"),
    mount_new: ("mount", "/run/before/empty"),
    mount_changed: ("mount", "/run/before/kept"),
    propagation_changed: ("mount", "/run/before/kept"),
    cgroup: ("cgroup", "/left-here"),
    abstract_socket: ("socket", "@left-here"),
    network_device: ("network device", "left-here"),
    device_changed: ("network device", "lo changed from"),
    address: ("address", "192.0.2.1/32 of lo"),
    route: ("route", "198.51.100.0/24 dev lo"),
    table: ("table", "inet left-here"),
    lease: ("lock", "/run/before/file OFDLCK WRITE 1026-1026"),
    lease_of_no_file: ("lock", "FLOCK WRITE"),
    terminal: ("terminal", "/dev/pts/"),
    shared_memory: ("queue", "shm"),
    semaphore: ("queue", "sem"),
    message_queue: ("queue", "msg"),
    posix_queue: ("queue", "mqueue /left-here"),
    loop_device: ("loop device", "/run/before/disk"),
    host_name: ("setting", "hostname changed from"),
    kernel_setting: ("setting", "msgmax changed from"),
    file_new: ("file", "/tmp/left-here"),
    file_deep: ("file", "/run/before/a/b"),
    file_in_shm: ("file", "/dev/shm/left-here"),
    file_lost: ("file", "/run/before/file is gone"),
    file_mode: ("file", "/run/before/mode changed from"),
    file_owner: ("file", "of 1234:0"),
    mount_lost: ("mount", "is gone"),  # the last: it does not come back the same
}
# What comes with it.
ALSO = {in_other_namespaces: {"process"}, pinned_by_mount: {"mount", "file"}, address: {"route"}}


def main():
    if not leakwatch.isolate():
        print("skipped: needs root of the machine", file=sys.stderr)
        return 1 if "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",") else SKIPPED
    os.makedirs("/run/before/empty")
    os.makedirs("/run/before/mounted")
    os.makedirs("/run/before/kept")
    shell("mount -t tmpfs -o mode=0755 none /run/before/mounted; mount -t tmpfs -o mode=0755 none /run/before/kept; "
          "truncate -s 1M /run/before/disk; touch /run/before/file; touch /run/before/mode; "
          "chmod 644 /run/before/mode")
    watch = leakwatch.Watch()
    began = time.monotonic()
    failed = [f"without a leak: {left}"] if (left := watch.left(0)) else []
    took = time.monotonic() - began
    for leak, (kind, words) in LEAKS.items():
        undo = leak()
        left = watch.left(0)
        if not any(k == kind and words in what for k, what in left):
            failed.append(f"{leak.__name__}: not seen among {left}")
        if other := [entry for entry in left if entry[0] not in {kind, *ALSO.get(leak, ())}]:
            failed.append(f"{leak.__name__}: also {other}")
        undo()
        if leak is not mount_lost and (left := watch.left(10)):
            failed.append(f"{leak.__name__}: still there when it was undone: {left}")
    leakwatch.make_cable("left0", "left1")
    leakwatch.change_table(leakwatch.NFT_MSG_NEWTABLE, 1, "left-here")
    watch.clean(watch.left(0))
    if other := [what for _, what in leakwatch.network() if "left" in what]:
        failed.append(f"not removed: {other}")
    for line in failed:
        print(f"FAILED {line}")
    print(f"{len(LEAKS)} leaks, {len(failed)} failures; one look takes {took * 1000:.1f} ms")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
