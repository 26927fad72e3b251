// What a host, its zygote and a container's process do when descriptors, processes, memory or disk
// space run out, at each step of a launch, of an attach, of a take from a pool and of a next life:
// the error names a step and the right errno, nothing is left open, and the Runtime works again as
// soon as there is enough.
//
//   exhaustion PAYLOAD [disk|user]
//
// Prints a table of how often each step was told. Needs root, but for `user`: what a user's limit
// of processes does.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condroid/attach.hpp>
#include <condroid/builder.hpp>
#include <condroid/pool.hpp>
#include <condroid/runtime.hpp>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace condroid;
using namespace condroid::literals;

namespace {

std::map<std::pair<std::string, Step>, int> table;
int failures = 0;

void wrong(const std::string& what) {
  fmt::print(stderr, "FAILED {}\n", what);
  ++failures;
}
[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "exhaustion: {}\n", why);
  std::exit(1);
}
template <class T>
T need(Result<T> result) {
  if (!result) give_up(to_string(result.error()));
  return std::move(*result);
}
void need(bool good, const std::string& what) {
  if (!good) give_up(fmt::format("{}: errno {}", what, errno));
}

std::size_t descriptors(pid_t process) {
  const std::string path =
      process == 0 ? std::string("/proc/self/fd") : fmt::format("/proc/{}/fd", process);
  std::size_t n = 0;
  DIR* d = ::opendir(path.c_str());
  need(d != nullptr, path);
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n;
}

/// One thing that is done to a Runtime; what it gives is whether it went well.
using Deed = std::function<Result<void>()>;

Result<void> ended_well(Result<Exit> exit) {
  if (!exit) return tl::unexpected(exit.error());
  if (!exit->cleanup_errors.empty()) give_up(to_string(*exit));
  if (exit->success()) return {};
  return tl::unexpected(make_error(Errc::child_vanished, Step::wait, to_string(*exit)));
}
Result<void> launched(const Runtime& runtime, const Spec& spec) {
  auto box = runtime.launch(spec);
  if (!box) return tl::unexpected(box.error());
  return ended_well(box->wait());
}

/// Of one that fails and is launched again, once: good is what had both lives. Why there was no
/// second one is told in words.
Result<void> lived_twice(const Runtime& runtime, const Spec& spec) {
  auto box = runtime.launch(spec);
  if (!box) return tl::unexpected(box.error());
  const auto exit = box->wait();
  if (!exit) return tl::unexpected(exit.error());
  if (!exit->cleanup_errors.empty() || exit->code != 3) give_up(to_string(*exit));
  if (exit->restarts == 1) return {};
  for (const int e : {EMFILE, EAGAIN})
    if (exit->not_restarted.find(std::strerror(e)) != std::string::npos)
      return tl::unexpected(sys_error(e, Step::wait, exit->not_restarted));
  return tl::unexpected(make_error(Errc::child_vanished, Step::wait, to_string(*exit)));
}

/// The first thing after a lack is done as if nothing had been, and what is kept for the next time
/// (a /dev that is ready, mounts, a helper) is there again after a few.
void recover(const std::string& name, const Deed& deed) {
  for (int i = 0; i < 3; ++i)
    if (const Result<void> again = deed(); !again)
      wrong(fmt::format("{}, and there is enough again: {}", name, again.error()));
}

/// Does it with one more each time, until it goes well. `take` makes `n` of something be there;
/// `expected` is what may be said then.
void starve(const std::string& name, pid_t zygote, int first, const std::function<void(int)>& take,
            const std::function<void()>& give_back, const std::set<int>& expected,
            const Deed& deed) {
  recover(name, deed);
  const auto open = [&] {
    return std::pair(descriptors(0), zygote == 0 ? 0 : descriptors(zygote));
  };
  // The zygote tells an end before it closes the last descriptor of it.
  auto before = open();
  for (int quiet = 0; quiet < 20; ++quiet) {
    (void)::usleep(1000);
    if (const auto now = open(); now != before) before = now, quiet = 0;
  }
  constexpr int most = 100;
  int failed = 0;
  bool good = false;
  for (int n = first; n <= most && !good; ++n) {
    take(n);
    const Result<void> done = deed();
    give_back();
    good = done.has_value();
    if (!good) {
      ++failed;
      const Error& e = done.error();
      ++table[{name, e.step}];
      if (!expected.contains(e.errnum()) || e.subject.empty())
        wrong(fmt::format("{}, with {}: {}", name, n, e));
    }
    recover(fmt::format("{}, with {}", name, n), deed);
    // Fewer are as good: on a busy machine not all were closed when they were counted.
    for (int tries = 0;; ++tries) {
      const auto now = open();
      if (now.first <= before.first && now.second <= before.second) break;
      if (tries == 5000) {
        wrong(fmt::format("{}, with {}: {} descriptors and {} of the zygote; {} and {} before",
                          name, n, now.first, now.second, before.first, before.second));
        return;
      }
      (void)::usleep(1000);
    }
  }
  if (!good) wrong(name + ": never enough");
  if (failed == 0) wrong(name + ": always enough");
}

// ---- descriptors --------------------------------------------------------------------------------

void limit_files(pid_t process, rlim_t soft) {
  rlimit limit{};
  need(::prlimit(process, RLIMIT_NOFILE, nullptr, &limit) == 0, "prlimit");
  limit.rlim_cur = std::min(soft, limit.rlim_max);
  need(::prlimit(process, RLIMIT_NOFILE, &limit, nullptr) == 0, "prlimit");
}
void few_files(const std::string& name, pid_t process, pid_t zygote, const Deed& deed) {
  rlimit usual{};
  need(::prlimit(process, RLIMIT_NOFILE, nullptr, &usual) == 0, "prlimit");
  starve(
      name, zygote, 4, [&](int n) { limit_files(process, static_cast<rlim_t>(n)); },
      [&] { limit_files(process, usual.rlim_cur); }, {EMFILE}, deed);
}

void run_out_of_descriptors(const Runtime& runtime, const Spec& plain) {
  Spec rich = plain;
  rich.resources.memory_max = 64_MiB;
  rich.resources.pids_max = 20;
  rich.terminal.console = true;
  rich.process.init = true;
  rich.process.stdio = {Stream(Stream::pipe), Stream(Stream::capture), Stream(Stream::capture)};
  Spec shifted = plain;
  shifted.idmap = {
      .kind = IdMap::ranges, .uids = {{0, 100000, 65536}}, .gids = {{0, 100000, 65536}}};
  shifted.root.ephemeral = true;
  Spec pause = plain;
  pause.process.argv[1] = "pause";
  const Attach attach{.process = {.argv = {"/bin/payload", "exit", "0"}, .stdio = Stdio::null}};
  const Container box = need(runtime.launch(pause));
  const auto attached = [&]() -> Result<void> {
    auto task = box.attach(attach);
    if (!task) return tl::unexpected(task.error());
    return ended_well(task->wait());
  };
  const auto taken = [&]() -> Result<void> {
    auto pool = Pool::open(runtime, plain, {.size = 1});
    if (!pool) return tl::unexpected(pool.error());
    if (auto ok = pool->fill(); !ok) return tl::unexpected(ok.error());
    auto one = pool->take(Take{});
    if (!one) return tl::unexpected(one.error());
    return ended_well(one->wait());
  };
  Spec lives = plain;
  lives.process.argv[2] = "3";
  lives.lifecycle = {.restart = Restart::on_failure, .restart_limit = 1};
  const auto lived_again = [&] { return lived_twice(runtime, lives); };
  const pid_t zygote = runtime.zygote_pid().value;
  for (const auto& [of, process] : {std::pair{"host", pid_t{0}}, {"zygote", zygote}}) {
    const std::string who = fmt::format("descriptors of the {}: ", of);
    few_files(who + "launch", process, zygote, [&] { return launched(runtime, plain); });
    few_files(who + "launch with all", process, zygote, [&] { return launched(runtime, rich); });
    few_files(who + "launch with shifted owners", process, zygote,
              [&] { return launched(runtime, shifted); });
    few_files(who + "attach", process, zygote, attached);
    few_files(who + "pool", process, zygote, taken);
    if (process == 0) few_files(who + "next life", process, zygote, lived_again);
  }
}

// ---- disk ---------------------------------------------------------------------------------------

/// A file system of so many pages.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    need(::mkdir(path_.c_str(), 0700) == 0, path_);
    need(::mount("small", path_.c_str(), "tmpfs", 0,
                 fmt::format("size=64k,nr_inodes={},mode=0700", most_files).c_str()) == 0,
         "mount");
  }
  SmallDisk(const SmallDisk&) = delete;
  ~SmallDisk() {
    ::umount2(path_.c_str(), MNT_DETACH);
    ::rmdir(path_.c_str());
  }
  /// Leaves room for so many more files, whatever is in them.
  void fill_with_files(int left) const {
    clear();
    const std::string many = path_ + "/many";
    need(::mkdir(many.c_str(), 0700) == 0, many);
    int n = 0;
    while (::mknod(fmt::format("{}/{}", many, n).c_str(), S_IFREG | 0600, 0) == 0) ++n;
    for (int i = 0; i < std::min(n, left); ++i)
      need(::unlink(fmt::format("{}/{}", many, i).c_str()) == 0, many);
  }
  /// Leaves room for `pages`; of everything with less than nothing.
  void fill(int pages) const {
    clear();
    const Fd fd(::open((path_ + "/filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    need(fd.valid(), "filler");
    const std::string page(4096, 'x');
    while (::write(fd.get(), page.data(), page.size()) > 0) {
    }
    struct stat st {};
    need(::fstat(fd.get(), &st) == 0 &&
             ::ftruncate(fd.get(), std::max<off_t>(0, st.st_size - pages * 4096)) == 0,
         "filler");
  }
  void clear() const {
    ::unlink((path_ + "/filler").c_str());
    const std::string many = path_ + "/many";
    for (int n = 0; n < most_files; ++n) ::unlink(fmt::format("{}/{}", many, n).c_str());
    ::rmdir(many.c_str());
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  static constexpr int most_files = 64;
  std::string path_;
};

void run_out_of_disk(const Spec& plain, const std::string& directory) {
  const SmallDisk disk(directory + "/disk");
  const HostPath state(disk.path() + "/state");
  starve(
      "disk: a Runtime and a launch", 0, 0, [&](int n) { disk.fill(n); }, [&] { disk.clear(); },
      {ENOSPC},
      [&]() -> Result<void> {
        auto runtime = Runtime::open({.state_dir = state});
        if (!runtime) return tl::unexpected(runtime.error());
        return launched(*runtime, plain);
      });
  {
    const Runtime runtime = need(Runtime::open({.state_dir = state}));
    disk.fill(0);
    const auto done = launched(runtime, plain);
    if (done || done.error().errnum() != ENOSPC) wrong("a launch with a full disk");
    disk.clear();
    if (const auto again = launched(runtime, plain); !again) wrong(to_string(again.error()));
    disk.fill(0);  // whose places are there already
    if (const auto again = launched(runtime, plain); !again) wrong(to_string(again.error()));
    disk.clear();
  }
  {
    Spec kept = plain;
    kept.root.ephemeral = true;
    kept.root.upper = HostPath(disk.path() + "/upper");
    kept.root.work = HostPath(disk.path() + "/work");
    const Runtime runtime = need(Runtime::open());
    need(::mkdir((disk.path() + "/upper").c_str(), 0755) == 0, "upper");
    need(::mkdir((disk.path() + "/work").c_str(), 0755) == 0, "work");
    disk.fill(0);
    if (const auto done = launched(runtime, kept); !done) {
      ++table[{"disk: the upper layer", done.error().step}];
      if (done.error().errnum() != ENOSPC) wrong(to_string(done.error()));
    }
    disk.clear();
    if (const auto done = launched(runtime, kept); !done) wrong(to_string(done.error()));
    // What overlayfs itself makes below them.
    starve(
        "disk: files of the upper layer", runtime.zygote_pid().value, 0,
        [&](int n) { disk.fill_with_files(n); }, [&] { disk.clear(); }, {ENOSPC},
        [&] { return launched(runtime, kept); });
  }
}

// ---- processes and memory -----------------------------------------------------------------------

void write_file(const std::string& path, const std::string& text) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  need(fd.valid() && ::write(fd.get(), text.data(), text.size()) > 0, path);
}

/// The zygote in a cgroup of its own, which may have so many processes.
void run_out_of_processes(const Runtime& runtime, const Spec& plain, const std::string& pids) {
  const std::string cgroup = pids + fmt::format("/exhaustion-{}", ::getpid());
  need(::mkdir(cgroup.c_str(), 0755) == 0, cgroup);
  write_file(cgroup + "/cgroup.procs", fmt::format("{}", runtime.zygote_pid().value));
  Spec with_init = plain;
  with_init.process.init = true;
  const auto most = [&](const std::string& n) { write_file(cgroup + "/pids.max", n); };
  for (const auto& [name, spec] : {std::pair{"launch", &plain}, {"launch with init", &with_init}})
    starve(
        fmt::format("processes: {}", name), 0, 0, [&](int n) { most(fmt::format("{}", n)); },
        [&] { most("max"); }, {EAGAIN}, [&, spec = spec] { return launched(runtime, *spec); });
  write_file(pids + "/cgroup.procs", fmt::format("{}", runtime.zygote_pid().value));
  for (int tries = 0; ::rmdir(cgroup.c_str()) != 0; ++tries) {
    need(tries < 10000, cgroup);
    (void)::usleep(1000);
  }
}

/// A user's own limit, that counts all of his: the zygote's, as it is the zygote that clones.
void run_out_of_own_processes(const Runtime& runtime, const Spec& plain) {
  const pid_t zygote = runtime.zygote_pid().value;
  rlimit usual{};
  need(::prlimit(zygote, RLIMIT_NPROC, nullptr, &usual) == 0, "prlimit");
  const auto most = [&](rlim_t n) {
    const rlimit limit{n, usual.rlim_max};
    need(::prlimit(zygote, RLIMIT_NPROC, &limit, nullptr) == 0, "prlimit");
  };
  Spec with_init = plain, lives = plain;
  with_init.process.init = true;
  lives.process.argv[2] = "3";
  lives.lifecycle = {.restart = Restart::on_failure, .restart_limit = 1};
  const auto walk = [&](const char* name, const Deed& deed) {
    starve(
        fmt::format("own processes: {}", name), 0, 0,
        [&](int n) { most(std::min(static_cast<rlim_t>(n), usual.rlim_max)); },
        [&] { most(usual.rlim_cur); }, {EAGAIN}, deed);
  };
  walk("launch", [&] { return launched(runtime, plain); });
  walk("launch with init", [&] { return launched(runtime, with_init); });
  walk("next life", [&] { return lived_twice(runtime, lives); });
}

/// In a cgroup of a few pages: the kernel kills, and that is told.
void run_out_of_memory(const Runtime& runtime, const Spec& plain) {
  int killed = 0;
  for (std::uint64_t kib = 16; kib <= 16384; kib *= 2) {
    Spec spec = plain;
    spec.resources.memory_max = Bytes{kib * 1024};
    const auto done = launched(runtime, spec);
    if (done) break;
    ++killed;
    const Error& e = done.error();
    ++table[{"memory", e.step}];
    const bool told = e.is(Errc::child_vanished) || e.errnum() == ENOMEM || e.errnum() == EBUSY;
    if (!told || e.subject.empty()) wrong(fmt::format("memory of {} KiB: {}", kib, e));
    if (const auto again = launched(runtime, plain); !again)
      wrong(fmt::format("after a memory of {} KiB: {}", kib, again.error()));
  }
  if (killed == 0) wrong("memory: always enough");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view only = argc == 3 ? argv[2] : "";
  if (argc < 2) give_up("PAYLOAD");
  const bool of_user = only == "user";
  if (::geteuid() != 0 && !of_user) give_up("needs root");
  // Mounts are this process's alone.
  need(of_user || (::unshare(CLONE_NEWNS) == 0 &&
                   ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0),
       "mounts of its own");
  char name[] = "/var/tmp/exhaustion.XXXXXX";
  need(::mkdtemp(name) != nullptr && ::chmod(name, 0755) == 0, "mkdtemp");
  const std::string directory = name, root = directory + "/root";
  for (const char* made : {"", "/bin", "/dev", "/etc", "/proc", "/sys", "/tmp"})
    need(::mkdir((root + made).c_str(), 0755) == 0, root + made);
  const std::string copy = fmt::format("cp '{}' '{}/bin/payload'", argv[1], root);
  need(std::system(copy.c_str()) == 0, copy);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)

  Spec plain =
      ContainerBuilder{"starved"}.root(HostPath(root)).exec({"/bin/payload", "exit", "0"}).spec();
  plain.process.stdio = Stdio::null;
  if (of_user) run_out_of_own_processes(need(Runtime::open()), plain);
  if (only.empty()) {
    const Runtime runtime = need(Runtime::open());
    run_out_of_descriptors(runtime, plain);
    run_out_of_memory(runtime, plain);
    for (const auto& h : need(runtime.facts()).get().cgroups)
      if (std::ranges::find(h.controllers, "pids") != h.controllers.end()) {
        if (h.v2) write_file(h.mount_point + "/cgroup.subtree_control", "+pids");
        run_out_of_processes(runtime, plain, h.mount_point);
      }
  }
  if (!of_user) run_out_of_disk(plain, directory);
  const std::string remove = fmt::format("rm -r '{}'", directory);
  need(std::system(remove.c_str()) == 0, remove);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)

  int all = 0;
  for (const auto& [key, count] : table) {
    fmt::print("{:54}{:24}{:5}\n", key.first, to_string(key.second), count);
    all += count;
  }
  fmt::print("{} failures for want of something, {} of them wrong\n", all, failures);
  return failures == 0 ? 0 : 1;
}
