// From what a configuration says to a Spec. Private.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "condroid/config/lxc.hpp"
#include "config/lxc_state.hpp"

namespace condroid::inline v0::lxc_language {

/// A DevicePermission but for its access; -1 for any number.
using DeviceKey = std::tuple<DeviceNode::Kind, std::int64_t, std::int64_t>;

class Translator {
 public:
  Translator(const lxc::Configuration::Impl& in, lxc::Translation how)
      : in_(in), how_(std::move(how)) {}

  void all();
  lxc::Translated& out() { return out_; }
  Report& report() { return report_; }

 private:
  /// Names of interfaces that are used, and the lowest number that is left of each pattern.
  struct Names {
    std::unordered_set<std::string> taken = {};
    std::unordered_map<std::string, unsigned> next = {};
  };
  void root();
  void process();
  void boot_id();
  void terminal();
  void namespaces();
  void mounts();
  void automatic();
  void cgroup_mount(const Value& value, std::string_view kind, std::string_view how, bool force);
  void proc_settings(const Value& value);
  void entry(std::string_view line, const lxc::Diagnostic& place);
  void fstab();
  void devices();
  void device_rule(const Value& value, bool allow);
  void device_rule(const Value& value, bool allow, const DevicePermission& rule);
  void cgroups();
  void capabilities();
  void security();
  void labels();
  [[nodiscard]] std::string default_profile() const;
  [[nodiscard]] bool apparmor() const;
  /// A profile is generated, and is to allow containers inside.
  [[nodiscard]] bool nests() const;
  void network();
  [[nodiscard]] std::string link_of(std::string_view number) const;
  void interface(std::string_view number, Names& names);
  void left_interface(std::string_view number, std::string_view why);
  void program();
  void allow();
  void host_name();

  [[nodiscard]] const std::vector<Value>& list(std::size_t row, std::string_view rest = {}) const;
  [[nodiscard]] std::optional<std::string> text(std::size_t row, std::string_view rest = {}) const;
  [[nodiscard]] std::uint64_t number(std::size_t row, std::uint64_t otherwise,
                                     std::string_view rest = {}) const;
  [[nodiscard]] bool yes(std::size_t row, bool otherwise = false) const {
    return number(row, otherwise ? 1 : 0) != 0;
  }
  /// About the last value of a row.
  [[nodiscard]] lxc::Diagnostic place(std::size_t row, std::string_view rest = {}) const;
  [[nodiscard]] lxc::Diagnostic place(const Value& value) const;
  void wrong(lxc::Diagnostic place, std::string what, std::string hint = {});
  /// Because nothing is said in any of these rows; not where that was tried.
  void missing(std::initializer_list<std::size_t> rows, lxc::Diagnostic place, std::string what,
               std::string hint);
  void unsupported(lxc::Diagnostic place, std::string what, std::string hint = {});
  void note(lxc::Diagnostic place, std::string what);
  [[nodiscard]] bool keeps(Capability capability) const {
    return out_.spec.security.capabilities.has(capability);
  }
  [[nodiscard]] bool cgroup2_only() const;
  [[nodiscard]] bool own(Namespace kind) const { return out_.spec.namespaces.has(kind); }

  const lxc::Configuration::Impl& in_;
  const lxc::Translation how_;
  lxc::Translated out_;
  Report report_;
  std::map<DeviceKey, std::size_t> devices_;  ///< Where in what is permitted, or denied.
};

}  // namespace condroid::inline v0::lxc_language
