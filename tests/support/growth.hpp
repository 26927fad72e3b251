// How the time of a piece of work grows with its size, by the processor's clock and not the wall's:
// on a busy machine and under a sanitizer the ratio stays what it is.
#pragma once

#include <algorithm>
#include <ctime>

namespace condroid::test {

/// Seconds of processor time of this process that work(size) takes.
template <class Work>
double processor_seconds(const Work& work, int size) {
  const auto now = [] {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  };
  const double begin = now();
  work(size);
  return now() - begin;
}

/// How many times as long work(4 * size) takes as work(size): 4 where each piece costs the same, 16
/// where each costs as much as there are pieces. The least of three tries.
template <class Work>
double growth_to_four(const Work& work, int size) {
  double least = 1e9;
  for (int i = 0; i < 3 && least > 8; ++i) {
    const double small = processor_seconds(work, size);
    least = std::min(least, processor_seconds(work, 4 * size) / small);
  }
  return least;
}

}  // namespace condroid::test
