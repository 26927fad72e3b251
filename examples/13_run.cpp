// One call for the whole life of a container: what it printed, how it ended, what it used, and the
// deadline.
#include <condroid/builder.hpp>
#include <condroid/run.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;
using std::chrono::milliseconds;

namespace {

double ms(std::chrono::duration<double, std::milli> time) { return time.count(); }

void show(const char* what, const RunResult& r) {
  fmt::print("{}: {}\n", what, r);
  fmt::print("  stdout: {}  stderr: {}", r.exit.out, r.exit.err);
  fmt::print("  {:.1f} ms to its first instruction, {:.1f} ms from there, {:.1f} ms of processor\n",
             ms(r.launch_time), ms(r.run_time), ms(r.exit.user_time + r.exit.system_time));
}

}  // namespace

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const auto sh = [](const char* script) {
    return ContainerBuilder{"job"}.exec({"/bin/sh", "-c", script}).spec();
  };
  const auto good =
      run(*runtime, sh("seq 3 | tail -1; echo done >&2; exit 4"), milliseconds{10000});
  // What it started goes with it, in whatever session that is.
  const auto late = run(*runtime, sh("echo begun; echo slow >&2; setsid sleep 100 & sleep 100"),
                        milliseconds{3000});
  for (const auto* r : {&good, &late}) {
    if (!*r) {
      fmt::print(stderr, "{}\n", r->error());
      return 1;
    }
  }
  show("in time", *good);
  show("too slow", *late);
  return good->exit.code == 4 && late->timed_out ? 0 : 1;
}
