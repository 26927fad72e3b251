// OCI's form of a filter: linux.seccomp of a runtime configuration, as JSON.

#include <string>
#include <utility>

#include "condroid/config/seccomp.hpp"
#include "config/policy.hpp"
#include "formatted.hpp"
#include "spec/mistakes.hpp"
#include "spec/syscalls.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

#if CONDROID_OCI
#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>
#endif

namespace condroid::inline v0::detail {

#if CONDROID_OCI

namespace {

using nlohmann::json;
using spec_text::shown;
using spec_text::unknown_word;

constexpr std::size_t deepest = 32;

template <class T>
struct Named {
  std::string_view name;
  T value;
};

constexpr Named<SyscallAction> oci_actions[] = {
    {"SCMP_ACT_KILL", SyscallAction::kill_thread},
    {"SCMP_ACT_KILL_PROCESS", SyscallAction::kill_process},
    {"SCMP_ACT_KILL_THREAD", SyscallAction::kill_thread},
    {"SCMP_ACT_TRAP", SyscallAction::trap},
    {"SCMP_ACT_ERRNO", SyscallAction::fail},
    {"SCMP_ACT_NOTIFY", SyscallAction::notify},
    {"SCMP_ACT_TRACE", SyscallAction::trace},
    {"SCMP_ACT_ALLOW", SyscallAction::allow},
    {"SCMP_ACT_LOG", SyscallAction::log}};

/// MASKED_EQ has two values, and no ArgumentCheck::Op of its own.
constexpr Named<std::optional<ArgumentCheck::Op>> oci_operators[] = {
    {"SCMP_CMP_EQ", ArgumentCheck::eq}, {"SCMP_CMP_NE", ArgumentCheck::ne},
    {"SCMP_CMP_LT", ArgumentCheck::lt}, {"SCMP_CMP_LE", ArgumentCheck::le},
    {"SCMP_CMP_GE", ArgumentCheck::ge}, {"SCMP_CMP_GT", ArgumentCheck::gt},
    {"SCMP_CMP_MASKED_EQ", {}}};

constexpr Named<Flags<SyscallArch>> architectures[] = {{"SCMP_ARCH_X86", SyscallArch::x86},
                                                       {"SCMP_ARCH_X86_64", SyscallArch::x86_64},
                                                       {"SCMP_ARCH_X32", SyscallArch::x32},
                                                       {"SCMP_ARCH_ARM", SyscallArch::arm},
                                                       {"SCMP_ARCH_AARCH64", SyscallArch::aarch64},
                                                       {"SCMP_ARCH_MIPS", {}},
                                                       {"SCMP_ARCH_MIPS64", {}},
                                                       {"SCMP_ARCH_MIPS64N32", {}},
                                                       {"SCMP_ARCH_MIPSEL", {}},
                                                       {"SCMP_ARCH_MIPSEL64", {}},
                                                       {"SCMP_ARCH_MIPSEL64N32", {}},
                                                       {"SCMP_ARCH_PPC", {}},
                                                       {"SCMP_ARCH_PPC64", {}},
                                                       {"SCMP_ARCH_PPC64LE", {}},
                                                       {"SCMP_ARCH_S390", {}},
                                                       {"SCMP_ARCH_S390X", {}},
                                                       {"SCMP_ARCH_PARISC", {}},
                                                       {"SCMP_ARCH_PARISC64", {}},
                                                       {"SCMP_ARCH_RISCV64", {}},
                                                       {"SCMP_ARCH_LOONGARCH64", {}},
                                                       {"SCMP_ARCH_M68K", {}},
                                                       {"SCMP_ARCH_SH", {}},
                                                       {"SCMP_ARCH_SHEB", {}}};

constexpr Named<bool> filter_flags[] = {{"SECCOMP_FILTER_FLAG_TSYNC", false},
                                        {"SECCOMP_FILTER_FLAG_LOG", true},
                                        {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", false},
                                        {"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", false}};

/// The line and column of a byte of the text.
std::string place_of(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const auto line = std::ranges::count(before, '\n') + 1;
  return formatted("line {}, column {}", line, before.size() - (before.rfind('\n') + 1) + 1);
}

/// Where it gets too deep, if it does. Looked for before the text is parsed: who writes a megabyte
/// of '[' gets nothing built from it.
std::optional<std::size_t> too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > deepest) return i;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return {};
}

class OciReader {
 public:
  Result<Seccomp> read(std::string_view text) {
    if (const auto at = too_deep(text)) {
      mistakes_.add(place_of(text, *at), "deeper than {} levels", deepest);
      return fail(std::move(mistakes_).error());
    }
    const std::optional<json> root = parsed(text);
    if (root && mistakes_.empty()) read_profile(*root);
    if (!mistakes_.empty()) return fail(std::move(mistakes_).error());
    seccomp_.list = std::move(policy_).take();
    for (SyscallRule& rule : seccomp_.list) rule.optional = true;
    return std::move(seccomp_);
  }

 private:
  /// A key that is there twice means one thing to one reader and another to the next.
  std::optional<json> parsed(std::string_view text) {
    std::vector<std::set<std::string>> keys;
    const auto watch = [&](int /*depth*/, json::parse_event_t event, json& value) {
      if (event == json::parse_event_t::object_start) keys.emplace_back();
      if (event == json::parse_event_t::object_end) keys.pop_back();
      if (event == json::parse_event_t::key) {
        const auto& key = value.get_ref<const std::string&>();
        if (!keys.back().insert(key).second) mistakes_.add(shown(key), "this key is there twice");
      }
      return true;
    };
    try {
      return json::parse(text, watch);
    } catch (const json::parse_error& error) {
      mistakes_.add(place_of(text, error.byte == 0 ? 0 : error.byte - 1), "this is not JSON");
    } catch (const json::out_of_range&) {
      mistakes_.add("a number", "is larger than anything that can be compared");
    }
    return {};
  }

  void read_profile(const json& root) {
    if (!root.is_object()) {
      mistakes_.add("the whole", "expected an object with defaultAction and syscalls");
      return;
    }
    if (root.contains("ociVersion") && !root.contains("defaultAction")) {
      mistakes_.add("the whole", "this is a runtime configuration; give its linux.seccomp");
      return;
    }
    refuse_conditions(root, "");
    seccomp_ = {.kind = Seccomp::rules, .and_standard = false};
    SyscallRule others;
    has_others_ = read_action(root, "", "defaultAction", "defaultErrnoRet", others);
    seccomp_.otherwise = others.action;
    seccomp_.error = others.error;
    const Flags<SyscallArch> runnable =
        compat_arch | (own_arch == SyscallArch::x86_64 ? SyscallArch::x32 : Flags<SyscallArch>{});
    each(root, "", "architectures", [&](const json& word, const std::string& place) {
      const auto* known = find(architectures, word, place, "architecture");
      if (known != nullptr) seccomp_.arch |= known->value & runnable;
    });
    each(root, "", "flags", [&](const json& word, const std::string& place) {
      const auto* known = find(filter_flags, word, place, "flag");
      if (known != nullptr && known->value) seccomp_.log = true;
    });
    if (member(root, "listenerMetadata") != nullptr && member(root, "listenerPath") == nullptr)
      mistakes_.add("listenerMetadata", "is for a listener, but there is no listenerPath");
    each(root, "", "syscalls",
         [&](const json& rule, const std::string& place) { read_rule(rule, place); });
  }

  void read_rule(const json& object, const std::string& place) {
    if (!object.is_object()) return mistakes_.add(place, "expected an object");
    const std::size_t before = mistakes_.size();
    refuse_conditions(object, place + ".");
    SyscallRule rule;
    read_action(object, place + ".", "action", "errnoRet", rule);
    // Of the architectures that this machine has and of others: a name may be unknown, but not odd.
    std::vector<std::string> calls;
    if (member(object, "names") == nullptr) mistakes_.add(place + ".names", "is missing");
    each(object, place + ".", "names", [&](const json& name, const std::string& at) {
      if (!name.is_string()) return mistakes_.add(at, "expected a string");
      const auto& call = name.get_ref<const std::string&>();
      if (!is_call_name(call))
        return mistakes_.add(at, "{}: not a name of a system call", shown(call));
      if (has_others_)
        if (const auto wrong = opens_what_is_meant(call, rule.action, seccomp_.otherwise))
          return mistakes_.add(at, "{}", *wrong);
      calls.push_back(call);
    });
    if (calls.empty() && mistakes_.size() == before)
      mistakes_.add(place + ".names", "names no system call");
    std::vector<ArgumentCheck> checks;
    each(object, place + ".", "args", [&](const json& check, const std::string& at) {
      if (checks.size() == most_checks)
        mistakes_.add(at, "more than {} comparisons", most_checks);
      else if (checks.size() < most_checks)
        checks.push_back(read_check(check, at));
    });
    if (mistakes_.size() != before || !has_others_) return;
    if (same_as_others(rule)) return;
    for (const std::string& call : calls) add(call, rule, checks, place);
  }

  /// One index twice makes a rule of each comparison: either may hold. So did the first tools, and
  /// profiles rely on it.
  void add(const std::string& call, const SyscallRule& rule,
           const std::vector<ArgumentCheck>& checks, const std::string& place) {
    unsigned seen = 0;
    bool twice = false;
    for (const ArgumentCheck& c : checks) {
      twice = twice || (seen & (1U << c.index)) != 0;
      seen |= 1U << c.index;
    }
    std::vector<std::vector<ArgumentCheck>> alternatives = {checks};
    if (twice) {
      alternatives.clear();
      for (const ArgumentCheck& c : checks) alternatives.push_back({c});
    }
    for (std::vector<ArgumentCheck>& where : alternatives) {
      if (policy_.full()) {
        if (!over_)
          mistakes_.add(place, "more than {} rules; the rest of the text was not read",
                        most_policy_rules);
        over_ = true;
        return;
      }
      SyscallRule one = rule;
      one.where = std::move(where);
      const bool hidden =
          !one.where.empty() && seccomp_.arch.has(SyscallArch::x86) && hides_arguments(call);
      if (hidden) one.arch = own_arch | (seccomp_.arch & SyscallArch::x32);
      if (const auto other = policy_.add(call, std::move(one), place))
        mistakes_.add(place, "{}: {} says something else of the same arguments", call, *other);
      if (!hidden) continue;
      // As libseccomp has it for crun and runc: for 32-bit programs, whatever the arguments.
      SyscallRule all = rule;
      all.arch = SyscallArch::x86;
      (void)policy_.add(call, std::move(all), place);
    }
  }

  ArgumentCheck read_check(const json& object, const std::string& place) {
    ArgumentCheck check;
    if (!object.is_object()) {
      mistakes_.add(place, "expected an object");
      return check;
    }
    if (const auto index = number(object, place + ".", "index", 5, true))
      check.index = static_cast<unsigned>(*index);
    const auto value = number(object, place + ".", "value", ~std::uint64_t{0}, true);
    const auto second = number(object, place + ".", "valueTwo", ~std::uint64_t{0}, false);
    check.value = value.value_or(0);
    const json* const op = member(object, "op");
    if (op == nullptr) {
      mistakes_.add(place + ".op", "is missing");
      return check;
    }
    const auto* known = find(oci_operators, *op, place + ".op", "operator");
    if (known == nullptr) return check;
    if (known->value) {
      check.op = *known->value;
    } else {
      // `value` is the mask. What is not below the mask cannot be left of it, so libseccomp takes
      // it away.
      check.mask = check.value;
      check.value &= second.value_or(0);
    }
    return check;
  }

  bool read_action(const json& object, const std::string& place, const char* key,
                   const char* number_key, SyscallRule& rule) {
    const json* const word = member(object, key);
    if (word == nullptr) return wrong(place + key, "is missing");
    const auto* known = find(oci_actions, *word, place + key, "action");
    if (known == nullptr) return false;
    rule.action = known->value;
    rule.error = 1;
    if (member(object, number_key) == nullptr) return true;
    if (rule.action != SyscallAction::fail && rule.action != SyscallAction::trace)
      return wrong(place + number_key, "goes with SCMP_ACT_ERRNO and SCMP_ACT_TRACE alone");
    const std::uint32_t most = rule.action == SyscallAction::fail ? most_policy_errno : 65535;
    const auto value = number(object, place, number_key, most, true);
    if (value) rule.error = static_cast<std::uint32_t>(*value);
    return value.has_value();
  }

  /// docker's and podman's own profiles say when a part of them counts; whoever writes an OCI
  /// configuration from one has decided that.
  void refuse_conditions(const json& object, const std::string& place) {
    for (const char* key : {"archMap", "includes", "excludes"})
      if (const json* const value = member(object, key); value != nullptr && !value->empty())
        mistakes_.add(place + key,
                      "belongs to a profile of docker or podman, not to OCI; give what "
                      "they write into config.json");
  }

  bool same_as_others(const SyscallRule& rule) const {
    const bool has_number =
        rule.action == SyscallAction::fail || rule.action == SyscallAction::trace;
    return rule.action == seccomp_.otherwise && (!has_number || rule.error == seccomp_.error);
  }

  /// Nothing where it is null, too: Go writes that for what is empty.
  static const json* member(const json& object, const char* key) {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  }

  template <class F>
  void each(const json& object, const std::string& place, const char* key, F f) {
    const json* const list = member(object, key);
    if (list == nullptr) return;
    if (!list->is_array()) return mistakes_.add(place + key, "expected a list");
    for (std::size_t i = 0; i < list->size() && !mistakes_.full() && !over_; ++i)
      f((*list)[i], formatted("{}{}[{}]", place, key, i));
  }

  template <class T, std::size_t N>
  const Named<T>* find(const Named<T> (&table)[N], const json& word, const std::string& place,
                       std::string_view what) {
    if (!word.is_string()) {
      mistakes_.add(place, "expected a string");
      return nullptr;
    }
    const auto& text = word.get_ref<const std::string&>();
    const auto known = std::ranges::find(table, std::string_view(text), &Named<T>::name);
    if (known != std::end(table)) return &*known;
    std::vector<std::string_view> names;
    for (const Named<T>& n : table) names.push_back(n.name);
    mistakes_.add(place, "{}: {}", shown(text), unknown_word(what, text, names));
    return nullptr;
  }

  std::optional<std::uint64_t> number(const json& object, const std::string& place, const char* key,
                                      std::uint64_t most, bool must) {
    const json* const value = member(object, key);
    if (value == nullptr) {
      if (must) mistakes_.add(place + key, "is missing");
      return {};
    }
    if (value->is_number_unsigned() && value->get<std::uint64_t>() <= most)
      return value->get<std::uint64_t>();
    mistakes_.add(place + key, "expected a whole number from 0 to {}", most);
    return {};
  }

  bool wrong(const std::string& place, std::string_view what) {
    mistakes_.add(place, "{}", what);
    return false;
  }

  /// More than this nobody compares, whatever is made of it.
  static constexpr std::size_t most_checks = 64;
  Mistakes mistakes_;
  Policy policy_;
  Seccomp seccomp_;
  bool has_others_ = false;
  bool over_ = false;
};

}  // namespace

#endif

}  // namespace condroid::inline v0::detail

namespace condroid::inline v0::oci {

Result<Seccomp> parse_seccomp(std::string_view json) {
  if (json.size() > detail::most_policy_bytes)
    return fail(Errc::bad_text, Step::parse,
                formatted("a policy of {} bytes; at most 1 MiB is read", json.size()));
#if CONDROID_OCI
  return detail::OciReader().read(json);
#else
  return fail(Errc::unsupported, Step::parse, "this condroid reads no JSON",
              "build it with -Doci=enabled, which needs nlohmann-json");
#endif
}

}  // namespace condroid::inline v0::oci
