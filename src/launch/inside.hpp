// Processes that do something in a container and end: an attach without a command. Private.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "condroid/launch.hpp"
#include "launch/container_core.hpp"

namespace condroid::inline v0::detail {

class LaunchEngine;

/// Where its root is while one runs that joins the mount namespace.
inline constexpr op::Slot root_slot{3};

/// What has to be known of a container for that, without its handle.
struct Place {
  std::shared_ptr<RuntimeCore> runtime;
  std::shared_ptr<Zygote> zygote;
  std::string name;
  std::string unique_name;
  Pid pid;
  Fd pidfd;
  Inside inside;
  Flags<Namespace> network;  ///< What has to be joined for a socket of its network.

  /// @errors ESRCH when it has ended.
  [[nodiscard]] static Result<Place> of(const ContainerCore& c);
};

/// One that is on its way.
class Errand {
 public:
  /// `place` is not needed any more afterwards, but for its pidfd.
  [[nodiscard]] static Result<Errand> start(const Place& place, Flags<Namespace> joined,
                                            std::vector<Op> by_host, std::vector<Op> by_child);
  Errand(Errand&&) noexcept;
  Errand& operator=(Errand&&) noexcept;
  ~Errand();
  /// What it sent up, once it has done all; nothing before. Does not block.
  [[nodiscard]] Result<std::optional<std::vector<Fd>>> step();
  /// Once step() had something: whether its process is gone. Before that the destructor waits for
  /// it. Does not block.
  [[nodiscard]] bool ended();
  /// Of step(), then of ended().
  [[nodiscard]] Interest interest() const;
  [[nodiscard]] int timeout() const;
  /// Until it has ended, ten seconds at most.
  [[nodiscard]] Result<std::vector<Fd>> wait();

 private:
  Errand();
  std::string name_;
  std::unique_ptr<LaunchEngine> engine_;
  std::unique_ptr<Container> process_;
};

/// Such a process, and what it sent up.
[[nodiscard]] Result<std::vector<Fd>> inside(const ContainerCore& c, Flags<Namespace> joined,
                                             std::vector<Op> by_host, std::vector<Op> by_child);

/// Sockets of the container's network namespace: `wanted.count` of them.
[[nodiscard]] Result<Errand> start_sockets(const Place& place, op::OpenSockets wanted);
[[nodiscard]] Result<std::vector<Fd>> sockets_inside(const Place& place, op::OpenSockets wanted);

}  // namespace condroid::inline v0::detail
