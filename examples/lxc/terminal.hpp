// The user's terminal: raw for a while and restored whatever happens, and bytes on their way to it.
#pragma once

#include <condroid/error.hpp>
#include <condroid/sys/fd.hpp>
#include <condroid/sys/pty.hpp>
#include <optional>
#include <string>
#include <string_view>

/// A terminal in raw mode. Restored by restore() or the destructor; and by a small process of its
/// own if this one ends without either, as by SIGKILL.
class RawTerminal {
 public:
  [[nodiscard]] static condroid::Result<RawTerminal> enter(int terminal);
  RawTerminal(RawTerminal&&) noexcept = default;
  RawTerminal& operator=(RawTerminal&&) noexcept = default;
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;
  ~RawTerminal() { restore(); }
  void restore();

 private:
  RawTerminal(condroid::RawMode mode, condroid::Fd guardian, int pid)
      : mode_(std::move(mode)), guardian_(std::move(guardian)), pid_(pid) {}
  condroid::RawMode mode_;
  condroid::Fd guardian_;  // its end without a word is ours
  int pid_ = 0;
};

/// Bytes that a descriptor may not take at once. Written only when poll(2) says so, since a
/// terminal that others have too is not made nonblocking.
class Outflow {
 public:
  explicit Outflow(int fd = -1) : fd_(fd) {}
  void add(std::string_view bytes);
  [[nodiscard]] bool pending() const { return !bytes_.empty(); }
  [[nodiscard]] bool full() const;
  [[nodiscard]] int fd() const { return fd_; }
  /// After POLLOUT; forgets all when nobody takes them any more.
  void flush();
  /// At the end: waits for who reads, for at most some seconds.
  void finish();

 private:
  int fd_;
  std::string bytes_;
};

/// 0, 1 or 2, if that is a terminal; else -1.
[[nodiscard]] int own_terminal();
/// Whether this process may read from it, and set it, without being stopped.
[[nodiscard]] bool in_foreground(int terminal);

/// What the keys Ctrl-a (or another letter) and q do in what is typed: finds them, and takes the
/// prefix out.
class Escape {
 public:
  /// "^a", "a"; "" and "-1" are none. Nothing for what is no letter.
  [[nodiscard]] static std::optional<Escape> parse(std::string_view text);
  /// What of `typed` is for the container; `over` becomes true where the user wants to leave.
  [[nodiscard]] std::string pass(std::string_view typed, bool& over);
  [[nodiscard]] int letter() const { return letter_; }

 private:
  int letter_ = -1;
  bool seen_ = false;
};

/// Copies between the user's terminal and `master` until that one's end, or the user's wish to
/// leave; `also` ends it, too, when it becomes readable.
/// Gives back whether the user wished it.
[[nodiscard]] bool copy_terminal(condroid::FdView master, int input, int output, Escape escape,
                                 condroid::FdView also, condroid::FdView signals,
                                 condroid::Fd* log = nullptr);
/// SIGWINCH and what usually ends a program, as a descriptor. Blocked from now on.
[[nodiscard]] condroid::Fd watch_signals();
