// Counts the system calls of a worker, of its helper process and of everything they start, with
// ptrace(2): exact, and without a tool that has to be installed. The counted processes run slowly;
// nothing is timed meanwhile.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>

#include "worker.hpp"

namespace bench {

struct CallCounts {
  std::uint64_t host = 0;                                 ///< The worker, all its threads.
  std::uint64_t helper = 0;                               ///< The zygote.
  std::uint64_t children = 0;                             ///< All processes started meanwhile.
  std::map<std::uint64_t, std::uint64_t> by_number = {};  ///< Of all of them.
};

/// Sends `request` and counts until the reply is there.
[[nodiscard]] bool count_calls(Worker* worker, pid_t helper, const Request& request,
                               CallCounts* counts, std::string* error);

}  // namespace bench
