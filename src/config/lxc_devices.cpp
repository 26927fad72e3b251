// The devices of a configuration: /dev, and the rules for what may be opened.

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <utility>

#include "config/lxc_translate.hpp"
#include "formatted.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc_language {

void Translator::devices() {
  Spec& spec = out_.spec;
  Devices& d = spec.devices;
  d.populate = yes(row("lxc.autodev"), true) && own(Namespace::mount);
  d.shm = d.mqueue = false;
  d.size = Bytes{number(row("lxc.autodev.tmpfs.size"), 500000)};
  if (d.size.value == 0) d.size = Bytes{500000};
  d.filter = DeviceFilter::never;

  // LXC applies those of the version that the machine has. Where there are none of that one, those
  // of the other are better than none.
  const std::size_t first = cgroup2_only() ? row("lxc.cgroup2.") : row("lxc.cgroup.");
  const std::size_t second = cgroup2_only() ? row("lxc.cgroup.") : row("lxc.cgroup2.");
  bool found = false;
  for (const std::size_t r : {first, second}) {
    std::vector<std::pair<const Value*, bool>> rules;
    for (const char* file : {"devices.allow", "devices.deny"})
      for (const Value& v : list(r, file))
        rules.emplace_back(&v, file == std::string_view("devices.allow"));
    std::ranges::sort(rules, {}, [](const auto& x) { return x.first->item; });
    if (found && !rules.empty())
      note(place(*rules.front().first), "is of the other version of cgroups");
    if (found) break;
    found = !rules.empty();
    for (const auto& [value, allow] : rules) device_rule(*value, allow);
  }
  const auto nothing = [](const DevicePermission& p) { return p.access.empty(); };
  std::erase_if(d.permitted, nothing);
  std::erase_if(d.denied, nothing);
  if (d.denied.empty()) return;
  d.filter = DeviceFilter::always;
  for (const auto kind : {DeviceNode::character, DeviceNode::block})
    d.permitted.push_back({.kind = kind});
}

void Translator::device_rule(const Value& value, bool allow) {
  Devices& d = out_.spec.devices;
  const auto words = words_of(value.text);
  const char* const right = "a, or for instance c 1:3 rwm";
  const std::string_view kind = words.empty() ? std::string_view() : words[0];
  const bool both = kind == "a";
  DevicePermission p;
  p.access = {};
  std::string_view access = words.size() > 1 ? words.back() : "rwm";
  if (both && words.size() <= 2) {
    if (words.size() == 2 && words[1] != "*:*")
      return wrong(place(value), "is no rule for devices", right);
    access = "rwm";
  } else if (words.size() == 2 && kind.starts_with('/')) {
    struct stat st {};
    if (::stat(std::string(kind).c_str(), &st) != 0 ||
        !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
      return wrong(place(value), formatted("{} is no device", spec_text::shown(kind)), right);
    p.kind = S_ISBLK(st.st_mode) ? DeviceNode::block : DeviceNode::character;
    p.major = static_cast<std::uint32_t>(major(st.st_rdev));
    p.minor = static_cast<std::uint32_t>(minor(st.st_rdev));
  } else if (words.size() == 3 && (kind == "c" || kind == "b" || both)) {
    p.kind = kind == "b" ? DeviceNode::block : DeviceNode::character;
    const std::size_t colon = words[1].find(':');
    const auto half = [&](std::string_view text, std::optional<std::uint32_t>& out) {
      std::uint64_t n = 0;
      if (text == "*") return true;
      if (!read_whole(text, UINT32_MAX, n)) return false;
      out = static_cast<std::uint32_t>(n);
      return true;
    };
    if (colon == words[1].npos || !half(words[1].substr(0, colon), p.major) ||
        !half(words[1].substr(colon + 1), p.minor))
      return wrong(place(value), formatted("{} is no MAJOR:MINOR", spec_text::shown(words[1])),
                   right);
  } else {
    return wrong(place(value), "is no rule for devices", right);
  }
  for (const char c : access) {
    if (c == 'r')
      p.access |= DeviceAccess::read;
    else if (c == 'w')
      p.access |= DeviceAccess::write;
    else if (c == 'm')
      p.access |= DeviceAccess::make;
    else
      return wrong(place(value), formatted("{} is no access", spec_text::shown(access)),
                   "r, w and m");
  }
  const bool all = p.access == DevicePermission{}.access;
  if (both && all && !p.major && !p.minor) {
    devices_.clear();
    d.permitted.clear();
    d.denied.clear();
    d.filter = allow ? DeviceFilter::never : DeviceFilter::always;
    return;
  }
  device_rule(value, allow, p);
  if (!both) return;
  p.kind = DeviceNode::block;
  device_rule(value, allow, p);
}

void Translator::device_rule(const Value& value, bool allow, const DevicePermission& rule) {
  const auto number = [](const std::optional<std::uint32_t>& n) {
    return n ? std::int64_t{*n} : std::int64_t{-1};
  };
  Devices& d = out_.spec.devices;
  const bool filtered = d.filter == DeviceFilter::always;
  // What differs from the rest. As the kernel has it, what takes from it does so in the same words.
  auto& list = filtered ? d.permitted : d.denied;
  const DeviceKey key{rule.kind, number(rule.major), number(rule.minor)};
  const auto [at, fresh] = devices_.emplace(key, list.size());
  if (allow == filtered) {
    if (fresh)
      list.push_back(rule);
    else
      list[at->second].access |= rule.access;
    return;
  }
  if (fresh)
    devices_.erase(at);
  else
    list[at->second].access -= rule.access;
  if (fresh && (filtered || !list.empty()))
    note(place(value), formatted("changes nothing, as for LXC: no line above {} it in these words",
                                 allow ? "denies" : "allows"));
}

}  // namespace condroid::inline v0::lxc_language
