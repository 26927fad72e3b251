// Where a freestanding program begins, and what the compiler calls by itself. Included by one
// source file of each, which defines program_main().
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
/// What lies between the buffers of a function and where it returns to, -fstack-protector-strong.
/// It is another one each time, of the kernel's chance, AT_RANDOM of getauxval(3).
std::uintptr_t __stack_chk_guard = 0;
[[noreturn]] void __stack_chk_fail() { __builtin_trap(); }

/// `stack` is what the kernel left there: argc, then argv, execve(2). Does not come back.
[[noreturn]] void program_main(long* stack);

void* memcpy(void* to, const void* from, std::size_t n) {
  auto* t = static_cast<unsigned char*>(to);
  const auto* f = static_cast<const unsigned char*>(from);
  for (std::size_t i = 0; i < n; ++i) t[i] = f[i];
  return to;
}
void* memset(void* to, int c, std::size_t n) {
  auto* t = static_cast<unsigned char*>(to);
  for (std::size_t i = 0; i < n; ++i) t[i] = static_cast<unsigned char>(c);
  return to;
}
}

extern "C" [[noreturn]] __attribute__((used, no_stack_protector)) void program_begin(long* stack) {
  constexpr long at_null = 0, at_random = 25;
  long* auxiliary = stack + *stack + 2;
  while (*auxiliary++ != 0) {
  }
  for (; auxiliary[0] != at_null; auxiliary += 2)
    if (auxiliary[0] == at_random)
      __builtin_memcpy(&__stack_chk_guard, reinterpret_cast<const void*>(auxiliary[1]),
                       sizeof __stack_chk_guard);
  // Its zero byte ends a text that runs on.
  __stack_chk_guard &= ~std::uintptr_t{0xff};
  program_main(stack);
}

#if defined(__x86_64__)
asm(".globl _start\n"
    ".type _start,@function\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call program_begin\n"
    "  hlt\n");
#elif defined(__aarch64__)
asm(".globl _start\n"
    ".type _start,%function\n"
    "_start:\n"
    "  mov x29, xzr\n"
    "  mov x30, xzr\n"
    "  mov x0, sp\n"
    "  bl program_begin\n"
    "  brk #0\n");
#endif
