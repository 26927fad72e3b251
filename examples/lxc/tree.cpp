#include "tree.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "say.hpp"
#include "script.hpp"

using namespace condroid;

namespace {

/// Into a directory of this very mount: where another one is mounted, a bind mount of the same file
/// system too, it is EXDEV. openat2(2), Linux 5.6
Fd open_below(int dir, const std::string& name) {
  open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  return Fd(static_cast<int>(::syscall(SYS_openat2, dir, name.c_str(), &how, sizeof how)));
}

/// Empties an open directory.
bool empty(Fd dir, const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> list(::fdopendir(dir.get()), &::closedir);
  if (!list) return false;
  const int fd = dir.release();
  bool fine = true;
  while (const dirent* const entry = ::readdir(list.get())) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    const bool folder =
        ::fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
    if (folder) {
      Fd below = open_below(fd, name);
      if (!below.valid()) {
        say("'{}/{}': {}", path, name, errno_name(errno));
        fine = false;
        continue;
      }
      if (!empty(std::move(below), fmt::format("{}/{}", path, name))) {
        fine = false;
        continue;
      }
    }
    if (::unlinkat(fd, name.c_str(), folder ? AT_REMOVEDIR : 0) == 0) continue;
    say("'{}/{}': {}", path, name, errno_name(errno));
    fine = false;
  }
  return fine;
}

/// A path of /proc/self/mountinfo: "\040" is a blank, proc_pid_mountinfo(5).
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 3 >= text.size() || text[i + 1] < '0' || text[i + 1] > '3') {
      out += text[i];
      continue;
    }
    constexpr int octal = 8;
    out += static_cast<char>(((text[i + 1] - '0') * octal + (text[i + 2] - '0')) * octal +
                             (text[i + 3] - '0'));
    i += 3;
  }
  return out;
}

bool rename2(const std::string& from, const std::string& to, unsigned flags) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0) return true;
  say("'{}' as '{}': {}", from, to,
      errno == EEXIST ? "something is there already" : errno_name(errno));
  return false;
}

}  // namespace

bool nothing_mounted_below(const std::string& path) {
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), &::free);
  if (!real) {
    say("'{}': {}", path, errno_name(errno));
    return false;
  }
  const std::string at = real.get(), below = at + "/";
  std::ifstream file("/proc/self/mountinfo");
  std::string found;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    constexpr int column = 5;
    for (int i = 0; i < column; ++i) words >> word;
    const std::string mount = unescaped(word);
    // Of several the deepest: it has to go first.
    if ((mount == at || mount.starts_with(below)) && mount.size() >= found.size()) found = mount;
  }
  if (file.bad() || !file.eof()) {
    say("'/proc/self/mountinfo' cannot be read");
    return false;
  }
  if (!found.empty()) say("something is mounted at '{}'; unmount it first", found);
  return found.empty();
}

bool remove_tree(const std::string& path) {
  if (!nothing_mounted_below(path)) return false;
  Fd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!dir.valid()) {
    say("'{}': {}", path, errno_name(errno));
    return false;
  }
  if (!empty(std::move(dir), path)) return false;
  if (::rmdir(path.c_str()) == 0) return true;
  say("'{}': {}", path, errno_name(errno));
  return false;
}

bool copy_tree(const std::string& from, const std::string& to) {
  if (exists(to)) {
    say("'{}': it is there already", to);
    return false;
  }
  // Named one by one, since what -a adds itself may be lost without a word: extended attributes are
  // file capabilities and access lists, too.
  const int status = run_program({"cp", "-a", "--preserve=mode,ownership,timestamps,links,xattr",
                                  "--sparse=auto", "--reflink=auto", "-T", "--", from, to});
  if (status != 0) say("copying '{}': cp {}", from, how_it_ended(status));
  return status == 0;
}

bool exists(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

bool move_to_nothing(const std::string& from, const std::string& to) {
  return rename2(from, to, RENAME_NOREPLACE);
}

bool exchange(const std::string& path, const std::string& other) {
  return rename2(path, other, RENAME_EXCHANGE);
}

bool make_directory(const std::string& path, unsigned mode) {
  if (::mkdir(path.c_str(), mode) == 0 && ::chmod(path.c_str(), mode) == 0) return true;
  say("'{}': {}", path, errno == EEXIST ? "it exists already" : errno_name(errno));
  return false;
}

bool write_file(const std::string& path, std::string_view text, unsigned mode) {
  const std::string beside = fmt::format("{}.{}", path, ::getpid());
  bool fine = false;
  {
    const Fd file(
        ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
    fine = file.valid();
    while (fine && !text.empty()) {
      const ssize_t n = ::write(file.get(), text.data(), text.size());
      fine = n > 0;
      if (fine) text.remove_prefix(static_cast<std::size_t>(n));
    }
    fine = fine && ::fsync(file.get()) == 0;
  }
  fine = fine && ::rename(beside.c_str(), path.c_str()) == 0;
  if (fine) return true;
  say("'{}': {}", path, errno_name(errno));
  ::unlink(beside.c_str());
  return false;
}

std::optional<std::string> read_file(const std::string& path) {
  std::ifstream file(path);
  if (!file) return {};
  return std::string(std::istreambuf_iterator<char>(file), {});
}
