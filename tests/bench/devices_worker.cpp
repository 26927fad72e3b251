// A launcher of Android devices: condroid-bench-devices. Driven by the harness over descriptor 3;
// ends when that closes.
#include <malloc.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condroid/android/launch.hpp>
#include <condroid/runtime.hpp>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "serve.hpp"

namespace bench {
namespace {

using namespace condroid;
using Clock = std::chrono::steady_clock;

std::uint64_t since(Clock::time_point start) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
}

/// A line of mountinfo, proc_pid_mountinfo(5).
struct Mounted {
  std::string device;
  std::string root;
  std::string target;
  std::string options;
  std::string type;
  std::string super;
};

/// Those above before those below.
std::vector<Mounted> mounts_of(pid_t pid) {
  std::vector<Mounted> all;
  std::ifstream file("/proc/" + std::to_string(pid) + "/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string skip;
    Mounted m;
    words >> skip >> skip >> m.device >> m.root >> m.target >> m.options;
    while (words >> skip && skip != "-") {
    }
    words >> m.type >> skip >> m.super;
    all.push_back(std::move(m));
  }
  std::stable_sort(all.begin(), all.end(), [](const Mounted& a, const Mounted& b) {
    return a.target.size() < b.target.size();
  });
  return all;
}

unsigned long flags_of(const std::string& options) {
  const std::map<std::string, unsigned long> known = {
      {"ro", MS_RDONLY},     {"nosuid", MS_NOSUID},   {"nodev", MS_NODEV},
      {"noexec", MS_NOEXEC}, {"noatime", MS_NOATIME}, {"nodiratime", MS_NODIRATIME}};
  unsigned long flags = 0;
  std::istringstream words(options);
  for (std::string word; std::getline(words, word, ',');)
    if (const auto it = known.find(word); it != known.end()) flags |= it->second;
  return flags;
}

/// What a file system is told when it is mounted, of what it says of itself.
std::string data_of(const std::string& super) {
  std::string data;
  std::istringstream words(super);
  for (std::string word; std::getline(words, word, ',');)
    if (word.find('=') != std::string::npos) data += (data.empty() ? "" : ",") + word;
  return data;
}

struct Alive {
  Container box;
  android::Lease lease;
};

class DeviceWorker {
 public:
  int serve() {
    return bench::serve(request_.get(), reply_.get(), [this](std::string* e) { return handle(e); });
  }

 private:
  [[nodiscard]] bool handle(std::string* error) {
    std::vector<std::string> words;
    for (const char* p = nullptr; (p = request_->argv.next(p)) != nullptr;) words.emplace_back(p);
    const auto start = Clock::now();
    switch (request_->kind) {
      case Request::open:
        return open(error);
      case Request::settle:
        ::malloc_trim(0);
        return true;
      case Request::device:
        if (words.size() != 2) return *error = "argv", false;
        directory_ = words[0];
        type_ = words[1];
        return true;
      case Request::device_mounts:
        return (words.size() == 1 && write_mounts(words[0], error)) ||
               (error->empty() ? *error = "argv", false : false);
      case Request::device_start:
        return start_all(error);
      case Request::spawn:
        for (std::uint32_t i = 0; i < request_->count; ++i)
          if (!spawn(error)) return false;
        reply_->value[0] = since(start);
        reply_->value[1] = static_cast<std::uint64_t>(alive_.back().box.pid().value);
        return true;
      case Request::stop_all:
        return stop_all(error);
      case Request::freeze:
      case Request::thaw:
        return freeze(request_->kind == Request::freeze, error);
      default:
        return *error = "not a request for devices", false;
    }
  }

  static bool failed(const Error& e, std::string* error) { return *error = to_string(e), false; }

  [[nodiscard]] bool open(std::string* error) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    auto runtime = Runtime::open();
    if (!runtime) return failed(runtime.error(), error);
    runtime_ = std::move(*runtime);
    reply_->value[0] = static_cast<std::uint64_t>(runtime_->zygote_pid().value);
    return true;
  }

  [[nodiscard]] android::Part part(const std::string& name) const {
    android::Part p;
    if (type_ == "directory")
      p.directory = HostPath(directory_ + "/" + name);
    else
      p.image = HostPath(directory_ + "/" + name + "." + type_);
    return p;
  }
  [[nodiscard]] android::Device device(std::size_t number) const {
    return {.name = "bench",
            .system = part("system"),
            .vendor = part("vendor"),
            .data = HostPath(directory_ + "/data-" + std::to_string(number)),
            .androidboot = {{"hardware", "fake"}, {"serialno", std::to_string(number)}},
            .binder = android::Binder::none};
  }
  [[nodiscard]] std::optional<android::Ready> prepared(std::size_t number, std::string* error) {
    const std::string data = directory_ + "/data-" + std::to_string(number);
    ::mkdir(data.c_str(), 0755);
    const auto facts = runtime_->facts();
    if (!facts) return (void)failed(facts.error(), error), std::nullopt;
    auto ready = android::prepare(device(number), facts->get());
    if (!ready) return (void)failed(ready.error(), error), std::nullopt;
    return std::move(*ready);
  }

  /// Prepared, launched, and heard of.
  [[nodiscard]] bool start_one(std::uint64_t* took, std::string* error) {
    const auto start = Clock::now();
    auto ready = prepared(0, error);
    if (!ready) return false;
    ready->spec.process.stdio = {Stream::null, Stream::pipe, Stream::null};
    auto box = android::launch(*runtime_, *ready);
    if (!box) return failed(box.error(), error);
    const Fd out = box->take_stdout();
    char some[4096];
    ssize_t got = ::read(out.get(), some, sizeof some);
    *took = since(start);
    // All of it: one that is still busy is in the way of the next.
    for (std::string text; got > 0 && !text.ends_with("ready=yes\n");
         got = ::read(out.get(), some, sizeof some)) {
      text.append(some, static_cast<std::size_t>(got));
      if (text.ends_with("ready=yes\n")) break;
    }
    if (got <= 0) return *error = "init did not tell its end", false;
    if (const auto ok = box->kill(); !ok) return failed(ok.error(), error);
    const auto exit = box->wait();
    return exit ? true : failed(exit.error(), error);
  }
  [[nodiscard]] bool start_all(std::string* error) {
    while (reply_->count < request_->count && reply_->count < Reply::max_samples) {
      if (!start_one(&reply_->ns[reply_->count], error)) return false;
      ++reply_->count;
    }
    return true;
  }

  [[nodiscard]] bool spawn(std::string* error) {
    auto ready = prepared(alive_.size() + 1, error);
    if (!ready) return false;
    auto box = android::launch(*runtime_, *ready);
    if (!box) return failed(box.error(), error);
    alive_.push_back({std::move(*box), std::move(ready->lease)});
    return true;
  }
  [[nodiscard]] bool stop_all(std::string* error) {
    for (Alive& a : alive_)
      if (const auto ok = a.box.kill(); !ok) return failed(ok.error(), error);
    for (Alive& a : alive_)
      if (const auto exit = a.box.wait(); !exit) return failed(exit.error(), error);
    alive_.clear();
    alive_.shrink_to_fit();
    return true;
  }

  [[nodiscard]] bool freeze(bool timed_is_freeze, std::string* error) {
    if (alive_.empty()) return *error = "no device is alive", false;
    Container& box = alive_.front().box;
    while (reply_->count < request_->count && reply_->count < Reply::max_samples) {
      const auto start = Clock::now();
      if (const auto ok = box.freeze(); !ok) return failed(ok.error(), error);
      const auto frozen = Clock::now();
      if (const auto ok = box.thaw(); !ok) return failed(ok.error(), error);
      const auto took = timed_is_freeze ? frozen - start : Clock::now() - frozen;
      reply_->ns[reply_->count++] = static_cast<std::uint64_t>(
          std::chrono::duration_cast<std::chrono::nanoseconds>(took).count());
    }
    return true;
  }

  /// Those of a device whose process 1 makes none.
  [[nodiscard]] bool write_mounts(const std::string& list, std::string* error) {
    auto ready = prepared(0, error);
    if (!ready) return false;
    ready->spec.process.argv = {"/system/bin/pause"};
    auto box = android::launch(*runtime_, *ready);
    if (!box) return failed(box.error(), error);
    const std::vector<Mounted> all = mounts_of(box->pid().value);
    std::map<std::string, std::string> seen;  // a file system, and where it is mounted as a whole
    std::ofstream out(list);
    const auto line = [&](const char* how, const std::string& target, const std::string& source,
                          const std::string& type, unsigned long flags, const std::string& data) {
      const auto field = [](const std::string& text) { return text.empty() ? "-" : text; };
      out << how << '\t' << target << '\t' << field(source) << '\t' << field(type) << '\t' << flags
          << '\t' << field(data) << '\n';
    };
    for (const Mounted& m : all) {
      const bool root = m.target == "/";
      const std::string name = root ? "system" : m.target.substr(1);
      const std::string target = root ? directory_ + "/bare" : name;
      const unsigned long flags = flags_of(m.options);
      const std::string inside = "/proc/" + std::to_string(box->pid().value) + "/root" + m.target;
      struct stat st {};
      (void)::stat(inside.c_str(), &st);
      const bool kernel = m.type == "proc" || m.type == "sysfs" || m.type.starts_with("cgroup");
      const bool whole =
          (m.root == "/" || m.type.starts_with("cgroup")) && !seen.contains(m.device);
      if (m.type == type_) {
        line("image", target, directory_ + "/" + name + "." + type_, type_, flags, "");
      } else if (whole) {
        line("new", target, "", m.type, flags, data_of(m.super));
      } else if (m.root == "/" || (kernel && seen.contains(m.device))) {
        const std::string& at = seen[m.device];
        line("bind", target, m.root == "/" ? at : at + m.root, "", flags, "");
      } else if (S_ISDIR(st.st_mode)) {
        // Of the disk: the names there are the names here.
        line("bind", target, directory_ + m.root.substr(m.root.rfind('/')), "", flags, "");
      } else {
        line("bind", target, S_ISCHR(st.st_mode) ? "/dev/null" : directory_ + "/bare-file", "",
             flags, "");
      }
      if (whole) seen[m.device] = target;
    }
    ::mkdir((directory_ + "/bare").c_str(), 0755);
    std::ofstream(directory_ + "/bare-file") << "of the bare one\n";
    out.close();
    if (const auto ok = box->kill(); !ok) return failed(ok.error(), error);
    if (const auto exit = box->wait(); !exit) return failed(exit.error(), error);
    return !out.fail() || (*error = list + ": cannot be written", false);
  }

  std::string directory_ = {};
  std::string type_ = {};
  std::optional<Runtime> runtime_ = {};
  std::vector<Alive> alive_ = {};  // go before the Runtime
  std::unique_ptr<Request> request_ = std::make_unique<Request>();
  std::unique_ptr<Reply> reply_ = std::make_unique<Reply>();
};

}  // namespace
}  // namespace bench

int main() { return bench::DeviceWorker().serve(); }
