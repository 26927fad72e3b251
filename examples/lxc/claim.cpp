#include "claim.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condroid/control/commands.hpp>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "say.hpp"
#include "tree.hpp"

using namespace condroid;

namespace {

bool lock(int fd) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

Fd bound(const Place& place) {
  const std::string text = control::command_address(place.lxcpath(), place.name());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (text.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return {};
  }
  std::memcpy(&address.sun_path[1], text.data(), text.size());
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  if (socket.valid() &&
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    const int error = errno;
    socket.reset();
    errno = error;
  }
  return socket;
}

/// RUN/lxc/lock/LXCPATH/.NAME
Fd lock_file(const Place& place) {
  const std::string directory = fmt::format("{}/lxc/lock/{}", run_directory(), place.lxcpath());
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  constexpr unsigned mode = 0600;
  return Fd(::open(fmt::format("{}/.{}", directory, place.name()).c_str(),
                   O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode));
}

}  // namespace

std::optional<Claim> Claim::take(const Place& place) {
  Fd address = bound(place);
  if (!address.valid()) {
    if (errno == EADDRINUSE)
      say("'{}' is running, or another program works on it", place.name());
    else
      say("the address of '{}': {}", place.name(), errno_name(errno));
    return {};
  }
  Fd file = lock_file(place);
  // LXC's tools hold it while they look at a configuration.
  constexpr std::chrono::milliseconds pause{10};
  constexpr int tries = 1000;
  bool locked = file.valid() && lock(file.get());
  for (int i = 0; file.valid() && !locked && i < tries; ++i) {
    std::this_thread::sleep_for(pause);
    locked = lock(file.get());
  }
  if (!file.valid() || locked) return Claim(std::move(address), std::move(file));
  say("another program works on '{}'", place.name());
  return {};
}

std::optional<Making> Making::begin(const std::string& directory) {
  constexpr unsigned mode = 0770, file_mode = 0600;
  if (!make_directory(directory, mode)) return {};
  const std::string name = directory + "/partial";
  Making making(directory,
                Fd(::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, file_mode)));
  if (making.partial_.valid() && lock(making.partial_.get())) return making;
  say("'{}': {}", name, errno_name(errno));
  return {};
}

Making::Making(Making&& other) noexcept
    : directory_(std::exchange(other.directory_, {})), partial_(std::move(other.partial_)) {}

void Making::done() {
  ::unlink((directory_ + "/partial").c_str());
  directory_.clear();
  partial_.reset();
}

Making::~Making() {
  if (!directory_.empty()) (void)remove_tree(directory_);
}

Partial partial(const std::string& directory) {
  const Fd file(::open((directory + "/partial").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file.valid()) return errno == ENOENT || errno == ENOTDIR ? Partial::none : Partial::left;
  return lock(file.get()) ? Partial::left : Partial::made_now;
}

bool is_partial(const Place& place) {
  const Partial is = partial(place.directory());
  if (is == Partial::made_now) say("'{}' is being made now", place.name());
  if (is == Partial::left)
    say("'{}' was never made whole; lxc-destroy removes what there is of it", place.name());
  return is != Partial::none;
}
