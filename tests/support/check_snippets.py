#!/usr/bin/env python3
"""Fails when a page shows other code than the file that it names, has C++ without naming one, or names a test that there is not.

usage: check_snippets.py SOURCE_ROOT

In README.md and docs/*.md a line

    <!-- examples/01_hello.cpp -->

names the file whose text the fenced block after it is: all of it, the comment at its top left out, or with
`<!-- examples/05_rootless.cpp: part -->` some of its lines, one after the other, indented as one likes.

In the tables of docs/security.md what stands in double quotes is the name of a test of tests/integration with the tag
[attack], and each of these is named there.
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


LITERALS = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'


def attacks_of(root: pathlib.Path) -> dict[str, bool]:
    """The names of all test cases of the integration program, and whether each has the tag [attack]."""
    found = {}
    for path in (root / "tests" / "integration").rglob("*.cpp"):
        for literals in re.findall(rf"TEST_CASE\(\s*{LITERALS},\s*{LITERALS}\)", path.read_text(encoding="utf-8")):
            name, tags = ("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text)) for text in literals)
            found[name] = "[attack]" in tags
    return found


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
                # Nobody would compile it.
                if text.splitlines()[number - 1] == "```cpp":
                    wrong.append(f"{page.relative_to(root)}:{number}: code that no file has")
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
    tests, attacks = attacks_of(root), set()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if not line.startswith("|"):
            continue
        # A word in quotes, such as "..", is none.
        for name in (name for name in re.findall(r'"([^"]+)"', line) if " " in name):
            attacks.add(name)
            if not tests.get(name):
                lacks = "has no tag [attack]" if name in tests else "is none of tests/integration"
                wrong.append(f"{page.relative_to(root)}:{number}: the test '{name}' {lacks}")
    for name in sorted(name for name, attack in tests.items() if attack and name not in attacks):
        wrong.append(f"{page.relative_to(root)}: no table names the attack '{name}'")
    for line in wrong:
        print(line)
    print(f"{count} snippets, {len(wrong)} wrong")
    sys.exit(1 if wrong or not count else 0)


main()
