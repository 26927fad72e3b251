#include "program/interface_requests.hpp"

#include <linux/rtnetlink.h>

#include <cstring>
#include <string>
#include <vector>

#include "catch.hpp"

#if CONDROID_LIBNL

namespace {

using namespace condroid;
using namespace condroid::literals;

nlmsghdr head_of(const detail::InterfaceRequest& r) {
  nlmsghdr head;
  std::memcpy(&head, r.bytes.data(), sizeof head);
  return head;
}

TEST_CASE("what sets an interface up is sent in one piece, of which the end is answered",
          "[network]") {
  const Interface i{.link = Veth{.bridge = "br0"},
                    .addresses = {"10.0.3.2/24"_prefix, "fd00::2/64"_prefix},
                    .gateways = {"10.0.3.1"_ip},
                    .routes = {{.to = "10.1.0.0/16"_prefix, .via = "10.9.9.9"_ip, .metric = 5}}};
  const auto list = detail::setup_requests(i);
  std::vector<std::string> said;
  for (std::size_t n = 0; n < list.size(); ++n) {
    said.push_back(list[n].what);
    const nlmsghdr head = head_of(list[n]);
    CHECK(head.nlmsg_len == list[n].bytes.size());
    CHECK(head.nlmsg_len % NLMSG_ALIGNTO == 0);
    CHECK(head.nlmsg_seq == n + 1);
    CHECK(((head.nlmsg_flags & NLM_F_ACK) != 0) == (n + 1 == list.size()));
    std::uint32_t index = 1;
    REQUIRE(list[n].index_at + sizeof index <= list[n].bytes.size());
    std::memcpy(&index, list[n].bytes.data() + list[n].index_at, sizeof index);
    CHECK(index == 0);
  }
  CHECK(said == std::vector<std::string>{"up", "address 10.0.3.2/24", "address fd00::2/64",
                                         "route to 10.1.0.0/16 via 10.9.9.9",
                                         "route to 0.0.0.0/0 via 10.0.3.1"});
  // A router that no address has in its network is on the link.
  const auto flags = [&](std::size_t n) {
    rtmsg route;
    std::memcpy(&route, list[n].bytes.data() + NLMSG_HDRLEN, sizeof route);
    return route.rtm_flags;
  };
  CHECK(flags(3) == RTNH_F_ONLINK);
  CHECK(flags(4) == 0);
  CHECK(detail::host_end_requests(i).empty());
}

TEST_CASE("without a bridge the host knows the way to each address", "[network]") {
  const Interface i{.link = Veth{.host_addresses = {"10.0.3.1/32"_prefix, "fd00::1/64"_prefix}},
                    .addresses = {"10.0.3.2/24"_prefix, "fd00::2/64"_prefix}};
  std::vector<std::string> said;
  for (const auto& r : detail::host_end_requests(i)) said.push_back(r.what);
  CHECK(said == std::vector<std::string>{"address 10.0.3.1/32", "address fd00::1/64",
                                         "route to 10.0.3.2/32"});
}

TEST_CASE("what a port of a bridge is told", "[network]") {
  const auto said = [](const Veth& veth, std::uint16_t by_default) {
    std::vector<std::string> words;
    for (const auto& r : detail::port_requests(veth, by_default)) words.push_back(r.what);
    return words;
  };
  CHECK(said({.bridge = "br0"}, 1).empty());
  CHECK(said({.bridge = "br0", .isolated = true, .vlan_id = 5, .tagged = {6, 7}}, 1) ==
        std::vector<std::string>{"isolation", "VLAN 5", "without VLAN 1", "VLAN 6", "VLAN 7"});
  CHECK(said({.bridge = "br0", .vlan_id = 0}, 1) == std::vector<std::string>{"without VLAN 1"});
  CHECK(said({.bridge = "br0", .vlan_id = 1}, 1) == std::vector<std::string>{"VLAN 1"});
  CHECK(said({.bridge = "br0", .host_routes = {"10.9.0.0/16"_prefix}, .isolated = true}, 1) ==
        std::vector<std::string>{"isolation", "route to 10.9.0.0/16"});
}

}  // namespace

#endif
