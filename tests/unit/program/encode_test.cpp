#include "program/encode.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "../../fuzz/program_property.hpp"
#include "catch.hpp"
#include "child_run.hpp"

namespace {

using namespace condroid;
using namespace condroid::test;
using program::Code;
using program::Header;
using program::Rec;
using program::Str;

using Bytes = std::vector<std::uint64_t>;  // aligned as a program is

struct View {
  Header& header;
  Rec* recs;
  char* blob;
};
View view(detail::Program& p) {
  auto* bytes = reinterpret_cast<char*>(p.words.data());
  auto& header = p.header();
  return {header, reinterpret_cast<Rec*>(bytes + sizeof(Header)), bytes + header.blob};
}
bool valid(detail::Program& p) {
  return program::Interpreter<RecordingSystem>::valid(p.header(), p.size);
}

detail::Program finished(const detail::Encoder& encoder) {
  auto program = encoder.finish(program::no_op);
  REQUIRE(program);
  return std::move(*program);
}
/// One instruction and a command behind it.
detail::Program with(const std::function<void(detail::Encoder&)>& add) {
  detail::Encoder encoder;
  add(encoder);
  encoder.add(op::Exec{.paths = {"/bin/true"}, .argv = {"true"}, .env = {"A=1"}}, 7);
  return finished(encoder);
}

std::string_view text_of(const View& v, const Str& s) { return {v.blob + s.offset, s.size}; }

}  // namespace

TEST_CASE("a program is header, records and blob, and passes the child's check", "[program]") {
  for (const Sample& sample : golden_plans()) {
    INFO(sample.name);
    auto program = encode(sample.plan);
    const View v = view(program);
    CHECK(v.header.magic == program::magic);
    CHECK(v.header.total == program.size);
    CHECK(v.header.blob == sizeof(Header) + v.header.count * sizeof(Rec));
    CHECK(v.header.blob + v.header.blob_size == program.size);
    CHECK(v.header.stop_before == program::no_op);
    CHECK(v.header.passed == passed_slots(sample.plan).size());
    CHECK(program.words.size() == (program.size + 7) / 8);
    CHECK(valid(program));
    // It goes through a socket in one piece and fits into the zygote's room for most.
    CHECK(program.size < program::chunk_size);
  }
}

TEST_CASE("a program has the child's ops in order, each with its index", "[program]") {
  for (const Sample& sample : golden_plans()) {
    INFO(sample.name);
    auto program = encode(sample.plan);
    const View v = view(program);
    std::uint32_t n = 0;
    for (std::size_t i = 0; i < sample.plan.ops.size(); ++i) {
      if (actor_of(sample.plan.ops[i]) != op::Actor::child) continue;
      REQUIRE(n < v.header.count);
      CHECK(v.recs[n++].index == i);
    }
    CHECK(n == v.header.count);
  }
}

TEST_CASE("passed descriptors are named in their order", "[program]") {
  const Plan& plan = golden_plan("limits_v1");
  auto program = encode(plan);
  const View v = view(program);
  const auto slots = passed_slots(plan);
  REQUIRE(slots.size() > 5);
  for (std::size_t i = 0; i < slots.size(); ++i) CHECK(v.header.slots[i] == slots[i].number);
  for (std::size_t i = slots.size(); i < 256; ++i) CHECK(v.header.slots[i] == -1);
}

TEST_CASE("operands are where the instruction says", "[program]") {
  const op::MountOp mount{.source = op::MountOp::filesystem,
                          .what = "overlay",
                          .fs_source = "none",
                          .options = {"lowerdir=/a b", "", "index=off"},
                          .cwd = {3},
                          .flags = MountFlag::nodev | MountFlag::noexec,
                          .propagation = Propagation::private_,
                          .base = {4},
                          .target = "/o",
                          .create = false,
                          .follow_links = true,
                          .optional = true,
                          .to = {255}};
  auto program = with([&](detail::Encoder& e) { e.add(mount, 3); });
  const View v = view(program);
  const Rec& r = v.recs[0];
  CHECK(r.code == Code::mount);
  CHECK(r.index == 3);
  CHECK(r.flags == (program::mount_fs | program::mount_at_target | program::mount_follow |
                    program::mount_optional));
  CHECK(r.r[0] == 4);
  CHECK(r.r[1] == -1);
  CHECK(r.r[2] == 255);
  CHECK(text_of(v, r.s[0]) == "overlay");
  CHECK(text_of(v, r.s[1]) == "/o");
  CHECK(text_of(v, r.s[2]) == std::string_view("lowerdir=/a b\0\0index=off\0", 25));
  CHECK(text_of(v, r.s[3]) == "none");
  CHECK(r.n[0] == (kernel::attr_nodev | kernel::attr_noexec));
  CHECK(r.n[1] == kernel::ms_private);
  CHECK(r.n[2] == 3);
  CHECK(r.n[3] == 3);
  CHECK(valid(program));
}

TEST_CASE("a command's strings come back as they went in", "[program]") {
  const op::Exec exec{
      .paths = {"/bin/sh", "/usr/bin/sh"}, .argv = {"sh", "", "-c", "a\nb\xff"}, .env = {}};
  detail::Encoder encoder;
  encoder.add(exec, 0);
  auto program = finished(encoder);
  const View v = view(program);
  const Rec& r = v.recs[0];
  CHECK(text_of(v, r.s[0]) == std::string_view("/bin/sh\0/usr/bin/sh\0", 20));
  CHECK(text_of(v, r.s[1]) == std::string_view("sh\0\0-c\0a\nb\xff\0", 12));
  CHECK(r.s[2].size == 0);
  CHECK(r.s[3].size == 6 * sizeof(char*));
  CHECK(r.s[3].offset % 8 == 0);
  CHECK((r.n[0] == 4 && r.n[1] == 0 && r.n[2] == 2));
  CHECK(valid(program));
}

TEST_CASE("a device number is the kernel's", "[program]") {
  struct Row {
    std::uint32_t major, minor;
    std::uint64_t number;
  };
  for (const auto& [major, minor, number] :
       {Row{1, 3, 0x103}, Row{10, 229, 0xae5}, Row{253, 256, 0x10fd00},
        Row{4095, 1048575, 0xffffffff}}) {
    auto program = with([&, major = major, minor = minor](detail::Encoder& e) {
      e.add(op::MakeNode{.base = {0}, .node = {.name = "x", .major = major, .minor = minor}}, 0);
    });
    CHECK(view(program).recs[0].n[1] == number);
  }
}

TEST_CASE("time offsets are whole seconds and a positive rest", "[program]") {
  using namespace std::chrono_literals;
  auto program = with([](detail::Encoder& e) {
    e.add(op::SetTimeOffsets{.offsets = {.monotonic = -1500ms, .boottime = 2s + 7ns}, .proc = {0}},
          0);
  });
  const View v = view(program);
  CHECK(text_of(v, v.recs[0].s[0]) == "monotonic -2 500000000\nboottime 2 7\n");
}

TEST_CASE("ops of the host and of the zygote are not in a program", "[program]") {
  auto program = with([](detail::Encoder& e) {
    e.add(op::CreateCgroup{}, 0);
    e.add(op::WriteIdMap{}, 1);
    e.add(op::Clone{}, 2);
  });
  CHECK(view(program).header.count == 1);
}

TEST_CASE("a program that is too large is refused with its size", "[program]") {
  const auto sized = [](std::size_t bytes) {
    detail::Encoder e;
    e.add(op::Exec{.paths = {"/x"}, .argv = {std::string(bytes, 'a')}, .env = {}}, 0);
    return e.finish(program::no_op);
  };
  CHECK(sized(program::max_program - 4096));
  const auto large = sized(program::max_program);
  REQUIRE_FALSE(large);
  CHECK(large.error().is(Errc::bad_spec));
  CHECK(large.error().subject.find("838") != std::string::npos);
  CHECK_FALSE(large.error().hint.empty());
}

TEST_CASE("no more descriptors are passed than one message takes", "[program]") {
  detail::Encoder encoder;
  for (unsigned i = 0; i < program::max_passed; ++i) encoder.pass({static_cast<int>(i)});
  encoder.add(op::Exec{.paths = {"/x"}, .argv = {"x"}, .env = {}}, 0);
  auto most = finished(encoder);
  CHECK(valid(most));
  encoder.pass({250});
  const auto more = encoder.finish(program::no_op);
  REQUIRE_FALSE(more);
  CHECK(more.error().is(Errc::bad_spec));
}

TEST_CASE("whatever could lead outside of a program makes it invalid", "[program]") {
  // Each change alone, on a program that is valid without it.
  struct Spoiled {
    const char* what;
    std::function<void(detail::Encoder&)> add;
    std::function<void(const View&)> spoil;
  };
  const auto node = [](detail::Encoder& e) { e.add(op::MakeEntry{.base = {1}, .path = "pts"}, 0); };
  const auto place = [](detail::Encoder& e) {
    e.add(op::PlaceDescriptors{.entries = {{{0}, 0}, {{1}, 1}, {{1}, 5}}}, 0);
  };
  const auto receive = [](detail::Encoder& e) { e.add(op::Sync{.receives = {{4}, {5}}}, 0); };
  const auto ids = [](detail::Encoder& e) { e.add(op::SetCredentials{.groups = {{1}, {2}}}, 0); };
  const auto scheduling = [](detail::Encoder& e) {
    e.add(op::SetScheduling{.scheduling = {.nice = 3, .cpus = {1}}}, 0);
  };
  const auto mount = [](detail::Encoder& e) {
    e.add(op::MountOp{.source = op::MountOp::filesystem,
                      .what = "tmpfs",
                      .options = {"a", "b=c"},
                      .cwd = {2}},
          0);
  };
  const auto list16 = [](const View& v) {
    return reinterpret_cast<std::int16_t*>(v.blob + v.recs[0].s[0].offset);
  };
  const std::vector<Spoiled> all = {
      {"another magic", node, [](const View& v) { ++v.header.magic; }},
      {"another size", node, [](const View& v) { ++v.header.total; }},
      {"more records than there are", node, [](const View& v) { v.header.count += 1000; }},
      {"records without end", node, [](const View& v) { v.header.count = 0xffffffff; }},
      {"a blob in the records", node,
       [](const View& v) {
         v.header.blob -= 80;
         v.header.blob_size += 80;
       }},
      {"a blob behind the end", node, [](const View& v) { v.header.blob = v.header.total + 8; }},
      {"a blob at an odd place", node,
       [](const View& v) {
         v.header.blob += 1;
         v.header.blob_size -= 1;
       }},
      {"a blob of another size", node, [](const View& v) { --v.header.blob_size; }},
      {"an empty blob", node,
       [](const View& v) {
         v.header.blob = v.header.total;
         v.header.blob_size = 0;
       }},
      {"too many descriptors", node, [](const View& v) { v.header.passed = 251; }},
      {"a passed register too high", node, [](const View& v) { v.header.slots[255] = 256; }},
      {"a passed register too low", node, [](const View& v) { v.header.slots[0] = -2; }},
      {"no instruction", node, [](const View& v) { v.recs[0].code = Code{0}; }},
      {"an unknown instruction", node,
       [](const View& v) { v.recs[0].code = Code{program::code_count}; }},
      {"a register too high", node, [](const View& v) { v.recs[0].r[0] = 256; }},
      {"a register too low", node, [](const View& v) { v.recs[0].r[3] = -2; }},
      {"a string behind the end", node,
       [](const View& v) { v.recs[0].s[0].offset = v.header.blob_size; }},
      {"a string over the end", node,
       [](const View& v) { v.recs[0].s[0].size = v.header.blob_size; }},
      {"a string that wraps", node, [](const View& v) { v.recs[0].s[0].size = 0xffffffff; }},
      {"a string without an end", node, [](const View& v) { --v.recs[0].s[0].size; }},
      {"a received register too high", receive, [&](const View& v) { list16(v)[1] = 256; }},
      {"a received register that is none", receive, [&](const View& v) { list16(v)[0] = -1; }},
      {"half a register", receive,
       [](const View& v) {
         v.recs[0].s[0].size = 3;
         v.blob[v.recs[0].s[0].offset + 3] = 0;
       }},
      {"placed from nowhere", place, [&](const View& v) { list16(v)[0] = -1; }},
      {"placed from a register too high", place, [&](const View& v) { list16(v)[0] = 256; }},
      {"placed at a negative number", place, [&](const View& v) { list16(v)[1] = -1; }},
      {"placed at the same number twice", place, [&](const View& v) { list16(v)[3] = 0; }},
      {"placed in another order", place, [&](const View& v) { list16(v)[5] = 0; }},
      {"half a group", ids,
       [](const View& v) {
         v.recs[0].s[0].size = 6;
         v.blob[v.recs[0].s[0].offset + 6] = 0;
       }},
      {"a capability beyond 63", ids, [](const View& v) { v.recs[0].n[2] = 64; }},
      {"half a mask of processors", scheduling,
       [](const View& v) {
         v.recs[0].s[0].size = 4;
         v.blob[v.recs[0].s[0].offset + 4] = 0;
       }},
      {"a nice value that wraps", scheduling,
       [](const View& v) { v.recs[0].n[2] = std::uint64_t{1} << 63U; }},
      {"more terminals than there can be", [](detail::Encoder& e) { e.add(op::SendPtys{}, 0); },
       [](const View& v) { v.recs[0].n[0] = program::max_ptys + 1; }},
      {"more options than there are", mount, [](const View& v) { ++v.recs[0].n[3]; }},
      {"fewer options than there are", mount, [](const View& v) { --v.recs[0].n[3]; }},
      {"a directory register too high", mount, [](const View& v) { v.recs[0].n[2] = 256; }},
      {"a directory register too low", mount,
       [](const View& v) { v.recs[0].n[2] = ~std::uint64_t{1}; }},
      {"more arguments than there are", node, [](const View& v) { ++v.recs[1].n[0]; }},
      {"no argument", node, [](const View& v) { v.recs[1].n[0] = 0; }},
      {"arguments whose size wraps", node,
       [](const View& v) { v.recs[1].n[0] = std::uint64_t{1} << 61U; }},
      {"more variables than there are", node, [](const View& v) { ++v.recs[1].n[1]; }},
      {"no path", node, [](const View& v) { v.recs[1].n[2] = 0; }},
      {"more paths than there are", node, [](const View& v) { ++v.recs[1].n[2]; }},
      {"too little room for pointers", node,
       [](const View& v) {
         v.recs[1].s[3].size -= 8;
         // What is there now is a NUL, too.
         v.blob[v.recs[1].s[3].offset + v.recs[1].s[3].size] = 0;
       }},
      {"pointers at an odd place", node,
       [](const View& v) {
         ++v.recs[1].s[3].offset;
         --v.recs[1].s[3].size;
       }},
      // Writing the pointers would take the ends of the strings away.
      {"pointers over the arguments", node,
       [](const View& v) {
         const Str room = v.recs[1].s[3];
         v.recs[1].s[1] = {room.offset, 1};
       }},
      {"pointers over the end of the paths", node,
       [](const View& v) {
         const Str room = v.recs[1].s[3];
         v.recs[1].s[0] = {room.offset + room.size - 1, 1};
       }},
      {"pointers over the environment", node,
       [](const View& v) {
         const Str room = v.recs[1].s[3];
         v.recs[1].s[2] = {room.offset + 8, 1};
       }},
      {"a hook that has more than a day",
       [](detail::Encoder& e) {
         e.add(op::RunHookInside{.hook = {.program = "/x", .argv = {"x"}}, .output = {1}}, 0);
       },
       [](const View& v) { v.recs[0].n[2] = std::uint64_t{1} << 63U; }},
  };
  for (const Spoiled& s : all) {
    INFO(s.what);
    auto program = with(s.add);
    REQUIRE(valid(program));
    s.spoil(view(program));
    CHECK_FALSE(valid(program));
  }
}

TEST_CASE("a spoiled program is refused or comes to an end", "[program]") {
  const auto seed = GENERATE(take(4, random(std::uint64_t{0}, ~std::uint64_t{0})));
  INFO("seed " << seed);
  std::mt19937_64 engine(seed);
  const auto below = [&](std::uint64_t n) { return static_cast<std::size_t>(engine() % n); };
  std::size_t run = 0, refused = 0;
  for (int i = 0; i < 400; ++i) {
    const Sample& sample = golden_plans()[below(golden_plans().size())];
    auto program = encode(sample.plan, static_cast<std::uint32_t>(below(80)));
    const View v = view(program);
    std::size_t size = program.size;
    auto* bytes = reinterpret_cast<unsigned char*>(program.words.data());
    // As they are: a changed bit may be one of theirs.
    const std::size_t count = v.header.count, blob_size = v.header.blob_size;
    for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
      Rec& r = v.recs[below(count)];
      const Rec& other = v.recs[below(count)];
      switch (below(9)) {
        case 0:  // any bit
          bytes[below(size)] ^= static_cast<unsigned char>(1U << below(8));
          break;
        case 1:
          r.code = static_cast<Code>(below(program::code_count + 1));
          break;
        case 2:
          r.r[below(4)] = static_cast<std::int16_t>(static_cast<int>(below(260)) - 2);
          break;
        case 3:
          r.s[below(4)] = other.s[below(4)];
          break;
        case 4:
          r.n[below(4)] = below(2) == 0 ? below(300) : engine() >> below(64);
          break;
        case 5:
          r.s[below(4)].offset = static_cast<std::uint32_t>(below(blob_size + 8));
          break;
        case 6:
          r.flags = static_cast<std::uint16_t>(engine());
          break;
        case 7:
          v.blob[below(blob_size)] = static_cast<char>(below(3) == 0 ? 0 : engine());
          break;
        default:
          if (below(20) == 0) size = below(size);
      }
    }
    const auto outcome = program_property::check({reinterpret_cast<const char*>(bytes), size});
    INFO(sample.name);
    CHECK(outcome.broken == "");
    (outcome.valid ? run : refused) += 1;
  }
  CHECK(run > 50);
  CHECK(refused > 50);
}

TEST_CASE("the seeds of the program fuzzer are programs", "[program][seeds]") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(CONDROID_TESTS_DIR) / "fuzz" / "corpus" / "program";
  // Small and different: every instruction is in one of them.
  for (const char* name : {"console_ttys", "joins", "limits_v1", "settings"}) {
    const fs::path path = folder / fmt::format("{}.program", name);
    const auto program = encode(golden_plan(name));
    const std::string now(program.data(), program.size);
    if (std::getenv("CONDROID_UPDATE_SEEDS") != nullptr) {
      std::ofstream out(path, std::ios::binary);
      out << now;
      REQUIRE(out.flush());
    }
    std::ifstream in(path, std::ios::binary);
    const std::string seed{std::istreambuf_iterator<char>(in), {}};
    INFO(name << ": a seed of another format is a bad one; run the target update-seeds");
    const auto outcome = program_property::check(seed);
    CHECK(outcome.broken == "");
    CHECK(outcome.valid);
  }
}
