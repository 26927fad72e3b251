// lxc-update-config: an old configuration with today's words.
#include <fmt/format.h>

#include <cerrno>
#include <filesystem>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'c', "config", "FILE", "The configuration; FILE.backup is what it was"},
};

int run(const Arguments& args) {
  const std::string file = args.has("config")         ? args.value("config")
                           : args.words().size() == 1 ? args.words()[0]
                                                      : std::string();
  if (file.empty()) {
    say("no configuration is named; use -c FILE");
    return 1;
  }
  const auto config = Place("", "config", file).load();
  if (!config) return 1;
  lxc::Configuration modern = *config;
  const auto changes = modern.modernize();
  std::error_code error;
  std::filesystem::copy_file(file, file + ".backup",
                             std::filesystem::copy_options::overwrite_existing, error);
  if (error) {
    say("'{}.backup': {}", file, error.message());
    return 1;
  }
  if (const auto ok = modern.save(HostPath(file)); !ok) return say_error(ok.error());
  for (const lxc::Diagnostic& one : changes) fmt::print("{}\n", lxc::to_string(one));
  return 0;
}

}  // namespace

const Tool lxc_update_config = {
    .name = "lxc-update-config",
    .synopsis = "-c FILE",
    .brief =
        "Rewrites the lines of a configuration that have words of LXC 1.0 to 2.1, and says which.",
    .options = options,
    .names = Tool::none,
    .more = "Exit status: 0; 1 when it cannot be read or written. It is not changed then.",
    .run = &run,
};
