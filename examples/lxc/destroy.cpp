#include "destroy.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "claim.hpp"
#include "relatives.hpp"
#include "say.hpp"
#include "script.hpp"
#include "storage.hpp"
#include "tree.hpp"

using namespace condroid;

namespace {

/// Nobody needs its files; else false, and it was said who does.
bool nobody_needs(const Place& place) {
  const auto clones = clones_of(place);
  if (clones.empty()) return true;
  std::string names;
  for (const Relative& one : clones)
    names += fmt::format("{}'{}/{}'", names.empty() ? "" : ", ", one.lxcpath, one.name);
  say("'{}' has clones whose files lie above its own: {}", place.name(), names);
  return false;
}

/// It is only half there from now on.
void mark(const Place& place) {
  constexpr unsigned mode = 0600;
  const Fd file(::open((place.directory() + "/partial").c_str(),
                       O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode));
}

bool remove(const Place& place) {
  for (const std::string& name : snapshots_of(place)) forget(Place(snapshots_path(place), name));
  forget(place);
  mark(place);
  return remove_tree(place.directory());
}

bool may_be_removed(const Place& place) {
  if (!nobody_needs(place) || !nothing_mounted_below(place.directory())) return false;
  return std::ranges::all_of(snapshots_of(place), [&](const std::string& name) {
    return nobody_needs(Place(snapshots_path(place), name));
  });
}

}  // namespace

std::string snapshots_path(const Place& place) { return place.directory() + "/snaps"; }

std::vector<std::string> snapshots_of(const Place& place) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(snapshots_path(place).c_str()),
                                                &::closedir);
  while (const dirent* const entry = dir ? ::readdir(dir.get()) : nullptr)
    if (const std::string name = entry->d_name;
        name != "." && name != ".." && Place(snapshots_path(place), name).defined())
      names.push_back(name);
  // snap9 before snap10.
  std::ranges::sort(names, [](const std::string& a, const std::string& b) {
    return std::pair(a.size(), a) < std::pair(b.size(), b);
  });
  return names;
}

bool remove_half_made(const Place& place) { return may_be_removed(place) && remove(place); }

bool destroy_container(const Place& place, const lxc::Configuration& config) {
  const auto claim = Claim::take(place);
  if (!claim || !may_be_removed(place)) return false;
  if (!run_scripts(place, config, "destroy")) return false;
  const auto managed = config.get("lxc.rootfs.managed");
  if (managed && *managed && **managed == "0") return true;  // its storage is somebody else's
  const Storage storage = Storage::of(config);
  const std::string& root = storage.kind == Storage::overlay ? storage.upper : storage.path;
  // What somebody has elsewhere was not made by lxc-create.
  if (!root.empty() && !root.starts_with(place.directory() + "/"))
    note(lxc::LogLevel::notice, "its root file system '{}' is not removed: it is not below '{}'",
         root, place.directory());
  return remove(place);
}
