// A system for the child's interpreter that does nothing but remember: it lists the calls, keeps a
// table of descriptors, answers as a willing kernel would, and fails the call that a test names.
//
//   RecordingSystem system;
//   system.fail(17, EIO);
//   program::Interpreter<RecordingSystem> child(system, context);
//   child.run();                                // Executed is thrown where execve(2) would succeed
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "program/format.hpp"
#include "program/kernel.hpp"

namespace condroid::test {

/// How a system call is read: one letter per argument. f descriptor, s string, n number, x bits,
/// o mode, - not for a reader.
struct Signature {
  long nr;
  const char* name;
  const char* arguments;
};

/// Everything that the interpreter may call.
inline const Signature* signature_of(long nr) {
  static constexpr auto table = std::to_array<Signature>({
      {__NR_capget, "capget", ""},
      {__NR_capset, "capset", ""},
      {__NR_bind, "bind", "f"},
      {__NR_chdir, "chdir", "s"},
      {__NR_chroot, "chroot", "s"},
      {__NR_clone, "clone", "x"},
      {__NR_clock_gettime, "clock_gettime", "n"},
      {__NR_close, "close", "f"},
      {__NR_close_range, "close_range", "nnn"},
      {__NR_dup3, "dup3", "fnx"},
      {__NR_execve, "execve", "s"},
      {__NR_exit_group, "exit_group", "n"},
      {__NR_fchdir, "fchdir", "f"},
      {__NR_fchown, "fchown", "fnn"},
      {__NR_fchownat, "fchownat", "fsnnx"},
      {__NR_fcntl, "fcntl", "fnn"},
      {__NR_fsconfig, "fsconfig", "fnss"},
      {__NR_fsmount, "fsmount", "fxx"},
      {__NR_fsopen, "fsopen", "sx"},
      {__NR_fstatfs, "fstatfs", "f"},
      {__NR_getcwd, "getcwd", ""},
      {__NR_ioctl, "ioctl", "fx"},
      {__NR_keyctl, "keyctl", "n"},
      {__NR_kill, "kill", "nn"},
      {__NR_landlock_add_rule, "landlock_add_rule", "fn"},
      {__NR_landlock_create_ruleset, "landlock_create_ruleset", ""},
      {__NR_landlock_restrict_self, "landlock_restrict_self", "fn"},
      {__NR_madvise, "madvise", ""},
      {__NR_memfd_create, "memfd_create", "sx"},
      {__NR_mkdirat, "mkdirat", "fso"},
      {__NR_mknodat, "mknodat", "fsox"},
      {__NR_mmap, "mmap", ""},
      {__NR_mount, "mount", "sssxs"},
      {__NR_mount_setattr, "mount_setattr", "fsx"},
      {__NR_move_mount, "move_mount", "fsfsx"},
      {__NR_munmap, "munmap", ""},
      {__NR_open_tree, "open_tree", "fsx"},
      {kernel::nr_open_tree_attr, "open_tree_attr", "fsx"},
      {__NR_openat, "openat", "fsxo"},
      {__NR_openat2, "openat2", "fs"},
      {__NR_personality, "personality", "x"},
      {__NR_pidfd_send_signal, "pidfd_send_signal", "fn"},
      {__NR_pipe2, "pipe2", ""},
      {__NR_pivot_root, "pivot_root", "ss"},
      {__NR_ppoll, "ppoll", ""},
      {__NR_pread64, "pread64", "f"},
      {__NR_prctl, "prctl", "nnn"},
      {__NR_prlimit64, "prlimit64", "nn"},
      {__NR_pwrite64, "pwrite64", "f"},
      {__NR_read, "read", "f"},
      {__NR_recvfrom, "recvfrom", "f"},
      {__NR_recvmsg, "recvmsg", "f"},
      {__NR_rt_sigprocmask, "rt_sigprocmask", "n"},
      {__NR_rt_sigtimedwait, "rt_sigtimedwait", ""},
      {__NR_sched_setaffinity, "sched_setaffinity", "nn"},
      {__NR_sched_setscheduler, "sched_setscheduler", "nn"},
      {__NR_seccomp, "seccomp", "nx"},
      {__NR_sendmmsg, "sendmmsg", "f"},
      {__NR_sendmsg, "sendmsg", "f"},
      {__NR_sendto, "sendto", "f"},
      {__NR_setdomainname, "setdomainname", "sn"},
      {__NR_setgroups, "setgroups", "n"},
      {__NR_sethostname, "sethostname", "sn"},
      {__NR_setns, "setns", "fx"},
      {__NR_setpriority, "setpriority", "nnn"},
      {__NR_setresgid, "setresgid", "nnn"},
      {__NR_setresuid, "setresuid", "nnn"},
      {__NR_setsid, "setsid", ""},
      {__NR_socket, "socket", "nxn"},
      {__NR_statx, "statx", "fsxx"},
      {__NR_symlinkat, "symlinkat", "sfs"},
      {__NR_umask, "umask", "o"},
      {__NR_umount2, "umount2", "sx"},
      {__NR_unlinkat, "unlinkat", "fsx"},
      {__NR_unshare, "unshare", "x"},
      {__NR_wait4, "wait4", "n"},
      {__NR_waitid, "waitid", "n"},
      {__NR_write, "write", "f"},
  });
  static constexpr auto by_number = [] {
    std::array<const Signature*, 512> list{};
    for (const Signature& s : table) list[static_cast<std::size_t>(s.nr)] = &s;
    return list;
  }();
  return nr >= 0 && nr < 512 ? by_number[static_cast<std::size_t>(nr)] : nullptr;
}

/// One call. `names` are the strings and descriptors among its arguments in words.
struct Call {
  long nr = 0;
  std::array<long, 6> arguments = {};
  std::array<std::string, 6> names = {};
  std::uint32_t op = 0;  ///< Index in the plan, as the result page says.
  long result = 0;
  std::string data = {};  ///< What a pointer led to: text written, attributes, limits.
};

/// Flags of open(2) by name, as their bits differ from one architecture to the next.
inline std::string open_flags(std::uint64_t flags) {
  static constexpr auto known = std::to_array<std::pair<std::uint64_t, const char*>>({
      {kernel::o_wronly, "O_WRONLY"},
      {kernel::o_rdwr, "O_RDWR"},
      {kernel::o_path, "O_PATH"},
      {kernel::o_directory, "O_DIRECTORY"},
      {kernel::o_nofollow, "O_NOFOLLOW"},
      {kernel::o_cloexec, "O_CLOEXEC"},
  });
  std::string names;
  for (const auto& [bits, name] : known)
    if ((flags & bits) == bits) {
      flags &= ~bits;
      names.append(names.empty() ? "" : "|").append(name);
    }
  return flags == 0 ? names : names + "|" + std::to_string(flags);
}

class RecordingSystem {
 public:
  /// execve(2) succeeded: the interpreter is gone.
  struct Executed {
    std::string path;
    std::vector<std::string> argv, env;
  };
  /// exit_group(2).
  struct Left {
    int status;
  };
  /// More calls than any program needs.
  struct Endless {};

  struct File {
    enum Kind : std::uint8_t { other, lookup, context, mount, master };
    std::string what = {};
    Kind kind = other;
    std::uint32_t type = kernel::s_ifdir;
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    bool close_on_exec = true;
  };
  struct Answer {
    program::SyncKind kind;
    unsigned descriptors = 0;
    std::uint32_t value = 0;
    std::string more = {};  ///< Bytes behind it.
  };

  explicit RecordingSystem(const program::ResultPage& page) : page_(page) {}

  // ---- what the machine is like ----
  std::map<int, File> open = {};                ///< Descriptors.
  std::string incoming = {};                    ///< Bytes of the program, on the sync socket.
  std::deque<Answer> answers = {};              ///< Of the host, in order; then it is gone.
  std::set<std::string> files = {};             ///< Paths of files; others are directories.
  std::set<std::string> links = {};             ///< Paths of symbolic links.
  bool old_kernel = false;                      ///< No open_tree_attr(2).
  std::set<std::string> missing = {};           ///< Paths that are not there until they are made.
  std::map<std::string, File> host_nodes = {};  ///< Device nodes by their host path.
  long clone_result = 0;                        ///< 0: we are the child.
  std::size_t patience = 100000;                ///< Calls after which Endless is thrown.
  bool remember = true;                         ///< Keep `calls`.
  /// Asked first, with the arguments; what it gives is the result.
  std::function<std::optional<long>(const Call&)> before = {};

  // ---- what happened ----
  std::vector<Call> calls = {};
  std::vector<std::string> mistakes = {};  ///< A closed descriptor used, an unknown call.
  std::vector<program::SyncMessage> sent = {};

  /// Call number `n`, counted from 0, fails.
  void fail(std::size_t n, int errnum) {
    fail_at_ = n;
    errnum_ = errnum;
  }

  long operator()(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
    Call call{.nr = nr, .arguments = {a, b, c, d, e, f}, .op = page_.op};
    if (count_ >= patience) throw Endless{};
    const std::size_t number = count_++;
    const bool good = describe(call);
    std::optional<long> result;
    if (!good) result = -EBADF;
    if (number == fail_at_) result = -errnum_;
    if (!result && before) result = before(call);
    if (!result && nr == __NR_execve) {
      if (remember) calls.push_back(std::move(call));
      throw Executed{text(a), list(b), list(c)};
    }
    if (!result && nr == __NR_exit_group) {
      if (remember) calls.push_back(std::move(call));
      throw Left{static_cast<int>(a)};
    }
    // A failed close(2) closes, too.
    const long done = nr == __NR_close && result && good ? (perform(call), *result)
                      : result                           ? *result
                                                         : perform(call);
    call.result = done;
    if (remember) calls.push_back(std::move(call));
    return done;
  }

 private:
  static std::string text(long pointer) {
    const auto* p = reinterpret_cast<const char*>(pointer);
    return p != nullptr ? std::string(p) : std::string();
  }
  static std::vector<std::string> list(long pointer) {
    std::vector<std::string> out;
    for (auto* p = reinterpret_cast<char* const*>(pointer); *p != nullptr; ++p)
      out.emplace_back(*p);
    return out;
  }
  static std::string bytes(long pointer, long size) {
    return {reinterpret_cast<const char*>(pointer), static_cast<std::size_t>(size)};
  }
  template <class T>
  static T value(long pointer) {
    T v;
    std::memcpy(static_cast<void*>(&v), reinterpret_cast<const void*>(pointer), sizeof v);
    return v;
  }
  template <class T>
  static void store(long pointer, const T& v) {
    std::memcpy(reinterpret_cast<void*>(pointer), &v, sizeof v);
  }

  bool describe(Call& call) {
    const Signature* signature = signature_of(call.nr);
    if (signature == nullptr) {
      mistakes.push_back("unknown system call " + std::to_string(call.nr));
      return false;
    }
    bool good = true;
    for (std::size_t i = 0; signature->arguments[i] != 0; ++i) {
      const long argument = call.arguments[i];
      std::string& name = call.names[i];
      if (signature->arguments[i] == 's') {
        name = text(argument);
      } else if (signature->arguments[i] == 'f') {
        if (argument == kernel::at_fdcwd) {
          name = "cwd";
        } else if (const auto file = open.find(static_cast<int>(argument)); file != open.end()) {
          name = file->second.what;
        } else {
          good = false;
          mistakes.push_back(std::string(signature->name) + " on descriptor " +
                             std::to_string(argument) + ", which is not open");
        }
      }
    }
    return good;
  }

  long opened(File file, int least = 200) {
    int fd = least;
    while (open.contains(fd)) ++fd;
    open.emplace(fd, std::move(file));
    return fd;
  }
  /// Whether a path is one of these, or the name of one of them.
  static bool is_among(const std::set<std::string>& paths, const std::string& path) {
    return std::ranges::any_of(paths, [&path](const std::string& p) {
      return p == path || (path.find('/') == path.npos && p.ends_with("/" + path));
    });
  }
  /// "16:7 20:7": types, and the index that stands in each where those have it.
  std::string netlink_messages(const char* bytes, std::size_t size) {
    std::string text;
    kernel::NetlinkHead head;
    for (std::size_t at = 0; at + sizeof head <= size; at += (head.size + 3U) & ~3U) {
      std::memcpy(&head, bytes + at, sizeof head);
      if (head.size < sizeof head || head.size > size - at) return text + " cut";
      last_message_ = head.sequence;
      std::int32_t index = 0;
      std::memcpy(&index, bytes + at + sizeof head + 4, sizeof index);
      text += fmt::format("{}{}", text.empty() ? "" : " ", head.type);
      constexpr std::uint16_t newroute = 24;
      if (head.type != newroute) text += fmt::format(":{}", index);
    }
    return text;
  }
  [[nodiscard]] bool is_missing(const std::string& path) const { return is_among(missing, path); }
  [[nodiscard]] File found(const std::string& path, File::Kind kind) const {
    const bool file = is_among(files, path) || path.find("/attr/") != path.npos;
    const auto type = is_among(links, path) ? kernel::s_iflnk
                      : file                ? kernel::s_ifreg
                                            : kernel::s_ifdir;
    return {.what = path, .kind = kind, .type = type};
  }
  /// A name was made in some directory.
  void made(const std::string& name) {
    std::erase_if(missing, [&](const std::string& path) {
      return path == name || path.ends_with("/" + name);
    });
  }

  long perform(Call& call) {
    const auto& [a, b, c, d, e, f] = call.arguments;
    const auto& names = call.names;
    switch (call.nr) {
      case __NR_close:
        open.erase(static_cast<int>(a));
        return 0;
      case __NR_close_range:
        std::erase_if(open, [a = a, b = b](const auto& entry) {
          return entry.first >= a &&
                 static_cast<unsigned long>(entry.first) <= static_cast<unsigned long>(b);
        });
        return 0;
      case __NR_dup3: {
        File copy = open.at(static_cast<int>(a));
        copy.close_on_exec = (c & kernel::o_cloexec) != 0;
        open.insert_or_assign(static_cast<int>(b), std::move(copy));
        return b;
      }
      case __NR_fcntl:
        if (b == 4 /* F_SETFL */) return 0;
        return opened(open.at(static_cast<int>(a)), static_cast<int>(c));
      case __NR_openat2: {
        const auto how = value<kernel::OpenHow>(c);
        call.data = open_flags(how.flags) + " " + std::to_string(how.resolve);
        if (is_missing(names[1])) return -ENOENT;
        return opened(found(names[1], File::lookup));
      }
      case __NR_openat:
        return opened({.what = names[1],
                       .kind = names[1] == "ptmx" ? File::master : File::other,
                       .type = kernel::s_ifreg});
      case kernel::nr_open_tree_attr:
        if (old_kernel) return -ENOSYS;
        call.data = std::to_string(value<kernel::MountAttr>(d).attr_set);
        [[fallthrough]];
      case __NR_open_tree: {
        if (names[1].empty()) {
          // As with AT_EMPTY_PATH; without it an empty path is none.
          if ((c & kernel::at_empty_path) == 0 || a == kernel::at_fdcwd) return -ENOENT;
          File copy = open.at(static_cast<int>(a));
          copy.kind = File::mount;
          return opened(std::move(copy));
        }
        if (const auto node = host_nodes.find(names[1]); node != host_nodes.end())
          return opened(node->second);
        if (a != kernel::at_fdcwd && names[1] == "null")
          return opened({.what = "null",
                         .kind = File::mount,
                         .type = kernel::s_ifchr,
                         .major = 1,
                         .minor = 3});
        if (is_missing(names[1])) return -ENOENT;
        return opened(found(names[1], File::mount));
      }
      case __NR_seccomp:
        return (b & kernel::seccomp_filter_flag_new_listener) != 0 ? opened({.what = "listener"})
                                                                   : 0;
      case __NR_fsopen:
        return opened({.what = names[0], .kind = File::context});
      case __NR_fsmount:
        return opened({.what = names[0], .kind = File::mount});
      case __NR_socket:
        return opened({.what = "socket"});
      case __NR_ioctl:
        if (static_cast<unsigned long>(b) == kernel::tiocgptpeer)
          return opened({.what = "slave", .type = kernel::s_ifchr});
        if (static_cast<unsigned long>(b) == kernel::siocgifindex) {
          call.data = reinterpret_cast<const char*>(c);
          store(c + program::interface_name_size, std::int32_t{7});
        }
        if (static_cast<unsigned long>(b) == kernel::siocgifflags)
          store(c + program::interface_name_size, kernel::iff_running);
        return 0;
      case __NR_bind:
        return 0;
      case __NR_sendto:
        call.data = netlink_messages(reinterpret_cast<const char*>(b), static_cast<std::size_t>(c));
        return c;
      case __NR_fstatfs: {
        const std::string_view what = open.at(static_cast<int>(a)).what;
        const bool proc = what.ends_with("proc") || what.find("/attr/") != what.npos;
        store(call.arguments[1], proc                    ? kernel::proc_magic
                                 : what.ends_with("sys") ? kernel::sysfs_magic
                                 : what.ends_with("pts") ? kernel::devpts_magic
                                                         : kernel::tmpfs_magic);
        return 0;
      }
      case __NR_statx: {
        kernel::Statx st{};
        st.attributes = kernel::statx_attr_mount_root;
        st.mount = 7;  // the root and what ".." of it leads to
        if (names[1].empty() && a != kernel::at_fdcwd) {
          const File& file = open.at(static_cast<int>(a));
          st.mode = static_cast<std::uint16_t>(file.type);
          st.rdev_major = file.major;
          st.rdev_minor = file.minor;
        } else if (a != kernel::at_fdcwd) {
          if (is_missing(names[1])) return -ENOENT;
          st.mode = static_cast<std::uint16_t>(found(names[1], File::lookup).type);
        }
        store(e, st);
        return 0;
      }
      case __NR_mkdirat:
      case __NR_mknodat:
        made(names[1]);
        return 0;
      case __NR_mount_setattr: {
        const auto attr = value<kernel::MountAttr>(d);
        call.data = std::to_string(attr.attr_set) + " " + std::to_string(attr.attr_clr) + " " +
                    std::to_string(attr.propagation);
        return 0;
      }
      case __NR_write:
        call.data = written_ = bytes(b, c);
        return c;
      case __NR_pread64: {  // a label: without the word in front of it that sets one
        const std::string label = written_.starts_with("exec ") ? written_.substr(5) : written_;
        std::memcpy(reinterpret_cast<void*>(b), label.data(), label.size());
        return static_cast<long>(label.size());
      }
      case __NR_landlock_create_ruleset: {
        const auto handled = value<kernel::LandlockRuleset>(a);
        call.data = fmt::format("{:#x} {:#x} {:#x}", handled.files, handled.net, handled.scoped);
        return opened({.what = "landlock"});
      }
      case __NR_landlock_add_rule:
        if (b == kernel::landlock_rule_path) {
          const auto rule = value<kernel::LandlockPath>(c);
          const int fd = rule.fd;
          call.data = fmt::format("{:#x} {}", std::uint64_t{rule.access}, open.at(fd).what);
        } else {
          const auto rule = value<kernel::LandlockPort>(c);
          call.data = fmt::format("{:#x} port {}", rule.access, rule.port);
        }
        return 0;
      case __NR_read:
        return 0;
      case __NR_sethostname:
      case __NR_setdomainname:
        call.data = bytes(a, b);
        return 0;
      case __NR_setgroups:
        call.data = b != 0 ? bytes(b, a * 4) : std::string();
        return 0;
      case __NR_sched_setaffinity:
        call.data = bytes(c, b);
        return 0;
      case __NR_prlimit64: {
        const auto limit = value<kernel::Rlimit64>(c);
        call.data = std::to_string(limit.soft) + " " + std::to_string(limit.hard);
        return 0;
      }
      case __NR_capset:
        std::memcpy(capabilities_.data(), reinterpret_cast<const void*>(b), sizeof capabilities_);
        call.data = std::to_string(capabilities_[0].permitted) + " " +
                    std::to_string(capabilities_[1].permitted);
        return 0;
      case __NR_prctl:
        // As the kernel: those that there are.
        if (a == kernel::pr_set_securebits && (b & ~0xfffL) != 0) return -EPERM;
        if (a == kernel::pr_set_securebits) securebits_ = b;
        return a == kernel::pr_get_securebits ? securebits_ : 0;
      case __NR_capget:
        std::memcpy(reinterpret_cast<void*>(b), capabilities_.data(), sizeof capabilities_);
        return 0;
      case __NR_getcwd:
        if (b < 2) return -ERANGE;
        std::memcpy(reinterpret_cast<void*>(a), "/", 2);
        return 2;
      case __NR_umask:
        return 022;
      case __NR_setsid:
        return 1;
      case __NR_keyctl:
        return 4711;
      case __NR_clone:
        if ((static_cast<std::uint64_t>(a) & kernel::clone_pidfd) == 0 || clone_result != 0)
          return clone_result;
        // A hook: it goes well, and says nothing.
        store(c, static_cast<int>(opened({.what = "pidfd of a hook"})));
        return 77;
      case __NR_pipe2:
        store(a, std::array{static_cast<int>(opened({.what = "pipe"})),
                            static_cast<int>(opened({.what = "pipe, to write"}))});
        return 0;
      case __NR_memfd_create:
        return opened({.what = "memory"});
      case __NR_pwrite64:
        call.data = bytes(b, c);
        return c;
      case __NR_waitid: {
        kernel::SigInfo info{};
        info.code = kernel::cld_exited;
        info.pid = 77;
        store(c, info);
        return 0;
      }
      case __NR_ppoll: {
        auto& first = *reinterpret_cast<kernel::PollFd*>(a);
        const auto file = open.find(first.fd);
        if (b < 3 || file == open.end() || file->second.what != "pidfd of a hook") return 0;
        first.revents = kernel::pollin;
        return 1;
      }
      case __NR_mmap:
        memory_.emplace_back((static_cast<std::size_t>(b) + 7) / 8);
        return reinterpret_cast<long>(memory_.back().data());
      case __NR_recvfrom: {
        if (names[0] == "socket") {
          store(b, kernel::NetlinkError{{.size = sizeof(kernel::NetlinkError),
                                         .type = kernel::nlmsg_error,
                                         .sequence = last_message_},
                                        0});
          return sizeof(kernel::NetlinkError);
        }
        const std::size_t n = std::min({static_cast<std::size_t>(c), incoming.size() - received_,
                                        std::size_t{program::chunk_size}});
        std::memcpy(reinterpret_cast<void*>(b), incoming.data() + received_, n);
        received_ += n;
        return static_cast<long>(n);
      }
      case __NR_sendmsg: {
        const auto m = value<kernel::MsgHdr>(b);
        sent.push_back(value<program::SyncMessage>(reinterpret_cast<long>(m.iov->base)));
        call.data = std::to_string(static_cast<unsigned>(sent.back().kind));
        if (m.control != nullptr) {
          const auto head = value<kernel::CmsgHdr>(reinterpret_cast<long>(m.control));
          const auto* fds =
              reinterpret_cast<const int*>(static_cast<const char*>(m.control) + sizeof head);
          for (std::size_t i = 0; i < (head.size - sizeof head) / sizeof(int); ++i)
            if (!open.contains(fds[i]))
              return mistakes.emplace_back("sends what is not open"), -EBADF;
        }
        return static_cast<long>(m.iov->size);
      }
      case __NR_recvmsg: {
        if (answers.empty()) return 0;
        const Answer answer = answers.front();
        answers.pop_front();
        auto& m = *reinterpret_cast<kernel::MsgHdr*>(b);
        const program::SyncMessage message{answer.kind, answer.value};
        store(reinterpret_cast<long>(m.iov->base), message);
        m.control_size = 0;
        if (answer.descriptors > 0) {
          const kernel::CmsgHdr head{sizeof(kernel::CmsgHdr) + answer.descriptors * sizeof(int),
                                     kernel::sol_socket, kernel::scm_rights};
          store(reinterpret_cast<long>(m.control), head);
          auto* fds = reinterpret_cast<int*>(static_cast<char*>(m.control) + sizeof head);
          for (unsigned i = 0; i < answer.descriptors; ++i)
            fds[i] = static_cast<int>(opened({.what = "tree of the host", .kind = File::mount}));
          m.control_size = head.size;
        }
        if (m.iov_count < 2) return sizeof message;
        std::memcpy(m.iov[1].base, answer.more.data(), answer.more.size());
        return static_cast<long>(sizeof message + answer.more.size());
      }
      default:
        return 0;
    }
  }

  const program::ResultPage& page_;
  std::size_t count_ = 0;
  std::size_t fail_at_ = static_cast<std::size_t>(-1);
  int errnum_ = 0;
  std::uint32_t last_message_ = 0;  ///< Its number, of the last to a netlink socket.
  std::size_t received_ = 0;
  std::array<kernel::CapData, 2> capabilities_ = {};
  long securebits_ = 0;
  std::string written_ = {};
  std::deque<std::vector<std::uint64_t>> memory_ = {};
};

}  // namespace condroid::test
