#!/usr/bin/env python3
"""Fails a wrap file that meson could not use, or that nothing asks for.

usage: check_wraps.py SOURCE_ROOT

What can be known without a network: every subprojects/*.wrap parses, its archive comes over https with a name and a SHA-256, its
[provide] names are what a meson.build of ours asks dependency() for, and a patch directory is there, of the same version. That
the archives build is tried by tests/run.sh.
"""

import configparser
import pathlib
import re
import sys

# What a dependency is called where a project's own build files provide it by more names than we use.
UNUSED = {"catch2-with-main"}


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    wrong = []
    builds = [root / "meson.build"]
    for folder in ("src", "tests", "examples"):
        builds += (root / folder).rglob("meson.build")
    asked = {
        name.lower()
        for build in builds
        for words in re.findall(r"\bdependency\(([^)]*)\)", build.read_text(encoding="utf-8"))
        for name in re.findall(r"(?<![:\w] )'([\w-]+)'", words)
    }
    wraps = sorted((root / "subprojects").glob("*.wrap"))
    for path in wraps:

        def say(what: str, wrap: str = path.name) -> None:
            wrong.append(f"subprojects/{wrap}: {what}")

        parsed = configparser.ConfigParser(interpolation=None)
        try:
            parsed.read(path, encoding="utf-8")
            wrap, provided = parsed["wrap-file"], parsed["provide"]
        except (configparser.Error, KeyError) as error:
            say(f"does not parse: {error}")
            continue
        directory = wrap.get("directory", "")
        if not re.fullmatch(r"https://\S+\.(tar\.gz|tar\.xz|zip)", wrap.get("source_url", "")):
            say("source_url is no archive over https")
        if not re.fullmatch(r"[0-9a-f]{64}", wrap.get("source_hash", "")):
            say("source_hash is no SHA-256")
        if not wrap.get("source_filename", "").startswith(directory) or not directory:
            say("source_filename and directory do not belong together")
        for name, variable in provided.items():
            if name not in asked | UNUSED:
                say(f"provides '{name}', which no meson.build asks for")
            if not re.fullmatch(r"\w+", variable):
                say(f"'{variable}' is no variable of meson")
        if patch := wrap.get("patch_directory"):
            build = root / "subprojects/packagefiles" / patch / "meson.build"
            text = build.read_text(encoding="utf-8") if build.is_file() else ""
            if not text:
                say(f"there is no packagefiles/{patch}/meson.build")
            elif not re.search(rf"\bversion: '{re.escape(directory.rpartition('-')[2])}'", text):
                say(f"packagefiles/{patch}/meson.build is not of the version of {directory}")
            for name, variable in provided.items():
                if f"override_dependency('{name}'" not in text or not re.search(rf"^{variable} =", text, re.M):
                    say(f"packagefiles/{patch}/meson.build does not provide '{name}' as {variable}")
    for line in wrong:
        print(line)
    print(f"{len(wraps)} wrap files, {len(wrong)} wrong")
    sys.exit(1 if wrong or not wraps else 0)


main()
