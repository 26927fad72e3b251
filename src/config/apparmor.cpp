#include "condroid/config/apparmor.hpp"

#include <algorithm>
#include <string>
#include <string_view>

#include "config/apparmor_rules.hpp"
#include "formatted.hpp"

namespace condroid::inline v0::apparmor {

namespace {

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && name.front() != '.' && name != "unconfined" &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

/// The path itself and all below it, as the kernel spells it: what it looks for is text. What means
/// something in a pattern is taken as it is.
Result<std::string> pattern(const GuestPath& path) {
  const std::string& text = path.str();
  const auto refuse = [&](std::string_view why, const char* instead) {
    return fail(Errc::bad_spec, Step::compile, formatted("a profile cannot hold a path {}", why),
                instead);
  };
  if (text.empty() || text.front() != '/') return refuse("that is not absolute", "begin it with /");
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('/', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return refuse("with '..'", "name the directory that is meant");
    out += '/';
    for (const char c : part) {
      if (static_cast<unsigned char>(c) < ' ' || c == '"' || c == '\x7f')
        return refuse("with control characters or quotation marks", "leave them out");
      if (std::string_view("*?[]{}^,@\\").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
  }
  return out.empty() ? "\"/{,**}\"" : formatted("\"{}{{,/**}}\"", out);
}

}  // namespace

Result<std::string> profile(const Spec& spec, std::string_view name) {
  if (!is_name(name))
    return fail(Errc::bad_spec, Step::compile, formatted("'{}' is no name of a profile", name),
                "letters, digits, '.', '_' and '-', and not 'unconfined'");
  auto rules = rules_of(spec);
  if (!rules) return fail(rules);
  return formatted("profile {} {}", name, *rules);
}

Result<std::string> rules_of(const Spec& spec) {
  const Security& s = spec.security;
  // Descriptors of the host that it is given have no path in its root.
  std::string text = "flags=(attach_disconnected,mediate_deleted) {\n";
  const auto line = [&](std::string_view rule) { text += formatted("  {},\n", rule); };
  line("file");
  line("network");
  line("unix");
  for (unsigned c = 0; c < capability_count; ++c)
    if (const auto capability = static_cast<Capability>(c); s.capabilities.has(capability))
      line(formatted("capability {}", to_string(capability)));
  for (const char* rule : {"mount", "remount", "umount", "pivot_root"})
    line(formatted("{}{}", s.allow.has(Allow::nesting) ? "" : "deny ", rule));
  // What condroid and whoever stops the container send comes from outside.
  line("signal (receive) peer=unconfined");
  line("signal (send, receive) peer=@{profile_name}");
  line("ptrace (trace, read, tracedby, readby) peer=@{profile_name}");
  line("ptrace (tracedby, readby) peer=unconfined");
  for (const GuestPath& path : s.masked_paths) {
    auto files = pattern(path);
    if (!files) return fail(files);
    line(formatted("deny {} rwklx", *files));
  }
  for (const GuestPath& path : s.read_only_paths) {
    auto files = pattern(path);
    if (!files) return fail(files);
    line(formatted("deny {} wl", *files));
  }
  for (const std::string& rule : s.apparmor_rules) text += formatted("  {}\n", rule);
  return text + "}\n";
}

}  // namespace condroid::inline v0::apparmor
