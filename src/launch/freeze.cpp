// Freezing, thawing and killing a container by its cgroups.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

namespace {

/// A cgroup that is not there any more.
bool gone(const Error& e) { return e.is_errno(ENOENT) || e.is_errno(ENODEV); }

}  // namespace

std::string ContainerCore::group_path(const CgroupHierarchy& hierarchy) const {
  const std::string parent = hierarchy.mount_point + hierarchy.parent;
  if (group_home.starts_with(beside_runtime))
    return formatted("{}/{}", parent, group_home.substr(beside_runtime.size()));
  return formatted("{}/{}/{}", parent, zygote->runtime_name(), group_home);
}

Result<std::vector<CgroupDir>> ContainerCore::cgroups() const {
  std::vector<CgroupDir> list;
  if (parents.empty()) return list;
  auto facts = runtime->get_facts();
  if (!facts) return fail(facts);
  for (const auto& [hierarchy, parent] : parents) {
    if (hierarchy >= (*facts)->cgroups.size()) continue;
    const CgroupHierarchy& h = (*facts)->cgroups[hierarchy];
    Fd dir(::openat(parent, group_name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir.valid() && errno == ENOENT) continue;
    if (!dir.valid())
      return fail(errno, Step::open_descriptor, formatted("cgroup of container '{}'", name));
    auto group = CgroupDir::adopt(h, std::move(dir));
    if (!group) return fail(group);
    list.insert(h.v2 ? list.begin() : list.end(), std::move(*group));
  }
  return list;
}

Result<CgroupDir> ContainerCore::freezer() const {
  // It has one in v2, and perhaps more; the facts know which of v1 freezes.
  if (exit || next) return fail(ESRCH, Step::freeze, formatted("container '{}' has ended", name));
  auto groups = cgroups();
  if (!groups) return fail(groups);
  for (CgroupDir& g : *groups)
    if (g.freezes()) return std::move(g);
  if (parents.empty() || !groups->empty())
    return fail(Errc::unsupported, Step::freeze,
                formatted("container '{}' has no cgroup that can be frozen", name),
                "set lifecycle.freezable = true");
  return fail(ESRCH, Step::freeze, formatted("container '{}' has ended", name));
}

Result<void> ContainerCore::change_freezer(bool freeze, std::chrono::milliseconds limit) const {
  if (auto ok = check_owner(); !ok) return ok;
  auto group = freezer();
  if (!group) return fail(group);
  auto ok = freeze ? group->freeze(limit) : group->thaw(limit);
  if (ok || (limit.count() == 0 && ok.error().is(Errc::deadline))) return {};
  if (gone(ok.error()))
    return fail(ESRCH, Step::freeze, formatted("container '{}' has ended", name));
  ok.error().subject = formatted("container '{}': {}", name, ok.error().subject);
  if (ok.error().is(Errc::deadline))
    ok.error().hint = freeze ? "something in it waits for the kernel and stands still after that"
                             : "is a cgroup above it frozen?";
  return ok;
}

Result<void> ContainerCore::kill_everything() {
  if (next) drop_next();
  if (exit || next) return {};
  killed = true;
  kill_at = Clock::time_point::max();
  // The first process takes its pid namespace along. Before the rest: it cannot make more then.
  const int e = pidfd_signal(pidfd.get(), SIGKILL);
  std::optional<Error> failed;
  if (e != 0 && e != ESRCH) failed = sys_error(e, Step::kill, formatted("container '{}'", name));
  auto groups = cgroups();
  if (!groups) return failed ? fail(std::move(*failed)) : fail(groups);
  bool all = false;
  for (const CgroupDir& g : *groups) {
    if (!g.v2() || all) continue;
    auto ok = g.kill();
    all = ok.has_value();
    if (!ok && !gone(ok.error()) && !failed) failed = std::move(ok).error();
  }
  for (const CgroupDir& g : *groups) {
    if (g.v2() || !g.freezes()) continue;
    kill_again = true;
    // Whoever has SIGKILL waiting does nothing else when he is thawed. Where only the first process
    // has, the others could freeze themselves again.
    const bool nested = !child_cgroups(g.fd().get()).empty();
    if (all || (own_pids && !nested)) {
      thaw_below(g.fd().get());
      continue;
    }
    auto ok = g.kill();
    all = ok.has_value();
    if (!ok && !gone(ok.error()) && !failed) failed = std::move(ok).error();
  }
  // Without a pid namespace, v2 and a freezer it is one by one.
  for (const CgroupDir& g : *groups) {
    if (all || own_pids || g.freezes()) continue;
    auto ok = g.kill();
    all = ok.has_value();
    if (!ok && !gone(ok.error()) && !failed) failed = std::move(ok).error();
  }
  // What its cgroup killed needs no other way.
  if (failed && !all) return fail(std::move(*failed));
  return {};
}

}  // namespace detail

Result<void> Container::freeze(std::chrono::milliseconds limit) {
  if (!core_) return detail::moved_away(Step::freeze);
  return core_->change_freezer(true, limit);
}

Result<void> Container::thaw(std::chrono::milliseconds limit) {
  if (!core_) return detail::moved_away(Step::freeze);
  return core_->change_freezer(false, limit);
}

Result<Bytes> Container::reclaim(std::optional<Bytes> most) {
  if (!core_) return detail::moved_away(Step::write_cgroup);
  if (auto ok = core_->check_owner(); !ok) return fail(ok);
  const auto ended = [&] {
    return fail(ESRCH, Step::write_cgroup, formatted("container '{}' has ended", core_->name));
  };
  if (core_->exit || core_->next) return ended();
  auto groups = core_->cgroups();
  if (!groups) return fail(groups);
  for (const CgroupDir& g : *groups) {
    if (!g.reclaims()) continue;
    auto taken = g.reclaim(most);
    if (!taken && detail::gone(taken.error())) return ended();
    return taken;
  }
  // It had some, and they were removed before anybody told of its end.
  if (groups->empty() && !core_->parents.empty()) return ended();
  return fail(Errc::unsupported, Step::write_cgroup,
              formatted("container '{}' has no cgroup that counts its memory", core_->name),
              "set resources.cgroup = everywhere");
}

Result<std::vector<CgroupDir>> Container::cgroups() const {
  if (!core_) return detail::moved_away(Step::open_descriptor);
  if (auto ok = core_->check_owner(); !ok) return fail(ok);
  return core_->cgroups();
}

Result<bool> Container::frozen() const {
  if (!core_) return detail::moved_away(Step::freeze);
  if (auto ok = core_->check_owner(); !ok) return fail(ok);
  auto group = core_->freezer();
  if (!group) return fail(group);
  auto is = group->frozen();
  if (!is && detail::gone(is.error()))
    return fail(ESRCH, Step::freeze, formatted("container '{}' has ended", core_->name));
  return is;
}

}  // namespace v0
}  // namespace condroid
