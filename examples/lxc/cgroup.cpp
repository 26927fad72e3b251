// lxc-cgroup: a file of a container's cgroup.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"
#include "usage.hpp"

using namespace condroid;

namespace {

/// The directory where that file is: of its controller, or of version 2.
Fd directory_of(const control::Client& client, const std::string& file) {
  auto group = client.limit_cgroup_fd(std::string_view(file).substr(0, file.find('.')));
  if (!group) group = client.cgroup_fd(std::string_view(file).substr(0, file.find('.')));
  if (group) return std::move(group->cgroup.dir);
  auto v2 = client.cgroup2_fd();
  return v2 ? std::move(*v2) : Fd();
}

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  if (args.words().empty() || args.words().size() > 2) {
    say("one file, as cpu.shares, and at most one value for it are needed");
    return 1;
  }
  const std::string& file = args.words()[0];
  if (file.find('/') != file.npos) {
    say("'{}' is no file of a cgroup", file);
    return 1;
  }
  const auto state = place->state();
  if (!state) return say_error(state.error());
  if (*state == control::State::stopped) {
    say("it is not running");
    return 1;
  }
  const Fd dir = directory_of(place->client(), file);
  const bool write = args.words().size() == 2;
  const Fd open(::openat(dir.get(), file.c_str(), (write ? O_WRONLY : O_RDONLY) | O_CLOEXEC));
  std::string text = write ? args.words()[1] : std::string();
  bool fine = open.valid();
  if (fine && write) fine = ::write(open.get(), text.data(), text.size()) >= 0;
  for (ssize_t n = 1; fine && !write && n > 0;) {
    char some[4096];
    n = ::read(open.get(), some, sizeof some);
    fine = n >= 0;
    if (n > 0) text.append(some, static_cast<std::size_t>(n));
  }
  if (!fine) {
    say("'{}' of its cgroup: {}", file, errno_name(errno));
    return 1;
  }
  // LXC: an empty line after it.
  if (!write) fmt::print("{}\n", text);
  return 0;
}

}  // namespace

const Tool lxc_cgroup = {
    .name = "lxc-cgroup",
    .synopsis = "-n NAME FILE [VALUE]",
    .brief =
        "Says what is in a file of a container's cgroup, cpu.shares or memory.max; or writes it.",
    .more = "Exit status: 0; 1 when it does not run, or the file cannot be had.",
    .run = &run,
};
