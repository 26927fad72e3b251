// Encoding: the child's half of a Plan as one flat block of bytes that the interpreter runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/plan.hpp"
#include "program/format.hpp"

namespace condroid::inline v0::detail {

/// A program, ready to be sent. Bytes begin with a program::Header and are aligned to 8.
struct Program {
  std::vector<std::uint64_t> words;
  std::size_t size = 0;
  [[nodiscard]] program::Header& header() noexcept {
    return *reinterpret_cast<program::Header*>(words.data());
  }
  [[nodiscard]] const char* data() const noexcept {
    return reinterpret_cast<const char*>(words.data());
  }
};

/// Builds programs record by record. Also used for the throwaway helpers that are no container.
class Encoder {
 public:
  Encoder();
  /// Adds a record; operands are set by the caller through what is returned, before the next add().
  program::Rec& add(program::Code code, std::uint32_t index);
  /// Puts text into the blob, with a NUL behind it.
  [[nodiscard]] program::Str text(std::string_view s);
  /// Puts raw bytes into the blob at an address divisible by `alignment`.
  [[nodiscard]] program::Str bytes(const void* data, std::size_t size, std::size_t alignment);
  /// Puts strings, each with its NUL, one behind the other.
  [[nodiscard]] program::Str strings(const std::vector<std::string>& list);
  /// Names the register of the next passed descriptor.
  void pass(op::Slot slot) { slots_.push_back(static_cast<std::int16_t>(slot.number)); }
  /// The record added last.
  [[nodiscard]] program::Rec& last() { return recs_.back(); }
  /// An op of the child; others are passed over.
  void add(const Op& op, std::uint32_t index);
  [[nodiscard]] Result<Program> finish(std::uint32_t stop_before) const;

 private:
  std::vector<program::Rec> recs_;
  std::vector<char> blob_;
  std::vector<std::int16_t> slots_;
};

}  // namespace condroid::inline v0::detail
