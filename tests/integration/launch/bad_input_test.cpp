// What is wrong with a Spec, with the machine or with this user's rights: one error each, which
// names the step, the object and the reason, and says what to try. Nothing remains.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "containers.hpp"

using condroid::Bind;
using condroid::Capability;
using condroid::Errc;
using condroid::Exit;
using condroid::FsMount;
using condroid::Gid;
using condroid::HostFd;
using condroid::HostPath;
using condroid::IdMap;
using condroid::Overlay;
using condroid::Rlimit;
using condroid::RlimitSetting;
using condroid::Spec;
using condroid::Stdio;
using condroid::Step;
using condroid::Stream;
using condroid::Tmpfs;
using condroid::test::alone;
using condroid::test::attempt;
using condroid::test::facts;
using condroid::test::FailsWith;
using condroid::test::Failure;
using condroid::test::fingerprint;
using condroid::test::in_child;
using condroid::test::launch_and_wait;
using condroid::test::make_dir;
using condroid::test::make_file;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::privileged;
using condroid::test::runtime;
using condroid::test::Surroundings;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using namespace condroid::literals;

namespace {

/// What a case has to work with.
struct World {
  TempRoot root;
  TempDir outside;
};

enum class Who { everybody, root, user, user_outside };

struct Case {
  const char* what;
  std::variant<int, Errc> code;
  Step step;
  const char* words;
  std::function<void(Spec&, const World&)> change;
  Who who = Who::everybody;
};

IdMap map_of(std::vector<condroid::IdRange> uids) {
  return {.kind = IdMap::ranges, .uids = uids, .gids = std::move(uids)};
}

std::vector<Case> cases() {
  std::vector<Case> list;
  const auto add = [&](Case c) { list.push_back(std::move(c)); };

  // ---- the root ----
  add({"a root that is missing", ENOENT, Step::mount_root, "'/no/such/root'",
       [](Spec& s, const World&) { s.root.path = "/no/such/root"_host; }});
  add({"an ephemeral root that is missing", ENOENT, Step::mount_root, "/no/such/root",
       [](Spec& s, const World&) {
         s.root.path = "/no/such/root"_host;
         s.root.ephemeral = true;
       }});
  add({"an id-mapped root that is missing", ENOENT, Step::open_source, "'/no/such/root'",
       [](Spec& s, const World&) {
         s.root.path = "/no/such/root"_host;
         s.root.idmapped = true;
         s.idmap = map_of({{.inside = 0, .outside = 100000, .count = 1000}});
       },
       Who::root});
  add({"a root that is a file", EINVAL, Step::mount_root, "/file", [](Spec& s, const World& w) {
         make_file(w.outside / "file", "");
         s.root.path = w.outside.host("file");
       }});
  add({"a root with nothing in it", ENOENT, Step::exec, "'/bin/payload'",
       [](Spec& s, const World& w) { s.root.path = w.outside.host(); }});
  add({"a read-only root without targets", EROFS, Step::make_directory, "guest '/dev'",
       [](Spec& s, const World& w) {
         s.root.path = w.outside.host();
         s.root.read_only = true;
       }});
  add({"a root of links", ELOOP, Step::resolve_target, "guest '/dev'", [](Spec& s, const World& w) {
         for (const char* name : {"dev", "proc", "sys", "bin"})
           must(::symlink("/tmp", (w.outside / name).c_str()) == 0, "symlink");
         s.root.path = w.outside.host();
       }});
  add({"a root of files", EINVAL, Step::attach_mount, "guest '/dev'", [](Spec& s, const World& w) {
         for (const char* name : {"dev", "proc", "sys"}) make_file(w.outside / name, "");
         s.root.path = w.outside.host();
       }});
  add({"an upper layer that is missing", ENOENT, Step::mount_root, "upper",
       [](Spec& s, const World& w) {
         s.root.ephemeral = true;
         s.root.upper = w.outside.host("upper");
         s.root.work = w.outside.host("work");
       }});
  add({"an upper layer without a work directory", Errc::bad_spec, Step::compile, "root.work",
       [](Spec& s, const World& w) {
         s.root.ephemeral = true;
         s.root.upper = w.outside.host();
       }});
  add({"an upper layer and its work directory apart", EINVAL, Step::mount_root, "work",
       [](Spec& s, const World& w) {
         make_dir(w.outside / "upper");
         s.root.ephemeral = true;
         s.root.upper = w.outside.host("upper");
         s.root.work = "/dev/shm"_host;
       }});
  add({"a relative root", Errc::bad_spec, Step::compile, "root.path: 'somewhere'",
       [](Spec& s, const World&) { s.root.path = HostPath("somewhere"); }});

  // ---- mounts ----
  add({"a source that is missing", ENOENT, Step::open_source, "'/no/such/source'",
       [](Spec& s, const World&) {
         s.mounts = {Bind{.source = "/no/such/source"_host, .target = "/mnt"_guest}};
       }});
  add({"a source that is no descriptor", EBADF, Step::open_source, "descriptor 987",
       [](Spec& s, const World&) {
         s.mounts = {Bind{.source_fd = HostFd{987}, .target = "/mnt"_guest}};
       }});
  add({"a target that is missing", ENOENT, Step::resolve_target, "guest '/mnt/not/there'",
       [](Spec& s, const World&) {
         s.mounts = {Tmpfs{.target = "/mnt/not/there"_guest, .common = {.create_target = false}}};
       }});
  add({"a target below a file", ENOTDIR, Step::resolve_target, "guest '/data/file/below'",
       [](Spec& s, const World&) { s.mounts = {Tmpfs{.target = "/data/file/below"_guest}}; }});
  add({"a directory on a file", EINVAL, Step::attach_mount, "guest '/data/file'",
       [](Spec& s, const World& w) {
         s.mounts = {Bind{.source = w.outside.host(), .target = "/data/file"_guest}};
       }});
  add({"a target below procfs", ENOENT, Step::make_directory, "guest '/proc/none'",
       [](Spec& s, const World&) { s.mounts = {Tmpfs{.target = "/proc/none"_guest}}; }});
  add({"a target that goes up", Errc::bad_spec, Step::compile, "mounts[0].target",
       [](Spec& s, const World&) { s.mounts = {Tmpfs{.target = "/mnt/../.."_guest}}; }});
  add({"a file system that is not there", ENODEV, Step::mount, "nosuchfs",
       [](Spec& s, const World&) {
         s.mounts = {FsMount{.type = "nosuchfs", .target = "/mnt"_guest}};
       }});
  add({"an option that is none", EINVAL, Step::mount, "option 'frobnicate'",
       [](Spec& s, const World&) {
         s.mounts = {FsMount{.type = "tmpfs", .options = {"frobnicate"}, .target = "/mnt"_guest}};
       }});
  add({"a disk that is none", ENOTBLK, Step::mount, "ext4",
       [](Spec& s, const World&) {
         s.mounts = {FsMount{.type = "ext4", .source = "/dev/null", .target = "/mnt"_guest}};
       },
       Who::root});
  add({"a file system that a user may not mount", EPERM, Step::mount, "ext4",
       [](Spec& s, const World&) {
         s.mounts = {FsMount{.type = "ext4", .source = "/dev/null", .target = "/mnt"_guest}};
       },
       Who::user});
  add({"a layer that is missing", ENOENT, Step::mount, "/no/such/layer", [](Spec& s, const World&) {
         s.mounts = {
             Overlay{.target = "/mnt"_guest, .lower = {"/no/such/layer"_host}, .ephemeral = true}};
       }});
  add({"more descriptors than a launch has", Errc::bad_spec, Step::compile, "descriptors",
       [](Spec& s, const World&) {
         for (int i = 0; i < 300; ++i)
           s.mounts.push_back(Bind{.source_fd = HostFd{0},
                                   .target = condroid::GuestPath(fmt::format("/mnt/{}", i))});
       }});

  // ---- the command ----
  add({"a command that is missing", ENOENT, Step::exec, "'/bin/none'",
       [](Spec& s, const World&) { s.process.argv = {"/bin/none"}; }});
  add({"a command that is nowhere in PATH", ENOENT, Step::exec, "none",
       [](Spec& s, const World&) { s.process.argv = {"none"}; }});
  add({"a command that is not executable", EACCES, Step::exec, "'/data/file'",
       [](Spec& s, const World&) { s.process.argv = {"/data/file"}; }});
  add({"a command on a mount without execution", EACCES, Step::exec, "'/mnt/payload'",
       [](Spec& s, const World& w) {
         s.mounts = {Bind{.source = w.root.host("bin"),
                          .target = "/mnt"_guest,
                          .flags = condroid::MountFlag::noexec | condroid::MountFlag::nodev}};
         s.process.argv = {"/mnt/payload"};
       }});
  add({"a program for no machine", ENOEXEC, Step::exec, "'/bin/garbage'",
       [](Spec& s, const World& w) {
         make_file(w.root / "bin/garbage", "\x7f\x01\x02", 0755);
         s.process.argv = {"/bin/garbage"};
       }});
  add({"a script without its interpreter", ENOENT, Step::exec, "'/bin/script'",
       [](Spec& s, const World& w) {
         make_file(w.root / "bin/script", "#!/no/such/shell\n", 0755);
         s.process.argv = {"/bin/script"};
       }});
  add({"arguments that do not fit", E2BIG, Step::exec, "'/bin/payload'", [](Spec& s, const World&) {
         s.process.argv.insert(s.process.argv.end(), 9, std::string(100000, 'x'));
         s.process.rlimits = {{.resource = Rlimit::stack, .soft = 1U << 20U, .hard = 1U << 20U}};
       }});
  add({"no command at all", Errc::bad_spec, Step::compile, "process.argv",
       [](Spec& s, const World&) { s.process.argv.clear(); }});
  add({"a working directory that is missing", ENOENT, Step::change_directory, "'/no/such/dir'",
       [](Spec& s, const World&) { s.process.cwd = "/no/such/dir"_guest; }});
  add({"a working directory that is none", ENOTDIR, Step::change_directory, "'/data/file'",
       [](Spec& s, const World&) { s.process.cwd = "/data/file"_guest; }});
  add({"a stream that is closed", EBADF, Step::open_descriptor, "descriptor 987",
       [](Spec& s, const World&) { s.process.stdio.in = HostFd{987}; }});
  add({"a descriptor that is closed", EBADF, Step::open_descriptor, "descriptor 987",
       [](Spec& s, const World&) { s.process.descriptors = {{.host = {987}, .number = 7}}; }});
  add({"a console log that cannot be", ENOENT, Step::open_console, "'/no/such/dir/log'",
       [](Spec& s, const World&) {
         s.terminal.console = true;
         s.terminal.log = "/no/such/dir/log"_host;
       }});

  // ---- ids ----
  add({"ids that are not mapped", Errc::bad_spec, Step::compile, "process.uid: 5000",
       [](Spec& s, const World&) {
         s.idmap = map_of({{.inside = 0, .outside = facts().uid.value, .count = 1}});
         s.process.uid = {5000};
       }});
  add({"ranges that overlap", Errc::bad_spec, Step::compile, "idmap.uids[1]",
       [](Spec& s, const World&) {
         s.idmap = map_of({{.inside = 0, .outside = 100000, .count = 10},
                           {.inside = 5, .outside = 200000, .count = 10}});
       },
       Who::root});
  add({"a range without ids", Errc::bad_spec, Step::compile, "idmap.uids[0]",
       [](Spec& s, const World&) { s.idmap = map_of({{.inside = 0, .outside = 0, .count = 0}}); },
       Who::root});
  add({"a map without ranges", Errc::bad_spec, Step::compile, "idmap.uids: is empty",
       [](Spec& s, const World&) { s.idmap = {.kind = IdMap::ranges}; }});
  add({"ranges that this user was not granted", Errc::unsupported, Step::compile, "idmap.uids[0]",
       [](Spec& s, const World&) {
         s.idmap = map_of({{.inside = 0, .outside = 4000000, .count = 10}});
       },
       Who::user_outside});

  // ---- limits and rights ----
  add({"a limit that this user may not raise", Errc::unsupported, Step::compile,
       "process.rlimits[0]: 'nofile' above",
       [](Spec& s, const World&) {
         s.process.rlimits = {
             {.resource = Rlimit::nofile, .soft = 1, .hard = RlimitSetting::unlimited}};
         s.idmap.kind = IdMap::single;
       },
       Who::root});
  add({"a limit that an ordinary user may not raise", Errc::unsupported, Step::compile,
       "process.rlimits[0]: 'nofile' above",
       [](Spec& s, const World&) {
         s.process.rlimits = {
             {.resource = Rlimit::nofile, .soft = 1, .hard = RlimitSetting::unlimited}};
       },
       Who::user});
  add({"a soft limit above the hard one", Errc::bad_spec, Step::compile, "process.rlimits[0]",
       [](Spec& s, const World&) {
         s.process.rlimits = {{.resource = Rlimit::core, .soft = 2, .hard = 1}};
       }});
  add({"a controller that is not there", Errc::unsupported, Step::compile, "'nonesuch'",
       [](Spec& s, const World&) {
         s.resources.settings = {{.file = "nonesuch.max", .value = "1"}};
       }});
  add({"a value that the kernel does not take", EINVAL, Step::write_cgroup, "pids.max",
       [](Spec& s, const World&) {
         s.resources.settings = {{.file = "pids.max", .value = "many"}};
       },
       Who::root});
  add({"processors that are not there", ERANGE, Step::write_cgroup, "cpuset.cpus",
       [](Spec& s, const World&) { s.resources.cpuset_cpus = "4000"; }, Who::root});
  add({"cgroups that this user may not make", Errc::unsupported, Step::compile,
       "resources.memory_max", [](Spec& s, const World&) { s.resources.memory_max = 1_GiB; },
       Who::user});
  add({"a setting that is not there", ENOENT, Step::write_setting, "net/ipv4/none",
       [](Spec& s, const World&) {
         s.security.sysctls = {{.name = "net.ipv4.none", .value = "1"}};
       }});
  add({"a value that is none", EINVAL, Step::write_setting, "ip_forward",
       [](Spec& s, const World&) {
         s.security.sysctls = {{.name = "net.ipv4.ip_forward", .value = "maybe"}};
       }});
  add({"a setting of the whole machine", Errc::bad_spec, Step::compile, "kernel.panic",
       [](Spec& s, const World&) {
         s.security.sysctls = {{.name = "kernel.panic", .value = "1"}};
       }});
  add({"rights without their token", Errc::bad_spec, Step::compile, "security.capabilities",
       [](Spec& s, const World&) { s.security.capabilities.add(Capability::sys_ptrace); }});
  add({"a namespace that is not there", ENOENT, Step::open_descriptor, "'/no/such/ns'",
       [](Spec& s, const World&) {
         s.join = {{.kind = condroid::Namespace::net, .from = "/no/such/ns"_host}};
       },
       Who::root});

  // ---- at the last moment ----
  add({"with an init: a command that is missing", ENOENT, Step::exec, "'/bin/none'",
       [](Spec& s, const World&) {
         s.process.argv = {"/bin/none"};
         s.process.init = true;
       }});
  add({"with cgroups, terminals and an id map: a command that is missing", ENOENT, Step::exec,
       "'/bin/none'", [](Spec& s, const World&) {
         s.process.argv = {"/bin/none"};
         s.terminal.console = true;
         s.terminal.ttys = 4;
         s.root.ephemeral = true;
         s.namespaces |= condroid::Namespace::user;
         if (privileged()) {
           s.resources.memory_max = 512_MiB;
           s.resources.pids_max = 10;
           s.idmap = map_of({{.inside = 0, .outside = 100000, .count = 1000}});
           s.root.idmapped = true;
         }
       }});
  return list;
}

}  // namespace

TEST_CASE("what is wrong is told in one error, and nothing remains", "[launch][.root][.userns]") {
  const Spec usual = payload({"exit"});
  {
    World world;
    (void)launch_and_wait(payload(world.root, {"exit"}));
    if (privileged()) {  // the Runtime's own cgroups are made once
      Spec first = payload(world.root, {"exit"});
      first.resources = {.memory_max = 512_MiB, .pids_max = 10, .cpuset_cpus = "0"};
      (void)launch_and_wait(first);
    }
  }
  for (const Case& c : cases()) {
    if (c.who == Who::root && !privileged()) continue;
    if (c.who == Who::user && privileged()) continue;
    // Root of a user namespace is asked by the kernel only.
    if (c.who == Who::user_outside && facts().privileged()) continue;
    INFO(c.what);
    const World world;
    Spec spec = usual;
    spec.root.path = world.root.host();
    c.change(spec, world);
    const std::string outside = fingerprint(world.outside.str());
    const Surroundings before = Surroundings::quiet();
    const Failure failed = attempt(spec);
    if (std::holds_alternative<int>(c.code))
      CHECK_THAT(failed, FailsWith(std::get<int>(c.code), c.step, c.words));
    else
      CHECK_THAT(failed, FailsWith(std::get<Errc>(c.code), c.step, c.words));
    if (failed.error) {
      INFO(to_string(*failed.error));
      CHECK(to_string(*failed.error).size() < 2000);
      CHECK(to_string(*failed.error).find('\n') == std::string::npos);
      CHECK(!failed.error->hint.empty());
    }
    CHECK(Surroundings::settled(before) == before);
    // Of a root that is writable the targets that were made stay.
    if (spec.root.path.str() != world.outside.str())
      CHECK(fingerprint(world.outside.str()) == outside);
  }
}

TEST_CASE("a limit that was lowered since is the kernel's to refuse", "[launch][.root][.userns]") {
  const TempRoot root;
  // Whoever runs the tests: in the end it is an ordinary user who asks.
  CHECK(in_child([&] {
          condroid::test::drop_root();
          rlimit less{};
          must(::getrlimit(RLIMIT_NOFILE, &less) == 0, "getrlimit");
          const rlim_t before = less.rlim_max;
          (void)facts();
          less.rlim_cur = less.rlim_max = before / 2;
          must(::setrlimit(RLIMIT_NOFILE, &less) == 0, "setrlimit");
          const auto lowered = condroid::Runtime::open(
              {.state_dir = HostPath(fmt::format("/tmp/test-state-{}-e", ::getpid()))});
          must(lowered.has_value(), "no runtime");
          Spec spec = payload(root, {"exit"});
          spec.process.rlimits = {{.resource = Rlimit::nofile, .soft = 9, .hard = before}};
          auto plan = must(condroid::compile(spec, facts()));  // what was true when it was asked
          const Failure failed = condroid::test::failure_of(lowered->launch(std::move(plan)));
          must(failed.error.has_value(), "no failure");
          const std::string text = to_string(*failed.error);
          must(failed.error->is_errno(EPERM) && failed.error->step == Step::set_rlimit, text);
          must(text.find("nofile") != std::string::npos, text);
          must(!failed.error->hint.empty(), text);
        }) == "");
  if (!privileged()) return;
  // Root's own way to be one: what a user namespace of its own takes from it.
  Spec spec = payload(root, {"exit"});
  spec.process.rlimits = {
      {.resource = Rlimit::nofile, .soft = 9, .hard = RlimitSetting::unlimited}};
  spec.idmap = map_of({{.inside = 0, .outside = 100000, .count = 10}});
  condroid::HostFacts generous = facts();
  generous.rlimits[static_cast<std::size_t>(Rlimit::nofile)].second = RlimitSetting::unlimited;
  auto plan = condroid::compile(spec, generous);
  REQUIRE(plan);
  CHECK_THAT(condroid::test::failure_of(runtime().launch(std::move(*plan))),
             FailsWith(EPERM, Step::set_rlimit, "nofile"));
}

TEST_CASE("all that can be known to be wrong is told at once", "[launch][.root][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {});
  spec.name = "no good";
  spec.process.argv.clear();
  spec.process.cwd = condroid::GuestPath("relative");
  spec.hostname = std::string(65, 'x');
  spec.mounts = {Tmpfs{.target = "/"_guest}, Bind{.target = "/mnt"_guest}};
  const Failure failed = attempt(spec);
  REQUIRE(failed.error);
  CHECK(failed.error->is(Errc::bad_spec));
  CHECK(failed.error->also.size() == 5);
  for (const char* field :
       {"name", "process.argv", "process.cwd", "hostname", "mounts[0].target", "mounts[1].source"})
    CHECK_THAT(failed, FailsWith(Errc::bad_spec, Step::compile, field));
}

TEST_CASE("a program that has no descriptors left is told so", "[launch][.root][.userns]") {
  const TempRoot root;
  CHECK(in_child([&] {
          (void)launch_and_wait(payload(root, {"exit"}));
          rlimit own{};
          must(::getrlimit(RLIMIT_NOFILE, &own) == 0, "getrlimit");
          // One more each time, until it is enough.
          int failures = 0;
          for (rlim_t most = 3; most < 300; ++most) {
            const rlimit less{most, own.rlim_max};
            must(::setrlimit(RLIMIT_NOFILE, &less) == 0, "setrlimit");
            auto box = runtime().launch(payload(root, {"exit", "9"}));
            if (!box) {
              must(box.error().is_errno(EMFILE), to_string(box.error()));
              must(!box.error().hint.empty(), "no hint: " + to_string(box.error()));
              ++failures;
              continue;
            }
            must(condroid::test::wait(*box).code == 9, "another end");
            must(failures > 0, "it was enough from the start");
            return;
          }
          must(false, "it was never enough");
        }) == "");
}

TEST_CASE("limits too small to live with are no hang", "[launch][.root][.userns]") {
  const TempRoot root;
  const Surroundings before = (launch_and_wait(payload(root, {"exit"})), Surroundings::quiet());
  const Rlimit resource = GENERATE(Rlimit::as, Rlimit::data, Rlimit::stack, Rlimit::nproc,
                                   Rlimit::nofile, Rlimit::fsize, Rlimit::cpu);
  CAPTURE(static_cast<int>(resource));
  Spec spec = payload(root, {"exit", "0"});
  spec.process.init = GENERATE(false, true);
  spec.process.rlimits = {{.resource = resource, .soft = 0, .hard = 0}};
  auto box = runtime().launch(spec);
  // Which it is depends on the kernel; both are an answer.
  if (box)
    CHECK(condroid::test::wait(*box).cleanup_errors.empty());
  else
    CHECK(box.error().step != Step::none);
  box = condroid::fail(Errc::cancelled, Step::none, "the handle goes");
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("what this user was not granted is told before anything is done", "[launch][.userns]") {
  const TempRoot root;
  Spec spec = payload(root, {"exit"});
  if (alone()) {
    spec.idmap.kind = IdMap::subids;
    CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::compile, "/etc/subuid"));
    spec.idmap.kind = IdMap::automatic;
    spec.process.groups = {Gid{5}};
    CHECK_THAT(attempt(spec), FailsWith(Errc::unsupported, Step::compile, "process.groups"));
    return;
  }
  spec.root.path = HostPath("/root");  // another user's, who lets nobody in
  struct stat st {};
  REQUIRE(::stat("/root", &st) == 0);
  if ((st.st_mode & 07) == 0)
    CHECK_THAT(attempt(spec), FailsWith(EACCES, Step::resolve_target, "guest '/dev'"));
}
