// How far a device has come, told by what its init logs: the ladder of a boot, and advice for what
// goes wrong in it.
//
//   auto log = android::KmsgLog::open();
//   device.kmsg = log->path();
//   android::BootLog boot;
//   ... when log->poll_fd() is readable:
//   for (const auto& e : log->read(boot)) fmt::print("{}\n", android::to_string(e.stage));
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/path.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/sys/pty.hpp"

namespace condroid {
inline namespace v0 {
namespace android {

/// A rung of the ladder, in order. A boot may leave some out of its log.
enum class Stage : std::uint8_t {
  spawned,           ///< Its init logs something.
  second_stage,      ///< Everything is mounted.
  property_service,  ///< Properties can be set: init works through its actions.
  servicemanager,    ///< The context manager of binder is started.
  zygote,
  boot_completed,  ///< sys.boot_completed=1
};
[[nodiscard]] std::string_view to_string(Stage stage) noexcept;

struct BootEvent {
  Stage stage = Stage::spawned;
  std::chrono::nanoseconds at{0};  ///< As feed() was told.
  std::string line = {};           ///< That says so.
  bool operator==(const BootEvent&) const = default;
};

/// What a line means for who runs the device.
struct Advice {
  std::string line = {};
  std::string what = {};
  std::string hint = {};
  bool fatal = false;  ///< Init gives up: the device ends by a restart.
  bool operator==(const Advice&) const = default;
};

/// What the guest asks for at its end. Its init exits with 0 for all of them where it may not call
/// reboot(2).
enum class Asks : std::uint8_t { nothing, shutdown, reboot, recovery, bootloader };

/// Decodes the log of init: lines of /dev/kmsg as they are written ("<6>init: ..."), as they are
/// read ("6,1234,5678,-;init: ..."), or of a console ("[    1.234567] init: ..."). Pure: no I/O, no
/// clock. Any bytes may come, in any pieces. Not thread-safe.
class BootLog {
 public:
  /// The events of this piece. `at`: when it came, on whatever clock; from the launch, for a
  /// ladder.
  std::vector<BootEvent> feed(std::string_view piece, std::chrono::nanoseconds at);

  /// All so far: each rung once, in the order in which they were reached.
  [[nodiscard]] const std::vector<BootEvent>& events() const noexcept { return events_; }
  [[nodiscard]] bool reached(Stage stage) const noexcept;
  /// What went wrong so far; each kind once, at most 32.
  [[nodiscard]] const std::vector<Advice>& advice() const noexcept { return advice_; }
  [[nodiscard]] Asks asks() const noexcept { return asks_; }
  /// The last line that was whole.
  [[nodiscard]] const std::string& last_line() const noexcept { return last_; }

 private:
  void line(std::string_view text, std::chrono::nanoseconds at);
  void reach(Stage stage, std::chrono::nanoseconds at, std::string_view text);

  static constexpr std::size_t longest_line = 8192;
  std::string begun_;  // of a line whose end has not come, cut at longest_line
  std::string last_;
  std::vector<BootEvent> events_;
  std::vector<Advice> advice_;
  Asks asks_ = Asks::nothing;
};

/// A line without what is in front of its text: priority, time, sequence.
[[nodiscard]] std::string_view kmsg_text(std::string_view line) noexcept;
/// What a line of the log means; none for one that is not known to mean trouble.
[[nodiscard]] std::optional<Advice> advice_for(std::string_view line);

/// A pseudo terminal that a device has for its /dev/kmsg. Nothing of it stays. Move-only.
class KmsgLog {
 public:
  /// @errors those of posix_openpt(3).
  [[nodiscard]] static Result<KmsgLog> open();
  /// For Device::kmsg.
  [[nodiscard]] const HostPath& path() const noexcept { return path_; }
  /// Readable when there is something for read().
  [[nodiscard]] FdView poll_fd() const noexcept { return pty_.master(); }
  /// Reads what there is without waiting. What nobody reads holds init up once some KiB have
  /// gathered.
  [[nodiscard]] Result<std::vector<BootEvent>> read(BootLog& into);
  /// The same, with times from then on.
  void begin(std::chrono::steady_clock::time_point start) noexcept { start_ = start; }

 private:
  KmsgLog(Pty pty, HostPath path) noexcept : pty_(std::move(pty)), path_(std::move(path)) {}
  Pty pty_;
  HostPath path_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace android
}  // namespace v0
}  // namespace condroid
