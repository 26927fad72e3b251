// What LXC calls the hooks of a Spec, for whoever is told of them. Private.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "condroid/lxc.hpp"

namespace condroid::inline v0::lxc {

/// A Spec's hooks of LXC's are all run by /bin/sh: this knows the lines of the configuration.
class HookNames {
 public:
  HookNames() = default;
  /// `names` has one for each of `hooks`.
  HookNames(Hooks hooks, std::vector<std::string> names)
      : hooks_(std::move(hooks.run)), names_(std::move(names)), told_(hooks_.size()) {}

  /// Of each report, in their order: says LXC's name in the place of the shell's.
  void rename(HookReport& report);
  /// The same of an error that a launch ended with, and of those beside it.
  void rename(Error& error) const;

 private:
  std::vector<condroid::Hook> hooks_;
  std::vector<std::string> names_;
  std::vector<std::size_t> told_;  ///< How often each has been told of: once a life.
  /// The first of them that was told of least, of those for which `is` holds; or none.
  template <class Is>
  [[nodiscard]] std::size_t next(Is is) const;
  struct Failure {
    std::string before, after;  ///< What was said, and what is to be said.
    std::size_t which;
  };
  std::vector<Failure> failures_;
};

/// As hooks_for(), with their names: "lxc.hook.pre-start '/usr/bin/prepare'".
[[nodiscard]] Result<std::pair<Hooks, std::vector<std::string>>> named_hooks_for(
    const Configuration& config, const Program& program, const StartOptions& options);

}  // namespace condroid::inline v0::lxc
