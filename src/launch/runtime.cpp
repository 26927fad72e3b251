#include "condroid/runtime.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "condroid/builder.hpp"
#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/kept.hpp"
#include "launch/scope.hpp"
#include "launch/state_file.hpp"
#include "launch/zygote.hpp"
#include "sys/wire.hpp"

namespace condroid {
inline namespace v0 {

std::string detail::default_state_dir() {
  const bool root = ::geteuid() == 0;
  // Where that cannot be told it is /run all the same, or one program would look elsewhere than the
  // next.
  if (root && (::faccessat(AT_FDCWD, "/run", W_OK, AT_EACCESS) == 0 ||
               (errno != EACCES && errno != EROFS && errno != ENOENT && errno != ENOTDIR)))
    return "/run/condroid";
  // Not of a set-uid program's caller, getauxval(3): AT_SECURE.
  if (const char* dir = ::secure_getenv("XDG_RUNTIME_DIR"); dir != nullptr && dir[0] == '/')
    return std::string(dir) + "/condroid";
  if (!root) return formatted("/tmp/condroid-{}", ::geteuid());
  // Root of a user namespace that sees somebody else's /run: there may be several of those in one
  // /tmp.
  struct stat st {};
  return ::stat("/proc/self/ns/user", &st) == 0 ? formatted("/tmp/condroid-0-{}", st.st_ino)
                                                : "/tmp/condroid-0";
}

Result<Runtime> Runtime::open(RuntimeOptions options) {
  auto core = std::make_shared<detail::RuntimeCore>();
  core->owner = ::getpid();
  core->state_dir =
      options.state_dir.empty() ? detail::default_state_dir() : options.state_dir.str();
  while (core->state_dir.size() > 1 && core->state_dir.back() == '/') core->state_dir.pop_back();
  if (core->state_dir[0] != '/')
    return fail(Errc::bad_spec, Step::open_runtime,
                formatted("state directory '{}'", core->state_dir), "an absolute path is needed");
  // A directory that the caller made stays; ours goes when it is empty.
  struct stat st {};
  core->remove_state_dir = options.state_dir.empty() || ::stat(core->state_dir.c_str(), &st) < 0;
  core->options = std::move(options);
  if (core->options.sweep)
    if (auto ok = detail::sweep_state(core->state_dir); !ok) return fail(ok);
  core->host_mounts.open();
  auto zygote = core->get_zygote();
  if (!zygote) return fail(zygote);
  zygote->reset();  // which one it is, may change yet
  if (auto ok = detail::settle_scope(*core); !ok) return fail(ok);
  return Runtime(std::move(core));
}

Result<std::reference_wrapper<const HostFacts>> Runtime::facts() const {
  auto facts = core_->get_facts();
  if (!facts) return fail(facts);
  return std::cref(**facts);
}

Result<Launch> Runtime::start(Plan plan, LaunchOptions options) const {
  return start(std::make_shared<const Plan>(std::move(plan)), std::move(options));
}

Result<Launch> Runtime::start(std::shared_ptr<const Plan> plan, LaunchOptions options) const {
  if (!plan || plan->ops.empty()) return fail(Errc::bad_spec, Step::clone, "an empty plan");
  if (options.stop_before && *options.stop_before >= plan->ops.size())
    return fail(
        Errc::bad_spec, Step::clone,
        formatted("stop_before {}: the plan has {} ops", *options.stop_before, plan->ops.size()));
  auto zygote = core_->get_zygote();
  if (!zygote) return fail(zygote);
  std::shared_ptr<detail::Kept> kept;
  if (plan->lifecycle.restart != Restart::never) {
    auto all = detail::keep(plan, options);
    if (!all) return fail(all);
    kept = std::move(*all);
    plan = kept->plan;
    options = detail::keeping(std::move(options), kept);
  }
  auto engine = std::make_unique<detail::LaunchEngine>(core_, std::move(*zygote), std::move(plan),
                                                       std::move(options));
  if (kept) engine->keep(std::move(kept), {});
  if (auto ok = engine->prepare(); !ok) return fail(ok);
  return Launch(std::move(engine));
}

Result<Container> Runtime::launch(Plan plan, LaunchOptions options) const {
  return launch(std::make_shared<const Plan>(std::move(plan)), std::move(options));
}

Result<Launch> Runtime::start(const Spec& spec, LaunchOptions options) const {
  auto facts = this->facts();
  if (!facts) return fail(facts);
  const auto start_it = [&](const Spec& settled) -> Result<Launch> {
    auto plan = compile(settled, *facts);
    if (!plan) return fail(plan);
    return start(std::move(*plan), std::move(options));
  };
  if (spec.security.seccomp.kind != Seccomp::rules) return start_it(spec);
  Spec settled = spec;
  if (auto ok = core_->filters.settle(settled.security.seccomp); !ok) return fail(ok);
  return start_it(settled);
}

namespace {

Result<Container> to_the_end(Result<Launch> launch) {
  if (!launch) return fail(launch);
  for (;;) {
    auto done = launch->step();
    if (!done) return fail(done);
    if (*done) return std::move(**done);
    const auto [fd, events] = launch->interest();
    if (launch->stopped() && !fd.valid())
      return fail(Errc::stopped, Step::clone,
                  "stopped before an op of the host; use start() to go on from there");
    if (const int e = detail::wait_for_fd(fd.get(), events, launch->timeout()); e < 0)
      return fail(-e, Step::wait, "poll");
  }
}

}  // namespace

Result<Container> Runtime::launch(std::shared_ptr<const Plan> plan, LaunchOptions options) const {
  return to_the_end(start(std::move(plan), std::move(options)));
}

Result<Container> Runtime::launch(const Spec& spec, LaunchOptions options) const {
  return to_the_end(start(spec, std::move(options)));
}

const ScopeOutcome& Runtime::scope() const noexcept { return core_->scope; }

Pid Runtime::zygote_pid() const {
  if (!core_->check_owner()) return Pid{};
  const std::lock_guard lock(core_->mutex);
  return core_->zygote && core_->zygote->alive() ? core_->zygote->pid() : Pid{};
}

Result<Container> ContainerBuilder::launch(const Runtime& runtime) const {
  return runtime.launch(spec());
}

}  // namespace v0
}  // namespace condroid
