// A container as data: written down, compared, stored as text, and its plan printed. Nothing is
// launched, and nobody needs to be root.
#include <condroid/plan.hpp>
#include <cstdio>

using namespace condroid;
using namespace condroid::literals;

int main() {
  const Spec spec{
      .name = "worker",
      .root = {.path = "/srv/alpine"_host, .read_only = true},
      .process = {.argv = {"/usr/bin/worker"}, .stdio = Stdio::pty},
      .mounts = {Bind{.source = "/etc/resolv.conf"_host, .target = "/etc/resolv.conf"_guest},
                 Tmpfs{.target = "/tmp"_guest, .size = 64_MiB}},
      .resources = {.memory_max = 1_GiB, .pids_max = 256},
  };
  const std::string text = print_spec(spec);
  fmt::print("# as text\n{}\n", text);
  const auto again = parse_spec(text);
  if (!again || *again != spec) {
    fmt::print(stderr, "read again it is another one\n");
    return 1;
  }

  const auto facts = probe_host();
  if (!facts) {
    fmt::print(stderr, "{}\n", facts.error());
    return 1;
  }
  const auto plan = compile(spec, *facts);
  if (!plan) {  // what this user or machine cannot do, with the field named
    fmt::print("# refused\n{}\n", plan.error());
    return 0;
  }
  fmt::print("# step by step\n{}", *plan);
  return 0;
}
