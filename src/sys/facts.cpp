#include "condroid/sys/facts.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <sstream>

#include "condroid/sys/fd.hpp"
#include "formatted.hpp"
#include "program/kernel.hpp"
#include "sys/cgroup_parents.hpp"
#include "sys/mountinfo.hpp"

namespace condroid {
inline namespace v0 {

namespace {

/// Reads what may be missing and remembers what should not fail: a wrong fact would be a wrong
/// plan.
class Reader {
 public:
  /// A whole small file; nothing when it does not exist or is not ours to read. 16 MiB are enough
  /// for any mount table.
  std::string read_all(const char* path) {
    const Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
    std::string text;
    if (!fd) {
      if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ELOOP)
        note(errno, path);
      return text;
    }
    std::array<char, 16384> buffer;
    while (text.size() < (16U << 20U)) {
      const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) note(errno, path);
      if (n <= 0) break;
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return text;
  }

  void note(int error, std::string_view what) {
    if (!error_) error_ = sys_error(error, Step::probe_host, formatted("'{}'", what));
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  std::optional<Error> error_;
};

/// newuidmap, newgidmap and lxc-user-nic gain their rights by a set-id bit or a file capability.
std::string find_helper(const char* name, std::initializer_list<const char*> dirs) {
  for (const char* dir : dirs) {
    std::string path = formatted("{}/{}", dir, name);
    struct stat st {};
    if (::stat(path.c_str(), &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) continue;
    const bool set_id = (st.st_mode & S_ISUID) != 0 && st.st_uid == 0;
    if (set_id || ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0) return path;
  }
  return {};
}

/// Whether the id map is the identity over all ids: then this is the initial namespace, or as good
/// as it.
bool identity_map(const std::string& text) {
  unsigned long inside = 1, outside = 1, count = 0;
  return std::sscanf(text.c_str(), "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 &&
         outside == 0 && count == 4294967295UL;
}

/// What of the ranges exists in a user namespace with this id map: others' ids cannot be handed on.
std::vector<SubidRange> existing(const std::vector<SubidRange>& ranges, const std::string& map) {
  std::vector<SubidRange> list;
  std::istringstream lines(map);
  std::uint64_t inside = 0, outside = 0, count = 0;
  while (lines >> inside >> outside >> count) {
    for (const SubidRange& r : ranges) {
      const std::uint64_t begin = std::max<std::uint64_t>(r.start, inside);
      const std::uint64_t end = std::min(std::uint64_t{r.start} + r.count, inside + count);
      if (begin < end)
        list.push_back(
            {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end - begin)});
    }
  }
  return list;
}

std::vector<RootEntry> list_root(Reader& reader) {
  std::vector<RootEntry> list;
  DIR* d = ::opendir("/");
  if (d == nullptr) {
    if (errno != EACCES) reader.note(errno, "/");
    return list;
  }
  errno = 0;
  for (const dirent* e = ::readdir(d); e != nullptr; errno = 0, e = ::readdir(d)) {
    const std::string name = e->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    if (::fstatat(::dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno != ENOENT && errno != EACCES) reader.note(errno, "/" + name);
      continue;
    }
    RootEntry entry;
    entry.name = name;
    entry.mode = st.st_mode & 07777;
    if (S_ISDIR(st.st_mode)) {
      entry.kind = RootEntry::directory;
    } else if (S_ISREG(st.st_mode)) {
      entry.kind = RootEntry::file;
    } else if (S_ISLNK(st.st_mode)) {
      entry.kind = RootEntry::link;
      std::array<char, 4096> target;
      const ssize_t n = ::readlinkat(::dirfd(d), e->d_name, target.data(), target.size());
      if (n < 0 && errno != ENOENT && errno != EACCES) reader.note(errno, "/" + name);
      if (n <= 0) continue;
      entry.points_to.assign(target.data(), static_cast<std::size_t>(n));
    } else {
      entry.kind = RootEntry::other;
    }
    list.push_back(std::move(entry));
  }
  if (errno != 0) reader.note(errno, "/");
  ::closedir(d);
  std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return list;
}

bool overmounted(const std::vector<MountEntry>& mounts, std::string_view prefix) {
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const MountEntry& m) { return m.target.starts_with(prefix); });
}

void probe_kernel(HostFacts& f, Reader& reader) {
  utsname name{};
  if (::uname(&name) == 0) {
    f.kernel_release = name.release;
    f.machine = name.machine;
    (void)std::sscanf(name.release, "%u.%u", &f.kernel_major, &f.kernel_minor);
  }
  const std::string last = reader.read_all("/proc/sys/kernel/cap_last_cap");
  if (!last.empty())
    f.last_capability = static_cast<unsigned>(std::strtoul(last.c_str(), nullptr, 10));
  // What may be different the next time says nothing about this kernel.
  const auto note_lack = [&](int e, const char* what) {
    for (const int lack : {EIO, EINTR, ENOMEM, EMFILE, ENFILE})
      if (e == lack) reader.note(e, what);
  };
  const auto exists = [&](const char* path) {
    if (::access(path, F_OK) == 0) return true;
    note_lack(errno, path);
    return false;
  };
  f.namespaces_time = exists("/proc/self/ns/time");
  f.namespaces_cgroup = exists("/proc/self/ns/cgroup");
  const std::string most = reader.read_all("/proc/sys/user/max_user_namespaces");
  const std::string debian = reader.read_all("/proc/sys/kernel/unprivileged_userns_clone");
  f.namespaces_user = exists("/proc/self/ns/user") && std::strtoul(most.c_str(), nullptr, 10) > 0 &&
                      (f.privileged() || debian.empty() || debian[0] != '0');
  const Fd memory(::memfd_create("probe", MFD_CLOEXEC | 0x10U /* MFD_EXEC */));
  if (!memory) note_lack(errno, "memfd_create");
  f.memfd_exec = memory.valid();
  const Fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self) note_lack(errno, "pidfd_open");
  struct statfs fs {};
  f.pidfs = self && ::fstatfs(self.get(), &fs) == 0 && fs.f_type == 0x50494446;  // PID_FS_MAGIC
}

void probe_modules(HostFacts& f, Reader& reader) {
  // linux/landlock.h, LANDLOCK_CREATE_RULESET_VERSION; ENOSYS or EOPNOTSUPP where there is none
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kernel::landlock_version);
  f.landlock_abi = abi > 0 ? static_cast<unsigned>(abi) : 0;
  f.apparmor = reader.read_all("/sys/module/apparmor/parameters/enabled").starts_with('Y') &&
               ::access("/proc/self/attr/apparmor/exec", F_OK) == 0;
  f.apparmor_loads = f.apparmor && ::faccessat(AT_FDCWD, "/sys/kernel/security/apparmor/.load",
                                               W_OK, AT_EACCESS) == 0;
  for (const char* path : {"/usr/sbin/apparmor_parser", "/sbin/apparmor_parser",
                           "/usr/local/sbin/apparmor_parser", "/usr/bin/apparmor_parser"})
    if (f.apparmor && f.apparmor_parser.empty() && ::access(path, X_OK) == 0)
      f.apparmor_parser = path;
  // Its file system is known where the module is active, mounted or not.
  f.selinux = reader.read_all("/proc/filesystems").find("\tselinuxfs\n") != std::string::npos;
}

void probe_user(HostFacts& f, Reader& reader) {
  f.uid = Uid{::geteuid()};
  f.gid = Gid{::getegid()};
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(0, ::getgroups(0, nullptr))));
  if (::getgroups(static_cast<int>(groups.size()), groups.data()) >= 0)
    for (const gid_t g : groups) f.groups.push_back(Gid{g});
  f.user_name = detail::find_user(reader.read_all("/etc/passwd"), f.uid.value);
  const kernel::CapHeader head{kernel::cap_version_3, 0};
  std::array<kernel::CapData, 2> caps{};
  if (::syscall(SYS_capget, &head, caps.data()) < 0) reader.note(errno, "capget");
  f.effective_caps = caps[0].effective | (static_cast<std::uint64_t>(caps[1].effective) << 32U);
  for (unsigned c = 0; c < 64; ++c) {
    const int has = ::prctl(PR_CAPBSET_READ, c, 0, 0, 0);
    if (has < 0) break;
    if (has > 0) f.bounding_caps |= std::uint64_t{1} << c;
  }
  const std::string uid_map = reader.read_all("/proc/self/uid_map");
  const std::string gid_map = reader.read_all("/proc/self/gid_map");
  f.initial_user_namespace = identity_map(uid_map) && identity_map(gid_map);
  f.subuids = existing(
      detail::parse_subids(reader.read_all("/etc/subuid"), f.user_name, f.uid.value), uid_map);
  f.subgids = existing(
      detail::parse_subids(reader.read_all("/etc/subgid"), f.user_name, f.uid.value), gid_map);
  for (const char* path : {"/usr/bin/pasta", "/usr/local/bin/pasta", "/bin/pasta"})
    if (f.pasta.empty() && ::access(path, X_OK) == 0) f.pasta = path;
  const auto programs = {"/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin"};
  f.newuidmap = find_helper("newuidmap", programs);
  f.newgidmap = find_helper("newgidmap", programs);
  // As distributions have it: Debian, Fedora, Ubuntu, Arch.
  f.user_nic = find_helper("lxc-user-nic", {"/usr/libexec/lxc", "/usr/local/libexec/lxc",
                                            "/usr/lib/x86_64-linux-gnu/lxc",
                                            "/usr/lib/aarch64-linux-gnu/lxc", "/usr/lib/lxc"});
  f.no_new_privs = ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  for (int r = 0; r <= RLIMIT_RTTIME; ++r) {
    rlimit limit{};
    if (::getrlimit(static_cast<__rlimit_resource>(r), &limit) < 0) reader.note(errno, "getrlimit");
    f.rlimits.emplace_back(limit.rlim_cur, limit.rlim_max);
  }
}

}  // namespace

Result<HostFacts> probe_host() {
  Reader reader;
  const std::string mountinfo = reader.read_all("/proc/self/mountinfo");
  if (reader.error()) return fail(*reader.error());
  if (mountinfo.empty()) return fail(ENOENT, Step::probe_host, "'/proc/self/mountinfo'");
  HostFacts f;
  probe_user(f, reader);
  probe_kernel(f, reader);
  probe_modules(f, reader);
  f.mounts = detail::parse_mountinfo(mountinfo);
  f.cgroups = detail::find_hierarchies(f.mounts, reader.read_all("/proc/self/cgroup"));
  detail::choose_cgroup_parents(f, {});
  f.cgroup_kill =
      f.kernel_at_least(5, 14) && std::any_of(f.cgroups.begin(), f.cgroups.end(),
                                              [](const CgroupHierarchy& h) { return h.v2; });
  f.root_entries = list_root(reader);
  f.proc_overmounted = overmounted(f.mounts, "/proc/");
  f.sys_overmounted = std::any_of(f.mounts.begin(), f.mounts.end(), [](const MountEntry& m) {
    // What the kernel itself has in sysfs does not hide anything of it.
    return m.target.starts_with("/sys/") && m.type != "cgroup" && m.type != "cgroup2" &&
           !m.target.starts_with("/sys/fs/") && !m.target.starts_with("/sys/kernel/") &&
           !m.target.starts_with("/sys/firmware/");
  });
  if (reader.error()) return fail(*reader.error());
  return f;
}

}  // namespace v0
}  // namespace condroid
