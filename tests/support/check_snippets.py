#!/usr/bin/env python3
"""Fails when a page shows other code than the file that it names, or names a test that there is not.

usage: check_snippets.py SOURCE_ROOT

In README.md and docs/*.md a line

    <!-- examples/01_hello.cpp -->

names the file whose text the fenced block after it is: all of it, the comment at its top left out, or with
`<!-- examples/05_rootless.cpp: part -->` some of its lines, one after the other, indented as one likes.

In the tables of docs/security.md what stands in double quotes is the name of a test.
"""

import pathlib
import re
import sys
import textwrap

NAMED = re.compile(r"<!-- ([\w./-]+\.(?:cpp|hpp|sh|py))(: part)? -->")


def blocks(text: str):
    """(line number, text, the line before) of every fenced block."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        if re.fullmatch(r"```\w*", lines[number]):
            end = lines.index("```", number + 1)
            yield number + 1, "\n".join(lines[number + 1 : end]), lines[number - 1] if number else ""
            number = end
        number += 1


def shows(file: str, block: str, part: bool) -> bool:
    if not part:
        without_comment = re.sub(r"\A(?://[^\n]*\n)+", "", file)
        return block.rstrip("\n") in (file.rstrip("\n"), without_comment.rstrip("\n"))
    wanted, lines = block.splitlines(), file.splitlines()
    windows = (lines[at : at + len(wanted)] for at in range(len(lines) - len(wanted) + 1))
    return any(textwrap.dedent("\n".join(window)) == textwrap.dedent(block) for window in windows)


def tests_of(root: pathlib.Path) -> set[str]:
    """The names of all test cases."""
    names = set()
    for path in (root / "tests").rglob("*.cpp"):
        for literals in re.findall(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+),', path.read_text(encoding="utf-8")):
            names.add("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)))
    return names


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    wrong, count = [], 0
    for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        used = 0
        for number, block, before in blocks(text):
            named = NAMED.fullmatch(before)
            if named is None:
                continue
            used += 1
            place = f"{page.relative_to(root)}:{number}"
            path = root / named[1]
            if not path.is_file():
                wrong.append(f"{place}: there is no {named[1]}")
            elif not shows(path.read_text(encoding="utf-8"), block, bool(named[2])):
                wrong.append(f"{place}: is not the text of {named[1]}")
        if used != len(NAMED.findall(text)):
            wrong.append(f"{page.relative_to(root)}: a file is named, but no fenced block follows it")
        count += used
    page = root / "docs" / "security.md"
    tests = tests_of(root)
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        # A word in quotes, such as "..", is none.
        named = [name for name in re.findall(r'"([^"]+)"', line) if " " in name]
        if line.startswith("|"):
            wrong += [f"{page.relative_to(root)}:{number}: there is no test '{name}'" for name in named if name not in tests]
    for line in wrong:
        print(line)
    print(f"{count} snippets, {len(wrong)} wrong")
    sys.exit(1 if wrong or not count else 0)


main()
