#include "place.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condroid/control/monitor.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include "say.hpp"

using namespace condroid;

std::optional<lxc::SystemConfiguration> system_configuration() {
  const char* const home = ::getenv("HOME");
  auto system = lxc::SystemConfiguration::load(
      HostPath(::geteuid() == 0 || home == nullptr ? std::string("/etc/lxc/lxc.conf")
                                                   : fmt::format("{}/.config/lxc/lxc.conf", home)));
  if (system) return std::move(*system);
  say_error(system.error());
  return {};
}

std::string run_directory() {
  constexpr const char* usual = "/run";
  struct stat st {};
  if (::stat(usual, &st) == 0 && (st.st_uid == ::geteuid() || st.st_gid == ::getegid()))
    return usual;
  if (const char* const own = ::getenv("XDG_RUNTIME_DIR"); own != nullptr && *own != '\0')
    return own;
  const char* const home = ::getenv("HOME");
  return fmt::format("{}/.cache/lxc/run", home == nullptr ? "" : home);
}

std::optional<std::string> lxcpath_of(const Arguments& args) {
  std::string path = args.value("lxcpath");
  if (path.empty()) {
    const auto system = system_configuration();
    if (!system) return {};
    path = system->lxcpath.str();
  }
  // The name of the socket is made of the path as it is written, by all who look for it.
  return whole_path(std::move(path));
}

std::vector<std::string> lxcpaths_of(const Arguments& args) {
  std::vector<std::string> paths = args.values("lxcpath");
  if (std::ranges::any_of(paths, [](const std::string& p) { return p.empty(); })) paths.clear();
  for (std::string& one : paths) one = whole_path(std::move(one));
  if (!paths.empty()) return paths;
  auto path = lxcpath_of(args);
  if (path) paths.push_back(std::move(*path));
  return paths;
}

std::string whole_path(std::string path) {
  if (path.empty() || path.starts_with('/')) return path;
  const std::unique_ptr<char, decltype(&::free)> here(::getcwd(nullptr, 0), &::free);
  return here ? fmt::format("{}/{}", here.get(), path) : path;
}

Place::Place(std::string lxcpath, std::string name, std::string rcfile)
    : lxcpath_(std::move(lxcpath)),
      name_(std::move(name)),
      config_(rcfile.empty() ? directory() + "/config" : whole_path(std::move(rcfile))),
      client_(lxcpath_, name_) {}

std::optional<Place> Place::of(const Arguments& args) { return of(args, args.container()); }

std::optional<Place> Place::of(const Arguments& args, std::string name) {
  auto path = lxcpath_of(args);
  if (!path) return {};
  auto place = of_path(std::move(*path), std::move(name));
  if (!place) return {};
  return Place(place->lxcpath_, place->name_, args.value("rcfile"));
}

std::optional<Place> Place::of_path(std::string lxcpath, std::string name) {
  constexpr std::size_t longest = 255;
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos ||
      name.find('\n') != name.npos || name.size() > longest) {
    say("'{}' is no name of a container; it has 1 to {} bytes, no '/' and no end of a line", name,
        longest);
    return {};
  }
  return Place(std::move(lxcpath), std::move(name));
}

bool Place::defined() const { return ::access(config_.c_str(), F_OK) == 0; }

Result<control::State> Place::state() const {
  auto state = client_.state();
  if (!state && (state.error().is_errno(ECONNREFUSED) || state.error().is_errno(ECONNRESET)))
    return control::State::stopped;
  return state;
}

Result<void> Place::kill() const {
  auto ok = control::Client(lxcpath_, name_, std::chrono::milliseconds{-1}).stop();
  if (!ok) {
    const auto now = state();
    if (now && *now == control::State::stopped) return {};
  }
  return ok;
}

namespace {

constexpr std::chrono::seconds freezing_takes{10};

std::string read_file(int dir, const char* name) {
  const Fd file(::openat(dir, name, O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t n = file.valid() ? ::read(file.get(), text, sizeof text) : 0;
  return {text, static_cast<std::size_t>(n > 0 ? n : 0)};
}

/// For LXC's own where there are cgroups of version 1: its command for it knows version 2 alone.
Result<void> freeze_by_cgroup(const control::Client& client, bool on) {
  auto group = client.cgroup_fd("freezer");
  if (!group) return fail(group);
  const bool v2 = group->cgroup.v2;
  const char* const file = v2 ? "cgroup.freeze" : "freezer.state";
  const std::string_view word = v2 ? (on ? "1" : "0") : (on ? "FROZEN" : "THAWED");
  const Fd to(::openat(group->cgroup.dir.get(), file, O_WRONLY | O_CLOEXEC));
  if (!to.valid() || ::write(to.get(), word.data(), word.size()) < 0)
    return fail(errno, Step::command_socket, fmt::format("'{}' of its cgroup", file));
  const auto until = std::chrono::steady_clock::now() + freezing_takes;
  const std::string wanted = v2 ? (on ? "frozen 1" : "frozen 0") : std::string(word);
  while (read_file(group->cgroup.dir.get(), v2 ? "cgroup.events" : file).find(wanted) ==
         std::string::npos) {
    if (std::chrono::steady_clock::now() > until)
      return fail(Errc::deadline, Step::command_socket, "something in it does not stand still");
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
  return {};
}

}  // namespace

Result<void> Place::tell(control::State state) const {
  if (auto ok = client_.tell_state(state); !ok) return ok;
  (void)control::Monitor(control::monitor_fifo(run_directory(), lxcpath_), name_).tell(state);
  return {};
}

Result<void> Place::set_frozen(bool on) const {
  using control::State;
  const State wanted = on ? State::frozen : State::running;
  const auto done = on ? client_.freeze(freezing_takes) : client_.thaw(freezing_takes);
  if (!done && (done.error().is_errno(ENOENT) || done.error().is_errno(ENOSYS))) {
    if (auto ok = tell(on ? State::freezing : State::thawed); !ok) return ok;
    const auto by_cgroup = freeze_by_cgroup(client_, on);
    // What was not reached is taken back, and told so.
    const bool frozen = by_cgroup.has_value() == on;
    if (!by_cgroup && on) (void)freeze_by_cgroup(client_, false);
    if (auto ok = tell(frozen ? State::frozen : State::running); !ok && by_cgroup) return ok;
    return by_cgroup;
  }
  if (!done) return done;
  // LXC 5.0 freezes when it is told to, and does not take that for a state: who asked has to say
  // so. Ours has it already, and what ends meanwhile has another.
  const auto now = client_.state();
  if (now && *now == (on ? State::running : State::frozen)) return tell(wanted);
  return {};
}

std::optional<lxc::Configuration> Place::load() const {
  std::vector<lxc::Diagnostic> mistakes;
  auto config = lxc::Configuration::load(HostPath(config_), &mistakes);
  if (config) return std::move(*config);
  for (const lxc::Diagnostic& m : mistakes) say("{}", lxc::to_string(m));
  if (mistakes.empty()) say_error(config.error());
  return {};
}

bool apply_definitions(const Arguments& args, lxc::Configuration& config) {
  bool fine = true;
  for (const std::string& one : args.values("define")) {
    const auto ok = config.apply(one);
    if (ok) continue;
    say_error(ok.error());
    fine = false;
  }
  return fine;
}

std::vector<std::string> defined_names(const std::string& lxcpath) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(lxcpath.c_str()), &::closedir);
  while (const dirent* const entry = dir ? ::readdir(dir.get()) : nullptr) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && Place(lxcpath, name).defined()) names.push_back(name);
  }
  std::ranges::sort(names);
  return names;
}

std::string sockets_here() {
  std::ifstream file("/proc/net/unix");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> active_names(const std::string& lxcpath, const std::string& sockets) {
  std::set<std::string> addresses;
  std::istringstream file(sockets);
  constexpr std::string_view after = "/command";
  for (std::string line; std::getline(file, line);)
    if (const std::size_t at = line.find('@'); at != line.npos && line.ends_with(after))
      addresses.insert(line.substr(at + 1));
  std::vector<std::string> names;
  const std::string before = lxcpath + "/";
  for (const std::string& one : addresses) {
    if (!one.starts_with(before) || one.size() <= before.size() + after.size()) continue;
    std::string name = one.substr(before.size(), one.size() - before.size() - after.size());
    if (name.find('/') == name.npos) names.push_back(std::move(name));
  }
  // Where the path is too long for an address, it does not tell the name.
  for (const std::string& name : defined_names(lxcpath))
    if (const std::string at = control::command_address(lxcpath, name);
        at.starts_with("lxc/") && addresses.contains(at))
      names.push_back(name);
  std::ranges::sort(names);
  return names;
}
