// What a Container holds. Private.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "condroid/container.hpp"
#include "condroid/launch.hpp"
#include "condroid/plan.hpp"
#include "condroid/spec.hpp"
#include "condroid/sys/fd.hpp"
#include "launch/zygote.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

/// Output gathered from a pipe or a terminal without blocking.
struct Gather {
  Fd fd;
  std::string text;
  std::size_t limit = 0;
  std::uint64_t dropped = 0;
  bool ring = false;  ///< Keep the end rather than the beginning.
  Fd log;
  /// Reads what is there. False when the other end is closed.
  bool drain();
};

/// The end, for those who watch the container while its handle may take the record before they see
/// it.
struct EndNote {
  std::mutex mutex;  ///< Held from the taking of the record until `figures` are here.
  bool ended = false;
  program::Figures figures{};
  Fd told;  ///< eventfd: readable from the end on.
};

class ContainerCore {
 public:
  ~ContainerCore();
  [[nodiscard]] Result<std::optional<Exit>> step();
  [[nodiscard]] Result<std::optional<Exit>> wait_until(int milliseconds);
  [[nodiscard]] Result<void> check_owner() const;
  [[nodiscard]] bool ours() const;
  /// For somebody's event loop; made at the first call. wait_until() does without.
  [[nodiscard]] FdView poll_fd();
  void unwatch(const Fd& fd);
  /// Keeps a terminal from being at its end until the container is.
  static void hold(const Fd& master, Fd& slave);
  void read_console();
  /// Sends the signal; whether the first process is one that never gets it.
  [[nodiscard]] bool signal_and_look(int number, int& error);
  void end(Exit exit);
  /// Into `exit` and `final_figures`.
  void take_figures(const program::Figures& figures, Exit& exit);
  /// The cgroups of a container whose zygote did not say what they count.
  void take_figures_ourselves(Exit& exit);
  [[nodiscard]] Result<StatsReader> stats_reader() const;
  [[nodiscard]] Result<Watch> watch(const WatchOptions& options);

  pid_t owner = 0;
  std::shared_ptr<RuntimeCore> runtime;
  std::shared_ptr<Zygote> zygote;
  std::string name;
  std::string unique_name;
  Pid pid{};
  Fd pidfd;
  Fd exit_socket;
  Fd status_socket;  ///< Of the small init.
  std::uint32_t live = 0;
  std::vector<std::pair<std::size_t, int>> parents;  ///< Where its cgroups are, by hierarchy.
  std::vector<LeftOut> left_out;                     ///< Optional limits that are not in force.
  Fd pin;
  Fd stdin_write, stdout_read, stderr_read;
  Gather out, err, console;
  std::vector<Fd> ttys;
  /// Without an open slave a master is at its end until somebody in the container opens the
  /// terminal (again): it could not be waited for, and a program that writes now and then would
  /// block when nobody reads. Opened when that comes about, or when the master is handed out: most
  /// consoles are somebody's standard streams, who holds them open himself.
  Fd console_slave;
  std::vector<Fd> tty_slaves;
  bool console_deaf = false;  ///< At its end, and no slave can be had: not waited for.
  Fd poll;                    ///< epoll over several, once it was asked for.
  bool has_init = false;
  bool detached = false;
  std::optional<int> init_status;  ///< The command's wait status, from the small init.
  std::optional<Exit> exit;
  program::Figures final_figures{};      ///< What the end said.
  std::shared_ptr<EndNote> note;         ///< Once somebody watches.
  std::chrono::nanoseconds began{0};     ///< Of the launch; steady_clock.
  std::chrono::nanoseconds executed{0};  ///< When the host knew of the command's execution.
  std::vector<std::string> late;
  Inside inside;  ///< For what is attached later.
  Timeline timeline;
  std::function<Result<void>(const LaunchEvent&)> on_event;
};

}  // namespace condroid::inline v0::detail
