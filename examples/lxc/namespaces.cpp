#include "namespaces.hpp"

#include <strings.h>

#include <sstream>
#include <utility>

#include "say.hpp"

using namespace condroid;

namespace {

struct Word {
  std::string_view lxc;  ///< As it is written alone.
  const char* kernel;    ///< In any case.
  Namespace kind;
};
constexpr Word words[] = {
    {"MOUNT", "mnt", Namespace::mount}, {"", "pid", Namespace::pid},
    {"UTSNAME", "uts", Namespace::uts}, {"", "ipc", Namespace::ipc},
    {"", "user", Namespace::user},      {"NETWORK", "net", Namespace::net},
    {"", "cgroup", Namespace::cgroup},  {"", "time", Namespace::time},
};

}  // namespace

std::optional<Flags<Namespace>> read_namespaces(const std::string& text) {
  Flags<Namespace> all;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, '|');) {
    const Word* found = std::begin(words);
    while (found != std::end(words) &&
           !(word == found->lxc || ::strcasecmp(word.c_str(), found->kernel) == 0))
      ++found;
    if (word.empty() || found == std::end(words)) {
      say("--namespaces={}: there is no '{}'; {}", text, word, namespace_words);
      return {};
    }
    all |= found->kind;
  }
  return all;
}
