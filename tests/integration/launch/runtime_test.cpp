// The Runtime and its zygote: what a sweep believes, what a container can learn of others, launches
// of unusual size.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>

#include "containers.hpp"

using condroid::Errc;
using condroid::Fd;
using condroid::IdMap;
using condroid::LaunchOptions;
using condroid::Namespace;
using condroid::Runtime;
using condroid::Spec;
using condroid::Step;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::make_file;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::runtime;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;

using namespace condroid::literals;

namespace {

const IdMap shifted = {.kind = IdMap::ranges,
                       .uids = {{.inside = 0, .outside = 200000, .count = 1000}},
                       .gids = {{.inside = 0, .outside = 200000, .count = 1000}}};

}  // namespace

TEST_CASE("a sweep removes what a Runtime left, and nothing else", "[launch][.root][.userns]") {
  const TempDir dir;
  for (const char* name : {"condroid-run", "condroid-0123456789ab", "condroid-0123456789ab.txt"})
    make_file(dir / name, "");
  must(::symlink("condroid-run", (dir / "condroid-0123456789ac").c_str()) == 0, "symlink");
  const auto opened = Runtime::open({.state_dir = dir.host()});
  REQUIRE(opened);
  CHECK(::access((dir / "condroid-0123456789ab").c_str(), F_OK) < 0);
  for (const char* name : {"condroid-run", "condroid-0123456789ab.txt", "condroid-0123456789ac"})
    CHECK(::access((dir / name).c_str(), F_OK) == 0);
}

TEST_CASE("a state directory that others may write to is not believed",
          "[launch][attack][.root][.userns]") {
  const TempDir dir;
  make_file(dir / "condroid-0123456789ab", "");
  must(::chmod(dir.str().c_str(), 0777) == 0, "chmod");
  const auto opened = Runtime::open({.state_dir = dir.host()});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().is(Errc::unsupported));
  CHECK(::access((dir / "condroid-0123456789ab").c_str(), F_OK) == 0);
}

TEST_CASE("the init of a container knows nothing of other containers", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  // Nowhere as one piece but where it is looked for.
  const std::string secret = std::string("SECRET=") + "of-another-container";
  Spec other = payload(root, {"exit", "0"});
  other.process.env = {secret};
  (void)launch_and_wait(other);

  Spec spec = payload(root, {"pause"});
  spec.process.init = true;
  const auto box = launch(spec);
  const std::string proc = fmt::format("/proc/{}", box.pid().value);
  const Fd memory(::open((proc + "/mem").c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(memory);
  const std::string maps = read_file(proc + "/maps");
  std::size_t read = 0;
  for (std::size_t at = 0; at < maps.size(); at = maps.find('\n', at) + 1) {
    unsigned long from = 0, to = 0;
    must(std::sscanf(maps.c_str() + at, "%lx-%lx", &from, &to) == 2, "a line of maps");
    std::string content(to - from, '\0');
    const ssize_t n =
        ::pread(memory.get(), content.data(), content.size(), static_cast<off_t>(from));
    if (n <= 0) continue;  // [vvar]
    read += static_cast<std::size_t>(n);
    CHECK(content.find(secret) == std::string::npos);
  }
  CHECK(read > 4096);
}

TEST_CASE("what an optional mount failed of is not told of another failure",
          "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {});
  spec.process.argv = {"/no/such"};
  condroid::FsMount wrong{.type = "tmpfs", .target = "/mnt"_guest, .common = {.optional = true}};
  wrong.options = {"nosuchoption=1"};
  spec.mounts = {wrong};
  const auto failed = attempt(spec);
  CHECK_THAT(failed, FailsWith(ENOENT, Step::exec, "'/no/such'"));
  REQUIRE(failed.error);
  CHECK(failed.error->subject.find("nosuchoption") == std::string::npos);
}

TEST_CASE("a deadline beyond all time is none", "[launch][.root][.userns]") {
  const TempRoot root;
  auto box = launch(payload(root, {"exit", "0"}),
                    LaunchOptions{.deadline = std::chrono::milliseconds::max()});
  CHECK(wait(box).code == 0);
}

TEST_CASE("who has more to send than the socket holds waits for room in it",
          "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit", "0"});
  for (int i = 0; i < 15; ++i) spec.process.argv.push_back(std::string(100000, 'x'));
  auto plan = condroid::compile(spec, facts());
  REQUIRE(plan);
  const pid_t zygote = runtime().zygote_pid().value;
  auto launch = runtime().start(std::move(*plan));
  REQUIRE(launch);
  must(::kill(zygote, SIGSTOP) == 0, "SIGSTOP");  // nobody reads
  const auto first = launch->step();
  const auto interest = launch->interest();
  must(::kill(zygote, SIGCONT) == 0, "SIGCONT");
  REQUIRE(first);
  REQUIRE_FALSE(*first);
  CHECK((interest.events & POLLOUT) != 0);
  for (;;) {
    auto done = launch->step();
    REQUIRE(done);
    if (*done) {
      CHECK(wait(**done).code == 0);
      break;
    }
    pollfd p{launch->interest().fd.get(), launch->interest().events, 0};
    (void)::poll(&p, 1, launch->timeout());
  }
}

TEST_CASE("a time namespace is joined together with an id map", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  Spec first = payload(root, {"pause"});
  first.namespaces |= Namespace::time;
  const auto holder = launch(first);
  Spec spec = payload(root, {"exit", "0"});
  spec.idmap = shifted;
  spec.join = {{.kind = Namespace::time, .from = holder.pid()}};
  CHECK(launch_and_wait(spec).code == 0);
}

TEST_CASE("cgroups are removed however deep a container nests them", "[launch][.root]") {
  if (::geteuid() != 0 || facts().cgroups.empty()) CONDROID_SKIP("needs root and cgroups");
  Spec spec;
  spec.name = "deep";
  spec.idmap = shifted;
  spec.mounts = {condroid::CgroupMount{.flags = condroid::MountFlag::nosuid}};
  // Where the host has one hierarchy this is it, else the first.
  spec.process.argv = {"/bin/sh", "-c",
                       "cd /sys/fs/cgroup; test -e cgroup.procs || cd \"$(ls | head -n 1)\"; "
                       "p=.; for i in $(seq 100); do p=$p/a; done; mkdir -p $p"};
  const auto exit = launch_and_wait(spec);
  CHECK(exit.code == 0);
  CHECK(exit.cleanup_errors.empty());
}
