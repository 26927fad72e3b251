// Exit: how a container's end is told.
#include <fmt/format.h>

#include <csignal>

#include "catch.hpp"
#include "condroid/container.hpp"

using condroid::Exit;

TEST_CASE("an exit tells code, signal, core dump and memory apart", "[launch]") {
  CHECK(to_string(Exit{}) == "exited with status 0");
  CHECK(to_string(Exit{.code = 3}) == "exited with status 3");
  CHECK(to_string(Exit{.kind = Exit::signaled, .signal = {SIGKILL}}) ==
        "killed by signal 9 (SIGKILL)");
  CHECK(to_string(Exit{.kind = Exit::signaled, .signal = {SIGKILL}, .out_of_memory = true}) ==
        "killed by signal 9 (SIGKILL), out of memory");
  CHECK(to_string(Exit{.kind = Exit::signaled, .signal = {SIGSEGV}, .core_dumped = true}) ==
        "killed by signal 11 (SIGSEGV), core dumped");
  CHECK(to_string(Exit{.kind = Exit::signaled, .signal = {40}}) == "killed by signal 40");
  CHECK(to_string(Exit{.kind = Exit::lost}) == "lost with its zygote");
  CHECK(to_string(Exit{.kind = Exit::signaled,
                       .signal = {SIGKILL},
                       .out_of_memory = true,
                       .oom_kills = 2,
                       .pids_limit_hits = 3}) ==
        "killed by signal 9 (SIGKILL), out of memory, pids limit hit 3 times");
  CHECK(to_string(Exit{.code = 1, .pids_limit_hits = 1}) ==
        "exited with status 1, pids limit hit once");
  // Something in it was killed for its memory, and the command made the best of it.
  CHECK(to_string(Exit{.code = 1, .out_of_memory = true}) == "exited with status 1, out of memory");
  CHECK(to_string(Exit{.cleanup_errors = {"remove cgroup: x", "y"}}) ==
        "exited with status 0; also: remove cgroup: x; also: y");
  CHECK(to_string(Exit{.kind = Exit::signaled, .signal = {SIGHUP}}) ==
        "killed by signal 1 (SIGHUP)");
  CHECK(
      to_string(Exit{.kind = Exit::signaled, .signal = {SIGHUP}, .asked = Exit::Asked::restart}) ==
      "asked for a restart, reboot(2)");
  CHECK(to_string(
            Exit{.kind = Exit::signaled, .signal = {SIGINT}, .asked = Exit::Asked::power_off}) ==
        "asked for power off, reboot(2)");
  CHECK(to_string(Exit{.restarts = 1}) == "exited with status 0, after 1 restart");
  CHECK(to_string(Exit{.code = 1, .restarts = 2, .not_restarted = "why"}) ==
        "exited with status 1, after 2 restarts; not restarted: why");
  CHECK(fmt::format("{}", Exit{.code = 3}) == "exited with status 3");
}

TEST_CASE("only a command that ended with 0 by itself was a success", "[launch]") {
  CHECK(Exit{}.success());
  CHECK_FALSE(Exit{.code = 1}.success());
  CHECK_FALSE(Exit{.kind = Exit::signaled, .signal = {SIGTERM}}.success());
  CHECK_FALSE(Exit{.kind = Exit::lost}.success());
}

TEST_CASE("an exit has the status that a shell would see", "[launch]") {
  CHECK(Exit{}.shell_status() == 0);
  CHECK(Exit{.code = 255}.shell_status() == 255);
  CHECK(Exit{.kind = Exit::signaled, .signal = {SIGTERM}}.shell_status() == 143);
  CHECK(Exit{.kind = Exit::signaled, .signal = {SIGKILL}, .core_dumped = true}.shell_status() ==
        137);
  CHECK(Exit{.kind = Exit::lost}.shell_status() != 0);
}
