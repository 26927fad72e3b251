// Programs of one's own at points of a container's life: before it, inside it, and after it.
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>

using namespace condroid;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const auto say = [](HookPoint point, std::string text) {
    return Hook{.point = point, .program = "/bin/echo", .argv = {"echo", std::move(text)}};
  };
  const Spec spec = ContainerBuilder{"web"}
                        .hook(say(HookPoint::pre_start, "%{name} is about to start"))
                        .hook(say(HookPoint::start, "and has the number %{pid} in there"))
                        .hook(say(HookPoint::post_stop, "it is gone: %{target}"))
                        .exec({"/bin/true"})
                        .spec();
  LaunchOptions options;
  options.on_hook = [](const HookReport& hook) { fmt::print("{}", hook.output); };
  auto box = runtime->launch(spec, std::move(options));
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  const auto exit = box->wait();
  if (!exit) {
    fmt::print(stderr, "{}\n", exit.error());
    return 1;
  }
  if (exit->success() && exit->cleanup_errors.empty()) return 0;
  fmt::print(stderr, "{}\n", *exit);
  return 1;
}
