// The host's half of a plan, op by op.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <type_traits>

#include "condroid/sys/namespace.hpp"
#include "formatted.hpp"
#include "launch/devices.hpp"
#include "launch/engine.hpp"
#include "launch/helper.hpp"
#include "launch/limits.hpp"
#include "program/kernel.hpp"
#include "program/kernel_bits.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/cgroup_parents.hpp"
#include "sys/kernel_files.hpp"
#include "sys/namespace_files.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

std::string map_text(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const auto& r : ranges) text += formatted("{} {} {}\n", r.inside, r.outside, r.count);
  return text;
}

}  // namespace

void LaunchEngine::give(op::Slot slot, int fd) {
  made_.passed.push_back(fd);
  made_.slots.push_back(slot);
}

void LaunchEngine::give(op::Slot slot, Fd fd) {
  give(slot, fd.get());
  made_.owned.push_back(std::move(fd));
}

void LaunchEngine::begin_host_ops() {
  const auto ask = state_ == State::configuring ? op::Sync::configure : op::Sync::cgroup;
  host_next_ = host_end_ = 0;
  for (std::size_t i = 0; i < plan().ops.size(); ++i) {
    const auto* sync = std::get_if<op::Sync>(&plan().ops[i]);
    if (sync == nullptr || sync->ask != ask) continue;
    host_next_ = host_end_ = i + 1;
    while (host_end_ < plan().ops.size() && actor_of(plan().ops[host_end_]) == op::Actor::host)
      ++host_end_;
    if (written_map_ == host_next_) ++host_next_;
    return;
  }
}

/// Stopped before an op of the host. Is there a child already, its end is the end of the waiting.
bool LaunchEngine::stop_here() {
  stop_host_ = true;
  interest_ = {};
  if (!request_sent_) return false;
  if (pump_exit()) return true;  // it brings the pidfd
  if (!pidfd_.valid()) return false;
  interest_ = {pidfd_, POLLIN};
  if (wait_for_fd(pidfd_.get(), POLLIN, 0) <= 0) return false;
  vanished_ = true;
  feed(Event::closed_early);
  return true;
}

bool LaunchEngine::pump_host_ops() {
  const State before = state_;
  for (; host_next_ < host_end_; ++host_next_) {
    last_op_ = host_next_;
    if (options_.stop_before == host_next_) return stop_here();
    const bool again = !host_stamps_.empty() && host_stamps_.back().first == host_next_;
    if (options_.trace && !again)
      host_stamps_.emplace_back(host_next_, Clock::now().time_since_epoch());
    auto done = run_host_op(host_next_);
    if (!done) {
      feed_error(Event::op_failed, std::move(done).error());
      return true;
    }
    // What the zygote said meanwhile may have been the end.
    if (state_ != before) return true;
    if (!*done) {
      // Of a helper, of the child's pid, or of nobody: then it is tried again.
      interest_ = hook_            ? Interest{hook_->poll_fd(), POLLIN}
                  : helper_        ? Interest{FdView(helper_->poll_fd()), POLLIN}
                  : reaching_      ? Interest{exit_, POLLIN}
                  : pidfd_.valid() ? Interest{pidfd_, 0}
                                   : Interest{exit_, POLLIN};
      // Before there is a child, those two say all that there is to be looked at.
      const bool told = !request_sent_ && (hook_ || helper_);
      look_at_ = told ? Clock::time_point{}
                      : Clock::now() + std::chrono::milliseconds(
                                           request_sent_ && (helper_ || !pidfd_.valid()) ? 25 : 5);
      return false;
    }
  }
  if (state_ == State::configuring) {
    // The pid and its descriptor are wanted by callbacks; they are there since the clone.
    feed(Event::configured);
    return true;
  }
  if (state_ == State::limiting) {
    feed(Event::limited);
    return true;
  }
  last_op_ = host_end_;
  if (options_.stop_before == host_end_) return stop_here();  // the clone itself
  if (options_.trace) host_stamps_.emplace_back(host_end_, Clock::now().time_since_epoch());
  if (auto ok = prepare_clone(); !ok) {
    feed_error(Event::op_failed, std::move(ok).error());
    return true;
  }
  feed(Event::start);
  return true;
}

Result<bool> LaunchEngine::run_host_op(std::size_t index) {
  return std::visit(
      [&](const auto& o) -> Result<bool> {
        using T = std::decay_t<decltype(o)>;
        if constexpr (T::actor == op::Actor::host) {
          auto done = do_op(o);
          if (!done) return fail(done);
          if constexpr (std::is_same_v<decltype(done), Result<bool>>)
            return *done;
          else
            return true;
        } else {
          return true;
        }
      },
      plan().ops[index]);
}

// ---- cgroups ------------------------------------------------------------------------------------

Result<int> LaunchEngine::group_dir(std::size_t hierarchy) {
  for (const auto& [h, dir] : made_.groups)
    if (h == hierarchy) return dir.get();
  // Of a container that is there already they are closed.
  for (const auto& [h, parent] : made_.parents) {
    if (h != hierarchy) continue;
    Fd dir(::openat(parent, group_name_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir.valid()) return fail(errno, Step::write_cgroup, formatted("cgroup '{}'", group_name_));
    made_.groups.emplace_back(h, std::move(dir));
    return made_.groups.back().second.get();
  }
  return fail(Errc::bad_spec, Step::write_cgroup,
              formatted("hierarchy {} without a cgroup", hierarchy));
}

/// The cgroups above the one of a path. Somebody's end may remove what was just found.
Result<void> LaunchEngine::make_way(const op::CreateCgroup& o, const CgroupHierarchy& h,
                                    int runtime_dir, std::vector<std::string>& offered) {
  const bool cpuset = !h.v2 && std::ranges::find(h.controllers, "cpuset") != h.controllers.end();
  const auto failed = [&](int e, const std::string& at) {
    return fail(e, Step::create_cgroup, formatted("'{}/{}'", parent_dir(h), at));
  };
  for (int tries = 0;; ++tries) {
    Fd above(::openat(runtime_dir, "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!above.valid()) return failed(errno, "");
    int gone = 0;
    for (std::size_t slash = o.path.find('/'); slash != std::string::npos && gone == 0;
         slash = o.path.find('/', slash + 1)) {
      const std::string at = o.path.substr(0, slash);
      const std::string name = at.substr(at.rfind('/') + 1);
      const bool made = ::mkdirat(above.get(), name.c_str(), 0755) == 0;
      if (!made && errno != EEXIST) {
        gone = errno;
        if (gone != ENOENT && gone != ENODEV) return failed(gone, at);
        break;
      }
      Fd dir(::openat(above.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      gone = dir.valid() ? 0 : errno;
      if (gone == 0 && made) gone = mark_cgroup(dir.get(), zygote_->runtime_name());
      if (gone != 0) {
        // Without the mark nobody would know whose it is to remove.
        if (made) (void)::unlinkat(above.get(), name.c_str(), AT_REMOVEDIR);
        if (gone != ENOENT) return failed(gone, at);
        break;
      }
      if (cpuset)
        if (const int e = inherit_cpuset(above.get(), dir.get()); e != 0) {
          gone = e;
          if (gone != ENOENT && gone != ENODEV) return failed(gone, at);
          break;
        }
      if (h.v2) {
        const std::string full = formatted("{}/{}", parent_dir(h), at);
        if (auto ok = enable_controllers(dir.get(), full, o.controllers); !ok) {
          gone = ok.error().errnum();
          if (gone != ENOENT && gone != ENODEV) return ok;
          break;
        }
        std::erase_if(offered, [&](const std::string& c) {
          auto ok = enable_controllers(dir.get(), full, {c});
          if (!ok)
            left_out_.push_back({"resources.cgroup", formatted("{} ({})", ok.error().subject,
                                                               errno_name(ok.error().errnum()))});
          return !ok;
        });
      }
      above = std::move(dir);
    }
    if (gone == 0) return {};
    constexpr int most_tries = 20;
    if (tries == most_tries) return failed(gone, o.path);
  }
}

/// Where the processes are, below those with the limits. Last of all: what has something below it
/// takes no list of devices any more on v1, and no smaller cpuset.
Result<void> LaunchEngine::make_inner_cgroups() {
  for (const Made::Inner& i : made_.inner) {
    auto outer = group_dir(i.op->hierarchy);
    if (!outer) return fail(outer);
    const std::string path = formatted("{}/{}", i.path, i.op->inner);
    const std::string full = formatted("'{}'", path);
    if (::mkdirat(*outer, i.op->inner.c_str(), 0755) < 0)
      return fail(errno, Step::create_cgroup, full);
    Fd dir(::openat(*outer, i.op->inner.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir.valid()) return fail(errno, Step::create_cgroup, full);
    if (i.cpuset)
      if (const int e = inherit_cpuset(*outer, dir.get()); e != 0)
        return fail(e, Step::create_cgroup, "cpuset of " + full);
    if (!i.controllers.empty())
      if (auto ok = enable_controllers(*outer, i.path, i.controllers); !ok) return ok;
    if (auto ok = be_home(*i.op, i.v2, dir.get(), path); !ok) return ok;
    made_.owned.push_back(std::move(dir));
  }
  return {};
}

/// The processes are to be in `home`, a cgroup at `path` or below it.
Result<void> LaunchEngine::be_home(const op::CreateCgroup& o, bool v2, int home,
                                   const std::string& path) {
  if (o.delegated) {
    // Not the limits: those stay the host's.
    const auto give_file = [&](const char* file) {
      const int flags = *file == '\0' ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
      return ::fchownat(home, file, o.uid.value, o.gid.value, flags) == 0 ||
             (errno == ENOENT && *file != '\0');
    };
    for (const char* file :
         {"", "cgroup.procs", v2 ? "cgroup.threads" : "tasks", v2 ? "cgroup.subtree_control" : ""})
      if (!give_file(file))
        return fail(errno, Step::create_cgroup,
                    formatted("giving '{}/{}' to uid {}", path, file, o.uid.value));
  }
  if (v2) {
    made_.cgroup = home;
  } else if (o.tasks.valid()) {
    Fd tasks(::openat(home, "tasks", O_WRONLY | O_CLOEXEC));
    if (!tasks.valid()) return fail(errno, Step::create_cgroup, formatted("'{}/tasks'", path));
    give(o.tasks, std::move(tasks));
  }
  return {};
}

std::string LaunchEngine::group_path(const op::CreateCgroup& o, const CgroupHierarchy& h) const {
  if (!o.path.empty()) return formatted("{}/{}", parent_dir(h), o.path);
  return formatted("{}/{}/{}", parent_dir(h), zygote_->runtime_name(), group_name_);
}

Result<void> LaunchEngine::do_op(const op::CreateCgroup& o) {
  auto facts = runtime_->get_facts();
  if (!facts) return fail(facts);
  const auto& list = (*facts)->cgroups;
  if (o.hierarchy >= list.size() || o.hierarchy >= program::max_hierarchies)
    return fail(Errc::bad_spec, Step::create_cgroup,
                formatted("this machine has no hierarchy {}", o.hierarchy),
                "the plan was made for another machine");
  const CgroupHierarchy& h = list[o.hierarchy];
  auto runtime_dir = zygote_->cgroup_dir(o.hierarchy, h, o.controllers);
  if (!runtime_dir) return fail(runtime_dir);
  const bool elsewhere = !o.path.empty();
  const std::string path = group_path(o, h);
  std::vector<std::string> offered;
  if (!o.wished.empty()) {
    std::string why;
    offered = zygote_->offer_controllers(o.hierarchy, parent_dir(h), o.wished, why);
    if (!why.empty()) left_out_.push_back({"resources.cgroup", std::move(why)});
  }
  // before it is made: undone whatever happens next
  if (!elsewhere) made_.parents.emplace_back(o.hierarchy, *runtime_dir);
  constexpr int most_tries = 20;
  for (int tries = 0;; ++tries) {
    if (elsewhere)
      if (auto ok = make_way(o, h, *runtime_dir, offered); !ok) {
        remove_way(*runtime_dir, group_name_);
        return ok;
      }
    if (::mkdirat(*runtime_dir, group_name_.c_str(), 0755) == 0) break;
    const int e = errno;
    // The end of the last other one below the way has just removed it.
    if (elsewhere && (e == ENOENT || e == ENODEV) && tries < most_tries) continue;
    if (elsewhere) remove_way(*runtime_dir, group_name_);
    return fail(e, Step::create_cgroup,
                formatted("'{}'{}", path, in_the_way(e, *runtime_dir, group_name_)));
  }
  // What was there before is not ours to remove.
  if (elsewhere) made_.parents.emplace_back(o.hierarchy, *runtime_dir);
  Fd dir(
      ::openat(*runtime_dir, group_name_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir.valid()) return fail(errno, Step::create_cgroup, formatted("'{}'", path));
  if (elsewhere)
    if (const int e = mark_cgroup(dir.get(), zygote_->runtime_name()); e != 0)
      return fail(e, Step::create_cgroup, formatted("marking '{}'", path));
  const std::uint64_t bit = std::uint64_t{1} << o.hierarchy;
  made_.hierarchies |= bit;
  if (h.v2) made_.v2 |= bit;
  const auto contains = [](const std::vector<std::string>& names, std::string_view c) {
    return std::find(names.begin(), names.end(), c) != names.end();
  };
  const auto has = [&](std::string_view c) {
    return contains(h.v2 ? o.controllers : h.controllers, c) || contains(offered, c);
  };
  if (has("memory")) made_.memory |= bit;
  if (has("pids")) made_.pids |= bit;
  if (has("cpuacct")) made_.cpuacct |= bit;
  if (contains(h.controllers, "memory")) made_.counts_oom |= bit;
  // A child that is frozen from its birth would never answer.
  const bool can_freeze = h.v2 || has("freezer");
  if (const std::string by = can_freeze ? frozen_above(dir.get(), h.v2) : ""; !by.empty()) {
    Error e = sys_error(EBUSY, Step::create_cgroup,
                        formatted("nothing runs in '{}': '{}' is frozen", path, by));
    e.hint = h.v2 ? "write 0 to its cgroup.freeze, or use another parent"
                  : "write THAWED to its freezer.state, or use another parent";
    return fail(std::move(e));
  }
  if (!h.v2 && has("cpuset")) {
    Fd above;
    if (elsewhere) above.reset(::openat(dir.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (const int e = inherit_cpuset(elsewhere ? above.get() : *runtime_dir, dir.get()); e != 0)
      return fail(e, Step::create_cgroup, formatted("cpuset of '{}'", path));
  }
  if (o.inner.empty()) {
    if (auto ok = be_home(o, h.v2, dir.get(), path); !ok) return ok;
  } else {
    Made::Inner later{.op = &o, .v2 = h.v2, .cpuset = !h.v2 && has("cpuset"), .path = path};
    if (h.v2) later.controllers = o.controllers;
    if (h.v2) later.controllers.insert(later.controllers.end(), offered.begin(), offered.end());
    made_.inner.push_back(std::move(later));
  }
  made_.groups.emplace_back(o.hierarchy, std::move(dir));
  return {};
}

Result<void> LaunchEngine::do_op(const op::WriteCgroup& o) {
  auto dir = group_dir(o.hierarchy);
  if (!dir) return fail(dir);
  return write_limit(*dir, o, group_name_, left_out_);
}

Result<void> LaunchEngine::do_op(const op::FilterDevices& o) {
  auto dir = group_dir(o.hierarchy);
  if (!dir) return fail(dir);
  return filter_devices(*dir, o, group_name_);
}

Result<void> LaunchEngine::do_op(const op::OpenCgroup& o) {
  Fd dir(::open(o.path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir.valid()) return fail(errno, Step::enter_cgroup, formatted("'{}'", o.path));
  if (is_frozen(dir.get(), o.v2)) {
    Error e = sys_error(EBUSY, Step::enter_cgroup, formatted("'{}' is frozen", o.path));
    e.hint = "who enters it would stand still, too: thaw it first";
    return fail(std::move(e));
  }
  // cgroups(7), "no internal processes": one that has switched controllers on for those below it
  // takes none itself.
  bool below = o.below;
  if (o.v2 && !below) {
    std::string on;
    below = read_file_at(dir.get(), "cgroup.subtree_control", on) == 0 && on.size() > 1;
  }
  if (below) {
    // Named as the zygote knows us, below the container's: it removes what it finds there.
    const auto slash = unique_name_.rfind('/');
    if (!o.ours || slash == std::string::npos)
      return fail(EBUSY, Step::enter_cgroup, formatted("'{}'", o.path));
    const std::string name = unique_name_.substr(slash + 1);
    const std::uint64_t bit = std::uint64_t{1} << o.hierarchy;
    made_.hierarchies |= bit;
    if (o.v2) made_.v2 |= bit;
    if (::mkdirat(dir.get(), name.c_str(), 0755) < 0)
      return fail(errno, Step::create_cgroup, formatted("'{}/{}'", o.path, name));
    Fd made(::openat(dir.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    int error = made.valid() ? 0 : errno;
    // Where there is a cpuset.
    if (error == 0 && !o.v2)
      if (const int e = inherit_cpuset(dir.get(), made.get()); e != ENOENT) error = e;
    made_.below.emplace_back(std::move(dir), name);
    if (error != 0) return fail(error, Step::create_cgroup, formatted("'{}/{}'", o.path, name));
    dir = std::move(made);
  }
  if (o.v2) {
    made_.cgroup = dir.get();
    made_.owned.push_back(std::move(dir));
    return {};
  }
  Fd tasks(::openat(dir.get(), "tasks", O_WRONLY | O_CLOEXEC));
  if (!tasks.valid()) return fail(errno, Step::enter_cgroup, formatted("'{}/tasks'", o.path));
  give(o.tasks, std::move(tasks));
  return {};
}

Result<void> LaunchEngine::do_op(const op::EnterProcess& o) {
  if (wait_for_fd(o.pidfd.number, POLLIN, 0) > 0)
    return fail(ESRCH, Step::join_namespace, formatted("process {} has ended", o.pid.value));
  made_.joins.push_back(o.pidfd.number);
  request_.join_flags = clone_bits(o.namespaces);
  return {};
}

// ---- descriptors --------------------------------------------------------------------------------

Result<void> LaunchEngine::open_stdio(const op::OpenDescriptor& o) {
  const auto name = [&] { return formatted("stream {} of '{}'", o.number, plan().name); };
  switch (o.stream.kind) {
    case Stream::inherit:
    case Stream::descriptor: {
      const int fd = o.stream.kind == Stream::inherit ? o.number : o.stream.fd.number;
      if (::fcntl(fd, F_GETFD) >= 0) {
        give(o.to, fd);
        return {};
      }
      if (o.stream.kind == Stream::descriptor || errno != EBADF)
        return fail(errno, Step::open_descriptor, formatted("descriptor {} as {}", fd, name()));
      [[fallthrough]];  // a host that closed its own stream has nothing to inherit
    }
    case Stream::null: {
      if (made_.null < 0) {
        Fd fd(::open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY));
        if (!fd.valid())
          return fail(errno, Step::open_descriptor, formatted("'/dev/null' as {}", name()));
        made_.null = fd.get();
        made_.owned.push_back(std::move(fd));
      }
      give(o.to, made_.null);
      return {};
    }
    case Stream::pipe:
    case Stream::capture: {
      int pair[2];
      if (::pipe2(pair, O_CLOEXEC) < 0)
        return fail(errno, Step::open_descriptor, formatted("pipe as {}", name()));
      Fd read_end(pair[0]), write_end(pair[1]);
      if (o.number == 0) {
        give(o.to, std::move(read_end));
        made_.stdin_write = std::move(write_end);
        return {};
      }
      give(o.to, std::move(write_end));
      const bool capture = o.stream.kind == Stream::capture;
      if (capture && ::fcntl(read_end.get(), F_SETFL, O_NONBLOCK) < 0)
        return fail(errno, Step::open_descriptor, formatted("pipe as {}", name()));
      (o.number == 1 ? made_.capture_out : made_.capture_err) = capture;
      (o.number == 1 ? made_.stdout_read : made_.stderr_read) = std::move(read_end);
      return {};
    }
    case Stream::pty:
      return {};
  }
  return {};
}

Result<void> LaunchEngine::do_op(const op::OpenDescriptor& o) {
  switch (o.kind) {
    case op::OpenDescriptor::stdio:
      return open_stdio(o);
    case op::OpenDescriptor::borrowed:
      if (::fcntl(o.fd.number, F_GETFD) < 0)
        return fail(errno, Step::open_descriptor, formatted("descriptor {}", o.fd.number));
      if (o.before_clone)
        made_.joins.push_back(o.fd.number);
      else
        give(o.to, o.fd.number);
      return {};
    case op::OpenDescriptor::ns_of_pid:
    case op::OpenDescriptor::ns_of_path: {
      const std::string path = o.kind == op::OpenDescriptor::ns_of_pid
                                   ? formatted("/proc/{}/ns/{}", o.number, file_of(o.ns))
                                   : o.path;
      Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
      if (!fd.valid()) return fail(errno, Step::open_descriptor, formatted("namespace '{}'", path));
      auto checked = NamespaceFd::from(std::move(fd), o.ns);
      if (!checked)
        return fail(EINVAL, Step::open_descriptor,
                    formatted("'{}' is no {} namespace", path, file_of(o.ns)));
      fd = checked->release();
      if (o.before_clone) {
        made_.joins.push_back(fd.get());
        made_.owned.push_back(std::move(fd));
      } else {
        give(o.to, std::move(fd));
      }
      return {};
    }
    case op::OpenDescriptor::directory:
    case op::OpenDescriptor::root_of_pid: {
      const std::string path =
          o.kind == op::OpenDescriptor::directory ? o.path : formatted("/proc/{}/root", o.number);
      Fd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!fd.valid()) return fail(errno, Step::open_descriptor, formatted("'{}'", path));
      give(o.to, std::move(fd));
      return {};
    }
    case op::OpenDescriptor::tree: {
      auto tree = tree_for_child(
          "", o.fd, {.recursive = o.recursive, .slave = o.slave, .optional = o.optional});
      if (!tree && tree.error().is_errno(EPERM)) {
        // Only root may copy a mount of the host's namespace. The child copies it from its own,
        // where the descriptor says that it lies, and makes sure that this is what the descriptor
        // leads to.
        char path[4096];
        const ssize_t n =
            ::readlink(formatted("/proc/self/fd/{}", o.fd.number).c_str(), path, sizeof path);
        if (n <= 0 || n == static_cast<ssize_t>(sizeof path) || path[0] != '/') return fail(tree);
        made_.by_path.emplace_back(o.to, std::string(path, static_cast<std::size_t>(n)));
        give(o.to, o.fd.number);
        return {};
      }
      if (!tree) return fail(tree);
      give(o.to, std::move(*tree));
      return {};
    }
  }
  return {};
}

Result<void> LaunchEngine::do_op(const op::PinRootfs& o) {
  // Held open for writing until the container is gone. A file system that is read-only already
  // needs no pin, and one without O_TMPFILE cannot be pinned without leaving a file.
  made_.pin = Fd(::open(o.path.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (made_.pin.valid() || errno == EROFS || errno == EOPNOTSUPP || errno == EISDIR) return {};
  return fail(errno, Step::pin_rootfs, formatted("'{}'", o.path));
}

// ---- id maps ------------------------------------------------------------------------------------

Result<bool> LaunchEngine::know_child(Step step) {
  // The zygote sends it as soon as it has cloned; the child may have been faster.
  const bool hopeless = !pidfd_.valid() && !zygote_->alive();
  const auto waits = [this] { return state_ == State::configuring || state_ == State::limiting; };
  while (!pidfd_.valid() && waits() && pump_exit()) {
  }
  if (pidfd_.valid()) return true;
  if (!waits()) return false;
  if (hopeless) return fail(Errc::zygote_lost, step, "the child's pid is not known");
  return false;
}

Result<std::optional<Helper::Outcome>> LaunchEngine::program_end(const std::string& program) {
  auto done = helper_->step();
  if (!done || !*done) return done;
  helper_.reset();
  if ((*done)->failed) return fail((*done)->error, Step::run_helper, formatted("'{}'", program));
  return done;
}

Result<bool> LaunchEngine::do_op(const op::WriteIdMap& o) {
  if (auto known = know_child(Step::write_id_map); !known || !*known)
    return known ? state_ != State::configuring : known;
  const std::string proc = formatted("/proc/{}", pid_.value);
  if (o.how == op::WriteIdMap::direct) {
    const Fd dir(::open(proc.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!dir.valid()) return fail(errno, Step::write_id_map, formatted("'{}'", proc));
    const auto write = [&](const char* file, std::string_view text) -> Result<void> {
      if (const int e = write_file_at(dir.get(), file, text); e != 0)
        return fail(e, Step::write_id_map, formatted("{}: {}", describe(Op(o)), file));
      return {};
    };
    if (auto ok = write("uid_map", map_text(o.uids)); !ok) return fail(ok);
    if (o.deny_setgroups)
      if (auto ok = write("setgroups", "deny"); !ok) return fail(ok);
    if (auto ok = write("gid_map", map_text(o.gids)); !ok) return fail(ok);
    return true;
  }
  // newuidmap, then newgidmap; each a throwaway process of the zygote.
  while (helper_stage_ < 2) {
    const bool users = helper_stage_ == 0;
    const std::string& tool = users ? o.newuidmap : o.newgidmap;
    if (!helper_) {
      std::vector<std::string> argv = {tool, formatted("{}", pid_.value)};
      for (const auto& r : users ? o.uids : o.gids)
        for (const std::uint32_t n : {r.inside, r.outside, r.count})
          argv.push_back(formatted("{}", n));
      auto helper = Helper::run(zygote_, argv);
      if (!helper) return fail(helper);
      helper_ = std::move(*helper);
    }
    auto end = program_end(tool);
    if (!end) return fail(end);
    if (!*end) return false;
    const Helper::Outcome& out = **end;
    if (out.code != CLD_EXITED || out.status != 0)
      return fail(
          make_error(Errc::unsupported, Step::write_id_map,
                     formatted("'{}' failed{}{}", tool, out.text.empty() ? "" : ": ", out.text),
                     "are the ranges granted in /etc/subuid and /etc/subgid?"));
    ++helper_stage_;
  }
  helper_stage_ = 0;
  return true;
}

// ---- mounts of the host's making ----------------------------------------------------------------

Result<int> LaunchEngine::user_namespace() {
  if (!userns_.valid()) {
    userns_ = Fd(::open(formatted("/proc/{}/ns/user", pid().value).c_str(), O_RDONLY | O_CLOEXEC));
    if (!userns_.valid()) return fail(errno, Step::open_source, "user namespace of the child");
  }
  return userns_.get();
}

Result<Fd> LaunchEngine::tree_for_child(const std::string& path, HostFd from, TreeWanted wanted) {
  auto tree = make_tree(path, from, wanted);
  if (tree || !wanted.optional || tree.error().is_errno(EPERM)) return tree;
  // The child expects a descriptor, and its optional mount passes over one that is no mount.
  Fd none(::open("/dev/null", O_PATH | O_CLOEXEC));
  if (!none.valid()) return tree;
  return none;
}

Result<Fd> LaunchEngine::make_tree(const std::string& path, HostFd from, TreeWanted wanted) {
  const std::string name =
      path.empty() ? formatted("descriptor {}", from.number) : formatted("'{}'", path);
  // The kernel would ask for rights first.
  if (path.empty() && ::fcntl(from.number, F_GETFD) < 0)
    return fail(errno, Step::open_source, name);
  const unsigned flags = kernel::open_tree_clone | kernel::open_tree_cloexec |
                         static_cast<unsigned>(kernel::at_no_automount) |
                         (wanted.recursive ? static_cast<unsigned>(kernel::at_recursive) : 0U) |
                         (path.empty() ? static_cast<unsigned>(kernel::at_empty_path) : 0U);
  Fd tree(static_cast<int>(
      ::syscall(__NR_open_tree, path.empty() ? from.number : AT_FDCWD, path.c_str(), flags)));
  if (!tree.valid()) return fail(errno, Step::open_source, name);
  if (wanted.as_it_is) return tree;
  Fd other;
  kernel::MountAttr attr{0, 0, wanted.slave ? kernel::ms_slave : kernel::ms_private, 0};
  if (wanted.idmapped) {
    attr.attr_set = kernel::attr_idmap;
    if (!wanted.map_of.empty()) {
      // What is no user namespace the kernel refuses.
      other = Fd(::open(wanted.map_of.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
      if (!other.valid()) return fail(errno, Step::open_source, formatted("'{}'", wanted.map_of));
      attr.userns_fd = static_cast<std::uint64_t>(other.get());
    } else {
      auto ns = user_namespace();
      if (!ns) return fail(ns);
      attr.userns_fd = static_cast<std::uint64_t>(*ns);
    }
  }
  if (::syscall(__NR_mount_setattr, tree.get(), "",
                kernel::at_empty_path | (wanted.recursive ? kernel::at_recursive : 0), &attr,
                sizeof attr) < 0)
    return fail(errno, Step::set_mount_attributes,
                name + (wanted.idmapped ? " with shifted owners" : ""));
  return tree;
}

Result<bool> LaunchEngine::do_op(const op::IdmapTree& o) {
  auto tree = tree_for_child(o.path, o.fd,
                             {.recursive = o.recursive,
                              .slave = o.slave,
                              .idmapped = true,
                              .optional = o.optional,
                              .map_of = o.map_of});
  if (!tree) return fail(tree);
  trees_.push_back(std::move(*tree));
  return true;
}

Result<bool> LaunchEngine::do_op(const op::OverlayTrees& o) {
  if (!helper_) {
    auto ns = user_namespace();
    if (!ns) return fail(ns);
    std::vector<int> passed = {*ns};
    std::optional<Fd> image;
    if (!o.image.path.empty()) {
      auto mounted = image_for_child(o.image, true, o.idmapped);
      if (!mounted) return fail(mounted);
      if (!*mounted) return false;
      image = std::move(*mounted);
      passed.push_back(image->get());
    }
    // Whose files the upper directories are: the host's name for the container's root.
    std::uint32_t uid = 0, gid = 0;
    for (const Op& other : plan().ops)
      if (const auto* map = std::get_if<op::WriteIdMap>(&other)) {
        for (const auto& r : map->uids)
          if (r.inside == 0) uid = r.outside;
        for (const auto& r : map->gids)
          if (r.inside == 0) gid = r.outside;
      }
    using program::Code;
    Encoder e;
    e.pass(op::Slot{0});
    const op::Slot lower_image{static_cast<int>(2 + o.layers.size())};
    if (image) e.pass(lower_image);
    e.add(op::ArmDeathSignal{}, 0);
    e.add(op::Unshare{.namespaces = Namespace::mount}, 0);
    e.add(op::ContainPropagation{}, 0);
    std::vector<std::string> options = {"mode=0755"};
    if (o.size.value > 0) options.push_back(formatted("size={}", o.size.value));
    const op::Slot base{1};
    e.add(op::MountOp{.source = op::MountOp::filesystem,
                      .what = "tmpfs",
                      .options = options,
                      .place = op::MountOp::on_root,
                      .to = base},
          0);
    std::vector<std::int16_t> sent;
    for (std::size_t i = 0; i < o.layers.size(); ++i) {
      const auto& layer = o.layers[i];
      const auto index = static_cast<std::uint32_t>(i);
      const std::string lower = formatted("l{}", i), upper = formatted("u{}", i),
                        work = formatted("w{}", i);
      e.add(op::MakeEntry{.kind = op::MakeEntry::directory, .base = base, .path = lower}, index);
      e.add(op::MountOp{.source = image ? op::MountOp::slot : op::MountOp::tree,
                        .what = layer.lower,
                        .from = image ? lower_image : op::Slot{},
                        .base = base,
                        .target = lower},
            index);
      // The owner shift goes with the copy of the lower directory; it is not an op of any
      // container's own plan. An image has it already.
      if (o.idmapped && !image) e.last().r[3] = 0;
      if (layer.upper.empty()) {
        e.add(
            op::MakeEntry{
                .kind = op::MakeEntry::directory, .base = base, .path = upper, .mode = layer.mode},
            index);
        program::Rec& owner = e.add(Code::set_owner, index);
        owner.r[0] = 1;
        owner.s[0] = e.text(upper);
        owner.n[0] = uid | (static_cast<std::uint64_t>(gid) << 32U);
        e.add(op::MakeEntry{.kind = op::MakeEntry::directory, .base = base, .path = work}, index);
      }
      const op::Slot to{static_cast<int>(2 + i)};
      e.add(op::MountOp{.source = op::MountOp::filesystem,
                        .what = "overlay",
                        .options = {"lowerdir=" + lower,
                                    "upperdir=" + (layer.upper.empty() ? upper : layer.upper),
                                    "workdir=" + (layer.work.empty() ? work : layer.work)},
                        .cwd = base,
                        .place = op::MountOp::nowhere,
                        .to = to},
            index);
      sent.push_back(static_cast<std::int16_t>(to.number));
    }
    program::Rec& send = e.add(Code::send_slots, 0);
    send.s[0] = e.bytes(sent.data(), sent.size() * sizeof sent[0], 2);
    e.add(Code::end, 0);
    auto helper = Helper::start(zygote_, e, std::move(passed), "building overlays");
    if (!helper) return fail(helper);
    helper_ = std::move(*helper);
  }
  auto done = helper_->step();
  if (!done) return fail(done);
  if (!*done) return false;
  Helper::Outcome out = std::move(**done);
  helper_.reset();
  if (out.failed) {
    const std::string where =
        out.op < o.layers.size() ? o.layers[out.op].lower : std::string("overlays");
    return fail(out.error, Step::mount_root,
                formatted("overlay of '{}'{}", where,
                          out.text.empty() ? "" : " (kernel: " + out.text + ")"));
  }
  if (out.code != CLD_EXITED || out.status != 0 || out.received.size() != o.layers.size())
    return fail(Errc::child_vanished, Step::mount_root, "the process that builds the overlays");
  for (auto& fd : out.received) trees_.push_back(std::move(fd));
  return true;
}

}  // namespace condroid::inline v0::detail
