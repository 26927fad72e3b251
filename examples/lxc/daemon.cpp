#include "daemon.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condroid/control/commands.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "say.hpp"

using namespace condroid;

namespace {

constexpr int first_of_systemd = 3;

int listen_fds() {
  const char* const text = ::getenv("LISTEN_FDS");
  const char* const pid = ::getenv("LISTEN_PID");
  if (text == nullptr || pid == nullptr || std::atoi(pid) != ::getpid()) return 0;
  return std::clamp(std::atoi(text), 0, 1024);
}

int wait_for_result(const Fd& result) {
  int state = 0;
  ssize_t n = 0;
  do n = ::read(result.get(), &state, sizeof state);
  while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(sizeof state) &&
                 state == static_cast<int>(control::State::running)
             ? 0
             : 1;
}

}  // namespace

void pass_listening(Spec& spec) {
  const int count = listen_fds();
  if (count == 0) return;
  for (int fd = first_of_systemd; fd < first_of_systemd + count; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) spec.process.descriptors.push_back({HostFd{fd}, fd});
  // In somebody else's it does not know its number before.
  if (!spec.namespaces.has(Namespace::pid)) return;
  std::vector<std::string>& env = spec.process.env;
  const auto tell = [&env](const std::string& name, const std::string& value) {
    const bool said = std::ranges::any_of(
        env, [&](const std::string& one) { return one.starts_with(name + "="); });
    if (!said) env.push_back(name + "=" + value);
  };
  tell("LISTEN_FDS", std::to_string(count));
  tell("LISTEN_PID", spec.process.init ? "2" : "1");
  if (const char* const names = ::getenv("LISTEN_FDNAMES")) tell("LISTEN_FDNAMES", names);
}

void close_inherited(std::initializer_list<int> kept) {
  std::vector<int> stay(kept);
  std::erase_if(stay, [](int fd) { return fd < 3; });
  std::ranges::sort(stay);
  unsigned from = first_of_systemd + static_cast<unsigned>(listen_fds());
  for (const int fd : stay) {
    const auto number = static_cast<unsigned>(fd);
    if (number < from) continue;
    if (number > from) ::syscall(SYS_close_range, from, number - 1, 0U);
    from = number + 1;
  }
  ::syscall(SYS_close_range, from, ~0U, 0U);
}

std::optional<Background> Background::enter(std::optional<int>& status, int kept) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    say("a socket to the process in the background: {}", errno_name(errno));
    status = 1;
    return {};
  }
  Fd ours(ends[0]), other(ends[1]);
  const int listening = listen_fds();
  const pid_t first = ::fork();
  if (first < 0) {
    say("a process in the background: {}", errno_name(errno));
    status = 1;
    return {};
  }
  if (first > 0) {
    other.reset();
    while (::waitpid(first, nullptr, 0) < 0 && errno == EINTR) {
    }
    status = wait_for_result(ours);
    return {};
  }
  // Twice: it is nobody's child, and leads no session that could get a terminal.
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  if (listening > 0) ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  const int terminal = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  close_inherited({other.get(), terminal, log_descriptor(), kept});
  if (::chdir("/") != 0) {
    // It holds a mount busy then, no more.
  }
  // Nobody shall wait for the end of a pipe that the container would have.
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {0, 1, 2}) ::dup2(null, fd);
  if (null > 2) ::close(null);
  speak_to(Fd(terminal));
  return Background(std::move(other));
}

void Background::running() {
  stop_saying();
  const int state = static_cast<int>(control::State::running);
  (void)!::send(result_.get(), &state, sizeof state, MSG_NOSIGNAL);
  result_.reset();
}

void set_title(const std::string& title) {
  // Where the arguments and after them the environment are, proc(5) tells; what is read of them
  // later has to be elsewhere.
  ::prctl(PR_SET_NAME, "lxc-monitor", 0, 0, 0);
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  text.erase(0, text.rfind(')') + 1);
  std::vector<unsigned long> numbers;
  const char* at = text.c_str() + std::min<std::size_t>(3, text.size());
  for (char* end = nullptr;; at = end) {
    const unsigned long n = std::strtoul(at, &end, 10);
    if (end == at) break;
    numbers.push_back(n);
  }
  // From field 4 on: arg_start is 48, arg_end 49.
  constexpr std::size_t start = 48 - 4, stop = 49 - 4;
  if (numbers.size() <= stop || numbers[stop] <= numbers[start]) return;
  char* const from = reinterpret_cast<char*>(numbers[start]);
  const std::size_t room = numbers[stop] - numbers[start];
  std::memset(from, 0, room);
  title.copy(from, room - 1);
}
