// The completion of bash: from the tables of the programs, their arguments by what stands for them.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>

#include "tool.hpp"

namespace {

/// What may stand where the help has this word: commands that fill COMPREPLY.
struct Values {
  std::string_view argument;
  std::string_view command;
};
constexpr Values values[] = {
    {"FILE", "_condroid_lxc_files"},
    {"MOUNT", "return 0"},
    {"PATH", "_condroid_lxc_directories"},
    {"NEWPATH", "_condroid_lxc_directories"},
    {"DIR", "_condroid_lxc_directories"},
    {"LEVEL", "_condroid_lxc_some TRACE DEBUG INFO NOTICE WARN ERROR CRIT ALERT FATAL"},
    {"STATES",
     "_condroid_lxc_list '|' STOPPED STARTING RUNNING STOPPING ABORTING FREEZING FROZEN THAWED"},
    {"NAMESPACES", "_condroid_lxc_list '|' MOUNT PID UTSNAME IPC USER NETWORK CGROUP TIME"},
    {"PRIVILEGES", "_condroid_lxc_list '|' CAP CGROUP LSM"},
    {"COLUMNS",
     "_condroid_lxc_list , NAME STATE PID RAM SWAP AUTOSTART GROUPS INTERFACE IPV4 IPV6 "
     "UNPRIVILEGED"},
    {"GROUPS", "_condroid_lxc_groups"},
    {"ARCH",
     "_condroid_lxc_some arm armel armhf armv7l athlon i386 i486 i586 i686 linux32 mips mipsel "
     "ppc powerpc x86 aarch64 amd64 arm64 linux64 mips64 mips64el ppc64 ppc64el ppc64le powerpc64 "
     "riscv64 s390x x86_64"},
    {"TEMPLATE", "_condroid_lxc_templates"},
    {"SNAPSHOT", "_condroid_lxc_snapshots"},
    {"LETTER", "_condroid_lxc_some n c b m s k"},
};

/// Which containers a program is for, as lxc-ls names them; empty: it has none.
std::string_view names_for(const Tool& tool) {
  constexpr std::pair<std::string_view, std::string_view> kinds[] = {
      {"lxc-attach", "--running"},  {"lxc-cgroup", "--running"},  {"lxc-console", "--running"},
      {"lxc-device", "--running"},  {"lxc-freeze", "--running"},  {"lxc-stop", "--running"},
      {"lxc-destroy", "--stopped"}, {"lxc-execute", "--stopped"}, {"lxc-snapshot", "--stopped"},
      {"lxc-start", "--stopped"},   {"lxc-copy", "--defined"},    {"lxc-info", "--defined"},
      {"lxc-monitor", "--defined"}, {"lxc-wait", "--defined"},    {"lxc-unfreeze", "--frozen"}};
  for (const auto& [name, which] : kinds)
    if (name == tool.name) return which;
  return {};
}

std::string_view command_for(const Tool& tool, const Option& option) {
  if (option.name == "name") return names_for(tool).empty() ? "return 0" : "_condroid_lxc_names";
  if (option.name.starts_with("share-")) return "_condroid_lxc_names --active";
  if (option.argument == "TYPE")
    return tool.name == "lxc-copy" ? "_condroid_lxc_some dir overlay"
                                   : "_condroid_lxc_some best dir none";
  const auto* const found = std::ranges::find(values, option.argument, &Values::argument);
  return found == std::end(values) ? "return 0" : found->command;
}

/// For "$tool $prev": the commands, and for what each is.
std::string argument_cases() {
  std::map<std::string_view, std::string> patterns;
  const auto add = [&](const Tool& tool, std::string_view dashes, std::string_view spelled,
                       const Option& option) {
    std::string& text = patterns[command_for(tool, option)];
    text += fmt::format("{}'{} {}{}'", text.empty() ? "" : "|", tool.name, dashes, spelled);
  };
  for (const Tool* tool : all_tools())
    for (const Option& option : options_of(*tool)) {
      if (option.argument.empty()) continue;
      if (option.kind == Option::optional && option.argument != "PRIVILEGES") continue;
      add(*tool, "--", option.name, option);
      if (option.letter != 0) add(*tool, "-", std::string_view(&option.letter, 1), option);
    }
  std::string text;
  for (const auto& [command, pattern] : patterns)
    text += fmt::format("    {}) {}; return ;;\n", pattern, command);
  return text;
}

std::string tool_cases() {
  std::string text;
  for (const Tool* tool : all_tools()) {
    text += fmt::format("    {}) which={} options='", tool->name, names_for(*tool));
    for (const Option& o : options_of(*tool))
      text += fmt::format("--{}{} ", o.name,
                          o.argument.empty() || o.kind == Option::optional ? "" : "=");
    text.back() = '\'';
    text += " ;;\n";
  }
  return text;
}

// Not by compgen -W, which expands what it is given: anybody names an abstract socket.
constexpr std::string_view head =
    R"sh(# bash completion of condroid-lxc: source it, or put it into /usr/share/bash-completion/completions.
_condroid_lxc_lines() {
  local line
  while IFS= read -r line; do
    [[ $line == "$cur"* ]] && COMPREPLY+=("$(printf %q "$line")")
  done
}
_condroid_lxc_some() { COMPREPLY=($(compgen -W "$*" -- "$cur")); }
_condroid_lxc_files() { COMPREPLY=($(compgen -f -- "$cur")); }
_condroid_lxc_directories() { COMPREPLY=($(compgen -d -- "$cur")); }
_condroid_lxc_names() {
  _condroid_lxc_lines < <(lxc-ls -1 "${paths[@]}" "${1:-$which}" 2>/dev/null)
}
# Words with the first argument between them: those that are not there yet.
_condroid_lxc_list() {
  local between=$1 before= word=${cur#[\"\']} one
  shift
  [[ $word == *"$between"* ]] && before=${word%"$between"*}$between
  for one; do
    [[ $one == "${word#"$before"}"* && $between$before != *"$between$one$between"* ]] &&
      COMPREPLY+=("$before$one")
  done
  compopt -o nospace
}
_condroid_lxc_groups() {
  local lines
  mapfile -t lines < <(lxc-ls -f -F GROUPS "${paths[@]}" 2>/dev/null | tail -n +2 | tr ', ' '\n\n' | sed '/^-*$/d' | sort -u)
  _condroid_lxc_list , "${lines[@]}"
}
_condroid_lxc_templates() {
  COMPREPLY=($(compgen -f -- "$cur"))
  _condroid_lxc_lines < <(printf '%s\n' none busybox
    for i in /usr/share/lxc/templates/lxc-*; do
      [[ -x $i && $i != */lxc-busybox ]] && echo "${i##*/lxc-}"
    done)
}
_condroid_lxc_snapshots() {
  [[ $prev == -d || $prev == --destroy ]] && _condroid_lxc_lines <<<ALL
  [[ $named ]] || return 0
  _condroid_lxc_lines < <(lxc-snapshot "${paths[@]}" -n "$named" -L 2>/dev/null | sed '/^No snapshots/d; s/ (.*//')
}
_condroid_lxc() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} options= which= named= paths=() i
  local tool=${COMP_WORDS[0]##*/} first=1
  # bash has "--name=web" as three words.
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  COMPREPLY=()
  if [[ $tool == condroid-lxc ]]; then
    if ((COMP_CWORD == 1)); then
      COMPREPLY=($(compgen -W 'NAMES --bash-completion --keys --help' -- "$cur")); return
    fi
    tool=lxc-${COMP_WORDS[1]#lxc-} first=2
  fi
  case $tool in
)sh";
constexpr std::string_view middle = R"sh(  esac
  for ((i = first; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
    --) return ;;
    -P|--lxcpath) [[ ${COMP_WORDS[i+1]} == = ]] && ((++i)); paths=(-P "${COMP_WORDS[++i]}") ;;
    -n|--name) [[ ${COMP_WORDS[i+1]} == = ]] && ((++i)); ((i + 1 < COMP_CWORD)) && named=${COMP_WORDS[++i]} ;;
    esac
  done
  # One that is named by a word alone.
  for ((i = first; i < COMP_CWORD; ++i)); do
    [[ $which && ! $named && ${COMP_WORDS[i]} != -* && ${COMP_WORDS[i-1]} != -[a-zA-Z] ]] &&
      lxc-ls -1 "${paths[@]}" 2>/dev/null | grep -qxF -- "${COMP_WORDS[i]}" && named=${COMP_WORDS[i]}
  done
  case "$tool $prev" in
)sh";
constexpr std::string_view tail = R"sh(  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
  elif [[ $tool == lxc-config ]]; then
    _condroid_lxc_lines < <(lxc-config -l)
  elif [[ $which && ! $named ]]; then
    _condroid_lxc_names
  fi
}
complete -F _condroid_lxc condroid-lxc)sh";

}  // namespace

std::string bash_completion() {
  std::string names, text(head);
  for (const Tool* tool : all_tools())
    names +=
        fmt::format("{}{}", names.empty() ? "" : " ", tool->name.substr(tool->name.find('-') + 1));
  text.replace(text.find("NAMES "), std::string_view("NAMES").size(), names);
  text += fmt::format("{}{}{}{}", tool_cases(), middle, argument_cases(), tail);
  for (const Tool* tool : all_tools()) text += fmt::format(" {}", tool->name);
  text += '\n';
  return text;
}
