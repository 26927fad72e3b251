// What lxc-user-nic, Debian's, gives to a user without rights: in a network namespace of the test's
// own, with a list of rights and of interfaces of its own.
#include "launch/user_nic.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "containers.hpp"
#include "networks.hpp"
#include "sys/netlink.hpp"

#if CONDROID_LIBNL

namespace {

using namespace condroid;
using namespace condroid::literals;
using namespace condroid::test;
using namespace std::chrono_literals;

constexpr uid_t somebody = 61234;
constexpr const char* rights = "/etc/lxc/lxc-usernet";

void write_new(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  must(file.flush().good(), path);
}

/// A place of its own for what the program reads and writes: its rights, its list, who users are,
/// and sysfs, where it looks for interfaces of this network namespace.
void lay_ground(std::string_view allowed) {
  enter_own_mounts();
  std::string passwd = read_file("/etc/passwd") + "test-user:x:61234:61234::/:/bin/false\n";
  must(::mount("tmpfs", "/etc/lxc", "tmpfs", 0, nullptr) == 0, "/etc/lxc");
  must(::mount("tmpfs", "/run", "tmpfs", 0, "mode=755") == 0, "/run");
  write_new("/run/passwd", passwd);
  must(::mount("/run/passwd", "/etc/passwd", nullptr, MS_BIND, nullptr) == 0, "/etc/passwd");
  must(::mkdir("/run/cgroup", 0755) == 0 &&
           ::mount("/sys/fs/cgroup", "/run/cgroup", nullptr, MS_BIND | MS_REC, nullptr) == 0 &&
           ::mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0 &&
           ::mount("/run/cgroup", "/sys/fs/cgroup", nullptr, MS_MOVE, nullptr) == 0,
       "/sys");
  if (!allowed.empty()) write_new(rights, allowed);
}

/// A bridge in a network namespace of this process's, which nobody comes back from.
void lay_bridge() {
  static OwnNetwork net;
  net.bridge("nbr0", {"10.77.0.1/24"_prefix, "fd77::1/64"_prefix});
}

void become_somebody() {
  must(::setgroups(0, nullptr) == 0 && ::setresgid(somebody, somebody, somebody) == 0 &&
           ::setresuid(somebody, somebody, somebody) == 0,
       "ids");
}

/// A user without rights beside a bridge, who is allowed what is said here.
template <class Body>
std::string as_user(std::string_view allowed, Body body) {
  return in_child([&] {
    lay_bridge();
    lay_ground(allowed);
    become_somebody();
    body(must(Runtime::open()));
    must(OwnNetwork::soon({"lo", "nbr0"}), "an interface is left");
  });
}

constexpr std::string_view ten = "test-user veth nbr0 10\n";

Interface at_bridge(unsigned number) {
  return {.link = UserNic{.bridge = "nbr0"},
          .addresses = {*IpPrefix::parse(fmt::format("10.77.0.{}/24", number)),
                        *IpPrefix::parse(fmt::format("fd77::{:x}/64", number))}};
}

std::string why_not(const Runtime& by, const Spec& spec) {
  const auto box = by.launch(spec);
  must(!box.has_value(), "it was launched");
  return to_string(box.error());
}

template <class F>
bool soon(const F& f) {
  for (int i = 0; i < 500 * slow() && !f(); ++i) std::this_thread::sleep_for(10ms);
  return f();
}

/// Processes of it that this user began.
std::size_t programs() {
  std::size_t count = 0;
  const std::string mine = fmt::format("\nUid:\t{}\t", somebody);
  for (const std::string& pid : entries_of("/proc")) {
    if (pid.front() < '0' || pid.front() > '9') continue;
    const std::string status = read_file("/proc/" + pid + "/status");
    if (status.starts_with("Name:\tlxc-user-nic\n") && status.find(mine) != status.npos) ++count;
  }
  return count;
}

void says(const std::string& text, std::string_view words) {
  must(text.find(words) != text.npos, text);
}

/// Whether `good` is true of the interface, in a process that is in the container's network.
template <class F>
bool inside(const Container& box, F good) {
  Forked looking([&] {
    if (::setns(box.pidfd().get(), CLONE_NEWUSER) < 0) return 1;
    if (::setns(box.pidfd().get(), CLONE_NEWNET) < 0) return 2;
    int error = 0;
    const Fd socket = detail::open_netlink(error);
    return good(detail::find_interface(socket, "eth0")) ? 0 : 3;
  });
  return looking.wait() == 0;
}

TEST_CASE("lxc-user-nic connects containers of a user without rights", "[user_nic][.root]") {
  const TempRoot root;
  REQUIRE_FALSE(facts().user_nic.empty());
  CHECK(as_user(ten, [&](const Runtime& mine) {
          unsigned number = 2;
          for (const Way& way : ways) {
            const Interface a = at_bridge(number), b = at_bridge(number + 1);
            const IpAddress of_a = a.addresses[way.v6 ? 1 : 0].address;
            const IpAddress of_b = b.addresses[way.v6 ? 1 : 0].address;
            const IpAddress host = way.v6 ? "fd77::1"_ip : "10.77.0.1"_ip;
            Server server(on_network(root, a, {}), way, of_a, 2, mine);
            Spec calling = on_network(root, b, {"call", way.protocol, to_string(of_a), "7", "hi"});
            calling.process.stdio.out = Stream::capture;
            Container client = must(mine.launch(calling));
            must(must(client.wait()).out == answer(of_b, "hi"), "from a container");
            OnHost outside({"call", way.protocol, to_string(of_a), "7", "in"});
            must(outside.end() == answer(host, "in"), "from the host");
            must(must(server.box.wait()).success(), "the server");
            number += 2;
          }
        }) == "");
}

TEST_CASE("an interface of lxc-user-nic is as it was asked for", "[user_nic][.root]") {
  const TempRoot root;
  CHECK(as_user(ten, [&](const Runtime& mine) {
          Interface i = at_bridge(2);
          i.mtu = 1300;
          i.mac = "02:77:00:00:00:01"_mac;
          i.gateway_auto = true;
          i.ready_within = 10s;
          Spec spec = on_network(root, i, {"pause"});
          spec.lifecycle = {.restart = Restart::always, .restart_limit = 1};
          const auto seen = [](const detail::FoundInterface& found) {
            return found.mtu == 1300 && found.mac == std::string("\x02\x77\0\0\0\x01", 6);
          };
          Container box = must(mine.launch(spec));
          must(inside(box, seen), "MTU or Ethernet address");
          must(box.kill());
          (void)must(box.wait());
          i.mac.reset();
          i.mac_template = "02:77:00:00:xx:xx";
          i.up = false;
          i.gateway_auto = false;
          i.addresses.clear();
          i.ready_within = 0s;
          Container other = must(mine.launch(on_network(root, i, {"pause"})));
          must(inside(other,
                      [](const detail::FoundInterface& found) {
                        return found.mac.starts_with(std::string("\x02\x77\0\0", 4));
                      }),
               "template");
          must(other.kill());
          (void)must(other.wait());
        }) == "");
}

TEST_CASE("what lxc-user-nic refuses is told with the interface", "[user_nic][.root]") {
  const TempRoot root;
  const auto spec = [&](const char* bridge) {
    Interface i = at_bridge(2);
    i.link = UserNic{.bridge = bridge};
    return on_network(root, i, {"pause"});
  };
  SECTION("by its list of rights") {
    CHECK(as_user("test-user veth nbr0 2\ntest-user veth lo 1\n", [&](const Runtime& mine) {
            says(why_not(mine, spec("none")), "create interface: 'eth0': veth at bridge 'none'");
            says(why_not(mine, spec("none")), "ENODEV");
            says(why_not(mine, spec("lo")), "'lo' is no bridge");
            Container one = must(mine.launch(spec("nbr0")));
            {
              // The second goes with the launch that the third fails in.
              Spec two = spec("nbr0");
              two.network.interfaces.push_back({.name = "eth1", .link = UserNic{"nbr0"}});
              const std::string full = why_not(mine, two);
              says(full, "create interface: 'eth1': veth at bridge 'nbr0' ('/");
              says(full, "failed: Quota reached");
              says(full, "a line 'test-user veth nbr0 10' in /etc/lxc/lxc-usernet");
            }
            must(one.kill());
            (void)must(one.wait());
          }) == "");
  }
  SECTION("of users that have none") {
    CHECK(as_user("other veth nbr0 2\n", [&](const Runtime& mine) {
            says(why_not(mine, spec("nbr0")), "failed: Quota reached");
          }) == "");
    CHECK(as_user("", [&](const Runtime& mine) {
            says(why_not(mine, spec("nbr0")), "Failed to open \"/etc/lxc/lxc-usernet\"");
          }) == "");
  }
  SECTION("or it has none itself") {
    const std::string program = facts().user_nic;
    const std::string dir = program.substr(0, program.rfind('/'));
    CHECK(in_child([&] {
            lay_bridge();
            lay_ground(ten);
            must(::mount(dir.c_str(), dir.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
                     ::mount(nullptr, dir.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID,
                             nullptr) == 0,
                 "nosuid");
            become_somebody();
            says(why_not(must(Runtime::open()), spec("nbr0")), "Permission denied");
          }) == "");
    CHECK(in_child([&] {
            lay_bridge();
            lay_ground(ten);
            const std::string bytes = read_file(program);
            must(::mount("tmpfs", dir.c_str(), "tmpfs", 0, nullptr) == 0, "tmpfs");
            write_new(program, bytes);
            must(::chmod(program.c_str(), 0755) == 0, "chmod");
            become_somebody();
            says(why_not(must(Runtime::open()), spec("nbr0")),
                 "lxc-user-nic is not installed, or not set-user-ID root");
          }) == "");
  }
}

TEST_CASE("lxc-user-nic ends what it began, whoever dies meanwhile", "[user_nic][.root]") {
  const TempRoot root;
  const Spec spec = on_network(root, at_bridge(2), {"pause"});
  // In the middle of it, somewhere: it takes some milliseconds.
  CHECK(as_user(ten, [&](const Runtime& /*mine*/) {
          for (int i = 0; i < 24; ++i) {
            Forked host([&] {
              const Runtime own = must(Runtime::open());
              std::thread end([i] {
                std::this_thread::sleep_for(i * 500us * slow());
                ::raise(SIGKILL);
              });
              (void)own.launch(spec);
              end.join();
              return 0;
            });
            host.wait();
          }
        }) == "");
  // While it waits for its list, which somebody else has.
  CHECK(in_child([&] {
          lay_bridge();
          lay_ground(ten);
          must(::mkdir("/run/lxc", 0755) == 0, "/run/lxc");
          const Fd list(::open("/run/lxc/nics", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
          struct flock lock {};
          const auto set = [&](short type) {
            lock.l_type = type;
            must(::fcntl(list.get(), F_SETLK, &lock) == 0, "lock");
          };
          become_somebody();
          const auto begin = [&](const Runtime& by) {
            Launch launch = must(by.start(must(compile(spec, must(by.facts()).get()))));
            must(soon([&] {
                   const auto made = launch.step();
                   must(made.has_value() && !*made, "it is waited for");
                   return programs() == 1;
                 }),
                 "it runs");
            return launch;
          };
          const auto ends_when_it_can = [&] {
            for (int i = 0; i < 10; ++i, std::this_thread::sleep_for(10ms))
              must(programs() == 1, "it was killed");
            set(F_UNLCK);
            must(soon([] { return programs() == 0; }), "it ends");
            must(OwnNetwork::soon({"lo", "nbr0"}), "an interface is left");
          };
          const Runtime mine = must(Runtime::open());
          set(F_WRLCK);
          {
            Launch launch = begin(mine);
            launch.cancel();
          }
          ends_when_it_can();
          set(F_WRLCK);
          Forked host([&] {
            const Runtime own = must(Runtime::open());
            const Launch launch = begin(own);
            ::raise(SIGKILL);
            return 0;
          });
          host.wait();
          ends_when_it_can();
          Container box = must(mine.launch(spec));
          must(box.kill());
          (void)must(box.wait());
        }) == "");
}

TEST_CASE("what lxc-user-nic says is told without where it says so", "[user_nic][.root]") {
  using detail::user_nic_complaint;
  CHECK(user_nic_complaint("../src/lxc/cmd/lxc_user_nic.c: 1250: main: Quota reached") ==
        "Quota reached");
  CHECK(user_nic_complaint(
            "../src/lxc/cmd/lxc_user_nic.c: 308: get_alloted - No such file or directory - Failed "
            "to open \"/etc/lxc/lxc-usernet\"  ../src/lxc/cmd/lxc_user_nic.c: 1250: main: Quota "
            "reached") == "No such file or directory - Failed to open \"/etc/lxc/lxc-usernet\"");
  CHECK(user_nic_complaint("who knows: 12").find("who knows: 12") == 0);
  CHECK(user_nic_complaint("").empty());
  CHECK(detail::user_nic_host_end("eth7:3:veth4242_bURX:4") == "veth4242_bURX");
  for (const char* odd : {"", ":::", "eth7:3::4", "eth7:x:veth:4", "eth7:3:veth:4:5", "a"})
    CHECK_FALSE(detail::user_nic_host_end(odd).has_value());
}

}  // namespace

#endif
