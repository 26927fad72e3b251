// The user's terminal, and the copying between it and the terminal of a container.
#pragma once

#include <sys/types.h>

#include <condroid/sys/fd.hpp>
#include <string>

/// Which of 0, 1 and 2 are terminals.
struct Terminals {
  bool in = false, out = false, err = false;
  [[nodiscard]] static Terminals look();
  [[nodiscard]] bool any() const { return in || out || err; }
  /// One of them, or -1.
  [[nodiscard]] int number() const { return in ? 0 : out ? 1 : err ? 2 : -1; }
};

/// Copies what is typed to the container's terminal and what is shown there to standard output.
/// Never blocks.
class Relay {
 public:
  /// `master` must not block. With `read_input` unset only output is copied.
  Relay(condroid::Fd master, bool read_input);
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// Descriptor and events to poll for, or -1: standard input, standard output, the master.
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
  bool reading_;
  bool output_open_ = true;
  bool end_pending_ = false;
  int lost_ = 0;
  int failures_ = 0;  ///< Of reading, in a row.
  std::string to_master_, to_output_;
};
