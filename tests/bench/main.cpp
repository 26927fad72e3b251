// condroid-bench: how fast condroid launches containers, against the bare system calls (the floor)
// and against other programs that make the same container; and what live containers cost.
// Everything that is compared is measured in one run, in turns, so that the drift of the machine is
// in all of it alike.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "bench.hpp"
#include "host_worker.hpp"

namespace {

constexpr const char* usage =
    "usage: condroid-bench [options]\n"
    "  --quick            fewer samples, under a minute\n"
    "  --json FILE        write the result as JSON, too\n"
    "  --strict           a missed target fails the run\n"
    "  --patience SECONDS spent in all on waiting for moments in which nothing else runs (default: "
    "300)\n"
    "  --section NAME     only this section; may be repeated: same, launch, isolation, network, "
    "lxc, host, rate, commands, live, measures, text, control, calls, many, crowd, take, attach, "
    "sustain, harness, android\n"
    "  --floor PATH       condroid-bench-floor       (default: beside this program)\n"
    "  --payload PATH     condroid-bench-true, -pause, -crowd, -clock (default: beside this "
    "program)\n"
    "  --condroid-run PATH                            (default: $CONDROID_RUN)\n"
    "  --lxc-worker PATH  condroid-bench-lxc         (default: beside this program)\n"
    "  --liblxc-worker PATH condroid-bench-liblxc    (default: beside this program)\n"
    "  --lxc-programs DIR lxc-start and lxc-info     (default: $CONDROID_LXC_PROGRAMS)\n"
    "  --box-worker PATH  condroid-bench-boxes       (default: beside this program)\n"
    "  --device-worker PATH condroid-bench-devices   (default: beside this program)\n"
    "  --device-init PATH condroid-bench-init        (default: beside this program)\n"
    "A row that cannot be measured fails the run: exit status 1. Needs root.\n";

std::string own_directory() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  const std::string self(path, length > 0 ? static_cast<std::size_t>(length) : 0);
  return self.substr(0, self.rfind('/'));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--host-worker") return bench::serve_host_worker();

  bench::Options options;
  options.floor = own_directory() + "/condroid-bench-floor";
  options.lxc_worker = own_directory() + "/condroid-bench-lxc";
  options.liblxc_worker = own_directory() + "/condroid-bench-liblxc";
  options.box_worker = own_directory() + "/condroid-bench-boxes";
  options.device_worker = own_directory() + "/condroid-bench-devices";
  options.device_init = own_directory() + "/condroid-bench-init";
  if (const char* there = std::getenv("CONDROID_LXC_PROGRAMS"); there != nullptr)
    options.lxc_programs = there;
  if (const char* run = std::getenv("CONDROID_RUN"); run != nullptr) options.condroid_run = run;
  std::vector<std::string> payloads;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 < argc) return argv[++i];
      std::fprintf(stderr, "condroid-bench: %s needs a value\n%s", option.c_str(), usage);
      std::exit(2);
    };
    if (option == "--quick") {
      options.quick = true;
    } else if (option == "--strict") {
      options.strict = true;
    } else if (option == "--patience") {
      options.patience = std::chrono::seconds(std::strtol(value().c_str(), nullptr, 10));
    } else if (option == "--json") {
      options.json = value();
    } else if (option == "--section") {
      options.sections.push_back(value());
    } else if (option == "--floor") {
      options.floor = value();
    } else if (option == "--payload") {
      payloads.push_back(value());
    } else if (option == "--condroid-run") {
      options.condroid_run = value();
    } else if (option == "--lxc-worker") {
      options.lxc_worker = value();
    } else if (option == "--liblxc-worker") {
      options.liblxc_worker = value();
    } else if (option == "--lxc-programs") {
      options.lxc_programs = value();
    } else if (option == "--box-worker") {
      options.box_worker = value();
    } else if (option == "--device-worker") {
      options.device_worker = value();
    } else if (option == "--device-init") {
      options.device_init = value();
    } else {
      std::fprintf(stderr, "%s", usage);
      return option == "--help" ? 0 : 2;
    }
  }
  if (payloads.empty())
    payloads = {own_directory() + "/condroid-bench-true", own_directory() + "/condroid-bench-pause",
                own_directory() + "/condroid-bench-crowd",
                own_directory() + "/condroid-bench-clock"};
  options.payloads = payloads;
  if (::geteuid() != 0) {
    std::fprintf(stderr, "condroid-bench: needs root, as the floor does\n");
    return 77;
  }
  return bench::run_all(options);
}
