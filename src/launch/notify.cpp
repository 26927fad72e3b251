#include "condroid/notify.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstring>
#include <new>
#include <vector>

#include "formatted.hpp"
#include "launch/container_core.hpp"
#include "plan/seccomp.hpp"
#include "sys/kernel_files.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0 {

namespace {

// Debian 12's headers have them all but this.
constexpr std::uint32_t addfd_send = 1U << 1U;  // SECCOMP_ADDFD_FLAG_SEND, Linux 5.14

SyscallArch arch_of(std::uint32_t audit, int number) {
  constexpr int x32_numbers = 0x40000000;
  for (const SyscallArch arch : detail::machine_archs)
    if (detail::audit_arch(arch) == audit)
      return arch == SyscallArch::x86_64 && (number & x32_numbers) != 0 ? SyscallArch::x32 : arch;
  return detail::own_arch;
}

std::string subject_of(const SyscallRequest& request) {
  return formatted("{} of thread {}", request.name(), request.thread.value);
}

tl::unexpected<Error> failed(int error, const SyscallRequest& request) {
  return fail(error, Step::answer_syscall, subject_of(request));
}

/// A kernel's structure may be longer than the one that we know, whose place is its beginning.
template <class T>
class Sized {
 public:
  explicit Sized(std::size_t size) : words_((std::max(size, sizeof(T)) + 7) / 8) {}
  T& clear() {
    std::ranges::fill(words_, 0);
    return *new (words_.data()) T{};
  }

 private:
  std::vector<std::uint64_t> words_;
};

}  // namespace

class SyscallListener::Core {
 public:
  Core(Fd listener, const seccomp_notif_sizes& sizes)
      : fd(std::move(listener)), request(sizes.seccomp_notif), response(sizes.seccomp_notif_resp) {}

  [[nodiscard]] int send(const SyscallRequest& to, std::int64_t value, int error,
                         std::uint32_t flags) {
    if (!fd.valid()) return ENOENT;
    seccomp_notif_resp& r = response.clear();
    r.id = to.id;
    r.val = value;
    r.error = -error;
    r.flags = flags;
    // EINTR: a signal came while the kernel waited for its own lock; nothing was done.
    while (::ioctl(fd.get(), SECCOMP_IOCTL_NOTIF_SEND, &r) != 0)
      if (errno != EINTR) return gone(errno);
    return 0;
  }

  [[nodiscard]] int add(const SyscallRequest& to, FdView source, const Adding& how,
                        std::uint32_t flags) const {
    if (!fd.valid()) return -ENOENT;
    seccomp_notif_addfd a{};
    a.id = to.id;
    a.flags = flags | (how.number ? std::uint32_t{SECCOMP_ADDFD_FLAG_SETFD} : 0U);
    a.srcfd = static_cast<std::uint32_t>(source.get());
    a.newfd = static_cast<std::uint32_t>(how.number.value_or(0));
    a.newfd_flags = how.cloexec ? O_CLOEXEC : 0;
    const int number = ::ioctl(fd.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &a);
    if (number >= 0) return number;
    return -gone(errno);
  }

  [[nodiscard]] int valid(const SyscallRequest& of) const {
    if (!fd.valid()) return ENOENT;
    std::uint64_t id = of.id;
    while (::ioctl(fd.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) != 0)
      if (errno != EINTR) return errno;
    return 0;
  }

  /// EINPROGRESS: it has its answer, and its thread is about to see it. ESRCH: it was killed while
  /// it was being answered.
  [[nodiscard]] static int gone(int error) {
    return error == EINPROGRESS || error == ESRCH ? ENOENT : error;
  }
  [[nodiscard]] bool forked() const { return owner != ::getpid(); }

  Fd fd;
  Sized<seccomp_notif> request;
  Sized<seccomp_notif_resp> response;
  pid_t owner = ::getpid();
};

std::string SyscallRequest::name() const {
  std::string known = detail::syscall_name(arch, number);
  return known.empty() ? std::to_string(number) : known;
}

SyscallListener::SyscallListener(std::unique_ptr<Core> core) : core_(std::move(core)) {}
SyscallListener::SyscallListener(SyscallListener&&) noexcept = default;
SyscallListener& SyscallListener::operator=(SyscallListener&&) noexcept = default;
SyscallListener::~SyscallListener() = default;

Result<SyscallListener> Container::take_listener() {
  if (!core_) return detail::moved_away(Step::answer_syscall);
  if (auto ok = core_->check_owner(); !ok) return fail(ok);
  if (!core_->listener.valid())
    return fail(EBADF, Step::answer_syscall, formatted("container '{}'", core_->name));
  seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
    return fail(errno, Step::answer_syscall, "sizes of requests");
  return SyscallListener(
      std::make_unique<SyscallListener::Core>(std::move(core_->listener), sizes));
}

FdView SyscallListener::poll_fd() const noexcept { return core_ ? FdView(core_->fd) : FdView{}; }
bool SyscallListener::done() const noexcept { return !core_ || !core_->fd.valid(); }

Result<std::optional<SyscallRequest>> SyscallListener::next() {
  std::optional<SyscallRequest> none;
  if (done()) return none;
  if (core_->forked()) return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  for (;;) {
    pollfd look{core_->fd.get(), POLLIN, 0};
    const int n = ::poll(&look, 1, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, Step::answer_syscall, "poll");
    if ((look.revents & POLLIN) == 0) {
      // POLLERR alone: a signal kept the kernel from looking.
      if ((look.revents & POLLHUP) != 0) core_->fd.reset();
      return none;
    }
    seccomp_notif& r = core_->request.clear();
    // As somebody waits it does not block; when he was killed meanwhile it is ENOENT.
    if (::ioctl(core_->fd.get(), SECCOMP_IOCTL_NOTIF_RECV, &r) < 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      return fail(errno, Step::answer_syscall, "receiving a request");
    }
    SyscallRequest out{.id = r.id,
                       .thread = Pid{static_cast<std::int32_t>(r.pid)},
                       .number = r.data.nr,
                       .arch = arch_of(r.data.arch, r.data.nr),
                       .instruction = r.data.instruction_pointer};
    std::copy(std::begin(r.data.args), std::end(r.data.args), out.args.begin());
    return std::optional(out);
  }
}

Result<void> SyscallListener::respond(const SyscallRequest& request, std::int64_t value) {
  if (!core_) return failed(ENOENT, request);
  if (core_->forked()) return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  const int e = core_->send(request, value, 0, 0);
  return e == 0 ? Result<void>{} : failed(e, request);
}

Result<void> SyscallListener::refuse(const SyscallRequest& request, int error) {
  if (!core_) return failed(ENOENT, request);
  if (core_->forked()) return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  if (error < 1 || error > 4095)
    return fail(Errc::bad_spec, Step::answer_syscall, formatted("{} is no errno", error),
                "use 1 to 4095; respond() is for what succeeds");
  const int e = core_->send(request, 0, error, 0);
  return e == 0 ? Result<void>{} : failed(e, request);
}

Result<void> SyscallListener::proceed(const SyscallRequest& request) {
  if (!core_) return failed(ENOENT, request);
  if (core_->forked()) return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  const int e = core_->send(request, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
  return e == 0 ? Result<void>{} : failed(e, request);
}

Result<void> SyscallListener::respond_with(const SyscallRequest& request, FdView fd,
                                           const Adding& how) {
  if (!core_) return failed(ENOENT, request);
  if (core_->forked()) return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  const int n = core_->add(request, fd, how, addfd_send);
  return n >= 0 ? Result<void>{} : failed(-n, request);
}

Result<int> SyscallListener::add_descriptor(const SyscallRequest& request, FdView fd,
                                            const Adding& how) {
  if (!core_) return failed(ENOENT, request);
  if (core_->forked()) return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  const int n = core_->add(request, fd, how, 0);
  if (n < 0) return failed(-n, request);
  return n;
}

Result<bool> SyscallListener::waiting(const SyscallRequest& request) const {
  if (!core_) return false;
  if (core_->forked()) return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  const int e = core_->valid(request);
  if (e != 0 && e != ENOENT) return failed(e, request);
  return e == 0;
}

Result<Fd> SyscallListener::pidfd(const SyscallRequest& request) const {
  // The kernel opens processes, and the request may be of another thread than the first.
  std::string status;
  const std::string path = formatted("/proc/{}/status", request.thread.value);
  int e = detail::read_file_at(AT_FDCWD, path.c_str(), status);
  const std::size_t at = status.find("\nTgid:\t");
  int process = 0;
  if (e == 0 && at != std::string::npos)
    (void)std::from_chars(status.data() + at + 7, status.data() + status.size(), process);
  Fd fd(e == 0 ? static_cast<int>(::syscall(SYS_pidfd_open, process, 0)) : -1);
  if (e == 0 && !fd.valid()) e = errno;
  if (const int gone = core_ ? core_->valid(request) : ENOENT; gone != 0) e = gone;
  if (e != 0) return failed(e, request);
  return fd;
}

Result<void> SyscallListener::read(const SyscallRequest& request, std::uint64_t address,
                                   std::span<std::byte> into) const {
  if (core_ && core_->forked())
    return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  if (request.thread.value == 0) return failed(ESRCH, request);
  const iovec local{into.data(), into.size()};
  const iovec remote{reinterpret_cast<void*>(address), into.size()};  // NOLINT(*-int-to-ptr)
  const ssize_t n =
      into.empty() ? 0 : ::process_vm_readv(request.thread.value, &local, 1, &remote, 1, 0);
  int e = n < 0 ? errno : static_cast<std::size_t>(n) < into.size() ? EFAULT : 0;
  if (const int gone = core_ ? core_->valid(request) : ENOENT; gone != 0) e = gone;
  return e == 0 ? Result<void>{} : failed(e, request);
}

Result<std::string> SyscallListener::read_string(const SyscallRequest& request,
                                                 std::uint64_t address, std::size_t most) const {
  constexpr std::size_t page = 4096;  // the smallest: what is behind it may not be mapped
  std::string out;
  while (out.size() < most) {
    const std::uint64_t from = address + out.size();
    std::array<std::byte, page> buffer;
    const std::span piece(buffer.data(), std::min(page - from % page, most - out.size()));
    if (auto ok = read(request, from, piece); !ok) return fail(ok);
    const char* const text = reinterpret_cast<const char*>(piece.data());
    const std::size_t size = ::strnlen(text, piece.size());
    out.append(text, size);
    if (size < piece.size()) return out;
  }
  return failed(ENAMETOOLONG, request);
}

Result<void> SyscallListener::write(const SyscallRequest& request, std::uint64_t address,
                                    std::span<const std::byte> from) const {
  if (core_ && core_->forked())
    return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  if (request.thread.value == 0) return failed(ESRCH, request);
  // First the memory, and then the question whether it is the one of who asks: what is open stays
  // the memory of the same process, whoever has its number by then.
  const Fd memory(
      ::open(formatted("/proc/{}/mem", request.thread.value).c_str(), O_WRONLY | O_CLOEXEC));
  int e = memory.valid() ? 0 : errno;
  if (const int gone = core_ ? core_->valid(request) : ENOENT; gone != 0)
    return failed(gone, request);
  ssize_t n = 0;
  if (e == EACCES) {
    // The owner of the container's user namespace may write there, but not open the file, which is
    // somebody else's. A number that goes to another in between leads to no more than what this
    // user may change anyway.
    const iovec local{const_cast<std::byte*>(from.data()), from.size()};
    const iovec remote{reinterpret_cast<void*>(address), from.size()};  // NOLINT(*-int-to-ptr)
    if (!from.empty()) n = ::process_vm_writev(request.thread.value, &local, 1, &remote, 1, 0);
    e = n < 0 ? errno : 0;
  } else if (e == 0 && !from.empty()) {
    n = ::pwrite(memory.get(), from.data(), from.size(), static_cast<off_t>(address));
    // EINVAL: no process has an address like that.
    e = n >= 0 ? 0 : errno == EIO || errno == EINVAL ? EFAULT : errno;
  }
  if (e == 0 && static_cast<std::size_t>(n) < from.size()) e = EFAULT;
  if (const int gone = core_->valid(request); gone != 0) e = gone;
  return e == 0 ? Result<void>{} : failed(e, request);
}

Result<SyscallListener::Place> SyscallListener::place(const SyscallRequest& request, int dirfd,
                                                      const std::string& path) const {
  const auto of = [&](const char* what) {
    return formatted("/proc/{}/{}", request.thread.value, what);
  };
  if (core_ && core_->forked())
    return fail(Errc::in_forked_child, Step::answer_syscall, "a listener");
  int e = request.thread.value == 0 ? ESRCH : path.empty() ? ENOENT : 0;
  std::string whole = path;
  // procfs tells paths from the root of the mount namespace; the thread's own may be further down.
  const auto below_root = [&](std::string_view at) -> std::optional<std::string> {
    std::array<char, PATH_MAX> root;
    const ssize_t n = ::readlink(of("root").c_str(), root.data(), root.size());
    if (n < 1 || !at.starts_with('/')) return {};
    const std::string_view top(root.data(), static_cast<std::size_t>(n));
    if (top == "/") return std::string(at);
    if (!at.starts_with(top) || (at.size() > top.size() && at[top.size()] != '/')) return {};
    return std::string(at.substr(top.size()));
  };
  if (e == 0 && path.front() != '/') {
    std::array<char, PATH_MAX> at;
    const std::string link = of(dirfd == AT_FDCWD ? "cwd" : formatted("fd/{}", dirfd).c_str());
    const ssize_t n = ::readlink(link.c_str(), at.data(), at.size());
    if (n < 0)
      e = dirfd == AT_FDCWD || errno != ENOENT ? errno : EBADF;
    else if (auto inside = below_root(std::string_view(at.data(), static_cast<std::size_t>(n))))
      whole = formatted("{}/{}", *inside, path);
    else
      e = ENOTDIR;
  }
  while (whole.size() > 1 && whole.back() == '/') whole.pop_back();
  const std::size_t slash = whole.rfind('/');
  Place out;
  if (e == 0) {
    out.name = whole.substr(slash + 1);
    if (out.name.empty() || out.name == "." || out.name == "..") e = EEXIST;
  }
  if (e == 0) {
    const Fd root(::open(of("root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const std::string directory = whole.substr(0, slash + 1);
    if (root.valid())
      // EAGAIN: something was renamed meanwhile.
      for (int i = 0; i < 128 && !out.directory.valid(); ++i) {
        out.directory.reset(static_cast<int>(
            ::syscall(SYS_openat2, root.get(), directory.c_str(), &how, sizeof how)));
        if (!out.directory.valid() && errno != EAGAIN) break;
      }
    if (!out.directory.valid()) e = errno;
  }
  if (const int gone = core_ ? core_->valid(request) : ENOENT; gone != 0) e = gone;
  if (e != 0) return failed(e, request);
  return out;
}

namespace detail {

Result<void> wait_for_either(Container& box, SyscallListener& listener) {
  if (listener.done())
    if (auto next = box.take_listener()) listener = std::move(*next);
  std::array<pollfd, 2> list{{{box.poll_fd().get(), POLLIN, 0},
                              {listener.done() ? -1 : listener.poll_fd().get(), POLLIN, 0}}};
  while (::poll(list.data(), list.size(), -1) < 0)
    if (errno != EINTR) return fail(errno, Step::wait, "poll");
  return {};
}

}  // namespace detail

}  // namespace condroid::inline v0
