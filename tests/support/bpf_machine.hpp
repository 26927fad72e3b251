// What a filter of system calls says of one call: the kernel's classic BPF machine, as far as
// seccomp(2) lets it go. Anything else is an exception, and so is a jump out of the filter.
//
//   verdict(filter, {.nr = 165, .arch = AUDIT_ARCH_X86_64})     // SECCOMP_RET_ERRNO | EPERM
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>

namespace condroid::test {

inline std::uint32_t verdict(std::span<const std::uint64_t> filter, const seccomp_data& call) {
  std::uint32_t a = 0;
  std::uint32_t scratch[BPF_MEMWORDS] = {};
  for (std::size_t i = 0; i < filter.size(); ++i) {
    const std::uint64_t word = filter[i];
    const auto code = static_cast<std::uint16_t>(word);
    const auto k = static_cast<std::uint32_t>(word >> 32U);
    const std::size_t yes = (word >> 16U) & 0xffU, no = (word >> 24U) & 0xffU;
    switch (code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (k % 4 != 0 || k + 4 > sizeof call) throw std::runtime_error("a load from outside");
        std::memcpy(&a, reinterpret_cast<const char*>(&call) + k, 4);
        break;
      case BPF_LD | BPF_MEM:
        a = scratch[k % BPF_MEMWORDS];
        break;
      case BPF_ST:
        scratch[k % BPF_MEMWORDS] = a;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= k;
        break;
      case BPF_JMP | BPF_JA:
        i += k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        i += a == k ? yes : no;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        i += a >= k ? yes : no;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        i += a > k ? yes : no;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        i += (a & k) != 0 ? yes : no;
        break;
      case BPF_RET | BPF_K:
        return k;
      default:
        throw std::runtime_error("an instruction that the kernel would refuse");
    }
  }
  throw std::runtime_error("the filter ends without an answer");
}

}  // namespace condroid::test
