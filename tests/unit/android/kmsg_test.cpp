#include "condroid/android/kmsg.hpp"

#include <random>
#include <string>

#include "catch.hpp"

using namespace condroid;
using namespace std::chrono_literals;
using android::Asks;
using android::BootLog;
using android::Stage;

TEST_CASE("a line's text is what is behind priority, time and number", "[android]") {
  CHECK(android::kmsg_text("<6>init: a") == "init: a");
  CHECK(android::kmsg_text("6,1234,5678,-;init: a\n") == "init: a");
  CHECK(android::kmsg_text("4,1,0,-,caller=T1;init: a") == "init: a");
  CHECK(android::kmsg_text("[    1.234567] init: a\r\n") == "init: a");
  CHECK(android::kmsg_text("<14>[    1.2][    T1] init: a") == "[    T1] init: a");
  CHECK(android::kmsg_text("init: a") == "init: a");
  CHECK(android::kmsg_text("<6>") == "");
  CHECK(android::kmsg_text("<x>init: a") == "<x>init: a");
  CHECK(android::kmsg_text("[not a time] b") == "[not a time] b");
  CHECK(android::kmsg_text("") == "");
}

TEST_CASE("a boot is a ladder, each rung once", "[android]") {
  BootLog log;
  CHECK(log.feed("<5>healthd: battery none\n", 1ms).empty());
  auto events = log.feed("<6>init: init first stage started!\n<6>init: init second", 2ms);
  REQUIRE(events.size() == 1);
  CHECK(events[0].stage == Stage::spawned);
  events = log.feed(" stage started!\n", 3ms);
  REQUIRE(events.size() == 1);
  CHECK(events[0].stage == Stage::second_stage);
  CHECK(events[0].at == 3ms);
  CHECK(events[0].line == "init: init second stage started!");
  log.feed("<6>init: processing action (early-init) from (/system/etc/init/hw/init.rc:15)\n", 4ms);
  log.feed("<6>init: starting service 'servicemanager'...\n", 5ms);
  log.feed("<6>init: starting service 'zygote'...\n<6>init: starting service 'zygote'...\n", 6ms);
  CHECK_FALSE(log.reached(Stage::boot_completed));
  // A service that says so is not believed.
  log.feed("<6>evil: init: processing action (sys.boot_completed=1)\n", 7ms);
  CHECK_FALSE(log.reached(Stage::boot_completed));
  log.feed("<6>init: processing action (sys.boot_completed=1) from (/init.rc:9)\n", 8ms);
  REQUIRE(log.events().size() == 6);
  for (std::size_t i = 0; i < 6; ++i) CHECK(log.events()[i].stage == static_cast<Stage>(i));
  CHECK(log.advice().empty());
  CHECK(log.asks() == Asks::nothing);
  CHECK(android::to_string(Stage::boot_completed) == "boot completed");
}

TEST_CASE("what goes wrong in a first stage has advice", "[android]") {
  BootLog log;
  log.feed(
      "<3>init: mount(\"proc\", \"/proc\", \"proc\", 0, \"hidepid=2,gid=3009\") failed Device or "
      "resource busy\n"
      "<3>init: mknod(\"/dev/kmsg\", S_IFCHR | 0600, makedev(1, 11)) failed Operation not "
      "permitted\n"
      "<3>init: mkdir(\"/dev/pts\", 0755) failed File exists\n"
      "<0>init: Init encountered errors starting first stage, aborting\n",
      1ms);
  REQUIRE(log.advice().size() == 4);
  CHECK(log.advice()[0].what == "the first stage mounts what is mounted already");
  CHECK(log.advice()[1].what.find("capability mknod") != std::string::npos);
  CHECK(log.advice()[2].what == "the first stage makes a directory that is there already");
  for (const auto& a : log.advice()) {
    CHECK(a.fatal);
    CHECK_FALSE(a.hint.empty());
    CHECK_FALSE(a.line.empty());
  }
}

TEST_CASE("known symptoms have their causes", "[android]") {
  const auto said = [](std::string_view line) {
    const auto advice = android::advice_for(line);
    return advice ? advice->what : std::string();
  };
  using Catch::Contains;
  CHECK_THAT(said("Binder driver '/dev/binder' could not be opened. Error: No such file or "
                  "directory. Terminating."),
             Contains("no binder node"));
  CHECK_THAT(said("Binder driver '/dev/binder' could not be opened. Error: Permission denied"),
             Contains("0600"));
  CHECK_THAT(said("Binder driver '/dev/binder' could not be opened. Error: Is a directory"),
             Contains("a directory"));
  CHECK_THAT(said("Waiting for service 'activity' on '/dev/binder'..."), Contains("never comes"));
  CHECK_THAT(said("Service manager /dev/binder has died"), Contains("lmkd"));
  CHECK_THAT(said("<3>init: Failed to mount cgroup v2: Device or resource busy"),
             Contains("mounted already"));
  CHECK_THAT(said("libprocessgroup: Failed to make and chown /sys/fs/cgroup/uid_0: Read-only file "
                  "system"),
             Contains("read-only"));
  CHECK_THAT(said("init: createProcessGroup(0, 55) failed for service 'x': Read-only file system"),
             Contains("read-only"));
  CHECK_THAT(said("couldn't write 77 to /dev/cpuset/foreground/tasks: No space left on device"),
             Contains("cpuset"));
  CHECK_THAT(said("Could not register INotify for /dev/input: Too many open files"),
             Contains("inotify"));
  CHECK_THAT(said("Transaction failed because process frozen"), Contains("froze"));
  CHECK_THAT(said("sh: open /dev/tty: No such device or address"), Contains("console"));
  CHECK(said("init: starting service 'adbd'...").empty());
  CHECK(said("").empty());
  // Each once.
  BootLog log;
  for (int i = 0; i < 100; ++i) log.feed("Service manager /dev/binder has died\n", 1ms);
  CHECK(log.advice().size() == 1);
}

TEST_CASE("what a guest asks for at its end is in its log", "[android]") {
  const auto asks = [](std::string_view line) {
    BootLog log;
    log.feed(line, 0ms);
    return log.asks();
  };
  CHECK(asks("<6>init: Received sys.powerctl='shutdown,container' from pid: 1 (/init)\n") ==
        Asks::shutdown);
  CHECK(asks("<6>init: Received sys.powerctl='reboot' from pid: 88 (/system/bin/svc)\n") ==
        Asks::reboot);
  CHECK(asks("<6>init: Got shutdown_command 'reboot,recovery' Calling HandlePowerctlMessage()\n") ==
        Asks::recovery);
  CHECK(asks("<6>init: Reboot start, reason: reboot,bootloader, reboot_target: bootloader\n") ==
        Asks::bootloader);
  CHECK(asks("<6>other: Received sys.powerctl='reboot'\n") == Asks::nothing);
  CHECK(asks("<6>init: Received sys.powerctl='reboot' without an end") == Asks::nothing);
}

TEST_CASE("any bytes, in any pieces, are taken", "[android]") {
  std::mt19937 random(7);  // NOLINT(cert-msc*): the same each time
  BootLog log;
  const std::string whole = "<6>init: init second stage started!\n";
  for (int i = 0; i < 3000; ++i) {
    std::string piece(random() % 300, '\0');
    for (char& c : piece) c = static_cast<char>(random());
    log.feed(piece, 1ms);
  }
  log.feed(std::string(100000, 'x'), 1ms);  // a line without an end
  log.feed("\n", 1ms);
  CHECK(log.last_line().size() <= 8192);
  for (const char c : whole) log.feed({&c, 1}, 2ms);
  CHECK(log.reached(Stage::second_stage));
}
