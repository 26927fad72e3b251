#include "container_facts.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

namespace bench {
namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string link_of(const std::string& path) {
  std::error_code error;
  return fs::read_symlink(path, error).string();
}

// A read-only super block and a read-only mount of it are the same to the container.
std::string without_access(const std::string& super_options) {
  return super_options.size() > 2 ? super_options.substr(2) : "";
}

void add_mounts(const std::string& proc, std::set<std::string>* facts) {
  std::ifstream file(proc + "/mountinfo");
  std::string line;
  while (std::getline(file, line)) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream front(line.substr(0, dash));
    std::istringstream back(line.substr(dash + 3));
    std::string skip, root, target, options, tags, type, source, super_options;
    front >> skip >> skip >> skip >> root >> target >> options;
    std::getline(front, tags);
    back >> type >> source >> super_options;
    std::string fact = "mount " + target + " " + type + " of " + root + " " + options;
    fact += without_access(super_options);
    if (tags.find("shared:") != std::string::npos) fact += " shared";
    if (tags.find("master:") != std::string::npos) fact += " slave";
    facts->insert(fact);
  }
}

void add_nodes(const std::string& dev, std::set<std::string>* facts) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(dev, error), end; !error && it != end;
       it.increment(error)) {
    struct stat st {};
    if (::lstat(it->path().c_str(), &st) != 0) continue;
    std::ostringstream fact;
    fact << "node " << it->path().string().substr(dev.size()) << " mode " << std::oct << st.st_mode
         << std::dec << " " << major(st.st_rdev) << ":" << minor(st.st_rdev) << " owner "
         << st.st_uid << ":" << st.st_gid;
    if (S_ISLNK(st.st_mode)) fact << " to " << link_of(it->path().string());
    facts->insert(fact.str());
  }
}

void add_status(const std::string& proc, std::set<std::string>* facts) {
  static const std::vector<std::string> wanted = {
      "Umask",  "Uid",    "Gid",    "Groups", "SigBlk",     "SigIgn",  "CapInh",
      "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed"};
  std::ifstream file(proc + "/status");
  std::string line;
  while (std::getline(file, line)) {
    const std::string key = line.substr(0, line.find(':'));
    if (std::find(wanted.begin(), wanted.end(), key) != wanted.end()) facts->insert(line);
  }
}

void add_namespaces(const std::string& proc, std::set<std::string>* facts) {
  for (const char* kind : {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}) {
    const std::string path = std::string("/ns/") + kind;
    const bool own = link_of(proc + path) != link_of("/proc/self" + path);
    facts->insert(std::string("namespace ") + kind + (own ? " own" : " of the host"));
  }
}

}  // namespace

std::set<std::string> container_facts(pid_t pid, const std::string& command) {
  const std::string proc = "/proc/" + std::to_string(pid);
  for (int waited = 0; first_line(proc + "/comm") != command; ++waited) {
    if (waited == 1000) return {};
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::set<std::string> facts;
  add_mounts(proc, &facts);
  add_nodes(proc + "/root/dev", &facts);
  add_status(proc, &facts);
  add_namespaces(proc, &facts);
  for (const char* map : {"uid_map", "gid_map"})
    facts.insert(std::string(map) + " " + first_line(proc + "/" + map));
  std::error_code error;
  for (fs::directory_iterator it(proc + "/fd", error), end; !error && it != end;
       it.increment(error))
    facts.insert("descriptor " + it->path().filename().string());
  if (::getsid(pid) == pid) facts.insert("leads a session");
  return facts;
}

std::string differences(const std::string& a_name, const std::set<std::string>& a,
                        const std::string& b_name, const std::set<std::string>& b,
                        std::size_t* count) {
  std::string out;
  *count = 0;
  const auto add = [&](const std::string& name, const std::set<std::string>& from,
                       const std::set<std::string>& without) {
    std::vector<std::string> only;
    std::set_difference(from.begin(), from.end(), without.begin(), without.end(),
                        std::back_inserter(only));
    *count += only.size();
    for (const std::string& fact : only)
      out += (out.empty() ? "only " : "; only ") + name + ": " + fact;
  };
  add(a_name, a, b);
  add(b_name, b, a);
  std::replace(out.begin(), out.end(), '\t', ' ');
  if (out.size() > 400) out = out.substr(0, 400) + " ...";
  return out;
}

}  // namespace bench
