#include "condroid/registry.hpp"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>
#include <optional>
#include <sstream>
#include <tuple>

#include "formatted.hpp"
#include "launch/state_file.hpp"
#include "sys/kernel_files.hpp"
#include "sys/mountinfo.hpp"
#include "sys/stance.hpp"

namespace condroid {
inline namespace v0 {

namespace {

using namespace detail;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// What /proc says of a process; proc_pid_stat(5).
struct ProcessLook {
  char state = 0;
  int parent = 0;
  nanoseconds started{0};
};
std::optional<ProcessLook> look_at(int pid) {
  const std::string text = small_file(formatted("/proc/{}/stat", pid));
  const std::size_t end = text.rfind(')');  // the name may hold anything
  if (end == text.npos) return std::nullopt;
  std::istringstream fields(text.substr(end + 1));
  ProcessLook look;
  std::string skipped;
  std::uint64_t ticks = 0;
  fields >> look.state >> look.parent;
  constexpr int between = 17;  // field 4 is the parent, 22 the start
  for (int i = 0; i < between; ++i) fields >> skipped;
  fields >> ticks;
  if (!fields) return std::nullopt;
  const auto hertz = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  look.started = nanoseconds(static_cast<std::int64_t>(ticks * (1000000000U / hertz)));
  return look;
}

nanoseconds boot_time() {
  timespec t{};
  ::clock_gettime(CLOCK_BOOTTIME, &t);
  return std::chrono::seconds(t.tv_sec) + nanoseconds(t.tv_nsec);
}

/// The process of an entry is a child of the zygote that was born when the entry says. The entry's
/// time was read before the clone, which a busy machine may have put off; procfs rounds down.
bool fits(const StateEntry& entry, const ProcessLook& look, int zygote) {
  const auto born = nanoseconds(
      static_cast<std::int64_t>(std::min<std::uint64_t>(entry.born, std::uint64_t{1} << 62U)));
  constexpr milliseconds early{20};
  constexpr std::chrono::seconds late{2};
  return look.parent == zygote && look.started + early > born && look.started < born + late;
}

/// What of the machine is looked at once for a whole list.
struct Machine {
  std::vector<MountEntry> mounts = parse_mountinfo(small_file("/proc/self/mountinfo"));
  std::vector<CgroupHierarchy> hierarchies =
      find_hierarchies(mounts, small_file("/proc/self/cgroup"));
};

/// The hierarchy that a directory is in, and its path from what is mounted there.
std::optional<RegisteredCgroup> locate(const Machine& machine, const std::string& directory) {
  const CgroupHierarchy* best = nullptr;
  for (const auto& h : machine.hierarchies) {
    const bool below = directory == h.mount_point || directory.starts_with(h.mount_point + "/");
    if (below && (best == nullptr || h.mount_point.size() > best->mount_point.size())) best = &h;
  }
  if (best == nullptr) return std::nullopt;
  const std::string path = directory.substr(best->mount_point.size());
  return RegisteredCgroup{*best, path.empty() ? "/" : path};
}

bool contains(const std::vector<std::string>& list, std::string_view what) {
  return std::ranges::find(list, what) != list.end();
}

/// Whether the process is in a cgroup that is frozen, be it by one above.
bool is_frozen(const Machine& machine, int pid) {
  const auto of_process =
      find_hierarchies(machine.mounts, small_file(formatted("/proc/{}/cgroup", pid)));
  for (const auto& h : of_process) {
    if (!h.v2 && !contains(h.controllers, "freezer")) continue;
    auto dir = CgroupDir::open(h, h.own_path);
    if (!dir) continue;
    if (auto still = dir->frozen(); still && *still) return true;
  }
  return false;
}

std::string id_of(const StateEntry& entry, const StateHeader& header) {
  return formatted("{}.{}@{}", entry.name, entry.number,
                   header.runtime.substr(header.runtime.find('-') + 1));
}

struct Found {
  Registered entry;
  Pidfd pidfd;
  std::uint64_t born = 0;  ///< As its zygote says it: finer than the ticks of procfs.
};

/// The container of an entry, if its process is the one that is meant. `error` is left alone where
/// that is known.
std::optional<Found> resolve(const Machine& machine, const StateFile& file, const StateEntry& entry,
                             int& error) {
  const StateHeader& header = file.header();
  auto pidfd = Pidfd::open(Pid{entry.pid});
  // Any other errno is of a number that is nobody's, or not this process's any more.
  if (!pidfd)
    for (const int lack : {EMFILE, ENFILE, ENOMEM, EPERM})
      if (pidfd.error().is_errno(lack)) error = lack;
  const auto look = look_at(entry.pid);
  if (!pidfd || !look || !fits(entry, *look, header.zygote)) return std::nullopt;
  // The number belonged to this process as long as the zygote had not taken its end, which it tells
  // the table.
  if (file.entry(entry.place) != entry || !file.held()) return std::nullopt;
  Registered r{.name = entry.name,
               .id = id_of(entry, header),
               .pid = Pid{entry.pid},
               .started = look->started,
               .age = std::max(boot_time() - look->started, nanoseconds{0}),
               .zygote = Pid{header.zygote},
               .detached = entry.detached,
               .landlock = entry.landlock};
  if (header.host > 0 && ::kill(header.host, 0) == 0) r.host = Pid{header.host};
  for (std::size_t h = 0; h < header.parents.size() && h < 64; ++h) {
    if (((entry.cgroups >> h) & 1U) == 0 || header.parents[h].empty()) continue;
    const std::string directory = formatted(
        "{}{}", header.parents[h] == "/" ? "" : header.parents[h] + "/",
        entry.group.empty() ? formatted("{}/{}.{}", header.runtime, entry.name, entry.number)
                            : entry.group);
    if (auto cgroup = locate(machine, directory)) r.cgroups.push_back(std::move(*cgroup));
  }
  if (look->state == 'Z' || look->state == 'X')
    r.state = Registered::ending;
  else if (is_frozen(machine, entry.pid))
    r.state = Registered::frozen;
  return Found{std::move(r), std::move(*pidfd), entry.born};
}

std::string directory_of(const HostPath& state_dir) {
  std::string path = state_dir.empty() ? default_state_dir() : state_dir.str();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// Everything that runs, with its pidfd.
Result<std::vector<Found>> find_all(const std::string& state_dir) {
  auto dir = open_state_dir(state_dir);
  if (!dir) return fail(dir);
  std::vector<Found> all;
  if (!dir->valid()) return all;
  const Machine machine;
  // A list that lacks one would say that it is not there.
  int error = 0;
  for (const auto& name : state_files(dir->get(), &error)) {
    const auto file = StateFile::open(dir->get(), name, &error);
    if (!file) continue;
    for (const auto& entry : file->entries(&error))
      if (auto found = resolve(machine, *file, entry, error)) all.push_back(std::move(*found));
  }
  if (error != 0)
    return fail(error, Step::find_container, formatted("state directory '{}'", state_dir));
  // Two entries with one number: the number was given out again after an end that is not in the
  // table yet.
  std::ranges::sort(all, [](const Found& a, const Found& b) {
    return std::tie(a.entry.started, a.born, a.entry.id) <
           std::tie(b.entry.started, b.born, b.entry.id);
  });
  std::vector<Found> unique;
  for (auto& f : all) {
    std::erase_if(unique, [&](const Found& u) { return u.entry.pid == f.entry.pid; });
    unique.push_back(std::move(f));
  }
  return unique;
}

bool means(const Registered& r, std::string_view what) {
  const std::string_view id = r.id;
  return what == r.name || what == id || what == id.substr(0, id.find('@'));
}

Result<Found> find_one(std::string_view what, const std::string& state_dir) {
  auto all = find_all(state_dir);
  if (!all) return fail(all);
  std::vector<Found> fitting;
  int pid = 0;
  const auto [end, error] = std::from_chars(what.data(), what.data() + what.size(), pid);
  const bool number = error == std::errc{} && end == what.data() + what.size();
  for (auto& f : *all)
    if (means(f.entry, what) || (number && f.entry.pid.value == pid))
      fitting.push_back(std::move(f));
  if (fitting.empty()) return fail(sys_error(ESRCH, Step::find_container, formatted("'{}'", what)));
  if (fitting.size() == 1) return std::move(fitting.front());
  std::string names;
  for (const auto& f : fitting)
    names +=
        formatted("{}{} (process {})", names.empty() ? "" : ", ", f.entry.id, f.entry.pid.value);
  return fail(Errc::bad_text, Step::find_container,
              formatted("'{}' means {} containers: {}", what, fitting.size(), names),
              "name one of them by its id or its process");
}

/// Whether the process is in this cgroup or below.
bool is_inside(const Machine& machine, int pid, const RegisteredCgroup& cgroup) {
  for (const auto& h :
       find_hierarchies(machine.mounts, small_file(formatted("/proc/{}/cgroup", pid))))
    if (h.mount_point == cgroup.hierarchy.mount_point)
      return h.own_path == cgroup.path || h.own_path.starts_with(cgroup.path + "/");
  return false;
}

ino_t pid_namespace(int pid) {
  struct stat st {};
  return ::stat(formatted("/proc/{}/ns/pid", pid).c_str(), &st) == 0 ? st.st_ino : 0;
}

/// The pid namespaces that a process has a number in below this program's; innermost first.
std::vector<ino_t> pid_namespaces_below(int pid) {
  const ino_t ours = pid_namespace(::getpid());
  std::vector<ino_t> out;
  Fd at(::open(formatted("/proc/{}/ns/pid", pid).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  while (at.valid() && ::fstat(at.get(), &st) == 0 && st.st_ino != ours) {
    out.push_back(st.st_ino);
    at = Fd(::ioctl(at.get(), NS_GET_PARENT));  // EPERM beyond ours
  }
  return out;
}

}  // namespace

std::optional<std::pair<StateEntry, std::string>> detail::entry_of(const std::string& state_dir,
                                                                   int pid) {
  const auto dir = open_state_dir(state_dir);
  if (!dir || !dir->valid()) return std::nullopt;
  const auto look = look_at(pid);
  if (!look) return std::nullopt;
  for (const auto& name : state_files(dir->get())) {
    const auto file = StateFile::open(dir->get(), name);
    if (!file || file->header().zygote != look->parent) continue;
    for (auto& entry : file->entries())
      if (entry.pid == pid && fits(entry, *look, file->header().zygote))
        return std::pair(std::move(entry), file->header().runtime);
  }
  return std::nullopt;
}

std::string_view to_string(Registered::State state) noexcept {
  switch (state) {
    case Registered::running:
      return "running";
    case Registered::frozen:
      return "frozen";
    case Registered::ending:
      return "ending";
  }
  return "unknown";
}

Result<std::vector<Registered>> Registry::list(const HostPath& state_dir) {
  auto all = find_all(directory_of(state_dir));
  if (!all) return fail(all);
  std::vector<Registered> out;
  for (auto& f : *all) out.push_back(std::move(f.entry));
  return out;
}

Result<Registered> Registry::find(std::string_view what, const HostPath& state_dir) {
  auto found = find_one(what, directory_of(state_dir));
  if (!found) return fail(found);
  return std::move(found->entry);
}

Result<std::optional<Registered>> Registry::around(Pid pid, const HostPath& state_dir) {
  if (!look_at(pid.value))
    return fail(ESRCH, Step::find_container, formatted("process {}", pid.value));
  auto all = find_all(directory_of(state_dir));
  if (!all) return fail(all);
  const Machine machine;
  const auto namespaces = pid_namespaces_below(pid.value);
  enum : std::uint8_t { none, by_namespace, by_cgroup, itself } best = none;
  std::optional<Registered> out;
  // A container in another one is the younger of the two.
  for (auto& f : *all) {
    auto how = none;
    if (f.entry.pid == pid)
      how = itself;
    else if (std::ranges::any_of(f.entry.cgroups, [&](const RegisteredCgroup& c) {
               return is_inside(machine, pid.value, c);
             }))
      how = by_cgroup;
    else if (std::ranges::find(namespaces, pid_namespace(f.entry.pid.value)) != namespaces.end())
      how = by_namespace;
    if (how == none || how < best) continue;
    best = how;
    out = std::move(f.entry);
  }
  return out;
}

Result<OpenContainer> Registry::open(std::string_view what, const HostPath& state_dir) {
  const std::string dir = directory_of(state_dir);
  auto found = find_one(what, dir);
  if (!found) return fail(found);
  return OpenContainer(std::move(found->entry), std::move(found->pidfd), dir);
}

Result<OpenContainer> Registry::open(const Registered& entry, const HostPath& state_dir) {
  return open(std::string_view(entry.id), state_dir);
}

Result<Registered> OpenContainer::refresh() const {
  auto found = find_one(entry_.id, state_dir_);
  if (!found) return fail(found);
  return std::move(found->entry);
}

Result<void> OpenContainer::signal(Signal signal) const {
  // A pidfd of a process that ended, but was not waited for, takes signals still.
  auto ended = pidfd_.ended();
  if (!ended) return fail(ended);
  if (*ended) return fail(ESRCH, Step::signal, formatted("container '{}' has ended", entry_.name));
  auto sent = pidfd_.signal(signal);
  if (sent) return {};
  return fail(sent.error().errnum() != 0 ? sent.error().errnum() : EIO, Step::signal,
              formatted("signal {} to container '{}'", signal.value, entry_.name));
}

Result<bool> OpenContainer::wait_for(milliseconds limit) const {
  return pidfd_.ended_within(limit);
}

Result<void> OpenContainer::kill() const {
  const Machine machine;
  // Everything in it at once, as long as it is certain that this is its cgroup.
  const RegisteredCgroup* best = nullptr;
  for (const auto& c : entry_.cgroups)
    if (is_inside(machine, entry_.pid.value, c) && (best == nullptr || c.hierarchy.v2)) best = &c;
  auto ended = pidfd_.ended();
  if (!ended) return fail(ended);
  if (*ended) return {};
  if (best != nullptr)
    if (auto dir = CgroupDir::open(best->hierarchy, best->path)) (void)dir->kill();
  auto sent = pidfd_.signal(Signal{SIGKILL});
  if (sent || sent.error().is_errno(ESRCH)) return {};
  return fail(sent.error().errnum(), Step::kill, formatted("container '{}'", entry_.name));
}

Result<void> OpenContainer::stop(milliseconds patience, Signal polite) const {
  // One that is on its way to where it waits is given a moment: it costs less than a whole
  // patience.
  Stance before = stance_on(entry_.pid.value, polite.value);
  for (int tries = 0; before.where.empty() && tries < 20; ++tries) {
    (void)::poll(nullptr, 0, 1);
    before = stance_on(entry_.pid.value, polite.value);
  }
  if (auto ok = signal(polite); !ok && !ok.error().is_errno(ESRCH)) return fail(ok);
  if (!before.deaf || stance_on(entry_.pid.value, polite.value) != before) {
    auto ended = wait_for(std::max(patience, milliseconds{0}));
    if (!ended) return fail(ended);
  }
  if (auto ok = kill(); !ok) return fail(ok);
  // Its zygote takes the end, undoes what there is of it and clears the entry.
  constexpr std::chrono::seconds most{10};
  for (const auto until = Clock::now() + most; Clock::now() < until;) {
    auto ended = pidfd_.ended_within(milliseconds{100});
    if (!ended) return fail(ended);
    if (!*ended) continue;
    auto dir = open_state_dir(state_dir_);
    if (!dir || !dir->valid()) return {};
    const std::string runtime = "condroid-" + entry_.id.substr(entry_.id.rfind('@') + 1);
    const auto file = StateFile::open(dir->get(), runtime);
    if (!file) return {};
    const auto entries = file->entries();
    const bool there = std::ranges::any_of(entries, [&](const StateEntry& e) {
      return id_of(e, file->header()) == entry_.id && e.pid == entry_.pid.value;
    });
    // Of the last one the zygote ends, too, and takes its files with it.
    if (!there && (!entries.empty() || entry_.host.value != 0)) return {};
    (void)::poll(nullptr, 0, 1);
  }
  return fail(Errc::deadline, Step::wait, formatted("the end of container '{}'", entry_.name));
}

Result<std::vector<CgroupDir>> OpenContainer::cgroups() const {
  std::vector<CgroupDir> out;
  for (const auto& c : entry_.cgroups) {
    auto dir = CgroupDir::open(c.hierarchy, c.path);
    if (!dir) return fail(dir);
    out.push_back(std::move(*dir));
  }
  return out;
}

}  // namespace v0
}  // namespace condroid
