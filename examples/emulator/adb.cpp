#include "adb.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condroid/spec/address.hpp>
#include <utility>

using namespace condroid;
using namespace condroid::literals;

static constexpr std::uint16_t adbd = 5555;
using Clock = std::chrono::steady_clock;

void AdbPorts::want(std::string device, std::uint16_t port) {
  ports_.push_back({.device = std::move(device), .number = port});
}

void AdbPorts::poll_fds(std::vector<pollfd>& into) const {
  for (const Port& p : ports_)
    if (p.relay) into.push_back({p.relay->poll_fd().get(), POLLIN, 0});
}

std::vector<std::string> AdbPorts::step(const Emulator& all) {
  std::vector<std::string> said;
  for (Port& p : ports_) {
    if (p.relay && !p.relay->step().value_or(false)) p.relay.reset();
    const auto guest = std::ranges::find_if(all.guests(), [&](const Guest& g) {
      return g.name == p.device && g.box && g.box->life() == Life::running;
    });
    if (p.relay || guest == all.guests().end()) continue;
    const bool is_first = std::exchange(p.life, guest->lives + 1) != guest->lives + 1;
    if (!is_first && Clock::now() < p.next_try) continue;
    p.next_try = Clock::now() + std::chrono::seconds{1};
    // Who was connected to the life before is told at once that it is over.
    auto relay =
        guest->box->relay({{.host_address = "127.0.0.1"_ip, .host_port = p.number, .port = adbd}},
                          RelayOptions{.drain = std::chrono::milliseconds{0}});
    if (relay)
      p.relay.emplace(std::move(*relay));
    else if (is_first)
      said.push_back(fmt::format("{}: no adb at port {}: {}", p.device, p.number, relay.error()));
  }
  return said;
}
