// Two containers that talk over a bridge which is made for them, and what they say in the end. Each
// gets an address and the world by NAT; port 8080 of the host, for programs there, leads to the
// first.
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
  const Interface at_bridge{.link = NatBridge{}};

  auto server = ContainerBuilder{"server"}
                    .interface(at_bridge)
                    .publish({.host_address = "127.0.0.1"_ip, .host_port = 8080, .port = 80})
                    .exec({"/usr/bin/perl", "-MIO::Socket::INET", "-e",
                           "$s = IO::Socket::INET->new(LocalPort => 80, Listen => 1) or die $@;"
                           "$c = $s->accept; print $c 'good evening, '.$c->peerhost.qq{\\n}"})
                    .launch(*runtime);
  if (!server) {
    fmt::print(stderr, "{}\n", server.error());
    return 1;
  }
  const std::string there = to_string(server->addresses().front().address);

  auto client = ContainerBuilder{"client"}
                    .interface(at_bridge)
                    .name_server("192.0.2.53"_ip)
                    .exec({"/bin/bash", "-c",
                           "grep nameserver /etc/resolv.conf;"
                           "until cat < /dev/tcp/" +
                               there + "/80; do sleep 0.02; done 2> /dev/null"})
                    .stdio(Stdio::capture)
                    .launch(*runtime);
  if (!client) {
    fmt::print(stderr, "{}\n", client.error());
    return 1;
  }
  fmt::print("server {}, client {}\n", there, to_string(client->addresses().front().address));
  const auto said = client->wait();
  if (!said) {
    fmt::print(stderr, "{}\n", said.error());
    return 1;
  }
  fmt::print("{}", said->out);
  const auto end = server->wait();
  if (!end) {
    fmt::print(stderr, "{}\n", end.error());
    return 1;
  }
  fmt::print("{}\n", *end);
  return 0;
}
