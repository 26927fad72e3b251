// The mounts of a configuration: lxc.mount.auto, lxc.mount.entry, the file of lxc.mount.fstab.

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <set>
#include <system_error>
#include <utility>

#include "config/lxc_file.hpp"
#include "config/lxc_translate.hpp"
#include "formatted.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc_language {

namespace {

constexpr Flags<MountFlag> kernel_flags = MountFlag::nosuid | MountFlag::nodev | MountFlag::noexec;
constexpr std::size_t most_fstab = std::size_t{1} << 20U;

struct FlagWord {
  std::string_view word;
  bool set;
  Flags<MountFlag> flags;
};
constexpr auto flag_words = std::to_array<FlagWord>({
    {"ro", true, MountFlag::read_only},
    {"rw", false, MountFlag::read_only},
    {"nosuid", true, MountFlag::nosuid},
    {"suid", false, MountFlag::nosuid},
    {"nodev", true, MountFlag::nodev},
    {"dev", false, MountFlag::nodev},
    {"noexec", true, MountFlag::noexec},
    {"exec", false, MountFlag::noexec},
    {"noatime", true, MountFlag::noatime},
    {"atime", false, MountFlag::noatime},
    {"nodiratime", true, MountFlag::nodiratime},
    {"diratime", false, MountFlag::nodiratime},
    {"strictatime", true, MountFlag::strictatime},
    {"nostrictatime", false, MountFlag::strictatime},
    {"nosymfollow", true, MountFlag::nosymfollow},
    {"relatime", true, {}},
    {"norelatime", true, {}},
    {"defaults", true, {}},
    {"async", true, {}},
    {"nomand", true, {}},
});
/// What is of the file system, not of the mount.
constexpr std::string_view whole_words[] = {"sync", "dirsync", "lazytime", "mand"};

constexpr auto propagations = std::to_array<std::pair<std::string_view, Propagation>>({
    {"private", Propagation::private_},
    {"rprivate", Propagation::private_},
    {"slave", Propagation::slave},
    {"rslave", Propagation::slave},
    {"shared", Propagation::shared},
    {"rshared", Propagation::shared},
    {"unbindable", Propagation::unbindable},
    {"runbindable", Propagation::unbindable},
});

/// The options of one entry, sorted by whom they are for.
struct Options {
  Flags<MountFlag> flags = {};
  bool bind = false, recursive = false, create = false, optional = false, relative = false;
  bool remount = false, move = false;
  std::string idmap = {};
  std::optional<Propagation> propagation = {};
  std::vector<std::string> rest = {};   ///< Of the file system.
  std::vector<std::string> whole = {};  ///< Of any file system.
};

Options read_options(std::string_view text) {
  Options o;
  for (const std::string_view word : words_of(text, ",")) {
    const auto flag = std::ranges::find(flag_words, word, &FlagWord::word);
    const auto propagation =
        std::ranges::find(propagations, word, &std::pair<std::string_view, Propagation>::first);
    if (flag != flag_words.end()) {
      if (flag->set)
        o.flags |= flag->flags;
      else
        o.flags -= flag->flags;
    } else if (propagation != propagations.end()) {
      o.propagation = propagation->second;
    } else if (word == "bind" || word == "rbind") {
      o.bind = true;
      o.recursive = word == "rbind";
    } else if (word == "create=dir" || word == "create=file") {
      o.create = true;
    } else if (word == "optional") {
      o.optional = true;
    } else if (word == "relative") {
      o.relative = true;
    } else if (word.starts_with("idmap=")) {
      o.idmap = word.substr(6);
    } else if (word == "remount") {
      o.remount = true;
    } else if (word == "move") {
      o.move = true;
    } else if (std::ranges::find(whole_words, word) != std::end(whole_words)) {
      o.whole.emplace_back(word);
    } else {
      o.rest.emplace_back(word);
    }
  }
  return o;
}

/// As getmntent(3) has it: these four, and no other.
std::string unescaped(std::string_view word) {
  constexpr std::pair<std::string_view, char> escapes[] = {
      {"\\040", ' '}, {"\\011", '\t'}, {"\\012", '\n'}, {"\\134", '\\'}};
  std::string out;
  for (std::size_t i = 0; i < word.size();) {
    const auto known = std::ranges::find_if(
        escapes, [&](const auto& e) { return word.substr(i).starts_with(e.first); });
    out += known == std::end(escapes) ? word[i] : known->second;
    i += known == std::end(escapes) ? 1 : known->first.size();
  }
  return out;
}

/// "64m" as a Tmpfs has it; false for what is none, or a part of the memory.
bool read_size(std::string_view text, std::uint64_t& out) {
  unsigned shift = 0;
  if (!text.empty()) {
    constexpr std::string_view units = "kmgt";
    const char unit = static_cast<char>(text.back() | ' ');
    if (const auto at = units.find(unit); at != units.npos) {
      shift = 10 * (static_cast<unsigned>(at) + 1);
      text.remove_suffix(1);
    }
  }
  if (!read_whole(text, ~std::uint64_t{0} >> shift, out)) return false;
  out <<= shift;
  return true;
}

/// A tmpfs whose options are those that a Tmpfs has.
std::optional<Tmpfs> tmpfs_of(const Options& o) {
  if (!o.whole.empty()) return {};
  Tmpfs t{.size = {}, .mode = {01777}, .flags = o.flags};
  for (const std::string_view option : o.rest) {
    const std::string_view value = option.substr(std::min(option.find('=') + 1, option.size()));
    std::uint64_t n = 0;
    if (option.starts_with("size=") && read_size(value, t.size.value)) continue;
    if (option.starts_with("nr_inodes=") && read_size(value, t.inodes)) continue;
    if (option.starts_with("mode=") && read_whole(formatted("0{}", value), 07777, n)) {
      t.mode = Mode{static_cast<std::uint32_t>(n)};
      continue;
    }
    return {};
  }
  return t;
}

/// /proc/sys but for net: what may be there later, if it is not now.
constexpr std::string_view settings_but_net[] = {"abi",    "crypto", "debug", "dev", "fs",
                                                 "kernel", "sunrpc", "user",  "vm",  "xen"};

std::vector<std::string> settings_here() {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator at("/proc/sys", error), end; !error && at != end;
       at.increment(error))
    names.push_back(at->path().filename().string());
  return names;
}

}  // namespace

/// LXC closes /proc/sys and opens net again. No Spec opens what is below a closed path, so all but
/// net is closed.
void Translator::proc_settings(const Value& value) {
  auto& closed = out_.spec.security.read_only_paths;
  if (!keeps(Capability::net_admin)) {
    closed.emplace_back("/proc/sys");
    return;
  }
  std::set<std::string> names(std::begin(settings_but_net), std::end(settings_but_net));
  for (const std::string& name : how_.kernel_settings ? *how_.kernel_settings : settings_here())
    if (!name.empty() && name != "net" && name.find('/') == name.npos) names.insert(name);
  for (const std::string& name : names) closed.emplace_back("/proc/sys/" + name);
  note(place(value), "what a module adds to /proc/sys later is not closed");
}

void Translator::mounts() {
  Spec& spec = out_.spec;
  spec.default_mounts = false;
  spec.security.masked_paths.clear();
  spec.security.read_only_paths.clear();
  automatic();
  fstab();
  for (const Value& v : list(row("lxc.mount.entry"))) entry(v.text, place(v));
  if (nests()) {
    // As LXC does: in a user namespace the kernel makes new ones only where it finds one in view.
    // The profile keeps others than root from it.
    spec.mounts.emplace_back(Proc{.target = GuestPath("/dev/.lxc/proc")});
    spec.mounts.emplace_back(Sysfs{.target = GuestPath("/dev/.lxc/sys"), .flags = kernel_flags});
  }
  if (own(Namespace::mount)) return;
  // They would be the host's.
  if (!spec.mounts.empty()) {
    lxc::Diagnostic at;
    for (const std::size_t r :
         {row("lxc.mount.auto"), row("lxc.mount.fstab"), row("lxc.mount.entry")})
      if (at.key.empty() && in_.one(r) != nullptr) at = place(r);
    unsupported(std::move(at), "mounts in a mount namespace that is not its own", "leave them out");
  }
  spec.mounts.clear();
  spec.security.read_only_paths.clear();
}

void Translator::automatic() {
  Spec& spec = out_.spec;
  for (const Value& v : list(row("lxc.mount.auto"))) {
    const auto parts = words_of(v.text, ":");
    const std::string_view kind = parts[0];
    const bool force = parts.back() == "force";
    std::string_view how = parts.size() > (force ? 2U : 1U) ? parts[1] : std::string_view();
    if (kind == "proc") {
      spec.mounts.emplace_back(Proc{});
      if (how == "rw") continue;
      spec.security.read_only_paths.emplace_back("/proc/sysrq-trigger");
      proc_settings(v);
    } else if (kind == "sys") {
      Sysfs sysfs;
      if (how == "rw") sysfs.flags -= MountFlag::read_only;
      // Without one of its own the host's network would be set there.
      if (how == "mixed" && own(Namespace::net)) sysfs.net_writable = true;
      spec.mounts.emplace_back(sysfs);
    } else if (kind == "cgroup" || kind == "cgroup-full" || kind == "cgroup2") {
      cgroup_mount(v, kind, how, force);
    } else {
      std::string target = parts.size() > 2 ? std::string(parts[2]) : "/dev/.lxc-mounts";
      if (!target.starts_with('/')) target.insert(0, 1, '/');
      spec.mounts.emplace_back(Bind{.source = HostPath(parts[1]),
                                    .target = GuestPath(target),
                                    .flags = {},
                                    .recursive = true,
                                    .propagation = Propagation::slave});
    }
  }
}

/// In a cgroup namespace its own part of a hierarchy is all of it, so "full" adds nothing there.
void Translator::cgroup_mount(const Value& value, std::string_view kind, std::string_view how,
                              bool force) {
  Spec& spec = out_.spec;
  const bool own = spec.namespaces.has(Namespace::cgroup);
  if (kind != "cgroup2" && !force && own && keeps(Capability::sys_admin) && !cgroup2_only())
    // As LXC has it: it can mount them itself.
    return note(place(value), "nothing is mounted: it has a cgroup namespace and CAP_SYS_ADMIN");
  if (how.empty()) how = keeps(Capability::sys_admin) ? "rw" : "mixed";
  const bool shares = !own && std::ranges::none_of(spec.join, [](const Join& j) {
    return j.kind == Namespace::cgroup;
  });
  Flags<MountFlag> flags = kernel_flags;
  if (how == "ro") flags |= MountFlag::read_only;
  if (how != "ro") spec.security.allow |= Allow::own_limits;
  if (kind == "cgroup2") {
    spec.mounts.emplace_back(FsMount{.type = "cgroup2",
                                     .source = "none",
                                     .target = GuestPath("/sys/fs/cgroup"),
                                     .flags = flags});
  } else if (kind == "cgroup-full" && shares && how != "mixed") {
    spec.mounts.emplace_back(Bind{.source = HostPath("/sys/fs/cgroup"),
                                  .target = GuestPath("/sys/fs/cgroup"),
                                  .flags = flags,
                                  .recursive = true,
                                  .propagation = Propagation::slave});
  } else {
    CgroupMount mount{.flags = flags};
    // Without one it sees the others', which stay as they are.
    mount.own_writable = shares && how != "ro";
    if (mount.own_writable) mount.flags |= MountFlag::read_only;
    spec.mounts.emplace_back(mount);
  }
}

void Translator::fstab() {
  const auto path = text(row("lxc.mount.fstab"));
  if (!path) return;
  lxc::Diagnostic at = place(row("lxc.mount.fstab"));
  FileText file;
  if (const int error = read_text(*path, most_fstab, file); error != 0)
    return wrong(std::move(at), formatted("cannot be read: {}", errno_name(error)));
  std::string_view text = file.text;
  for (std::uint32_t line = 1; !text.empty(); ++line) {
    const std::string_view one = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    const std::size_t begin = one.find_first_not_of(" \t\r");
    if (begin == one.npos || one[begin] == '#') continue;
    entry(one, {.file = *path, .line = line, .value = std::string(one.substr(0, 4096))});
  }
}

void Translator::entry(std::string_view line, const lxc::Diagnostic& at) {
  Spec& spec = out_.spec;
  const auto fields = words_of(line, " \t\r");
  if (fields.size() < 4)
    return wrong(at, formatted("has {} fields", fields.size()),
                 "SOURCE TARGET TYPE OPTIONS, for instance /srv srv none bind,create=dir 0 0");
  const std::string source = unescaped(fields[0]), type = unescaped(fields[2]);
  std::string target = unescaped(fields[1]);
  const Options o = read_options(unescaped(fields[3]));
  const auto refuse = [&](std::string what, std::string hint) {
    if (o.optional) return note(at, formatted("is left out: {}", what));
    wrong(at, std::move(what), std::move(hint));
  };
  // LXC 5.0 reads the word and does not pass it on.
  if (o.move) note(at, "move means nothing: a mount is made, and none that is there goes away");

  const bool own_root = !spec.root.path.empty() || !spec.root.image.path.empty();
  if (target.starts_with('/') && own_root) {
    // Below its root it is meant; LXC passes over what is elsewhere.
    const std::string& root = out_.program.rootfs_path;
    std::string by_name = how_.lxcpath.empty() ? lxc::system_path().str() : how_.lxcpath.str();
    by_name += formatted("/{}/rootfs", how_.name);
    std::size_t found = target.find(by_name), size = by_name.size();
    if (found == target.npos && !root.empty() && root != "/") {
      found = target.find(root);
      size = root.size();
    }
    if (found == target.npos)
      return unsupported(at, "its target is not below the container's root",
                         "write it without the '/' in front");
    target = target.substr(found + size);
  }
  if (!target.starts_with('/')) target.insert(0, 1, '/');
  path(target);
  if (target == "/")
    return unsupported(at, "its target is the root itself", "lxc.rootfs.path says what that is");
  const auto parts = words_of(target, "/");
  if (std::ranges::find(parts, "..") != parts.end())
    return refuse("its target goes up by '..'", "say where it is from the container's root");
  const GuestPath where(target);
  const MountCommon common{.create_target = o.create, .optional = o.optional};

  if (o.remount) {
    if (o.flags.empty())
      return unsupported(at, "flags of a mount that is there, taken away", "say others");
    // The same mount once more, with other flags, on top: what is there keeps what it has below.
    for (const auto* words : {&o.rest, &o.whole})
      for (const std::string& word : *words)
        unsupported(at, formatted("{} of a mount that is there", spec_text::shown(word)));
    spec.mounts.emplace_back(Bind{.inside = where,
                                  .target = where,
                                  .flags = o.flags,
                                  .recursive = true,
                                  .propagation = o.propagation.value_or(Propagation::private_),
                                  .common = {.create_target = false, .optional = o.optional}});
    return;
  }

  if (o.bind) {
    Bind bind{.target = where,
              .flags = o.flags,
              .recursive = o.recursive,
              .propagation = o.propagation.value_or(Propagation::slave),
              .common = common};
    if (o.relative) {
      const auto from = words_of(source, "/");
      if (std::ranges::find(from, "..") != from.end())
        return refuse("its source goes up by '..'", "say where it is from the container's root");
      bind.inside = GuestPath(source.starts_with('/') ? source : "/" + source);
    } else if (source.starts_with('/')) {
      bind.source = HostPath(source);
    } else {
      return refuse(formatted("its source {} is not absolute", spec_text::shown(source)),
                    "begin it with '/'");
    }
    if (o.idmap == "container")
      bind.idmapped = true;
    else if (!o.idmap.empty()) {
      if (!o.idmap.starts_with('/'))
        return refuse(formatted("{} is no user namespace", spec_text::shown(o.idmap)),
                      "idmap=container, or for instance idmap=/proc/PID/ns/user");
      bind.idmapped = true;
      bind.idmap_of = HostPath(o.idmap);
    }
    for (const auto* words : {&o.rest, &o.whole})
      for (const std::string& word : *words)
        unsupported(at, formatted("{} means nothing to a bind mount", spec_text::shown(word)));
    spec.mounts.emplace_back(std::move(bind));
    return;
  }
  if (type == "none" || type.empty()) {
    return refuse("is neither of a file system nor a bind mount",
                  "add bind or rbind to its options");
  }
  if (!o.idmap.empty()) unsupported(at, "an id map is for bind mounts", "leave it out");
  if (auto t = type == "tmpfs" && !o.propagation ? tmpfs_of(o) : std::nullopt) {
    t->target = where;
    t->common = common;
    spec.mounts.emplace_back(std::move(*t));
    return;
  }
  const bool plain = o.rest.empty() && o.whole.empty() && !o.propagation;
  if (type == "proc" && plain) {
    spec.mounts.emplace_back(Proc{.target = where, .flags = o.flags, .common = common});
  } else if (type == "sysfs" && plain) {
    spec.mounts.emplace_back(Sysfs{.target = where, .flags = o.flags, .common = common});
  } else if (type == "mqueue" && plain) {
    spec.mounts.emplace_back(Mqueue{.target = where, .flags = o.flags, .common = common});
  } else {
    FsMount fs{.type = type, .source = source, .target = where, .flags = o.flags, .common = common};
    fs.options = o.rest;
    fs.propagation = o.propagation.value_or(Propagation::as_is);
    fs.options.insert(fs.options.end(), o.whole.begin(), o.whole.end());
    spec.mounts.emplace_back(std::move(fs));
  }
}

}  // namespace condroid::inline v0::lxc_language
