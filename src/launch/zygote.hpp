// The host's side of one zygote: its process, the arena file that both map, and the lists of free
// places in it. Private.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/runtime.hpp"
#include "condroid/sys/fd.hpp"
#include "launch/dev_tree.hpp"
#include "launch/filters.hpp"
#include "launch/host_mounts.hpp"
#include "launch/nat_bridges.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

/// Converts the child's counter to time: two readings of both clocks, far enough apart.
class TickClock {
 public:
  TickClock();
  /// Nanoseconds of CLOCK_MONOTONIC at this value of the counter.
  [[nodiscard]] std::chrono::nanoseconds at(std::uint64_t ticks) const;

 private:
  std::uint64_t ticks_ = 0;
  std::chrono::nanoseconds time_;
};

/// Before the place of a cgroup that is not below the Runtime's, seen from there.
inline constexpr std::string_view beside_runtime = "../";

/// One running zygote. Shared by the Runtime and everything launched through it; the last owner
/// ends it. Thread-safe.
class Zygote {
 public:
  /// Starts one, and does `meanwhile` while it sets itself up. Blocks for about a millisecond.
  [[nodiscard]] static Result<std::shared_ptr<Zygote>> start(
      const std::string& state_dir, bool remove_state_dir, const std::function<void()>& meanwhile);
  Zygote(const Zygote&) = delete;
  Zygote& operator=(const Zygote&) = delete;
  /// Ends it and with it every container that is not detached; waits until it has cleaned up.
  ~Zygote();

  [[nodiscard]] bool alive() const;  ///< One poll(2).
  /// When it is dead: ends and removes what it can no longer. Nothing while it lives, or the second
  /// time.
  void bury();
  [[nodiscard]] int control() const noexcept { return control_.get(); }
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  [[nodiscard]] Pid pid() const noexcept { return pid_; }
  [[nodiscard]] const std::string& runtime_name() const noexcept { return name_; }
  [[nodiscard]] const TickClock& clock() const noexcept { return clock_; }

  [[nodiscard]] program::ResultPage& page(std::uint32_t i) const noexcept;
  [[nodiscard]] program::LiveEntry& live(std::uint32_t i) const noexcept;

  /// A place in the table of living containers and a result page. 0, or an errno: EAGAIN when there
  /// is none, ENOSPC when the file system of the state file has no room for one more.
  [[nodiscard]] int take_places(std::uint32_t& live, std::uint32_t& page);
  [[nodiscard]] std::string state_file() const { return state_dir_ + "/" + name_; }
  void give_back_page(std::uint32_t page);
  void give_back_live(std::uint32_t live);
  /// Where the cgroups of an entry are, below the parents: from now on they are removed with it.
  void put_at(std::uint32_t live, std::string_view place);
  /// Of a child whose end nobody waits for any more: its places are free again when it has ended,
  /// which the zygote tells on `exit`. One that was not born yet is killed when it is, unless it
  /// is to live on.
  void keep_until_end(Fd exit, std::optional<std::uint32_t> live, std::optional<std::uint32_t> page,
                      bool lives_on = false);
  [[nodiscard]] std::uint64_t next_id() noexcept { return ++last_id_; }
  [[nodiscard]] NatBridges& bridges() noexcept { return bridges_; }

  /// Sends a request; errno, or 0.
  [[nodiscard]] int request(const program::Request& request, std::span<const int> fds = {}) const;

  /// The same for one that must arrive: waits while the zygote has more to read than its socket
  /// holds, ten seconds at most.
  [[nodiscard]] int request_surely(const program::Request& request,
                                   std::span<const int> fds = {}) const;

  /// An attach by the helper that waits for one, program::request_by_helper: `fds` begin with the
  /// exit socket. errno, or 0; ENOENT: nobody waits, and nothing was asked.
  [[nodiscard]] int request_by_helper(program::Request request, std::span<const int> fds);
  /// Has a helper wait from now on. What goes wrong costs time later, and nothing else.
  void offer_helper();

  /// From here on profiles with the runtime's name are removed at its end, whoever dies.
  void expect_profiles() const;

  /// The runtime's own cgroup in a hierarchy, made at the first call: tells the zygote first, so
  /// that it is undone.
  /// @returns an O_PATH descriptor that stays open as long as the zygote.
  [[nodiscard]] Result<int> cgroup_dir(std::size_t hierarchy, const CgroupHierarchy& h,
                                       const std::vector<std::string>& controllers);
  /// Switches on for those below it, after cgroup_dir(), what nothing needs; what was refused once
  /// is not tried again.
  /// @returns those that are on; in `why` what is in the way of the others.
  [[nodiscard]] std::vector<std::string> offer_controllers(std::size_t hierarchy,
                                                           const std::string& base,
                                                           const std::vector<std::string>& wished,
                                                           std::string& why);

 private:
  Zygote() = default;
  [[nodiscard]] Result<void> spawn(const std::string& state_dir, bool remove_state_dir);
  [[nodiscard]] Result<void> greet();
  void let_go();
  void look_for_ends();
  [[nodiscard]] int reserve(std::size_t offset, std::size_t size) const;

  pid_t owner_ = 0;
  Fd control_;
  Fd pidfd_;
  Pid pid_{};
  std::string name_;
  std::string state_dir_;
  bool remove_state_dir_ = false;
  std::mutex burying_;
  bool buried_ = false;
  char* arena_ = nullptr;
  TickClock clock_;
  std::atomic<std::uint64_t> last_id_{0};

  std::mutex mutex_;
  std::vector<std::uint32_t> free_live_;  // given back; else the next unused one
  std::vector<std::uint32_t> free_pages_;
  std::uint32_t next_live_ = 0;
  std::uint32_t next_page_ = 0;
  struct Lasting {
    Fd exit;
    std::optional<std::uint32_t> live, page;
    bool lives_on;
  };
  std::vector<Lasting> lasting_;
  struct Group {
    Fd dir;
    std::vector<std::string> controllers;
    std::vector<std::string> refused = {};
    std::string why = {};  // of the first of them
  };
  std::array<Group, program::max_hierarchies> groups_{};

  NatBridges bridges_;
  std::mutex helper_mutex_;  // over both messages of an attach
  Fd helper_;
};

/// What a Runtime shares with everything launched through it.
struct RuntimeCore {
  RuntimeOptions options;
  std::string state_dir;
  bool remove_state_dir = false;
  pid_t owner = 0;
  std::mutex mutex;
  std::shared_ptr<Zygote> zygote;
  std::unique_ptr<HostFacts> facts;
  ScopeOutcome scope;
  SpareDev spare_dev;
  HostMounts host_mounts;
  FilterCache filters;

  /// The living zygote; a new one when the last has died.
  [[nodiscard]] Result<std::shared_ptr<Zygote>> get_zygote();
  [[nodiscard]] Result<const HostFacts*> get_facts();
  /// Fills `facts` in, under the mutex.
  [[nodiscard]] Result<void> look_at_host();
  [[nodiscard]] Result<void> check_owner() const;
};

/// Whether process `pid` was born when the entry says: pids come again. Open its pidfd first.
[[nodiscard]] bool is_the_one(const program::LiveEntry& entry, int pid);
/// Ends what Runtimes left that died together with their zygote: processes, cgroups, files.
[[nodiscard]] Result<void> sweep_state(const std::string& state_dir);
/// The same for one state file, of a zygote that is dead. Whether it is gone.
[[nodiscard]] bool sweep_runtime(const std::string& state_dir, const std::string& name);

}  // namespace condroid::inline v0::detail
