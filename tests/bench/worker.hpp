// The harness's end of one worker process.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "work.hpp"

namespace bench {

/// Owns a child process. It has PR_SET_PDEATHSIG, so it dies with the harness; destroying the
/// handle kills it.
class Worker {
 public:
  Worker() = default;
  Worker(Worker&& other) noexcept;
  Worker& operator=(Worker&& other) noexcept;
  ~Worker();

  /// Starts `argv`; check good().
  [[nodiscard]] static Worker start(const std::vector<std::string>& argv);

  [[nodiscard]] bool good() const noexcept { return socket_ >= 0; }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] int socket() const noexcept { return socket_; }
  [[nodiscard]] const std::string& error() const noexcept { return error_; }

  /// Sends and does not wait; for several workers at once and for the tracer.
  [[nodiscard]] bool send(const Request& request);
  /// Waits for the reply to what was sent. A worker that takes too long is killed.
  [[nodiscard]] bool receive(Reply* reply, std::chrono::seconds limit = std::chrono::seconds(60));
  [[nodiscard]] bool call(const Request& request, Reply* reply);
  void stop() noexcept;

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
  std::string error_ = {};
};

}  // namespace bench
