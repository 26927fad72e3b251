// The table of limits: which field of Resources is which value of which file, on either version of
// cgroups. For a launch, and for a container that runs. Private; docs/limits.md is for the reader.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/spec/resources.hpp"
#include "condroid/sys/facts.hpp"
#include "plan/refusals.hpp"
#include "plan/shape.hpp"

namespace condroid::inline v0::detail {

/// What a running container has already.
struct Running {
  std::vector<std::size_t> hierarchies = {};  ///< Where it has a cgroup.
  // v1 keeps memory and swap in one sum. Nothing: not limited, as in a new cgroup.
  std::optional<std::uint64_t> memory = {};
  std::optional<std::uint64_t> memory_and_swap = {};
  bool sum_is_optional = false;  ///< It may not have come about.
};

/// The cgroups of one container while they are decided on.
class Groups {
 public:
  /// `running`: only cgroups that are there; nullptr: whatever can be made.
  Groups(const HostFacts& facts, Refusals& refusals, Flags<ResourceField> optional,
         const Running* running)
      : facts_(facts), refusals_(refusals), optional_(optional), running_(running) {}

  /// A limit as its author knows it.
  struct Field {
    std::string_view name;  ///< "resources.io[2]"
    bool optional = false;
  };
  [[nodiscard]] Field field(std::string_view name, ResourceField f) const noexcept {
    return {name, optional_.has(f)};
  }

  [[nodiscard]] std::optional<std::size_t> find(std::string_view controller) const;
  [[nodiscard]] std::optional<std::size_t> v2() const;
  /// Where what is in a cgroup can be made to stand still: v2, else the freezer's of v1.
  [[nodiscard]] std::optional<std::size_t> freezer() const;
  /// The container's group where `controller` is; refused or left out when there is none to be had.
  Group* need(std::string_view controller, Field field);
  Group* need(std::size_t hierarchy, Field field);
  /// After all that are needed: nothing depends on this one.
  void wish(std::size_t hierarchy, std::string_view controller, Field field);
  /// This machine cannot do it.
  void cannot(Field field, std::string_view what, std::string hint);

  [[nodiscard]] bool is_v2(std::size_t hierarchy) const { return facts_.cgroups[hierarchy].v2; }
  [[nodiscard]] bool is_v2(const Group& g) const { return is_v2(g.hierarchy); }
  [[nodiscard]] bool empty() const noexcept { return list_.empty(); }
  [[nodiscard]] Refusals& refusals() noexcept { return refusals_; }
  [[nodiscard]] const Running* running() const noexcept { return running_; }
  [[nodiscard]] std::vector<Group> take() { return std::move(list_); }
  [[nodiscard]] std::vector<LeftOut> take_left_out() { return std::move(left_out_); }

 private:
  const HostFacts& facts_;
  Refusals& refusals_;
  Flags<ResourceField> optional_;
  const Running* running_;
  std::vector<Group> list_ = {};  // ordered by hierarchy
  std::vector<std::size_t> refused_ = {};
  std::vector<LeftOut> left_out_ = {};
};

/// Every limit that is set becomes a value in a group.
void translate_limits(Groups& groups, const Resources& limits);

/// Refuses values that are none on any machine.
void check_limits(const Resources& limits, Refusals& refusals);
/// Of a change of cgroups that are there.
void check_change(const Resources& limits, Refusals& refusals);

}  // namespace condroid::inline v0::detail
