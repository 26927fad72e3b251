#include "bare_mounts.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "floor_child.hpp"

namespace bench {

bool BareMounts::prepare(const char* list, FloorFailure* failure) {
  if (shared() == nullptr) return failed(failure, "mmap");
  if (count_ > 0 && std::strcmp(path_, list) == 0) return true;
  count_ = 0;
  const int fd = ::open(list, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failed(failure, "the list of mounts");
  const ssize_t size = ::read(fd, text_, sizeof text_ - 1);
  ::close(fd);
  errno = EFBIG;
  if (size < 0 || size == sizeof text_ - 1) return failed(failure, "the list of mounts");
  text_[size] = '\0';
  for (char* line = text_; *line != '\0';) {
    char* const next = std::strchr(line, '\n');
    if (next == nullptr || count_ == max_entries) return failed(failure, "the list of mounts");
    *next = '\0';
    const char* fields[6] = {};
    for (const char*& field : fields) {
      char* const word = ::strsep(&line, "\t");
      if (word == nullptr) return failed(failure, "a line of the list of mounts");
      field = std::strcmp(word, "-") == 0 ? nullptr : word;
    }
    entries_[count_++] = {fields[0],
                          fields[1],
                          fields[2],
                          fields[3],
                          std::strtoul(fields[4] == nullptr ? "" : fields[4], nullptr, 10),
                          fields[5]};
    line = next + 1;
  }
  if (count_ == 0 || std::strlen(list) >= sizeof path_)
    return failed(failure, "the list of mounts");
  std::strcpy(path_, list);
  return true;
}

bool BareMounts::start(std::uint64_t* nanoseconds, FloorFailure* failure) {
  Shared* const page = shared();
  page->what = nullptr;
  const std::uint64_t start = now();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed(failure, "pipe2");
  out_ = ends[1];
  clone_args args{};
  args.flags =
      CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
  args.exit_signal = SIGCHLD;
  pid_ = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid_ == 0) child();
  ::close(ends[1]);
  char word[64];
  const bool told = pid_ > 0 && ::read(ends[0], word, sizeof word) > 0;
  *nanoseconds = now() - start;
  if (!told) {
    ::close(ends[0]);
    end();
    errno = page->what != nullptr ? page->error : ECHILD;
    return failed(failure, page->what != nullptr ? page->what : "init said nothing");
  }
  // All of it: one that is still busy is in the way of the next.
  char more[4096];
  constexpr const char* last = "ready=yes\n";
  const std::size_t length = std::strlen(last);
  pollfd ready{ends[0], POLLIN, 0};
  while (::poll(&ready, 1, 2000) > 0) {
    const ssize_t got = ::read(ends[0], more, sizeof more);
    if (got <= 0 || (static_cast<std::size_t>(got) >= length &&
                     std::memcmp(more + got - length, last, length) == 0))
      break;
  }
  ::close(ends[0]);
  return true;
}

void BareMounts::end() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, __WALL);
  pid_ = -1;
}

void BareMounts::child() {
  must(::prctl(PR_SET_PDEATHSIG, SIGKILL), "prctl(PR_SET_PDEATHSIG)");
  must(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount private");
  mount_entry(entries_[0]);
  must(::chdir(entries_[0].target), "chdir");
  for (std::size_t i = 1; i < count_; ++i) mount_entry(entries_[i]);
  must(::syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(::umount2(".", MNT_DETACH), "umount2");
  must(::chdir("/"), "chdir /");
  must(::dup2(out_, STDOUT_FILENO), "dup2");
  char command[] = "/init";
  char* argv[] = {command, nullptr};
  char* environment[] = {nullptr};
  must(::execve(command, argv, environment), "execve");
  ::_exit(111);
}

void BareMounts::mount_entry(const Entry& e) {
  if (std::strcmp(e.how, "image") == 0) return mount_image(e);
  const bool bind = std::strcmp(e.how, "bind") == 0;
  const auto attach = [&] {
    return bind ? ::mount(e.source, e.target, nullptr, MS_BIND, nullptr)
                : ::mount(e.type, e.target, e.type, e.flags, e.data);
  };
  int result = attach();
  if (result != 0 && errno == ENOENT) {
    must(::mkdir(e.target, 0755), e.target);
    result = attach();
  }
  must(result, e.target);
  if (bind && e.flags != 0)
    must(::mount(nullptr, e.target, nullptr, MS_BIND | MS_REMOUNT | e.flags, nullptr), e.target);
}

void BareMounts::mount_image(const Entry& e) {
  const int file = ::open(e.source, O_RDONLY | O_CLOEXEC);
  must(file, e.source);
  const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  must(control, "/dev/loop-control");
  for (int attempt = 0;; ++attempt) {
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    must(number, "LOOP_CTL_GET_FREE");
    char device[32];
    std::snprintf(device, sizeof device, "/dev/loop%d", number);
    const int loop = ::open(device, O_RDONLY | O_CLOEXEC);
    must(loop, device);
    loop_config config{};
    config.fd = static_cast<__u32>(file);
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    if (::ioctl(loop, LOOP_CONFIGURE, &config) != 0) {
      must(errno == EBUSY && attempt < 100 ? 0 : -1, "LOOP_CONFIGURE");
      ::close(loop);
      continue;
    }
    must(::mount(device, e.target, e.type, e.flags, e.data), e.source);
    return;
  }
}

}  // namespace bench
