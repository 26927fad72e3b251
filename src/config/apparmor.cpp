#include "condroid/config/apparmor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

namespace condroid::inline v0::apparmor {

namespace {

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name.front() != '.' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

/// The path itself and all below it; what means something in a pattern is taken as it is.
Result<std::string> pattern(const GuestPath& path) {
  std::string out;
  for (const char c : path.str()) {
    if (static_cast<unsigned char>(c) < ' ' || c == '"' || c == '\x7f')
      return fail(Errc::bad_spec, Step::compile,
                  fmt::format("a profile cannot hold the path of {} characters at its character {}",
                              path.str().size(), out.size()),
                  "leave out control characters and quotation marks");
    if (std::string_view("*?[]{}^,@\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return fmt::format("\"{}{{,/**}}\"", out);
}

}  // namespace

Result<std::string> profile(const Spec& spec, std::string_view name) {
  if (!is_name(name))
    return fail(Errc::bad_spec, Step::compile, fmt::format("'{}' is no name of a profile", name),
                "letters, digits, '.', '_' and '-'");
  const Security& s = spec.security;
  // Descriptors of the host that it is given have no path in its root.
  std::string text =
      fmt::format("profile {} flags=(attach_disconnected,mediate_deleted) {{\n", name);
  const auto line = [&](std::string_view rule) { text += fmt::format("  {},\n", rule); };
  line("file");
  line("network");
  line("unix");
  for (unsigned c = 0; c < capability_count; ++c)
    if (const auto capability = static_cast<Capability>(c); s.capabilities.has(capability))
      line(fmt::format("capability {}", to_string(capability)));
  for (const char* rule : {"mount", "remount", "umount", "pivot_root"})
    line(fmt::format("{}{}", s.allow.has(Allow::nesting) ? "" : "deny ", rule));
  // What condroid and whoever stops the container send comes from outside.
  line("signal (receive) peer=unconfined");
  line(fmt::format("signal (send, receive) peer={}", name));
  line(fmt::format("ptrace (trace, read, tracedby, readby) peer={}", name));
  line("ptrace (tracedby, readby) peer=unconfined");
  for (const GuestPath& path : s.masked_paths) {
    auto files = pattern(path);
    if (!files) return fail(files);
    line(fmt::format("deny {} rwklx", *files));
  }
  for (const GuestPath& path : s.read_only_paths) {
    auto files = pattern(path);
    if (!files) return fail(files);
    line(fmt::format("deny {} wl", *files));
  }
  return text + "}\n";
}

}  // namespace condroid::inline v0::apparmor
