// CommandSocket: what LXC's tools talk to. With it lxc-info, lxc-stop, lxc-attach and the others
// work on a container of this program's as on one that lxc-start has started. docs/lxc-commands.md
//
//   auto socket = control::CommandSocket::open({.lxcpath = "/var/lib/lxc", .name = "web"});
//   if (!socket) return fail(socket);           // EADDRINUSE: it runs already
//   auto box = runtime.launch(spec);
//   if (!box) return fail(box);                 // who waits for it is told: ABORTING
//   if (auto ok = socket->serve(*box); !ok) return fail(ok);
//   return box->wait();                         // and answers meanwhile
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "condroid/control/commands.hpp"
#include "condroid/error.hpp"
#include "condroid/path.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {

class Container;

namespace control {

namespace detail {
class SocketCore;
}  // namespace detail

/// What LXC's tools ask that a container does not know of itself. All is called on the thread that
/// steps the socket or the container, must not wait, and may be left empty. It may destroy the
/// socket and the container's handle: both go when that step is over. Container::attend()
struct CommandOwner {
  std::string lxcpath = {};  ///< As the tools are told it: "/var/lib/lxc". At most 200 bytes.
  std::string name = {};     ///< At most 255 bytes.
  /// The text of a key of LXC's configuration, one line for each of several values; nothing for one
  /// that is not set. At most 8191 bytes.
  std::function<std::optional<std::string>(std::string_view key)> config_item = {};
  /// What the command `stop` does. Unset: Container::kill(). Whatever it is, what is frozen is
  /// thawed then.
  std::function<Result<void>(Container&)> stop = {};
  /// What `stop` does before there is a container: has its start given up. Unset: ESRCH.
  std::function<void()> give_up = {};
  /// A rule of lxc-device's. Unset: refused.
  std::function<Result<void>(Container&, const DeviceRule&)> device = {};
  /// A listener of seccomp_unotify(2) that a process in the container hands to its owner. Unset:
  /// refused.
  std::function<Result<void>(Container&, Fd)> seccomp_listener = {};
  /// The unit of systemd's that it is in; empty: none.
  std::string systemd_scope = {};
  /// Told of each state, after those who wait for it, and between two commands. Not of
  /// State::stopped at its end, and not of what lxc-freeze says that it does, who tells lxc-monitor
  /// himself.
  std::function<void(State)> on_state = {};
  /// Where lxc-monitor may listen: RUN/lxc/LXCPATH/monitor-fifo is told of each state and of how it
  /// ended. "/run" for root; empty: nobody is told. monitor.hpp
  HostPath monitor_run_dir = {};
  /// Clients at once, four at least. Beyond that, who has asked nothing yet has to go. Who waits or
  /// has a terminal is kept up to seven eighths of them, then it is EAGAIN.
  std::size_t most_clients = 512;
  /// A client has so long for its request, and for taking the answer.
  std::chrono::milliseconds patience{10000};
};

/// Listens at LXCPATH/NAME/command, an abstract socket, unix(7): everybody in the same network
/// namespace can connect, and only root and this program's own user get another answer than EPERM.
/// What a client does costs this program a bounded amount of memory, a descriptor, and never any
/// waiting. Move-only; on the thread of its container, or any while it has none; inert in a forked
/// child of the program. Descriptors: three, with a container four, one for
/// each client and one for who looks at the console; and what Container::ttys() and console() hold.
///
/// From State::starting on, until serve() says that it runs. When the container has ended, hooks of
/// its end included, all who wait are told, and the address is free again; between two lives it is
/// kept. A forked child of the program that has its descriptors keeps the address, too, though
/// nobody can connect. Of a container that was detached, or whose socket is destroyed first,
/// nothing is said: who waits sees the end of his connection, which LXC's tools take for STOPPED.
class CommandSocket {
 public:
  /// @errors EADDRINUSE: that container runs already; ENAMETOOLONG; Errc::bad_spec for a name with
  /// a '/' or without a letter.
  [[nodiscard]] static Result<CommandSocket> open(CommandOwner owner);

  CommandSocket(CommandSocket&&) noexcept;
  CommandSocket& operator=(CommandSocket&&) noexcept;
  CommandSocket(const CommandSocket&) = delete;
  CommandSocket& operator=(const CommandSocket&) = delete;
  /// When it never ran, who waits is told that its start was aborted.
  ~CommandSocket();

  /// It runs: State::running, unless its next life is on its way. From now on the container's
  /// step(), wait() and stop() answer, and its poll_fd() wakes for it; nothing else has to be done.
  /// The handle may be moved.
  /// @errors as of Container::attend(); ESRCH when it has ended.
  [[nodiscard]] Result<void> serve(Container& box);

  /// Readable when step() has something to do. Only needed while there is no container: a start
  /// that takes its time is answered for so.
  [[nodiscard]] FdView poll_fd() const noexcept;
  /// Answers what can be answered now; never blocks.
  void step();

  [[nodiscard]] State state() const noexcept;
  /// Says another one, which its owner knows before the container does: State::stopping, or what
  /// became of Container::freeze(). Nothing once it is over.
  void set_state(State state);
  /// How many clients there are, and how many of them wait for a state.
  [[nodiscard]] std::size_t clients() const noexcept;
  [[nodiscard]] std::size_t waiting() const noexcept;

 private:
  explicit CommandSocket(std::shared_ptr<detail::SocketCore> core);
  std::shared_ptr<detail::SocketCore> core_;
};

}  // namespace control
}  // namespace v0
}  // namespace condroid
