// Raw system calls: no errno, no cancellation, nothing of libc. Returns -errno on failure.
#pragma once

namespace condroid::kernel {

#if defined(__clang_analyzer__)
// To it asm writes nothing to memory; a function that it cannot see may.
long syscall6(long nr, long a, long b, long c, long d, long e, long f);
#else
inline long syscall6(long nr, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = nr;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  register long x5 asm("x5") = f;
  asm volatile("svc 0"
               : "+r"(x0)
               : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
               : "memory", "cc");
  return x0;
#endif
}
#endif

/// clone3(2) of a child that runs `body(argument)` on its own stack and ends with what that
/// returns. For CLONE_VM: the child must never return into the caller's frames.
inline long clone3_run(const void* args, unsigned long size, int (*body)(void*), void* argument) {
#if defined(__x86_64__)
  long result;
  register int (*r8)(void*) asm("r8") = body;
  register void* r9 asm("r9") = argument;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r9, %%rdi\n\t"
      "call *%%r8\n\t"
      "mov %%eax, %%edi\n\t"
      "mov $231, %%eax\n\t"  // exit_group
      "syscall\n\t"
      "hlt\n"
      "1:"
      : "=a"(result)
      : "a"(435L), "D"(args), "S"(size), "r"(r8), "r"(r9)
      : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 asm("x8") = 435;
  register long x0 asm("x0") = reinterpret_cast<long>(args);
  register long x1 asm("x1") = static_cast<long>(size);
  register int (*x9)(void*) asm("x9") = body;
  register void* x10 asm("x10") = argument;
  asm volatile(
      "svc 0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x29, xzr\n\t"
      "mov x0, x10\n\t"
      "blr x9\n\t"
      "mov x8, #94\n\t"  // exit_group
      "svc 0\n\t"
      "brk #0\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), "r"(x9), "r"(x10)
      : "memory", "cc", "x30");
  return x0;
#endif
}

/// The system calls of a real process. Tests hand the interpreter a recording one.
struct RealSystem {
  long operator()(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                  long f = 0) const {
    return syscall6(nr, a, b, c, d, e, f);
  }
};

}  // namespace condroid::kernel
