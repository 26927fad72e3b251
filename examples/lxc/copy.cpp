#include "copy.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <sstream>

#include "claim.hpp"
#include "relatives.hpp"
#include "say.hpp"
#include "script.hpp"
#include "tree.hpp"

using namespace condroid;

namespace {

constexpr unsigned directory_mode = 0755, config_mode = 0640;

/// Like another directory: its owner and mode are what is seen where it lies above.
bool make_like(const std::string& path, const std::string& model) {
  struct stat st {};
  if (::stat(model.c_str(), &st) != 0) {
    say("'{}': {}", model, errno_name(errno));
    return false;
  }
  if (!make_directory(path, directory_mode)) return false;
  constexpr unsigned bits = 07777;
  if (::chown(path.c_str(), st.st_uid, st.st_gid) == 0 &&
      ::chmod(path.c_str(), st.st_mode & bits) == 0)
    return true;
  say("'{}': {}", path, errno_name(errno));
  return false;
}

/// The directories above a file that is copied.
bool make_parents(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) say("'{}': {}", path, error.message());
  return !error;
}

/// Told what comes after the '/', and what is before the path: whether it is named anew.
using Each = std::function<bool(const std::string& rest, std::string_view before)>;

/// Every path in `value` that begins with `from` and '/' begins with `to` where `each` says so.
std::string renamed(std::string_view value, const std::string& from, const std::string& to,
                    const Each& each) {
  std::string out;
  const std::string prefix = from + "/";
  for (std::size_t at = 0; at < value.size();) {
    const std::size_t found = value.find(prefix, at);
    const bool begins =
        found == 0 ||
        (found != value.npos && std::string_view(" \t=,:\"'").find(value[found - 1]) != value.npos);
    if (found == value.npos) {
      out += value.substr(at);
      break;
    }
    out += value.substr(at, found - at);
    at = found + prefix.size();
    const std::size_t end = std::min(value.find_first_of(" \t,:\"'", at), value.size());
    const std::string rest(value.substr(at, end - at));
    out += begins && each(rest, value.substr(0, found)) ? to + "/" : prefix;
  }
  return out;
}

/// A name of the new one for itself: where there is such a file, and as its users see it.
bool name_host(const std::string& root, const std::string& name) {
  const Fd top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  open_how how{};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const Fd file(
      static_cast<int>(::syscall(SYS_openat2, top.get(), "etc/hostname", &how, sizeof how)));
  struct stat st {};
  // A device of that name is not for this program to write to.
  if (!file.valid() || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode)) return true;
  const Fd to(
      ::open(fmt::format("/proc/self/fd/{}", file.get()).c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  const std::string text = name + "\n";
  if (to.valid() &&
      ::write(to.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()))
    return true;
  say("'{}/etc/hostname': {}", root, errno_name(errno));
  return false;
}

/// Ethernet addresses of its own, in the place of those that are written down.
bool draw_other_addresses(lxc::Configuration& config) {
  for (const lxc::Item& item : config.items())
    if (item.origin == lxc::Item::own && item.kind == lxc::Item::setting &&
        item.key() == "lxc.network.hwaddr") {
      (void)config.modernize();
      break;
    }
  std::vector<std::string> keys;
  for (const lxc::Item& item : config.items())
    if (item.origin == lxc::Item::own && item.kind == lxc::Item::setting &&
        item.key().starts_with("lxc.net.") && item.key().ends_with(".hwaddr") &&
        !item.value().empty())
      keys.emplace_back(item.key());
  for (const std::string& key : keys)
    if (!set_item(config, key, "00:16:3e:xx:xx:xx")) return false;
  config.draw_addresses();
  return true;
}

}  // namespace

bool set_item(lxc::Configuration& config, const std::string& key, const std::string& value) {
  const auto ok = config.set(key, value);
  if (!ok) say_error(ok.error());
  return ok.has_value();
}

Storage storage_in(const std::string& into, const Storage& from, bool by_overlay) {
  Storage to = from;
  if (from.kind == Storage::overlay || (from.kind == Storage::directory && by_overlay)) {
    if (by_overlay && from.kind == Storage::directory) to.type = "overlay";
    to.kind = Storage::overlay;
    to.upper = into + "/overlay/delta";
  } else if (from.kind == Storage::directory) {
    if (to.type != "btrfs") to.type = "dir";
    to.path = into + "/rootfs";
  } else if (from.kind == Storage::image) {
    to.type = "loop";
    to.path = into + "/rootdev";
  }
  return to;
}

bool can_copy(const Storage& from, bool by_overlay) {
  if (from.kind == Storage::nothing) return true;
  if (from.kind == Storage::other) {
    say("its root file system '{}' is neither a directory nor an overlay of one over another nor "
        "an image: it is not copied here",
        from.text());
    return false;
  }
  if (from.kind == Storage::image && by_overlay) {
    say("its root file system is the image '{}', which nothing can lie over; copy it without -s",
        from.path);
    return false;
  }
  if (by_overlay && from.path.find(':') != std::string::npos) {
    say("lxc.rootfs.path has no way to say an overlay over '{}': it has a ':'", from.path);
    return false;
  }
  const std::string& files = from.kind == Storage::overlay ? from.upper : from.path;
  struct stat st {};
  if (!files.starts_with('/')) {
    say("its root file system '{}' is not said with its whole path", files);
  } else if (::lstat(files.c_str(), &st) != 0) {
    say("its root file system '{}': {}", files, errno_name(errno));
  } else if (S_ISLNK(st.st_mode)) {
    say("its root file system '{}' is a symbolic link, which is not followed; name in "
        "lxc.rootfs.path what it leads to",
        files);
  } else if (from.kind == Storage::image ? !S_ISREG(st.st_mode) : !S_ISDIR(st.st_mode)) {
    say("its root file system '{}' is no {}", files,
        from.kind == Storage::image ? "file" : "directory");
  } else {
    return from.kind == Storage::image || by_overlay || nothing_mounted_below(files);
  }
  return false;
}

bool copy_storage(const Storage& from, const std::string& into, bool by_overlay) {
  switch (storage_in(into, from, by_overlay).kind) {
    case Storage::nothing:
      return true;
    case Storage::directory:
      return copy_tree(from.path, into + "/rootfs");
    case Storage::image:
      return copy_tree(from.path, into + "/rootdev");
    case Storage::overlay:
      return make_directory(into + "/rootfs", directory_mode) &&
             make_directory(into + "/overlay", directory_mode) &&
             make_directory(into + "/overlay/work", directory_mode) &&
             (from.kind == Storage::overlay ? copy_tree(from.upper, into + "/overlay/delta")
                                            : make_like(into + "/overlay/delta", from.path));
    case Storage::other:
      break;
  }
  return false;
}

std::optional<lxc::Configuration> moved(const lxc::Configuration& config, const std::string& from,
                                        const std::string& to, const std::string& into) {
  std::string text;
  bool fine = true;
  const auto copy = [&](const std::string& rest) {
    const std::string source = from + "/" + rest, target = into + "/" + rest;
    if (rest.empty() || rest.find("..") != rest.npos || !exists(source)) return false;
    if (!exists(target)) fine = fine && make_parents(target) && copy_tree(source, target);
    return true;
  };
  const auto make = [&](const std::string& rest) {
    const std::string target = into + "/" + rest;
    if (rest.empty() || rest.find("..") != rest.npos) return false;
    if (!exists(target))
      fine = fine && make_parents(target) && make_directory(target, directory_mode);
    return true;
  };
  for (const lxc::Item& item : config.items()) {
    if (item.origin != lxc::Item::own) continue;
    const std::string_view key = item.kind == lxc::Item::setting ? item.key() : "";
    const bool file =
        key.starts_with("lxc.hook.") || key == "lxc.mount.fstab" || key == "lxc.mount";
    const bool overlay = key == "lxc.mount.entry" && item.value().find(" overlay ") != text.npos;
    if (!file && !overlay) {
      text += item.text + "\n";
      continue;
    }
    const std::string value =
        renamed(item.value(), from, to, [&](const std::string& rest, std::string_view before) {
          if (file || before.ends_with("upperdir=")) return copy(rest);
          return before.ends_with("workdir=") && make(rest);
        });
    text += item.text.substr(0, item.value_at) + value +
            item.text.substr(item.value_at + item.value_size) + "\n";
  }
  if (!fine) return {};
  auto changed = lxc::Configuration::parse(text, into + "/config");
  if (changed) return std::move(*changed);
  say_error(changed.error());
  return {};
}

bool copy_container(const Place& from, const lxc::Configuration& config, const Place& to,
                    const CopyWish& wish) {
  const Storage old = Storage::of(config);
  if (!can_copy(old, wish.by_overlay)) return false;
  if (const auto idmap = config.get("lxc.idmap"); ::geteuid() != 0 && idmap && *idmap) {
    say("it has ids of its own: only root can give its files away");
    return false;
  }
  auto making = Making::begin(to.directory());
  if (!making || !copy_storage(old, to.directory(), wish.by_overlay)) return false;
  auto changed = moved(config, from.directory(), to.directory(), to.directory());
  if (!changed) return false;
  const Storage storage = storage_in(to.directory(), old, wish.by_overlay);
  if (storage.kind == Storage::image && wish.image_size != 0 &&
      !resize_image(storage.path, wish.image_size))
    return false;
  if (storage.kind != Storage::nothing && !set_item(*changed, "lxc.rootfs.path", storage.text()))
    return false;
  if (!wish.keep_name && !set_item(*changed, "lxc.uts.name", to.name())) return false;
  if (!wish.keep_mac && !draw_other_addresses(*changed)) return false;
  if (wish.finish && !wish.finish(*changed)) return false;
  if (!write_file(to.config_file(), changed->text(), config_mode)) return false;
  const auto hooks = changed->get("lxc.hook.clone");
  const bool hooked = hooks && *hooks;
  // Where it is mounted for them.
  if (hooked && storage.kind == Storage::image &&
      !make_directory(to.directory() + "/rootfs", directory_mode))
    return false;
  const auto work = [&](const std::string& root) {
    if (!wish.keep_name && storage.kind != Storage::image && !root.empty() &&
        !name_host(root, to.name()))
      return false;
    return run_scripts(to, *changed, "clone",
                       {.root_at = root, .source = from.name(), .more = wish.hook_words});
  };
  if ((hooked || (!wish.keep_name && storage.kind != Storage::image)) &&
      !with_root(storage, to.directory() + "/rootfs", work))
    return false;
  if (interrupted()) {
    say("it was interrupted");
    return false;
  }
  std::vector<Relative> bases;
  if (storage.kind == Storage::overlay) {
    bases = bases_of(from);
    if (old.kind == Storage::directory) bases.push_back({from.lxcpath(), from.name()});
  }
  if (!bases.empty() && !depend(to, bases)) {
    forget(to);
    return false;
  }
  making->done();
  return true;
}
