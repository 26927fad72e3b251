#include "condroid/android/launch.hpp"

#include <utility>

#include "condroid/android/binder.hpp"

namespace condroid::inline v0::android {

LaunchOptions options_for(const Ready& ready, LaunchOptions options) {
  if (!ready.binderfs) return options;
  options.on_event = [then = std::move(options.on_event)](const LaunchEvent& e) -> Result<void> {
    if (e.kind == LaunchEvent::set_up)
      if (auto made = make_binder_nodes(e.pid); !made) return fail(made);
    if (then) return then(e);
    return {};
  };
  return options;
}

Result<Container> launch(const Runtime& runtime, const Ready& ready, LaunchOptions options) {
  return runtime.launch(ready.spec, options_for(ready, std::move(options)));
}

}  // namespace condroid::inline v0::android
