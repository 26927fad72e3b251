// A test suite whose tests have containers: a server and its clients on a network of their own, a
// crash, a network that falls apart, and many at once. The image is a busybox, in a directory that
// the suite makes; it could be any archive or OCI layout.
#include <atomic>
#include <chrono>
#include <condroid/testing/catch2.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
namespace testing = condroid::testing;
using testing::Sandbox;
using testing::Says;
using testing::Succeeds;

namespace {

/// A root file system with busybox in it, as long as the suite runs.
class BusyboxRoot {
 public:
  BusyboxRoot() {
    char name[] = "/tmp/harness.XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
    std::filesystem::permissions(path_, std::filesystem::perms(0755));
    for (const char* each : {"bin", "dev", "etc", "proc", "root", "srv", "sys", "tmp"})
      std::filesystem::create_directory(path_ / each);
    std::filesystem::copy_file("/bin/busybox", path_ / "bin/busybox");
    for (const char* each :
         {"cat", "httpd", "kill", "mv", "nc", "ping", "rm", "sh", "sleep", "sync", "test", "touch"})
      std::filesystem::create_symlink("busybox", path_ / "bin" / each);
  }
  BusyboxRoot(const BusyboxRoot&) = delete;
  BusyboxRoot& operator=(const BusyboxRoot&) = delete;
  ~BusyboxRoot() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

/// Opened once for all tests of this program; each box of it is fresh.
const testing::Image& busybox() {
  static const BusyboxRoot root;
  static const testing::Image image{root.path(), {.pool = 4}};
  return image;
}

constexpr const char* get_page = "printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | nc -w 5 server 80";

}  // namespace

TEST_CASE_METHOD(testing::InSandbox<busybox>, "each test has files of its own", "[root][userns]") {
  CHECK_THAT(box.run("rm -r /srv && touch /mine"), Succeeds());
  Sandbox another{busybox()};
  CHECK_THAT(another.run("test -d /srv && test ! -e /mine"), Succeeds());
}

TEST_CASE("two clients are served by one server", "[root]") {
  testing::Network net;
  Sandbox server{busybox(), {.network = &net, .name = "server"}};
  Sandbox first{busybox(), {.network = &net, .name = "first"}};
  Sandbox second{busybox(), {.network = &net, .name = "second"}};
  server.put("/srv/page", "good evening\n");
  const auto httpd = server.start({"httpd", "-f", "-h", "/srv"});
  CHECK_THAT(first.eventually(get_page), Says("good evening"));
  CHECK_THAT(second.run(get_page), Says("good evening"));
  CHECK_THAT(second.run("ping -c 1 first"), Succeeds());
}

TEST_CASE("a server that crashes has lost nothing that it confirmed", "[root][userns]") {
  Sandbox box{busybox()};
  box.put("/bin/server",
          "#!/bin/sh\n"
          "n=0\n"
          "while :; do\n"
          "  n=$((n + 1)); echo $n > /srv/new && mv /srv/new /srv/state && echo confirmed $n\n"
          "done\n",
          {0755});
  auto server = box.start({"/bin/server"});
  server.expect_output("confirmed 20\n");
  server.signal({9});
  const auto ran = server.wait();
  CHECK(ran.exit.signal.value == 9);
  const std::string confirmed = ran.out.substr(0, ran.out.rfind('\n'));
  const int last = std::stoi(confirmed.substr(confirmed.rfind(' ') + 1));
  CHECK(std::stoi(box.get("/srv/state")) >= last);
}

TEST_CASE("a client finds its server again after a partition", "[root]") {
  testing::Network net;
  Sandbox server{busybox(), {.network = &net, .name = "server"}};
  Sandbox client{busybox(), {.network = &net, .name = "client"}};
  CHECK_THAT(client.eventually("ping -c 1 -W 1 server"), Succeeds());
  net.cut("server");
  CHECK_FALSE(client.run("ping -c 1 -W 1 server").success());
  net.heal("server");
  CHECK_THAT(client.eventually("ping -c 1 -W 1 server"), Succeeds());
}

TEST_CASE("two hundred throwaway containers, by eight threads", "[root][userns]") {
  std::atomic<int> fresh{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        Sandbox box{busybox()};
        if (box.run("test ! -e /mine && touch /mine").success()) ++fresh;
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(fresh == 200);
}
