#include "launch/profiles.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include "condroid/sys/fd.hpp"
#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/helper.hpp"
#include "plan/memory_file.hpp"

namespace condroid::inline v0::detail {

namespace {

/// A descriptor from which the text can be read.
Result<Fd> readable(std::string_view text) {
  Fd file(memory_file("profile"));
  if (!file.valid()) return fail(errno, Step::load_profile, "memory for its text");
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n =
        ::pwrite(file.get(), text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno != EINTR) return fail(errno, Step::load_profile, "memory for its text");
    if (n > 0) at += static_cast<std::size_t>(n);
  }
  return file;
}

}  // namespace

std::string profile_name(std::string_view runtime, std::string_view unique_name) {
  return formatted("{}.{}", runtime, unique_name);
}

int remove_profile(const std::string& name) {
  const Fd file(::open("/sys/kernel/security/apparmor/.remove", O_WRONLY | O_CLOEXEC));
  if (!file.valid()) return errno;
  if (::write(file.get(), name.data(), name.size()) >= 0 || errno == ENOENT) return 0;
  return errno;
}

void remove_profiles_of(std::string_view runtime) {
  DIR* d = ::opendir("/sys/kernel/security/apparmor/policy/profiles");
  if (d == nullptr) return;
  while (const dirent* e = ::readdir(d)) {
    // A name with a number behind it: "name.12".
    const std::string_view entry = e->d_name;
    const std::size_t dot = entry.rfind('.');
    if (dot != entry.npos && entry.starts_with(runtime) &&
        entry.substr(runtime.size()).front() == '.')
      (void)remove_profile(std::string(entry.substr(0, dot)));
  }
  ::closedir(d);
}

Error left_behind(const program::Record& record, const std::string& unique_name) {
  if (record.undo_hierarchy == program::undo_profile)
    return sys_error(record.undo_error, Step::load_profile,
                     formatted("removing the AppArmor profile of '{}'", unique_name));
  const bool elsewhere = unique_name.starts_with(beside_runtime);
  return sys_error(record.undo_error, Step::remove_cgroup,
                   formatted("'{}'{} in hierarchy {}",
                             elsewhere ? unique_name.substr(beside_runtime.size()) : unique_name,
                             elsewhere ? " or one above it" : "", record.undo_hierarchy));
}

std::string LaunchEngine::own_profile() const {
  return profile_name(zygote_->runtime_name(), unique_name_);
}

Result<bool> LaunchEngine::do_op(const op::LoadProfile& o) {
  if (!helper_) {
    auto text = readable(formatted("profile {} {}", own_profile(), o.rules));
    if (!text) return fail(text);
    // Before it is made: undone whatever happens next.
    zygote_->expect_profiles();
    made_.profile = true;
    // --add: never in place of one that is there.
    auto helper = Helper::run(zygote_, {o.parser, "--add", "--skip-cache", "--quiet"}, text->get());
    if (!helper) return fail(helper);
    helper_ = std::move(*helper);
  }
  auto done = helper_->step();
  if (!done) return fail(done);
  if (!*done) return false;
  Helper::Outcome out = std::move(**done);
  helper_.reset();
  std::ranges::replace(out.text, '\n', ' ');
  if (out.failed) return fail(out.error, Step::run_helper, formatted("'{}'", o.parser));
  if (out.code == CLD_EXITED && out.status == 0) return true;
  return fail(
      make_error(Errc::unsupported, Step::load_profile,
                 formatted("'{}' failed{}{}", o.parser, out.text.empty() ? "" : ": ", out.text),
                 "that is the parser's word: AppArmor 3 and a program that is not confined itself "
                 "are needed"));
}

}  // namespace condroid::inline v0::detail
