// The user's terminal, and the copying between it and the terminal of a container.
#pragma once

#include <sys/types.h>

#include <condroid/error.hpp>
#include <condroid/sys/fd.hpp>
#include <string>

/// Which of 0, 1 and 2 are terminals.
struct Terminals {
  bool in = false, out = false, err = false;
  [[nodiscard]] static Terminals look();
  [[nodiscard]] bool any() const { return in || out || err; }
  /// One of them, or -1: where the user types, and whose settings count.
  [[nodiscard]] int number() const { return in ? 0 : out ? 1 : err ? 2 : -1; }
  /// One of them, or -1: where the user looks.
  [[nodiscard]] int shown() const { return out ? 1 : err ? 2 : in ? 0 : -1; }
};

/// A descriptor to read from (O_RDONLY) or to write to (O_WRONLY): `number` itself, unless it was
/// opened for the other direction only, as by `< /dev/tty`; then it is opened again, into `again`.
[[nodiscard]] condroid::Result<int> usable_terminal(int number, int direction, condroid::Fd& again);

/// Copies what is typed to the container's terminal, and what is shown there to the user.
/// Never blocks.
class Relay {
 public:
  /// `master` must not block. What is typed is read from `input`, what is shown goes to `output`.
  Relay(condroid::Fd master, int input, int output);
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// Descriptor and events to poll for, or -1: input, output, the master.
  struct Wish {
    int fd = -1;
    short events = 0;
  };
  [[nodiscard]] Wish input_wish() const;
  [[nodiscard]] Wish output_wish() const;
  [[nodiscard]] Wish master_wish() const;

  void input_ready();
  void output_ready();
  void master_ready(short events);
  /// Takes the user's window size over.
  void resize(int from) const;
  /// The container has ended: shows all that is left.
  void finish();
  /// Why output could not be written, so that some is lost; 0 if none is, or if nobody wanted it.
  [[nodiscard]] int lost() const { return lost_; }

 private:
  void end_of_input();
  void check_master(ssize_t n);

  condroid::Fd master_;
  int input_, output_;
  bool reading_ = true;
  bool output_open_ = true;
  bool end_pending_ = false;
  int lost_ = 0;
  int failures_ = 0;  ///< Of reading, in a row.
  std::string to_master_, to_output_;
};
