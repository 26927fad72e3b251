// A container that runs is changed: a directory of the host appears in it and goes again, later
// commands see another environment, its terminal another size.
#include <condroid/attach.hpp>
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <condroid/sys/mount.hpp>
#include <cstdio>
#include <string>

using namespace condroid;
using namespace condroid::literals;

namespace {

/// What a shell in the container says to this.
std::string ask(const Container& box, const std::string& question) {
  auto task =
      box.attach({.process = {.argv = {"/bin/sh", "-c", question}, .stdio = Stdio::capture}});
  if (!task) return to_string(task.error()) + "\n";
  auto exit = task->wait();
  if (!exit) return to_string(exit.error()) + "\n";
  return exit->out.empty() ? to_string(*exit) + "\n" : exit->out;
}

Result<void> change(const Runtime& runtime) {
  auto box = ContainerBuilder{"changing"}
                 .ephemeral(16_MiB)
                 .stdio(Stdio::pty)
                 .exec({"/bin/sleep", "60"})
                 .launch(runtime);
  if (!box) return fail(box);

  auto etc = DetachedMount::clone_tree("/etc"_host);
  if (!etc) return fail(etc);
  const GuestPath there("/mnt/etc-of-the-host");
  if (auto ok = box->add_mount({.mount = {etc->fd().get()}, .target = there}); !ok) return ok;
  fmt::print("mounted: {}", ask(*box, "ls /mnt/etc-of-the-host/passwd"));
  if (auto ok = box->remove_mount(there); !ok) return ok;
  fmt::print("removed: {}", ask(*box, "ls /mnt/etc-of-the-host | wc -l"));

  box->update_env({"GREETING=good evening"});
  fmt::print("environment: {}", ask(*box, "echo $GREETING"));
  if (auto ok = box->resize({.rows = 50, .columns = 132}); !ok) return ok;
  fmt::print("terminal: {}", ask(*box, "stty size < /dev/console"));
  return {};
}

}  // namespace

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  if (auto ok = change(*runtime); !ok) {
    fmt::print(stderr, "{}\n", ok.error());
    return 1;
  }
}
