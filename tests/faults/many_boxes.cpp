// Throwaway containers one after the other, as a test suite has them:
//
//   many-boxes N PROGRAM    PROGRAM is static, and exits with 0 for the arguments `exit 0`
//
// Every other one comes from a pool. Fails when one does, and when this program or its zygote has
// more descriptors, memory, children or threads in the end than after the first tenth. What they
// leave on the machine is leakwatch.py's to see.
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <condroid/testing.hpp>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>

namespace {

namespace testing = condroid::testing;

struct Holdings {
  std::size_t descriptors = 0;
  std::size_t threads = 0;
  std::size_t children = 0;
  std::uint64_t kib = 0;
};

std::size_t entries_of(const std::string& path) {
  std::size_t n = 0;
  DIR* const d = ::opendir(path.c_str());
  if (d == nullptr) throw testing::Failure(path + ": cannot be listed");
  while (::readdir(d) != nullptr) ++n;
  ::closedir(d);
  return n - 2;  // . and ..
}

Holdings holdings_of(const std::string& process) {
  const std::string proc = "/proc/" + process;
  Holdings now;
  now.descriptors = entries_of(proc + "/fd");
  now.threads = entries_of(proc + "/task");
  std::ifstream children(proc + "/task/" +
                         (process == "self" ? std::to_string(::getpid()) : process) + "/children");
  for (std::string pid; children >> pid;) ++now.children;
  // Not what of files is in memory: that is the kernel's to say.
  constexpr std::string_view wanted = "Anonymous:";
  std::ifstream memory(proc + "/smaps_rollup");
  for (std::string line; std::getline(memory, line);)
    if (line.starts_with(wanted))
      now.kib = std::strtoull(line.c_str() + wanted.size(), nullptr, 10);
  if (now.kib == 0) throw testing::Failure(proc + "/smaps_rollup: nothing anonymous");
  return now;
}

/// A root with the program and nothing else.
std::string make_root(const std::string& program) {
  char name[] = "/tmp/condroid-many.XXXXXX";
  if (::mkdtemp(name) == nullptr) throw testing::Failure("mkdtemp");
  const std::string root = name;
  for (const char* directory : {"", "/dev", "/proc", "/sys"}) {
    ::mkdir((root + directory).c_str(), 0755);
    ::chmod((root + directory).c_str(), 0755);
  }
  std::ofstream(root + "/program") << std::ifstream(program).rdbuf();
  ::chmod((root + "/program").c_str(), 0755);
  return root;
}

void remove_root(const std::string& root) {
  ::unlink((root + "/program").c_str());
  for (const char* directory : {"/dev", "/proc", "/sys", ""}) ::rmdir((root + directory).c_str());
  for (const char* directory : {"/roots", "/work", "/locks", "/seen", ""})
    ::rmdir((root + ".cache" + directory).c_str());
}

void more_than(const char* who, const Holdings& before, const Holdings& after) {
  // What the allocator keeps differs a little; a hundred bytes for each box would be a megabyte in
  // ten thousand.
  constexpr std::uint64_t some = 512;
  std::printf(
      "%s: %zu descriptors, %zu threads, %zu children, %llu KiB; then %zu, %zu, %zu, %llu\n", who,
      before.descriptors, before.threads, before.children,
      static_cast<unsigned long long>(before.kib), after.descriptors, after.threads, after.children,
      static_cast<unsigned long long>(after.kib));
  if (after.descriptors > before.descriptors || after.threads > before.threads ||
      after.children > before.children || after.kib > before.kib + some)
    throw testing::Failure(std::string(who) + " has more than before");
}

void many(int count, const std::string& root) {
  const testing::Bench bench{{.store = {.cache = condroid::HostPath(root + ".cache")}}};
  const testing::Image launched{bench, root, {.pool = 0}};
  const testing::Image pooled{bench, root, {.pool = 4}};
  const std::string zygote = std::to_string(bench.runtime().zygote_pid().value);
  const auto box = [&](int i) {
    testing::Sandbox one{i % 2 == 0 ? launched : pooled};
    one.expect_exit(0, {"/program", "exit", "0"});
  };
  const auto quiet = [&] {
    pooled.warm();
    // The zygote tells an end before it closes the last descriptor of it.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ::malloc_trim(0);
  };
  const int first = count / 10;
  for (int i = 0; i < first; ++i) box(i);
  quiet();
  const Holdings ours = holdings_of("self"), theirs = holdings_of(zygote);
  for (int i = first; i < count; ++i) box(i);
  quiet();
  more_than("the program", ours, holdings_of("self"));
  more_than("its zygote", theirs, holdings_of(zygote));
  std::printf("%d boxes\n", count);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 || std::atoi(argv[1]) < 10) {
    std::fprintf(stderr, "usage: many-boxes N PROGRAM\n");
    return 2;
  }
  std::string root;
  try {
    root = make_root(argv[2]);
    many(std::atoi(argv[1]), root);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "many-boxes: %s\n", e.what());
    if (!root.empty()) remove_root(root);
    return 1;
  }
  remove_root(root);
  return 0;
}
