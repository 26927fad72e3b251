#include "texts.hpp"

#include <algorithm>
#include <chrono>
#include <condroid/config/lxc.hpp>

namespace bench {
namespace {

using namespace condroid;
using Clock = std::chrono::steady_clock;

/// Lines as they are in files, of every shape of key.
std::string lxc_lines(int count) {
  std::string text;
  for (int i = 0; i < count / 10; ++i) {
    const std::string n = std::to_string(i);
    text += "# one of many\nlxc.uts.name = box" + n + "\nlxc.mount.entry = /srv/" + n + " srv/" +
            n + " none bind,ro,create=dir,optional 0 0\n\nlxc.environment = NAME" + n +
            "=value\nlxc.cgroup2.memory.max = " + n + "\nlxc.net." + std::to_string(i % 100) +
            ".type = veth\nlxc.prlimit.nofile = 1024:4096\nlxc.tty.max = 4\n"
            "lxc.hook.start = /bin/true\n";
  }
  return text;
}

template <class Work>
double median(int rounds, Work work) {
  std::vector<double> all;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = Clock::now();
    work();
    all.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  const auto middle = all.begin() + rounds / 2;
  std::nth_element(all.begin(), middle, all.end());
  return *middle;
}

}  // namespace

std::vector<TimedText> time_texts(int rounds) {
  constexpr double most = 100;
  const std::string text = lxc_lines(100000);
  bool good = true;
  const auto read = [&] { good = lxc::Configuration::parse(text).has_value() && good; };
  std::vector<TimedText> all = {
      {"a configuration of LXC's", "100,000 lines", median(rounds, read), most}};
  if (!good) all.front().milliseconds = -1;
  const lxc::Translation how{.apparmor = false, .selinux = false, .cgroup2_only = true};
  const auto long_one = lxc::Configuration::parse(text);
  const auto translate_long = [&] { good = long_one && long_one->to_spec(how) && good; };
  all.push_back({"the Spec of that", "100,000 lines", median(rounds, translate_long)});
  const std::string few = lxc_lines(50);
  const auto translate = [&] {
    const auto config = lxc::Configuration::parse(few);
    good = config && config->to_spec(how);
  };
  all.push_back({"the same, and its Spec", "50 lines", median(100 * rounds, translate)});
  return all;
}

}  // namespace bench
