#include "launch/hooks.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/helper.hpp"
#include "launch/interfaces.hpp"
#include "launch/kept.hpp"
#include "launch/zygote.hpp"
#include "plan/memory_file.hpp"
#include "program/format.hpp"
#include "spec/hook_text.hpp"
#include "spec/names.hpp"
#include "sys/namespace_files.hpp"

namespace condroid::inline v0::detail {

namespace {

std::optional<Namespace> namespace_of(HookValue v) {
  switch (v) {
    case HookValue::ns_user:
      return Namespace::user;
    case HookValue::ns_mount:
      return Namespace::mount;
    case HookValue::ns_pid:
      return Namespace::pid;
    case HookValue::ns_uts:
      return Namespace::uts;
    case HookValue::ns_ipc:
      return Namespace::ipc;
    case HookValue::ns_net:
      return Namespace::net;
    case HookValue::ns_cgroup:
      return Namespace::cgroup;
    case HookValue::ns_time:
      return Namespace::time;
    default:
      return std::nullopt;
  }
}

Error cannot(int error, const Hook& hook, std::string_view what) {
  return sys_error(error, Step::run_hook, formatted("{}: {}", hook_subject(hook), what));
}

std::string seconds(std::chrono::nanoseconds time) {
  return formatted("{:.3g} s", std::chrono::duration<double>(time).count());
}

std::string status_text(bool exited, int status) {
  if (exited) return formatted("it ended with status {}", status);
  return formatted("it was killed by signal {}", status);
}

/// In memory, to be read from its beginning.
Result<Fd> input_of(const Hook& hook) {
  Fd fd(memory_file("hook"));
  if (!fd.valid()) return fail(cannot(errno, hook, "its input"));
  for (std::size_t done = 0; done < hook.input.size();) {
    const ssize_t n = ::pwrite(fd.get(), hook.input.data() + done, hook.input.size() - done,
                               static_cast<off_t>(done));
    if (n <= 0) return fail(cannot(n < 0 ? errno : EIO, hook, "its input"));
    done += static_cast<std::size_t>(n);
  }
  return fd;
}

}  // namespace

std::optional<std::string> HookScene::value(HookValue v, const op::RunHook& run) const {
  const auto some = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(text);
  };
  switch (v) {
    case HookValue::name:
      return name;
    case HookValue::pid:
      return pid.value == 0 ? std::nullopt : std::optional(formatted("{}", pid.value));
    case HookValue::target:
      return target == nullptr ? std::nullopt : std::optional<std::string>(target);
    case HookValue::interface:
      return some(run.interface_type.empty() ? std::string() : run.hook.interface);
    case HookValue::interface_type:
      return some(run.interface_type);
    case HookValue::interface_parent:
      return some(run.interface_parent);
    case HookValue::interface_host:
      for (const auto& [inside, host] : host_names)
        if (!run.interface_type.empty() && inside == run.hook.interface) return host;
      return std::nullopt;
    default:
      break;
  }
  if (const auto ns = namespace_of(v))
    for (const auto& [kind, fd] : namespaces)
      if (kind == *ns) return formatted("/proc/{}/fd/{}", ::getpid(), fd.get());
  return std::nullopt;
}

std::string hook_subject(const Hook& h) {
  return formatted("{} hook '{}'{}", name_of(h.point), h.program,
                   h.interface.empty() ? std::string() : formatted(" of '{}'", h.interface));
}

Error hook_error(const Hook& hook, std::string why, std::string_view output) {
  while (!output.empty() && (output.back() == '\n' || output.back() == '\0'))
    output.remove_suffix(1);
  const std::size_t line = output.rfind('\n');
  if (line != output.npos) output.remove_prefix(line + 1);
  constexpr std::size_t enough = 400;
  if (output.size() > enough) output.remove_prefix(output.size() - enough);
  std::string hint;
  if (output.empty()) hint = "it said nothing";
  return make_error(Errc::hook_failed, Step::run_hook,
                    formatted("{}: {}{}{}", hook_subject(hook), why, output.empty() ? "" : ": ",
                              one_line(output)),
                    std::move(hint));
}

void keep_end(std::string& text, std::size_t limit, std::uint64_t& dropped) {
  if (text.size() <= limit) return;
  dropped += text.size() - limit;
  text.erase(0, text.size() - limit);
}

Result<std::unique_ptr<HookRun>> HookRun::start(std::shared_ptr<Zygote> zygote, Hook filled,
                                                FdView besides) {
  std::unique_ptr<HookRun> run(new HookRun);
  run->hook_ = std::move(filled);
  const Hook& hook = run->hook_;
  auto input = input_of(hook);
  if (!input) return fail(input);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(cannot(errno, hook, "a pipe"));
  run->output_ = Fd(ends[0]);
  const Fd write_end(ends[1]);
  if (::fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) return fail(cannot(errno, hook, "a pipe"));
  const op::Slot in{0}, out{1};
  Encoder encoder;
  encoder.pass(in);
  encoder.pass(out);
  encoder.add(op::ArmDeathSignal{}, 0);
  encoder.add(op::NewSession{}, 1);
  encoder.add(op::PlaceDescriptors{.entries = {{in, 0}, {out, 1}, {out, 2}}}, 2);
  encoder.add(op::ChangeDirectory{.path = "/"}, 3);
  encoder.add(op::Exec{.paths = {hook.program}, .argv = hook.argv, .env = hook.env}, 4);
  run->began_ = Clock::now();
  run->until_ = run->began_ + hook.timeout;
  const int zygote_fd = zygote->pidfd();
  auto helper = Helper::start(std::move(zygote), encoder, {input->get(), write_end.get()},
                              hook_subject(hook), 0, program::mark_group);
  if (!helper) {
    Error e = std::move(helper).error();
    e.step = Step::run_hook;
    return fail(std::move(e));
  }
  run->helper_ = std::move(*helper);
  run->poll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  // The zygote's: a copy of the other end may be somebody else's.
  for (const int fd : {run->output_.get(), run->helper_->poll_fd(), zygote_fd, besides.get()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (fd < 0) continue;
    if (!run->poll_.valid() || ::epoll_ctl(run->poll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return fail(cannot(errno, hook, "waiting for it"));
  }
  return run;
}

HookRun::~HookRun() {
  if (helper_) helper_->kill_orphans();
}

HookReport unfinished(const Hook& hook, const Error& error) {
  return {.point = hook.point,
          .program = hook.program,
          .interface = hook.interface,
          .error = to_string(error)};
}

HookReport HookRun::abandoned(const Error& error) {
  read();
  HookReport report = unfinished(hook_, error);
  report.took = Clock::now() - began_;
  report.output = std::move(text_);
  report.dropped = dropped_;
  return report;
}

/// Up to 1 MiB at a time: who writes as fast as we read would keep us here.
void HookRun::read() {
  char piece[16384];
  for (int pieces = 0; output_.valid() && pieces < 64; ++pieces) {
    const ssize_t n = ::read(output_.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      output_.reset();  // which takes it out of the set
      return;
    }
    text_.append(piece, static_cast<std::size_t>(n));
    keep_end(text_, program::hook_text, dropped_);
  }
}

Result<bool> HookRun::step(HookReport& report) {
  read();
  // Its end first: one that we come late to see may have been in time.
  auto done = helper_->step();
  const auto now = Clock::now();
  bool stuck = false;
  if (done && !*done) {
    if (now < until_) return false;
    constexpr std::chrono::seconds grace{10};
    if (!std::exchange(timed_out_, true)) gone_by_ = now + grace;
    stuck = now >= gone_by_;
    helper_->kill();
    // Its pidfd may be on its way yet; of who is killed the end comes by itself.
    until_ = now + std::chrono::milliseconds(25);
    if (!stuck) return false;
  }
  read();
  report.point = hook_.point;
  report.program = hook_.program;
  report.interface = hook_.interface;
  report.took = now - began_;
  const auto bad = [&](Error e) -> Result<bool> {
    report.output = std::move(text_);
    report.dropped = dropped_;
    report.error = to_string(e);
    return fail(std::move(e));
  };
  if (!done) {
    // Of a zygote that died: its death ends the hook, and not what that had started.
    helper_->kill_group();
    Error e = std::move(done).error();
    e.step = Step::run_hook;
    return bad(std::move(e));
  }
  const auto too_long = [&](std::string_view more) {
    return bad(hook_error(hook_,
                          formatted("it ran for {}, and {} is its limit{}", seconds(report.took),
                                    seconds(hook_.timeout), more),
                          text_));
  };
  if (stuck) {
    helper_.reset();  // the zygote sees its end, whenever that is
    return too_long("; it was killed and is not gone");
  }
  const Helper::Outcome out = std::move(**done);
  const auto limit = (began_ + hook_.timeout).time_since_epoch();
  if (timed_out_ && std::chrono::nanoseconds(out.ended) > limit) return too_long("");
  if (out.failed) return bad(sys_error(out.error, Step::run_hook, hook_subject(hook_)));
  if (out.code != CLD_EXITED || out.status != 0)
    return bad(hook_error(hook_, status_text(out.code == CLD_EXITED, out.status), text_));
  report.success = true;
  report.output = std::move(text_);
  report.dropped = dropped_;
  return true;
}

// ---- those of an end ----------------------------------------------------------------------------

EndHooks::EndHooks(std::shared_ptr<RuntimeCore> runtime, HookScene scene,
                   std::vector<op::RunHook> hooks, OnHook on_hook, std::function<void()> gone)
    : runtime_(std::move(runtime)),
      scene_(std::move(scene)),
      hooks_(std::move(hooks)),
      on_hook_(std::move(on_hook)),
      gone_(std::move(gone)) {}
EndHooks::~EndHooks() = default;

FdView EndHooks::poll_fd() const noexcept { return run_ ? run_->poll_fd() : FdView{}; }
HookRun::Clock::time_point EndHooks::until() const noexcept {
  return run_ ? run_->until() : HookRun::Clock::time_point{};
}

std::chrono::milliseconds EndHooks::most() const noexcept {
  std::chrono::milliseconds sum{0};
  for (std::size_t i = next_; i < hooks_.size(); ++i)
    sum += std::chrono::ceil<std::chrono::milliseconds>(hooks_[i].hook.timeout) +
           std::chrono::milliseconds(1000);
  return sum;
}

void EndHooks::all_gone() {
  scene_.namespaces.clear();
  if (const auto gone = std::exchange(gone_, {})) gone();
}

void EndHooks::failed(const Error& error) {
  errors_.push_back(to_string(error));
  if (hooks_[next_].hook.point == HookPoint::post_stop && refusal_.empty())
    refusal_ = errors_.back();
}

bool EndHooks::step() {
  for (; next_ < hooks_.size(); ++next_) {
    const op::RunHook& hook = hooks_[next_];
    if (!run_) {
      if (hook.hook.point == HookPoint::post_stop) all_gone();
      // Not the zygote of the launch: that may be dead.
      auto zygote = runtime_->get_zygote();
      auto run = zygote ? HookRun::start(
                              std::move(*zygote),
                              filled(hook.hook, [&](HookValue v) { return scene_.value(v, hook); }))
                        : fail(zygote);
      if (!run) {
        failed(run.error());
        if (on_hook_) on_hook_(unfinished(hook.hook, run.error()));
        continue;
      }
      run_ = std::move(*run);
    }
    HookReport report;
    auto done = run_->step(report);
    if (done && !*done) return false;
    run_.reset();
    if (!done) failed(done.error());
    if (on_hook_) on_hook_(report);
  }
  all_gone();
  return true;
}

// ---- of a launch --------------------------------------------------------------------------------

HookScene LaunchEngine::hook_scene() const {
  HookScene scene{.name = plan().name, .pid = pid_, .host_names = made_.host_ends.names};
  if (kept_)
    scene.host_names.insert(scene.host_names.end(), kept_->host_names.begin(),
                            kept_->host_names.end());
  return scene;
}

/// Those of the host's that are not there are told before anything is made.
Result<void> LaunchEngine::look_for_hooks() const {
  const auto look = [](const Hook& h) -> Result<void> {
    struct stat st {};
    int e = ::stat(h.program.c_str(), &st) < 0 ? errno : 0;
    if (e == 0 && !S_ISREG(st.st_mode)) e = EACCES;
    if (e == 0 && ::faccessat(AT_FDCWD, h.program.c_str(), X_OK, AT_EACCESS) < 0) e = errno;
    if (e != 0) return fail(e, Step::run_hook, hook_subject(h));
    return {};
  };
  for (const Op& o : plan().ops) {
    const auto* here = std::get_if<op::RunHook>(&o);
    const auto* inside = std::get_if<op::RunHookInside>(&o);
    if (here != nullptr)
      if (auto ok = look(here->hook); !ok) return ok;
    if (inside != nullptr && inside->hook.point != HookPoint::start)
      if (auto ok = look(inside->hook); !ok) return ok;
  }
  for (const op::RunHook& later : plan().later)
    if (auto ok = look(later.hook); !ok) return ok;
  return {};
}

/// Kills the one that runs: the launch has failed meanwhile.
void LaunchEngine::drop_hook() {
  if (!hook_) return;
  const HookReport report =
      hook_->abandoned(error_      ? *error_
                       : vanished_ ? vanished_error()
                                   : make_error(Errc::cancelled, Step::run_hook, plan().name));
  hook_.reset();
  if (options_.on_hook) options_.on_hook(report);
}

/// Runs one; false while it runs.
Result<bool> LaunchEngine::run_hook(const op::RunHook& o) {
  if (!hook_) {
    const HookScene scene = hook_scene();
    // What comes at `started` may last longer than the command.
    const bool for_child = request_sent_ && state_ != State::executing;
    auto run =
        HookRun::start(zygote_, filled(o.hook, [&](HookValue v) { return scene.value(v, o); }),
                       for_child ? FdView(pidfd_) : FdView());
    if (!run) {
      if (options_.on_hook) options_.on_hook(unfinished(o.hook, run.error()));
      return fail(run);
    }
    hook_ = std::move(*run);
  }
  HookReport report;
  auto done = hook_->step(report);
  if (done && !*done) return false;
  hook_.reset();
  if (options_.on_hook) options_.on_hook(report);
  return done;
}

Result<bool> LaunchEngine::do_op(const op::RunHook& o) {
  if (request_sent_)
    if (auto known = know_child(Step::run_hook); !known || !*known) return known;
  if (o.hook.point == HookPoint::pre_start) hooks_owed_ = true;
  if (o.hook.point == HookPoint::up && std::ranges::find(ups_, o.hook.interface) == ups_.end()) {
    ups_.push_back(o.hook.interface);
    if (kept_ && stays(o.interface_type)) kept_->ups.push_back(o.hook.interface);
    if (namespaces_.empty() && owes_down())
      if (auto ok = keep_namespaces(Namespace::net); !ok) return fail(ok);
  }
  auto done = run_hook(o);
  // Of a child that has ended nobody waits for the hooks.
  if (done && !*done && pidfd_.valid() && wait_for_fd(pidfd_.get(), POLLIN, 0) > 0) {
    vanished_ = true;
    feed(Event::closed_early);
  }
  return done;
}

/// Hooks at `down` for an interface that had its ones at `up`.
bool LaunchEngine::owes_down() const {
  return std::ranges::any_of(plan().later, [this](const op::RunHook& h) {
    return h.hook.point == HookPoint::down &&
           std::ranges::find(ups_, h.hook.interface) != ups_.end();
  });
}

Result<void> LaunchEngine::do_op(const op::OpenHookOutput& o) {
  Fd fd(memory_file("hooks"));
  if (!fd.valid() || ::ftruncate(fd.get(), static_cast<off_t>(program::hook_place * o.hooks)) < 0)
    return fail(errno, Step::open_descriptor, "the output of hooks");
  Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy.valid()) return fail(errno, Step::open_descriptor, "the output of hooks");
  hook_output_ = std::move(copy);
  give(o.to, std::move(fd));
  return {};
}

Result<bool> LaunchEngine::do_op(const op::KeepNamespaces& o) {
  if (auto known = know_child(Step::run_hook); !known || !*known) return known;
  if (auto ok = keep_namespaces(o.namespaces); !ok) return fail(ok);
  return true;
}

/// Of a child that is known.
Result<void> LaunchEngine::keep_namespaces(Flags<Namespace> wanted) {
  namespaces_.clear();
  for (const auto& [kind, name] : EnumNames<Namespace>::table) {
    if (!wanted.has(kind)) continue;
    const char* const file = file_of(kind);
    Fd fd(::open(formatted("/proc/{}/ns/{}", pid_.value, file).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid())
      return fail(errno, Step::run_hook, formatted("the {} namespace, for its hooks", name));
    namespaces_.emplace_back(kind, std::move(fd));
  }
  // Whose number that was meanwhile.
  if (wait_for_fd(pidfd_.get(), POLLIN, 0) > 0)
    return fail(ESRCH, Step::run_hook, "the namespaces of a process that has ended");
  return {};
}

/// What hooks in the container have said, once it is known that they have ended.
void LaunchEngine::report_inside() {
  if (!hook_output_.valid()) return;
  for (const Op& o : plan().ops) {
    const auto* run = std::get_if<op::RunHookInside>(&o);
    if (run == nullptr) continue;
    HookReport report = inside_report(*run);
    if (report.took.count() == 0) continue;
    if (error_ && error_->step == Step::run_hook && &o == &plan().ops[failed_hook_])
      report.error = to_string(*error_);
    report.success = report.error.empty();
    if (options_.on_hook) options_.on_hook(report);
  }
  hook_output_.reset();
}

/// The child wrote it: nothing in it is believed but text.
HookReport LaunchEngine::inside_report(const op::RunHookInside& run) const {
  HookReport report{.point = run.hook.point, .program = run.hook.program};
  program::HookOutput head{};
  std::string text(program::hook_text, '\0');
  const auto at = static_cast<off_t>(run.place * program::hook_place);
  if (::pread(hook_output_.get(), &head, sizeof head, at) != sizeof head || head.ended == 0 ||
      ::pread(hook_output_.get(), text.data(), text.size(), at + static_cast<off_t>(sizeof head)) !=
          static_cast<ssize_t>(text.size()))
    return report;
  constexpr std::uint64_t most = std::uint64_t{1} << 62U;
  report.took = std::chrono::nanoseconds(std::max<std::uint64_t>(1, std::min(head.took, most)));
  if (head.total <= text.size()) {
    text.resize(static_cast<std::size_t>(head.total));
  } else {
    report.dropped = head.total - text.size();
    std::rotate(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(head.total % text.size()),
                text.end());
  }
  report.output = std::move(text);
  return report;
}

Error LaunchEngine::inside_error(const program::ResultPage& page, const op::RunHookInside& run) {
  failed_hook_ = page.op;
  const HookReport report =
      hook_output_.valid() ? inside_report(run) : HookReport{.point = run.hook.point};
  switch (page.part) {
    case program::Part::hook_status:
      return hook_error(run.hook, status_text(page.detail < 256, page.detail & 0xff),
                        report.output);
    case program::Part::hook_time:
      return hook_error(run.hook,
                        formatted("it ran for {}, and {} is its limit", seconds(report.took),
                                  seconds(run.hook.timeout)),
                        report.output);
    case program::Part::hook_exec:
      return sys_error(page.error, Step::run_hook, hook_subject(run.hook));
    default:
      return sys_error(page.error, Step::run_hook,
                       formatted("{}: running it", hook_subject(run.hook)));
  }
}

/// After a launch that failed: the hooks of an end, as far as there was a beginning. True when
/// there is nothing (more) to be run.
bool LaunchEngine::run_end_hooks() {
  if (!end_begun_) {
    end_begun_ = true;
    report_inside();
    drop_hook();
    std::vector<op::RunHook> list;
    for (const op::RunHook& h : plan().later) {
      const HookPoint p = h.hook.point;
      const bool began = p == HookPoint::post_stop ? hooks_owed_ || had_child_
                         : p == HookPoint::stop    ? had_child_
                         : p == HookPoint::down
                             ? std::ranges::find(ups_, h.hook.interface) != ups_.end()
                             : false;
      if (began) list.push_back(h);
    }
    if (!list.empty()) {
      HookScene scene = hook_scene();
      scene.target = "stop";
      // Of a next life, whose network is that of the one before.
      if (namespaces_.empty() && kept_ && kept_->network.valid() && owes_down())
        if (Fd net(::fcntl(kept_->network.get(), F_DUPFD_CLOEXEC, 3)); net.valid())
          namespaces_.emplace_back(Namespace::net, std::move(net));
      scene.namespaces = std::move(namespaces_);
      end_hooks_ =
          std::make_unique<EndHooks>(runtime_, std::move(scene), std::move(list), options_.on_hook,
                                     [this] { made_.host_ends.take_down(); });
    }
  }
  if (!end_hooks_) {
    namespaces_.clear();
    made_.host_ends.take_down();
    return true;
  }
  if (!end_hooks_->step()) {
    interest_ = {end_hooks_->poll_fd(), POLLIN};
    return false;
  }
  if (error_)
    for (std::string& e : end_hooks_->errors()) error_->also.push_back(std::move(e));
  end_hooks_.reset();
  return true;
}

/// Hooks at `started`: true when all have been run.
Result<bool> LaunchEngine::run_started_hooks() {
  for (; next_started_ < plan().later.size(); ++next_started_) {
    const op::RunHook& h = plan().later[next_started_];
    if (h.hook.point != HookPoint::started) break;
    auto done = run_hook(h);
    if (!done || !*done) return done;
  }
  return true;
}

}  // namespace condroid::inline v0::detail
