#!/usr/bin/env python3
"""expect_output.py [--as KIND] [--own-network] REGEX COMMAND...: runs a command, shows what it prints, and fails unless
it ends with status 0 and its output (both streams) has a match of REGEX. --as goes through as_user.sh."""
import os
import re
import subprocess
import sys

args = sys.argv[1:]
before = []
if args[0] == "--as":
    if args[1] != "root":
        before = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "as_user.sh"), args[1]]
    elif os.geteuid() != 0:
        must = "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",")
        print("skipped: needs root")
        sys.exit(1 if must else 77)
    args = args[2:]
if args[0] == "--own-network":
    raise_loopback = (
        "import fcntl, os, socket, struct, sys\n"
        "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh22x', b'lo', 1))\n"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    before = ["unshare", "--net", sys.executable, "-c", raise_loopback] + before
    args = args[1:]
expected, command = args[0].encode().decode("unicode_escape"), args[1:]
ran = subprocess.run(before + command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
output = ran.stdout.decode(errors="replace")
print(output)
if ran.returncode != 0:
    sys.exit(f"status {ran.returncode}, not 0")
if not re.search(expected, output):
    sys.exit(f"no match of {expected!r} in the output")
