// The words of a line of text: splitting, quoting, and showing them in a message.
//
//   process.argv = sh -c "echo \"hi\"\n"            # three words and a comment
//
// A word ends at a blank. In double quotes a word may hold any byte but NUL: \" \\ \n \t \r and
// \xHH stand for what cannot be written there. Quotes may begin inside a word (source="/a b").
// Outside of them the backslash and the single quote are refused rather than taken as they are:
// whoever writes them expects what a shell would do. '#' at the begin of a word starts a comment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace condroid {
inline namespace v0 {
namespace spec_text {

/// `text` as one word that split_words reads back: as it is when that is plain, otherwise in
/// quotes. Bytes that are not UTF-8, control characters, and characters that hide or reorder others
/// on a screen are written as \xHH.
[[nodiscard]] std::string quoted(std::string_view text);

/// `text` for a message: as quoted() writes it, cut when it is long.
[[nodiscard]] std::string shown(std::string_view text);

/// Appends the words of one line to `words`. Returns what is wrong with the line; empty when
/// nothing is.
[[nodiscard]] std::string split_words(std::string_view line, std::vector<std::string>& words);

}  // namespace spec_text
}  // namespace v0
}  // namespace condroid
