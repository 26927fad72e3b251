#include "scratch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace bench {
namespace {

namespace fs = std::filesystem;

bool write_file(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return good;
}

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Removes a cgroup directory with all below it. Their processes were killed a moment ago and may
// still be leaving.
void remove_cgroup(const std::string& path) {
  for (int attempt = 0; attempt < 40; ++attempt) {
    write_file(path + "/cgroup.kill", "1");
    std::vector<std::string> below;
    std::error_code error;
    for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
         it.increment(error)) {
      if (it->is_directory(error)) below.push_back(it->path().string());
    }
    for (auto it = below.rbegin(); it != below.rend(); ++it) ::rmdir(it->c_str());
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace

Scratch::~Scratch() {
  if (lifeline_ >= 0) ::close(lifeline_);
  if (guardian_ > 0) ::waitpid(guardian_, nullptr, 0);
}

bool Scratch::open(const std::vector<std::string>& payloads, std::string* error) {
  std::error_code code;
  const fs::path base = fs::temp_directory_path(code);
  std::string pattern = (code ? fs::path("/tmp") : base).string() + "/condroid-bench.XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr)
    return *error = "mkdtemp " + pattern + ": " + std::strerror(errno), false;
  directory_ = pattern;
  make_cgroups();
  return start_guardian(error) && make_root(payloads, error);
}

bool Scratch::make_root(const std::vector<std::string>& payloads, std::string* error) {
  // A container with an id map looks into it as a stranger.
  ::chmod(directory_.c_str(), 0755);
  std::error_code code;
  for (const char* name : {"dev", "proc", "sys", "tmp", "etc"}) {
    fs::create_directories(root() + "/" + name, code);
    if (code) return *error = root() + "/" + name + ": " + code.message(), false;
  }
  for (const std::string& payload : payloads) {
    const fs::path from(payload);
    std::string name = from.filename().string();
    // "condroid-bench-true" is "/true" in the container.
    name = name.substr(name.rfind('-') + 1);
    const std::string to = root() + "/" + name;
    fs::copy_file(from, to, code);
    if (code) return *error = payload + ": " + code.message(), false;
    ::chmod(to.c_str(), 0755);
  }
  return true;
}

void Scratch::make_cgroups() {
  cgroup_name_ = "condroid-bench." + std::to_string(::getpid());
  std::ifstream mounts("/proc/self/mountinfo");
  std::string line;
  while (std::getline(mounts, line)) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream front(line.substr(0, dash));
    std::istringstream back(line.substr(dash + 3));
    std::string skip;
    std::string mount_point;
    std::string type;
    front >> skip >> skip >> skip >> skip >> mount_point;
    back >> type;
    if (type != "cgroup" && type != "cgroup2") continue;
    const std::string path = mount_point + "/" + cgroup_name_;
    if (::mkdir(path.c_str(), 0755) != 0) {
      cgroup_error_ = path + ": " + std::strerror(errno);
      continue;
    }
    cgroups_.push_back(path);
    if (type == "cgroup2") {
      cgroup_v2_ = path;
      const std::string with_controllers = path + ".limits";
      if (::mkdir(with_controllers.c_str(), 0755) == 0) cgroups_.push_back(with_controllers);
      continue;
    }
    // A v1 cpuset takes nobody in before it has processors and memory nodes; with clone_children
    // what is made below inherits them (cpuset(7)).
    if (::access((path + "/cpuset.cpus").c_str(), F_OK) == 0) {
      write_file(path + "/cpuset.cpus", read_line(mount_point + "/cpuset.cpus"));
      write_file(path + "/cpuset.mems", read_line(mount_point + "/cpuset.mems"));
      write_file(path + "/cgroup.clone_children", "1");
    }
  }
  if (cgroup_v2_.empty() && cgroup_error_.empty()) cgroup_error_ = "no cgroup v2 tree is mounted";
}

std::string Scratch::cgroup_in(const std::string& mount_point,
                               const std::vector<std::string>& controllers) const {
  const std::string path =
      mount_point + "/" + cgroup_name_ + (controllers.empty() ? "" : ".limits");
  if (::access(path.c_str(), F_OK) != 0) return "";
  for (const std::string& c : controllers) {
    // The upper one is on already wherever something like systemd manages the tree.
    write_file(mount_point + "/cgroup.subtree_control", "+" + c);
    if (!write_file(path + "/cgroup.subtree_control", "+" + c)) return "";
  }
  return path;
}

std::vector<std::string> Scratch::cgroups_to_enter() const {
  std::vector<std::string> all;
  for (const std::string& path : cgroups_)
    if (!path.ends_with(".limits")) all.push_back(path);
  return all;
}

bool Scratch::start_guardian(std::string* error) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return *error = "pipe", false;
  guardian_ = ::fork();
  if (guardian_ < 0) return *error = std::string("fork: ") + std::strerror(errno), false;
  if (guardian_ > 0) {
    ::close(ends[0]);
    lifeline_ = ends[1];
    return true;
  }
  // Ctrl-C and the like are for the harness; its end, whatever the reason, is the end of the
  // lifeline.
  ::setsid();
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(s, SIG_IGN);
  ::close(ends[1]);
  char byte = 0;
  while (::read(ends[0], &byte, 1) < 0 && errno == EINTR) {
  }
  for (const std::string& path : cgroups_) remove_cgroup(path);
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
  ::_exit(0);
}

}  // namespace bench
