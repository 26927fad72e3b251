// A port of the host that leads into a container. No rights are needed: this program carries what
// goes through it.
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condroid/builder.hpp>
#include <condroid/relay.hpp>
#include <condroid/runtime.hpp>
#include <cstdio>
#include <string_view>

using namespace condroid;
using namespace condroid::literals;

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  auto box = ContainerBuilder{"box"}
                 .exec({"/usr/bin/python3", "-c",
                        "import socket\n"
                        "s = socket.create_server(('127.0.0.1', 7))\n"
                        "print('ready', flush=True)\n"
                        "s.accept()[0].sendall(b'hello from inside\\n')\n"})
                 .stdio({Stream::null, Stream::pipe, Stream::null})
                 .launch(*runtime);
  if (!box) {
    fmt::print(stderr, "{}\n", box.error());
    return 1;
  }
  char text[64] = {};
  if (::read(box->take_stdout().get(), text, sizeof text) <= 0) {
    fmt::print(stderr, "the service did not start\n");
    return 1;
  }
  auto relay = box->relay({{.host_address = "127.0.0.1"_ip, .host_port = 7080, .port = 7}});
  if (!relay) {
    fmt::print(stderr, "{}\n", relay.error());
    return 1;
  }

  // A client, in the same loop.
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in to{.sin_family = AF_INET,
                       .sin_port = htons(7080),
                       .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                       .sin_zero = {}};
  if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    std::perror("connect");
    return 1;
  }
  pollfd waiters[] = {{relay->poll_fd().get(), POLLIN, 0}, {client.get(), POLLIN, 0}};
  while (waiters[1].revents == 0) {
    if (::poll(waiters, 2, -1) < 0) continue;  // a signal
    const auto goes_on = relay->step();
    if (!goes_on) {
      fmt::print(stderr, "{}\n", goes_on.error());
      return 1;
    }
    if (!*goes_on) break;  // the container has ended, and what it said has been sent
  }
  const auto n = ::recv(client.get(), text, sizeof text - 1, 0);
  if (n <= 0) {
    fmt::print(stderr, "nothing was answered\n");
    return 1;
  }
  fmt::print("{}", std::string_view(text, static_cast<std::size_t>(n)));
  return 0;
}
