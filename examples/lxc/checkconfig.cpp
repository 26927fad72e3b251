// lxc-checkconfig: what a kernel was built with, in the words that scripts look for; or, tried,
// what works on this machine.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <condroid/host.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "say.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {0, "try", "", "Try it instead, and say what works here"},
    {0, "problems", "", "The same, only what does not work"},
    {0, "json", "", "The same, for programs"},
};

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool is_file(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

/// As it is, or what gzip(1) makes of it.
std::optional<std::string> read_config(const std::string& path) {
  constexpr std::string_view gzip_begins = "\x1f\x8b";
  std::string text = read_file(path);
  if (!text.starts_with(gzip_begins)) return text;
  // By a descriptor: what it is called is not for a shell to read.
  ::setenv("CONDROID_KERNEL_CONFIG", path.c_str(), 1);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(
      ::popen("exec gzip -dc <\"$CONDROID_KERNEL_CONFIG\"", "re"), &::pclose);
  text.clear();
  char some[4096];
  for (std::size_t n = 0; pipe && (n = std::fread(some, 1, sizeof some, pipe.get())) > 0;)
    text.append(some, n);
  if (text.empty()) return {};
  return text;
}

/// What was asked of the running kernel, where its configuration is nowhere. Nothing: that cannot
/// be.
class Running {
 public:
  [[nodiscard]] bool has(std::string_view name) {
    struct Way {
      std::string_view name;
      const char* file;     ///< Which is there then.
      const char* finding;  ///< Which works then.
    };
    constexpr Way ways[] = {
        {"NAMESPACES", "/proc/self/ns", nullptr},
        {"UTS_NS", "/proc/self/ns/uts", nullptr},
        {"IPC_NS", "/proc/self/ns/ipc", nullptr},
        {"PID_NS", "/proc/self/ns/pid", nullptr},
        {"USER_NS", "/proc/self/ns/user", nullptr},
        {"NET_NS", "/proc/self/ns/net", nullptr},
        {"CGROUPS", "/proc/cgroups", nullptr},
        {"CHECKPOINT_RESTORE", "/proc/sys/kernel/ns_last_pid", nullptr},
        {"EPOLL", "/proc/sys/fs/epoll", nullptr},
        {"SMP", "/sys/devices/system/cpu/cpu1", nullptr},
        {"FUSE_FS", "/sys/module/fuse", "image.fuse"},
        {"VETH", "/sys/module/veth", "net.veth"},
        {"MACVLAN", "/sys/module/macvlan", "net.macvlan"},
        {"VLAN_8021Q", "/sys/module/8021q", "net.vlan"},
        {"BRIDGE", "/sys/module/bridge", "net.bridge"},
        {"NETFILTER_ADVANCED", "/sys/module/nf_tables", "net.nftables"},
    };
    constexpr std::pair<std::string_view, std::string_view> controllers[] = {
        {"CGROUP_DEVICE", "devices"}, {"CGROUP_SCHED", "cpu"}, {"CGROUP_CPUACCT", "cpuacct"},
        {"MEMCG", "memory"},          {"CPUSETS", "cpuset"},
    };
    // Modules, and what is built in and told of by no file.
    constexpr std::pair<std::string_view, std::string_view> modules[] = {
        {"IP_NF_TARGET_MASQUERADE", "ipt_MASQUERADE"},
        {"IP6_NF_TARGET_MASQUERADE", "ip6t_MASQUERADE"},
        {"NETFILTER_XT_TARGET_CHECKSUM", "xt_CHECKSUM"},
        {"NETFILTER_XT_MATCH_COMMENT", "xt_comment"},
        {"UNIX_DIAG", "unix_diag"},
        {"INET_DIAG", "inet_diag"},
        {"PACKET_DIAG", "af_packet_diag"},
        {"NETLINK_DIAG", "netlink_diag"},
        {"FUSE_FS", "fuse"},
        {"VETH", "veth"},
        {"MACVLAN", "macvlan"},
        {"VLAN_8021Q", "8021q"},
        {"BRIDGE", "bridge"},
        {"NETFILTER_ADVANCED", "nf_tables"},
    };
    // Of every kernel that these programs run on.
    if (name == "FHANDLE" || name == "EVENTFD") return true;
    for (const auto& [option, controller] : controllers)
      if (option == name) return has_controller(controller);
    for (const Way& way : ways)
      if (way.name == name &&
          (::access(way.file, F_OK) == 0 || (way.finding != nullptr && works(way.finding))))
        return true;
    for (const auto& [option, module] : modules)
      if (option == name && has_module(module)) return true;
    return false;
  }

 private:
  [[nodiscard]] static bool has_controller(std::string_view name) {
    std::istringstream lines(read_file("/proc/cgroups"));
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(name) && line.substr(name.size()).starts_with('\t')) return true;
    return false;
  }
  [[nodiscard]] bool works(std::string_view finding) {
    if (!report_) report_ = Host::report();
    const Finding* const f = report_->find(finding);
    return f != nullptr && f->outcome == Finding::works;
  }
  [[nodiscard]] bool has_module(std::string_view name) {
    if (modules_.empty()) {
      utsname kernel{};
      ::uname(&kernel);
      for (const char* file : {"modules.builtin", "modules.dep"})
        modules_ += read_file(fmt::format("/lib/modules/{}/{}", kernel.release, file));
      modules_ += '\n';
    }
    return modules_.find(fmt::format("/{}.ko", name)) != std::string::npos;
  }

  std::optional<HostReport> report_;
  std::string modules_;
};

struct Version {
  int major = 0, minor = 0;
  [[nodiscard]] bool before(int other_major, int other_minor) const {
    return major < other_major || (major == other_major && minor < other_minor);
  }
};

/// Of the comment at its beginning; of a kernel 2.6.N the minor is N.
std::optional<Version> version_of(const std::string& config) {
  std::istringstream lines(config);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("# Linux") || line.find("Kernel Configuration") == line.npos) continue;
    std::istringstream words(line);
    for (std::string word; words >> word;) {
      int a = 0, b = 0, c = 0;
      if (std::sscanf(word.c_str(), "%d.%d.%d", &a, &b, &c) == 3)  // NOLINT(cert-err34-c)
        return Version{a, a == 2 ? c : b};
    }
  }
  return {};
}

class Check {
 public:
  Check(std::optional<std::string> config, Version kernel)
      : config_(std::move(config)), kernel_(kernel), colour_(::isatty(1) == 1) {
    for (std::istringstream lines(read_file("/proc/self/mounts")); !lines.eof();) {
      std::string line, device, where, type;
      std::getline(lines, line);
      std::istringstream(line) >> device >> where >> type;
      if (type == "cgroup") v1_.push_back(where);
      if (type == "cgroup2") v2_.push_back(where);
    }
    std::istringstream lines(read_file("/proc/modules"));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string name, size, count, users;
      words >> name >> size >> count >> users;
      loaded_ += name + " " + users + "\n";
    }
    knows_modules_ = is_file("/proc/modules");
  }

  void run() {
    namespaces();
    groups();
    misc();
    checkpoint();
  }

 private:
  enum Colour { green, yellow, red };
  void word(std::string_view text, Colour colour) const {
    constexpr std::string_view codes[] = {"\033[1;32m", "\033[1;33m", "\033[1;31m"};
    if (colour_)
      fmt::print("{}{}\033[0;39m", codes[colour], text);
    else
      fmt::print("{}", text);
  }
  [[nodiscard]] bool is_set(std::string_view name) {
    if (!config_) return running_.has(name);
    return config_->find(fmt::format("CONFIG_{}=y", name)) != std::string::npos ||
           config_->find(fmt::format("CONFIG_{}=m", name)) != std::string::npos;
  }
  bool show(bool on, bool required = false) const {
    if (on)
      word("enabled", green);
    else
      word(required ? "required" : "missing", required ? red : yellow);
    return on;
  }
  void line(std::string_view title, std::string_view name, bool required = false) {
    fmt::print("{}: ", title);
    show(is_set(name), required);
    fmt::print("\n");
  }
  void module_line(std::string_view title, std::string_view name, std::string_view module) {
    fmt::print("{}: ", title);
    if (show(is_set(name)) && knows_modules_)
      fmt::print(", {}loaded", loaded_.find(module) == std::string::npos ? "not " : "");
    fmt::print("\n");
  }
  /// Whether the program that writes id maps is there and may.
  static void helper(const std::string& name) {
    const char* const path = ::getenv("PATH");
    std::istringstream parts(path == nullptr ? "" : path);
    for (std::string part; std::getline(parts, part, ':');) {
      const std::string file = (part.empty() ? "." : part) + "/" + name;
      struct stat st {};
      if (!is_file(file) || ::access(file.c_str(), X_OK) != 0 || ::stat(file.c_str(), &st) != 0)
        continue;
      if ((st.st_mode & S_ISUID) == 0) fmt::print("Warning: {} is not setuid-root\n", name);
      return;
    }
    fmt::print("{} is not installed\n", name);
  }

  void namespaces() {
    fmt::print("\n--- Namespaces ---\n");
    line("Namespaces", "NAMESPACES", true);
    line("Utsname namespace", "UTS_NS");
    line("Ipc namespace", "IPC_NS", true);
    line("Pid namespace", "PID_NS", true);
    line("User namespace", "USER_NS");
    if (is_set("USER_NS")) {
      helper("newuidmap");
      helper("newgidmap");
    }
    line("Network namespace", "NET_NS");
    constexpr int major = 4, minor = 7;
    if (kernel_.before(major, minor))
      line("Multiple /dev/pts instances", "DEVPTS_MULTIPLE_INSTANCES");
    fmt::print("\n");
  }

  void controller(std::string_view name) {
    for (const std::string& one : v1_)
      if (one.find(fmt::format("/{}", name)) != one.npos) return;
    fmt::print("Cgroup v1 {} controller: ", name);
    word("missing", red);
    fmt::print("\n");
  }

  void groups() {
    fmt::print("--- Control groups ---\n");
    line("Cgroups", "CGROUPS");
    fmt::print("Cgroup namespace: ");
    show(is_file("/proc/self/ns/cgroup"));
    fmt::print("\nCgroup v1 mount points: \n");
    for (const std::string& one : v1_) fmt::print(" - {}\n", one);
    fmt::print("Cgroup v2 mount points: \n");
    for (const std::string& one : v2_) fmt::print(" - {}\n", one);
    if (v2_ != std::vector<std::string>{"/sys/fs/cgroup"}) {
      controller("systemd");
      controller("freezer");
      if (is_file((v1_.empty() ? "" : v1_[0]) + "/cgroup.clone_children")) {
        fmt::print("Cgroup v1 clone_children flag: ");
        word("enabled\n", green);
      }
    }
    line("Cgroup device", "CGROUP_DEVICE");
    line("Cgroup sched", "CGROUP_SCHED");
    line("Cgroup cpu account", "CGROUP_CPUACCT");
    constexpr int major = 3, minor = 6;
    line("Cgroup memory controller",
         kernel_.before(major, minor) ? "CGROUP_MEM_RES_CTLR" : "MEMCG");
    if (is_set("SMP")) {
      fmt::print("Cgroup cpuset: ");
      // Without it there is no empty line after it.
      if (show(is_set("CPUSETS"))) fmt::print("\n");
    }
    fmt::print("\n");
  }

  void misc() {
    fmt::print("--- Misc ---\n");
    module_line("Veth pair device", "VETH", "veth");
    module_line("Macvlan", "MACVLAN", "macvlan");
    module_line("Vlan", "VLAN_8021Q", "8021q");
    module_line("Bridges", "BRIDGE", "bridge");
    module_line("Advanced netfilter", "NETFILTER_ADVANCED", "nf_tables");
    constexpr int major = 3, minor = 6, without = 5;
    if (kernel_.major > major && kernel_.minor > minor && kernel_.major < without) {
      module_line("CONFIG_NF_NAT_IPV4", "NF_NAT_IPV4", "nf_nat_ipv4");
      module_line("CONFIG_NF_NAT_IPV6", "NF_NAT_IPV6", "nf_nat_ipv6");
    }
    module_line("CONFIG_IP_NF_TARGET_MASQUERADE", "IP_NF_TARGET_MASQUERADE",
                "nf_nat_masquerade_ipv4");
    module_line("CONFIG_IP6_NF_TARGET_MASQUERADE", "IP6_NF_TARGET_MASQUERADE",
                "nf_nat_masquerade_ipv6");
    module_line("CONFIG_NETFILTER_XT_TARGET_CHECKSUM", "NETFILTER_XT_TARGET_CHECKSUM",
                "xt_CHECKSUM");
    module_line("CONFIG_NETFILTER_XT_MATCH_COMMENT", "NETFILTER_XT_MATCH_COMMENT", "xt_comment");
    module_line("FUSE (for use with lxcfs)", "FUSE_FS", "fuse");
    fmt::print("\n");
  }

  void checkpoint() {
    fmt::print("--- Checkpoint/Restore ---\n");
    line("checkpoint restore", "CHECKPOINT_RESTORE");
    for (const char* one :
         {"FHANDLE", "EVENTFD", "EPOLL", "UNIX_DIAG", "INET_DIAG", "PACKET_DIAG", "NETLINK_DIAG"})
      line(fmt::format("CONFIG_{}", one), one);
    fmt::print("File capabilities: ");
    constexpr int old_major = 3, old_minor = 0, always = 33;
    if (kernel_.before(old_major, old_minor) && kernel_.minor < always) {
      show(is_set("SECURITY_FILE_CAPABILITIES"));
      fmt::print("\n");
    } else {
      word("enabled\n", green);
    }
    fmt::print(
        "\nNote : Before booting a new kernel, you can check its configuration\n"
        "usage : CONFIG=/path/to/config lxc-checkconfig\n\n");
  }

  std::optional<std::string> config_;
  Version kernel_;
  bool colour_;
  bool knows_modules_ = false;
  std::string loaded_;
  std::vector<std::string> v1_, v2_;
  Running running_;
};

int run(const Arguments& args) {
  if (args.has("try") || args.has("json") || args.has("problems")) {
    const HostReport report = Host::report();
    if (args.has("json"))
      fmt::print("{}\n", to_json(report));
    else
      fmt::print("{}",
                 to_text(report, {.colour = ::isatty(1) == 1, .problems = args.has("problems")}));
    return report.can_launch() ? 0 : 1;
  }
  fmt::print("LXC version {}\n", lxc_version);
  const char* const said = ::getenv("CONFIG");
  const bool named = said != nullptr && *said != '\0';
  std::string path = named ? said : "/proc/config.gz";
  utsname kernel{};
  ::uname(&kernel);
  std::optional<std::string> config;
  if (!is_file(path)) {
    fmt::print("Kernel configuration not found at {}; searching...\n", path);
    std::string found;
    for (const auto& one : {fmt::format("/boot/config-{}", kernel.release),
                            fmt::format("/lib/modules/{}/build/.config", kernel.release)})
      if (found.empty() && is_file(one)) found = one;
    if (!found.empty()) {
      fmt::print("Kernel configuration found at {}\n", found);
    } else if (named) {
      std::fflush(stdout);
      say("unable to retrieve kernel configuration: there is no file '{}'", path);
      return 1;
    } else {
      fmt::print("Kernel configuration found nowhere; asking the running kernel\n");
    }
    path = found;
  }
  if (!path.empty()) {
    config = read_config(path);
    if (!config) {
      std::fflush(stdout);
      say("'{}' cannot be read, or gzip cannot", path);
      return 1;
    }
  }
  auto version =
      version_of(config ? *config : fmt::format("# Linux {} Kernel Configuration", kernel.release));
  if (!version) {
    fmt::print("WARNING: Unable to detect version from configuration, assuming latest\n\n");
    constexpr int latest = 100;
    version = Version{latest, 0};
  }
  Check(std::move(config), *version).run();
  return 0;
}

}  // namespace

const Tool lxc_checkconfig = {
    .name = "lxc-checkconfig",
    .synopsis = "[--try | --problems | --json]",
    .brief =
        "Says what of LXC's list a kernel was built with; or tries what containers are made of, "
        "and "
        "says what works here and what mends the rest.",
    .options = options,
    .names = Tool::none,
    .more =
        "The configuration is the file that the variable CONFIG names, else /proc/config.gz, else "
        "that of the\nrunning kernel below /boot or /lib/modules. Where it is nowhere the kernel "
        "itself is asked.\n\n"
        "Exit status: 0; 1 when CONFIG names nothing and there is no other. With --try, "
        "--problems or --json: 0 when a\nplain container can be started, else 1.",
    .run = &run,
};
