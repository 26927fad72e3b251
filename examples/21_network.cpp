// A container with a network: a cable to the host, an address at each end, and a word through it.
#include <netinet/in.h>
#include <sys/socket.h>

#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>

using namespace condroid;
using namespace condroid::literals;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const auto box = ContainerBuilder{"box"}
                       .interface({.name = "eth0",
                                   .link = Veth{.host_addresses = {"192.0.2.1/32"_prefix}},
                                   .addresses = {"192.0.2.2/32"_prefix},
                                   .gateways = {"192.0.2.1"_ip}})
                       .exec({"/bin/bash", "-c", "echo hello > /dev/udp/192.0.2.1/7000"});

  // The host listens on any of its addresses, so it may do so before there is this one.
  const Fd listener(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in here{.sin_family = AF_INET, .sin_port = htons(7000), .sin_addr = {}, .sin_zero = {}};
  if (!listener.valid() ||
      ::bind(listener.get(), reinterpret_cast<sockaddr*>(&here), sizeof here) != 0) {
    std::perror("no socket at port 7000");
    return 1;
  }

  auto container = box.launch(*runtime);
  if (!container) {
    fmt::print(stderr, "{}\n", container.error());
    return 1;
  }
  char text[64] = {};
  sockaddr_in from{};
  socklen_t size = sizeof from;
  const auto n = ::recvfrom(listener.get(), text, sizeof text - 1, 0,
                            reinterpret_cast<sockaddr*>(&from), &size);
  const auto* of = reinterpret_cast<const unsigned char*>(&from.sin_addr);
  if (n < 0) {
    std::perror("no word from the container");
    return 1;
  }
  fmt::print("{}.{}.{}.{} says {}", of[0], of[1], of[2], of[3], text);
  const auto end = container->wait();
  if (!end) {
    fmt::print(stderr, "{}\n", end.error());
    return 1;
  }
  fmt::print("{}\n", *end);
  return 0;
}
