#!/bin/sh
# usage: run.sh cmake|pkgconfig BUILD_DIRECTORY SOURCE_DIRECTORY
#        run.sh subproject NEW_BUILD_DIRECTORY SOURCE_DIRECTORY [MESON_OPTION...]
#
# Installs condroid from its build directory into an empty tree, builds the consumer of that name and the first example
# against it, with the tools and the words its own users would have, and runs them: the example launches a container, with
# the zygote that was installed.
set -eu
kind=$1 build=$2 source=$3
shift 3
: "${CXX:=c++}"
export CXX

# expect PROGRAM WORDS: the program prints these and nothing else, and ends with status 0.
expect() {
  said=$("$1" 2>&1) || { echo "$1: status $?, it said '$said'" >&2; exit 1; }
  test "$said" = "$2" || { echo "$1: said '$said', not '$2'" >&2; exit 1; }
}
# suite PROGRAM: a suite by GoogleTest whose tests pass, and whose one that is to fail shows why. Leaves nothing behind.
suite() {
  busybox=$(command -v busybox) || { echo "$1: no busybox here" >&2; exit 1; }
  for directory in bin dev etc proc sys tmp; do mkdir -p "$work/root/$directory"; done
  chmod 755 "$work" "$work/root"
  cp "$busybox" "$work/root/bin/busybox"
  for applet in sh cat test; do ln -s busybox "$work/root/bin/$applet"; done
  export BUSYBOX_ROOT="$work/root" XDG_CACHE_HOME="$work/cache"
  "$1" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  grep -q 'PASSED.* 3 tests' "$work/log" || { cat "$work/log" >&2; exit 1; }
  ! "$1" --gtest_also_run_disabled_tests --gtest_filter='*Fails' > "$work/log" 2>&1 || { echo "$1: it passed" >&2; exit 1; }
  for words in 'told so' 'its plan' 'exited with status 1'; do
    grep -q "$words" "$work/log" || { echo "$1: no '$words' in:" >&2; cat "$work/log" >&2; exit 1; }
  done
}
version=$(sed -n "s/^  version: '\([0-9.]*\)',$/\1/p" "$source/meson.build")
condroid="condroid $version"
hello='hello from hello, process 1'

need() {
  for tool; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool here" >&2; exit 77; }
  done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Every consumer gets a copy, so that nothing is written to the source directory.
cp -R "$source/tests/consumers/." "$source/examples/01_hello.cpp" "$work/"

install_tree() {
  meson install -C "$build" --no-rebuild --quiet --destdir "$work/stage" >/dev/null
  pc=$(find "$work/stage" -name condroid.pc)
  test -f "$pc" || { echo "no condroid.pc was installed" >&2; exit 1; }
  libdir=${pc%/pkgconfig/condroid.pc}
  installed_prefix=$(sed -n 's/^prefix=//p' "$pc")
  prefix=$work/stage$installed_prefix
  export LD_LIBRARY_PATH="$libdir"
}

case $kind in
  pkgconfig)
    need make pkg-config meson
    install_tree
    PKG_CONFIG_PATH="$libdir/pkgconfig" make -s -C "$work/pkgconfig" \
      PKG_CONFIG="pkg-config --define-variable=prefix=$prefix"
    expect "$work/pkgconfig/consumer" "$condroid"
    expect "$work/pkgconfig/hello" "$hello"
    ;;
  cmake)
    need cmake meson
    install_tree
    cmake -S "$work/cmake" -B "$work/out" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Debug >"$work/log" ||
      { cat "$work/log" >&2; exit 1; }
    cmake --build "$work/out" >"$work/log" || { cat "$work/log" >&2; exit 1; }
    expect "$work/out/consumer" "$condroid"
    expect "$work/out/hello" "$hello"
    # Where CONDROID_MUST_RUN is set nothing may be missing.
    if test -x "$work/out/boxes" || test -n "${CONDROID_MUST_RUN:-}"; then suite "$work/out/boxes"; fi
    if test -x "$work/out/consumer_static"; then
      unset LD_LIBRARY_PATH
      expect "$work/out/consumer_static" "$condroid"
      expect "$work/out/hello_static" "$hello"
    fi
    ;;
  subproject)
    need meson ninja
    source=$(cd "$source" && pwd)
    mkdir "$work/subproject/subprojects"
    ln -s "$source" "$work/subproject/subprojects/condroid"
    meson setup "$build" "$work/subproject" --force-fallback-for=condroid "$@" >"$work/log" ||
      { cat "$work/log" >&2; exit 1; }
    ninja -C "$build" -k 0 >"$work/log" || { cat "$work/log" >&2; exit 1; }
    expect "$build/consumer" "$condroid"
    expect "$build/hello" "$hello"
    ;;
  *)
    echo "unknown consumer '$kind'" >&2
    exit 2
    ;;
esac
