#!/bin/sh
# Passes all tests on a bare Debian 12: installs what is missing, builds in every configuration that counts, runs every
# suite. Ends with "N passed, N failed"; the status is 0 when nothing failed.
#
#   sh tests/run.sh                 everything, about 50 minutes on 2 cores
#   sh tests/run.sh main            one stage, or several: main sanitize tsan aarch64 extras benchmark
#   sh tests/run.sh faults          only when asked for: faults (long), tidy, and vm
#   CONDROID_VM='COMMAND --' sh tests/run.sh vm
#                                   on a machine with nothing but cgroup v2: COMMAND runs its arguments as root of one
#                                   that has this machine's files at the same paths. With CONDROID_SELINUX_VM='COMMAND --'
#                                   SELinux, too: COMMAND does the same, and its kernel has security=selinux and no policy.
#                                   With CONDROID_BINDER_VM and CONDROID_BINDERFS_VM binder, too: there are two triples of
#                                   nodes (a-binder, a-hwbinder, a-vndbinder), or binderfs can be mounted
#
# The suites of a container's real life need root: called by somebody else, they are run by sudo. A suite that is skipped
# there is a failure. Build directories are made in $CONDROID_BUILD_ROOT, by default build-tests here.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C.UTF-8

# While one stage tests, the next ones are built. The benchmark is last: it wants the machine for itself.
stages=${*:-main sanitize tsan aarch64 extras${CONDROID_VM:+ vm} benchmark}
for stage in $stages; do
  case $stage in
    main | sanitize | tsan | aarch64 | extras | benchmark | faults | tidy | vm) ;;
    *)
      echo "run.sh: no stage '$stage'; there are main, sanitize, tsan, aarch64, extras, benchmark, faults, tidy, vm" >&2
      exit 2
      ;;
  esac
done
if [ -z "${CONDROID_VM:-}" ]; then
  case " $stages " in
    *' vm '*)
      echo 'run.sh: stage vm needs CONDROID_VM, a command that runs its arguments on a machine with nothing but cgroup v2' >&2
      exit 2
      ;;
  esac
  [ $# -gt 0 ] || echo 'stage vm is left out: CONDROID_VM names no command that runs its arguments with nothing but cgroup v2'
fi

sudo=
[ "$(id -u)" = 0 ] || sudo='sudo -E'

# ---- what it needs ----

# Debian's package=what is used of it: a program, a header or a file; with a comma, the first of them that is there.
needs='g++=c++ meson=meson ninja-build=ninja pkg-config=pkg-config python3=python3 libfmt-dev=fmt/format.h
  libseccomp-dev=seccomp.h libnl-3-dev=/usr/include/libnl3/netlink/netlink.h nlohmann-json3-dev=nlohmann/json.hpp libexpected-dev=tl/expected.hpp
  libarchive-dev=archive.h nettle-dev=nettle/sha2.h
  catch2=catch2/catch.hpp,catch2/catch_all.hpp libgtest-dev=gtest/gtest.h libcli11-dev=CLI/CLI.hpp libtomlplusplus-dev=toml++/toml.h
  uidmap=newuidmap iproute2=ip passt=pasta util-linux=setpriv strace=strace cmake=cmake make=make busybox-static=busybox mmdebstrap=mmdebstrap
  e2fsprogs=/usr/sbin/mkfs.ext4 squashfs-tools=mksquashfs erofs-utils=mkfs.erofs
  dbus-daemon=dbus-daemon bubblewrap=bwrap debian-archive-keyring=/usr/share/keyrings/debian-archive-keyring.gpg'
for stage in $stages; do
  case $stage in
    main) needs="$needs lxc=lxc-info" ;;
    sanitize) needs="$needs clang-14=clang++-14,clang++ lxc=lxc-info" ;;
    aarch64) needs="$needs g++-aarch64-linux-gnu=aarch64-linux-gnu-g++ qemu-user-static=qemu-aarch64-static" ;;
    benchmark) needs="$needs crun=crun runc=runc lxc=lxc-execute lxc-dev=lxc/lxccontainer.h" ;;
    extras) needs="$needs git=git clang-format-14=clang-format-14,clang-format clang-19=clang++-19,clang++" ;;
    vm) needs="$needs lxc=lxc-info apparmor=apparmor_parser,/usr/sbin/apparmor_parser${CONDROID_SELINUX_VM:+ secilc=secilc}" ;;
    tidy) needs="$needs clang-14=clang++-14,clang++ clang-tidy-14=clang-tidy-14,clang-tidy cppcheck=cppcheck" ;;
  esac
done

have() {
  case $1 in
    /*) [ -e "$1" ] ;;
    *.h | *.hpp) echo "#include <$1>" | c++ -std=c++20 -x c++ -fsyntax-only - 2> /dev/null ;;
    *) command -v "$1" > /dev/null ;;
  esac
}
# first A,B,...: the one of them that is there.
first() {
  for thing in $(echo "$1" | tr ',' ' '); do
    have "$thing" && echo "$thing" && return
  done
  return 1
}

missing=
for need in $needs; do
  package=${need%%=*}
  if command -v dpkg-query > /dev/null; then
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'install ok installed' || missing="$missing $package"
  else
    first "${need#*=}" > /dev/null || missing="$missing $package"
  fi
done
[ -z "$sudo" ] || have sudo || missing="$missing sudo"
if [ -n "$missing" ]; then
  if ! command -v apt-get > /dev/null || ! { [ -z "$sudo" ] || have sudo; }; then
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
clang14=$(first clang++-14,clang++)

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
# Of each stage that is built ahead a file with what it said, and one with its status; the logs; see build_ahead().
ahead=${CONDROID_AHEAD:-}
builder=
if [ -z "$ahead" ]; then
  ahead=$(mktemp -d)
  leave() {
    [ -z "$builder" ] || kill -- "-$builder" 2> /dev/null
    rm -rf "$ahead"
    [ -z "$scratch" ] || $sudo rm -rf "$scratch"
  }
  trap leave EXIT
  trap 'exit 1' HUP INT TERM
fi

# ---- how it is run ----

source=.
passed=0
failed=0
log=$ahead/log
# What failed, said again at the end: the reader of a long log begins there.
failures=$ahead/failures

note() { printf '\n== %s\n' "$*"; }
# bad WHAT: counts one failure, after $log was shown.
bad() {
  echo "FAILED: $*"
  { echo "FAILED: $stage: $*" && tail -25 "$log"; } >> "$failures"
  failed=$((failed + 1))
}

# setup NAME MESON_OPTION...: a build directory of $source that is up to date: $targets, or all. False when it does not build.
setup() {
  build=$root/$1
  shift
  if [ ! -f "$build/build.ninja" ] && ! meson setup "$build" "$source" -Dwerror=true "$@" > "$log" 2>&1; then
    tail -20 "$log"
    echo "configuring $build" > "$trouble"
    return 1
  fi
  # shellcheck disable=SC2086
  if ! ninja -C "$build" -k 0 $targets > "$log" 2>&1; then
    grep -A12 -E 'FAILED:|error:' "$log" | head -60
    echo "building $build" > "$trouble"
    return 1
  fi
}

# ---- building ahead ----

# This program once more, in a session of its own that gives way to that of the tests, builds one stage after the other.
build_ahead() {
  log=$ahead/log.ahead
  [ ! -w /proc/self/autogroup ] || echo 15 > "/proc/$$/autogroup"
  for stage in $stages; do
    targets='' source=. trouble=$ahead/$stage.trouble
    "build_$stage" > "$ahead/$stage.said" 2>&1
    echo $? > "$ahead/$stage.status.new"
    mv "$ahead/$stage.status.new" "$ahead/$stage.status"
  done
}
# built NAME: waits until the stage is built, of whose directory NAME is. False, and counted, when it was not.
built() {
  build=$root/$1
  while [ ! -e "$ahead/$stage.status" ]; do
    kill -0 "$builder" 2> /dev/null || [ -e "$ahead/$stage.status" ] || { bad 'building: it ended' && return 1; }
    sleep 0.2
  done
  [ "$(cat "$ahead/$stage.status")" = 0 ] && return
  tee "$log" < "$ahead/$stage.said"
  bad "$(cat "$ahead/$stage.trouble" 2> /dev/null || echo building)"
  return 1
}

# Without what a debugger reads, which is a fifth of the time and most of the bytes.
lean='-Doptimization=0 -Ddebug=false'
# Several sources of the library at once, which is a third of the time. One by one, with nothing compiled ahead, they are
# read by stage tidy, when it is asked for: there a file shows that it does not include what it uses.
unity='-Dunity=on -Dunity_size=17'

# (The words with a colon behind a case are what a walk with failing calls says of it.)
reasons='FAILED:|^FAIL:|Sanitizer:|runtime error:|^Traceback|^[A-Za-z]*Error:|^(hang|crash|silent|vague|degraded|leak) +[^ ]+:'
# run MESON_TEST_ARGUMENT...: counts what passed and what failed, and shows what failed.
run() {
  as=$1
  shift
  # shellcheck disable=SC2086
  # Three times the time: others may want the processors, too.
  $as env CONDROID_MUST_RUN=userns,root meson test -C "$build" --no-rebuild --print-errorlogs -t 3 "$@" > "$log" 2>&1
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
  [ "$status" = 0 ] || {
    grep -vE '^ *[0-9]+/[0-9]+ .* OK ' "$log" | tail -150
    {
      echo "FAILED: $stage: $*"
      grep -E '^ *[0-9]+/[0-9]+ .*(FAIL|TIMEOUT|ERROR)' "$log"
      # Of a long output meson shows the end, and the reason is seldom there.
      reason=$(grep -a -B5 -A15 -E "$reasons" "$build/meson-logs/testlog.txt" | cut -c1-400 | head -120)
      echo "${reason:-$(tail -40 "$log")}"
    } >> "$failures"
  }
  [ "$skip" = 0 ] || grep -E ' SKIP ' "$log"
}

# ok NAME COMMAND...: counts one check, and shows what it says when it fails.
ok() {
  name=$1
  shift
  if "$@" > "$log" 2>&1; then
    passed=$((passed + 1))
    echo "$name: ok"
  else
    tail -40 "$log"
    bad "$name"
    return 1
  fi
}

# shellcheck disable=SC2086
build_main() {
  setup main -Dbuildtype=plain $lean $unity -Dbenchmarks=disabled -Dseccomp=enabled -Doci=enabled -Dnetwork=enabled \
    -Dimages=enabled
}
stage_main() {
  built main || return
  run '' --suite unit
  # Where a bound is tight it is so for a machine that is ours alone, and this one need not be.
  run "$sudo env CONDROID_SLOW=3" --suite userns
  run "$sudo env CONDROID_SLOW=3" --suite root
  run '' --suite consumers
}

# Another compiler, with its address and undefined behaviour sanitizers, and the fuzzers.
# shellcheck disable=SC2086
build_sanitize() {
  CXX=$clang14 setup sanitize $unity -Dbuildtype=plain -Doptimization=0 -Dcpp_args=-gline-tables-only \
    -Db_sanitize=address,undefined -Db_lundef=false -Dfuzz=enabled \
    -Dfuzz_seconds="${CONDROID_FUZZ_SECONDS:-4}" -Dbenchmarks=disabled -Dexamples=disabled
}
stage_sanitize() {
  built sanitize || return
  run '' --suite unit
  # Ten times the time where a bound is tight: the sanitizers' is no user's.
  run "$sudo env CONDROID_SLOW=10" --suite root integration-root
  run '' --suite fuzz
}

# Threads that launch at once, under the thread sanitizer.
# shellcheck disable=SC2086
build_tsan() {
  targets='tests/integration/integration tests/support/payload tests/unit/unit-launch'
  setup tsan $unity -Dbuildtype=plain -Doptimization=0 -Dcpp_args=-g1 -Db_sanitize=thread -Db_lundef=false -Dbenchmarks=disabled \
    -Dexamples=disabled
}
stage_tsan() {
  built tsan || return
  run '' launch
  run "$sudo" --suite threads
}

# The library and the zygote for aarch64; the child's program is run there by qemu.
# shellcheck disable=SC2086
build_aarch64() {
  targets='src/libcondroid.a tests/unit/unit-program tests/unit/unit-launch'
  setup aarch64 $unity --cross-file tests/support/aarch64.ini -Dbuildtype=plain -Dbenchmarks=disabled -Dexamples=disabled
}
stage_aarch64() {
  built aarch64 || return
  run '' launch
  # All of them there, but for the one that fails every call: a tenth of a second natively is minutes there.
  run '' program --test-args='~[exhaustive]'
}

# Every system call of a launch fails once: a quarter of an hour, so only when it is asked for. Suite root has a sample.
build_faults() { build_main; }
stage_faults() {
  built main || return
  run "$sudo" --suite faults
}

# A release build: what the child does as the optimizer leaves it, then the benchmark.
# shellcheck disable=SC2086
build_benchmark() {
  targets='meson-benchmark-prereq examples/condroid-run tests/unit/unit-program'
  setup benchmark $unity -Dbuildtype=release
}
stage_benchmark() {
  built benchmark || return
  run '' program
  if $sudo meson test -C "$build" --no-rebuild --benchmark --verbose --test-args=--quick; then
    passed=$((passed + 1))
  else
    bad "benchmark"
  fi
}

# What users build in other ways than we do: as the subproject of a program a release tarball, static, without a single
# option, with what it needs as subprojects; and with a compiler of today all of our headers.
build_extras() {
  rm -rf "$root/tarball" "$root/minimal"
  mkdir "$root/tarball"
  if [ -e .git ]; then
    # Whoever owns this checkout: it is ours to pack.
    pack || { echo 'meson dist' > "$trouble" && return 1; }
  else
    echo 'no git checkout: its files as they are in place of a tarball of meson dist'
    mkdir "$root/tarball/condroid"
    cp -R .clang-format .clang-tidy ./*.md ./*.build meson_options.txt cmake docs examples include src subprojects tests \
      "$root/tarball/condroid"
  fi
  source=$(echo "$root"/tarball/condroid*/)
  sh tests/support/fallback_sources.sh "$source" || { echo 'sources of subprojects' > "$trouble" && return 1; }
  # shellcheck disable=SC2086
  sh tests/consumers/run.sh subproject "$root/minimal" "$source" -Dwerror=true -Dbuildtype=plain $lean \
    -Dcondroid:default_library=static -Dcondroid:seccomp=disabled -Dcondroid:oci=disabled -Dcondroid:network=disabled \
    $unity --force-fallback-for=condroid,fmt,tl-expected > "$log" 2>&1 || {
    grep -A12 -E 'FAILED:|error:' "$log" | head -60
    tail -5 "$log"
    echo 'a release tarball as a subproject' > "$trouble"
    return 1
  }
  source=.
  # The headers, and what users write, with everything: nothing is linked with the library, which takes minutes.
  targets='tests/unit/libself-contained.a examples/13_run.p/13_run.cpp.o examples/21_network.p/21_network.cpp.o
    tests/integration/integration-testing.p/testing_sandbox_test.cpp.o'
  # shellcheck disable=SC2086
  CXX=$(first clang++-19,clang++) setup clang -Dbuildtype=plain $lean -Dbenchmarks=disabled
}
stage_extras() {
  ok 'clang-format' python3 tests/support/check_format.py .
  built clang || return
  echo 'a release tarball as a subproject, static, without options: ok'
  passed=$((passed + 1))
  run '' handles path_kinds result_dropped spec_values
}
pack() {
  rm -rf "$root/pack"
  meson setup "$root/pack" -Dtests=disabled -Dexamples=disabled -Dbenchmarks=disabled &&
    GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' \
      meson dist -C "$root/pack" --no-tests --allow-dirty --formats gztar &&
    tar -xf "$root"/pack/meson-dist/condroid-*.tar.gz -C "$root/tarball"
}

# cppcheck and clang-tidy over the sources of the library and its programs, with the checks of .clang-tidy: about half an hour.
# What is compiled ahead is another compiler's to read.
build_tidy() {
  targets=build.ninja
  CXX=$clang14 setup tidy -Dbuildtype=debug -Db_pch=false -Dbenchmarks=disabled
}
stage_tidy() {
  ok cppcheck cppcheck -j "$(nproc)" --quiet --error-exitcode=1 --std=c++20 --language=c++ \
    --enable=warning,performance,portability --suppressions-list=tests/support/cppcheck.txt \
    -Iinclude -Isrc -D__x86_64__=1 -DCONDROID_LIBSECCOMP=1 -DCONDROID_OCI=1 src examples
  built tidy || return
  ok clang-tidy python3 tests/support/tidy.py "$(first clang-tidy-14,clang-tidy)" "$build"
}

# What only a machine with nothing but cgroup v2 shows, with every controller. It may be an emulated one, so its clocks are
# given time.
build_vm() {
  targets='tests/integration/integration tests/support/payload examples/condroid-run tests/faults/deaths-host
    tests/integration/scope/scope-host examples/condroid-probe examples/lxc/condroid-lxc
    tests/integration/integration-android tests/support/fake-init'
  build_main
}
stage_vm() {
  built main || return
  python=$(first /usr/bin/python3,python3)
  integration=$build/tests/integration/integration
  condroid_run=$build/examples/condroid-run
  # shellcheck disable=SC2016 # for the shell there
  ok 'a machine with nothing but cgroup v2, and our files' in_vm sh -c     'test -e /sys/fs/cgroup/cgroup.controllers && test "$(grep -c . /proc/self/cgroup)" = 1 && test -x "$1" && test -r "$2"'     sh "$integration" "$PWD/tests/run.sh" || return
  ok 'vm: cgroups' in_vm "$integration" '[cgroup]'
  ok 'vm: containers in cgroups' in_vm "$integration" --filenames-as-tags '[#cgroups_test][root]'
  ok 'vm: measures and events' in_vm "$integration" '[measures]'
  ok 'vm: limits' in_vm "$integration" --filenames-as-tags '[#limits_test][root]'
  ok 'vm: stopped, frozen and launched again' in_vm env CONDROID_SLOW=10 "$integration" \
    '[lifecycle][any_cgroup]'
  ok 'vm: devices' in_vm "$integration" '[devices][any_cgroup]'
  ok 'vm: filters of system calls' in_vm "$integration" --filenames-as-tags '[#seccomp_test][root]'
  ok 'vm: calls that the host answers' in_vm "$integration" '[notify][root]'
  ok 'vm: attacks' in_vm env CONDROID_SLOW=10 "$integration" '[attack][root]'
  ok 'vm: Landlock, as an older kernel has it' in_vm "$integration" '[lsm][root]'
  ok 'vm: AppArmor' in_vm "$integration" '[apparmor]'
  [ -z "${CONDROID_SELINUX_VM:-}" ] || {
    ok 'a policy of SELinux' secilc -c 31 -o "$build/selinux.policy" -f /dev/null tests/integration/launch/selinux.cil
    # shellcheck disable=SC2086 # a command and its options
    ok 'vm: SELinux' $CONDROID_SELINUX_VM env CONDROID_MUST_RUN=root,userns sh "$PWD/tests/integration/launch/selinux.sh" \
      "$build/selinux.policy" "$integration" '[selinux]'
  }
  ok 'vm: pools, and one command' in_vm env CONDROID_SLOW=10 "$integration" '[pool][root]~[many],[run][root]~[many]~[v1]'
  ok 'vm: networks' in_vm env CONDROID_SLOW=10 "$integration" '[network][.root],[network][.more_kernel]'
  ok 'vm: attached' in_vm "$integration" '[attach][root]'
  ok 'vm: changed while they run' in_vm "$integration" '[change][root]'
  ok "vm: LXC's tools" in_vm env CONDROID_SLOW=10 "$integration" '[lxc]'
  # Each with a machine of its own, and an end: a program of LXC's that waits for ever is one that fails.
  for classes in 'Running SideBySide Start' 'Legacy Waydroid' Hooks \
    'Others.test_cgroup Others.test_monitor Others.test_places_of_cgroups'; do
    # shellcheck disable=SC2086 # words
    ok "vm: LXC's programs: $classes" in_vm timeout -k 10 1500 "$python" \
      "$PWD/tests/integration/lxc_programs/lxc_programs_test.py" "$build/examples/lxc/bin" $classes
  done
  ok 'vm: devices of Android' in_vm env CONDROID_SLOW=10 "$build/tests/integration/integration-android" '[android]'
  for vm in "${CONDROID_BINDER_VM:-}" "${CONDROID_BINDERFS_VM:-}"; do
    # shellcheck disable=SC2086 # a command and its options
    [ -z "$vm" ] || ok "vm: binder, by $vm" $vm env CONDROID_MUST_RUN=root,userns CONDROID_SUITE=root CONDROID_SLOW=30 \
      "$build/tests/integration/integration-android" '[android-binder]'
  done
  ok 'vm: what only v2 has' in_vm "$integration" '[v2]'
  ok 'vm: condroid-run' in_vm "$python" "$PWD/tests/integration/condroid_run/condroid_run_test.py" "$condroid_run"     Options.test_limits Options.test_condroid_in_condroid Options.test_ids Options.test_ephemeral_changes_are_forgotten     Statuses.test_the_commands_own ZNothing
  # There may be no network there.
  # shellcheck disable=SC2086
  ok 'a root directory with systemd' $sudo env CONDROID_SYSTEMD_ROOT="$build/systemd-root" "$python" \
    tests/integration/scope/scope_test.py --root
  ok 'vm: scopes of systemd' in_vm env CONDROID_SLOW=10 CONDROID_SYSTEMD_ROOT="$build/systemd-root" "$python" \
    "$PWD/tests/integration/scope/scope_test.py" "$condroid_run" "$build/examples/condroid-probe" \
    "$build/tests/integration/scope/scope-host" "$build/tests/support/payload"
  ok 'vm: deaths' in_vm "$python" "$PWD/tests/integration/deaths/deaths.py" "$condroid_run" "$build/tests/faults/deaths-host"     --slow 10 --every 23 --no-ephemeral
}
# shellcheck disable=SC2086 # a command and its options
in_vm() { $CONDROID_VM env CONDROID_MUST_RUN=root,userns CONDROID_SUITE=root "$@"; }

if [ -n "${CONDROID_AHEAD:-}" ]; then
  build_ahead
  exit
fi
# shellcheck disable=SC2086
CONDROID_AHEAD=$ahead CONDROID_BUILD_ROOT=$root setsid sh tests/run.sh $stages &
builder=$!
: > "$failures"
for stage in $stages; do
  note "$stage"
  began=$(date +%s)
  "stage_$stage"
  echo "($stage took $(($(date +%s) - began)) s)"
done
if [ "$failed" != 0 ]; then
  note 'what failed, again'
  cat "$failures"
fi
echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
