// Tests of what would change the test program itself, done in a forked child: namespaces, mounts,
// ids. The checks of the test framework do not work in there; what must() throws comes back as
// text.
//
//   CHECK(in_child([] {
//     enter_own_mounts();
//     must(mount.attach("/mnt"_host));
//   }) == "");
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "forked.hpp"

namespace condroid::test {

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(to_string(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
inline void must(bool good, std::string_view what) {
  if (!good) throw std::runtime_error(fmt::format("{} (errno {})", what, errno));
}

/// The failure's errno, 0 for none or one of condroid's own. As errno_of() of sys_matchers.hpp,
/// which only the parent may use.
template <class T>
int errno_in_child(const Result<T>& result) {
  return result ? 0 : result.error().errnum();
}

/// Runs `body` in a child. What it threw, or empty when it came to its end.
template <class Body>
std::string in_child(Body body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return "no pipe";
  const Fd from(ends[0]);
  Fd to(ends[1]);
  Forked child([&] {
    std::string text;
    try {
      body();
    } catch (const std::exception& e) {
      text = e.what();
      if (text.empty()) text = "failed";
    }
    return text.empty() || ::write(to.get(), text.data(), text.size()) > 0 ? 0 : 1;
  });
  to.reset();
  std::string text;
  char buffer[1024];
  for (ssize_t n = 0; (n = ::read(from.get(), buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  const int status = child.wait();
  return text.empty() && status != 0 ? fmt::format("the child ended with {}", status) : text;
}

inline void write_text(const char* path, std::string_view text) {
  const Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
  must(fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()),
       path);
}

/// Root of a new user namespace in which only this user exists, and member of the other new ones
/// (CLONE_NEW*).
inline void enter_own_user_namespace(int others = 0) {
  const auto uid = ::geteuid();
  const auto gid = ::getegid();
  must(::unshare(CLONE_NEWUSER | others) == 0, "unshare");
  write_text("/proc/self/setgroups", "deny");
  write_text("/proc/self/uid_map", fmt::format("0 {} 1", uid));
  write_text("/proc/self/gid_map", fmt::format("0 {} 1", gid));
}

/// A mount namespace of this process's own, from which nothing travels to where it came from.
inline void contain_mounts() {
  must(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "private mounts");
}
inline void enter_own_mounts() {
  must(::unshare(CLONE_NEWNS) == 0, "unshare");
  contain_mounts();
}
/// The same for an unprivileged user.
inline void enter_own_user_and_mounts() {
  enter_own_user_namespace(CLONE_NEWNS);
  contain_mounts();
}

/// Becomes nobody, with no capability left, if this is root.
inline void drop_root() {
  if (::geteuid() == 0)
    must(::setresgid(65534, 65534, 65534) == 0 && ::setresuid(65534, 65534, 65534) == 0,
         "becoming nobody");
}

}  // namespace condroid::test
