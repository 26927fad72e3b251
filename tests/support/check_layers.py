#!/usr/bin/env python3
"""Fails an #include that points the wrong way.

usage: check_layers.py SOURCE_ROOT [--lists]

Every file of include/condroid and src belongs to a layer, by its folder or, at the top, by its name. The table says which
other layers it may include. Beside that: users' translation units see the C++ standard library, fmt and tl::expected, and
no macro of ours; a unit test includes the header under test first. --lists also checks that meson knows every file.
"""

import pathlib
import re
import sys

# Layer -> what it may include, beside itself.
ARROWS = {
    "base": set(),
    # Compiled ahead for the others.
    "pch": set(),
    # The kernel's constants and structs are plain data that the program has to spell for itself, too.
    "sys": {"base", "program/kernel.hpp", "program/kernel_bits.hpp"},
    "spec": {"base"},
    "config": {"base", "spec"},
    # A device is a Spec; to prepare and to launch one takes the machine.
    "android": {"base", "spec", "sys", "plan", "launch", "container"},
    "plan": {"base", "spec", "sys/facts.hpp", "config/apparmor_rules.hpp"},
    # What the child sends to the kernel is made of the same messages as what the host sends.
    "program": {"base", "spec", "plan", "sys/netlink_message.hpp"},
    # Shares headers of the program with the library, nothing else: it is freestanding.
    "zygote": {"program"},
    "probe": {"program"},
    # The running handle: its header knows nothing of launching; the other way round a launch hands one out.
    "container": {"base", "sys", "spec"},
    "builder": {"base", "spec"},
    "launch": {"base", "sys", "spec", "plan", "program", "container", "builder", "probe/format.hpp"},
    "control": {"base", "sys", "spec", "plan", "launch", "container", "builder", "config", "program/kernel_bits.hpp"},
    "lxc": {"base", "sys", "spec", "plan", "launch", "container", "builder", "config", "control"},
    # A library of its own, condroid-testing.
    "images": {"base", "sys"},
    "testing": {"base", "sys", "spec", "plan", "launch", "container", "builder", "images"},
    "umbrella": {"base", "sys", "spec", "config", "android", "plan", "launch", "container", "builder", "control"},
}

# Files at the top of include/condroid and src, by name without suffix. All others there are base.
TOP = {
    "spec": "spec",
    "plan": "plan",
    "runtime": "launch",
    "attach": "launch",
    "pool": "launch",
    "run": "launch",
    "host": "launch",
    "learn": "launch",
    "notify": "launch",
    "registry": "launch",
    "relay": "launch",
    "launch": "launch",
    "container": "container",
    "stats": "container",
    "watch": "container",
    "builder": "builder",
    "lxc": "lxc",
    "image_store": "images",
    "testing": "testing",
    "condroid": "umbrella",
}

# What the freestanding headers of the program and the zygote may take from outside.
FREESTANDING = re.compile(r"std(int|def|arg|bool)\.h|type_traits|cstdint|cstddef|asm/unistd\.h|linux/[a-z0-9_/]+\.h")
FREESTANDING_FILES = ("src/zygote/", "src/probe/", "src/program/format.hpp", "src/program/interpreter.hpp")
# The C++ library (its headers have neither a folder nor a suffix), fmt and tl::expected.
PUBLIC = re.compile(r"[a-z_0-9]+|fmt/[a-z]+\.h|tl/expected\.hpp")
# What a framework for tests is shown to: by file, what it may include beside those.
ADAPTERS = {
    "include/condroid/testing/catch2.hpp": re.compile(r"catch2/[a-z_]+(/[a-z_]+)?\.hpp"),
    "include/condroid/testing/gtest.hpp": re.compile(r"gtest/gtest\.h"),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
DEFINE = re.compile(r"^\s*#\s*define\s+(\w+)")


def layer_of(inside: str) -> str:
    """The layer of a path inside include/condroid or src."""
    folder, _, rest = inside.partition("/")
    return folder if rest else TOP.get(folder.rsplit(".", 1)[0].removesuffix(".hpp"), "base")


class Checker:
    def __init__(self, root: pathlib.Path):
        self.root = root
        self.wrong: list[str] = []

    def say(self, path: pathlib.Path, line: int, what: str) -> None:
        self.wrong.append(f"{path.relative_to(self.root)}:{line}: {what}")

    def resolve(self, path: pathlib.Path, name: str) -> str | None:
        """A path inside include/condroid or src, if `name` is one of ours."""
        if name.startswith("condroid/"):
            return name.removeprefix("condroid/")
        if (self.root / "src" / name).exists():
            return name
        beside = path.parent / name
        if beside.exists():
            return str(beside.resolve().relative_to(self.root / "src"))
        return None

    def check_file(self, path: pathlib.Path, inside: str, public: bool) -> None:
        layer = layer_of(inside)
        if layer not in ARROWS:
            self.say(path, 1, f"no layer '{layer}' in {pathlib.Path(__file__).name}")
            return
        shown = str(path.relative_to(self.root))
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if public and (define := DEFINE.match(text)):
                self.say(path, number, f"macro {define[1]} in a public header")
            include = INCLUDE.match(text)
            if not include:
                continue
            name = include[2]
            ours = self.resolve(path, name)
            if ours is None:
                if name.startswith("../") or (include[1] == '"' and "_" not in name):
                    self.say(path, number, f'"{name}" is not found from src/ or include/')
                elif shown in ADAPTERS and ADAPTERS[shown].fullmatch(name):
                    pass
                elif public and not PUBLIC.fullmatch(name):
                    self.say(path, number, f"<{name}> in a public header: only the C++ library, fmt and tl::expected")
                elif shown.startswith(FREESTANDING_FILES) and not FREESTANDING.fullmatch(name):
                    self.say(path, number, f"<{name}> in a freestanding file")
                continue
            if public and not name.startswith("condroid/"):
                self.say(path, number, f"private header {name} in a public one")
            target = layer_of(ours)
            if target != layer and target not in ARROWS[layer] and ours not in ARROWS[layer]:
                self.say(path, number, f"{layer} may not include {target} ({name})")

    def check_unit_test(self, path: pathlib.Path) -> None:
        inside = str(path.relative_to(self.root / "tests/unit")).removesuffix("_test.cpp") + ".hpp"
        public, private = self.root / "include/condroid" / inside, self.root / "src" / inside
        wanted = f"condroid/{inside}" if public.exists() else inside if private.exists() else None
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if include := INCLUDE.match(text):
                if wanted is not None and include[2] != wanted:
                    self.say(path, number, f"the first include is the header under test, {wanted}")
                return

    def check_lists(self) -> None:
        """Every source and public header stands in a meson.build on a line of its own."""
        for folder, listing, suffix in (
            ("include/condroid", "include/condroid/meson.build", ".hpp"),
            ("src", "src/meson.build", ".cpp"),
            ("tests/unit", "tests/unit/meson.build", ".cpp"),
            ("tests/integration", "tests/integration/meson.build", "_test.cpp"),
        ):
            listed = set(re.findall(r"^\s*'([^']+)',$", (self.root / listing).read_text(), re.M))
            for path in sorted((self.root / folder).rglob("*" + suffix)):
                inside = str(path.relative_to(self.root / folder))
                if inside not in listed and not inside.startswith(("zygote/", "probe/")):
                    self.wrong.append(f"{folder}/{inside}: not in {listing}")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    checker = Checker(pathlib.Path(sys.argv[1]).resolve())
    count = 0
    for top, public in (("include/condroid", True), ("src", False)):
        base = checker.root / top
        for path in sorted(base.rglob("*")):
            if path.suffix in (".hpp", ".cpp"):
                checker.check_file(path, str(path.relative_to(base)), public)
                count += 1
    for path in sorted((checker.root / "tests/unit").rglob("*_test.cpp")):
        checker.check_unit_test(path)
    if "--lists" in sys.argv[2:]:
        checker.check_lists()
    for line in checker.wrong:
        print(line)
    print(f"{count} files, {len(checker.wrong)} wrong")
    sys.exit(1 if checker.wrong else 0)


main()
