// A plan run by the child's interpreter on a system that only remembers.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "condroid/plan.hpp"
#include "facts.hpp"
#include "program/encode.hpp"
#include "program/interpreter.hpp"
#include "recording_system.hpp"

namespace condroid::test {

/// Descriptors of the child before its program begins.
inline constexpr int sync_fd = 100, zygote_fd = 6, first_passed_fd = 101;

/// Registers that come filled, in the order in which the host passes descriptors.
inline std::vector<op::Slot> passed_slots(const Plan& plan) {
  std::vector<op::Slot> slots;
  for (const Op& o : plan.ops) {
    if (std::holds_alternative<op::Clone>(o)) break;
    if (const auto* group = std::get_if<op::CreateCgroup>(&o); group && group->tasks.valid())
      slots.push_back(group->tasks);
    if (const auto* group = std::get_if<op::OpenCgroup>(&o); group && group->tasks.valid())
      slots.push_back(group->tasks);
    if (const auto* fd = std::get_if<op::OpenDescriptor>(&o); fd && !fd->before_clone)
      slots.push_back(fd->to);
    if (const auto* image = std::get_if<op::MountImage>(&o); image && !image->idmapped)
      slots.push_back(image->to);
    if (const auto* hooks = std::get_if<op::OpenHookOutput>(&o)) slots.push_back(hooks->to);
  }
  return slots;
}

inline detail::Program encode(const Plan& plan, std::uint32_t stop_before = program::no_op) {
  detail::Encoder encoder;
  for (const op::Slot slot : passed_slots(plan)) encoder.pass(slot);
  for (std::size_t i = 0; i < plan.ops.size(); ++i)
    encoder.add(plan.ops[i], static_cast<std::uint32_t>(i));
  auto program = encoder.finish(stop_before);
  if (!program) throw std::runtime_error(to_string(program.error()));
  return std::move(*program);
}

/// One life of a child.
class ChildRun {
 public:
  explicit ChildRun(const Plan& plan) : ChildRun(plan, encode(plan)) {}
  ChildRun(const Plan& plan, const detail::Program& program)
      : ChildRun(program, passed_slots(plan).size()) {
    for (const Op& o : plan.ops) {
      if (const auto* sync = std::get_if<op::Sync>(&o))
        system.answers.push_back({sync->ask == op::Sync::configure
                                      ? program::SyncKind::post_configure
                                      : program::SyncKind::post_cgroup,
                                  static_cast<unsigned>(sync->receives.size())});
      if (const auto* node = std::get_if<op::MakeNode>(&o))
        system.host_nodes.insert_or_assign(
            node->host_path, RecordingSystem::File{
                                 .what = node->host_path,
                                 .kind = RecordingSystem::File::mount,
                                 .type = node->node.kind == DeviceNode::block ? 0060000U : 0020000U,
                                 .major = node->node.major,
                                 .minor = node->node.minor});
    }
  }
  ChildRun(const detail::Program& program, std::size_t passed) {
    system.incoming.assign(program.data(), program.size);
    context.sync = sync_fd;
    context.zygote = zygote_fd;
    context.program_size = static_cast<std::uint32_t>(program.size);
    context.page = page.get();
    context.nofile = {1024, 4096};
    system.open[sync_fd] = {.what = "sync"};
    system.open[zygote_fd] = {.what = "zygote"};
    for (std::size_t i = 0; i < passed; ++i) {
      const int fd = first_passed_fd + static_cast<int>(i);
      context.passed[context.passed_count++] = fd;
      system.open[fd] = {.what = fmt::format("passed {}", i)};
    }
    // What is masked or protected and is no directory.
    system.files = {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger"};
    system.host_nodes["/dev/null"] = {.what = "/dev/null",
                                      .kind = RecordingSystem::File::mount,
                                      .type = kernel::s_ifchr,
                                      .major = 1,
                                      .minor = 3};
  }
  ChildRun(const ChildRun&) = delete;

  void run() {
    program::Interpreter<RecordingSystem> child(system, context);
    try {
      status = child.run();
    } catch (RecordingSystem::Executed& e) {
      executed = std::move(e);
    } catch (const RecordingSystem::Left& e) {
      left = e.status;
    }
  }

  std::unique_ptr<program::ResultPage> page = std::make_unique<program::ResultPage>();
  program::ChildContext context;
  RecordingSystem system{*page};

  // How it ended: one of these.
  std::optional<RecordingSystem::Executed> executed;
  std::optional<int> left;
  std::optional<int> status;  ///< The interpreter came back.
};

/// A plan with the name of the file in tests/golden that it is of.
struct Sample {
  std::string name;
  Plan plan;
};

/// The plans of every Spec in tests/golden that can be compiled.
inline const std::vector<Sample>& golden_plans() {
  static const std::vector<Sample> all = [] {
    namespace fs = std::filesystem;
    std::vector<Sample> list;
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(fs::path(CONDROID_TESTS_DIR) / "golden"))
      if (entry.path().extension() == ".spec") paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
      std::ifstream in(path, std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(in), {}};
      for (const NamedHost& host : all_hosts()) {
        if (!text.starts_with(fmt::format("# machine: {}\n", host.name))) continue;
        const auto spec = parse_spec(text);
        if (!spec) throw std::runtime_error(to_string(spec.error()));
        if (auto plan = compile(*spec, host.facts))
          list.push_back({path.stem().string(), std::move(*plan)});
      }
    }
    return list;
  }();
  return all;
}

inline const Plan& golden_plan(std::string_view name) {
  for (const Sample& sample : golden_plans())
    if (sample.name == name) return sample.plan;
  throw std::runtime_error("no golden plan of that name: " + std::string(name));
}

/// A plan of the ops given, behind the clone, with a command at its end.
inline Plan small_plan(std::vector<Op> ops) {
  Plan plan{.name = "small", .ops = {op::Clone{}, op::ArmDeathSignal{}}};
  for (Op& o : ops) plan.ops.push_back(std::move(o));
  plan.ops.emplace_back(op::Exec{.paths = {"/bin/true"}, .argv = {"true"}, .env = {}});
  return plan;
}

/// As strace(1) would tell it, more or less: descriptors by what they lead to.
inline std::string line_of(const Call& call) {
  const Signature* signature = signature_of(call.nr);
  if (signature == nullptr) return fmt::format("system call {}", call.nr);
  std::string text = signature->name;
  text += '(';
  for (std::size_t i = 0; signature->arguments[i] != 0; ++i) {
    if (i > 0) text += ", ";
    const long a = call.arguments[i];
    switch (signature->arguments[i]) {
      case 's':
        text += a == 0 ? "0" : fmt::format("\"{}\"", call.names[i]);
        break;
      case 'f':
        text += fmt::format("<{}>", call.names[i]);
        break;
      case 'n':
        text += fmt::format("{}", a);
        break;
      case 'x':
        text += fmt::format("{:#x}", static_cast<unsigned long>(a));
        break;
      default:
        text += fmt::format("{:#o}", static_cast<unsigned long>(a));
    }
  }
  text += ')';
  if (!call.data.empty()) {
    text += " \"";
    for (const char c : call.data) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && byte < 0x7f)
        text += c;
      else
        text += fmt::format("\\x{:02x}", byte);
    }
    text += '"';
  }
  return text;
}

inline std::string lines_of(const std::vector<Call>& calls) {
  std::string text;
  for (const Call& call : calls) text += line_of(call) + "\n";
  return text;
}

}  // namespace condroid::test
