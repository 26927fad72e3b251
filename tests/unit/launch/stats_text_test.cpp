// What files of cgroups say, of both versions, as the kernel writes them and as it never would; and
// a reader over such files, which does not allocate.
#include "launch/stats_text.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <new>
#include <string>

#include "catch.hpp"
#include "condroid/sys/cgroup.hpp"
#include "condroid/watch.hpp"

using condroid::CgroupDir;
using condroid::CgroupHierarchy;
using condroid::Errc;
using condroid::Stats;
using condroid::StatsReader;
using condroid::detail::Counter;
using condroid::detail::number_of;
using condroid::detail::take_counter;
using namespace std::chrono_literals;
using namespace condroid::literals;

namespace {

thread_local std::size_t allocations = 0;

}  // namespace

// Not inline: g++ would see a pointer of new go to free(3).
__attribute__((noinline)) void* operator new(std::size_t size) {
  ++allocations;
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}
__attribute__((noinline)) void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size == 0 ? 1 : size);
}
__attribute__((noinline)) void operator delete(void* p) noexcept { std::free(p); }
__attribute__((noinline)) void operator delete(void* p, const std::nothrow_t&) noexcept {
  std::free(p);
}
__attribute__((noinline)) void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

bool near(double a, double b) { return std::abs(a - b) < 1e-9; }

Stats of(Counter counter, std::string_view text) {
  Stats s;
  take_counter(counter, text, s);
  return s;
}

/// A directory that looks like a cgroup to who reads its files.
class Files {
 public:
  explicit Files(const std::map<std::string, std::string>& files, bool v2) : v2_(v2) {
    char name[] = "/tmp/test-counters.XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
    for (const auto& [file, text] : files) {
      std::ofstream(path_ + "/" + file) << text;
      files_.push_back(path_ + "/" + file);
    }
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() {
    for (const auto& f : files_) (void)::unlink(f.c_str());
    (void)::rmdir(path_.c_str());
  }
  [[nodiscard]] CgroupDir dir() const {
    auto opened = CgroupDir::open(CgroupHierarchy{.v2 = v2_, .mount_point = path_}, "/");
    REQUIRE(opened);
    return std::move(*opened);
  }

 private:
  bool v2_;
  std::string path_ = {};
  std::vector<std::string> files_ = {};
};

const std::map<std::string, std::string> v2_files = {
    {"cpu.stat",
     "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\nnr_periods 10\nnr_throttled 4\n"
     "throttled_usec 700\nnr_bursts 0\nburst_usec 0\n"},
    {"memory.current", "1048576\n"},
    {"memory.peak", "2097152\n"},
    {"memory.swap.current", "4096\n"},
    {"memory.events", "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n"},
    {"io.stat",
     "8:0 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=3 dios=4\n"
     "254:16 rbytes=1000 wbytes=2000 rios=10 wios=20 dbytes=30 dios=40\n"},
    {"pids.current", "7\n"},
    {"pids.peak", "9\n"},
    {"pids.events", "max 11\n"},
    {"cpu.pressure",
     "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n"
     "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"},
    {"memory.pressure",
     "some avg10=100.00 avg60=99.99 avg300=0.07 total=1\n"
     "full avg10=2.00 avg60=1.00 avg300=0.50 total=2\n"},
    {"io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=3\n"},
};
const std::map<std::string, std::string> v1_files = {
    {"cpuacct.usage", "5000999\n"},
    {"cpuacct.usage_user", "3000000\n"},
    {"cpuacct.usage_sys", "2000000\n"},
    {"cpu.stat", "nr_periods 10\nnr_throttled 4\nthrottled_time 700000\n"},
    {"memory.usage_in_bytes", "1048576\n"},
    {"memory.max_usage_in_bytes", "2097152\n"},
    {"memory.memsw.usage_in_bytes", "1052672\n"},
    {"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"},
    {"blkio.throttle.io_service_bytes_recursive",
     "8:0 Read 100\n8:0 Write 200\n8:0 Sync 300\n8:0 Async 0\n8:0 Discard 3\n8:0 Total 303\n"
     "254:16 Read 1000\n254:16 Write 2000\n254:16 Discard 30\nTotal 3333\n"},
    {"blkio.throttle.io_serviced_recursive",
     "8:0 Read 1\n8:0 Write 2\n8:0 Discard 4\n8:0 Total 7\n"
     "254:16 Read 10\n254:16 Write 20\n254:16 Discard 40\nTotal 77\n"},
    {"pids.current", "7\n"},
    {"pids.peak", "9\n"},
    {"pids.events", "max 11\n"},
};

void check_common(const Stats& s) {
  REQUIRE(s.cpu);
  CHECK(s.cpu->total == 5000us);
  CHECK(s.cpu->user == 3000us);
  CHECK(s.cpu->system == 2000us);
  REQUIRE(s.throttling);
  CHECK(s.throttling->periods == 10);
  CHECK(s.throttling->throttled == 4);
  CHECK(s.throttling->stopped == 700us);
  REQUIRE(s.memory);
  CHECK(s.memory->current == 1_MiB);
  CHECK(s.memory->peak == 2_MiB);
  CHECK(s.memory->swap == 4_KiB);
  CHECK(s.memory->oom_kills == 4U);
  REQUIRE(s.io);
  REQUIRE(s.io->devices().size() == 2);
  CHECK(s.io->devices()[0].major == 8);
  CHECK(s.io->devices()[1].minor == 16);
  CHECK(s.io->devices()[1].count == condroid::IoCount{{1000}, {2000}, {30}, 10, 20, 40});
  CHECK(s.io->total == condroid::IoCount{{1100}, {2200}, {33}, 11, 22, 44});
  REQUIRE(s.pids);
  CHECK(s.pids->current == 7);
  CHECK(s.pids->peak == 9U);
  CHECK(s.pids->limit_hits == 11U);
}

}  // namespace

TEST_CASE("the files of v2 and those of v1 say the same", "[launch]") {
  const bool v2 = GENERATE(true, false);
  const Files files(v2 ? v2_files : v1_files, v2);
  const CgroupDir dirs[] = {files.dir()};
  const auto reader = StatsReader::open(dirs);
  REQUIRE(reader);
  CHECK(reader->files() == (v2 ? v2_files : v1_files).size());
  Stats s;
  REQUIRE(reader->read(s).value());
  check_common(s);
  CHECK(s.taken.time_since_epoch().count() > 0);
  CHECK(s.cpu_pressure.has_value() == v2);
  CHECK(s.memory_pressure.has_value() == v2);
  CHECK(s.io_pressure.has_value() == v2);
}

TEST_CASE("where both versions count, what is counted twice is read once", "[launch]") {
  const Files unified({{"cpu.stat", "usage_usec 7\nuser_usec 4\nsystem_usec 3\n"},
                       {"cpu.pressure", v2_files.at("cpu.pressure")}},
                      true);
  const Files old(v1_files, false);
  const CgroupDir dirs[] = {old.dir(), unified.dir()};
  const auto reader = StatsReader::open(dirs);
  REQUIRE(reader);
  CHECK(reader->files() == v1_files.size() - 3 + 2);
  Stats s;
  REQUIRE(reader->read(s).value());
  CHECK(s.cpu->total == 7us);
  CHECK(s.throttling->stopped == 700us);
  CHECK(s.memory->current == 1_MiB);
  CHECK(s.cpu_pressure->some.total == 12345us);
}

TEST_CASE("a cgroup that counts nothing is refused, and an empty reader has ended", "[launch]") {
  const Files files({{"cgroup.procs", ""}}, true);
  const CgroupDir dirs[] = {files.dir()};
  const auto refused = StatsReader::open(dirs);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().is(Errc::unsupported));
  CHECK(refused.error().hint.find("everywhere") != std::string::npos);
  CHECK_FALSE(StatsReader::open({}));
  Stats s;
  CHECK_FALSE(StatsReader{}.read(s).value());
}

TEST_CASE("reading again allocates nothing", "[launch]") {
  const Files unified(v2_files, true);
  const Files old(v1_files, false);
  const CgroupDir dirs[] = {old.dir(), unified.dir()};
  const auto reader = StatsReader::open(dirs);
  REQUIRE(reader);
  Stats s;
  bool good = true;
  const std::size_t before = allocations;
  for (int i = 0; i < 100; ++i) {
    const auto there = reader->read(s);
    good = good && there && *there;
  }
  const std::size_t after = allocations;
  CHECK(good);
  CHECK(before > 0);  // it does count
  CHECK(after == before);
}

TEST_CASE("pressure is percents and microseconds", "[launch]") {
  const Stats s = of(Counter::memory_pressure, v2_files.at("memory.pressure"));
  REQUIRE(s.memory_pressure);
  CHECK(near(s.memory_pressure->some.avg10, 100));
  CHECK(near(s.memory_pressure->some.avg60, 99.99));
  CHECK(near(s.memory_pressure->some.avg300, 0.07));
  REQUIRE(s.memory_pressure->full);
  CHECK(near(s.memory_pressure->full->avg10, 2));
  CHECK(s.memory_pressure->full->total == 2us);
  // cpu had no second line before Linux 5.13.
  CHECK_FALSE(of(Counter::io_pressure, v2_files.at("io.pressure")).io_pressure->full);
}

TEST_CASE("what no kernel writes is left out", "[launch]") {
  for (const std::string_view odd : {"",
                                     "\n",
                                     " ",
                                     "garbage",
                                     "usage_usec",
                                     "usage_usec \n",
                                     "usage_usec x\n",
                                     "usage_usec -1\n",
                                     "usage_usec 99999999999999999999999\n",
                                     "some\n",
                                     "some avg10\n",
                                     "8:0\n",
                                     "8:\n",
                                     ":0 a=1\n",
                                     "8:0 \n",
                                     "x:y rbytes=1\n",
                                     "max\n",
                                     "max max\n",
                                     "=\n",
                                     "\n\n\n",
                                     "8:0 Read\n",
                                     "8:0 Read x\n",
                                     "-5\n",
                                     "5 6\n",
                                     "99999999999:1 rbytes=1\n"})
    for (int i = 0; i < static_cast<int>(Counter::count_); ++i) {
      INFO("'" << odd << "' in " << condroid::detail::file_of(static_cast<Counter>(i)).name);
      const Stats s = of(static_cast<Counter>(i), odd);
      CHECK_FALSE(s.cpu);
      CHECK_FALSE(s.throttling);
      CHECK_FALSE(s.memory);
      CHECK_FALSE(s.pids);
      if (s.io) CHECK(s.io->total == condroid::IoCount{});
      if (s.memory_pressure) CHECK(s.memory_pressure->some == condroid::Pressure::Line{});
    }
  // Without the last newline, and with keys that are new.
  CHECK(of(Counter::memory_current, "12").memory->current == 12_B);
  CHECK(of(Counter::cpu_stat, "news 1\nusage_usec 5").cpu->total == 5us);
  CHECK(of(Counter::io_stat, "8:0 rbytes=5 cost.usage=3\n").io->total.read == 5_B);
  CHECK(of(Counter::cpu_stat, "usage_usec 18446744073709551615\n").cpu->total ==
        std::chrono::microseconds::max());
  // v1: less than the memory alone, for it was read later.
  Stats s = of(Counter::memory_usage, "100\n");
  take_counter(Counter::memory_and_swap, "60\n", s);
  CHECK(s.memory->swap == 0_B);
}

TEST_CASE("more devices than have a place are in the total", "[launch]") {
  std::string text;
  for (int i = 0; i < 40; ++i) text += fmt::format("8:{} rbytes=10 wbytes=1 rios=1 wios=1\n", i);
  const Stats s = of(Counter::io_stat, text);
  REQUIRE(s.io);
  CHECK(s.io->devices().size() == s.io->list.size());
  CHECK(s.io->total.read == 400_B);
}

TEST_CASE("a number is found by the whole of its key", "[launch]") {
  CHECK(number_of("oom 1\noom_kill 2\n", "oom") == 1U);
  CHECK(number_of("oom 1\noom_kill 2\n", "oom_kill") == 2U);
  CHECK_FALSE(number_of("oom_kill 2\n", "oom"));
  CHECK_FALSE(number_of("", "oom"));
}

TEST_CASE("each event has words of its own", "[launch]") {
  using condroid::WatchEvent;
  std::map<std::string_view, int> words;
  for (int k = 0; k <= WatchEvent::ended; ++k) ++words[to_string(static_cast<WatchEvent::Kind>(k))];
  CHECK(words.size() == WatchEvent::ended + 1);
  CHECK_FALSE(words.contains("?"));
  CHECK(to_string(static_cast<WatchEvent::Kind>(99)) == "?");
}
