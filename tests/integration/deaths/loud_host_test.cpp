// A host that is anything but quiet: while containers are launched from many threads, others
// allocate, lock, fork without exec, open and close Runtimes of their own and reap whatever they
// find. And many containers at once.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <latch>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "containers.hpp"
#include "forked.hpp"

using namespace std::chrono_literals;
using condroid::Container;
using condroid::Exit;
using condroid::Plan;
using condroid::Runtime;
using condroid::Spec;
using condroid::Stdio;
using condroid::test::facts;
using condroid::test::Forked;
using condroid::test::launch;
using condroid::test::payload;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;

namespace {

using Clock = std::chrono::steady_clock;

Spec quiet(const TempRoot& root, std::vector<std::string> verb) {
  Spec spec = payload(root, std::move(verb));
  spec.process.stdio = Stdio::null;
  return spec;
}

/// What a launch of this Spec does, compiled once.
std::shared_ptr<const Plan> plan_of(const Spec& spec) {
  auto plan = compile(spec, facts());
  if (!plan) throw std::runtime_error(to_string(plan.error()));
  return std::make_shared<const Plan>(std::move(*plan));
}

/// Runs in a process of its own, for it ruins the process for everybody else.
class LoudHost {
 public:
  explicit LoudHost(std::chrono::milliseconds length) : length_(length) {}

  /// 0, or 1 after printing what was wrong.
  int run() {
    quick_ = plan_of(quiet(root_, {"exit", "0"}));
    lasting_ = plan_of(quiet(root_, {"pause"}));
    { const Container warm = launch(quiet(root_, {"pause"})); }
    half("SIGCHLD ignored", SIG_IGN);
    half("SIGCHLD by default", SIG_DFL);
    for (const auto& w : wrong_) fmt::print("{}\n", w);
    std::fflush(stdout);
    return wrong_.empty() ? 0 : 1;
  }

 private:
  void half(const char* name, void (*disposition)(int)) {
    ::signal(SIGCHLD, disposition);
    launches_ = left_ = forks_ = reaped_ = runtimes_ = 0;
    longest_ = 0;
    const Surroundings before = Surroundings::quiet();
    // The clock starts when all are there, and a machine that is too busy for something to be done
    // in time is given more.
    std::latch all_there(1);
    const auto goes_on = [&] {
      const auto now = Clock::now();
      return !failed_ && (now < until_ || (now < until_ + 30s && !all_done(disposition)));
    };
    std::vector<std::thread> threads;
    const auto add = [&](int count, void (LoudHost::*what)(unsigned)) {
      for (int i = 0; i < count; ++i)
        threads.emplace_back([this, &all_there, &goes_on, what, i] {
          all_there.wait();
          while (goes_on()) (this->*what)(static_cast<unsigned>(i));
        });
    };
    constexpr int launchers = 64, leavers = 16;
    add(launchers, &LoudHost::launch_one);
    add(leavers, &LoudHost::launch_and_leave);
    add(2, &LoudHost::open_and_close);
    add(4, &LoudHost::allocate);
    add(2, &LoudHost::lock);
    add(2, &LoudHost::fork_one);
    add(3, &LoudHost::reap);
    until_ = Clock::now() + length_ / 2;
    all_there.count_down();
    for (auto& t : threads) t.join();
    while (::waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {
    }
    const Surroundings after = Surroundings::settled(before);
    if (!(before == after))
      say(fmt::format("before: {}\nafter: {}", to_text(before), to_text(after)));
    fmt::print(
        "{}: {} launches, {} containers that outlived their thread, {} Runtimes, {} forks, {} of "
        "them reaped by waitpid(-1); the longest launch took {} ms\n",
        name, launches_.load(), left_.load(), runtimes_.load(), forks_.load(), reaped_.load(),
        longest_.load());
    if (!all_done(disposition)) say("something was not done at all");
  }

  /// Ignored children leave nothing to be reaped.
  [[nodiscard]] bool all_done(void (*disposition)(int)) const {
    return launches_ != 0 && left_ != 0 && runtimes_ != 0 && forks_ != 0 &&
           (disposition == SIG_IGN || reaped_ != 0);
  }

  void say(std::string what) {
    const std::lock_guard lock(mutex_);
    if (wrong_.size() < 10) wrong_.push_back(std::move(what));
    failed_ = true;
  }

  Container* launched(const std::shared_ptr<const Plan>& plan, std::optional<Container>& box) {
    const auto begin = Clock::now();
    // Only a hang takes that long, however busy the machine is.
    auto result = runtime().launch(plan, {.deadline = 30s});
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    for (auto now = longest_.load(); now < took.count();)
      if (longest_.compare_exchange_weak(now, took.count())) break;
    if (!result) {
      say(to_string(result.error()));
      return nullptr;
    }
    box.emplace(std::move(*result));
    return &*box;
  }

  void launch_one(unsigned /*thread*/) {
    std::optional<Container> box;
    if (launched(quick_, box) == nullptr) return;
    auto exit = box->wait_for(20s);
    if (!exit)
      say(to_string(exit.error()));
    else if (!*exit)
      say("a container did not end");
    else if (!(*exit)->success() || !(*exit)->cleanup_errors.empty())
      say(to_string(**exit));
    ++launches_;
  }

  /// The container is launched by a thread that is gone the next moment.
  void launch_and_leave(unsigned /*thread*/) {
    std::optional<Container> box;
    std::thread([&] { (void)launched(lasting_, box); }).join();
    if (!box) return;
    std::this_thread::sleep_for(20ms);
    auto exit = box->step();
    if (!exit)
      say(to_string(exit.error()));
    else if (*exit)
      say("a container did not outlive its thread: " + to_string(**exit));
    box.reset();
    ++left_;
  }

  /// A zygote is the host's child for a moment, by way of the middle process: the only children of
  /// ours that somebody else could reap.
  void open_and_close(unsigned thread) {
    const auto mine = Runtime::open({.state_dir = root_.host(fmt::format("state-{}", thread))});
    if (!mine) return say(to_string(mine.error()));
    const auto box = mine->launch(quick_, {.deadline = 30s});
    if (!box) say(to_string(box.error()));
    ++runtimes_;
  }

  void allocate(unsigned thread) {
    std::minstd_rand random(thread + 1);
    std::vector<std::string> kept;
    for (int i = 0; i < 200; ++i) {
      kept.emplace_back(random() % 20000, 'x');
      if (kept.size() > 50) kept.erase(kept.begin());
    }
    std::this_thread::sleep_for(1ms);  // leave something of the processor to the others
  }

  void lock(unsigned /*thread*/) {
    for (int i = 0; i < 100; ++i) {
      const std::lock_guard mine(locked_);
      std::fputs("loud\n", null_);
      std::time_t now = std::time(nullptr);
      std::tm parts{};
      ::localtime_r(&now, &parts);
    }
    std::this_thread::sleep_for(1ms);
  }

  /// Some live so long that every launch on its way has to do without the end of file that they
  /// hold back.
  void fork_one(unsigned thread) {
    const unsigned n = forks_++;
    const pid_t child = ::fork();
    if (child == 0) {
      const bool long_lived = n % 100 == 50;
      const timespec pause{long_lived ? 3 : 0,
                           long_lived ? 0 : static_cast<long>(n % 20) * 1000000};
      ::nanosleep(&pause, nullptr);
      ::_exit(0);
    }
    if (child < 0 && errno != EAGAIN) say("fork failed");
    std::this_thread::sleep_for(std::chrono::milliseconds(2 + thread));
  }

  /// One that waits for whatever ends, one that also takes children without an exit signal, and
  /// one that only looks.
  void reap(unsigned thread) {
    constexpr int ways[] = {0, __WALL, WNOHANG | __WALL};
    if (::waitpid(-1, nullptr, ways[thread]) > 0)
      ++reaped_;
    else
      std::this_thread::sleep_for(1ms);
  }

  const TempRoot root_;
  const std::chrono::milliseconds length_;
  Clock::time_point until_;
  std::shared_ptr<const Plan> quick_, lasting_;
  std::atomic<unsigned> launches_{0}, left_{0}, forks_{0}, reaped_{0}, runtimes_{0};
  std::atomic<long long> longest_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_, locked_;
  std::vector<std::string> wrong_;
  std::FILE* null_ = std::fopen("/dev/null", "we");
};

/// The exit status of the process, 128 + signal, or -1 when it did not end in time: a hang.
int wait_in_time(const Forked& process, std::chrono::milliseconds patience) {
  const auto until = Clock::now() + patience;
  for (;;) {
    int status = 0;
    if (::waitpid(process.pid(), &status, WNOHANG) == process.pid())
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (Clock::now() > until) return -1;
    (void)::poll(nullptr, 0, 10);
  }
}

}  // namespace

// CONDROID_LOUD_SECONDS: how long. Among the others it is short; the test 'loud-host' takes its
// time.
TEST_CASE("a loud host launches without a hang and without a leak", "[launch][.root]") {
  const char* wanted = std::getenv("CONDROID_LOUD_SECONDS");
  const std::chrono::seconds length(wanted != nullptr ? std::atoi(wanted) : 5);
  const Forked host([&] {
    try {
      return LoudHost(length).run();
    } catch (const std::exception& e) {
      fmt::print("{}\n", e.what());
      std::fflush(stdout);
      return 2;
    }
  });
  CHECK(wait_in_time(host, length + 120s) == 0);
}

TEST_CASE("a thousand containers live at once", "[launch][.root]") {
  constexpr std::size_t count = 1000;
  rlimit files{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  const rlimit before = files;
  // Three descriptors for each and some for the rest.
  constexpr rlim_t needed = 4 * count;
  if (files.rlim_max < needed) CONDROID_SKIP("the hard limit of open files is too small");
  files.rlim_cur = std::max(files.rlim_cur, needed);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &files) == 0);

  const TempRoot root;
  { const Container warm = launch(quiet(root, {"pause"})); }
  const Surroundings empty = Surroundings::quiet();
  const auto plan = plan_of(quiet(root, {"pause"}));
  {
    std::vector<Container> boxes;
    for (std::size_t i = 0; i < count; ++i) {
      auto box = runtime().launch(plan);
      if (!box) FAIL(to_string(box.error()) << " at container " << i);
      boxes.push_back(std::move(*box));
    }
    const Surroundings full = Surroundings::now();
    CHECK(full.children.size() == empty.children.size() + count);
    CHECK(full.descriptors.size() <= empty.descriptors.size() + 3 * count);
    CHECK(full.zygote_descriptors <= empty.zygote_descriptors + 2 * count);
    std::size_t alive = 0;
    for (auto& box : boxes) {
      auto exit = box.step();
      if (exit && !*exit) ++alive;
    }
    CHECK(alive == count);
    for (auto& box : boxes) CHECK(box.kill().has_value());
    for (auto& box : boxes) {
      auto exit = box.wait_for(20s);
      REQUIRE(exit.has_value());
      REQUIRE(exit->has_value());
      CHECK((*exit)->signal.value == SIGKILL);
    }
  }
  CHECK(Surroundings::settled(empty) == empty);
  CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}
