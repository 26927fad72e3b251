// What this machine and user can do, each line of it tried, and what mends the rest.
#include <condroid/host.hpp>
#include <cstdio>

using namespace condroid;

int main() {
  const HostReport report = Host::report();
  for (const char* id : {"launch.plain", "overlay.user", "device.kvm"})
    if (const Finding* f = report.find(id)) {
      fmt::print("{} ({}): {}\n", f->what, f->group, to_string(f->outcome));
      if (!f->mend.empty()) fmt::print("  {}\n  try: {}\n", f->why, f->mend);
    }
  if (!report.can_launch()) fmt::print(stderr, "{}", to_text(report, {.problems = true}));
  return report.can_launch() ? 0 : 1;
}
