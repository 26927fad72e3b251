// testing: containers for test suites, as easily as temporary directories.
//
//   const testing::Image image{"busybox.tar.gz"};
//   testing::Sandbox box{image};
//   box.put("/etc/app.conf", "port = 80\n");
//   assert(box.run("grep -c port /etc/app.conf").out == "1\n");
//
// Everything of a Sandbox is gone with it, and with the test program, however that ends. What goes
// wrong is thrown as a testing::Failure, whose text has the box's output, its state and its plan.
// <condroid/testing/catch2.hpp> and <condroid/testing/gtest.hpp> have a fixture and a matcher for
// these. In the library condroid-testing.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/attach.hpp"
#include "condroid/builder.hpp"
#include "condroid/image_store.hpp"
#include "condroid/pool.hpp"
#include "condroid/runtime.hpp"
#include "condroid/testing/box.hpp"
#include "condroid/testing/lan.hpp"

namespace condroid {
inline namespace v0 {
namespace testing {

using namespace literals;

/// What a test cannot go on after. what() is for the person who reads the test's report.
class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& text, std::optional<Error> why = {})
      : std::runtime_error(text), error_(std::move(why)) {}
  /// The error of condroid's behind it, if there is one.
  [[nodiscard]] const std::optional<Error>& error() const noexcept { return error_; }

 private:
  std::optional<Error> error_;
};

/// How long a command of a box may take when nothing else is said.
inline constexpr std::chrono::milliseconds usual_deadline{30000};

namespace detail {

namespace parts = v0::detail;

template <class T>
T value_of(Result<T> result, std::string_view doing) {
  if (!result) throw Failure(fmt::format("{}: {}", doing, result.error()), result.error());
  return std::move(*result);
}
inline void must(const Result<void>& result, std::string_view doing) {
  if (!result) throw Failure(fmt::format("{}: {}", doing, result.error()), result.error());
}

/// What all images and boxes of a Bench share.
struct BenchCore {
  Runtime runtime;
  ImageStore store;
  Fd idle;
};

/// The Spec of a box that waits: its first process is one of ours, which does nothing.
inline Spec idle_spec(const std::string& name, const HostPath& root, Bytes disk, FdView idle) {
  constexpr int number = 3;
  Spec spec;
  spec.name = name;
  spec.root = {.path = root, .ephemeral = true, .size = disk};
  spec.process.argv = {fmt::format("/proc/self/fd/{}", number)};
  spec.process.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                      "HOME=/root"};
  spec.process.descriptors = {{.host = {idle.get()}, .number = number}};
  spec.process.stdio = Stdio::null;
  return spec;
}

struct ImageCore {
  std::shared_ptr<BenchCore> bench;
  StoredImage stored;
  Bytes disk;
  std::size_t pool_size;
  std::mutex mutex = {};
  std::optional<Pool> pool = {};
  std::uint64_t boxes = 0;
  /// The next one is begun when one is taken: it gets ready while that is used.
  std::optional<Launch> begun = {};
  std::optional<Container> next = {};

  /// Has it execute its program, which takes no more of us.
  void begin_next() {
    auto launch = pool->start_take({}, {.deadline = std::chrono::milliseconds{0}});
    auto made = launch ? launch->step() : Result<std::optional<Container>>{};
    if (made && *made)
      next.emplace(std::move(**made));
    else if (launch && made)
      begun.emplace(std::move(*launch));
  }
  /// Waits for the one that was begun. What goes wrong with it is told when it happens again.
  void settle() {
    if (!begun) return;
    if (auto made = parts::finished(std::move(*begun), std::chrono::seconds(2)))
      next.emplace(std::move(*made));
    begun.reset();
  }

  /// A box of the usual kind: of the pool, once there was one before it.
  Container take(const Spec& spec) {
    if (pool_size == 0) return value_of(bench->runtime.launch(spec), "a box");
    const std::scoped_lock hold(mutex);
    if (boxes++ == 0) return value_of(bench->runtime.launch(spec), "a box");
    if (!pool)
      pool.emplace(value_of(Pool::open(bench->runtime, spec, {.size = pool_size}), "pool"));
    settle();
    std::optional<Container> box = std::exchange(next, std::nullopt);
    // It may have died meanwhile.
    if (box && parts::has_ended(box->pidfd())) box.reset();
    if (!box) box.emplace(value_of(pool->take(), "a box of the pool"));
    begin_next();
    // Others are set up when half of them are gone: that takes processors from the box. What goes
    // wrong with it is told when they are missing.
    if (2 * pool->ready() <= pool_size) (void)pool->step();
    return std::move(*box);
  }
};

/// What was run in a box, and how that went: for reports.
struct Story {
  std::string name;
  Spec spec;
  std::shared_ptr<BenchCore> bench;

  [[nodiscard]] std::string plan() const {
    const auto facts = bench->runtime.facts();
    if (!facts) return to_string(facts.error());
    const auto plan = compile(spec, facts->get());
    return plan ? to_string(*plan) : to_string(plan.error());
  }
};

inline std::string indented(std::string_view text) {
  constexpr std::size_t most = 8192;
  std::string all;
  if (text.size() > most) {
    all = fmt::format("    ... {} bytes before\n", text.size() - most);
    text.remove_prefix(text.size() - most);
  }
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    all += fmt::format("    {}\n", text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return all;
}

}  // namespace detail

// ---- what boxes are made of ---------------------------------------------------------------------

struct ImageOptions {
  /// Of one of several images in an OCI layout.
  std::string reference = {};
  /// So many boxes are kept ready, and the next one runs already, from the second one on; 0: none.
  std::size_t pool = 4;
  /// What a box may write; 0: the kernel's default, half of the memory.
  Bytes disk = {};
};

struct BenchOptions {
  RuntimeOptions runtime = {};
  ImageStoreOptions store = {};
};

class Image;

/// What several images share: a Runtime and a store. An Image makes one of its own unless it is
/// given one. A value; copies are the same. Thread-safe.
class Bench {
 public:
  /// @throws Failure
  explicit Bench(BenchOptions options = {})
      : core_(std::make_shared<detail::BenchCore>(detail::BenchCore{
            detail::value_of(Runtime::open(std::move(options.runtime)), "a runtime for tests"),
            detail::value_of(ImageStore::open(std::move(options.store)), "the store of images"),
            detail::value_of(detail::parts::idle_program(), "a box's first process")})) {}
  [[nodiscard]] const Runtime& runtime() const noexcept { return core_->runtime; }
  [[nodiscard]] const ImageStore& store() const noexcept { return core_->store; }

 private:
  friend class Image;
  std::shared_ptr<detail::BenchCore> core_;
};

/// A root file system for boxes: a directory, a tar archive, an OCI layout; image_store.hpp says
/// what is done with each. None of them is ever changed. A value; copies are the same, and share
/// their pool. Thread-safe.
class Image {
 public:
  /// @throws Failure when there is no such image, or it is broken.
  explicit Image(const std::string& path, ImageOptions options = {})
      : Image(Bench(), path, std::move(options)) {}
  Image(const Bench& bench, const std::string& path, ImageOptions options = {})
      : core_(new detail::ImageCore{
            .bench = bench.core_,
            .stored = detail::value_of(bench.store().get(HostPath(path), options.reference),
                                       "an image for tests"),
            .disk = options.disk,
            .pool_size = options.pool}) {}

  /// Only to be read: other programs use it, too.
  [[nodiscard]] const HostPath& root() const noexcept { return core_->stored.root; }
  [[nodiscard]] const std::string& digest() const noexcept { return core_->stored.digest; }
  [[nodiscard]] const Runtime& runtime() const noexcept { return core_->bench->runtime; }
  /// Waits until all boxes of the pool are ready.
  void warm() const {
    const std::scoped_lock hold(core_->mutex);
    if (core_->pool) detail::must(core_->pool->fill(), "the pool");
    core_->settle();
  }

 private:
  friend class Sandbox;
  std::shared_ptr<detail::ImageCore> core_;
};

/// A cable that boxes are on, and nobody else: the host does not see it, and is not seen. They know
/// one another by name, from /etc/hosts, and by address. It ends with the last box on it. Needs
/// CAP_NET_ADMIN and CAP_SYS_ADMIN. Thread-safe.
class Network {
 public:
  /// 10.210.0.0/16, which is each cable's own. @throws Failure
  Network() : Network("10.210.0.0/16"_prefix) {}
  /// @throws Failure
  explicit Network(const IpPrefix& subnet)
      : lan_(detail::value_of(detail::parts::Lan::make(subnet), "a network for tests")) {}
  /// Takes the cable of a box out: what it sends is lost, and what is sent to it.
  void cut(std::string_view box) { detail::must(lan_->plug(box, false), "cut"); }
  /// Puts it in again.
  void heal(std::string_view box) { detail::must(lan_->plug(box, true), "heal"); }
  [[nodiscard]] IpAddress address(std::string_view box) const {
    return detail::value_of(lan_->address(box), "address");
  }

 private:
  friend class Sandbox;
  std::shared_ptr<detail::parts::Lan> lan_;
};

// ---- commands -----------------------------------------------------------------------------------

/// A program with its arguments, or a line for /bin/sh.
struct Command {
  Command(const char* line) : argv{"/bin/sh", "-c", line} {}         // NOLINT(*-explicit-*)
  Command(const std::string& line) : argv{"/bin/sh", "-c", line} {}  // NOLINT(*-explicit-*)
  Command(std::initializer_list<std::string> all) : argv(all) {}     // NOLINT(*-explicit-*)
  Command(std::vector<std::string> all) : argv(std::move(all)) {}    // NOLINT(*-explicit-*)
  std::vector<std::string> argv;
};

/// As a person would type it.
[[nodiscard]] inline std::string to_string(const Command& command) {
  if (command.argv.size() == 3 && command.argv[0] == "/bin/sh" && command.argv[1] == "-c")
    return command.argv[2];
  std::string all;
  for (const std::string& word : command.argv) {
    if (!all.empty()) all += ' ';
    const bool plain =
        !word.empty() && word.find_first_of(" \t\n'\"\\$&|;<>()*?[]#~`") == std::string::npos;
    all += plain ? word : fmt::format("'{}'", word);
  }
  return all;
}

struct RunOptions {
  std::chrono::milliseconds deadline = usual_deadline;
  std::string input = {};             ///< What it reads from its standard input.
  std::vector<std::string> env = {};  ///< "NAME=value" each.
  GuestPath cwd = GuestPath("/");
  Uid uid = {};
  Gid gid = {};
  /// Instead of `input` and what would be captured.
  std::optional<Stdio> stdio = {};
  Bytes most_output = {std::uint64_t{16} << 20U};  ///< Of each stream.
};

/// What became of a command.
struct Ran {
  Exit exit = {};
  std::string out = {};
  std::string err = {};
  std::chrono::nanoseconds duration{0};  ///< From the call to the end.
  std::string command = {};
  std::shared_ptr<const detail::Story> box = {};

  /// As a shell says it: the exit code, or 128 + signal.
  [[nodiscard]] int status() const noexcept { return exit.shell_status(); }
  [[nodiscard]] bool success() const noexcept { return exit.success(); }
  /// All that a person wants to know when this was not what a test expects.
  [[nodiscard]] std::string report() const {
    std::string all = fmt::format("box '{}': {}: {}, after {:.1f} ms\n", box ? box->name : "",
                                  command, exit, static_cast<double>(duration.count()) / 1e6);
    if (!out.empty()) all += "  standard output:\n" + detail::indented(out);
    if (!err.empty()) all += "  standard error:\n" + detail::indented(err);
    if (exit.dropped > 0) all += fmt::format("  and {} bytes more\n", exit.dropped);
    if (box) all += "  its plan:\n" + detail::indented(box->plan());
    return all;
  }
};

/// A command that runs in the background; killed with this. Movable, not thread-safe.
class Background {
 public:
  /// What it has said so far.
  [[nodiscard]] std::string out() const { return detail::parts::output_text(out_); }
  [[nodiscard]] std::string err() const { return detail::parts::output_text(err_); }
  [[nodiscard]] bool running() { return !ended(std::chrono::milliseconds{0}); }
  [[nodiscard]] Pid pid() const noexcept { return task_.pid(); }
  void signal(Signal which) { detail::must(task_.signal(which), "signal"); }
  /// @throws Failure when it has not ended by then; it is killed.
  Ran wait(std::chrono::milliseconds deadline = usual_deadline) {
    if (!ended(deadline)) {
      kill();
      Ran late = ran();
      throw Failure(
          fmt::format("the deadline of {} ms passed\n{}", deadline.count(), late.report()));
    }
    return ran();
  }
  /// Kills it and waits for its end. Its children live on as long as the box.
  void kill() {
    if (ended(std::chrono::milliseconds{0})) return;
    detail::must(task_.kill(), "kill");
    exit_ = detail::value_of(task_.wait(), "kill");
  }
  /// Waits until it has said this on one of its streams.
  /// @throws Failure when it ends or the deadline passes before.
  void expect_output(std::string_view text, std::chrono::milliseconds deadline = usual_deadline) {
    const auto end = std::chrono::steady_clock::now() + deadline;
    for (;;) {
      const bool over = ended(std::chrono::milliseconds{5});
      if (out().find(text) != std::string::npos || err().find(text) != std::string::npos) return;
      if (!over && std::chrono::steady_clock::now() < end) continue;
      kill();
      throw Failure(fmt::format("{} before it said '{}'\n{}",
                                over ? "it ended" : "the deadline passed", text, ran().report()));
    }
  }

 private:
  friend class Sandbox;
  Background(Task task, Fd out, Fd err, std::string command,
             std::shared_ptr<const detail::Story> box)
      : task_(std::move(task)),
        out_(std::move(out)),
        err_(std::move(err)),
        command_(std::move(command)),
        box_(std::move(box)) {}
  bool ended(std::chrono::milliseconds limit) {
    if (!exit_) exit_ = detail::value_of(task_.wait_for(limit), command_);
    return exit_.has_value();
  }
  Ran ran() {
    return {.exit = *exit_,
            .out = out(),
            .err = err(),
            .duration = exit_->launch_time + exit_->run_time,
            .command = command_,
            .box = box_};
  }

  Task task_;
  Fd out_;
  Fd err_;
  std::string command_;
  std::shared_ptr<const detail::Story> box_;
  std::optional<Exit> exit_ = {};
};

// ---- the box ------------------------------------------------------------------------------------

struct SandboxOptions {
  Network* network = nullptr;  ///< Without one there is nothing but a loopback.
  /// Its host name, and by it it is known on its network. Empty: "box", and on a network one that
  /// no other box there has.
  std::string name = {};
  /// Has the last word on what the box is: limits, mounts, rights. Such a box does not come from
  /// the pool.
  std::function<void(Spec&)> adjust = {};
};

/// A container that runs nothing but what it is asked to, and keeps its files between commands.
/// Fresh for each test; its end ends everything in it. Movable, not thread-safe; several may be
/// used by several threads.
class Sandbox {
 public:
  /// @throws Failure
  explicit Sandbox(const Image& image, SandboxOptions options = {}) : image_(image) {
    detail::ImageCore& core = *image_.core_;
    const bool usual = options.network == nullptr && options.name.empty() && !options.adjust;
    const std::string name = !options.name.empty() ? options.name
                             : options.network     ? options.network->lan_->fresh_name()
                                                   : "box";
    auto story = std::make_shared<detail::Story>(detail::Story{
        name, detail::idle_spec(name, core.stored.root, core.disk, core.bench->idle), core.bench});
    if (options.adjust) options.adjust(story->spec);
    story_ = story;
    if (usual) {
      container_.emplace(core.take(story->spec));
      return;
    }
    if (options.network == nullptr) {
      container_.emplace(
          detail::value_of(core.bench->runtime.launch(story->spec), "box '" + name + "'"));
      return;
    }
    // Raw sockets reach no further than the cable: ping(8) works.
    story->spec.security.capabilities.add(Capability::net_raw);
    story->spec.security.allow |= Allow::capabilities;
    place_ = Place{options.network->lan_, name};
    story->spec.network.interfaces.push_back(
        detail::value_of(place_->lan->seat(name), "a box on a network"));
    try {
      container_.emplace(detail::value_of(place_->lan->launch(core.bench->runtime, story->spec),
                                          "box '" + name + "'"));
      detail::must(place_->lan->arrived(name, root()), "box '" + name + "'");
    } catch (...) {
      place_->lan->leave(name);
      throw;
    }
  }
  Sandbox(Sandbox&& other) noexcept
      : image_(other.image_),
        story_(std::move(other.story_)),
        place_(std::exchange(other.place_, std::nullopt)),
        container_(std::exchange(other.container_, std::nullopt)) {}
  Sandbox& operator=(Sandbox&&) = delete;
  ~Sandbox() {
    if (place_) place_->lan->leave(place_->name);
  }

  /// Runs a command and waits for its end.
  /// @throws Failure when it cannot be executed, and when it has not ended by the deadline: it is
  /// killed, and the text has what it had said.
  Ran run(const Command& command, const RunOptions& options = {}) {
    const auto begin = std::chrono::steady_clock::now();
    Fd input;
    Attach what = attach(command, options);
    if (options.stdio) {
      what.process.stdio = *options.stdio;
    } else {
      what.process.stdio = Stdio::capture;
      if (!options.input.empty()) {
        input = detail::value_of(detail::parts::text_file(options.input), "input");
        what.process.stdio.in = HostFd{input.get()};
      }
    }
    Task task = begun(command, what);
    auto exit = detail::value_of(task.wait_for(options.deadline), to_string(command));
    const bool late = !exit;
    if (late) {
      detail::must(task.kill(), "kill");
      exit = detail::value_of(task.wait(), to_string(command));
    }
    Ran ran{.exit = std::move(*exit),
            .duration = std::chrono::steady_clock::now() - begin,
            .command = to_string(command),
            .box = story_};
    ran.out = std::move(ran.exit.out);
    ran.err = std::move(ran.exit.err);
    if (late)
      throw Failure(
          fmt::format("the deadline of {} ms passed\n{}", options.deadline.count(), ran.report()));
    return ran;
  }
  /// Runs a command that is to end with this status.
  /// @throws Failure when it ends in another way.
  Ran expect_exit(int status, const Command& command, const RunOptions& options = {}) {
    Ran ran = run(command, options);
    if (ran.exit.kind == Exit::exited && ran.exit.code == status) return ran;
    throw Failure(fmt::format("it should have exited with status {}\n{}", status, ran.report()));
  }
  /// Runs a command that is to be ended by this signal.
  Ran expect_signal(Signal signal, const Command& command, const RunOptions& options = {}) {
    Ran ran = run(command, options);
    if (ran.exit.kind == Exit::signaled && ran.exit.signal == signal) return ran;
    throw Failure(fmt::format("signal {} should have ended it\n{}", signal.value, ran.report()));
  }
  /// Runs a command again and again until it succeeds: a server comes up, a network heals.
  /// @throws Failure when it has not by the deadline, with the last of them.
  Ran eventually(const Command& command, const RunOptions& options = {}) {
    using namespace std::chrono;
    const auto end = steady_clock::now() + options.deadline;
    std::string last;
    for (RunOptions rest = options;;) {
      try {
        const Ran ran = run(command, rest);
        if (ran.success()) return ran;
        last = ran.report();
      } catch (const Failure& failure) {
        // The last one gets what time is left, which may be little: what the one before said then
        // tells more.
        if (failure.error()) throw;
        if (last.empty()) last = failure.what();
      }
      rest.deadline = duration_cast<milliseconds>(end - steady_clock::now());
      if (rest.deadline <= milliseconds{0})
        throw Failure(
            fmt::format("it did not succeed within {} ms\n{}", options.deadline.count(), last));
      // The box may end meanwhile.
      (void)container().wait_for(std::min(rest.deadline, milliseconds{20}));
    }
  }
  /// Begins a command.
  /// @throws Failure when it cannot be executed.
  [[nodiscard]] Background start(const Command& command, const RunOptions& options = {}) {
    Attach what = attach(command, options);
    Fd in = detail::value_of(detail::parts::text_file(options.input), "input");
    Fd out = detail::value_of(detail::parts::output_file(options.most_output), "output");
    Fd err = detail::value_of(detail::parts::output_file(options.most_output), "output");
    what.process.stdio =
        options.stdio.value_or(Stdio(HostFd{in.get()}, HostFd{out.get()}, HostFd{err.get()}));
    return {begun(command, what), std::move(out), std::move(err), to_string(command), story_};
  }

  /// Begins a command and hands its process out, for programs that attend to it by themselves;
  /// without RunOptions::stdio its streams are this program's. Of `options`, `input` and `deadline`
  /// mean nothing.
  /// @errors Those of Container::attach.
  [[nodiscard]] Result<Task> launch(const Command& command, const RunOptions& options = {}) {
    Attach what = attach(command, options);
    what.process.stdio = options.stdio.value_or(Stdio());
    return container_->attach(what);
  }

  /// Makes a file in the box, of its root's; directories above it are made.
  void put(const std::string& path, std::string_view contents, Mode mode = {0644}) {
    detail::must(detail::parts::put_file(root(), GuestPath(path), contents, mode),
                 "box '" + name() + "'");
  }
  /// Copies a file of the host's.
  void put(const std::string& path, const HostPath& from, Mode mode = {0755}) {
    put(path, detail::value_of(detail::parts::host_file(from, most_file), "put"), mode);
  }
  [[nodiscard]] std::string get(const std::string& path) const {
    return detail::value_of(detail::parts::get_file(root(), GuestPath(path), most_file),
                            "box '" + name() + "'");
  }

  [[nodiscard]] const std::string& name() const noexcept { return story_->name; }
  /// For all that a container can do.
  [[nodiscard]] Container& container() { return *container_; }
  /// Its state and its plan.
  [[nodiscard]] std::string report() {
    const auto exit = container_->step();
    const std::string state = !exit    ? to_string(exit.error())
                              : !*exit ? fmt::format("runs, process {}", container_->pid().value)
                                       : to_string(**exit);
    return fmt::format("box '{}': {}\n  its plan:\n{}", name(), state,
                       detail::indented(story_->plan()));
  }

 private:
  struct Place {
    std::shared_ptr<detail::parts::Lan> lan;
    std::string name;
  };
  static constexpr Bytes most_file{std::uint64_t{256} << 20U};

  [[nodiscard]] Fd root() const {
    return detail::value_of(detail::parts::root_of(container_->pid(), container_->pidfd()),
                            "box '" + name() + "'");
  }
  static Attach attach(const Command& command, const RunOptions& options) {
    Attach what;
    what.process.argv = command.argv;
    what.process.env = options.env;
    what.process.cwd = options.cwd;
    what.process.uid = options.uid;
    what.process.gid = options.gid;
    what.process.capture_limit = options.most_output;
    return what;
  }
  Task begun(const Command& command, const Attach& what) {
    auto task = container_->attach(what);
    if (task) return std::move(*task);
    throw Failure(fmt::format("{}: {}\n{}", to_string(command), task.error(), report()),
                  task.error());
  }

  Image image_;
  std::shared_ptr<const detail::Story> story_;
  std::optional<Place> place_ = {};
  std::optional<Container> container_ = {};
};

}  // namespace testing
}  // namespace v0
}  // namespace condroid
