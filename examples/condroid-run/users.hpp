// Names of users and groups, as a root file system has them.
#pragma once

#include <condroid/units.hpp>
#include <string>
#include <tl/expected.hpp>
#include <vector>

struct User {
  condroid::Uid uid;
  condroid::Gid gid;
  std::vector<condroid::Gid>
      groups;  ///< Supplementary ones, of /etc/group; only when a name was asked for.
};

/// "1000", "1000:100", "daemon", "daemon:adm". Reads /etc/passwd and /etc/group below `root`, whose
/// links lead nowhere outside of it. The error is a sentence.
[[nodiscard]] tl::expected<User, std::string> find_user(const std::string& root,
                                                        const std::string& wish);
