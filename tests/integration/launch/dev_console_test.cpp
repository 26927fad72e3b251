// /dev, the console and the other terminals, the standard streams, and the small init.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <vector>

#include "condroid/sys/pty.hpp"
#include "containers.hpp"

using condroid::Allow;
using condroid::Bind;
using condroid::Container;
using condroid::DeviceNode;
using condroid::Errc;
using condroid::Exit;
using condroid::Fd;
using condroid::FdView;
using condroid::HostFd;
using condroid::IdMap;
using condroid::Rlimit;
using condroid::Signal;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::Stream;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::in_child;
using condroid::test::launch;
using condroid::test::launch_and_wait;
using condroid::test::make_file;
using condroid::test::mounts_of;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::privileged;
using condroid::test::read_all;
using condroid::test::read_file;
using condroid::test::read_until;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using condroid::test::wait;
using condroid::test::write_to;
using namespace condroid::literals;

namespace {

/// What was said on the console, without the carriage returns that a terminal adds.
std::string plain(std::string text) {
  std::erase(text, '\r');
  return text;
}
Report run_on_console(Spec spec) {
  spec.process.stdio = Stdio::pty;
  Container box = launch(spec);
  Exit e = wait(box);
  if (!e.success()) throw std::runtime_error(fmt::format("{}: {}", e, box.console_output()));
  e.out = plain(box.console_output());
  return Report(std::move(e));
}

struct Pipe {
  Pipe() {
    int ends[2];
    must(::pipe2(ends, O_CLOEXEC) == 0, "pipe");
    in = Fd(ends[0]);
    out = Fd(ends[1]);
  }
  Fd in, out;
};

}  // namespace

// ---- /dev --------------------------------------------------------------------------------------

TEST_CASE("/dev has the usual nodes and nothing else", "[launch][attack][.root][.userns]") {
  const TempRoot root;
  const Report seen = run(payload(root, {"probe"}));
  std::vector<std::string> names;
  for (const std::string& line : seen.below("dev."))
    names.push_back(line.substr(0, line.find('=')));
  CHECK(names == std::vector<std::string>{"fd", "full", "mqueue", "null", "ptmx", "pts", "random",
                                          "shm", "stderr", "stdin", "stdout", "tty", "urandom",
                                          "zero"});
  struct Node {
    const char* name;
    const char* number;
  };
  for (const auto& [name, number] :
       {Node{"full", "1:7"}, Node{"null", "1:3"}, Node{"random", "1:8"}, Node{"tty", "5:0"},
        Node{"urandom", "1:9"}, Node{"zero", "1:5"}}) {
    INFO(name << " " << seen[std::string("dev.") + name]);
    // Made, they are the container's root's; bound, they are the host's, which is nobody here.
    CHECK(seen[std::string("dev.") + name].starts_with(fmt::format("char {} 0666 ", number)));
  }
  if (privileged()) CHECK(seen["dev.null"] == "char 1:3 0666 0:0");
  for (const char* link : {"fd", "stdin", "stdout", "stderr", "ptmx"})
    CHECK(seen[std::string("dev.") + link] == "link");
  CHECK(seen.mount("/dev").starts_with("tmpfs rw,nosuid"));
  CHECK(seen.mount("/dev/pts").starts_with("devpts rw,nosuid,noexec"));
  CHECK(seen.mount("/dev/shm").starts_with("tmpfs rw,nosuid,nodev"));
  CHECK(seen.mount("/dev/mqueue").starts_with("mqueue rw,nosuid,nodev,noexec"));
}

TEST_CASE("the usual nodes work", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"peek", "/dev/null", "/dev/zero", "/dev/full", "/dev/urandom"});
  const Report seen = run(spec);
  CHECK(seen["/dev/null"] == "end");
  for (const char* path : {"/dev/zero", "/dev/full", "/dev/urandom"}) CHECK(seen[path] == "byte");
  spec.process.argv = {"/bin/payload", "write", "/dev/full", "x"};
  CHECK(run(spec)["write"] == "ENOSPC");
  spec.process.argv = {"/bin/payload", "write", "/dev/null", "x"};
  CHECK(run(spec)["write"] == "ok");
  spec.process.argv = {"/bin/payload", "write", "/dev/stdout", "through a link "};
  CHECK(launch_and_wait(spec).out == "through a link write=ok\n");
  spec.process.argv = {"/bin/payload", "touch", "/dev/shm/x", "/dev/x"};
  const Report made = run(spec);
  CHECK(made["/dev/shm/x"] == "ok");
  CHECK(made["/dev/x"] == "ok");
  spec.process.argv = {"/bin/payload", "fill", "/dev/big", "1000000"};
  CHECK(run(spec)["fill"] == "ENOSPC");
  spec.process.argv = {"/bin/payload", "pty"};
  CHECK(run(spec)["pty"] == "/dev/pts/0");
  CHECK(run(spec)["slave"] == "ok");
  // What is not there cannot be made.
  spec.process.argv = {"/bin/payload", "escalate"};
  CHECK(run(spec)["mknod"] == "EPERM");
}

TEST_CASE("further nodes need their token", "[launch][.root]") {
  if (::geteuid() != 0) CONDROID_SKIP("needs root");
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.devices.nodes = {
      {.name = "zero2", .major = 1, .minor = 5, .mode = {0640}, .uid = {7}, .gid = {8}},
      {.name = "disk0", .kind = DeviceNode::block, .major = 7, .minor = 99},
      {.name = "net/tun", .major = 10, .minor = 200}};
  CHECK_THAT(attempt(spec), FailsWith(Errc::bad_spec, Step::compile, "devices.nodes"));
  spec.security.allow |= Allow::devices;
  const Report seen = run(spec);
  CHECK(seen["dev.zero2"] == "char 1:5 0640 7:8");
  CHECK(seen["dev.disk0"] == "block 7:99 0666 0:0");
  CHECK(seen["dev.net"] == "directory");
  spec.process.argv = {"/bin/payload", "peek", "/dev/zero2", "/dev/disk0"};
  const Report opened = run(spec);
  CHECK(opened["/dev/zero2"] == "byte");
  CHECK(opened["/dev/disk0"] != "EACCES");  // no such disk, but it is not the mount that says no
}

TEST_CASE("in a user namespace the host's nodes are bound", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"peek", "/dev/kmsg"});
  spec.idmap.kind = IdMap::single;
  spec.security.allow |= Allow::devices;
  SECTION("one that is there") {
    spec.devices.nodes = {{.name = "kmsg", .major = 1, .minor = 11}};
    spec.process.argv = {"/bin/payload", "probe"};
    CHECK(run(spec)["dev.kmsg"].starts_with("char 1:11 "));
  }
  SECTION("one that is not") {
    spec.devices.nodes = {{.name = "no-such-device", .major = 1, .minor = 5}};
    CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::make_node, "/dev/no-such-device"));
  }
  SECTION("one that is something else") {
    spec.devices.nodes = {{.name = "kmsg", .major = 1, .minor = 12}};
    const auto failed = attempt(spec);
    REQUIRE(failed.error);
    INFO(to_string(*failed.error));
    CHECK(failed.error->step == Step::make_node);
    CHECK(failed.error->subject.find("another type or number") != std::string::npos);
  }
}

TEST_CASE("/dev is left as the root has it, or in parts", "[launch][.root][.userns]") {
  const TempRoot root;
  make_file(root / "dev/of-the-image", "");
  Spec spec = payload(root, {"probe"});
  SECTION("as it is") {
    spec.devices.populate = false;
    const Report seen = run(spec);
    CHECK(seen.below("dev.") == std::vector<std::string>{"of-the-image=file"});
    CHECK(seen.mount("/dev") == "(not mounted)");
  }
  SECTION("without what can be left out") {
    spec.devices.shm = spec.devices.mqueue = false;
    const Report seen = run(spec);
    CHECK(seen.mount("/dev/shm") == "(not mounted)");
    CHECK(seen.mount("/dev/mqueue") == "(not mounted)");
    CHECK(seen.mount("/dev/pts") != "(not mounted)");
  }
}

// ---- the console -------------------------------------------------------------------------------

TEST_CASE("a command on the console has a terminal of its own", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.terminal.rows = 33;
  spec.terminal.columns = 111;
  const Report seen = run_on_console(spec);
  for (const char* fd : {"0", "1", "2"}) {
    CHECK(seen[std::string("fd.") + fd] == "tty");
    CHECK(seen[std::string("ttyname.") + fd] == "/dev/pts/0");
    CHECK(seen[std::string("winsize.") + fd] == "33x111");
  }
  CHECK(seen["controlling_terminal"] == "yes");
  CHECK(seen["foreground"] == "yes");
  CHECK(seen["session.leader"] == "yes");
  CHECK(seen["dev.console"].starts_with("char 136:0 0620 0:"));
  CHECK(seen.mount("/dev/console").starts_with("devpts "));

  spec.process.controlling_terminal = false;
  const Report without = run_on_console(spec);
  CHECK(without["fd.0"] == "tty");
  CHECK(without["controlling_terminal"] == "ENXIO");
}

TEST_CASE("the console is the command's user's", "[launch][.root][.subids]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.process.uid = {1000};
  spec.process.gid = {1001};
  spec.terminal.ttys = 1;
  // A user's map is written by newuidmap, and made of what he was granted.
  if (GENERATE(false, true)) spec.namespaces |= condroid::Namespace::user;
  if (spec.namespaces.has(condroid::Namespace::user) && privileged())
    spec.idmap = {.kind = IdMap::ranges,
                  .uids = {{.inside = 0, .outside = 100000, .count = 2000}},
                  .gids = {{.inside = 0, .outside = 100000, .count = 2000}}};
  const Report seen = run_on_console(spec);
  INFO(seen["dev.console"]);
  CHECK(seen["dev.console"].starts_with("char 136:0 0620 1000:"));
  CHECK(seen["dev.tty1"].starts_with("char 136:1 0620 1000:"));
}

TEST_CASE("what is typed at the console arrives", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"cat"});
  spec.process.stdio = Stdio::pty;
  Container box = launch(spec);
  write_to(box.console(), "typed\n");
  const Fd console = box.take_console();
  CHECK_FALSE(box.console().valid());
  // The terminal's echo, then the command's.
  CHECK(plain(read_until(console, "typed\r\ntyped\r\n")) == "typed\ntyped\n");
  SECTION("control D ends its input") {
    write_to(console, "\x04");
    CHECK(wait(box).success());
  }
  SECTION("control C interrupts it") {
    // The first process of a pid namespace takes only signals that it has a handler for.
    write_to(console, "\x03");
    CHECK_FALSE(box.wait_for(std::chrono::milliseconds{100})->has_value());
    CHECK(box.kill());
    CHECK(to_string(wait(box)) == "killed by signal 9 (SIGKILL)");
  }
}

TEST_CASE("the command is told when the size of its window changes", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"window"});
  spec.process.stdio = Stdio::pty;
  spec.process.init = GENERATE(false, true);
  spec.terminal.rows = 33;
  spec.terminal.columns = 111;
  Container box = launch(spec);
  const Fd console = box.take_console();
  CHECK(read_until(console, "\n") == "size 33x111\r\n");
  for (const std::uint16_t rows : {std::uint16_t{50}, std::uint16_t{20}}) {
    REQUIRE(condroid::set_window_size(console, {.rows = rows, .columns = 77}));
    CHECK(read_until(console, "\n") == fmt::format("size {}x77\r\n", rows));
  }
}

TEST_CASE("with an init control C reaches the command", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"cat"});
  spec.process.stdio = Stdio::pty;
  spec.process.init = true;
  Container box = launch(spec);
  write_to(box.console(), "x\n");
  const Fd console = box.take_console();
  (void)read_until(console, "x\r\nx\r\n");
  write_to(console, "\x03");
  CHECK(to_string(wait(box)) == "killed by signal 2 (SIGINT)");
}

namespace {

/// What is said on its console is in memory, and in a log.
Spec logged(const TempRoot& root, const TempDir& place, condroid::Bytes ring) {
  Spec spec = payload(root, {"say", "100007"});
  spec.process.stdio = Stdio::pty;
  spec.terminal.ring = ring;
  spec.terminal.log = place.host("log");
  return spec;
}

}  // namespace

TEST_CASE("console output goes to the log and to memory", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  const Spec spec = logged(root, place, 4_KiB);
  Container box = launch(spec);
  CHECK(wait(box).success());
  const std::string log = read_file(place / "log");
  REQUIRE(log.size() == 100007);
  CHECK(log.ends_with("0123456"));
  CHECK(box.console_output() == log.substr(log.size() - 4096));
  struct stat st {};
  REQUIRE(::stat((place / "log").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);

  Container second = launch(spec);  // appended
  CHECK(wait(second).success());
  CHECK(read_file(place / "log").size() == 200014);
}

TEST_CASE("a console's log that has a size begins anew", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  Spec spec = logged(root, place, 256_KiB);
  spec.terminal.log_size = 10000_B;
  SECTION("and is gone") {
    Container box = launch(spec);
    CHECK(wait(box).success());
    const std::string all = box.console_output();
    REQUIRE(all.size() == 100007);
    CHECK(read_file(place / "log") == all.substr(100000));
    CHECK(::access((place / "log.1").c_str(), F_OK) != 0);
  }
  SECTION("and is kept once") {
    spec.terminal.log_rotate = true;
    Container box = launch(spec);
    const Exit exit = wait(box);
    CHECK(exit.success());
    CHECK(exit.output_errors.empty());
    const std::string all = box.console_output();
    CHECK(read_file(place / "log") == all.substr(100000));
    CHECK(read_file(place / "log.1") == all.substr(90000, 10000));
    CHECK(::access((place / "log.1.1").c_str(), F_OK) != 0);
  }
  SECTION("and what was there counts") {
    spec.process.argv = payload(root, {"say", "100"}).process.argv;
    std::ofstream(place / "log") << std::string(9950, 'x');
    Container box = launch(spec);
    CHECK(wait(box).success());
    CHECK(read_file(place / "log") == box.console_output().substr(50));
  }
  SECTION("unless it cannot be kept") {
    spec.terminal.log_rotate = true;
    REQUIRE(::mkdir((place / "log.1").c_str(), 0700) == 0);
    Container box = launch(spec);
    const Exit exit = wait(box);
    CHECK(exit.success());
    CHECK(exit.output_errors ==
          std::vector<std::string>{"wait: the log of the console: Is a directory (EISDIR)"});
    CHECK(read_file(place / "log").size() == 10000);
  }
  SECTION("which a pipe has not") {
    spec.process.argv = payload(root, {"say", "20000"}).process.argv;
    spec.terminal.log_rotate = true;
    REQUIRE(::mkfifo((place / "log").c_str(), 0600) == 0);
    const Fd reader(::open((place / "log").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    Container box = launch(spec);
    const Exit exit = wait(box);
    CHECK(exit.success());
    CHECK(exit.output_errors.empty());
    char text[65536];
    CHECK(::read(reader.get(), text, sizeof text) == 20000);
    CHECK(::access((place / "log.1").c_str(), F_OK) != 0);
  }
  SECTION("and no other file is renamed, no link followed") {
    spec.terminal.log_rotate = true;
    spec.process.argv = {"/bin/payload", "pause"};
    Container box = launch(spec);
    const Fd there(::open((place / "log").c_str(), O_WRONLY | O_CLOEXEC));
    REQUIRE(::ftruncate(there.get(), 10000) == 0);
    REQUIRE(::rename((place / "log").c_str(), (place / "moved").c_str()) == 0);
    std::ofstream(place / "mine") << "mine";
    REQUIRE(::symlink((place / "mine").c_str(), (place / "log").c_str()) == 0);
    REQUIRE(::write(box.console().get(), "x\n", 2) == 2);  // comes back as an echo
    for (int i = 0; i < 2000 && box.console_output().empty(); ++i) {
      (void)box.step();
      ::usleep(10000);
    }
    must(box.kill().has_value(), "kill");
    const Exit exit = wait(box);
    CHECK(exit.output_errors ==
          std::vector<std::string>{
              "wait: the log of the console: Too many levels of symbolic links (ELOOP)"});
    CHECK(read_file(place / "mine") == "mine");
    CHECK(::access((place / "log.1").c_str(), F_OK) != 0);
  }
}

TEST_CASE("a log that is full is told of, and ends nothing", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"say", "100"});
  spec.process.stdio = Stdio::pty;
  spec.terminal.log = "/dev/full"_host;
  Container box = launch(spec);
  const auto exit = box.wait();
  REQUIRE(exit);
  CHECK(exit->success());
  CHECK(box.console_output().size() == 100);
  CHECK(exit->cleanup_errors.empty());
  CHECK(exit->output_errors ==
        std::vector<std::string>{"wait: the log of the console: No space left on device (ENOSPC)"});
}

TEST_CASE("a console is there without the command being on it", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"write", "/dev/console", "to the console"});
  spec.terminal.console = true;
  Container box = launch(spec);
  CHECK(wait(box).out == "write=ok\n");
  CHECK(box.console_output() == "to the console");
}

TEST_CASE("a console that nobody has open stays quiet and stays one", "[launch][.root][.userns]") {
  // Without a slave its master would be readable for ever, and at its end.
  const TempRoot root;
  Spec spec = payload(root, {"cat"});
  spec.process.stdio = {Stream::pipe, Stream::null, Stream::null};
  spec.terminal.console = true;
  spec.terminal.ttys = 1;
  Container box = launch(spec);
  const auto quiet = [](FdView fd) {
    pollfd waiter{fd.get(), POLLIN, 0};
    return ::poll(&waiter, 1, 50) == 0;
  };
  SECTION("for who polls the terminals himself") {
    CHECK(quiet(box.console()));
    CHECK(quiet(box.ttys().at(0)));
  }
  SECTION("for who polls the container") {
    for (int i = 0; i < 20 && !quiet(box.poll_fd()); ++i) REQUIRE(box.step().has_value());
    CHECK(quiet(box.poll_fd()));
  }
  SECTION("for who waits") {
    timespec before{}, after{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    CHECK_FALSE(box.wait_for(std::chrono::milliseconds{300})->has_value());
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    CHECK((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec <
          100000000L);
  }
}

TEST_CASE("who opens the console again and again is heard each time", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"reopen", "/dev/console", "300"});  // more than a terminal can hold
  spec.terminal.console = true;
  spec.terminal.ring = 1_MiB;
  Container box = launch(spec);
  CHECK(wait(box).success());
  CHECK(box.console_output() == std::string(300000, '.'));
}

TEST_CASE("further terminals are in /dev, or in a directory of it", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.terminal.ttys = 3;
  const std::string dir = GENERATE("", "lxc");
  CAPTURE(dir);
  spec.terminal.tty_dir = dir;
  spec.terminal.console = GENERATE(false, true);
  const std::string place = dir.empty() ? "/dev/" : "/dev/lxc/";
  {
    const Report seen = run(spec);
    for (const char* name : {"tty1", "tty2", "tty3"}) {
      INFO(name << " is " << seen[std::string("dev.") + name]);
      CHECK(seen.mount(place + name).starts_with("devpts "));
      CHECK(seen[std::string("dev.") + name].starts_with(dir.empty() ? "char 136:" : "link"));
    }
    if (spec.terminal.console) CHECK(seen["dev.console"].starts_with("char 136:0 "));
  }
  spec.process.argv = {"/bin/payload", "write", "/dev/tty2", "to the second"};
  Container box = launch(spec);
  REQUIRE(box.ttys().size() == 3);
  CHECK(read_until(box.ttys()[1], "second") == "to the second");
  CHECK(wait(box).out == "write=ok\n");
  CHECK(read_all(box.ttys()[0]).empty());  // at its end, with the container
}

// ---- standard streams --------------------------------------------------------------------------

TEST_CASE("streams are inherited by default", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  make_file(place / "in", "through\n");
  const Fd input(::open((place / "in").c_str(), O_RDONLY | O_CLOEXEC));
  Pipe output, errors;
  CHECK(in_child([&] {
          must(::dup2(input.get(), 0) == 0 && ::dup2(output.out.get(), 1) == 1 &&
                   ::dup2(errors.out.get(), 2) == 2,
               "dup2");
          Spec spec = payload(root, {"cat"});
          spec.process.stdio = {};
          Container box = launch(spec);
          must(wait(box).success(), "failed");
        }) == "");
  output.out.reset();
  CHECK(read_all(output.in) == "through\n");
}

TEST_CASE("a stream that the host has closed reads as empty", "[launch][.root][.userns]") {
  const TempRoot root;
  Pipe output;
  CHECK(in_child([&] {
          (void)condroid::test::runtime();
          ::close(0);
          Spec spec = payload(root, {"cat"});
          spec.process.stdio = {Stream::inherit, Stream(HostFd{output.out.get()}), Stream::null};
          Container box = launch(spec);
          must(wait(box).success(), "failed");
        }) == "");
}

TEST_CASE("null is /dev/null", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"cat"});
  spec.process.stdio = {Stream::null, Stream::capture, Stream::null};
  CHECK(launch_and_wait(spec).success());
  spec.process.argv = {"/bin/payload", "probe"};
  const Report seen = run(spec);
  CHECK(seen["fd.0"] == "device");
  CHECK(seen["fd.1"] == "pipe");
  CHECK(seen["fd.2"] == "device");
}

TEST_CASE("pipes are the host's to read and write", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"cat"});
  spec.process.stdio = Stdio::pipe;
  Container box = launch(spec);
  Fd in = box.take_stdin();
  const Fd out = box.take_stdout();
  REQUIRE(in.valid());
  REQUIRE(out.valid());
  CHECK_FALSE(box.take_stdin().valid());
  CHECK_FALSE(box.take_stdout().valid());
  write_to(in, "abc");
  CHECK(read_until(out, "abc") == "abc");
  in.reset();
  CHECK(wait(box).success());
  CHECK(read_all(out).empty());
  CHECK(read_all(box.take_stderr()).empty());
}

TEST_CASE("descriptors of the host are streams", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  make_file(place / "in", "from a file\n");
  const Fd in(::open((place / "in").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd out(::open((place / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  Spec spec = payload(root, {"cat"});
  spec.process.stdio = {HostFd{in.get()}, HostFd{out.get()}, HostFd{out.get()}};
  CHECK(launch_and_wait(spec).success());
  CHECK(read_file(place / "out") == "from a file\n");
  spec.process.stdio.in = HostFd{987};
  CHECK_THAT(attempt(spec), FailsWith(EBADF, Step::open_descriptor, "descriptor 987"));
}

TEST_CASE("captured output is cut at its limit, and what was cut is counted",
          "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"say", "300000"});
  SECTION("all of it, by default") {
    const Exit e = launch_and_wait(spec);
    CHECK(e.out.size() == 300000);
    CHECK(e.dropped == 0);
    CHECK(e.err.empty());
  }
  SECTION("some of it") {
    spec.process.capture_limit = {1003};
    const Exit e = launch_and_wait(spec);
    REQUIRE(e.out.size() == 1003);
    CHECK(e.out.ends_with("9012"));
    CHECK(e.dropped == 300000 - 1003);
  }
  SECTION("none of it") {
    spec.process.capture_limit = {0};
    const Exit e = launch_and_wait(spec);
    CHECK(e.out.empty());
    CHECK(e.dropped == 300000);
  }
  SECTION("the two streams by themselves") {
    spec.process.argv = {"/bin/payload", "say", "5", "2"};
    const Exit e = launch_and_wait(spec);
    CHECK(e.out.empty());
    CHECK(e.err == "01234");
  }
}

TEST_CASE("no descriptor of the host is open in the container",
          "[launch][attack][.root][.userns]") {
  const TempRoot root;
  // Without close-on-exec: as careless libraries open them.
  const Fd careless(::open("/dev/null", O_RDONLY));
  const Fd high(::fcntl(careless.get(), F_DUPFD, 900));
  REQUIRE(high.valid());
  const bool init = GENERATE(false, true);
  Spec spec = payload(root, {"probe"});
  spec.process.init = init;
  CHECK(run(spec).below("fd.") == std::vector<std::string>{"0=device", "1=pipe", "2=pipe"});
}

TEST_CASE("descriptors are passed on by number", "[launch][.root][.userns]") {
  const TempRoot root;
  const TempDir place;
  make_file(place / "a", "file a\n");
  make_file(place / "b", "file b\n");
  const Fd a(::open((place / "a").c_str(), O_RDONLY | O_CLOEXEC));
  const Fd b(::open((place / "b").c_str(), O_RDONLY | O_CLOEXEC));
  Spec spec = payload(root, {"probe"});
  spec.process.init = GENERATE(false, true);
  SECTION("numbers near and far, one host descriptor twice") {
    spec.process.descriptors = {{.host = {a.get()}, .number = 3},
                                {.host = {b.get()}, .number = 1000},
                                {.host = {a.get()}, .number = 17}};
    CHECK(run(spec).below("fd.") == std::vector<std::string>{"0=device", "1=pipe", "2=pipe",
                                                             "3=file", "17=file", "1000=file"});
    spec.process.argv = {"/bin/payload", "cat", "1000"};
    CHECK(launch_and_wait(spec).out == "file b\n");
  }
  SECTION("numbers that the host has for something else") {
    spec.process.descriptors = {{.host = {a.get()}, .number = b.get()},
                                {.host = {b.get()}, .number = a.get()}};
    spec.process.argv = {"/bin/payload", "cat", std::to_string(a.get())};
    CHECK(launch_and_wait(spec).out == "file b\n");
    spec.process.argv = {"/bin/payload", "cat", std::to_string(b.get())};
    CHECK(launch_and_wait(spec).out == "file a\n");
  }
  SECTION("one that is closed") {
    spec.process.descriptors = {{.host = {987}, .number = 5}};
    CHECK_THAT(attempt(spec), FailsWith(EBADF, Step::open_descriptor, "987"));
  }
  // The host's own are as they were.
  CHECK(condroid::test::closes_on_exec(a));
}

// ---- the small init ----------------------------------------------------------------------------

TEST_CASE("with an init the command is process 2", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"probe"});
  spec.process.init = true;
  const Report seen = run(spec);
  CHECK(seen["pid"] == "2");
  CHECK(seen["ppid"] == "1");
  CHECK(seen["session.leader"] == "yes");
  CHECK(seen["SigBlk"] == "0000000000000000");
  CHECK(seen["SigIgn"] == "0000000000000000");
}

TEST_CASE("an init reaps what is nobody's", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"orphans", "20"});
  spec.process.init = true;
  CHECK(launch_and_wait(spec).out == "pid=2 zombies=0\n");
  // Without one that is the command's task, which this one does not know of.
  spec.process.init = false;
  CHECK(launch_and_wait(spec).out == "pid=1 zombies=20\n");
}

TEST_CASE("an init forwards signals", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"signals"});
  spec.process.init = true;
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  Container box = launch(spec);
  const Fd out = box.take_stdout();
  CHECK(read_until(out, "ready\n") == "ready\n");
  for (const auto& [number, name] :
       {std::pair{SIGHUP, "HUP\n"}, std::pair{SIGUSR1, "USR1\n"}, std::pair{SIGWINCH, "WINCH\n"},
        std::pair{SIGINT, "INT\n"}, std::pair{SIGCONT, "CONT\n"}, std::pair{SIGTERM, "TERM\n"}}) {
    INFO(name);
    REQUIRE(box.signal(Signal{number}));
    CHECK(read_until(out, name) == name);
  }
  CHECK(wait(box).success());
}

TEST_CASE("the end of a command with an init is told as without", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit", "7"});
  spec.process.rlimits = {{.resource = Rlimit::core, .soft = 0, .hard = 0}};
  spec.process.init = true;
  CHECK(to_string(launch_and_wait(spec)) == "exited with status 7");
  spec.process.argv = {"/bin/payload", "raise", "15"};
  CHECK(to_string(launch_and_wait(spec)) == "killed by signal 15 (SIGTERM)");
  spec.process.argv = {"/bin/payload", "crash"};
  CHECK(to_string(launch_and_wait(spec)) == "killed by signal 11 (SIGSEGV)");
  spec.process.argv = {"/bin/payload", "exit", "255"};
  CHECK(to_string(launch_and_wait(spec)) == "exited with status 255");
  spec.process.argv = {"/bin/none"};
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "/bin/none"));
}

TEST_CASE("the end of the command is the end of all, with an init, too",
          "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"daemon"});
  spec.process.init = GENERATE(false, true);
  Container box = launch(spec);
  const Exit e = wait(box);
  CHECK(to_string(e) == "exited with status 5");
  CHECK(e.out == "daemon\nlast words\n");
  CHECK(condroid::test::processes_of_zygote().empty());
}

TEST_CASE("signals to a command without an init", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"term", "9"});
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  Container box = launch(spec);
  const Fd out = box.take_stdout();
  (void)read_until(out, "ready\n");
  REQUIRE(box.signal(Signal{SIGTERM}));
  CHECK(to_string(wait(box)) == "exited with status 9");
  CHECK(condroid::test::errno_of(box.signal(Signal{SIGTERM})) == ESRCH);
}
