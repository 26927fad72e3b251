#include "count_calls.hpp"

#include <poll.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <set>
#include <vector>

namespace bench {
namespace {

namespace fs = std::filesystem;

long trace(__ptrace_request request, pid_t pid, std::uintptr_t address, std::uintptr_t data) {
  return ::ptrace(request, pid, address, data);
}

std::vector<pid_t> threads_of(pid_t pid) {
  std::vector<pid_t> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/task", error))
    out.push_back(static_cast<pid_t>(std::stol(entry.path().filename().string())));
  return out;
}

class Tracer {
 public:
  Tracer(Worker* worker, pid_t helper) : worker_(worker), helper_(helper) {}

  [[nodiscard]] bool attach(pid_t process, std::set<pid_t>* threads, std::string* error) {
    for (const pid_t t : threads_of(process)) {
      // EXITKILL: a harness that dies leaves nobody stopped for ever.
      constexpr std::uintptr_t options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE |
                                         PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                                         PTRACE_O_EXITKILL;
      if (trace(PTRACE_SEIZE, t, 0, options) != 0 || trace(PTRACE_INTERRUPT, t, 0, 0) != 0)
        return *error = std::string("ptrace: ") + std::strerror(errno), false;
      threads->insert(t);
      int status = 0;
      if (::waitpid(t, &status, __WALL) != t || !WIFSTOPPED(status))
        return *error = "ptrace: no stop", false;
      trace(PTRACE_SYSCALL, t, 0, 0);
    }
    return true;
  }

  [[nodiscard]] bool run(const Request& request, CallCounts* counts, std::string* error) {
    if (!attach(worker_->pid(), &host_, error)) return false;
    if (helper_ > 0 && !attach(helper_, &helper_threads_, error)) return false;
    if (!worker_->send(request)) return *error = worker_->error(), false;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    pollfd answer{worker_->socket(), POLLIN, 0};
    // The last children are still leaving when the answer is there, and their calls count too.
    int quiet = 0;
    while (quiet < 20) {
      int status = 0;
      const pid_t pid = ::waitpid(-1, &status, __WALL | WNOHANG);
      if (pid > 0) {
        handle(pid, status, counts);
        continue;
      }
      if (pid < 0) break;
      if (std::chrono::steady_clock::now() > limit) {
        *error = "no answer while being traced";
        break;
      }
      if (::poll(&answer, 1, quiet > 0 ? 0 : 1) == 1) {
        ++quiet;
        ::usleep(1000);
      }
    }
    detach();
    Reply reply;
    if (!worker_->receive(&reply)) {
      if (error->empty()) *error = worker_->error();
      return false;
    }
    return error->empty();
  }

 private:
  void handle(pid_t pid, int status, CallCounts* counts) {
    if (!WIFSTOPPED(status)) {
      host_.erase(pid);
      helper_threads_.erase(pid);
      children_.erase(pid);
      return;
    }
    const bool known = host_.count(pid) + helper_threads_.count(pid) + children_.count(pid) > 0;
    if (!known) adopt(pid);
    const int signal = WSTOPSIG(status);
    const int event = status >> 16;
    int deliver = 0;
    if (signal == (SIGTRAP | 0x80)) {
      __ptrace_syscall_info info{};
      if (trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info,
                reinterpret_cast<std::uintptr_t>(&info)) > 0 &&
          info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        count(pid, info.entry.nr, counts);
      }
    } else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
      trace(PTRACE_LISTEN, pid, 0, 0);
      return;
    } else if (event == 0) {
      deliver = signal;
    }
    trace(PTRACE_SYSCALL, pid, 0, static_cast<std::uintptr_t>(deliver));
  }

  // A new thread of the host is in the host's thread group; all else was started.
  void adopt(pid_t pid) {
    const bool thread =
        fs::exists("/proc/" + std::to_string(worker_->pid()) + "/task/" + std::to_string(pid));
    (thread ? host_ : children_).insert(pid);
  }

  void count(pid_t pid, std::uint64_t number, CallCounts* counts) {
    if (host_.count(pid) > 0) {
      ++counts->host;
    } else if (helper_threads_.count(pid) > 0) {
      ++counts->helper;
    } else {
      ++counts->children;
    }
    ++counts->by_number[number];
  }

  void detach() {
    for (const std::set<pid_t>* group : {&host_, &helper_threads_, &children_}) {
      for (const pid_t pid : *group) {
        if (trace(PTRACE_INTERRUPT, pid, 0, 0) != 0) continue;
        int status = 0;
        if (::waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
          trace(PTRACE_DETACH, pid, 0, 0);
      }
    }
  }

  Worker* worker_;
  pid_t helper_;
  std::set<pid_t> host_ = {};
  std::set<pid_t> helper_threads_ = {};
  std::set<pid_t> children_ = {};
};

}  // namespace

bool count_calls(Worker* worker, pid_t helper, const Request& request, CallCounts* counts,
                 std::string* error) {
  return Tracer(worker, helper).run(request, counts, error);
}

}  // namespace bench
