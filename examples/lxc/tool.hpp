// What a program of the family is: one table from which its command line is read, its help printed
// and the completion of shells made.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// The version of LXC whose words and habits these programs have: scripts look at its first digit.
inline constexpr std::string_view lxc_version = "5.0.2 (condroid)";

struct Option {
  char letter = 0;                 ///< 0: it has none.
  std::string_view name = {};      ///< Without its "--".
  std::string_view argument = {};  ///< What stands for it in the help; empty: it takes none.
  std::string_view help = {};
  enum Kind { plain, optional } kind = plain;  ///< optional: the argument may be left out.
};

class Arguments;

struct Tool {
  std::string_view name = {};      ///< "lxc-info"
  std::string_view synopsis = {};  ///< After the name: "-n NAME [OPTION...]".
  std::string_view brief = {};     ///< One line.
  std::span<const Option> options = {};
  enum Names {
    one,
    none
  } names = one;               ///< Whether it is for one container, which has to be named.
  std::string_view more = {};  ///< Paragraphs at the end of the help: exit statuses.
  int (*run)(const Arguments&) = nullptr;
  bool many_paths = false;  ///< -P may be said more than once.
};

/// All of them, by name.
[[nodiscard]] std::span<const Tool* const> all_tools();

/// A command line that was read.
class Arguments {
 public:
  /// Reads it as getopt_long(3) does. Nothing when there is nothing more to do: help was asked for
  /// (`status` 0) or it is wrong, which was said (`status` 1).
  [[nodiscard]] static std::optional<Arguments> read(const Tool& tool, int argc, char** argv,
                                                     int& status);

  /// By the long name.
  [[nodiscard]] bool has(std::string_view option) const { return given_.contains(option); }
  /// The last one; empty without.
  [[nodiscard]] std::string value(std::string_view option) const;
  [[nodiscard]] std::vector<std::string> values(std::string_view option) const;
  /// A whole number of an option; the usual one without it, nothing for another word, which is
  /// said.
  [[nodiscard]] std::optional<long> number(std::string_view option, long otherwise) const;
  /// What is left, but for the name of a container.
  [[nodiscard]] const std::vector<std::string>& words() const { return words_; }
  [[nodiscard]] const std::string& container() const { return container_; }

 private:
  std::map<std::string_view, std::vector<std::string>> given_;
  std::vector<std::string> words_;
  std::string container_;
};

/// Its own and those of all, in the order of the help.
[[nodiscard]] std::vector<Option> options_of(const Tool& tool);
/// The whole help of a program, as of its page in a manual.
[[nodiscard]] std::string help(const Tool& tool);
/// A completion for bash, of all programs.
[[nodiscard]] std::string bash_completion();
