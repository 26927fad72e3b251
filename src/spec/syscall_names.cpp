#include "spec/syscall_names.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "spec/suggest.hpp"

#if CONDROID_LIBSECCOMP
#include <seccomp.h>
#endif

namespace condroid::inline v0::detail {

#if CONDROID_LIBSECCOMP

namespace {

// What Debian 12's libseccomp has not heard of: the same numbers everywhere.
constexpr std::pair<std::string_view, int> newer[] = {
    {"cachestat", 451},         {"fchmodat2", 452},        {"map_shadow_stack", 453},
    {"futex_wake", 454},        {"futex_wait", 455},       {"futex_requeue", 456},
    {"statmount", 457},         {"listmount", 458},        {"lsm_get_self_attr", 459},
    {"lsm_set_self_attr", 460}, {"lsm_list_modules", 461}, {"mseal", 462},
    {"setxattrat", 463},        {"getxattrat", 464},       {"listxattrat", 465},
    {"removexattrat", 466},     {"open_tree_attr", 467},   {"file_getattr", 468},
    {"file_setattr", 469}};
// And what one kind of machine has alone.
constexpr std::string_view elsewhere[] = {"riscv_hwprobe", "uprobe", "uretprobe"};

}  // namespace

std::optional<int> plain_syscall_number(const std::string& call) {
  int number = 0;
  const char* const end = call.data() + call.size();
  const auto [stop, error] = std::from_chars(call.data(), end, number);
  if (error == std::errc{} && stop == end && number >= 0) return number;
  return {};
}

std::optional<int> syscall_number(const std::string& call) {
  if (const auto number = plain_syscall_number(call)) return number;
  if (const int known = seccomp_syscall_resolve_name(call.c_str()); known != __NR_SCMP_ERROR)
    return known;
  for (const auto& [name, later] : newer)
    if (name == call) return later;
  return {};
}

std::string_view young_syscall(int number) {
  for (const auto& [name, later] : newer)
    if (number == later) return name;
  return {};
}

std::string nearest_syscall(const std::string& call) {
  spec_text::Suggestion near(call);
  std::vector<std::string> names;
  for (int i = 0; i <= newer[std::size(newer) - 1].second; ++i)
    if (char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i)) {
      names.emplace_back(name);
      std::free(name);
    }
  for (const auto& [name, number] : newer) names.emplace_back(name);
  for (const std::string& name : names) near.offer(name);
  return std::string(near.best());
}

bool is_nobodys_syscall(const std::string& call) {
  return !syscall_number(call) && std::ranges::find(elsewhere, call) == std::end(elsewhere);
}

#else

bool is_nobodys_syscall(const std::string& /*call*/) { return false; }
std::string nearest_syscall(const std::string& /*call*/) { return {}; }

#endif

}  // namespace condroid::inline v0::detail
