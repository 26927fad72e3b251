// What tests of whole containers need: a root file system with nothing in it but the program
// `payload`, launches of its verbs, what it reported, and what is left of it afterwards.
//
//   const TempRoot root;
//   const Report seen = run(payload(root, {"probe"}));
//   CHECK(seen["hostname"] == "test");
//   CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "'/no/such'"));
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <ftw.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "condroid/builder.hpp"
#include "condroid/runtime.hpp"
#include "in_child.hpp"
#include "sys/mountinfo.hpp"
#include "sys_matchers.hpp"

namespace condroid::test {

// ---- files -------------------------------------------------------------------------------------

/// What is in a file, or as much of it as can be read: nothing for a file of /proc whose process is
/// gone. (A std::ifstream throws where read(2) fails.)
inline std::string read_file(const std::string& path) {
  std::string all;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char some[16 * 1024];
  for (ssize_t n = 0; fd && (n = ::read(fd.get(), some, sizeof some)) > 0;)
    all.append(some, static_cast<std::size_t>(n));
  return all;
}
inline void make_file(const std::string& path, std::string_view text, mode_t mode = 0644) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  must(fd && ::fchmod(fd.get(), mode) == 0 &&
           ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()),
       path);
}
inline void make_dir(const std::string& path, mode_t mode = 0755) {
  must(::mkdir(path.c_str(), mode) == 0 && ::chmod(path.c_str(), mode) == 0, path);
}
inline std::vector<MountEntry> mounts_now() {
  return detail::parse_mountinfo(read_file("/proc/self/mountinfo"));
}

/// A directory below /tmp that goes with the handle, with all that is in it. Never through a mount:
/// one that a bug left behind is reported, not emptied.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/test-files.XXXXXX";
    must(::mkdtemp(name) != nullptr && ::chmod(name, 0755) == 0, "mkdtemp");
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    for (const auto& m : mounts_now())
      if (m.target.starts_with(path_ + "/") || m.target == path_) {
        std::fprintf(stderr, "%s is still mounted: %s stays\n", m.target.c_str(), path_.c_str());
        return;
      }
    constexpr int descriptors = 32;
    ::nftw(
        path_.c_str(),
        [](const char* path, const struct stat*, int, struct FTW*) {
          (void)std::remove(path);
          return 0;
        },
        descriptors, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
  }
  [[nodiscard]] const std::string& str() const noexcept { return path_; }
  [[nodiscard]] std::string operator/(std::string_view name) const {
    return fmt::format("{}/{}", path_, name);
  }
  [[nodiscard]] HostPath host() const { return HostPath(path_); }
  [[nodiscard]] HostPath host(std::string_view name) const { return host() / name; }

 private:
  std::string path_;
};

/// A root file system: /bin/payload, empty directories, and a /data with two files.
class TempRoot : public TempDir {
 public:
  TempRoot() {
    for (const char* name : {"bin", "dev", "etc", "mnt", "proc", "sys"}) make_dir(*this / name);
    make_dir(*this / "tmp", 01777);
    make_dir(*this / "data");
    make_file(*this / "data/file", "original\n");
    make_file(*this / "etc/hostname", "nobody asked\n");
    make_file(*this / "bin/payload", program(), 0755);
  }

 private:
  static const std::string& program() {
    static const std::string bytes = read_file(CONDROID_PAYLOAD);
    return bytes;
  }
};

/// Every file below a directory with owner, mode, size, times and content, one line each: two that
/// are equal were not touched in between. Access times are left out.
inline std::string fingerprint(const std::string& path) {
  static std::map<std::string, std::string> found;
  found.clear();
  constexpr int descriptors = 32;
  ::nftw(
      path.c_str(),
      [](const char* name, const struct stat* st, int kind, struct FTW*) {
        std::string content;
        if (kind == FTW_F && S_ISREG(st->st_mode))
          content = fmt::format("{:x}", std::hash<std::string>{}(read_file(name)));
        if (kind == FTW_SL) {
          char to[4096];
          const ssize_t n = ::readlink(name, to, sizeof to);
          content.assign(to, n > 0 ? static_cast<std::size_t>(n) : 0);
        }
        found[name] =
            fmt::format("{:o} {}:{} {} {} {}.{} {}.{} {}", st->st_mode, st->st_uid, st->st_gid,
                        st->st_ino, st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec,
                        st->st_ctim.tv_sec, st->st_ctim.tv_nsec, content);
        return 0;
      },
      descriptors, FTW_PHYS | FTW_MOUNT);
  std::string text;
  for (const auto& [name, line] : found) text += name + " " + line + "\n";
  return text;
}

// ---- launches ----------------------------------------------------------------------------------

/// The one of this process; a forked child gets one of its own.
inline const Runtime& runtime() {
  static std::map<pid_t, Runtime> all;
  const auto found = all.find(::getpid());
  if (found != all.end()) return found->second;
  // A state directory that nobody else uses: what is left in it is ours.
  auto opened =
      Runtime::open({.state_dir = HostPath(fmt::format("/tmp/test-state-{}", ::getpid()))});
  if (!opened) throw std::runtime_error(to_string(opened.error()));
  return all.emplace(::getpid(), std::move(*opened)).first->second;
}
inline const HostFacts& facts() {
  auto f = runtime().facts();
  if (!f) throw std::runtime_error(to_string(f.error()));
  return f->get();
}

/// This user may do here what root of the machine may.
inline bool privileged() { return facts().privileged() && facts().initial_user_namespace; }
/// One user and one group is all that this user can map.
inline bool alone() { return !facts().privileged() && facts().subuids.empty(); }
/// The hierarchy with that controller; none where this machine has none.
inline const CgroupHierarchy* hierarchy_of(std::string_view controller) {
  for (const CgroupHierarchy& h : facts().cgroups)
    if (std::ranges::find(h.controllers, controller) != h.controllers.end()) return &h;
  return nullptr;
}
/// How much slower than a real machine this one is: an emulated one is told so.
inline int slow() {
  const char* text = std::getenv("CONDROID_SLOW");
  return text != nullptr ? std::max(1, std::atoi(text)) : 1;
}

/// The verb of payload with its arguments, output captured.
inline Spec payload(std::vector<std::string> args) {
  Spec spec;
  spec.name = "test";
  args.insert(args.begin(), "/bin/payload");
  spec.process.argv = std::move(args);
  spec.process.stdio = Stdio::capture;
  return spec;
}
inline Spec payload(const TempDir& root, std::vector<std::string> args) {
  Spec spec = payload(std::move(args));
  spec.root.path = root.host();
  return spec;
}

/// Launches; a failure ends the test with the whole Error.
inline Container launch(const Spec& spec, LaunchOptions options = {}) {
  auto box = runtime().launch(spec, std::move(options));
  if (!box) throw std::runtime_error(to_string(box.error()));
  return std::move(*box);
}
inline Exit wait(Container& box) {
  constexpr std::chrono::seconds patience{20};
  auto done = box.wait_for(patience);
  if (!done) throw std::runtime_error(to_string(done.error()));
  if (!*done) throw std::runtime_error("the container did not end");
  return std::move(**done);
}
inline Exit launch_and_wait(const Spec& spec) {
  Container box = launch(spec);
  return wait(box);
}

/// What payload printed: lines "key=value".
class Report {
 public:
  explicit Report(Exit exit) : exit_(std::move(exit)) {
    std::size_t at = 0;
    while (at < exit_.out.size()) {
      const std::size_t end = std::min(exit_.out.find('\n', at), exit_.out.size());
      const std::string line = exit_.out.substr(at, end - at);
      const std::size_t sign = line.find('=');
      if (sign != std::string::npos)
        lines_.emplace_back(line.substr(0, sign), line.substr(sign + 1));
      at = end + 1;
    }
  }
  [[nodiscard]] const Exit& exit() const noexcept { return exit_; }
  /// The first value of a key, "(missing)" without one.
  [[nodiscard]] std::string operator[](std::string_view key) const {
    for (const auto& [k, value] : lines_)
      if (k == key) return value;
    return "(missing)";
  }
  [[nodiscard]] std::vector<std::string> all(std::string_view key) const {
    std::vector<std::string> list;
    for (const auto& [k, value] : lines_)
      if (k == key) list.push_back(value);
    return list;
  }
  /// The values of all keys with this beginning, as "rest=value".
  [[nodiscard]] std::vector<std::string> below(std::string_view prefix) const {
    std::vector<std::string> list;
    for (const auto& [k, value] : lines_)
      if (k.starts_with(prefix)) list.push_back(k.substr(prefix.size()) + "=" + value);
    return list;
  }
  /// What is mounted on top there, of "probe": "tmpfs rw,nosuid,relatime private".
  [[nodiscard]] std::string mount(std::string_view target) const {
    std::string found = "(not mounted)";
    for (const auto& [k, value] : lines_)
      if (k == "mount" && value.starts_with(target) && value.size() > target.size() &&
          value[target.size()] == ' ')
        found = value.substr(target.size() + 1);
    return found;
  }

 private:
  Exit exit_;
  std::vector<std::pair<std::string, std::string>> lines_ = {};
};

/// Runs it to its end; it must end well and say nothing on stderr.
inline Report run(const Spec& spec) {
  Exit e = launch_and_wait(spec);
  if (!e.success() || !e.err.empty() || !e.cleanup_errors.empty())
    throw std::runtime_error(fmt::format("{}, stderr '{}', stdout '{}'", e, e.err, e.out));
  return Report(std::move(e));
}

/// The namespace of this process: "net:[4026531840]", as payload reports its own.
inline std::string own_namespace(std::string_view name, std::string_view pid = "self") {
  char to[64];
  const std::string path = fmt::format("/proc/{}/ns/{}", pid, name);
  const ssize_t n = ::readlink(path.c_str(), to, sizeof to);
  return {to, n > 0 ? static_cast<std::size_t>(n) : 0};
}

/// The mounts of a container, as the kernel tells them from outside; with more than "probe" tells.
inline std::vector<MountEntry> mounts_of(const Container& box) {
  return detail::parse_mountinfo(read_file(fmt::format("/proc/{}/mountinfo", box.pid().value)));
}

/// What is written to a descriptor of the host until `text` is among it, or all of it.
inline std::string read_until(FdView fd, std::string_view text) {
  std::string all;
  constexpr int patience_ms = 10000;
  for (char buffer[4096]; text.empty() || all.find(text) == std::string::npos;) {
    pollfd waiter{fd.get(), POLLIN, 0};
    if (::poll(&waiter, 1, patience_ms) != 1)
      throw std::runtime_error(fmt::format("nothing more than '{}' came", all));
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n <= 0) break;  // EIO is the end of a terminal
    all.append(buffer, static_cast<std::size_t>(n));
  }
  return all;
}
inline std::string read_all(FdView fd) { return read_until(fd, {}); }
inline void write_to(FdView fd, std::string_view text) {
  must(::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()), "write");
}

/// Steps until the launch is over, or stopped before the op that was asked for, unless that is no
/// end.
inline Result<std::optional<Container>> drive(Launch& launch, bool to_the_end = false) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  for (;;) {
    auto done = launch.step();
    if (!done || *done || (launch.stopped() && !to_the_end)) return done;
    if (std::chrono::steady_clock::now() > until) throw std::runtime_error("the launch hangs");
    const auto [fd, events] = launch.interest();
    pollfd waiter{fd.get(), events, 0};
    const int most = launch.timeout();
    (void)::poll(&waiter, 1, most < 0 ? 1000 : std::min(most, 1000));
  }
}

// ---- failures ----------------------------------------------------------------------------------

/// Nothing if there was no failure.
struct Failure {
  std::optional<Error> error = {};
};
template <class T>
Failure failure_of(const Result<T>& result) {
  return result ? Failure{} : Failure{result.error()};
}
/// Launches what should not come to life.
inline Failure attempt(const Spec& spec, LaunchOptions options = {}) {
  return failure_of(runtime().launch(spec, std::move(options)));
}

/// The code, the step, and words of the subject or of the further refusals.
class FailsWith final : public Catch::Matchers::MatcherBase<Failure> {
 public:
  FailsWith(int errnum, Step step, std::string words = {})
      : code_(errnum, std::system_category()), step_(step), words_(std::move(words)) {}
  FailsWith(Errc code, Step step, std::string words = {})
      : code_(make_error_code(code)), step_(step), words_(std::move(words)) {}
  bool match(const Failure& f) const override {
    return f.error && f.error->code == code_ && f.error->step == step_ && said(*f.error);
  }
  std::string describe() const override {
    return fmt::format("fails with {} ({}) at '{}', naming \"{}\"", code_.message(), code_.value(),
                       to_string(step_), words_);
  }

 private:
  bool said(const Error& e) const {
    return e.subject.find(words_) != std::string::npos ||
           std::ranges::any_of(
               e.also, [&](const std::string& a) { return a.find(words_) != std::string::npos; });
  }
  std::error_code code_;
  Step step_;
  std::string words_;
};

// ---- what is left ------------------------------------------------------------------------------

/// Not ended; a zombie has, whose parent did not look yet.
inline bool is_alive(pid_t pid) {
  const std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
  const std::size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.compare(name_end, 3, ") Z") != 0 &&
         stat.compare(name_end, 3, ") X") != 0;
}

/// The name that a process gave itself; empty when it has ended.
inline std::string name_of(pid_t pid) {
  std::string name = read_file(fmt::format("/proc/{}/comm", pid));
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

/// Children of a process, by /proc.
inline std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> list;
  DIR* d = ::opendir("/proc");
  if (d == nullptr) return list;
  while (const dirent* e = ::readdir(d)) {
    if (e->d_name[0] < '0' || e->d_name[0] > '9') continue;
    std::string stat;
    try {
      stat = read_file(fmt::format("/proc/{}/stat", e->d_name));
    } catch (const std::ios_base::failure&) {
      continue;  // it ended between open(2) and read(2)
    }
    const std::size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos) continue;
    int of = 0;
    if (std::sscanf(stat.c_str() + name_end, ") %*c %d", &of) == 1 && of == parent)
      list.push_back(std::atoi(e->d_name));
  }
  ::closedir(d);
  return list;
}

/// What the zygote of this process has cloned and not reaped: first processes of containers, and
/// what was attached. Not the helper that waits for the next attach: it is another one each time.
inline std::vector<pid_t> processes_of_zygote() {
  std::vector<pid_t> list = children_of(runtime().zygote_pid().value);
  std::erase_if(list, [](pid_t child) { return name_of(child) == "condroid-helper"; });
  return list;
}

inline std::vector<std::string> entries_of(const std::string& path) {
  std::vector<std::string> list;
  DIR* d = ::opendir(path.c_str());
  if (d == nullptr) return list;
  while (const dirent* e = ::readdir(d))
    if (std::string_view(e->d_name) != "." && std::string_view(e->d_name) != "..")
      list.emplace_back(e->d_name);
  ::closedir(d);
  std::ranges::sort(list);
  return list;
}

/// The cgroups of containers of this process, in every hierarchy. Its state file, which names its
/// Runtime's cgroups, too, is mapped.
inline std::vector<std::string> own_cgroups() {
  const std::string maps = read_file("/proc/self/maps");
  std::vector<std::string> list;
  for (const std::string& id : entries_of(facts().state_dir)) {
    if (maps.find(id) == std::string::npos) continue;
    for (const auto& h : facts().cgroups)
      for (const std::string& parent :
           {h.mount_point, h.mount_point + (h.own_path == "/" ? "" : h.own_path)})
        for (const std::string& e : entries_of(parent + "/" + id)) {
          struct stat st {};
          const std::string path = fmt::format("{}/{}/{}", parent, id, e);
          if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) list.push_back(path);
        }
  }
  std::ranges::sort(list);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

/// What a container could leave behind. Two that are equal: it left nothing.
struct Surroundings {
  std::vector<std::string> descriptors = {};  ///< Of this process.
  int detached_mounts = 0;                    ///< Descriptors of them.
  std::size_t zygote_descriptors = 0;         ///< 0 where this user may not look.
  std::size_t mounts = 0;
  std::vector<std::string> cgroups = {};
  std::vector<pid_t> children = {};     ///< Of this process and of the zygote.
  std::vector<std::string> state = {};  ///< Files of the state directory.

  static Surroundings now() {
    Surroundings s;
    const int zygote = runtime().zygote_pid().value;
    s.cgroups = own_cgroups();
    s.mounts = mounts_now().size();
    for (const std::string& fd : entries_of("/proc/self/fd")) {
      char to[256];
      const ssize_t n = ::readlink(("/proc/self/fd/" + fd).c_str(), to, sizeof to);
      const std::string_view where(to, n > 0 ? static_cast<std::size_t>(n) : 0);
      if (where == "/")
        ++s.detached_mounts;
      else if (n > 0)
        s.descriptors.push_back(fd + ":" + std::string(where));
    }
    s.zygote_descriptors = entries_of(fmt::format("/proc/{}/fd", zygote)).size();
    s.children = children_of(::getpid());
    const auto zygotes = processes_of_zygote();
    s.children.insert(s.children.end(), zygotes.begin(), zygotes.end());
    s.state = entries_of(facts().state_dir);
    return s;
  }
  /// Once what went before has settled.
  static Surroundings quiet() {
    Surroundings last, s = now();
    for (int i = 0; i < 100 && s != last; ++i) {
      last = std::move(s);
      ::usleep(20000);
      s = now();
    }
    return s;
  }
  /// The same as `before`, if that comes about soon: the zygote closes what it had in its own time.
  static Surroundings settled(const Surroundings& before) {
    for (int i = 0;; ++i) {
      Surroundings s = now();
      // Less is as good: on a busy machine it had not closed all of it when `before` was taken.
      s.zygote_descriptors = std::max(s.zygote_descriptors, before.zygote_descriptors);
      if (is_part(s.children, before.children)) s.children = before.children;
      if (is_part(s.cgroups, before.cgroups)) s.cgroups = before.cgroups;
      if (s == before || i == 500) return s;
      ::usleep(10000);
    }
  }
  template <class List>
  static bool is_part(const List& small, const List& large) {
    return std::ranges::all_of(
        small, [&](const auto& one) { return std::ranges::find(large, one) != large.end(); });
  }
  /// A Runtime may have a /dev ready, or have just given it away: one detached mount more or less
  /// is the same.
  bool operator==(const Surroundings& o) const {
    return std::abs(detached_mounts - o.detached_mounts) <= 1 && descriptors == o.descriptors &&
           zygote_descriptors == o.zygote_descriptors && mounts == o.mounts &&
           cgroups == o.cgroups && children == o.children && state == o.state;
  }
};

inline std::string to_text(const Surroundings& s) {
  return fmt::format(
      "descriptors {} and {} detached mounts ({} of the zygote), {} mounts, cgroups {}, children "
      "{}, state {}",
      fmt::join(s.descriptors, " "), s.detached_mounts, s.zygote_descriptors, s.mounts,
      fmt::join(s.cgroups, " "), fmt::join(s.children, " "), fmt::join(s.state, " "));
}

}  // namespace condroid::test

template <>
struct Catch::StringMaker<condroid::test::Failure> {
  static std::string convert(const condroid::test::Failure& f) {
    if (!f.error) return "no failure";
    std::string text = to_string(*f.error);
    for (const std::string& a : f.error->also) text += "\n  also: " + a;
    return text;
  }
};
template <>
struct Catch::StringMaker<condroid::Exit> {
  static std::string convert(const condroid::Exit& e) { return to_string(e); }
};
template <>
struct Catch::StringMaker<condroid::test::Surroundings> {
  static std::string convert(const condroid::test::Surroundings& s) { return to_text(s); }
};
