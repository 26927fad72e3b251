// LXC's configuration language: a container's file, with what it includes, as items that can be
// looked at, changed and written back, and as a Spec.
//
//   auto config = lxc::Configuration::load("/var/lib/lxc/web/config"_host);
//   if (!config) return fail(config);               // all that is wrong in it, line by line
//   auto container = config->to_spec({.name = "web"});
//   if (!container) return fail(container);
//   runtime.launch(container->spec);
//
// The keys are those of LXC 7.0 and, under their own names, those of 1.0 to 2.1: docs/lxc-keys.md
// is the table of them, docs/lxc-config.md tells what differs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/path.hpp"
#include "condroid/spec.hpp"

namespace condroid {
inline namespace v0 {
namespace lxc {

/// Something to be said about one line.
struct Diagnostic {
  enum Kind : std::uint8_t {
    error,        ///< LXC would not start the container either, or it cannot be meant.
    unsupported,  ///< Understood, and not in the Spec: it makes a difference that is not made.
    note,         ///< An old spelling, or something that makes no difference here.
  };
  Kind kind = error;
  std::string file = {};   ///< As it was named; empty for text, "-s" for apply().
  std::uint32_t line = 0;  ///< From 1; 0 where there is none.
  std::string key = {};    ///< As written.
  std::string value = {};
  std::string what = {};  ///< What is wrong with it.
  std::string hint = {};  ///< What would be right; may be empty.
  bool operator==(const Diagnostic&) const = default;
};
/// "config:3: lxc.tty.max = four: is no number; use a whole number from 0 to 4294967295": one line
/// that a terminal may show.
[[nodiscard]] std::string to_string(const Diagnostic& diagnostic);

/// A line, as it was written.
struct Item {
  enum Kind : std::uint8_t {
    setting,  ///< KEY = VALUE, the key beginning with "lxc.".
    comment,  ///< '#' first.
    other,    ///< Blank, or what LXC passes over. Kept.
  };
  enum Origin : std::uint8_t {
    own,       ///< Of the file or text itself; written back.
    included,  ///< Of a file that is included; only the line that includes it is written back.
    applied,   ///< Of apply(): not written back.
  };
  Kind kind = other;
  Origin origin = own;
  std::uint32_t file = 0;  ///< Configuration::files()[file]
  std::uint32_t line = 0;
  std::string text = {};  ///< The whole line, without its end.

  /// Of a setting; without the blanks around them, and the value without its quotes.
  [[nodiscard]] std::string_view key() const noexcept {
    return std::string_view(text).substr(key_at, key_size);
  }
  [[nodiscard]] std::string_view value() const noexcept {
    return std::string_view(text).substr(value_at, value_size);
  }
  std::uint32_t key_at = 0, key_size = 0, value_at = 0, value_size = 0;
};

/// One key of the language: a row of the table that the parser, the writer, key_help() and
/// docs/lxc-keys.md are made from.
struct KeyInfo {
  std::string_view name = {};    ///< "lxc.net.N.type"; one with a '.' last has something after it.
  std::string_view legacy = {};  ///< The older name.
  std::string_view values = {};  ///< What may be said.
  std::string_view otherwise = {};  ///< What holds without it, where LXC says so when asked.
  bool list = false;                ///< Each line adds to it.
  std::string_view help = {};
};
[[nodiscard]] std::vector<KeyInfo> keys();
/// The table for a terminal, some lines a key.
[[nodiscard]] std::string key_help();
/// The same as a page: docs/lxc-keys.md.
[[nodiscard]] std::string key_page();

/// A hook of the configuration, as it was written. How they are run is LXC's: by /bin/sh.
struct Hook {
  std::string when = {};     ///< "pre-start", "pre-mount", "mount", "autodev", "start-host" ...
  std::string command = {};  ///< A command line.
  bool operator==(const Hook&) const = default;
};
/// lxc.net.N.script.up and .down.
struct NetworkScript {
  std::string interface = {};  ///< Of the container: Interface::name; empty for the type "empty".
  std::string when = {};       ///< "up" or "down"
  std::string command = {};
  std::string type = {}, link = {}, pair = {};
  bool operator==(const NetworkScript&) const = default;
};

/// lxc.log.level
enum class LogLevel : std::uint8_t {
  trace,
  debug,
  info,
  notice,
  warn,
  error,
  critical,
  alert,
  fatal
};

/// What a configuration says that is not of the container itself, but of the program that keeps it.
struct Program {
  std::string rootfs_type = {};  ///< "dir", "overlay", "loop" ...; empty: nothing was said.
  std::string rootfs_path = {};  ///< As written, without the type.
  HostPath rootfs_mount = {};    ///< LXC's mount point for it. Where hooks see it.
  bool rootfs_managed = true;    ///< To be removed with the container.
  bool ephemeral = false;        ///< The container is to be removed when it has stopped.
  std::vector<std::string> execute = {};  ///< lxc.execute.cmd, in words.

  /// Empty: a terminal of the program's, if it has one. "none": no console at all.
  std::string console_path = {};
  HostPath console_log = {};
  Bytes console_buffer = {};    ///< 0: none.
  Bytes console_log_size = {};  ///< 4096 at least; 0: without limit.
  bool console_rotate = false;

  std::vector<Hook> hooks = {};  ///< In the order of the file.
  int hook_version = 0;
  std::vector<NetworkScript> network_scripts = {};
  std::vector<std::string> hook_environment = {};  ///< For hooks alone, "NAME=VALUE".

  bool start_auto = false;
  std::uint32_t start_delay = 0;  ///< Seconds.
  int start_order = 0;
  std::vector<std::string> groups = {};
  std::optional<Signal> halt_signal = {};  ///< Unset: what the init expects, SIGPWR or SIGRTMIN+3.

  std::optional<LogLevel> log_level = {};
  HostPath log_file = {};
  std::string log_syslog = {};  ///< "daemon", "local0" ...

  bool monitor_unshare = false;
  /// Names of cgroups; empty: the program's own.
  std::string cgroup_dir = {}, cgroup_monitor = {}, cgroup_container = {}, cgroup_inner = {},
              cgroup_pivot = {};
  bool cgroup_relative = false;

  bool seccomp_allow_nesting = false;
  std::string seccomp_proxy = {};  ///< "unix:/path": who answers for the action notify.
  std::string seccomp_cookie = {};
  bool operator==(const Program&) const = default;
};

/// What this machine and caller add to a configuration where it does not say all by itself.
struct Translation {
  std::string name = "container";         ///< Of the Spec.
  HostPath lxcpath = {};                  ///< Empty: system_path(). Of the container's directory.
  std::optional<bool> apparmor = {};      ///< Unset: whether this kernel has it on.
  std::optional<bool> selinux = {};       ///< The same.
  std::optional<bool> cgroup2_only = {};  ///< Unset: whether version 2 alone is mounted here.
  /// Of those that the configuration leaves it, a container without an id map has no others. Unset:
  /// those of this process, which for LXC's root are all.
  std::optional<CapabilitySet> capabilities = {};
  /// What is `unsupported` is an error.
  bool strict = false;
  /// Profiles of AppArmor that are loaded. Unset: those that this kernel tells of.
  std::optional<std::vector<std::string>> apparmor_profiles = {};
  /// What is in /proc/sys. Unset: what is there on this machine.
  std::optional<std::vector<std::string>> kernel_settings = {};
  /// Interfaces of the host, the oldest first. Unset: those that are here now. They are looked at
  /// for "lxc.net.N.link = eth+" alone.
  std::optional<std::vector<std::string>> interfaces = {};
};

struct Translated {
  Spec spec = {};
  Program program = {};
  /// What was left aside, and why: never an error.
  std::vector<Diagnostic> notes = {};
};

/// A configuration. Value semantics; one thread at a time changes it. Moved from, it may only be
/// assigned to or destroyed.
class Configuration {
 public:
  Configuration();
  ~Configuration();
  Configuration(const Configuration& other);
  Configuration(Configuration&& other) noexcept;
  Configuration& operator=(const Configuration& other);
  Configuration& operator=(Configuration&& other) noexcept;

  /// Reads a file and what it includes: at most 16 MiB and 250,000 lines in all, 32 files deep. A
  /// relative path of lxc.include is one of the working directory, as for LXC; the files of a
  /// directory are read in the order of their names, "*.conf" alone.
  /// @errors errno of the file, Step::parse; Errc::bad_text with all bad lines in the subject and
  /// `also`, with those that to_spec() would find, which reads the fstab and the seccomp profile
  /// that are named; the first hundred, taken apart, in `mistakes`, where it is given.
  [[nodiscard]] static Result<Configuration> load(const HostPath& file,
                                                  std::vector<Diagnostic>* mistakes = nullptr);
  /// The same with text that is there already; `file` is what messages call it.
  [[nodiscard]] static Result<Configuration> parse(std::string_view text,
                                                   std::string_view file = {},
                                                   std::vector<Diagnostic>* mistakes = nullptr);
  /// What has the meaning of the Spec, as text.
  /// @errors Errc::bad_spec with every field that this language has no word for.
  [[nodiscard]] static Result<Configuration> from(const Spec& spec);

  /// "KEY=VALUE", as of the option -s: holds from now on, and is not written back. lxc.include
  /// reads what it names. @errors As parse(); nothing is changed then.
  [[nodiscard]] Result<void> apply(std::string_view definition);
  /// As a line at the end, or in the place of the last one of that key where it is one value and
  /// that holds. An empty value clears. Not lxc.include, which is a matter of reading.
  /// @errors As parse(); nothing is changed then.
  [[nodiscard]] Result<void> set(std::string_view key, std::string_view value);
  /// Takes out the lines of that key, and of all keys below it ("lxc.net.0", "lxc.hook");
  /// "lxc.net.0.type" is the whole interface. Interfaces of lxc.network get their numbers then.
  /// @errors As parse(); nothing is changed then.
  [[nodiscard]] Result<void> clear(std::string_view key);
  /// What holds, as lxc-info -c prints it: one item of a list per line, each with its end. Nothing
  /// where it is not set. @errors Errc::bad_text, an unknown key, or one that cannot be asked.
  [[nodiscard]] Result<std::optional<std::string>> get(std::string_view key) const;

  /// The lines as they are to be in the file: items() that are its own.
  [[nodiscard]] std::string text() const;
  /// Writes them to a file beside it, which then takes its place, and has its mode and, where this
  /// process may give it away, its owner. A symbolic link stays, and what it leads to is replaced.
  /// @errors errno of the file, Step::parse.
  [[nodiscard]] Result<void> save(const HostPath& file) const;
  /// Rewrites the lines of its own that have an older spelling, commented ones too; what
  /// lxc-update-config(1) does. One note for each.
  std::vector<Diagnostic> modernize();

  /// Draws the digits of Ethernet addresses that are x, in its own lines: what LXC does whenever it
  /// reads a file. Without, each launch draws others.
  void draw_addresses();

  [[nodiscard]] const std::vector<Item>& items() const noexcept;
  [[nodiscard]] const std::vector<std::string>& files() const noexcept;
  /// Old spellings, and settings that mean nothing any more.
  [[nodiscard]] std::vector<Diagnostic> notes() const;

  /// The container. Reads the seccomp profile and the fstab that it names, and, where that is not
  /// said, the host's name and what is unset in `how`. The environment, for lxc.environment without
  /// a value, is that of the time when the line was read.
  /// @errors Errc::bad_text with all bad lines, as of parse().
  [[nodiscard]] Result<Translated> to_spec(const Translation& how = {},
                                           std::vector<Diagnostic>* mistakes = nullptr) const;

  struct Impl;  ///< The library's own.

 private:
  std::unique_ptr<Impl> impl_;
};

/// LXC's own settings, of the file /etc/lxc/lxc.conf or $HOME/.config/lxc/lxc.conf.
struct SystemConfiguration {
  HostPath lxcpath;  ///< lxc.lxcpath; the option lxc_path of the build.
  HostPath default_config = HostPath("/etc/lxc/default.conf");
  std::string lvm_vg = "lxc", lvm_thin_pool = "lxc", zfs_root = "lxc", rbd_pool = "lxc",
              rbd_user = {};
  std::string cgroup_pattern = {}, cgroup_use = {};

  SystemConfiguration();
  /// '#' begins a comment in the first column alone, and of two lines the first holds. Unknown keys
  /// are passed over, as by LXC.
  /// @errors Errc::bad_text with all bad lines.
  [[nodiscard]] static Result<SystemConfiguration> parse(std::string_view text,
                                                         std::string_view file = {});
  /// The file; what is not there says nothing. @errors errno, Step::parse.
  [[nodiscard]] static Result<SystemConfiguration> load(
      const HostPath& file = HostPath("/etc/lxc/lxc.conf"));
  bool operator==(const SystemConfiguration&) const = default;
};
/// LXCPATH of this build: where the directories of containers are, /var/lib/lxc.
[[nodiscard]] HostPath system_path();

}  // namespace lxc
}  // namespace v0
}  // namespace condroid
