// The system calls of the payloads, without a libc.
#pragma once

namespace payload {

struct Timespec {
  long seconds;
  long nanoseconds;
};

#if defined(__x86_64__)
inline void exit_group(long status) {
  long ret = 231;
  __asm__ volatile("syscall" : "+a"(ret) : "D"(status) : "rcx", "r11", "memory");
}
inline void sleep_for_ever() {
  long ret = 34;  // pause
  __asm__ volatile("syscall" : "+a"(ret) : : "rcx", "r11", "memory");
}
inline long fork() {
  long ret = 57;
  __asm__ volatile("syscall" : "+a"(ret) : : "rcx", "r11", "memory");
  return ret;
}
inline void monotonic_time(Timespec* to) {
  long ret = 228;  // clock_gettime
  __asm__ volatile("syscall" : "+a"(ret) : "D"(1L), "S"(to) : "rcx", "r11", "memory");
}
inline void write_out(const void* data, unsigned long size) {
  long ret = 1;
  __asm__ volatile("syscall" : "+a"(ret) : "D"(1L), "S"(data), "d"(size) : "rcx", "r11", "memory");
}
#elif defined(__aarch64__)
inline long fork() {
  register long x8 __asm__("x8") = 220;  // clone
  register long x0 __asm__("x0") = 17;   // SIGCHLD
  register long x1 __asm__("x1") = 0;
  register long x2 __asm__("x2") = 0;
  register long x3 __asm__("x3") = 0;
  register long x4 __asm__("x4") = 0;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}
inline void exit_group(long status) {
  register long x8 __asm__("x8") = 94;
  register long x0 __asm__("x0") = status;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8) : "memory");
}
inline void sleep_for_ever() {
  register long x8 __asm__("x8") = 73;  // ppoll of nothing; this architecture has no pause
  register long x0 __asm__("x0") = 0;
  register long x1 __asm__("x1") = 0;
  register long x2 __asm__("x2") = 0;
  register long x3 __asm__("x3") = 0;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
}
inline void monotonic_time(Timespec* to) {
  register long x8 __asm__("x8") = 113;  // clock_gettime
  register long x0 __asm__("x0") = 1;
  register Timespec* x1 __asm__("x1") = to;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
}
inline void write_out(const void* data, unsigned long size) {
  register long x8 __asm__("x8") = 64;
  register long x0 __asm__("x0") = 1;
  register const void* x1 __asm__("x1") = data;
  register unsigned long x2 __asm__("x2") = size;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
}
#else
#error "payload.hpp: no system calls for this architecture"
#endif

}  // namespace payload
