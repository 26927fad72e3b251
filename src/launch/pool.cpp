#include "condroid/pool.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <iterator>
#include <utility>
#include <vector>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {
namespace detail {

namespace {

constexpr std::size_t largest_pool = 4096;

/// A container on its way to be parked, or parked, and what the loop waits for on its behalf.
struct PoolPlace {
  std::unique_ptr<LaunchEngine> engine;
  int watched = -1;
  bool parked = false;
};

}  // namespace

class PoolCore {
 public:
  PoolCore(std::shared_ptr<RuntimeCore> runtime, Spec spec, PoolOptions options)
      : runtime_(std::move(runtime)), spec_(std::move(spec)), options_(options) {}
  PoolCore(const PoolCore&) = delete;
  PoolCore& operator=(const PoolCore&) = delete;
  ~PoolCore() {
    if (runtime_->owner != ::getpid()) return;
    // All at once, then one after the other.
    for (PoolPlace& p : places_) {
      p.engine->cancel();
      (void)p.engine->step();
    }
  }

  Result<void> open() {
    auto facts = runtime_->get_facts();
    if (!facts) return fail(facts);
    facts_ = *facts;
    settled_ = spec_;
    if (auto ok = runtime_->filters.settle(settled_.security.seccomp); !ok) return ok;
    auto parked = compile_parked(settled_, *facts_);
    if (!parked) return fail(parked);
    parked_ = std::move(*parked);
    plan_ = std::make_shared<const Plan>(parked_.plan);
    epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.valid()) return fail(errno, Step::park, "epoll");
    return refill();
  }

  /// The next in line, told what to run; nothing of the pool any more.
  Result<std::unique_ptr<LaunchEngine>> take(const Take& what, LaunchOptions options) {
    if (auto ok = runtime_->check_owner(); !ok) return fail(ok);
    std::shared_ptr<const Plan> plan;
    if (ahead_ && last_ == what) {
      plan = std::move(ahead_);
    } else {
      auto compiled = compile_take(settled_, what, parked_, *facts_);
      if (!compiled) return fail(compiled);
      plan = std::make_shared<const Plan>(std::move(*compiled));
      last_ = what;
    }
    ahead_.reset();
    const std::size_t first = parked_.plan.ops.size();
    if (const auto at = options.stop_before; at && (*at < first || *at >= plan->ops.size()))
      return fail(Errc::bad_spec, Step::park,
                  formatted("stop_before {}: a take does the ops {} to {} of its plan", *at, first,
                            plan->ops.size() - 1));
    auto at = std::ranges::find_if(places_, may_be_taken);
    if (at == places_.end()) {
      // What has died is not given away, and one that is further than we knew is.
      look();
      at = std::ranges::find_if(places_, may_be_taken);
    }
    if (at == places_.end()) at = std::ranges::find_if(places_, is_on_its_way);
    if (at == places_.end()) {
      if (auto ok = start_one(); !ok) return fail(ok);
      at = std::prev(places_.end());
    }
    if (at->watched >= 0) given_.push_back(at->watched);
    std::unique_ptr<LaunchEngine> engine = std::move(at->engine);
    places_.erase(at);
    engine->take(std::move(plan), std::move(options));
    return engine;
  }

  Result<void> step() {
    if (auto ok = runtime_->check_owner(); !ok) return ok;
    unwatch_given();
    look();
    Result<void> done = refill();
    if (error_) {
      Error e = std::move(*error_);
      error_.reset();
      return fail(std::move(e));
    }
    return done;
  }

  [[nodiscard]] Result<Plan> plan_of(const Take& what) const {
    return compile_take(settled_, what, parked_, *facts_);
  }
  [[nodiscard]] const Spec& spec() const noexcept { return spec_; }
  [[nodiscard]] FdView poll_fd() const noexcept { return epoll_; }
  [[nodiscard]] int timeout() const {
    if (places_.size() < options_.size) return 0;
    int least = -1;
    for (const PoolPlace& p : places_) {
      if (p.parked) continue;
      constexpr int soon = 10;  // milliseconds; nothing else would tell
      const int t = p.watched < 0 ? soon : p.engine->timeout();
      if (t >= 0 && (least < 0 || t < least)) least = t;
    }
    return least;
  }
  [[nodiscard]] std::size_t size() const noexcept { return options_.size; }
  [[nodiscard]] std::size_t ready() const noexcept {
    return static_cast<std::size_t>(std::ranges::count(places_, true, &PoolPlace::parked));
  }

  /// After a take that nobody's loop follows. A launch that is begun at once shares the processors
  /// with the command's first moments, so there is none as long as half of them are left.
  Result<void> refill_in_time() {
    unwatch_given();
    if (2 * ready() > options_.size) return {};
    look();
    return refill();
  }

  /// Starts what is missing.
  Result<void> refill() {
    while (places_.size() < options_.size)
      if (auto ok = start_one(); !ok) return ok;
    get_ahead();
    return {};
  }

 private:
  static bool may_be_taken(PoolPlace& p) {
    if (p.parked) p.engine->look_for_end();
    return p.parked && p.engine->parked() && p.engine->lives();
  }

  /// Not one that failed, and is being ended.
  static bool is_on_its_way(const PoolPlace& p) {
    return !p.parked && p.engine->state() != protocol::State::ending &&
           p.engine->state() != protocol::State::failed;
  }

  /// What the next take needs if it is like the last one: the time for it is now, not then.
  void get_ahead() {
    if (!ahead_)
      if (auto plan = compile_take(settled_, last_, parked_, *facts_))
        ahead_ = std::make_shared<const Plan>(std::move(*plan));
  }

  Result<void> start_one() {
    auto zygote = runtime_->get_zygote();
    if (!zygote) return fail(zygote);
    PoolPlace p{.engine =
                    std::make_unique<LaunchEngine>(runtime_, std::move(*zygote), plan_,
                                                   LaunchOptions{.deadline = options_.deadline})};
    if (auto ok = p.engine->prepare(); !ok) return fail(ok);
    auto begun = p.engine->step();
    if (!begun) return fail(begun);
    places_.push_back(std::move(p));
    settle(places_.back());
    return {};
  }

  /// Moves those on that are on their way, and lets go of those that have ended.
  void look() {
    for (std::size_t i = 0; i < places_.size();) {
      PoolPlace& p = places_[i];
      bool gone = false;
      if (p.parked) {
        p.engine->look_for_end();
        gone = !p.engine->parked();
      }
      if (!p.parked || gone) {
        auto done = p.engine->step();
        gone = !done;
        if (!done && !p.parked) error_ = std::move(done).error();
      }
      if (gone) {
        unwatch(p);
        places_.erase(places_.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      settle(p);
      ++i;
    }
  }

  /// Watches what it waits for now.
  void settle(PoolPlace& p) {
    unwatch_given();  // before one of their numbers is another's
    p.parked = p.engine->parked();
    const Interest wanted =
        p.parked ? Interest{FdView(p.engine->end_fd()), POLLIN} : p.engine->interest();
    if (wanted.fd.get() != p.watched) unwatch(p);
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(wanted.events);  // POLL* and EPOLL* are the same bits
    event.data.fd = wanted.fd.get();
    // A number that is watched may be another file's by now, and an open file two launches'.
    const auto control = [&](int what) {
      return wanted.fd.valid() && ::epoll_ctl(epoll_.get(), what, wanted.fd.get(), &event) == 0;
    };
    const bool watched = (p.watched >= 0 && control(EPOLL_CTL_MOD)) || control(EPOLL_CTL_ADD);
    p.watched = watched ? wanted.fd.get() : -1;
    // The record of its clone is there before it is parked.
    if (p.parked) p.engine->look_for_end();
  }

  /// Not in take(), where somebody waits.
  void unwatch_given() {
    for (const int fd : given_) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    given_.clear();
  }

  void unwatch(PoolPlace& p) {
    if (p.watched >= 0) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, p.watched, nullptr);
    p.watched = -1;
  }

  std::shared_ptr<RuntimeCore> runtime_;
  Spec spec_;
  Spec settled_;  ///< With its filter compiled.
  PoolOptions options_;
  const HostFacts* facts_ = nullptr;  // of the Runtime
  ParkedPlan parked_;
  Take last_;                          // what was taken last; a Spec's own command at first
  std::shared_ptr<const Plan> ahead_;  // its plan, for when it is taken again
  std::shared_ptr<const Plan> plan_;
  Fd epoll_;
  std::deque<PoolPlace> places_;  // the oldest first
  std::vector<int> given_;        // watched until there is time
  std::optional<Error> error_;
};

}  // namespace detail

namespace {

tl::unexpected<Error> moved_away() { return fail(ESRCH, Step::park, "a pool that was moved from"); }

}  // namespace

Result<Pool> Pool::open(const Runtime& runtime, Spec spec, PoolOptions options) {
  if (options.size < 1 || options.size > detail::largest_pool)
    return fail(Errc::bad_spec, Step::park, formatted("a pool of {}", options.size),
                formatted("1 to {} containers", detail::largest_pool));
  auto core = std::make_unique<detail::PoolCore>(runtime.core_, std::move(spec), options);
  if (auto ok = core->open(); !ok) return fail(ok);
  return Pool(std::move(core));
}

Pool::Pool(std::unique_ptr<detail::PoolCore> core) : core_(std::move(core)) {}
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;
Pool::~Pool() = default;

Result<Launch> Pool::start_take(const Take& what, LaunchOptions options) {
  if (!core_) return moved_away();
  auto engine = core_->take(what, std::move(options));
  if (!engine) return fail(engine);
  return Launch(std::move(*engine));
}

Result<Plan> Pool::plan(const Take& what) const {
  if (!core_) return moved_away();
  return core_->plan_of(what);
}

Result<Container> Pool::take(const Take& what, LaunchOptions options) {
  auto launch = start_take(what, std::move(options));
  if (!launch) return fail(launch);
  for (;;) {
    auto done = launch->step();
    if (!done) return fail(done);
    if (*done) {
      // Who has no loop of his own has it refilled here; what goes wrong with that is told when it
      // is missing.
      (void)core_->refill_in_time();
      return std::move(**done);
    }
    const auto [fd, events] = launch->interest();
    if (const int e = detail::wait_for_fd(fd.get(), events, launch->timeout()); e < 0)
      return fail(-e, Step::wait, "poll");
  }
}

Result<void> Pool::step() {
  if (!core_) return moved_away();
  return core_->step();
}
FdView Pool::poll_fd() const noexcept { return core_ ? core_->poll_fd() : FdView{}; }
int Pool::timeout() const { return core_ ? core_->timeout() : -1; }
const Spec& Pool::spec() const noexcept {
  static const Spec none;
  return core_ ? core_->spec() : none;
}
std::size_t Pool::size() const noexcept { return core_ ? core_->size() : 0; }
std::size_t Pool::ready() const noexcept { return core_ ? core_->ready() : 0; }

Result<void> Pool::fill(std::size_t count) {
  if (!core_) return moved_away();
  const std::size_t enough = std::min(count, core_->size());
  for (;;) {
    if (auto ok = core_->step(); !ok) return ok;
    if (core_->ready() >= enough) return {};
    if (const int e = detail::wait_for_fd(core_->poll_fd().get(), POLLIN, core_->timeout()); e < 0)
      return fail(-e, Step::wait, "poll");
  }
}

}  // namespace v0
}  // namespace condroid
