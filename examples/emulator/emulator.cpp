#include "emulator.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condroid/android/launch.hpp>
#include <condroid/registry.hpp>
#include <utility>

using namespace condroid;
using std::chrono::nanoseconds;

static constexpr std::chrono::milliseconds between_looks{250};

std::string_view to_string(State state) noexcept {
  constexpr std::array<std::string_view, 7> names = {"launching", "booting", "booted", "frozen",
                                                     "stopping",  "ended",   "failed"};
  return names[static_cast<std::size_t>(state)];
}

Result<Emulator> Emulator::open(HostPath state_dir) {
  auto runtime = Runtime::open({.state_dir = state_dir});
  if (!runtime) return condroid::fail(runtime);
  return Emulator(std::move(*runtime), std::move(state_dir));
}

nanoseconds Emulator::now() const { return std::chrono::steady_clock::now() - start_; }

Result<void> Emulator::add(android::Device device) {
  auto facts = runtime_.facts();
  if (!facts) return condroid::fail(facts);
  const bool known =
      std::ranges::any_of(guests_,
                          [&](const Guest& g) { return g.name == device.name && !g.over; }) ||
      Registry::find(device.name, state_dir_).has_value();
  if (known)
    return condroid::fail(EEXIST, Step::find_container,
                          fmt::format("device '{}': one of this name runs", device.name));
  auto log = android::KmsgLog::open();
  if (!log) return condroid::fail(log);
  // So that memory and processors are counted whichever hierarchy has them, and the limits are out
  // of the guest's reach.
  if (device.resources.cgroup == CgroupMode::automatic)
    device.resources.cgroup = CgroupMode::everywhere;
  if (device.resources.cgroup_path.empty())
    device.resources.cgroup_path = fmt::format("condroid-emulator/{}/{}", ::getpid(), device.name);
  device.kmsg = log->path();
  auto ready = android::prepare(device, *facts);
  if (!ready) return condroid::fail(ready);
  log->begin(start_);
  auto launch = runtime_.start(ready->spec, android::options_for(*ready));
  if (!launch) return condroid::fail(launch);

  Guest& guest = guests_.emplace_back();
  guest.name = device.name;
  guest.begun = now();
  guest.lease = std::move(ready->lease);
  guest.log.emplace(std::move(*log));
  guest.launch.emplace(std::move(*launch));
  return {};
}

void Emulator::poll_fds(std::vector<pollfd>& into) const {
  for (const Guest& g : guests_) {
    if (g.over) continue;
    into.push_back({g.log->poll_fd().get(), POLLIN, 0});
    if (g.launch) {
      const auto [fd, events] = g.launch->interest();
      into.push_back({fd.get(), events, 0});
    } else {
      into.push_back({g.box->poll_fd().get(), POLLIN, 0});
    }
  }
}

int Emulator::timeout() const {
  if (finished()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_look_ - now()).count();
  int wait = static_cast<int>(std::clamp<long long>(left, 0, between_looks.count()));
  for (const Guest& g : guests_)
    if (g.launch && g.launch->timeout() >= 0) wait = std::min(wait, g.launch->timeout());
  return wait;
}

bool Emulator::step() {
  bool news = false;
  const bool due = now() >= next_look_;
  if (due) next_look_ = now() + between_looks;
  for (Guest& g : guests_) {
    if (g.over) continue;
    if (step(g)) news = true;
    if (due && g.box && !g.over && look(g)) news = true;
  }
  return news;
}

void Emulator::fail(Guest& guest, Error error) const {
  // A launch that was given up on request is no failure.
  guest.state = guest.asked && error.is(Errc::cancelled) ? State::ended : State::failed;
  if (guest.state == State::failed) guest.error = std::move(error);
  guest.over = now();
  guest.launch.reset();
  guest.box.reset();  // which kills it, if it is there at all
  guest.lease = {};
}

void Emulator::begin_life(Guest& g) const {
  g.launched = now();
  if (!g.asked) g.state = State::booting;
  if (auto reader = g.box->stats_reader()) g.reader = std::move(*reader);
}

bool Emulator::step(Guest& g) {
  bool news = false;
  if (g.launch) {
    auto done = g.launch->step();
    if (!done) return fail(g, std::move(done.error())), true;
    if (*done) {
      g.box.emplace(std::move(**done));
      g.launch.reset();
      begin_life(g);
      if (g.asked) (void)g.box->begin_stop();
      news = true;
    }
  }
  // The log before the end: what init said last is what there is to know.
  std::optional<Exit> exit;
  if (g.box) {
    auto ended = g.box->step();
    if (!ended) return fail(g, std::move(ended.error())), true;
    exit = std::move(*ended);
    if (!exit && g.box->life() == Life::running && g.box->restarts() != g.lives) {
      g.lives = g.box->restarts();
      g.boot = {};
      g.stats.reset();
      begin_life(g);
      news = true;
    }
  }
  if (auto events = g.log->read(g.boot)) {
    if (!events->empty()) news = true;
    if (g.state == State::booting && g.up()) g.state = State::booted;
  }
  if (!exit) return news;
  g.exit = std::move(exit);
  g.state = State::ended;
  g.over = now();
  g.box.reset();
  g.lease = {};
  return true;
}

bool Emulator::look(Guest& g) {
  Stats stats;
  if (g.reader.read(stats).value_or(false)) {
    if (g.stats && g.stats->cpu && stats.cpu && stats.taken > g.stats->taken)
      g.cpu = std::chrono::duration<double>(stats.cpu->total - g.stats->cpu->total) /
              std::chrono::duration<double>(stats.taken - g.stats->taken);
    g.stats = stats;
  }
  // Whoever froze it.
  if (g.state == State::stopping) return false;
  const State before = g.state;
  if (g.box->frozen().value_or(false))
    g.state = State::frozen;
  else if (g.state == State::frozen)
    g.state = g.up() ? State::booted : State::booting;
  return g.state != before;
}

void Emulator::stop() {
  for (Guest& g : guests_) {
    if (g.over || g.asked) continue;
    g.asked = now();
    g.state = State::stopping;
    if (g.box) (void)g.box->begin_stop();  // one that is being launched: once it is
  }
}

void Emulator::kill() {
  for (Guest& g : guests_) {
    if (g.over) continue;
    if (!g.asked) g.asked = now();
    g.state = State::stopping;
    if (g.launch) g.launch->cancel();
    if (g.box) (void)g.box->kill();
  }
}

bool Emulator::finished() const {
  return std::ranges::all_of(guests_, [](const Guest& g) { return g.over.has_value(); });
}

bool Emulator::settled() const {
  return std::ranges::all_of(guests_, [](const Guest& g) { return g.over.has_value() || g.up(); });
}
