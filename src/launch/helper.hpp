// A throwaway program of the zygote: newuidmap, the building of mounts. Nothing is forked by the
// host. Private.
#pragma once

#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "launch/zygote.hpp"
#include "program/encode.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

/// What another process left, for a message: nothing in it that a terminal takes for more than
/// text.
[[nodiscard]] std::string one_line(std::string_view text);

class Helper {
 public:
  /// Starts it. `passed` become the program's registers, in order; they are borrowed.
  [[nodiscard]] static Result<std::unique_ptr<Helper>> start(
      std::shared_ptr<Zygote> zygote, Encoder& encoder, std::vector<int> passed, std::string what,
      std::uint32_t lives_with = 0, std::uint32_t marks = 0);
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  ~Helper();

  /// A command: `argv` with a fixed environment, `input` as its standard input (-1: nothing). What
  /// it prints is in its outcome.
  [[nodiscard]] static Result<std::unique_ptr<Helper>> run(std::shared_ptr<Zygote> zygote,
                                                           const std::vector<std::string>& argv,
                                                           int input = -1, std::uint32_t marks = 0);

  /// The same for one that stays until the container at `place` of the zygote's table ends:
  /// `descriptors` are its standard input and output. Its standard error is read by heard().
  [[nodiscard]] static Result<std::unique_ptr<Helper>> serve(std::shared_ptr<Zygote> zygote,
                                                             const std::vector<std::string>& argv,
                                                             std::array<int, 2> descriptors,
                                                             std::uint32_t place);
  /// What it has said since the last call; poll_fd() tells of that, too, until `end`: it says
  /// nothing any more. Also once it has ended.
  [[nodiscard]] std::string heard(bool& end);
  /// SIGKILL, once it is known who it is.
  void kill();
  /// The same for the process group that it led, when the zygote cannot do that any more.
  void kill_group() const;
  /// That, if it has not ended and the zygote is dead.
  void kill_orphans() const;
  /// It lives on without this.
  void release();

  struct Outcome {
    int code = 0;  ///< CLD_EXITED ...
    int status = 0;
    bool failed = false;  ///< An instruction failed: op, error, part are set.
    std::uint32_t op = 0;
    int error = 0;
    program::Part part{};
    std::string text;  ///< What it printed, or what the kernel said.
    std::vector<Fd> received;
    std::uint64_t ended = 0;  ///< When, in nanoseconds of CLOCK_MONOTONIC.
  };
  /// Its outcome once it has ended; nothing before. Does not block.
  [[nodiscard]] Result<std::optional<Outcome>> step();
  [[nodiscard]] int poll_fd() const noexcept { return hears_ ? output_.get() : exit_.get(); }

 private:
  Helper() = default;
  std::shared_ptr<Zygote> zygote_;
  std::string what_;
  Fd sync_, exit_, pidfd_, output_;
  std::uint32_t live_ = 0, page_ = 0;
  bool ended_ = false;
  int pid_ = 0;
  bool hears_ = false;
  bool serves_ = false;     ///< What it says is left to heard().
  bool finishes_ = false;   ///< mark_finishes
  int owner_ = ::getpid();  ///< In a fork of the host it is nobody's.
};

}  // namespace condroid::inline v0::detail
