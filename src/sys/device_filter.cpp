#include "sys/device_filter.hpp"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

namespace {

int bpf(bpf_cmd what, bpf_attr& attr) {
  return static_cast<int>(::syscall(SYS_bpf, what, &attr, sizeof attr));
}

/// The one that is attached to this very cgroup; none if there is none. 0, or errno: beside one
/// that we cannot replace another would make it stricter, not wider.
int find_attached(int cgroup, Fd& program) {
  std::uint32_t id = 0;
  bpf_attr query{};
  query.query.target_fd = static_cast<std::uint32_t>(cgroup);
  query.query.attach_type = BPF_CGROUP_DEVICE;
  query.query.prog_ids = reinterpret_cast<std::uint64_t>(&id);
  query.query.prog_cnt = 1;
  if (bpf(BPF_PROG_QUERY, query) < 0) return errno;
  if (query.query.prog_cnt == 0) return 0;
  bpf_attr open{};
  open.prog_id = id;
  program = Fd(bpf(BPF_PROG_GET_FD_BY_ID, open));
  return program.valid() ? 0 : errno;
}

}  // namespace

int set_device_filter(int cgroup, std::span<const std::uint64_t> program, bool again) {
  static_assert(sizeof(bpf_insn) == sizeof(std::uint64_t));
  bpf_attr load{};
  load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  load.insns = reinterpret_cast<std::uint64_t>(program.data());
  load.insn_cnt = static_cast<std::uint32_t>(program.size());
  load.license = reinterpret_cast<std::uint64_t>("MIT");
  std::strncpy(load.prog_name, "condroid_dev", sizeof load.prog_name - 1);
  const Fd loaded(bpf(BPF_PROG_LOAD, load));
  if (!loaded.valid()) return errno;
  Fd before;
  if (again)
    if (const int e = find_attached(cgroup, before); e != 0) return e;
  bpf_attr attach{};
  attach.target_fd = static_cast<std::uint32_t>(cgroup);
  attach.attach_bpf_fd = static_cast<std::uint32_t>(loaded.get());
  attach.attach_type = BPF_CGROUP_DEVICE;
  // What is below may only be stricter.
  attach.attach_flags = BPF_F_ALLOW_MULTI;
  if (before.valid()) {
    attach.attach_flags |= BPF_F_REPLACE;  // Linux 5.6
    attach.replace_bpf_fd = static_cast<std::uint32_t>(before.get());
  }
  return bpf(BPF_PROG_ATTACH, attach) < 0 ? errno : 0;
}

}  // namespace condroid::inline v0::detail
