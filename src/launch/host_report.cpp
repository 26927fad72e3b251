// Trying what works here: containers through a Runtime, and everything else through a small program
// of its own (src/probe) that the Runtime's zygote runs. The host process is never forked.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/host.hpp"
#include "formatted.hpp"
#include "launch/embedded.hpp"
#include "launch/helper.hpp"
#include "launch/host_words.hpp"
#include "launch/zygote.hpp"
#include "probe/format.hpp"
#include "sys/cgroup_parents.hpp"
#include "sys/wire.hpp"

extern "C" {
extern const unsigned char condroid_probe_begin[];
extern const unsigned char condroid_probe_end[];
}

namespace condroid {
inline namespace v0 {

namespace {

using namespace detail;
using Clock = std::chrono::steady_clock;

bool is_refusal(int error) { return error == EPERM || error == EACCES; }

std::string replaced(std::string_view text, std::string_view user) {
  std::string out(text);
  constexpr std::string_view mark = "{user}";
  if (const auto at = out.find(mark); at != out.npos) out.replace(at, mark.size(), user);
  return out;
}

/// Text of a fixed-size array that may lack its end.
template <std::size_t N>
std::string text_of(const char (&from)[N]) {
  return {from, ::strnlen(from, N)};
}

/// The error without its hint, which goes to Finding::mend.
void describe_error(Finding& f, Error error) {
  f.mend = std::exchange(error.hint, {});
  error.also.clear();  // of the same kind, and each with its hint
  f.outcome = error.is(Errc::deadline)     ? Finding::unknown
              : is_refusal(error.errnum()) ? Finding::refused
                                           : Finding::fails;
  f.why = to_string(error);
}

/// The first disk, for limits that name one.
std::string a_block_device() {
  std::ifstream file("/proc/partitions");
  std::string line;
  while (std::getline(file, line)) {
    unsigned major = 0, minor = 0;
    unsigned long blocks = 0;
    char name[64];
    if (std::sscanf(line.c_str(), " %u %u %lu %63s", &major, &minor, &blocks, name) == 4 &&
        blocks > 0)
      return formatted("{}:{}", major, minor);
  }
  return {};
}

class Reporter {
 public:
  explicit Reporter(HostOptions options)
      : options_(std::move(options)), begin_(Clock::now()), until_(begin_ + options_.deadline) {}

  HostReport take(const std::shared_ptr<RuntimeCore>& core, const Runtime& runtime) {
    auto facts = runtime.facts();
    if (!facts) return without(facts.error());
    facts_ = &facts->get();
    introduce(*facts_);
    found("launch.runtime").outcome = Finding::works;
    containers(runtime);
    scope(runtime);
    for (const auto& h : facts_->cgroups) hierarchies_.push_back({&h});
    if (auto ok = run_probe(*core); !ok) note_probe_error_ = to_string(ok.error());
    return finish();
  }

  /// Nothing could be tried.
  HostReport without(const Error& error) {
    describe_error(found("launch.runtime"), error);
    if (auto facts = probe_host()) introduce(*facts);
    note_probe_error_ = "there is no zygote that would try it";
    return finish();
  }

 private:
  struct Hierarchy {
    const CgroupHierarchy* facts;
    Fd base = {};
    int own = -1;
  };

  void introduce(const HostFacts& facts) {
    report_.uid = facts.uid;
    report_.user = facts.user_name;
    report_.kernel = facts.kernel_release;
    report_.machine = facts.machine;
  }
  [[nodiscard]] std::string user() const {
    return report_.user.empty() ? formatted("{}", report_.uid.value) : report_.user;
  }

  /// The finding of that id; made when it is new.
  Finding& found(std::string_view id) {
    const auto at = std::ranges::find(list_, id, &Finding::id);
    if (at != list_.end()) return *at;
    return list_.emplace_back(Finding{.id = std::string(id)});
  }

  // ---- containers ----

  void containers(const Runtime& runtime) {
    auto program = embedded_program({condroid_probe_begin, condroid_probe_end}, "condroid-probe",
                                    Step::open_descriptor);
    if (!program) {
      for (const auto& w : finding_words)
        if (w.id.starts_with("launch.") && w.id != "launch.runtime")
          describe_error(found(w.id), program.error());
      return;
    }
    program_ = std::move(*program);
    Spec& plain = plain_;
    plain.name = "condroid-probe";
    constexpr int number = 3;
    // The command is nothing of the machine's: without arguments it ends at once.
    plain.process.argv = {"/proc/self/fd/3"};
    plain.process.descriptors = {{.host = {program_.get()}, .number = number}};
    plain.process.stdio = Stdio::null;
    launch(runtime, "launch.plain", plain);
    Spec spec = plain;
    spec.namespaces |= Namespace::user;
    spec.idmap.kind =
        !facts_->subuids.empty() && !facts_->subgids.empty() ? IdMap::subids : IdMap::single;
    launch(runtime, "launch.userns", spec);
    spec = plain;
    spec.root.ephemeral = true;
    launch(runtime, "launch.ephemeral", spec);
    spec = plain;
    spec.terminal.console = true;
    spec.process.stdio = Stdio::pty;
    launch(runtime, "launch.terminal", spec);
    spec = plain;
    spec.process.init = true;
    launch(runtime, "launch.init", spec);
    spec = plain;
    spec.namespaces |= Namespace::time;
    spec.time.monotonic = std::chrono::hours{1};
    launch(runtime, "launch.time", spec);
    spec = plain;
    constexpr Bytes memory{64U << 20U};
    spec.resources.memory_max = memory;
    spec.resources.pids_max = 64;
    launch(runtime, "launch.limits", spec);
  }

  /// Asks systemd for one, unless the Runtime has one already; a container is launched below it.
  void scope(const Runtime& runtime) {
    Finding& f = found("cgroup.scope");
    constexpr std::chrono::milliseconds most{5000};
    const auto patience = std::min(most, left());
    if (patience.count() == 0) return;
    std::optional<Runtime> other;
    if (runtime.scope().unit.empty()) {
      RuntimeOptions options = options_.runtime;
      options.cgroup_parent.clear();
      options.systemd.use = SystemdScope::required;
      options.systemd.patience = patience;
      auto opened = Runtime::open(std::move(options));
      if (!opened) {
        describe_error(f, opened.error());
        f.mend = replaced(facts_->uid.value == 0 ? systemd_for_root : systemd_for_user, user());
        return;
      }
      other = std::move(*opened);
    }
    Spec spec = plain_;
    spec.resources.cgroup = CgroupMode::always;
    const Runtime& below = other ? *other : runtime;
    launch(below, "cgroup.scope", spec);
    const auto facts = below.facts();
    if (f.outcome != Finding::works || !facts) return;
    std::vector<std::string> controllers;
    for (const CgroupHierarchy& h : facts->get().cgroups)
      if (h.parent.ends_with("/" + below.scope().unit))
        controllers.insert(controllers.end(), h.controllers.begin(), h.controllers.end());
    std::erase_if(controllers, [](const std::string& c) { return c.starts_with("name="); });
    f.why =
        controllers.empty() ? "without controllers" : formatted("{}", fmt::join(controllers, " "));
  }

  [[nodiscard]] std::chrono::milliseconds left() const {
    return std::max(std::chrono::ceil<std::chrono::milliseconds>(until_ - Clock::now()),
                    std::chrono::milliseconds{0});
  }

  void launch(const Runtime& runtime, std::string_view id, const Spec& spec) {
    Finding& f = found(id);
    constexpr std::chrono::milliseconds most{5000};
    const auto patience = std::min(most, left());
    if (patience.count() == 0) return;
    auto box = runtime.launch(spec, {.deadline = patience});
    if (!box) return describe_error(f, box.error());
    auto exit = box->wait_for(patience);
    if (!exit) return describe_error(f, exit.error());
    f.outcome = *exit && (*exit)->success() ? Finding::works : Finding::fails;
    if (!*exit)
      f.why = formatted("it did not end within {} ms", patience.count());
    else if (!(*exit)->success())
      f.why = to_string(**exit);
    else if (!(*exit)->cleanup_errors.empty())
      f.outcome = Finding::fails, f.why = (*exit)->cleanup_errors.front();
    else if (id == "launch.userns")
      f.why = spec.idmap.kind == IdMap::subids ? "with subids" : "single id";
  }

  // ---- the program ----

  [[nodiscard]] Result<void> run_probe(RuntimeCore& core) {
    if (!program_.valid()) return fail(ENOEXEC, Step::run_helper, "the probe");
    auto zygote = core.get_zygote();
    if (!zygote) return fail(zygote);
    const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (!null.valid()) return fail(errno, Step::run_helper, "'/dev/null'");
    int pair[2];
    if (::pipe2(pair, O_CLOEXEC) < 0) return fail(errno, Step::run_helper, "the probe");
    const Fd output(pair[0]);
    Fd input(pair[1]);
    if (::fcntl(output.get(), F_SETFL, O_NONBLOCK) < 0)
      return fail(errno, Step::run_helper, "the probe");
    std::vector<int> passed = {null.get(), input.get(), program_.get()};
    std::vector<std::string> argv = arguments();
    cgroups(**zygote, passed, argv);

    Encoder encoder;
    for (std::size_t i = 0; i < passed.size(); ++i)
      encoder.pass(op::Slot{static_cast<std::int16_t>(i)});
    encoder.add(op::ArmDeathSignal{}, 0);
    op::PlaceDescriptors places{.entries = {{op::Slot{0}, 0},
                                            {op::Slot{1}, probe::fd_findings},
                                            {op::Slot{0}, 2},
                                            {op::Slot{2}, probe::fd_program}}};
    for (std::size_t i = 3; i < passed.size(); ++i)
      places.entries.push_back(
          {op::Slot{static_cast<std::int16_t>(i)}, probe::fd_cgroups + static_cast<int>(i) - 3});
    encoder.add(places, 1);
    encoder.add(
        op::Exec{
            .paths = {formatted("/proc/self/fd/{}", probe::fd_program)}, .argv = argv, .env = {}},
        2);
    auto helper = Helper::start(*zygote, encoder, passed, "the probe");
    if (!helper) return fail(helper);
    input.reset();
    std::string bytes;
    for (bool ended = false; !ended;) {
      auto done = (*helper)->step();
      if (!done) return fail(done);
      ended = done->has_value();
      char block[8192];
      ssize_t n = 0;
      while ((n = ::read(output.get(), block, sizeof block)) > 0)
        bytes.append(block, static_cast<std::size_t>(n));
      while (bytes.size() >= sizeof(probe::Finding)) {
        probe::Finding one{};
        std::memcpy(&one, bytes.data(), sizeof one);
        bytes.erase(0, sizeof one);
        take_finding(one);
      }
      if (ended && (*done)->failed) return fail((*done)->error, Step::run_helper, "the probe");
      if (ended) break;
      if (left().count() == 0) return fail(Errc::deadline, Step::run_helper, "the probe");
      std::array<pollfd, 2> waiting{
          {{n == 0 ? -1 : output.get(), POLLIN, 0}, {(*helper)->poll_fd(), POLLIN, 0}}};
      (void)::poll(waiting.data(), waiting.size(), static_cast<int>(left().count()));
    }
    return {};
  }

  [[nodiscard]] std::vector<std::string> arguments() const {
    const auto range = [](const std::vector<SubidRange>& list) {
      return list.empty() ? SubidRange{} : list.front();
    };
    const SubidRange uids = range(facts_->subuids), gids = range(facts_->subgids);
    const auto tool = [](const std::string& known, const char* usual) {
      return known.empty() ? std::string(usual) : known;
    };
    return {"condroid-probe",
            formatted("{}", facts_->uid.value),
            formatted("{}", facts_->gid.value),
            tool(facts_->newuidmap, "/usr/bin/newuidmap"),
            tool(facts_->newgidmap, "/usr/bin/newgidmap"),
            formatted("{}", uids.start),
            formatted("{}", uids.count),
            formatted("{}", gids.start),
            formatted("{}", gids.count),
            a_block_device()};
  }

  /// The runtime's own cgroup in each hierarchy: whatever happens, the zygote removes it with all
  /// that is in it.
  void cgroups(Zygote& zygote, std::vector<int>& passed, std::vector<std::string>& argv) {
    bool v2 = false;
    for (std::size_t i = 0; i < hierarchies_.size(); ++i) {
      Hierarchy& h = hierarchies_[i];
      v2 |= h.facts->v2;
      const std::string names = formatted("{}", fmt::join(h.facts->controllers, ","));
      const std::string id = h.facts->v2 ? "cgroup.v2" : "cgroup.v1." + names;
      auto own = zygote.cgroup_dir(i, *h.facts, {});
      if (!own) {
        describe_error(found(id), own.error());
        continue;
      }
      const std::string base = parent_dir(*h.facts);
      h.base = Fd(::open(base.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      if (!h.base.valid() || argv.size() >= 10 + 2 * std::size_t{probe::max_cgroups}) continue;
      h.own = *own;
      passed.push_back(h.base.get());
      passed.push_back(h.own);
      argv.emplace_back(h.facts->v2 ? "2" : "1");
      argv.push_back(names);
    }
    if (v2) return;
    Finding& none = found("cgroup.v2");
    none.outcome = Finding::fails;
    none.why = "no hierarchy of version 2 is mounted";
    none.mend = "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified";
  }

  void take_finding(const probe::Finding& one) {
    const std::string id = text_of(one.id);
    if (id.empty()) return;
    Finding& f = found(id);
    const std::string step = text_of(one.step), text = text_of(one.text);
    switch (one.state) {
      case probe::State::works:
        f.outcome = Finding::works;
        f.why = text;
        return;
      case probe::State::failed: {
        f.outcome = is_refusal(one.error) ? Finding::refused : Finding::fails;
        const char* words = ::strerrordesc_np(one.error);
        f.why = step + ": " +
                (one.error == 0 ? text
                                : formatted("{} ({})", words != nullptr ? words : "unknown error",
                                            errno_name(one.error)));
        const FindingWords& w = words_of(id);
        f.mend = replaced(f.outcome == Finding::refused       ? w.refused
                          : one.error == 0 && !w.said.empty() ? w.said
                                                              : w.absent,
                          user());
        return;
      }
      case probe::State::unknown:
        f.outcome = Finding::unknown;
        f.why = text;
        return;
    }
    f.outcome = Finding::unknown;
    f.why = "the probe said something that is not understood";
  }

  static const FindingWords& words_of(std::string_view id) {
    static constexpr FindingWords controller{"", "cgroups", "", delegate, delegate};
    for (const auto& w : finding_words)
      if (w.id == id) return w;
    for (const auto& w : cgroup_words)
      if (w.id == id) return w;
    return controller;
  }

  // ---- the report ----

  void add(std::string_view id) {
    const FindingWords& w = words_of(id);
    const auto at = std::ranges::find(list_, id, &Finding::id);
    Finding f = at != list_.end() ? *at : Finding{.id = std::string(id)};
    f.group = w.group;
    constexpr std::string_view v1 = "cgroup.v1.", v2 = "cgroup.v2.";
    if (!w.what.empty())
      f.what = w.what;
    else if (id.starts_with(v1))
      f.what = formatted("v1: {}", id.substr(v1.size()));
    else
      f.what = formatted("v2: {}", id.substr(std::min(v2.size(), id.size())));
    if (f.outcome == Finding::unknown && f.why.empty())
      f.why = note_probe_error_.empty() ? "it was not tried" : note_probe_error_;
    report_.findings.push_back(std::move(f));
  }

  HostReport finish() {
    std::vector<std::string> cgroups;
    for (const Finding& f : list_)
      if (f.id.starts_with("cgroup.")) cgroups.push_back(f.id);
    for (const auto& w : finding_words) {
      add(w.id);
      if (w.id == "id.newgidmap")
        for (const auto& id : cgroups) add(id);
    }
    report_.elapsed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin_);
    return std::move(report_);
  }

  HostOptions options_;
  Clock::time_point begin_, until_;
  const HostFacts* facts_ = nullptr;
  HostReport report_;
  std::vector<Finding> list_;
  std::vector<Hierarchy> hierarchies_;
  Spec plain_;
  Fd program_;
  std::string note_probe_error_;
};

}  // namespace

HostReport Host::report(HostOptions options) {
  RuntimeOptions of_runtime = options.runtime;
  Reporter reporter(std::move(options));
  auto runtime = Runtime::open(std::move(of_runtime));
  if (!runtime) return reporter.without(runtime.error());
  return reporter.take(runtime->core_, *runtime);
}

}  // namespace v0
}  // namespace condroid
