// Found before src/program/syscall.hpp: the zygote's calls go to a machine that is made up,
// zygote_property.hpp.
#pragma once

namespace condroid::kernel {

long syscall6(long nr, long a, long b, long c, long d, long e, long f);
long clone3_run(const void* args, unsigned long size, int (*body)(void*), void* argument);

struct RealSystem {
  long operator()(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                  long f = 0) const {
    return syscall6(nr, a, b, c, d, e, f);
  }
};

}  // namespace condroid::kernel
