// The caller's programs, run by the zygote: one, and all of a container's end. Private.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/plan.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"

namespace condroid::inline v0::detail {

class Helper;
class Zygote;
struct RuntimeCore;

using OnHook = std::function<void(const HookReport&)>;

/// What hooks are told of a container.
struct HookScene {
  std::string name;
  Pid pid = {};
  /// The host's ends of interfaces, by their names in the container.
  std::vector<std::pair<std::string, std::string>> host_names;
  /// Of the container's own, open here.
  std::vector<std::pair<Namespace, Fd>> namespaces;
  const char* target = nullptr;  ///< After the end.

  [[nodiscard]] std::optional<std::string> value(HookValue value, const op::RunHook& hook) const;
};

/// The subject of an error: "start_host hook '/bin/x'".
[[nodiscard]] std::string hook_subject(const Hook& hook);
/// Of a hook that did not end well: why, and the last line of what it said.
[[nodiscard]] Error hook_error(const Hook& hook, std::string why, std::string_view output);
/// The last bytes of `text`, at most `limit`; the others are counted.
void keep_end(std::string& text, std::size_t limit, std::uint64_t& dropped);

/// Of one that never ran, or is killed before its end.
[[nodiscard]] HookReport unfinished(const Hook& hook, const Error& error);

/// One that runs.
class HookRun {
 public:
  using Clock = std::chrono::steady_clock;
  /// poll_fd() wakes for `besides`, too.
  [[nodiscard]] static Result<std::unique_ptr<HookRun>> start(std::shared_ptr<Zygote> zygote,
                                                              Hook filled, FdView besides = {});
  HookRun(const HookRun&) = delete;
  HookRun& operator=(const HookRun&) = delete;
  /// Kills it and its process group.
  ~HookRun();
  /// False while it runs. A hook that did not end well is an error; `report` is filled in any case.
  [[nodiscard]] Result<bool> step(HookReport& report);
  [[nodiscard]] FdView poll_fd() const noexcept { return poll_; }
  /// What is known of it now.
  [[nodiscard]] HookReport abandoned(const Error& error);
  /// When step() wants to be called without an event.
  [[nodiscard]] Clock::time_point until() const noexcept { return until_; }

 private:
  HookRun() = default;
  void read();
  Hook hook_;
  std::unique_ptr<Helper> helper_;
  Fd output_, poll_;
  Clock::time_point began_{}, until_{}, gone_by_{};
  bool timed_out_ = false;
  std::string text_;
  std::uint64_t dropped_ = 0;
};

/// Those of a container's end, one after the other, whatever becomes of the ones before.
class EndHooks {
 public:
  /// `gone` makes go what hooks at `down` and `stop` see, once: before the first at `post_stop`.
  EndHooks(std::shared_ptr<RuntimeCore> runtime, HookScene scene, std::vector<op::RunHook> hooks,
           OnHook on_hook, std::function<void()> gone);
  ~EndHooks();
  /// True when all have been run.
  [[nodiscard]] bool step();
  [[nodiscard]] FdView poll_fd() const noexcept;
  [[nodiscard]] HookRun::Clock::time_point until() const noexcept;
  /// What those have that are not done.
  [[nodiscard]] std::chrono::milliseconds most() const noexcept;
  /// Whether a next life is to come.
  [[nodiscard]] bool again() const noexcept { return std::string_view(scene_.target) == "reboot"; }
  /// There is no next life after all.
  void stay_down() noexcept { scene_.target = "stop"; }
  [[nodiscard]] std::vector<std::string>& errors() noexcept { return errors_; }
  /// Of those at post_stop.
  [[nodiscard]] const std::string& refusal() const noexcept { return refusal_; }

 private:
  void failed(const Error& error);
  void all_gone();
  std::shared_ptr<RuntimeCore> runtime_;
  HookScene scene_;
  std::vector<op::RunHook> hooks_;
  OnHook on_hook_;
  std::function<void()> gone_;
  std::size_t next_ = 0;
  std::unique_ptr<HookRun> run_;
  std::vector<std::string> errors_;
  std::string refusal_;
};

}  // namespace condroid::inline v0::detail
