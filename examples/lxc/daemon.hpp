// Going into the background: the caller is told how the start went, and waits no longer.
#pragma once

#include <condroid/spec.hpp>
#include <condroid/sys/fd.hpp>
#include <optional>
#include <string>

/// Closes what was inherited beside the standard streams, `kept` and systemd's LISTEN_FDS.
void close_inherited(std::initializer_list<int> kept);

/// The container's command has systemd's LISTEN_FDS, and is told of them: sd_listen_fds(3).
void pass_listening(condroid::Spec& spec);

class Background {
 public:
  /// Forks. In the caller: waits and gives back the exit status. In the process that goes on:
  /// nothing in `status`; what it says goes to the caller's terminal until running(). Of what was
  /// open `kept` stays so.
  [[nodiscard]] static std::optional<Background> enter(std::optional<int>& status, int kept);
  /// The container runs: an int with its state, as LXC tells it.
  void running();

 private:
  explicit Background(condroid::Fd result) : result_(std::move(result)) {}
  condroid::Fd result_;
};

/// What ps(1) shows.
void set_title(const std::string& title);
