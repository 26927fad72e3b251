// Emulator: Android devices of one program, several at once, in its own poll loop. The heart of
// condroid-emulator, without options, files and terminals: take it into a program of yours.
//
//   auto all = Emulator::open();
//   if (auto ok = all->add(phone); !ok) ...
//   while (!all->finished()) {
//     std::vector<pollfd> waiting;
//     all->poll_fds(waiting);                     // beside the program's own
//     ::poll(waiting.data(), waiting.size(), all->timeout());
//     all->step();
//     for (const Guest& g : all->guests()) ...    // what there is to show
//   }
#pragma once

#include <poll.h>

#include <chrono>
#include <condroid/android/device.hpp>
#include <condroid/android/kmsg.hpp>
#include <condroid/condroid.hpp>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Where a device is. One that failed was never launched.
enum class State : std::uint8_t { launching, booting, booted, frozen, stopping, ended, failed };
[[nodiscard]] std::string_view to_string(State state) noexcept;

/// A device, from add() on. Times count from Emulator::open(). Read-only for who shows it.
struct Guest {
  std::string name = {};
  State state = State::launching;
  std::chrono::nanoseconds begun{0};                   ///< add()
  std::optional<std::chrono::nanoseconds> launched{};  ///< Its init was executed.
  std::optional<std::chrono::nanoseconds> asked{};     ///< It was asked to end.
  std::optional<std::chrono::nanoseconds> over{};      ///< It ended, or failed.
  condroid::android::BootLog boot = {};                ///< The ladder, and advice.
  std::optional<condroid::Stats> stats = {};           ///< The last look.
  double cpu = 0;                             ///< Processors in use, since the look before.
  std::optional<condroid::Exit> exit = {};    ///< With State::ended.
  std::optional<condroid::Error> error = {};  ///< With State::failed.

  // What it consists of.
  condroid::android::Lease lease = {};
  std::optional<condroid::android::KmsgLog> log = {};
  std::optional<condroid::Launch> launch = {};
  std::optional<condroid::Container> box = {};
  condroid::StatsReader reader = {};
  unsigned lives = 0;  ///< Restarts so far; the ladder is of this life.

  [[nodiscard]] bool up() const { return boot.reached(condroid::android::Stage::boot_completed); }
};

/// Move-only, of one thread. Its end kills what still runs.
class Emulator {
 public:
  /// Devices of programs with the same `state_dir` know each other by name; Registry finds them.
  [[nodiscard]] static condroid::Result<Emulator> open(condroid::HostPath state_dir = {});

  /// Begins to launch a device: its log is read here, whatever Device::kmsg says. Nothing is waited
  /// for but the disk.
  /// @errors those of android::prepare(); EEXIST for a name that runs already.
  [[nodiscard]] condroid::Result<void> add(condroid::android::Device device);

  /// Appends what is to be polled for.
  void poll_fds(std::vector<pollfd>& into) const;
  /// Until step() wants to be called without an event, as poll(2) takes it.
  [[nodiscard]] int timeout() const;
  /// Does what can be done without waiting, for all of them. True when there is news.
  bool step();

  /// Asks all to end, in order: each has ten seconds, then it is killed.
  void stop();
  /// Kills all of them.
  void kill();

  [[nodiscard]] const std::list<Guest>& guests() const { return guests_; }
  /// All have ended or failed.
  [[nodiscard]] bool finished() const;
  /// All have booted, or come to their end.
  [[nodiscard]] bool settled() const;
  /// Since open().
  [[nodiscard]] std::chrono::nanoseconds now() const;

 private:
  Emulator(condroid::Runtime runtime, condroid::HostPath state_dir)
      : runtime_(std::move(runtime)), state_dir_(std::move(state_dir)) {}
  bool step(Guest& guest);
  void begin_life(Guest& guest) const;
  bool look(Guest& guest);
  void fail(Guest& guest, condroid::Error error) const;

  condroid::Runtime runtime_;
  condroid::HostPath state_dir_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::nanoseconds next_look_{0};  ///< At what they use, and whether they are frozen.
  std::list<Guest> guests_;
};
