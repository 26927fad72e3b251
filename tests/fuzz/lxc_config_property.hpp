// What holds for every configuration of LXC: it is refused with messages that a terminal may show,
// or it is written back as it was, in new words it means the same, and its Spec prints and comes
// back. Used by the fuzz target and, with the seed corpus, by a unit test.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/config/lxc.hpp"

namespace lxc_config_property {

inline bool printable(std::string_view line) {
  return !line.empty() && std::ranges::none_of(line, [](char c) {
    const auto byte = static_cast<unsigned char>(c);  // char has no sign on every machine
    return byte < 0x20 || byte == 0x7f;
  });
}

inline std::string odd(const condroid::Error& error) {
  if (!error.is(condroid::Errc::bad_text)) return "refused with another code";
  if (!printable(error.subject)) return "a message that no terminal should see: " + error.subject;
  for (const std::string& line : error.also)
    if (!printable(line)) return "a message that no terminal should see: " + line;
  return {};
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view text) {
  using condroid::lxc::Configuration;
  if (text.find("lxc.include") != text.npos) return {};  // files of this machine
  auto config = Configuration::parse(text, "config");
  if (!config) return odd(config.error());
  const std::string written = config->text();
  const auto again = Configuration::parse(written, "config");
  if (!again) return "what it writes is refused: " + again.error().subject;
  if (again->text() != written) return "what it writes is written otherwise";
  for (const auto& note : config->notes())
    if (!printable(to_string(note))) return "a note that no terminal should see";
  for (const char* file : {"lxc.mount.fstab", "lxc.seccomp.profile"}) {
    const auto value = config->get(file);
    if (!value) return "a key that cannot be asked";
    if (*value) return {};
  }
  for (const auto& key : condroid::lxc::keys()) {
    std::string name(key.name);
    if (const auto at = name.find(".N"); at != name.npos) name.replace(at + 1, 1, "0");
    if (name.ends_with('.')) name += "x";
    if (const auto value = config->get(name); !value && !odd(value.error()).empty())
      return "asked for " + name + ": " + odd(value.error());
  }
  auto changed = *config;
  if (const auto set = changed.set("lxc.uts.name", "changed"); set) {
    const auto name = changed.get("lxc.uts.name");
    if (!name || *name != "changed") return "what is set does not hold";
  } else if (!odd(set.error()).empty()) {
    return odd(set.error());
  }
  if (const auto cleared = changed.clear("lxc.net"); cleared) {
    const auto nets = changed.get("lxc.net");
    if (!nets || *nets) return "what is cleared is there";
  } else if (!odd(cleared.error()).empty()) {
    return odd(cleared.error());
  }
  const condroid::lxc::Translation how{.name = "box",
                                       .apparmor = false,
                                       .selinux = false,
                                       .cgroup2_only = false,
                                       .capabilities = condroid::CapabilitySet::all(),
                                       .kernel_settings = std::vector<std::string>{}};
  const auto container = config->to_spec(how);
  if (!container) return odd(container.error());
  for (const auto& note : container->notes)
    if (!printable(to_string(note))) return "a note that no terminal should see";
  const auto read = condroid::parse_spec(condroid::print_spec(container->spec));
  if (!read) return "its Spec is refused: " + read.error().subject;
  if (*read != container->spec) return "its Spec comes back as another";
  if (const auto back = Configuration::from(container->spec)) {
    if (const auto same = back->to_spec(how); !same) return odd(same.error());
  } else if (!back.error().is(condroid::Errc::bad_spec) && !odd(back.error()).empty()) {
    return odd(back.error());
  }
  config->modernize();
  const auto modern = config->to_spec(how);
  if (!modern) return "in new words it is refused: " + modern.error().subject;
  if (modern->spec != container->spec || modern->program != container->program)
    return "in new words it means something else";
  if (!config->notes().empty()) return "an old word is left";
  return {};
}

}  // namespace lxc_config_property
