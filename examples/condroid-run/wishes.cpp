#include "wishes.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condroid/builder.hpp>
#include <condroid/config/seccomp.hpp>
#include <condroid/error.hpp>
#include <condroid/registry.hpp>
#include <condroid/sys/facts.hpp>
#include <condroid/sys/fd.hpp>
#include <cstdlib>
#include <filesystem>

namespace wishes {

namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find(at, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

struct Shared {
  const char* name;
  Namespace kind;
  Allow token;
};
constexpr Shared shareable[] = {{"net", Namespace::net, Allow::host_network},
                                {"pid", Namespace::pid, Allow::host_pids},
                                {"ipc", Namespace::ipc, Allow::host_ipc},
                                {"uts", Namespace::uts, Allow::host_uts},
                                {"cgroup", Namespace::cgroup, Allow::host_cgroup},
                                {"mount", Namespace::mount, Allow::host_mounts},
                                {"user", Namespace::user, {}},
                                {"time", Namespace::time, {}}};

void join_none(Spec& spec, Namespace kind) {
  std::erase_if(spec.join, [kind](const Join& join) { return join.kind == kind; });
}

CapabilitySet capabilities(const std::string& option, std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (name == "all") return CapabilitySet::all();
  if (name.starts_with("cap_")) name.erase(0, 4);
  for (unsigned i = 0; i < capability_count; ++i)
    if (const auto c = static_cast<Capability>(i); to_string(c) == name) return CapabilitySet{c};
  throw Mistake(fmt::format("{}: '{}' is no capability; capabilities(7) lists them", option, name));
}

/// All of it is one message, however many lines are wrong; the first ones are enough of it.
template <class T>
T parsed(const std::string& option, Result<T> value) {
  if (value) return std::move(*value);
  auto& also = value.error().also;
  if (const std::size_t more = also.size(); more > 3) {
    also.resize(3);
    also.push_back(fmt::format("{} more lines", more - 3));
  }
  throw Mistake(fmt::format("{}: {}", option, value.error()));
}

}  // namespace

Bytes size(const std::string& option, const std::string& text) {
  const std::size_t digits = text.find_first_not_of("0123456789");
  if (digits == 0) throw Mistake(fmt::format("{}: '{}' is no size like 64m or 1g", option, text));
  const auto value = number<std::uint64_t>(option, text.substr(0, digits));
  const std::string unit = digits == std::string::npos ? "" : text.substr(digits);
  unsigned shift = 0;
  if (unit == "k" || unit == "K" || unit == "KiB")
    shift = 10;
  else if (unit == "m" || unit == "M" || unit == "MiB")
    shift = 20;
  else if (unit == "g" || unit == "G" || unit == "GiB")
    shift = 30;
  else if (!unit.empty())
    throw Mistake(fmt::format("{}: '{}' is no unit of size (k, m, g)", option, unit));
  if (value > (~std::uint64_t{0} >> shift))
    throw Mistake(fmt::format("{}: '{}' is too large", option, text));
  return Bytes{value << shift};
}

std::chrono::milliseconds duration(const std::string& option, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  double scale = 1000;
  if (unit == "ms")
    scale = 1;
  else if (unit == "m")
    scale = 60e3;
  else if (unit == "h")
    scale = 3600e3;
  else if (!unit.empty() && unit != "s")
    throw Mistake(fmt::format("{}: '{}' is no unit of time (ms, s, m, h)", option, unit));
  if (error != std::errc{} || !(value > 0) || value * scale < 1 || value * scale > 1e12)
    throw Mistake(fmt::format("{}: '{}' is no time above 0", option, text));
  return std::chrono::milliseconds(static_cast<std::int64_t>(value * scale));
}

HostPath host_path(const std::string& text) {
  std::error_code error;
  const auto path = std::filesystem::absolute(text, error);
  if (error) throw Mistake(fmt::format("'{}': the working directory is gone", text));
  return HostPath(path.string());
}

void set_root(Spec& spec, const std::string& text) {
  HostPath path = host_path(text);
  std::error_code none;
  const auto kind = std::filesystem::status(path.str(), none).type();
  spec.root.path = {};
  spec.root.image = {};
  if (kind == std::filesystem::file_type::regular || kind == std::filesystem::file_type::block)
    spec.root.image.path = std::move(path);
  else
    spec.root.path = std::move(path);
}

void add_bind(Spec& spec, const std::string& text) {
  const auto parts = split(text, ':');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty() || parts[1].empty())
    throw Mistake(fmt::format("--bind: '{}' is not SRC:DST[:OPTIONS]", text));
  Bind bind{.source = host_path(parts[0]),
            .target = GuestPath(parts[1]),
            .flags = MountFlag::nosuid | MountFlag::nodev,
            .recursive = true};
  if (parts.size() == 3) {
    for (const std::string& o : split(parts[2], ',')) {
      if (o == "ro")
        bind.flags |= MountFlag::read_only;
      else if (o == "rw")
        bind.flags -= MountFlag::read_only;
      else if (o == "suid")
        bind.flags -= MountFlag::nosuid;
      else if (o == "nosuid")
        bind.flags |= MountFlag::nosuid;
      else if (o == "nodev")
        bind.flags |= MountFlag::nodev;
      else if (o == "exec")
        bind.flags -= MountFlag::noexec;
      else if (o == "noexec")
        bind.flags |= MountFlag::noexec;
      else if (o == "rec")
        bind.recursive = true;
      else if (o == "norec")
        bind.recursive = false;
      else if (o == "idmap")
        bind.idmapped = true;
      else if (o == "optional")
        bind.common.optional = true;
      else if (o == "dev") {
        bind.flags -= MountFlag::nodev;
        spec.security.allow |= Allow::devices;
      } else {
        throw Mistake(fmt::format(
            "--bind: '{}' is none of ro, rw, suid, dev, exec, noexec, rec, norec, idmap, optional",
            o));
      }
    }
  }
  spec.mounts.emplace_back(std::move(bind));
}

void add_tmpfs(Spec& spec, const std::string& text) {
  const auto parts = split(text, ':');
  if (parts.size() > 2 || parts[0].empty())
    throw Mistake(fmt::format("--tmpfs: '{}' is not DST[:OPTIONS]", text));
  Tmpfs tmpfs{.target = GuestPath(parts[0])};
  if (parts.size() == 2) {
    for (const std::string& o : split(parts[1], ',')) {
      if (o.starts_with("size="))
        tmpfs.size = size("--tmpfs", o.substr(5));
      else if (o.starts_with("mode="))
        tmpfs.mode = {number<std::uint32_t>("--tmpfs", o.substr(5), 8)};
      else if (o.starts_with("inodes="))
        tmpfs.inodes = number<std::uint64_t>("--tmpfs", o.substr(7));
      else if (o == "ro")
        tmpfs.flags |= MountFlag::read_only;
      else if (o == "noexec")
        tmpfs.flags |= MountFlag::noexec;
      else
        throw Mistake(fmt::format("--tmpfs: '{}' is none of size=, mode=, inodes=, ro, noexec", o));
    }
  }
  spec.mounts.emplace_back(std::move(tmpfs));
}

void share(Spec& spec, const std::string& name) {
  for (const Shared& s : shareable) {
    if (name != s.name) continue;
    spec.namespaces -= s.kind;
    join_none(spec, s.kind);
    spec.security.allow |= s.token;
    if (s.kind == Namespace::user) spec.idmap = {.kind = IdMap::none};
    if (s.kind == Namespace::time) spec.time = {};
    return;
  }
  throw Mistake(
      fmt::format("--share: '{}' is none of net, pid, ipc, uts, cgroup, mount, user, time", name));
}

void own_network(Spec& spec) {
  spec.namespaces |= Namespace::net;
  join_none(spec, Namespace::net);
}

void map_ids(Spec& spec, const std::vector<std::string>& wishes) {
  if (!wishes.empty()) spec.idmap = {};  // what a stored spec said
  for (const std::string& text : wishes) {
    if (text == "auto" || text == "host") {
      if (wishes.size() > 1)
        throw Mistake(fmt::format("--userns: '{}' goes with no other map", text));
      spec.idmap = {.kind = text == "auto" ? IdMap::automatic : IdMap::none};
      return;
    }
    const auto parts = split(text, ':');
    if (parts.size() != 3)
      throw Mistake(fmt::format("--userns: '{}' is not auto, host or IN:OUT:COUNT", text));
    const IdRange range{number<std::uint32_t>("--userns", parts[0]),
                        number<std::uint32_t>("--userns", parts[1]),
                        number<std::uint32_t>("--userns", parts[2])};
    spec.idmap.kind = IdMap::ranges;
    spec.idmap.uids.push_back(range);
    spec.idmap.gids.push_back(range);
  }
}

void change_capabilities(Security& security, const std::vector<std::string>& add,
                         const std::vector<std::string>& drop) {
  const auto has_all = [](const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(),
                       [](const auto& c) { return c == "all" || c == "ALL"; });
  };
  std::uint64_t bits = security.capabilities.bits();
  if (has_all(add)) bits = CapabilitySet::all().bits();
  if (has_all(drop)) bits = 0;
  for (const auto& c : add) bits |= has_all(add) ? 0 : capabilities("--cap-add", c).bits();
  for (const auto& c : drop) bits &= has_all(drop) ? bits : ~capabilities("--cap-drop", c).bits();
  security.capabilities = CapabilitySet::from_bits(bits);
  if (!add.empty()) security.allow |= Allow::capabilities;
}

void add_environment(Spec& spec, const std::vector<std::string>& wishes, bool usual) {
  std::vector<std::string>& env = spec.process.env;
  const auto set = [&env](std::string entry, bool over) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    for (std::string& old : env) {
      if (!old.starts_with(name)) continue;
      if (over) old = std::move(entry);
      return;
    }
    env.push_back(std::move(entry));
  };
  for (const std::string& e : wishes) {
    if (e.find('=') != std::string::npos) {
      set(e, true);
    } else if (const char* value = std::getenv(e.c_str()); value != nullptr) {
      set(e + "=" + value, true);
    }
  }
  if (!usual) return;  // what a container has that runs already stays
  set("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", false);
  set(spec.process.uid.value == 0 ? "HOME=/root" : "HOME=/", false);
}

std::string file_text(const std::string& option, const std::string& path) {
  const auto bad = [&] {
    return Mistake(fmt::format("{}: {}", option,
                               sys_error(errno, Step::open_descriptor, fmt::format("'{}'", path))));
  };
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) throw bad();
  // Not the whole of what never ends: whoever parses it says that it is too much.
  constexpr std::size_t most = std::size_t{17} << 20U;
  std::string text;
  for (char block[4096]; text.size() < most;) {
    const ssize_t n = ::read(file.get(), block, sizeof block);
    if (n == 0) break;
    if (n < 0 && errno != EINTR) throw bad();
    if (n > 0) text.append(block, static_cast<std::size_t>(n));
  }
  return text;
}

Spec parse(const std::string& option, const std::string& text) {
  return parsed(option, parse_spec(text));
}

void filter_calls(Security& security, const std::string& wish) {
  security.seccomp = {};
  if (wish == "standard") return;
  if (wish == "none") {
    security.seccomp.kind = Seccomp::none;
    security.allow |= Allow::all_syscalls;
    return;
  }
  const std::string text = file_text("--seccomp", wish);
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  const bool json = begin != std::string::npos && text[begin] == '{';
  security.seccomp =
      parsed("--seccomp " + wish, json ? oci::parse_seccomp(text) : lxc::parse_seccomp(text));
  if (!security.seccomp.and_standard) security.allow |= Allow::all_syscalls;
  const auto asks = [](const SyscallRule& rule) { return rule.action == SyscallAction::notify; };
  if (security.seccomp.otherwise == SyscallAction::notify ||
      std::ranges::any_of(security.seccomp.list, asks))
    throw Mistake(fmt::format(
        "--seccomp {}: notify: condroid-run answers nobody; a program of yours can", wish));
}

void restrict_reach(Landlock& landlock, const std::string& wish) {
  if (wish == "best-effort") {
    landlock.best_effort = true;
    return;
  }
  const std::size_t colon = wish.rfind(':');
  const std::string what = wish.substr(0, colon);
  if (colon == std::string::npos || what.empty() || colon + 1 == wish.size())
    throw Mistake(
        fmt::format("--landlock '{}': expected PATH:RIGHTS like /usr:run, bind:PORT, "
                    "connect:PORT, scope:signal or best-effort",
                    wish));
  const std::string option = fmt::format("--landlock '{}'", wish);
  const std::string value = wish.substr(colon + 1);
  if (what == "bind") {
    landlock.permit_bind(number<std::uint16_t>(option, value));
  } else if (what == "connect") {
    landlock.permit_connect(number<std::uint16_t>(option, value));
  } else if (what == "scope") {
    landlock.scope |=
        parse(option, fmt::format("security.landlock.scope = {}", value)).security.landlock.scope;
  } else {
    landlock.permit(parse(option, fmt::format("security.landlock.handled = {}", value))
                        .security.landlock.handled,
                    GuestPath(what));
  }
}

std::optional<CgroupSetting> cgroup_file(const std::string& line) {
  const std::size_t equals = line.find('=');
  const std::string key = line.substr(0, line.find_first_of(" ="));
  if (equals == std::string::npos) return {};
  const std::string controller = key.substr(0, key.find('.'));
  // "devices" is a part of a spec, too, with keys of its own.
  static constexpr std::string_view all[] = {
      "blkio",  "cgroup", "cpu",     "cpuacct",  "cpuset",     "hugetlb", "io",
      "memory", "misc",   "net_cls", "net_prio", "perf_event", "pids",    "rdma"};
  const bool known =
      key == "devices.allow" || key == "devices.deny" ||
      (controller != key && std::find(std::begin(all), std::end(all), controller) != std::end(all));
  if (!known) return {};
  const std::size_t begin = line.find_first_not_of(' ', equals + 1);
  if (begin == std::string::npos) throw Mistake(fmt::format("--set: {}: a value is missing", key));
  return CgroupSetting{.file = key, .value = line.substr(begin)};
}

void set_file(std::vector<CgroupSetting>& settings, CgroupSetting setting) {
  std::erase_if(settings, [&](const CgroupSetting& s) { return s.file == setting.file; });
  settings.push_back(std::move(setting));
}

std::string root_of(const std::string& container) {
  auto box = Registry::open(container);
  if (box) return fmt::format("/proc/{}/root", box->pid().value);
  const bool number = container.find_first_not_of("0123456789") == std::string::npos;
  if (!number) throw Mistake(fmt::format("--attach: {}", box.error()));
  return fmt::format("/proc/{}/root", container);
}

bool may_count() {
  const auto facts = probe_host();
  return facts && std::ranges::any_of(facts->cgroups, &CgroupHierarchy::writable);
}

std::string with_line(const std::string& text, const std::string& line) {
  const std::string key = line.substr(0, line.find_first_of(" ="));
  std::string out;
  for (const std::string& old : split(text, '\n'))
    if (!old.empty() && old.substr(0, old.find_first_of(" =")) != key) out += old + "\n";
  return out + line + "\n";
}

}  // namespace wishes
