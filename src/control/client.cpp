#include "condroid/control/client.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "condroid/sys/pidfd.hpp"
#include "control/address.hpp"
#include "control/wire.hpp"
#include "formatted.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::control {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using wire::Answer;
using wire::Command;

/// More than any answer has, and little enough that nobody fills our memory.
constexpr std::int32_t most_console = std::int32_t{16} << 20U;

struct Reply {
  Answer head{};
  std::string data = {};
  std::vector<Fd> fds = {};
  Fd connection = {};
};

/// One question.
class Call {
 public:
  Call(const std::string& lxcpath, const std::string& name, milliseconds deadline)
      : subject_(formatted("container '{}' in '{}'", name, lxcpath)),
        address_(command_address(lxcpath, name)),
        until_(deadline.count() < 0 ? Clock::time_point::max() : Clock::now() + deadline) {}

  [[nodiscard]] Result<void> ask(Command command, std::string_view data, std::int64_t number = 0);
  /// With at most so many descriptors, and `most` bytes after it. A negative answer is an error.
  [[nodiscard]] Result<Reply> reply(std::size_t most_fds = 0, std::int32_t most = wire::most_data);
  /// Waits until the other end is closed.
  [[nodiscard]] Result<void> end();
  /// The same for the end of a process.
  [[nodiscard]] Result<void> end_of(const Fd& pidfd) { return wait_for(pidfd.get(), POLLIN); }
  [[nodiscard]] Result<void> pass(FdView fd);
  [[nodiscard]] tl::unexpected<Error> failed(int error) const {
    return fail(error, Step::command_socket, subject_);
  }
  [[nodiscard]] tl::unexpected<Error> nonsense(const char* what) const {
    return fail(Errc::protocol, Step::command_socket, formatted("{}: {}", subject_, what));
  }
  [[nodiscard]] Fd take() noexcept { return std::move(fd_); }
  [[nodiscard]] const std::string& subject() const noexcept { return subject_; }

 private:
  [[nodiscard]] Result<void> wait_for(int fd, short events);
  [[nodiscard]] Result<void> wait(short events) { return wait_for(fd_.get(), events); }
  [[nodiscard]] Result<void> sent(int error) const;
  std::string subject_, address_;
  Clock::time_point until_;
  Fd fd_;
};

Result<void> Call::wait_for(int fd, short events) {
  int left = -1;
  if (until_ != Clock::time_point::max())
    left = condroid::detail::poll_timeout(
        std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(until_ - Clock::now())));
  const int ready = condroid::detail::wait_for_fd(fd, events, left);
  if (ready < 0) return failed(-ready);
  if (ready == 0) return fail(Errc::deadline, Step::command_socket, subject_);
  return {};
}

Result<void> Call::ask(Command command, std::string_view data, std::int64_t number) {
  const auto at = abstract_address(address_);
  if (!at) return failed(ENAMETOOLONG);
  // Connecting waits where the queue is full: without O_NONBLOCK for as long as it is.
  fd_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.valid()) return failed(errno);
  while (::connect(fd_.get(), at->get(), at->size) != 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return failed(errno);
    if (Clock::now() >= until_) return fail(Errc::deadline, Step::command_socket, subject_);
    constexpr int a_moment = 10;
    (void)::poll(nullptr, 0, a_moment);
  }
  // Anybody can have the address.
  ucred peer{};
  socklen_t length = sizeof peer;
  if (::getsockopt(fd_.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return failed(errno);
  if (peer.uid != 0 && peer.uid != ::geteuid()) return failed(EACCES);
  // LXC's server wants our credentials from the moment on in which it has accepted us; what we say
  // before that bears them only if we want some ourselves. What is answered is to be without.
  constexpr int yes = 1, no = 0;
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) != 0) return failed(errno);
  const wire::Request request{.command = static_cast<std::uint32_t>(command),
                              .size = static_cast<std::int32_t>(data.size()),
                              .data = data.empty() ? number : 0};
  const int asked = send_with(fd_, &request, sizeof request, {});
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_PASSCRED, &no, sizeof no) != 0) return failed(errno);
  if (auto ok = sent(asked); !ok || data.empty()) return ok;
  return sent(send_with(fd_, data.data(), data.size(), {}));
}

/// Who refuses the question does not wait for the rest of it: the answer is there.
Result<void> Call::sent(int error) const {
  if (error != 0 && error != EPIPE && error != ECONNRESET) return failed(error);
  return {};
}

Result<void> Call::pass(FdView fd) {
  const char byte = 0;
  const int number = fd.get();
  return sent(send_with(fd_, &byte, 1, {&number, 1}));
}

Result<Reply> Call::reply(std::size_t most_fds, std::int32_t most) {
  Reply r;
  if (auto ok = wait(POLLIN); !ok) return fail(ok);
  r.fds.resize(most_fds);
  const auto head = condroid::detail::receive_message(fd_.get(), &r.head, sizeof r.head, r.fds);
  if (head.error != 0) return failed(head.error);
  if (head.end) return failed(ECONNRESET);
  if (head.truncated) return nonsense("more descriptors than were asked for");
  if (head.size != sizeof r.head) return nonsense("half an answer");
  r.fds.resize(head.fd_count);
  if (r.head.size < 0 || r.head.size > most) return nonsense("an answer of impossible size");
  const auto size = static_cast<std::size_t>(r.head.size);
  while (r.data.size() < size) {
    if (auto ok = wait(POLLIN); !ok) return fail(ok);
    std::array<char, 65536> some{};
    const ssize_t got =
        ::recv(fd_.get(), some.data(), std::min(some.size(), size - r.data.size()), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return failed(errno);
    if (got == 0) return nonsense("half an answer");
    r.data.append(some.data(), static_cast<std::size_t>(got));
  }
  if (r.head.result < 0) {
    constexpr int most_errno = 4095;
    if (r.head.result < -most_errno) return nonsense("an answer that is no error");
    return failed(-r.head.result);
  }
  return r;
}

Result<void> Call::end() {
  for (;;) {
    if (auto ok = wait(POLLIN); !ok) return fail(ok);
    Answer a;
    const ssize_t n = ::recv(fd_.get(), &a, sizeof a, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return {};
    if (n < 0) return failed(errno);
    if (n == static_cast<ssize_t>(sizeof a) && a.result < 0) return failed(-a.result);
    return nonsense("an answer where the end should be");
  }
}

Result<Reply> call(const std::string& lxcpath, const std::string& name, milliseconds deadline,
                   Command command, std::string_view data = {}, std::int64_t number = 0,
                   std::size_t most_fds = 0, std::int32_t most = wire::most_data) {
  Call c(lxcpath, name, deadline);
  if (auto ok = c.ask(command, data, number); !ok) return fail(ok);
  auto r = c.reply(most_fds, most);
  if (r) r->connection = c.take();
  return r;
}

std::string terminated(std::string_view text) { return std::string(text) + '\0'; }

/// Up to its zero byte, which all have.
std::string text_of(const Reply& r) { return r.data.substr(0, r.data.find('\0')); }

template <class T>
std::string_view bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

Error one_missing(const std::string& name) {
  return make_error(Errc::protocol, Step::command_socket,
                    formatted("container '{}': an answer without a descriptor", name));
}

Result<Fd> one_fd(Result<Reply> r, const std::string& name) {
  if (!r) return fail(r);
  if (r->fds.size() != 1) return fail(one_missing(name));
  return std::move(r->fds.front());
}

Result<std::string> one_text(Result<Reply> r) {
  if (!r) return fail(r);
  return text_of(*r);
}

/// A descriptor that is what it should be.
template <class Is>
Result<Fd> one_fd(Result<Reply> r, const std::string& name, Is is, const char* what) {
  auto fd = one_fd(std::move(r), name);
  if (fd && !is(*fd))
    return fail(Errc::protocol, Step::command_socket,
                formatted("container '{}': a descriptor that is no {}", name, what));
  return fd;
}

bool is_pidfd(const Fd& fd) {
  auto copy = Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  return copy.valid() && Pidfd::from(std::move(copy)).has_value();
}
bool is_terminal(const Fd& fd) {
  int number = 0;
  return ::ioctl(fd.get(), TIOCGPTN, &number) == 0;
}
bool is_on(const Fd& fd, std::int64_t magic) {
  struct statfs fs {};
  return ::fstatfs(fd.get(), &fs) == 0 && fs.f_type == magic;
}
bool is_devpts(const Fd& fd) { return is_on(fd, DEVPTS_SUPER_MAGIC); }
bool is_v2(const Fd& fd) { return is_on(fd, CGROUP2_SUPER_MAGIC); }
bool is_cgroup(const Fd& fd) { return is_v2(fd) || is_on(fd, CGROUP_SUPER_MAGIC); }

Result<void> nothing_more(Result<Reply> r) {
  if (!r) return fail(r);
  return {};
}

Result<State> state_from(std::int64_t number, const std::string& subject) {
  if (number >= 0 && number < static_cast<std::int64_t>(state_count))
    return static_cast<State>(number);
  return fail(Errc::protocol, Step::command_socket, formatted("{}: state {}", subject, number));
}

CgroupLayout layout_of(std::int32_t number) {
  return number >= 0 && number <= 2 ? static_cast<CgroupLayout>(number) : CgroupLayout::unknown;
}

}  // namespace

Client::Client(std::string lxcpath, std::string name, milliseconds deadline)
    : lxcpath_(std::move(lxcpath)), name_(std::move(name)), deadline_(deadline) {}

Result<State> Client::state() const {
  auto r = call(lxcpath_, name_, deadline_, Command::get_state);
  if (!r) return fail(r);
  return state_from(r->head.data, formatted("container '{}'", name_));
}

Result<Pid> Client::init_pid() const {
  auto r = call(lxcpath_, name_, deadline_, Command::get_init_pid);
  if (!r) return fail(r);
  if (r->head.data <= 0)
    return fail(ESRCH, Step::command_socket, formatted("container '{}'", name_));
  if (r->head.data > std::numeric_limits<std::int32_t>::max())
    return fail(Errc::protocol, Step::command_socket,
                formatted("container '{}': pid {}", name_, r->head.data));
  return Pid{static_cast<std::int32_t>(r->head.data)};
}

Result<Fd> Client::init_pidfd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_init_pidfd, {}, 0, 1), name_,
                is_pidfd, "pidfd");
}

Result<std::uint64_t> Client::namespaces() const {
  auto r = call(lxcpath_, name_, deadline_, Command::get_clone_flags);
  if (!r) return fail(r);
  return static_cast<std::uint64_t>(r->head.data);
}

Result<void> Client::stop() const {
  // The end of a connection may be anything; an older LXC tells no more.
  const auto pidfd = init_pidfd();
  Call c(lxcpath_, name_, deadline_);
  if (auto ok = c.ask(Command::stop, {}); !ok) return ok;
  if (auto ok = c.end(); !ok) return ok;
  return pidfd ? c.end_of(*pidfd) : Result<void>{};
}

Result<std::optional<std::string>> Client::config_item(std::string_view key) const {
  auto r = call(lxcpath_, name_, deadline_, Command::get_config_item, terminated(key));
  // What is not set is answered so, as is a stranger.
  if (!r && r.error().is_errno(EPERM)) {
    if (auto mine = state(); !mine) return fail(mine);
    return std::optional<std::string>{};
  }
  if (!r) return fail(r);
  return std::optional(text_of(*r));
}

Result<std::string> Client::name() const {
  return one_text(call(lxcpath_, name_, deadline_, Command::get_name));
}

Result<std::string> Client::lxcpath() const {
  return one_text(call(lxcpath_, name_, deadline_, Command::get_lxcpath));
}

Result<StateWait> Client::wait_for(std::initializer_list<State> states) const {
  return wait_for(std::vector<State>(states));
}

namespace {

Result<Reply> ask_for(const std::string& lxcpath, const std::string& name, milliseconds deadline,
                      const std::vector<State>& states, std::int32_t how) {
  std::array<std::int32_t, state_count> wanted{};
  for (const State s : states) wanted.at(static_cast<std::size_t>(s)) = how;
  return call(lxcpath, name, deadline, Command::add_state_client, bytes_of(wanted));
}

}  // namespace

Result<StateWait> Client::wait_for(const std::vector<State>& states) const {
  auto r = ask_for(lxcpath_, name_, deadline_, states, wire::also_now);
  if (!r) return fail(r);
  StateWait w;
  w.subject_ = formatted("container '{}'", name_);
  w.fd_ = std::move(r->connection);
  if (r->head.result == wire::no_state) return w;
  auto now = state_from(r->head.result, w.subject_);
  if (!now) return fail(now);
  w.already_ = *now;
  return w;
}

Result<StateWait> Client::wait_for_next(const std::vector<State>& states) const {
  auto r = ask_for(lxcpath_, name_, deadline_, states, wire::also_now + 1);
  if (!r) return fail(r);
  StateWait w;
  w.subject_ = formatted("container '{}'", name_);
  w.fd_ = std::move(r->connection);
  if (r->head.result != wire::no_state)
    return fail(Errc::protocol, Step::command_socket,
                formatted("{}: {} where a state comes later", w.subject_, r->head.result));
  return w;
}

Result<std::optional<State>> StateWait::next(milliseconds limit) {
  if (already_) return already_;
  const int ready =
      condroid::detail::wait_for_fd(fd_.get(), POLLIN, condroid::detail::poll_timeout(limit));
  if (ready < 0) return fail(-ready, Step::command_socket, subject_);
  if (ready == 0) return std::optional<State>{};
  wire::StateMessage message;
  const ssize_t n = ::recv(fd_.get(), &message, sizeof message, 0);
  if (n < 0 && errno != ECONNRESET) return fail(errno, Step::command_socket, subject_);
  if (n <= 0)
    already_ = State::stopped;
  else if (n != static_cast<ssize_t>(sizeof message) || message.type != wire::StateMessage::state)
    return fail(Errc::protocol, Step::command_socket, subject_ + ": no state");
  else if (auto s = state_from(message.value, subject_); !s)
    return fail(s);
  else
    already_ = *s;
  return already_;
}

Result<void> Client::tell_state(State state) const {
  return nothing_more(call(lxcpath_, name_, deadline_, Command::serve_state_clients, {},
                           static_cast<std::int64_t>(state)));
}

namespace {

/// The answer may take as long as what it is about.
milliseconds longer(milliseconds deadline, std::chrono::seconds limit) {
  if (deadline.count() < 0 || limit.count() < 0) return milliseconds{-1};
  return deadline + std::min(limit, std::chrono::seconds{std::chrono::hours{24}});
}

}  // namespace

Result<void> Client::freeze(std::chrono::seconds limit) const {
  return nothing_more(
      call(lxcpath_, name_, longer(deadline_, limit), Command::freeze, {}, limit.count()));
}

Result<void> Client::thaw(std::chrono::seconds limit) const {
  return nothing_more(
      call(lxcpath_, name_, longer(deadline_, limit), Command::unfreeze, {}, limit.count()));
}

Result<std::string> Client::cgroup(std::string_view controller) const {
  return one_text(call(lxcpath_, name_, deadline_, Command::get_cgroup, terminated(controller)));
}

Result<std::string> Client::limit_cgroup(std::string_view controller) const {
  return one_text(
      call(lxcpath_, name_, deadline_, Command::get_limit_cgroup, terminated(controller)));
}

namespace {

Result<ControllerCgroup> controller_cgroup(const std::string& lxcpath, const std::string& name,
                                           milliseconds deadline, Command command,
                                           std::string_view controller) {
  wire::CgroupFd what;
  if (controller.size() >= what.controller.size())
    return fail(ENAMETOOLONG, Step::command_socket, formatted("controller '{}'", controller));
  std::memcpy(what.controller.data(), controller.data(), controller.size());
  auto r = call(lxcpath, name, deadline, command, bytes_of(what), 0, 1);
  if (!r) return fail(r);
  if (r->fds.size() != 1 || r->data.size() != sizeof what) return fail(one_missing(name));
  what = wire::read_as<wire::CgroupFd>(r->data.data());
  auto dir = one_fd(std::move(r), name, is_cgroup, "cgroup");
  if (!dir) return fail(dir);
  const bool v2 = is_v2(*dir);
  return ControllerCgroup{.layout = layout_of(what.layout),
                          .cgroup = {.v2 = v2, .dir = std::move(*dir)}};
}

}  // namespace

Result<ControllerCgroup> Client::cgroup_fd(std::string_view controller) const {
  return controller_cgroup(lxcpath_, name_, deadline_, Command::get_cgroup_fd, controller);
}

Result<ControllerCgroup> Client::limit_cgroup_fd(std::string_view controller) const {
  return controller_cgroup(lxcpath_, name_, deadline_, Command::get_limit_cgroup_fd, controller);
}

Result<Fd> Client::cgroup2_fd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_cgroup2_fd, {}, 0, 1), name_, is_v2,
                "cgroup of v2");
}

Result<Fd> Client::limit_cgroup2_fd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_limit_cgroup2_fd, {}, 0, 1), name_,
                is_v2, "cgroup of v2");
}

Result<CgroupContexts> Client::cgroup_contexts() const {
  const wire::CgroupContext empty;
  auto r = call(lxcpath_, name_, deadline_, Command::get_cgroup_ctx, bytes_of(empty), 0,
                wire::most_hierarchies);
  if (!r) return fail(r);
  if (r->data.size() != sizeof empty) return fail(one_missing(name_));
  const auto what = wire::read_as<wire::CgroupContext>(r->data.data());
  if (what.count != r->fds.size()) return fail(one_missing(name_));
  if (!std::ranges::all_of(r->fds, is_cgroup))
    return fail(Errc::protocol, Step::command_socket,
                formatted("container '{}': a descriptor that is no cgroup", name_));
  return CgroupContexts{.layout = layout_of(what.layout), .dirs = std::move(r->fds)};
}

Result<std::string> Client::systemd_scope() const {
  return one_text(call(lxcpath_, name_, deadline_, Command::get_systemd_scope));
}

Result<void> Client::apply(const DeviceRule& rule) const {
  wire::DeviceRule what;
  if (rule.access.size() >= what.access.size())
    return fail(EINVAL, Step::command_socket, formatted("access '{}' to a device", rule.access));
  what.type = rule.type;
  what.major = rule.major ? static_cast<std::int32_t>(*rule.major) : -1;
  what.minor = rule.minor ? static_cast<std::int32_t>(*rule.minor) : -1;
  std::memcpy(what.access.data(), rule.access.data(), rule.access.size());
  what.allow = rule.allow ? 1 : 0;
  return nothing_more(
      call(lxcpath_, name_, deadline_, Command::add_bpf_device_cgroup, bytes_of(what)));
}

Result<ClaimedTerminal> Client::terminal(std::optional<unsigned> number) const {
  auto r = call(lxcpath_, name_, deadline_, Command::get_tty_fd, {},
                number ? static_cast<std::int64_t>(*number) : -1, 1);
  if (!r) return fail(r);
  // As LXC's own says that there is none.
  if (r->fds.size() != 1)
    return fail(EBADF, Step::command_socket, formatted("terminal of container '{}'", name_));
  if (!is_terminal(r->fds.front()) || r->head.data < 0 ||
      r->head.data > std::numeric_limits<std::int32_t>::max())
    return fail(Errc::protocol, Step::command_socket,
                formatted("container '{}': terminal {} that is none", name_, r->head.data));
  return ClaimedTerminal{.master = std::move(r->fds.front()),
                         .connection = std::move(r->connection),
                         .number = static_cast<unsigned>(r->head.data)};
}

Result<std::string> Client::console_log(const ConsoleLogRequest& what) const {
  const wire::ConsoleLog ask{.clear = what.clear ? std::uint8_t{1} : std::uint8_t{0},
                             .read = what.read ? std::uint8_t{1} : std::uint8_t{0},
                             .most = what.most,
                             .write_file = what.write_logfile ? std::uint8_t{1} : std::uint8_t{0}};
  auto r =
      call(lxcpath_, name_, deadline_, Command::console_log, bytes_of(ask), 0, 0, most_console);
  // No console that is kept, or nothing new.
  for (const int nothing : {ENODATA, EFAULT, ENOENT})
    if (!r && r.error().is_errno(nothing)) return std::string{};
  if (!r) return fail(r);
  return std::move(r->data);
}

Result<Fd> Client::devpts_fd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_devpts_fd, {}, 0, 1), name_,
                is_devpts, "devpts");
}

Result<Fd> Client::seccomp_notify_fd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_seccomp_notify_fd, {}, 0, 1), name_);
}

Result<void> Client::add_seccomp_listener(FdView listener) const {
  Call c(lxcpath_, name_, deadline_);
  if (auto ok = c.ask(Command::seccomp_notify_add_listener, {}); !ok) return ok;
  if (auto ok = c.pass(listener); !ok) return ok;
  return nothing_more(c.reply());
}

}  // namespace condroid::inline v0::control
