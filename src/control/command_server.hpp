// The server behind a CommandSocket: connections, frames and bounds. What it serves is behind an
// interface, and any connected socket can be a client, so that it can be tried without a container.
// Private.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/control/commands.hpp"
#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/sys/pty.hpp"
#include "condroid/units.hpp"
#include "control/wire.hpp"

namespace condroid::inline v0::control {

/// One cgroup of what is served.
struct ServedCgroup {
  bool v2 = false;
  std::vector<std::string> controllers = {};
  std::string path = {};  ///< From its hierarchy's mount point: "/lxc.payload.web".
  Fd dir = {};
  /// Below it, where the processes are; empty: in it.
  std::string inner = {};
  Fd inner_dir = {};
  [[nodiscard]] const Fd& home() const { return inner.empty() ? dir : inner_dir; }
};

/// What is served: a container and what its owner knows of it. None of it may wait. Without a
/// container all is as here: nothing is there.
class Served {
 public:
  Served() = default;
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  virtual ~Served() = default;

  [[nodiscard]] virtual Pid pid() { return Pid{}; }
  [[nodiscard]] virtual FdView pidfd() { return {}; }
  /// CLONE_NEW*, of the namespaces that it does not share with this program.
  /// Nothing: they cannot be told.
  [[nodiscard]] virtual std::optional<std::uint64_t> namespaces() { return 0; }
  /// 0 or an errno, as below.
  [[nodiscard]] virtual int stop() { return ESRCH; }
  [[nodiscard]] virtual int freeze(bool /*on*/) { return ESRCH; }
  [[nodiscard]] virtual std::optional<bool> frozen() { return {}; }
  [[nodiscard]] virtual std::vector<ServedCgroup> cgroups() { return {}; }
  [[nodiscard]] virtual CgroupLayout layout() { return CgroupLayout::unknown; }
  [[nodiscard]] virtual Fd devpts() { return {}; }
  [[nodiscard]] virtual std::size_t ttys() { return 0; }
  [[nodiscard]] virtual FdView tty(std::size_t /*number*/) { return {}; }
  /// The console's master; invalid without one.
  [[nodiscard]] virtual FdView console() { return {}; }
  [[nodiscard]] virtual std::string_view console_since(std::uint64_t& /*position*/) { return {}; }
  [[nodiscard]] virtual FdView seccomp_listener() { return {}; }

  [[nodiscard]] virtual std::optional<std::string> config_item(std::string_view /*key*/) {
    return {};
  }
  [[nodiscard]] virtual std::optional<std::string> systemd_scope() { return {}; }
  [[nodiscard]] virtual int apply(const DeviceRule& /*rule*/) { return EPERM; }
  [[nodiscard]] virtual int add_seccomp_listener(Fd /*listener*/) { return EINVAL; }
  /// What became of its state, also by who froze it from outside. Called between two commands: it,
  /// and whatever else is the owner's, may ask for the end.
  virtual void on_state(State /*state*/) {}
};

class CommandServer {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    std::size_t clients = 512;           ///< An eighth is for those who ask. Four at least.
    std::size_t strangers = 16;          ///< Who may not ask anything, and is told so.
    std::chrono::milliseconds patience;  ///< For a whole request, and for the taking of an answer.
  };

  CommandServer(Served& served, std::string lxcpath, std::string name, Limits limits);
  CommandServer(const CommandServer&) = delete;
  CommandServer& operator=(const CommandServer&) = delete;
  ~CommandServer();

  /// epoll and what it needs.
  [[nodiscard]] Result<void> begin();
  /// The abstract socket.
  [[nodiscard]] Result<void> listen();
  /// A client that is connected already.
  /// `refused` is what everything that it asks is answered with; an errno.
  void add(Fd client, int refused = 0);
  [[nodiscard]] FdView poll_fd() const noexcept { return epoll_; }
  /// What can be done now; never waits.
  void step();

  [[nodiscard]] State state() const noexcept { return state_; }
  /// Tells who waits for it; State::stopped in the middle of its lives only: who waits for the end
  /// is told by end().
  void set_state(State state);
  /// Nobody is served any more, and all are told the end by an end of file.
  void end();
  /// Nobody is served any more, and nothing is said of its state.
  void leave();
  [[nodiscard]] bool over() const noexcept { return over_; }
  [[nodiscard]] std::size_t clients() const noexcept { return connections_.size(); }
  [[nodiscard]] std::size_t waiting() const noexcept;

 private:
  struct Connection {
    enum Phase : std::uint8_t {
      request,
      data,           ///< What follows the request.
      listener,       ///< One byte with a descriptor.
      answering,      ///< Not all of it was taken yet.
      waits_state,    ///< Kept until a state comes.
      waits_end,      ///< Kept until all is over.
      holds_tty,      ///< Kept as long as it has a terminal.
      waits_freezer,  ///< Until it stands still, or goes on.
    };
    Fd fd;
    bool stranger = false;
    int refused = 0;
    Phase phase = request;
    std::string in = {};
    wire::Request asked{};
    std::string out = {};
    std::array<std::int32_t, state_count> wanted{};
    bool freezes = false;
    std::optional<Clock::time_point> until = {};
  };
  using Id = std::uint64_t;
  /// For a client of the console, a terminal of the host's: it must not have the container's own,
  /// whose output is gathered here.
  struct Proxy {
    Id client = 0;
    Pty pty;
    Fd terminal;
    std::uint64_t position = 0;
    std::string to_container = {};
    std::string to_client = {};
    WindowSize size = {};
    std::uint32_t events = 0;  ///< That are waited for of it.
  };

  /// While commands are served and states are told: what would end the server waits for that.
  class Busy {
   public:
    explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    ~Busy() { flag_ = false; }

   private:
    bool& flag_;
  };
  enum class Close : std::uint8_t { no, leave, end };

  void tell();
  void end_if_wanted();
  [[nodiscard]] bool may_keep(bool stops = false) const;
  [[nodiscard]] bool watch(int fd, std::uint32_t events, Id id, bool added) const;
  void accept();
  void close(Id id);
  void close_all();
  [[nodiscard]] bool make_room(bool stranger);
  void on_event(Id id, std::uint32_t events);
  void receive(Id id);
  void handle(Id id);
  void receive_listener(Id id);
  void answer(Id id, wire::Answer a, std::string_view data = {}, FdView fd = {});
  void answer(Id id, wire::Answer a, std::string_view data, const std::vector<int>& fds);
  void flush(Id id);
  void keep(Id id, Connection::Phase phase);
  void answer_text(Id id, std::string_view text);
  void answer_cgroup(Id id);
  void answer_cgroup_fd(Id id);
  void answer_cgroup2_fd(Id id);
  void answer_contexts(Id id);
  void answer_console_log(Id id);
  void answer_tty(Id id);
  void answer_freezer(Id id);
  void add_state_client(Id id);
  void change_state(State state);
  void apply_rule(Id id);
  [[nodiscard]] bool begin_proxy(Id id);
  void pump();
  void look_at_freezer();
  void settle_freezers();
  int serve_events();
  void do_what_is_due();
  void set_timer();

  Served& served_;
  std::string lxcpath_, name_;
  Limits limits_;
  pid_t owner_;
  Fd epoll_, timer_, socket_;
  std::optional<Clock::time_point> paused_until_ = {};
  std::optional<Clock::time_point> armed_ = {};
  State state_ = State::starting;
  bool thawing_ = false;  ///< Told to be thawed, and not yet seen to run.
  Clock::time_point thaws_until_ = {};
  std::deque<State> news_;  ///< Not yet told to the owner.
  bool busy_ = false;
  Close close_ = Close::no;  ///< Wanted while it was busy.
  bool over_ = false;
  Id last_id_;
  std::map<Id, Connection> connections_;  ///< Oldest first.
  std::map<std::size_t, Id> ttys_;
  std::optional<Proxy> proxy_;
  std::uint64_t log_position_ = 0;  ///< Of the console, as far as console_log has read it.
  bool console_waits_ = false;      ///< The container takes no input now.
  bool freezers_ = false;           ///< Somebody waits for the freezer.
  std::chrono::milliseconds freezer_pause_{0};  ///< Until it is asked again.
  Clock::time_point settles_until_ = {};        ///< Asked without anybody who waits.
};

}  // namespace condroid::inline v0::control
