// The process itself: limits, session, descriptors, credentials, and the end of it all, exec.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "plan/capabilities.hpp"
#include "plan/draft.hpp"
#include "plan/paths.hpp"
#include "plan/seccomp.hpp"

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
  d.add(std::move(place));
}

/// Rules or BPF of the Spec, beside the standard filter or without it.
std::optional<op::LoadSeccomp> own_load(Draft& d) {
  const Seccomp& wanted = d.spec.security.seccomp;
  op::LoadSeccomp load{.program = own_filter(wanted, d.refusals), .log = wanted.log};
  load.what = fmt::format("the Spec's own filter, {} instructions", load.program.size());
  // What joins later is told: rules as what became of them.
  Seccomp& inside = d.plan.inside.seccomp;
  inside = wanted;
  if (wanted.kind == Seccomp::rules)
    inside = {.kind = Seccomp::bpf,
              .arch = wanted.arch,
              .program = load.program,
              .and_standard = wanted.and_standard,
              .log = wanted.log};
  if (load.program.empty()) return {};
  return load;
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
  std::optional<op::LoadSeccomp> filter = own_load(d);
  const auto load_early = [&] {
    if (!filter) return;
    filter->before_exec = false;
    d.add(*std::exchange(filter, std::nullopt));
  };
  // Without no_new_privs it takes CAP_SYS_ADMIN, which is about to go.
  if (!security.no_new_privs) load_early();
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
    // Whom the command may trace must not have more calls than itself: an init of ours, unless its
    // memory is the host's user namespace's, which is out of the command's reach.
    if (security.capabilities.has(Capability::sys_ptrace) && !d.shape.ids.inside()) load_early();
    d.add(op::StartInit{});
    // A session of the command's own: what is typed at the terminal reaches it once, not by way of
    // the init again.
    if (p.new_session) d.add(op::NewSession{.terminal = terminal});
  }
  if (filter) d.add(std::move(*filter));
  d.add(op::Exec{.paths = candidates(p), .argv = p.argv, .env = p.env});
}

}  // namespace condroid::inline v0::detail
