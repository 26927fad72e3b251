#include "destroy.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>

#include "say.hpp"
#include "script.hpp"

using namespace condroid;

namespace {

/// Empties an open directory; stays on `device`, and follows no link.
bool empty(Fd dir, dev_t device, const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(dir.get()), &::closedir);
  if (!list) return false;
  const int fd = dir.release();
  bool fine = true;
  while (const dirent* const entry = ::readdir(list.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    const bool known = ::fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    const bool folder = known && S_ISDIR(st.st_mode);
    if (folder && st.st_dev == device) {
      Fd below(::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (below.valid())
        fine = empty(std::move(below), device, fmt::format("{}/{}", path, name)) && fine;
    }
    if (::unlinkat(fd, name.c_str(), folder ? AT_REMOVEDIR : 0) == 0) continue;
    say("'{}/{}': {}", path, name, errno_name(errno));
    fine = false;
  }
  return fine;
}

}  // namespace

bool remove_tree(const std::string& path) {
  Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!dir.valid() || ::fstat(dir.get(), &st) != 0) {
    say("'{}': {}", path, errno_name(errno));
    return false;
  }
  if (!empty(std::move(dir), st.st_dev, path)) return false;
  if (::rmdir(path.c_str()) == 0) return true;
  say("'{}': {}", path, errno_name(errno));
  return false;
}

bool destroy_container(const Place& place, const lxc::Configuration& config) {
  const auto made = config.to_spec({.name = "container"});
  if (!made) {
    say_error(made.error());
    return false;
  }
  if (!run_scripts(place, config, made->program, "destroy")) return false;
  if (!made->program.rootfs_managed) return true;  // its storage is somebody else's
  const std::string& root = made->program.rootfs_path;
  // What somebody has elsewhere was not made by lxc-create.
  if (!root.empty() && !root.starts_with(place.directory() + "/"))
    note(lxc::LogLevel::notice, "its root file system '{}' is not removed: it is not below '{}'",
         root, place.directory());
  return remove_tree(place.directory());
}
