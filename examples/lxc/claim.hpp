// A container's name and directory, held by one program at a time.
#pragma once

#include <condroid/sys/fd.hpp>
#include <optional>
#include <string>

#include "place.hpp"

/// The address of its command socket, on which nobody listens: it cannot be started meanwhile, by
/// LXC's programs neither, and who asks hears that it does not run. And LXC's lock file, for which
/// its tools wait.
class Claim {
 public:
  /// Nothing, and it was said, where it runs or somebody works on it.
  [[nodiscard]] static std::optional<Claim> take(const Place& place);

 private:
  Claim(condroid::Fd address, condroid::Fd lock)
      : address_(std::move(address)), lock_(std::move(lock)) {}
  condroid::Fd address_, lock_;
};

/// A directory on its way to be a container: with LXC's file "partial" in it, which is locked as
/// long as somebody works on it. Removed again, unless it was done.
class Making {
 public:
  /// Makes the directory. Nothing, and it was said, where there is one.
  [[nodiscard]] static std::optional<Making> begin(const std::string& directory);
  /// It is whole.
  void done();
  Making(Making&& other) noexcept;
  Making& operator=(Making&&) = delete;
  Making(const Making&) = delete;
  Making& operator=(const Making&) = delete;
  ~Making();

 private:
  Making(std::string directory, condroid::Fd partial)
      : directory_(std::move(directory)), partial_(std::move(partial)) {}
  std::string directory_;
  condroid::Fd partial_;
};

/// Whether a directory is one that was never done.
enum class Partial { none, made_now, left };
[[nodiscard]] Partial partial(const std::string& directory);
/// Says what is wrong with one that was never done. False: nothing is.
[[nodiscard]] bool is_partial(const Place& place);
