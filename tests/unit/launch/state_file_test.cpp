// State files are read as if somebody hostile had written them.
#include "launch/state_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "../../fuzz/host_files_property.hpp"
#include "catch.hpp"
#include "condroid/registry.hpp"
#include "forked.hpp"

namespace {

namespace program = condroid::program;
using condroid::Fd;
using condroid::HostPath;
using condroid::Registry;
using condroid::detail::is_state_file_name;
using condroid::detail::parse_state_entries;
using condroid::detail::parse_state_header;
using condroid::detail::StateFile;
using condroid::test::Forked;

constexpr const char* file_name = "condroid-0123456789ab";

program::ArenaHeader good_header() {
  program::ArenaHeader h{};
  h.magic = program::magic;
  h.version = program::arena_version;
  h.host = 1000;
  h.zygote = 1001;
  std::strcpy(h.runtime, file_name);
  std::strcpy(h.parents[3], "/sys/fs/cgroup/memory");
  return h;
}
program::LiveEntry good_entry() {
  program::LiveEntry e{};
  e.pid = 4321;
  e.born = 5;
  e.cgroups = 8;
  e.detached = 1;
  std::strcpy(e.name, "web.one.17");
  return e;
}
template <class T>
std::span<const char> bytes_of(const T& t) {
  return {reinterpret_cast<const char*>(&t), sizeof t};
}
auto header_of(const program::ArenaHeader& h) { return parse_state_header(bytes_of(h), file_name); }
auto entries_of(const program::LiveEntry& e) { return parse_state_entries(bytes_of(e), 7); }

/// A directory of its own with one state file.
class StateDir {
 public:
  StateDir() {
    REQUIRE(::mkdtemp(path_) != nullptr);
    fd_ = Fd(::open(file().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    REQUIRE(::ftruncate(fd_.get(), program::arena_size) == 0);
  }
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;
  ~StateDir() {
    ::unlink(file().c_str());
    ::rmdir(path_);
  }
  [[nodiscard]] std::string file() const { return fmt::format("{}/{}", path_, file_name); }
  [[nodiscard]] HostPath path() const { return HostPath(path_); }
  template <class T>
  void put(const T& t, std::size_t at) const {
    REQUIRE(::pwrite(fd_.get(), &t, sizeof t, static_cast<off_t>(at)) ==
            static_cast<ssize_t>(sizeof t));
  }
  [[nodiscard]] std::size_t listed() const {
    const auto all = Registry::list(path());
    return all ? all->size() : 1000;
  }
  /// Held by a child, as by a zygote; which is not what the header says it is.
  [[nodiscard]] Forked held() const {
    int pair[2];
    REQUIRE(::pipe2(pair, O_CLOEXEC) == 0);
    const Fd out(pair[0]), in(pair[1]);
    Forked child([&] {
      struct flock whole {};
      whole.l_type = F_WRLCK;
      whole.l_whence = SEEK_SET;
      if (::fcntl(fd_.get(), F_SETLK, &whole) != 0) return 1;
      (void)!::write(in.get(), "x", 1);
      for (;;) ::pause();
    });
    char c = 0;
    REQUIRE(::read(out.get(), &c, 1) == 1);
    return child;
  }

 private:
  char path_[32] = "/tmp/test-state.XXXXXX";
  Fd fd_;
};

}  // namespace

TEST_CASE("a state file's name is exactly what a zygote gives it", "[state]") {
  CHECK(is_state_file_name(file_name));
  for (const char* name :
       {"", "condroid-", "condroid-0123456789a", "condroid-0123456789abc", "condroid-0123456789aB",
        "condroid-0123456789a/", "xcondroid-0123456789ab", "condroid-../../../etc"})
    CHECK_FALSE(is_state_file_name(name));
}

TEST_CASE("the beginning of a state file is believed within its bounds only", "[state]") {
  const auto good = header_of(good_header());
  REQUIRE(good);
  CHECK(good->zygote == 1001);
  CHECK(good->host == 1000);
  CHECK(good->runtime == file_name);
  REQUIRE(good->parents.size() == program::max_hierarchies);
  CHECK(good->parents[3] == "/sys/fs/cgroup/memory");
  CHECK(good->parents[0].empty());

  auto h = good_header();
  CHECK_FALSE(parse_state_header(bytes_of(h).first(sizeof h - 1), file_name));
  CHECK_FALSE(parse_state_header({}, file_name));
  CHECK_FALSE(parse_state_header(bytes_of(h), "condroid-0123456789ac"));
  h.magic ^= 1U;
  CHECK_FALSE(header_of(h));
  h = good_header(), h.version = program::arena_version + 1;
  CHECK_FALSE(header_of(h));
  h = good_header(), h.zygote = -1;
  CHECK_FALSE(header_of(h));
  h = good_header(), h.host = -7;
  CHECK_FALSE(header_of(h));
  h = good_header(), std::memset(h.runtime, 'c', sizeof h.runtime);
  CHECK_FALSE(header_of(h));
  h = good_header();
  for (const char* path :
       {"relative", "/sys/../etc", "/sys/fs/cgroup/.", "/a//b", "/a/", "/a\nb"}) {
    std::memset(h.parents[3], 0, sizeof h.parents[3]);
    std::strcpy(h.parents[3], path);
    REQUIRE(header_of(h));
    INFO(path);
    CHECK(header_of(h)->parents[3].empty());
  }
  std::memset(h.parents[3], '/', sizeof h.parents[3]);
  REQUIRE(header_of(h));
  CHECK(header_of(h)->parents[3].empty());
}

TEST_CASE("an entry of a state file has a name, a number and a process, or is none", "[state]") {
  const auto good = entries_of(good_entry());
  REQUIRE(good.size() == 1);
  CHECK(good[0].name == "web.one");
  CHECK(good[0].number == "17");
  CHECK(good[0].pid == 4321);
  CHECK(good[0].place == 7);
  CHECK(good[0].cgroups == 8);
  CHECK(good[0].detached);
  for (const int pid : {0, 1, -1, -2147483647 - 1}) {
    auto e = good_entry();
    e.pid = pid;
    CHECK(entries_of(e).empty());
  }
  for (const char* name :
       {"", ".", "web", "web.", ".1", "-x.1", "..1", "web.1a", "web.-1", "we b.1", "we/b.1",
        "../../x.1", "web\x1b.1", "web.123456789012345678901", "w.1@x"}) {
    auto e = good_entry();
    std::memset(e.name, 0, sizeof e.name);
    std::strcpy(e.name, name);
    INFO(name);
    CHECK(entries_of(e).empty());
  }
  auto e = good_entry();
  std::memset(e.name, 'a', sizeof e.name);
  CHECK(entries_of(e).empty());
  e = good_entry();
  CHECK(parse_state_entries(bytes_of(e).first(sizeof e - 1), 0).empty());
}

TEST_CASE("nothing that is written to a state file gets out of its bounds", "[state]") {
  std::mt19937 random(20260101);
  for (int round = 0; round < 3000; ++round) {
    auto h = good_header();
    std::vector<program::LiveEntry> table(8, good_entry());
    auto* bytes = reinterpret_cast<unsigned char*>(&h);
    for (auto i = random() % 60; i > 0; --i)
      bytes[random() % (random() % 2 == 0 ? 96 : sizeof h)] = static_cast<unsigned char>(random());
    auto* more = reinterpret_cast<unsigned char*>(table.data());
    for (auto i = random() % 400; i > 0; --i)
      more[random() % (table.size() * sizeof table[0])] = static_cast<unsigned char>(random());
    if (const auto header = header_of(h)) {
      CHECK(header->zygote > 0);
      CHECK(header->runtime == file_name);
      for (const auto& parent : header->parents) {
        CHECK((parent.empty() || parent.front() == '/'));
        CHECK(parent.find("/..") == parent.npos);
      }
    }
    const std::span<const char> part(reinterpret_cast<const char*>(table.data()),
                                     random() % (table.size() * sizeof table[0] + 1));
    const auto entries = parse_state_entries(part, 0);
    CHECK(entries.size() <= part.size() / sizeof table[0]);
    for (const auto& e : entries) {
      CHECK(e.pid > 1);
      CHECK(e.place < table.size());
      CHECK(e.name.find('/') == e.name.npos);
      CHECK_FALSE(e.number.empty());
    }
  }
}

TEST_CASE("a state file that no living zygote holds lists nothing", "[state]") {
  const StateDir dir;
  dir.put(good_header(), 0);
  auto e = good_entry();
  e.pid = ::getpid();
  dir.put(e, program::arena_live);
  CHECK(dir.listed() == 0);
  CHECK(Registry::list(HostPath("/tmp/no/such/directory"))->empty());
}

TEST_CASE("a state file of a living holder lists no process but the zygote's own children",
          "[state]") {
  const StateDir dir;
  const Forked child = dir.held();
  auto h = good_header();
  h.zygote = child.pid();
  dir.put(h, 0);
  // Ours, and init: living processes, and no children of that one.
  auto e = good_entry();
  e.pid = ::getpid();
  dir.put(e, program::arena_live);
  e.pid = ::getppid();
  dir.put(e, program::arena_live + 5 * sizeof e);
  CHECK(dir.listed() == 0);
  const auto none = Registry::find("web.one", dir.path());
  REQUIRE_FALSE(none);
  CHECK(none.error().is_errno(ESRCH));
  // What the header says of the holder is compared with the kernel's word.
  const Fd d(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  CHECK(StateFile::open(d.get(), file_name));
  h.zygote = ::getpid();
  dir.put(h, 0);
  CHECK_FALSE(StateFile::open(d.get(), file_name));
}

TEST_CASE("a state file or directory that others may write to is not read", "[state]") {
  const StateDir dir;
  const Forked child = dir.held();
  auto h = good_header();
  h.zygote = child.pid();
  dir.put(h, 0);
  const Fd d(::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(StateFile::open(d.get(), file_name));
  REQUIRE(::chmod(dir.file().c_str(), 0620) == 0);
  CHECK_FALSE(StateFile::open(d.get(), file_name));
  REQUIRE(::chmod(dir.file().c_str(), 0600) == 0);
  REQUIRE(::chmod(dir.path().c_str(), 0702) == 0);
  const auto refused = Registry::list(dir.path());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().is_errno(EPERM));
  REQUIRE(::chmod(dir.path().c_str(), 0700) == 0);
  // Of another size.
  REQUIRE(::truncate(dir.file().c_str(), program::arena_size - 1) == 0);
  CHECK_FALSE(StateFile::open(d.get(), file_name));
}

TEST_CASE("the seed corpus of the fuzzer of files holds", "[launch]") {
  const auto folder = std::filesystem::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "host_files";
  std::size_t files = 0, states = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    INFO(entry.path());
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    CHECK(host_files_property::broken(bytes) == "");
    states += parse_state_header({bytes.data(), bytes.size()}, file_name) ? 1 : 0;
    ++files;
  }
  CHECK(files >= 10);
  CHECK(states >= 1);
}
