// Attach: a further process in a container that is running, launched by this program or by anybody.
//
//   auto task = box.attach({.process = {.argv = {"/bin/ps"}, .stdio = Stdio::capture}});
//   if (!task) return fail(task);
//   auto exit = task->wait();
#pragma once

#include <optional>
#include <utility>

#include "condroid/container.hpp"
#include "condroid/launch.hpp"
#include "condroid/plan/attach.hpp"

namespace condroid {
inline namespace v0 {

/// A process in a container that was attached: held by its pidfd, ended by its destructor. Its
/// children are not: they end with the container, or with it in an AttachCgroup::below. What its
/// members do is said at Container.
class Task : private Container {
 public:
  using Container::console;
  using Container::console_output;
  using Container::kill;
  using Container::left_out;
  using Container::name;
  using Container::pid;
  using Container::pidfd;
  using Container::poll_fd;
  using Container::signal;
  using Container::step;
  using Container::stop;
  using Container::take_console;
  using Container::take_listener;
  using Container::take_stderr;
  using Container::take_stdin;
  using Container::take_stdout;
  using Container::timeline;
  using Container::wait;
  using Container::wait_for;

  /// For code that attends to either: as a Container that is this one process.
  [[nodiscard]] Container as_container() && { return std::move(*this); }

 private:
  friend class Attaching;
  explicit Task(Container&& process) : Container(std::move(process)) {}
};

/// An attach on its way, for somebody's event loop: as Launch.
class Attaching : private Launch {
 public:
  using Launch::cancel;
  using Launch::interest;
  using Launch::pid;
  using Launch::resume;
  using Launch::stopped;
  using Launch::timeout;
  /// Does what can be done without waiting: the Task once it runs, nothing while it is on its way.
  [[nodiscard]] Result<std::optional<Task>> step();
  /// step() until it runs, waiting in between.
  [[nodiscard]] Result<Task> finish();

 private:
  friend class Container;
  friend class Runtime;
  explicit Attaching(Launch&& launch) : Launch(std::move(launch)) {}
};

}  // namespace v0
}  // namespace condroid
