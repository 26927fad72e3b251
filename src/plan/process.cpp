// The process itself: limits, session, descriptors, credentials, and the end of it all, exec.

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "formatted.hpp"
#include "plan/capabilities.hpp"
#include "plan/draft.hpp"
#include "plan/paths.hpp"
#include "plan/seccomp.hpp"
#include "plan/words.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::string_view usual_path =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// As execvp(3): an empty element of PATH is the current directory.
std::vector<std::string> candidates(const Process& process) {
  const std::string& program = process.argv.front();
  if (program.find('/') != std::string::npos) return {program};
  std::string_view path = usual_path;
  for (const std::string_view entry : process.env)
    if (entry.starts_with("PATH=")) path = entry.substr(5);
  std::vector<std::string> list;
  for (;;) {
    const std::size_t colon = path.find(':');
    const std::string_view dir = path.substr(0, colon);
    std::string candidate(dir.empty() ? "." : dir);
    if (!candidate.ends_with('/')) candidate += '/';
    candidate += program;
    if (std::ranges::find(list, candidate) == list.end()) list.push_back(std::move(candidate));
    if (colon == std::string_view::npos) return list;
    path.remove_prefix(colon + 1);
  }
}

void place_descriptors(Draft& d) {
  const Stdio& stdio = d.spec.process.stdio;
  const Stream* const streams[] = {&stdio.in, &stdio.out, &stdio.err};
  op::PlaceDescriptors place{.entries = std::move(d.placed)};
  for (int number = 0; number < 3; ++number)
    place.entries.push_back(
        {.from = streams[number]->kind == Stream::pty ? d.console : op::Slot{number},
         .number = number});
  std::ranges::sort(place.entries, {}, &op::PlaceDescriptors::Entry::number);
  place.keep = d.hook_output;
  d.add(std::move(place));
}

/// A call of ours about which the host would be asked, while it waits for the launch.
void refuse_asking(Draft& d, const OwnFilters& filters, Early early) {
  for (const OwnCall& call : own_calls(filters, early))
    if (may_ask(filters.notify, call.number))
      d.refusals.bad(
          "security.seccomp.notify_program",
          formatted("asks the host about {}, which condroid itself makes after the filter was "
                    "loaded{}",
                    quoted(call.name),
                    early.init          ? ", and its init"
                    : early.credentials ? ", as no_new_privs is not set"
                                        : ""),
          "take it out, or allow it by a rule");
}

/// One that the filter denies, behind which hooks wait or are run.
void refuse_denying(Draft& d, const OwnFilters& filters, Early early) {
  for (const OwnCall& call : own_calls(filters, early))
    if (may_deny(filters.program, call.number)) {
      d.refusals.bad(
          "hooks.run",
          formatted("{} behind the Spec's own filter, which {}, and that may deny {}, which "
                    "condroid makes for {}",
                    early.hooks ? "start is" : "waiting for the host is",
                    early.credentials ? "is loaded early without no_new_privs"
                                      : "is loaded before what the container could trace",
                    quoted(call.name),
                    early.hooks ? "hooks there" : "start_host, or for namespaces at stop"),
          early.credentials ? "set security.no_new_privs, allow it, or use another point"
                            : "take sys_ptrace away, allow it, or use another point");
      return;
    }
}

/// Rules or BPF of the Spec, beside the standard filter or without it: in order.
std::vector<op::LoadSeccomp> own_loads(Draft& d, Early early) {
  const Seccomp& wanted = d.spec.security.seccomp;
  OwnFilters filters = own_filters(wanted, d.refusals);
  // What joins later is told: rules as what became of them.
  Seccomp& inside = d.plan.inside.seccomp;
  inside = wanted;
  if (wanted.kind == Seccomp::rules)
    inside = {.kind = Seccomp::bpf,
              .arch = wanted.arch,
              .program = filters.program,
              .notify_program = filters.notify,
              .and_standard = wanted.and_standard,
              .log = wanted.log};
  std::vector<op::LoadSeccomp> loads;
  if (early.barrier || early.hooks) refuse_denying(d, filters, early);
  if (!filters.notify.empty()) {
    refuse_asking(d, filters, early);
    loads.push_back(
        {.what = formatted("what the host is asked about, {} instructions", filters.notify.size()),
         .log = wanted.log,
         .listener = true,
         .by_sendmmsg = may_ask(filters.notify, SYS_sendmsg)});
    loads.back().program = std::move(filters.notify);
  }
  if (!filters.program.empty()) {
    loads.push_back(
        {.what = formatted("the Spec's own filter, {} instructions", filters.program.size()),
         .log = wanted.log,
         .before_exec = loads.empty()});
    loads.back().program = std::move(filters.program);
  }
  return loads;
}

/// Whether the session is made when the streams are known: one of them may be its terminal.
bool session_with_streams(const Draft& d) {
  return d.spec.process.new_session && d.shape.console && !d.spec.process.init;
}

}  // namespace

std::vector<std::string> merged_env(const std::vector<std::string>& base,
                                    const std::vector<std::string>& more) {
  std::vector<std::string> out;
  std::unordered_map<std::string, std::size_t> places;
  for (const auto* list : {&base, &more})
    for (const std::string& word : *list) {
      const auto [place, first] = places.try_emplace(word.substr(0, word.find('=')), out.size());
      if (first)
        out.push_back(word);
      else
        out[place->second] = word;
    }
  return out;
}

void settle_ahead(Draft& d) {
  if (d.spec.security.own_keyring) d.add(op::JoinKeyring{});
  if (d.spec.process.new_session && !session_with_streams(d)) d.add(op::NewSession{});
  // It denies nothing of what comes yet, so it need not be loaded while somebody waits.
  const Security& security = d.spec.security;
  if (!has_standard(security.seccomp)) return;
  if (security.no_new_privs) d.add(op::NoNewPrivs{});
  d.add(op::LoadSeccomp{.what = "the standard filter",
                        .program = standard_filter(security),
                        .log = security.seccomp.log,
                        .before_exec = false});
}

void settle_process(Draft& d) {
  const Process& p = d.spec.process;
  const Security& security = d.spec.security;
  for (const RlimitSetting& limit : p.rlimits) d.add(op::SetRlimit{.limit = limit});
  if (p.scheduling != Scheduling{}) d.add(op::SetScheduling{.scheduling = p.scheduling});
  if (p.personality != Personality::native) d.add(op::SetPersonality{.personality = p.personality});
  if (p.umask) d.add(op::SetUmask{.umask = *p.umask});
  const bool on_console =
      std::ranges::any_of(std::initializer_list<Stream>{p.stdio.in, p.stdio.out, p.stdio.err},
                          [](const Stream& s) { return s.kind == Stream::pty; });
  const op::Slot terminal = p.controlling_terminal && on_console ? d.console : op::Slot{};
  if (session_with_streams(d)) d.add(op::NewSession{.terminal = terminal});
  place_descriptors(d);
  // pivot_root leaves us in "/".
  const std::string cwd = normalized(p.cwd.str());
  if (cwd != "/" || !d.shape.own_root())
    d.add(op::ChangeDirectory{.path = cwd, .create = p.create_cwd});
  // Whom the command may trace must not have more calls than itself: an init of ours, unless its
  // memory is the host's user namespace's, which is out of the command's reach.
  const bool init_first =
      p.init && security.capabilities.has(Capability::sys_ptrace) && !d.shape.ids.inside();
  // The same goes for a hook, which has the command's filter from the start.
  const bool hook_first = has_hooks(d, HookPoint::start) && !d.shape.ids.inside() &&
                          security.capabilities.has(Capability::sys_ptrace);
  const bool behind = hook_first || !security.no_new_privs;
  const Early early{.credentials = !security.no_new_privs,
                    .init = p.init && (init_first || !security.no_new_privs),
                    .terminal = terminal.valid(),
                    .barrier = behind && waits_for_hooks(d),
                    .hooks = behind && has_hooks(d, HookPoint::start)};
  std::vector<op::LoadSeccomp> filters = own_loads(d, early);
  const auto load = [&](bool before_exec) {
    for (op::LoadSeccomp& filter : filters) {
      filter.before_exec = before_exec && filter.before_exec;
      d.add(std::move(filter));
    }
    filters.clear();
  };
  // Without no_new_privs it takes CAP_SYS_ADMIN, which is about to go.
  // Landlock's calls come before a filter of the Spec's. An init of ours is outside where it can
  // be: it runs nothing of the container's.
  auto restrict_once = [&, done = false]() mutable {
    if (!std::exchange(done, true)) apply_landlock(d);
  };
  if (early.credentials) {
    restrict_once();
    load(false);
  }
  const CapabilitySets sets = capability_sets(d.spec);
  d.add(op::SetCredentials{.uid = p.uid,
                           .gid = p.gid,
                           .groups = p.groups,
                           .set_groups = d.shape.ids.set_groups,
                           .groups_may_stay = d.shape.ids.joined && p.groups.empty(),
                           .bounding = security.capabilities,
                           .permitted = *sets.permitted,
                           .effective = *sets.effective,
                           .inheritable = *sets.inheritable,
                           .ambient = *sets.ambient,
                           .securebits = security.securebits,
                           .last_capability = d.facts.last_capability,
                           .death_signal = p.death_signal});
  if (security.no_new_privs && !has_standard(security.seccomp)) d.add(op::NoNewPrivs{});
  if (p.init) {
    if (init_first && !filters.empty()) {
      restrict_once();
      load(false);
    }
    d.add(op::StartInit{});
    // A session of the command's own: what is typed at the terminal reaches it once, not by way of
    // the init again.
    if (p.new_session) d.add(op::NewSession{.terminal = terminal});
  }
  restrict_once();
  if (hook_first) load(false);
  settle_hooks(d);
  load(true);
  d.add(op::Exec{.paths = candidates(p), .argv = p.argv, .env = p.env});
}

}  // namespace condroid::inline v0::detail
