// Checks: what every part of validate() has in hand, and the questions that several of them ask.
// Private.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formatted.hpp"
#include "plan/shape.hpp"
#include "spec/names.hpp"

namespace condroid::inline v0::detail {

inline constexpr unsigned most_processors = 8192;    // the largest NR_CPUS
inline constexpr std::uint32_t no_id = 0xffffffffU;  // setresuid(2), chown(2): leave as it is

struct Checks {
  const Spec& spec;
  const HostFacts& facts;
  const Shape& shape;
  Refusals& refusals;

  /// No NUL in it: the kernel would see less than the reader of the Spec.
  bool text(std::string_view field, std::string_view value) const;
  /// A path of the host that must be there: absolute, of a length that the kernel takes.
  bool host_path(std::string_view field, const HostPath& path) const;
  /// The same of the container, and without "..": it would mean whatever links make of it.
  bool guest_path(std::string_view field, const GuestPath& path) const;
  void mode(std::string_view field, Mode mode, std::uint32_t most = 07777) const;
  /// A size of an upper layer's tmpfs counts only where there is such a tmpfs.
  void layers(std::string_view prefix, const HostPath& upper, const HostPath& work, Bytes size,
              bool ephemeral) const;

  [[nodiscard]] bool allowed(Allow token) const noexcept { return spec.security.allow.has(token); }
  /// Refuses what opens the container towards the host unless its author has said so.
  void need(Allow token, std::string_view field, std::string_view what) const;
  /// Bits that no enumerator of this version stands for.
  template <class E>
  void known(std::string_view field, Flags<E> flags) const {
    Flags<E> rest = flags;
    for (const auto& [flag, name] : EnumNames<E>::table) rest -= flag;
    if (!rest.empty())
      refusals.bad(field, formatted("there is no {} '{}'", EnumNames<E>::what, flag_names(rest)),
                   "use the names that this version's headers have");
  }

  /// Whether the child has this capability in the initial user namespace, which some calls insist
  /// on.
  [[nodiscard]] bool has_on_host(Capability c) const noexcept {
    return facts.has_cap(static_cast<unsigned>(c)) && facts.initial_user_namespace &&
           !shape.ids.inside();
  }

  /// Whether the sets of capabilities can be had beside each other. `at` goes before the names of
  /// the fields.
  bool capability_sets_agree(std::string_view at) const;  // check_security.cpp

  // The parts, in the files of those names.
  void identity() const;   // validate.cpp: name, host names, namespaces, joins, time, id map
  void resources() const;  // validate.cpp
  void process() const;    // check_process.cpp
  void terminal() const;   // check_process.cpp
  void root() const;       // check_mounts.cpp
  void mounts() const;     // check_mounts.cpp
  void devices() const;    // check_mounts.cpp
  void security() const;   // check_security.cpp: tokens, capabilities, settings
  void seccomp() const;    // check_security.cpp: the filter of system calls
  void landlock() const;   // landlock.cpp
  void labels() const;     // labels.cpp: of AppArmor and SELinux
  void masks() const;      // check_security.cpp: hidden and read-only kernel files
  void lifecycle() const;  // check_lifecycle.cpp
  void network() const;    // network.cpp
  void hooks() const;      // hooks.cpp
  void no_hooks(std::string_view who) const;  // hooks.cpp
  void publish() const;                       // network.cpp
  void names() const;                         // network.cpp

 private:
  void image(const std::string& field, const RootImage& i) const;
  void file_system(const std::string& field, const std::string& type,
                   const std::vector<std::string>& options) const;
  void own_profile() const;
  void namespaces() const;
  void joins() const;
  void id_map() const;
  void argv_and_env() const;
  void ids() const;
  void stdio() const;
  void rlimits() const;
  void scheduling() const;
  void mount(std::string_view field, const Bind& m) const;
  void mount(std::string_view field, const Tmpfs& m) const;
  void mount(std::string_view field, const Proc& m) const;
  void mount(std::string_view field, const Sysfs& m) const;
  void mount(std::string_view field, const Mqueue& m) const;
  void mount(std::string_view field, const CgroupMount& m) const;
  void mount(std::string_view field, const Devpts& m) const;
  void mount(std::string_view field, const Overlay& m) const;
  void mount(std::string_view field, const FsMount& m) const;
  void mount(std::string_view field, const ImageMount& m) const;
  void mount(std::string_view field, const FileMount& m) const;
  void cgroup_view(std::string_view field, Flags<MountFlag> flags) const;
  [[nodiscard]] bool may_lift_limits() const;
  void overlay_here(std::string_view field) const;
  void interface(const std::string& field, const Interface& i) const;
  void user_nic() const;
  void pasta() const;
  void sysctls() const;
  void capabilities() const;
  /// Whether the kernel files that are hidden below `usual` by default are hidden below `target`,
  /// too.
  void hidden_below(std::string_view field, std::string_view usual, std::string_view target,
                    bool read_only) const;
};

/// "field[3]", as the text form of a Spec has no better name for one line of a list.
[[nodiscard]] inline std::string nth(std::string_view field, std::size_t i) {
  return formatted("{}[{}]", field, i);
}

}  // namespace condroid::inline v0::detail
