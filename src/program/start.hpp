// Where a freestanding program begins, and what the compiler calls by itself. Included by one
// source file of each, which defines program_main().
#pragma once

#include <cstddef>

extern "C" {
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

#if defined(__x86_64__)
asm(".globl _start\n"
    ".type _start,@function\n"
    "_start:\n"
    "  xor %ebp, %ebp\n"
    "  mov %rsp, %rdi\n"
    "  and $-16, %rsp\n"
    "  call program_main\n"
    "  hlt\n");
#elif defined(__aarch64__)
asm(".globl _start\n"
    ".type _start,%function\n"
    "_start:\n"
    "  mov x29, xzr\n"
    "  mov x30, xzr\n"
    "  mov x0, sp\n"
    "  bl program_main\n"
    "  brk #0\n");
#endif
