#include "script.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "say.hpp"

using namespace condroid;

int run_program(const std::vector<std::string>& argv, const std::vector<std::string>& env) {
  const auto pointers = [](const std::vector<std::string>& from) {
    std::vector<char*> all;
    all.reserve(from.size() + 1);
    for (const std::string& one : from) all.push_back(const_cast<char*>(one.c_str()));
    all.push_back(nullptr);
    return all;
  };
  // What is said here is not to be told otherwise by a hook of another container that calls us.
  std::vector<std::string> whole = env;
  for (char** e = environ; *e != nullptr; ++e) {
    const std::string_view entry = *e;
    const std::string_view name = entry.substr(0, entry.find('=') + 1);
    const bool said = std::ranges::any_of(
        env, [name](const std::string& one) { return !name.empty() && one.starts_with(name); });
    if (!said && !(entry.starts_with("LXC_") && !env.empty())) whole.emplace_back(entry);
  }
  pid_t pid = 0;
  if (::posix_spawnp(&pid, argv[0].c_str(), nullptr, nullptr, pointers(argv).data(),
                     pointers(whole).data()) != 0)
    return -1;
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return -1;
  return status;
}

bool run_scripts(const Place& place, const lxc::Configuration& config, const lxc::Program& program,
                 std::string_view when) {
  for (const lxc::Hook& hook : program.hooks) {
    if (hook.when != when) continue;
    std::vector<std::string> argv = {"/bin/sh", "-c", fmt::format("exec {} \"$@\"", hook.command),
                                     "sh"};
    if (program.hook_version == 0)
      for (std::string word : {place.name(), std::string("lxc"), hook.when})
        argv.push_back(std::move(word));
    std::vector<std::string> told;
    told.push_back("LXC_NAME=" + place.name());
    told.push_back("LXC_CONFIG_FILE=" + place.config_file());
    told.push_back(fmt::format("LXC_HOOK_VERSION={}", program.hook_version));
    if (const auto root = config.get("lxc.rootfs.path"); root && *root)
      told.push_back("LXC_ROOTFS_PATH=" + **root);
    if (program.hook_version != 0) {
      told.push_back(fmt::format("LXC_HOOK_TYPE={}", when));
      told.emplace_back("LXC_HOOK_SECTION=lxc");
    }
    const int status = run_program(argv, told);
    if (status == 0) continue;
    say("hook '{}' of {} {}", hook.command, when,
        status < 0            ? std::string("cannot be run")
        : WIFSIGNALED(status) ? fmt::format("was ended by signal {}", WTERMSIG(status))
                              : fmt::format("ended with status {}", WEXITSTATUS(status)));
    return false;
  }
  return true;
}
