// What lxc-user-nic(1) says.
#include <net/if.h>

#include <algorithm>
#include <vector>

#include "formatted.hpp"
#include "launch/user_nic.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr std::string_view quota = "Quota reached";

std::vector<std::string_view> pieces(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string user_nic_complaint(std::string_view said) {
  // "../src/lxc/cmd/lxc_user_nic.c: 1250: main: Quota reached", or "...: main - CAUSE - TEXT".
  std::vector<std::string> all;
  const auto words = pieces(said, ' ');
  for (std::size_t n = 0; n < words.size(); ++n) {
    const bool begins = n + 2 < words.size() && words[n].ends_with(".c:") &&
                        words[n + 1].ends_with(':') &&
                        is_number(words[n + 1].substr(0, words[n + 1].size() - 1));
    if (begins) {
      all.emplace_back();
      n += words[n + 2].ends_with(':') ? 2 : 3;
      continue;
    }
    if (words[n].empty()) continue;
    if (all.empty()) all.emplace_back();
    if (!all.back().empty()) all.back() += ' ';
    all.back() += words[n];
  }
  if (all.size() > 1) std::erase(all, quota);
  return formatted("{}", fmt::join(all, "; "));
}

std::optional<std::string> user_nic_host_end(std::string_view said) {
  // It may have said something else before.
  const auto parts = pieces(said.substr(said.rfind(' ') + 1), ':');
  if (parts.size() != 4 || !is_number(parts[1]) || !is_number(parts[3])) return std::nullopt;
  if (parts[2].empty() || parts[2].size() >= IFNAMSIZ || parts[2].find('/') != parts[2].npos)
    return std::nullopt;
  return std::string(parts[2]);
}

}  // namespace condroid::inline v0::detail
