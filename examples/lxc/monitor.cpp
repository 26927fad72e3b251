// lxc-monitor: what becomes of containers, as it happens.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <regex.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condroid/control/commands.hpp>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'n', "name", "REGEX", "Those whose whole name matches; all without"},
    {'Q', "quit", "", "Have LXC's lxc-monitord end"},
};

/// What goes through the pipe.
struct Message {
  std::int32_t type = 0;  ///< 0: a state; 2: how its first process ended.
  char name[256] = {};
  std::int32_t value = 0;
};
static_assert(sizeof(Message) == 264);

Fd connect_to(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (name.size() + 1 > sizeof address.sun_path) return {};
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return {};
  return fd;
}

/// The pipe itself, where nobody hands on what comes from it.
Fd own_pipe(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  constexpr unsigned mode = 0600;
  if (::mkfifo(path.c_str(), mode) != 0 && errno != EEXIST) {
    say("'{}': {}", path, errno_name(errno));
    return {};
  }
  // For both: a reader alone is told of an end whenever one container has written.
  Fd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  struct stat st {};
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0 || !S_ISFIFO(st.st_mode)) {
    say("'{}' is no pipe that can be had", path);
    return {};
  }
  flock lock{};
  lock.l_type = F_WRLCK;
  if (::fcntl(fd.get(), F_SETLK, &lock) != 0) {
    say("another lxc-monitor has '{}'", path);
    return {};
  }
  return fd;
}

void show(const Message& m, const regex_t& wanted) {
  const std::string name(m.name, ::strnlen(m.name, sizeof m.name));
  if (::regexec(&wanted, name.c_str(), 0, nullptr, 0) != 0) return;
  if (m.type == 0 && m.value >= 0 && m.value < static_cast<int>(control::state_count))
    fmt::print("'{}' changed state to [{}]\n", name,
               to_string(static_cast<control::State>(m.value)));
  if (m.type == 2) fmt::print("'{}' exited with status [{}]\n", name, WEXITSTATUS(m.value));
  std::fflush(stdout);
}

/// Where the messages of one path come from.
struct Source {
  Fd from = {};
  std::string begun = {};  ///< Of a message that is not there to its end.

  /// False at the end.
  [[nodiscard]] bool take(const regex_t& wanted) {
    char some[16 * sizeof(Message)];
    const ssize_t n = ::read(from.get(), some, sizeof some);
    if (n < 0) return errno == EINTR;
    begun.append(some, static_cast<std::size_t>(n));
    for (Message m; begun.size() >= sizeof m; begun.erase(0, sizeof m)) {
      std::memcpy(&m, begun.data(), sizeof m);
      show(m, wanted);
    }
    return n > 0;
  }
};

int quit(const std::vector<std::string>& paths) {
  int status = 0;
  for (const std::string& path : paths) {
    constexpr std::string_view word = "quit";
    const Fd daemon = connect_to(control::monitor_address(path));
    if (!daemon.valid() || ::send(daemon.get(), word.data(), word.size(), MSG_NOSIGNAL) <= 0)
      status = 1;
  }
  return status;
}

int run(const Arguments& args) {
  const auto paths = lxcpaths_of(args);
  if (paths.empty()) return 1;
  if (args.has("quit")) return quit(paths);
  const std::string pattern = fmt::format("^({})$", args.has("name") ? args.value("name") : ".*");
  regex_t wanted{};
  if (::regcomp(&wanted, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
    say("--name={}: that is no regular expression", args.value("name"));
    return 1;
  }
  std::vector<Source> sources;
  for (const std::string& path : paths) {
    Fd from = connect_to(control::monitor_address(path));
    if (!from.valid()) from = own_pipe(control::monitor_fifo(run_directory(), path));
    if (!from.valid()) return 1;
    sources.push_back({std::move(from)});
  }
  while (!sources.empty()) {
    std::vector<pollfd> wait;
    for (const Source& one : sources) wait.push_back({one.from.get(), POLLIN, 0});
    if (::poll(wait.data(), wait.size(), -1) < 0) {
      if (errno == EINTR) continue;
      say("the pipes: {}", errno_name(errno));
      return 1;
    }
    for (std::size_t i = sources.size(); i-- > 0;)
      if (wait[i].revents != 0 && !sources[i].take(wanted))
        sources.erase(sources.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return 0;
}

}  // namespace

const Tool lxc_monitor = {
    .name = "lxc-monitor",
    .synopsis = "[-n REGEX] [-P PATH]... [-Q]",
    .brief = "Shows what becomes of containers, as it happens.",
    .options = options,
    .names = Tool::none,
    .more =
        "-P may be repeated. It reads from LXC's lxc-monitord where that runs, else from the pipe "
        "itself, which\none lxc-monitor can have.\n\nExit status: 0; 1 when there is nothing to "
        "read from.",
    .run = &run,
    .many_paths = true,
};
