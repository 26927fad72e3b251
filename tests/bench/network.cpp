#include "network.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bare_netlink.hpp"
#include "commands.hpp"
#include "rows.hpp"

namespace bench {
namespace {

constexpr const char* section = "network";
constexpr const char* bridge = "bench0";

/// This thread, and what it starts, is in a network namespace with a bridge for as long.
class OwnNetwork {
 public:
  OwnNetwork() : before_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
    if (before_ < 0 || ::unshare(CLONE_NEWNET) != 0) {
      error_ = std::string("unshare: ") + std::strerror(errno);
      return;
    }
    const int socket = bare_socket();
    const int e = socket < 0 ? errno : bare_make_bridge(socket, bridge);
    if (e != 0) error_ = std::string("making a bridge: ") + std::strerror(e);
    ::close(socket);
  }
  OwnNetwork(const OwnNetwork&) = delete;
  OwnNetwork& operator=(const OwnNetwork&) = delete;
  ~OwnNetwork() {
    if (before_ < 0) return;
    (void)::setns(before_, CLONE_NEWNET);
    ::close(before_);
  }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  int before_;
  std::string error_ = {};
};

void launch_rows(const Warm& warm, const Work& work, Worker* floor, Worker* host,
                 const std::string& error) {
  for (const Pace pace : {Pace::back_to_back, Pace::spaced}) {
    const std::string condition = std::string("veth at a bridge, ") + to_string(pace);
    Series bare = series_of("floor", floor, Request::run, work, error);
    Series ours = series_of("condroid", host, Request::run, work, error);
    if (error.empty())
      measure_until_clear({&bare, &ours}, pace, effort_of(pace, warm.quick), ours, bare, 1.15,
                          warm.quick ? 1 : 4, warm.patience);
    if (!complete(warm.report, section, {&bare, &ours}, condition)) continue;
    warm.report->add(row_of(section, bare, condition));
    Row row = row_of(section, ours, condition);
    row.ratio = paired_ratio(ours.rounds, bare.rounds);
    row.ratio_to = bare.name;
    Report::judge(&row, row.ratio->value, "<=", 1.15);
    warm.report->add(row);
  }
}

/// The commands that make a container with that interface, once each, and ours in a process.
void peer_rows(const Warm& warm, const Work& work, const std::string& condroid_run, Worker* host,
               const std::string& error) {
  const std::string condition = "veth at a bridge, apart";
  Worker cage = warm.start_floor();
  Worker open = warm.start_floor();
  Request request;
  Reply reply;
  request.kind = Request::cage;
  std::string cage_error = error;
  if (cage_error.empty()) cage_error = warm.scratch->cgroup_error();
  if (cage_error.empty() && !request.argv.add(warm.scratch->cgroup_v2()))
    cage_error = "the path of the cgroup is too long";
  if (cage_error.empty() && !cage.call(request, &reply)) cage_error = cage.error();
  std::vector<Series> all;
  all.push_back(series_of("condroid, in process", host, Request::run, work, error));
  for (const Command& c : make_network_commands(work, *warm.scratch, condroid_run)) {
    Series s = series_of(c.name, c.caged ? &cage : &open, Request::command, Work{},
                         !c.absent.empty() ? c.absent
                         : c.caged         ? cage_error
                                           : error);
    for (const std::string& a : c.argv)
      if (!s.request.argv.add(a)) s.error = "the command line is too long";
    all.push_back(std::move(s));
  }
  std::vector<Series*> list;
  for (Series& s : all) list.push_back(&s);
  bool good = true;
  for (const Series& s : all) good = good && s.error.empty();
  if (good) measure(list, Pace::spaced, effort_of(Pace::spaced, true), warm.patience);
  if (!complete(warm.report, section, list, condition)) return;
  for (const Series& s : all) {
    Row row = row_of(section, s, condition);
    const bool peer = s.name == "lxc-start";
    if (peer) {
      row.ratio = paired_ratio(s.rounds, all[0].rounds);
      row.ratio_to = all[0].name;
      Report::judge(&row, row.ratio->value, ">=", 3);
    }
    warm.report->add(row);
  }
}

/// Milliseconds of one more container.
bool one_more(Worker* host, const Work& work, std::vector<double>* times, std::string* error) {
  Request request;
  Reply reply;
  request.kind = Request::spawn;
  request.count = 1;
  request.work = work;
  if (!host->call(request, &reply)) return *error = host->error(), false;
  times->push_back(static_cast<double>(reply.value[0]) / 1e6);
  return true;
}

/// Processes that have nothing but a network namespace and a port of the bridge, as the floor makes
/// them: by hand, one after the other.
class BarePorts {
 public:
  BarePorts() : socket_(bare_socket()), bridge_(bare_index(socket_, bridge)) {}
  BarePorts(const BarePorts&) = delete;
  BarePorts& operator=(const BarePorts&) = delete;
  ~BarePorts() {
    for (const pid_t pid : pids_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    ::close(socket_);
  }

  /// Milliseconds of one more; negative, and why.
  double one_more(std::string* error) {
    const auto wrong = [error](const char* what, int number) {
      *error = std::string(what) + ": " + std::strerror(number);
      return -1.0;
    };
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
      return wrong("socketpair", errno);
    const auto began = std::chrono::steady_clock::now();
    const auto pid = static_cast<pid_t>(::syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
    if (pid == 0) stay(pair[1]);
    ::close(pair[1]);
    int e = pid < 0 ? errno : 0;
    char byte = 0;
    if (e == 0) {
      pids_.push_back(pid);
      e = bare_make_veth(socket_, ("bare" + std::to_string(pids_.size())).c_str(), pid, bridge_);
    }
    if (e == 0 && (::write(pair[0], &byte, 1) != 1 || ::read(pair[0], &byte, 1) != 1)) e = ECHILD;
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
    ::close(pair[0]);
    return e == 0 ? took.count() : wrong("a port by hand", e);
  }

 private:
  [[noreturn]] static void stay(int peer) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char byte = 0;
    bool good = ::read(peer, &byte, 1) == 1;
    const int file = ::open("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", O_WRONLY | O_CLOEXEC);
    good = good && file >= 0 && ::write(file, "1", 1) == 1;
    ::close(file);
    const int socket = bare_socket();
    good = good && bare_configure(socket) == 0;
    ::close(socket);
    if (!good || ::write(peer, &byte, 1) != 1) ::_exit(1);
    ::close(peer);
    for (;;) ::pause();
  }

  int socket_;
  unsigned bridge_;
  std::vector<pid_t> pids_ = {};
};

constexpr std::size_t most = 500, some = 25;

double growth(const std::vector<double>& times) {
  const double first = median({times.begin(), times.begin() + some});
  return median({times.end() - some, times.end()}) / first;
}

/// The kernel takes ports away after their containers are gone, for a while.
void wait_for_an_empty_bridge() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (std::size_t ports = most; ports > 2 && std::chrono::steady_clock::now() < until;) {
    ports = 0;
    auto* const list = ::if_nameindex();
    for (auto* i = list; i != nullptr && i->if_index != 0; ++i) ++ports;
    ::if_freenameindex(list);
    std::this_thread::sleep_for(std::chrono::milliseconds(ports > 2 ? 20 : 0));
  }
}

/// How much of that is the kernel's, for which each port has to do with all others.
void bare_growth_row(const Warm& warm, const std::string& condition) {
  const std::string name = "floor: the last 25 to the first 25";
  std::vector<double> times;
  std::string error;
  wait_for_an_empty_bridge();
  {
    BarePorts ports;
    while (times.size() < most && error.empty())
      if (const double took = ports.one_more(&error); took >= 0) times.push_back(took);
  }
  if (!error.empty()) return warm.report->missing(section, name, condition, error);
  Row row;
  row.section = section;
  row.name = name;
  row.condition = condition;
  row.value = growth(times);
  row.unit = "";
  warm.report->add(std::move(row));
}

void many_rows(const Warm& warm, Work work, Worker* host, std::string error) {
  const std::string condition = "500 at one bridge";
  copy_text(work.command, "/pause");
  std::vector<double> times;
  for (std::size_t n = 0; error.empty() && n < most; ++n)
    if (!one_more(host, work, &times, &error)) break;
  Request stop;
  Reply reply;
  stop.kind = Request::stop_all;
  if (host != nullptr && !host->call(stop, &reply) && error.empty()) error = host->error();
  if (!error.empty()) return warm.report->missing(section, "the last ones", condition, error);
  Row row;
  row.section = section;
  row.name = "the last 25 to the first 25";
  row.condition = condition;
  row.value = growth(times);
  row.unit = "";
  Report::judge(&row, *row.value, "<=", 1.2);
  warm.report->add(std::move(row));
  bare_growth_row(warm, condition);
}

}  // namespace

void network_section(const Warm& warm, const std::string& condroid_run) {
  const OwnNetwork network;
  std::string error = network.error();
  Work work = warm.work(true);
  copy_text(work.bridge, bridge);
  Worker floor = warm.start_floor();
  const std::unique_ptr<Worker> host =
      error.empty() ? warm.start_host(0, nullptr, &error) : nullptr;
  launch_rows(warm, work, &floor, host.get(), error);
  peer_rows(warm, work, condroid_run, host.get(), error);
  many_rows(warm, work, host.get(), error);
}

}  // namespace bench
