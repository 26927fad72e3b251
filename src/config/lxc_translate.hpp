// From what a configuration says to a Spec. Private.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/config/lxc.hpp"
#include "config/lxc_state.hpp"

namespace condroid::inline v0::lxc_language {

class Translator {
 public:
  Translator(const lxc::Configuration::Impl& in, const lxc::Translation& how)
      : in_(in), how_(how) {}

  void all();
  lxc::Translated& out() { return out_; }
  Report& report() { return report_; }

 private:
  void root();
  void process();
  void terminal();
  void namespaces();
  void mounts();
  void automatic();
  void entry(std::string_view line, const lxc::Diagnostic& place);
  void fstab();
  void devices();
  void cgroups();
  void capabilities();
  void security();
  void labels();
  void network();
  void interface(std::string_view number, const std::vector<std::string>& taken, unsigned& next);
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
  void unsupported(lxc::Diagnostic place, std::string what, std::string hint = {});
  void note(lxc::Diagnostic place, std::string what);
  [[nodiscard]] bool keeps(Capability capability) const {
    return out_.spec.security.capabilities.has(capability);
  }
  [[nodiscard]] bool cgroup2_only() const;

  const lxc::Configuration::Impl& in_;
  const lxc::Translation& how_;
  lxc::Translated out_;
  Report report_;
};

}  // namespace condroid::inline v0::lxc_language
