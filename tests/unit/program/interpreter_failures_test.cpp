// What the child does when a system call fails: every call of every plan, one after the other.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "child_run.hpp"
#include "condroid/builder.hpp"
#include "condroid/plan/attach.hpp"
#include "condroid/plan/take.hpp"
#include "program/interpreter.hpp"

namespace {

using namespace condroid;
using namespace condroid::test;
using program::ChildState;

/// How a child of some plan is born, again and again.
struct Case {
  std::string name;
  Plan plan;
  std::size_t parks_at = 0;  ///< Index of its Park, if it has one: what is behind comes later.
  bool ends = false;         ///< It comes to its end without a command.
  mutable std::shared_ptr<detail::Program> encoded = {};  ///< Once it was born.

  [[nodiscard]] std::unique_ptr<ChildRun> child() const {
    if (parks_at == 0) {
      if (encoded == nullptr) encoded = std::make_shared<detail::Program>(encode(plan));
      return std::make_unique<ChildRun>(plan, *encoded);
    }
    detail::Encoder first, second;
    for (const op::Slot slot : passed_slots(plan)) first.pass(slot);
    unsigned passed = 0;
    for (std::size_t i = 0; i < plan.ops.size(); ++i) {
      const auto* fd = std::get_if<op::OpenDescriptor>(&plan.ops[i]);
      if (i > parks_at && fd != nullptr) ++passed, second.pass(fd->to);
      (i <= parks_at ? first : second).add(plan.ops[i], static_cast<std::uint32_t>(i));
    }
    const auto one = first.finish(program::no_op).value();
    const auto two = second.finish(program::no_op).value();
    auto run = std::make_unique<ChildRun>(one, passed_slots(plan).size());
    run->system.incoming.append(two.data(), two.size);
    run->system.answers.push_back(
        {program::SyncKind::resume, passed, static_cast<std::uint32_t>(two.size)});
    return run;
  }
  [[nodiscard]] bool well(const ChildRun& run) const {
    return ends ? run.status == 0 && run.page->state == ChildState::done
                : run.executed && run.page->state == ChildState::exec;
  }
};

/// An attach to somebody else's process, with a terminal, a label and cgroups.
Case attached() {
  HostFacts facts = root_on_hybrid();
  facts.selinux = true;
  AttachTarget target{.name = "box", .pid = {4711}, .pidfd = {9}};
  target.inside.namespaces = Spec::default_namespaces;
  target.lsm_label = "box";
  for (std::size_t i = 0; i < facts.cgroups.size(); ++i)
    target.groups.push_back({.hierarchy = i, .path = facts.cgroups[i].mount_point + "/box"});
  const Attach what{.process = {.argv = {"/bin/sh"}, .stdio = Stdio::pty}, .lsm_label = true};
  return {.name = "attached", .plan = compile(what, target, facts).value()};
}

/// A container of a pool, with a mount of its own.
Case taken() {
  const HostFacts facts = root_on_hybrid();
  const Spec spec = ContainerBuilder("pooled").root(HostPath("/srv/root")).exec({"/bin/sh"}).spec();
  const ParkedPlan parked = compile_parked(spec, facts).value();
  const Take take{.argv = {"/bin/true"},
                  .stdio = Stdio::null,
                  .mounts = {{.mount = {20}, .target = GuestPath("/mnt"), .create = true}}};
  return {.name = "taken",
          .plan = compile_take(spec, take, parked, facts).value(),
          .parks_at = parked.plan.ops.size() - 1};
}

/// What changes a container that runs, all of it at once.
Case changed() {
  const op::Slot root{3}, mount{4}, dir{5};
  const DeviceNode fuse{.name = "fuse", .kind = DeviceNode::character, .major = 10, .minor = 229};
  Plan plan{.name = "changed"};
  plan.ops = {
      op::OpenDescriptor{.kind = op::OpenDescriptor::root_of_pid, .number = 9, .to = root},
      op::OpenDescriptor{.kind = op::OpenDescriptor::borrowed, .fd = {20}, .to = mount},
      op::Clone{},
      op::ArmDeathSignal{},
      op::BecomeRoot{},
      op::SetUmask{.umask = {027}},
      op::EnterRoot{.root = root},
      op::MountOp{.source = op::MountOp::slot, .from = mount, .base = root, .target = "mnt"},
      op::RemoveEntry{.base = root, .path = "mnt"},
      op::OpenInside{.base = root, .path = "/dev", .to = dir},
      op::MakeNode{.base = dir, .node = fuse, .host_path = "/dev/fuse"},
      op::RemoveEntry{.base = root, .path = "dev/fuse", .node = true},
      op::OpenSockets{.domain = kernel::af_netlink, .type = kernel::sock_raw},
      op::SendPtys{.count = 1},
      op::End{}};
  return {.name = "changed", .plan = std::move(plan), .ends = true};
}

/// A container whose filter asks the host about calls.
Case asking() {
  Case of{.name = "asking", .plan = golden_plan("hello")};
  for (Op& o : of.plan.ops)
    if (auto* load = std::get_if<op::LoadSeccomp>(&o)) load->listener = true;
  return of;
}

/// Launches of every kind, and what else a child is sent.
const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> list;
    for (const Sample& sample : golden_plans())
      list.push_back({.name = sample.name, .plan = sample.plan});
    list.push_back(asking());
    list.push_back(attached());
    list.push_back(taken());
    list.push_back(changed());
    return list;
  }();
  return all;
}

/// A call of a run in which nothing failed, and its place among the calls of its op.
struct Place {
  Call call;
  std::size_t in_op = 0;      ///< How many calls of the same op came before it.
  bool after_fsopen = false;  ///< One of those was fsopen(2).
  const Op* op = nullptr;     ///< None before the first one.
};

/// They name ops of the case, which has to outlive them.
std::vector<Place> places_of(const Case& of) {
  const Plan& plan = of.plan;
  const auto child = of.child();
  child->run();
  INFO(of.name << ": op " << child->page->op << ", errno " << child->page->error << "\n"
               << lines_of(child->system.calls));
  REQUIRE(of.well(*child));
  REQUIRE(child->system.mistakes.empty());
  std::vector<Place> list;
  for (Call& call : child->system.calls) {
    Place p{.call = std::move(call)};
    if (p.call.op < plan.ops.size() && actor_of(plan.ops[p.call.op]) == op::Actor::child)
      p.op = &plan.ops[p.call.op];
    if (!list.empty() && list.back().call.op == p.call.op) {
      p.in_op = list.back().in_op + 1;
      p.after_fsopen = list.back().after_fsopen || list.back().call.nr == __NR_fsopen;
    }
    list.push_back(std::move(p));
  }
  return list;
}

/// The whole list of failures that a launch goes on after. Anything else ends it.
std::string_view why_tolerated(const Place& p, int errnum) {
  const long nr = p.call.nr;
  if (nr == __NR_close) return "nothing hangs on it: the descriptor is gone";
  if (nr == __NR_umask && p.call.arguments[0] == 0) return "umask(2) cannot fail, without a filter";
  if (nr == __NR_madvise && errnum == EINVAL) return "pages are larger here: again";
  if (nr == __NR_execve) return {};
  if (nr == __NR_openat2 && errnum == EAGAIN) return "something was renamed meanwhile: again";
  if ((nr == __NR_recvfrom || nr == __NR_sendmsg || nr == __NR_recvmsg || nr == __NR_ppoll) &&
      errnum == EINTR)
    return "again";
  if (nr == __NR_read && (errnum == EINTR || errnum == EAGAIN)) return "a hook said nothing new";
  if (nr == __NR_memfd_create && errnum == EINVAL && p.call.arguments[1] != 1)
    return "older kernels do not know the flag";
  if (nr == __NR_keyctl && errnum == ENOSYS) return "a kernel without keys has none to hide";
  if ((nr == __NR_mkdirat || nr == __NR_symlinkat || nr == __NR_mknodat) && errnum == EEXIST)
    if (!std::holds_alternative<op::MakeNode>(*p.op) || nr == __NR_symlinkat ||
        std::get<op::MakeNode>(*p.op).bind)
      return "it is there already";
  if (p.op == nullptr) return {};
  if (const auto* m = std::get_if<op::MountOp>(p.op)) {
    if (m->optional) return "the plan says so";
    // A file system that mount(2) refuses is tried by fsopen(2), whose log says more.
    const bool plain = m->source == op::MountOp::filesystem && m->place == op::MountOp::at_target &&
                       !p.after_fsopen;
    if (plain && ((nr == __NR_openat2 && p.in_op == 0) || nr == __NR_fchdir || nr == __NR_mount))
      return "tried again by fsopen(2)";
    if (nr == __NR_openat2 && errnum == ENOENT && m->create && m->place == op::MountOp::at_target &&
        m->source != op::MountOp::filesystem)
      return "the target is made";
    if (nr == __NR_openat2 && errnum == ENOENT && m->create && p.after_fsopen)
      return "the target is made";
  }
  if (const auto* entry = std::get_if<op::MakeEntry>(p.op);
      entry != nullptr && entry->kind == op::MakeEntry::file) {
    if (nr == __NR_openat2 && errnum == ENOENT) return "its directory is made";
    if (nr == __NR_openat && errnum == EEXIST) return "it is there already";
  }
  if (std::holds_alternative<op::MaskPath>(*p.op) || std::holds_alternative<op::ProtectPath>(*p.op))
    if ((nr == __NR_openat2 || (p.in_op == 0 && nr != __NR_close)) &&
        (errnum == ENOENT || errnum == ENOTDIR))
      return "what is not there needs no cover";
  if (const auto* gone = std::get_if<op::RemoveEntry>(p.op))
    if (nr == __NR_umount2 && errnum == EINVAL && gone->node)
      return "nothing lies on a node of its own";
  if (nr == __NR_seccomp && errnum == EINVAL &&
      (p.call.arguments[1] & kernel::seccomp_filter_flag_wait_killable) != 0)
    return "older kernels take what was asked back for any signal";
  if (nr == kernel::nr_open_tree_attr && (errnum == ENOSYS || errnum == EPERM))
    return "older kernels set attributes by a call of their own";
  if (std::holds_alternative<op::ConfigureInterface>(*p.op) && nr == __NR_openat2 &&
      errnum == ENOENT)
    return "a kernel without IPv6 has nothing to switch off";
  if (const auto* landlock = std::get_if<op::ApplyLandlock>(p.op))
    for (const LandlockRule& rule : landlock->landlock.rules)
      if (rule.optional && nr == __NR_openat2 && rule.path.str() == p.call.names[1] &&
          (errnum == ENOENT || errnum == ENOTDIR))
        return "the rule is optional";
  if (const auto* node = std::get_if<op::MakeNode>(p.op))
    if (!node->bind && (nr == __NR_mknodat || nr == __NR_fchownat) && errnum == EPERM)
      return "the host's node is bound instead";
  if (std::holds_alternative<op::OpenPty>(*p.op) && nr == __NR_openat2 && p.in_op > 0 &&
      errnum == ENOENT)
    return "the file below the terminal is made";
  return {};
}

/// Calls `each` with every alternative of Op: its index, who does it, its step.
template <std::size_t... I>
void for_each_kind_of(std::index_sequence<I...> /*all*/, const auto& each) {
  (each(I, std::variant_alternative_t<I, Op>::actor, std::variant_alternative_t<I, Op>::step), ...);
}
void for_each_kind(const auto& each) {
  for_each_kind_of(std::make_index_sequence<std::variant_size_v<Op>>(), each);
}

/// Calls that are alike: of the same kind of op, with the same calls before them.
using Kind = std::tuple<std::size_t, long, std::size_t>;

auto prctl_of(long option) {
  return [option](const Call& c) { return c.nr == __NR_prctl && c.arguments[0] == option; };
}

struct Counts {
  std::size_t calls = 0, failed = 0, tolerated = 0;
};

/// What a call may fail with, and more: its manual page, a filter of system calls, a security
/// module, a file system.
std::vector<int> errnos_of(const Call& call) {
  std::vector<int> list = {EPERM, EIO, EINTR, EAGAIN, ENOMEM, EACCES, EINVAL, ENOSYS};
  const Signature* signature = signature_of(call.nr);
  const std::string_view arguments = signature != nullptr ? signature->arguments : "";
  if (arguments.find('s') != arguments.npos)
    list.insert(list.end(), {ENOENT, EBUSY, EEXIST, ENOTDIR, ENOSPC, EROFS, ELOOP, ENAMETOOLONG});
  static const std::set<long> opens = {__NR_openat,  __NR_openat2, __NR_open_tree, __NR_fsopen,
                                       __NR_fsmount, __NR_socket,  __NR_dup3,      __NR_fcntl};
  if (opens.contains(call.nr)) list.insert(list.end(), {EMFILE, ENFILE});
  return list;
}

/// One run: the call fails, and what comes of it is looked at.
void fail_once(const Case& of, std::size_t n, const Place& p, int errnum, Counts& counts) {
  const auto child = of.child();
  child->system.fail(n, errnum);
  std::size_t number = 0;
  std::optional<Call> done;
  child->system.remember = false;
  child->system.before = [&](const Call& c) -> std::optional<long> {
    // Nothing is done after a failure but tidying up and reading what the kernel said of it.
    const bool of_hook = p.op != nullptr && std::holds_alternative<op::RunHookInside>(*p.op);
    const bool ends_hook =
        of_hook && (c.nr == __NR_kill || c.nr == __NR_pidfd_send_signal || c.nr == __NR_waitid);
    if (number++ >= n && c.nr != __NR_close && c.nr != __NR_read && !ends_hook) done = c;
    return {};
  };
  child->run();
  const std::string_view why = why_tolerated(p, errnum);
  const auto& page = *child->page;
  ++(why.empty() ? counts.failed : counts.tolerated);
  bool good = child->system.mistakes.empty();
  if (why.empty())
    good = good && !child->executed && child->status == 125 && page.state == ChildState::failed &&
           page.op == (p.op == nullptr ? program::no_op : p.call.op) && page.error == errnum &&
           !done;
  else
    good = good && of.well(*child) && page.error == 0;
  if (good) return;  // what follows is most of the time
  INFO(of.name << ": call " << n << " of op " << p.call.op << " fails with errno " << errnum << ": "
               << line_of(p.call) << "\n"
               << why << "\nop " << page.op << ", errno " << page.error
               << ", last: " << (done ? line_of(*done) : ""));
  FAIL_CHECK();
}

}  // namespace

TEST_CASE("every call of every op fails once with each errno, and is told by op and errno",
          "[program][exhaustive]") {
  std::map<Step, Counts> table;
  std::set<std::size_t> kinds;
  for (const Case& of : cases()) {
    const auto places = places_of(of);
    std::set<std::tuple<std::uint32_t, long, std::string>> seen;
    for (std::size_t n = 0; n < places.size(); ++n) {
      const Place& p = places[n];
      if (p.call.nr == __NR_execve) continue;  // tested by itself: there may be other paths
      // A loop over rights, signals, groups makes one call many times.
      const bool again =
          !seen.insert({p.call.op, p.call.nr, p.call.names[0] + p.call.names[1] + p.call.names[3]})
               .second;
      Counts& counts = table[p.op != nullptr ? step_of(*p.op) : Step::clone];
      ++counts.calls;
      if (p.op != nullptr) kinds.insert(p.op->index());
      for (const int errnum : again ? std::vector{EIO} : errnos_of(p.call))
        fail_once(of, n, p, errnum, counts);
    }
  }
  // No kind of op is left out. Of some the calls are others' or come later.
  for (const Case& of : cases())
    for (const Op& o : of.plan.ops)
      if (std::holds_alternative<op::Exec>(o) || std::holds_alternative<op::End>(o) ||
          std::holds_alternative<op::SetUmask>(o))
        kinds.insert(o.index());
  for_each_kind([&](std::size_t index, op::Actor actor, Step step) {
    INFO("step " << to_string(step));
    const bool had =
        CONDROID_LIBNL || (step != Step::configure_interface && step != Step::await_interface);
    CHECK((actor != op::Actor::child || kinds.contains(index) || !had));
  });
  Counts all;
  std::string text =
      fmt::format("{:24}{:>8}{:>10}{:>12}\n", "step", "calls", "failures", "gone on");
  for (const auto& [step, c] : table) {
    text += fmt::format("{:24}{:8}{:10}{:12}\n", to_string(step), c.calls, c.failed, c.tolerated);
    all = {all.calls + c.calls, all.failed + c.failed, all.tolerated + c.tolerated};
  }
  fmt::print("{}{:24}{:8}{:10}{:12}\n", text, "all", all.calls, all.failed, all.tolerated);
  CHECK(all.failed > 10000);
  CHECK(all.tolerated > 1000);
}

TEST_CASE("nothing is executed when rights could not be dropped, whatever the errno", "[program]") {
  for (const char* name : {"hello", "rootless_subids"}) {
    const Case of{.name = name, .plan = golden_plan(name)};
    const Plan& plan = of.plan;
    const auto places = places_of(of);
    std::set<Kind> seen;
    for (std::size_t n = 0; n < places.size(); ++n) {
      const Op* o = places[n].op;
      if (o == nullptr) continue;
      if (!std::holds_alternative<op::SetCredentials>(*o) &&
          !std::holds_alternative<op::NoNewPrivs>(*o) &&
          !std::holds_alternative<op::LoadSeccomp>(*o) &&
          !std::holds_alternative<op::ApplyLandlock>(*o) &&
          !std::holds_alternative<op::BecomeRoot>(*o) &&
          !std::holds_alternative<op::PivotRoot>(*o) && !std::holds_alternative<op::Unshare>(*o) &&
          !std::holds_alternative<op::ContainPropagation>(*o) &&
          !std::holds_alternative<op::PlaceDescriptors>(*o))
        continue;
      const bool bounding = prctl_of(kernel::pr_capbset_drop)(places[n].call);
      if (!seen.insert({o->index(), places[n].call.nr, bounding ? 0 : places[n].in_op}).second)
        continue;
      for (int errnum = 1; errnum <= 133; ++errnum) {
        // The one question that may be interrupted.
        if (places[n].call.nr == __NR_ppoll && errnum == EINTR) continue;
        ChildRun child(plan);
        child.system.remember = false;
        child.system.fail(n, errnum);
        child.run();
        INFO(line_of(places[n].call) << " fails with errno " << errnum);
        CHECK_FALSE(child.executed);
        CHECK(child.page->error == errnum);
      }
    }
    CHECK(seen.size() >= 25);
  }
}

TEST_CASE("rights that are not what was set end the launch", "[program]") {
  // A security module that takes capset(2) and does something else.
  const Plan& plan = golden_plan("hello");
  for (const bool permitted : {false, true}) {
    ChildRun child(plan);
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (c.nr != __NR_capget) return {};
      auto* data = reinterpret_cast<kernel::CapData*>(c.arguments[1]);
      (permitted ? data[1].permitted : data[0].effective) = 1U << 5U;
      return 0;
    };
    child.run();
    CHECK_FALSE(child.executed);
    CHECK(child.page->part == program::Part::verify);
    CHECK(child.page->error == EPERM);
    CHECK(step_of(plan.ops.at(child.page->op)) == Step::set_ids);
  }
}

TEST_CASE("a root that is not on top after pivot_root ends the launch", "[program]") {
  const Plan& plan = golden_plan("hello");
  ChildRun child(plan);
  child.system.before = [](const Call& c) -> std::optional<long> {
    if (c.nr != __NR_statx || c.names[1] != "..") return {};
    kernel::Statx st{};
    st.mount = 8;  // something still lies on it
    *reinterpret_cast<kernel::Statx*>(c.arguments[4]) = st;
    return 0;
  };
  child.run();
  CHECK_FALSE(child.executed);
  CHECK(child.page->part == program::Part::verify);
  CHECK(child.page->error == EBUSY);
  CHECK(step_of(plan.ops.at(child.page->op)) == Step::pivot_root);
}

TEST_CASE("a command whose host or zygote is gone is not executed", "[program]") {
  const Case of{.name = "rootless_subids", .plan = golden_plan("rootless_subids")};
  const Plan& plan = of.plan;
  const auto places = places_of(of);
  std::size_t asked = 0;
  for (std::size_t n = 0; n < places.size(); ++n) {
    if (places[n].call.nr != __NR_ppoll) continue;
    ++asked;
    ChildRun child(plan);
    std::size_t count = 0;
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (count++ == n) return c.nr == __NR_ppoll ? 1 : -ENOSYS;
      return {};
    };
    child.run();
    CHECK_FALSE(child.executed);
    CHECK(child.page->part == program::Part::host_gone);
    CHECK(child.page->error == EPIPE);
    CHECK(child.page->op == places[n].call.op);
  }
  CHECK(asked == 3);  // when the death signal is armed, after the change of ids, before exec
}

TEST_CASE("a program that does not arrive as announced is not begun", "[program]") {
  const Plan& plan = golden_plan("hello");
  const auto refused = [&](const std::function<void(ChildRun&)>& spoil) {
    ChildRun child(plan);
    spoil(child);
    child.run();
    for (const Call& c : child.system.calls) {
      INFO(line_of(c));
      CHECK((c.nr == __NR_mmap || c.nr == __NR_recvfrom));
    }
    CHECK(child.status == 125);
    CHECK(child.page->op == program::no_op);
    CHECK(child.page->state == ChildState::failed);
    return child.page->error;
  };
  const auto head = [](ChildRun& c) -> program::Header& {
    return *reinterpret_cast<program::Header*>(c.system.incoming.data());
  };
  CHECK(refused([](ChildRun& c) { c.system.incoming.resize(c.system.incoming.size() - 1); }) ==
        EPIPE);
  CHECK(refused([](ChildRun& c) { c.system.incoming.clear(); }) == EPIPE);
  CHECK(refused([](ChildRun& c) { c.context.program_size = 8; }) == EPROTO);
  CHECK(refused([](ChildRun& c) { c.context.program_size = program::max_program + 1; }) == EPROTO);
  CHECK(refused([](ChildRun& c) { --c.context.program_size; }) == EPROTO);
  CHECK(refused([](ChildRun& c) { --c.context.passed_count; }) == EPROTO);
  CHECK(refused([&](ChildRun& c) { head(c).magic ^= 1U; }) == EPROTO);
  CHECK(refused([&](ChildRun& c) {
          head(c).blob += 4;
          head(c).blob_size -= 4;
        }) == EPROTO);
  CHECK(refused([](ChildRun& c) {
          c.system.before = [](const Call& call) -> std::optional<long> {
            if (call.nr == __NR_recvfrom) return -ECONNRESET;
            return {};
          };
        }) == ECONNRESET);
}

TEST_CASE("a program comes in pieces of any size", "[program]") {
  const Plan& plan = golden_plan("settings");
  ChildRun child(plan);
  std::string rest = child.system.incoming;
  std::size_t piece = 1;
  child.system.before = [&](const Call& c) -> std::optional<long> {
    if (c.nr != __NR_recvfrom) return {};
    const std::size_t n = std::min({piece, rest.size(), static_cast<std::size_t>(c.arguments[2])});
    std::copy_n(rest.begin(), n, reinterpret_cast<char*>(c.arguments[1]));
    rest.erase(0, n);
    piece = piece * 3 % 997;
    return static_cast<long>(n);
  };
  child.run();
  CHECK(child.executed);
}

TEST_CASE("the child waits before any op that stop_before names", "[program]") {
  const Plan& plan = golden_plan("rootless_subids");
  for (std::size_t i = 0; i < plan.ops.size(); ++i) {
    if (actor_of(plan.ops[i]) != op::Actor::child) continue;
    const auto index = static_cast<std::uint32_t>(i);
    INFO("op " << i);
    {
      ChildRun child(plan);
      const auto stopped = encode(plan, index);
      child.system.incoming.assign(stopped.data(), stopped.size);
      // In between, what the host answers to barriers before and behind.
      const auto* sync = std::get_if<op::Sync>(&plan.ops[6]);
      REQUIRE(sync != nullptr);
      const auto place = i <= 6 ? child.system.answers.begin() : child.system.answers.end();
      child.system.answers.insert(place, {program::SyncKind::resume});
      child.run();
      INFO(lines_of(child.system.calls));
      CHECK(child.executed);
      CHECK(std::ranges::count(child.system.sent, program::SyncKind::stopped,
                               &program::SyncMessage::kind) == 1);
      for (const auto& m : child.system.sent)
        if (m.kind == program::SyncKind::stopped) CHECK(m.value == index);
    }
    {
      // A host that goes away meanwhile.
      ChildRun child(plan);
      const auto stopped = encode(plan, index);
      child.system.incoming.assign(stopped.data(), stopped.size);
      if (i <= 6) child.system.answers.clear();
      child.run();
      CHECK_FALSE(child.executed);
      CHECK(child.page->op == index);
      CHECK(child.page->error == EPIPE);
      // It did nothing of that op.
      CHECK(child.system.calls.back().nr == __NR_recvmsg);
    }
  }
}

TEST_CASE("an answer that was not asked for ends the launch", "[program]") {
  using program::SyncKind;
  const Plan& plan = golden_plan("idmapped");  // two mounts come with the answer
  const auto error_after = [&](RecordingSystem::Answer answer) {
    ChildRun child(plan);
    child.system.answers = {answer};
    child.run();
    CHECK(child.executed.has_value() == (child.page->error == 0));
    CHECK(child.system.mistakes.empty());
    // Too many are closed, not kept.
    if (answer.descriptors > 2)
      CHECK(std::ranges::count(child.system.calls, __NR_close, &Call::nr) ==
            static_cast<long>(answer.descriptors - 2));
    return child.page->error;
  };
  CHECK(error_after({SyncKind::post_configure, 2}) == 0);
  CHECK(error_after({SyncKind::post_configure, 1}) == EPROTO);
  CHECK(error_after({SyncKind::post_configure, 3}) == EPROTO);
  CHECK(error_after({SyncKind::post_configure, 250}) == EPROTO);
  CHECK(error_after({SyncKind::post_cgroup, 2}) == EPROTO);
  CHECK(error_after({SyncKind::error, 0}) == ECANCELED);
}
