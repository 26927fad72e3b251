// What the words of the options are in a Spec. What is wrong with them is thrown as a Mistake,
// which names the option.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <condroid/spec.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace wishes {

using namespace condroid;  // NOLINT(google-build-using-namespace): a program's own header

/// What is wrong with an option's value, in words; becomes the one line on stderr.
struct Mistake : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class T, class... Base>
T number(const std::string& option, const std::string& text, Base... how) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, how...);
  if (error != std::errc{} || end != text.data() + text.size())
    throw Mistake(fmt::format("{}: '{}' is no number in range", option, text));
  return value;
}

/// "64m", "64MiB", "1g", "4096".
[[nodiscard]] Bytes size(const std::string& option, const std::string& text);

/// "10", "1.5s", "200ms", "2m", "1h".
[[nodiscard]] std::chrono::milliseconds duration(const std::string& option,
                                                 const std::string& text);

/// A path of the host, from the working directory as everywhere in a shell.
[[nodiscard]] HostPath host_path(const std::string& text);
/// A directory, or a file system in a file or on a block device: what is there.
void set_root(Spec& spec, const std::string& text);

/// SRC:DST[:opts]
void add_bind(Spec& spec, const std::string& text);

/// DST[:opts]
void add_tmpfs(Spec& spec, const std::string& text);

/// Whoever types it has decided so: the token goes with the option.
void share(Spec& spec, const std::string& name);

/// Its own, whatever a stored spec said.
void own_network(Spec& spec);

struct NetworkWishes {
  std::string net;  ///< "" is what a stored spec said.
  std::vector<std::string> ip, gateway, host_ip, publish, dns;
};
/// "none", "host", "bridge[:NAME]", "pasta[:DEV]", "veth[:BRIDGE]", "user-nic:BRIDGE",
/// "macvlan:DEV", "ipvlan:DEV", "vlan:DEV:ID", "phys:DEV", "ns:PATH", "container:NAME".
void set_network(Spec& spec, const NetworkWishes& wishes);

/// "auto", "host", or any number of "IN:OUT:COUNT".
void map_ids(Spec& spec, const std::vector<std::string>& wishes);

/// "all" is where it starts; of single ones the taking away counts last.
void change_capabilities(Security& security, const std::vector<std::string>& add,
                         const std::vector<std::string>& drop);

/// "NAME=value", or "NAME" for this program's own value; `usual`: with what a command expects.
void add_environment(Spec& spec, const std::vector<std::string>& wishes, bool usual);

/// All of a file, but not the whole of what never ends.
[[nodiscard]] std::string file_text(const std::string& option, const std::string& path);

/// Lines of a spec.
[[nodiscard]] Spec parse(const std::string& option, const std::string& text);

/// "standard", "none", or a policy file as LXC or an OCI runtime reads it. Whoever types what
/// takes the place of the standard filter has decided so: the token goes with the option.
void filter_calls(Security& security, const std::string& wish);

/// "/usr:run", "bind:8080", "connect:443", "scope:signal", "best-effort".
void restrict_reach(Landlock& landlock, const std::string& wish);

/// "memory.high = 64M": a file of the container's cgroup, by the controller that it begins with.
/// Keys of a spec are others.
[[nodiscard]] std::optional<CgroupSetting> cgroup_file(const std::string& line);

/// One value for a file: the last.
void set_file(std::vector<CgroupSetting>& settings, CgroupSetting setting);

/// Where the files of a container that runs are.
[[nodiscard]] std::string root_of(const std::string& container);

/// Whether this user may have a cgroup at all.
[[nodiscard]] bool may_count();

/// The text of a spec with one line instead of all lines of that key.
[[nodiscard]] std::string with_line(const std::string& text, const std::string& line);

}  // namespace wishes
