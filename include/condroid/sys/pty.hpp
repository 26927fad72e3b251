// Pty: a pseudoterminal, both its ends. RawMode: a terminal that is raw for a while.
//
//   auto pty = Pty::open();
//   if (!pty) return fail(pty);
//   if (auto ok = pty->set_size({.rows = 24, .columns = 80}); !ok) return fail(ok);
//   start_something_on(pty->take_peer());            // then read and write pty->master()
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "condroid/error.hpp"
#include "condroid/path.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid {
inline namespace v0 {

/// The size of a terminal, in characters; pixels are for those who draw and may be 0.
struct WindowSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
  std::uint16_t width = 0;   ///< Pixels.
  std::uint16_t height = 0;  ///< Pixels.
  auto operator<=>(const WindowSize&) const = default;
};

/// The size of any terminal; ioctl_tty(2).
/// @errors ENOTTY if it is none.
[[nodiscard]] Result<WindowSize> window_size(FdView terminal);
/// Sets it. If it is another than before, its foreground processes get SIGWINCH.
[[nodiscard]] Result<void> set_window_size(FdView terminal, WindowSize size);

/// Owns the two ends of a pseudoterminal; pty(7). Move-only, not thread-safe. Neither end becomes
/// anybody's controlling terminal by being opened here; both are close-on-exec. When all
/// descriptors of the peer are closed, reading the master fails with EIO; when the master is
/// closed, the session on the terminal gets SIGHUP.
class Pty {
 public:
  /// Holds nothing; every call then fails with EBADF.
  Pty() noexcept = default;

  /// A new one of the host's devpts, by /dev/ptmx.
  /// @errors ENOSPC when there are too many, /proc/sys/kernel/pty/max; ENOENT.
  [[nodiscard]] static Result<Pty> open();
  /// A new one of a certain instance of devpts: the path of its "ptmx".
  [[nodiscard]] static Result<Pty> open(const HostPath& ptmx);
  /// The same by a descriptor of that instance's root, attached or not: DetachedMount::fd().
  [[nodiscard]] static Result<Pty> open_in(FdView devpts);
  /// Takes over a master that was received; its peer is not open then.
  /// @errors ENOTTY if it is not the master of a pty; it is closed then.
  [[nodiscard]] static Result<Pty> from(Fd master);

  [[nodiscard]] FdView master() const noexcept { return master_; }
  /// The terminal itself. Invalid once taken.
  [[nodiscard]] FdView peer() const noexcept { return peer_; }
  /// Gives the peer up. As long as one of its descriptors is open here, the master never tells the
  /// end of the others.
  [[nodiscard]] Fd take_peer() noexcept { return std::move(peer_); }
  [[nodiscard]] Fd take_master() noexcept { return std::move(master_); }
  /// One more descriptor of the peer, by the master and no path: whatever is mounted where.
  /// TIOCGPTPEER, Linux 4.13.
  [[nodiscard]] Result<Fd> open_peer() const;

  /// N of the peer's name "N" in its devpts.
  [[nodiscard]] Result<unsigned> number() const;
  [[nodiscard]] Result<WindowSize> size() const { return window_size(master_); }
  [[nodiscard]] Result<void> set_size(WindowSize size) const {
    return set_window_size(master_, size);
  }

  [[nodiscard]] bool valid() const noexcept { return master_.valid(); }
  explicit operator bool() const noexcept { return valid(); }

 private:
  explicit Pty(Fd master) noexcept : master_(std::move(master)) {}
  [[nodiscard]] static Result<Pty> with_peer(Fd master, const std::string& name);
  Fd master_, peer_;
};

/// A terminal in raw mode, and what it was before; termios(3). Move-only, not thread-safe. Inert in
/// a forked child.
class RawMode {
 public:
  /// Every byte passes as it is, both ways, and is not echoed; what was written before is let out
  /// first, which can block on a stopped terminal. The descriptor is duplicated, so that the way
  /// back does not depend on its owner.
  /// @errors ENOTTY if it is no terminal; EIO in the background of an orphaned session.
  [[nodiscard]] static Result<RawMode> enter(FdView terminal);

  RawMode(RawMode&& other) noexcept;
  RawMode& operator=(RawMode&& other) noexcept;
  RawMode(const RawMode&) = delete;
  RawMode& operator=(const RawMode&) = delete;
  /// restore(), its failure is not looked at.
  ~RawMode();

  /// Makes the terminal what it was. Works from the background, too. Later calls do nothing.
  /// @errors EIO when the terminal was hung up.
  [[nodiscard]] Result<void> restore() noexcept;
  /// False once it was restored.
  [[nodiscard]] bool active() const noexcept { return fd_.valid(); }

 private:
  RawMode() noexcept = default;
  Fd fd_;
  std::int32_t owner_ = 0;              // the process that may restore
  std::array<std::byte, 64> before_{};  // a struct termios, which no public header includes
};

}  // namespace v0
}  // namespace condroid
