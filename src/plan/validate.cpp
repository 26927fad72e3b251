// What can be known to be wrong with a Spec before anything is done: who and where the container
// is, and what it may use. Every check goes on after a refusal, so that the author sees all of them
// at once.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/limits.hpp"
#include "plan/paths.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::size_t longest_path = 4095;     // PATH_MAX without the NUL
constexpr std::size_t longest_hostname = 64;   // __NEW_UTS_LEN
constexpr std::size_t most_map_entries = 340;  // UID_GID_MAP_MAX_EXTENTS, Linux 4.15

bool name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

/// Whether an unprivileged user may map these host ids: his own, and his ranges of /etc/subuid.
bool may_map(const IdRange& range, std::uint32_t own, const std::vector<SubidRange>& granted) {
  if (range.count == 1 && range.outside == own) return true;
  return std::ranges::any_of(granted, [&](const SubidRange& g) {
    return range.outside >= g.start && range.outside - g.start <= g.count &&
           range.count <= g.count - (range.outside - g.start);
  });
}

}  // namespace

bool Checks::text(std::string_view field, std::string_view value) const {
  if (value.find('\0') == std::string_view::npos) return true;
  refusals.bad(field, formatted("{} has a NUL byte", quoted(value)),
               "the kernel would see no more than what is before it: take it out");
  return false;
}

bool Checks::host_path(std::string_view field, const HostPath& path) const {
  if (path.empty()) return refusals.bad(field, "is empty", "say an absolute path"), false;
  if (!text(field, path.str())) return false;
  if (!path.is_absolute()) {
    refusals.bad(field, formatted("{} is not absolute", quoted(path.str())),
                 "begin it with '/': nothing is relative to a working directory");
    return false;
  }
  if (path.str().size() > longest_path) {
    refusals.bad(
        field,
        formatted("is {} bytes long; a path has at most {}", path.str().size(), longest_path),
        "use a shorter path, or a descriptor where one is taken");
    return false;
  }
  return true;
}

bool Checks::guest_path(std::string_view field, const GuestPath& path) const {
  // The same questions; a container's path is as much text as a host's.
  if (!host_path(field, HostPath(path.str()))) return false;
  if (goes_up(path.str())) {
    refusals.bad(field, formatted("{} goes up by '..'", quoted(path.str())),
                 "say where it is from the container's root");
    return false;
  }
  return true;
}

void Checks::mode(std::string_view field, Mode mode, std::uint32_t most) const {
  if (mode.value > most)
    refusals.bad(field, formatted("{:#o} is beyond {:#o}", mode.value, most),
                 "permissions are octal: is a 0 missing in front?");
}

void Checks::layers(std::string_view prefix, const HostPath& upper, const HostPath& work,
                    Bytes size, bool in_memory) const {
  const std::string p(prefix);
  if (!upper.empty()) host_path(p + ".upper", upper);
  if (!work.empty()) host_path(p + ".work", work);
  if (!upper.empty() && work.empty())
    refusals.bad(p + ".work", "is missing: overlayfs needs a work directory beside the upper one",
                 "name an empty directory of the same file system");
  if (upper.empty() && !work.empty())
    refusals.bad(p + ".upper", "is missing: there is a work directory without it",
                 "set both or neither");
  if (size.value != 0 && !in_memory)
    refusals.bad(p + ".size", "there is no upper layer in memory that it could limit",
                 "leave it out, or make it ephemeral without an upper layer");
}

void Checks::need(Allow token, std::string_view field, std::string_view what) const {
  if (allowed(token)) return;
  const std::string_view name = name_of(token);
  refusals.bad(field, what,
               formatted("add Allow::{} ('security.allow = {}' in a spec)", name, name));
}

void Checks::identity() const {
  const std::string& name = spec.name;
  if (name.empty() || name.size() > 64)
    refusals.bad("name", formatted("has {} characters; 1 to 64 are allowed", name.size()),
                 name.empty() ? "give the container a name" : "give it a shorter one");
  else if (!std::ranges::all_of(name, name_character) || name[0] == '.' || name[0] == '-')
    refusals.bad("name", formatted("{} is no name", quoted(name)),
                 "letters, digits, '_', '.' and '-'; not '.' or '-' in front");

  for (const auto& [field, value] :
       {std::pair<std::string_view, std::string_view>{"hostname", spec.hostname},
        {"domainname", spec.domainname}}) {
    if (value.empty()) continue;
    if (value.size() > longest_hostname)
      refusals.bad(field,
                   formatted("has {} bytes; the kernel takes {}", value.size(), longest_hostname),
                   "use a shorter one");
    if (text(field, value) && value.find('\n') != std::string_view::npos)
      refusals.bad(field, formatted("{} has a line end in it", quoted(value)), "take it out");
    if (!shape.own(Namespace::uts))
      refusals.bad(field, "needs a uts namespace of its own",
                   "add uts to namespaces, or leave the name as it is");
  }
  namespaces();
  joins();
  id_map();
}

void Checks::namespaces() const {
  known("namespaces", spec.namespaces);
  if (shape.own(Namespace::time) && !facts.namespaces_time)
    refusals.unsupported("namespaces", "this kernel has no time namespaces (Linux 5.6)",
                         "use a newer kernel, or take time out of namespaces");
  if (shape.own(Namespace::cgroup) && !facts.namespaces_cgroup)
    refusals.unsupported("namespaces", "this kernel has no cgroup namespaces (Linux 4.6)",
                         "use a newer kernel, or take cgroup out of namespaces");

  struct Shared {
    Namespace kind;
    Allow token;
  };
  for (const auto& [kind, token] : {Shared{Namespace::net, Allow::host_network},
                                    {Namespace::pid, Allow::host_pids},
                                    {Namespace::ipc, Allow::host_ipc},
                                    {Namespace::uts, Allow::host_uts},
                                    {Namespace::mount, Allow::host_mounts},
                                    {Namespace::cgroup, Allow::host_cgroup}})
    if (shape.shares(kind))
      need(token, "namespaces",
           formatted("'{}' is not among them, so the container would share the host's",
                     name_of(kind)));

  // After clone3(2) the offsets are frozen; without a namespace they are the host's clocks.
  using std::chrono::nanoseconds;
  constexpr nanoseconds farthest(std::numeric_limits<std::int64_t>::max() / 2);  // KTIME_MAX / 2
  for (const auto& [field, offset] :
       {std::pair<std::string_view, nanoseconds>{"time.monotonic", spec.time.monotonic},
        {"time.boottime", spec.time.boottime}}) {
    if (offset == nanoseconds{}) continue;
    if (!shape.own(Namespace::time))
      refusals.bad(field, "needs a time namespace of its own", "add time to namespaces");
    if (offset > farthest || offset < -farthest)
      refusals.bad(field, "is more than 146 years away", "use a smaller offset");
  }
}

void Checks::joins() const {
  Flags<Namespace> seen;
  for (std::size_t i = 0; i < spec.join.size(); ++i) {
    const Join& join = spec.join[i];
    const std::string field = nth("join", i);
    const std::string_view kind = name_of(join.kind);
    if (kind.empty()) {
      refusals.bad(field, "is no kind of namespace", "use one of Namespace");
      continue;
    }
    if (seen.has(join.kind))
      refusals.bad(field, formatted("'{}' is joined twice", kind), "leave out one of them");
    seen |= join.kind;
    // Whoever left `namespaces` alone asked for none of them in particular.
    if (spec.namespaces != Spec::default_namespaces && spec.namespaces.has(join.kind) &&
        join.kind != Namespace::user)  // that one is refused with the id map
      refusals.bad(field, formatted("'{}' is to be joined, and a new one as well", kind),
                   "take it out of namespaces");
    if (const auto* pid = std::get_if<Pid>(&join.from)) {
      if (pid->value < 1)
        refusals.bad(field, formatted("{} is no process", pid->value),
                     "use the pid of one that is in that namespace, as the host numbers it");
    } else if (const auto* path = std::get_if<HostPath>(&join.from)) {
      host_path(field, *path);
    } else if (!std::get<HostFd>(join.from).valid()) {
      refusals.bad(field, "is no descriptor", "open a file of /proc/PID/ns");
    }
  }
  // setns(2) wants CAP_SYS_ADMIN where the namespace belongs to. The owner of a user namespace has
  // it there.
  if (!spec.join.empty() && !shape.ids.joined && !facts.privileged())
    refusals.unsupported("join", "needs CAP_SYS_ADMIN",
                         "run as root, or join the user namespace that it belongs to as well");
  if (shape.ids.own && shape.joined.has(Namespace::pid) && shape.own_root())
    refusals.unsupported(
        "join", "a new user namespace gets no procfs of a pid namespace that is not its own",
        "join the user namespace that it belongs to as well, or set idmap.kind = none");
}

void Checks::id_map() const {
  const IdMap& map = spec.idmap;
  struct Side {
    std::string_view field;
    const std::vector<IdRange>& ranges;
    const std::vector<SubidRange>& granted;
    std::uint32_t own;
    std::string_view file;
  };
  for (const Side& side :
       {Side{"idmap.uids", map.uids, facts.subuids, facts.uid.value, "/etc/subuid"},
        Side{"idmap.gids", map.gids, facts.subgids, facts.gid.value, "/etc/subgid"}}) {
    if (map.kind != IdMap::ranges) {
      if (!side.ranges.empty())
        refusals.bad(side.field,
                     formatted("ranges are given, but idmap.kind is '{}'", name_of(map.kind)),
                     "set idmap.kind = ranges");
      continue;
    }
    if (side.ranges.empty())
      refusals.bad(side.field, "is empty, so nobody could be anybody",
                   "give at least one range, or another idmap.kind");
    if (side.ranges.size() > most_map_entries) {
      refusals.bad(
          side.field,
          formatted("has {} ranges; the kernel takes {}", side.ranges.size(), most_map_entries),
          "use fewer and larger ones");
      continue;
    }
    for (std::size_t i = 0; i < side.ranges.size(); ++i) {
      const IdRange& r = side.ranges[i];
      const std::string field = nth(side.field, i);
      const auto overlaps = [](std::uint64_t a, std::uint64_t an, std::uint64_t b,
                               std::uint64_t bn) { return a < b + bn && b < a + an; };
      if (r.count == 0) {
        refusals.bad(field, "has no ids in it", "set its count to 1 or more");
        continue;
      }
      // 4294967295 stands for "no id".
      if (std::uint64_t{r.inside} + r.count > 0xffffffffU ||
          std::uint64_t{r.outside} + r.count > 0xffffffffU)
        refusals.bad(field, "goes beyond 4294967294, the last id", "lower its begin or its count");
      for (std::size_t k = 0; k < i; ++k) {
        const IdRange& o = side.ranges[k];
        if (overlaps(r.inside, r.count, o.inside, o.count))
          refusals.bad(field, formatted("has container ids that {}[{}] has, too", side.field, k),
                       "let each id be in one range");
        if (overlaps(r.outside, r.count, o.outside, o.count))
          refusals.bad(field, formatted("has host ids that {}[{}] has, too", side.field, k),
                       "let each id be in one range");
      }
      if (!facts.privileged() && !may_map(r, side.own, side.granted))
        refusals.unsupported(
            field,
            formatted(
                "this user may map {} and what {} grants, which the host ids {} to {} are not",
                side.own, side.file, r.outside, std::uint64_t{r.outside} + r.count - 1),
            "usermod --add-subuids and --add-subgids grant ranges");
    }
  }
}

namespace {

constexpr auto npos = std::string_view::npos;

/// Names of cgroups, with '/' between them; none is that of a kernel's file.
bool is_way(std::string_view path) {
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view name = path.substr(at, end - at);
    if (name.empty() || name == "." || name == ".." || name.starts_with("cgroup.")) return false;
    at = end + 1;
  }
  return std::ranges::none_of(path, [](char c) { return static_cast<unsigned char>(c) < ' '; });
}

}  // namespace

void Checks::resources() const {
  const Resources& r = spec.resources;
  if (r.cgroup == CgroupMode::never) {
    const auto contradicts = [&](bool set, std::string_view field) {
      if (set)
        refusals.bad(field, "needs a cgroup, but resources.cgroup is 'never'",
                     "leave resources.cgroup out");
    };
    contradicts(r.memory_max.has_value(), "resources.memory_max");
    contradicts(r.memory_high.has_value(), "resources.memory_high");
    contradicts(r.memory_swap_max.has_value(), "resources.memory_swap_max");
    contradicts(r.pids_max.has_value(), "resources.pids_max");
    contradicts(r.cpus.has_value(), "resources.cpus");
    contradicts(r.cpu_weight.has_value(), "resources.cpu_weight");
    contradicts(!r.cpuset_cpus.empty(), "resources.cpuset_cpus");
    contradicts(!r.cpuset_mems.empty(), "resources.cpuset_mems");
    contradicts(r.io_weight.has_value(), "resources.io_weight");
    contradicts(!r.io.empty(), "resources.io");
    contradicts(!r.hugetlb.empty(), "resources.hugetlb");
    contradicts(!r.settings.empty(), "resources.settings");
    contradicts(!r.cgroup_path.empty(), "resources.cgroup_path");
    contradicts(!r.cgroup_inner.empty(), "resources.cgroup_inner");
  }
  constexpr std::size_t longest_path = 100;
  if (!r.cgroup_path.empty() && (r.cgroup_path.size() > longest_path || !is_way(r.cgroup_path)))
    refusals.bad("resources.cgroup_path", "is no path below a cgroup, of at most 100 bytes",
                 "names with '/' between them, for instance guests/web");
  if (!r.cgroup_inner.empty() && r.cgroup_path.empty()) {
    refusals.bad("resources.cgroup_inner", "is below resources.cgroup_path, which is empty",
                 "set that as well");
  } else if (!r.cgroup_inner.empty() &&
             (r.cgroup_path.size() + r.cgroup_inner.size() >= longest_path ||
              !is_way(r.cgroup_inner) || r.cgroup_inner.find('/') != npos)) {
    refusals.bad("resources.cgroup_inner",
                 "is no name of a cgroup, of at most 100 bytes with the path",
                 "one name without '/'");
  }
  check_limits(r, refusals);
  known("resources.optional", r.optional);
  if (!facts.kernel_at_least(5, 7) && std::ranges::any_of(shape.groups, [&](const Group& g) {
        return facts.cgroups[g.hierarchy].v2;
      }))
    refusals.unsupported("resources",
                         "a cgroup of version 2 is entered by clone3(2) from Linux 5.7",
                         "use a newer kernel, or no limits");
}

void validate(const Spec& spec, const HostFacts& facts, const Shape& shape, Refusals& refusals) {
  const Checks checks{.spec = spec, .facts = facts, .shape = shape, .refusals = refusals};
  checks.identity();
  checks.root();
  checks.process();
  checks.terminal();
  checks.mounts();
  checks.devices();
  checks.resources();
  checks.security();
  checks.masks();
  checks.lifecycle();
  checks.network();
  checks.hooks();
}

}  // namespace condroid::inline v0::detail
