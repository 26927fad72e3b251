// The runtime's own cgroups, and what is done about cgroups where no zygote does it.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <new>

#include "formatted.hpp"
#include "launch/profiles.hpp"
#include "launch/zygote.hpp"
#include "program/kernel.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/cgroup_parents.hpp"
#include "sys/kernel_files.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

bool contains(const std::vector<std::string>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

}  // namespace

void Zygote::expect_profiles() const {
  auto& head = *reinterpret_cast<program::ArenaHeader*>(arena_);
  std::atomic_ref(head.profiles).store(1, std::memory_order_relaxed);
}

Result<int> Zygote::cgroup_dir(std::size_t hierarchy, const CgroupHierarchy& h,
                               const std::vector<std::string>& controllers) {
  const std::lock_guard lock(mutex_);
  if (hierarchy >= groups_.size())
    return fail(Errc::unsupported, Step::create_cgroup,
                formatted("hierarchy number {}", hierarchy));
  Group& g = groups_[hierarchy];
  const std::string base = parent_dir(h);
  Fd base_dir;
  if (!g.dir.valid()) {
    base_dir = Fd(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!base_dir.valid()) return fail(errno, Step::create_cgroup, formatted("'{}'", base));
    // The zygote first: from here on the directory is removed, whoever dies.
    auto& head = *reinterpret_cast<program::ArenaHeader*>(arena_);
    if (base.size() < sizeof head.parents[hierarchy])  // else a later sweep does without
      std::strncpy(head.parents[hierarchy], base.c_str(), sizeof head.parents[hierarchy] - 1);
    program::Request request{};
    request.magic = program::magic;
    request.kind = program::RequestKind::adopt;
    request.cgroups = hierarchy;
    request.v2 = h.v2 ? 1 : 0;
    const int fds[] = {base_dir.get()};
    if (const int e = request_surely(request, fds); e != 0)
      return fail(e, Step::create_cgroup, "telling the zygote");
    if (::mkdirat(base_dir.get(), name_.c_str(), 0755) < 0 && errno != EEXIST)
      return fail(errno, Step::create_cgroup, formatted("'{}/{}'", base, name_));
    Fd dir(::openat(base_dir.get(), name_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir.valid()) return fail(errno, Step::create_cgroup, formatted("'{}/{}'", base, name_));
    if (!h.v2 && contains(h.controllers, "cpuset"))
      if (const int c = inherit_cpuset(base_dir.get(), dir.get()); c != 0)
        return fail(c, Step::create_cgroup, formatted("cpuset of '{}/{}'", base, name_));
    g.dir = std::move(dir);
  }
  std::vector<std::string> missing;
  for (const auto& c : controllers)
    if (!contains(g.controllers, c)) missing.push_back(c);
  if (h.v2 && !missing.empty()) {
    if (!base_dir.valid()) base_dir = Fd(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!base_dir.valid()) return fail(errno, Step::create_cgroup, formatted("'{}'", base));
    if (auto ok = enable_controllers(base_dir.get(), base, missing); !ok) return fail(ok);
    if (auto ok = enable_controllers(g.dir.get(), base + "/" + name_, missing); !ok)
      return fail(ok);
    g.controllers.insert(g.controllers.end(), missing.begin(), missing.end());
  }
  return g.dir.get();
}

std::vector<std::string> Zygote::offer_controllers(std::size_t hierarchy, const std::string& base,
                                                   const std::vector<std::string>& wished,
                                                   std::string& why) {
  const std::lock_guard lock(mutex_);
  Group& g = groups_.at(hierarchy);
  std::vector<std::string> on;
  Fd base_dir;
  for (const std::string& c : wished) {
    if (!contains(g.controllers, c) && !contains(g.refused, c)) {
      if (!base_dir.valid()) base_dir = Fd(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!base_dir.valid()) {
        why = formatted("'{}' ({})", base, errno_name(errno));
        break;  // tried again
      }
      auto ok = enable_controllers(base_dir.get(), base, {c});
      if (ok) ok = enable_controllers(g.dir.get(), base + "/" + name_, {c});
      (ok ? g.controllers : g.refused).push_back(c);
      if (!ok && g.why.empty())
        g.why = formatted("{} ({})", ok.error().subject, errno_name(ok.error().errnum()));
    }
    if (contains(g.controllers, c)) on.push_back(c);
  }
  if (on.size() < wished.size() && why.empty()) why = g.why;
  return on;
}

namespace {

/// Words of /proc/PID/stat after the name, from the state on; nothing when there is no such
/// process.
std::string stat_of(int pid) {
  const std::string all = small_file(formatted("/proc/{}/stat", pid));
  const std::size_t end = all.rfind(')');
  return end == std::string::npos ? std::string() : all.substr(std::min(end + 2, all.size()));
}

bool ended(int pid) {
  const std::string stat = stat_of(pid);
  return stat.empty() || stat[0] == 'Z' || stat[0] == 'X';
}

/// Whether SIGKILL has come, but the process is not gone yet.
bool dying(int pid) {
  const std::string stat = stat_of(pid);
  unsigned flags = 0, pending = 0;
  // State, ppid, pgrp, session, tty, tpgid, flags; proc_pid_stat(5). PF_EXITING is 4,
  // linux/sched.h.
  if (std::sscanf(stat.c_str(), "%*c %*d %*d %*d %*d %*d %u", &flags) == 1 && (flags & 4U) != 0)
    return true;
  const std::string text = small_file(formatted("/proc/{}/status", pid));
  for (const char* key : {"\nSigPnd:", "\nShdPnd:"}) {
    unsigned long long set = 0;
    if (const char* at = std::strstr(text.c_str(), key);
        at != nullptr && std::sscanf(at + 8, "%llx", &set) == 1)
      pending |= static_cast<unsigned>(set >> (SIGKILL - 1)) & 1U;
  }
  return pending != 0;
}

/// Takes the lock that says that the zygote of this file lives. False while it does. One that was
/// killed together with its host may still be on its way out; that is waited for. So is a helper
/// of one that is `gone`: it has the zygote's descriptors, and by them the lock, for a moment more.
bool take_lock(int file, bool gone) {
  for (int tries = 0; tries < 250; ++tries) {
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(file, F_SETLK, &whole) == 0) return true;
    if (!gone) {
      program::ArenaHeader head{};
      if (::pread(file, &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head)) return false;
      if (head.host > 0 && !ended(head.host)) return false;
      // Asked twice, for the moment between the signal's arrival and the beginning of the end. Of
      // another pid namespace there is no number, and nothing to be known.
      struct flock holder = whole;
      if (::fcntl(file, F_GETLK, &holder) < 0) return false;
      if (holder.l_type == F_UNLCK) continue;
      const bool ending = holder.l_pid > 0 && (ended(holder.l_pid) || dying(holder.l_pid));
      if (!ending && tries > 0) return false;
    }
    (void)::poll(nullptr, 0, 2);
  }
  return false;
}

/// What a state file says is done with our rights: it, and the directory it is found in, must be
/// ours and writable by nobody else.
bool only_ours(int fd) {
  struct stat st {};
  return ::fstat(fd, &st) == 0 && st.st_uid == ::geteuid() && (st.st_mode & 022U) == 0;
}

/// "condroid-" and the twelve digits of Zygote::spawn(); other files of that beginning are
/// somebody's own.
bool is_state_file(std::string_view name) {
  constexpr std::string_view prefix = "condroid-";
  return name.size() == prefix.size() + 12 && name.starts_with(prefix) &&
         name.find_first_not_of("0123456789abcdef", prefix.size()) == std::string_view::npos;
}

/// Where cgroups were that are not below the runtime's own.
std::vector<std::string> places_of(const program::ArenaHeader& head,
                                   const program::LiveEntry* live) {
  std::vector<std::string> list;
  for (unsigned i = 0; i < program::max_live && i < head.places; ++i) {
    std::string place(live[i].place, ::strnlen(live[i].place, sizeof live[i].place));
    if (!place.empty() && !place.starts_with('/') &&
        ("/" + place + "/").find("/../") == std::string::npos)
      list.push_back(std::move(place));
  }
  return list;
}
static_assert(std::string_view(program::made_mark) == made_mark);

void sweep_one(int state_dir, const char* name, bool gone = false) {
  const Fd file(::openat(state_dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!file.valid() || ::fstat(file.get(), &st) < 0 || !S_ISREG(st.st_mode) ||
      !only_ours(file.get()))
    return;
  // A living zygote holds the lock; one that is just starting looks whether its file is still there
  // once it has it.
  if (!take_lock(file.get(), gone)) return;
  if (static_cast<std::size_t>(st.st_size) != program::arena_size) {
    ::unlinkat(state_dir, name, 0);
    return;
  }
  // Not mapped: where its file system is full, touching a hole of it ends this program.
  // The end of a Runtime may come here: without memory for it the next one sweeps.
  const std::unique_ptr<std::uint64_t[]> bytes(
      new (std::nothrow) std::uint64_t[program::arena_pages / sizeof(std::uint64_t)]);
  if (bytes == nullptr || ::pread(file.get(), bytes.get(), program::arena_pages, 0) !=
                              static_cast<ssize_t>(program::arena_pages))
    return;
  const auto* arena = reinterpret_cast<const char*>(bytes.get());
  const auto& head = *reinterpret_cast<const program::ArenaHeader*>(arena);
  if (head.magic == program::magic && std::strncmp(head.runtime, name, sizeof head.runtime) == 0) {
    const auto* live = reinterpret_cast<const program::LiveEntry*>(arena + program::arena_live);
    std::vector<Fd> dying;
    for (unsigned i = 0; i < program::max_live; ++i) {
      const int pid = live[i].pid;
      // What is not to be stopped half-way ends by itself.
      if (pid <= 1 || (live[i].marks & program::mark_finishes) != 0) continue;
      Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      if (!pidfd.valid() || !is_the_one(live[i], pid)) continue;
      (void)pidfd_signal(pidfd.get(), SIGKILL);
      dying.push_back(std::move(pidfd));
    }
    const std::vector<std::string> places = places_of(head, live);
    for (const auto& parent : head.parents) {
      if (parent[0] != '/' || std::memchr(parent, 0, sizeof parent) == nullptr) continue;
      for (const std::string& place : places) {
        const Fd dir(::open(formatted("{}/{}", parent, place).c_str(),
                            O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (dir.valid() && is_marked(dir.get(), ".", name)) thaw_below(dir.get());
      }
      const Fd dir(::open(formatted("{}/{}", parent, name).c_str(),
                          O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (dir.valid()) thaw_below(dir.get());
    }
    bool all_gone = true;
    for (const auto& p : dying) all_gone &= wait_for_fd(p.get(), POLLIN, 2000) > 0;
    for (const auto& parent : head.parents) {
      if (parent[0] != '/' || std::memchr(parent, 0, sizeof parent) == nullptr) continue;
      const Fd dir(::open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (dir.valid() && remove_cgroup(dir.get(), name) != 0) all_gone = false;
      for (const std::string& place : places) {
        if (!dir.valid() || !is_marked(dir.get(), place.c_str(), name)) continue;
        if (remove_cgroup(dir.get(), place.c_str()) != 0)
          all_gone = false;
        else
          remove_way(dir.get(), place);
      }
    }
    // Who has not gone would be free of its profile.
    if (head.profiles != 0 && all_gone) remove_profiles_of(name);
  }
  ::unlinkat(state_dir, name, 0);
}

}  // namespace

bool is_the_one(const program::LiveEntry& entry, int pid) {
  const std::string stat = stat_of(pid);
  const char* p = stat.c_str();
  for (int field = 3; field < 22; ++field) {
    p = std::strchr(p, ' ');
    if (p == nullptr) return false;
    ++p;
  }
  const auto hertz = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const std::uint64_t tick = 1000000000U / hertz;
  const std::uint64_t born = std::strtoull(p, nullptr, 10) * tick;
  // The entry's time was read before the clone, which a busy machine may have put off; procfs
  // rounds down.
  return born + 2 * tick > entry.born && born < entry.born + 2000000000U;
}

bool sweep_runtime(const std::string& state_dir, const std::string& name) {
  const Fd dir(::open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir.valid()) return errno == ENOENT;
  if (!only_ours(dir.get())) return true;
  sweep_one(dir.get(), name.c_str(), true);
  return ::faccessat(dir.get(), name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0;
}

Result<void> sweep_state(const std::string& state_dir) {
  Fd dir(::open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir.valid()) {
    if (errno == ENOENT) return {};
    return fail(errno, Step::sweep, formatted("state directory '{}'", state_dir));
  }
  if (!only_ours(dir.get())) return {};  // the zygote refuses it, and says why
  DIR* d = ::fdopendir(dir.get());
  if (d == nullptr) return fail(errno, Step::sweep, formatted("state directory '{}'", state_dir));
  (void)dir.release();
  while (const dirent* e = ::readdir(d)) {
    if (is_state_file(e->d_name)) sweep_one(::dirfd(d), e->d_name);
    if (std::string_view(e->d_name).starts_with("bridge.")) sweep_bridge(::dirfd(d), e->d_name);
  }
  ::closedir(d);
  return {};
}

}  // namespace condroid::inline v0::detail
