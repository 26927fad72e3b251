// Ten containers in one epoll loop, with live figures: what they use, what happens to them, how
// they end. As an ordinary user without a cgroup of his own the figures are missing, and the rest
// works.
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <condroid/stats.hpp>
#include <condroid/watch.hpp>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

using namespace condroid;
using namespace condroid::literals;

namespace {

struct Row {
  Container box;
  std::optional<StatsReader> reader;
  std::optional<Watch> watch;
  Stats now = {};
  std::string met = "-";  ///< What happened to it last.
  std::string end = {};   ///< How it ended.
};

const char* const commands[] = {
    "while :; do :; done",                                      // a burner
    "head -c 200000000 /dev/zero | tail -c 200000000 | wc -c",  // a hog
    "for i in 1 2 3 4 5 6 7 8 9; do sleep 9 & done; wait",      // more processes than it may have
    "sleep 1; exit 7",
    "sleep 9",
    "sleep 2; exec no-such-program",
};

void print(const std::vector<Row>& rows, bool terminal) {
  if (terminal) fmt::print("\033[H\033[J");
  fmt::print("{:<10} {:>8} {:>9} {:>5}  {}\n", "name", "cpu ms", "memory", "pids", "what happened");
  for (const Row& r : rows) {
    const auto text = [](const auto& has, auto value) {
      return has ? fmt::format("{}", value()) : std::string("-");
    };
    fmt::print("{:<10} {:>8} {:>9} {:>5}  {}\n", r.box.name(),
               text(r.now.cpu, [&] { return r.now.cpu->total.count() / 1000; }),
               text(r.now.memory,
                    [&] { return fmt::format("{} KiB", r.now.memory->current.value >> 10U); }),
               text(r.now.pids, [&] { return r.now.pids->current; }),
               r.end.empty() ? r.met : r.end);
  }
}

}  // namespace

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) return fmt::print(stderr, "{}\n", runtime.error()), 1;
  const Fd loop(::epoll_create1(EPOLL_CLOEXEC)),
      tick(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  const auto add = [&](FdView fd, std::uint64_t what) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = what}};
    ::epoll_ctl(loop.get(), EPOLL_CTL_ADD, fd.get(), &event);
  };
  std::vector<Row> rows;
  for (std::size_t i = 0; i < 10; ++i) {
    auto builder = ContainerBuilder{fmt::format("box-{}", i)};
    builder.stdio(Stdio::null).exec({"/bin/sh", "-c", commands[i % std::size(commands)]});
    auto limited = builder;
    auto box = limited.cgroup(CgroupMode::everywhere)
                   .memory_max(64_MiB)
                   .pids_max(8)
                   .cpus(0.1)
                   .launch(*runtime);
    if (!box) box = builder.launch(*runtime);  // who may not limit does without
    if (!box) return fmt::print(stderr, "{}\n", box.error()), 1;
    rows.push_back({.box = std::move(*box)});
    Row& r = rows.back();
    if (auto reader = r.box.stats_reader()) r.reader = std::move(*reader);
    if (auto watch = r.box.watch()) r.watch = std::move(*watch);
    add(r.box.poll_fd(), i);
    if (r.watch) add(r.watch->poll_fd(), 100 + i);
  }
  const itimerspec half{{0, 500000000}, {0, 500000000}};
  ::timerfd_settime(tick.get(), 0, &half, nullptr);
  add(tick, 1000);

  std::size_t running = rows.size();
  for (int ticks = 0; running > 0;) {
    epoll_event events[16];
    const int n = ::epoll_wait(loop.get(), events, 16, -1);
    for (int k = 0; k < n; ++k) {
      const std::uint64_t what = events[k].data.u64;
      if (what == 1000) {
        std::uint64_t count = 0;
        (void)!::read(tick.get(), &count, sizeof count);
        for (Row& r : rows)
          if (r.reader) (void)r.reader->read(r.now);
        print(rows, ::isatty(STDOUT_FILENO) == 1);
        if (++ticks == 10)
          for (Row& r : rows) (void)r.box.kill();  // five seconds are enough to see it
      } else if (what >= 100) {
        Row& r = rows[what - 100];
        while (auto event = r.watch->next().value_or(std::nullopt))
          if (event->kind != WatchEvent::ended) r.met = to_string(event->kind);
      } else if (auto exit = rows[what].box.step(); !exit || *exit) {
        rows[what].end = exit ? to_string(**exit) : to_string(exit.error());
        ::epoll_ctl(loop.get(), EPOLL_CTL_DEL, rows[what].box.poll_fd().get(), nullptr);
        --running;
      }
    }
  }
  print(rows, ::isatty(STDOUT_FILENO) == 1);
}
