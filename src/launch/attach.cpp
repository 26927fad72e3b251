// Attaching: what is known of the container becomes an AttachTarget, the rest is a launch.
#include "condroid/attach.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

#include "condroid/runtime.hpp"
#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "launch/engine.hpp"
#include "launch/profiles.hpp"
#include "launch/state_file.hpp"
#include "program/kernel.hpp"
#include "sys/kernel_files.hpp"
#include "sys/namespace_files.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {
namespace {

/// A file of procfs whole.
Result<std::string> read_proc(Pid pid, const char* name) {
  const std::string path = formatted("/proc/{}/{}", pid.value, name);
  std::string text;
  const int e = read_file_at(AT_FDCWD, path.c_str(), text);
  // ENOENT: the whole directory is gone with the process.
  if (e != 0) return fail(e == ENOENT ? ESRCH : e, Step::open_descriptor, formatted("'{}'", path));
  return text;
}

/// The line of a "Key:\tvalue" file.
std::string_view value_of(std::string_view text, std::string_view key) {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + key.size());
  text = text.substr(0, text.find('\n'));
  const std::size_t first = text.find_first_not_of(" \t");
  return first == std::string_view::npos ? std::string_view{} : text.substr(first);
}

/// The first id of the map inside.
std::uint32_t first_id(std::string_view map) {
  const std::size_t at = map.find_first_not_of(' ');
  std::uint32_t id = 0;
  if (at != std::string_view::npos)
    (void)std::from_chars(map.data() + at, map.data() + map.size(), id);
  return id;
}

/// Where the process is in the hierarchies that this program can put others in.
std::vector<AttachTarget::Group> groups_of(std::string_view text, const HostFacts& facts) {
  std::vector<AttachTarget::Group> out;
  for (std::size_t i = 0; i < facts.cgroups.size(); ++i) {
    const CgroupHierarchy& h = facts.cgroups[i];
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(line.size() + 1, rest.size()));
      const std::size_t first = line.find(':');
      const std::size_t second = line.find(':', first + 1);
      if (second == std::string_view::npos) continue;
      const std::string_view names = line.substr(first + 1, second - first - 1);
      std::string_view path = line.substr(second + 1);
      bool here = h.v2 && names.empty();
      for (std::string_view list = names; !h.v2 && !list.empty();) {
        const std::string_view name = list.substr(0, list.find(','));
        list.remove_prefix(std::min(name.size() + 1, list.size()));
        here = here || std::ranges::find(h.controllers, name) != h.controllers.end();
      }
      // Nothing to enter where this program is itself.
      if (!here || path == h.own_path || path.starts_with("/..")) continue;
      if (h.mount_root != "/" && path.starts_with(h.mount_root))
        path.remove_prefix(h.mount_root.size());
      out.push_back({.hierarchy = i, .path = h.mount_point + std::string(path)});
    }
  }
  return out;
}

/// What a security module says of a process; proc(5), attr.
Result<std::string> label_of(Pid pid, bool apparmor) {
  auto text = read_proc(pid, apparmor ? "attr/apparmor/current" : "attr/current");
  if (!text) return fail(text);
  std::string label = text->substr(0, text->find_first_of(std::string_view("\n\0", 2)));
  if (const auto mode = label.rfind(" ("); apparmor && mode != std::string::npos)
    label.resize(mode);  // "profile (enforce)"
  return label;
}

/// The label that what is attached is due, if it is not this program's own anyway. An init of ours
/// has none of its command's, whose name is known where the launch has made it.
Result<void> find_label(AttachTarget& t, const HostFacts& facts, const std::string& state_dir) {
  if (const auto known = entry_of(state_dir, t.pid.value); known && known->first.label_below) {
    const auto& [entry, runtime] = *known;
    if (!entry.profile)
      return fail(Errc::unsupported, Step::compile,
                  formatted("lsm_label: process {} is the init of container '{}', which does not "
                            "have the label that the command has",
                            t.pid.value, entry.name),
                  "name the command's process, or say lsm_label = false for no label");
    t.lsm_label = profile_name(runtime, formatted("{}.{}", entry.name, entry.number));
    return {};
  }
  auto label = label_of(t.pid, facts.apparmor);
  if (!label) return fail(label);
  auto own = label_of(Pid{::getpid()}, facts.apparmor);
  if (!own) return fail(own);
  if (*label != *own) t.lsm_label = std::move(*label);
  return {};
}

Result<AttachTarget> target_of(Pid pid, int pidfd, bool with_env, const HostFacts& facts) {
  AttachTarget t{.name = formatted("process-{}", pid.value), .pid = pid, .pidfd = {pidfd}};
  auto namespaces = foreign_namespaces(pid);
  if (!namespaces) return fail(namespaces);
  t.inside.namespaces = *namespaces;
  auto status = read_proc(pid, "status");
  if (!status) return fail(status);
  auto cgroup = read_proc(pid, "cgroup");
  if (!cgroup) return fail(cgroup);
  std::uint64_t caps = 0;
  const std::string_view bounding = value_of(*status, "\nCapBnd:");
  (void)std::from_chars(bounding.data(), bounding.data() + bounding.size(), caps, 16);
  // What this program may not give it keeps to itself.
  t.inside.capabilities = CapabilitySet::from_bits(caps & CapabilitySet::all().bits());
  t.inside.no_new_privs = value_of(*status, "\nNoNewPrivs:") == "1";
  // Which filter it has nobody can tell, but not less than ours is due to what it runs.
  if (value_of(*status, "\nSeccomp:") == "2") t.inside.seccomp = {};
  if (namespaces->has(Namespace::user)) {
    auto uids = read_proc(pid, "uid_map");
    auto gids = read_proc(pid, "gid_map");
    if (!uids) return fail(uids);
    if (!gids) return fail(gids);
    t.inside.root_uid = Uid{first_id(*uids)};
    t.inside.root_gid = Gid{first_id(*gids)};
  }
  auto env = with_env ? read_proc(pid, "environ") : std::string();
  // Another user's is not ours to read; the process has its namespaces all the same.
  if (!env && !env.error().is_errno(EACCES) && !env.error().is_errno(EPERM)) return fail(env);
  if (env) {
    for (std::string_view rest = *env; !rest.empty();) {
      const std::string_view word = rest.substr(0, rest.find('\0'));
      rest.remove_prefix(std::min(word.size() + 1, rest.size()));
      if (word.find('=') != std::string_view::npos && word.front() != '=')
        t.inside.env.emplace_back(word);
    }
  }
  t.groups = groups_of(*cgroup, facts);
  // In each pid namespace from this program's to its own.
  const std::string_view numbers = value_of(*status, "\nNSpid:");
  const std::string_view last = numbers.substr(numbers.find_last_of(" \t") + 1);
  (void)std::from_chars(last.data(), last.data() + last.size(), t.pid_inside.value);
  // All of that was this process's, if it has not ended yet.
  if (wait_for_fd(pidfd, POLLIN, 0) > 0)
    return fail(ESRCH, Step::join_namespace, formatted("process {} has ended", pid.value));
  return t;
}

/// Whether nobody else is on a core while it is. A kernel that cannot tell, or a process that this
/// program must not look at, has none of its own.
bool has_own_cores(Pid pid) {
  unsigned long long cookie = 0;
  return ::prctl(kernel::pr_sched_core, kernel::pr_sched_core_get, pid.value, kernel::pidtype_pid,
                 &cookie) == 0 &&
         cookie != 0;
}

Result<Plan> plan_of(RuntimeCore& runtime, const Attach& what, const AttachTarget& target,
                     const HostFacts& facts) {
  if (!what.seccomp || what.seccomp->kind != Seccomp::rules) return compile(what, target, facts);
  Attach settled = what;
  if (auto ok = runtime.filters.settle(*settled.seccomp); !ok) return fail(ok);
  return compile(settled, target, facts);
}

/// Once it is known what is joined, whoever launched it. `pidfd` is held as long as it takes.
Result<std::unique_ptr<LaunchEngine>> begin(std::shared_ptr<RuntimeCore> runtime,
                                            std::shared_ptr<Zygote> zygote, const Attach& what,
                                            AttachTarget target, Fd pidfd,
                                            const std::string& unique_name, LaunchOptions options) {
  auto facts = runtime->get_facts();
  if (!facts) return fail(facts);
  const bool of_spec = !target.inside.apparmor.empty() || !target.inside.selinux.empty();
  if (what.lsm_label.value_or(!target.launched_here) && !of_spec &&
      ((*facts)->apparmor || (*facts)->selinux))
    if (auto ok = find_label(target, **facts, runtime->state_dir); !ok) return fail(ok);
  target.own_cores = has_own_cores(target.pid);
  auto plan = plan_of(*runtime, what, target, **facts);
  if (!plan) return fail(plan);
  if (options.stop_before && *options.stop_before >= plan->ops.size())
    return fail(
        Errc::bad_spec, Step::clone,
        formatted("stop_before {}: the plan has {} ops", *options.stop_before, plan->ops.size()));
  auto engine = std::make_unique<LaunchEngine>(std::move(runtime), std::move(zygote),
                                               std::make_shared<const Plan>(std::move(*plan)),
                                               std::move(options));
  engine->hold(std::move(pidfd));
  if (auto ok = engine->prepare(unique_name); !ok) return fail(ok);
  return engine;
}

}  // namespace
}  // namespace detail

Result<Attaching> Container::start_attach(const Attach& what, LaunchOptions options) const {
  if (auto ok = detail::check_alive(core_.get()); !ok) return fail(ok);
  const auto& c = *core_;
  auto facts = c.runtime->get_facts();
  if (!facts) return fail(facts);
  // Its own: the handle may be gone, or on to another life, when the launch comes to it.
  Fd pidfd(::fcntl(c.pidfd.get(), F_DUPFD_CLOEXEC, 3));
  if (!pidfd.valid()) return fail(errno, Step::join_namespace, "another descriptor of its pidfd");
  AttachTarget target{.name = c.name,
                      .pid = c.pid,
                      .pidfd = {pidfd.get()},
                      .inside = c.inside,
                      .launched_here = true};
  for (const auto& [hierarchy, dir] : c.parents) {
    const CgroupHierarchy& h = (*facts)->cgroups[hierarchy];
    target.groups.push_back({.hierarchy = hierarchy, .path = c.group_path(h)});
  }
  auto engine = detail::begin(c.runtime, c.zygote, what, std::move(target), std::move(pidfd),
                              c.group_home, std::move(options));
  if (!engine) return fail(engine);
  return Attaching(Launch(std::move(*engine)));
}

Result<Task> Container::attach(const Attach& what) const { return attach(what, {}); }

Result<Task> Container::attach(const Attach& what, LaunchOptions options) const {
  auto attaching = start_attach(what, std::move(options));
  if (!attaching) return fail(attaching);
  return attaching->finish();
}

void Container::update_env(const std::vector<std::string>& env) {
  if (!core_) return;
  auto& now = core_->inside.env;
  for (const std::string& word : env) {
    const std::string_view name = std::string_view(word).substr(0, word.find('='));
    std::erase_if(now, [&](std::string_view w) { return w.substr(0, w.find('=')) == name; });
    if (word.find('=') != std::string::npos) now.push_back(word);
  }
}

Result<Attaching> Runtime::start_attach(Pid pid, FdView pidfd, const Attach& what,
                                        LaunchOptions options) const {
  auto facts = core_->get_facts();
  if (!facts) return fail(facts);
  auto zygote = core_->get_zygote();
  if (!zygote) return fail(zygote);
  Fd held(::fcntl(pidfd.get(), F_DUPFD_CLOEXEC, 3));
  if (!held.valid()) return fail(errno, Step::join_namespace, formatted("process {}", pid.value));
  auto target = detail::target_of(pid, held.get(), !what.clear_env, **facts);
  if (!target) return fail(target);
  const std::string name = target->name;
  auto engine = detail::begin(core_, std::move(*zygote), what, std::move(*target), std::move(held),
                              name, std::move(options));
  if (!engine) return fail(engine);
  return Attaching(Launch(std::move(*engine)));
}

Result<Task> Runtime::attach(Pid pid, const Attach& what, LaunchOptions options) const {
  const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid.value, 0)));
  if (!pidfd.valid()) return fail(errno, Step::join_namespace, formatted("process {}", pid.value));
  auto attaching = start_attach(pid, pidfd, what, std::move(options));
  if (!attaching) return fail(attaching);
  return attaching->finish();
}

Result<std::optional<Task>> Attaching::step() {
  auto done = Launch::step();
  if (!done) return fail(done);
  if (!*done) return std::optional<Task>{};
  return std::optional<Task>(Task(std::move(**done)));
}

Result<Task> Attaching::finish() {
  for (;;) {
    auto done = step();
    if (!done) return fail(done);
    if (*done) return std::move(**done);
    const auto [fd, events] = interest();
    if (const int e = detail::wait_for_fd(fd.get(), events, timeout()); e < 0)
      return fail(-e, Step::wait, "poll");
  }
}

}  // namespace v0
}  // namespace condroid
