// A test that has a fresh container, in twenty lines: a program is put in, run, and looked at. Here
// the image is the host's own system; usually it is an archive or an OCI layout.
#include <condroid/testing.hpp>
#include <cstdio>

using namespace condroid;

int main(int argc, char** argv) try {
  const testing::Image image{argc > 1 ? argv[1] : "/"};
  testing::Sandbox box{image};

  box.put("/tmp/greeting.conf", "good evening\n");
  const testing::Ran ran = box.run("wc -l < /tmp/greeting.conf; exit 3");
  fmt::print("status {}, lines {}", ran.status(), ran.out);

  testing::Sandbox another{image};  // which has no greeting
  another.expect_exit(0, "test ! -e /tmp/greeting.conf");

  box.expect_exit(0, {"/bin/sh", "-c", "echo the reason; exit 1"});
  return 1;
} catch (const testing::Failure& failure) {
  // What a test's report shows: the command, what it said, and how the box was made.
  fmt::print("{}\n", failure.what());
  return 0;
}
