// What the pages in docs/ show and no example has, to be compiled; tests/support/check_snippets.py
// sees that it is the same.
#include <string>

#include "catch.hpp"
#include "condroid/condroid.hpp"
#include "condroid/config/lxc.hpp"
#include "facts.hpp"

namespace {

using namespace condroid;
using namespace condroid::literals;

/// docs/images.md
[[maybe_unused]] Result<Container> image_of(const Result<Runtime>& runtime) {
  auto box = ContainerBuilder{"box"}
                 .root_image("/srv/debian.erofs"_host)
                 .ephemeral()
                 .exec({"/bin/sh"})
                 .launch(*runtime);
  return box;
}

/// docs/lxc-config.md
[[maybe_unused]] Result<Container> configuration_of(const Result<Runtime>& runtime) {
  const auto log = [](const std::string& line) { fmt::print("{}\n", line); };
  auto config = lxc::Configuration::load("/var/lib/lxc/web/config"_host);
  if (!config) return fail(config);  // all that is wrong in it
  auto container = config->to_spec({.name = "web"});
  if (!container) return fail(container);
  for (const auto& note : container->notes) log(to_string(note));
  auto box = runtime->launch(container->spec);
  return box;
}

}  // namespace

TEST_CASE("capabilities are said as docs/capabilities.md shows", "[pages]") {
  auto box = Container::builder("worker")
                 .root("/srv/debian"_host)
                 .cap_drop({Capability::setuid, Capability::setgid});
  auto few = Container::builder("few")
                 .root("/srv/debian"_host)
                 .cap_keep({Capability::chown, Capability::kill});
  CHECK_FALSE(box.spec().security.capabilities.has(Capability::setuid));
  CHECK(box.spec().security.capabilities.has(Capability::chown));
  CHECK(few.spec().security.capabilities == CapabilitySet{Capability::chown, Capability::kill});

  Spec spec = few.spec();
  spec.security.capabilities = {Capability::chown, Capability::kill};
  spec.security.sets.ambient = CapabilitySet{Capability::kill};  // what a program keeps
  spec.security.securebits = Securebit::noroot | Securebit::noroot_locked;
  const auto plan = compile(spec, test::root_on_v2());
  if (!plan) FAIL(to_string(plan.error()));
  CHECK(to_string(*plan).find("noroot") != std::string::npos);
}
