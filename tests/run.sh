#!/bin/sh
# Passes all tests on a bare Debian 12: installs what is missing, builds in every configuration that counts, runs every
# suite. Ends with "N passed, N failed"; the status is 0 when nothing failed.
#
#   sh tests/run.sh                 everything, about 20 minutes on 2 cores
#   sh tests/run.sh main            one stage: main sanitize tsan aarch64 benchmark, or faults
#
# The suites of a container's real life need root: called by somebody else, they are run by sudo. A suite that is skipped
# there is a failure. Build directories are made in $CONDROID_BUILD_ROOT, by default build-tests here.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C.UTF-8

stages=${*:-main sanitize tsan aarch64 benchmark}
for stage in $stages; do
  case $stage in
    main | sanitize | tsan | aarch64 | benchmark | faults) ;;
    *) echo "run.sh: no stage '$stage'; there are main, sanitize, tsan, aarch64, benchmark, faults" >&2; exit 2 ;;
  esac
done

sudo=
[ "$(id -u)" = 0 ] || sudo='sudo -E'

# ---- what it needs ----

packages='g++ meson ninja-build pkg-config python3 libfmt-dev libexpected-dev catch2 libcli11-dev
  uidmap util-linux strace cmake make busybox-static mmdebstrap debian-archive-keyring'
for stage in $stages; do
  case $stage in
    sanitize) packages="$packages clang-14" ;;
    aarch64) packages="$packages g++-aarch64-linux-gnu qemu-user-static" ;;
    benchmark) packages="$packages bubblewrap crun runc lxc" ;;
  esac
done
missing=
if command -v dpkg-query > /dev/null; then
  for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'install ok installed' || missing="$missing $package"
  done
else
  for tool in c++ meson ninja pkg-config python3 newuidmap unshare setpriv strace; do
    command -v $tool > /dev/null || missing="$missing $tool"
  done
fi
if [ -n "$missing" ]; then
  if ! command -v apt-get > /dev/null; then
    echo "run.sh: please install what has these names in Debian:$missing" >&2
    exit 1
  fi
  echo "== installing$missing"
  install="$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
  # shellcheck disable=SC2086 # lists of words
  if ! $install $missing > /dev/null 2>&1; then
    $sudo apt-get update > /dev/null
    $install $missing > /dev/null || {
      echo "run.sh: could not install all of:$missing" >&2
      exit 1
    }
  fi
fi

# Some tests run as a user who must be able to read what was built.
root=${CONDROID_BUILD_ROOT:-$PWD/build-tests}
reachable() {
  path=$1
  while [ "$path" != / ]; do
    case $(stat -L -c %A "$path" 2> /dev/null) in *[xt]) ;; *) return 1 ;; esac
    path=$(dirname "$path")
  done
}
mkdir -p "$root"
scratch=
if ! reachable "$root"; then
  scratch=$(mktemp -d /var/tmp/condroid-tests.XXXXXX)
  chmod 755 "$scratch"
  root=$scratch
fi
trap '[ -z "$scratch" ] || $sudo rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# ---- how it is run ----

passed=0
failed=0
log=$(mktemp)

note() { printf '\n== %s\n' "$*"; }
bad() {
  echo "FAILED: $*"
  failed=$((failed + 1))
}

# setup NAME MESON_OPTION...: a build directory that is up to date. False when it does not build.
setup() {
  build=$root/$1
  shift
  if [ ! -f "$build/build.ninja" ] && ! meson setup "$build" -Dwerror=true "$@" > "$log" 2>&1; then
    tail -20 "$log"
    bad "configuring $build"
    return 1
  fi
  # shellcheck disable=SC2086
  if ! ninja -C "$build" -k 0 $targets > "$log" 2>&1; then
    grep -A12 -E 'FAILED:|error:' "$log" | head -60
    bad "building $build"
    return 1
  fi
}

# run MESON_TEST_ARGUMENT...: counts what passed and what failed, and shows what failed.
run() {
  as=$1
  shift
  # shellcheck disable=SC2086
  $as env CONDROID_MUST_RUN=userns,root meson test -C "$build" --no-rebuild --print-errorlogs "$@" > "$log" 2>&1
  status=$?
  count() { sed -n "s/^$1: *\([0-9]*\).*/\1/p" "$log" | tail -1; }
  ok=$(count Ok) fail=$(count Fail) late=$(count Timeout) skip=$(count Skipped)
  if [ -z "$ok" ]; then
    tail -20 "$log"
    bad "meson test $*"
    return
  fi
  passed=$((passed + ok))
  failed=$((failed + fail + late))
  printf '%s: %s passed, %s failed, %s skipped\n' "$*" "$ok" "$((fail + late))" "$skip"
  [ "$status" = 0 ] || grep -vE '^ *[0-9]+/[0-9]+ .* OK ' "$log" | tail -150
  [ "$skip" = 0 ] || grep -E ' SKIP ' "$log"
}

stage_main() {
  setup main -Dbuildtype=debug -Doptimization=1 -Dbenchmarks=disabled || return
  run '' --suite unit
  run "$sudo" --suite userns
  run "$sudo" --suite root
  run '' --suite consumers
}

# Another compiler, with its address and undefined behaviour sanitizers, and the fuzzers.
stage_sanitize() {
  CXX=clang++-14 setup sanitize -Dbuildtype=debug -Db_sanitize=address,undefined -Db_lundef=false -Dfuzz=enabled \
    -Dfuzz_seconds="${CONDROID_FUZZ_SECONDS:-10}" -Dbenchmarks=disabled || return
  run '' --suite unit
  run "$sudo" --suite root integration-root
  run '' --suite fuzz
}

# Threads that launch at once, under the thread sanitizer.
stage_tsan() {
  targets='tests/integration/integration tests/support/payload tests/unit/unit-launch'
  setup tsan -Dbuildtype=debug -Db_sanitize=thread -Db_lundef=false -Dbenchmarks=disabled -Dexamples=disabled || return
  run '' launch
  run "$sudo" --suite threads
}

# The library and the zygote for aarch64; the child's program is run there by qemu.
stage_aarch64() {
  targets='src/libcondroid.a tests/unit/unit-program tests/unit/unit-launch'
  setup aarch64 --cross-file tests/support/aarch64.ini -Dbuildtype=plain -Dbenchmarks=disabled -Dexamples=disabled || return
  run '' program launch
}

# Every system call of a launch fails once: up to an hour, so only when it is asked for. Suite root has a sample of it.
stage_faults() {
  setup main -Dbuildtype=debug -Doptimization=1 -Dbenchmarks=disabled || return
  run "$sudo" --suite faults
}

stage_benchmark() {
  setup release -Dbuildtype=release -Dtests=disabled || return
  if $sudo meson test -C "$build" --no-rebuild --benchmark --verbose --test-args=--quick; then
    passed=$((passed + 1))
  else
    bad "benchmark"
  fi
}

targets=
for stage in $stages; do
  note "$stage"
  began=$(date +%s)
  targets=
  "stage_$stage"
  echo "($stage took $(($(date +%s) - began)) s)"
done
rm -f "$log"
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
