// LXC's hooks as those of a Spec: lxc.container.conf(5), section "container hooks".

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <utility>

#include "condroid/lxc.hpp"
#include "formatted.hpp"
#include "lxc/hooks.hpp"
#include "spec/names.hpp"

extern char** environ;  // NOLINT(*-redundant-declaration): musl has it in no header

namespace condroid::inline v0::lxc {

namespace {

struct Named {
  std::string_view name;
  HookPoint point;
  bool inside;  ///< Run by the child, which has lxc.environment.
};
constexpr std::array named{
    Named{"pre-start", HookPoint::pre_start, false},
    Named{"pre-mount", HookPoint::pre_mount, true},
    Named{"mount", HookPoint::mount, true},
    Named{"autodev", HookPoint::autodev, true},
    Named{"start-host", HookPoint::start_host, false},
    Named{"start", HookPoint::start, true},
    Named{"stop", HookPoint::stop, false},
    Named{"post-stop", HookPoint::post_stop, false},
};

constexpr std::array<std::pair<const char*, HookValue>, 8> namespaces{{
    {"user", HookValue::ns_user},
    {"mnt", HookValue::ns_mount},
    {"pid", HookValue::ns_pid},
    {"uts", HookValue::ns_uts},
    {"ipc", HookValue::ns_ipc},
    {"net", HookValue::ns_net},
    {"cgroup", HookValue::ns_cgroup},
    {"time", HookValue::ns_time},
}};

void set(std::vector<std::string>& env, std::string entry) {
  const std::string_view name = std::string_view(entry).substr(0, entry.find('=') + 1);
  const auto same =
      std::ranges::find_if(env, [&](const std::string& e) { return e.starts_with(name); });
  if (same == env.end())
    env.push_back(std::move(entry));
  else
    *same = std::move(entry);
}

std::string of_namespace(std::string_view name, std::string_view value) {
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(c - 'a' + 'A');
  return formatted("LXC_{}_NS={}", upper, value);
}

/// Which not all hooks are told: of this program's own they are about a container that it is a hook
/// of.
bool is_of_some(std::string_view entry) {
  if (entry.starts_with("LXC_PID=") || entry.starts_with("LXC_TARGET=")) return true;
  return std::ranges::any_of(namespaces, [entry](const auto& one) {
    return entry.starts_with(of_namespace(one.first, {}));
  });
}

/// A line of sh(1) that goes to this program's working directory, or nothing: who runs the hook may
/// not be let there.
std::string to_here() {
  const std::unique_ptr<char, decltype(&::free)> here(::getcwd(nullptr, 0), &::free);
  std::string text;
  for (const char* c = here ? here.get() : ""; *c != '\0'; ++c)
    text += *c == '\'' ? std::string("'\\''") : std::string(1, *c);
  if (text.size() < 2) return {};
  // The shell would tell the hook where it was before.
  return formatted("cd '{}' 2>/dev/null; unset OLDPWD; ", hook_text(text));
}

class Writer {
 public:
  Writer(const Configuration& config, const Program& program, const StartOptions& options)
      : program_(program), options_(options) {
    hooks_.root_at = program.rootfs_mount.empty() ? Hooks{}.root_at : program.rootfs_mount;
    for (char** e = environ; *e != nullptr; ++e)
      if (std::string_view(*e).find('=') != std::string_view::npos && !is_of_some(*e))
        set(env_, hook_text(*e));
    if (!options.background) to_here_ = to_here();
    const auto tell = [&](const char* name, const std::string& value) {
      if (!value.empty()) set(env_, formatted("{}={}", name, hook_text(value)));
    };
    const auto item = [&](const char* key) {
      const auto value = config.get(key);
      return value ? value->value_or("") : std::string();
    };
    autodev_ = item("lxc.autodev") != "0";
    tell("LXC_NAME", options.name);
    tell("LXC_CONFIG_FILE", options.config_file.str());
    tell("LXC_ROOTFS_MOUNT", hooks_.root_at.str());
    tell("LXC_ROOTFS_PATH", item("lxc.rootfs.path"));
    tell("LXC_CONSOLE", program.console_path);
    tell("LXC_CONSOLE_LOGPATH",
         options.console_log.empty() ? program.console_log.str() : options.console_log.str());
    const std::string level = item("lxc.log.level");
    tell("LXC_LOG_LEVEL", !level.empty() && level != "NOTSET" ? level
                          : options.log_level.empty()         ? "ERROR"
                                                              : options.log_level);
    tell("LXC_HOOK_VERSION", program.hook_version == 0 ? "0" : "1");
    tell("LXC_CGNS_AWARE", "1");
  }

  /// `extras` are text of a Hook already.
  void add(HookPoint point, const std::string& line, std::string_view section,
           std::string_view type, const std::vector<std::string>& extras, bool inside,
           std::string interface = {}, const std::vector<std::string>& more = {}) {
    Hook hook{.point = point, .program = "/bin/sh"};
    hook.argv = {
        "sh", "-c",
        formatted("{}exec {} \"$@\"", point == HookPoint::start ? "" : to_here_, hook_text(line)),
        "sh"};
    hook.env = env_;
    // Left out by the core where there is no such thing yet, or any more.
    if (!inside) set(hook.env, "LXC_PID=" + placeholder(HookValue::pid));
    if (section == "lxc" && (point == HookPoint::stop || point == HookPoint::post_stop))
      set(hook.env, "LXC_TARGET=" + placeholder(HookValue::target));
    if (point == HookPoint::down || point == HookPoint::stop)
      for (const auto& [name, value] : namespaces)
        set(hook.env, of_namespace(name, placeholder(value)));
    if (program_.hook_version == 0) {
      for (const std::string_view word : {std::string_view(options_.name), section, type})
        hook.argv.push_back(hook_text(word));
    } else {
      set(hook.env, formatted("LXC_HOOK_TYPE={}", type));
      set(hook.env, formatted("LXC_HOOK_SECTION={}", section));
      for (const std::string& one : more) set(hook.env, one);
    }
    hook.argv.insert(hook.argv.end(), extras.begin(), extras.end());
    if (inside)
      for (const std::string& e : program_.hook_environment) set(hook.env, hook_text(e));
    hook.interface = std::move(interface);
    hook.timeout = options_.hook_timeout;
    hooks_.run.push_back(std::move(hook));
    names_.push_back(
        formatted("lxc.{}.{} '{}'", section == "net" ? "net.script" : "hook", type, line));
  }

  Result<void> hooks() {
    for (const lxc::Hook& one : program_.hooks) {
      if (one.when == "clone" || one.when == "destroy") continue;  // not of a start
      const auto* const row = std::ranges::find(named, one.when, &Named::name);
      if (row == named.end())
        return fail(Errc::bad_spec, Step::compile,
                    formatted("lxc.hook.{}: no such hook", one.when));
      if (row->point == HookPoint::autodev && !autodev_) continue;
      std::vector<std::string> extras;
      if (row->point == HookPoint::stop && program_.hook_version == 0)
        for (const auto& [name, value] : namespaces)
          extras.push_back(formatted("{}:{}", name, placeholder(value)));
      add(row->point, one.command, "lxc", one.when, extras, row->inside);
    }
    return {};
  }

  void scripts() {
    for (const NetworkScript& s : program_.network_scripts) {
      std::vector<std::string> extras = {hook_text(s.type)};
      std::vector<std::string> more = {"LXC_NET_TYPE=" + hook_text(s.type)};
      // What a device belongs to: the types that LXC tells it of.
      constexpr std::string_view with_parent[] = {"veth", "macvlan", "ipvlan", "vlan", "phys"};
      if (!s.link.empty() && std::ranges::find(with_parent, s.type) != std::end(with_parent))
        extras.push_back(hook_text(s.link));
      if (s.type == "veth" || s.type == "macvlan" || s.type == "phys")
        more.push_back("LXC_NET_PARENT=" + hook_text(s.link));
      if (s.type == "veth") {
        extras.push_back(placeholder(HookValue::interface_host));
        more.push_back("LXC_NET_PEER=" + placeholder(HookValue::interface_host));
      }
      const bool up = s.when == "up";
      // A network of the container's own without an interface has no end of one.
      HookPoint point = up ? HookPoint::up : HookPoint::down;
      if (s.interface.empty()) point = up ? HookPoint::configured : HookPoint::stop;
      add(point, s.command, "net", s.when, extras, false, s.interface, more);
    }
  }

  [[nodiscard]] std::pair<Hooks, std::vector<std::string>> take() && {
    return {std::move(hooks_), std::move(names_)};
  }

 private:
  using Hook = condroid::Hook;
  const Program& program_;
  const StartOptions& options_;
  std::vector<std::string> env_;
  std::string to_here_;
  Hooks hooks_;
  std::vector<std::string> names_;
  bool autodev_ = true;
};

/// How the core calls it.
std::string plain_name(const condroid::Hook& hook) {
  return formatted("{} hook '{}'", name_of(hook.point), hook.program);
}

/// False where it is not in there.
bool replace(std::string& text, std::string_view what, std::string_view by) {
  const std::size_t at = text.find(what);
  if (at == text.npos) return false;
  text.replace(at, what.size(), by);
  return true;
}

}  // namespace

template <class Is>
std::size_t HookNames::next(Is is) const {
  // Those of one point are run, and told of, in their order, once a life.
  std::size_t which = hooks_.size();
  for (std::size_t i = 0; i < hooks_.size(); ++i)
    if (is(hooks_[i]) && (which == hooks_.size() || told_[i] < told_[which])) which = i;
  return which;
}

void HookNames::rename(HookReport& report) {
  const std::size_t which = next([&](const condroid::Hook& h) {
    return h.point == report.point && (h.interface.empty() || h.interface == report.interface);
  });
  if (which == hooks_.size()) return;
  ++told_[which];
  report.program = names_[which];
  std::string before = report.error;
  if (replace(report.error, plain_name(hooks_[which]), names_[which]))
    failures_.push_back({std::move(before), report.error, which});
}

void HookNames::rename(Error& error) const {
  Error alone = error;
  alone.also.clear();
  const std::string said = to_string(alone);
  for (const Failure& f : failures_) {
    if (f.before == said)
      (void)replace(error.subject, plain_name(hooks_[f.which]), names_[f.which]);
    for (std::string& also : error.also)
      if (also == f.before) also = f.after;
  }
  // Inside, one that could not be run is told of by this alone.
  const std::size_t which = next([&](const condroid::Hook& h) {
    return error.step == Step::run_hook && error.subject.starts_with(plain_name(h));
  });
  if (which != hooks_.size())
    (void)replace(error.subject, plain_name(hooks_[which]), names_[which]);
}

Result<std::pair<Hooks, std::vector<std::string>>> named_hooks_for(const Configuration& config,
                                                                   const Program& program,
                                                                   const StartOptions& options) {
  if (program.hooks.empty() && program.network_scripts.empty()) return {};
  Writer writer(config, program, options);
  // First: one that is run at `stop` comes before lxc.hook.stop.
  writer.scripts();
  if (auto ok = writer.hooks(); !ok) return fail(ok);
  return std::move(writer).take();
}

Result<Hooks> hooks_for(const Configuration& config, const Program& program,
                        const StartOptions& options) {
  auto named = named_hooks_for(config, program, options);
  if (!named) return fail(named);
  return std::move(named->first);
}

}  // namespace condroid::inline v0::lxc
