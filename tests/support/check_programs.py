#!/usr/bin/env python3
"""Reads the programs that the library embeds, the zygote first, the way the kernel will.

    check_programs.py [--no-canary] FILE...

Fails where a segment is writable and executable, where the stack is, where a program is asked to
interpret it, or where something is left to be found or moved when it starts. Of one that has its
symbols still: where a constructor would have to be run before it begins, which nobody does, or
where no function looks at a canary (--no-canary: this compiler has none for them).
"""
import struct
import sys

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 1, 2, 3, 0x6474E551
EXECUTE, WRITE = 1, 2
ET_EXEC = 2
CANARY = "--no-canary" not in sys.argv
LARGEST = 128 << 10  # a debug build of clang's has 70 KiB


def problems(data):
    if data[:6] != b"\x7fELF\x02\x01":
        return ["is no 64-bit ELF file of little endian"]
    kind, = struct.unpack_from("<H", data, 16)
    entry, offset = struct.unpack_from("<QQ", data, 24)
    size, count = struct.unpack_from("<HH", data, 54)
    wrong = []
    if kind != ET_EXEC:
        wrong.append(f"is of type {kind}, and nobody would relocate it")
    stack = None
    loaded = 0
    entered = False
    for i in range(count):
        what, flags, _, address, _, filled, memory, _ = struct.unpack_from("<IIQQQQQQ", data,
                                                                      offset + i * size)
        if what == PT_GNU_STACK:
            stack = flags
        if what == PT_LOAD:
            loaded += filled
            if flags & WRITE and flags & EXECUTE:
                wrong.append(f"segment {i} is writable and executable")
            if address <= entry < address + memory:
                entered = bool(flags & EXECUTE) and not flags & WRITE
        if what == PT_INTERP:
            wrong.append("asks for an interpreter")
        if what == PT_DYNAMIC:
            wrong.append("has something to be linked when it starts")
    if loaded > LARGEST:
        wrong.append(f"has {loaded} bytes: something was linked into it")
    wrong += problems_of_sections(data)
    if stack is None:
        wrong.append("does not say what its stack may do, which lets it be executable")
    elif stack & EXECUTE:
        wrong.append("has an executable stack")
    if not entered:
        wrong.append("does not begin in a segment of code")
    return wrong


def problems_of_sections(data):
    table, = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    if count == 0:
        return []
    sections = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    texts = sections[names][4]
    found = {data[texts + s[0]:data.index(b"\0", texts + s[0])].decode(): s for s in sections}
    wrong = []
    if any(s[1] in (14, 15, 16) and s[5] for s in sections):  # arrays of functions to be run
        wrong.append("has a constructor that nobody runs")
    _, _, _, _, offset, length = found.get(".strtab", (0,) * 6)
    if CANARY and b"\0__stack_chk_fail\0" not in data[offset:offset + length]:
        wrong.append("has no canary")
    return wrong


def spoiled(data):
    """The same with all segments writable and executable: what has to be found."""
    size, count = struct.unpack_from("<HH", data, 54)
    offset, = struct.unpack_from("<Q", data, 32)
    copy = bytearray(data)
    for i in range(count):
        struct.pack_into("<I", copy, offset + i * size + 4, EXECUTE | WRITE | 4)
    return bytes(copy)


def main(paths):
    failed = not paths
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        found = problems(data)
        if not found and len(problems(spoiled(data))) < 3:
            found = ["this check finds nothing in a program that is wrong"]
        for wrong in found:
            print(f"{path}: {wrong}")
        failed = failed or bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([a for a in sys.argv[1:] if a != "--no-canary"]))
