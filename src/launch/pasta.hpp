// pasta(1), which carries what a container without interfaces of the host's sends. Private.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "condroid/plan/op.hpp"

namespace condroid::inline v0::detail {

/// Its command line. Its standard input is the network namespace, its standard output the user
/// namespace, its standard error where it says that it is ready, or what is wrong.
[[nodiscard]] std::vector<std::string> pasta_command(const op::StartPasta& o);

/// What it has said: ready once a line is its number. Of the rest what is about the cause.
struct PastaWords {
  bool ready = false;
  std::string complaint = {};
};
[[nodiscard]] PastaWords pasta_words(std::string_view said);
/// The end of its complaint, for a message.
[[nodiscard]] std::string last_words(std::string_view said);

}  // namespace condroid::inline v0::detail
