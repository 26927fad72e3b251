// LXC's own settings: /etc/lxc/lxc.conf.

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "condroid/config/lxc.hpp"
#include "config/lxc_file.hpp"
#include "config/lxc_keys.hpp"
#include "formatted.hpp"
#include "lxc_path.hpp"
#include "spec/mistakes.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc {

namespace {

constexpr std::size_t most = std::size_t{1} << 20U;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

}  // namespace

HostPath system_path() { return HostPath(lxc_language::build_path); }

SystemConfiguration::SystemConfiguration() : lxcpath(system_path()) {}

Result<SystemConfiguration> SystemConfiguration::parse(std::string_view text,
                                                       std::string_view file) {
  if (text.size() > most)
    return fail(Errc::bad_text, Step::parse,
                formatted("settings of {} bytes; at most 1 MiB is read", text.size()));
  SystemConfiguration c;
  std::string lxcpath, default_config;
  bool seen[9] = {};
  const std::pair<std::string_view, std::string*> known[] = {
      {"lxc.lxcpath", &lxcpath},
      {"lxc.default_config", &default_config},
      {"lxc.bdev.lvm.vg", &c.lvm_vg},
      {"lxc.bdev.lvm.thin_pool", &c.lvm_thin_pool},
      {"lxc.bdev.zfs.root", &c.zfs_root},
      {"lxc.bdev.rbd.rbdpool", &c.rbd_pool},
      {"lxc.bdev.rbd.rbduser", &c.rbd_user},
      {"lxc.cgroup.pattern", &c.cgroup_pattern},
      {"lxc.cgroup.use", &c.cgroup_use}};
  detail::Mistakes mistakes;
  for (std::size_t number = 1; !text.empty() && !mistakes.full(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.starts_with('#')) continue;
    const std::size_t equals = line.find('=');
    if (equals == line.npos) continue;
    const std::string_view key = trimmed(line.substr(0, equals));
    const auto found =
        std::ranges::find(known, key, &std::pair<std::string_view, std::string*>::first);
    if (found == std::end(known)) continue;
    const auto place = formatted("{}{}", file.empty() ? "line " : formatted("{}:", file), number);
    const std::string_view value = trimmed(line.substr(equals + 1));
    if (value.empty()) {
      mistakes.add(place, "{}: is empty", key);
      continue;
    }
    bool& before = seen[found - std::begin(known)];
    if (before) continue;
    before = true;
    *found->second = value;
    if (found->second == &lxcpath || found->second == &default_config) {
      if (!value.starts_with('/'))
        mistakes.add(place, "{} = {}: is not absolute", key, spec_text::shown(value));
      (void)lxc_language::path(*found->second);
    }
  }
  if (!mistakes.empty()) return fail(std::move(mistakes).error());
  if (!lxcpath.empty()) c.lxcpath = HostPath(lxcpath);
  if (!default_config.empty()) c.default_config = HostPath(default_config);
  return c;
}

Result<SystemConfiguration> SystemConfiguration::load(const HostPath& file) {
  lxc_language::FileText text;
  const int error = lxc_language::read_text(file.str(), most, text);
  if (error == ENOENT) return SystemConfiguration();
  if (error != 0) return fail(error, Step::parse, file.str());
  return parse(text.text, file.str());
}

}  // namespace condroid::inline v0::lxc
