#include "condroid/control/client.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

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
  [[nodiscard]] Result<void> wait(short events);
  std::string subject_, address_;
  Clock::time_point until_;
  Fd fd_;
};

Result<void> Call::wait(short events) {
  int left = -1;
  if (until_ != Clock::time_point::max())
    left = condroid::detail::poll_timeout(
        std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(until_ - Clock::now())));
  const int ready = condroid::detail::wait_for_fd(fd_.get(), events, left);
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
  const wire::Request request{.command = static_cast<std::uint32_t>(command),
                              .size = static_cast<std::int32_t>(data.size()),
                              .data = data.empty() ? number : 0};
  if (const int e = send_with(fd_, &request, sizeof request, {}); e != 0) return failed(e);
  if (data.empty()) return {};
  if (const int e = send_with(fd_, data.data(), data.size(), {}); e != 0) return failed(e);
  return {};
}

Result<void> Call::pass(FdView fd) {
  const char byte = 0;
  const int number = fd.get();
  if (const int e = send_with(fd_, &byte, 1, {&number, 1}); e != 0) return failed(e);
  return {};
}

Result<Reply> Call::reply(std::size_t most_fds, std::int32_t most) {
  Reply r;
  if (auto ok = wait(POLLIN); !ok) return fail(ok);
  iovec part{&r.head, sizeof r.head};
  // Room for more than can be: all that came is taken, and closed where it is too many.
  constexpr std::size_t room = condroid::detail::most_message_fds;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * room)> control{};
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control.data();
  m.msg_controllen = control.size();
  const ssize_t n = ::recvmsg(fd_.get(), &m, MSG_CMSG_CLOEXEC);
  if (n < 0) return failed(errno);
  for (const cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr;
       c = CMSG_NXTHDR(&m, const_cast<cmsghdr*>(c))) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(c) + i * sizeof number, sizeof number);
      r.fds.emplace_back(number);
    }
  }
  if (n == 0) return failed(ECONNRESET);
  if (n != static_cast<ssize_t>(sizeof r.head)) return nonsense("half an answer");
  if (r.fds.size() > most_fds) return nonsense("more descriptors than were asked for");
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
  return Pid{static_cast<std::int32_t>(r->head.data)};
}

Result<Fd> Client::init_pidfd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_init_pidfd, {}, 0, 1), name_);
}

Result<std::uint64_t> Client::namespaces() const {
  auto r = call(lxcpath_, name_, deadline_, Command::get_clone_flags);
  if (!r) return fail(r);
  return static_cast<std::uint64_t>(r->head.data);
}

Result<void> Client::stop() const {
  Call c(lxcpath_, name_, deadline_);
  if (auto ok = c.ask(Command::stop, {}); !ok) return ok;
  return c.end();
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
  return ControllerCgroup{
      .layout = layout_of(what.layout),
      .cgroup = {.v2 = what.type == wire::cgroup2_magic, .dir = std::move(r->fds.front())}};
}

}  // namespace

Result<ControllerCgroup> Client::cgroup_fd(std::string_view controller) const {
  return controller_cgroup(lxcpath_, name_, deadline_, Command::get_cgroup_fd, controller);
}

Result<ControllerCgroup> Client::limit_cgroup_fd(std::string_view controller) const {
  return controller_cgroup(lxcpath_, name_, deadline_, Command::get_limit_cgroup_fd, controller);
}

Result<Fd> Client::cgroup2_fd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_cgroup2_fd, {}, 0, 1), name_);
}

Result<Fd> Client::limit_cgroup2_fd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_limit_cgroup2_fd, {}, 0, 1), name_);
}

Result<CgroupContexts> Client::cgroup_contexts() const {
  const wire::CgroupContext empty;
  auto r = call(lxcpath_, name_, deadline_, Command::get_cgroup_ctx, bytes_of(empty), 0,
                wire::most_hierarchies);
  if (!r) return fail(r);
  if (r->data.size() != sizeof empty) return fail(one_missing(name_));
  const auto what = wire::read_as<wire::CgroupContext>(r->data.data());
  if (what.count != r->fds.size()) return fail(one_missing(name_));
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
  if (!r && r.error().is_errno(ENODATA)) return std::string{};
  if (!r) return fail(r);
  return std::move(r->data);
}

Result<Fd> Client::devpts_fd() const {
  return one_fd(call(lxcpath_, name_, deadline_, Command::get_devpts_fd, {}, 0, 1), name_);
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
