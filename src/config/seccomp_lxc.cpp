// LXC's policy files: a version, a kind of list, and rules line by line.

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "condroid/config/seccomp.hpp"
#include "config/policy.hpp"
#include "formatted.hpp"
#include "spec/mistakes.hpp"
#include "spec/syscalls.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::detail {
namespace {

using spec_text::shown;
using spec_text::unknown_word;

constexpr std::uint32_t eacces = 13;
constexpr std::uint64_t mnt_force = 1;

struct Section {
  std::string_view name;
  bool here;  ///< Whether this machine has such programs.
};
constexpr bool on_x86 = own_arch == SyscallArch::x86_64;
constexpr Section sections[] = {
    {"all", true},      {"x86", on_x86},     {"x86_64", on_x86},     {"x32", on_x86},
    {"arm", !on_x86},   {"arm64", !on_x86},  {"ppc", false},         {"ppc64", false},
    {"ppc64le", false}, {"mips", false},     {"mips64", false},      {"mips64n32", false},
    {"mipsel", false},  {"mipsel64", false}, {"mipsel64n32", false}, {"s390", false},
    {"s390x", false},   {"riscv64", false},  {"loongarch64", false}};

constexpr std::pair<std::string_view, SyscallAction> actions[] = {
    {"kill", SyscallAction::kill_thread},
    {"errno", SyscallAction::fail},
    {"allow", SyscallAction::allow},
    {"trap", SyscallAction::trap},
    {"notify", SyscallAction::notify}};

struct Operator {
  std::string_view sign, word;
  ArgumentCheck::Op op;
};
constexpr Operator operators[] = {
    {"==", "SCMP_CMP_EQ", ArgumentCheck::eq}, {"!=", "SCMP_CMP_NE", ArgumentCheck::ne},
    {"<", "SCMP_CMP_LT", ArgumentCheck::lt},  {"<=", "SCMP_CMP_LE", ArgumentCheck::le},
    {">=", "SCMP_CMP_GE", ArgumentCheck::ge}, {">", "SCMP_CMP_GT", ArgumentCheck::gt}};
constexpr std::string_view masked = "&=", masked_word = "SCMP_CMP_MASKED_EQ";

constexpr std::string_view blanks = " \t\r\v\f";

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(blanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

/// As of strtoull(3) with base 0: 0x for hexadecimal, 0 for octal.
template <class T>
bool read_number(std::string_view text, T& value) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
  }
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc{} && end == text.data() + text.size();
}

/// What is left of a line.
class Rest {
 public:
  explicit Rest(std::string_view line) : left_(trimmed(line)) {}

  /// Nothing, or a comment.
  [[nodiscard]] bool empty() const { return left_.empty() || left_[0] == '#'; }
  [[nodiscard]] bool at(char c) const { return left_.starts_with(c); }
  [[nodiscard]] std::string_view all() const { return left_; }

  /// Up to a blank, or the first of these.
  std::string_view word(std::string_view stop = "") {
    const std::size_t size =
        std::min({left_.find_first_of(blanks), left_.find_first_of(stop), left_.size()});
    return take(size);
  }
  /// What is in brackets; nothing when they are not closed.
  std::optional<std::string_view> group() {
    const std::size_t close = left_.find(']');
    if (close == left_.npos) return {};
    const std::string_view all = take(close + 1);
    return all.substr(1, all.size() - 2);
  }

 private:
  std::string_view take(std::size_t size) {
    const std::string_view taken = left_.substr(0, size);
    left_ = trimmed(left_.substr(size));
    return taken;
  }
  std::string_view left_;
};

class LxcReader {
 public:
  Result<Seccomp> read(std::string_view text) {
    for (std::size_t number = 1; !text.empty() && !mistakes_.full() && !over_; ++number) {
      const std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), line.size() + 1));
      place_ = formatted("line {}", number);
      read_line(line);
    }
    if (version_ == 0 && mistakes_.empty())
      mistakes_.add("line 1", "the version is missing, 1 or 2");
    if (!has_kind_ && mistakes_.empty())
      mistakes_.add(place_, "no allowlist or denylist after the version");
    if (!mistakes_.empty()) return fail(std::move(mistakes_).error());
    seccomp_.list = std::move(policy_).take();
    for (SyscallRule& rule : seccomp_.list) rule.optional = true;
    return std::move(seccomp_);
  }

 private:
  void read_line(std::string_view line) {
    if (trimmed(line).empty()) return;
    if (version_ == 0) return read_version(trimmed(line));
    if (!has_kind_) return read_kind(Rest(line));
    const Rest rest(line);
    if (rest.empty()) return;
    if (policy_.full()) {
      mistakes_.add(place_, "more than {} rules; the rest of the text was not read",
                    most_policy_rules);
      over_ = true;
      return;
    }
    if (rest.at('[')) return read_section(rest);
    if (!here_) return;
    version_ == 1 ? read_call_number(rest) : read_rule(rest);
  }

  void read_version(std::string_view word) {
    if (word == "1" || word == "2") {
      version_ = word == "1" ? 1 : 2;
      return;
    }
    mistakes_.add(place_, "{}: expected the version, 1 or 2", shown(word));
    over_ = true;
  }

  void read_kind(Rest rest) {
    has_kind_ = true;
    const std::string_view kind = rest.word();
    const bool allows = kind == "allowlist" || kind == "whitelist";
    knows_kind_ = allows || kind == "denylist" || kind == "blacklist";
    if (!knows_kind_)
      return mistakes_.add(place_, "{}: {}", shown(kind),
                           unknown_word("kind of list", kind, {"allowlist", "denylist"}));
    if (!allows && version_ == 1) {
      mistakes_.add(place_, "{}: version 1 has allowlists only; write 2 into line 1", kind);
      knows_kind_ = false;
    }
    seccomp_ = {.kind = Seccomp::rules, .and_standard = false};
    seccomp_.otherwise = allows ? SyscallAction::kill_thread : SyscallAction::allow;
    usual_ = allows ? SyscallAction::allow : SyscallAction::kill_thread;
    if (version_ == 2) {
      seccomp_.arch = compat_arch;
      if (rest.empty()) return;
      SyscallRule others;
      if (!read_action(rest, "the other calls", others)) return;
      seccomp_.otherwise = others.action;
      seccomp_.error = others.error;
    }
    end(rest, kind);
  }

  void read_section(Rest rest) {
    if (version_ == 1)
      return mistakes_.add(place_, "{}: version 1 has no sections", shown(rest.all()));
    const auto group = rest.group();
    if (!group) return mistakes_.add(place_, "{}: ']' is missing", shown(rest.all()));
    std::string name(trimmed(*group));
    if (std::ranges::none_of(name, [](char c) { return c >= 'a' && c <= 'z'; }))
      for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const auto section = std::ranges::find(sections, name, &Section::name);
    here_ = section == std::end(sections) || section->here;
    if (section == std::end(sections)) {
      std::vector<std::string_view> known;
      for (const Section& s : sections) known.push_back(s.name);
      return mistakes_.add(place_, "[{}]: {}", shown(*group),
                           unknown_word("architecture", name, known));
    }
    end(rest, formatted("[{}]", section->name));
  }

  void read_call_number(Rest rest) {
    const std::string_view word = rest.word();
    std::uint32_t number = 0;
    if (!read_number(word, number) || number > 0x7fffffff || (word.size() > 1 && word[0] == '0'))
      return mistakes_.add(place_,
                           "{}: version 1 has numbers of system calls, one a line; names "
                           "are of version 2",
                           shown(word));
    if (!end(rest, word)) return;
    add(std::string(word), {.action = SyscallAction::allow});
  }

  void read_rule(Rest rest) {
    const std::string_view call = rest.word();
    if (call == "reject_force_umount") {
      if (!end(rest, call)) return;
      return add("umount2", {.action = SyscallAction::fail,
                             .error = eacces,
                             .where = {{1, ArgumentCheck::eq, mnt_force, mnt_force}}});
    }
    if (!is_call_name(call))
      return mistakes_.add(place_,
                           "{}: not a name of a system call; after it come blanks and what "
                           "becomes of it",
                           shown(call));
    SyscallRule rule{.action = usual_};
    if (!rest.empty() && !rest.at('[') && !read_action(rest, call, rule)) return;
    while (rest.at('[')) {
      const auto group = rest.group();
      if (!group) return mistakes_.add(place_, "{}: {}: ']' is missing", call, shown(rest.all()));
      if (!read_check(*group, call, rule)) return;
    }
    if (end(rest, call)) add(std::string(call), std::move(rule));
  }

  bool read_action(Rest& rest, std::string_view of, SyscallRule& rule) {
    const std::string_view word = rest.word("[#");
    const auto action =
        std::ranges::find(actions, word, &std::pair<std::string_view, SyscallAction>::first);
    if (word == "debug") return wrong("debug: has no meaning to LXC either; leave it out");
    if (action == std::end(actions))
      return wrong("{}: {}: {}", of, shown(word),
                   unknown_word("action", word, {"kill", "errno", "allow", "trap", "notify"}));
    rule.action = action->second;
    if (rule.action != SyscallAction::fail) return true;
    const std::string_view text = rest.empty() ? "" : rest.word("[#");
    if (text.empty()) return wrong("{}: errno: a number is missing: errno 1", of);
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), rule.error);
    if (error != std::errc{} || stop != text.data() + text.size() || rule.error > most_policy_errno)
      return wrong("{}: errno {}: expected a number from 0 to {}", of, shown(text),
                   most_policy_errno);
    return true;
  }

  /// INDEX,VALUE,OPERATOR[,MASK]
  bool read_check(std::string_view group, std::string_view call, SyscallRule& rule) {
    std::string_view parts[4];
    std::size_t count = 0;
    for (std::string_view left = group;; ++count) {
      const std::size_t comma = left.find(',');
      if (count < 4) parts[count] = trimmed(left.substr(0, comma));
      if (comma == left.npos) break;
      left.remove_prefix(comma + 1);
    }
    ++count;
    if (count < 3 || count > 4)
      return wrong("{}: [{}]: expected [INDEX,VALUE,OPERATOR] or [INDEX,VALUE,&=,MASK]", call,
                   shown(group));
    ArgumentCheck check;
    if (!read_number(parts[0], check.index) || check.index > 5)
      return wrong("{}: argument {}: count from 0 to 5", call, shown(parts[0]));
    if (!read_number(parts[1], check.value))
      return wrong("{}: value {}: expected a number of 64 bits", call, shown(parts[1]));
    if (std::ranges::find(rule.where, check.index, &ArgumentCheck::index) != rule.where.end())
      return wrong("{}: argument {} is compared twice; either may hold in two rules", call,
                   check.index);
    const std::string_view sign = parts[2];
    if (sign == masked || sign == masked_word) {
      if (count != 4) return wrong("{}: {} needs a mask: [INDEX,VALUE,&=,MASK]", call, sign);
      if (!read_number(parts[3], check.mask))
        return wrong("{}: mask {}: expected a number of 64 bits", call, shown(parts[3]));
      check.value &= check.mask;  // as libseccomp does
    } else {
      const auto known = std::ranges::find_if(
          operators, [&](const Operator& o) { return sign == o.sign || sign == o.word; });
      if (known == std::end(operators)) {
        // Of equally near ones the first is named: == for a single =.
        const bool words = sign.starts_with("SCMP");
        std::vector<std::string_view> all;
        for (const Operator& o : operators) all.push_back(words ? o.word : o.sign);
        all.push_back(words ? masked_word : masked);
        return wrong("{}: {}: {}", call, shown(sign), unknown_word("operator", sign, all));
      }
      if (count == 4) return wrong("{}: a mask goes with &= alone", call);
      check.op = known->op;
    }
    rule.where.push_back(check);
    return true;
  }

  void add(std::string call, SyscallRule rule) {
    const std::string shown_call = call;
    const bool has_number = rule.action == SyscallAction::fail;
    const bool as_others =
        rule.action == seccomp_.otherwise && (!has_number || rule.error == seccomp_.error);
    if (as_others && knows_kind_) {
      mistakes_.add(place_, "{}: that is what becomes of all other calls; leave it out", call);
      return;
    }
    if (const auto wrong = opens_what_is_meant(call, rule.action, seccomp_.otherwise)) {
      mistakes_.add(place_, "{}", *wrong);
      return;
    }
    // LXC has no such rule for 32-bit programs either.
    if (!rule.where.empty() && seccomp_.arch.has(SyscallArch::x86) && hides_arguments(call))
      rule.arch = own_arch;
    if (const auto other = policy_.add(std::move(call), std::move(rule), place_))
      mistakes_.add(place_, "{}: {} says something else of the same arguments", shown_call, *other);
  }

  /// Whether nothing follows.
  bool end(const Rest& rest, std::string_view after) {
    if (rest.empty()) return true;
    return wrong("{}: {}: nothing may follow here", after, shown(rest.all()));
  }

  template <class... Args>
  bool wrong(fmt::format_string<Args...> format, Args&&... args) {
    mistakes_.add(place_, format, std::forward<Args>(args)...);
    return false;
  }

  Mistakes mistakes_;
  Policy policy_;
  Seccomp seccomp_;
  std::string place_ = "line 1";
  int version_ = 0;
  bool has_kind_ = false;
  bool knows_kind_ = false;
  SyscallAction usual_ = SyscallAction::allow;  ///< Of a rule without an action.
  bool here_ = true;                            ///< In a section that this machine has.
  bool over_ = false;
};

}  // namespace
}  // namespace condroid::inline v0::detail

namespace condroid::inline v0::lxc {

Result<Seccomp> parse_seccomp(std::string_view text) {
  if (text.size() > detail::most_policy_bytes)
    return fail(Errc::bad_text, Step::parse,
                formatted("a policy of {} bytes; at most 1 MiB is read", text.size()));
  return detail::LxcReader().read(text);
}

}  // namespace condroid::inline v0::lxc
