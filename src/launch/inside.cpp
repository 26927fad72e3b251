#include "launch/inside.hpp"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "plan/ops.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

Result<Place> Place::of(const ContainerCore& c) {
  Place p{.runtime = c.runtime,
          .zygote = c.zygote,
          .name = c.name,
          .unique_name = c.unique_name,
          .pid = c.pid,
          .pidfd = Fd(::fcntl(c.pidfd.get(), F_DUPFD_CLOEXEC, 3)),
          .inside = c.inside,
          .network = Namespace::net};
  if (!p.pidfd.valid())
    return fail(errno, Step::join_namespace, formatted("container '{}'", c.name));
  auto facts = c.runtime->get_facts();
  if (!facts) return fail(facts);
  if (!(*facts)->privileged() && c.inside.namespaces.has(Namespace::user))
    p.network |= Namespace::user;
  return p;
}

Errand::Errand() = default;
Errand::Errand(Errand&&) noexcept = default;
Errand& Errand::operator=(Errand&&) noexcept = default;
Errand::~Errand() = default;

Result<Errand> Errand::start(const Place& place, Flags<Namespace> joined, std::vector<Op> by_host,
                             std::vector<Op> by_child) {
  Plan plan{.name = place.name};
  plan.ops = std::move(by_host);
  if (joined.has(Namespace::mount))
    add_op(plan.ops, op::OpenDescriptor{.kind = op::OpenDescriptor::root_of_pid,
                                        .number = place.pid.value,
                                        .to = root_slot});
  add_op(plan.ops,
         op::EnterProcess{.pid = place.pid, .pidfd = {place.pidfd.get()}, .namespaces = joined});
  add_op(plan.ops, op::Clone{});
  add_op(plan.ops, op::ArmDeathSignal{});
  if (joined.has(Namespace::user))
    add_op(plan.ops, op::BecomeRoot{.uid = place.inside.root_uid,
                                    .gid = place.inside.root_gid,
                                    .groups_may_stay = true});
  for (Op& o : by_child) plan.ops.push_back(std::move(o));
  add_op(plan.ops, op::End{});
  Errand e;
  e.name_ = place.name;
  e.engine_ = std::make_unique<LaunchEngine>(
      place.runtime, place.zygote, std::make_shared<const Plan>(std::move(plan)), LaunchOptions{});
  if (auto ok = e.engine_->prepare(place.unique_name); !ok) return fail(ok);
  return e;
}

Result<std::optional<std::vector<Fd>>> Errand::step() {
  auto done = engine_->step();
  if (!done) return fail(done);
  if (!*done) return std::optional<std::vector<Fd>>{};
  process_ = std::make_unique<Container>(std::move(**done));
  return std::optional(LaunchEngine::take_sent(*process_));
}

bool Errand::ended() {
  const auto exit = process_->step();
  return !exit || exit->has_value();
}

Interest Errand::interest() const {
  if (process_) return {process_->poll_fd(), POLLIN};
  return engine_->interest();
}

int Errand::timeout() const {
  // Of a zygote that died while somebody else has the other end open nothing is heard.
  constexpr int look_again = 1000;
  return process_ ? look_again : engine_->timeout();
}

Result<std::vector<Fd>> Errand::wait() {
  for (;;) {
    auto done = step();
    if (!done) return fail(done);
    if (*done) {
      // It is done and ends by itself, unless somebody stops it at that.
      constexpr std::chrono::seconds most{10};
      auto exit = process_->wait_for(most);
      if (!exit) return fail(exit);
      if (!*exit) return fail(Errc::deadline, Step::wait, formatted("a change of '{}'", name_));
      return std::move(**done);
    }
    const auto [fd, events] = interest();
    if (const int e = wait_for_fd(fd.get(), events, timeout()); e < 0)
      return fail(-e, Step::wait, "poll");
  }
}

Result<std::vector<Fd>> inside(const ContainerCore& c, Flags<Namespace> joined,
                               std::vector<Op> by_host, std::vector<Op> by_child) {
  auto place = Place::of(c);
  if (!place) return fail(place);
  auto errand = Errand::start(*place, joined, std::move(by_host), std::move(by_child));
  if (!errand) return fail(errand);
  return errand->wait();
}

Result<Errand> start_sockets(const Place& place, op::OpenSockets wanted) {
  const unsigned count = wanted.count;
  return Errand::start(place, place.network, {}, {wanted, op::SendPtys{.count = count}});
}

Result<std::vector<Fd>> sockets_inside(const Place& place, op::OpenSockets wanted) {
  auto errand = start_sockets(place, wanted);
  if (!errand) return fail(errand);
  auto sent = errand->wait();
  if (sent && sent->size() != wanted.count)
    return fail(Errc::protocol, Step::open_sockets, formatted("container '{}'", place.name));
  return sent;
}

}  // namespace condroid::inline v0::detail
