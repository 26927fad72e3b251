#include "condroid/control/command_socket.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/container.hpp"
#include "condroid/control/monitor.hpp"
#include "condroid/sys/cgroup.hpp"
#include "control/command_server.hpp"
#include "formatted.hpp"
#include "program/kernel_bits.hpp"
#include "sys/kernel_files.hpp"
#include "sys/namespace_files.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::control {

namespace detail {

namespace {

int number_of(const Result<void>& result) {
  if (result) return 0;
  const int number = result.error().errnum();
  if (number != 0) return number;
  return result.error().is(Errc::unsupported) ? EOPNOTSUPP : EINVAL;
}

/// As waitpid(2) says it.
int wait_status(const Exit& e) {
  if (e.kind == Exit::exited) return (e.code & 0xff) << 8U;
  return e.signal.value | (e.core_dumped ? 0x80 : 0);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    if (end > 0) words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

}  // namespace

class SocketCore final : public Served {
 public:
  explicit SocketCore(CommandOwner who)
      : owner(std::move(who)),
        server(
            *this, owner.lxcpath, owner.name,
            {.clients = std::max<std::size_t>(owner.most_clients, 1), .patience = owner.patience}) {
    if (!owner.monitor_run_dir.empty())
      monitor_.emplace(monitor_fifo(owner.monitor_run_dir.str(), owner.lxcpath), owner.name);
  }

  /// At the end of each of the container's steps. False once it has ended.
  bool look(Container& container) {
    struct Lent {
      explicit Lent(Container*& b) : box(b) {}
      Lent(const Lent&) = delete;
      Lent& operator=(const Lent&) = delete;
      ~Lent() { box = nullptr; }
      Container*& box;
    } const lent(box_);  // whatever the owner throws
    box_ = &container;
    return look();
  }
  /// From now on it is looked at.
  void begin(const Container& container) {
    life_ = container.life();
    restarts_ = container.restarts();
    if (life_ == Life::running) server.set_state(State::running);
  }
  /// The last that is said. `exit` where it is known.
  void end(const Exit* exit) {
    if (server.over() || process_ != ::getpid()) return;
    if (exit != nullptr) tell_exit(*exit);
    if (server.state() == State::starting) server.set_state(State::aborting);
    if (server.state() != State::stopping) server.set_state(State::stopping);
    server.end();
    if (monitor_) monitor_->tell(State::stopped);
  }

  [[nodiscard]] Pid pid() override {
    return box_ != nullptr && box_->life() == Life::running ? box_->pid() : Pid{};
  }
  [[nodiscard]] FdView pidfd() override { return runs() ? box_->pidfd() : FdView{}; }
  [[nodiscard]] std::optional<std::uint64_t> namespaces() override;
  [[nodiscard]] int stop() override {
    if (box_ == nullptr) {
      if (server.state() != State::starting || !owner.give_up) return ESRCH;
      owner.give_up();
      return 0;
    }
    if (box_->life() == Life::ending) return 0;  // who asks waits for its end, as everybody
    const int error = number_of(owner.stop ? owner.stop(*box_) : box_->kill());
    if (error == 0 && owner.stop && box_->frozen().value_or(false))
      (void)box_->thaw(std::chrono::milliseconds{0});
    return error;
  }
  [[nodiscard]] int freeze(bool on) override {
    if (!runs()) return ESRCH;
    constexpr std::chrono::milliseconds at_once{0};
    return number_of(on ? box_->freeze(at_once) : box_->thaw(at_once));
  }
  [[nodiscard]] std::optional<bool> frozen() override {
    if (!runs()) return {};
    const auto is = box_->frozen();
    return is ? std::optional<bool>(*is) : std::nullopt;
  }
  [[nodiscard]] std::vector<ServedCgroup> cgroups() override;
  [[nodiscard]] CgroupLayout layout() override;
  [[nodiscard]] Fd devpts() override;
  [[nodiscard]] std::size_t ttys() override { return box_ != nullptr ? box_->ttys().size() : 0; }
  [[nodiscard]] FdView tty(std::size_t number) override {
    const auto all = box_->ttys();
    return number >= 1 && number <= all.size() ? all[number - 1] : FdView{};
  }
  [[nodiscard]] FdView console() override { return box_ != nullptr ? box_->console() : FdView{}; }
  [[nodiscard]] std::string_view console_since(std::uint64_t& position) override {
    return box_ != nullptr ? box_->console_since(position) : std::string_view{};
  }
  [[nodiscard]] std::optional<std::string> config_item(std::string_view key) override {
    return owner.config_item ? owner.config_item(key) : std::nullopt;
  }
  [[nodiscard]] std::optional<std::string> systemd_scope() override {
    return owner.systemd_scope.empty() ? std::nullopt : std::optional(owner.systemd_scope);
  }
  [[nodiscard]] int apply(const DeviceRule& rule) override {
    if (!owner.device || !runs()) return EPERM;
    return number_of(owner.device(*box_, rule));
  }
  [[nodiscard]] int add_seccomp_listener(Fd listener) override {
    if (!owner.seccomp_listener || !runs()) return EINVAL;
    return number_of(owner.seccomp_listener(*box_, std::move(listener)));
  }
  void on_state(State state) override {
    if (monitor_) monitor_->tell(state);
    if (owner.on_state) owner.on_state(state);
  }

  CommandOwner owner;
  CommandServer server;
  bool served = false;

 private:
  [[nodiscard]] bool runs() const { return box_ != nullptr && box_->life() == Life::running; }
  void tell_exit(const Exit& exit) const {
    if (monitor_) monitor_->tell_exit(wait_status(exit));
  }
  bool look();
  void follow(Life life);
  const std::vector<CgroupHierarchy>& hierarchies();

  const pid_t process_ = ::getpid();
  Container* box_ = nullptr;
  Life life_ = Life::running;
  unsigned restarts_ = 0;
  std::optional<Monitor> monitor_ = {};
  std::vector<CgroupHierarchy> hierarchies_ = {};  ///< Empty: not found out yet.
};

bool SocketCore::look() {
  const Life life = box_->life();
  if (life == Life::ended) {
    // What came before a next life that never was is told already, and before hooks of its end.
    const bool told =
        (life_ == Life::between && box_->restarts() == restarts_) || life_ == Life::ending;
    follow(Life::running);
    end(told ? nullptr : box_->last_exit());
    return false;
  }
  follow(life);
  server.step();
  return true;
}

/// Says all that came about since, also of lives that began and ended between two looks.
void SocketCore::follow(Life life) {
  const auto stops = [this](const Exit* exit) {
    if (exit != nullptr) tell_exit(*exit);
    for (const State s : {State::stopping, State::stopped, State::starting}) server.set_state(s);
  };
  for (; restarts_ != box_->restarts(); ++restarts_) {
    if (life_ == Life::running) stops(nullptr);
    server.set_state(State::running);
    life_ = Life::running;
  }
  if (life == Life::ending) {
    // One of whose next life it was said that it starts stays so: it is told as aborted.
    if (life_ != Life::running) return;
    tell_exit(*box_->last_exit());
    server.set_state(State::stopping);
  } else if (life == Life::between && life_ == Life::running) {
    stops(box_->last_exit());
  }
  life_ = life;
}

std::optional<std::uint64_t> SocketCore::namespaces() {
  if (!runs()) return 0;
  const auto foreign = condroid::detail::foreign_namespaces(box_->pid());
  if (!foreign) return {};
  // Somebody else's, when it has ended meanwhile.
  if (condroid::detail::wait_for_fd(box_->pidfd().get(), POLLIN, 0) != 0) return {};
  return condroid::detail::clone_bits(*foreign);
}

const std::vector<CgroupHierarchy>& SocketCore::hierarchies() {
  if (hierarchies_.empty())
    if (auto found = CgroupDir::hierarchies()) hierarchies_ = std::move(*found);
  return hierarchies_;
}

CgroupLayout SocketCore::layout() {
  bool v1 = false, v2 = false;
  for (const CgroupHierarchy& h : hierarchies()) (h.v2 ? v2 : v1) = true;
  if (v1) return v2 ? CgroupLayout::hybrid : CgroupLayout::legacy;
  return v2 ? CgroupLayout::unified : CgroupLayout::unknown;
}

std::vector<ServedCgroup> SocketCore::cgroups() {
  std::vector<ServedCgroup> list;
  if (!runs()) return list;
  const auto groups = box_->cgroups();
  if (!groups) return list;
  const auto inner = owner.config_item ? owner.config_item("lxc.cgroup.dir.container.inner")
                                       : std::optional<std::string>();
  for (const CgroupDir& g : *groups) {
    const CgroupHierarchy* of = nullptr;
    for (const CgroupHierarchy& h : hierarchies())
      if (h.v2 == g.v2() && g.path().starts_with(h.mount_point + "/") &&
          (of == nullptr || of->mount_point.size() < h.mount_point.size()))
        of = &h;
    if (of == nullptr) continue;
    ServedCgroup s;
    s.v2 = g.v2();
    s.controllers = of->controllers;
    if (s.v2) {
      s.controllers = words_of(g.read("cgroup.controllers").value_or(std::string{}));
      s.controllers.emplace_back("cgroup");
    }
    s.path = g.path().substr(of->mount_point.size());
    s.dir = Fd(::fcntl(g.fd().get(), F_DUPFD_CLOEXEC, 3));
    if (inner && !inner->empty()) {
      s.inner_dir =
          Fd(::openat(g.fd().get(), inner->c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (s.inner_dir.valid()) s.inner = *inner;
    }
    if (s.dir.valid()) list.push_back(std::move(s));
  }
  return list;
}

/// Of the mount behind a descriptor, and without asking its file system, which may be one that
/// answers never. proc(5)
bool is_devpts(const Fd& dir, Pid pid) {
  using condroid::detail::small_file;
  const std::string info = small_file(formatted("/proc/thread-self/fdinfo/{}", dir.get()));
  constexpr std::string_view key = "mnt_id:\t";
  const std::size_t at = info.find(key);
  if (at == std::string::npos) return false;
  const std::string id = info.substr(at + key.size(), info.find('\n', at) - at - key.size());
  const std::string mounts = "\n" + small_file(formatted("/proc/{}/mountinfo", pid.value));
  const std::size_t line = mounts.find("\n" + id + " ");
  if (line == std::string::npos) return false;
  const std::size_t end = mounts.find('\n', line + 1);
  return std::string_view(mounts).substr(line, end - line).find(" - devpts ") !=
         std::string_view::npos;
}

/// What the launch has kept. Without that it is looked up in its root directory, as far as the
/// kernel knows the way by itself: what is there is the container's word.
Fd SocketCore::devpts() {
  if (!runs()) return {};
  if (const FdView kept = box_->devpts(); kept.valid())
    return Fd(::openat(kept.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd root(::open(formatted("/proc/{}/root", box_->pid().value).c_str(),
                       O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid() || condroid::detail::wait_for_fd(box_->pidfd().get(), POLLIN, 0) != 0)
    return {};
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED;  // Linux 5.12
  const Fd dir(static_cast<int>(::syscall(SYS_openat2, root.get(), "dev/pts", &how, sizeof how)));
  if (!dir.valid() || !is_devpts(dir, box_->pid())) return {};
  return Fd(::openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace detail

using detail::SocketCore;

Result<CommandSocket> CommandSocket::open(CommandOwner owner) {
  const std::string& name = owner.name;
  constexpr std::size_t longest_name = 255, longest_path = 200;
  if (name.empty() || name.size() > longest_name || owner.lxcpath.size() > longest_path ||
      name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
      owner.lxcpath.find('\0') != std::string::npos)
    return fail(Errc::bad_spec, Step::command_socket,
                formatted("of container '{}' in '{}'", name, owner.lxcpath),
                "a name has 1 to 255 bytes and no '/', its path 200 at most");
  auto core = std::make_shared<SocketCore>(std::move(owner));
  if (auto ok = core->server.begin(); !ok) return fail(ok);
  if (auto ok = core->server.listen(); !ok) return fail(ok);
  core->server.set_state(State::starting);
  return CommandSocket(std::move(core));
}

CommandSocket::CommandSocket(std::shared_ptr<SocketCore> core) : core_(std::move(core)) {}
CommandSocket::CommandSocket(CommandSocket&&) noexcept = default;
CommandSocket& CommandSocket::operator=(CommandSocket&& other) noexcept {
  if (this != &other) {
    const CommandSocket before(std::move(*this));
    core_ = std::move(other.core_);
  }
  return *this;
}
CommandSocket::~CommandSocket() {
  if (!core_) return;
  const auto core = core_;
  if (core->served)
    core->server.leave();  // it lives on
  else
    core->end(nullptr);
}

Result<void> CommandSocket::serve(Container& box) {
  if (!core_) return fail(ESRCH, Step::command_socket, "a socket that was moved from");
  const auto core = core_;  // who is told a state may destroy this
  const std::string subject = formatted("of container '{}'", core->owner.name);
  if (core->server.over()) return fail(ESRCH, Step::command_socket, subject);
  if (core->served) return fail(EBUSY, Step::command_socket, subject);
  if (box.life() == Life::ending || box.life() == Life::ended)
    return fail(ESRCH, Step::command_socket, subject);
  // It goes with the container's handle. What has not been seen to end then lives on.
  struct Bond {
    explicit Bond(const std::shared_ptr<SocketCore>& c) : core(c) {}
    Bond(const Bond&) = delete;
    Bond& operator=(const Bond&) = delete;
    ~Bond() {
      if (const auto c = core.lock(); c && made) c->server.leave();
    }
    std::weak_ptr<SocketCore> core;
    bool made = false;
  };
  const auto bond = std::make_shared<Bond>(core);
  if (auto ok = box.attend(core->server.poll_fd(),
                           [bond](Container& b) {
                             const auto here = bond->core.lock();
                             return here && here->look(b);
                           });
      !ok)
    return ok;
  bond->made = true;
  core->served = true;
  core->begin(box);
  return {};
}

FdView CommandSocket::poll_fd() const noexcept {
  return core_ ? core_->server.poll_fd() : FdView{};
}

void CommandSocket::step() {
  // The container does it.
  if (const auto core = core_; core && !core->served) core->server.step();
}

State CommandSocket::state() const noexcept {
  return core_ ? core_->server.state() : State::stopped;
}

void CommandSocket::set_state(State state) {
  if (const auto core = core_) core->server.set_state(state);
}

std::size_t CommandSocket::clients() const noexcept { return core_ ? core_->server.clients() : 0; }

std::size_t CommandSocket::waiting() const noexcept { return core_ ? core_->server.waiting() : 0; }

}  // namespace condroid::inline v0::control
