#!/bin/sh
# From a bare Debian 12 to a running container: installs what is missing, builds, and runs the first examples.
#   sh examples/quickstart.sh [BUILD_DIRECTORY]        (default: build)
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}

say() { printf '\n== %s\n' "$*"; }

# ---- what it needs ----

there() { # PACKAGE: installed, or what it is needed for is there from elsewhere
  dpkg-query -W -f '${Status}' "$1" 2> /dev/null | grep -q 'install ok installed' && return
  case $1 in
    g++) command -v c++ ;;
    ninja-build) command -v ninja ;;
    libfmt-dev) pkg-config --exists 'fmt >= 9.1' ;;
    libcli11-dev) pkg-config --exists 'CLI11 >= 2.1' ;;
    libexpected-dev) [ -e /usr/include/tl/expected.hpp ] || [ -e /usr/local/include/tl/expected.hpp ] ;;
    *) command -v "$1" ;;
  esac > /dev/null 2>&1
}

missing=
for package in g++ meson ninja-build pkg-config python3 libfmt-dev libexpected-dev libcli11-dev; do
  there $package || missing="$missing $package"
done

if [ -n "$missing" ]; then
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  if ! command -v apt-get > /dev/null || { [ -n "$sudo" ] && ! command -v sudo > /dev/null; }; then
    echo "quickstart.sh: please install what has these names in Debian:$missing" >&2
    exit 1
  fi
  say "installing$missing"
  install="$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
  # shellcheck disable=SC2086 # lists of words
  if ! $install $missing > /dev/null 2>&1; then # the lists of packages are missing, or old
    $sudo apt-get update > /dev/null || true
    $install $missing > /dev/null || {
      echo "quickstart.sh: could not install all of:$missing" >&2
      exit 1
    }
  fi
fi

# ---- building ----

log=$(mktemp)
trap 'rm -f "$log"' EXIT
try() { # COMMAND...: its output is shown when it fails
  "$@" > "$log" 2>&1 || {
    tail -40 "$log" >&2
    echo "quickstart.sh: failed: $*" >&2
    exit 1
  }
}

say "building in $build"
[ -f "$build/build.ninja" ] || try meson setup "$build" --buildtype=release -Dtests=disabled -Dbenchmarks=disabled -Dexamples=enabled
# One that was made when CLI11 was missing is without condroid-run.
ninja -C "$build" -t query examples/condroid-run > /dev/null 2>&1 || try meson configure "$build" -Dexamples=enabled
try ninja -C "$build"

for example in 01_hello 02_throwaway 05_rootless; do
  say "examples/$example"
  "$build/examples/$example"
done

if [ "$(id -u)" = 0 ]; then
  file=/etc/made-in-a-container
else
  file=/tmp/made-in-a-container # a user namespace takes no layer above the host's /etc
fi
say "condroid-run --ephemeral -- sh -c 'echo changed > $file; cat $file'"
"$build/examples/condroid-run" --ephemeral -- sh -c "echo changed > $file; cat $file"
[ ! -e $file ] && echo "(and the host has no $file)"

say "what that did, step by step: $build/examples/condroid-run --dry-run -- true"
"$build/examples/condroid-run" --dry-run -- true | tail -5
