#!/usr/bin/env python3
"""Shows that lines of a snippet do not compile, and for which reason.

usage: compile_fail.py SNIPPET BUILD_DIRECTORY

The snippet is compiled twice, with the command the build has for a file of a user. As it stands it must compile. With
CONDROID_WRONG defined it must not: the compiler must have an error for each line that ends with

    // wrong: deleted (function|constructor)

one that matches this regular expression, so that the line cannot fail for a reason of its own.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys


def user_command(build: pathlib.Path) -> tuple[list[str], str]:
    """The compiler and arguments of a self-contained header's file, without input and output, and where it runs."""
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        if not entry["file"].endswith("self_contained_version_hpp.cpp"):
            continue
        command, words = [], iter(shlex.split(entry["command"]))
        for word in words:
            if word in ("-o", "-MF", "-MQ"):
                next(words)
            elif word not in ("-c", "-MD", entry["file"]) and not word.endswith("ccache"):
                command.append(word)
        # A compiler behind ccache may be told to colour, and its words are compared.
        return [*command, "-fdiagnostics-color=never"], entry["directory"]
    sys.exit(f"{build}: no compile command of a self-contained header")


def compile_it(command: list[str], directory: str) -> tuple[bool, str]:
    env = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stderr


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    snippet = pathlib.Path(sys.argv[1]).resolve()
    command, directory = user_command(pathlib.Path(sys.argv[2]))
    lines = snippet.read_text(encoding="utf-8").splitlines()
    marked = ((number, re.search(r"// wrong: (.+)$", line)) for number, line in enumerate(lines, 1))
    wanted = {number: found[1] for number, found in marked if found}
    if not wanted:
        sys.exit(f"{snippet}: no line with '// wrong: REGULAR EXPRESSION'")

    command = [*command, "-fsyntax-only", "-fdiagnostics-color=never", "-Werror=unused-result", str(snippet)]
    compiled, errors = compile_it(command, directory)
    if not compiled:
        sys.exit(f"{snippet}: does not compile even as it stands:\n{errors}")
    compiled, errors = compile_it([*command, "-DCONDROID_WRONG"], directory)
    if compiled:
        sys.exit(f"{snippet}: compiles with CONDROID_WRONG, which it must not")
    for number, expression in wanted.items():
        place = rf"{re.escape(str(snippet))}:{number}:\d+: error: .*(?:{expression})"
        if not (found := re.search(place, errors)):
            sys.exit(f"{snippet}:{number}: has no error like /{expression}/:\n{errors}")
        print(found[0])


main()
