// Which system calls a container may make: the standard filter, and rules of one's own.
#include <sys/socket.h>

#include <cerrno>
#include <condroid/builder.hpp>
#include <condroid/config/seccomp.hpp>
#include <condroid/run.hpp>
#include <condroid/runtime.hpp>

using namespace condroid;
using std::chrono::seconds;

namespace {

bool show(const Runtime& runtime, const char* what, const Spec& spec) {
  const auto result = run(runtime, spec, seconds{10});
  if (!result) {
    fmt::print("{}: {}\n", what, result.error());
    return false;
  }
  fmt::print("{}: {}\n  {}", what, result->exit, result->exit.err);
  return true;
}

}  // namespace

int main() {
  const auto runtime = Runtime::open();
  if (!runtime) {
    fmt::print(stderr, "{}\n", runtime.error());
    return 1;
  }
  const auto command = [](const char* script) {
    return ContainerBuilder{"box"}.ephemeral().exec({"/bin/sh", "-c", script});
  };

  // Without a word: no user namespaces, no io_uring, no bpf, and so on.
  bool good = show(*runtime, "standard", command("unshare --user true").spec());

  // Rules by name, which need a build with libseccomp.
  const Seccomp no_directories = Seccomp::all_but({"mkdir", "mkdirat"});
  const Spec tidy = command("mkdir /tmp/new").seccomp(no_directories).spec();
  const auto plan = runtime->facts().and_then([&](const HostFacts& f) { return compile(tidy, f); });
  if (!plan && plan.error().is(Errc::unsupported)) {
    fmt::print(stderr, "{}\n", plan.error());
    return good ? 0 : 1;
  }
  good = show(*runtime, "no new directories", tidy) && good;

  // Arguments decide: sockets of the local machine only.
  Seccomp local;
  local.fail(EAFNOSUPPORT, {"socket"}, {{.index = 0, .op = ArgumentCheck::ne, .value = AF_UNIX}});
  local.kill({"sync"});
  const Spec quiet = command("exec sync").seccomp(local).spec();
  good = show(*runtime, "sync kills", quiet) && good;

  // A policy as LXC has it in a file, beside the standard filter.
  auto policy = lxc::parse_seccomp("2\ndenylist\nmkdir errno 28\nmkdirat errno 28\n");
  if (!policy) {
    fmt::print(stderr, "{}\n", policy.error());
    return 1;
  }
  policy->and_standard = true;
  const Spec full = command("mkdir /tmp/new").seccomp(*policy).spec();
  good = show(*runtime, "a full disk, it seems", full) && good;
  return good ? 0 : 1;
}
