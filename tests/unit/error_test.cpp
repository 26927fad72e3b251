#include "condroid/error.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "catch.hpp"

namespace {

using namespace condroid;

template <class F>
void for_steps(F body) {
  for (unsigned s = 0; s < static_cast<unsigned>(Step::count_); ++s) body(static_cast<Step>(s));
}
constexpr int most_errno = 133;

}  // namespace

TEST_CASE("an error reads step, object, words, name and hint in one line", "[base]") {
  const Error e = sys_error(EPERM, Step::attach_mount, "bind '/a' -> guest '/b'");
  CHECK(to_string(e) == "attach mount: bind '/a' -> guest '/b': Operation not permitted (EPERM)");
  CHECK(fmt::format("{}", e) == to_string(e));
  const Error hinted = sys_error(ENOENT, Step::exec, "'sh'");
  CHECK(to_string(hinted) ==
        "exec: 'sh': No such file or directory (ENOENT); hint: is the command, or the interpreter "
        "or loader it names, in the container's root?");
}

TEST_CASE("an error without an object or a hint leaves them out", "[base]") {
  CHECK(to_string(sys_error(EINTR, Step::wait, {})) == "wait: Interrupted system call (EINTR)");
  CHECK(to_string(make_error(Errc::deadline, Step::mount, "x")) == "mount: x: deadline passed");
  CHECK(to_string(make_error(Errc::cancelled, Step::sync, {}, "try it")) ==
        "sync: cancelled; hint: try it");
}

TEST_CASE("what is wrong with a spec or a text is said by the object alone", "[base]") {
  CHECK(to_string(make_error(Errc::bad_spec, Step::compile, "root.path: is empty")) ==
        "compile: root.path: is empty");
  CHECK(to_string(make_error(Errc::bad_text, Step::parse, "line 3: what?")) ==
        "parse: line 3: what?");
}

TEST_CASE("later failures follow in their order", "[base]") {
  Error e = make_error(Errc::child_vanished, Step::mount, "it was killed");
  e.also = {"remove cgroup: a", "remove cgroup: b"};
  CHECK(to_string(e) ==
        "mount: it was killed: the container's process is gone; also: remove cgroup: a; also: "
        "remove cgroup: b");
}

TEST_CASE("an errno nobody has heard of is printed without a name", "[base]") {
  CHECK(to_string(sys_error(4000, Step::wait, "x")) == "wait: x: unknown error 4000");
}

TEST_CASE("an error is asked for its errno or its condition", "[base]") {
  const Error system = sys_error(ENOENT, Step::exec, "x");
  CHECK(system.errnum() == ENOENT);
  CHECK(system.is_errno(ENOENT));
  CHECK_FALSE(system.is_errno(EPERM));
  CHECK_FALSE(system.is(Errc::bad_spec));
  CHECK(system.code.default_error_condition() == std::errc::no_such_file_or_directory);
  // Errc::unsupported is 2, as ENOENT is.
  const Error own = make_error(Errc::unsupported, Step::compile, "x");
  CHECK(own.errnum() == 0);
  CHECK(own.is(Errc::unsupported));
  CHECK_FALSE(own.is_errno(ENOENT));
  Error generic;
  generic.code = std::make_error_code(std::errc::permission_denied);
  CHECK(generic.errnum() == EACCES);
}

TEST_CASE("condroid's conditions are an error category", "[base]") {
  const std::error_code code = Errc::protocol;
  CHECK(&code.category() == &condroid_category());
  CHECK(std::string_view(condroid_category().name()) == "condroid");
  std::set<std::string> words;
  for (int i = static_cast<int>(Errc::bad_spec); i <= static_cast<int>(Errc::bad_text); ++i) {
    const std::string message = condroid_category().message(i);
    CHECK_FALSE(message.empty());
    CHECK(message != "unknown error");
    words.insert(message);
  }
  CHECK(words.size() == 11);
  CHECK(condroid_category().message(0) == "unknown error");
  CHECK(condroid_category().message(200) == "unknown error");
}

TEST_CASE("a failure is handed on as it is", "[base]") {
  Result<int> number = fail(EACCES, Step::open_source, "'/x'");
  const auto hand_on = [](Result<int>& failed) -> Result<std::string> { return fail(failed); };
  const auto text = hand_on(number);
  REQUIRE_FALSE(text);
  CHECK(text.error().is_errno(EACCES));
  CHECK(text.error().step == Step::open_source);
  CHECK(text.error().subject == "'/x'");
  const auto own = []() -> Result<void> {
    return fail(Errc::stopped, Step::sync, "op 3", "go on");
  }();
  REQUIRE_FALSE(own);
  CHECK(own.error().is(Errc::stopped));
  CHECK(own.error().hint == "go on");
}

TEST_CASE("errno values have their symbolic names", "[base]") {
  CHECK(errno_name(EPERM) == "EPERM");
  CHECK(errno_name(EAGAIN) == "EAGAIN");
  CHECK(errno_name(EOPNOTSUPP) == "EOPNOTSUPP");
  CHECK(errno_name(EHWPOISON) == "EHWPOISON");
  CHECK(errno_name(4000).empty());
  CHECK(errno_name(-1).empty());
}

// ---- hints
// ---------------------------------------------------------------------------------------

TEST_CASE("hints are one line of plain words", "[base]") {
  std::size_t hints = 0;
  for_steps([&](Step step) {
    for (int e = 1; e <= most_errno; ++e) {
      const std::string_view hint = hint_for(step, e);
      if (hint.empty()) continue;
      ++hints;
      INFO(to_string(step) << " " << errno_name(e) << ": " << hint);
      CHECK(hint.size() < 130);
      CHECK(hint.back() != '.');
      CHECK(hint.find('\n') == std::string_view::npos);
      for (const char c : hint) CHECK((c >= 0x20 && c < 0x7f));
    }
  });
  CHECK(hints > 100);
}

TEST_CASE("a hint is given for its own step only", "[base]") {
  // What the whole machine lacks may hit any step.
  const std::set<int> everywhere = {EMFILE, ENFILE, ENOMEM, ENOSYS};
  for (int e = 1; e <= most_errno; ++e) {
    INFO(errno_name(e));
    CHECK(hint_for(Step::none, e).empty() != everywhere.contains(e));
  }
  // Any other belongs to one step, or to these that do the same.
  const std::set<std::set<Step>> alike = {{Step::clone, Step::unshare},
                                          {Step::create_interface, Step::create_bridge}};
  std::map<std::string_view, std::set<Step>> steps;
  for_steps([&](Step step) {
    for (int e = 1; e <= most_errno; ++e)
      if (!everywhere.contains(e) && !hint_for(step, e).empty())
        steps[hint_for(step, e)].insert(step);
  });
  CHECK(steps.size() >= 20);
  for (const auto& [hint, where] : steps) {
    INFO(hint);
    CHECK((where.size() == 1 || alike.contains(where)));
  }
  // Steps at which nothing can be advised.
  for (const Step step : {Step::none, Step::compile, Step::callback, Step::pivot_root,
                          Step::set_no_new_privs, Step::arm_death_signal})
    for (int e = 1; e <= most_errno; ++e)
      if (!everywhere.contains(e)) {
        INFO(to_string(step) << " " << errno_name(e));
        CHECK(hint_for(step, e).empty());
      }
}

TEST_CASE("what people meet first has a hint", "[base]") {
  for (const auto& [step, errnum] :
       {std::pair{Step::exec, ENOENT}, std::pair{Step::exec, EACCES}, std::pair{Step::clone, EPERM},
        std::pair{Step::mount_root, ENOENT}, std::pair{Step::open_source, ENOENT},
        std::pair{Step::create_cgroup, EACCES}, std::pair{Step::write_id_map, EPERM},
        std::pair{Step::set_rlimit, EPERM}, std::pair{Step::pivot_root, ENOMEM}}) {
    INFO(to_string(step) << " " << errno_name(errnum));
    CHECK_FALSE(hint_for(step, errnum).empty());
    CHECK(sys_error(errnum, step, "x").hint == hint_for(step, errnum));
  }
  CHECK(hint_for(Step::exec, EPERM).empty());
  CHECK(hint_for(Step::exec, 0).empty());
  CHECK(hint_for(Step::exec, -ENOENT).empty());
}

TEST_CASE("a terminal does not obey the names in an error", "[base]") {
  const Error e = make_error(Errc::bad_text, Step::open_rootfs,
                             "entry 'a\x1b[2J\x7f\rb\xc2\x9b\x9b\xe2\x82' of "
                             "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80:\n\tline",
                             "\a");
  CHECK(to_string(e) ==
        "open rootfs: entry 'a\\x1b[2J\\x7f\\x0db\\xc2\\x9b\\x9b\\xe2\\x82' of "
        "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80:\\x0a\\x09line; hint: \\x07");
}
