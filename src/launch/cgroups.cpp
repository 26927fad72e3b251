// The runtime's own cgroups, and what is done about cgroups where no zygote does it.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "launch/zygote.hpp"
#include "program/kernel.hpp"
#include "sys/cgroup_files.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

namespace {

bool contains(const std::vector<std::string>& list, std::string_view what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

}  // namespace

Result<int> Zygote::cgroup_dir(std::size_t hierarchy, const CgroupHierarchy& h,
                               const std::string& parent,
                               const std::vector<std::string>& controllers) {
  const std::lock_guard lock(mutex_);
  if (hierarchy >= groups_.size())
    return fail(Errc::unsupported, Step::create_cgroup,
                fmt::format("hierarchy number {}", hierarchy));
  Group& g = groups_[hierarchy];
  const std::string base = h.mount_point + (parent == "/" ? "" : parent);
  Fd base_dir;
  if (!g.dir.valid()) {
    base_dir = Fd(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!base_dir.valid()) return fail(errno, Step::create_cgroup, fmt::format("'{}'", base));
    // The zygote first: from here on the directory is removed, whoever dies.
    auto& head = *reinterpret_cast<program::ArenaHeader*>(arena_);
    std::strncpy(head.parents[hierarchy], base.c_str(), sizeof head.parents[hierarchy] - 1);
    program::Request request{};
    request.magic = program::magic;
    request.kind = program::RequestKind::adopt;
    request.cgroups = hierarchy;
    request.v2 = h.v2 ? 1 : 0;
    const int fds[] = {base_dir.get()};
    int e = this->request(request, fds);
    for (int tries = 0; e == EAGAIN && tries < 1000; ++tries) {
      (void)wait_for_fd(control_.get(), POLLOUT, 10);
      e = this->request(request, fds);
    }
    if (e != 0) return fail(e, Step::create_cgroup, "telling the zygote");
    if (::mkdirat(base_dir.get(), name_.c_str(), 0755) < 0 && errno != EEXIST)
      return fail(errno, Step::create_cgroup, fmt::format("'{}/{}'", base, name_));
    Fd dir(::openat(base_dir.get(), name_.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!dir.valid()) return fail(errno, Step::create_cgroup, fmt::format("'{}/{}'", base, name_));
    if (!h.v2 && contains(h.controllers, "cpuset"))
      if (const int c = inherit_cpuset(base_dir.get(), dir.get()); c != 0)
        return fail(c, Step::create_cgroup, fmt::format("cpuset of '{}/{}'", base, name_));
    g.dir = std::move(dir);
  }
  std::vector<std::string> missing;
  for (const auto& c : controllers)
    if (!contains(g.controllers, c)) missing.push_back(c);
  if (h.v2 && !missing.empty()) {
    if (!base_dir.valid()) base_dir = Fd(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!base_dir.valid()) return fail(errno, Step::create_cgroup, fmt::format("'{}'", base));
    if (auto ok = enable_controllers(base_dir.get(), base, missing); !ok) return fail(ok);
    if (auto ok = enable_controllers(g.dir.get(), base + "/" + name_, missing); !ok)
      return fail(ok);
    g.controllers.insert(g.controllers.end(), missing.begin(), missing.end());
  }
  return g.dir.get();
}

namespace {

/// Whether this process was born when the entry says: pids come again.
bool is_the_one(int pidfd, const program::LiveEntry& entry, int pid) {
  struct stat st {};
  if (entry.inode != 0 && ::fstat(pidfd, &st) == 0) return st.st_ino == entry.inode;
  const Fd stat_file(::open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t n = stat_file.valid() ? ::read(stat_file.get(), text, sizeof text - 1) : -1;
  if (n <= 0) return false;
  text[n] = 0;
  const char* p = std::strrchr(text, ')');
  if (p == nullptr) return false;
  for (int field = 2; field < 22 && p != nullptr; ++field) p = std::strchr(p + 1, ' ');
  if (p == nullptr) return false;
  const auto hertz = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  const std::uint64_t tick = 1000000000U / hertz;
  const std::uint64_t born = std::strtoull(p + 1, nullptr, 10) * tick;
  // The entry's time was read before the clone, which a busy machine may have put off; procfs rounds down.
  return born + 2 * tick > entry.born && born < entry.born + 2000000000U;
}

void sweep_one(int state_dir, const char* name) {
  const Fd file(::openat(state_dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!file.valid() || ::fstat(file.get(), &st) < 0 || !S_ISREG(st.st_mode)) return;
  // A living zygote holds the lock; one that is just starting looks whether its file is still there
  // once it has it.
  if (::flock(file.get(), LOCK_EX | LOCK_NB) < 0) return;
  if (static_cast<std::size_t>(st.st_size) != program::arena_size) {
    ::unlinkat(state_dir, name, 0);
    return;
  }
  void* mapped = ::mmap(nullptr, program::arena_size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return;
  const auto* arena = static_cast<const char*>(mapped);
  const auto& head = *reinterpret_cast<const program::ArenaHeader*>(arena);
  if (head.magic == program::magic && std::strncmp(head.runtime, name, sizeof head.runtime) == 0) {
    const auto* live = reinterpret_cast<const program::LiveEntry*>(arena + program::arena_live);
    std::vector<Fd> dying;
    for (unsigned i = 0; i < program::max_live; ++i) {
      const int pid = live[i].pid;
      if (pid <= 1) continue;
      Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
      if (!pidfd.valid() || !is_the_one(pidfd.get(), live[i], pid)) continue;
      (void)pidfd_signal(pidfd.get(), SIGKILL);
      dying.push_back(std::move(pidfd));
    }
    for (const auto& p : dying) (void)wait_for_fd(p.get(), POLLIN, 2000);
    for (const auto& parent : head.parents) {
      if (parent[0] != '/' || std::memchr(parent, 0, sizeof parent) == nullptr) continue;
      const Fd dir(::open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (dir.valid()) (void)remove_cgroup(dir.get(), name);
    }
  }
  ::munmap(mapped, program::arena_size);
  ::unlinkat(state_dir, name, 0);
}

}  // namespace

void sweep_runtime(const std::string& state_dir, const std::string& name) {
  const Fd dir(::open(state_dir.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (dir.valid()) sweep_one(dir.get(), name.c_str());
}

Result<void> sweep_state(const std::string& state_dir) {
  DIR* d = ::opendir(state_dir.c_str());
  if (d == nullptr) {
    if (errno == ENOENT) return {};
    return fail(errno, Step::sweep, fmt::format("state directory '{}'", state_dir));
  }
  const std::string_view prefix = "condroid-";
  while (const dirent* e = ::readdir(d))
    if (std::string_view(e->d_name).starts_with(prefix)) sweep_one(::dirfd(d), e->d_name);
  ::closedir(d);
  return {};
}

}  // namespace condroid::inline v0::detail
