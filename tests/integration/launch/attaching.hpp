// What tests of attaching have in common: the verbs of payload in a container that runs.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "condroid/attach.hpp"
#include "containers.hpp"

namespace condroid::test {

inline Attach verb(std::vector<std::string> args) {
  Attach a;
  args.insert(args.begin(), "/bin/payload");
  a.process.argv = std::move(args);
  a.process.stdio = Stdio::capture;
  return a;
}

inline Exit ended(Result<Task> task) {
  constexpr std::chrono::seconds patience{20};
  if (!task) throw std::runtime_error(to_string(task.error()));
  auto e = need(task->wait_for(patience));
  if (!e) throw std::runtime_error("the attached process did not end");
  return std::move(*e);
}

}  // namespace condroid::test
