// A configuration as a Spec, with LXC's defaults in the place of condroid's.

#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "condroid/config/seccomp.hpp"
#include "config/lxc_file.hpp"
#include "config/lxc_translate.hpp"
#include "formatted.hpp"
#include "spec/names.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc_language {

namespace {

/// Of each name the last value, where the first one was.
class Variables {
 public:
  void set(const std::string& entry) {
    const auto [at, fresh] = places_.emplace(entry.substr(0, entry.find('=')), all_.size());
    if (fresh)
      all_.push_back(entry);
    else
      all_[at->second] = entry;
  }
  std::vector<std::string> take() { return std::move(all_); }

 private:
  std::vector<std::string> all_;
  std::unordered_map<std::string, std::size_t> places_;
};

Flags<Namespace> kind_of(std::string_view word) {
  return from_name<Namespace>(word == "mnt" ? "mount" : word).value_or(Namespace::mount);
}

bool is_there(const char* path) { return ::access(path, F_OK) == 0; }

/// Those in effect; all where that cannot be asked.
CapabilitySet own_capabilities() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return CapabilitySet::all();
  const std::uint64_t bits = data[0].effective | (std::uint64_t{data[1].effective} << 32U);
  return CapabilitySet::from_bits(bits).keep(CapabilitySet::all());
}

/// Whether a kernel setting is of no namespace.
bool of_host(std::string_view name) {
  constexpr std::string_view own[] = {"net/",       "user/",      "fs/mqueue/",   "kernel/shm",
                                      "kernel/msg", "kernel/sem", "kernel/hostn", "kernel/domain"};
  std::string path(name);
  if (path.find('/') == path.npos) std::ranges::replace(path, '.', '/');
  return std::ranges::none_of(own, [&](std::string_view part) { return path.starts_with(part); });
}

/// By its name or its number.
std::optional<Capability> capability_of(std::string_view text) {
  std::uint64_t number = 0;
  if (read_whole(text, capability_count - 1, number)) return static_cast<Capability>(number);
  return from_name<Capability>(text);
}

}  // namespace

const std::vector<Value>& Translator::list(std::size_t r, std::string_view rest) const {
  static const std::vector<Value> none;
  const auto found = in_.values[r].find(rest);
  return found == in_.values[r].end() ? none : found->second;
}
std::optional<std::string> Translator::text(std::size_t r, std::string_view rest) const {
  const Value* const v = in_.one(r, rest);
  return v == nullptr ? std::optional<std::string>() : v->text;
}
std::uint64_t Translator::number(std::size_t r, std::uint64_t otherwise,
                                 std::string_view rest) const {
  const Value* const v = in_.one(r, rest);
  std::uint64_t n = otherwise;
  if (v != nullptr) std::from_chars(v->text.data(), v->text.data() + v->text.size(), n);
  return n;
}
lxc::Diagnostic Translator::place(const Value& value) const {
  return in_.about(value.item, lxc::Diagnostic::error, {});
}
lxc::Diagnostic Translator::place(std::size_t r, std::string_view rest) const {
  const Value* const v = in_.one(r, rest);
  return v == nullptr ? lxc::Diagnostic{.key = std::string(table[r].name)} : place(*v);
}
void Translator::wrong(lxc::Diagnostic place, std::string what, std::string hint) {
  place.kind = lxc::Diagnostic::error;
  place.what = std::move(what);
  place.hint = std::move(hint);
  report_.add(std::move(place));
}
void Translator::missing(std::initializer_list<std::size_t> rows, lxc::Diagnostic place,
                         std::string what, std::string hint) {
  const auto tried = [&](std::size_t r) { return in_.misspelt[r]; };
  if (!in_.misspelt.back() && std::ranges::none_of(rows, tried))
    wrong(std::move(place), std::move(what), std::move(hint));
}
void Translator::unsupported(lxc::Diagnostic place, std::string what, std::string hint) {
  if (how_.strict) return wrong(std::move(place), std::move(what), std::move(hint));
  place.kind = lxc::Diagnostic::unsupported;
  place.what = std::move(what);
  place.hint = std::move(hint);
  if (out_.notes.size() < most_diagnostics) out_.notes.push_back(std::move(place));
}
void Translator::note(lxc::Diagnostic place, std::string what) {
  place.kind = lxc::Diagnostic::note;
  place.what = std::move(what);
  if (out_.notes.size() < most_diagnostics) out_.notes.push_back(std::move(place));
}
bool Translator::cgroup2_only() const {
  return how_.cgroup2_only.value_or(is_there("/sys/fs/cgroup/cgroup.controllers"));
}

void Translator::all() {
  out_.spec.name = how_.name;
  program();
  capabilities();
  namespaces();
  root();
  network();
  devices();
  mounts();
  boot_id();
  terminal();
  process();
  cgroups();
  security();
  labels();
  host_name();
  allow();
}

void Translator::root() {
  Root& root = out_.spec.root;
  auto given = text(row("lxc.rootfs.path"));
  if (!own(Namespace::mount)) {
    // Without its root it would run the host's programs.
    if (given)
      wrong(place(row("lxc.rootfs.path")), "its mount namespace is not its own",
            "leave out the path, or mnt");
    return;
  }
  root.propagation = Propagation::shared;
  if (!given || given->empty()) return;
  std::string& type = out_.program.rootfs_type;
  const std::string backend = text(row("lxc.rootfs.backend")).value_or("");
  std::string rest = *given;
  const std::size_t colon = rest.find(':');
  const std::string before = rest.substr(0, colon);
  if (names_type(rest)) {
    type = before;
    rest = rest.substr(colon + 1);
  } else if (!backend.empty()) {
    type = backend;
  } else if (colon != rest.npos && !rest.starts_with('/')) {
    return wrong(place(row("lxc.rootfs.path")),
                 formatted("unknown type {}", spec_text::shown(before)),
                 "dir, overlay, loop, nbd, lvm, zfs, btrfs or rbd");
  }
  out_.program.rootfs_path = rest;
  path(out_.program.rootfs_path);

  if (type == "overlay" || type == "overlayfs") {
    const auto parts = words_of(rest, ":");
    if (parts.size() < 2)
      return wrong(place(row("lxc.rootfs.path")), "has no upper directory", "overlay:LOWER:UPPER");
    std::string lower(parts[0]), upper(parts.back());
    path(lower);
    path(upper);
    root.path = HostPath(lower);
    for (std::size_t i = 1; i + 1 < parts.size(); ++i) {
      std::string below(parts[i]);
      path(below);
      root.lower.emplace_back(below);
    }
    root.ephemeral = true;
    root.upper = HostPath(upper);
    root.work = HostPath(upper.substr(0, upper.rfind('/')) + "/work");
  } else if (type.empty() || type == "dir" || type == "best" || type == "btrfs") {
    root.path = HostPath(out_.program.rootfs_path);
    struct stat st {};
    if (type.empty() && ::stat(root.path.str().c_str(), &st) == 0 &&
        (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
      type = S_ISREG(st.st_mode) ? "loop" : "lvm";
      root.image.path = std::exchange(root.path, {});
    }
    if (!HostPath(out_.program.rootfs_path).is_absolute())
      return wrong(place(row("lxc.rootfs.path")), "is not absolute", "begin it with '/'");
  } else if (type == "loop" || type == "lvm") {
    root.image.path = HostPath(out_.program.rootfs_path);
    if (!root.image.path.is_absolute())
      return wrong(place(row("lxc.rootfs.path")), "is not absolute", "begin it with '/'");
  } else {
    root.path = HostPath(out_.program.rootfs_path);
    unsupported(place(row("lxc.rootfs.path")), formatted("a root file system of type {}", type),
                "mount it, and name the directory");
  }
  const auto options = text(row("lxc.rootfs.options"));
  if (!options) return;
  for (const std::string_view option : words_of(*options, ",")) {
    if (option == "ro")
      root.read_only = true;
    else if (option == "idmap=container")
      root.idmapped = true;
    else if (option != "rw" && option != "bind" && option != "rbind" && option != "defaults" &&
             option != "relatime" && option != "dev" && option != "suid" && option != "exec") {
      if (!root.image.path.empty()) {
        root.image.options.emplace_back(option);
        continue;
      }
      unsupported(place(row("lxc.rootfs.options")),
                  formatted("{} for the root", spec_text::shown(option)));
    }
  }
}

void Translator::capabilities() {
  CapabilitySet set = CapabilitySet::all();
  const auto& keep = list(row("lxc.cap.keep"));
  if (!keep.empty()) {
    set = {};
    for (const Value& v : keep)
      if (const auto c = capability_of(v.text)) set.add(*c);
  }
  for (const Value& v : list(row("lxc.cap.drop")))
    if (const auto c = capability_of(v.text)) set.drop(*c);
  // In a user namespace of its own it has them all.
  if (list(row("lxc.idmap")).empty())
    set.keep(how_.capabilities ? *how_.capabilities : own_capabilities());
  out_.spec.security.capabilities = set;
}

void Translator::namespaces() {
  Spec& spec = out_.spec;
  const auto named = [&](std::size_t r) {
    Flags<Namespace> all;
    for (const Value& v : list(r)) all |= kind_of(v.text);
    return all;
  };
  const Flags<Namespace> clone = named(row("lxc.namespace.clone"));
  spec.namespaces = Spec::default_namespaces - named(row("lxc.namespace.keep"));
  if (!clone.empty()) spec.namespaces = clone;

  spec.idmap.kind = IdMap::none;
  for (const Value& v : list(row("lxc.idmap"))) {
    const auto words = words_of(v.text);
    std::uint64_t n[3] = {};
    for (std::size_t i = 0; i < 3; ++i) (void)read_whole(words[i + 1], UINT32_MAX, n[i]);
    const IdRange range{static_cast<std::uint32_t>(n[0]), static_cast<std::uint32_t>(n[1]),
                        static_cast<std::uint32_t>(n[2])};
    spec.idmap.kind = IdMap::ranges;
    (words[0] == "u" ? spec.idmap.uids : spec.idmap.gids).push_back(range);
  }
  if (spec.idmap.kind == IdMap::ranges)
    for (const auto& [ranges, what] :
         {std::pair{&spec.idmap.uids, "u"}, std::pair{&spec.idmap.gids, "g"}})
      if (ranges->empty())
        missing({row("lxc.idmap")}, place(row("lxc.idmap")),
                formatted("there is none of kind {}", what),
                formatted("lxc.idmap = {} 0 100000 65536", what));

  for (const auto& [kind, values] : in_.values[row("lxc.namespace.share.")]) {
    if (values.empty()) continue;
    const Flags<Namespace> one = kind_of(kind);
    const std::string& from = values.back().text;
    std::uint64_t pid = 0;
    Join join{.kind = *from_name<Namespace>(kind == "mnt" ? "mount" : std::string_view(kind))};
    if (from.starts_with('/')) {
      join.from = HostPath(from);
    } else if (read_whole(from, INT32_MAX, pid) && pid > 0) {
      join.from = Pid{static_cast<std::int32_t>(pid)};
    } else {
      unsupported(place(values.back()), "the namespace of a container by its name",
                  "the pid of its first process");
      continue;
    }
    spec.namespaces -= one;
    spec.join.push_back(std::move(join));
  }
  // What reboot(2) asks for is the matter of a pid namespace.
  spec.lifecycle.restart =
      spec.namespaces.has(Namespace::pid) ? Restart::on_reboot : Restart::never;
  for (const auto& [r, offset] :
       {std::pair{row("lxc.time.offset.boot"), &spec.time.boottime},
        std::pair{row("lxc.time.offset.monotonic"), &spec.time.monotonic}}) {
    if (const auto given = text(r)) {
      std::int64_t count = 0;
      std::from_chars(given->data(), given->data() + given->size(), count);
      *offset =
          given->ends_with(" s") ? std::chrono::seconds(count) : std::chrono::nanoseconds(count);
    }
    if (offset->count() != 0) spec.namespaces |= Namespace::time;
  }
}

void Translator::host_name() {
  Spec& spec = out_.spec;
  const bool own = spec.namespaces.has(Namespace::uts);
  if (const auto name = text(row("lxc.uts.name"))) {
    if (own)
      spec.hostname = *name;
    else
      note(place(row("lxc.uts.name")), "is not set: the uts namespace is shared");
  } else if (own) {
    // What it would have: a new namespace begins with the name of the old one.
    char here[65] = {};
    if (::gethostname(here, sizeof here - 1) == 0) spec.hostname = here;
  }
}

/// As LXC, where it can: there is a /dev for its file, and a /proc that it lies on.
void Translator::boot_id() {
  Spec& spec = out_.spec;
  constexpr std::string_view file = "/proc/sys/kernel/random/boot_id";
  bool found = false;
  for (const Mount& m : spec.mounts) {
    const std::string target = std::visit([](const auto& x) { return x.target.str(); }, m);
    if (!file.starts_with(target + "/") && target != "/") continue;
    const auto* const proc = std::get_if<Proc>(&m);
    const auto* const bind = std::get_if<Bind>(&m);
    if (proc != nullptr && target == "/proc")
      found = !proc->common.optional && !proc->pids_only;
    else if (bind == nullptr || bind->inside.str() != target)
      found = false;  // who knows what is there
  }
  spec.lifecycle.own_boot_id = found && spec.devices.populate;
}

void Translator::terminal() {
  Spec& spec = out_.spec;
  Terminal& t = spec.terminal;
  const bool console = out_.program.console_path != "none";
  t.console = console;
  t.ring = out_.program.console_buffer;
  if (console && !out_.program.console_log.empty()) {
    t.log = out_.program.console_log;
    t.log_size = out_.program.console_log_size;
    t.log_rotate = out_.program.console_rotate && t.log_size.value != 0;
  }
  t.ttys = static_cast<unsigned>(number(row("lxc.tty.max"), 0));
  t.tty_dir = text(row("lxc.tty.dir")).value_or("");
  if (t.tty_dir.find('/') != t.tty_dir.npos) {
    unsupported(place(row("lxc.tty.dir")), "a directory below one of /dev", "one name without '/'");
    t.tty_dir.clear();
  }
  spec.process.stdio = console ? Stdio(Stdio::pty) : Stdio(Stdio::inherit);
  spec.process.controlling_terminal = false;

  if (!own(Namespace::mount)) {
    if (t.ttys != 0 || text(row("lxc.pty.max")))
      unsupported(place(t.ttys != 0 ? row("lxc.tty.max") : row("lxc.pty.max")),
                  "terminals in a mount namespace that is not its own", "leave them out");
    t.ttys = 0;
    t.tty_dir.clear();
    t.console = false;
    return;
  }
  const std::uint64_t ptys = number(row("lxc.pty.max"), 0);
  if (ptys + t.ttys == 0 && (spec.devices.populate || !console)) return;
  constexpr std::uint64_t most = 1U << 20U;
  const std::uint64_t wanted = std::max<std::uint64_t>(ptys + t.ttys, t.ttys + (console ? 1U : 0U));
  Devpts devpts{.max = static_cast<unsigned>(std::min(wanted, most)),
                .common = {.create_target = true, .optional = false}};
  if (!spec.devices.populate && ptys != 0) devpts.ptmx = GuestPath("/dev/ptmx");
  spec.mounts.emplace_back(std::move(devpts));
}

void Translator::process() {
  Spec& spec = out_.spec;
  Process& p = spec.process;
  if (const auto command = text(row("lxc.init.cmd"))) {
    p.argv.clear();
    (void)split_command(*command, p.argv);
    if (p.argv.empty()) p.argv = {"/sbin/init"};
  }
  p.uid = Uid{static_cast<std::uint32_t>(number(row("lxc.init.uid"), 0))};
  p.gid = Gid{static_cast<std::uint32_t>(number(row("lxc.init.gid"), 0))};
  for (const Value& v : list(row("lxc.init.groups"))) {
    std::uint64_t n = 0;
    if (read_whole(v.text, UINT32_MAX, n)) p.groups.push_back(Gid{static_cast<std::uint32_t>(n)});
  }
  if (const auto cwd = text(row("lxc.init.cwd"))) {
    p.cwd = GuestPath(*cwd);
    p.create_cwd = true;
  }
  Variables env;
  for (const std::size_t r : {row("lxc.environment"), row("lxc.environment.runtime")})
    for (const Value& v : list(r)) env.set(v.text);
  env.set("container=lxc");
  if (spec.terminal.ttys > 0) {
    // The console is the first of the instance.
    std::string names = "container_ttys=";
    const unsigned first = spec.terminal.console ? 1 : 0;
    for (unsigned i = 0; i < std::min(spec.terminal.ttys, 64U); ++i)
      names += formatted("{}pts/{}", i == 0 ? "" : " ", first + i);
    env.set(names);
  }
  p.env = env.take();
  if (const auto arch = text(row("lxc.arch")))
    p.personality = *arch == "i686" ? Personality::linux32 : Personality::native;
  if (const std::uint64_t signal = number(row("lxc.monitor.signal.pdeath"), 0); signal != 0)
    p.death_signal = Signal{static_cast<int>(signal)};

  p.scheduling.core = yes(row("lxc.sched.core"));

  for (const auto& [name, values] : in_.values[row("lxc.prlimit.")]) {
    if (values.empty()) continue;
    std::uint64_t number = 0;
    auto resource = from_name<Rlimit>(name);
    if (!resource && read_whole(name, static_cast<std::uint64_t>(Rlimit::rttime), number))
      resource = static_cast<Rlimit>(number);
    if (!resource) {
      wrong(place(values.back()),
            formatted("{}: {}", spec_text::shown(name), spec_text::unknown_name<Rlimit>(name)));
      continue;
    }
    RlimitSetting limit{.resource = *resource};
    const std::string& text = values.back().text;
    const std::size_t colon = text.find(':');
    const auto half = [](std::string_view word) {
      std::uint64_t n = RlimitSetting::unlimited;
      if (word != "unlimited") std::from_chars(word.data(), word.data() + word.size(), n);
      return n;
    };
    limit.soft = half(std::string_view(text).substr(0, colon));
    limit.hard = half(std::string_view(text).substr(colon + 1));
    if (limit.soft > limit.hard)
      wrong(place(values.back()), "the soft limit is above the hard one", "SOFT:HARD");
    p.rlimits.push_back(limit);
  }
  for (const auto& [file, values] : in_.values[row("lxc.proc.")]) {
    if (values.empty()) continue;
    int score = 0;
    std::string text = values.back().text;
    if (file == "oom_score_adj") {
      if (!integer(text).empty()) {
        wrong(place(values.back()), "is no number", "-1000 to 1000");
      } else {
        std::from_chars(text.data(), text.data() + text.size(), score);
        p.oom_score_adj = score;
      }
    } else if (file.find('/') != file.npos || file == "." || file == "..") {
      wrong(place(values.back()), formatted("{} is no file of a process", spec_text::shown(file)),
            "a name without '/', for instance lxc.proc.coredump_filter");
    } else {
      p.proc_files.push_back({.name = file, .value = std::move(text)});
    }
  }
}

void Translator::cgroups() {
  Spec& spec = out_.spec;
  Resources& r = spec.resources;
  r.cgroup = CgroupMode::everywhere;
  const lxc::Program& p = out_.program;
  if (!p.cgroup_container.empty())
    r.cgroup_path = p.cgroup_container;
  else if (!p.cgroup_dir.empty() || !p.cgroup_inner.empty())
    r.cgroup_path =
        formatted("{}{}lxc.payload.{}", p.cgroup_dir, p.cgroup_dir.empty() ? "" : "/", how_.name);
  while (r.cgroup_path.ends_with('/')) r.cgroup_path.pop_back();
  r.cgroup_inner = p.cgroup_inner;
  spec.lifecycle.freezable = true;
  // As LXC does: only those of the version that the machine has. Of these none may be missing.
  std::vector<std::pair<std::uint32_t, CgroupSetting>> settings;
  for (const std::size_t version : {row("lxc.cgroup."), row("lxc.cgroup2.")})
    for (const auto& [file, values] : in_.values[version]) {
      if (file == "devices.allow" || file == "devices.deny" || values.empty()) continue;
      if (cgroup2_only() != (version == row("lxc.cgroup2."))) {
        note(place(values.front()), "is left out: this machine has the other version of cgroups");
        continue;
      }
      for (const Value& v : values)
        settings.emplace_back(v.item, CgroupSetting{.file = file, .value = v.text});
    }
  std::ranges::sort(settings, {}, [](const auto& s) { return s.first; });
  for (auto& [item, setting] : settings) r.settings.push_back(std::move(setting));
}

void Translator::security() {
  Security& s = out_.spec.security;
  s.no_new_privs = yes(row("lxc.no_new_privs"));
  s.own_keyring = !yes(row("lxc.keyring.session"));
  for (const auto& [name, values] : in_.values[row("lxc.sysctl.")])
    if (!values.empty()) {
      if (of_host(name))
        unsupported(place(values.back()), "a setting of the whole host", "set it there");
      else
        s.sysctls.push_back({.name = name, .value = values.back().text});
    }
  s.seccomp = {.kind = Seccomp::none, .and_standard = true};
  if (const auto file = text(row("lxc.seccomp.profile"))) {
    FileText profile;
    const int error = read_text(*file, std::size_t{1} << 20U, profile);
    if (error != 0) {
      wrong(place(row("lxc.seccomp.profile")), formatted("cannot be read: {}", errno_name(error)));
    } else if (auto policy = lxc::parse_seccomp(profile.text)) {
      s.seccomp = std::move(*policy);
    } else {
      std::vector<std::string> all = {policy.error().subject};
      all.insert(all.end(), policy.error().also.begin(), policy.error().also.end());
      for (std::string& what : all) wrong({.file = *file}, std::move(what));
    }
  }
}

bool Translator::apparmor() const {
  return how_.apparmor.value_or(is_there("/sys/kernel/security/apparmor/profiles"));
}

bool Translator::nests() const {
  return yes(row("lxc.apparmor.allow_nesting")) && apparmor() &&
         text(row("lxc.apparmor.profile")) == "generated" && out_.spec.devices.populate;
}

/// LXC's own, for a container that names none; empty where it is not loaded.
std::string Translator::default_profile() const {
  const std::string_view wanted =
      own(Namespace::cgroup) ? "lxc-container-default-cgns" : "lxc-container-default";
  if (how_.apparmor_profiles)
    return std::ranges::find(*how_.apparmor_profiles, wanted) != how_.apparmor_profiles->end()
               ? std::string(wanted)
               : std::string();
  FileText loaded;
  if (read_text("/sys/kernel/security/apparmor/profiles", std::size_t{4} << 20U, loaded) != 0)
    return {};
  for (const std::string_view line : words_of(loaded.text, "\n"))
    if (line.starts_with(formatted("{} (", wanted))) return std::string(wanted);
  return {};
}

void Translator::labels() {
  Security& s = out_.spec.security;
  const auto profile = text(row("lxc.apparmor.profile"));
  if (profile == "unconfined") {
    if (apparmor()) s.apparmor = *profile;
  } else if (!apparmor()) {
    if (profile && profile != "unchanged")
      note(place(row("lxc.apparmor.profile")), "AppArmor is not on here: there is no profile");
  } else if (!profile) {
    s.apparmor = default_profile();
    if (s.apparmor.empty())
      unsupported(place(row("lxc.apparmor.profile")), "LXC's own profile, which is not loaded",
                  "lxc.apparmor.profile = generated, or unconfined");
  } else if (*profile == "generated") {
    s.own_apparmor = true;
    if (nests()) s.allow |= Allow::nesting;
  } else if (*profile != "unchanged") {
    s.apparmor = *profile;
  }
  if (yes(row("lxc.apparmor.allow_nesting")) && apparmor() && !nests())
    note(place(row("lxc.apparmor.allow_nesting")),
         "is for a profile that is generated, and lxc.autodev");
  const bool labelled = s.own_apparmor || (!s.apparmor.empty() && s.apparmor != "unconfined");
  if (labelled && !how_.apparmor && !yes(row("lxc.apparmor.allow_incomplete")) &&
      !is_there("/sys/kernel/security/apparmor/features/mount/mask"))
    unsupported(place(row("lxc.apparmor.profile")), "this kernel's AppArmor lets it mount anything",
                "lxc.apparmor.allow_incomplete = 1, if that may be");
  for (const Value& v : list(row("lxc.apparmor.raw"))) {
    if (s.own_apparmor)
      s.apparmor_rules.push_back(v.text);
    else if (apparmor())
      note(place(v), "is for a profile that is generated");
  }
  const bool selinux = how_.selinux.value_or(is_there("/sys/fs/selinux/enforce"));
  if (const auto context = text(row("lxc.selinux.context"))) {
    if (selinux)
      s.selinux = *context;
    else
      note(place(row("lxc.selinux.context")), "SELinux is not on here: there is no context");
  }
  if (const auto context = text(row("lxc.selinux.context.keyring"))) {
    if (!selinux)
      note(place(row("lxc.selinux.context.keyring")),
           "SELinux is not on here: there is no context");
    else if (!s.own_keyring)
      note(place(row("lxc.selinux.context.keyring")), "there is no keyring of its own");
    else
      s.selinux_keyring = *context;
  }
}

void Translator::allow() {
  Spec& spec = out_.spec;
  Security& s = spec.security;
  Flags<Allow>& allow = s.allow;
  // What LXC's language leaves open where nothing is said.
  allow |= Allow::unmasked_kernel | Allow::devices;
  if ((s.capabilities.bits() & ~CapabilitySet::small().bits()) != 0) allow |= Allow::capabilities;
  if (s.capabilities.has(Capability::sys_admin) && spec.idmap.kind == IdMap::none)
    allow |= Allow::real_root;
  if (!s.no_new_privs) allow |= Allow::new_privileges;
  if (s.seccomp.kind == Seccomp::none || s.seccomp.otherwise == SyscallAction::allow)
    allow |= Allow::all_syscalls;
  const bool image = !spec.root.image.path.empty();
  if (!image && (spec.root.path.empty() || spec.root.path.str() == "/"))
    allow |= Allow::host_root_writable;
  const auto joined = [&](Namespace kind) {
    return std::ranges::any_of(spec.join, [&](const Join& j) { return j.kind == kind; });
  };
  for (const auto& [kind, token] :
       {std::pair{Namespace::net, Allow::host_network}, std::pair{Namespace::pid, Allow::host_pids},
        std::pair{Namespace::ipc, Allow::host_ipc}, std::pair{Namespace::uts, Allow::host_uts},
        std::pair{Namespace::mount, Allow::host_mounts},
        std::pair{Namespace::cgroup, Allow::host_cgroup}})
    if (!spec.namespaces.has(kind) && !joined(kind)) allow |= token;
}

void Translator::program() {
  lxc::Program& p = out_.program;
  const auto host = [&](std::size_t r) { return HostPath(text(r).value_or("")); };
  p.rootfs_mount = host(row("lxc.rootfs.mount"));
  p.rootfs_managed = yes(row("lxc.rootfs.managed"), true);
  p.ephemeral = yes(row("lxc.ephemeral"));
  if (const auto command = text(row("lxc.execute.cmd"))) (void)split_command(*command, p.execute);
  p.console_path = text(row("lxc.console.path")).value_or("");
  p.console_log = host(row("lxc.console.logfile"));
  p.console_buffer = Bytes{number(row("lxc.console.buffer.size"), 0)};
  constexpr Bytes least{4096};
  p.console_log_size = Bytes{number(row("lxc.console.size"), 0)};
  if (p.console_log_size.value != 0) p.console_log_size = std::max(p.console_log_size, least);
  p.console_rotate = yes(row("lxc.console.rotate"));

  std::vector<std::pair<std::uint32_t, lxc::Hook>> hooks;
  constexpr std::string_view prefix = "lxc.hook.";
  for (std::size_t r = 0; r < table.size(); ++r)
    if (table[r].name.starts_with(prefix) && table[r].shape == Shape::list)
      for (const Value& v : list(r))
        hooks.emplace_back(
            v.item,
            lxc::Hook{.when = std::string(table[r].name.substr(prefix.size())), .command = v.text});
  std::ranges::sort(hooks, {}, [](const auto& h) { return h.first; });
  for (auto& [item, hook] : hooks) p.hooks.push_back(std::move(hook));
  p.hook_version = static_cast<int>(number(row("lxc.hook.version"), 0));
  Variables hook_environment;
  for (const std::size_t r : {row("lxc.environment"), row("lxc.environment.hooks")})
    for (const Value& v : list(r)) hook_environment.set(v.text);
  p.hook_environment = hook_environment.take();

  p.start_auto = yes(row("lxc.start.auto"));
  p.start_delay = static_cast<std::uint32_t>(number(row("lxc.start.delay"), 0));
  if (const auto order = text(row("lxc.start.order")))
    std::from_chars(order->data(), order->data() + order->size(), p.start_order);
  for (const Value& v : list(row("lxc.group"))) p.groups.push_back(v.text);

  Lifecycle& life = out_.spec.lifecycle;
  const auto signal_of = [&](std::size_t r, int otherwise) {
    const auto n = static_cast<int>(number(r, 0));
    return Signal{n == 0 ? otherwise : n};
  };
  life.halt_signal = signal_of(row("lxc.signal.halt"), 30);
  if (number(row("lxc.signal.halt"), 0) != 0) p.halt_signal = life.halt_signal;
  life.reboot_signal = signal_of(row("lxc.signal.reboot"), 2);
  life.stop_signal = signal_of(row("lxc.signal.stop"), 9);
  life.restart_limit = 0;

  if (const auto level = text(row("lxc.log.level"))) {
    constexpr std::string_view levels[] = {"TRACE", "DEBUG", "INFO",  "NOTICE", "WARN",
                                           "ERROR", "CRIT",  "ALERT", "FATAL"};
    for (std::size_t i = 0; i < std::size(levels); ++i)
      if (levels[i] == *level) p.log_level = static_cast<lxc::LogLevel>(i);
  }
  p.log_file = host(row("lxc.log.file"));
  p.log_syslog = text(row("lxc.log.syslog")).value_or("");
  p.monitor_unshare = number(row("lxc.monitor.unshare"), 0) != 0;

  p.cgroup_dir = text(row("lxc.cgroup.dir")).value_or("");
  p.cgroup_monitor = text(row("lxc.cgroup.dir.monitor")).value_or("");
  p.cgroup_container = text(row("lxc.cgroup.dir.container")).value_or("");
  p.cgroup_inner = text(row("lxc.cgroup.dir.container.inner")).value_or("");
  p.cgroup_pivot = text(row("lxc.cgroup.dir.monitor.pivot")).value_or("");
  p.cgroup_relative = yes(row("lxc.cgroup.relative"));
  if (p.cgroup_monitor.empty() != p.cgroup_container.empty())
    missing({row("lxc.cgroup.dir.container"), row("lxc.cgroup.dir.monitor")},
            place(p.cgroup_monitor.empty() ? row("lxc.cgroup.dir.container")
                                           : row("lxc.cgroup.dir.monitor")),
            "the other of lxc.cgroup.dir.monitor and .container is missing", "give both or none");
  if (!p.cgroup_dir.empty() && !p.cgroup_container.empty())
    wrong(place(row("lxc.cgroup.dir")), "there is lxc.cgroup.dir.container as well",
          "use one of them");

  for (const std::size_t r : {row("lxc.cgroup.dir.monitor"), row("lxc.cgroup.dir.monitor.pivot")})
    if (text(r))
      // The container is where it would be.
      note(place(r), "the program that keeps it stays in the cgroup that it was started in");
  if (p.cgroup_relative)
    note(place(row("lxc.cgroup.relative")), "RuntimeOptions::cgroup_parent says below which it is");

  p.seccomp_allow_nesting = yes(row("lxc.seccomp.allow_nesting"));
  p.seccomp_proxy = text(row("lxc.seccomp.notify.proxy")).value_or("");
  p.seccomp_cookie = text(row("lxc.seccomp.notify.cookie")).value_or("");
}

}  // namespace condroid::inline v0::lxc_language

namespace condroid::inline v0::lxc {

Result<Translated> Configuration::to_spec(const Translation& how,
                                          std::vector<Diagnostic>* mistakes) const {
  lxc_language::Translator translator(*impl_, how);
  translator.all();
  lxc_language::Report& report = translator.report();
  if (mistakes != nullptr) *mistakes = report.all();
  if (report.errors() != 0) return fail(report.error());
  return std::move(translator.out());
}

}  // namespace condroid::inline v0::lxc
