#include "condroid/testing/box.hpp"

#include <elf.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

namespace {

/// The program: ignores SIGCHLD, so that the kernel reaps, sigaction(2), and waits for signals.
struct Idle {
  Elf64_Ehdr head;
  Elf64_Phdr load;
#if defined(__x86_64__)
  std::array<std::uint8_t, 40> code;
#else
  std::array<std::uint32_t, 14> code;
#endif
  std::array<std::uint64_t, 4> ignore;  ///< struct sigaction as the kernel has it: SIG_IGN.
};

constexpr std::uint64_t where = 0x400000;

Idle idle() {
  Idle p{};
  std::memcpy(p.head.e_ident, ELFMAG, SELFMAG);
  p.head.e_ident[EI_CLASS] = ELFCLASS64;
  p.head.e_ident[EI_DATA] = ELFDATA2LSB;
  p.head.e_ident[EI_VERSION] = EV_CURRENT;
  p.head.e_type = ET_EXEC;
  p.head.e_version = EV_CURRENT;
  p.head.e_entry = where + offsetof(Idle, code);
  p.head.e_phoff = offsetof(Idle, load);
  p.head.e_ehsize = sizeof(Elf64_Ehdr);
  p.head.e_phentsize = sizeof(Elf64_Phdr);
  p.head.e_phnum = 1;
  constexpr std::uint64_t page = 0x10000;  // the largest that either machine has
  p.load = {.p_type = PT_LOAD,
            .p_flags = PF_R | PF_X,
            .p_offset = 0,
            .p_vaddr = where,
            .p_paddr = where,
            .p_filesz = sizeof(Idle),
            .p_memsz = sizeof(Idle),
            .p_align = page};
  p.ignore = {1, 0, 0, 0};
#if defined(__x86_64__)
  p.head.e_machine = EM_X86_64;
  constexpr std::size_t after_lea = 17;
  constexpr std::uint8_t to_ignore = offsetof(Idle, ignore) - offsetof(Idle, code) - after_lea;
  p.code = {
      0xb8, 13,   0,    0,         0,        // mov eax, rt_sigaction
      0xbf, 17,   0,    0,         0,        // mov edi, SIGCHLD
      0x48, 0x8d, 0x35, to_ignore, 0, 0, 0,  // lea rsi, [rip + ignore]
      0x31, 0xd2,                            // xor edx, edx
      0x41, 0xba, 8,    0,         0, 0,     // mov r10d, 8
      0x0f, 0x05,                            // syscall
      0xb8, 34,   0,    0,         0,        // again: mov eax, pause
      0x0f, 0x05,                            // syscall
      0xeb, 0xf7,                            // jmp again
      0x0f, 0x0b,                            // ud2
      0x90, 0x90,
  };
#else
  p.head.e_machine = EM_AARCH64;
  const auto mov = [](std::uint32_t reg, std::uint32_t value) {
    return 0xd2800000U | (value << 5U) | reg;
  };
  constexpr std::uint32_t svc = 0xd4000001;
  constexpr std::uint32_t ahead = offsetof(Idle, ignore) - offsetof(Idle, code) - 4;
  static_assert(ahead % 4 == 0);
  p.code = {
      mov(0, 17),                         // SIGCHLD
      0x10000001U | ((ahead / 4) << 5U),  // adr x1, ignore
      mov(2, 0),
      mov(3, 8),
      mov(8, 134),
      svc,  // rt_sigaction
      mov(0, 0),
      mov(1, 0),
      mov(2, 0),
      mov(3, 0),  // again:
      mov(8, 73),
      svc,                                      // ppoll
      0x14000000U | (0x03ffffffU & (0U - 6U)),  // b again
      0,
  };
#endif
  return p;
}

Result<Fd> memory_file(const char* name, std::string_view bytes, unsigned flags) {
  Fd fd(static_cast<int>(::syscall(SYS_memfd_create, name, MFD_CLOEXEC | flags)));
  if (!fd.valid()) return fail(errno, Step::open_descriptor, name);
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(n < 0 ? errno : EIO, Step::open_descriptor, name);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return fd;
}

int open_in_root(FdView root, const std::string& path, int flags, mode_t mode = 0) {
  open_how how{};
  // Strict about flags that say nothing, openat2(2).
  how.flags =
      static_cast<std::uint64_t>(flags | O_CLOEXEC | ((flags & O_PATH) != 0 ? 0 : O_NOCTTY));
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof how);
    if (fd < 0 && errno == EAGAIN) continue;
    return static_cast<int>(fd);
  }
}

/// errno, or 0.
int make_above(FdView root, const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string folder = path.substr(0, at);
    const Fd there(open_in_root(root, folder, O_PATH | O_DIRECTORY));
    if (there.valid()) continue;
    if (errno != ENOENT) return errno;
    const std::size_t last = folder.rfind('/');
    const std::string name = folder.substr(last + 1);
    if (name.empty() || name == "..") continue;
    const Fd above(open_in_root(root, folder.substr(0, last) + "/", O_PATH | O_DIRECTORY));
    if (!above.valid()) return errno;
    if (::mkdirat(above.get(), name.c_str(), 0755) < 0 && errno != EEXIST) return errno;
  }
  return 0;
}

Result<std::string> contents(const Fd& fd, const std::string& subject, Bytes most) {
  std::string all;
  std::array<char, 64 * 1024> some;
  for (;;) {
    const ssize_t n = ::read(fd.get(), some.data(), some.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, Step::open_source, subject);
    if (n == 0) return all;
    all.append(some.data(), static_cast<std::size_t>(n));
    if (all.size() > most.value) return fail(EFBIG, Step::open_source, subject);
  }
}

Result<std::string> regular(Fd fd, const std::string& subject, Bytes most) {
  if (!fd.valid()) return fail(errno, Step::open_source, subject);
  struct stat st {};
  if (::fstat(fd.get(), &st) < 0) return fail(errno, Step::open_source, subject);
  if (S_ISDIR(st.st_mode)) return fail(EISDIR, Step::open_source, subject);
  if (!S_ISREG(st.st_mode)) return fail(EINVAL, Step::open_source, subject + ": no regular file");
  return contents(fd, subject, most);
}

}  // namespace

Result<Fd> idle_program() {
  const Idle program = idle();
  auto file =
      memory_file("condroid-idle", {reinterpret_cast<const char*>(&program), sizeof program},
                  MFD_ALLOW_SEALING);
  if (!file) return file;
  // To be executed nobody may have it open for writing, and this one is for all of our boxes.
  (void)::fcntl(file->get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  Fd read_only(::open(formatted("/proc/self/fd/{}", file->get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!read_only.valid()) return fail(errno, Step::open_descriptor, "condroid-idle");
  return read_only;
}

Result<Fd> text_file(std::string_view text) {
  auto file = memory_file("condroid-input", text, 0);
  if (file && ::lseek(file->get(), 0, SEEK_SET) < 0)
    return fail(errno, Step::open_descriptor, "condroid-input");
  return file;
}

Result<Fd> output_file(Bytes most) {
  auto file = memory_file("condroid-output", {}, MFD_ALLOW_SEALING);
  // Pages come when they are written to.
  if (file && (::ftruncate(file->get(), static_cast<off_t>(most.value)) < 0 ||
               ::fcntl(file->get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0))
    return fail(errno, Step::open_descriptor, "condroid-output");
  return file;
}

std::string output_text(FdView file) {
  // All that write share this place in it.
  const off_t end = ::lseek(file.get(), 0, SEEK_CUR);
  std::string all(end > 0 ? static_cast<std::size_t>(end) : 0, '\0');
  std::size_t have = 0;
  while (have < all.size()) {
    const ssize_t n =
        ::pread(file.get(), all.data() + have, all.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  all.resize(have);
  return all;
}

bool has_ended(FdView pidfd) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) != 0;
}

Result<Fd> root_of(Pid pid, FdView pidfd) {
  const std::string path = formatted("/proc/{}/root", pid.value);
  Fd root(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  const int error = errno;
  // As long as it lives the number is its own.
  if (has_ended(pidfd)) return fail(ESRCH, Step::open_source, "the box's root");
  if (!root.valid()) return fail(error, Step::open_source, path);
  return root;
}

Result<void> put_file(FdView root, const GuestPath& path, std::string_view contents, Mode mode) {
  const std::string subject = formatted("guest '{}'", path.str());
  if (!path.is_absolute()) return fail(EINVAL, Step::make_file, subject + ": not absolute");
  if (const int e = make_above(root, path.str()); e != 0) return fail(e, Step::make_file, subject);
  const Fd file(open_in_root(root, path.str(), O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK,
                             mode.value & 07777));
  if (!file.valid()) return fail(errno, Step::make_file, subject);
  while (!contents.empty()) {
    const ssize_t n = ::write(file.get(), contents.data(), contents.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(n < 0 ? errno : EIO, Step::make_file, subject);
    contents.remove_prefix(static_cast<std::size_t>(n));
  }
  // Whatever the umask is.
  if (::fchmod(file.get(), mode.value & 07777) < 0) return fail(errno, Step::make_file, subject);
  return {};
}

Result<std::string> get_file(FdView root, const GuestPath& path, Bytes most) {
  return regular(Fd(open_in_root(root, path.str(), O_RDONLY | O_NONBLOCK)),
                 formatted("guest '{}'", path.str()), most);
}

Result<Container> finished(Launch launch, std::chrono::milliseconds most) {
  using Clock = std::chrono::steady_clock;
  for (const auto end = Clock::now() + most;;) {
    auto made = launch.step();
    if (!made) return fail(made);
    if (*made) return std::move(**made);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0)
      return fail(Errc::deadline, Step::wait, "a box",
                  formatted("it was not there {} ms after it was asked for", most.count()));
    const auto [fd, events] = launch.interest();
    const int own = launch.timeout();
    const int limit = static_cast<int>(left.count());
    pollfd wanted{fd.get(), events, 0};
    if (::poll(&wanted, 1, own < 0 ? limit : std::min(own, limit)) < 0 && errno != EINTR)
      return fail(errno, Step::wait, "poll");
  }
}

Result<std::string> host_file(const HostPath& path, Bytes most) {
  return regular(Fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)),
                 formatted("'{}'", path.str()), most);
}

}  // namespace condroid::inline v0::detail
