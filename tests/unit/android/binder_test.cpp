#include "condroid/android/binder.hpp"

#include <fcntl.h>

#include <cerrno>

#include "catch.hpp"
#include "sys_matchers.hpp"

using namespace condroid;
using namespace condroid::literals;
using android::BinderNodes;

TEST_CASE("a pool's names are triples", "[android]") {
  const auto found = android::binder_triples({{"c2-vndbinder", 50},
                                              {"rfkill", 62},
                                              {"c1-binder", 51},
                                              {"binder", 1},
                                              {"c2-binder", 52},
                                              {"c1-hwbinder", 53},
                                              {"hwbinder", 2},
                                              {"c2-hwbinder", 54},
                                              {"c1-vndbinder", 55},
                                              {"lonely-binder", 56},
                                              {"vndbinder", 3}});
  REQUIRE(found.size() == 3);
  CHECK(found[0] ==
        BinderNodes{"/dev/binder"_host, "/dev/hwbinder"_host, "/dev/vndbinder"_host, {1, 2, 3}});
  CHECK(found[1] == BinderNodes{"/dev/c1-binder"_host,
                                "/dev/c1-hwbinder"_host,
                                "/dev/c1-vndbinder"_host,
                                {51, 53, 55}});
  CHECK(found[2].binder == "/dev/c2-binder"_host);
  CHECK(android::binder_triples({}).empty());
  CHECK(android::binder_triples({{"binder", 1}, {"hwbinder", 2}}).empty());
  // As Waydroid calls them.
  CHECK(
      android::binder_triples({{"anbox-binder", 1}, {"anbox-hwbinder", 2}, {"anbox-vndbinder", 3}})
          .size() == 1);
}

TEST_CASE("what is no binder is an error, not a free node", "[android]") {
  const auto one = [](const char* path) {
    return std::vector<BinderNodes>{{HostPath(path), HostPath(path), HostPath(path), {}}};
  };
  CHECK(test::errno_of(android::lease_binder(one("/dev/null"))) == ENOTTY);
  CHECK(test::errno_of(android::lease_binder(one("/dev/no-such"))) == ENOENT);
  CHECK(test::errno_of(android::lease_binder({})) == EBUSY);
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  CHECK(test::errno_of(android::binder_version(null)) == ENOTTY);
}
