#include "sys/cgroup_files.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>

#include "formatted.hpp"
#include "sys/kernel_files.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

int inherit_cpuset(int parent, int dir) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    std::string text;
    if (const int e = read_file_at(dir, file, text); e != 0) return e;
    if (text.find_first_not_of(" \n") != std::string::npos) continue;
    if (const int e = read_file_at(parent, file, text); e != 0) return e;
    if (const int e = write_file_at(dir, file, text); e != 0) return e;
  }
  return 0;
}

Result<void> enable_controllers(int dir, const std::string& path,
                                const std::vector<std::string>& controllers) {
  std::string now;
  if (const int e = read_file_at(dir, "cgroup.subtree_control", now); e != 0)
    return fail(e, Step::create_cgroup, formatted("controllers of '{}'", path));
  std::replace(now.begin(), now.end(), '\n', ' ');
  bool looked = false;
  for (const auto& c : controllers) {
    if ((" " + now + " ").find(" " + c + " ") != std::string::npos) continue;
    if (!std::exchange(looked, true)) {
      // Some controllers the kernel would switch on all the same, and make this cgroup one of
      // threads: nothing could be launched below it then. The top one, which has no type, may.
      std::vector<int> here;
      if (list_cgroup(dir, here) == 0 && !here.empty() &&
          ::faccessat(dir, "cgroup.type", F_OK, 0) == 0)
        return fail(EBUSY, Step::create_cgroup,
                    formatted("controller '{}' of '{}'{}", c, path, in_the_way(EBUSY, dir, ".")));
    }
    const int e = write_file_at(dir, "cgroup.subtree_control", "+" + c);
    if (e != 0)
      return fail(e, Step::create_cgroup,
                  formatted("controller '{}' of '{}'{}", c, path, in_the_way(e, dir, ".")));
  }
  return {};
}

int list_cgroup(int dir, std::vector<int>& pids) {
  pids.clear();
  std::string text;
  if (const int e = read_file_at(dir, "cgroup.procs", text); e != 0) return e;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    int pid = 0;
    const auto [next, wrong] = std::from_chars(at, end, pid);
    if (wrong != std::errc{}) break;
    pids.push_back(pid);
    at = next + 1;
  }
  std::sort(pids.begin(), pids.end());
  return 0;
}

int kill_listed(int dir, const std::vector<int>& pids) {
  constexpr std::size_t at_once = 64;  // descriptors held
  int failed = 0;
  for (std::size_t from = 0; from < pids.size(); from += at_once) {
    std::vector<std::pair<int, Fd>> held;
    for (std::size_t i = from; i < std::min(pids.size(), from + at_once); ++i) {
      if (pids[i] < 1) continue;
      Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pids[i], 0)));
      if (pidfd) {
        held.emplace_back(pids[i], std::move(pidfd));
      } else if (errno != ESRCH) {
        failed = errno;
      }
    }
    // Who is listed only before was perhaps gone when its pid was opened, and that one is somebody
    // else.
    std::vector<int> still;
    if (const int e = list_cgroup(dir, still); e != 0) return e;
    for (const auto& [pid, pidfd] : held) {
      if (!std::binary_search(still.begin(), still.end(), pid)) continue;
      if (const int e = pidfd_signal(pidfd.get(), SIGKILL); e != 0 && e != ESRCH) failed = e;
    }
  }
  return failed;
}

namespace {

/// The cgroups directly below. Not opened: there may be more than there are descriptors.
std::vector<std::string> names_below(int dir) {
  std::vector<std::string> list;
  const int reading = ::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* d = reading < 0 ? nullptr : ::fdopendir(reading);
  if (d == nullptr) {
    if (reading >= 0) ::close(reading);
    return list;
  }
  while (const dirent* e = ::readdir(d)) {
    if (e->d_type == DT_DIR && std::string_view(e->d_name) != "." &&
        std::string_view(e->d_name) != "..")
      list.emplace_back(e->d_name);
  }
  ::closedir(d);
  return list;
}

}  // namespace

void for_each_cgroup(int dir, const std::function<bool(int)>& what) {
  Fd at(::openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!at || !what(at.get())) return;
  // One descriptor: directories of cgroups stay below the one that they were made in.
  std::vector<std::vector<std::string>> left;
  left.push_back(names_below(at.get()));
  while (!left.empty()) {
    if (left.back().empty()) {
      left.pop_back();
      Fd above(::openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!above) return;
      at = std::move(above);
      continue;
    }
    const std::string name = std::move(left.back().back());
    left.back().pop_back();
    Fd child(::openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!child || !what(child.get())) continue;
    at = std::move(child);
    left.push_back(names_below(at.get()));
  }
}

void thaw_below(int dir) {
  for_each_cgroup(dir, [](int at) {
    const int e = write_file_at(at, "freezer.state", "THAWED");
    return e != ENOENT && e != EACCES && e != EBADF;
  });
}

bool is_frozen(int dir, bool v2) {
  std::string text;
  const auto says = [&](const char* name, std::string_view word) {
    return read_file_at(dir, name, text) == 0 && text.find(word) != std::string::npos;
  };
  // On v2 one says what was asked of it, the other what comes of one above.
  return v2 ? says("cgroup.freeze", "1") || says("cgroup.events", "frozen 1")
            : says("freezer.state", "FR");
}

std::vector<std::pair<std::string, Fd>> child_cgroups(int dir) {
  std::vector<std::pair<std::string, Fd>> list;
  for (std::string& name : names_below(dir)) {
    Fd child(::openat(dir, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (child) list.emplace_back(std::move(name), std::move(child));
  }
  return list;
}

namespace {

/// The processes of a cgroup and of those below it, as many as are worth reading.
std::vector<int> gather_inhabitants(int dir) {
  constexpr std::size_t enough = 1000;
  std::vector<int> pids;
  for_each_cgroup(dir, [&](int at) {
    std::vector<int> here;
    if (pids.size() <= enough && list_cgroup(at, here) == 0)
      pids.insert(pids.end(), here.begin(), here.end());
    return pids.size() <= enough;
  });
  return pids;
}

std::string name_of_process(int pid) {
  if (pid == 0) return "one outside of this pid namespace";
  const Fd proc(::open(formatted("/proc/{}", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  std::string name;
  if (!proc || read_file_at(proc.get(), "comm", name) != 0) return formatted("{}", pid);
  name.resize(name.find_last_not_of('\n') + 1);
  // Anything may be in there, and this is for a terminal.
  for (char& c : name)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  return formatted("{} ({})", pid, name);
}

}  // namespace

std::string inhabitants(int dir) {
  const std::vector<int> pids = gather_inhabitants(dir);
  if (pids.empty()) return {};
  constexpr std::size_t most = 3;
  std::string text = pids.size() == 1 ? "process " : "processes ";
  for (std::size_t i = 0; i < std::min(most, pids.size()); ++i)
    text += (i == 0 ? "" : ", ") + name_of_process(pids[i]);
  if (pids.size() > most) text += formatted(" and {} more", pids.size() - most);
  return text;
}

std::string in_the_way(int error, int parent, const std::string& name) {
  if (error != EBUSY && error != EEXIST) return {};
  const Fd dir(::openat(parent, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  const std::string who = dir ? inhabitants(dir.get()) : std::string();
  if (who.empty()) return {};
  return formatted(", where {} {}", who, who.starts_with("processes") ? "are" : "is");
}

std::string frozen_above(int dir, bool v2) {
  std::string text;
  // Whether anything is: one look at most launches.
  const char* const state = v2 ? "cgroup.events" : "freezer.state";
  if (read_file_at(dir, state, text) != 0) return {};
  if (v2 ? text.find("frozen 1") == std::string::npos : text == "THAWED\n") return {};
  constexpr int deepest = 256;
  Fd at(::openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (int depth = 0; depth < deepest && at; ++depth) {
    if (read_file_at(at.get(), v2 ? "cgroup.freeze" : "freezer.self_freezing", text) != 0)
      return {};
    if (text == "1\n") {
      char path[4096];
      const ssize_t n =
          ::readlink(formatted("/proc/self/fd/{}", at.get()).c_str(), path, sizeof path);
      return n > 0 ? std::string(path, static_cast<std::size_t>(n)) : "a cgroup above";
    }
    at = Fd(::openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  return {};
}

namespace {

void kill_in(int dir) {
  if (write_file_at(dir, "cgroup.kill", "1") == 0) return;
  // On v1 who is stopped meanwhile does not fork, and who was stopped before has to go on to die.
  const bool stops = write_file_at(dir, "freezer.state", "FROZEN") == 0;
  std::vector<int> pids;
  if (list_cgroup(dir, pids) == 0) (void)kill_listed(dir, pids);
  if (stops) (void)write_file_at(dir, "freezer.state", "THAWED");
}

/// What is below a cgroup, deepest first, as far as it goes. How deep it is nested was the
/// container's to say, so that is limited neither by the stack nor by descriptors: one is held, and
/// the way up is "..", as directories of cgroups stay below the one that they were made in.
void remove_below(Fd at, bool kill) {
  struct Level {
    std::string name;
    std::vector<std::string> left;
  };
  std::vector<Level> way;
  way.push_back({{}, names_below(at.get())});
  for (;;) {
    if (!way.back().left.empty()) {
      std::string name = std::move(way.back().left.back());
      way.back().left.pop_back();
      if (::unlinkat(at.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) continue;
      Fd child(::openat(at.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!child) continue;
      if (kill) kill_in(child.get());
      at = std::move(child);
      way.push_back({std::move(name), names_below(at.get())});
      continue;
    }
    if (way.size() == 1) return;
    Fd above(::openat(at.get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!above) return;
    at = std::move(above);
    (void)::unlinkat(at.get(), way.back().name.c_str(), AT_REMOVEDIR);
    way.pop_back();
  }
}

int remove_once(int parent, const char* name, bool kill) {
  if (::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  Fd dir(::openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir) return errno == ENOENT ? 0 : errno;
  if (kill) kill_in(dir.get());
  remove_below(std::move(dir), kill);
  return ::unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
}

}  // namespace

int mark_cgroup(int dir, const std::string& runtime) {
  return ::fsetxattr(dir, made_mark, runtime.data(), runtime.size(), 0) == 0 ? 0 : errno;
}

bool is_marked(int parent, const char* name, std::string_view runtime) {
  const Fd dir(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  char text[64];
  const ssize_t n = dir ? ::fgetxattr(dir.get(), made_mark, text, sizeof text) : -1;
  return n > 0 &&
         (runtime.empty() || std::string_view(text, static_cast<std::size_t>(n)) == runtime);
}

void remove_way(int parent, std::string path) {
  for (;;) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    path.resize(slash);
    if (path == "..") return;
    // A way that was made in part begins further up.
    if (::faccessat(parent, path.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
      continue;
    if (!is_marked(parent, path.c_str()) || ::unlinkat(parent, path.c_str(), AT_REMOVEDIR) < 0)
      return;
  }
}

int remove_empty_cgroup(int parent, const char* name) { return remove_once(parent, name, false); }

int remove_cgroup(int parent, const char* name) {
  // EBUSY until what was killed is gone; nothing tells that on v1, so it is asked a bounded number
  // of times.
  int e = remove_once(parent, name, true);
  for (int tries = 0; e == EBUSY && tries < 500; ++tries) {
    (void)::poll(nullptr, 0, 4);
    e = remove_once(parent, name, true);
  }
  return e;
}

}  // namespace condroid::inline v0::detail
