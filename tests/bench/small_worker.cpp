// condroid-bench-floor: the small, static, single-threaded process that runs the floor, and that
// starts the commands of others. Driven by the harness over descriptor 3; ends when that closes.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>

#include "attach_floor.hpp"
#include "bare_mounts.hpp"
#include "cage.hpp"
#include "floor.hpp"
#include "wire.hpp"

namespace bench {
namespace {

// Static: together they are larger than what should be on a stack, and there is one of each.
Request request;
Reply reply;
Floor the_floor;
AttachFloor the_attach_floor;
BareMounts the_bare_mounts;
int error_output = -1;

std::uint64_t now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(t.tv_nsec);
}

void refuse(const char* what, int error) {
  reply.ok = false;
  std::snprintf(reply.error, sizeof reply.error, "%s: %s", what, std::strerror(error));
}

FloorClone clone_of(const Request& r) {
  return r.share_memory ? FloorClone::memory_shared : FloorClone::memory_copied;
}

void run() {
  FloorFailure failure;
  if (!the_floor.prepare(request.work, clone_of(request), &failure))
    return refuse(failure.what, failure.error);
  for (reply.count = 0; reply.count < request.count && reply.count < Reply::max_samples;) {
    if (!the_floor.launch(&reply.ns[reply.count], &failure))
      return refuse(failure.what, failure.error);
    ++reply.count;
  }
}

void attach() {
  FloorFailure failure;
  if (!the_attach_floor.prepare(request.work, static_cast<pid_t>(request.amount), &failure))
    return refuse(failure.what, failure.error);
  while (reply.count < request.count && reply.count < Reply::max_samples) {
    if (!the_attach_floor.attach(&reply.ns[reply.count], &failure))
      return refuse(failure.what, failure.error);
    ++reply.count;
  }
}

/// What has devices is not timed at its end.
void start_devices() {
  const char* const list = request.argv.next(nullptr);
  FloorFailure failure;
  if (!the_bare_mounts.prepare(list == nullptr ? "" : list, &failure))
    return refuse(failure.what, failure.error);
  while (reply.count < request.count && reply.count < Reply::max_samples) {
    the_bare_mounts.end();
    if (!the_bare_mounts.start(&reply.ns[reply.count], &failure))
      return refuse(failure.what, failure.error);
    ++reply.count;
  }
  reply.value[0] = static_cast<std::uint64_t>(the_bare_mounts.pid());
  if (request.amount == 0) the_bare_mounts.end();
}

void rate() {
  FloorFailure failure;
  if (!the_floor.prepare(request.work, clone_of(request), &failure))
    return refuse(failure.what, failure.error);
  const std::uint64_t start = now();
  const std::uint64_t end = start + std::uint64_t{request.millis} * 1'000'000U;
  std::uint64_t launches = 0;
  std::uint64_t at = start;
  while (at < end) {
    std::uint64_t one = 0;
    if (!the_floor.launch(&one, &failure)) return refuse(failure.what, failure.error);
    ++launches;
    at = now();
  }
  reply.value[0] = launches;
  reply.value[1] = at - start;
}

// What commands make there is gone with it, and nothing of theirs is left on the machine. crun and
// runc need a machine with the v2 tree alone.
void cage() {
  const char* const directory = request.argv.next(nullptr);
  if (directory == nullptr) return refuse("cage", EINVAL);
  const char* what = nullptr;
  if (const int error = enter_cage(directory, &what); error != 0) refuse(what, error);
}

/// False after what it said was told.
bool run_once(char** argv, char** environment, std::uint64_t* nanoseconds) {
  const std::uint64_t start = now();
  // vfork shares this process's memory until exec: a peer does not pay for a copy of it.
  const pid_t child = ::vfork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execve(argv[0], argv, environment);
    ::_exit(127);
  }
  if (child < 0) return refuse("vfork", errno), false;
  int status = 0;
  if (::waitpid(child, &status, 0) != child) return refuse("waitpid", errno), false;
  *nanoseconds = now() - start;
  if (status == 0) return true;
  reply.ok = false;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  const int length = std::snprintf(reply.error, sizeof reply.error, "status %d: ", code);
  const off_t size = ::lseek(error_output, 0, SEEK_END);
  const auto room = static_cast<off_t>(sizeof reply.error) - length - 1;
  const off_t from = size > room ? size - room : 0;
  const ssize_t got =
      ::pread(error_output, reply.error + length, static_cast<std::size_t>(room), from);
  reply.error[length + (got > 0 ? got : 0)] = '\0';
  return false;
}

void command() {
  char* argv[64];
  int count = 0;
  for (const char* p = nullptr; (p = request.argv.next(p)) != nullptr && count < 63;)
    argv[count++] = const_cast<char*>(p);
  argv[count] = nullptr;
  if (count == 0) return refuse("command", EINVAL);
  char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  char* environment[] = {path, nullptr};
  if (error_output < 0) {
    error_output = ::memfd_create("stderr", MFD_CLOEXEC);
    if (error_output < 0 || ::dup2(error_output, STDERR_FILENO) < 0)
      return refuse("memfd_create", errno);
  }
  const std::size_t filter_bytes = request.work.filter_size * sizeof request.work.filter[0];
  if (filter_bytes != 0) {
    const int file = ::memfd_create("filter", MFD_CLOEXEC);
    if (file < 0 || ::dup2(file, filter_descriptor) < 0) return refuse("memfd_create", errno);
    ::close(file);
    if (::write(filter_descriptor, request.work.filter, filter_bytes) !=
        static_cast<ssize_t>(filter_bytes))
      return refuse("write filter", errno);
  }
  struct CloseFilter {
    ~CloseFilter() { ::close(filter_descriptor); }
  } const close_filter;
  const std::uint64_t began = now();
  const std::uint64_t end = began + std::uint64_t{request.millis} * 1'000'000U;
  const bool timed = request.kind == Request::command_rate;
  std::uint64_t runs = 0;
  while (timed ? now() < end : reply.count < request.count && reply.count < Reply::max_samples) {
    if (filter_bytes != 0) ::lseek(filter_descriptor, 0, SEEK_SET);
    std::uint64_t took = 0;
    if (!run_once(argv, environment, &took)) return;
    ++runs;
    if (!timed) reply.ns[reply.count++] = took;
  }
  if (!timed) return;
  reply.value[0] = runs;
  reply.value[1] = now() - began;
}

int serve() {
  while (receive(worker_socket, &request)) {
    reply.ok = true;
    reply.error[0] = '\0';
    reply.count = 0;
    for (std::uint64_t& v : reply.value) v = 0;
    switch (request.kind) {
      case Request::run:
        run();
        break;
      case Request::rate:
        rate();
        break;
      case Request::cage:
        cage();
        break;
      case Request::command:
      case Request::command_rate:
        command();
        break;
      case Request::device_start:
        start_devices();
        break;
      case Request::first_attach:
        attach();
        break;
      case Request::first:
      case Request::first_take:
      case Request::fill:
      case Request::sustain:
      case Request::open:
      case Request::grow:
      case Request::spawn:
      case Request::stop_all:
      case Request::settle:
      case Request::enter:
      case Request::lxc_start:
      case Request::image:
      case Request::box:
      case Request::device:
      case Request::device_mounts:
      case Request::freeze:
      case Request::thaw:
        refuse("request", ENOSYS);
        break;
    }
    if (!send_message(worker_socket, reply)) break;
  }
  return 0;
}

}  // namespace
}  // namespace bench

int main() { return bench::serve(); }
