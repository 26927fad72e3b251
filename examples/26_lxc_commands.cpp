// LXC's own tools for a container of this program's: as long as it runs,
//   lxc-info -P PATH -n web;  lxc-attach -P PATH -n web;  lxc-stop -P PATH -n web
#include <condroid/builder.hpp>
#include <condroid/control/client.hpp>
#include <condroid/control/command_socket.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>
#include <thread>

using namespace condroid;

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "/tmp/condroid-lxc";  // where lxc-info has its -P
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  // Before the launch: who has that name already is found out first.
  auto socket = control::CommandSocket::open({
      .lxcpath = path,
      .name = "web",
      .config_item = [](std::string_view key) -> std::optional<std::string> {
        return key == "lxc.uts.name" ? std::optional<std::string>("web") : std::nullopt;
      },
      .on_state = [](control::State s) { fmt::print("{}\n", control::to_string(s)); },
  });
  if (!socket) {
    fmt::print(stderr, "{}\n", socket.error());
    return 1;
  }
  auto box = ContainerBuilder{"web"}.exec({"/bin/sleep", "5"}).launch(*runtime);
  const auto serves = box ? socket->serve(*box) : Result<void>(fail(box));
  if (!serves) {
    fmt::print(stderr, "{}\n", serves.error());
    return 1;
  }
  // What lxc-info and lxc-stop ask, from another thread: wait() answers.
  bool fine = true;
  std::thread tools([&path, &fine] {
    const control::Client web(path, "web");
    const auto pid = web.init_pid();
    if (pid)
      fmt::print("its first process is {}\n", pid->value);
    else
      fmt::print(stderr, "{}\n", pid.error());
    const auto stopped = web.stop();
    if (!stopped) fmt::print(stderr, "{}\n", stopped.error());
    fine = pid && stopped;
  });
  const auto exit = box->wait();
  if (!exit) socket = fail(exit.error());  // closed: nobody is left to answer
  tools.join();
  if (!exit) {
    fmt::print(stderr, "{}\n", exit.error());
    return 1;
  }
  fmt::print("{}\n", *exit);
  return fine ? 0 : 1;
}
