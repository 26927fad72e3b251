// Single ops: which system calls each becomes, and what it does with odd answers of the kernel.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "child_run.hpp"
#include "program/interpreter.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using program::ChildState;
using program::Part;
using program::SyncKind;

/// The calls of one op.
std::vector<Call> calls_of(const ChildRun& child, std::uint32_t op) {
  std::vector<Call> list;
  std::ranges::copy_if(child.system.calls, std::back_inserter(list),
                       [op](const Call& c) { return c.op == op; });
  return list;
}

/// Runs a small plan; the op of interest has index 2.
std::vector<Call> calls_for(Op o, const std::function<void(ChildRun&)>& prepare = {}) {
  const Plan plan = small_plan({std::move(o)});
  ChildRun child(plan);
  if (prepare) prepare(child);
  child.run();
  UNSCOPED_INFO(lines_of(child.system.calls));
  REQUIRE(child.executed);
  CHECK(child.system.mistakes.empty());
  return calls_of(child, 2);
}

/// The same, for what fails: op, part and errno.
struct Failure {
  int error = 0;
  Part part = Part::whole;
  unsigned detail = 0;
  bool operator==(const Failure&) const = default;
};
Failure failure_of(Op o, const std::function<void(ChildRun&)>& prepare) {
  const Plan plan = small_plan({std::move(o)});
  ChildRun child(plan);
  prepare(child);
  child.run();
  UNSCOPED_INFO(lines_of(child.system.calls));
  CHECK_FALSE(child.executed);
  CHECK(child.status == 125);
  CHECK(child.page->state == ChildState::failed);
  CHECK(child.page->op == 2);
  CHECK(child.system.mistakes.empty());
  return {child.page->error, child.page->part, child.page->detail};
}
/// Makes every call of that kind in that op fail.
auto failing_at(std::uint32_t op, long nr, int errnum) {
  return [op, nr, errnum](ChildRun& child) {
    child.system.before = [op, nr, errnum](const Call& c) -> std::optional<long> {
      if (c.nr == nr && c.op == op) return -errnum;
      return {};
    };
  };
}

constexpr op::Slot root_slot{10}, other_slot{11};
/// A register that holds something: what a test's op is done to.
op::MountOp held_tree(op::Slot to, std::string what) {
  return {.source = op::MountOp::tree,
          .what = std::move(what),
          .place = op::MountOp::nowhere,
          .to = to};
}
/// Like small_plan(), with the root held in root_slot; the op of interest has index 3.
std::vector<Call> calls_in_root(Op o, const std::function<void(ChildRun&)>& prepare = {}) {
  const Plan plan = small_plan({held_tree(root_slot, "/srv"), std::move(o)});
  ChildRun child(plan);
  if (prepare) prepare(child);
  child.run();
  UNSCOPED_INFO(lines_of(child.system.calls));
  REQUIRE(child.executed);
  CHECK(child.system.mistakes.empty());
  return calls_of(child, 3);
}
Failure failure_in_root(Op o, const std::function<void(ChildRun&)>& prepare) {
  const Plan plan = small_plan({held_tree(root_slot, "/srv"), std::move(o)});
  ChildRun child(plan);
  prepare(child);
  child.run();
  UNSCOPED_INFO(lines_of(child.system.calls));
  CHECK_FALSE(child.executed);
  CHECK(child.page->op == 3);
  CHECK(child.system.mistakes.empty());
  return {child.page->error, child.page->part, child.page->detail};
}
std::vector<std::string> lines(const std::vector<Call>& calls) {
  std::vector<std::string> list;
  for (const Call& c : calls) list.push_back(line_of(c));
  return list;
}
using Lines = std::vector<std::string>;

bool has(const Lines& lines, std::string_view wanted) {
  return std::ranges::find(lines, wanted) != lines.end();
}

}  // namespace

// ---- looking up and making paths ----------------------------------------------------------------

TEST_CASE("a missing target is made name by name", "[program]") {
  const op::MountOp bind{
      .source = op::MountOp::tree, .what = "/src", .base = root_slot, .target = "/a/b//c/"};
  const auto calls = calls_in_root(bind, [](ChildRun& c) {
    c.system.missing = {"/a/b//c/", "/a/b", "/a/b//c"};
  });
  const auto text = lines(calls);
  CHECK(has(text, "mkdirat(</a>, \"b\", 0755)"));
  CHECK(has(text, "mkdirat(</a/b>, \"c\", 0755)"));
  CHECK(has(text, "move_mount(</src>, \"\", </a/b//c>, \"\", 0x44)"));
}

TEST_CASE("the target of a file is made as a file", "[program]") {
  const op::MountOp bind{.source = op::MountOp::tree,
                         .what = "/etc/resolv.conf",
                         .base = root_slot,
                         .target = "/etc/resolv.conf"};
  const auto calls = calls_in_root(bind, [](ChildRun& c) {
    c.system.files = {"/etc/resolv.conf"};
    // The host's file is there, the container's is not.
    c.system.before = [made = false](const Call& call) mutable -> std::optional<long> {
      made = made || call.nr == __NR_mknodat;
      if (call.nr == __NR_openat2 && call.names[1] == "/etc/resolv.conf" && !made) return -ENOENT;
      return {};
    };
  });
  CHECK(has(lines(calls), "mknodat(</etc>, \"resolv.conf\", 0100644, 0x0)"));
}

TEST_CASE("what is missing is not made when the plan does not want it", "[program]") {
  op::MountOp bind{.source = op::MountOp::tree,
                   .what = "/src",
                   .base = root_slot,
                   .target = "/a",
                   .create = false};
  const auto missing = [](ChildRun& c) { c.system.missing = {"/a"}; };
  CHECK(failure_in_root(bind, missing) == Failure{ENOENT, Part::resolve_target});
  bind.optional = true;
  const auto calls = calls_in_root(bind, missing);
  CHECK(lines(calls).back() == "close(</src>)");  // it was opened for nothing
}

TEST_CASE("a name or a path too long for the kernel is refused", "[program]") {
  const op::MountOp bind{.source = op::MountOp::tree, .what = "/src", .base = root_slot};
  for (const std::string& target :
       {"/" + std::string(300, 'x'), "/" + std::string(5000, 'y'), std::string(4096, '/')}) {
    op::MountOp o = bind;
    o.target = target;
    const auto nothing_there = [](ChildRun& c) {
      c.system.before = [](const Call& call) -> std::optional<long> {
        if (call.nr == __NR_openat2) return -ENOENT;
        return {};
      };
    };
    CHECK(failure_in_root(o, nothing_there) == Failure{ENAMETOOLONG, Part::make_target});
  }
}

TEST_CASE("the root itself is found as a target", "[program]") {
  const op::MountOp bind{
      .source = op::MountOp::tree, .what = "/src", .base = root_slot, .target = "/"};
  CHECK(has(lines(calls_in_root(bind)), "move_mount(</src>, \"\", </>, \"\", 0x44)"));
}

TEST_CASE("a lookup is repeated while the tree is being renamed, but not for ever", "[program]") {
  const op::ProtectPath protect{.base = root_slot, .path = "/proc/sys"};
  std::size_t tries = 0;
  const auto busy = [&](std::size_t most) {
    return [&tries, most](ChildRun& c) {
      tries = 0;
      c.system.before = [&tries, most](const Call& call) -> std::optional<long> {
        if (call.nr == __NR_openat2 && tries < most) return ++tries, -EAGAIN;
        return {};
      };
    };
  };
  CHECK(has(lines(calls_in_root(protect, busy(100))),
            "move_mount(</proc/sys>, \"\", </proc/sys>, \"\", 0x44)"));
  CHECK(tries == 100);
  CHECK(failure_in_root(protect, busy(10000)) == Failure{EAGAIN, Part::resolve_target});
  CHECK(tries < 1000);
}

TEST_CASE("a directory that exists must be one", "[program]") {
  const op::MakeEntry deep{.base = root_slot, .path = "lxc/deep", .mode = {0711}};
  const auto made = calls_in_root(deep, [](ChildRun& c) { c.system.missing = {"lxc/deep"}; });
  CHECK(has(lines(made), "mkdirat(<lxc>, \"deep\", 0711)"));
  const op::MakeEntry one{.base = root_slot, .path = "pts"};
  CHECK(lines(calls_in_root(one)) == Lines{"mkdirat(</srv>, \"pts\", 0755)"});
  const auto exists = [](bool file) {
    return [file](ChildRun& c) {
      if (file) c.system.files = {"pts"};
      c.system.before = [](const Call& call) -> std::optional<long> {
        if (call.nr == __NR_mkdirat) return -EEXIST;
        return {};
      };
    };
  };
  CHECK(calls_in_root(one, exists(false)).size() == 4);
  CHECK(failure_in_root(one, exists(true)) == Failure{ENOTDIR, Part::make_target});
}

TEST_CASE("links and files are left as they are found", "[program]") {
  const op::MakeEntry link{
      .kind = op::MakeEntry::link, .base = root_slot, .path = "core", .content = "/proc/kcore"};
  CHECK(lines(calls_in_root(link)) == Lines{"symlinkat(\"/proc/kcore\", </srv>, \"core\")"});
  const op::MakeEntry file{.kind = op::MakeEntry::file,
                           .base = root_slot,
                           .path = "etc/hosts",
                           .content = "127.0.0.1 localhost\n",
                           .mode = {0644}};
  const auto calls = calls_in_root(file);
  const auto written = std::ranges::find(calls, __NR_write, &Call::nr);
  REQUIRE(written != calls.end());
  CHECK(written->data == file.content);
  const auto opened = std::ranges::find(calls, __NR_openat, &Call::nr);
  CHECK(opened->names[0] == "etc");
  CHECK(opened->names[1] == "hosts");
  CHECK(opened->arguments[3] == 0644);
  const auto there = [](ChildRun& c) {
    c.system.before = [](const Call& call) -> std::optional<long> {
      if (call.nr == __NR_openat || call.nr == __NR_symlinkat) return -EEXIST;
      return {};
    };
  };
  for (const Call& c : calls_in_root(file, there)) CHECK(c.nr != __NR_write);
  CHECK(calls_in_root(link, there).size() == 1);
}

// ---- mounts
// --------------------------------------------------------------------------------------

TEST_CASE("a file system that mount(2) refuses is mounted the newer way", "[program]") {
  const op::MountOp tmpfs{.source = op::MountOp::filesystem,
                          .what = "tmpfs",
                          .options = {"mode=0755", "noswap"},
                          .flags = MountFlag::nosuid,
                          .base = root_slot,
                          .target = "/tmp"};
  CHECK(lines(calls_in_root(tmpfs)).back() ==
        "mount(\"tmpfs\", \".\", \"tmpfs\", 0x2, \"mode=0755,noswap\")");
  const auto calls = lines(calls_in_root(tmpfs, failing_at(3, __NR_mount, EINVAL)));
  CHECK(has(calls, "fsconfig(<tmpfs>, 1, \"source\", \"tmpfs\")"));
  CHECK(has(calls, "fsconfig(<tmpfs>, 1, \"mode\", \"0755\")"));
  CHECK(has(calls, "fsconfig(<tmpfs>, 0, \"noswap\", 0)"));
  CHECK(has(calls, "fsmount(<tmpfs>, 0x1, 0x2)"));
  CHECK(has(calls, "move_mount(<tmpfs>, \"\", </tmp>, \"\", 0x44)"));
}

TEST_CASE("what mount(2) cannot say goes the newer way at once", "[program]") {
  const op::MountOp plain{
      .source = op::MountOp::filesystem, .what = "tmpfs", .base = root_slot, .target = "/t"};
  const auto first_call = [](const op::MountOp& o) { return calls_in_root(o).at(0).nr; };
  CHECK(first_call(plain) == __NR_openat2);
  op::MountOp o = plain;
  o.options = {"name=a,b"};  // a comma would be two options
  CHECK(first_call(o) == __NR_fsopen);
  o = plain;
  o.flags = MountFlag::read_only;  // mount(2) would make the file system read-only, too
  CHECK(first_call(o) == __NR_fsopen);
  o = plain;
  o.propagation = Propagation::shared;
  CHECK(first_call(o) == __NR_fsopen);
  o = plain;
  o.options = {std::string(4100, 'x')};  // a page is the most
  CHECK(first_call(o) == __NR_fsopen);
}

TEST_CASE("an option that the kernel refuses is named, with the kernel's words", "[program]") {
  const op::MountOp o{.source = op::MountOp::filesystem,
                      .what = "tmpfs",
                      .options = {"mode=0755", "nonsense=1", "size=4k"},
                      .place = op::MountOp::nowhere,
                      .to = other_slot};
  const std::string words = "e tmpfs: Unknown parameter 'nonsense'\n";
  const Plan plan = small_plan({held_tree(root_slot, "/srv"), o});
  ChildRun child(plan);
  child.system.before = [&](const Call& call) -> std::optional<long> {
    if (call.nr == __NR_fsconfig && call.names[2] == "nonsense") return -EINVAL;
    if (call.nr != __NR_read) return {};
    CHECK(call.arguments[2] < static_cast<long>(sizeof child.page->text));
    std::copy(words.begin(), words.end(), reinterpret_cast<char*>(call.arguments[1]));
    return static_cast<long>(words.size());
  };
  child.run();
  CHECK(child.page->op == 3);
  CHECK(child.page->error == EINVAL);
  CHECK(child.page->part == Part::filesystem_option);
  CHECK(child.page->detail == 1);
  CHECK(std::string_view(child.page->text, child.page->text_size) == words);
}

TEST_CASE("each part of a mount that fails is told apart", "[program]") {
  op::MountOp bind{.source = op::MountOp::tree,
                   .what = "/src",
                   .flags = MountFlag::nosuid,
                   .base = root_slot,
                   .target = "/dst"};
  const auto part = [&](long nr) {
    const Failure f = failure_in_root(bind, failing_at(3, nr, EPERM));
    CHECK(f.error == EPERM);
    return f.part;
  };
  CHECK(part(__NR_open_tree) == Part::open_source);
  CHECK(part(__NR_mount_setattr) == Part::set_attributes);
  CHECK(part(__NR_openat2) == Part::resolve_target);
  CHECK(part(__NR_move_mount) == Part::attach);
}

TEST_CASE("attributes of access times are cleared before one is set", "[program]") {
  const auto attributes = [](Flags<MountFlag> flags, Propagation propagation) {
    const op::MountOp o{.source = op::MountOp::tree,
                        .what = "/src",
                        .recursive = true,
                        .flags = flags,
                        .recursive_flags = true,
                        .propagation = propagation,
                        .base = root_slot,
                        .target = "/dst"};
    for (const Call& c : calls_in_root(o))
      if (c.nr == __NR_mount_setattr) {
        CHECK(c.arguments[2] == (kernel::at_empty_path | kernel::at_recursive));
        return c.data;
      }
    return std::string("none");
  };
  CHECK(attributes({}, Propagation::as_is) == "none");
  CHECK(attributes(MountFlag::nosuid, Propagation::as_is) == "2 0 0");
  CHECK(attributes(MountFlag::noatime, Propagation::as_is) == fmt::format("{} {} 0", 0x10, 0x70));
  CHECK(attributes(MountFlag::strictatime, Propagation::slave) ==
        fmt::format("{} {} {}", 0x20, 0x70, 1 << 19));
  CHECK(attributes({}, Propagation::private_) == fmt::format("0 0 {}", 1 << 18));
}

TEST_CASE("a node that may not be made is bound, when it is what it should be", "[program]") {
  const op::MakeNode node{
      .base = root_slot,
      .node = {.name = "fuse", .major = 10, .minor = 300, .uid = {7}, .gid = {8}},
      .host_path = "/dev/fuse"};
  CHECK(lines(calls_in_root(node)) == Lines{"mknodat(</srv>, \"fuse\", 020666, 0x100a2c)",
                                            "fchownat(</srv>, \"fuse\", 7, 8, 0x100)"});
  const auto forbidden = [](std::uint32_t type, std::uint32_t major, std::uint32_t minor) {
    return [=](ChildRun& c) {
      c.system.host_nodes["/dev/fuse"] = {.what = "/dev/fuse",
                                          .kind = RecordingSystem::File::mount,
                                          .type = type,
                                          .major = major,
                                          .minor = minor};
      c.system.before = [](const Call& call) -> std::optional<long> {
        if (call.nr == __NR_mknodat && (call.arguments[2] & 0170000) == 0020000) return -EPERM;
        return {};
      };
    };
  };
  CHECK(lines(calls_in_root(node, forbidden(0020000, 10, 300))) ==
        Lines{"mknodat(</srv>, \"fuse\", 020666, 0x100a2c)",
              "mknodat(</srv>, \"fuse\", 020666, 0x100a2c)",
              "open_tree(<cwd>, \"/dev/fuse\", 0x80001)", "statx(</dev/fuse>, \"\", 0x1000, 0x1)",
              "mknodat(</srv>, \"fuse\", 0100666, 0x0)",
              "move_mount(</dev/fuse>, \"\", </srv>, \"fuse\", 0x4)", "close(</dev/fuse>)"});
  const Failure wrong{ENODEV, Part::device_mismatch};
  CHECK(failure_in_root(node, forbidden(0020000, 10, 229)) == wrong);
  CHECK(failure_in_root(node, forbidden(0020000, 11, 300)) == wrong);
  CHECK(failure_in_root(node, forbidden(0060000, 10, 300)) == wrong);
  CHECK(failure_in_root(node, forbidden(0100000, 10, 300)) == wrong);
}

TEST_CASE("masked files are covered by a true /dev/null or not at all", "[program]") {
  const op::MaskPath mask{.base = root_slot, .path = "/proc/kcore"};
  CHECK(has(lines(calls_in_root(mask)), "open_tree(<cwd>, \"/dev/null\", 0x80001)"));
  CHECK(failure_in_root(mask, [](ChildRun& c) { c.system.host_nodes["/dev/null"].minor = 5; }) ==
        Failure{ENODEV, Part::device_mismatch});
  CHECK(failure_in_root(mask, [](ChildRun& c) {
          c.system.host_nodes["/dev/null"].type = kernel::s_ifreg;
        }) == Failure{ENODEV, Part::device_mismatch});
}

TEST_CASE("what is not there is neither masked nor protected", "[program]") {
  const auto gone = [](ChildRun& c) { c.system.missing = {"/proc/gone"}; };
  CHECK(calls_in_root(op::MaskPath{.base = root_slot, .path = "/proc/gone"}, gone).size() == 1);
  CHECK(calls_in_root(op::ProtectPath{.base = root_slot, .path = "/proc/gone"}, gone).size() == 1);
}

TEST_CASE("a name in a directory of our own is covered there, whatever it is", "[program]") {
  const op::MaskPath mask{.base = root_slot, .dir = root_slot, .path = "/proc/keys"};
  const auto file = [](ChildRun& c) { c.system.files = {"/proc/keys"}; };
  CHECK(lines(calls_in_root(mask, file)) ==
        Lines{"statx(</srv>, \"keys\", 0x100, 0x1)", "open_tree(<cwd>, \"/dev/null\", 0x80001)",
              "statx(</dev/null>, \"\", 0x1000, 0x1)",
              "move_mount(</dev/null>, \"\", </srv>, \"keys\", 0x4)"});
  const auto dir =
      lines(calls_in_root(op::MaskPath{.base = root_slot, .dir = root_slot, .path = "/proc/acpi"}));
  CHECK(dir.front() == "statx(</srv>, \"acpi\", 0x100, 0x1)");
  CHECK(dir.back() == "move_mount(<tmpfs>, \"\", </srv>, \"acpi\", 0x4)");
  const auto deep = lines(calls_in_root(
      op::MaskPath{.base = root_slot, .dir = root_slot, .path = "/sys/devices/virtual/powercap"}));
  CHECK(deep.front().starts_with("openat2(</srv>, \"devices/virtual/powercap\")"));
  CHECK(calls_in_root(mask, [](ChildRun& c) { c.system.missing = {"/proc/keys"}; }).size() == 1);
  CHECK(failure_in_root(mask, [](ChildRun& c) { c.system.links = {"/proc/keys"}; }) ==
        Failure{ELOOP, Part::resolve_target});
}

TEST_CASE("a name in a directory of our own is made read-only there, and is no link", "[program]") {
  const op::ProtectPath protect{.base = root_slot, .dir = root_slot, .path = "/proc/sys"};
  CHECK(lines(calls_in_root(protect)) ==
        Lines{"open_tree_attr(</srv>, \"sys\", 0x88101) \"1\"", "statx(<sys>, \"\", 0x1000, 0x1)",
              "move_mount(<sys>, \"\", </srv>, \"sys\", 0x4)", "close(<sys>)"});
  CHECK(lines(calls_in_root(protect, [](ChildRun& c) { c.system.old_kernel = true; })) ==
        Lines{"open_tree_attr(</srv>, \"sys\", 0x88101)", "open_tree(</srv>, \"sys\", 0x88101)",
              "mount_setattr(<sys>, \"\", 0x9000) \"1 0 0\"", "statx(<sys>, \"\", 0x1000, 0x1)",
              "move_mount(<sys>, \"\", </srv>, \"sys\", 0x4)", "close(<sys>)"});
  CHECK(calls_in_root(protect, [](ChildRun& c) { c.system.missing = {"/proc/sys"}; }).size() == 1);
  CHECK(failure_in_root(protect, [](ChildRun& c) { c.system.links = {"/proc/sys"}; }) ==
        Failure{ELOOP, Part::resolve_target});
}

TEST_CASE("what is looked up again after a mount must be that mount", "[program]") {
  const op::MountOp proc{.source = op::MountOp::filesystem,
                         .what = "proc",
                         .base = root_slot,
                         .target = "/proc",
                         .to = other_slot};
  CHECK(lines(calls_in_root(proc)).back().starts_with("fstatfs("));
  const Failure other{ESTALE, Part::resolve_target};
  CHECK(failure_in_root(proc, [](ChildRun& c) {
          c.system.before = [](const Call& call) -> std::optional<long> {
            if (call.nr != __NR_fstatfs) return {};
            *reinterpret_cast<std::uint64_t*>(call.arguments[1]) = kernel::tmpfs_magic;
            return 0;
          };
        }) == other);
  CHECK(failure_in_root(proc, [](ChildRun& c) {
          c.system.before = [](const Call& call) -> std::optional<long> {
            if (call.nr != __NR_statx || call.op != 3) return {};
            *reinterpret_cast<kernel::Statx*>(call.arguments[4]) = {};
            return 0;
          };
        }) == other);
}

TEST_CASE("a mount namespace that begins empty needs no clearing", "[program]") {
  const Plan plan = small_plan({op::Unshare{.namespaces = Namespace::mount | Namespace::ipc},
                                op::ContainPropagation{},
                                op::MountOp{.source = op::MountOp::tree,
                                            .what = "/srv",
                                            .place = op::MountOp::on_root,
                                            .to = root_slot},
                                op::PivotRoot{.root = root_slot}});
  const auto run = [&plan](bool there) {
    ChildRun child(plan);
    child.context.bare_mounts = 9;
    child.system.open[9] = {.what = "empty"};
    if (!there)
      child.system.before = [](const Call& c) -> std::optional<long> {
        if (c.nr == __NR_setns) return -EPERM;
        return {};
      };
    child.run();
    REQUIRE(child.executed);
    std::vector<Call> mine;
    for (std::uint32_t op = 2; op < 6; ++op)
      for (const Call& c : calls_of(child, op)) mine.push_back(c);
    return lines(mine);
  };
  CHECK(run(true) == Lines{"setns(<empty>, 0x20000)", "unshare(0x8020000)",
                           "open_tree(<cwd>, \"/srv\", 0x80801)",
                           "move_mount(</srv>, \"\", <cwd>, \"/\", 0x4)", "fchdir(</srv>)",
                           "chroot(\".\")", "statx(</srv>, \"\", 0x1000, 0x1000)",
                           "statx(<cwd>, \"..\", 0x0, 0x1000)"});
  // What cannot be entered is done without.
  const auto plain = run(false);
  CHECK(has(plain, "mount(0, \"/\", 0, 0x44000, 0)"));
  CHECK(has(plain, "pivot_root(\".\", \".\")"));
  CHECK(has(plain, "umount2(\".\", 0x2)"));
}

TEST_CASE("every mount that was stacked on the host's root is let go", "[program]") {
  const Plan& plan = golden_plan("directory_ephemeral");  // a tmpfs and an overlay
  ChildRun child(plan);
  child.run();
  CHECK(std::ranges::count(child.system.calls, __NR_umount2, &Call::nr) == 2);
}

// ---- terminals
// -----------------------------------------------------------------------------------

TEST_CASE("a terminal's slave is had by its master and bound in place", "[program]") {
  const Plan& plan = golden_plan("console_ttys");
  ChildRun child(plan);
  child.run();
  REQUIRE(child.executed);
  std::size_t masters = 0;
  for (const Call& c : child.system.calls) {
    if (c.nr == __NR_openat2 && c.names[1] == "ptmx") ++masters;
    // Never by the name of a slave.
    for (const std::string& name : c.names) CHECK(name.find("pts/0") == std::string::npos);
  }
  CHECK(masters == 3);
  const auto sent =
      std::ranges::find(child.system.sent, SyncKind::ptys, &program::SyncMessage::kind);
  REQUIRE(sent != child.system.sent.end());
  CHECK(sent->value == 3);
}

TEST_CASE("masters that were not opened are not sent", "[program]") {
  CHECK(failure_of(op::SendPtys{.count = 2}, [](ChildRun&) {}) == Failure{EPROTO});
}

// ---- the process
// ---------------------------------------------------------------------------------

TEST_CASE("descriptors go to their numbers whatever numbers they have", "[program]") {
  // Passed as 101 and up, wanted at numbers around those and at one twice.
  Plan plan = small_plan({op::PlaceDescriptors{.entries = {{op::Slot{3}, 0},
                                                           {op::Slot{1}, 1},
                                                           {op::Slot{1}, 2},
                                                           {op::Slot{0}, 101},
                                                           {op::Slot{2}, 102},
                                                           {op::Slot{3}, 103}}}});
  std::vector<Op> before;
  for (int i = 0; i < 4; ++i)
    before.emplace_back(op::OpenDescriptor{.kind = op::OpenDescriptor::borrowed, .to = {i}});
  plan.ops.insert(plan.ops.begin(), before.begin(), before.end());
  ChildRun child(plan);
  child.run();
  INFO(lines_of(child.system.calls));
  REQUIRE(child.executed);
  CHECK(child.system.mistakes.empty());
  const auto at = [&](int number) { return child.system.open.at(number).what; };
  CHECK(at(0) == "passed 3");
  CHECK(at(1) == "passed 1");
  CHECK(at(2) == "passed 1");
  CHECK(at(101) == "passed 0");
  CHECK(at(102) == "passed 2");
  CHECK(at(103) == "passed 3");
  CHECK(at(104) == "sync");
  CHECK(at(105) == "zygote");
  CHECK(child.system.open.size() == 8);
}

TEST_CASE("a descriptor that is not there is named", "[program]") {
  const op::PlaceDescriptors place{.entries = {{op::Slot{40}, 9}}};
  CHECK(failure_of(place, [](ChildRun&) {}) == Failure{EBADF, Part::whole, 9});
}

TEST_CASE("rights of a command that is not root are ambient or none", "[program]") {
  const CapabilitySet caps = CapabilitySet{}.add(Capability::net_bind_service);
  op::SetCredentials o{.uid = {1000},
                       .gid = {1001},
                       .groups = {{27}, {100}},
                       .bounding = caps,
                       .last_capability = 12};
  const auto calls = calls_for(o);
  const auto text = lines(calls);
  CHECK(has(text, "setresuid(1000, 1000, 1000)"));
  CHECK(has(text, "setresgid(1001, 1001, 1001)"));
  const std::string groups("\x1b\0\0\0d\0\0\0", 8);
  CHECK(std::ranges::find(calls, __NR_setgroups, &Call::nr)->data == groups);
  CHECK(has(text, "capset() \"0 0\""));
  CHECK_FALSE(has(text, "prctl(47, 2, 10)"));
  CHECK_FALSE(has(text, "prctl(24, 10, 0)"));
  CHECK(has(text, "prctl(24, 12, 0)"));

  o.permitted = o.effective = o.inheritable = o.ambient = caps;
  const auto kept = lines(calls_for(o));
  CHECK(has(kept, "prctl(8, 1, 0)"));
  CHECK(has(kept, fmt::format("capset() \"{} 0\"", 1 << 10)));
  CHECK(has(kept, "prctl(47, 2, 10)"));

  // Securebits come last, and take a right that does not stay.
  o.securebits = Securebit::noroot | Securebit::no_cap_ambient_raise;
  const auto locked = lines(calls_for(o));
  const auto at = [&](const std::string& line) { return std::ranges::find(locked, line); };
  const auto wider = at(fmt::format("capset() \"{} 0\"", 1 << 10 | 1 << 8));
  CHECK(wider < at("prctl(47, 2, 10)"));
  CHECK(at("prctl(47, 2, 10)") < at("prctl(28, 65, 0)"));
  CHECK(at("prctl(28, 65, 0)") < at(fmt::format("capset() \"{} 0\"", 1 << 10)));
  CHECK(at(fmt::format("capset() \"{} 0\"", 1 << 10)) != locked.end());

  o.set_groups = false;
  for (const Call& c : calls_for(o)) CHECK(c.nr != __NR_setgroups);
}

TEST_CASE("limits, scheduling and such are handed to the kernel as they are", "[program]") {
  CHECK(lines(calls_for(op::SetRlimit{.limit = {Rlimit::core, 1, RlimitSetting::unlimited}})) ==
        Lines{fmt::format("prlimit64(0, 4) \"1 {}\"", ~std::uint64_t{0})});
  const auto scheduling = calls_for(op::SetScheduling{
      .scheduling = {
          .policy = SchedPolicy::round_robin, .priority = 7, .nice = -5, .cpus = {0, 65}}});
  CHECK(scheduling.at(0).data == std::string("\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16));
  CHECK(line_of(scheduling.at(1)) == "sched_setscheduler(0, 2)");
  CHECK(line_of(scheduling.at(2)) == "setpriority(0, 0, -5)");
  CHECK(lines(calls_for(op::SetScheduling{.cores_of = {1}})) == Lines{"prctl(62, 3, 1)"});
  CHECK(lines(calls_for(op::SetPersonality{.personality = Personality::linux32})) ==
        Lines{"personality(0x8)"});
  CHECK(lines(calls_for(op::SetHostname{.name = "box"})) ==
        Lines{"sethostname(\"box\", 3) \"box\""});
  CHECK(lines(calls_for(op::SetHostname{.name = "example.org", .domain = true})) ==
        Lines{"setdomainname(\"example.org\", 11) \"example.org\""});
}

TEST_CASE("a working directory outside of the root is refused", "[program]") {
  const op::ChangeDirectory cwd{.path = "/home"};
  CHECK(lines(calls_for(cwd)) == Lines{"chdir(\"/home\")", "getcwd()"});
  CHECK(failure_of(cwd, [](ChildRun& c) {
          c.system.before = [](const Call& call) -> std::optional<long> {
            if (call.nr != __NR_getcwd) return {};
            constexpr std::string_view text = "(unreachable)/home";
            std::copy(text.begin(), text.end(), reinterpret_cast<char*>(call.arguments[0]));
            return static_cast<long>(text.size() + 1);
          };
        }) == Failure{EACCES, Part::verify});
  const auto missing = [](ChildRun& c) {
    c.system.missing = {"/home"};
    c.system.before = [](const Call& call) -> std::optional<long> {
      if (call.nr == __NR_chdir && call.names[0] == "/home") return -ENOENT;
      return {};
    };
  };
  CHECK(failure_of(cwd, missing) == Failure{ENOENT});
  const auto made = lines(calls_for(op::ChangeDirectory{.path = "/home", .create = true}, missing));
  CHECK(has(made, "mkdirat(<cwd>, \"home\", 0755)"));
  CHECK(has(made, "fchdir(</home>)"));
}

TEST_CASE("the umask and the signal mask of the command are set last", "[program]") {
  const auto plan = small_plan({op::SetUmask{.umask = {077}}});
  ChildRun child(plan);
  child.run();
  const auto calls = lines(calls_of(child, 3));
  CHECK(calls == Lines{"prlimit64(0, 7) \"1024 4096\"", "umask(077)", "rt_sigprocmask(2)",
                       "ppoll()", "execve(\"/bin/true\")"});
}

TEST_CASE("the caller's limit on descriptors comes back unless another is wanted", "[program]") {
  const auto plan = small_plan({op::SetRlimit{.limit = {Rlimit::nofile, 10, 20}}});
  ChildRun child(plan);
  child.run();
  std::vector<std::string> limits;
  for (const Call& c : child.system.calls)
    if (c.nr == __NR_prlimit64) limits.push_back(c.data);
  CHECK(limits == std::vector<std::string>{"10 20"});
}

TEST_CASE("a command is looked for in all of its paths", "[program]") {
  Plan plan = small_plan({});
  auto& exec = std::get<op::Exec>(plan.ops.back());
  exec = {.paths = {"/a/sh", "/b/sh", "/c/sh"}, .argv = {"sh", "", "x y"}, .env = {"A=1", "B="}};
  // What each path answers; 0: it is executed.
  const auto run = [&](std::vector<int> answers) {
    ChildRun child(plan);
    std::size_t n = 0;
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (c.nr != __NR_execve) return {};
      const int answer = answers.at(n++);
      return answer == 0 ? std::optional<long>() : std::optional<long>(-answer);
    };
    child.run();
    if (child.executed) {
      CHECK(child.executed->argv == exec.argv);
      CHECK(child.executed->env == exec.env);
      return child.executed->path;
    }
    CHECK(n == answers.size());  // no further path was tried
    CHECK(child.page->op == 2);
    return fmt::format("{}", child.page->error);
  };
  CHECK(run({0}) == "/a/sh");
  CHECK(run({ENOENT, 0}) == "/b/sh");
  CHECK(run({ENOTDIR, EACCES, 0}) == "/c/sh");
  CHECK(run({ENOENT, ENOENT, ENOENT}) == fmt::format("{}", ENOENT));
  CHECK(run({EACCES, ENOENT, ENOENT}) == fmt::format("{}", EACCES));
  CHECK(run({ENOENT, ENOEXEC}) == fmt::format("{}", ENOEXEC));
  CHECK(run({E2BIG}) == fmt::format("{}", E2BIG));
}

TEST_CASE("a program that ends without a command is an error, but for a helper", "[program]") {
  detail::Encoder encoder;
  encoder.add(op::ArmDeathSignal{}, 0);
  {
    const auto program = encoder.finish(program::no_op);
    ChildRun child(*program, 0);
    child.run();
    CHECK(child.page->error == EPROTO);
    CHECK(child.page->op == program::no_op);
  }
  encoder.add(program::Code::end, 1);
  const auto program = encoder.finish(program::no_op);
  ChildRun child(*program, 0);
  child.run();
  CHECK(child.status == 0);
  CHECK(child.page->state == ChildState::done);
}

// ---- the small init
// ------------------------------------------------------------------------------

namespace {

/// A container whose command runs as pid 2, seen from pid 1: signals come in this order, then the
/// command ends with that wait status.
struct InitRun {
  explicit InitRun(std::vector<int> signals, int wait_status, std::vector<int> others = {})
      : plan(small_plan({op::StartInit{}})), child(plan) {
    child.system.clone_result = 42;
    child.context.arena = this;
    child.system.before = [this, signals = std::move(signals), others = std::move(others),
                           wait_status, i = std::size_t{0},
                           k = std::size_t{0}](const Call& c) mutable -> std::optional<long> {
      switch (c.nr) {
        case __NR_clone:
          // The kernel lets the parent go on when the command was executed.
          child.page->state = ChildState::exec;
          return {};
        case __NR_rt_sigtimedwait:
          return i < signals.size() ? signals[i++] : 17 /* SIGCHLD */;
        case __NR_wait4:
          if (i < signals.size() || k < others.size())
            return k < others.size() ? others[k++] : 0;  // somebody's orphan, or nothing more
          *reinterpret_cast<int*>(c.arguments[1]) = wait_status;
          return 42;
        default:
          return {};
      }
    };
    child.run();
  }
  Plan plan;
  ChildRun child;
};

}  // namespace

TEST_CASE("the small init tells that the command runs and how it ended", "[program]") {
  const InitRun exited({}, 3 << 8);
  CHECK(exited.child.left == 3);
  const auto& sent = exited.child.system.sent;
  REQUIRE(sent.size() == 2);
  CHECK(sent[0].kind == SyncKind::started);
  CHECK(sent[0].value == 42);
  CHECK(sent[1].kind == SyncKind::ended);
  CHECK(sent[1].value == 3 << 8);
  const InitRun killed({}, 9);
  CHECK(killed.child.left == 128 + 9);
  // It holds nothing but the socket.
  CHECK(killed.child.system.open.size() == 1);
  CHECK(killed.child.system.open.begin()->second.what == "sync");
}

TEST_CASE("the small init forwards signals and reaps orphans", "[program]") {
  const InitRun run({15, 17, 1, 64}, 0, {77, 78});
  CHECK(run.child.left == 0);
  std::vector<long> forwarded;
  for (const Call& c : run.child.system.calls)
    if (c.nr == __NR_kill) {
      CHECK(c.arguments[0] == 42);
      forwarded.push_back(c.arguments[1]);
    }
  CHECK(forwarded == std::vector<long>{15, 1, 64});
}

TEST_CASE("the small init does not outlive a command that was not executed", "[program]") {
  const Plan plan = small_plan({op::StartInit{}});
  for (const bool failed : {false, true}) {
    ChildRun child(plan);
    child.system.clone_result = 42;
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (c.nr == __NR_clone && failed) {
        child.page->state = ChildState::exec;
        child.page->error = ENOENT;
      }
      return {};
    };
    child.run();
    CHECK(child.left == 125);
    CHECK(child.system.sent.empty());
  }
}

TEST_CASE("a hook that ended in time is not late, and one that may not be killed is left",
          "[program]") {
  if (!CONDROID_LIBNL) return;  // that plan has an interface
  const Plan& plan = golden_plan("hooks");
  const bool ends = GENERATE(true, false);
  ChildRun child(plan);
  long times = 0, waits = 0;
  child.system.before = [&](const Call& c) -> std::optional<long> {
    if (c.nr == __NR_clock_gettime) {  // a minute goes by between two looks
      const kernel::Timespec now{60 * times++, 0};
      std::memcpy(reinterpret_cast<void*>(c.arguments[1]), &now, sizeof now);
      return 0;
    }
    if (c.nr == __NR_ppoll && c.arguments[1] >= 3 && !ends) return 0;
    if (c.nr == __NR_pidfd_send_signal) return -EPERM;
    if (c.nr == __NR_waitid) ++waits;
    return {};
  };
  child.run();
  UNSCOPED_INFO(lines_of(child.system.calls));
  CHECK(child.executed.has_value() == ends);
  if (ends) return;
  CHECK(child.page->part == Part::hook_time);
  CHECK(child.page->error == ETIMEDOUT);
  CHECK(waits == 0);
}

TEST_CASE("a filter is loaded when nothing but exec is left", "[program]") {
  op::LoadSeccomp load{.program = {0x7fff000000000006, 0x7fff000000000006}, .log = true};
  std::vector<std::uint64_t> loaded;
  const auto run = [&](const op::LoadSeccomp& o) {
    const Plan plan = small_plan({o});
    ChildRun child(plan);
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (c.nr != __NR_seccomp) return {};
      CHECK(c.arguments[0] == 1);  // SECCOMP_SET_MODE_FILTER
      CHECK(c.arguments[1] == 2);  // SECCOMP_FILTER_FLAG_LOG
      const auto* program = reinterpret_cast<const kernel::FilterProgram*>(c.arguments[2]);
      const auto* words = static_cast<const std::uint64_t*>(program->filter);
      loaded.assign(words, words + program->count);
      return {};
    };
    child.run();
    CHECK(child.executed);
    return child.system.calls;
  };
  auto calls = run(load);
  CHECK(loaded == load.program);
  REQUIRE(calls.size() > 2);
  CHECK(calls[calls.size() - 2].nr == __NR_seccomp);
  CHECK(calls.back().nr == __NR_execve);
  // Where more is to come, exec does its own things itself.
  load.before_exec = false;
  calls = run(load);
  REQUIRE(calls.size() > 3);
  CHECK(calls[calls.size() - 3].nr != __NR_seccomp);
  CHECK(calls.back().nr == __NR_execve);
}

TEST_CASE("the listener of a filter that asks is sent to the host", "[program]") {
  const op::LoadSeccomp load{.program = {0x7fff000000000006}, .listener = true};
  std::vector<long> flags;
  bool old = false;
  const auto run = [&] {
    flags.clear();
    const Plan plan = small_plan({load});
    ChildRun child(plan);
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (c.nr != __NR_seccomp) return {};
      flags.push_back(c.arguments[1]);
      if (old && flags.size() == 1) return -EINVAL;
      child.system.open[90] = {};
      return 90;
    };
    child.run();
    CHECK(child.executed);
    const auto sent =
        std::ranges::find(child.system.sent, SyncKind::listener, &program::SyncMessage::kind);
    CHECK(sent != child.system.sent.end());
    CHECK(child.system.mistakes.empty());
    CHECK(child.system.calls[child.system.calls.size() - 2].nr == __NR_sendmsg);
  };
  run();
  CHECK(flags == std::vector<long>{8 | 32});
  old = true;  // a kernel before Linux 5.19
  run();
  CHECK(flags == std::vector<long>{8 | 32, 8});
}

TEST_CASE("rules of Landlock become rules of the kernel, from the process's own root",
          "[program]") {
  Landlock rules{.handled = landlock::all - LandlockAccess::ioctl_dev,
                 .rules = {{.path = "/usr"_guest, .access = landlock::run},
                           {.path = "/etc/file"_guest, .access = landlock::all},
                           {.path = "/none"_guest, .access = landlock::read, .optional = true}},
                 .tcp = LandlockTcp::bind,
                 .bind = {80, 443},
                 .scope = LandlockScope::signal};
  const auto calls = calls_for(op::ApplyLandlock{rules}, [](ChildRun& child) {
    child.system.files.insert("/etc/file");
    child.system.missing.insert("/none");
  });
  std::vector<std::string> made;
  for (const Call& c : calls)
    if (c.nr == __NR_landlock_create_ruleset || c.nr == __NR_landlock_add_rule)
      made.push_back(c.data);
  // Of a file only what a file can have, and nothing that is not handled.
  CHECK(made ==
        Lines{"0x7fff 0x1 0x2", "0xd /usr", "0x4007 /etc/file", "0x1 port 80", "0x1 port 443"});
  CHECK(has(lines(calls), "landlock_restrict_self(<landlock>, 0)"));
  const auto missing = [](ChildRun& child) { child.system.missing.insert("/etc/file"); };
  CHECK(failure_of(op::ApplyLandlock{rules}, missing) == Failure{ENOENT, Part::resolve_target, 1});
}

TEST_CASE("a label is written to nothing but its file, and read back", "[program]") {
  const op::SetLabel label{.proc = root_slot, .apparmor = true, .label = "some//&profile"};
  const auto calls = calls_in_root(label);
  CHECK(lines(calls) ==
        Lines{"openat2(</srv>, \"self/attr/apparmor/exec\") \"O_RDWR|O_CLOEXEC 11\"",
              "fstatfs(<self/attr/apparmor/exec>)",
              "statx(<self/attr/apparmor/exec>, \"\", 0x1000, 0x1001)",
              "statx(</srv>, \"\", 0x1000, 0x1001)",
              "write(<self/attr/apparmor/exec>) \"exec some//&profile\"",
              "pread64(<self/attr/apparmor/exec>)", "close(<self/attr/apparmor/exec>)"});
  const auto with = [&](auto change) {
    return failure_in_root(label, [&](ChildRun& child) { child.system.before = change; });
  };
  const auto never_written = [](const Call& c) { CHECK_FALSE((c.op == 3 && c.nr == __NR_write)); };
  SECTION("not into another file system") {
    CHECK(with([&](const Call& c) -> std::optional<long> {
            never_written(c);
            if (c.nr != __NR_fstatfs) return {};
            *reinterpret_cast<std::uint64_t*>(c.arguments[1]) = 0x01021994;  // tmpfs
            return 0;
          }) == Failure{ENODEV, Part::verify, 0});
  }
  SECTION("not through a mount on it") {
    std::uint64_t mount = 20;
    CHECK(with([&](const Call& c) -> std::optional<long> {
            never_written(c);
            if (c.nr != __NR_statx || c.op != 3) return {};
            kernel::Statx st{};
            st.mode = kernel::s_ifreg;
            st.mount = mount++;
            std::memcpy(reinterpret_cast<void*>(c.arguments[4]), &st, sizeof st);
            return 0;
          }) == Failure{ENODEV, Part::verify, 0});
  }
  SECTION("a longer or another label is not what was asked for") {
    const std::string said = GENERATE("", "some", "some//&profile2", "other", "unconfined\n");
    std::string told;
    CHECK(failure_in_root(label, [&](ChildRun& child) {
            child.system.before = [&](const Call& c) -> std::optional<long> {
              if (c.nr == __NR_close) told.assign(child.page->text, child.page->text_size);
              if (c.nr != __NR_pread64) return {};
              std::memcpy(reinterpret_cast<void*>(c.arguments[1]), said.data(), said.size());
              return static_cast<long>(said.size());
            };
          }) == Failure{EPERM, Part::verify, 0});
    CHECK(told == said.substr(0, said.find('\n')));
  }
}

TEST_CASE("the command's process dies with the small init", "[program]") {
  const auto calls = calls_for(op::StartInit{});
  const auto text = lines(calls);
  CHECK(has(text, "clone(0x4011)"));
  CHECK(text.back() == "prctl(1, 9, 0)");
}

// ---- joining what is there already
// -----------------------------------------------------------------------------------

TEST_CASE("a container's devpts is believed to be one when the kernel says so", "[program]") {
  const Plan plan = small_plan(
      {op::OpenInside{.path = "/dev/pts", .devpts = true, .to = {9}}, op::OpenPty{.devpts = {9}}});
  for (const std::uint64_t type : {kernel::devpts_magic, std::uint64_t{0x01021994}}) {
    ChildRun child(plan);
    child.system.before = [&](const Call& c) -> std::optional<long> {
      if (c.nr != __NR_fstatfs) return {};
      *reinterpret_cast<std::uint64_t*>(c.arguments[1]) = type;
      return 0;
    };
    child.run();
    const bool real = type == kernel::devpts_magic;
    CHECK((child.page->state == ChildState::failed) == !real);
    CHECK((child.page->error == ENODEV) == !real);
    const auto text = lines(child.system.calls);
    INFO(fmt::format("{} {}", child.page->error, fmt::join(text, "\n")));
    CHECK(std::ranges::any_of(text, [](const std::string& l) {
            return l.find("\"ptmx\"") != std::string::npos;
          }) == real);
  }
}

TEST_CASE("the root of a process that was joined is entered by its descriptor", "[program]") {
  Plan plan = small_plan({op::EnterRoot{.root = {9}}});
  plan.ops.insert(plan.ops.begin(),
                  op::OpenDescriptor{.kind = op::OpenDescriptor::root_of_pid, .to = {9}});
  ChildRun child(plan);
  child.run();
  const auto text = lines(child.system.calls);
  INFO(lines_of(child.system.calls));
  const auto at = std::ranges::find(text, "chroot(\".\")");
  REQUIRE(at != text.end());
  CHECK(std::prev(at)->starts_with("fchdir("));
  CHECK(*std::next(at) == "chdir(\"/\")");
}

TEST_CASE("who parks goes on with the program that comes", "[program]") {
  const auto first = [] {
    detail::Encoder e;
    e.add(op::SetHostname{.name = "before"}, 1);
    e.add(op::Park{}, 2);
    return e.finish(program::no_op).value();
  }();
  const auto second = [] {
    detail::Encoder e;
    e.pass({9});
    e.add(op::EnterRoot{.root = {9}}, 3);
    e.add(op::Exec{.paths = {"/bin/true"}, .argv = {"true"}}, 4);
    return e.finish(program::no_op).value();
  }();
  ChildRun child(first, 0);
  SECTION("with what it brings") {
    // All of it behind the message that wakes it up, or a part, or nothing.
    const std::size_t with = GENERATE_COPY(std::size_t{0}, std::size_t{100}, second.size);
    CAPTURE(with);
    child.system.incoming.append(second.data() + with, second.size - with);
    child.system.answers.push_back({SyncKind::resume, 1, static_cast<std::uint32_t>(second.size),
                                    std::string(second.data(), with)});
    child.run();
    INFO(lines_of(child.system.calls));
    REQUIRE(child.executed);
    CHECK(child.page->op == 4);
    REQUIRE(child.system.sent.size() == 1);
    CHECK(child.system.sent[0].kind == SyncKind::stopped);
    CHECK(child.system.sent[0].value == 2);
  }
  SECTION("and with nothing else") {
    const auto ended = [&](int error) {
      child.run();
      CHECK_FALSE(child.executed);
      CHECK(child.page->state == ChildState::failed);
      CHECK(child.page->op == 2);
      CHECK(child.page->error == error);
    };
    SECTION("the host is gone") { ended(EPIPE); }
    SECTION("another message") {
      child.system.answers.push_back({SyncKind::post_cgroup});
      ended(EPROTO);
    }
    SECTION("a descriptor too few") {
      child.system.incoming.append(second.data(), second.size);
      child.system.answers.push_back(
          {SyncKind::resume, 0, static_cast<std::uint32_t>(second.size)});
      ended(EPROTO);
    }
    SECTION("a size that no program has") {
      child.system.answers.push_back({SyncKind::resume, 0, 12});
      ended(EPROTO);
    }
    SECTION("more than it says") {
      child.system.answers.push_back({SyncKind::resume, 1,
                                      static_cast<std::uint32_t>(second.size - 1),
                                      std::string(second.data(), second.size)});
      ended(EPROTO);
    }
    SECTION("a program that is none") {
      std::string broken(second.data(), second.size);
      broken[sizeof(program::Header) + 1] = '\x7f';
      child.system.incoming += broken;
      child.system.answers.push_back(
          {SyncKind::resume, 1, static_cast<std::uint32_t>(second.size)});
      ended(EPROTO);
    }
  }
}

// ---- all of it
// -----------------------------------------------------------------------------------

TEST_CASE("the plans of the tests have every instruction", "[program]") {
  std::set<unsigned> seen;
  for (const Sample& sample : golden_plans()) {
    const auto program = encode(sample.plan);
    const auto* header = reinterpret_cast<const program::Header*>(program.data());
    const auto* recs = reinterpret_cast<const program::Rec*>(header + 1);
    for (std::uint32_t i = 0; i < header->count; ++i)
      seen.insert(static_cast<unsigned>(recs[i].code));
  }
  // Of helpers, and those that no plan of today needs but the tests above have.
  using program::Code;
  for (const Code c :
       {Code::end, Code::set_owner, Code::send_slots, Code::make_file, Code::enter_root,
        Code::open_inside, Code::park, Code::remove_entry, Code::open_sockets})
    seen.insert(static_cast<unsigned>(c));
  if (!CONDROID_LIBNL)
    for (const Code c : {Code::configure_interface, Code::await_interface, Code::run_hook})
      seen.insert(static_cast<unsigned>(c));
  for (unsigned c = 1; c < program::code_count; ++c) {
    INFO("code " << c);
    CHECK(seen.contains(c));
  }
}
