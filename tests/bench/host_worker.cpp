#include "host_worker.hpp"

#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "launcher.hpp"
#include "wire.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
}

class HostWorker {
 public:
  int serve();

 private:
  [[nodiscard]] bool handle(std::string* error);
  [[nodiscard]] bool grow(std::string* error);
  [[nodiscard]] bool run(std::string* error);
  [[nodiscard]] bool rate(std::string* error);
  [[nodiscard]] bool spawn(std::string* error);

  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<Request> request_ = std::make_unique<Request>();
  std::unique_ptr<Reply> reply_ = std::make_unique<Reply>();
};

bool HostWorker::grow(std::string* error) {
  if (request_->amount == 0) return true;
  void* at =
      ::mmap(nullptr, request_->amount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return *error = "mmap", false;
  // Small pages: the page tables, which a fork copies, are as large as they get.
  ::madvise(at, request_->amount, MADV_NOHUGEPAGE);
  for (std::uint64_t offset = 0; offset < request_->amount; offset += 4096)
    static_cast<volatile char*>(at)[offset] = 1;
  return true;
}

bool HostWorker::run(std::string* error) {
  if (!launcher_->prepare(request_->work, error)) return false;
  while (reply_->count < request_->count && reply_->count < Reply::max_samples) {
    const auto start = Clock::now();
    if (!launcher_->launch_and_wait(error)) return false;
    reply_->ns[reply_->count++] = since(start);
  }
  return true;
}

bool HostWorker::rate(std::string* error) {
  if (!launcher_->prepare(request_->work, error)) return false;
  std::atomic<std::uint64_t> launches{0};
  std::atomic<bool> good{true};
  std::mutex mutex;
  const auto start = Clock::now();
  const auto end = start + std::chrono::milliseconds(request_->millis);
  const auto loop = [&] {
    while (Clock::now() < end && good.load(std::memory_order_relaxed)) {
      std::string problem;
      if (launcher_->launch_and_wait(&problem)) {
        launches.fetch_add(1, std::memory_order_relaxed);
      } else if (good.exchange(false)) {
        const std::lock_guard lock(mutex);
        *error = problem;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < request_->threads; ++i) threads.emplace_back(loop);
  for (std::thread& t : threads) t.join();
  reply_->value[0] = launches.load();
  reply_->value[1] = since(start);
  return good.load();
}

bool HostWorker::spawn(std::string* error) {
  // A host with a thousand containers needs three thousand descriptors, and the usual limit is
  // 1024.
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (!launcher_->prepare(request_->work, error)) return false;
  const auto start = Clock::now();
  for (std::uint32_t i = 0; i < request_->count; ++i) {
    if (!launcher_->spawn(error)) return false;
  }
  reply_->value[0] = since(start);
  return true;
}

bool HostWorker::handle(std::string* error) {
  switch (request_->kind) {
    case Request::grow:
      return grow(error);
    case Request::open:
      launcher_ = make_launcher(request_->work, error);
      if (launcher_ == nullptr) return false;
      reply_->value[0] = static_cast<std::uint64_t>(launcher_->helper_pid());
      return true;
    case Request::settle:
      ::malloc_trim(0);
      return true;
    case Request::run:
    case Request::rate:
    case Request::spawn:
    case Request::stop_all:
      if (launcher_ == nullptr) return *error = "no launcher is open", false;
      break;
    case Request::cage:
    case Request::command:
      return *error = "not a request for a host", false;
  }
  if (request_->kind == Request::run) return run(error);
  if (request_->kind == Request::rate) return rate(error);
  if (request_->kind == Request::spawn) return spawn(error);
  const auto start = Clock::now();
  const bool good = launcher_->stop_all(error);
  reply_->value[0] = since(start);
  return good;
}

int HostWorker::serve() {
  while (receive(worker_socket, request_.get())) {
    *reply_ = Reply{};
    std::string error;
    reply_->ok = handle(&error);
    copy_text(reply_->error, error);
    if (!send_message(worker_socket, *reply_)) break;
  }
  return 0;
}

}  // namespace

int serve_host_worker() { return HostWorker{}.serve(); }

}  // namespace bench
