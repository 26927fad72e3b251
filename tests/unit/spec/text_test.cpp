#include "spec/text.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../fuzz/spec_text_property.hpp"
#include "catch.hpp"
#include "condroid/spec.hpp"
#include "growth.hpp"
#include "sample_specs.hpp"
#include "spec/fields.hpp"
#include "spec/hook_text.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;

const std::filesystem::path tests_dir = CONDROID_TESTS_DIR;

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

// Everything that is wrong with a text, as parse_spec words it.
std::vector<std::string> errors(std::string_view text) {
  const auto spec = parse_spec(text);
  if (spec) return {"(it parses)"};
  CHECK(spec.error().is(Errc::bad_text));
  CHECK(spec.error().step == Step::parse);
  std::vector<std::string> all{spec.error().subject};
  std::ranges::copy(spec.error().also, std::back_inserter(all));
  return all;
}

Spec parsed(std::string_view text) {
  auto spec = parse_spec(text);
  INFO(text);
  INFO((spec ? std::string() : spec.error().subject));
  REQUIRE(spec);
  return *std::move(spec);
}

void check_round_trip(const Spec& spec) {
  const std::string text = print_spec(spec);
  const auto again = parse_spec(text);
  INFO(text);
  INFO((again ? std::string() : again.error().subject));
  REQUIRE(again);
  CHECK(*again == spec);
  CHECK(print_spec(*again) == text);
}

// A visitor of fields.hpp that lists the keys of a Spec.
struct Keys {
  std::vector<std::string> all = {};
  std::string prefix = {};
  void operator()(std::string_view key, auto&... /*member*/) {
    all.push_back(prefix + std::string(key));
  }
  void words(std::string_view key, auto& /*list*/) { (*this)(key); }
  void lines(std::string_view key, auto& /*list*/) { (*this)(key); }
  void records(std::string_view key, auto& /*list*/) { (*this)(key); }
  void group(std::string_view key, auto& part) {
    const std::string outer = std::exchange(prefix, prefix + std::string(key) + ".");
    spec_text::fields(*this, part);
    prefix = outer;
  }
};

}  // namespace

TEST_CASE("a default spec prints as nothing, and nothing parses as a default spec", "[spec]") {
  CHECK(print_spec(Spec{}).empty());
  CHECK(parsed("") == Spec{});
  CHECK(parsed("\n  \n# a comment = no key\n\t# another\n") == Spec{});
}

TEST_CASE("a spec with every member set prints as in tests/golden and parses back", "[spec]") {
  const Spec full = samples::full_spec();
  const std::string golden = contents(tests_dir / "golden" / "spec_full.spec");
  CHECK(print_spec(full) == golden);
  CHECK(parsed(golden) == full);
  check_round_trip(full);
}

TEST_CASE("the golden spec gives a value to every key there is", "[spec]") {
  Keys keys;
  const Spec full = samples::full_spec();
  spec_text::fields(keys, full);
  CHECK(keys.all.size() > 70);
  const std::string text = "\n" + print_spec(full);
  for (const std::string& key : keys.all) {
    INFO(key);
    CHECK(text.find("\n" + key + " =") != std::string::npos);
  }
}

TEST_CASE("random specs come back from their text as they were", "[spec]") {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    INFO("seed " << seed);
    check_round_trip(samples::Random(seed).spec());
  }
}

TEST_CASE("every byte but NUL comes back from a text field", "[spec]") {
  std::string all;
  for (int byte = 1; byte < 256; ++byte) {
    Spec spec;
    spec.hostname = std::string(1, static_cast<char>(byte));
    check_round_trip(spec);
    spec.hostname = "x" + spec.hostname + "x";
    check_round_trip(spec);
    all += static_cast<char>(byte);
  }
  Spec spec;
  spec.process.argv = {all, all + all};
  check_round_trip(spec);
}

TEST_CASE("a list is words on a line, and further lines add to it", "[spec]") {
  const Spec spec = parsed("process.argv = sh -c\nprocess.argv = \"echo hi\"  # said\n");
  CHECK(spec.process.argv == std::vector<std::string>{"sh", "-c", "echo hi"});
  CHECK(print_spec(spec) == "process.argv = sh -c \"echo hi\"\n");

  SECTION("an emptied list is not a missing one") {
    CHECK(parsed("process.argv =").process.argv.empty());
    CHECK(parsed("security.masked_paths =  # all visible").security.masked_paths.empty());
    CHECK(parsed("process.argv = \"\"").process.argv == std::vector<std::string>{""});
  }
  SECTION("words fill lines of 100 columns, however long a word is") {
    Spec wide;
    wide.process.argv.assign(40, "argument");
    wide.process.argv.emplace_back(300, 'x');
    const std::string text = print_spec(wide);
    CHECK(text.starts_with("process.argv = argument argument"));
    CHECK(std::ranges::count(text, '\n') == 6);
    CHECK(text.find('\n') <= 100);
    check_round_trip(wide);
  }
}

TEST_CASE("the text form reads what people write", "[spec]") {
  CHECK(parsed("name=a\r\nhostname =\tb \r\n") == [] {
    Spec spec;
    spec.name = "a";
    spec.hostname = "b";
    return spec;
  }());
  CHECK(parsed("namespaces = mount,pid uts").namespaces ==
        (Namespace::mount | Namespace::pid | Namespace::uts));
  CHECK(parsed("namespaces = none").namespaces.empty());
  CHECK(parsed("security.capabilities = all").security.capabilities == CapabilitySet::all());
  CHECK(parsed("security.capabilities = none").security.capabilities == CapabilitySet{});
  CHECK(parsed("security.capabilities = sys_admin small").security.capabilities ==
        CapabilitySet::small().add(Capability::sys_admin));
  CHECK(parsed("process.umask = 22").process.umask == Mode{022});
  CHECK(parsed("process.death_signal = 9").process.death_signal == Signal{9});
  CHECK(parsed("root.size = 1024KiB").root.size == 1_MiB);
  CHECK(parsed("root.path = \"/a \"b\" c\"").root.path == "/a b c"_host);
  CHECK(parsed("root.path = /a#b=c").root.path == "/a#b=c"_host);
  CHECK(parsed("mounts = bind \"source=/a b\" target=\"/c d\" recursive=true create_target=false")
            .mounts == std::vector<Mount>{Bind{.source = "/a b"_host,
                                               .target = "/c d"_guest,
                                               .recursive = true,
                                               .common = {.create_target = false}}});
}

TEST_CASE("every kind of mistake in a spec text has its message", "[spec]") {
  const std::vector<std::pair<std::string, std::string>> cases{
      // Lines.
      {"name", "line 1: name: expected key = value"},
      {"\x01\x1b[2J", R"(line 1: "\x01\x1b[2J": expected key = value)"},
      {"root.pth = /x", "line 1: root.pth: unknown key; did you mean root.path?"},
      {"mount = proc", "line 1: mount: unknown key; did you mean mounts?"},
      {"argv = sh", "line 1: argv: unknown key; did you mean process.argv?"},
      {"process.hostname = x", "line 1: process.hostname: unknown key; did you mean hostname?"},
      {"RESOURCES.CPUS = 1", "line 1: RESOURCES.CPUS: unknown key; did you mean resources.cpus?"},
      {"frobnicate = 1", "line 1: frobnicate: unknown key"},
      {"= 1", "line 1: \"\": unknown key"},
      {"\n\nname = a\nname = b", "line 4: name = b: already set in line 3"},
      {"name = a b", "line 1: name = a b: expected one word; put double quotes around blanks"},
      {"name = a b c d e f",
       "line 1: name = a b c d ...: expected one word; put double quotes around blanks"},
      {"name =", "line 1: name: a value is missing; \"\" is empty text"},
      {"name = # later", "line 1: name: a value is missing; \"\" is empty text"},
      {"namespaces =", "line 1: namespaces: a value is missing; none is the empty set"},
      {"join =\njoin = net pid:1",
       "line 2: join = net pid:1: cannot be both empty and not; see line 1"},
      {"process.argv = a\nprocess.argv =",
       "line 2: process.argv = (nothing): cannot be both empty and not; see line 1"},
      // Quoting.
      {"name = \"a",
       R"(line 1: name = "\"a": the closing " is missing; a line break inside is written \n)"},
      {"name = 'a'", R"(line 1: name = "'a'": a single quote; quote with double quotes)"},
      {"name = a\\n",
       R"(line 1: name = "a\\n": a backslash outside of double quotes; put the word into double quotes and double it)"},
      {"name = \"\\q\"",
       R"(line 1: name = "\"\\q\"": unknown escape \q; write \", \\, \n, \t, \r or \xHH)"},
      {"name = \"\\x4\"",
       R"(line 1: name = "\"\\x4\"": \x needs two hexadecimal digits; write \", \\, \n, \t, \r or \xHH)"},
      {"name = \"\\x00\"",
       R"(line 1: name = "\"\\x00\"": \x00 is a NUL byte, which no text can hold)"},
      {std::string("name = a\0b", 10),
       R"(line 1: name = "a\x00b": a NUL byte, which no text can hold)"},
      {"name = \"a\x1b\"",
       R"(line 1: name = "\"a\x1b\"": a raw control byte; write \x1b in double quotes)"},
      {"name = " + std::string(70, 'x') + "'",
       "line 1: name = " + std::string(60, 'x') + "...: a single quote; quote with double quotes"},
      // Values.
      {"root.read_only = yes", "line 1: root.read_only = yes: expected true or false"},
      {"process.uid = 0x10",
       "line 1: process.uid = 0x10: expected a whole number from 0 to 4294967295"},
      {"process.uid = -1",
       "line 1: process.uid = -1: expected a whole number from 0 to 4294967295"},
      {"process.uid = +1",
       "line 1: process.uid = +1: expected a whole number from 0 to 4294967295"},
      {"process.uid = 4294967296",
       "line 1: process.uid = 4294967296: expected a whole number from 0 to 4294967295"},
      {"process.uid = \" 1\"",
       "line 1: process.uid = \" 1\": expected a whole number from 0 to 4294967295"},
      {"process.uid = \"\"",
       "line 1: process.uid = \"\": expected a whole number from 0 to 4294967295"},
      {"process.groups = 1 2 x",
       "line 1: process.groups = x: expected a whole number from 0 to 4294967295"},
      {"process.oom_score_adj = --1",
       "line 1: process.oom_score_adj = --1: expected a whole number from -2147483648 to "
       "2147483647"},
      {"terminal.rows = 65536",
       "line 1: terminal.rows = 65536: expected a whole number from 0 to 65535"},
      {"resources.pids_max = 18446744073709551616",
       "line 1: resources.pids_max = 18446744073709551616: expected a whole number from 0 to "
       "18446744073709551615; max is no limit"},
      {"resources.cpus = nan",
       "line 1: resources.cpus = nan: expected a number like 0.5; max is no limit"},
      {"resources.cpus = INFINITY",
       "line 1: resources.cpus = INFINITY: expected a number like 0.5; max is no limit"},
      {"resources.cpus = 1e999",
       "line 1: resources.cpus = 1e999: expected a number like 0.5; max is no limit"},
      {"resources.cpus = 0x1",
       "line 1: resources.cpus = 0x1: expected a number like 0.5; max is no limit"},
      {"resources.io = sda write_bytes=1MiB",
       "line 1: resources.io: sda: expected major:minor like 8:0, or an absolute path like "
       "/dev/sda"},
      {"resources.io = 8:0 write_byte=1MiB",
       "line 1: resources.io: write_byte: unknown key; did you mean write_bytes?"},
      {"resources.hugetlb = 2MiB", "line 1: resources.hugetlb: most is missing"},
      {"resources.optional = memory_hi",
       "line 1: resources.optional = memory_hi: unknown limit; did you mean memory_high?"},
      {"root.size = 512",
       "line 1: root.size = 512: expected a size like 512MiB, in B, KiB, MiB, GiB, TiB, PiB or "
       "EiB, below 16EiB"},
      {"root.size = 1MB",
       "line 1: root.size = 1MB: expected a size like 512MiB, in B, KiB, MiB, GiB, TiB, PiB or "
       "EiB, below 16EiB"},
      {"root.size = 16EiB",
       "line 1: root.size = 16EiB: expected a size like 512MiB, in B, KiB, MiB, GiB, TiB, PiB or "
       "EiB, below 16EiB"},
      {"root.size = -1B",
       "line 1: root.size = -1B: expected a size like 512MiB, in B, KiB, MiB, GiB, TiB, PiB or "
       "EiB, below 16EiB"},
      {"time.monotonic = 5",
       "line 1: time.monotonic = 5: expected a time like 10s, in s, ms, us or ns, within 292 "
       "years"},
      {"time.monotonic = 9223372037s",
       "line 1: time.monotonic = 9223372037s: expected a time like 10s, in s, ms, us or ns, within "
       "292 years"},
      {"process.umask = 089", "line 1: process.umask = 089: expected an octal mode like 0755"},
      {"process.umask = 040000000000",
       "line 1: process.umask = 040000000000: expected an octal mode like 0755"},
      {"process.death_signal = SIGTRM",
       "line 1: process.death_signal = SIGTRM: expected a signal like SIGTERM or its number"},
      {"process.death_signal = boo",
       "line 1: process.death_signal = boo: expected a signal like SIGTERM or its number"},
      {"process.stdio.in = ptty",
       "line 1: process.stdio.in = ptty: unknown stream; did you mean pty?"},
      {"process.stdio.in = fd",
       "line 1: process.stdio.in = fd: expected a number after it, like fd:7"},
      {"process.stdio.in = fd:x",
       "line 1: process.stdio.in = fd:x: expected a whole number from -2147483648 to 2147483647"},
      {"idmap.kind = auto",
       "line 1: idmap.kind = auto: unknown kind of id map; expected one of automatic, none, "
       "subids, single, ranges"},
      {"idmap.uids = 1:2",
       "line 1: idmap.uids = 1:2: expected inside:outside:count like 0:100000:65536, each at most "
       "4294967295"},
      {"idmap.uids = 0:0:4294967296",
       "line 1: idmap.uids = 0:0:4294967296: expected inside:outside:count like 0:100000:65536, "
       "each at most 4294967295"},
      // Sets.
      {"namespaces = mount pdi", "line 1: namespaces = pdi: unknown namespace; did you mean pid?"},
      {"namespaces = mount,",
       "line 1: namespaces = \"\": unknown namespace; expected one of none, mount, pid, uts, ipc, "
       "net, user, cgroup, time"},
      {"namespaces = none pid",
       "line 1: namespaces = none: this is the empty set and stands alone"},
      {"namespaces = bit0",
       "line 1: namespaces = bit0: unknown namespace; expected one of none, mount, pid, uts, ipc, "
       "net, user, cgroup, time"},
      {"security.capabilities = CAP_SYS_ADMIN",
       "line 1: security.capabilities = CAP_SYS_ADMIN: unknown capability; did you mean "
       "sys_admin?"},
      {"security.capabilities = bit64 smal",
       "line 1: security.capabilities = smal: unknown capability; did you mean small?"},
      {"security.allow = real_rot",
       "line 1: security.allow = real_rot: unknown allow token; did you mean real_root?"},
      // Records.
      {"mounts = bin source=/a target=/b",
       "line 1: mounts: bin: unknown kind of mount; did you mean bind?"},
      {"mounts = nfs", "line 1: mounts: nfs: unknown kind of mount; did you mean fs?"},
      {"mounts = \"\"",
       "line 1: mounts: \"\": unknown kind of mount; expected one of bind, tmpfs, proc, sysfs, "
       "mqueue, cgroup, devpts, "
       "overlay, fs, image, file"},
      {"mounts = bind source=/a", "line 1: mounts: bind: target= is missing"},
      {"mounts = bind source=/a target", "line 1: mounts: bind: target: expected target=VALUE"},
      {"mounts = bind target=/a target=/b",
       "line 1: mounts: bind: target=/b: target is given twice"},
      {"mounts = bind target=/a recursve",
       "line 1: mounts: bind: recursve: unknown key; did you mean recursive?"},
      {"mounts = sysfs size=1MiB",
       "line 1: mounts: sysfs: size: unknown key; expected one of target, flags, net_writable, "
       "create_target, follow_links, optional"},
      {"mounts = proc flags=nosuid,nodv",
       "line 1: mounts: proc: flags=nodv: unknown mount flag; did you mean nodev?"},
      {"mounts = tmpfs target=/t size=1M",
       "line 1: mounts: tmpfs: size=1M: expected a size like 512MiB, in B, KiB, MiB, GiB, TiB, PiB "
       "or EiB, below 16EiB"},
      {"join = nte pid:1", "line 1: join: nte: unknown namespace; did you mean net?"},
      {"join = net", "line 1: join: from is missing"},
      {"join = net eth0",
       "line 1: join: eth0: expected pid:N, fd:N or an absolute path like /run/netns/x"},
      {"join = net pid:x",
       "line 1: join: pid:x: expected a whole number from -2147483648 to 2147483647"},
      {"process.rlimits = nofile soft=1", "line 1: process.rlimits: hard= is missing"},
      {"process.rlimits = nofile soft=-1 hard=unlimited",
       "line 1: process.rlimits: soft=-1: expected unlimited or a whole number below "
       "18446744073709551615"},
      {"security.sysctls = a", "line 1: security.sysctls: value is missing"},
      {"security.sysctls = a b c", "line 1: security.sysctls: c: nothing may follow here"},
  };
  for (const auto& [text, message] : cases) {
    INFO(text);
    const std::vector<std::string> found = errors(text);
    CHECK(found.back() == message);
  }
}

TEST_CASE("parse_spec tells everything that is wrong at once", "[spec]") {
  CHECK(errors("name = a\nroot.pth = x\nroot.size = 1\nname = b\n"
               "mounts = bind flags=nosiud recursve\nprocess.groups = x 1 y\n") ==
        std::vector<std::string>{
            "line 2: root.pth: unknown key; did you mean root.path?",
            "line 3: root.size = 1: expected a size like 512MiB, in B, KiB, MiB, GiB, TiB, PiB or "
            "EiB, below 16EiB",
            "line 4: name = b: already set in line 1",
            "line 5: mounts: bind: flags=nosiud: unknown mount flag; did you mean nosuid?",
            "line 5: mounts: bind: recursve: unknown key; did you mean recursive?",
            "line 5: mounts: bind: target= is missing",
            "line 6: process.groups = x: expected a whole number from 0 to 4294967295",
            "line 6: process.groups = y: expected a whole number from 0 to 4294967295",
        });
}

TEST_CASE("a text beyond the limits is refused, quickly", "[spec]") {
  const auto repeated = [](std::string_view part, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += part;
    return text;
  };
  constexpr std::size_t mib = std::size_t{1} << 20U;

  {
    // Not a byte of it is looked at.
    constexpr std::size_t gib = std::size_t{1} << 30U;
    void* nothing =
        ::mmap(nullptr, gib, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(nothing != MAP_FAILED);
    CHECK(errors(std::string_view(static_cast<const char*>(nothing), gib)) ==
          std::vector<std::string>{"a spec of 1073741824 bytes; at most 16 MiB are read"});
    ::munmap(nothing, gib);
  }
  CHECK(errors("name = " + std::string(mib, 'x') + "\nroot.pth = x") ==
        std::vector<std::string>{"line 1: longer than 1 MiB",
                                 "line 2: root.pth: unknown key; did you mean root.path?"});
  CHECK(parsed("name = " + std::string(mib - 7, 'x')).name.size() == mib - 7);
  CHECK(errors("process.argv = " + repeated("a ", 600'000)).back() ==
        "line 1: more than 262144 words; the rest of the text was not read");
  CHECK(parsed("process.argv = " + repeated("a ", 524'288)).process.argv.size() == 262'144);

  // Every line or word wrong: no more than a hundred complaints are kept, and no more are worked
  // out.
  const std::string unknown_capabilities = "security.capabilities = " + repeated("x,", mib - 100);
  for (const std::string& text :
       {repeated("=\n", 16 * mib), repeated("root.pth = x\n", 16 * mib - 100),
        unknown_capabilities + "x", "process.groups = " + repeated("x ", 500'000),
        "mounts = proc " + repeated("x ", 500'000)}) {
    const std::vector<std::string> found = errors(text);
    CHECK(found.size() <= 101);
    CHECK(found.size() >= 100);
    CHECK(found.back() == "100 errors; the rest of the text was not read");
  }
  const auto with_misspelt_words = [&](int bytes) {
    const auto size = static_cast<std::size_t>(bytes);
    CHECK(errors("security.capabilities = " + repeated("x,", size)).size() >= 100);
  };
  CHECK(test::growth_to_four(with_misspelt_words, 1 << 17) < 8);
}

TEST_CASE("the seed corpus of the spec text fuzzer holds", "[spec]") {
  std::size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(tests_dir / "fuzz" / "corpus" / "spec_text")) {
    INFO(entry.path());
    CHECK(spec_text_property::broken(contents(entry.path())) == "");
    ++files;
  }
  CHECK(files >= 8);
}

TEST_CASE("a hook's values are filled in, and what has none is left out", "[spec]") {
  const auto lookup = [](HookValue v) -> std::optional<std::string> {
    if (v == HookValue::name) return "box";
    if (v == HookValue::pid) return "42";
    return std::nullopt;
  };
  const Hook hook = condroid::detail::filled(
      {.program = "/x",
       .argv = {"x", "%{name}-%{pid}", "net:%{ns_net}", "100%", "%%{pid}", "%%%{pid}"},
       .env = {"PID=%{pid}", "TARGET=%{target}"},
       .input = "{\"pid\":%{pid},\"root\":\"%{root}\"}"},
      lookup);
  CHECK(hook.argv == std::vector<std::string>{"x", "box-42", "100%", "%{pid}", "%42"});
  CHECK(hook.env == std::vector<std::string>{"PID=42"});
  CHECK(hook.input == "{\"pid\":42,\"root\":\"\"}");
  CHECK(condroid::placeholder(HookValue::ns_net) == "%{ns_net}");
  bool missing = false;
  for (const char* text : {"%{pid}", "%", "%%", "%%{", "a%%{b}%{c", "{}"}) {
    // Whatever comes after it.
    CHECK(condroid::detail::filled(condroid::hook_text(text) + "{pid}%{pid}", lookup, missing) ==
          text + std::string("{pid}42"));
    CHECK(condroid::detail::mistake_in(condroid::hook_text(text)).empty());
    CHECK(condroid::detail::filled(condroid::hook_text(text), lookup, missing) == text);
  }
  CHECK_FALSE(missing);
}
