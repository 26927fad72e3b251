// What holds for whatever the files say that the host reads of the kernel and of the machine, the
// state files of other Runtimes, the first bytes of images and the words of lxc-user-nic: what is
// taken from them is in bounds, whole, and no more than there is. Used by the fuzz target and, with
// its seeds, by a unit test.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/sys/facts.hpp"
#include "launch/state_file.hpp"
#include "launch/stats_text.hpp"
#include "launch/user_nic.hpp"
#include "program/format.hpp"
#include "sys/image.hpp"
#include "sys/mountinfo.hpp"

namespace host_files_property {

namespace detail = condroid::detail;
namespace program = condroid::program;

inline std::string broken_mounts(std::string_view text) {
  const auto mounts = detail::parse_mountinfo(text);
  const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  if (mounts.size() > lines) return "more mounts than lines";
  // The text is a membership, too: lines of one kind are none of the other.
  const auto hierarchies = detail::find_hierarchies(mounts, text);
  if (hierarchies.size() > mounts.size()) return "more hierarchies than mounts";
  std::size_t v2 = 0;
  for (const auto& h : hierarchies) {
    v2 += h.v2 ? 1 : 0;
    if (!h.v2 && h.controllers.empty()) return "a hierarchy of nothing";
    if (!h.own_path.empty() && h.own_path.front() != '/') return "a path that is none";
    if (h.own_path.find('\n') != std::string::npos) return "a path of two lines";
  }
  return v2 > 1 ? "two hierarchies of v2" : "";
}

inline std::string broken_users(std::string_view text) {
  for (const auto& range : detail::parse_subids(text, "user", 1000))
    if (range.count == 0) return "an empty range";
  const std::string name = detail::find_user(text, 1000);
  return name.find_first_of(":\n") != std::string::npos ? "a name of two fields" : "";
}

inline std::string broken_counters(std::string_view text) {
  condroid::Stats all;
  for (std::size_t i = 0; i < static_cast<std::size_t>(detail::Counter::count_); ++i) {
    const auto counter = static_cast<detail::Counter>(i);
    condroid::Stats one;
    detail::take_counter(counter, text, one);
    detail::take_counter(counter, text, all);
    for (const auto* stats : {&one, &all})
      if (stats->io && stats->io->listed > stats->io->list.size()) return "more than its places";
  }
  return {};
}

/// The bytes are a header, and a part of the table.
inline std::string broken_state(std::string_view bytes) {
  constexpr auto name = "condroid-0123456789ab";
  const std::span<const char> span(bytes.data(), bytes.size());
  const auto plain = [](std::string_view path) {
    return path.empty() || (path.front() == '/' && path.find("/../") == path.npos &&
                            path.find('\0') == path.npos && !path.ends_with("/.."));
  };
  if (const auto header = detail::parse_state_header(span, name)) {
    if (header->runtime != name || header->zygote <= 0 || header->host < 0)
      return "a header of another Runtime";
    for (const std::string& parent : header->parents)
      if (!plain(parent)) return "a parent that leads elsewhere: " + parent;
  }
  const auto entries = detail::parse_state_entries(span, 5);
  if (entries.size() > bytes.size() / sizeof(program::LiveEntry)) return "more entries than bytes";
  for (const auto& entry : entries) {
    if (entry.pid <= 1 || entry.place < 5) return "an entry of no process";
    if (entry.name.empty() || entry.name.find('/') != std::string::npos || entry.name[0] == '.' ||
        entry.number.empty() || entry.name.size() + entry.number.size() > 84)
      return "a name that leads elsewhere: " + entry.name;
  }
  return {};
}

/// The bytes are what lxc-user-nic said.
inline std::string broken_user_nic(std::string_view said) {
  if (const auto name = detail::user_nic_host_end(said);
      name && (name->empty() || name->size() > 15 || name->find_first_of("/: ") != name->npos))
    return "a name that no interface has";
  // "; " between its parts, of which each has lost more than that.
  return detail::user_nic_complaint(said).size() > said.size() ? "more words than were said" : "";
}

/// The bytes are those that an image begins with.
inline std::string broken_image(std::string_view bytes) {
  const std::vector<std::uint8_t> head(bytes.begin(), bytes.end());
  const detail::ImageKind kind = detail::image_kind(head);
  if (kind.what.empty()) return "an image that is nothing";
  if (kind.type.empty() && kind.size != 0) return "a size of what is no file system";
  return std::ranges::all_of(kind.what, [](char c) { return c >= ' ' && c <= '~'; })
             ? ""
             : "words that are no text";
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view bytes) {
  for (const auto check :
       {broken_mounts, broken_users, broken_counters, broken_state, broken_user_nic, broken_image})
    if (std::string wrong = check(bytes); !wrong.empty()) return wrong;
  return {};
}

}  // namespace host_files_property
