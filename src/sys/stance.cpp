#include "sys/stance.hpp"

#include <sys/syscall.h>

#include <csignal>
#include <cstdio>
#include <string_view>

#include "formatted.hpp"
#include "sys/kernel_files.hpp"

namespace condroid::inline v0::detail {

Stance stance_on(int pid, int signal) {
  Stance s;
  // It never gets these, or they are none.
  if (signal < 1 || signal > 64 || signal == SIGKILL || signal == SIGSTOP) return s;
  const auto read = [&](const char* name) {
    return small_file(formatted("/proc/{}/{}", pid, name));
  };
  std::string before = read("syscall");
  // "running" is nowhere. rt_sigtimedwait(2) takes what it waits for out of the mask of blocked
  // ones meanwhile: that of 64 bits, of 32 (177, or 421 with its newer time; what they are
  // otherwise on 64 bits waits for nothing).
  long number = 0;
  if (std::sscanf(before.c_str(), "%ld", &number) != 1 || number == SYS_rt_sigtimedwait ||
      number == 177 || number == 421)
    return s;
  s.where = std::move(before);
  const std::string status = "\n" + read("status");
  const auto line = [&](std::string_view key) -> std::string {
    const std::size_t at = status.find(key);
    if (at == std::string::npos) return {};
    const std::size_t from = at + key.size();
    return status.substr(from, status.find('\n', from) - from);
  };
  const std::string pids = line("\nNSpid:");
  const std::size_t last = pids.find_last_of("\t ");
  if (last == std::string::npos || pids.substr(last + 1) != "1") return s;
  for (const std::string_view key :
       {"\nSigCgt:", "\nSigBlk:", "\nSigIgn:", "\nSigPnd:", "\nShdPnd:"}) {
    unsigned long long set = 0;
    if (std::sscanf(line(key).c_str(), "%llx", &set) != 1 || ((set >> (signal - 1)) & 1U) != 0)
      return s;
  }
  s.deaf = read("syscall") == s.where;
  return s;
}

}  // namespace condroid::inline v0::detail
