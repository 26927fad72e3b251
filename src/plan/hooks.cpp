// Hooks: what of them cannot be, and where in the plan they are.
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "formatted.hpp"
#include "plan/checks.hpp"
#include "plan/draft.hpp"
#include "plan/paths.hpp"
#include "plan/words.hpp"
#include "spec/hook_text.hpp"
#include "spec/links.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::size_t most_hooks = 256;
constexpr std::size_t most_words = std::size_t{64} << 10U;
constexpr std::size_t most_input = std::size_t{1} << 20U;
constexpr std::string_view usual_root = "/mnt";

bool is_inside(HookPoint p) {
  return p == HookPoint::pre_mount || p == HookPoint::mount || p == HookPoint::autodev ||
         p == HookPoint::start;
}
bool is_before_pivot(HookPoint p) { return is_inside(p) && p != HookPoint::start; }
std::string_view link_name(const Interface& i) {
  return std::visit([]<class L>(const L& /*link*/) { return link_kind<L>; }, i.link);
}
bool is_of_interface(HookPoint p) { return p == HookPoint::up || p == HookPoint::down; }

template <class Each>
void each_text(const Hook& h, Each each) {
  for (std::size_t i = 0; i < h.argv.size(); ++i) each(nth("argv", i), h.argv[i]);
  for (std::size_t i = 0; i < h.env.size(); ++i) each(nth("env", i), h.env[i]);
  each("input", h.input);
}

bool has(const Spec& spec, HookPoint point) {
  return std::ranges::any_of(spec.hooks.run, [point](const Hook& h) { return h.point == point; });
}

constexpr std::array<std::pair<HookValue, Namespace>, 8> namespace_values = {
    {{HookValue::ns_user, Namespace::user},
     {HookValue::ns_mount, Namespace::mount},
     {HookValue::ns_pid, Namespace::pid},
     {HookValue::ns_uts, Namespace::uts},
     {HookValue::ns_ipc, Namespace::ipc},
     {HookValue::ns_net, Namespace::net},
     {HookValue::ns_cgroup, Namespace::cgroup},
     {HookValue::ns_time, Namespace::time}}};

/// Of the container's own, those that hooks of its end are told.
Flags<Namespace> wanted_later(const Spec& spec, const Shape& shape) {
  Flags<Namespace> wanted;
  for (const Hook& h : spec.hooks.run) {
    if (h.point != HookPoint::stop && h.point != HookPoint::down) continue;
    // With it the interface stays until then.
    if (h.point == HookPoint::down) wanted |= Namespace::net;
    each_text(h, [&](std::string_view /*where*/, const std::string& text) {
      for (const auto& [value, ns] : namespace_values)
        if (mentions(text, value)) wanted |= ns;
    });
  }
  for (const auto& [value, ns] : namespace_values)
    if (!shape.own(ns)) wanted -= ns;
  return wanted;
}

}  // namespace

void Checks::hooks() const {
  const Hooks& hooks = spec.hooks;
  bool before_pivot = false;
  for (std::size_t i = 0; i < hooks.run.size(); ++i) {
    const Hook& h = hooks.run[i];
    const std::string field = nth("hooks.run", i);
    const std::size_t before = refusals.size();
    if (name_of(h.point).empty()) {
      refusals.bad(field + ".point",
                   formatted("there is no point {}", static_cast<unsigned>(h.point)),
                   "use the names that this version's headers have");
      continue;
    }
    if (h.point == HookPoint::start)
      (void)guest_path(field + ".program", GuestPath(h.program));
    else
      (void)host_path(field + ".program", HostPath(h.program));
    each_text(h, [&](std::string_view where, const std::string& value) {
      const std::string at = formatted("{}.{}", field, where);
      if (where != "input" && !text(at, value)) return;
      if (const std::string wrong = mistake_in(value); !wrong.empty())
        refusals.bad(at, wrong, "\"%%\" stands for \"%\" itself; hook_text() writes it");
    });
    std::set<std::string_view> names;
    for (std::size_t k = 0; k < h.env.size(); ++k) {
      const std::string_view name = std::string_view(h.env[k]).substr(0, h.env[k].find('='));
      if (name.empty() || name.size() == h.env[k].size())
        refusals.bad(formatted("{}.env[{}]", field, k),
                     formatted("{} is no NAME=value", quoted(h.env[k])), "write NAME=value");
      else if (!names.insert(name).second)
        refusals.bad(formatted("{}.env[{}]", field, k),
                     formatted("{} is there already", quoted(name)), "say it once");
    }
    // Most of it is sent to a process that is not born yet.
    std::size_t words = 0;
    for (const auto* list : {&h.argv, &h.env})
      for (const std::string& word : *list) words += word.size() + 1 + sizeof(char*);
    if (words > most_words)
      refusals.bad(field + ".argv", formatted("{} bytes with env; at most 64 KiB", words),
                   "put them into its input");
    if (h.input.size() > most_input)
      refusals.bad(field + ".input", formatted("{} bytes; at most 1 MiB", h.input.size()),
                   "put it into a file");
    if (h.timeout < std::chrono::milliseconds{1} || h.timeout > std::chrono::hours{24})
      refusals.bad(field + ".timeout", "is not between 1ms and a day",
                   "30s is usual; whoever waits for a hook waits for it to end");
    const auto& interfaces = spec.network.interfaces;
    if (is_of_interface(h.point)) {
      const bool known = h.interface.empty()
                             ? !interfaces.empty()
                             : std::ranges::any_of(interfaces, [&](const Interface& n) {
                                 return n.name == h.interface;
                               });
      if (!known)
        refusals.bad(field + ".interface",
                     h.interface.empty()
                         ? std::string("the container has none")
                         : formatted("the container has no interface {}", quoted(h.interface)),
                     "network.interfaces lists them");
    } else if (!h.interface.empty()) {
      refusals.bad(field + ".interface", "only hooks at up and down are for one",
                   "leave it out, or use up or down");
    }
    if (is_before_pivot(h.point)) before_pivot = true;
    if (is_before_pivot(h.point) && !shape.own_root() && refusals.size() == before)
      refusals.bad(field + ".point", "the container has no mounts of its own",
                   "give it a mount namespace");
  }
  if (hooks.run.size() > most_hooks)
    refusals.bad("hooks.run", formatted("{}; at most {}", hooks.run.size(), most_hooks),
                 "let one run the others");
  if (hooks.root_at != Hooks{}.root_at || before_pivot) {
    if (host_path("hooks.root_at", hooks.root_at) && normalized(hooks.root_at.str()) == "/")
      refusals.bad("hooks.root_at", "is where the hooks' own root is",
                   formatted("\"{}\" is usual", usual_root));
  }
  const Seccomp& filter = spec.security.seccomp;
  if (has(spec, HookPoint::start) && filter.kind == Seccomp::bpf && !filter.notify_program.empty())
    refusals.bad("hooks.run",
                 "a hook at start has the command's filter, and nobody answers yet for one that "
                 "asks",
                 "use start_host, or a filter that does not ask");
  if (!wanted_later(spec, shape).empty() && !facts.privileged())
    refusals.unsupported("hooks.run",
                         "namespaces of a process that nobody may trace are opened for stop and "
                         "down by root only",
                         "leave out values that begin with ns_, and down");
}

void Checks::no_hooks(std::string_view who) const {
  if (!spec.hooks.run.empty())
    refusals.bad("hooks.run", formatted("are one launch's, and {}", who), "launch it by itself");
}

void begin_hooks(Draft& d) {
  const auto& all = d.spec.hooks.run;
  for (const Hook& h : all)
    if (h.point == HookPoint::pre_start) d.add(op::RunHook{.hook = h});
  const auto inside = std::ranges::count_if(all, [](const Hook& h) { return is_inside(h.point); });
  if (inside == 0) return;
  d.hook_output = d.slot();
  d.add(op::OpenHookOutput{.hooks = static_cast<unsigned>(inside), .to = d.hook_output});
}

void run_hooks_here(const Draft& d, HookPoint point, std::vector<Op>& ops,
                    const Interface* interface) {
  for (const Hook& h : d.spec.hooks.run) {
    if (h.point != point) continue;
    if (interface != nullptr && !h.interface.empty() && h.interface != interface->name) continue;
    op::RunHook run{.hook = h};
    if (interface != nullptr) {
      run.hook.interface = interface->name;
      run.interface_type = link_name(*interface);
      run.interface_parent = parent_of(interface->link);
    }
    add_op(ops, std::move(run));
  }
}

void run_hooks_inside(Draft& d, HookPoint point) {
  const bool has_pid = d.shape.own(Namespace::pid);
  for (const Hook& h : d.spec.hooks.run) {
    if (h.point != point) continue;
    const auto lookup = [&](HookValue v) -> std::optional<std::string> {
      if (v == HookValue::name) return d.spec.name;
      if (v == HookValue::pid && has_pid) return "1";
      if (v == HookValue::root && is_before_pivot(point)) return d.spec.hooks.root_at.str();
      return std::nullopt;
    };
    d.add(op::RunHookInside{.hook = filled(h, lookup),
                            .output = d.hook_output,
                            .place = d.hook_places++,
                            .filtered = point == HookPoint::start});
  }
}

bool has_hooks(const Draft& d, HookPoint point) { return has(d.spec, point); }

bool waits_for_hooks(const Draft& d) {
  return has(d.spec, HookPoint::start_host) || !wanted_later(d.spec, d.shape).empty();
}

void settle_hooks(Draft& d) {
  const Flags<Namespace> kept = wanted_later(d.spec, d.shape);
  run_hooks_inside(d, HookPoint::start);
  if (!waits_for_hooks(d)) return;
  d.add(op::Sync{.ask = op::Sync::cgroup});
  if (!kept.empty()) d.add(op::KeepNamespaces{.namespaces = kept});
  run_hooks_here(d, HookPoint::start_host, d.plan.ops, nullptr);
}

bool roots_before_pivot(const Draft& d) {
  return std::ranges::any_of(d.spec.hooks.run,
                             [](const Hook& h) { return is_before_pivot(h.point); });
}

void note_later_hooks(Draft& d) {
  std::vector<Op> later;
  run_hooks_here(d, HookPoint::started, later, nullptr);
  for (const Interface& i : d.spec.network.interfaces)
    run_hooks_here(d, HookPoint::down, later, &i);
  run_hooks_here(d, HookPoint::stop, later, nullptr);
  run_hooks_here(d, HookPoint::post_stop, later, nullptr);
  for (Op& o : later) {
    d.note(formatted("later: {} {}", to_string(step_of(o)), describe(o)));
    d.plan.later.push_back(std::move(std::get<op::RunHook>(o)));
  }
}

}  // namespace condroid::inline v0::detail
