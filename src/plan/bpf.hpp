// Classic BPF as seccomp(2) takes it, put together from front to back. Private.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace condroid::inline v0::detail {

class Bpf {
 public:
  using Word = std::uint64_t;

  void load_nr() { load(offsetof(seccomp_data, nr)); }
  void load_arch() { load(offsetof(seccomp_data, arch)); }
  /// The lower half of an argument; both machines are little-endian.
  void load_argument(unsigned index) {
    load(offsetof(seccomp_data, args) + std::size_t{8} * index);
  }
  void give(std::uint32_t verdict) { add(BPF_RET | BPF_K, verdict); }

  /// The next instruction is passed over unless the comparison holds.
  void unless_equal(std::uint32_t k) { add(BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1); }
  void unless_at_least(std::uint32_t k) { add(BPF_JMP | BPF_JGE | BPF_K, k, 0, 1); }
  void unless_bits(std::uint32_t k) { add(BPF_JMP | BPF_JSET | BPF_K, k, 0, 1); }

  /// A jump whose end is not known yet.
  [[nodiscard]] std::size_t jump() {
    add(BPF_JMP | BPF_JA, 0);
    return words_.size() - 1;
  }
  /// It ends at what comes next.
  void land(std::size_t jump) { words_[jump] |= distance(jump) << 32U; }
  /// Jumps if the accumulator is at least `k`; the end is not known yet.
  [[nodiscard]] std::size_t jump_if_at_least(std::uint32_t k) {
    add(BPF_JMP | BPF_JGE | BPF_K, k);
    return words_.size() - 1;
  }
  /// At most 255 instructions away.
  void land_near(std::size_t jump) {
    assert(distance(jump) <= 0xff);
    words_[jump] |= distance(jump) << 16U;
  }

  [[nodiscard]] std::vector<Word> take() { return std::move(words_); }

 private:
  [[nodiscard]] Word distance(std::size_t from) const { return words_.size() - from - 1; }
  void load(std::size_t offset) {
    add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
  }
  void add(unsigned code, std::uint32_t k, unsigned if_true = 0, unsigned if_false = 0) {
    words_.push_back(code | Word{if_true} << 16U | Word{if_false} << 24U | Word{k} << 32U);
  }
  std::vector<Word> words_;
};

}  // namespace condroid::inline v0::detail
