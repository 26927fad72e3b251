// Calls that the host answers: a container without the right to make devices gets the harmless
// ones.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <condroid/builder.hpp>
#include <condroid/notify.hpp>
#include <condroid/runtime.hpp>

using namespace condroid;

namespace {

/// mknodat(dirfd, path, mode, device), or mknod without the first: of all devices /dev/null, made
/// by this program in its place. Each way ends with an answer: until then the call waits.
Result<void> make_node(SyscallListener& listener, const SyscallRequest& call) {
  const bool at = call.name() == "mknodat";
  const auto mode = static_cast<mode_t>(call.args[at ? 2 : 1]);
  const dev_t device = call.args[at ? 3 : 2];
  const bool null = S_ISCHR(mode) && device == makedev(1, 3);
  fmt::print("asked for {}:{}: {}\n", major(device), minor(device), null ? "yes" : "no");
  if (!null) return listener.refuse(call, EPERM);
  auto path = listener.read_string(call, call.args[at ? 1 : 0]);
  if (!path) return listener.refuse(call, EFAULT);
  // The container chose the path: it is opened below the container's own root and nowhere else.
  auto place = listener.place(call, at ? static_cast<int>(call.args[0]) : AT_FDCWD, *path);
  if (!place) return listener.refuse(call, place.error().code.value());
  if (::mknodat(place->directory.get(), place->name.c_str(), mode, makedev(1, 3)) != 0)
    return listener.refuse(call, errno);
  return listener.respond(call);
}

}  // namespace

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) return fmt::print(stderr, "{}\n", runtime.error()), 1;
  auto box =
      ContainerBuilder{"box"}
          .ephemeral()
          .seccomp(Seccomp{}.notify({"mknod", "mknodat"}))
          .exec({"/bin/sh", "-c", "mknod /tmp/zilch c 1 3; mknod /tmp/mem c 1 1; ls /tmp; true"})
          .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return box.error().is(Errc::unsupported) ? 0 : 1;  // rules need a build with libseccomp
  }
  auto listener = box->take_listener();
  if (!listener) return fmt::print(stderr, "{}\n", listener.error()), 1;
  const auto exit = serve(*box, *listener, make_node);
  if (!exit) return fmt::print(stderr, "{}\n", exit.error()), 1;
  fmt::print("{}\n", *exit);
  return exit->success() ? 0 : 1;
}
