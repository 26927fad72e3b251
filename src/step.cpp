#include "condroid/step.hpp"

#include <array>
#include <cstddef>

namespace condroid {
inline namespace v0 {

std::string_view to_string(Step step) noexcept {
  // In the order of the enumerators.
  static constexpr std::array<std::string_view, static_cast<std::size_t>(Step::count_)> words = {
      "no step",
      "open runtime",
      "start zygote",
      "probe host",
      "parse",
      "compile",
      "open descriptor",
      "create cgroup",
      "write cgroup",
      "remove cgroup",
      "clone",
      "sync",
      "write id map",
      "run helper",
      "open rootfs",
      "pin rootfs",
      "callback",
      "wait",
      "kill",
      "signal",
      "freeze",
      "read output",
      "detach",
      "sweep",
      "find container",
      "read program",
      "arm death signal",
      "enter cgroup",
      "unshare",
      "join namespace",
      "set time offsets",
      "become root",
      "contain propagation",
      "open proc",
      "open source",
      "mount root",
      "mount",
      "attach mount",
      "set mount attributes",
      "resolve target",
      "make directory",
      "make node",
      "make link",
      "make file",
      "mask path",
      "protect path",
      "open console",
      "open tty",
      "pivot root",
      "set hostname",
      "set domainname",
      "raise loopback",
      "write setting",
      "set rlimit",
      "set oom score",
      "set scheduling",
      "set personality",
      "set umask",
      "join keyring",
      "new session",
      "set stdio",
      "pass descriptor",
      "change directory",
      "drop capabilities",
      "set groups",
      "set ids",
      "set no_new_privs",
      "load seccomp",
      "check state",
      "start init",
      "park",
      "remove entry",
      "open netlink",
      "move interface",
      "resize terminal",
      "exec",
  };
  const auto i = static_cast<std::size_t>(step);
  return i < words.size() ? words[i] : "unknown step";
}

}  // namespace v0
}  // namespace condroid
