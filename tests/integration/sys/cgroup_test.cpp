#include "condroid/sys/cgroup.hpp"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "in_child.hpp"
#include "sys_matchers.hpp"

using namespace std::chrono_literals;
using condroid::CgroupDir;
using condroid::CgroupHierarchy;
using condroid::Errc;
using condroid::Fd;
using condroid::Pid;
using condroid::test::errno_of;
using condroid::test::fails_with;
using condroid::test::Forked;
using condroid::test::need;

namespace {

/// The hierarchies of this machine in which this user may make cgroups.
std::vector<CgroupHierarchy> writable() {
  auto all = need(CgroupDir::hierarchies());
  std::erase_if(all, [](const CgroupHierarchy& h) { return !h.writable; });
  return all;
}

bool has(const CgroupHierarchy& h, std::string_view controller) {
  return std::find(h.controllers.begin(), h.controllers.end(), controller) != h.controllers.end();
}

std::string label(const CgroupHierarchy& h) {
  std::string text = h.mount_point;
  for (const auto& c : h.controllers) text += " " + c;
  return text;
}

/// A cgroup of the test's own, killed and removed at the end whatever happened.
class Scratch {
 public:
  explicit Scratch(const CgroupHierarchy& h) : dir_(need(CgroupDir::create(h, name()))) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    (void)dir_.kill();
    (void)dir_.thaw();
    if (auto gone = dir_.remove(5s); !gone) UNSCOPED_INFO(to_string(gone.error()));
  }
  const CgroupDir& operator*() const { return dir_; }
  const CgroupDir* operator->() const { return &dir_; }
  static std::string name() { return "/condroid-test-" + std::to_string(::getpid()); }

 private:
  CgroupDir dir_;
};

/// A child in a cgroup, which writes a byte each millisecond.
class Ticking {
 public:
  explicit Ticking(const CgroupDir& dir, int forks = 0) : Ticking(pipe_ends(), dir, forks) {}
  [[nodiscard]] const Forked& process() const { return child_; }
  [[nodiscard]] Pid pid() const { return Pid{child_.pid()}; }
  /// Whether a byte comes within this time, after those that were written before are taken.
  [[nodiscard]] bool ticks(std::chrono::milliseconds within) const {
    char buffer[4096];
    while (::read(from_.get(), buffer, sizeof buffer) > 0) {
    }
    pollfd p{from_.get(), POLLIN, 0};
    return ::poll(&p, 1, static_cast<int>(within.count())) == 1 && (p.revents & POLLIN) != 0;
  }
  /// Whether all who could write have ended.
  [[nodiscard]] bool ended(std::chrono::milliseconds within) const {
    const auto until = std::chrono::steady_clock::now() + within;
    char buffer[4096];
    for (;;) {
      const ssize_t n = ::read(from_.get(), buffer, sizeof buffer);
      if (n == 0) return true;
      if (std::chrono::steady_clock::now() > until) return false;
      pollfd p{from_.get(), POLLIN, 0};
      if (n < 0) (void)::poll(&p, 1, 10);
    }
  }

 private:
  struct Ends {
    Fd from, to;
  };
  static Ends pipe_ends() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    return {Fd(ends[0]), Fd(ends[1])};
  }
  Ticking(Ends ends, const CgroupDir& dir, int forks)
      : from_(std::move(ends.from)), child_([&] {
          if (!dir.enter()) return 1;
          for (int i = 0; i < forks; ++i) (void)::fork();
          for (;;) {
            (void)!::write(ends.to.get(), "x", 1);
            ::usleep(1000);
          }
        }) {
    ends.to.reset();
    REQUIRE(ticks(10s));
  }
  Fd from_;
  Forked child_;
};

std::vector<std::string> words(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> list;
  for (std::string word; in >> word;) list.push_back(word);
  std::sort(list.begin(), list.end());
  return list;
}

}  // namespace

#define FOR_EACH_HIERARCHY(h)                                                       \
  if (::geteuid() != 0) CONDROID_SKIP("needs root");                                \
  const auto every = writable();                                                    \
  if (every.empty()) CONDROID_SKIP("no cgroups that could be written to");          \
  const CgroupHierarchy& h = GENERATE_COPY(from_range(every.begin(), every.end())); \
  INFO(label(h))

TEST_CASE("a cgroup is made, opened and removed", "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  CHECK(group->v2() == h.v2);
  CHECK(group->path() == h.mount_point + Scratch::name());
  CHECK(errno_of(CgroupDir::create(h, Scratch::name())) == EEXIST);
  const CgroupDir child = need(group->create_child("child"));
  CHECK(errno_of(group->create_child("child")) == EEXIST);
  CHECK(need(CgroupDir::open(h, Scratch::name() + "/child")).path() == child.path());
  CHECK(condroid::test::same_file(need(group->open_child("child")).fd(), child.fd()));
  CHECK(errno_of(group->open_child("other")) == ENOENT);
  CHECK(!need(group->populated()));
  need(child.create_child("grandchild"));
  need(group->remove());
  CHECK(errno_of(CgroupDir::open(h, Scratch::name())) == ENOENT);
  CHECK(!need(group->populated()));
  need(group->remove());
}

TEST_CASE("another cgroup of the same name is not removed by an old handle",
          "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  const CgroupDir first = need(group->create_child("name"));
  need(first.remove());
  const CgroupDir second = need(group->create_child("name"));
  need(first.remove());
  CHECK(need(group->open_child("name")).valid());
}

TEST_CASE("a process enters a cgroup, is found there and keeps it from being removed",
          "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  const CgroupDir below = need(group->create_child("below"));
  const Ticking child(below);
  CHECK(need(below.processes()) == std::vector{child.pid()});
  CHECK(need(group->processes()).empty());
  CHECK(need(below.populated()));
  CHECK(need(group->populated()));
  CHECK(errno_of(group->remove(20ms)) == EBUSY);
  need(group->add(child.pid()));
  CHECK(need(below.processes()).empty());
  CHECK(!need(below.populated()));
  CHECK(need(group->processes()) == std::vector{child.pid()});
}

TEST_CASE("a process that does not exist cannot be added", "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  CHECK(errno_of(group->add(Pid{0x7fffffff})) == ESRCH);
}

TEST_CASE("killing reaches everything in a cgroup and below, then it can be removed",
          "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  const CgroupDir below = need(group->create_child("below"));
  const Ticking many(*group, 4);
  const Ticking deep(below);
  for (int i = 0; i < 10000 && need(group->processes()).size() < 16; ++i) ::usleep(1000);
  CHECK(need(group->processes()).size() == 16);
  need(group->kill());
  CHECK(many.ended(10s));
  CHECK(deep.ended(10s));
  need(group->remove(5s));
  CHECK(errno_of(CgroupDir::open(h, Scratch::name())) == ENOENT);
}

TEST_CASE("removing waits for the end of what is there", "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  const Ticking child(*group);
  std::thread later([&] {
    std::this_thread::sleep_for(50ms);
    (void)group->kill();
  });
  const auto removed = group->remove(10s);
  later.join();
  need(removed);
}

TEST_CASE("a frozen cgroup stands still until it is thawed, and can be killed",
          "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  if (!h.v2 && !has(h, "freezer")) {
    CHECK(fails_with(group->freeze(), Errc::unsupported));
    CHECK(fails_with(group->thaw(), Errc::unsupported));
    return;
  }
  const CgroupDir below = need(group->create_child("below"));
  const Ticking child(below);
  // Goes before the child, which could not be waited for while it is frozen (version 1).
  const struct Thaw {
    const CgroupDir& dir;
    ~Thaw() { (void)dir.thaw(); }
  } thaw{*group};
  need(group->freeze());
  CHECK(!child.ticks(30ms));
  need(group->thaw());
  CHECK(child.ticks(10s));
  SECTION("also below one that is frozen") {
    need(group->freeze());
    CHECK(fails_with(below.thaw(20ms), Errc::deadline));
    CHECK(!child.ticks(30ms));
  }
  SECTION("a frozen one ends when it is killed") {
    need(group->freeze());
    need(group->kill());
    CHECK(child.ended(10s));
  }
}

TEST_CASE("values are written, read and refused", "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  CHECK(errno_of(group->read("no.such.file")) == ENOENT);
  const auto missing = group->write("no.such.file", "1");
  // No file can be made there; some kernels call that a missing right.
  CHECK((errno_of(missing) == ENOENT || errno_of(missing) == EACCES || errno_of(missing) == EPERM));
  CHECK(missing.error().subject == "'1' to '" + group->path() + "/no.such.file'");
  if (!h.v2 && has(h, "pids")) {
    need(group->write("pids.max", "7"));
    CHECK(need(group->read("pids.max")) == "7\n");
    CHECK(errno_of(group->write("pids.max", "many")) == EINVAL);
    CHECK(need(group->read("pids.max")) == "7\n");
  }
}

TEST_CASE("a new cpuset can be entered", "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  if (h.v2 || !has(h, "cpuset")) return;
  const Scratch group(h);
  const CgroupDir below = need(group->create_child("below"));
  CHECK(need(below.read("cpuset.cpus")) == need(need(CgroupDir::open(h, "/")).read("cpuset.cpus")));
  const Ticking child(below);
  CHECK(need(below.processes()).size() == 1);
}

TEST_CASE("controllers are switched on for the cgroups below", "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  if (!h.v2) {
    need(group->enable({"anything"}));
    return;
  }
  const auto available = words(need(group->read("cgroup.controllers")));
  need(group->enable(available));
  need(group->enable(available));
  CHECK(words(need(need(group->create_child("below")).read("cgroup.controllers"))) == available);
  const auto unknown = group->enable({"no such controller"});
  CHECK(errno_of(unknown) == EINVAL);
  CHECK(unknown.error().subject == "controller 'no such controller' of '" + group->path() + "'");
}

TEST_CASE("one thread enters a cgroup of version 1 alone", "[sys][.root][.cgroup]") {
  FOR_EACH_HIERARCHY(h);
  const Scratch group(h);
  const std::string own = std::to_string(::getpid());
  int failed = -1;
  std::string members;
  // In a child: afterwards the thread that stays behind would still be the test program.
  CHECK(condroid::test::in_child([&] {
          std::thread([&] {
            failed = condroid::test::errno_in_child(group->enter_thread());
            if (!h.v2) members = group->read("tasks").value_or("");
          }).join();
          if (h.v2) {
            condroid::test::must(failed == EOPNOTSUPP, "a thread went alone where it may not");
          } else {
            condroid::test::must(failed == 0, "the thread did not go");
            condroid::test::must(words(members).size() == 1, "not one thread: " + members);
            condroid::test::must(words(members).front() != std::to_string(::getpid()),
                                 "the first thread went");
          }
        }) == "");
}
