#include "config/policy.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "formatted.hpp"
#include "spec/syscall_names.hpp"

namespace condroid::inline v0::detail {

namespace {

bool same_effect(const SyscallRule& a, const SyscallRule& b) {
  const bool number = a.action == SyscallAction::fail || a.action == SyscallAction::trace;
  return a.action == b.action && (!number || a.error == b.error);
}

/// How much less than `allow` a program gets.
int closed(SyscallAction action) {
  switch (action) {
    case SyscallAction::allow:
      return 0;
    case SyscallAction::log:
      return 1;
    case SyscallAction::notify:
    case SyscallAction::trace:
      return 2;
    case SyscallAction::fail:
      return 3;
    case SyscallAction::trap:
      return 4;
    case SyscallAction::kill_thread:
      return 5;
    case SyscallAction::kill_process:
      break;
  }
  return 6;
}

/// Without one it is for all.
bool overlap(Flags<SyscallArch> a, Flags<SyscallArch> b) {
  return a.empty() || b.empty() || !(a & b).empty();
}
bool covers(Flags<SyscallArch> a, Flags<SyscallArch> b) {
  return a.empty() || (!b.empty() && (a & b) == b);
}

}  // namespace

std::optional<std::string_view> Policy::add(std::string call, SyscallRule rule,
                                            std::string_view place) {
  std::ranges::sort(rule.where, [](const ArgumentCheck& a, const ArgumentCheck& b) {
    return std::tie(a.index, a.op, a.value, a.mask) < std::tie(b.index, b.op, b.value, b.mask);
  });
  std::vector<std::size_t>& earlier = of_call_[call];
  for (const std::size_t i : earlier) {
    const One& one = all_[i];
    if (!overlap(one.rule.arch, rule.arch)) continue;
    if (one.rule.where.empty() && covers(one.rule.arch, rule.arch)) return {};
    if (one.rule.where != rule.where) continue;
    if (same_effect(one.rule, rule)) {
      if (covers(one.rule.arch, rule.arch)) return {};
      continue;
    }
    return one.place;
  }
  if (rule.where.empty())
    std::erase_if(earlier, [&](std::size_t i) {
      if (!covers(rule.arch, all_[i].rule.arch)) return false;
      all_[i].holds = false;
      return true;
    });
  earlier.push_back(all_.size());
  all_.push_back({std::move(call), std::move(rule), std::string(place)});
  return {};
}

std::vector<SyscallRule> Policy::take() && {
  std::vector<SyscallRule> list;
  for (One& one : all_) {
    if (!one.holds) continue;
    if (list.empty() || !same_effect(list.back(), one.rule) ||
        list.back().where != one.rule.where || list.back().arch != one.rule.arch)
      list.push_back(std::move(one.rule));
    list.back().calls.push_back(std::move(one.call));
  }
  return list;
}

std::optional<std::string> opens_what_is_meant(const std::string& call, SyscallAction action,
                                               SyscallAction otherwise) {
  if (closed(action) <= closed(otherwise) || !is_nobodys_syscall(call)) return {};
  const std::string near = nearest_syscall(call);
  return formatted("there is no system call '{}'; {}", call,
                   near.empty() ? "take it out if what is meant may be open"
                                : formatted("did you mean '{}'?", near));
}

bool is_call_name(std::string_view name) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return name.size() <= 64 &&
         std::ranges::all_of(name, [&](char c) { return letter(c) || digit(c); }) &&
         std::ranges::any_of(name, letter);
}

}  // namespace condroid::inline v0::detail
