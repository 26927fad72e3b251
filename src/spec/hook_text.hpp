// What a Hook's strings are made of: text, and values that are filled in where it is run. Private.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "condroid/spec/hooks.hpp"

namespace condroid::inline v0::detail {

/// What a value is at some point; nothing where it has none there.
using HookLookup = std::function<std::optional<std::string>(HookValue)>;

/// `text` with its values. `missing` tells that one of them had none; nothing stands there.
[[nodiscard]] std::string filled(std::string_view text, const HookLookup& lookup, bool& missing);
/// What is wrong with it, for a person; empty when nothing is.
[[nodiscard]] std::string mistake_in(std::string_view text);
/// Whether `value` is in it.
[[nodiscard]] bool mentions(std::string_view text, HookValue value);
/// `hook` as it is run: its values filled in, what has none left out.
[[nodiscard]] Hook filled(const Hook& hook, const HookLookup& lookup);

}  // namespace condroid::inline v0::detail
