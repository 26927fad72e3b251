// What a container's command does with its network.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "payload_calls.hpp"

namespace {

int patience_ms = 5000;

struct Address {
  sockaddr_storage bytes = {};
  socklen_t size = 0;
};

bool read_address(const char* text, const char* port, Address& out) {
  const auto number = htons(static_cast<in_port_t>(std::atoi(port)));
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.bytes);
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = number;
    out.size = sizeof *v4;
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.bytes);
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) return false;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = number;
  out.size = sizeof *v6;
  return true;
}

int failed(const char* what) {
  std::printf("%s=%s\n", what, strerrorname_np(errno));
  std::fflush(stdout);
  return 1;
}

bool ready(int fd, short events) {
  pollfd p{fd, events, 0};
  if (poll(&p, 1, patience_ms) == 1) return true;
  errno = ETIMEDOUT;
  return false;
}

}  // namespace

/// serve tcp|udp ADDRESS PORT TIMES: says "ready", and answers so often with "for ADDRESS: TEXT".
int do_serve(int argc, char** argv) {
  --argc, ++argv;
  Address here;
  if (argc < 5 || !read_address(argv[2], argv[3], here)) return 2;
  const bool tcp = std::strcmp(argv[1], "tcp") == 0;
  const int s = socket(here.bytes.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
  if (s < 0) return failed("socket");
  if (bind(s, reinterpret_cast<sockaddr*>(&here.bytes), here.size) < 0) return failed("bind");
  if (tcp && listen(s, 5) < 0) return failed("listen");
  std::printf("ready=1\n");
  std::fflush(stdout);
  for (int times = std::atoi(argv[4]); times > 0; --times) {
    if (!ready(s, POLLIN)) return failed("wait");
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    char text[256] = {}, answer[512], name[INET6_ADDRSTRLEN] = {};
    const int c = tcp ? accept(s, reinterpret_cast<sockaddr*>(&from), &size) : s;
    if (c < 0) return failed("accept");
    const ssize_t n =
        tcp ? read(c, text, sizeof text - 1)
            : recvfrom(c, text, sizeof text - 1, 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (n < 0) return failed("read");
    if (from.ss_family == AF_INET6)
      inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6*>(&from)->sin6_addr, name, sizeof name);
    else
      inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(&from)->sin_addr, name, sizeof name);
    const int length = std::snprintf(answer, sizeof answer, "for %s: %s", name, text);
    if (sendto(c, answer, static_cast<std::size_t>(length), MSG_NOSIGNAL,
               tcp ? nullptr : reinterpret_cast<sockaddr*>(&from), tcp ? 0 : size) < 0)
      return failed("write");
    if (tcp) close(c);
  }
  return 0;
}

/// echo ADDRESS PORT: says "ready", and gives everybody back what he sends, by TCP until he has no
/// more to say, and by UDP.
int do_echo(int argc, char** argv) {
  Address here;
  if (argc < 4 || !read_address(argv[2], argv[3], here)) return 2;
  signal(SIGCHLD, SIG_IGN);
  int sockets[2];
  for (int i = 0; i < 2; ++i) {
    const bool tcp = i == 0;
    const int s = socket(here.bytes.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (s < 0) return failed("socket");
    if (bind(s, reinterpret_cast<sockaddr*>(&here.bytes), here.size) < 0) return failed("bind");
    if (tcp && listen(s, 128) < 0) return failed("listen");
    sockets[i] = s;
  }
  std::printf("ready=1\n");
  std::fflush(stdout);
  static char text[65536];
  pollfd both[] = {{sockets[0], POLLIN, 0}, {sockets[1], POLLIN, 0}};
  while (poll(both, 2, -1) > 0) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    auto* const name = reinterpret_cast<sockaddr*>(&from);
    if (both[1].revents != 0)
      if (const ssize_t n = recvfrom(sockets[1], text, sizeof text, 0, name, &size); n >= 0)
        (void)sendto(sockets[1], text, static_cast<std::size_t>(n), 0, name, size);
    if (both[0].revents == 0) continue;
    const int c = accept(sockets[0], nullptr, nullptr);
    if (c < 0) return failed("accept");
    if (fork() == 0) {
      for (ssize_t n = 0; (n = read(c, text, sizeof text)) > 0;)
        for (ssize_t done = 0; done < n;) {
          const ssize_t w = send(c, text + done, static_cast<std::size_t>(n - done), MSG_NOSIGNAL);
          if (w < 0) _exit(1);
          done += w;
        }
      _exit(0);
    }
    close(c);
  }
  return failed("poll");
}

/// give ADDRESS PORT BYTES: says "ready", sends the first one who comes so many, and ends.
int do_give(int argc, char** argv) {
  Address here;
  if (argc < 5 || !read_address(argv[2], argv[3], here)) return 2;
  const int s = socket(here.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0) return failed("socket");
  if (bind(s, reinterpret_cast<sockaddr*>(&here.bytes), here.size) < 0) return failed("bind");
  if (listen(s, 5) < 0) return failed("listen");
  std::printf("ready=1\n");
  std::fflush(stdout);
  const int c = accept(s, nullptr, nullptr);
  if (c < 0) return failed("accept");
  char part[1000];
  for (long left = std::atol(argv[4]); left > 0; left -= static_cast<long>(sizeof part)) {
    std::memset(part, 'a' + static_cast<int>(left / 1000 % 26), sizeof part);
    if (send(c, part, sizeof part, MSG_NOSIGNAL) != sizeof part) return failed("write");
  }
  return 0;
}

/// call tcp|udp ADDRESS PORT TEXT [MILLISECONDS]: prints the answer, if there is one in time.
int do_call(int argc, char** argv) {
  --argc, ++argv;
  Address there;
  if (argc < 5 || !read_address(argv[2], argv[3], there)) return 2;
  if (argc > 5) patience_ms = std::atoi(argv[5]);
  const bool tcp = std::strcmp(argv[1], "tcp") == 0;
  const int s = socket(there.bytes.ss_family,
                       (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (s < 0) return failed("socket");
  if (connect(s, reinterpret_cast<sockaddr*>(&there.bytes), there.size) < 0) {
    if (errno != EINPROGRESS) return failed("connect");
    int error = 0;
    socklen_t size = sizeof error;
    if (!ready(s, POLLOUT)) return failed("connect");
    getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &size);
    if ((errno = error) != 0) return failed("connect");
  }
  if (send(s, argv[4], std::strlen(argv[4]), MSG_NOSIGNAL) < 0) return failed("write");
  char text[512] = {};
  if (!ready(s, POLLIN) || recv(s, text, sizeof text - 1, 0) < 0) return failed("read");
  std::printf("answer=%s\n", text);
  return 0;
}

/// interfaces: what there is, "if.NAME=up", "address.NAME=ADDRESS/LENGTH".
int do_interfaces(int, char**) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) < 0) return failed("getifaddrs");
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    const int family = i->ifa_addr == nullptr ? AF_UNSPEC : i->ifa_addr->sa_family;
    if (family == AF_PACKET)
      std::printf("if.%s=%s\n", i->ifa_name, (i->ifa_flags & IFF_UP) != 0 ? "up" : "down");
    if (family != AF_INET && family != AF_INET6) continue;
    const void* bytes = &reinterpret_cast<sockaddr_in*>(i->ifa_addr)->sin_addr;
    if (family == AF_INET6) bytes = &reinterpret_cast<sockaddr_in6*>(i->ifa_addr)->sin6_addr;
    const auto* mask = reinterpret_cast<const unsigned char*>(
        family == AF_INET6
            ? static_cast<void*>(&reinterpret_cast<sockaddr_in6*>(i->ifa_netmask)->sin6_addr)
            : static_cast<void*>(&reinterpret_cast<sockaddr_in*>(i->ifa_netmask)->sin_addr));
    int length = 0;
    for (int b = 0; b < (family == AF_INET6 ? 16 : 4); ++b) length += __builtin_popcount(mask[b]);
    char text[INET6_ADDRSTRLEN] = {};
    inet_ntop(family, bytes, text, sizeof text);
    std::printf("address.%s=%s/%d\n", i->ifa_name, text, length);
  }
  freeifaddrs(list);
  return 0;
}
