// lxc-monitor: what becomes of containers, as it happens.
#include <fcntl.h>
#include <fmt/format.h>
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

int run(const Arguments& args) {
  const auto path = lxcpath_of(args);
  if (!path) return 1;
  Fd from = connect_to(control::monitor_address(*path));
  if (args.has("quit")) {
    constexpr std::string_view word = "quit";
    return from.valid() && ::send(from.get(), word.data(), word.size(), MSG_NOSIGNAL) > 0 ? 0 : 1;
  }
  const std::string pattern = fmt::format("^({})$", args.has("name") ? args.value("name") : ".*");
  regex_t wanted{};
  if (::regcomp(&wanted, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
    say("--name={}: that is no regular expression", args.value("name"));
    return 1;
  }
  if (!from.valid()) from = own_pipe(control::monitor_fifo("/run", *path));
  if (!from.valid()) return 1;
  for (Message m;;) {
    std::size_t done = 0;
    while (done < sizeof m) {
      const ssize_t n = ::read(from.get(), reinterpret_cast<char*>(&m) + done, sizeof m - done);
      if (n > 0)
        done += static_cast<std::size_t>(n);
      else if (n == 0 || errno != EINTR)
        return 0;
    }
    show(m, wanted);
  }
}

}  // namespace

const Tool lxc_monitor = {
    .name = "lxc-monitor",
    .synopsis = "[-n REGEX] [-Q]",
    .brief = "Shows what becomes of containers, as it happens.",
    .options = options,
    .names = Tool::none,
    .more =
        "It reads from LXC's lxc-monitord where that runs, else from the pipe itself, which one "
        "lxc-monitor can\nhave.\n\nExit status: 0; 1 when there is nothing to read from.",
    .run = &run,
};
