// What holds for a launch whatever its child and its zygote say, in whatever order: frames on the
// sync socket, records on the exit socket, what is written into the page that both map. It ends
// when they do, with an error that a terminal may show or with a container; it holds no more
// descriptors than its plan has; it gives each of its places back once, and leaves no descriptor.
// The host's own engine runs here; the Zygote is one that is made up, and all it does is what the
// bytes say. Used by the fuzz target and, with its seeds, by a test.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/container.hpp"
#include "facts.hpp"
#include "launch/engine.hpp"
#include "sys/wire.hpp"

namespace launch_property {

namespace detail = condroid::detail;
namespace program = condroid::program;
using condroid::Fd;

/// The other end of what the host asked for.
struct Asked {
  Fd exit, sync;
  std::uint32_t live = 0, page = 0;
};

struct Peer {
  bool alive = true;
  bool busy = false;  ///< Its socket is full.
  std::vector<Asked> asked;
  std::set<std::uint32_t> lives, pages;  ///< Given, and not back.
  std::uint32_t next = 0;
  std::string broken;

  void give_back(std::set<std::uint32_t>& places, std::uint32_t place) {
    if (places.erase(place) == 0) broken = "a place is given back that nobody has";
  }
};
inline Peer* peer = nullptr;

}  // namespace launch_property

// ---- the Zygote, made up ------------------------------------------------------------------------

namespace condroid::inline v0::detail {

TickClock::TickClock() : time_(0) {}
std::chrono::nanoseconds TickClock::at(std::uint64_t ticks) const {
  return time_ + std::chrono::nanoseconds(static_cast<std::int64_t>((ticks - ticks_) >> 3U));
}

Result<std::shared_ptr<Zygote>> Zygote::start(const std::string& /*state_dir*/,
                                              bool /*remove_state_dir*/,
                                              const std::function<void()>& meanwhile) {
  meanwhile();
  static char* const arena = static_cast<char*>(::mmap(
      nullptr, program::arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::shared_ptr<Zygote> z(new Zygote);
  z->owner_ = ::getpid();
  z->arena_ = arena;
  // Readable, as that of one that has ended: nobody is to wait for it.
  z->pidfd_ = Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return z;
}
Zygote::~Zygote() = default;
bool Zygote::alive() const { return launch_property::peer->alive; }
void Zygote::bury() {}
program::ResultPage& Zygote::page(std::uint32_t i) const noexcept {
  return *reinterpret_cast<program::ResultPage*>(arena_ + program::arena_pages +
                                                 std::size_t{i} * 4096);
}
program::LiveEntry& Zygote::live(std::uint32_t i) const noexcept {
  return reinterpret_cast<program::LiveEntry*>(arena_ + program::arena_live)[i];
}
int Zygote::take_places(std::uint32_t& live, std::uint32_t& page) {
  auto& p = *launch_property::peer;
  live = page = p.next++ % 64;
  p.lives.insert(live);
  p.pages.insert(page);
  return 0;
}
void Zygote::give_back_page(std::uint32_t page) {
  launch_property::peer->give_back(launch_property::peer->pages, page);
}
void Zygote::give_back_live(std::uint32_t live) {
  launch_property::peer->give_back(launch_property::peer->lives, live);
}
void Zygote::keep_until_end(Fd /*exit*/, std::optional<std::uint32_t> live,
                            std::optional<std::uint32_t> page, bool /*lives_on*/) {
  if (live) give_back_live(*live);
  if (page) give_back_page(*page);
}
int Zygote::request(const program::Request& request, std::span<const int> fds) const {
  auto& p = *launch_property::peer;
  if (!p.alive) return EPIPE;
  if (p.busy) return EAGAIN;
  if (request.kind != program::RequestKind::clone) return 0;
  const std::size_t cgroup = (request.flags & program::request_into_cgroup) != 0 ? 1 : 0;
  const std::size_t sync = 1 + cgroup + request.joins;
  if (fds.size() <= sync) return p.broken = "a request without its sockets", EPIPE;
  p.asked.push_back({Fd(::fcntl(fds[0], F_DUPFD_CLOEXEC, 3)),
                     Fd(::fcntl(fds[sync], F_DUPFD_CLOEXEC, 3)), request.live, request.page});
  return 0;
}
int Zygote::request_surely(const program::Request& request, std::span<const int> fds) const {
  return this->request(request, fds);
}
int Zygote::request_by_helper(program::Request /*request*/, std::span<const int> /*fds*/) {
  return ENOENT;
}
void Zygote::offer_helper() {}
Result<void> RuntimeCore::check_owner() const { return {}; }
Result<std::shared_ptr<Zygote>> RuntimeCore::get_zygote() { return zygote; }
Result<const HostFacts*> RuntimeCore::get_facts() {
  return fail(ENOSYS, Step::open_runtime, "no facts here");
}

}  // namespace condroid::inline v0::detail

namespace launch_property {

// ---- what is launched ---------------------------------------------------------------------------

/// Whose host's ops touch nothing but descriptors of this process.
inline const std::vector<std::shared_ptr<const condroid::Plan>>& plans() {
  static const auto list = [] {
    using namespace condroid;
    std::vector<std::shared_ptr<const Plan>> all;
    const auto add = [&](const Spec& spec, HostFacts facts) {
      facts.cgroups.clear();
      if (auto plan = compile(spec, facts))
        all.push_back(std::make_shared<const Plan>(std::move(*plan)));
    };
    HostFacts root = test::root_on_v2();
    Spec spec;
    spec.name = "heard";
    spec.process.argv = {"/bin/true"};
    spec.process.stdio = Stdio::null;
    add(spec, root);
    spec.process.stdio = {Stream(Stream::pipe), Stream(Stream::capture), Stream(Stream::capture)};
    spec.process.init = true;
    spec.terminal.console = true;
    spec.terminal.ttys = 2;
    add(spec, root);
    // Helpers of the zygote that write its id maps.
    add(spec, test::user_with_subids());
    return all;
  }();
  return list;
}

// ---- what is said -------------------------------------------------------------------------------

class Script {
 public:
  explicit Script(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] bool over() const { return at_ >= bytes_.size(); }
  unsigned byte() { return over() ? 0U : static_cast<unsigned char>(bytes_[at_++]); }
  std::string_view some(std::size_t n) {
    const std::string_view out = bytes_.substr(std::min(at_, bytes_.size()), n);
    at_ += out.size();
    return out;
  }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

inline int descriptors() {
  int n = 0;
  DIR* d = ::opendir("/proc/self/fd");
  if (d == nullptr) return 0;
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n;
}

/// One that is always readable, so that nobody waits for it, and no pidfd, so that nobody is
/// killed by it.
inline int null_fd() {
  static const Fd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return fd.get();
}

inline void send(const Fd& socket, const void* data, std::size_t size, unsigned fds) {
  const std::vector<int> list(fds, null_fd());
  if (socket.valid()) (void)detail::send_message(socket.get(), data, size, list);
}

class Room {
 public:
  explicit Room(std::string_view bytes) : script_(bytes) { peer = &peer_; }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;
  ~Room() {
    end_all();
    box_.reset();
    engine_.reset();
    runtime_.reset();
    peer = nullptr;
  }

  /// Empty when it holds, otherwise what does not.
  std::string play();

 private:
  using State = condroid::protocol::State;

  void say();
  void step();
  void end_all() {
    peer_.alive = false;
    peer_.busy = false;
    peer_.asked.clear();
  }
  [[nodiscard]] program::ResultPage& page_of(const Asked& a) const {
    return runtime_->zygote->page(a.page);
  }

  Script script_;
  Peer peer_;
  std::shared_ptr<detail::RuntimeCore> runtime_ = std::make_shared<detail::RuntimeCore>();
  std::unique_ptr<detail::LaunchEngine> engine_;
  std::optional<condroid::Container> box_;
  std::optional<condroid::Error> error_;
  std::size_t whom_ = 0;
  int before_ = 0;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

inline void Room::say() {
  const unsigned what = script_.byte() % 16;
  Asked& to = peer_.asked[whom_ % peer_.asked.size()];
  program::ResultPage& page = page_of(to);
  switch (what) {
    case 0:
    case 1: {  // a frame
      const program::SyncMessage m{static_cast<program::SyncKind>(script_.byte()), script_.byte()};
      send(to.sync, &m, sizeof m, script_.byte() % (program::max_ptys + 4));
      return;
    }
    case 2: {  // the same, again and again
      const program::SyncMessage m{static_cast<program::SyncKind>(script_.byte()), 0};
      const unsigned fds = script_.byte() % 4;
      for (int i = 0; i < 100; ++i) send(to.sync, &m, sizeof m, fds);
      return;
    }
    case 3: {  // something else
      const std::string_view bytes = script_.some(script_.byte() % 64);
      send(to.sync, bytes.data(), bytes.size(), script_.byte() % 3);
      return;
    }
    case 4:
      to.sync.reset();
      return;
    case 5:
    case 6: {  // a record
      program::Record r{};
      r.magic = program::magic;
      r.kind = static_cast<program::RecordKind>(script_.byte());
      r.pid = INT_MAX;  // nobody's
      r.error = static_cast<int>(script_.byte());
      r.code = static_cast<int>(script_.byte() % 8);
      r.status = static_cast<int>(script_.byte()) - 3;
      r.figures.known = script_.byte();
      r.ended = script_.byte();
      send(to.exit, &r, sizeof r, script_.byte() % 3);
      return;
    }
    case 7: {
      const std::string_view bytes = script_.some(script_.byte());
      send(to.exit, bytes.data(), bytes.size(), script_.byte() % 3);
      return;
    }
    case 8:
      to.exit.reset();
      return;
    case 9: {  // what the child leaves
      page.state = static_cast<program::ChildState>(script_.byte());
      const unsigned op = script_.byte();
      page.op = op == 255 ? program::no_op : op;
      page.error = static_cast<int>(script_.byte()) - 1;
      page.part = static_cast<program::Part>(script_.byte());
      page.detail = static_cast<std::uint16_t>(script_.byte() * 257);
      return;
    }
    case 10: {  // what it says that the kernel said
      const unsigned size = script_.byte();
      page.text_size = size > 240 ? 0U - size : size;
      const std::string_view bytes = script_.some(std::min<std::size_t>(size, sizeof page.text));
      std::memcpy(page.text, bytes.data(), bytes.size());
      return;
    }
    case 11: {  // when it says that it was where
      const unsigned n = script_.byte();
      page.stamps = n == 255 ? ~0U : n;
      for (std::size_t i = 0; i < 3; ++i)
        page.ticks[i] = {script_.byte(), 0, script_.byte() * 0x0101010101010101U};
      return;
    }
    case 12:
      runtime_->zygote->live(to.live).pid = script_.byte() % 2 == 0 ? INT_MAX : -1;
      return;
    case 13:
      whom_ = script_.byte();
      return;
    case 14:
      peer_.busy = !peer_.busy;
      return;
    default:
      switch (script_.byte() % 4) {
        case 0:
          peer_.alive = false;
          return;
        case 1:
          if (engine_) engine_->cancel();
          return;
        case 2:
          if (engine_) engine_->resume();
          return;
        default:
          return;
      }
  }
}

/// One step of what there is: the launch, or its container.
inline void Room::step() {
  if (box_) {
    if (auto done = box_->step(); !done) error_ = std::move(done).error();
    return;
  }
  if (error_) return;
  auto done = engine_->step();
  if (!done)
    error_ = std::move(done).error();
  else if (*done)
    box_ = std::move(**done);
}

inline std::string Room::play() {
  const auto& all = plans();
  if (all.size() != 3) return "a plan that cannot be made";
  const auto& plan = all[script_.byte() % all.size()];
  (void)null_fd();
  before_ = descriptors();
  {
    runtime_->owner = ::getpid();
    runtime_->zygote = *detail::Zygote::start({}, false, [] {});
    engine_ = std::make_unique<detail::LaunchEngine>(
        runtime_, runtime_->zygote, plan,
        condroid::LaunchOptions{.deadline = {}, .trace = script_.byte() % 2 == 1});
    if (auto ok = engine_->prepare(); !ok) return "it cannot be begun: " + to_string(ok.error());
    step();
    if (peer_.asked.empty())
      return "nothing was asked" + (error_ ? ": " + to_string(*error_) : std::string());
    // Those of the launch, of its peer, and what its plan lets the child hand over.
    const int most = before_ + 40 + 2 * static_cast<int>(program::max_ptys + 4);
    for (int n = 0; n < 200 && !script_.over(); ++n) {
      say();
      step();
      if (!peer_.broken.empty()) return peer_.broken;
      if (n % 4 == 3 && descriptors() > most) return "more descriptors than its plan has";
    }
    const bool open = !error_ && !box_;
    end_all();
    for (int i = 0; i < 100 && !error_ && !box_; ++i) step();
    if (!error_ && !box_) return "it does not end";
    if (open && box_ && peer_.lives.empty()) return "a container without a place";
    if (box_) {
      auto end = box_->wait_for(std::chrono::milliseconds(200));
      if (!end || !*end) return "its container does not end";
    }
    if (error_ && !box_) {
      const std::string text = to_string(*error_);
      if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < ' '; }))
        return "an error that no terminal should show: " + text;
      if (error_->subject.empty()) return "an error about nothing: " + text;
    }
    box_.reset();
    engine_.reset();
    runtime_.reset();
  }
  if (!peer_.broken.empty()) return peer_.broken;
  // A helper leaves its own to a zygote that is lost, and so does a launch whose end took seconds.
  const bool in_time = std::chrono::steady_clock::now() - began_ < std::chrono::seconds(5);
  if (!peer_.pages.empty() && plan != all.back() && in_time) return "a page that is not given back";
  if (const int left = descriptors(); left != before_) {
    return "descriptors are left: " + std::to_string(left - before_);
  }
  return {};
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view bytes) { return Room(bytes).play(); }

}  // namespace launch_property
