// Looking keys up in the table, and the table as text.
#include "config/lxc_keys.hpp"

#include <algorithm>
#include <climits>
#include <optional>

#include "condroid/config/lxc.hpp"
#include "formatted.hpp"
#include "spec/suggest.hpp"

namespace condroid::inline v0::lxc_language {

namespace {

constexpr std::string_view old_net = "lxc.network.";

struct Name {
  std::string_view name;
  std::uint16_t row = 0;
  bool old = false;
};

constexpr std::size_t count_names() {
  std::size_t n = table.size();
  for (const Key& key : table)
    if (!key.legacy.empty()) ++n;
  return n;
}

/// All names, sorted.
constexpr auto names = [] {
  std::array<Name, count_names()> all{};
  std::size_t n = 0;
  for (std::size_t i = 0; i < table.size(); ++i) {
    all[n++] = {table[i].name, static_cast<std::uint16_t>(i), false};
    if (!table[i].legacy.empty()) all[n++] = {table[i].legacy, static_cast<std::uint16_t>(i), true};
  }
  std::ranges::sort(all, {}, &Name::name);
  return all;
}();

const Name* exact(std::string_view name) {
  const auto at = std::ranges::lower_bound(names, name, {}, &Name::name);
  return at != names.end() && at->name == name ? &*at : nullptr;
}

/// A number without the zeros in front.
std::string_view plain(std::string_view digits) {
  return digits.substr(std::min(digits.find_first_not_of('0'), digits.size() - 1));
}

/// "012" of "012" or "012.type"; nothing for what is no number of an interface.
std::optional<std::string_view> number_of(std::string_view text) {
  const std::string_view digits = text.substr(0, text.find('.'));
  std::uint64_t n = 0;
  if (digits.empty() || digits.find_first_not_of("0123456789") != digits.npos) return {};
  if (!read_whole(plain(digits), INT_MAX - 1, n)) return {};
  return digits;
}

Found find_net(std::string_view name) {
  const bool old = name.starts_with(old_net);
  std::string_view rest = name.substr(old ? old_net.size() : std::string_view("lxc.net.").size());
  Found found;
  const auto number = number_of(rest);
  if (!number && !old) return found;
  found.counts = !number;
  if (number) {
    found.rest = plain(*number);
    rest.remove_prefix(number->size());
    if (rest.empty()) {
      found.row = row("lxc.net.N");
      if (old) found.modern = formatted("lxc.net.{}", found.rest);
      return found;
    }
    rest.remove_prefix(1);
  }
  std::string sub(rest);
  if (old && (sub == "ipv4" || sub == "ipv6")) sub += ".address";
  const Name* const known = exact(std::string(net_prefix) + sub);
  if (known == nullptr) return found;
  found.row = known->row;
  if (old) found.modern = formatted("lxc.net.{}.{}", number ? found.rest : "N", sub);
  return found;
}

}  // namespace

Found find_key(std::string_view name) {
  if (name.starts_with("lxc.net.") || name.starts_with(old_net)) return find_net(name);
  Found found;
  if (const Name* const known = exact(name); known != nullptr && !has_rest(table[known->row])) {
    found.row = known->row;
    if (known->old) found.modern = table[known->row].name;
    return found;
  }
  for (const auto& [prefix, i, old] : names) {
    if (!has_rest(table[i]) || !name.starts_with(prefix) || name.size() == prefix.size()) continue;
    const std::string_view rest = name.substr(prefix.size());
    // No controller is called so: a key of the cgroups' names that there is not.
    if (prefix == "lxc.cgroup." && rest.starts_with("dir.")) continue;
    found.row = i;
    found.rest = rest;
    if (old) found.modern = formatted("{}{}", table[i].name, found.rest);
  }
  return found;
}

std::string near_key(std::string_view name) {
  // An interface's number is none of the typing.
  std::string asked(name), number;
  for (const std::string_view prefix : {std::string_view("lxc.net."), old_net}) {
    if (!name.starts_with(prefix)) continue;
    const auto digits = number_of(name.substr(prefix.size()));
    number = digits ? *digits : "0";
    std::string_view rest = name.substr(prefix.size() + (digits ? digits->size() : 0));
    asked = "lxc.net.N";
    if (!rest.starts_with('.')) asked += '.';
    asked += rest;
  }
  spec_text::Suggestion near(asked);
  for (const Name& known : names) near.offer(known.name);
  std::string best(near.best());
  if (const auto at = best.find(".N"); at != best.npos && !number.empty())
    best.replace(at + 1, 1, number);
  return best;
}

}  // namespace condroid::inline v0::lxc_language

namespace condroid::inline v0::lxc {

namespace language = lxc_language;

std::vector<KeyInfo> keys() {
  std::vector<KeyInfo> all;
  all.reserve(language::table.size());
  for (const language::Key& key : language::table)
    all.push_back(
        {.name = key.name,
         .legacy = key.legacy,
         .values = key.values,
         .otherwise = key.otherwise,
         .list = key.shape == language::Shape::list || key.shape == language::Shape::words,
         .help = key.help});
  return all;
}

std::string key_help() {
  std::string text;
  for (const KeyInfo& key : keys()) {
    append_formatted(text, "{}\n    {}\n    {}{}\n", key.name, key.help, key.values,
                     key.list ? "; each line adds" : "");
    if (!key.otherwise.empty()) append_formatted(text, "    without: {}\n", key.otherwise);
    if (!key.legacy.empty()) append_formatted(text, "    formerly {}\n", key.legacy);
  }
  return text;
}

std::string key_page() {
  std::string page =
      "# Keys of LXC's configuration\n\n"
      "Made from the table in `src/config/lxc_keys.hpp` by `meson compile update-lxc-keys`; "
      "[lxc-config.md](lxc-config.md) tells what becomes of them.\n\n"
      "N is the number of an interface; a key that ends with a dot has a name after it. Of a list "
      "each line adds to what is there, otherwise the last one holds; an empty value clears.\n\n"
      "| Key | Formerly | Value | List | Without | |\n|---|---|---|---|---|---|\n";
  const auto cell = [](std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '|' || c == '<') out += '\\';
      out += c;
    }
    return out;
  };
  for (const KeyInfo& key : keys()) {
    std::string formerly(key.legacy.empty() ? "" : formatted("`{}`", key.legacy));
    if (key.name.starts_with(language::net_prefix)) {
      std::string_view sub = key.name.substr(language::net_prefix.size());
      if (sub == "ipv4.address" || sub == "ipv6.address") sub.remove_suffix(8);
      formerly = formatted("`lxc.network.{}`", sub);
    }
    append_formatted(page, "| `{}` | {} | {} | {} | {} | {} |\n", key.name, formerly,
                     cell(key.values), key.list ? "yes" : "", key.otherwise, cell(key.help));
  }
  return page;
}

}  // namespace condroid::inline v0::lxc
