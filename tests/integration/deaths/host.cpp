// A host for tests that kill it, its zygote and its containers: it does what the verb says, tells
// what there is, and waits.
//
//   host many N        launches N containers one after the other; fails if descriptors pile up
//   host forked        a container, and a forked child that holds all of the host's descriptors
//   host detach wait   a detached container, and a host that stays
//   host detach end    a detached container, and a host that ends; fails if it waits for that one
//   host busy WHAT     from four threads for ever launches, takes from pools (pool), or has
//                      containers launch themselves again (restart); when its zygote was killed and
//                      another one has launched a container, it prints "again"
//   host attaching OP  a container, and an attach to it that stops before an op until SIGCONT
//   host next SPEC OP  a container that was killed and is launched again, stopped before an op of
//                      that until SIGCONT
//   host hooked SPEC POINT
//                      launches it with a hook at that point, `sleep`, which does not end
//   host plan SPEC     prints the plan of the spec in a file
//   host stopped SPEC OP WORD...
//                      launches it and stops before an op until SIGCONT. Beside it there is, by the
//                      words, a `stubborn` container that cleared its death signal, which is
//                      `detached`, and when the launch has stopped a `forked` child
//   host probe-detached ROOT LOG PATH...
//                      lets `payload late PATH...` go once it is detached; LOG is its console's.
//                      With --dry-run instead of the paths it prints the plan
//   host probe-attached ROOT LOG PATH...
//                      a container, and `payload probe PATH...` attached to it
//   host probe-pooled ROOT LOG PATH...
//                      the same in a container of a pool of one
//   host probe-frozen ROOT LOG PATH...
//                      `payload late PATH...` let go once it was frozen and thawed
//
// When it is ready it prints "ready ZYGOTE CONTAINER OTHER BESIDE" (processes, 0 for none) on a
// line.
#include <dirent.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condroid/attach.hpp>
#include <condroid/builder.hpp>
#include <condroid/launch.hpp>
#include <condroid/pool.hpp>
#include <condroid/runtime.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "launch/engine.hpp"

using namespace condroid;

namespace {

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "host: {}\n", why);
  std::exit(1);
}

template <class T>
T need(Result<T> result) {
  if (!result) give_up(to_string(result.error()));
  return std::move(*result);
}

Spec command(std::vector<std::string> argv) {
  return ContainerBuilder{"deaths"}.exec(std::move(argv)).spec();
}

/// How many a process has open; 0 where this user may not look, which is at the zygote of an
/// unprivileged one.
std::size_t descriptors(std::string_view process) {
  std::size_t n = 0;
  DIR* d = ::opendir(fmt::format("/proc/{}/fd", process).c_str());
  if (d == nullptr && errno == EACCES) return 0;
  if (d == nullptr)
    give_up(to_string(sys_error(errno, Step::open_descriptor, "no /proc to look into")));
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n;
}

void ready(const Runtime& runtime, Pid container, pid_t other = 0, pid_t beside = 0) {
  fmt::print("ready {} {} {} {}\n", runtime.zygote_pid().value, container.value, other, beside);
  std::fflush(stdout);
}

pid_t forked_child() {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) give_up(to_string(sys_error(errno, Step::clone, "a child of the host")));
  if (child == 0)
    for (;;) ::pause();
  return child;
}

void launch_and_wait(const Runtime& runtime, const Spec& spec) {
  Container box = need(runtime.launch(spec));
  const Exit exit = need(box.wait());
  if (!exit.success() || !exit.cleanup_errors.empty()) give_up(to_string(exit));
}

int many(int count) {
  const Runtime runtime = need(Runtime::open());
  const Spec spec = command({"/bin/true"});
  for (int i = 0; i < 3; ++i) launch_and_wait(runtime, spec);  // whatever is kept is there by then
  const std::string zygote = fmt::format("{}", runtime.zygote_pid().value);
  // The zygote tells an end before it closes the last descriptor of it.
  const auto pause = std::chrono::milliseconds(50);
  std::this_thread::sleep_for(pause);
  const std::size_t ours = descriptors("self"), theirs = descriptors(zygote);
  for (int i = 3; i < count; ++i) launch_and_wait(runtime, spec);
  std::this_thread::sleep_for(pause);
  if (descriptors("self") != ours || descriptors(zygote) != theirs)
    give_up(fmt::format("descriptors: {} before, {} after; of the zygote {} and {}", ours,
                        descriptors("self"), theirs, descriptors(zygote)));
  return 0;
}

int forked() {
  const Runtime runtime = need(Runtime::open());
  Container box = need(runtime.launch(command({"/bin/sleep", "1000"})));
  ready(runtime, box.pid(), forked_child());
  fmt::print("{}\n", need(box.wait()));
  return 0;
}

int detach(bool wait) {
  pid_t pid = 0;
  const auto begin = std::chrono::steady_clock::now();
  {
    const Runtime runtime = need(Runtime::open());
    Container box = need(runtime.launch(command({"/bin/sleep", "1000"})));
    if (auto ok = box.detach(); !ok) give_up(to_string(ok.error()));
    pid = box.pid().value;
    ready(runtime, box.pid());
    while (wait) ::pause();
  }
  if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(2))
    give_up("the Runtime's end waited for a detached container");
  if (::kill(pid, 0) != 0) give_up("the detached container did not live on");
  return 0;
}

/// What one thread of a busy host does, again and again. Of a zygote that is killed meanwhile it
/// gets an error or a lost container, and the next time a new one.
void keep_busy(const Runtime& runtime, const Spec& spec, std::string_view what) {
  if (what == "pool") {
    auto pool = Pool::open(runtime, spec, {.size = 2});
    if (!pool) return;
    for (int i = 0; i < 10; ++i) {
      auto box = pool->take();
      if (!box || !box->wait()) return;
    }
    return;
  }
  Spec lives = spec;
  if (what == "restart") lives.lifecycle = {.restart = Restart::always, .restart_limit = 10};
  auto box = runtime.launch(lives);
  if (box) (void)box->wait();
}

int busy(std::string_view what) {
  const Runtime runtime = need(Runtime::open());
  const Spec spec = command({"/bin/true"});
  launch_and_wait(runtime, spec);
  const Pid first = runtime.zygote_pid();
  ready(runtime, Pid{});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (;;) keep_busy(runtime, spec, what);
    });
  for (;;) {
    auto box = runtime.launch(spec);
    if (!box || runtime.zygote_pid() == first) continue;
    if (const auto exit = box->wait(); exit && exit->success()) break;
  }
  fmt::print("again\n");
  std::fflush(stdout);
  for (auto& t : threads) t.join();
  return 0;
}

/// With more lines behind those of the file.
Spec spec_of(const std::string& path, const std::string& more = {}) {
  std::ifstream file(path);
  if (!file) give_up("no " + path);
  return need(parse_spec(std::string(std::istreambuf_iterator<char>(file), {}) + more));
}

int plan(const Spec& spec) {
  fmt::print("{}", need(compile(spec, need(probe_host()))));
  return 0;
}

/// A container that death signals do not reach, once it runs.
Container stubborn(const Runtime& runtime) {
  Spec spec = command(
      {"/usr/bin/setpriv", "--pdeathsig", "clear", "/bin/sh", "-c", "echo up; exec sleep 1000"});
  spec.name = "stubborn";
  spec.process.stdio = {Stream(Stream::null), Stream(Stream::pipe), Stream(Stream::null)};
  Container box = need(runtime.launch(spec));
  const Fd out = box.take_stdout();
  char c = 0;
  if (::read(out.get(), &c, 1) != 1) give_up("the stubborn container did not come up");
  return box;
}

/// SIGCONT, as something to wait for. Before threads are made.
Fd continued() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCONT);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/// Steps a launch, or an attach, to an end that is none: it was stopped, and something killed.
/// `when_stopped` is called once.
template <class L>
int drive(L& launch, const Fd& signals, const auto& when_stopped) {
  for (bool told = false;;) {
    auto done = launch.step();
    if (!done || *done) {  // and not by exit(3): what there is beside ends with its handle
      fmt::print("host: {}\n", done ? "it was not stopped" : to_string(done.error()));
      return 1;
    }
    if (launch.stopped() && !told) {
      told = true;
      when_stopped();
    }
    const Interest interest = launch.interest();
    std::array<pollfd, 2> waiting{
        {{signals.get(), POLLIN, 0}, {interest.fd.get(), interest.events, 0}}};
    (void)::poll(waiting.data(), waiting.size(), launch.timeout());
    signalfd_siginfo info{};
    if (::read(signals.get(), &info, sizeof info) == sizeof info) launch.resume();
  }
}

/// Of the whole plan, of which the parked one has done the first part.
int taking(std::size_t at) {
  const Fd signals = continued();
  const Runtime runtime = need(Runtime::open());
  Spec spec = command({"/bin/sleep", "1000"});
  spec.resources.pids_max = 20;
  Pool pool = need(Pool::open(runtime, spec, {.size = 1}));
  (void)need(pool.fill().map([] { return 0; }));
  auto launch =
      pool.start_take({.argv = {"/bin/sleep", "999"}}, {.deadline = {}, .stop_before = at});
  if (!launch) {
    fmt::print("host: {}\n", launch.error());
    return 1;
  }
  return drive(*launch, signals, [&] { ready(runtime, launch->pid(), 0, 0); });
}

int attaching(std::size_t at) {
  const Fd signals = continued();
  const Runtime runtime = need(Runtime::open());
  Spec spec = command({"/bin/sleep", "1000"});
  spec.resources.pids_max = 20;
  const Container box = need(runtime.launch(spec));
  const Attach what{.process = {.argv = {"/bin/sleep", "1000"}, .stdio = Stdio::pty},
                    .cgroup = AttachCgroup::below};
  auto launch = box.start_attach(what, {.deadline = {}, .stop_before = at});
  if (!launch) {
    fmt::print("host: {}\n", launch.error());
    return 1;
  }
  return drive(*launch, signals, [&] { ready(runtime, launch->pid(), 0, box.pid().value); });
}

int stopped(const std::string& path, const std::string& op, std::span<char*> words) {
  const auto wanted = [&](std::string_view word) {
    return std::ranges::any_of(words, [&](const char* w) { return w == word; });
  };
  const Fd signals = continued();
  const Runtime runtime = need(Runtime::open());
  std::optional<Container> beside;
  if (wanted("stubborn")) beside = stubborn(runtime);
  if (wanted("detached") && beside) (void)need(beside->detach().map([] { return 0; }));
  Plan made = need(compile(spec_of(path), need(runtime.facts())));
  const std::size_t at = need(made.find(op));
  Launch launch = need(runtime.start(std::move(made), {.deadline = {}, .stop_before = at}));
  return drive(launch, signals, [&] {
    ready(runtime, launch.pid(), wanted("forked") ? forked_child() : 0,
          beside ? beside->pid().value : 0);
  });
}

/// What is said of an end that nobody wanted.
int ended(const Result<Exit>& exit) {
  if (!exit) {
    fmt::print("host: {}\n", exit.error());
  } else {
    fmt::print("host: {}\n", *exit);
    for (const std::string& left : exit->cleanup_errors) fmt::print("host: {}\n", left);
  }
  return 1;
}

int next_life(const std::string& path, std::size_t at) {
  const Fd signals = continued();
  const Runtime runtime = need(Runtime::open());
  Spec spec = spec_of(path);
  spec.lifecycle.restart = Restart::always;
  Container box = need(runtime.launch(spec, {.deadline = {}}));
  using Engine = detail::LaunchEngine;
  Engine::stop_next_before(box, at);
  if (auto ok = box.signal(Signal{SIGKILL}); !ok) give_up(to_string(ok.error()));
  for (bool told = false;;) {
    auto done = box.step();
    if (!done) return ended(fail(done));
    if (*done) return ended(std::move(**done));
    if (box.restarts() > 0) {  // and not by exit(3), as above
      fmt::print("host: it was not stopped\n");
      return 1;
    }
    Engine* const next = Engine::next_of(box);
    if (next != nullptr && next->stopped() && !told) {
      told = true;
      ready(runtime, next->pid());
    }
    std::array<pollfd, 2> waiting{{{signals.get(), POLLIN, 0}, {box.poll_fd().get(), POLLIN, 0}}};
    (void)::poll(waiting.data(), waiting.size(), -1);
    signalfd_siginfo info{};
    const bool go_on = ::read(signals.get(), &info, sizeof info) == sizeof info;
    if (go_on && next != nullptr) next->resume();
  }
}

int hooked(const std::string& path, const std::string& point) {
  const Runtime runtime = need(Runtime::open());
  // Below /mnt a machine may have mounts that an ephemeral root is to have, too.
  Spec spec =
      spec_of(path, fmt::format("hooks.root_at = /srv\n"
                                "hooks.run = {} /bin/sleep argv=sleep argv=1000 timeout=100s\n",
                                point));
  const bool at_end = point == "down" || point == "stop" || point == "post_stop";
  spec.process.argv = {"/bin/true"};
  if (!at_end) spec.process.argv = {"/usr/bin/tail", "-f", "/dev/null"};
  auto box = runtime.launch(spec, {.deadline = {}});
  if (!box) return ended(fail(box));
  return ended(box->wait());
}

int probe_detached(const std::string& root, const std::string& log, std::span<char*> paths) {
  const bool dry = !paths.empty() && paths[0] == std::string_view("--dry-run");
  std::vector<std::string> argv{"/bin/payload", "late"};
  if (!dry) argv.insert(argv.end(), paths.begin(), paths.end());
  Spec spec = command(std::move(argv));
  spec.root.path = HostPath(root);
  spec.terminal.console = true;
  spec.terminal.log = HostPath(log);
  // What keeps it waiting is ours: the end of this process lets it go.
  spec.process.stdio = {Stream(Stream::pipe), Stream(Stream::inherit), Stream(Stream::inherit)};
  if (dry) return plan(spec);
  const Runtime runtime = need(Runtime::open());
  Container box = need(runtime.launch(spec));
  if (auto ok = box.detach(); !ok) give_up(to_string(ok.error()));
  return 0;
}

/// `payload probe` with the paths; nothing with --dry-run.
std::vector<std::string> probe_of(std::span<char*> paths) {
  std::vector<std::string> argv;
  if (!paths.empty() && paths[0] == std::string_view("--dry-run")) return argv;
  argv = {"/bin/payload", "probe"};
  argv.insert(argv.end(), paths.begin(), paths.end());
  return argv;
}

/// What is said of an end that was not as it should be; not by exit(3), containers are there still.
int told(const Result<Exit>& exit) {
  if (exit && exit->success() && exit->cleanup_errors.empty()) return 0;
  fmt::print(stderr, "host: {}\n", exit ? to_string(*exit) : to_string(exit.error()));
  return 1;
}

int probe_attached(const std::string& root, std::span<char*> paths) {
  Spec spec = command({"/bin/payload", "pause"});
  spec.root.path = HostPath(root);
  spec.process.stdio = Stdio::null;  // only the attached one is to be heard
  Attach what;
  what.process.argv = probe_of(paths);
  if (what.process.argv.empty()) return plan(spec);
  const Runtime runtime = need(Runtime::open());
  int status = 0;
  {
    Container box = need(runtime.launch(spec));
    status = told(box.attach(what).and_then([](Task task) { return task.wait(); }));
    auto end = box.kill().and_then([&] { return box.wait(); });
    if (end) end->kind = Exit::exited, end->code = 0;  // it was killed, as it should
    status = std::max(status, told(end));
  }
  return status;
}

int probe_pooled(const std::string& root, std::span<char*> paths) {
  Spec spec = command({"/bin/payload", "probe"});
  spec.root.path = HostPath(root);
  const Take take{.argv = probe_of(paths)};
  if (take.argv.empty()) return plan(spec);
  const Runtime runtime = need(Runtime::open());
  const auto run = [&]() -> Result<Exit> {
    auto pool = Pool::open(runtime, spec, {.size = 1});
    if (!pool) return tl::unexpected(pool.error());
    if (auto ok = pool->fill(); !ok) return tl::unexpected(ok.error());
    // Without a refill, which would make the calls of a second container.
    auto launch = pool->start_take(take);
    if (!launch) return tl::unexpected(launch.error());
    for (;;) {
      auto done = launch->step();
      if (!done) return tl::unexpected(done.error());
      if (*done) return (*done)->wait();
      const Interest interest = launch->interest();
      pollfd waiting{interest.fd.get(), interest.events, 0};
      (void)::poll(&waiting, 1, launch->timeout());
    }
  };
  return told(run());
}

/// Frozen and thawed before its command does anything.
int probe_frozen(const std::string& root, std::span<char*> paths) {
  Spec spec = command({"/bin/payload", "late"});
  spec.root.path = HostPath(root);
  spec.lifecycle.freezable = true;
  // What keeps it waiting. Either of two calls lets it go, should the other one fail.
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    give_up(to_string(sys_error(errno, Step::open_descriptor, "what keeps the command waiting")));
  Fd ours(pair[0]), theirs(pair[1]);
  spec.process.stdio = {Stream(HostFd{theirs.get()}), Stream(Stream::inherit),
                        Stream(Stream::inherit)};
  std::vector<std::string> argv = probe_of(paths);
  if (argv.empty()) return plan(spec);
  argv[1] = "late";
  spec.process.argv = std::move(argv);
  const Runtime runtime = need(Runtime::open());
  int status = 0;
  {
    Container box = need(runtime.launch(spec));
    const auto frozen = box.freeze().and_then([&] { return box.frozen(); });
    const auto thawed = box.thaw().and_then([&] { return box.frozen(); });
    if (frozen && thawed && *frozen && !*thawed) {
      (void)::shutdown(ours.get(), SHUT_WR);
      ours.reset();
      status = told(box.wait());
    } else {
      const auto& failed = frozen ? thawed : frozen;
      fmt::print(stderr, "host: {}\n",
                 failed ? "it is not as frozen as it was said" : to_string(failed.error()));
      status = 1;
    }
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  const std::string_view more = argc > 2 ? argv[2] : "";
  if (verb == "many") {
    int count = 0;
    (void)std::from_chars(more.data(), more.data() + more.size(), count);
    return many(count);
  }
  if (verb == "forked") return forked();
  if (verb == "detach") return detach(more == "wait");
  if (verb == "busy") return busy(more);
  if (verb == "attaching" || verb == "taking") {
    std::size_t at = 0;
    (void)std::from_chars(more.data(), more.data() + more.size(), at);
    return verb == "taking" ? taking(at) : attaching(at);
  }
  if (verb == "next" && argc > 3) {
    const std::string_view op = argv[3];
    std::size_t at = 0;
    (void)std::from_chars(op.data(), op.data() + op.size(), at);
    return next_life(argv[2], at);
  }
  if (verb == "hooked" && argc > 3) return hooked(argv[2], argv[3]);
  const std::span<char*> rest(argv + std::min(argc, 4), argv + argc);
  if (verb == "plan") return plan(spec_of(argv[2]));
  if (verb == "stopped" && argc > 3) return stopped(argv[2], argv[3], rest);
  if (verb == "probe-detached" && argc > 3) return probe_detached(argv[2], argv[3], rest);
  if (verb == "probe-attached" && argc > 3) return probe_attached(argv[2], rest);
  if (verb == "probe-pooled" && argc > 3) return probe_pooled(argv[2], rest);
  if (verb == "probe-frozen" && argc > 3) return probe_frozen(argv[2], rest);
  fmt::print(stderr, "host: no such verb\n");
  return 2;
}
