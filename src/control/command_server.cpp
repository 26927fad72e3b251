#include "control/command_server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "control/address.hpp"
#include "control/peer.hpp"
#include "formatted.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::control {

namespace {

using std::chrono::milliseconds;
using wire::Answer;
using wire::Command;

// What epoll says; clients come after these.
constexpr std::uint64_t id_socket = 0, id_timer = 1, id_terminal = 2, first_client = 16;

/// After a failure that may pass.
constexpr milliseconds retry_after{100};
/// How often it is asked whether all stands still, and whether the console takes more.
constexpr milliseconds ask_every{10};
constexpr milliseconds ask_at_last{320};
/// A terminal does not tell that it was given another size.
constexpr milliseconds look_at_size_every{500};
/// For who freezes without waiting, and for who was killed while thawing.
constexpr std::chrono::seconds settles_within{10}, thaws_within{2};
constexpr std::size_t fewest_clients = 4;
constexpr std::size_t most_input = 4096;
constexpr std::size_t most_output = std::size_t{64} << 10U;
constexpr int frames_at_once = 64;

Answer failed(int error) { return {.result = -error}; }

/// A string that ends with its only zero byte.
std::optional<std::string_view> text_of(std::string_view data) {
  if (data.empty() || data.find('\0') != data.size() - 1) return {};
  return data.substr(0, data.size() - 1);
}

/// A struct of the client's, which may be older or newer than ours: what we do not know must be
/// zero.
template <class T>
std::optional<T> extensible(std::string_view data) {
  T value{};
  if (data.size() > sizeof value &&
      data.substr(sizeof value).find_first_not_of('\0') != std::string_view::npos)
    return {};
  std::memcpy(&value, data.data(), std::min(data.size(), sizeof value));
  return value;
}

template <class T>
std::string_view bytes_of(const T& value, std::size_t most = sizeof(T)) {
  return {reinterpret_cast<const char*>(&value), std::min(most, sizeof value)};
}

}  // namespace

CommandServer::CommandServer(Served& served, std::string lxcpath, std::string name, Limits limits)
    : served_(served),
      lxcpath_(std::move(lxcpath)),
      name_(std::move(name)),
      limits_{.clients = std::max(limits.clients, fewest_clients),
              .strangers = limits.strangers,
              .patience = limits.patience},
      owner_(::getpid()),
      last_id_(first_client) {}

CommandServer::~CommandServer() {
  // What is served may be half gone.
  if (owner_ == ::getpid() && !over_) close_all();
}

Result<void> CommandServer::begin() {
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!epoll_.valid() || !timer_.valid() || !watch(timer_.get(), EPOLLIN, id_timer, false))
    return fail(errno, Step::command_socket, formatted("of container '{}'", name_));
  return {};
}

Result<void> CommandServer::listen() {
  const std::string address = command_address(lxcpath_, name_);
  const std::string subject = formatted("'@{}'", address);
  const auto at = abstract_address(address);
  if (!at) return fail(ENAMETOOLONG, Step::command_socket, subject);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  constexpr int backlog = 100;
  const int on = 1;  // inherited by each client
  if (!socket.valid() || ::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      ::bind(socket.get(), at->get(), at->size) != 0 || ::listen(socket.get(), backlog) != 0 ||
      !watch(socket.get(), EPOLLIN, id_socket, false))
    return fail(errno, Step::command_socket, subject);
  socket_ = std::move(socket);
  return {};
}

bool CommandServer::watch(int fd, std::uint32_t events, Id id, bool added) const {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  return ::epoll_ctl(epoll_.get(), added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0;
}

// ---- connections --------------------------------------------------------------------------------

void CommandServer::accept() {
  for (int n = 0; n < frames_at_once; ++n) {
    Fd client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client.valid()) {
      if (errno == EAGAIN) return;
      if (errno == ECONNABORTED || errno == EINTR) continue;
      // No descriptor, no memory: who waits in the queue would wake us all the time.
      paused_until_ = Clock::now() + retry_after;
      (void)watch(socket_.get(), 0, id_socket, true);
      return;
    }
    ucred peer{};
    socklen_t size = sizeof peer;
    int refused = EPERM;
    if (::getsockopt(client.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        may_ask(peer.uid, peer.gid))
      refused = refusal_by_place(client.get(), peer.pid);
    add(std::move(client), refused);
  }
}

void CommandServer::add(Fd client, int refused) {
  const bool stranger = refused != 0;
  const Id id = ++last_id_;
  const int on = 1;
  if (over_ || !make_room(stranger) ||
      ::setsockopt(client.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      !watch(client.get(), EPOLLIN, id, false))
    return;
  Connection c;
  c.fd = std::move(client);
  c.stranger = stranger;
  c.refused = refused;
  c.until = Clock::now() + limits_.patience;
  connections_.emplace(id, std::move(c));
}

/// Who has asked nothing yet, or does not take his answer, goes first: the oldest of them.
bool CommandServer::make_room(bool stranger) {
  const auto count = std::ranges::count_if(
      connections_, [&](const auto& one) { return one.second.stranger == stranger; });
  if (static_cast<std::size_t>(count) < (stranger ? limits_.strangers : limits_.clients))
    return true;
  for (const auto& [id, c] : connections_)
    if (c.stranger == stranger && c.phase < Connection::waits_state) {
      close(id);
      return true;
    }
  return false;
}

/// Who is kept leaves room for those who ask, and for those who stop it.
bool CommandServer::may_keep(bool stops) const {
  constexpr std::size_t share = 8, at_least = 2;
  const std::size_t free = stops ? 1 : std::max(limits_.clients / share, at_least);
  const auto kept = std::ranges::count_if(
      connections_, [](const auto& one) { return one.second.phase >= Connection::waits_state; });
  return static_cast<std::size_t>(kept) + free < limits_.clients;
}

void CommandServer::close(Id id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd.get(), nullptr);
  // A forked child may have a copy.
  (void)::shutdown(found->second.fd.get(), SHUT_RDWR);
  connections_.erase(found);
  std::erase_if(ttys_, [id](const auto& tty) { return tty.second == id; });
  if (proxy_ && proxy_->client == id) {
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, proxy_->terminal.get(), nullptr);
    proxy_.reset();
  }
}

void CommandServer::on_event(Id id, std::uint32_t events) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;  // closed by what came before
  switch (found->second.phase) {
    case Connection::request:
    case Connection::data:
      return receive(id);
    case Connection::listener:
      return receive_listener(id);
    case Connection::answering:
      if ((events & (EPOLLERR | EPOLLHUP)) != 0) return close(id);
      return flush(id);
    case Connection::waits_state:
    case Connection::waits_end:
    case Connection::holds_tty:
    case Connection::waits_freezer:
      return close(id);  // nothing else is waited for
  }
}

/// Both parts come in one piece each, or not at all.
void CommandServer::receive(Id id) {
  Connection& c = connections_.at(id);
  if (c.phase == Connection::request) {
    // With room for who sent it alone: descriptors that came along are closed by the kernel.
    iovec part{&c.asked, sizeof c.asked};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(ucred))> control{};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = control.data();
    m.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(c.fd.get(), &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n != static_cast<ssize_t>(sizeof c.asked)) return close(id);
    const cmsghdr* const head = CMSG_FIRSTHDR(&m);
    ucred who{.pid = 0, .uid = static_cast<uid_t>(-1), .gid = static_cast<gid_t>(-1)};
    if (head != nullptr && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_CREDENTIALS &&
        head->cmsg_len == CMSG_LEN(sizeof who))
      std::memcpy(&who, CMSG_DATA(head), sizeof who);
    if (c.stranger) return answer(id, failed(c.refused));
    if (!may_ask(who.uid, who.gid)) return answer(id, failed(EPERM));
    const auto command = static_cast<Command>(c.asked.command);
    if (command == Command::console_log && c.asked.size != sizeof(wire::ConsoleLog))
      return answer(id, failed(EINVAL));
    if (c.asked.size < 0 || c.asked.size > wire::most_data) return close(id);
    if (command == Command::seccomp_notify_add_listener) {
      c.phase = Connection::listener;
      return receive_listener(id);
    }
    c.in.clear();
    if (c.asked.size == 0) return handle(id);
    c.phase = Connection::data;
  }
  std::array<char, wire::most_data> data;
  const ssize_t n =
      ::recv(c.fd.get(), data.data(), static_cast<std::size_t>(c.asked.size), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n != c.asked.size) return close(id);
  c.in.assign(data.data(), static_cast<std::size_t>(n));
  handle(id);
}

void CommandServer::receive_listener(Id id) {
  Connection& c = connections_.at(id);
  char byte = 0;
  std::array<Fd, 1> fds;
  const auto got = condroid::detail::receive_message(c.fd.get(), &byte, 1, fds);
  if (got.error == EAGAIN) return;
  if (got.error != 0 || got.size != 1) return close(id);
  const bool one = got.fd_count == 1 && !got.truncated;
  answer(id, failed(one ? served_.add_seccomp_listener(std::move(fds[0])) : EINVAL));
}

void CommandServer::answer(Id id, Answer a, std::string_view data, FdView fd) {
  answer(id, a, data, fd.valid() ? std::vector<int>{fd.get()} : std::vector<int>{});
}

void CommandServer::answer(Id id, Answer a, std::string_view data, const std::vector<int>& fds) {
  Connection& c = connections_.at(id);
  a.size = static_cast<std::int32_t>(data.size());
  const int error = send_with(c.fd, &a, sizeof a, fds);
  if ((error == ETOOMANYREFS || error == EBADF) && !fds.empty()) return answer(id, failed(error));
  if (error != 0) return close(id);
  c.out.assign(data);
  c.phase = Connection::answering;
  flush(id);
}

void CommandServer::flush(Id id) {
  Connection& c = connections_.at(id);
  if (!c.out.empty()) {
    const ssize_t n = ::send(c.fd.get(), c.out.data(), c.out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) return close(id);
    if (n > 0) c.out.erase(0, static_cast<std::size_t>(n));
  }
  if (c.out.empty() || !watch(c.fd.get(), EPOLLOUT, id, true)) close(id);
}

/// An answer that is no end: what comes next is told later.
void CommandServer::keep(Id id, Connection::Phase phase) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  found->second.phase = phase;
  found->second.until.reset();
  found->second.in = {};
  // Its hang-up is always told; one who will say no more still listens.
  if (!watch(found->second.fd.get(), 0, id, true)) close(id);
}

// ---- commands -----------------------------------------------------------------------------------

void CommandServer::handle(Id id) {
  Connection& c = connections_.at(id);
  switch (static_cast<Command>(c.asked.command)) {
    case Command::get_tty_fd:
      return answer_tty(id);
    case Command::stop: {
      if (!may_keep(true)) return answer(id, failed(EAGAIN));
      if (const int error = served_.stop(); error != 0) return answer(id, failed(error));
      return keep(id, Connection::waits_end);
    }
    case Command::get_state:
      look_at_freezer();
      return answer(id, {.data = static_cast<std::int64_t>(state_)});
    case Command::get_init_pid:
      return answer(id, {.data = served_.pid().value > 0 ? served_.pid().value : -1});
    case Command::get_clone_flags: {
      // Who cannot be told all of them would enter some and take the others for the host's.
      const auto flags = served_.namespaces();
      return answer(id, flags ? Answer{.data = static_cast<std::int64_t>(*flags)} : failed(ESRCH));
    }
    case Command::get_cgroup:
    case Command::get_limit_cgroup:
      return answer_cgroup(id);
    case Command::get_config_item: {
      const auto key = text_of(c.in);
      if (!key) return answer(id, failed(EINVAL));
      const auto value = served_.config_item(*key);
      if (!value || value->empty()) return answer(id, failed(EPERM));
      return answer_text(id, *value);
    }
    case Command::get_name:
      return answer_text(id, name_);
    case Command::get_lxcpath:
      return answer_text(id, lxcpath_);
    case Command::add_state_client:
      return add_state_client(id);
    case Command::console_log:
      return answer_console_log(id);
    case Command::serve_state_clients: {
      if (c.asked.data < 0 || c.asked.data >= static_cast<std::int64_t>(state_count))
        return answer(id, failed(EINVAL));
      change_state(static_cast<State>(c.asked.data));
      return answer(id, {});
    }
    case Command::add_bpf_device_cgroup:
      return apply_rule(id);
    case Command::freeze:
    case Command::unfreeze:
      return answer_freezer(id);
    case Command::get_cgroup2_fd:
    case Command::get_limit_cgroup2_fd:
      return answer_cgroup2_fd(id);
    case Command::get_init_pidfd: {
      const FdView fd = served_.pidfd();
      return answer(id, fd.valid() ? Answer{} : failed(EBADF), {}, fd);
    }
    case Command::get_devpts_fd: {
      const Fd fd = served_.devpts();
      return answer(id, fd.valid() ? Answer{} : failed(EBADF), {}, fd);
    }
    case Command::get_seccomp_notify_fd: {
      const FdView fd = served_.seccomp_listener();
      return answer(id, fd.valid() ? Answer{} : failed(EBADF), {}, fd);
    }
    case Command::get_cgroup_ctx:
      return answer_contexts(id);
    case Command::get_cgroup_fd:
    case Command::get_limit_cgroup_fd:
      return answer_cgroup_fd(id);
    case Command::get_systemd_scope: {
      const auto scope = served_.systemd_scope();
      return scope ? answer_text(id, *scope) : answer(id, failed(EINVAL));
    }
    case Command::terminal_winch:
    case Command::seccomp_notify_add_listener:
      return close(id);
    case Command::count_:
      break;
  }
  answer(id, failed(ENOSYS));
}

void CommandServer::answer_text(Id id, std::string_view text) {
  std::string data(text);
  data.push_back('\0');
  if (data.size() > static_cast<std::size_t>(wire::most_data)) return answer(id, failed(E2BIG));
  answer(id, {}, data);
}

void CommandServer::answer_cgroup(Id id) {
  const Connection& c = connections_.at(id);
  if (c.in.empty()) return close(id);
  const auto controller = text_of(c.in);
  if (!controller) return answer(id, failed(EINVAL));
  for (const ServedCgroup& g : served_.cgroups())
    if (std::ranges::find(g.controllers, *controller) != g.controllers.end())
      return answer_text(
          id, static_cast<Command>(c.asked.command) == Command::get_cgroup && !g.inner.empty()
                  ? formatted("{}/{}", g.path, g.inner)
                  : g.path);
  close(id);
}

void CommandServer::answer_cgroup2_fd(Id id) {
  for (const ServedCgroup& g : served_.cgroups())
    if (g.v2)
      return answer(
          id, {}, {},
          static_cast<Command>(connections_.at(id).asked.command) == Command::get_cgroup2_fd
              ? g.home()
              : g.dir);
  answer(id, failed(EINVAL));
}

void CommandServer::answer_cgroup_fd(Id id) {
  const Connection& c = connections_.at(id);
  auto asked = extensible<wire::CgroupFd>(c.in);
  const std::size_t size = c.in.size();
  if (!asked || size < sizeof *asked || asked->controller.front() == '\0' ||
      asked->controller.back() != '\0')
    return answer(id, failed(EINVAL));
  const std::string_view controller = asked->controller.data();
  for (const ServedCgroup& g : served_.cgroups()) {
    if (std::ranges::find(g.controllers, controller) == g.controllers.end()) continue;
    asked->layout = static_cast<std::int32_t>(served_.layout());
    asked->type = g.v2 ? wire::cgroup2_magic : wire::cgroup1_magic;
    asked->utilities = g.v2 ? wire::has_devices | wire::has_freezer : 0;
    const Fd& dir =
        static_cast<Command>(c.asked.command) == Command::get_cgroup_fd ? g.home() : g.dir;
    asked->fd = dir.get();
    return answer(id, {}, bytes_of(*asked, size), dir);
  }
  answer(id, failed(ENOENT));
}

void CommandServer::answer_contexts(Id id) {
  const Connection& c = connections_.at(id);
  auto asked = extensible<wire::CgroupContext>(c.in);
  if (!asked || c.in.empty()) return answer(id, failed(EINVAL));
  const std::size_t size = c.in.size();
  const auto groups = served_.cgroups();
  std::vector<int> fds;
  // That of v2 comes last.
  for (const bool v2 : {false, true})
    for (const ServedCgroup& g : groups)
      if (g.v2 == v2 && fds.size() < wire::most_hierarchies) fds.push_back(g.home().get());
  asked->layout = static_cast<std::int32_t>(served_.layout());
  asked->utilities =
      served_.layout() == CgroupLayout::unified ? wire::has_devices | wire::has_freezer : 0;
  asked->count = static_cast<std::uint32_t>(fds.size());
  asked->fds.fill(-1);
  std::ranges::copy(fds, asked->fds.begin());
  answer(id, fds.empty() ? failed(ENOENT) : Answer{}, bytes_of(*asked, size), fds);
}

void CommandServer::answer_console_log(Id id) {
  const auto asked = wire::read_as<wire::ConsoleLog>(connections_.at(id).in.data());
  if (!served_.console().valid()) return answer(id, failed(EFAULT));
  std::uint64_t position = log_position_;
  std::string_view text = served_.console_since(position);
  const std::uint64_t begin = position - text.size();
  if (asked.read != 0 && text.empty()) return answer(id, failed(ENODATA));
  if (asked.most != 0)
    text =
        text.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(asked.most, text.size())));
  if (asked.clear != 0)
    log_position_ = position;
  else if (asked.read != 0)
    log_position_ = begin + text.size();
  answer(id, {}, asked.read != 0 ? text : std::string_view{});
}

void CommandServer::add_state_client(Id id) {
  Connection& c = connections_.at(id);
  if (c.in.size() != sizeof c.wanted) return answer(id, failed(EINVAL));
  std::memcpy(c.wanted.data(), c.in.data(), sizeof c.wanted);
  look_at_freezer();
  const auto now = static_cast<std::int32_t>(state_);
  if (c.wanted[static_cast<std::size_t>(state_)] == wire::also_now)
    return answer(id, {.result = now, .data = now});
  if (!may_keep()) return answer(id, failed(EAGAIN));
  const Answer later{.result = wire::no_state, .data = wire::no_state};
  if (::send(c.fd.get(), &later, sizeof later, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof later)
    return close(id);
  keep(id, Connection::waits_state);
}

void CommandServer::apply_rule(Id id) {
  const Connection& c = connections_.at(id);
  if (c.in.size() != sizeof(wire::DeviceRule)) return answer(id, failed(EINVAL));
  const auto rule = wire::read_as<wire::DeviceRule>(c.in.data());
  const auto access = std::string_view(rule.access.data(), rule.access.size());
  const auto number = [](std::int32_t n) {
    return n < 0 ? std::optional<std::uint32_t>{} : static_cast<std::uint32_t>(n);
  };
  if ((rule.type != 'a' && rule.type != 'b' && rule.type != 'c') ||
      access.find('\0') == std::string_view::npos || rule.major < -1 || rule.minor < -1 ||
      (rule.allow != 0 && rule.allow != 1))  // -1 is for LXC's lists of rules
    return answer(id, failed(EINVAL));
  const DeviceRule plain{.type = rule.type,
                         .major = number(rule.major),
                         .minor = number(rule.minor),
                         .access = std::string(access.substr(0, access.find('\0'))),
                         .allow = rule.allow == 1};
  if (plain.access.find_first_not_of("rwm") != std::string::npos) return answer(id, failed(EINVAL));
  const int error = served_.apply(plain);
  answer(id, {.result = error == 0 ? 0 : -1});
}

// ---- states -------------------------------------------------------------------------------------

void CommandServer::set_state(State state) {
  if (owner_ != ::getpid() || over_) return;
  change_state(state);
  news_.push_back(state);
  if (!busy_) tell();
}

/// What the owner does then may end the server: not in the middle of something.
void CommandServer::tell() {
  {
    const Busy now(busy_);
    while (!news_.empty()) {
      const State state = news_.front();
      news_.pop_front();
      served_.on_state(state);
    }
  }
  end_if_wanted();
}

void CommandServer::end_if_wanted() {
  const Close how = std::exchange(close_, Close::no);
  if (how == Close::end) end();
  if (how == Close::leave) leave();
}

/// Without telling the owner: who asks for it by a command tells others himself.
void CommandServer::change_state(State state) {
  state_ = state == State::thawed ? State::running : state;
  thawing_ = state == State::thawed;
  if (thawing_) thaws_until_ = Clock::now() + thaws_within;
  wire::StateMessage message;
  message.value = static_cast<std::int32_t>(state);
  std::memcpy(message.name.data(), name_.data(), std::min(name_.size(), message.name.size() - 1));
  std::vector<Id> told;
  for (const auto& [id, c] : connections_)
    if (c.phase == Connection::waits_state && c.wanted[static_cast<std::size_t>(state)] != 0) {
      (void)::send(c.fd.get(), &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
      told.push_back(id);
    }
  for (const Id id : told) close(id);
}

/// Somebody may have frozen it without us.
void CommandServer::look_at_freezer() {
  if (state_ != State::running && state_ != State::frozen) return;
  const auto frozen = served_.frozen();
  if (!frozen) return;
  if (thawing_) {
    // Who said so tells when it is true, and may have been killed before that.
    if (freezers_ || (*frozen && Clock::now() < thaws_until_)) return;
    change_state(State::running);
  }
  if (*frozen != (state_ == State::frozen)) set_state(*frozen ? State::frozen : State::running);
}

std::size_t CommandServer::waiting() const noexcept {
  return static_cast<std::size_t>(std::ranges::count_if(
      connections_, [](const auto& one) { return one.second.phase == Connection::waits_state; }));
}

void CommandServer::answer_freezer(Id id) {
  Connection& c = connections_.at(id);
  const bool freezes = c.asked.command == static_cast<std::uint32_t>(Command::freeze);
  const std::int64_t seconds = c.asked.size == 0 ? c.asked.data : 0;
  if (state_ == State::starting || state_ == State::stopping || state_ == State::stopped)
    return answer(id, failed(ESRCH));
  if (seconds != 0 && !may_keep()) return answer(id, failed(EAGAIN));
  if (const int error = served_.freeze(freezes); error != 0) return answer(id, failed(error));
  set_state(freezes ? State::freezing : State::thawed);
  c.freezes = freezes;
  c.phase = Connection::waits_freezer;
  c.until.reset();
  // An hour is for ever, as far as this connection is concerned.
  constexpr std::int64_t longest = 3600;
  if (seconds != 0)
    c.until =
        Clock::now() + std::chrono::seconds(seconds < 0 ? longest : std::min(seconds, longest));
  if (!watch(c.fd.get(), 0, id, true)) return close(id);
  freezers_ = true;
  freezer_pause_ = ask_every;
  settles_until_ = Clock::now() + settles_within;
  settle_freezers();
}

void CommandServer::settle_freezers() {
  if (!freezers_) return;
  const auto frozen = served_.frozen();
  if (frozen && *frozen && state_ == State::freezing) set_state(State::frozen);
  if (frozen && !*frozen && thawing_) set_state(State::running);
  std::vector<std::pair<Id, int>> done;
  freezers_ = (state_ == State::freezing || thawing_) && Clock::now() < settles_until_;
  for (const auto& [id, c] : connections_) {
    if (c.phase != Connection::waits_freezer) continue;
    if (!frozen)
      done.emplace_back(id, ESRCH);
    else if (*frozen == c.freezes || !c.until)
      done.emplace_back(id, 0);
    else if (*c.until <= Clock::now())
      done.emplace_back(id, ETIMEDOUT);
    else
      freezers_ = true;
  }
  if (!frozen) freezers_ = false;
  for (const auto& [id, error] : done) answer(id, failed(error));
}

void CommandServer::end() {
  if (owner_ != ::getpid() || over_) return;
  if (busy_) {
    close_ = Close::end;
    return;
  }
  {
    const Busy now(busy_);
    state_ = State::stopped;
    // Who looks at the console sees its last words, and who has asked already is answered still.
    pump();
    constexpr int rounds = 8;
    for (int i = 0; i < rounds && serve_events() > 0;) ++i;
    state_ = State::stopped;
  }
  close_all();
}

void CommandServer::leave() {
  if (owner_ != ::getpid() || over_) return;
  if (busy_) {
    if (close_ == Close::no) close_ = Close::leave;
    return;
  }
  close_all();
}

void CommandServer::close_all() {
  over_ = true;
  // Before the connections: who sees the end of his may have the address at once.
  if (socket_.valid()) {
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket_.get(), nullptr);
    // A forked child may have a copy: nobody is to wait in its queue.
    (void)::shutdown(socket_.get(), SHUT_RDWR);
    constexpr int most_queued = 4096;
    for (int i = 0; i < most_queued; ++i)
      if (!Fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)).valid())
        break;
    socket_.reset();
  }
  while (!connections_.empty()) close(connections_.begin()->first);
  // Nothing wakes any more.
  if (timer_.valid()) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, timer_.get(), nullptr);
  timer_.reset();
}

// ---- terminals ----------------------------------------------------------------------------------

void CommandServer::answer_tty(Id id) {
  Connection& c = connections_.at(id);
  std::size_t number = 0;
  FdView master;
  if (!may_keep()) return answer(id, failed(EAGAIN));
  if (c.asked.size == 0 && c.asked.data == 0) {
    if (!begin_proxy(id)) return answer(id, failed(EBADF));
    master = proxy_->pty.master();
  } else {
    const bool any = c.asked.size != 0 || c.asked.data < 0;
    const std::size_t count = served_.ttys();
    number = any ? 1 : static_cast<std::size_t>(c.asked.data);
    while (any && number <= count && ttys_.contains(number)) ++number;
    if (number > count || ttys_.contains(number)) return answer(id, failed(EBADF));
    master = served_.tty(number);
    if (!master.valid()) return answer(id, failed(EBADF));
    ttys_.emplace(number, id);
  }
  const Answer a{.data = static_cast<std::int64_t>(number)};
  const int fd = master.get();
  if (send_with(c.fd, &a, sizeof a, {&fd, 1}) != 0) return close(id);
  if (number == 0) (void)proxy_->pty.take_master();  // ends with the client's
  keep(id, Connection::holds_tty);
}

bool CommandServer::begin_proxy(Id id) {
  if (proxy_ || !served_.console().valid()) return false;
  auto pty = Pty::open();
  if (!pty) return false;
  Proxy p;
  p.client = id;
  p.terminal = pty->take_peer();
  p.pty = std::move(*pty);
  termios raw{};
  if (::tcgetattr(p.terminal.get(), &raw) != 0) return false;
  ::cfmakeraw(&raw);
  const int flags = ::fcntl(p.terminal.get(), F_GETFL);
  if (::tcsetattr(p.terminal.get(), TCSANOW, &raw) != 0 ||
      ::fcntl(p.terminal.get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return false;
  (void)served_.console_since(p.position);
  if (!watch(p.terminal.get(), EPOLLIN, id_terminal, false)) return false;
  p.events = EPOLLIN;
  proxy_ = std::move(p);
  return true;
}

/// Between the console and who looks at it. What he does not take in time is lost to him.
void CommandServer::pump() {
  console_waits_ = false;
  if (!proxy_) return;
  Proxy& p = *proxy_;
  if (p.to_container.size() < most_input) {
    std::array<char, most_input> some{};
    const ssize_t n = ::read(p.terminal.get(), some.data(), some.size());
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return close(p.client);
    if (n > 0) p.to_container.append(some.data(), static_cast<std::size_t>(n));
  }
  const FdView console = served_.console();
  if (!console.valid()) p.to_container.clear();
  if (!p.to_container.empty()) {
    const ssize_t n = ::write(console.get(), p.to_container.data(), p.to_container.size());
    if (n > 0) p.to_container.erase(0, static_cast<std::size_t>(n));
    if (n < 0 && errno != EAGAIN && errno != EINTR) p.to_container.clear();  // nobody has it open
    console_waits_ = !p.to_container.empty();
  }
  if (const auto size = window_size(p.terminal); size && *size != p.size) {
    p.size = *size;
    // One that nobody has set is none.
    if (console.valid() && size->rows != 0) (void)set_window_size(console, *size);
  }
  p.to_client.append(served_.console_since(p.position));
  if (p.to_client.size() > most_output) p.to_client.erase(0, p.to_client.size() - most_output);
  if (!p.to_client.empty()) {
    const ssize_t n = ::write(p.terminal.get(), p.to_client.data(), p.to_client.size());
    if (n < 0 && errno != EAGAIN && errno != EINTR) return close(p.client);
    if (n > 0) p.to_client.erase(0, static_cast<std::size_t>(n));
  }
  const std::uint32_t wanted = (p.to_container.size() < most_input ? std::uint32_t{EPOLLIN} : 0U) |
                               (p.to_client.empty() ? 0U : std::uint32_t{EPOLLOUT});
  if (wanted != p.events && watch(p.terminal.get(), wanted, id_terminal, true)) p.events = wanted;
}

// ---- the loop -----------------------------------------------------------------------------------

void CommandServer::do_what_is_due() {
  const auto now = Clock::now();
  if (paused_until_ && *paused_until_ <= now) {
    paused_until_.reset();
    if (socket_.valid()) (void)watch(socket_.get(), EPOLLIN, id_socket, true);
  }
  std::vector<Id> late;
  for (const auto& [id, c] : connections_)
    if (c.until && *c.until <= now && c.phase != Connection::waits_freezer) late.push_back(id);
  for (const Id id : late) close(id);
}

void CommandServer::set_timer() {
  std::optional<Clock::time_point> next = paused_until_;
  const auto sooner = [&next](Clock::time_point at) {
    if (!next || at < *next) next = at;
  };
  for (const auto& [id, c] : connections_)
    if (c.until) sooner(*c.until);
  if (console_waits_) sooner(Clock::now() + ask_every);
  if (proxy_) sooner(Clock::now() + look_at_size_every);
  if (freezers_) {
    sooner(Clock::now() + freezer_pause_);
    freezer_pause_ = std::min(freezer_pause_ * 2, ask_at_last);
  }
  if (next == armed_) return;
  armed_ = next;
  itimerspec when{};
  if (next) {
    const auto left =
        std::max(std::chrono::nanoseconds(*next - Clock::now()), std::chrono::nanoseconds{1});
    when.it_value.tv_sec = static_cast<time_t>(left.count() / 1000000000);
    when.it_value.tv_nsec = static_cast<long>(left.count() % 1000000000);
  }
  (void)::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

/// How many there were.
int CommandServer::serve_events() {
  std::array<epoll_event, frames_at_once> events{};
  const int count = ::epoll_wait(epoll_.get(), events.data(), frames_at_once, 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& e = events[static_cast<std::size_t>(i)];
    if (e.data.u64 == id_socket) {
      accept();
    } else if (e.data.u64 == id_timer) {
      std::uint64_t ticks = 0;
      (void)!::read(timer_.get(), &ticks, sizeof ticks);
      armed_.reset();
    } else if (e.data.u64 != id_terminal) {
      on_event(e.data.u64, e.events);
    } else if (proxy_ && (e.events & (EPOLLHUP | EPOLLERR)) != 0) {
      close(proxy_->client);  // also while nothing is read, which would see it
    }
  }
  return count;
}

void CommandServer::step() {
  if (owner_ != ::getpid() || over_ || busy_) return;
  {
    const Busy now(busy_);
    const bool due = serve_events() > 0;
    pump();
    settle_freezers();
    if (due || console_waits_) {
      do_what_is_due();
      set_timer();
    }
  }
  tell();
}

}  // namespace condroid::inline v0::control
