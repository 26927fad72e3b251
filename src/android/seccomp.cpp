// What a guest may not ask the kernel for.
#include "condroid/spec/seccomp.hpp"

#include <cerrno>

#include "condroid/android/device.hpp"

namespace condroid::inline v0::android {

namespace {

// include/uapi/linux/android/binder.h, _IOW('b', 14, struct binder_freeze_info) and
// _IOWR('b', 15, struct binder_frozen_status_info).
constexpr std::uint64_t binder_freeze = 0x400c620e;
constexpr std::uint64_t binder_get_frozen_info = 0xc00c620f;

}  // namespace

Seccomp seccomp(bool reboot) {
  // Not the standard filter: Android's programs use what that closes (keys that are to seem there,
  // userfaultfd, perf events), and bring filters of their own.
  Seccomp s{.kind = Seccomp::rules, .and_standard = false};
#if defined(__x86_64__)
  s.arch = SyscallArch::x86;
#elif defined(__aarch64__)
  s.arch = SyscallArch::arm;
#endif
  const auto rule = [&](SyscallAction action, std::uint32_t error, std::vector<std::string> calls) {
    s.list.push_back(
        {.action = action, .calls = std::move(calls), .error = error, .optional = true});
  };
  rule(
      SyscallAction::kill_process, 0,
      {"init_module", "finit_module", "delete_module", "_sysctl", "kexec_load", "kexec_file_load"});
  // A kill would look like a crash.
  if (!reboot) rule(SyscallAction::fail, EPERM, {"reboot"});
  rule(SyscallAction::fail, ENOSYS, {"open_by_handle_at"});
  // Who sets the time goes on when it seems to be set.
  rule(SyscallAction::fail, 0,
       {"adjtimex", "clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64",
        "settimeofday", "stime", "add_key", "keyctl", "request_key", "swapon", "swapoff"});
  // drivers/android/binder.c compares the number with those of the initial pid namespace, over all
  // binder devices: any process of the machine could be frozen.
  for (const std::uint64_t request : {binder_freeze, binder_get_frozen_info})
    s.fail(EINVAL, {"ioctl"}, {{.index = 1, .value = request, .mask = 0xffffffff}});
  return s;
}

}  // namespace condroid::inline v0::android
