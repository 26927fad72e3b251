#include <unistd.h>

#include <algorithm>
#include <condroid/attach.hpp>
#include <condroid/pool.hpp>
#include <condroid/runtime.hpp>
#include <ctime>
#include <mutex>
#include <optional>
#include <vector>

#include "bare_netlink.hpp"
#include "launcher.hpp"

namespace bench {
namespace {

using namespace condroid;
using namespace condroid::literals;

/// The Spec that does what the floor does for this Work.
Spec spec_of(const Work& work) {
  Spec spec;
  spec.name = "bench";
  spec.hostname = work.hostname;
  spec.root.path = HostPath(work.root);
  spec.root.read_only = work.read_only_root;
  spec.process.argv = {work.command};
  spec.process.stdio = Stdio::null;
  if (work.clock) spec.process.stdio.out = Stream::pipe;
  spec.process.new_session = work.new_session;
  spec.namespaces = Namespace::mount | Namespace::pid | Namespace::uts | Namespace::ipc;
  if (work.net)
    spec.namespaces |= Namespace::net;
  else
    spec.security.allow |= Allow::host_network;
  if (work.bridge[0] != '\0')
    spec.network.interfaces = {{.name = bare_interface,
                                .link = Veth{.bridge = work.bridge},
                                .addresses = {"10.78.0.2/24"_prefix}}};
  if (work.cgroup_ns)
    spec.namespaces |= Namespace::cgroup;
  else
    spec.security.allow |= Allow::host_cgroup;
  if (work.user) {
    spec.idmap.kind = IdMap::ranges;
    spec.idmap.uids = {{0, work.id_base, 65536}};
    spec.idmap.gids = {{0, work.id_base, 65536}};
  }
  spec.resources.cgroup = work.cgroup == CgroupUse::none ? CgroupMode::never : CgroupMode::always;
  if (work.cgroup == CgroupUse::everywhere) spec.resources.cgroup = CgroupMode::everywhere;
  if (work.cgroup == CgroupUse::limits) {
    spec.resources.memory_max = 512_MiB;
    spec.resources.pids_max = 256;
    spec.resources.cpus = 1.0;
  }
  if (work.sysfs == SysfsUse::none) {
    spec.default_mounts = false;
    spec.mounts.push_back(Proc{});
  }
  spec.devices.shm = work.shm;
  spec.devices.mqueue = work.mqueue;
  spec.security.no_new_privs = work.no_new_privs;
  if (!work.no_new_privs) spec.security.allow |= Allow::new_privileges;
  spec.security.own_keyring = work.own_keyring;
  if (work.filter_size == 0) {
    spec.security.seccomp.kind = Seccomp::none;
    spec.security.allow |= Allow::all_syscalls;
  }
  if (work.limit_capabilities) {
    spec.security.capabilities = CapabilitySet::from_bits(work.capabilities);
  } else {
    spec.security.capabilities = CapabilitySet::all();
  }
  spec.security.allow |= Allow::capabilities;
  spec.security.allow |= Allow::real_root;
  spec.security.allow |= Allow::unmasked_kernel;
  const auto list = [](const auto& from) {
    std::vector<GuestPath> paths;
    for (const char* p = from.next(nullptr); p != nullptr; p = from.next(p))
      paths.emplace_back(std::string("/") + p);
    return paths;
  };
  spec.security.masked_paths = list(work.masked);
  spec.security.read_only_paths = list(work.read_only);
  return spec;
}

/// What /clock told, and its end.
template <class Process>
bool clock_of(Result<Process> process, std::uint64_t* moment, std::string* error) {
  if (!process) return *error = to_string(process.error()), false;
  timespec told{};
  const Fd out = process->take_stdout();
  if (::read(out.get(), &told, sizeof told) != static_cast<ssize_t>(sizeof told))
    return *error = "the command did not tell the time", false;
  auto exit = process->wait();
  if (!exit) return *error = to_string(exit.error()), false;
  if (!exit->success() || !exit->cleanup_errors.empty()) return *error = to_string(*exit), false;
  *moment = static_cast<std::uint64_t>(told.tv_sec) * 1'000'000'000U +
            static_cast<std::uint64_t>(told.tv_nsec);
  return true;
}

class CondroidLauncher final : public Launcher {
 public:
  explicit CondroidLauncher(Runtime runtime) : runtime_(std::move(runtime)) {}
  [[nodiscard]] pid_t helper_pid() const override { return runtime_.zygote_pid().value; }

  [[nodiscard]] bool prepare(const Work& work, std::string* error) override {
    auto facts = runtime_.facts();
    if (!facts) return *error = to_string(facts.error()), false;
    auto plan = compile(spec_of(work), *facts);
    if (!plan) return *error = to_string(plan.error()), false;
    plan_ = std::make_shared<const Plan>(std::move(*plan));
    return true;
  }

  [[nodiscard]] bool launch_and_wait(std::string* error) override {
    auto box = runtime_.launch(plan_);
    if (!box) return *error = to_string(box.error()), false;
    auto exit = box->wait();
    if (!exit) return *error = to_string(exit.error()), false;
    if (!exit->success() || !exit->cleanup_errors.empty()) return *error = to_string(*exit), false;
    return true;
  }

  [[nodiscard]] bool launch_clock(std::uint64_t* moment, std::string* error) override {
    return clock_of(runtime_.launch(plan_), moment, error);
  }

  [[nodiscard]] bool open_pool(const Work& work, std::uint64_t size, std::string* error) override {
    pool_.reset();
    if (size == 0) return true;
    auto pool = Pool::open(runtime_, spec_of(work), {.size = size});
    if (!pool) return *error = to_string(pool.error()), false;
    pool_ = std::move(*pool);
    return fill(error);
  }

  [[nodiscard]] bool take_clock(std::uint64_t* moment, std::string* error) override {
    if (!pool_) return *error = "no pool is open", false;
    return clock_of(pool_->take(), moment, error);
  }

  [[nodiscard]] bool refill(std::string* error) override {
    if (!pool_) return *error = "no pool is open", false;
    if (auto ok = pool_->step(); !ok) return *error = to_string(ok.error()), false;
    return true;
  }

  [[nodiscard]] bool fill(std::string* error) override {
    if (!pool_) return *error = "no pool is open", false;
    if (auto ok = pool_->fill(); !ok) return *error = to_string(ok.error()), false;
    return true;
  }

  [[nodiscard]] int pool_fd() const override { return pool_ ? pool_->poll_fd().get() : -1; }

  [[nodiscard]] bool attach_clock(std::uint64_t* moment, std::string* error) override {
    if (alive_.empty()) return *error = "no container is there", false;
    return clock_of(alive_.back().attach(clock_), moment, error);
  }

  [[nodiscard]] pid_t last_spawned() const override {
    return alive_.empty() ? 0 : alive_.back().pid().value;
  }

  [[nodiscard]] bool spawn(std::string* error) override {
    auto box = runtime_.launch(plan_);
    if (!box) return *error = to_string(box.error()), false;
    const std::lock_guard lock(mutex_);
    alive_.push_back(std::move(*box));
    return true;
  }

  [[nodiscard]] bool stop_all(std::string* error) override {
    const std::lock_guard lock(mutex_);
    for (auto& box : alive_)
      if (auto ok = box.kill(); !ok) return *error = to_string(ok.error()), false;
    for (auto& box : alive_)
      if (auto exit = box.wait(); !exit) return *error = to_string(exit.error()), false;
    alive_.clear();
    alive_.shrink_to_fit();
    return true;
  }

 private:
  Runtime runtime_;
  std::shared_ptr<const Plan> plan_;
  std::mutex mutex_;
  std::vector<Container> alive_;
  Attach clock_{
      .process = {.argv = {"/clock"}, .stdio = Stdio(Stream::null, Stream::pipe, Stream::null)}};
  std::optional<Pool> pool_;  // goes before the Runtime
};

}  // namespace

bool cgroups_of(const Work& work, std::vector<CgroupPart>* parts, std::string* error) {
  const auto facts = probe_host();
  if (!facts) return *error = to_string(facts.error()), false;
  const auto plan = compile(spec_of(work), *facts);
  if (!plan) return *error = to_string(plan.error()), false;
  std::vector<std::size_t> hierarchies;
  for (const Op& op : plan->ops) {
    if (const auto* made = std::get_if<op::CreateCgroup>(&op)) {
      hierarchies.push_back(made->hierarchy);
      parts->push_back({.v2 = made->v2,
                        .mount_point = made->mount_point,
                        .controllers = made->controllers,
                        .values = {}});
    } else if (const auto* value = std::get_if<op::WriteCgroup>(&op)) {
      for (std::size_t i = 0; i < hierarchies.size(); ++i) {
        if (hierarchies[i] == value->hierarchy)
          (*parts)[i].values.emplace_back(value->file, value->value);
      }
    }
  }
  return true;
}

bool add_filter(Work* work, std::string* error) {
  const auto facts = probe_host();
  if (!facts) return *error = to_string(facts.error()), false;
  work->filter_size = 1;  // any
  const auto plan = compile(spec_of(*work), *facts);
  if (!plan) return *error = to_string(plan.error()), false;
  const auto& program = plan->inside.seccomp.program;
  if (program.size() > Work::max_filter) return *error = "the filter is too long", false;
  std::ranges::copy(program, work->filter);
  work->filter_size = static_cast<std::uint16_t>(program.size());
  return true;
}

std::unique_ptr<Launcher> make_launcher(const Work& work, std::string* error) {
  auto runtime = Runtime::open();
  if (!runtime) return *error = to_string(runtime.error()), nullptr;
  auto launcher = std::make_unique<CondroidLauncher>(std::move(*runtime));
  if (work.root[0] != '\0' && !launcher->prepare(work, error)) return nullptr;
  return launcher;
}

}  // namespace bench
