// A host for tests that kill it, its zygote and its containers: it does what the verb says, tells
// what there is, and waits.
//
//   host many N        launches N containers one after the other; fails if descriptors pile up
//   host forked        a container, and a forked child that holds all of the host's descriptors
//   host detach wait   a detached container, and a host that stays
//   host detach end    a detached container, and a host that ends; fails if it waits for that one
//   host busy          launches from four threads for ever
//
// When it is ready it prints "ready ZYGOTE CONTAINER OTHER" (processes, 0 for none) on a line.
#include <dirent.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <condroid/builder.hpp>
#include <condroid/runtime.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace condroid;

namespace {

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "host: {}\n", why);
  std::exit(1);
}

template <class T>
T need(Result<T> result) {
  if (!result) give_up(to_string(result.error()));
  return std::move(*result);
}

Spec command(std::vector<std::string> argv) {
  return ContainerBuilder{"deaths"}.exec(std::move(argv)).spec();
}

/// How many a process has open; 0 where this user may not look, which is at the zygote of an
/// unprivileged one.
std::size_t descriptors(std::string_view process) {
  std::size_t n = 0;
  DIR* d = ::opendir(fmt::format("/proc/{}/fd", process).c_str());
  if (d == nullptr && errno == EACCES) return 0;
  if (d == nullptr) give_up("no /proc to look into");
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n;
}

void ready(const Runtime& runtime, const Container* box, pid_t other = 0) {
  fmt::print("ready {} {} {}\n", runtime.zygote_pid().value, box != nullptr ? box->pid().value : 0,
             other);
  std::fflush(stdout);
}

void launch_and_wait(const Runtime& runtime, const Spec& spec) {
  Container box = need(runtime.launch(spec));
  const Exit exit = need(box.wait());
  if (!exit.success() || !exit.cleanup_errors.empty()) give_up(to_string(exit));
}

int many(int count) {
  const Runtime runtime = need(Runtime::open());
  const Spec spec = command({"/bin/true"});
  launch_and_wait(runtime, spec);  // whatever is kept is there after the first
  const std::string zygote = fmt::format("{}", runtime.zygote_pid().value);
  // The zygote tells an end before it closes the last descriptor of it.
  const auto pause = std::chrono::milliseconds(50);
  std::this_thread::sleep_for(pause);
  const std::size_t ours = descriptors("self"), theirs = descriptors(zygote);
  for (int i = 1; i < count; ++i) launch_and_wait(runtime, spec);
  std::this_thread::sleep_for(pause);
  if (descriptors("self") != ours || descriptors(zygote) != theirs)
    give_up(fmt::format("descriptors: {} before, {} after; of the zygote {} and {}", ours,
                        descriptors("self"), theirs, descriptors(zygote)));
  return 0;
}

int forked() {
  const Runtime runtime = need(Runtime::open());
  Container box = need(runtime.launch(command({"/bin/sleep", "1000"})));
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0)
    for (;;) ::pause();
  ready(runtime, &box, child);
  fmt::print("{}\n", need(box.wait()));
  return 0;
}

int detach(bool wait) {
  pid_t pid = 0;
  const auto begin = std::chrono::steady_clock::now();
  {
    const Runtime runtime = need(Runtime::open());
    Container box = need(runtime.launch(command({"/bin/sleep", "1000"})));
    if (auto ok = box.detach(); !ok) give_up(to_string(ok.error()));
    pid = box.pid().value;
    ready(runtime, &box);
    while (wait) ::pause();
  }
  if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(2))
    give_up("the Runtime's end waited for a detached container");
  if (::kill(pid, 0) != 0) give_up("the detached container did not live on");
  return 0;
}

int busy() {
  const Runtime runtime = need(Runtime::open());
  const Spec spec = command({"/bin/true"});
  launch_and_wait(runtime, spec);
  ready(runtime, nullptr);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (;;) {
        // The zygote is killed meanwhile: that is an error or a lost container, and then a new one.
        auto box = runtime.launch(spec);
        if (box) (void)box->wait();
      }
    });
  for (auto& t : threads) t.join();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  const std::string_view more = argc > 2 ? argv[2] : "";
  if (verb == "many") {
    int count = 0;
    (void)std::from_chars(more.data(), more.data() + more.size(), count);
    return many(count);
  }
  if (verb == "forked") return forked();
  if (verb == "detach") return detach(more == "wait");
  if (verb == "busy") return busy();
  fmt::print(stderr, "host: no such verb\n");
  return 2;
}
