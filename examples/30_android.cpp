// Android in a container: a device is data, its boot a ladder of events, its end an orderly one.
// Without an image there is a shell that logs what init does.
#include <poll.h>

#include <chrono>
#include <condroid/android/device.hpp>
#include <condroid/android/kmsg.hpp>
#include <condroid/android/launch.hpp>
#include <condroid/condroid.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

using namespace condroid;
namespace fs = std::filesystem;

namespace {

constexpr const char* small_init = R"sh(#!/bin/sh
PATH=/bin
trap 'exit 0' TERM
log() { echo "<6>init: $1" > /dev/kmsg; }
log 'init second stage started!'
log "processing action (early-init) for $(cat /proc/cmdline)"
log "starting service 'servicemanager'..."
log "starting service 'zygote'..."
log 'processing action (sys.boot_completed=1)'
while :; do sleep 1000 & wait; done
)sh";

/// What there is when no image is named. Empty, and it was said, without.
HostPath small_system(const fs::path& place) {
  std::error_code error;
  for (const char* name : {"bin", "data", "dev", "mnt_extra", "proc", "run", "sys", "tmp", "var"})
    if (!error) fs::create_directories(place / "system" / name, error);
  for (const char* name : {"busybox", "sh", "cat", "sleep"})
    if (!error) fs::copy_file("/bin/busybox", place / "system/bin" / name, error);
  if (!(std::ofstream(place / "system/init") << small_init))
    error = std::make_error_code(std::errc::io_error);
  if (!error) fs::permissions(place / "system/init", fs::perms(0755), error);
  if (error) fmt::print(stderr, "{}: {}\n", place.string(), error.message());
  return HostPath(error ? "" : (place / "system").string());
}

Result<Exit> run(const android::Part& system, android::Binder binder) {
  auto runtime = Runtime::open();
  if (!runtime) return fail(runtime);
  auto facts = runtime->facts();
  if (!facts) return fail(facts);
  auto log = android::KmsgLog::open();
  if (!log) return fail(log);

  const android::Device phone{.name = "phone",
                              .system = system,
                              .androidboot = {{"hardware", "phone"}, {"serialno", "0001"}},
                              .binder = binder,
                              .kmsg = log->path(),
                              .resources = {.pids_max = 4096}};
  auto ready = android::prepare(phone, *facts);  // looks into images, takes data and binder nodes
  if (!ready) return fail(ready);
  log->begin(std::chrono::steady_clock::now());
  auto box = android::launch(*runtime, *ready);
  if (!box) return fail(box);

  android::BootLog boot;
  while (!boot.reached(android::Stage::boot_completed)) {
    pollfd waiters[] = {{log->poll_fd().get(), POLLIN, 0}, {box->poll_fd().get(), POLLIN, 0}};
    ::poll(waiters, 2, -1);
    auto events = log->read(boot);
    if (!events) return fail(events);
    for (const auto& e : *events)
      fmt::print("{:6.3f} s  {}\n", std::chrono::duration<double>(e.at).count(),
                 android::to_string(e.stage));
    auto ended = box->step();
    if (!ended) return fail(ended);
    if (*ended) break;
  }
  for (const auto& a : boot.advice()) fmt::print("{}: {}; hint: {}\n", a.line, a.what, a.hint);
  return box->stop();  // SIGTERM, which init takes for an orderly end
}

}  // namespace

int main(int argc, char** argv) {
  char place[] = "/tmp/condroid-android.XXXXXX";
  if (::mkdtemp(place) == nullptr) return std::perror(place), 1;
  android::Part system;
  if (argc > 1)
    system = {.image = HostPath(fs::absolute(argv[1]).string()), .overlay = true};
  else
    system = {.directory = small_system(place)};
  bool fine = !system.empty();
  if (fine) {
    const auto ended = run(system, argc > 1 ? android::Binder::automatic : android::Binder::none);
    if (ended)
      fmt::print("{}\n", *ended);
    else
      fmt::print(stderr, "{}\n", ended.error());
    fine = ended && ended->success();
  }
  std::error_code error;
  fs::remove_all(place, error);
  return fine && !error ? 0 : 1;
}
