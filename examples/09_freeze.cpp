// A container that counts without end: frozen it stands still, thawed it goes on, and it ends when
// it is asked to.
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>
#include <cstdlib>

using namespace condroid;
using namespace std::chrono_literals;

static char buffer[65536];

/// Whether more comes than a pipe holds; silence is so many milliseconds without anything.
static const char* listen_to(FdView out, int silence) {
  for (std::size_t heard = 0; heard <= sizeof buffer;) {
    pollfd waiting{out.get(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, silence);
    const ssize_t n = ready > 0 ? ::read(out.get(), buffer, sizeof buffer) : ready;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) std::perror("listening"), std::exit(1);  // which ends the container, too
    if (n == 0) return "silence";
    heard += static_cast<std::size_t>(n);
  }
  return "it speaks";
}

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) return fmt::print(stderr, "{}\n", runtime.error()), 1;
  Spec spec;
  spec.name = "busy";
  spec.lifecycle.freezable = true;  // it gets a cgroup for that
  spec.process.argv = {"/bin/sh", "-c", "trap 'exit 3' TERM; while :; do echo still here; done"};
  spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
  auto box = runtime->launch(spec);
  if (!box) return fmt::print(stderr, "{}\n", box.error()), 1;
  const Fd out = box->take_stdout();
  fmt::print("running: {}\n", listen_to(out, 10000));

  if (auto ok = box->freeze(); !ok) return fmt::print(stderr, "{}\n", ok.error()), 1;
  fmt::print("frozen: {}\n", listen_to(out, 200));

  if (auto ok = box->thaw(); !ok) return fmt::print(stderr, "{}\n", ok.error()), 1;
  fmt::print("thawed: {}\n", listen_to(out, 10000));

  // stop() waits, and the shell's pipe is full: step() and begin_stop() are for who reads on.
  if (auto ok = box->begin_stop({.patience = 10s}); !ok)
    return fmt::print(stderr, "{}\n", ok.error()), 1;
  for (;;) {
    const auto exit = box->step();
    if (!exit) return fmt::print(stderr, "{}\n", exit.error()), 1;
    if (*exit) return fmt::print("{}\n", **exit), 0;
    pollfd waiting[] = {{box->poll_fd().get(), POLLIN, 0}, {out.get(), POLLIN, 0}};
    ::poll(waiting, 2, -1);
    if (waiting[1].revents != 0 && ::read(out.get(), buffer, sizeof buffer) < 0)
      return std::perror("reading on"), 1;
  }
}
