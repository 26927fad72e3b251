// The loop of a worker that has the standard library.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "wire.hpp"

namespace bench {

/// Answers requests until the harness goes. `handle` has the request, fills the reply in, and says
/// whether that went well; else, or by what it throws, why not: what() to its first newline.
/// @returns main()'s status.
template <typename Handle>
int serve(Request* request, Reply* reply, const Handle& handle) {
  while (receive(worker_socket, request)) {
    *reply = Reply{};
    std::string error;
    try {
      reply->ok = handle(&error);
    } catch (const std::exception& e) {
      error = e.what();
      error = error.substr(0, error.find('\n'));
    }
    copy_text(reply->error, error);
    if (!send_message(worker_socket, *reply)) break;
  }
  return 0;
}

/// Request::rate: `once` again and again by so many threads for so long. How often it was done, and
/// in how many nanoseconds, are the reply's first two values. The first `once` that is false, and
/// has said why, is the last.
template <typename Once>
bool repeat(const Request& request, Reply* reply, const Once& once, std::string* error) {
  using Clock = std::chrono::steady_clock;
  std::atomic<std::uint64_t> times{0};
  std::atomic<bool> good{true};
  std::mutex mutex;
  const auto start = Clock::now();
  const auto end = start + std::chrono::milliseconds(request.millis);
  const auto loop = [&] {
    while (Clock::now() < end && good.load(std::memory_order_relaxed)) {
      std::string problem;
      if (once(&problem)) {
        times.fetch_add(1, std::memory_order_relaxed);
      } else if (good.exchange(false)) {
        const std::lock_guard lock(mutex);
        *error = problem;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < request.threads; ++i) threads.emplace_back(loop);
  for (std::thread& t : threads) t.join();
  const std::chrono::nanoseconds took = Clock::now() - start;
  reply->value[0] = times.load();
  reply->value[1] = static_cast<std::uint64_t>(took.count());
  return good.load();
}

}  // namespace bench
