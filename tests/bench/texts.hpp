// How long it takes to read configurations.
#pragma once

#include <string>
#include <vector>

namespace bench {

struct TimedText {
  std::string name = {};
  std::string condition = {};
  double milliseconds = 0;  ///< Median.
  double most = 0;          ///< What is asked of it; 0: nothing.
};

[[nodiscard]] std::vector<TimedText> time_texts(int rounds);

}  // namespace bench
