// The very code that runs in a container's process between clone and exec, on a system that only
// remembers what it was asked for.
#include "program/interpreter.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bpf_machine.hpp"
#include "catch.hpp"
#include "child_run.hpp"
#include "plan/seccomp.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using program::ChildState;
using program::SyncKind;

constexpr std::size_t never = static_cast<std::size_t>(-1);

std::size_t first(const std::vector<Call>& calls, const std::function<bool(const Call&)>& wanted) {
  const auto found = std::ranges::find_if(calls, wanted);
  return found == calls.end() ? never : static_cast<std::size_t>(found - calls.begin());
}
std::size_t last(const std::vector<Call>& calls, const std::function<bool(const Call&)>& wanted) {
  for (std::size_t i = calls.size(); i-- > 0;)
    if (wanted(calls[i])) return i;
  return never;
}
auto call_of(long nr) {
  return [nr](const Call& c) { return c.nr == nr; };
}
auto prctl_of(long option) {
  return [option](const Call& c) { return c.nr == __NR_prctl && c.arguments[0] == option; };
}
bool changes_mounts(const Call& c) {
  return c.nr == __NR_mount || c.nr == __NR_move_mount || c.nr == __NR_mount_setattr ||
         c.nr == __NR_open_tree || c.nr == __NR_fsmount;
}
template <class O>
const O* op_of(const Plan& plan, std::uint32_t index) {
  return index < plan.ops.size() ? std::get_if<O>(&plan.ops[index]) : nullptr;
}
template <class O>
std::vector<const O*> all_of(const Plan& plan) {
  std::vector<const O*> list;
  for (const Op& o : plan.ops)
    if (const auto* x = std::get_if<O>(&o)) list.push_back(x);
  return list;
}

/// Calls the property with every golden plan and with what the child does for it when all goes
/// well.
void for_good_runs(const std::function<void(const Plan&, const ChildRun&)>& property) {
  REQUIRE(golden_plans().size() >= 12);
  for (const Sample& sample : golden_plans()) {
    INFO(sample.name);
    ChildRun child(sample.plan);
    child.run();
    INFO(lines_of(child.system.calls));
    REQUIRE(child.executed);
    property(sample.plan, child);
  }
}

/// The calls of one op.
std::vector<Call> calls_of(const ChildRun& child, std::uint32_t op) {
  std::vector<Call> list;
  std::ranges::copy_if(child.system.calls, std::back_inserter(list),
                       [op](const Call& c) { return c.op == op; });
  return list;
}

}  // namespace

// ---- every plan, nothing fails
// -------------------------------------------------------------------

TEST_CASE("the child executes the command that the plan says", "[program]") {
  for_good_runs([](const Plan& plan, const ChildRun& child) {
    const auto* exec = std::get_if<op::Exec>(&plan.ops.back());
    REQUIRE(exec != nullptr);
    CHECK(child.executed->path == exec->paths.at(0));
    CHECK(child.executed->argv == exec->argv);
    CHECK(child.executed->env == exec->env);
    CHECK(child.page->state == ChildState::exec);
    CHECK(child.page->error == 0);
    CHECK(child.page->op == plan.ops.size() - 1);
  });
}

TEST_CASE("the child works on its ops in the order of the plan", "[program]") {
  for_good_runs([](const Plan& plan, const ChildRun& child) {
    std::vector<std::uint32_t> wanted;
    for (std::size_t i = 0; i < plan.ops.size(); ++i)
      if (actor_of(plan.ops[i]) == op::Actor::child)
        wanted.push_back(static_cast<std::uint32_t>(i));
    std::vector<std::uint32_t> stamped;
    for (std::uint32_t i = 0; i < child.page->stamps; ++i)
      stamped.push_back(child.page->ticks[i].op);
    CHECK(stamped == wanted);
    for (std::uint32_t i = 1; i < child.page->stamps; ++i)
      CHECK(child.page->ticks[i].ticks >= child.page->ticks[i - 1].ticks);
    // Ops are done one after the other; before the first there is only the reading of the program.
    std::uint32_t at = 0;
    for (const Call& c : child.system.calls) {
      CHECK(c.op >= at);
      at = c.op;
    }
  });
}

TEST_CASE("the child arms its death signal before anything else", "[program]") {
  for_good_runs([](const Plan&, const ChildRun& child) {
    const auto& calls = child.system.calls;
    for (const Call& c : calls) {
      if (c.nr == __NR_mmap || c.nr == __NR_recvfrom || c.nr == __NR_umask) continue;
      CHECK(prctl_of(kernel::pr_set_pdeathsig)(c));
      CHECK(c.arguments[1] == SIGKILL);
      break;
    }
  });
}

TEST_CASE("a change of ids is followed by the death signal again", "[program]") {
  for_good_runs([](const Plan&, const ChildRun& child) {
    const auto& calls = child.system.calls;
    for (const long nr : {__NR_setresuid, __NR_setresgid}) {
      const std::size_t change = last(calls, call_of(nr));
      const std::size_t armed = last(calls, prctl_of(kernel::pr_set_pdeathsig));
      const std::size_t dumpable = last(calls, prctl_of(kernel::pr_set_dumpable));
      REQUIRE(change != never);
      CHECK(armed > change);
      CHECK(dumpable > change);
      CHECK(calls[dumpable].arguments[1] == 0);
    }
  });
}

TEST_CASE("nothing is mounted before mounts are contained, nor after pivot_root", "[program]") {
  for_good_runs([](const Plan& plan, const ChildRun& child) {
    if (all_of<op::PivotRoot>(plan).empty()) return;
    const auto& calls = child.system.calls;
    const std::size_t contained = first(calls, call_of(__NR_mount));
    const std::size_t pivot = first(calls, call_of(__NR_pivot_root));
    REQUIRE(pivot != never);
    CHECK(calls[contained].names[1] == "/");
    // Of a slave, too, nothing gets out.
    const auto how = static_cast<std::uint64_t>(calls[contained].arguments[3]);
    CHECK((how == (kernel::ms_rec | kernel::ms_private) ||
           how == (kernel::ms_rec | kernel::ms_slave)));
    CHECK(first(calls, changes_mounts) == contained);
    // How the root passes on what is mounted later is said once it is the root.
    const auto mounts = [&plan](const Call& c) {
      const auto* attributes = op_of<op::SetMountFlags>(plan, c.op);
      return changes_mounts(c) &&
             (attributes == nullptr || attributes->propagation != Propagation::shared);
    };
    CHECK(last(calls, mounts) < pivot);
    CHECK(first(calls, call_of(__NR_umount2)) == pivot + 1);
  });
}

TEST_CASE("rights go after the mounts, in the one order that works", "[program]") {
  for_good_runs([](const Plan& plan, const ChildRun& child) {
    const auto& calls = child.system.calls;
    const auto credentials = all_of<op::SetCredentials>(plan);
    REQUIRE(credentials.size() == 1);
    const auto at = first(
        calls, [&](const Call& c) { return op_of<op::SetCredentials>(plan, c.op) != nullptr; });
    REQUIRE(at != never);
    CHECK(last(calls, changes_mounts) < at);
    CHECK(last(calls, call_of(__NR_pivot_root)) + 1 < at + 1);  // or there is none
    const std::uint32_t op = calls[at].op;
    const auto mine = calls_of(child, op);
    // Exactly the others are dropped from the bounding set.
    std::uint64_t dropped = 0;
    for (const Call& c : mine)
      if (prctl_of(kernel::pr_capbset_drop)(c)) dropped |= std::uint64_t{1} << c.arguments[1];
    const std::uint64_t known = (std::uint64_t{2} << credentials[0]->last_capability) - 1;
    CHECK(dropped == (known & ~credentials[0]->bounding.bits()));
    std::vector<std::size_t> order;
    if (dropped != 0) order.push_back(last(mine, prctl_of(kernel::pr_capbset_drop)));
    if (credentials[0]->set_groups) order.push_back(first(mine, call_of(__NR_setgroups)));
    for (const long nr : {__NR_setresgid, __NR_setresuid, __NR_capset})
      order.push_back(first(mine, call_of(nr)));
    if (credentials[0]->ambient != CapabilitySet{})
      order.push_back(first(mine, prctl_of(kernel::pr_cap_ambient)));
    order.push_back(first(mine, call_of(__NR_capget)));
    CHECK(std::ranges::is_sorted(order));
    CHECK(order.back() != never);
  });
}

TEST_CASE("no command runs without no_new_privs where that is wanted", "[program]") {
  std::size_t seen = 0;
  for_good_runs([&](const Plan& plan, const ChildRun& child) {
    const auto& calls = child.system.calls;
    const std::size_t at = last(calls, prctl_of(kernel::pr_set_no_new_privs));
    CHECK((at != never) == !all_of<op::NoNewPrivs>(plan).empty());
    CHECK(calls.back().nr == __NR_execve);
    if (at == never) return;
    ++seen;
    CHECK(calls[at].arguments[1] == 1);
    CHECK(last(calls, changes_mounts) < at);
    CHECK(at < first(calls, call_of(__NR_seccomp)));
  });
  CHECK(seen >= 10);
}

TEST_CASE("a filter denies nothing of what condroid itself does behind it", "[program]") {
  std::size_t asked = 0;
  for_good_runs([&](const Plan& plan, const ChildRun& child) {
    const auto filters = all_of<op::LoadSeccomp>(plan);
    std::size_t loaded = 0;
    for (const Call& c : child.system.calls) {
      seccomp_data data{.nr = static_cast<int>(c.nr), .arch = detail::audit_arch(detail::own_arch)};
      for (std::size_t i = 0; i < std::size(data.args) && i < std::size(c.arguments); ++i)
        data.args[i] = static_cast<std::uint64_t>(c.arguments[i]);
      INFO(line_of(c));
      for (std::size_t i = 0; i < loaded; ++i, ++asked)
        CHECK(condroid::test::verdict(filters[i]->program, data) == SECCOMP_RET_ALLOW);
      if (c.nr == __NR_seccomp) ++loaded;
    }
    CHECK(loaded == filters.size());
  });
  CHECK(asked > 500);
}

TEST_CASE("the command finds its descriptors and no other", "[program]") {
  for_good_runs([](const Plan& plan, const ChildRun& child) {
    const auto placed = all_of<op::PlaceDescriptors>(plan);
    REQUIRE(placed.size() == 1);
    std::set<int> kept;
    for (const auto& [fd, file] : child.system.open)
      if (!file.close_on_exec) kept.insert(fd);
    std::set<int> wanted;
    for (const auto& entry : placed[0]->entries) wanted.insert(entry.number);
    CHECK(kept == wanted);
    // The rest goes at exec: the sync socket, whose end of file is the news, and the zygote's
    // pidfd.
    std::set<std::string> rest;
    for (const auto& [fd, file] : child.system.open)
      if (file.close_on_exec) rest.insert(file.what);
    std::set<std::string> ours = {"sync", "zygote"};
    if (placed[0]->keep.valid()) ours.insert("passed 0");  // for the output of hooks
    CHECK(rest == ours);
    // Each came from where the plan says.
    for (const auto& entry : placed[0]->entries) {
      const auto slots = passed_slots(plan);
      const auto from = std::ranges::find(slots, entry.from);
      if (from == slots.end()) continue;
      CHECK(child.system.open.at(entry.number).what ==
            fmt::format("passed {}", from - slots.begin()));
    }
  });
}

TEST_CASE("the child holds nothing that no op needs", "[program]") {
  for_good_runs([](const Plan& plan, const ChildRun&) {
    // What is open before descriptors are placed, when everything is mounted.
    ChildRun child(plan);
    std::map<int, RecordingSystem::File> then;
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (then.empty() && op_of<op::PlaceDescriptors>(plan, c.op) != nullptr)
        then = child.system.open;
      return {};
    };
    child.run();
    REQUIRE_FALSE(then.empty());
    std::size_t lookups = 0;
    for (const auto& [fd, file] : then) {
      INFO(fd << " " << file.what);
      CHECK(file.close_on_exec);
      CHECK(file.kind != RecordingSystem::File::context);
      CHECK(file.kind != RecordingSystem::File::master);
      if (file.kind == RecordingSystem::File::lookup) ++lookups;
    }
    std::size_t kept = 0;
    for (const auto* m : all_of<op::MountOp>(plan))
      if (m->source == op::MountOp::filesystem && m->place == op::MountOp::at_target &&
          m->to.valid() && !m->flags.has(MountFlag::read_only))  // mount(2) gives no descriptor
        ++kept;
    CHECK(lookups == kept);
  });
}

TEST_CASE("paths in the root are looked up in the root, without magic links", "[program]") {
  std::size_t settings = 0;
  for_good_runs([&](const Plan& plan, const ChildRun& child) {
    for (const Call& c : child.system.calls) {
      if (c.nr != __NR_openat2) continue;
      INFO(line_of(c));
      const auto how = std::stoull(c.data.substr(c.data.find(' ') + 1));
      if (op_of<op::ApplyLandlock>(plan, c.op) != nullptr && c.names[1] == "/")
        continue;  // the root itself, which is ours by then
      CHECK(c.names[0] != "cwd");
      if (op_of<op::WriteSetting>(plan, c.op) != nullptr ||
          op_of<op::ConfigureInterface>(plan, c.op) != nullptr ||
          op_of<op::SetLabel>(plan, c.op) != nullptr || c.names[1] == "self/timens_offsets") {
        CHECK(how ==
              (kernel::resolve_beneath | kernel::resolve_no_xdev | kernel::resolve_no_magiclinks));
        ++settings;
      } else if (op_of<op::SetTimeOffsets>(plan, c.op) != nullptr) {
        CHECK(c.names[1] == "self/ns/time_for_children");  // a magic link, in our own procfs
      } else if (c.names[1] == "ptmx") {
        CHECK(how ==
              (kernel::resolve_beneath | kernel::resolve_no_xdev | kernel::resolve_no_magiclinks));
      } else {
        const auto* m = op_of<op::MountOp>(plan, c.op);
        const bool follow = m != nullptr && m->follow_links;
        CHECK(how == (kernel::resolve_in_root | kernel::resolve_no_magiclinks |
                      (follow ? 0 : kernel::resolve_no_symlinks)));
      }
    }
  });
  CHECK(settings >= 3);
}

TEST_CASE("the child asks for the map of its ids before it takes them", "[program]") {
  std::size_t seen = 0;
  for_good_runs([&](const Plan& plan, const ChildRun& child) {
    const auto& calls = child.system.calls;
    if (all_of<op::WriteIdMap>(plan).empty()) return;
    ++seen;
    const std::size_t asked = first(calls, call_of(__NR_sendmsg));
    const std::size_t answered = first(calls, call_of(__NR_recvmsg));
    CHECK(asked < answered);
    CHECK(answered < first(calls, call_of(__NR_setresuid)));
    CHECK(child.system.sent.at(0).kind == SyncKind::configure);
  });
  CHECK(seen >= 2);
}

TEST_CASE("what the child does for a plan is as it is written down", "[program][golden]") {
  std::vector<const char*> names = {"hello", "settings", "rootless_subids"};
  if (CONDROID_LIBNL) names.push_back("network");
  for (const char* name : names) {
    INFO(name);
    const Plan& plan = golden_plan(name);
    ChildRun child(plan);
    child.run();
    std::string now;
    std::uint32_t at = program::no_op - 1;
    for (const Call& c : child.system.calls) {
      if (c.op != at)
        now += actor_of(plan.ops[c.op]) != op::Actor::child
                   ? std::string("the program is read\n")
                   : fmt::format("{} {}: {}\n", c.op, to_string(step_of(plan.ops[c.op])),
                                 describe(plan.ops[c.op]));
      at = c.op;
      now += fmt::format("    {}\n", line_of(c));
    }
    const auto path =
        std::filesystem::path(CONDROID_TESTS_DIR) / "golden" / fmt::format("{}.calls", name);
    if (std::getenv("CONDROID_UPDATE_GOLDEN") != nullptr) {
      std::ofstream out(path, std::ios::binary);
      out << now;
      REQUIRE(out.flush());
    }
    std::ifstream in(path, std::ios::binary);
    const std::string written{std::istreambuf_iterator<char>(in), {}};
    INFO("run the target update-calls if this is as it should be\n" << now);
    CHECK((written == now));
  }
}
