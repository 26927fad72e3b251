#!/usr/bin/env python3
"""A test program that is killed takes its boxes along, whenever that is.

    killed_boxes_test.py MANY_BOXES PAYLOAD

Kills it again and again, each time at another moment (CONDROID_SEED repeats them), and looks for
whatever is left of its boxes, its pool and its zygote on the machine. Needs root.
"""
import glob
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../support"))
import leakwatch  # noqa: E402

SKIPPED = 77
TIMES = 12


def boxes():
    """How many processes there are whose parent is a zygote, or is on its way to be a container."""
    names, parents = {}, []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        names[int(status.parent.name)] = fields["Name"]
        parents.append(int(fields["PPid"]))
    return sum(names.get(parent) == "condroid-zygote" for parent in parents)


def main():
    must = "root" in os.environ.get("CONDROID_MUST_RUN", "").split(",")
    if not leakwatch.isolate():
        print("skipped: needs root of the machine", file=sys.stderr)
        return 1 if must else SKIPPED
    seed = int(os.environ.get("CONDROID_SEED", time.time_ns() % 10**6))
    print(f"CONDROID_SEED={seed}")
    moments = random.Random(seed)
    many_boxes, payload = (os.path.abspath(path) for path in sys.argv[1:3])
    watch = leakwatch.Watch()
    failed = with_boxes = 0
    for turn in range(TIMES):
        moment = moments.uniform(0.0, 1.2)
        program = subprocess.Popen([many_boxes, "1000000", payload], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL)
        # Half of them once it has got so far, however long that takes.
        until = time.monotonic() + 60
        while turn % 2 == 0 and not boxes() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(moment)
        there = boxes()
        with_boxes += there > 0
        program.kill()
        if (status := program.wait()) != -9:
            print(f"FAILED after {moment:.3f} s: it had ended with status {status}")
            failed += 1
        # The root that the program made, and its cache, are its own and nobody else's to remove.
        for path in glob.glob("/tmp/condroid-many.*"):
            shutil.rmtree(path)
        if left := watch.left(10.0):
            print(f"FAILED after {moment:.3f} s, with {there} boxes: " +
                  "; ".join(f"{kind} {what}" for kind, what in left))
            failed += 1
            leakwatch.clean(left)
            watch = leakwatch.Watch()
    print(f"killed {TIMES} times, {with_boxes} of them with boxes; {failed} failed")
    return 1 if failed or with_boxes == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
