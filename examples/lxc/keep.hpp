// What keeps a container that was started: its console's other end, signals, its end.
#pragma once

#include <condroid/lxc.hpp>
#include <condroid/sys/fd.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "place.hpp"
#include "terminal.hpp"

/// The other end of a console: the user's terminal, or a file, or nobody.
class Peer {
 public:
  Peer() = default;
  /// `path`: what the command line or the configuration says; empty is the terminal of a program in
  /// the foreground.
  [[nodiscard]] static std::optional<Peer> open(const std::string& path, bool foreground);
  [[nodiscard]] std::optional<condroid::WindowSize> size() const;
  /// Or -1.
  [[nodiscard]] int descriptor() const { return fd_.get(); }

 private:
  friend class Keeper;
  condroid::Fd fd_;
  bool terminal_ = false;  ///< To be raw.
  bool typed_ = false;     ///< Something may come from it.
};

class Keeper {
 public:
  Keeper(condroid::lxc::Started& started, Peer& peer, condroid::FdView signals)
      : started_(started), peer_(peer), signals_(signals), shown_(peer.fd_.get()) {}
  /// Until the container has ended. The terminal is as it was then.
  [[nodiscard]] condroid::Result<condroid::Exit> run();

 private:
  void signal();
  void typed();
  void show();
  void refuse_to_answer();

  condroid::lxc::Started& started_;
  Peer& peer_;
  condroid::FdView signals_;
  Outflow shown_;
  std::string typed_;
  std::uint64_t position_ = 0;
  unsigned lives_ = 0;  ///< Whose listener was looked for.
};

/// Blocks what a container is told instead of this program, for watching.
[[nodiscard]] condroid::Fd forwarded_signals();
