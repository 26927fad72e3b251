// A suite of somebody else's, by GoogleTest, whose tests have containers. The image is the
// directory BUSYBOX_ROOT.
#include <condroid/testing/gtest.hpp>
#include <cstdlib>
#include <string>

namespace {

using condroid::testing::exits_with;
using condroid::testing::says;
using condroid::testing::succeeds;

const condroid::testing::Image& busybox() {
  const char* const root = std::getenv("BUSYBOX_ROOT");
  static const condroid::testing::Image image(root != nullptr ? root : "BUSYBOX_ROOT is not set");
  return image;
}

using Busybox = condroid::testing::SandboxTest<busybox>;

TEST_F(Busybox, RunsCommands) {
  EXPECT_TRUE(succeeds(box.run("echo made > /file")));
  EXPECT_TRUE(says("made", box.run("cat /file")));
  EXPECT_TRUE(exits_with(3, box.run("exit 3")));
}

TEST_F(Busybox, IsFresh) { EXPECT_TRUE(succeeds(box.run("test ! -e /file"))); }

TEST_F(Busybox, TellsWhatWasSaid) {
  const auto ran = box.run("echo the reason >&2; exit 2");
  const auto result = succeeds(ran);
  EXPECT_FALSE(result);
  const std::string message = result.message();
  EXPECT_NE(message.find("the reason"), message.npos) << message;
  EXPECT_NE(message.find("status 0"), message.npos) << message;
  EXPECT_FALSE(says("the reason", ran));
  EXPECT_FALSE(exits_with(3, box.run("kill -9 $$")));
}

// Run by itself, to see what a failure shows.
TEST_F(Busybox, DISABLED_Fails) { EXPECT_TRUE(succeeds(box.run("echo 'told so'; exit 1"))); }

}  // namespace
