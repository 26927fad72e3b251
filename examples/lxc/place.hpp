// The container that a command line means: its path, its configuration, its socket.
#pragma once

#include <condroid/config/lxc.hpp>
#include <condroid/control/client.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tool.hpp"

/// -P, or what the system's configuration says. Nothing, and it was said, if that cannot be read.
[[nodiscard]] std::optional<std::string> lxcpath_of(const Arguments& args);
/// All of them, where -P may be said more than once. Empty, and it was said, likewise.
[[nodiscard]] std::vector<std::string> lxcpaths_of(const Arguments& args);
/// LXC's own settings, root's or this user's. Nothing, and it was said, when they cannot be read.
[[nodiscard]] std::optional<condroid::lxc::SystemConfiguration> system_configuration();

/// Where locks and the pipes of lxc-monitor are, each below its lxc/: LXC's rule.
[[nodiscard]] std::string run_directory();

/// A path that stays what it is when the working directory changes; an empty one is empty.
[[nodiscard]] std::string whole_path(std::string path);

class Place {
 public:
  /// As the command line says. Nothing, and it was said, for a name that is none.
  [[nodiscard]] static std::optional<Place> of(const Arguments& args);
  [[nodiscard]] static std::optional<Place> of(const Arguments& args, std::string name);
  /// The same below that path, with its own configuration.
  [[nodiscard]] static std::optional<Place> of_path(std::string lxcpath, std::string name);
  Place(std::string lxcpath, std::string name, std::string rcfile = {});

  [[nodiscard]] const std::string& lxcpath() const { return lxcpath_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] std::string directory() const { return lxcpath_ + "/" + name_; }
  /// --rcfile, or its own.
  [[nodiscard]] const std::string& config_file() const { return config_; }
  /// It has a configuration.
  [[nodiscard]] bool defined() const;
  /// Asks it where it runs.
  [[nodiscard]] const condroid::control::Client& client() const { return client_; }
  /// State::stopped where nobody answers.
  [[nodiscard]] condroid::Result<condroid::control::State> state() const;
  /// Kills it and waits for its end, however long its hooks take. What has ended meanwhile is
  /// ended.
  [[nodiscard]] condroid::Result<void> kill() const;
  /// Returns when all of it stands still, or goes on; ten seconds at most. One of LXC's has that
  /// state then, too, and lxc-monitor is told.
  [[nodiscard]] condroid::Result<void> freeze() const { return set_frozen(true); }
  [[nodiscard]] condroid::Result<void> thaw() const { return set_frozen(false); }
  /// Reads the configuration. Nothing, and all that is wrong in it was said.
  [[nodiscard]] std::optional<condroid::lxc::Configuration> load() const;

 private:
  [[nodiscard]] condroid::Result<void> set_frozen(bool on) const;
  /// Has LXC's own take this for its state, and tells lxc-monitor, which that one does not.
  [[nodiscard]] condroid::Result<void> tell(condroid::control::State state) const;

  std::string lxcpath_, name_, config_;
  condroid::control::Client client_;
};

/// Applies each of -s KEY=VALUE. False, and it was said, for one that is wrong.
[[nodiscard]] bool apply_definitions(const Arguments& args, condroid::lxc::Configuration& config);
/// The names of containers below a path: those that have a directory with a configuration.
[[nodiscard]] std::vector<std::string> defined_names(const std::string& lxcpath);
/// What /proc/net/unix says.
[[nodiscard]] std::string sockets_here();
/// Of those whose socket is among these, with a configuration or without.
[[nodiscard]] std::vector<std::string> active_names(const std::string& lxcpath,
                                                    const std::string& sockets = sockets_here());
