#include "condroid/spec/hooks.hpp"

#include <utility>

#include "formatted.hpp"
#include "spec/hook_text.hpp"
#include "spec/names.hpp"
#include "spec/values.hpp"

namespace condroid {
inline namespace v0 {

std::string placeholder(HookValue value) { return formatted("%{{{}}}", name_of(value)); }

std::string hook_text(std::string_view text) {
  std::string out;
  for (const char c : text) out.append(c == '%' ? 2 : 1, c);
  return out;
}

namespace detail {

namespace {

/// Calls each(text) for what stands for itself and value(word) for what is filled in.
template <class Each, class Value>
void walk(std::string_view text, Each each, Value value) {
  for (std::size_t at; (at = text.find('%')) != text.npos;) {
    const std::string_view two = text.substr(at, 2);
    if (two != "%{") {  // one that stands for itself, written once or twice
      each(text.substr(0, at + 1));
      text.remove_prefix(at + (two == "%%" ? 2 : 1));
      continue;
    }
    each(text.substr(0, at));
    text.remove_prefix(at + 2);
    const std::size_t end = text.find('}');
    value(text.substr(0, end), end != text.npos);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  each(text);
}

}  // namespace

std::string filled(std::string_view text, const HookLookup& lookup, bool& missing) {
  std::string out;
  walk(
      text, [&](std::string_view plain) { out += plain; },
      [&](std::string_view word, bool /*whole*/) {
        const auto value = from_name<HookValue>(word);
        const auto what = value ? lookup(*value) : std::nullopt;
        if (what)
          out += *what;
        else
          missing = true;
      });
  return out;
}

std::string mistake_in(std::string_view text) {
  std::string wrong;
  walk(
      text, [](std::string_view /*plain*/) {},
      [&](std::string_view word, bool whole) {
        if (!wrong.empty()) return;
        if (!whole)
          wrong = "\"%{\" begins a value, and '}' is missing";
        else if (!from_name<HookValue>(word))
          wrong = formatted("\"%{{{}}}\": {}", word, spec_text::unknown_name<HookValue>(word));
      });
  return wrong;
}

bool mentions(std::string_view text, HookValue value) {
  bool found = false;
  walk(
      text, [](std::string_view /*plain*/) {},
      [&](std::string_view word, bool whole) {
        found = found || (whole && word == name_of(value));
      });
  return found;
}

Hook filled(const Hook& hook, const HookLookup& lookup) {
  Hook out = hook;
  for (auto* list : {&out.argv, &out.env}) {
    std::vector<std::string> kept;
    for (const std::string& word : *list) {
      bool missing = false;
      std::string text = filled(word, lookup, missing);
      if (!missing) kept.push_back(std::move(text));
    }
    *list = std::move(kept);
  }
  if (out.argv.empty()) out.argv = {out.program};
  bool missing = false;
  out.input = filled(hook.input, lookup, missing);
  return out;
}

}  // namespace detail
}  // namespace v0
}  // namespace condroid
