// What the lines of a configuration mean, one after the other.
#include "config/lxc_state.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <utility>

#include "formatted.hpp"
#include "printable.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc_language {

Error Report::error(Errc code) const {
  Error error = make_error(code, Step::parse, {});
  std::size_t said = 0;
  for (const lxc::Diagnostic& d : all_) {
    if (d.kind != lxc::Diagnostic::error) continue;
    if (said++ == 0)
      error.subject = lxc::to_string(d);
    else
      error.also.push_back(lxc::to_string(d));
  }
  if (errors_ > said) error.also.push_back(formatted("{} errors at least", errors_));
  return error;
}

}  // namespace condroid::inline v0::lxc_language

namespace condroid::inline v0::lxc {

using lxc_language::Found;
using lxc_language::Key;
using lxc_language::Report;
using lxc_language::row;
using lxc_language::Shape;
using lxc_language::table;
using lxc_language::Value;
using spec_text::shown;

std::string to_string(const Diagnostic& d) {
  std::string text;
  if (!d.file.empty()) text += shown(d.file);
  if (d.line != 0) text += formatted("{}{}", d.file.empty() ? "line " : ":", d.line);
  if (!text.empty()) text += ": ";
  if (!d.key.empty()) {
    text += shown(d.key);
    if (!d.value.empty()) text += formatted(" = {}", shown(d.value));
    text += ": ";
  }
  if (d.kind == Diagnostic::unsupported) text += "not done: ";
  detail::append_printable(text, d.what);
  if (!d.hint.empty()) detail::append_printable(text, "; " + d.hint);
  return text;
}

std::uint32_t Configuration::Impl::file(std::string_view name) {
  const auto known = std::ranges::find(files, name);
  if (known == files.end()) {
    files.emplace_back(name);
    return static_cast<std::uint32_t>(files.size() - 1);
  }
  return static_cast<std::uint32_t>(known - files.begin());
}

namespace {

constexpr std::string_view blanks = " \t";

std::size_t skip_blanks(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(blanks, at), text.size());
}
/// Where the last character stands that is no blank, and one more.
std::size_t end_without_blanks(std::string_view text, std::size_t begin) {
  std::size_t end = text.size();
  while (end > begin && blanks.find(text[end - 1]) != blanks.npos) --end;
  return end;
}

}  // namespace

std::size_t Configuration::Impl::push(std::string_view line, Item::Origin origin,
                                      std::uint32_t file_number, std::uint32_t number) {
  Item item{.origin = origin, .file = file_number, .line = number};
  item.text = line;
  const std::size_t begin = skip_blanks(line, 0);
  const auto at = [](std::size_t n) { return static_cast<std::uint32_t>(n); };
  if (begin < line.size() && line[begin] == '#') {
    item.kind = Item::comment;
  } else if (line.substr(begin).starts_with("lxc.")) {
    item.kind = Item::setting;
    const std::size_t equals = line.find('=', begin);
    const std::string_view key = line.substr(0, equals);
    item.key_at = at(begin);
    item.key_size = at(end_without_blanks(key, begin) - begin);
    std::size_t from = equals == line.npos ? line.size() : skip_blanks(line, equals + 1);
    std::size_t end = std::max(from, end_without_blanks(line, from));
    const char quote = from < end ? line[from] : ' ';
    if ((quote == '"' || quote == '\'') && end - from > 1 && line[end - 1] == quote) ++from, --end;
    item.value_at = at(from);
    item.value_size = at(end - from);
  }
  items.push_back(std::move(item));
  meanings.emplace_back();
  return items.size() - 1;
}

Diagnostic Configuration::Impl::about(std::size_t i, Diagnostic::Kind kind, std::string what,
                                      std::string hint) const {
  const Item& item = items[i];
  // A message is no place for what somebody filled megabytes with.
  constexpr std::size_t most = 4096;
  return {.kind = kind,
          .file = files[item.file],
          .line = item.line,
          .key = std::string(item.key().substr(0, most)),
          .value = std::string(item.value().substr(0, most)),
          .what = std::move(what),
          .hint = std::move(hint)};
}

const Value* Configuration::Impl::one(std::size_t r, std::string_view rest) const {
  const auto found = values[r].find(rest);
  return found == values[r].end() || found->second.empty() ? nullptr : &found->second.back();
}

void Configuration::Impl::clear_rows(std::string_view prefix) {
  for (std::size_t r = 0; r < table.size(); ++r)
    if (table[r].name.starts_with(prefix)) values[r].clear();
}

std::int64_t Configuration::Impl::free_net() const {
  std::int64_t n = last_net + 1;
  const auto used = [&] {
    for (std::size_t r = 0; r < table.size(); ++r)
      if (lxc_language::of_net(table[r]) && one(r, formatted("{}", n)) != nullptr) return true;
    return false;
  };
  while (used()) ++n;
  return n;
}

bool Configuration::Impl::clear_net(std::string_view number) {
  bool any = false;
  for (std::size_t r = 0; r < table.size(); ++r)
    if (lxc_language::of_net(table[r]))
      if (const auto at = values[r].find(number); at != values[r].end()) {
        any = any || r != row("lxc.net.N.type");
        values[r].erase(at);
      }
  return any;
}

namespace {

/// What a group clears: what is below it, but not lxc.cgroup.dir with the files of a cgroup.
void clear_group(Configuration::Impl& impl, std::size_t r, std::string_view rest);

std::string_view auto_kind(std::string_view word) {
  const std::string_view kind = word.substr(0, word.find(':'));
  return kind.starts_with("cgroup") ? "cgroup" : kind;
}

}  // namespace

void Configuration::Impl::digest(std::size_t i, Report& report) {
  const Item& item = items[i];
  if (item.kind != Item::setting) return;
  const auto wrong = [&](std::string what, std::string hint = {}) {
    misspelt[meanings[i].row] = true;
    if (report.full()) return report.count();
    report.add(about(i, Diagnostic::error, std::move(what), std::move(hint)));
  };
  if (item.text.find('=') == item.text.npos) return wrong("has no '='", "KEY = VALUE");
  Found found = lxc_language::find_key(item.key());
  if (!found.known()) {
    misspelt_net = misspelt_net || item.key().starts_with("lxc.net");
    std::string near = report.full() ? std::string() : lxc_language::near_key(item.key());
    return wrong("unknown key", near.empty() ? "docs/lxc-keys.md has them all"
                                             : formatted("did you mean {}?", near));
  }
  const Key& key = table[found.row];
  std::string value(item.value());
  constexpr std::size_t type = row("lxc.net.N.type");
  const auto note = [&](std::string what, std::string hint) {
    if (notes.size() < lxc_language::most_diagnostics)
      notes.push_back(about(i, Diagnostic::note, std::move(what), std::move(hint)));
  };
  if (found.counts) {
    if (found.row == type) {
      if (value.empty()) {
        clear_rows(lxc_language::net_prefix);
        last_net = -1;
        meanings[i] = {row("lxc.net"), {}};
        return note("an old spelling", "now lxc.net");
      }
      last_net = free_net();
    } else if (last_net < 0) {
      if (misspelt[type] || misspelt_net) return;  // it was meant to stand above
      return wrong("comes before lxc.network.type", "which begins an interface");
    }
    found.rest = formatted("{}", last_net);
    found.modern.replace(found.modern.find(".N."), 3, formatted(".{}.", last_net));
  }
  meanings[i] = {found.row, found.rest};
  if (key.shape == Shape::dropped) return note("means nothing any more", "leave it out");
  if (found.row == row("lxc.rootfs.backend"))
    note("an old spelling", "write the type in front of lxc.rootfs.path, with a ':'");
  else if (!found.modern.empty())
    note("an old spelling", formatted("now {}", found.modern));
  if (key.shape == Shape::include) return;  // who reads the files has done so
  if (key.shape == Shape::group) {
    if (!value.empty()) return wrong("takes no value", "without one it clears what is below it");
    return clear_group(*this, found.row, found.rest);
  }
  if (found.row == row("lxc.namespace.share.")) {
    std::string kind = found.rest;
    if (!lxc_language::namespace_kind(kind).empty() || kind != found.rest)
      return wrong("unknown namespace", formatted("one {}", lxc_language::kind_values));
  }

  lxc_language::Values& all = values[found.row];
  if (value.empty()) {
    if (found.row == row("lxc.mount.fstab") || found.row == row("lxc.arch"))
      return wrong("is empty", formatted("use {}", key.values));
    if (found.row == type) return void(clear_net(found.rest));
    if (found.row == row("lxc.cap.drop") || found.row == row("lxc.cap.keep")) {
      values[row("lxc.cap.drop")].clear();
      values[row("lxc.cap.keep")].clear();
    }
    if (const auto at = all.find(found.rest); at != all.end()) all.erase(at);
    return;
  }
  const auto excluded_by = [&](std::string_view a, std::size_t a_row, std::string_view b,
                               std::size_t b_row) {
    const std::size_t other = found.row == a_row   ? b_row
                              : found.row == b_row ? a_row
                                                   : table.size();
    if (other == table.size() || one(other) == nullptr) return false;
    wrong(formatted("there is {} as well", found.row == a_row ? b : a), "use one of them");
    return true;
  };
  if (excluded_by("lxc.cap.drop", row("lxc.cap.drop"), "lxc.cap.keep", row("lxc.cap.keep")) ||
      excluded_by("lxc.namespace.clone", row("lxc.namespace.clone"), "lxc.namespace.keep",
                  row("lxc.namespace.keep")))
    return;
  if (lxc_language::of_net(key) && found.row != type) {
    const std::string_view sub = key.name.substr(lxc_language::net_prefix.size());
    const std::string_view kind = sub.substr(0, sub.find('.'));
    const Value* const is = one(type, found.rest);
    if ((kind == "veth" || kind == "macvlan" || kind == "ipvlan" || kind == "vlan") &&
        (is == nullptr || is->text != kind)) {
      if (is == nullptr && (misspelt[type] || misspelt_net)) return;
      return wrong(is == nullptr ? std::string("comes before its type")
                                 : formatted("its type is {}", is->text),
                   formatted("lxc.net.{}.type = {} must stand above", found.rest, kind));
    }
  }

  const auto take = [&](std::string one_value) {
    if (report.full()) return;  // suggestions that nobody reads cost time
    std::string what = key.check(one_value);
    if (!what.empty()) return wrong(std::move(what), formatted("use {}", key.values));
    if (found.row == type && clear_net(found.rest))
      note("begins the interface anew; what was said of it above is void", "put the type first");
    std::vector<Value>& list = all[found.rest];
    const auto number = static_cast<std::uint32_t>(i);
    if (key.shape == Shape::once) list.clear();
    if (found.row == row("lxc.mount.auto"))
      std::erase_if(list,
                    [&](const Value& v) { return auto_kind(v.text) == auto_kind(one_value); });
    if (found.row == row("lxc.cap.keep") && one_value == "none") list.clear();
    list.push_back({std::move(one_value), number});
  };
  if (key.shape != Shape::words) return take(std::move(value));
  const auto words =
      lxc_language::words_of(value, found.row == row("lxc.init.groups") ? "," : blanks);
  if (words.size() > lxc_language::most_words)
    return wrong(formatted("has {} words", words.size()),
                 formatted("at most {} in a line", lxc_language::most_words));
  if (words.empty() && found.row == row("lxc.init.groups"))
    return wrong("has no group id", formatted("use {}", key.values));
  for (const std::string_view word : words) {
    if (report.full()) return report.count();  // the rest of the line with it
    take(std::string(word));
  }
}

namespace {

void clear_group(Configuration::Impl& impl, std::size_t r, std::string_view rest) {
  if (r == row("lxc.net.N")) return void(impl.clear_net(rest));
  if (r == row("lxc.net")) {
    impl.last_net = -1;
    return impl.clear_rows(lxc_language::net_prefix);
  }
  if (r == row("lxc.hook")) {
    for (std::size_t k = 0; k < table.size(); ++k)
      if (table[k].name.starts_with("lxc.hook.") && table[k].shape == Shape::list)
        impl.values[k].clear();
    return;
  }
  const std::string below = formatted("{}.", table[r].name);
  for (std::size_t k = 0; k < table.size(); ++k)
    if (table[k].name == below) impl.values[k].clear();
}

}  // namespace

void Configuration::Impl::settle(Report& report) {
  for (auto& of_row : values) of_row.clear();
  notes.clear();
  misspelt = {};
  misspelt_net = false;
  last_net = -1;
  for (std::size_t i = 0; i < items.size(); ++i) digest(i, report);
}

}  // namespace condroid::inline v0::lxc
