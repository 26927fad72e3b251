// lxc-freeze and lxc-unfreeze.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;
using control::State;

namespace {

constexpr std::chrono::seconds patience{10};

std::string read_file(int dir, const char* name) {
  const Fd file(::openat(dir, name, O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t n = file.valid() ? ::read(file.get(), text, sizeof text) : 0;
  return {text, static_cast<std::size_t>(n > 0 ? n : 0)};
}

/// By its cgroup, and the container is told: for LXC's own where there are cgroups of version 1.
Result<void> by_cgroup(const control::Client& client, bool frozen) {
  auto group = client.cgroup_fd("freezer");
  if (!group) return fail(group);
  const bool v2 = group->cgroup.v2;
  const char* const file = v2 ? "cgroup.freeze" : "freezer.state";
  const std::string_view word = v2 ? (frozen ? "1" : "0") : (frozen ? "FROZEN" : "THAWED");
  if (auto ok = client.tell_state(frozen ? State::freezing : State::thawed); !ok) return fail(ok);
  const Fd to(::openat(group->cgroup.dir.get(), file, O_WRONLY | O_CLOEXEC));
  if (!to.valid() || ::write(to.get(), word.data(), word.size()) < 0)
    return fail(errno, Step::command_socket, fmt::format("'{}' of its cgroup", file));
  const auto until = std::chrono::steady_clock::now() + patience;
  const std::string wanted = v2 ? (frozen ? "frozen 1" : "frozen 0") : std::string(word);
  while (read_file(group->cgroup.dir.get(), v2 ? "cgroup.events" : file).find(wanted) ==
         std::string::npos) {
    if (std::chrono::steady_clock::now() > until)
      return fail(Errc::deadline, Step::command_socket, "something in it does not stand still");
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  return client.tell_state(frozen ? State::frozen : State::running);
}

int change(const Arguments& args, bool frozen) {
  const auto place = Place::of(args);
  if (!place) return 1;
  const char* const verb = frozen ? "freeze" : "unfreeze";
  const auto state = place->state();
  if (!state) return say_error(state.error());
  if (*state == State::stopped) {
    // LXC: what does not run is not frozen either.
    if (!frozen && place->defined()) return 0;
    say("cannot {} it: {}", verb,
        place->defined() ? "it does not run" : "there is no such container");
    return 1;
  }
  auto done = frozen ? place->client().freeze(patience) : place->client().thaw(patience);
  if (!done && (done.error().is_errno(ENOENT) || done.error().is_errno(ENOSYS)))
    done = by_cgroup(place->client(), frozen);
  if (done) return 0;
  return say_error(done.error());
}

int freeze(const Arguments& args) { return change(args, true); }
int unfreeze(const Arguments& args) { return change(args, false); }

}  // namespace

const Tool lxc_freeze = {
    .name = "lxc-freeze",
    .synopsis = "-n NAME",
    .brief = "Stops all processes of a container, and returns when they stand still.",
    .more = "Exit status: 0; 1 when it does not run, or does not stand still within ten seconds.",
    .run = &freeze,
};
const Tool lxc_unfreeze = {
    .name = "lxc-unfreeze",
    .synopsis = "-n NAME",
    .brief = "Lets the processes of a frozen container go on.",
    .more = "Exit status: 0, also when it does not run; 1 when there is no such container.",
    .run = &unfreeze,
};
