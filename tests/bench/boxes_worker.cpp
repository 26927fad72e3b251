// A test program that has throwaway containers: condroid-bench-boxes. Driven by the harness over
// descriptor 3; ends when that closes.
#include <chrono>
#include <condroid/testing.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "serve.hpp"

namespace bench {
namespace {

namespace testing = condroid::testing;
using Clock = std::chrono::steady_clock;

std::uint64_t since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
}

class BoxWorker {
 public:
  int serve() {
    return bench::serve(request_.get(), reply_.get(), [this](std::string* e) { return handle(e); });
  }

 private:
  [[nodiscard]] bool handle(std::string* error) {
    if (request_->kind == Request::image) {
      const char* const cache = request_->argv.next(nullptr);
      if (cache == nullptr) return *error = "argv", false;
      if (!bench_)
        bench_.emplace(
            testing::BenchOptions{.store = {.cache = condroid::HostPath(cache), .sync = false}});
      image_.emplace(*bench_, request_->work.root,
                     testing::ImageOptions{.pool = static_cast<std::size_t>(request_->amount)});
      command_ = request_->work.command;
      // The pool is there from the second one on.
      for (int i = 0; i < 2; ++i) one();
      image_->warm();
      return true;
    }
    if (!image_) return *error = "no image", false;
    if (request_->kind == Request::rate) return rate(error);
    if (request_->kind != Request::box) return *error = "not a request for boxes", false;
    while (reply_->count < request_->count && reply_->count < Reply::max_samples) {
      const auto start = Clock::now();
      one();
      reply_->ns[reply_->count++] = since(start);
      // Now and not before the next one: what is done then warms the caches.
      image_->warm();
    }
    return true;
  }

  /// As a test case has it: made, something run in it, gone.
  void one() {
    testing::Sandbox box{*image_};
    box.expect_exit(0, {command_});
  }

  [[nodiscard]] bool rate(std::string* error) {
    const auto once = [this](std::string* problem) {
      try {
        one();
        return true;
      } catch (const std::exception& e) {
        return *problem = e.what(), false;
      }
    };
    return repeat(*request_, reply_.get(), once, error);
  }

  std::optional<testing::Bench> bench_ = {};
  std::optional<testing::Image> image_ = {};
  std::string command_ = {};
  std::unique_ptr<Request> request_ = std::make_unique<Request>();
  std::unique_ptr<Reply> reply_ = std::make_unique<Reply>();
};

}  // namespace
}  // namespace bench

int main() { return bench::BoxWorker().serve(); }
