#!/usr/bin/env python3
"""Fails C++ that clang-format would write differently; with --fix it is written so.

usage: check_format.py SOURCE_ROOT [--fix] [FILE...]

The settings are in .clang-format; version 14 decides, since others break lines elsewhere. Tables that are better as they were
written stand between `// clang-format off` and `// clang-format on`. Without files, all of ours.
"""

import difflib
import pathlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

FOLDERS = ("include", "src", "tests", "examples")
SHOWN = 20


def formatter() -> str:
    for name in ("clang-format-14", "clang-format"):
        if found := shutil.which(name):
            version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
            if re.search(r"version 14\.", version):
                return found
    sys.exit("no clang-format of version 14 here")


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--fix"]
    if not words:
        sys.exit(__doc__)
    root, fix, program = pathlib.Path(words[0]).resolve(), "--fix" in sys.argv, formatter()
    files = [pathlib.Path(word).resolve() for word in words[1:]] or [
        path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.suffix in (".cpp", ".hpp")
    ]

    def formatted(path: pathlib.Path) -> tuple[str, str]:
        done = subprocess.run([program, "--style=file", str(path)], capture_output=True, text=True, check=True)
        return path.read_text(encoding="utf-8"), done.stdout

    wrong = 0
    with ThreadPoolExecutor() as pool:
        for path, (now, wanted) in zip(files, pool.map(formatted, files)):
            if now == wanted:
                continue
            wrong += 1
            if fix:
                path.write_text(wanted, encoding="utf-8")
            else:
                name = str(path.relative_to(root))
                changes = difflib.unified_diff(now.splitlines(), wanted.splitlines(), name, "clang-format", n=0, lineterm="")
                print("\n".join(list(changes)[:SHOWN]))
    print(f"{len(files)} files, {wrong} {'rewritten' if fix else 'wrong; check_format.py ROOT --fix writes them'}")
    sys.exit(1 if wrong and not fix else 0)


main()
