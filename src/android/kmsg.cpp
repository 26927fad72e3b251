#include "condroid/android/kmsg.hpp"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "formatted.hpp"

namespace condroid::inline v0::android {

namespace {

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string_view digits(std::string_view text) {
  const std::size_t end = text.find_first_not_of("0123456789");
  return text.substr(0, end == std::string_view::npos ? text.size() : end);
}

/// A line of which all parts are in it, and what it means.
struct KnownLine {
  std::string_view parts[3];
  std::string_view what;
  std::string_view hint;
  bool fatal = false;
};

// What init of system/core, libprocessgroup, libbinder and the services say. The first that fits.
constexpr KnownLine known_lines[] = {
    {{"Init encountered errors starting first stage"},
     "the first stage mounts and makes nodes itself, and something of that failed",
     "Boot::second_stage leaves it out; Boot::patched takes an image that was changed for "
     "containers",
     true},
    {{"mount(", "failed", "busy"},
     "the first stage mounts what is mounted already",
     "Boot::second_stage, or an image whose init is patched for containers",
     true},
    {{"mknod(", "failed"},
     "the first stage may not make its nodes: no capability mknod, or a user namespace",
     "Boot::second_stage: the nodes are made here",
     true},
    {{"mkdir(", "failed"},
     "the first stage makes a directory that is there already",
     "Boot::second_stage, or an image whose init is patched for containers",
     true},
    {{"mount(", "failed"},
     "the first stage may not mount something",
     "Boot::second_stage; does the image have the directory?",
     true},
    {{"Failed to mount required partitions"},
     "the first stage looks for partitions of a phone",
     "Boot::second_stage: the images are mounted here",
     true},
    {{"First stage mount skipped"},
     "there is no fstab of a phone; fatal for unpatched images",
     "Boot::second_stage"},
    {{"Binder driver", "could not be opened", "No such file"},
     "there is no binder node: the binderfs is empty, or not there",
     "Device::binder; 'ls /dev/binderfs' in the device"},
    {{"Binder driver", "could not be opened", "denied"},
     "the binder node is not for all: mode 0600",
     "chmod 666, which launch() does for a binderfs"},
    {{"Binder driver", "could not be opened", "directory"},
     "in place of the binder node there is a directory",
     "the source of its bind was missing when it was bound"},
    {{"Binder driver", "could not be opened"},
     "the binder node cannot be opened",
     "is the module loaded, and does the device cgroup permit it?"},
    {{"Waiting for service", "on '/dev/"},
     "a service waits for one that never comes",
     "the first crash above this line is the cause"},
    {{"Service manager", "has died"},
     "the service manager restarts, and all with it: lmkd, most often",
     "does the kernel have /proc/pressure (CONFIG_PSI)?"},
    {{"Failed to mount cgroup v2", "busy"},
     "the cgroup file system is mounted already",
     "harmless when it is that of the container"},
    {{"Failed to make and chown", "Read-only file system"},
     "the cgroup is read-only: no process gets one of its own",
     "mount cgroup2 writable at /sys/fs/cgroup"},
    {{"createProcessGroup", "failed", "Read-only file system"},
     "the cgroup is read-only: no process gets one of its own",
     "mount cgroup2 writable at /sys/fs/cgroup"},
    {{"couldn't write", "/dev/cpuset/", "No space left"},
     "a cpuset was made without processors and memory nodes",
     "give the parent cpuset.cpus and cpuset.mems"},
    {{"Could not register INotify"},
     "no inotify instance is left, or /dev/input is missing",
     "sysctl fs.inotify.max_user_instances: 8 for each device"},
    {{"Transaction failed because process frozen"},
     "another guest froze this process by its number",
     "android::seccomp() stops BINDER_FREEZE in the guests; is it in force in all of them?"},
    {{"open /dev/tty", "No such device"},
     "the console service of a debuggable image has no terminal",
     "leave androidboot.console out"},
    {{"no kernel support for memfd"},
     "neither memfd nor ashmem",
     "a property sys.use_memfd=true in an image that keeps it"},
    {{"Rebooting into bootloader"}, "init gave up", "the lines above say why", true},
};

/// Messages of LOG(FATAL) that name SELinux: there is no policy of Android's in this kernel.
bool selinux_failure(std::string_view text) {
  return (has(text, "SELinux") || has(text, "selinux")) &&
         (has(text, "Unable to") || has(text, "Failed to") || has(text, "failed"));
}

Asks asked(std::string_view text) {
  if (has(text, "recovery")) return Asks::recovery;
  if (has(text, "bootloader") || has(text, "fastboot")) return Asks::bootloader;
  if (has(text, "reboot,") || has(text, "'reboot'")) return Asks::reboot;
  if (has(text, "shutdown")) return Asks::shutdown;
  return has(text, "reboot") ? Asks::reboot : Asks::nothing;
}

}  // namespace

std::string_view to_string(Stage stage) noexcept {
  switch (stage) {
    case Stage::spawned:
      return "spawned";
    case Stage::second_stage:
      return "second stage";
    case Stage::property_service:
      return "property service";
    case Stage::servicemanager:
      return "servicemanager";
    case Stage::zygote:
      return "zygote";
    case Stage::boot_completed:
      return "boot completed";
  }
  return "";
}

std::string_view kmsg_text(std::string_view line) noexcept {
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with('<')) {
    const std::string_view number = digits(line.substr(1));
    if (!number.empty() && line.substr(1 + number.size()).starts_with('>'))
      line.remove_prefix(number.size() + 2);
  } else if (const std::string_view number = digits(line);
             !number.empty() && line.substr(number.size()).starts_with(',')) {
    const std::size_t text = line.find(';');
    if (text != std::string_view::npos) line.remove_prefix(text + 1);
  }
  if (line.starts_with('[')) {
    const std::size_t end = line.find(']');
    const std::string_view inside =
        end == std::string_view::npos ? std::string_view{} : line.substr(1, end - 1);
    if (!inside.empty() && inside.find_first_not_of(" .0123456789TC") == std::string_view::npos)
      line.remove_prefix(end + 1);
  }
  while (line.starts_with(' ')) line.remove_prefix(1);
  return line;
}

std::optional<Advice> advice_for(std::string_view line) {
  const std::string_view text = kmsg_text(line);
  if (selinux_failure(text))
    return Advice{.line = std::string(text),
                  .what = "init wants a policy of SELinux's, and this kernel has none of Android's",
                  .hint = "androidboot.selinux=permissive with a patched image; Boot::second_stage",
                  .fatal = true};
  for (const KnownLine& k : known_lines) {
    if (std::ranges::all_of(k.parts, [&](std::string_view part) { return has(text, part); }))
      return Advice{.line = std::string(text),
                    .what = std::string(k.what),
                    .hint = std::string(k.hint),
                    .fatal = k.fatal};
  }
  return {};
}

bool BootLog::reached(Stage stage) const noexcept {
  return std::ranges::any_of(events_, [&](const BootEvent& e) { return e.stage == stage; });
}

void BootLog::reach(Stage stage, std::chrono::nanoseconds at, std::string_view text) {
  if (!reached(stage)) events_.push_back({.stage = stage, .at = at, .line = std::string(text)});
}

void BootLog::line(std::string_view raw, std::chrono::nanoseconds at) {
  const std::string_view text = kmsg_text(raw);
  if (text.empty()) return;
  last_ = text;
  constexpr std::size_t most_advice = 32;
  if (auto found = advice_for(text);
      found && advice_.size() < most_advice &&
      std::ranges::none_of(advice_, [&](const Advice& a) { return a.what == found->what; }))
    advice_.push_back(std::move(*found));
  // Others log there, too: what a service says is not what init does.
  if (!text.starts_with("init: ") && !text.starts_with("init[")) return;
  reach(Stage::spawned, at, text);
  if (has(text, "init second stage started")) reach(Stage::second_stage, at, text);
  // Its socket is there before the first action.
  if (has(text, "processing action (")) reach(Stage::property_service, at, text);
  if (has(text, "starting service 'servicemanager'")) reach(Stage::servicemanager, at, text);
  if (has(text, "starting service 'zygote")) reach(Stage::zygote, at, text);
  if (has(text, "processing action (sys.boot_completed=1") || has(text, "Boot completed"))
    reach(Stage::boot_completed, at, text);
  if (has(text, "Received sys.powerctl=") || has(text, "Got shutdown_command") ||
      has(text, "Reboot start, reason:"))
    if (const Asks what = asked(text.substr(6)); what != Asks::nothing) asks_ = what;
}

std::vector<BootEvent> BootLog::feed(std::string_view piece, std::chrono::nanoseconds at) {
  const std::size_t before = events_.size();
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    begun_ += part.substr(0, longest_line - std::min(longest_line, begun_.size()));
    if (end == std::string_view::npos) break;
    line(begun_, at);
    begun_.clear();
    piece.remove_prefix(end + 1);
  }
  return {events_.begin() + static_cast<std::ptrdiff_t>(before), events_.end()};
}

Result<KmsgLog> KmsgLog::open() {
  auto pty = Pty::open();
  if (!pty) return fail(pty);
  // As it is written: no carriage returns, no echo.
  termios mode{};
  if (::tcgetattr(pty->peer().get(), &mode) < 0)
    return fail(errno, Step::open_console, "pseudo terminal for /dev/kmsg");
  ::cfmakeraw(&mode);
  if (::tcsetattr(pty->peer().get(), TCSANOW, &mode) < 0)
    return fail(errno, Step::open_console, "pseudo terminal for /dev/kmsg");
  char name[64] = "";
  if (const int e = ::ttyname_r(pty->peer().get(), name, sizeof name); e != 0)
    return fail(e, Step::open_console, "name of a pseudo terminal");
  const int flags = ::fcntl(pty->master().get(), F_GETFL);
  if (flags < 0 || ::fcntl(pty->master().get(), F_SETFL, flags | O_NONBLOCK) < 0)
    return fail(errno, Step::open_console, "pseudo terminal for /dev/kmsg");
  return KmsgLog(std::move(*pty), HostPath(name));
}

Result<std::vector<BootEvent>> KmsgLog::read(BootLog& into) {
  std::vector<BootEvent> events;
  char some[4096];
  for (;;) {
    const ssize_t n = ::read(pty_.master().get(), some, sizeof some);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return events;
    if (n <= 0) return fail(n < 0 ? errno : EIO, Step::read_output, "/dev/kmsg of a device");
    for (BootEvent& e :
         into.feed({some, static_cast<std::size_t>(n)}, std::chrono::steady_clock::now() - start_))
      events.push_back(std::move(e));
  }
}

}  // namespace condroid::inline v0::android
