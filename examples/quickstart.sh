#!/bin/sh
# From a bare Debian 12 to a running container: installs what is missing, builds, and runs the first examples.
#   sh examples/quickstart.sh [BUILD_DIRECTORY]        (default: build)
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}

say() { printf '\n== %s\n' "$*"; }

missing=
need() { # COMMAND-OR-FILE PACKAGE
  case $1 in
    /*) [ -e "$1" ] || missing="$missing $2" ;;
    *) command -v "$1" > /dev/null || missing="$missing $2" ;;
  esac
}
need c++ g++
need meson meson
need ninja ninja-build
need pkg-config pkg-config
need python3 python3
[ -z "$(command -v pkg-config)" ] || pkg-config --exists fmt || missing="$missing libfmt-dev"
[ -z "$(command -v pkg-config)" ] || pkg-config --exists CLI11 || missing="$missing libcli11-dev"
need /usr/include/tl/expected.hpp libexpected-dev

if [ -n "$missing" ]; then
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  if ! command -v apt-get > /dev/null || { [ -n "$sudo" ] && ! command -v sudo > /dev/null; }; then
    echo "quickstart.sh: please install (Debian's names):$missing" >&2
    exit 1
  fi
  say "installing$missing"
  # shellcheck disable=SC2086 # a list of words
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing > /dev/null 2>&1 || {
    $sudo apt-get update > /dev/null
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libfmt-dev $missing > /dev/null
  }
fi

say "building in $build"
[ -f "$build/build.ninja" ] || meson setup "$build" --buildtype=release -Dtests=disabled -Dbenchmarks=disabled > /dev/null
ninja -C "$build" --quiet 2> /dev/null || ninja -C "$build"

for example in 01_hello 02_throwaway 05_rootless; do
  say "examples/$example"
  "$build/examples/$example"
done

say "condroid-run --ephemeral -- sh -c 'echo changed > /etc/hostname; cat /etc/hostname'"
if [ "$(id -u)" = 0 ]; then
  "$build/examples/condroid-run" --ephemeral -- sh -c 'echo changed > /etc/hostname; cat /etc/hostname'
  echo "the host's own: $(cat /etc/hostname)"
else
  "$build/examples/condroid-run" --ephemeral -- sh -c 'echo changed > /tmp/file; cat /tmp/file; id -u'
fi

say "what that did, step by step: $build/examples/condroid-run --dry-run -- true"
"$build/examples/condroid-run" --dry-run -- true | tail -5
