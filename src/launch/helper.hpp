// A throwaway program of the zygote: newuidmap, the building of mounts. Nothing is forked by the
// host. Private.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "condroid/error.hpp"
#include "launch/zygote.hpp"
#include "program/encode.hpp"
#include "sys/wire.hpp"

namespace condroid::inline v0::detail {

class Helper {
 public:
  /// Starts it. `passed` become the program's registers, in order; they are borrowed.
  /// With `output` what it prints on descriptors 1 and 2 is kept (the program must place that
  /// register there).
  [[nodiscard]] static Result<std::unique_ptr<Helper>> start(std::shared_ptr<Zygote> zygote,
                                                             Encoder& encoder,
                                                             std::vector<int> passed,
                                                             std::string what);
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;
  ~Helper();

  struct Outcome {
    int code = 0;  ///< CLD_EXITED ...
    int status = 0;
    bool failed = false;  ///< An instruction failed: op, error, part are set.
    std::uint32_t op = 0;
    int error = 0;
    program::Part part{};
    std::string text;  ///< What it printed, or what the kernel said.
    std::vector<Fd> received;
  };
  /// Its outcome once it has ended; nothing before. Does not block.
  [[nodiscard]] Result<std::optional<Outcome>> step();
  [[nodiscard]] int poll_fd() const noexcept { return exit_.get(); }

  /// A program that executes `argv` with a fixed environment, output into a pipe. `null` is
  /// register 0, `pipe` 1.
  static void encode_command(Encoder& encoder, const std::vector<std::string>& argv);
  void keep_output(Fd pipe) { output_ = std::move(pipe); }

 private:
  Helper() = default;
  std::shared_ptr<Zygote> zygote_;
  std::string what_;
  Fd sync_, exit_, pidfd_, output_;
  std::uint32_t live_ = 0, page_ = 0;
  bool ended_ = false;
};

}  // namespace condroid::inline v0::detail
