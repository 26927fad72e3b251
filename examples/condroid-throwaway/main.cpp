// condroid-throwaway: one command in a fresh container made of an image, for shells and scripts.
// Nothing of the container stays.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <condroid/testing.hpp>
#include <cstdio>
#include <string>
#include <vector>

using namespace condroid;

namespace {

constexpr int deadline_passed = 124;  // as timeout(1)
constexpr int own_failure = 125;
constexpr int not_executable = 126;
constexpr int not_found = 127;

constexpr const char* about =
    R"(condroid-throwaway [OPTIONS] IMAGE -- COMMAND [ARGUMENT...]

Runs COMMAND in a fresh container made of IMAGE, and forgets all that it has changed.

IMAGE is a directory with a root file system (what debootstrap makes), a tar archive of one (plain
or packed with gzip, zstd or xz), or an OCI image layout, a directory with a file 'oci-layout'. An
archive or a layout is unpacked once, into $XDG_CACHE_HOME/condroid, for root /var/cache/condroid.
Programs that want the same image at the same time wait for the one that unpacks it. Nothing of an
image is trusted; a digest, a size or a path that is not right is an error.

The container has all namespaces of its own and nothing of the host's but the image. Standard
input, output and error are those of this program.)";

constexpr const char* footer =
    R"(Exit status:
  that of COMMAND; 128 + N when signal N ended it;
  124  the deadline passed, and everything was killed;
  125  the container could not be made, or the arguments are wrong;
  126  COMMAND could not be executed; 127: there is no such program.

Examples:
  condroid-throwaway busybox.tar.gz -- sh -c 'echo hello from $(hostname)'
  condroid-throwaway --put test.sh:/test.sh --deadline 60 /srv/debian -- sh /test.sh
  condroid-throwaway --reference v2 ./layout -- /bin/server --version)";

/// "SOURCE:/target".
bool split(const std::string& word, std::string& source, std::string& target) {
  const std::size_t colon = word.rfind(":/");
  if (colon == std::string::npos || colon == 0) return false;
  source = word.substr(0, colon);
  target = word.substr(colon + 1);
  return true;
}

int status_of(const Error& error) {
  if (error.step != Step::exec) return own_failure;
  return error.is_errno(ENOENT) ? not_found : not_executable;
}

}  // namespace

int main(int argc, char** argv) try {
  std::string path;
  std::vector<std::string> command;
  std::vector<std::string> put;
  std::vector<std::string> env;
  std::string network = "none";
  std::string cache;
  std::string cwd = "/";
  testing::ImageOptions image_options{.pool = 0};
  double deadline = 0;
  std::uint64_t disk = 0;

  CLI::App app{about, "condroid-throwaway"};
  app.footer(footer);
  app.add_option("IMAGE", path, "a directory, an archive or an OCI layout")->required();
  app.add_option("--put", put, "SOURCE:/TARGET, a file of the host that is copied in; repeatable")
      ->type_name("FILE:PATH")
      ->allow_extra_args(false);
  app.add_option("--env", env, "NAME=VALUE; repeatable")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  app.add_option("--cwd", cwd, "where COMMAND begins")->type_name("PATH");
  app.add_option("--network", network,
                 "none: nothing but a loopback; host-less: a cable that nobody else is on")
      ->check(CLI::IsMember({"none", "host-less"}))
      ->capture_default_str();
  app.add_option("--deadline", deadline, "kill everything after so many seconds; 0: never")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--disk", disk, "MiB that may be written; 0: half of the memory")
      ->type_name("MIB")
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("--reference", image_options.reference, "which image of an OCI layout")
      ->type_name("NAME");
  app.add_option("--cache", cache, "where images are unpacked")->type_name("DIR");
  app.prefix_command();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& wrong) {
    const int status = app.exit(wrong);
    return status == 0 ? 0 : own_failure;
  }
  command = app.remaining();
  if (!command.empty() && command.front() == "--") command.erase(command.begin());
  if (command.empty()) {
    fmt::print(stderr, "condroid-throwaway: IMAGE -- COMMAND: there is no COMMAND\n");
    return own_failure;
  }

  image_options.disk = {disk << 20U};
  const testing::Bench bench({.store = {.cache = HostPath(cache)}});
  const testing::Image image(bench, path, image_options);
  std::optional<testing::Network> net;
  if (network == "host-less") net.emplace();
  testing::Sandbox box{image, {.network = net ? &*net : nullptr, .name = "throwaway"}};
  for (const std::string& each : put) {
    std::string source, target;
    if (!split(each, source, target)) {
      fmt::print(stderr, "condroid-throwaway: --put {}: it should be FILE:/PATH\n", each);
      return own_failure;
    }
    box.put(target, HostPath(source));
  }
  auto running =
      box.launch(command, {.env = env, .cwd = GuestPath(cwd), .stdio = Stdio(Stream::inherit)});
  if (!running) {
    fmt::print(stderr, "condroid-throwaway: {}\n", running.error());
    return status_of(running.error());
  }
  const auto wait = [&]() -> Result<std::optional<Exit>> {
    if (deadline > 0)
      return running->wait_for(std::chrono::milliseconds(static_cast<long>(deadline * 1000) + 1));
    auto exit = running->wait();
    if (!exit) return fail(exit);
    return std::optional<Exit>(std::move(*exit));
  };
  const auto exit = wait();
  if (!exit) {
    fmt::print(stderr, "condroid-throwaway: {}\n", exit.error());
    return own_failure;
  }
  if (!*exit) {
    fmt::print(stderr, "condroid-throwaway: the deadline of {} s passed\n", deadline);
    return deadline_passed;
  }
  return (*exit)->shell_status();
} catch (const testing::Failure& failure) {
  fmt::print(stderr, "condroid-throwaway: {}\n", failure.what());
  return own_failure;
}
