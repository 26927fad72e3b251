// One Runtime, and what its threads do with it at once: each has a pool, containers that are
// attached to, that ask, that are launched again. The thread sanitizer looks on in a build of its
// own.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/notify.hpp"
#include "condroid/pool.hpp"
#include "condroid/run.hpp"
#include "containers.hpp"

using condroid::Container;
using condroid::Exit;
using condroid::Pool;
using condroid::Result;
using condroid::Seccomp;
using condroid::Spec;
using condroid::Stdio;
using condroid::SyscallListener;
using condroid::SyscallRequest;
using condroid::Take;
using condroid::test::launch;
using condroid::test::payload;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempRoot;
using namespace std::chrono_literals;

namespace {

constexpr int rounds = 8;

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(to_string(result.error()));
  return std::move(*result);
}

void expect(const Exit& exit, int code) {
  if (exit.code != code || !exit.cleanup_errors.empty())
    throw std::runtime_error(fmt::format("{} where {} was to come", to_string(exit), code));
}

Take exits(int code) { return {.argv = {"/bin/payload", "exit", std::to_string(code)}}; }

void take(const Spec& spec, int code) {
  Pool pool = must(Pool::open(runtime(), spec, {.size = 2}));
  for (int i = 0; i < rounds; ++i) {
    Container box = must(pool.take(exits(code)));
    expect(must(box.wait()), code);
  }
}

void attach(const Spec& spec, int code) {
  Container box = launch(spec);
  condroid::Attach what;
  what.process = {.argv = {"/bin/payload", "exit", std::to_string(code)}, .stdio = Stdio::null};
  for (int i = 0; i < rounds; ++i) {
    auto task = must(box.attach(what));
    expect(must(task.wait()), code);
  }
  if (auto ok = box.kill(); !ok) throw std::runtime_error(to_string(ok.error()));
  (void)must(box.wait());
}

/// getppid(2) is asked about.
Seccomp asking() {
  const auto word = [](unsigned code, std::uint32_t k, unsigned no = 0) {
    return code | std::uint64_t{no} << 24U | std::uint64_t{k} << 32U;
  };
  Seccomp s{.kind = Seccomp::bpf};
  s.notify_program = {word(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                      word(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 1),
                      word(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                      word(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  return s;
}

void answer(const Spec& spec) {
  for (int i = 0; i < rounds; ++i) {
    Container box = launch(spec);
    SyscallListener listener = must(box.take_listener());
    int asked = 0;
    const auto refuse = [&](SyscallListener& l, const SyscallRequest& r) {
      ++asked;
      return l.refuse(r, ENOSPC);
    };
    (void)must(serve(box, listener, refuse));
    if (asked != 2) throw std::runtime_error(fmt::format("asked {} times", asked));
  }
}

void live_again(const Spec& spec) {
  for (int i = 0; i < rounds; ++i) {
    Container box = launch(spec);
    const Exit exit = must(box.wait());
    expect(exit, 3);
    if (exit.restarts != 2) throw std::runtime_error(to_string(exit));
  }
}

}  // namespace

TEST_CASE("a Runtime serves what its threads do with pools, tasks, questions and next lives",
          "[threads][.root]") {
  const TempRoot root;
  Spec sleeping = payload(root, {"pause"});
  sleeping.process.stdio = Stdio::null;
  Spec asks = payload(root, {"ask", "getppid", "getppid"});
  asks.process.stdio = Stdio::null;
  asks.security.seccomp = asking();
  Spec again = payload(root, {"exit", "3"});
  again.process.stdio = Stdio::null;
  again.lifecycle.restart = condroid::Restart::on_failure;
  again.lifecycle.restart_limit = 2;
  // What a Runtime makes once is there.
  take(sleeping, 0);
  attach(sleeping, 0);
  live_again(again);
  const Surroundings before = Surroundings::quiet();
  std::mutex mutex;
  std::vector<std::string> wrong;
  {
    std::vector<std::jthread> threads;
    const auto begin = [&](std::function<void()> work) {
      threads.emplace_back([&, work = std::move(work)] {
        try {
          work();
        } catch (const std::exception& e) {
          const std::lock_guard mine(mutex);
          wrong.emplace_back(e.what());
        }
      });
    };
    for (int i = 1; i <= 2; ++i) {
      begin([&sleeping, i] { take(sleeping, i); });
      begin([&sleeping, i] { attach(sleeping, i); });
      begin([&asks] { answer(asks); });
      begin([&again] { live_again(again); });
    }
  }
  CHECK(wrong == std::vector<std::string>{});
  CHECK(Surroundings::settled(before) == before);
}
