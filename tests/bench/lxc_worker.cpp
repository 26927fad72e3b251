// A host that starts LXC's containers in its own process: condroid-bench-lxc by lxc::start, and
// condroid-bench-liblxc, which has nothing of condroid in it, by LXC's own library. Driven by the
// harness over descriptor 3; ends when that closes.
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cage.hpp"
#include "grow.hpp"
#include "serve.hpp"

#ifdef CONDROID_BENCH_LIBLXC
#include <lxc/lxccontainer.h>
#else
#include <condroid/lxc.hpp>
#endif

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

/// What is started: where, under which name, by which configuration.
struct Box {
  std::string lxcpath;
  std::string name;
  std::string file;
};

#ifndef CONDROID_BENCH_LIBLXC
class Starter {
 public:
  /// Once before the starts of one configuration, outside of the timing.
  [[nodiscard]] bool load(const Box& box, std::string* error) {
    if (!runtime_) {
      auto runtime = condroid::Runtime::open();
      if (!runtime) return failed(runtime.error(), error);
      runtime_ = std::move(*runtime);
    }
    auto config = condroid::lxc::Configuration::load(condroid::HostPath(box.file));
    if (!config) return failed(config.error(), error);
    config_ = std::move(*config);
    box_ = box;
    return true;
  }
  /// Starts it, and waits until it has stopped with status 0.
  [[nodiscard]] bool start(std::string* error) {
    auto box = condroid::lxc::start(*runtime_, *config_,
                                    {.name = box_.name,
                                     .lxcpath = condroid::HostPath(box_.lxcpath),
                                     .config_file = condroid::HostPath(box_.file),
                                     .background = true});
    if (!box) return failed(box.error(), error);
    const auto exit = box->container.wait();
    if (!exit) return failed(exit.error(), error);
    return exit->success() || (*error = "the command failed", false);
  }

 private:
  static bool failed(const condroid::Error& e, std::string* error) {
    return *error = to_string(e), false;
  }
  std::optional<condroid::Runtime> runtime_ = {};
  std::optional<condroid::lxc::Configuration> config_ = {};
  Box box_ = {};
};

#else
class Starter {
 public:
  Starter() = default;
  Starter(const Starter&) = delete;
  Starter& operator=(const Starter&) = delete;
  ~Starter() { drop(); }
  [[nodiscard]] bool load(const Box& box, std::string* error) {
    drop();
    box_ = ::lxc_container_new(box.name.c_str(), box.lxcpath.c_str());
    if (box_ == nullptr) return *error = "lxc_container_new", false;
    box_->clear_config(box_);
    if (!box_->load_config(box_, box.file.c_str())) return *error = "load_config", false;
    return box_->want_daemonize(box_, false) || (*error = "want_daemonize", false);
  }
  [[nodiscard]] bool start(std::string* error) {
    if (!box_->start(box_, 0, nullptr)) return *error = "liblxc's start", false;
    return box_->error_num == 0 || (*error = "the command failed", false);
  }

 private:
  void drop() {
    if (box_ != nullptr) ::lxc_container_put(box_);
    box_ = nullptr;
  }
  lxc_container* box_ = nullptr;
};
#endif

class LxcWorker {
 public:
  int serve() {
    return bench::serve(request_.get(), reply_.get(), [this](std::string* e) { return handle(e); });
  }

 private:
  [[nodiscard]] bool handle(std::string* error) {
    std::vector<std::string> words;
    for (const char* p = nullptr; (p = request_->argv.next(p)) != nullptr;) words.emplace_back(p);
    const auto refused = [error](const char* what, int number) {
      *error = std::string(what) + ": " + std::strerror(number);
      return false;
    };
    const char* what = "";
    switch (request_->kind) {
      case Request::grow:
        return grow(request_->amount) || refused("mmap", errno);
      case Request::cage: {
        const int e = words.empty() ? EINVAL : enter_cage(words[0].c_str(), &what);
        return e == 0 || refused(what, e);
      }
      case Request::enter: {
        for (const std::string& directory : words)
          if (const int e = enter_cgroup(directory.c_str()); e != 0)
            return refused(directory.c_str(), e);
        const int e = enter_cage(nullptr, &what);
        return e == 0 || refused(what, e);
      }
      case Request::lxc_start:
        return words.size() == 3 ? start({words[0], words[1], words[2]}, error)
                                 : refused("argv", EINVAL);
      default:
        return refused("request", ENOSYS);
    }
  }
  [[nodiscard]] bool start(const Box& box, std::string* error) {
    if (!starter_.load(box, error)) return false;
    while (reply_->count < request_->count && reply_->count < Reply::max_samples) {
      const auto began = Clock::now();
      if (!starter_.start(error)) return false;
      const std::chrono::nanoseconds took = Clock::now() - began;
      reply_->ns[reply_->count++] = static_cast<std::uint64_t>(took.count());
    }
    return true;
  }

  Starter starter_ = {};
  std::unique_ptr<Request> request_ = std::make_unique<Request>();
  std::unique_ptr<Reply> reply_ = std::make_unique<Reply>();
};

}  // namespace
}  // namespace bench

int main() { return bench::LxcWorker().serve(); }
