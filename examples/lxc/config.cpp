// lxc-config: LXC's own settings.
#include <fmt/format.h>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {{'l', "list", "", "The names of all settings"}};
constexpr std::string_view names[] = {
    "lxc.default_config", "lxc.lxcpath",    "lxc.bdev.lvm.vg",   "lxc.bdev.lvm.thin_pool",
    "lxc.bdev.zfs.root",  "lxc.cgroup.use", "lxc.cgroup.pattern"};

int run(const Arguments& args) {
  if (args.has("list")) {
    for (const std::string_view name : names) fmt::print("{}\n", name);
    return 0;
  }
  if (args.words().empty()) {
    fmt::print(
        "Usage: lxc-config -l: list all available configuration items\n"
        "       lxc-config item: print configuration item\n");
    return 0;
  }
  if (args.words().size() != 1) {
    say("one setting is needed; --list has their names");
    return 1;
  }
  const auto system = system_configuration();
  if (!system) return 1;
  const std::string& name = args.words()[0];
  const std::string values[] = {
      system->default_config.str(), system->lxcpath.str(), system->lvm_vg,
      system->lvm_thin_pool,        system->zfs_root,      system->cgroup_use,
      system->cgroup_pattern};
  for (std::size_t i = 0; i < std::size(names); ++i)
    if (names[i] == name) {
      if (values[i].empty()) {
        fmt::print("{} is not set\n", name);
        return 0;
      }
      fmt::print("{}\n", values[i]);
      return 0;
    }
  say("there is no setting '{}'; --list has their names", name);
  return 1;
}

}  // namespace

const Tool lxc_config = {
    .name = "lxc-config",
    .synopsis = "-l | SETTING",
    .brief = "Says what a setting of /etc/lxc/lxc.conf is.",
    .options = options,
    .names = Tool::none,
    .more = "Exit status: 0; 1 for a setting that there is not.",
    .run = &run,
};
