#include "launch/nftables.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#if CONDROID_LIBNL
#include <array>

#include "sys/netlink_message.hpp"
#endif

namespace condroid::inline v0::detail {

namespace {

template <class T>
std::string raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string raw(const IpAddress& a) {
  return {reinterpret_cast<const char*>(a.bytes().data()), a.size()};
}

std::string mask_of(const IpPrefix& network) {
  std::string mask(network.address.size(), '\0');
  for (unsigned bit = 0; bit < network.length; ++bit)
    mask[bit / 8] =
        static_cast<char>(static_cast<unsigned char>(mask[bit / 8]) | (0x80U >> (bit % 8)));
  return mask;
}

std::uint8_t family_of(const IpAddress& a) { return a.is_v6() ? NFPROTO_IPV6 : NFPROTO_IPV4; }

}  // namespace

// ---- rules --------------------------------------------------------------------------------------

void NftRule::named(std::uint32_t key, std::uint32_t how, const std::string& name) {
  std::string padded = name;
  padded.resize(IFNAMSIZ, '\0');
  steps_.push_back({.kind = meta, .a = key});
  steps_.push_back({.kind = cmp, .a = how, .bytes = padded});
}

void NftRule::address(const IpPrefix& network, bool source, std::uint32_t how) {
  const bool v6 = network.address.is_v6();
  // Where the headers have it: RFC 791, RFC 8200.
  const std::uint32_t at = v6 ? (source ? 8 : 24) : (source ? 12 : 16);
  const std::uint32_t size = network.address.size();
  steps_.push_back({.kind = payload, .a = NFT_PAYLOAD_NETWORK_HEADER, .b = at, .c = size});
  steps_.push_back({.kind = bitwise, .a = size, .bytes = mask_of(network)});
  steps_.push_back({.kind = cmp, .a = how, .bytes = raw(network.first())});
}

void NftRule::bits(std::uint32_t key, std::uint32_t mask, std::uint32_t how) {
  steps_.push_back({.kind = ct, .a = key});
  steps_.push_back({.kind = bitwise, .a = sizeof mask, .bytes = raw(mask)});
  steps_.push_back({.kind = cmp, .a = how, .bytes = raw(std::uint32_t{0})});
}

NftRule& NftRule::input_is(const std::string& name) {
  named(NFT_META_IIFNAME, NFT_CMP_EQ, name);
  return *this;
}
NftRule& NftRule::input_is_not(const std::string& name) {
  named(NFT_META_IIFNAME, NFT_CMP_NEQ, name);
  return *this;
}
NftRule& NftRule::output_is(const std::string& name) {
  named(NFT_META_OIFNAME, NFT_CMP_EQ, name);
  return *this;
}
NftRule& NftRule::output_is_not(const std::string& name) {
  named(NFT_META_OIFNAME, NFT_CMP_NEQ, name);
  return *this;
}
NftRule& NftRule::is_of(const IpAddress& like) {
  steps_.push_back({.kind = meta, .a = NFT_META_NFPROTO});
  steps_.push_back({.kind = cmp, .a = NFT_CMP_EQ, .bytes = raw(family_of(like))});
  return *this;
}
NftRule& NftRule::from(const IpPrefix& network) {
  address(network, true, NFT_CMP_EQ);
  return *this;
}
NftRule& NftRule::not_from(const IpPrefix& network) {
  address(network, true, NFT_CMP_NEQ);
  return *this;
}
NftRule& NftRule::to(const IpPrefix& network) {
  address(network, false, NFT_CMP_EQ);
  return *this;
}
NftRule& NftRule::not_to(const IpPrefix& network) {
  address(network, false, NFT_CMP_NEQ);
  return *this;
}
NftRule& NftRule::to_mac(const MacAddress& mac, const MacAddress& mask) {
  MacAddress bits = mac;
  for (std::size_t i = 0; i < bits.bytes.size(); ++i) bits.bytes[i] &= mask.bytes[i];
  constexpr std::uint32_t size = sizeof mac.bytes;
  steps_.push_back({.kind = payload, .a = NFT_PAYLOAD_LL_HEADER, .b = 0, .c = size});
  steps_.push_back({.kind = bitwise, .a = size, .bytes = raw(mask.bytes)});
  steps_.push_back({.kind = cmp, .a = NFT_CMP_EQ, .bytes = raw(bits.bytes)});
  return *this;
}
NftRule& NftRule::to_this_host() {
  steps_.push_back({.kind = fib, .a = NFT_FIB_RESULT_ADDRTYPE, .b = NFTA_FIB_F_DADDR});
  steps_.push_back({.kind = cmp, .a = NFT_CMP_EQ, .bytes = raw(std::uint32_t{RTN_LOCAL})});
  return *this;
}
NftRule& NftRule::protocol(std::uint8_t number) {
  steps_.push_back({.kind = meta, .a = NFT_META_L4PROTO});
  steps_.push_back({.kind = cmp, .a = NFT_CMP_EQ, .bytes = raw(number)});
  return *this;
}
NftRule& NftRule::to_port(std::uint16_t port) {
  steps_.push_back({.kind = payload, .a = NFT_PAYLOAD_TRANSPORT_HEADER, .b = 2, .c = 2});
  steps_.push_back({.kind = cmp, .a = NFT_CMP_EQ, .bytes = raw(htons(port))});
  return *this;
}
NftRule& NftRule::unknown() {
  // NF_CT_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED
  bits(NFT_CT_STATE, 1U << 1U | 1U << 2U, NFT_CMP_EQ);
  return *this;
}
NftRule& NftRule::stray() {
  // NF_CT_STATE_INVALID_BIT and NF_CT_STATE_UNTRACKED_BIT
  bits(NFT_CT_STATE, 1U << 0U | 1U << 6U, NFT_CMP_NEQ);
  return *this;
}
NftRule& NftRule::redirected(bool is) {
  bits(NFT_CT_STATUS, IPS_DST_NAT, is ? NFT_CMP_NEQ : NFT_CMP_EQ);
  return *this;
}
NftRule& NftRule::drop() {
  steps_.push_back({.kind = verdict, .a = NF_DROP});
  return *this;
}
NftRule& NftRule::masquerade() {
  steps_.push_back({.kind = masq});
  return *this;
}
NftRule& NftRule::redirect_to(const IpAddress& address, std::uint16_t port) {
  steps_.push_back({.kind = value, .a = NFT_REG_1, .bytes = raw(address)});
  steps_.push_back({.kind = value, .a = NFT_REG_2, .bytes = raw(htons(port))});
  steps_.push_back({.kind = nat, .a = family_of(address)});
  return *this;
}

// ---- messages -----------------------------------------------------------------------------------

#if CONDROID_LIBNL

namespace {

constexpr std::uint32_t table_with_owner = 2;  // NFT_TABLE_F_OWNER, Linux 5.12

void number(NetlinkMessage& m, int attribute, std::uint32_t value) {
  m.put(attribute, htonl(value));
}

void data(NetlinkMessage& m, int attribute, const std::string& bytes) {
  const auto nest = m.nest(attribute);
  m.put_bytes(NFTA_DATA_VALUE, bytes.data(), bytes.size());
}

NetlinkMessage message(std::uint16_t type, int flags, std::uint8_t family, std::uint16_t resource) {
  nfgenmsg head{};
  head.nfgen_family = family;
  head.version = NFNETLINK_V0;
  head.res_id = htons(resource);
  return {type, flags, head};
}

NetlinkMessage about_tables(int type, int flags) {
  return message(static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type), flags, NFPROTO_INET,
                 0);
}

}  // namespace

void NftBatch::add(NetlinkMessage& message) {
  message.set_sequence(++count_);
  last_ = bytes_.size();
  bytes_ += message.bytes();
}

NftBatch::NftBatch(std::string table) : table_(std::move(table)) {
  auto begin = message(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  bytes_ = begin.bytes();
}

void NftBatch::new_table() {
  auto m = about_tables(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
  m.put(NFTA_TABLE_NAME, table_);
  number(m, NFTA_TABLE_FLAGS, table_with_owner);
  add(m);
}

void NftBatch::remove_table() {
  auto m = about_tables(NFT_MSG_DELTABLE, 0);
  m.put(NFTA_TABLE_NAME, table_);
  add(m);
}

void NftBatch::chain(const NftChain& chain) {
  auto m = about_tables(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
  m.put(NFTA_CHAIN_TABLE, table_);
  m.put(NFTA_CHAIN_NAME, chain.name);
  m.put(NFTA_CHAIN_TYPE, chain.type);
  {
    const auto hook = m.nest(NFTA_CHAIN_HOOK);
    number(m, NFTA_HOOK_HOOKNUM, chain.hook);
    number(m, NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(std::int32_t{chain.priority}));
  }
  add(m);
}

void NftBatch::rule(const std::string& chain, const NftRule& rule) {
  auto m = about_tables(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  m.put(NFTA_RULE_TABLE, table_);
  m.put(NFTA_RULE_CHAIN, chain);
  {
    const auto all = m.nest(NFTA_RULE_EXPRESSIONS);
    // In the order of NftRule::Kind.
    static constexpr std::array<const char*, 10> names = {
        "meta", "payload", "bitwise", "cmp", "ct", "fib", "immediate", "immediate", "nat", "masq"};
    for (const NftRule::Step& s : rule.steps_) {
      const auto one = m.nest(NFTA_LIST_ELEM);
      m.put(NFTA_EXPR_NAME, names[s.kind]);
      const auto what = m.nest(NFTA_EXPR_DATA);
      switch (s.kind) {
        case NftRule::meta:
          number(m, NFTA_META_KEY, s.a);
          number(m, NFTA_META_DREG, NFT_REG_1);
          break;
        case NftRule::payload:
          number(m, NFTA_PAYLOAD_DREG, NFT_REG_1);
          number(m, NFTA_PAYLOAD_BASE, s.a);
          number(m, NFTA_PAYLOAD_OFFSET, s.b);
          number(m, NFTA_PAYLOAD_LEN, s.c);
          break;
        case NftRule::bitwise:
          number(m, NFTA_BITWISE_SREG, NFT_REG_1);
          number(m, NFTA_BITWISE_DREG, NFT_REG_1);
          number(m, NFTA_BITWISE_LEN, s.a);
          data(m, NFTA_BITWISE_MASK, s.bytes);
          data(m, NFTA_BITWISE_XOR, std::string(s.bytes.size(), '\0'));
          break;
        case NftRule::cmp:
          number(m, NFTA_CMP_SREG, NFT_REG_1);
          number(m, NFTA_CMP_OP, s.a);
          data(m, NFTA_CMP_DATA, s.bytes);
          break;
        case NftRule::ct:
          number(m, NFTA_CT_KEY, s.a);
          number(m, NFTA_CT_DREG, NFT_REG_1);
          break;
        case NftRule::fib:
          number(m, NFTA_FIB_DREG, NFT_REG_1);
          number(m, NFTA_FIB_RESULT, s.a);
          number(m, NFTA_FIB_FLAGS, s.b);
          break;
        case NftRule::verdict: {
          number(m, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
          const auto outer = m.nest(NFTA_IMMEDIATE_DATA);
          const auto inner = m.nest(NFTA_DATA_VERDICT);
          number(m, NFTA_VERDICT_CODE, s.a);
          break;
        }
        case NftRule::value:
          number(m, NFTA_IMMEDIATE_DREG, s.a);
          data(m, NFTA_IMMEDIATE_DATA, s.bytes);
          break;
        case NftRule::nat:
          number(m, NFTA_NAT_TYPE, NFT_NAT_DNAT);
          number(m, NFTA_NAT_FAMILY, s.a);
          number(m, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
          number(m, NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
          break;
        case NftRule::masq:
          break;
      }
    }
  }
  add(m);
}

NetlinkAnswer NftBatch::send(FdView socket) {
  // Errors come unasked. Hundreds of answers to a batch would not fit into the socket.
  if (count_ > 0) {
    nlmsghdr head;
    std::memcpy(&head, bytes_.data() + last_, sizeof head);
    head.nlmsg_flags |= NLM_F_ACK;
    std::memcpy(bytes_.data() + last_, &head, sizeof head);
  }
  auto end = message(NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
  // What an earlier one that failed was told besides.
  char rest[4096];
  while (::recv(socket.get(), rest, sizeof rest, MSG_DONTWAIT) > 0) {
  }
  const std::string all = bytes_ + std::string(end.bytes());
  // It takes a batch as one message, or not at all. Half of what is asked for is for its own use.
  if (const int size = static_cast<int>(all.size() + 4096); size > 64 * 1024)
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
      (void)::setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  return ask_netlink(socket, all, count_);
}

#else

NftBatch::NftBatch(std::string table) : table_(std::move(table)) {}
void NftBatch::new_table() {}
void NftBatch::remove_table() {}
void NftBatch::chain(const NftChain&) {}
void NftBatch::rule(const std::string&, const NftRule&) {}
NetlinkAnswer NftBatch::send(FdView) { return {.error = EOPNOTSUPP}; }

#endif

}  // namespace condroid::inline v0::detail
