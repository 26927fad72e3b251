// The profile that is made from a Spec.
#include "condroid/config/apparmor.hpp"

#include <string>

#include "catch.hpp"

using namespace condroid;
using namespace condroid::literals;

TEST_CASE("a profile closes what the Spec closes", "[config]") {
  Spec spec;
  spec.security.capabilities = {Capability::chown, Capability::kill};
  spec.security.masked_paths = {"//proc/./kcore"_guest, "/odd [name]*//"_guest};
  spec.security.read_only_paths = {"/proc/sys"_guest};
  CHECK(apparmor::profile(spec, "box-1").value() ==
        "profile box-1 flags=(attach_disconnected,mediate_deleted) {\n"
        "  file,\n"
        "  network,\n"
        "  unix,\n"
        "  capability chown,\n"
        "  capability kill,\n"
        "  deny mount,\n"
        "  deny remount,\n"
        "  deny umount,\n"
        "  deny pivot_root,\n"
        "  signal (receive) peer=unconfined,\n"
        "  signal (send, receive) peer=@{profile_name},\n"
        "  ptrace (trace, read, tracedby, readby) peer=@{profile_name},\n"
        "  ptrace (tracedby, readby) peer=unconfined,\n"
        "  deny \"/proc/kcore{,/**}\" rwklx,\n"
        "  deny \"/odd \\[name\\]\\*{,/**}\" rwklx,\n"
        "  deny \"/proc/sys{,/**}\" wl,\n"
        "}\n");
  spec.security.allow = Allow::nesting;
  CHECK(apparmor::profile(spec, "box-1").value().find("  mount,\n") != std::string::npos);
}

TEST_CASE("what no profile can hold is refused", "[config]") {
  Spec spec;
  for (const char* name : {"", "a b", "a,b", ".a", "a\n", "a}", "unconfined"})
    CHECK_FALSE(apparmor::profile(spec, name).has_value());
  for (const char* path : {"/a\"b", "/a\nb", "/a\x7f", "/a/../b", "/..", "a"}) {
    spec.security.masked_paths = {GuestPath(path)};
    const auto made = apparmor::profile(spec, "box");
    REQUIRE_FALSE(made.has_value());
    CHECK(made.error().is(Errc::bad_spec));
  }
}
