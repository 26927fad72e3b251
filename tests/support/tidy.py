#!/usr/bin/env python3
"""Reads the sources of the library and its programs with clang-tidy, by the checks of .clang-tidy.

usage: tidy.py [--jobs N] CLANG_TIDY BUILD_DIRECTORY [SOURCE...]

Nearly all of the time goes to the headers, so files that are compiled alike are read together: those of the library as a
unity build has them, programs and their commands each in a namespace of its own. What does not compile that way is read
alone. BUILD_DIRECTORY is configured with clang and without precompiled headers; its tidy/log has what clang-tidy
said in full, with the steps that lead to a finding of the analyzer. The status is 1 when there is a finding. Checks that
look at the main file alone, misc-unused-using-decls and misc-unused-alias-decls, see nothing of what is read together.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOGETHER = 17
# The analyzer's steps per function: a sixth of what it takes by default, and a third of the time of a file.
STEPS = 40000

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
FINDING = re.compile(r"^(.+?):(\d+):(\d+): (?:warning|error|fatal error): ")


@dataclasses.dataclass
class Batch:
    """Sources that are compiled alike, and how."""

    directory: pathlib.Path
    flags: list[str]
    sources: list[pathlib.Path]


def flags_of(command: str) -> list[str]:
    """The compiler's options, without what names this one file or its target."""
    flags, skip = [], True
    for word in shlex.split(command):
        if skip:
            skip = False
        elif word in ("-o", "-c", "-MF", "-MQ"):
            skip = True
        elif word != "-MD" and not re.fullmatch(r"-I\S+\.p", word):
            flags.append(word)
    return flags


def batches_of(build: pathlib.Path, wanted: set[pathlib.Path]) -> list[Batch]:
    """Takes the sources that it found from `wanted`."""
    alike: dict[tuple[str, ...], Batch] = {}
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        directory = pathlib.Path(entry["directory"])
        source = (directory / entry["file"]).resolve()
        if source in wanted:
            wanted.remove(source)
            flags = flags_of(entry["command"])
            alike.setdefault((*flags,), Batch(directory, flags, [])).sources.append(source)
    return [
        Batch(batch.directory, batch.flags, batch.sources[at : at + TOGETHER])
        for batch in alike.values()
        for at in range(0, len(batch.sources), TOGETHER)
    ]


def includes_of(source: pathlib.Path) -> list[str]:
    found = []
    for line in source.read_text(encoding="utf-8").splitlines():
        if include := INCLUDE.match(line):
            beside = source.parent / include[2]
            ours = include[1] == '"' and beside.exists()
            found.append(f'#include "{beside}"' if ours else f"#include <{include[2]}>")
    return found


def unified(sources: list[pathlib.Path]) -> str:
    """One source that includes all of them."""
    first: list[str] = []
    rest: list[str] = []
    for number, source in enumerate(sources):
        include = f'#include "{source}"  // NOLINT(bugprone-suspicious-include)'
        # A file with a header of its name, and one of the library, defines what others know.
        if ROOT / "examples" not in source.parents or source.with_suffix(".hpp").exists():
            rest.append(include)
        else:
            first += includes_of(source)
            rest.append(f"namespace unified_{number} {{\n{include}\n}}")
    # The kernel's headers give way to those of libc, not the other way round.
    first = sorted(dict.fromkeys(first), key=lambda line: "<linux/" in line)
    return "\n".join(first + rest) + "\n"


class Reader:
    def __init__(self, tidy: str, out: pathlib.Path):
        self.tidy = tidy
        self.out = out

    def run(self, batch: Batch, main: pathlib.Path) -> str:
        flags = [*batch.flags, "-Wno-error", "-ferror-limit=0", *f"-Xclang -analyzer-config -Xclang max-nodes={STEPS}".split()]
        command = [self.tidy, "--quiet", f"--config-file={ROOT}/.clang-tidy", str(main), "--", *flags]
        done = subprocess.run(command, cwd=batch.directory, capture_output=True, text=True, check=False)
        if done.returncode != 0 and "error:" not in done.stdout:
            return f"{main}:1:1: error: clang-tidy ended with {done.returncode}\n{done.stdout}{done.stderr[-2000:]}"
        return done.stdout

    def read(self, number: int, batch: Batch) -> str:
        alone: list[pathlib.Path] = []
        together = batch.sources
        said = ""
        while len(together) > 1:
            # By this name the analyzer knows that what is included are no headers.
            main = self.out / f"UnifiedSource-{number}.cpp"
            main.write_text(unified(together), encoding="utf-8")
            said = self.run(batch, main)
            if "error:" not in said:
                break
            heads = [finding[0] for finding in findings_of(said, batch.directory)]
            wrong = {head.split(":")[0] for head in heads if "error:" in head}
            apart = [source for source in together if str(source.relative_to(ROOT)) in wrong] or together
            alone += apart
            together = [source for source in together if source not in apart]
            said = ""
        if len(together) == 1:
            alone += together
        return said + "".join(self.run(batch, source) for source in alone)


def findings_of(said: str, directory: pathlib.Path) -> list[list[str]]:
    """Each with the lines that follow it; paths begin at the root."""
    found: list[list[str]] = []
    for line in said.splitlines():
        if at := FINDING.match(line):
            path = (directory / at[1]).resolve()
            inside = path.relative_to(ROOT) if ROOT in path.parents else path
            found.append([f"{inside}{line[len(at[1]) :]}"])
        elif found:
            found[-1].append(line)
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("tidy")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("sources", nargs="*", type=pathlib.Path)
    args = parser.parse_args()

    sources = args.sources or [path for folder in ("src", "examples") for path in (ROOT / folder).rglob("*.cpp")]
    wanted = {source.resolve() for source in sources}
    count = len(wanted)
    batches = batches_of(args.build, wanted)
    status = 0
    for source in sorted(wanted):
        # One without code is there for meson.
        if any(line.strip() and not line.startswith("//") for line in source.read_text(encoding="utf-8").splitlines()):
            print(f"{source.relative_to(ROOT)}: is compiled by nothing in {args.build}, and was not read")
            status = 1

    out = args.build.resolve() / "tidy"
    out.mkdir(exist_ok=True)
    reader = Reader(args.tidy, out)
    seen: set[str] = set()
    began = time.monotonic()
    with (
        open(out / "log", "w", encoding="utf-8") as log,
        concurrent.futures.ThreadPoolExecutor(args.jobs) as pool,
    ):
        for batch, said in zip(batches, pool.map(reader.read, range(len(batches)), batches)):
            names = " ".join(str(source.relative_to(ROOT)) for source in batch.sources)
            print(f"-- {time.monotonic() - began:.0f} s: {names}\n{said}", file=log, flush=True)
            for finding in findings_of(said, batch.directory):
                if finding[0] not in seen:
                    seen.add(finding[0])
                    print("\n".join(finding[:3]), flush=True)
    print(f"{count} files, {len(seen)} findings; all about them in {out / 'log'}")
    return 1 if seen else status


if __name__ == "__main__":
    sys.exit(main())
