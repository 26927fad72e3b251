// Which files and ports a command may reach, without any privilege: Landlock.
#include <condroid/builder.hpp>
#include <condroid/run.hpp>
#include <condroid/runtime.hpp>

using namespace condroid;
using namespace condroid::literals;
using std::chrono::seconds;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  // Programs may run, /tmp is for files, and nothing else of the container is there to be used.
  Landlock rules;
  rules.permit(landlock::run, "/usr"_guest)
      .permit(landlock::run, "/etc/ld.so.cache"_guest)
      .permit(landlock::read | landlock::write, "/tmp"_guest)
      .permit_connect(443);
  rules.best_effort = true;  // what an older kernel does not have is left out, and said

  const Spec spec = ContainerBuilder{"box"}
                        .landlock(rules)
                        .exec({"/bin/sh", "-c",
                               "echo fine > /tmp/file; read line < /tmp/file; echo $line;"
                               "read line < /etc/passwd"})
                        .spec();
  const auto result = run(*runtime, spec, seconds{10});
  if (!result) {
    fmt::print(stderr, "{}\n", result.error());
    return 1;
  }
  fmt::print("{}{}{}\n", result->exit.out, result->exit.err, result->exit);
  return 0;
}
