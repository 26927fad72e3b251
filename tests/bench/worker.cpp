#include "worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "wire.hpp"

namespace bench {

Worker::Worker(Worker&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      socket_(std::exchange(other.socket_, -1)),
      error_(std::move(other.error_)) {}

Worker& Worker::operator=(Worker&& other) noexcept {
  if (this != &other) {
    stop();
    pid_ = std::exchange(other.pid_, -1);
    socket_ = std::exchange(other.socket_, -1);
    error_ = std::move(other.error_);
  }
  return *this;
}

Worker::~Worker() { stop(); }

void Worker::stop() noexcept {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  if (pid_ <= 0) return;
  // A host worker is killed like any host may be: what it launched has to go by itself.
  ::kill(pid_, SIGKILL);
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
}

Worker Worker::start(const std::vector<std::string>& argv) {
  Worker worker;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    worker.error_ = std::string("socketpair: ") + std::strerror(errno);
    return worker;
  }
  std::vector<char*> pointers;
  for (const std::string& a : argv) pointers.push_back(const_cast<char*>(a.c_str()));
  pointers.push_back(nullptr);
  const pid_t harness = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != harness) ::_exit(1);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, STDIN_FILENO);
    ::dup2(null, STDOUT_FILENO);
    const int end = ::fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
    ::dup2(end, worker_socket);
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  ::close(pair[1]);
  if (pid < 0) {
    worker.error_ = std::string("fork: ") + std::strerror(errno);
    ::close(pair[0]);
    return worker;
  }
  worker.pid_ = pid;
  worker.socket_ = pair[0];
  return worker;
}

bool Worker::send(const Request& request) {
  if (!good()) {
    if (error_.empty()) error_ = "the worker is not running";
    return false;
  }
  if (send_message(socket_, request)) return true;
  error_ = std::string("send to worker: ") + std::strerror(errno);
  stop();
  return false;
}

bool Worker::receive(Reply* reply, std::chrono::seconds limit) {
  if (!good()) return false;
  pollfd ready{socket_, POLLIN, 0};
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
  const int got = ::poll(&ready, 1, static_cast<int>(millis));
  if (got <= 0 || !bench::receive(socket_, reply)) {
    error_ = got == 0 ? "no answer in time" : "the worker ended";
    stop();
    return false;
  }
  if (reply->ok) return true;
  error_ = reply->error;
  return false;
}

bool Worker::call(const Request& request, Reply* reply) { return send(request) && receive(reply); }

}  // namespace bench
