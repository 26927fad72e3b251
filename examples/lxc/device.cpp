// lxc-device: a device node or a network interface put into a container that runs, or taken out.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

Fd netns(const std::string& process) {
  return Fd(::open(fmt::format("/proc/{}/ns/net", process).c_str(), O_RDONLY | O_CLOEXEC));
}

/// One request of rtnetlink(7): that interface goes to the namespace and has that name there. errno
/// or 0.
int move_interface(unsigned index, const Fd& to, const std::string& name) {
  struct {
    nlmsghdr header;
    ifinfomsg link;
    char attributes[128];
  } message{};
  message.header.nlmsg_len = NLMSG_LENGTH(sizeof message.link);
  message.header.nlmsg_type = RTM_NEWLINK;
  message.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  message.link.ifi_index = static_cast<int>(index);
  const auto add = [&](unsigned short type, const void* bytes, std::size_t size) {
    rtattr attribute{static_cast<unsigned short>(RTA_LENGTH(size)), type};
    char* const at = reinterpret_cast<char*>(&message) + NLMSG_ALIGN(message.header.nlmsg_len);
    std::memcpy(at, &attribute, sizeof attribute);
    std::memcpy(at + RTA_LENGTH(0), bytes, size);
    message.header.nlmsg_len =
        static_cast<unsigned>(NLMSG_ALIGN(message.header.nlmsg_len) + RTA_ALIGN(RTA_LENGTH(size)));
  };
  const int fd = to.get();
  add(IFLA_NET_NS_FD, &fd, sizeof fd);
  add(IFLA_IFNAME, name.c_str(), name.size() + 1);
  const Fd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (::send(socket.get(), &message, message.header.nlmsg_len, 0) < 0) return errno;
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char more[256];
  } answer{};
  const ssize_t n = ::recv(socket.get(), &answer, sizeof answer, 0);
  if (n < 0) return errno;
  return answer.header.nlmsg_type == NLMSG_ERROR ? -answer.error.error : EPROTO;
}

/// In a process that has entered `from`, unless that is this one's: takes an interface to `to`.
/// errno or 0; ENODEV: there is none of that name.
int move_between(const Fd* from, const Fd& to, const std::string& name, const std::string& as) {
  const pid_t pid = ::fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    if (from != nullptr && ::setns(from->get(), CLONE_NEWNET) != 0) ::_exit(errno);
    const unsigned index = ::if_nametoindex(name.c_str());
    ::_exit(index == 0 ? ENODEV : move_interface(index, to, as));
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

/// The directory of a path in the container's root, made as far as it is not there. No link leads
/// out of it. openat2(2)
Fd directory_in(const Fd& root, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const auto open = [&](const std::string& where) {
    return Fd(
        static_cast<int>(::syscall(SYS_openat2, root.get(), where.c_str(), &how, sizeof how)));
  };
  Fd at = open("/");
  for (std::size_t end = path.find('/', 1); at.valid() && end != path.npos;
       end = path.find('/', end + 1)) {
    const std::string so_far = path.substr(0, end);
    Fd next = open(so_far);
    constexpr unsigned mode = 0755;
    if (!next.valid() && errno == ENOENT &&
        ::mkdirat(at.get(), so_far.substr(so_far.rfind('/') + 1).c_str(), mode) == 0)
      next = open(so_far);
    at = std::move(next);
  }
  return at;
}

/// Its devices controller, or its filter of version 2, lets it be used, or no more.
bool allow(const control::Client& client, const struct stat& st, bool on) {
  auto group = client.cgroup_fd("devices");
  if (!group) return true;  // nobody asks
  const bool block = S_ISBLK(st.st_mode);
  if (group->cgroup.v2) {
    control::DeviceRule rule{.type = block ? 'b' : 'c',
                             .major = major(st.st_rdev),
                             .minor = minor(st.st_rdev),
                             .access = "rwm",
                             .allow = on};
    const auto ok = client.apply(rule);
    // One of ours has no filter that could be changed: what it has is that of its start.
    if (!ok) note(lxc::LogLevel::warn, "whether it may open it is as at its start: {}", ok.error());
    return true;
  }
  const char* const file = on ? "devices.allow" : "devices.deny";
  const Fd to(::openat(group->cgroup.dir.get(), file, O_WRONLY | O_CLOEXEC));
  const std::string text =
      fmt::format("{} {}:{} rwm", block ? 'b' : 'c', major(st.st_rdev), minor(st.st_rdev));
  if (to.valid() && ::write(to.get(), text.data(), text.size()) > 0) return true;
  say("'{}' of its cgroup: {}", file, errno_name(errno));
  return false;
}

bool node(const control::Client& client, int pid, bool add, const std::string& source,
          const std::string& target) {
  struct stat st {};
  if (::stat(source.c_str(), &st) != 0 || (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))) {
    say("'{}' is neither a device nor an interface here", source);
    return false;
  }
  if (!target.starts_with('/') || target.ends_with('/') || target.ends_with("/..")) {
    say("'{}' is no whole path of a file in it", target);
    return false;
  }
  if (const auto flags = client.namespaces(); add && flags && (*flags & CLONE_NEWUSER) != 0) {
    say("it has a user namespace: a node that is made in it cannot be opened; bind '{}' by "
        "lxc.mount.entry",
        source);
    return false;
  }
  const Fd root(
      ::open(fmt::format("/proc/{}/root", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const Fd directory = directory_in(root, target);
  const std::string name = target.substr(target.rfind('/') + 1);
  bool fine = directory.valid();
  if (fine && add) {
    constexpr unsigned bits = 0777;
    const mode_t before = ::umask(0);
    fine =
        ::mknodat(directory.get(), name.c_str(), st.st_mode & (S_IFMT | bits), st.st_rdev) == 0 &&
        ::fchownat(directory.get(), name.c_str(), st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) == 0;
    ::umask(before);
  } else if (fine) {
    struct stat there {};
    fine = ::fstatat(directory.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
    if (fine &&
        (there.st_rdev != st.st_rdev || (there.st_mode & S_IFMT) != (st.st_mode & S_IFMT))) {
      say("'{}' in it is not '{}'", target, source);
      return false;
    }
    fine = fine && ::unlinkat(directory.get(), name.c_str(), 0) == 0;
  }
  if (!fine) {
    say("'{}' in it: {}", target, errno == EEXIST ? "it is there already" : errno_name(errno));
    return false;
  }
  return allow(client, st, add);
}

bool interface(int pid, bool add, const std::string& source, const std::string& target) {
  const Fd here = netns("self"), there = netns(std::to_string(pid));
  const int error = !here.valid() || !there.valid() ? errno
                    : add                           ? move_between(nullptr, there, source, target)
                                                    : move_between(&there, here, source, target);
  if (error == 0) return true;
  say("interface '{}'{}: {}", source, source == target ? "" : fmt::format(" as '{}'", target),
      error == EEXIST ? "there is one of that name already" : errno_name(error));
  return false;
}

bool has_interface(int pid, const std::string& name) {
  const Fd there = netns(std::to_string(pid));
  const pid_t child = ::fork();
  if (child == 0)
    ::_exit(::setns(there.get(), CLONE_NEWNET) == 0 && ::if_nametoindex(name.c_str()) != 0 ? 0 : 1);
  int status = 1;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0;
}

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  const auto& words = args.words();
  if (words.size() < 2 || words.size() > 3 || (words[0] != "add" && words[0] != "del")) {
    say("add or del, a device or an interface and at most another name for it are needed");
    return 1;
  }
  if (::geteuid() != 0) {
    say("only root can");
    return 1;
  }
  const control::Client& client = place->client();
  const auto state = place->state();
  if (!state) return say_error(state.error());
  const auto pid = client.init_pid();
  if (*state == control::State::stopped || !pid) {
    say("it is not running");
    return 1;
  }
  const bool add = words[0] == "add";
  const std::string &what = words[1], &as = words.back();
  // Nobody else by this number, as long as it answers.
  const auto same = client.init_pidfd();
  const bool moves = words[1].find('/') == what.npos &&
                     (add ? ::if_nametoindex(what.c_str()) != 0 : has_interface(pid->value, what));
  if (moves) return interface(pid->value, add, what, as) ? 0 : 1;
  return node(client, pid->value, add, what, as) ? 0 : 1;
}

}  // namespace

const Tool lxc_device = {
    .name = "lxc-device",
    .synopsis = "-n NAME [--] add|del DEVICE [NAME IN THE CONTAINER]",
    .brief = "Gives a container that runs a device node or a network interface, or takes it back.",
    .more =
        "DEVICE is the path of a node, /dev/sdb1, or the name of an interface: here for add, in "
        "the container\nfor del.\n\n"
        "Exit status: 0; 1 when it does not run, or that could not be done.",
    .run = &run,
};
