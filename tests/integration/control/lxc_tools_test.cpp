// LXC's tools, as Debian packages them, on containers of ours; our client on a container of
// lxc-start's.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "condroid/control/client.hpp"
#include "condroid/control/command_socket.hpp"
#include "condroid/control/monitor.hpp"
#include "condroid/sys/cgroup.hpp"
#include "condroid/sys/pidfd.hpp"
#include "condroid/sys/pty.hpp"
#include "containers.hpp"
#include "control/address.hpp"
#include "control/wire.hpp"
#include "forked.hpp"
#include "networks.hpp"

namespace {

using namespace condroid;
using namespace condroid::test;
using namespace std::chrono_literals;
using control::Client;
using control::CommandSocket;
using control::State;
using Clock = std::chrono::steady_clock;

/// A program on its way, its output gathered.
class Tool {
 public:
  explicit Tool(std::vector<std::string> words, FdView terminal = {}) {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
    out_ = Fd(ends[0]);
    const Fd write_end(ends[1]);
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    ::posix_spawn_file_actions_adddup2(&files, terminal.valid() ? terminal.get() : null.get(), 0);
    for (const int fd : {1, 2})
      ::posix_spawn_file_actions_adddup2(&files,
                                         terminal.valid() ? terminal.get() : write_end.get(), fd);
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    const int e = ::posix_spawnp(&pid_, argv[0], &files, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&files);
    must(e == 0, words[0]);
  }
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;
  ~Tool() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] FdView fd() const { return out_; }
  /// Reads what is there. True once it has ended.
  bool step() {
    pollfd waiter{out_.get(), POLLIN, 0};
    char some[4096];
    while (::poll(&waiter, 1, 0) == 1) {
      const ssize_t n = ::read(out_.get(), some, sizeof some);
      if (n <= 0) break;
      text.append(some, static_cast<std::size_t>(n));
    }
    int how = 0;
    if (pid_ > 0 && ::waitpid(pid_, &how, WNOHANG) == pid_) {
      pid_ = -1;
      status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
      return step();
    }
    return pid_ <= 0;
  }
  [[nodiscard]] bool says(std::string_view words) const {
    return text.find(words) != std::string::npos;
  }
  void signal(int number) const { ::kill(pid_, number); }
  std::string text;
  int status = -1;

 private:
  pid_t pid_ = -1;
  Fd out_;
};

/// Until `done`, at most 20 seconds; the container answers meanwhile.
template <class Done>
void drive(Container* box, Done done, std::string_view what) {
  const auto until = Clock::now() + 20s * std::min(slow(), 3);
  while (!done()) {
    if (Clock::now() > until) throw std::runtime_error("in vain: " + std::string(what));
    pollfd waiter{box != nullptr ? box->poll_fd().get() : -1, POLLIN, 0};
    ::poll(&waiter, 1, 5);
    if (box != nullptr && !box->step()) throw std::runtime_error("step");
  }
}

/// What is written to a terminal.
class Screen {
 public:
  explicit Screen(FdView master) : master_(master) {}
  bool shows(std::string_view words) {
    pollfd waiter{master_.get(), POLLIN, 0};
    char some[4096];
    if (::poll(&waiter, 1, 0) == 1)
      if (const ssize_t n = ::read(master_.get(), some, sizeof some); n > 0)
        text.append(some, static_cast<std::size_t>(n));
    return text.find(words) != std::string::npos;
  }
  std::string text;

 private:
  FdView master_;
};

/// What another thread is answered.
template <class Question>
auto ask(Container& box, Question question) {
  // Of the answer's type, not of each question's: std::async is much to compile.
  auto answer = std::async(std::launch::async,
                           std::function<std::invoke_result_t<Question&>()>(std::move(question)));
  drive(
      &box, [&] { return answer.wait_for(0s) == std::future_status::ready; }, "an answer");
  return answer.get();
}

/// An LXCPATH of its own with what LXC's tools want to find there.
class LxcPath : public TempDir {
 public:
  explicit LxcPath(const std::string& name = "web") {
    make_dir(*this / name);
    make_file(*this / (name + "/config"), "lxc.uts.name = web\nlxc.net.0.type = empty\n");
  }
};

struct BusyRoot : TempRoot {
  BusyRoot() {
    make_file(*this / "bin/busybox", read_file("/bin/busybox"), 0755);
    must(::symlink("busybox", (*this / "bin/sh").c_str()) == 0, "symlink");
    make_file(*this / "etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
  }
};

/// A container, and its socket.
struct Served {
  explicit Served(std::vector<std::string> argv = {}, void (*change)(Spec&) = nullptr,
                  std::string run_dir = {}) {
    const bool answers = argv.empty();
    Spec spec = payload(root, {});
    spec.name = "web";
    spec.process.stdio = Stdio::null;
    spec.process.argv = argv.empty()
                            ? std::vector<std::string>{"/bin/sh", "-c",
                                                       "trap 'exit 7' PWR; trap 'exit 8' INT; "
                                                       "while :; do /bin/busybox sleep 0.05; "
                                                       "done"}
                            : std::move(argv);
    spec.resources.cgroup = CgroupMode::everywhere;
    spec.lifecycle.freezable = true;
    if (change != nullptr) change(spec);
    auto opened =
        CommandSocket::open({.lxcpath = path.str(),
                             .name = "web",
                             .config_item = [](std::string_view key) -> std::optional<std::string> {
                               if (key == "lxc.net.0.type") return "veth";
                               if (key == "lxc.net.0.veth.pair") return "lo";
                               if (key == "lxc.group") return "servers";
                               return {};
                             },
                             .on_state =
                                 [this](State s) {
                                   states.push_back(s);
                                   if (also) also(s);
                                 },
                             .monitor_run_dir = HostPath(std::move(run_dir))});
    if (!opened) throw std::runtime_error(to_string(opened.error()));
    socket.emplace(std::move(*opened));
    box.emplace(launch(spec));
    auto ok = socket->serve(*box);
    if (!ok) throw std::runtime_error(to_string(ok.error()));
    if (answers)
      drive(
          &*box, [&] { return catches(SIGPWR) && catches(SIGINT); }, "its traps");
  }
  /// A first process never gets a signal that it has no handler for.
  [[nodiscard]] bool catches(int signal) const {
    const std::string status = read_file(fmt::format("/proc/{}/status", box->pid().value));
    const std::size_t at = status.find("SigCgt:\t");
    return at != std::string::npos &&
           (std::stoull(status.substr(at + 8, 16), nullptr, 16) >> (signal - 1) & 1U) != 0;
  }
  /// One of LXC's tools to its end.
  std::pair<int, std::string> tool(std::vector<std::string> words) {
    words.insert(words.begin() + 1, {"-P", path.str(), "-n", "web"});
    Tool t(words);
    drive(
        &*box, [&] { return t.step(); }, words[0] + " says " + t.text);
    return {t.status, t.text};
  }
  BusyRoot root;
  LxcPath path;
  std::vector<State> states;
  std::function<void(State)> also;
  std::optional<CommandSocket> socket;
  std::optional<Container> box;
};

std::string shown(const Result<std::optional<State>>& news) {
  if (!news) return to_string(news.error());
  return *news ? std::string(control::to_string(**news)) : "nothing";
}
std::string shown(const Result<std::optional<std::string>>& item) {
  return item ? item->value_or("nothing") : to_string(item.error());
}
bool has(const std::string& text, std::string_view words) {
  return text.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("lxc-info sees a container of ours", "[lxc][.root]") {
  Served web;
  const std::string pid = std::to_string(web.box->pid().value);
  CHECK(web.tool({"lxc-info", "-sH"}) == std::pair(0, std::string("RUNNING\n")));
  CHECK(web.tool({"lxc-info", "-pH"}) == std::pair(0, pid + "\n"));
  const auto [status, text] = web.tool({"lxc-info"});
  INFO(text);
  CHECK(status == 0);
  for (const std::string line : {"Name:           web", "State:          RUNNING"})
    CHECK(has(text, line));
  CHECK(has(text, "PID:            " + pid));
  CHECK(has(text, "Link:           lo"));
  // It asks for files of v1.
  const CgroupHierarchy* const memory = hierarchy_of("memory");
  if (memory != nullptr && !memory->v2) CHECK(has(text, "Memory use:"));
  CHECK(web.tool({"lxc-info", "-c", "lxc.uts.name"}).second == "lxc.uts.name = web\n");
  CHECK(has(web.tool({"lxc-info", "-S"}).second, "Link:"));
  CHECK(web.tool({"lxc-info", "-iH"}).first == 0);
}

TEST_CASE("lxc-stop stops one in each of its ways", "[lxc][.root]") {
  SECTION("asked") {
    Served web;
    CHECK(web.tool({"lxc-stop"}).first == 0);
    const Exit e = wait(*web.box);
    CHECK(e.code == 7);
    CHECK(web.socket->state() == State::stopped);
    CHECK(web.tool({"lxc-info", "-sH"}) == std::pair(0, std::string("STOPPED\n")));
    CHECK(web.states == std::vector{State::starting, State::running, State::stopping});
    // The address is free again.
    CHECK(CommandSocket::open({.lxcpath = web.path.str(), .name = "web"}));
  }
  SECTION("killed") {
    Served web;
    CHECK(web.tool({"lxc-stop", "-k"}).first == 0);
    CHECK(wait(*web.box).kind == Exit::signaled);
  }
  SECTION("killed in its sleep") {
    Served web;
    REQUIRE(web.box->freeze());
    CHECK(web.tool({"lxc-stop", "-k"}).first == 0);
    CHECK(wait(*web.box).kind == Exit::signaled);
  }
  SECTION("after a time in which it did not end") {
    Served web({"/bin/sh", "-c", "trap '' PWR; while :; do /bin/busybox sleep 0.05; done"});
    CHECK(web.tool({"lxc-stop", "-t", "1"}).first == 0);
    CHECK(wait(*web.box).kind == Exit::signaled);
  }
  SECTION("which is told when the hooks of its end have been run") {
    const TempDir dir;
    static std::string gate;  // what changes the Spec has nothing of its own
    gate = dir / "gate";
    Served web({}, [](Spec& s) {
      for (const HookPoint point : {HookPoint::stop, HookPoint::post_stop})
        s.hooks.run.push_back(
            {.point = point,
             .program = "/bin/sh",
             .argv = {"sh", "-c", "until [ -e '" + hook_text(gate) + "' ]; do sleep 0.05; done"},
             .env = {"PATH=/usr/bin:/bin"}});
    });
    Tool asked({"lxc-stop", "-P", web.path.str(), "-n", "web", "-t", "60"});
    drive(
        &*web.box, [&] { return web.box->life() == Life::ending; }, "its end");
    CHECK(web.tool({"lxc-info", "-sH"}).second == "STOPPING\n");
    CHECK(web.tool({"lxc-info", "-pH"}).second.empty());
    CHECK_FALSE(CommandSocket::open({.lxcpath = web.path.str(), .name = "web"}));
    // Who kills it then waits for them, too.
    Tool kills({"lxc-stop", "-P", web.path.str(), "-n", "web", "-k"});
    drive(
        &*web.box, [&] { return web.socket->clients() == 2; }, "both wait");
    CHECK(web.box->life() == Life::ending);
    REQUIRE(web.box->last_exit() != nullptr);
    CHECK(web.box->last_exit()->code == 7);
    CHECK_FALSE(asked.step());
    CHECK_FALSE(kills.step());
    make_file(gate, "");
    CHECK(wait(*web.box).code == 7);
    drive(
        nullptr, [&] { return asked.step() && kills.step(); }, "their end");
    CHECK(asked.status == 0);
    CHECK(kills.status == 0);
    CHECK(web.states == std::vector{State::starting, State::running, State::stopping});
  }
  SECTION("not waited for") {
    Served web;
    CHECK(web.tool({"lxc-stop", "--nowait"}).first == 0);
    CHECK(wait(*web.box).code == 7);
  }
  SECTION("and launched again") {
    Served web({}, [](Spec& s) { s.lifecycle.restart = Restart::on_failure; });
    const Pid before = web.box->pid();
    CHECK(web.tool({"lxc-stop", "-r"}).first == 0);
    drive(
        &*web.box, [&] { return web.box->pid() != before; }, "another life");
    CHECK(web.tool({"lxc-info", "-pH"}).second == std::to_string(web.box->pid().value) + "\n");
    CHECK(web.states == std::vector{State::starting, State::running, State::stopping,
                                    State::stopped, State::starting, State::running});
    CHECK(web.tool({"lxc-stop", "-k"}).first == 0);
  }
}

TEST_CASE("lxc-freeze, lxc-unfreeze and lxc-wait", "[lxc][.root]") {
  Served web;
  Tool waits({"lxc-wait", "-P", web.path.str(), "-n", "web", "-s", "FROZEN", "-t", "20"});
  drive(
      &*web.box, [&] { return web.socket->waiting() == 1; }, "lxc-wait");
  CHECK(web.tool({"lxc-freeze"}).first == 0);
  CHECK(web.box->frozen().value_or(false));
  CHECK(web.tool({"lxc-info", "-sH"}).second == "FROZEN\n");
  drive(
      &*web.box, [&] { return waits.step(); }, "lxc-wait ends");
  CHECK(waits.status == 0);
  CHECK(web.tool({"lxc-unfreeze"}).first == 0);
  CHECK_FALSE(web.box->frozen().value_or(true));
  CHECK(web.tool({"lxc-info", "-sH"}).second == "RUNNING\n");
  // What freezes it without saying so is seen all the same.
  REQUIRE(web.box->freeze());
  CHECK(web.tool({"lxc-info", "-sH"}).second == "FROZEN\n");
  REQUIRE(web.box->thaw());
  CHECK(web.tool({"lxc-wait", "-s", "RUNNING", "-t", "5"}).first == 0);

  Tool end({"lxc-wait", "-P", web.path.str(), "-n", "web", "-s", "STOPPED", "-t", "20"});
  drive(
      &*web.box, [&] { return web.socket->waiting() == 1; }, "lxc-wait");
  REQUIRE(web.box->kill());
  drive(
      &*web.box, [&] { return end.step(); }, "lxc-wait sees the end");
  CHECK(end.status == 0);
}

TEST_CASE("lxc-attach runs programs in one", "[lxc][.root]") {
  Served web;
  const auto [status, text] =
      web.tool({"lxc-attach", "--", "/bin/busybox", "sh", "-c", "echo $$; hostname; exit 3"});
  INFO(text);
  CHECK(status == 3);
  CHECK(has(text, "web\n"));
  CHECK(web.tool({"lxc-attach", "-e", "--", "/bin/busybox", "true"}).first == 0);
  // It is in all cgroups of the container's; LXC makes a leaf for it in v2.
  const auto [good, groups] =
      web.tool({"lxc-attach", "--", "/bin/busybox", "cat", "/proc/self/cgroup", "/proc/1/cgroup"});
  INFO(groups);
  CHECK(good == 0);
  std::map<std::string, int> lines;
  for (std::size_t at = 0, end; at < groups.size(); at = end + 1) {
    end = std::min(groups.find('\n', at), groups.size());
    std::string line = groups.substr(at, end - at);
    if (line.ends_with("/.lxc")) line.resize(line.size() - 4);
    ++lines[line];
  }
  for (const auto& [line, count] : lines) CHECK(line + std::to_string(count) == line + "2");
  REQUIRE(web.box->kill());
  CHECK(wait(*web.box).cleanup_errors.empty());
}

TEST_CASE("lxc-console has a terminal, and the console", "[lxc][.root]") {
  Served web(
      {"/bin/sh", "-c",
       "(exec </dev/tty1 >/dev/tty1; while read -r x; do echo \"tty $x\"; done) & "
       "exec </dev/console >/dev/console 2>&1; while read -r x; do echo \"console $x\"; done"},
      [](Spec& s) {
        s.terminal.console = true;
        s.terminal.ttys = 2;
      });
  const std::pair<std::string, std::string> terminals[] = {{"1", "tty good evening"},
                                                           {"0", "console good evening"}};
  for (const auto& terminal : terminals) {
    const std::string& number = terminal.first;
    const std::string& answer = terminal.second;
    auto pty = Pty::open();
    REQUIRE(pty);
    REQUIRE(pty->set_size({.rows = 33, .columns = 111}));
    {
      Tool tool({"lxc-console", "-P", web.path.str(), "-n", "web", "-t", number}, pty->peer());
      Screen screen(pty->master());
      drive(
          &*web.box, [&] { return screen.shows("to exit"); }, "lxc-console connects");
      // What is typed before that is thrown away.
      const auto raw = [&pty] {
        termios now{};
        return ::tcgetattr(pty->peer().get(), &now) == 0 && (now.c_lflag & ICANON) == 0;
      };
      drive(&*web.box, raw, "its raw mode");
      if (number == "0") {
        const auto grown = [&web] {
          const auto size = window_size(web.box->console());
          return size && size->rows == 33 && size->columns == 111;
        };
        drive(&*web.box, grown, "the size of who looks at it");
      }
      write_to(pty->master(), "good evening\r");
      drive(
          &*web.box, [&] { return screen.shows(answer); }, "an answer");
      // Nobody else has it meanwhile.
      const auto other = ask(*web.box, [&] {
        return Client(web.path.str(), "web").terminal(static_cast<unsigned>(std::stoi(number)));
      });
      CHECK_THAT(failure_of(other), FailsWith(EBADF, Step::command_socket));
      write_to(pty->master(), "\x01q");
      drive(
          &*web.box, [&] { return tool.step(); }, "lxc-console ends");
      CHECK(tool.status == 0);
    }
    drive(
        &*web.box, [&] { return web.socket->clients() == 0; }, "it is free again");
  }
}

TEST_CASE("lxc-monitor is told what becomes of one", "[lxc][.root]") {
  const LxcPath other;
  Served web({}, nullptr, "/run");
  const std::string pipe = control::monitor_fifo("/run", web.path.str());
  const control::Monitor of_another(pipe, "another");
  CHECK_FALSE(of_another.tell(State::running));  // nobody is there
  {
    Tool monitor({"lxc-monitor", "-P", web.path.str(), "-n", "web|another"});
    drive(
        &*web.box,
        [&] { return of_another.tell(State::thawed), monitor.step(), monitor.says("THAWED"); },
        "lxc-monitor");
    CHECK(web.tool({"lxc-freeze"}).first == 0);
    drive(
        &*web.box, [&] { return monitor.step(), monitor.says("[FROZEN]"); }, "frozen");
    CHECK(web.tool({"lxc-unfreeze"}).first == 0);
    CHECK(web.tool({"lxc-stop"}).first == 0);
    drive(
        nullptr, [&] { return monitor.step(), monitor.says("[STOPPED]"); }, "the end");
    const std::size_t exited = monitor.text.find("'web' exited with status [7]");
    const std::size_t stopping = monitor.text.find("'web' changed state to [STOPPING]");
    INFO(monitor.text);
    CHECK(exited < stopping);
    CHECK(stopping < monitor.text.find("'web' changed state to [STOPPED]"));
  }
  Tool quit({"lxc-monitor", "-P", web.path.str(), "-Q"});
  drive(
      nullptr, [&] { return quit.step(); }, "lxc-monitord ends");
  // It never takes away what it made.
  (void)::unlink(pipe.c_str());
  (void)::rmdir(pipe.substr(0, pipe.rfind('/')).c_str());
}

TEST_CASE("a pipe whose reader does not read costs no time", "[lxc][.root]") {
  const TempDir dir;
  const std::string pipe = dir / "fifo";
  const control::Monitor monitor(pipe, "web");
  CHECK_FALSE(monitor.tell(State::running));
  make_file(pipe, "");
  CHECK_FALSE(monitor.tell(State::running));
  CHECK(read_file(pipe).empty());
  must(::unlink(pipe.c_str()) == 0 && ::mkfifo(pipe.c_str(), 0600) == 0, "mkfifo");
  CHECK_FALSE(monitor.tell(State::running));
  const Fd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  int written = 0;
  while (monitor.tell(State::running)) ++written;
  CHECK(written > 100);
  CHECK(written < 300);
}

TEST_CASE("lxc-cgroup, lxc-ls and lxc-top", "[lxc][.root]") {
  Served web;
  const CgroupHierarchy* const pids = hierarchy_of("pids");
  if (pids != nullptr) {
    CHECK(web.tool({"lxc-cgroup", "pids.max", "77"}).first == 0);
    CHECK(web.tool({"lxc-cgroup", "pids.max"}).second.starts_with("77\n"));
  }
  CHECK(web.tool({"lxc-cgroup", "nosuch.file"}).first != 0);

  Tool list({"lxc-ls", "-P", web.path.str(), "-f"});
  drive(
      &*web.box, [&] { return list.step(); }, "lxc-ls");
  INFO(list.text);
  CHECK(list.status == 0);
  CHECK(has(list.text, "web"));
  CHECK(has(list.text, "RUNNING"));
  CHECK(has(list.text, "servers"));
  Tool active({"lxc-ls", "-P", web.path.str(), "--active", "-1"});
  drive(
      &*web.box, [&] { return active.step(); }, "lxc-ls --active");
  CHECK(active.text == "web\n");

  auto pty = Pty::open();
  REQUIRE(pty);
  REQUIRE(pty->set_size({.rows = 24, .columns = 80}));
  Tool top({"lxc-top", "-P", web.path.str(), "-b", "-d", "1"}, pty->peer());
  Screen screen(pty->master());
  drive(
      &*web.box, [&] { return screen.shows("web"); }, "lxc-top");
}

TEST_CASE("a long path is found by its hash", "[lxc][.root]") {
  const TempDir dir;
  const std::string path = dir / std::string(100, 'p');
  make_dir(path);
  make_dir(path + "/web");
  make_file(path + "/web/config", "lxc.uts.name = web\n");
  auto socket = CommandSocket::open({.lxcpath = path, .name = "web"});
  REQUIRE(socket);
  Tool active({"lxc-ls", "-P", path, "--active", "-1"});
  drive(
      nullptr, [&] { return socket->step(), active.step(); }, "lxc-ls");
  CHECK(active.text == "web\n");
  Tool info({"lxc-info", "-P", path, "-n", "web", "-sH"});
  drive(
      nullptr, [&] { return socket->step(), info.step(); }, "lxc-info");
  CHECK(info.text == "STARTING\n");
}

TEST_CASE("our client asks a container of ours everything", "[lxc][.root]") {
  Served web({"/bin/sh", "-c", "echo hello; exec /bin/busybox sleep 60"}, [](Spec& s) {
    s.terminal.console = true;
    s.terminal.ttys = 2;
    s.process.stdio = Stdio::pty;
  });
  const Client client(web.path.str(), "web");
  const auto asked = [&](auto question) { return ask(*web.box, question); };
  CHECK(asked([&] { return client.state(); }) == State::running);
  CHECK(asked([&] { return client.init_pid(); }) == web.box->pid());
  CHECK(asked([&] { return client.name(); }) == "web");
  CHECK(asked([&] { return client.lxcpath(); }) == web.path.str());
  CHECK(shown(asked([&] { return client.config_item("lxc.group"); })) == "servers");
  CHECK(shown(asked([&] { return client.config_item("lxc.nosuch"); })) == "nothing");
  const auto flags = asked([&] { return client.namespaces(); });
  REQUIRE(flags);
  CHECK((*flags & (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)) ==
        (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC));
  const auto pidfd = asked([&] { return client.init_pidfd(); });
  REQUIRE(pidfd);
  const auto devpts = asked([&] { return client.devpts_fd(); });
  REQUIRE(devpts);
  CHECK(Pty::open_in(*devpts));
  drive(
      &*web.box, [&] { return has(web.box->console_output(), "hello"); }, "its console");
  CHECK(asked([&] { return client.console_log({.most = 3}); }) == "hel");
  CHECK(asked([&] { return client.console_log({}); }) == "lo\r\n");
  CHECK(asked([&] { return client.console_log({}); }) == "");
  for (const std::string controller : {"memory", "pids"}) {
    if (hierarchy_of(controller) == nullptr) continue;
    const auto path = asked([&] { return client.cgroup(controller); });
    REQUIRE(path);
    CHECK(has(read_file(fmt::format("/proc/{}/cgroup", web.box->pid().value)), *path + "\n"));
    const auto dir = asked([&] { return client.cgroup_fd(controller); });
    REQUIRE(dir);
    CHECK(dir->cgroup.v2 == hierarchy_of(controller)->v2);
    CHECK(::faccessat(dir->cgroup.dir.get(), "cgroup.procs", W_OK, 0) == 0);
    CHECK(asked([&] { return client.limit_cgroup(controller); }) == *path);
    CHECK(asked([&] { return client.limit_cgroup_fd(controller); }));
  }
  CHECK_THAT(failure_of(asked([&] { return client.cgroup("nosuch"); })),
             FailsWith(ECONNRESET, Step::command_socket));
  CHECK_THAT(failure_of(asked([&] { return client.cgroup_fd("nosuch"); })),
             FailsWith(ENOENT, Step::command_socket));
  const auto all = asked([&] { return client.cgroup_contexts(); });
  REQUIRE(all);
  CHECK(all->dirs.size() == web.box->cgroups()->size());
  for (const auto& fd : {asked([&] { return client.cgroup2_fd(); }),
                         asked([&] { return client.limit_cgroup2_fd(); })}) {
    REQUIRE(fd);
    CHECK(::faccessat(fd->get(), "cgroup.freeze", W_OK, 0) == 0);
  }
  CHECK_THAT(failure_of(asked([&] { return client.systemd_scope(); })),
             FailsWith(EINVAL, Step::command_socket));
  CHECK_THAT(failure_of(asked([&] { return client.seccomp_notify_fd(); })),
             FailsWith(EBADF, Step::command_socket));
  CHECK_THAT(failure_of(asked([&] { return client.add_seccomp_listener(*pidfd); })),
             FailsWith(EINVAL, Step::command_socket));
  CHECK_THAT(failure_of(asked([&] { return client.apply({.type = 'c', .access = "rw"}); })),
             FailsWith(EPERM, Step::command_socket));
  {
    const auto first = asked([&] { return client.terminal({}); });
    const auto second = asked([&] { return client.terminal({}); });
    REQUIRE((first && second));
    CHECK((first->number == 1 && second->number == 2));
    CHECK_THAT(failure_of(asked([&] { return client.terminal({}); })),
               FailsWith(EBADF, Step::command_socket));
    CHECK_THAT(failure_of(asked([&] { return client.terminal(9); })),
               FailsWith(EBADF, Step::command_socket));
  }
  auto waits = asked([&] { return client.wait_for({State::frozen}); });
  REQUIRE((waits && !waits->already()));
  CHECK(asked([&] { return client.freeze(5s); }));
  CHECK(web.box->frozen().value_or(false));
  CHECK(shown(waits->next(5s)) == "FROZEN");
  CHECK(asked([&] { return client.state(); }) == State::frozen);
  CHECK(asked([&] { return client.thaw(5s); }));
  CHECK(asked([&] { return client.state(); }) == State::running);
  CHECK(asked([&] { return client.tell_state(State::stopping); }));
  CHECK(asked([&] { return client.state(); }) == State::stopping);
  auto end = asked([&] { return client.wait_for({State::stopped}); });
  REQUIRE(end);
  CHECK(asked([&] { return client.stop(); }));
  CHECK(shown(end->next(5s)) == "STOPPED");
  CHECK_THAT(failure_of(client.state()), FailsWith(ECONNREFUSED, Step::command_socket));
}

TEST_CASE("what is its owner's to do is handed to him", "[lxc][.root]") {
  const BusyRoot root;
  const LxcPath path;
  std::vector<control::DeviceRule> rules;
  Fd listener;
  bool refuses = false;
  auto socket = need(CommandSocket::open({
      .lxcpath = path.str(),
      .name = "web",
      .device = [&](Container&, const control::DeviceRule& rule) -> Result<void> {
        if (refuses) return fail(EBUSY, Step::none, "not now");
        rules.push_back(rule);
        return {};
      },
      .seccomp_listener = [&](Container&, Fd fd) -> Result<void> {
        if (refuses) return fail(EBUSY, Step::none, "not now");
        listener = std::move(fd);
        return {};
      },
      .systemd_scope = "web-1.scope",
  }));
  Spec spec = payload(root, {});
  spec.process.stdio = Stdio::null;
  spec.process.argv = {"/bin/busybox", "sleep", "600"};
  Container box = need(runtime().launch(spec));
  need(socket.serve(box));
  const Client client(path.str(), "web");
  CHECK(ask(box, [&] { return client.systemd_scope(); }) == "web-1.scope");
  const control::DeviceRule given[] = {
      {.type = 'c', .major = 1, .minor = 7, .access = "rwm"},
      {.type = 'b', .major = 8, .access = "r", .allow = false},
      {.type = 'a', .access = "m"},
  };
  for (const auto& rule : given) CHECK(ask(box, [&] { return client.apply(rule); }));
  REQUIRE(rules.size() == std::size(given));
  for (std::size_t i = 0; i < rules.size(); ++i) CHECK(rules[i] == given[i]);
  int ends[2];
  must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
  const Fd from(ends[0]), to(ends[1]);
  CHECK(ask(box, [&] { return client.add_seccomp_listener(from); }));
  char byte = 0;
  must(::write(to.get(), "x", 1) == 1, "write");
  CHECK(::read(listener.get(), &byte, 1) == 1);
  CHECK((::fcntl(listener.get(), F_GETFD) & FD_CLOEXEC) != 0);
  // What he cannot do is no more than said.
  refuses = true;
  CHECK_FALSE(ask(box, [&] { return client.apply(given[0]); }));
  CHECK_FALSE(ask(box, [&] { return client.add_seccomp_listener(from); }));
  CHECK(rules.size() == std::size(given));
  CHECK(ask(box, [&] { return client.state(); }) == State::running);
}

TEST_CASE("our client asks a container of lxc-start's", "[lxc][.root]") {
  const BusyRoot root;
  const LxcPath path;
  make_file(path / "web/config",
            "lxc.rootfs.path = dir:" + root.str() +
                "\nlxc.uts.name = web\nlxc.net.0.type = empty\nlxc.tty.max = 2\nlxc.pty.max = 8"
                "\nlxc.console.buffer.size = auto\nlxc.mount.auto = proc:mixed"
                "\nlxc.apparmor.profile = unconfined\n");
  Tool start({"lxc-start", "-F", "-P", path.str(), "-n", "web", "--", "/bin/sh", "-c",
              "trap 'exit 0' PWR; while :; do /bin/busybox sleep 0.05; done"});
  const Client client(path.str(), "web");
  drive(
      nullptr,
      [&] {
        if (start.step()) throw std::runtime_error("lxc-start: " + start.text);
        return client.state().value_or(State::stopped) == State::running;
      },
      "lxc-start");
  const auto pid = client.init_pid();
  REQUIRE(pid);
  CHECK(is_alive(pid->value));
  CHECK(client.init_pidfd());
  CHECK((client.namespaces().value_or(0) & CLONE_NEWPID) != 0);
  CHECK(client.name() == "web");
  CHECK(client.lxcpath() == path.str());
  CHECK(shown(client.config_item("lxc.uts.name")) == "web");
  CHECK(shown(client.config_item("lxc.nosuch")) == "nothing");
  CHECK(client.devpts_fd());
  CHECK(client.console_log({}));
  {
    const auto tty = client.terminal(1);
    REQUIRE(tty);
    CHECK(tty->number == 1);
    CHECK_THAT(failure_of(client.terminal(1)), FailsWith(EBADF, Step::command_socket));
  }
  const auto all = client.cgroup_contexts();
  CHECK((all && !all->dirs.empty()));
  if (hierarchy_of("memory") != nullptr) {
    CHECK(client.limit_cgroup_fd("memory"));
    CHECK(has(client.cgroup("memory").value_or(""), "lxc.payload.web"));
  }
  CHECK_THAT(failure_of(client.systemd_scope()), FailsWith(EINVAL, Step::command_socket));
  CHECK_THAT(failure_of(client.cgroup("nosuch")), FailsWith(ECONNRESET, Step::command_socket));
  auto frozen = client.wait_for({State::frozen});
  REQUIRE((frozen && !frozen->already()));
  CHECK(client.tell_state(State::frozen));
  CHECK(shown(frozen->next(5s)) == "FROZEN");
  CHECK(client.tell_state(State::running));
  auto end = client.wait_for({State::stopped});
  REQUIRE(end);
  CHECK(client.stop());
  CHECK(shown(end->next(10s)) == "STOPPED");
  drive(
      nullptr, [&] { return start.step(); }, "lxc-start ends");
}

// ---- hostile peers ------------------------------------------------------------------------------

namespace {

Fd connect_to(const std::string& path) {
  const auto at = control::abstract_address(control::command_address(path, "web"));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  must(fd.valid() && ::connect(fd.get(), at->get(), at->size) == 0, "connect");
  return fd;
}
void put(const Fd& fd, const void* bytes, std::size_t size) {
  must(::send(fd.get(), bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size), "send");
}
void put(const Fd& fd, std::uint32_t command, std::int32_t size, std::int64_t data = 0) {
  const control::wire::Request r{.command = command, .size = size, .data = data};
  put(fd, &r, sizeof r);
}
/// All that is answered, up to the end.
std::string answer(const Fd& fd, CommandSocket& socket) {
  std::string all;
  bool end = false;
  drive(
      nullptr,
      [&] {
        socket.step();
        char some[4096];
        for (ssize_t n = 0; (n = ::recv(fd.get(), some, sizeof some, MSG_DONTWAIT)) >= 0;) {
          all.append(some, static_cast<std::size_t>(n));
          end = n == 0;
          if (end) break;
        }
        return end || errno == ECONNRESET;
      },
      "the end of an answer");
  return all;
}
std::string failed(std::int32_t error) {
  const control::wire::Answer a{.result = -error};
  return {reinterpret_cast<const char*>(&a), sizeof a};
}

}  // namespace

TEST_CASE("what is no command is refused as LXC does", "[lxc][.root]") {
  const TempDir dir;
  auto opened = CommandSocket::open({.lxcpath = dir.str(), .name = "web", .patience = 300ms});
  REQUIRE(opened);
  CommandSocket& socket = *opened;
  const auto said = [&](auto say) {
    const Fd fd = connect_to(dir.str());
    say(fd);
    return answer(fd, socket);
  };
  CHECK(said([](const Fd& fd) { put(fd, 27, 0); }) == failed(ENOSYS));
  CHECK(said([](const Fd& fd) { put(fd, 0xffffffff, 0); }) == failed(ENOSYS));
  CHECK(said([](const Fd& fd) { put(fd, "half", 4); }).empty());
  CHECK(said([](const Fd& fd) { put(fd, 7, 8193); }).empty());
  CHECK(said([](const Fd& fd) { put(fd, 27, 8193); }).empty());
  CHECK(said([](const Fd& fd) { put(fd, 7, -1); }).empty());
  CHECK(said([](const Fd& fd) { put(fd, 1, 0); }).empty());
  CHECK(said([](const Fd& fd) { put(fd, 7, 10), put(fd, "lxc", 4); }).empty());
  CHECK(said([](const Fd& fd) { put(fd, 7, 3), put(fd, "lxc", 3); }) == failed(EINVAL));
  CHECK(said([](const Fd& fd) { put(fd, 10, 4), put(fd, "lxc", 4); }) == failed(EINVAL));
  CHECK(said([](const Fd& fd) { put(fd, 11, 8); }) == failed(EINVAL));
  CHECK(said([](const Fd& fd) { put(fd, 12, 0, 99); }) == failed(EINVAL));
  CHECK(said([](const Fd& fd) { put(fd, 0, 0, 1); }) == failed(EBADF));
  CHECK(said([](const Fd& fd) { put(fd, 13, 0), put(fd, "x", 1); }) == failed(EINVAL));
  // Who says nothing, or half of it, is waited for no longer than that.
  CHECK(said([](const Fd&) {}).empty());
  CHECK(said([](const Fd& fd) { put(fd, 7, 10); }).empty());
  CHECK(said([](const Fd& fd) { put(fd, 13, 0); }).empty());
  // Commands that end and answers nobody reads.
  for (unsigned command = 0; command < 27; ++command) {
    const Fd fd = connect_to(dir.str());
    put(fd, command, 0);
    socket.step();
  }
  drive(
      nullptr, [&] { return socket.step(), socket.clients() == 0; }, "all are gone");
}

TEST_CASE("who may not ask is told so, and takes nobody's place", "[lxc][.root]") {
  const TempDir dir;
  auto socket = CommandSocket::open({.lxcpath = dir.str(), .name = "web", .most_clients = 4});
  REQUIRE(socket);
  int ready[2];
  must(::pipe2(ready, O_CLOEXEC) == 0, "pipe");
  const Fd told(ready[0]), tells(ready[1]);
  Forked stranger([&] {
    drop_root();
    std::vector<Fd> many;
    for (int i = 0; i < 60; ++i) many.push_back(connect_to(dir.str()));
    (void)!::write(tells.get(), "x", 1);
    ::pause();
  });
  char byte = 0;
  REQUIRE(::read(told.get(), &byte, 1) == 1);
  for (int i = 0; i < 10; ++i) socket->step();
  CHECK(socket->clients() == 16);
  const Fd mine = connect_to(dir.str());
  put(mine, 3, 0);
  const control::wire::Answer starting{.data = static_cast<std::int64_t>(State::starting)};
  CHECK(answer(mine, *socket) ==
        std::string(reinterpret_cast<const char*>(&starting), sizeof starting));
  ::kill(stranger.pid(), SIGKILL);
  (void)stranger.wait();
  Forked asks([&] {
    drop_root();
    const auto state = Client(dir.str(), "web").state();
    return state ? 0 : state.error().errnum();
  });
  int how = 0;
  drive(
      nullptr, [&] { return socket->step(), ::waitpid(asks.pid(), &how, WNOHANG) == asks.pid(); },
      "asks");
  CHECK(WEXITSTATUS(how) == EPERM);
}

TEST_CASE("who shares the network from inside commands nothing", "[attack][lxc][.root]") {
  const TempRoot root;
  const TempDir dir;
  // A stop of oneself, asked by the container, by one that has the host's pids, and by a program of
  // the host.
  const std::vector<std::string> ask = {"attack", "command", dir.str() + "/web/command", "2"};
  for (const std::string_view who : {"container", "with the host's pids", "host"}) {
    CAPTURE(who);
    auto socket = need(CommandSocket::open({.lxcpath = dir.str(), .name = "web"}));
    Spec spec = payload(root, who == "host" ? std::vector<std::string>{"pause"} : ask);
    spec.namespaces -= Namespace::net;
    spec.security.allow |= Allow::host_network;
    if (who == "with the host's pids") {
      spec.namespaces -= Namespace::pid;
      spec.security.allow |= Allow::host_pids;
    }
    Container box = need(runtime().launch(spec));
    need(socket.serve(box));
    std::optional<OnHost> host;
    if (who == "host") host.emplace(ask);
    const Exit exit = wait(box);
    if (who == "container") {
      CHECK(exit.success());
      CHECK(exit.out == "answer=-1\n");
    } else {
      CHECK(exit.kind == Exit::signaled);
    }
  }
}

TEST_CASE("a thousand connections, and descriptors with them, stall nothing", "[lxc][.root]") {
  Served web;
  const std::string path = web.path.str();
  const std::size_t descriptors = entries_of("/proc/self/fd").size();
  std::vector<Fd> clients;
  for (int i = 0; i < 1000; ++i) {
    const auto at = control::abstract_address(control::command_address(path, "web"));
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    must(fd.valid(), "socket");
    while (::connect(fd.get(), at->get(), at->size) != 0) {
      must(errno == EAGAIN, "connect");
      REQUIRE(web.box->step());
    }
    if (i % 3 == 0) {
      // With 200 descriptors, which nobody asked for.
      const control::wire::Request r{.command = 3, .size = 0, .data = 0};
      std::array<int, 200> many{};
      many.fill(0);
      std::vector<char> control(CMSG_SPACE(sizeof many));
      iovec part{const_cast<control::wire::Request*>(&r), sizeof r};
      msghdr m{};
      m.msg_iov = &part;
      m.msg_iovlen = 1;
      m.msg_control = control.data();
      m.msg_controllen = control.size();
      cmsghdr* const head = CMSG_FIRSTHDR(&m);
      head->cmsg_level = SOL_SOCKET;
      head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof many);
      std::memcpy(CMSG_DATA(head), many.data(), sizeof many);
      (void)::sendmsg(fd.get(), &m, MSG_NOSIGNAL);
    }
    clients.push_back(std::move(fd));
    if (clients.size() > 600) clients.erase(clients.begin() + 300);  // the test's own limit
  }
  for (int i = 0; i < 30; ++i) REQUIRE(web.box->step());
  CHECK(web.socket->clients() <= 512);
  CHECK(ask(*web.box, [&] { return Client(path, "web").state(); }) == State::running);
  clients.clear();
  drive(
      &*web.box, [&] { return web.socket->clients() == 0; }, "all are gone");
  CHECK(entries_of("/proc/self/fd").size() <= descriptors + 1);
}

TEST_CASE("a start that fails is told to who waits for it", "[lxc][.root]") {
  const TempDir dir;
  auto socket = CommandSocket::open({.lxcpath = dir.str(), .name = "web"});
  REQUIRE(socket);
  CHECK_THAT(failure_of(CommandSocket::open({.lxcpath = dir.str(), .name = "web"})),
             FailsWith(EADDRINUSE, Step::command_socket));
  CHECK_THAT(failure_of(CommandSocket::open({.lxcpath = dir.str(), .name = "a/b"})),
             FailsWith(Errc::bad_spec, Step::command_socket));
  auto waits = std::async(std::launch::async, [&] {
    return Client(dir.str(), "web").wait_for({State::running, State::aborting});
  });
  drive(
      nullptr, [&] { return socket->step(), waits.wait_for(0s) == std::future_status::ready; },
      "a client");
  auto news = waits.get();
  REQUIRE((news && !news->already()));
  { const CommandSocket gone(std::move(*socket)); }
  CHECK(shown(news->next(5s)) == "ABORTING");
  CHECK_THAT(failure_of(Client(dir.str(), "web").state()),
             FailsWith(ECONNREFUSED, Step::command_socket));
}

TEST_CASE("a socket and its container end in any order", "[lxc][.root]") {
  SECTION("the handle first") {
    Served web;
    auto waits =
        ask(*web.box, [&] { return Client(web.path.str(), "web").wait_for({State::stopped}); });
    REQUIRE(waits);
    const auto pidfd = Pidfd::open(web.box->pid());
    REQUIRE(pidfd);
    auto news = std::async(std::launch::async, [&] {
      const std::string state = shown(waits->next(20s));
      return state + (pidfd->ended_within(0ms).value_or(false) ? ", ended" : ", alive");
    });
    web.box.reset();
    CHECK(web.socket->state() == State::stopped);
    CHECK(news.get() == "STOPPED, ended");
    CHECK(web.states == std::vector{State::starting, State::running, State::stopping});
    web.socket->step();
  }
  SECTION("the handle, of one that lives on") {
    Served web;
    auto pidfd = Pidfd::open(web.box->pid());
    REQUIRE(pidfd);
    REQUIRE(web.box->detach());
    web.box.reset();
    CHECK(web.states == std::vector{State::starting, State::running});
    CHECK_THAT(failure_of(Client(web.path.str(), "web").state()),
               FailsWith(ECONNREFUSED, Step::command_socket));
    CHECK(pidfd->ended_within(0ms) == false);
    CHECK(pidfd->signal(Signal{SIGKILL}));
    CHECK(pidfd->ended_within(20s) == true);
  }
  SECTION("the handle, seen from a step that it is in") {
    Served web;
    web.also = [&web](State s) {
      if (s == State::stopping) web.box.reset();
    };
    REQUIRE(web.box->kill());
    const auto exit = web.box->wait();
    REQUIRE(exit);
    CHECK(exit->kind == Exit::signaled);
    CHECK_FALSE(web.box);
  }
  SECTION("the handle, while it runs") {
    Served web;
    const Pid pid = web.box->pid();
    web.also = [&web](State s) {
      if (s == State::frozen) web.box.reset();
    };
    REQUIRE(web.box->freeze());
    auto state =
        std::async(std::launch::async, [&web] { return Client(web.path.str(), "web").state(); });
    CHECK_THAT(failure_of(web.box->wait()), FailsWith(ECANCELED, Step::wait));
    CHECK_FALSE(web.box);
    CHECK_FALSE(is_alive(pid.value));
    CHECK(state.get() == State::frozen);
  }
  SECTION("the socket, in a command") {
    Served web;
    web.also = [&web](State s) {
      if (s == State::freezing) web.socket.reset();
    };
    (void)ask(*web.box, [&] { return Client(web.path.str(), "web").freeze(1s); });
    CHECK_FALSE(web.socket);
    REQUIRE(web.box->kill());
    CHECK(wait(*web.box).kind == Exit::signaled);
  }
  SECTION("while a forked child has copies of both") {
    Served web;
    Forked child([] { ::pause(); });
    REQUIRE(web.box->kill());
    CHECK(wait(*web.box).kind == Exit::signaled);
    CHECK_THAT(failure_of(Client(web.path.str(), "web", 2s).state()),
               FailsWith(ECONNREFUSED, Step::command_socket));
    ::kill(child.pid(), SIGKILL);
    (void)child.wait();
  }
  SECTION("the socket first") {
    Served web;
    web.socket.reset();
    REQUIRE(web.box->step());
    REQUIRE(web.box->kill());
    CHECK(wait(*web.box).kind == Exit::signaled);
  }
  SECTION("in a forked child nothing") {
    Served web;
    auto waits =
        ask(*web.box, [&] { return Client(web.path.str(), "web").wait_for({State::stopped}); });
    REQUIRE(waits);
    Forked child([&] { web.socket.reset(); });
    CHECK(child.wait() == 0);
    CHECK(shown(waits->next(0ms)) == "nothing");
    CHECK(ask(*web.box, [&] { return Client(web.path.str(), "web").state(); }) == State::running);
  }
}

TEST_CASE("a container is looked at with a handle that is lent", "[lxc][.root]") {
  const BusyRoot root;
  const auto launched = [&root](Restart restart) {
    Spec spec = payload(root, {});
    spec.process.argv = {"/bin/busybox", "sleep", "60"};
    spec.lifecycle.restart = restart;
    return launch(spec);
  };
  const Fd quiet(::eventfd(0, EFD_CLOEXEC));
  SECTION("moved from it is empty") {
    std::optional<Container> mine;
    Container box = launched(Restart::never);
    REQUIRE(box.attend(quiet, [&mine](Container& lent) {
      mine.emplace(std::move(lent));
      *mine = std::move(lent);
      return false;
    }));
    REQUIRE(box.step());
    REQUIRE(mine);
    CHECK(mine->life() == Life::ended);
    mine.reset();
    CHECK(box.life() == Life::running);
    REQUIRE(box.kill());
    CHECK(wait(box).kind == Exit::signaled);
  }
  SECTION("what throws is asked again") {
    int calls = 0;  // longer than the handle, whose end looks once more
    Container box = launched(Restart::never);
    REQUIRE(box.attend(quiet, [&calls](Container&) {
      if (++calls < 3) throw std::runtime_error("not yet");
      return true;
    }));
    CHECK_THROWS_AS(box.step(), std::runtime_error);
    CHECK_THROWS_AS(box.step(), std::runtime_error);
    REQUIRE(box.step());
    CHECK(calls == 3);
  }
  SECTION("the end that it makes between two lives is seen at once") {
    std::vector<Life> seen;
    Container box = launched(Restart::always);
    REQUIRE(box.attend(quiet, [&seen](Container& lent) {
      if (seen.empty() || seen.back() != lent.life()) seen.push_back(lent.life());
      if (lent.life() == Life::between) (void)lent.kill();
      return lent.life() != Life::ended;
    }));
    ::kill(box.pid().value, SIGKILL);
    const auto before = Clock::now();
    const auto exit = box.wait_for(20s);
    REQUIRE((exit && *exit));
    CHECK(Clock::now() - before < 10s);
    CHECK(to_string(**exit) == "killed by signal 9 (SIGKILL)");
    CHECK(seen.back() == Life::ended);
  }
  SECTION("hooks between two lives are no end of it") {
    std::vector<Life> seen;
    Spec spec = payload(root, {});
    spec.process.argv = {"/bin/busybox", "sleep", "60"};
    spec.lifecycle.restart = Restart::always;
    spec.hooks.run = {
        {.point = HookPoint::stop, .program = "/bin/sleep", .argv = {"sleep", "0.2"}}};
    Container box = launch(spec);
    REQUIRE(box.attend(quiet, [&seen](Container& lent) {
      if (seen.empty() || seen.back() != lent.life()) seen.push_back(lent.life());
      return lent.life() != Life::ended;
    }));
    ::kill(box.pid().value, SIGKILL);
    drive(
        &box, [&box] { return box.restarts() == 1 && box.life() == Life::running; },
        "its next life");
    CHECK(std::ranges::count(seen, Life::between) == 1);
    CHECK(std::ranges::count(seen, Life::ended) == 0);
    seen.clear();
    REQUIRE(box.kill());
    CHECK(wait(box).kind == Exit::signaled);
    CHECK(std::ranges::count(seen, Life::ending) == 1);
    CHECK(std::ranges::count(seen, Life::between) == 0);
    CHECK(seen.back() == Life::ended);
  }
}

TEST_CASE("a container is served from where it is", "[lxc][.root]") {
  const BusyRoot root;
  const TempDir dir;
  Spec spec = payload(root, {});
  spec.process.argv = {"/bin/busybox", "sleep", "60"};
  spec.lifecycle.restart = Restart::always;
  spec.terminal.ttys = 1;
  Container box = launch(spec);
  ::kill(box.pid().value, SIGKILL);
  drive(
      &box, [&] { return box.restarts() == 1; }, "another life");
  std::vector<State> states;
  auto socket =
      CommandSocket::open({.lxcpath = dir.str(), .name = "web", .on_state = [&states](State s) {
                             states.push_back(s);
                           }});
  REQUIRE(socket);
  {
    // Without a descriptor to spare it cannot be, and can be later.
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    rlimit little = limit;
    little.rlim_cur = std::min<rlim_t>(limit.rlim_cur, 256);
    ::setrlimit(RLIMIT_NOFILE, &little);
    std::vector<Fd> many;
    do {
      many.emplace_back(::fcntl(0, F_DUPFD_CLOEXEC, 3));
    } while (many.back().valid());
    const auto full = socket->serve(box);
    many.clear();
    ::setrlimit(RLIMIT_NOFILE, &limit);
    CHECK_THAT(failure_of(full), FailsWith(EMFILE, Step::watch));
  }
  REQUIRE(socket->serve(box));
  REQUIRE(box.step());
  CHECK(states == std::vector{State::starting, State::running});
  // What the launch has kept, whatever is at that place in there.
  const auto devpts = ask(box, [&] { return Client(dir.str(), "web").devpts_fd(); });
  REQUIRE(devpts);
  struct stat kept {
  }, given{};
  REQUIRE((::fstat(box.devpts().get(), &kept) == 0 && ::fstat(devpts->get(), &given) == 0));
  CHECK(kept.st_dev == given.st_dev);
  CHECK(Pty::open_in(*devpts));
  REQUIRE(box.kill());
  CHECK(wait(box).kind == Exit::signaled);
  CHECK(states == std::vector{State::starting, State::running, State::stopping});
  CHECK_THAT(failure_of(socket->serve(box)), FailsWith(ESRCH, Step::command_socket));
}

namespace {

/// Answers one question after the other, each with the next of these.
class Fake {
 public:
  struct Says {
    std::int32_t result = 0;
    std::int64_t data = 0;
    int fd = -1;
    bool early = false;  ///< Before the question.
  };
  Fake(const std::string& path, std::vector<Says> all) {
    const auto at = control::abstract_address(control::command_address(path, "web"));
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    must(::bind(socket.get(), at->get(), at->size) == 0 && ::listen(socket.get(), 8) == 0, "bind");
    answers_ = std::async(std::launch::async, [socket = std::move(socket), all = std::move(all)] {
      for (const Says& s : all) {
        const Fd client(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
        control::wire::Request r;
        if (!s.early) (void)!::recv(client.get(), &r, sizeof r, 0);
        const control::wire::Answer a{.result = s.result, .data = s.data};
        const std::span<const int> fds(&s.fd, s.fd >= 0 ? 1 : 0);
        if (r.command != static_cast<std::uint32_t>(control::wire::Command::stop))
          (void)control::send_with(client, &a, sizeof a, fds);
      }
    });
  }

 private:
  std::future<void> answers_;
};

}  // namespace

TEST_CASE("who answers a client is not believed", "[lxc][.root]") {
  const TempDir dir;
  const Client client(dir.str(), "web", 1s);
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto self = Pidfd::open(Pid{::getpid()});
  REQUIRE(self);
  SECTION("numbers and descriptors that are none") {
    const Fake fake(dir.str(), {{.data = 0xffffffff},
                                {.fd = null.get()},
                                {.fd = null.get()},
                                {.fd = null.get()},
                                {.fd = null.get()}});
    CHECK_THAT(failure_of(client.init_pid()), FailsWith(Errc::protocol, Step::command_socket));
    CHECK_THAT(failure_of(client.init_pidfd()), FailsWith(Errc::protocol, Step::command_socket));
    CHECK_THAT(failure_of(client.terminal(1)), FailsWith(Errc::protocol, Step::command_socket));
    CHECK_THAT(failure_of(client.devpts_fd()), FailsWith(Errc::protocol, Step::command_socket));
    CHECK_THAT(failure_of(client.cgroup2_fd()), FailsWith(Errc::protocol, Step::command_socket));
  }
  SECTION("who refuses before all was asked is heard") {
    constexpr std::size_t often = 100;
    const Fake fake(dir.str(), std::vector<Fake::Says>(often, {.result = -EPERM, .early = true}));
    for (std::size_t i = 0; i < often; ++i)
      CHECK_THAT(failure_of(client.cgroup("memory")), FailsWith(EPERM, Step::command_socket));
  }
  SECTION("the end of a connection is no end of a process") {
    const Fake fake(dir.str(), {{.fd = self->fd().get()}, {}});
    CHECK_THAT(failure_of(client.stop()), FailsWith(Errc::deadline, Step::command_socket));
  }
  SECTION("somebody else") {
    int ready[2];
    must(::pipe2(ready, O_CLOEXEC) == 0, "pipe");
    const Fd told(ready[0]), tells(ready[1]);
    Forked stranger([&] {
      drop_root();
      const Fake fake(dir.str(), {{.data = 1}});
      (void)!::write(tells.get(), "x", 1);
      ::pause();
    });
    char byte = 0;
    REQUIRE(::read(told.get(), &byte, 1) == 1);
    CHECK_THAT(failure_of(client.init_pid()), FailsWith(EACCES, Step::command_socket));
    ::kill(stranger.pid(), SIGKILL);
    (void)stranger.wait();
  }
}
