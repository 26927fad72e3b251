// Reading state files of zygotes without writing to them and without believing them. Private.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "condroid/units.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

/// RuntimeOptions::state_dir when it is empty.
[[nodiscard]] std::string default_state_dir();

/// What a state file says of one container, within its bounds.
struct StateEntry {
  std::uint32_t place = 0;  ///< In the table.
  std::string name = {};    ///< "worker"
  std::string number = {};  ///< "2"
  std::int32_t pid = 0;
  std::uint64_t born = 0;
  std::uint64_t cgroups = 0;
  std::string group = {};  ///< Where they are below the parents; empty: the usual place.
  bool detached = false;
  bool landlock = false;
  bool profile = false;  ///< Of AppArmor, its own.
  bool label_below =
      false;  ///< Its command has a label, and the init of ours that is here has not.
  bool operator==(const StateEntry&) const = default;
};

struct StateHeader {
  std::int32_t host = 0;
  std::int32_t zygote = 0;
  std::string runtime = {};  ///< "condroid-1a2b3c4d5e6f"
  /// By hierarchy: the directory in which the runtime's cgroup is, or empty.
  std::vector<std::string> parents = {};
};

/// "condroid-" and twelve hexadecimal digits.
[[nodiscard]] bool is_state_file_name(std::string_view name);

/// The beginning of a state file of that name; nothing when it is none of ours. Pure.
[[nodiscard]] std::optional<StateHeader> parse_state_header(std::span<const char> bytes,
                                                            std::string_view file_name);
/// Entries of containers in a part of the table that begins at `place`; what is no entry is passed
/// over, and so are helpers, which have no name. Pure.
[[nodiscard]] std::vector<StateEntry> parse_state_entries(std::span<const char> bytes,
                                                          std::uint32_t place);

/// One state file, opened to be read.
class StateFile {
 public:
  /// Nothing when it is not a file of ours, of the right size, held by a living zygote; or when
  /// that could not be found out, and why, in `error`.
  [[nodiscard]] static std::optional<StateFile> open(int dir, const std::string& name,
                                                     int* error = nullptr);

  [[nodiscard]] const StateHeader& header() const noexcept { return header_; }
  /// All that are there now, as far as they could be read; why no further, in `error`.
  [[nodiscard]] std::vector<StateEntry> entries(int* error = nullptr) const;
  /// The same place again.
  [[nodiscard]] std::optional<StateEntry> entry(std::uint32_t place) const;
  /// Whether the zygote still holds it.
  [[nodiscard]] bool held() const;

 private:
  StateFile(Fd fd, StateHeader header) : fd_(std::move(fd)), header_(std::move(header)) {}
  Fd fd_;
  StateHeader header_;
};

/// What a state directory says of the container whose first process this is; its runtime's name
/// comes with it.
[[nodiscard]] std::optional<std::pair<StateEntry, std::string>> entry_of(
    const std::string& state_dir, int pid);

/// The state directory, if it is ours; an invalid Fd when there is none.
[[nodiscard]] Result<Fd> open_state_dir(const std::string& path);
/// The names of state files in it, sorted, as far as they could be read; why no further, in
/// `error`.
[[nodiscard]] std::vector<std::string> state_files(int dir, int* error = nullptr);

}  // namespace condroid::inline v0::detail
