#include "sys/netlink_message.hpp"

#if CONDROID_LIBNL

#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <new>

namespace condroid::inline v0::detail {

namespace {
void made(bool ok) {
  if (!ok) throw std::bad_alloc();
}
}  // namespace

NetlinkMessage::NetlinkMessage(std::uint16_t type, int flags)
    : message_(nlmsg_alloc_simple(type, flags | NLM_F_REQUEST)) {
  made(message_ != nullptr);
}

void NetlinkMessage::put_bytes(int attribute, const void* data, std::size_t size) {
  made(nla_put(message_.get(), attribute, static_cast<int>(size), data) == 0);
}

void NetlinkMessage::append(const void* data, std::size_t size) {
  // nlmsg_append(3) takes what it does not change without const.
  made(nlmsg_append(message_.get(), const_cast<void*>(data), size, NLMSG_ALIGNTO) == 0);
}

NetlinkMessage::Nest::~Nest() { nla_nest_end(message_, begun_); }

NetlinkMessage::Nest NetlinkMessage::nest(int attribute) {
  // libnl sets that flag since 3.5, and not all of the kernel does without.
  nlattr* begun = nla_nest_start(message_.get(), attribute | NLA_F_NESTED);
  made(begun != nullptr);
  return {message_.get(), begun};
}

void NetlinkMessage::set_sequence(std::uint32_t number) {
  nlmsg_hdr(message_.get())->nlmsg_seq = number;
}

std::string_view NetlinkMessage::bytes() const {
  const nlmsghdr* head = nlmsg_hdr(message_.get());
  return {reinterpret_cast<const char*>(head), head->nlmsg_len};
}

void NetlinkMessage::Free::operator()(nl_msg* m) const { nlmsg_free(m); }

}  // namespace condroid::inline v0::detail

#endif
