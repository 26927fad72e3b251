// Tables of nftables, as one transaction of messages to nfnetlink. Private.
//
//   NftBatch batch("mine");
//   batch.new_table();                                   // goes with the socket that made it
//   batch.chain({"out", "nat", NftChain::postrouting, NftChain::sources});
//   batch.rule("out", NftRule().output_is_not("br0").masquerade());
//   NetlinkAnswer done = batch.send(socket);
//
// libnftables would read the same as text. It is no archive that a static program could take in,
// brings five libraries to every start of a program, and does not say which socket it has; a table
// with an owner (Linux 5.12) is removed by the kernel with the last copy of the socket that made
// it, whoever dies.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/spec/address.hpp"
#include "condroid/sys/fd.hpp"
#include "sys/netlink.hpp"

namespace condroid::inline v0::detail {

/// What a packet must be, and what then happens to it.
class NftRule {
 public:
  NftRule& input_is(const std::string& name);
  NftRule& input_is_not(const std::string& name);
  NftRule& output_is(const std::string& name);
  NftRule& output_is_not(const std::string& name);
  /// IPv4 or IPv6, as `like` is.
  NftRule& is_of(const IpAddress& like);
  NftRule& from(const IpPrefix& network);
  NftRule& not_from(const IpPrefix& network);
  NftRule& to(const IpPrefix& network);
  NftRule& not_to(const IpPrefix& network);
  /// In a frame to an Ethernet address that has the bits of `mac` which `mask` has; where frames
  /// come in.
  NftRule& to_mac(const MacAddress& mac, const MacAddress& mask);
  /// To one of the host's own addresses.
  NftRule& to_this_host();
  NftRule& protocol(std::uint8_t number);
  NftRule& to_port(std::uint16_t port);
  /// Begins a connection that belongs to none that is there.
  NftRule& unknown();
  /// Of no connection at all, as raw packets may be: nothing else that is asked of one is true.
  NftRule& stray();
  /// Of a connection whose destination was rewritten, or not.
  NftRule& redirected(bool is);
  NftRule& drop();
  NftRule& masquerade();
  NftRule& redirect_to(const IpAddress& address, std::uint16_t port);

 private:
  friend class NftBatch;
  enum Kind : std::uint8_t { meta, payload, bitwise, cmp, ct, fib, verdict, value, nat, masq };
  struct Step {
    Kind kind;
    std::uint32_t a = 0, b = 0, c = 0;
    std::string bytes = {};
  };
  void named(std::uint32_t key, std::uint32_t how, const std::string& name);
  void address(const IpPrefix& network, bool source, std::uint32_t how);
  void bits(std::uint32_t key, std::uint32_t mask, std::uint32_t how);

  std::vector<Step> steps_;
};

struct NftChain {
  std::string name;
  std::string type;  ///< "nat", "filter"
  /// As linux/netfilter.h numbers them.
  enum Hook : std::uint8_t { prerouting, input, forward, output, postrouting } hook = input;
  /// As linux/netfilter_ipv4.h has them.
  enum Priority : std::int16_t { raw = -300, destinations = -100, filter = 0, sources = 100 };
  Priority priority = filter;
};

/// All of it is done, or nothing.
class NftBatch {
 public:
  explicit NftBatch(std::string table);
  void new_table();
  void remove_table();
  void chain(const NftChain& chain);
  void rule(const std::string& chain, const NftRule& rule);
  /// The socket of this protocol. The owner of a table is the one that made it.
  [[nodiscard]] NetlinkAnswer send(FdView socket);

 private:
  void add(class NetlinkMessage& message);

  std::string table_;
  std::string bytes_;
  std::uint32_t count_ = 0;
  std::size_t last_ = 0;  ///< Where the last message begins.
};

}  // namespace condroid::inline v0::detail
