// Fd owns a descriptor, FdView borrows one.
//
//   Fd file(::open("/etc/hostname", O_RDONLY | O_CLOEXEC));
//   if (!file) return fail(errno, Step::open_descriptor, "/etc/hostname");
//   read_it(FdView(file));
#pragma once

#include <compare>
#include <utility>

namespace condroid {
inline namespace v0 {

class Fd;

/// A borrowed descriptor. The owner must outlive its use. Plain value.
class FdView {
 public:
  constexpr FdView() noexcept = default;
  constexpr explicit FdView(int number) noexcept : number_(number) {}
  // Not explicit: borrowing from an owner is always meant.
  FdView(const Fd& owner) noexcept;  // NOLINT(*-explicit-*)
  [[nodiscard]] constexpr int get() const noexcept { return number_; }
  [[nodiscard]] constexpr bool valid() const noexcept { return number_ >= 0; }
  constexpr explicit operator bool() const noexcept { return valid(); }
  auto operator<=>(const FdView&) const = default;

 private:
  int number_ = -1;
};

/// Owns a descriptor and closes it; close(2). Move-only. What close reports is not looked at:
/// nothing here is written through a descriptor whose last write could still fail.
class Fd {
 public:
  Fd() noexcept = default;
  /// Takes ownership; a negative number is no descriptor, so that `Fd(::open(...))` can be asked
  /// afterwards.
  explicit Fd(int number) noexcept : number_(number) {}
  Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.number_, -1));
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] bool valid() const noexcept { return number_ >= 0; }
  explicit operator bool() const noexcept { return valid(); }
  /// Gives ownership up.
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }
  /// Closes what is held and owns `number` instead.
  void reset(int number = -1) noexcept;

 private:
  int number_ = -1;
};

inline FdView::FdView(const Fd& owner) noexcept : number_(owner.get()) {}

}  // namespace v0
}  // namespace condroid
