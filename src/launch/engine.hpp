// The engine behind Launch: carries out the host's half of a plan and drives the protocol's table.
// Private.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "condroid/launch.hpp"
#include "condroid/runtime.hpp"
#include "launch/container_core.hpp"
#include "launch/dev_tree.hpp"
#include "launch/helper.hpp"
#include "launch/hooks.hpp"
#include "launch/zygote.hpp"
#include "program/encode.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

using Clock = std::chrono::steady_clock;

/// A program run by the zygote on the host's behalf: newuidmap, or the building of mounts.

/// What the host's ops have made so far, to be handed to the Container or undone.
struct Made {
  std::vector<Fd> owned;          // child's ends and sources: closed once the child has them
  std::vector<int> passed;        // in the order of the program's registers
  std::vector<int> joins;         // namespaces that the zygote joins first
  int null = -1;                  // /dev/null, among `owned`
  int cgroup = -1;                // v2 directory for CLONE_INTO_CGROUP
  std::uint64_t hierarchies = 0;  // bit per hierarchy with a cgroup of ours
  std::uint64_t v2 = 0;
  std::uint64_t memory = 0;      // where memory is limited, or could be by a write
  std::uint64_t counts_oom = 0;  // the same, and where the controller can be switched on later
  std::uint64_t pids = 0;
  std::uint64_t cpuacct = 0;
  // hierarchy, descriptor of the runtime's cgroup in it
  std::vector<std::pair<std::size_t, int>> parents;
  // hierarchy, descriptor of the container's cgroup
  std::vector<std::pair<std::size_t, Fd>> groups;
  // cgroups below those of `groups`, still to be made
  struct Inner {
    const op::CreateCgroup* op = nullptr;
    bool v2 = false;
    bool cpuset = false;
    std::string path = {};  // of the one above
    std::vector<std::string> controllers = {};
  };
  std::vector<Inner> inner;
  std::vector<op::Slot> slots;  // of `passed`
  // trees that the child copies itself, and where they are
  std::vector<std::pair<op::Slot, std::string>> by_path;
  // mounts by path that the host opened instead: op, register
  std::vector<std::pair<std::size_t, op::Slot>> ahead;
  // where, and the name: made below the cgroup of a container that is there already
  std::vector<std::pair<Fd, std::string>> below;
  bool has_dev = false;  // /dev is there already, in its register
  bool profile = false;  // of AppArmor, the container's own
  Fd pin;
  HostEnds host_ends;
  std::shared_ptr<Helper> companion;  // ends with the container
  Fd stdin_write, stdout_read, stderr_read;
  bool capture_out = false, capture_err = false;
};

class LaunchEngine {
 public:
  LaunchEngine(std::shared_ptr<RuntimeCore> runtime, std::shared_ptr<Zygote> zygote,
               std::shared_ptr<const Plan> plan, LaunchOptions options);
  LaunchEngine(const LaunchEngine&) = delete;
  LaunchEngine& operator=(const LaunchEngine&) = delete;
  ~LaunchEngine();

  [[nodiscard]] Result<std::optional<Container>> step();
  [[nodiscard]] Interest interest() const { return interest_; }
  [[nodiscard]] int timeout() const;
  void cancel();
  void resume();
  [[nodiscard]] protocol::State state() const { return state_; }
  [[nodiscard]] bool stopped() const { return stop_host_ || state_ == State::stopped; }
  [[nodiscard]] Pid pid() const;

  /// Keeps a descriptor that ops name by its number.
  void hold(Fd fd) { held_ = std::move(fd); }
  /// Of one whose plan ends with op::Park: what comes after that, as soon as it is parked. `plan`
  /// is the engine's own with more ops behind it. From now on the deadline is that of `options`.
  void take(std::shared_ptr<const Plan> plan, LaunchOptions options);
  /// Waits to be taken.
  [[nodiscard]] bool parked() const {
    // The zygote's word of its clone has come, and nothing more will but that of its end.
    return parks_ && state_ == State::stopped && !taking_ && pidfd_.valid();
  }
  /// Whether the process of a parked one has not ended: the zygote's word of that comes later.
  [[nodiscard]] bool lives() const;
  /// Readable when a parked one has ended, once this has seen its clone; the zygote's pidfd, too,
  /// tells of ends.
  [[nodiscard]] int end_fd() const noexcept { return exit_.get(); }
  /// The descriptors that its process sent up.
  [[nodiscard]] static std::vector<Fd> take_sent(Container& made);
  /// For tests, of a container that may be launched again: its next lives stop before that op of
  /// their plan, which is another than that of the first.
  static void stop_next_before(Container& box, std::size_t op);
  /// The next life on its way, or null.
  [[nodiscard]] static LaunchEngine* next_of(Container& box);
  /// Looks for the end of a parked one: step() fails then.
  void look_for_end();

  /// Before prepare(): what this life keeps for the next, and the name of the one before (or
  /// empty).
  void keep(std::shared_ptr<Kept> kept, std::string unique_name) {
    kept_ = std::move(kept);
    unique_name_ = std::move(unique_name);
  }
  /// Everything before the clone. Called once by Runtime::start. `within`: the cgroup's name of the
  /// container that it is attached to, below the Runtime's; empty for one of its own.
  [[nodiscard]] Result<void> prepare(std::string_view within = {});

 private:
  using State = protocol::State;
  using Event = protocol::Event;

  [[nodiscard]] const Plan& plan() const noexcept { return *plan_; }
  bool pump_take();
  [[nodiscard]] Result<void> go_on();
  void start_clock();
  void feed(Event event);
  void feed_error(Event event, Error error);
  bool pump();  // one thing that can be done now; false when there is nothing
  bool pump_send();
  [[nodiscard]] int send_request();
  bool pump_early_map();
  bool pump_sync();
  bool pump_exit();
  bool look_again();
  bool pump_host_ops();
  bool stop_here();
  void on_closed();
  void on_record(const program::Record& record, Fd pidfd);
  [[nodiscard]] std::chrono::milliseconds longest_look() const;
  /// Of a pool and on its way; nobody waits for it, and it has a deadline.
  [[nodiscard]] bool is_on_its_own() const {
    return parks_ && !taking_ && state_ != State::ending && state_ != State::failed &&
           until_ != Clock::time_point::max();
  }
  void begin_host_ops();
  [[nodiscard]] Result<bool> run_host_op(std::size_t index);  // false: wait for a helper
  [[nodiscard]] Result<void> prepare_clone();
  [[nodiscard]] Result<bool> open_trees_ahead();
  [[nodiscard]] bool may_make_nodes() const;
  void encode_child_ops(Encoder& encoder, std::size_t first) const;
  [[nodiscard]] std::string home_in(std::size_t hierarchy) const;
  [[nodiscard]] const Op& as_encoded(std::size_t index, Op& replaced) const;
  bool answer(program::SyncKind kind, std::span<const int> fds = {}, bool may_wait = false);
  void answer_configure();
  [[nodiscard]] int release_hold();
  void finish();
  void kill_child();
  void end_child();
  void find_pidfd();
  void leave_child();
  void undo();
  void release_places();
  [[nodiscard]] Error child_error(const program::ResultPage& page);
  [[nodiscard]] Error vanished_error() const;
  [[nodiscard]] std::size_t current_op() const;
  [[nodiscard]] Timeline make_timeline(std::chrono::nanoseconds done) const;

  [[nodiscard]] Result<void> do_op(const op::CreateCgroup& o);
  [[nodiscard]] Result<void> make_way(const op::CreateCgroup& o, const CgroupHierarchy& h,
                                      int runtime_dir, std::vector<std::string>& offered);
  [[nodiscard]] Result<void> make_inner_cgroups();
  [[nodiscard]] Result<void> be_home(const op::CreateCgroup& o, bool v2, int home,
                                     const std::string& path);
  [[nodiscard]] Result<void> do_op(const op::WriteCgroup& o);
  [[nodiscard]] Result<void> do_op(const op::FilterDevices& o);
  [[nodiscard]] Result<void> do_op(const op::OpenCgroup& o);
  [[nodiscard]] Result<void> do_op(const op::EnterProcess& o);
  [[nodiscard]] Result<void> do_op(const op::OpenDescriptor& o);
  [[nodiscard]] Result<void> do_op(const op::PinRootfs& o);
  [[nodiscard]] Result<bool> do_op(const op::LoadProfile& o);  // profiles.cpp
  [[nodiscard]] Result<bool> do_op(const op::WriteIdMap& o);
  [[nodiscard]] Result<bool> do_op(const op::IdmapTree& o);
  [[nodiscard]] Result<bool> do_op(const op::MountImage& o);  // images.cpp
  [[nodiscard]] Result<bool> do_op(const op::OverlayTrees& o);
  [[nodiscard]] std::string own_profile() const;
  [[nodiscard]] Result<bool> do_op(const op::CreateInterface& wanted);
  [[nodiscard]] Result<bool> lend(const op::CreateInterface& o, FdView socket, FdView netns);
  [[nodiscard]] Result<bool> make_tap(const op::CreateInterface& o, FdView netns);
  void ask_for_patience();
  [[nodiscard]] Result<bool> reach(program::RequestKind kind, const void* what, std::size_t size,
                                   std::span<const int> fds, const std::string& subject);
  /// Those of which the child is to set what only the host finds or draws.
  [[nodiscard]] Result<void> complete_interfaces();
  [[nodiscard]] Result<bool> do_op(const op::LeaseAddress& o);  // nat_bridges.cpp
  [[nodiscard]] Result<void> do_op(const op::PublishPorts& o);  // nat_bridges.cpp
  [[nodiscard]] Result<bool> do_op(const op::AskUserNic& o);    // user_nic.cpp
  [[nodiscard]] Result<bool> do_op(const op::StartPasta& o);    // pasta.cpp
  // hooks.cpp
  [[nodiscard]] Result<bool> do_op(const op::RunHook& o);
  [[nodiscard]] Result<void> do_op(const op::OpenHookOutput& o);
  [[nodiscard]] Result<bool> do_op(const op::KeepNamespaces& o);
  [[nodiscard]] HookScene hook_scene() const;
  [[nodiscard]] Result<void> look_for_hooks() const;
  [[nodiscard]] Result<bool> run_hook(const op::RunHook& o);
  [[nodiscard]] Result<bool> run_started_hooks();
  [[nodiscard]] bool run_end_hooks();
  [[nodiscard]] bool owes_down() const;
  [[nodiscard]] Result<void> keep_namespaces(Flags<Namespace> wanted);
  void drop_hook();
  void report_inside();
  [[nodiscard]] HookReport inside_report(const op::RunHookInside& run) const;
  [[nodiscard]] Error inside_error(const program::ResultPage& page, const op::RunHookInside& run);
  /// Whether the zygote has told which process the child is. If not, and the launch has not ended
  /// meanwhile, it is to be asked again.
  [[nodiscard]] Result<bool> know_child(Step step);
  [[nodiscard]] Result<void> open_stdio(const op::OpenDescriptor& o);
  [[nodiscard]] Result<int> user_namespace();
  /// How the program that helper_ is has ended; nothing before. Then it is forgotten.
  /// @errors Step::run_helper when it could not be executed.
  [[nodiscard]] Result<std::optional<Helper::Outcome>> program_end(const std::string& program);
  [[nodiscard]] Result<int> group_dir(std::size_t hierarchy);
  /// Where a cgroup is, as this process sees it.
  [[nodiscard]] std::string group_path(const op::CreateCgroup& o, const CgroupHierarchy& h) const;
  struct TreeWanted {
    bool recursive = false;
    bool slave = false;
    bool idmapped = false;
    bool as_it_is = false;    ///< Propagation is set later, by somebody else.
    bool optional = false;    ///< Something that is no mount, when it cannot be had.
    std::string map_of = {};  ///< idmapped: a user namespace's file; empty: the child's.
  };
  [[nodiscard]] Result<Fd> tree_for_child(const std::string& path, HostFd fd, TreeWanted wanted);
  /// None: somebody else sets the same image up now, and it is to be tried again.
  [[nodiscard]] Result<std::optional<Fd>> image_for_child(const RootImage& image, bool read_only,
                                                          bool idmapped);  // images.cpp
  [[nodiscard]] Result<Fd> make_tree(const std::string& path, HostFd fd, TreeWanted wanted);
  void give(op::Slot slot, int fd);
  void give(op::Slot slot, Fd fd);

  std::shared_ptr<RuntimeCore> runtime_;
  std::shared_ptr<Zygote> zygote_;
  ConsoleLog console_log_;
  std::shared_ptr<const Plan> plan_;
  std::size_t part_ = 0;  ///< Where the part of the plan begins that is being carried out.
  bool parks_ = false;    ///< The child waits to be taken, or will.
  struct Taking {
    std::shared_ptr<const Plan> plan;
    LaunchOptions options;
  };
  Fd held_;
  std::optional<Taking> taking_;  ///< As soon as it is parked.
  LaunchOptions options_;
  Clock::time_point began_;
  Clock::time_point until_;
  State state_ = State::planned;
  Interest interest_{};
  std::optional<Error> error_;
  bool vanished_ = false;
  bool cancel_asked_ = false;
  bool timed_out_ = false;
  Clock::time_point looked_;     ///< When step() was called last.
  Clock::time_point look_at_{};  // when an end that no socket tells is looked for
  Clock::time_point give_up_at_ = Clock::time_point::max();  // who was killed has until then

  std::uint32_t live_ = 0, page_ = 0;
  bool has_live_ = false, has_page_ = false;
  std::string unique_name_;
  std::string group_name_;  ///< Its cgroups, below the Runtime's.
  std::string group_home_;  ///< Where its processes are.
  Made made_;
  Program program_;
  std::size_t program_sent_ = 0;
  std::optional<DevOps> dev_ops_;  // what of the child's ops the host may do ahead
  Fd sync_, sync_child_, exit_, exit_zygote_;
  program::Request request_{};
  std::vector<int> request_fds_;
  bool request_sent_ = false;
  bool by_helper_ = false;  // one that waited was asked
  bool sync_closed_ = false;
  std::size_t heard_ = 0;   // messages of the child
  bool stop_host_ = false;  // a host op is where stop_before points

  Pid pid_{};
  Fd pidfd_;
  std::optional<program::Record> exit_record_;

  std::size_t host_next_ = 0, host_end_ = 0;  // the host's ops of the barrier being worked on
  std::size_t last_op_ = 0;
  // the op that writes the id map: to be done early, done early
  std::optional<std::size_t> early_map_, written_map_;
  bool answered_configure_ = false;
  std::vector<Fd> trees_;  // to be sent with post_configure
  Fd userns_;
  std::unique_ptr<Helper> helper_;
  std::size_t helper_stage_ = 0;
  std::string helper_said_;
  std::optional<Clock::time_point> going_until_;   // the last container's interface is waited for
  std::optional<Clock::time_point> bridge_until_;  // and whoever makes or removes a bridge
  std::optional<Clock::time_point> image_until_;   // and whoever sets up an image
  std::optional<Clock::time_point> image_ends_until_;  // and a reader of it whose end is not over
  std::optional<Reaching> reaching_;  // what the zygote was asked to do in the child's network
  std::optional<LentOut> lending_;
  std::vector<std::pair<std::size_t, op::ConfigureInterface>> completed_;
  std::vector<Fd> ptys_;
  Fd listener_;  // of a filter that asks
  std::vector<std::pair<std::size_t, std::chrono::nanoseconds>> host_stamps_;
  std::vector<Error> late_errors_;
  std::vector<LeftOut> left_out_;  // optional limits that are not in force
  std::shared_ptr<Kept> kept_;
  std::optional<Container> done_;

  std::unique_ptr<HookRun> hook_;
  std::unique_ptr<EndHooks> end_hooks_;
  Fd hook_output_;  ///< Of those in the container.
  std::size_t failed_hook_ = 0;
  std::size_t next_started_ = 0;
  std::vector<std::string> ups_;  ///< Interfaces whose hooks at `up` were run.
  std::vector<std::pair<Namespace, Fd>> namespaces_;
  bool hooks_owed_ = false;  ///< One at pre_start was run.
  bool had_child_ = false;
  bool end_begun_ = false;
};

}  // namespace condroid::inline v0::detail
