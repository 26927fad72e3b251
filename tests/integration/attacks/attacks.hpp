// What the attacks share: a place of the host that must stay as it is, a launch that can be
// disturbed at any step, and what this machine lets the naive launcher do.
#pragma once

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "condroid/launch.hpp"
#include "containers.hpp"
#include "naive.hpp"

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

namespace condroid::test::attacks {

/// A directory that no container was given: "dir" with a file "secret", and "file".
class Outside : public TempDir {
 public:
  Outside() {
    make_dir(*this / "dir", 0777);
    make_file(*this / "dir/file", "secret\n", 0666);
    make_file(*this / "file", "secret\n", 0666);
    before_ = fingerprint(str());
  }
  [[nodiscard]] bool untouched() const { return fingerprint(str()) == before_; }

 private:
  std::string before_;
};

/// Exchanges two names again and again, as fast as it can.
class Exchanger {
 public:
  explicit Exchanger(std::vector<std::pair<std::string, std::string>> pairs)
      : pairs_(std::move(pairs)), thread_([this] {
          while (!stop_)
            for (const auto& [a, b] : pairs_)
              if (::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(),
                            RENAME_EXCHANGE) == 0)
                ++done_;
        }) {}
  Exchanger(const Exchanger&) = delete;
  Exchanger& operator=(const Exchanger&) = delete;
  ~Exchanger() {
    stop_ = true;
    thread_.join();
  }
  [[nodiscard]] long done() const { return done_; }

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
  std::atomic<bool> stop_{false};
  std::atomic<long> done_{0};
  std::thread thread_;
};

/// What somebody does at the last moment before the first op of that step; then what becomes of it.
template <class Disturb>
Result<std::optional<Container>> disturbed(const Spec& spec, std::string_view step,
                                           Disturb disturb) {
  const auto plan = need(compile(spec, facts()));
  Launch launch = need(runtime().start(plan, {.stop_before = need(plan.find(step))}));
  REQUIRE(drive(launch).has_value());
  REQUIRE(launch.stopped());
  disturb();
  launch.resume();
  return drive(launch);
}

/// The naive launcher is root's. Whoever else runs the tests makes an attack on condroid alone, and
/// it is said; where root was promised it is a failure.
inline bool naive_may_run() {
  if (privileged()) return true;
  const char* suite = std::getenv("CONDROID_SUITE");
  if (suite != nullptr && std::string_view(suite) == "root")
    FAIL("the suite is root's, and this user is not");
  WARN("half of it: the naive launcher is root's");
  return false;
}

/// In a mount namespace of one's own: what is below that directory may gain rights and open
/// devices, whatever the machine says of the file system that it is on.
inline void mount_plainly(const TempDir& dir) {
  const char* path = dir.str().c_str();
  must(::mount(path, path, nullptr, MS_BIND, nullptr) == 0 &&
           ::mount(nullptr, path, nullptr, MS_REMOUNT | MS_BIND, nullptr) == 0,
       "a mount without nosuid and nodev");
}

/// Linux 6.2: a machine may leave TIOCSTI to who has CAP_SYS_ADMIN on it.
inline bool typing_is_roots() { return read_file("/proc/sys/dev/tty/legacy_tiocsti") == "0\n"; }

}  // namespace condroid::test::attacks
