#include "host_worker.hpp"

#include <malloc.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "grow.hpp"
#include "launcher.hpp"
#include "serve.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

std::uint64_t since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
}

/// As /clock tells it.
std::uint64_t monotonic() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(t.tv_nsec);
}

class HostWorker {
 public:
  int serve();

 private:
  [[nodiscard]] bool handle(std::string* error);
  [[nodiscard]] bool run(std::string* error);
  [[nodiscard]] bool rate(std::string* error);
  [[nodiscard]] bool spawn(std::string* error);
  [[nodiscard]] bool first(std::string* error);
  [[nodiscard]] bool sustain(std::string* error);

  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<Request> request_ = std::make_unique<Request>();
  std::unique_ptr<Reply> reply_ = std::make_unique<Reply>();
};

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
  return repeat(
      *request_, reply_.get(), [this](std::string* e) { return launcher_->launch_and_wait(e); },
      error);
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
  reply_->value[1] = static_cast<std::uint64_t>(launcher_->last_spawned());
  return true;
}

bool HostWorker::first(std::string* error) {
  if (request_->kind == Request::first && !launcher_->prepare(request_->work, error)) return false;
  while (reply_->count < request_->count && reply_->count < Reply::max_samples) {
    std::uint64_t moment = 0;
    const std::uint64_t start = monotonic();
    const bool good = request_->kind == Request::first_take ? launcher_->take_clock(&moment, error)
                      : request_->kind == Request::first ? launcher_->launch_clock(&moment, error)
                                                         : launcher_->attach_clock(&moment, error);
    if (!good) return false;
    reply_->ns[reply_->count++] = moment - start;
    // Now and not before the next one: what is done then warms the caches.
    if (request_->kind == Request::first_take && !launcher_->fill(error)) return false;
  }
  return true;
}

bool HostWorker::sustain(std::string* error) {
  if (request_->count == 0) return *error = "a rate of zero", false;
  const std::uint64_t start = monotonic();
  const std::uint64_t end = start + std::uint64_t{request_->millis} * 1'000'000U;
  const std::uint64_t every = 1'000'000'000U / request_->count;
  std::vector<std::uint64_t> took;
  // Who is late catches up: the rate is kept or is seen not to be.
  for (std::uint64_t due = start; due < end && monotonic() < end; due += every) {
    for (std::uint64_t now = monotonic(); now < due; now = monotonic()) {
      const std::uint64_t left = due - now;
      const timespec patience{.tv_sec = static_cast<time_t>(left / 1'000'000'000U),
                              .tv_nsec = static_cast<long>(left % 1'000'000'000U)};
      pollfd ready{.fd = launcher_->pool_fd(), .events = POLLIN, .revents = 0};
      if (::ppoll(&ready, 1, &patience, nullptr) > 0 && !launcher_->refill(error)) return false;
    }
    std::uint64_t moment = 0;
    const std::uint64_t asked = monotonic();
    if (!launcher_->take_clock(&moment, error)) return false;
    took.push_back(moment - asked);
    if (!launcher_->refill(error)) return false;
  }
  reply_->value[0] = took.size();
  reply_->value[3] = monotonic() - start;
  if (took.empty()) return *error = "nothing was taken", false;
  std::sort(took.begin(), took.end());
  reply_->value[1] = took[took.size() / 2];
  reply_->value[2] = took[took.size() * 99 / 100];
  return launcher_->fill(error);
}

bool HostWorker::handle(std::string* error) {
  switch (request_->kind) {
    case Request::grow:
      return grow(request_->amount) || (*error = "mmap", false);
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
    case Request::first:
    case Request::first_take:
    case Request::first_attach:
    case Request::fill:
    case Request::sustain:
      if (launcher_ == nullptr) return *error = "no launcher is open", false;
      break;
    case Request::cage:
    case Request::enter:
    case Request::lxc_start:
    case Request::command:
    case Request::command_rate:
    case Request::image:
    case Request::box:
    case Request::device:
    case Request::device_mounts:
    case Request::device_start:
    case Request::freeze:
    case Request::thaw:
      return *error = "not a request for a host", false;
  }
  if (request_->kind == Request::run) return run(error);
  if (request_->kind == Request::rate) return rate(error);
  if (request_->kind == Request::spawn) return spawn(error);
  if (request_->kind == Request::sustain) return sustain(error);
  if (request_->kind == Request::fill)
    return launcher_->open_pool(request_->work, request_->amount, error);
  if (request_->kind != Request::stop_all) return first(error);
  const auto start = Clock::now();
  const bool good = launcher_->stop_all(error);
  reply_->value[0] = since(start);
  return good;
}

int HostWorker::serve() {
  return bench::serve(request_.get(), reply_.get(), [this](std::string* e) { return handle(e); });
}

}  // namespace

int serve_host_worker() { return HostWorker{}.serve(); }

}  // namespace bench
