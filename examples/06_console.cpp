// A shell on the container's own /dev/console: we type, it answers, as at a terminal.
#include <poll.h>
#include <unistd.h>

#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>
#include <string>

using namespace condroid;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  auto box = ContainerBuilder{"console"}
                 .terminal({.console = true, .rows = 40, .columns = 100})
                 .stdio(Stdio::pty)
                 .env("PS1", "inside> ")
                 .exec({"/bin/sh"})
                 .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  const std::string typed = "tty; stty size; ls -l /dev/console | cut -c1; exit 5\n";
  if (::write(box->console().get(), typed.data(), typed.size()) < 0) {
    std::perror("typing");
    return 1;
  }

  // step() reads the console; the last 64 KiB of it are kept.
  for (;;) {
    const auto exit = box->step();
    if (!exit) {
      fmt::print(stderr, "{}\n", exit.error());
      return 1;
    }
    if (*exit) {
      fmt::print("{}", box->console_output());
      fmt::print("{}\n", **exit);
      return (*exit)->code == 5 ? 0 : 1;
    }
    pollfd waiting{box->poll_fd().get(), POLLIN, 0};
    ::poll(&waiting, 1, -1);
  }
}
