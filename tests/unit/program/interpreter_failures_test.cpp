// What the child does when a system call fails: every call of every plan, one after the other.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "child_run.hpp"
#include "program/interpreter.hpp"

namespace {

using namespace condroid;
using namespace condroid::test;
using program::ChildState;

/// A call of a run in which nothing failed, and its place among the calls of its op.
struct Place {
  Call call;
  std::size_t in_op = 0;      ///< How many calls of the same op came before it.
  bool after_fsopen = false;  ///< One of those was fsopen(2).
  const Op* op = nullptr;     ///< None before the first one.
};

std::vector<Place> places_of(const Plan& plan) {
  ChildRun child(plan);
  child.run();
  REQUIRE(child.executed);
  std::vector<Place> list;
  for (Call& call : child.system.calls) {
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
  if (std::holds_alternative<op::MaskPath>(*p.op) || std::holds_alternative<op::ProtectPath>(*p.op))
    if ((nr == __NR_openat2 || (p.in_op == 0 && nr != __NR_close)) &&
        (errnum == ENOENT || errnum == ENOTDIR))
      return "what is not there needs no cover";
  if (nr == kernel::nr_open_tree_attr && (errnum == ENOSYS || errnum == EPERM))
    return "older kernels set attributes by a call of their own";
  if (const auto* node = std::get_if<op::MakeNode>(p.op))
    if (!node->bind && (nr == __NR_mknodat || nr == __NR_fchownat) && errnum == EPERM)
      return "the host's node is bound instead";
  if (std::holds_alternative<op::OpenPty>(*p.op) && nr == __NR_openat2 && p.in_op > 0 &&
      errnum == ENOENT)
    return "the file below the terminal is made";
  return {};
}

auto prctl_of(long option) {
  return [option](const Call& c) { return c.nr == __NR_prctl && c.arguments[0] == option; };
}

struct Counts {
  std::size_t failed = 0, tolerated = 0;
};

/// Calls that are alike: of the same kind of op, with the same calls before them.
using Kind = std::tuple<std::size_t, long, std::size_t>;

/// Fails every call of the plan with that errno, one run for each; with `seen`, one of each kind.
void fail_each(const Plan& plan, int errnum, Counts& counts, std::set<Kind>* seen = nullptr) {
  const auto places = places_of(plan);
  for (std::size_t n = 0; n < places.size(); ++n) {
    const Place& p = places[n];
    if (seen != nullptr && p.op != nullptr &&
        !seen->insert({p.op->index(), p.call.nr, p.call.nr == __NR_prctl ? 0 : p.in_op}).second)
      continue;
    if (p.call.nr == __NR_execve) continue;  // tested by itself: there may be other paths
    ChildRun child(plan);
    child.system.fail(n, errnum);
    child.run();
    const std::string_view why = why_tolerated(p, errnum);
    INFO("call " << n << " of op " << p.call.op << " fails with errno " << errnum << ": "
                 << line_of(p.call) << "\n"
                 << why);
    const auto& calls = child.system.calls;
    CHECK(child.system.mistakes.empty());
    if (!why.empty()) {
      ++counts.tolerated;
      if (!child.executed) {
        UNSCOPED_INFO(lines_of(calls));
        UNSCOPED_INFO("op " << child.page->op << " errno " << child.page->error);
      }
      CHECK(child.executed);
      CHECK(child.page->state == ChildState::exec);
      CHECK(child.page->error == 0);
      continue;
    }
    ++counts.failed;
    CHECK_FALSE(child.executed);
    CHECK(child.status == 125);
    CHECK(child.page->state == ChildState::failed);
    CHECK(child.page->op == (p.op == nullptr ? program::no_op : p.call.op));
    CHECK(child.page->error == errnum);
    // Nothing is done after a failure but tidying up and reading what the kernel said of it.
    for (std::size_t i = n + 1; i < calls.size(); ++i) {
      INFO("and then: " << line_of(calls[i]));
      CHECK((calls[i].nr == __NR_close || calls[i].nr == __NR_read));
    }
  }
}

}  // namespace

TEST_CASE("a call that fails ends the launch with its op and errno", "[program]") {
  Counts counts;
  for (const Sample& sample : golden_plans()) {
    INFO(sample.name);
    fail_each(sample.plan, EIO, counts);
  }
  CHECK(counts.failed > 1000);
  CHECK(counts.tolerated > 100);
}

TEST_CASE("the failures that a launch goes on after are those that are listed", "[program]") {
  const int errnum =
      GENERATE(EPERM, ENOENT, EINTR, EAGAIN, EACCES, EEXIST, ENOTDIR, EINVAL, ENOSYS, ENOMEM);
  Counts counts;
  std::set<Kind> seen;
  for (const Sample& sample : golden_plans()) {
    INFO(sample.name);
    fail_each(sample.plan, errnum, counts, &seen);
  }
  CHECK(counts.failed > 100);
}

TEST_CASE("nothing is executed when rights could not be dropped, whatever the errno", "[program]") {
  for (const char* name : {"hello", "rootless_subids"}) {
    const Plan& plan = golden_plan(name);
    const auto places = places_of(plan);
    std::set<Kind> seen;
    for (std::size_t n = 0; n < places.size(); ++n) {
      const Op* o = places[n].op;
      if (o == nullptr) continue;
      if (!std::holds_alternative<op::SetCredentials>(*o) &&
          !std::holds_alternative<op::NoNewPrivs>(*o) &&
          !std::holds_alternative<op::LoadSeccomp>(*o) &&
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
  const Plan& plan = golden_plan("rootless_subids");
  const auto places = places_of(plan);
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
