// lxc-create: a container's directory, from a template.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>

#include "claim.hpp"
#include "copy.hpp"
#include "place.hpp"
#include "say.hpp"
#include "script.hpp"
#include "storage.hpp"
#include "tools.hpp"
#include "tree.hpp"

using namespace condroid;
namespace fs = std::filesystem;

namespace {

constexpr Option options[] = {
    {'f', "config", "FILE", "What its configuration begins with; lxc.default_config without"},
    {'t', "template", "TEMPLATE",
     "none, busybox, a directory or an archive of tar's, a script or program, or a name in "
     "/usr/share/lxc/templates"},
    {'B', "bdev", "TYPE",
     "Where the root file system is: dir, and none is the same; or loop, an image"},
    {0, "fssize", "SIZE", "With loop: its size, 500M or 2G; 1G without"},
    {0, "fstype", "TYPE", "With loop: its file system; ext4 without"},
    {0, "dir", "DIR", "The root file system is put there"},
    // Of other kinds of root file systems.
    {0, "lvname", "NAME", "Refused"},
    {0, "vgname", "NAME", "Refused"},
    {0, "thinpool", "NAME", "Refused"},
    {0, "rbdname", "NAME", "Refused"},
    {0, "rbdpool", "NAME", "Refused"},
    {0, "zfsroot", "PATH", "Refused"},
};
constexpr const char* refused[] = {"lvname", "vgname", "thinpool", "rbdname", "rbdpool", "zfsroot"};

bool made(const std::string& what, const std::vector<std::string>& command) {
  const int status = run_program(command);
  if (status != 0) say("{} {}: {}", what, how_it_ended(status), fmt::join(command, " "));
  return status == 0;
}

/// What is needed to start and to log in: busybox, linked for everything it does.
bool busybox(const std::string& root) {
  std::string from;
  for (const char* path : {"/bin/busybox", "/usr/bin/busybox"})
    if (::access(path, X_OK) == 0) from = path;
  if (from.empty()) {
    say("there is no busybox here; install one that is linked statically");
    return false;
  }
  constexpr unsigned directory = 0755, temporary = 01777, file = 0644;
  for (const char* dir : {"bin", "sbin", "usr", "usr/bin", "usr/sbin", "etc", "dev", "proc", "sys",
                          "root", "run", "var"})
    if (!make_directory(root + "/" + dir, directory)) return false;
  if (!make_directory(root + "/tmp", temporary)) return false;
  if (!made("the copy", {"cp", "--", from, root + "/bin/busybox"})) return false;
  if (!write_file(root + "/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", file) ||
      !write_file(root + "/etc/group", "root:x:0:\n", file) ||
      !write_file(
          root + "/etc/inittab",
          "::sysinit:/bin/mount -t tmpfs tmpfs /run\n::respawn:-/bin/sh\ntty1::askfirst:-/bin/sh\n"
          "::ctrlaltdel:/sbin/reboot\n::shutdown:/bin/umount -a -r\n",
          file))
    return false;
  return made("busybox", {"chroot", root, "/bin/busybox", "--install", "-s"});
}

/// A program by its first bytes: an archive may have the mode of one.
bool is_program(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  char first[4] = {};
  const ssize_t n = file.valid() ? ::read(file.get(), first, sizeof first) : 0;
  const std::string_view begins(first, n > 0 ? static_cast<std::size_t>(n) : 0);
  return ::access(path.c_str(), X_OK) == 0 && (begins.starts_with("#!") || begins == "\177ELF");
}

/// The program that `kind` stands for, by name or path; empty for what is none.
std::string template_of(const std::string& kind) {
  if (kind == "none" || kind == "busybox") return {};
  if (kind.find('/') != kind.npos) return is_program(kind) ? kind : std::string();
  const std::string script = fmt::format("/usr/share/lxc/templates/lxc-{}", kind);
  return ::access(script.c_str(), X_OK) == 0 ? script : std::string();
}

/// LXC's lines before what is there now: a template writes the configuration anew.
bool begin_with_its_origin(const Arguments& args, const Place& place) {
  const std::string kind = args.value("template");
  if (kind == "none") return true;
  const std::string script = template_of(kind);
  const auto text = read_file(place.config_file());
  std::string words;
  for (const std::string& one : args.words()) words += " " + one;
  // A word may have an end of a line.
  std::ranges::replace(words, '\n', ' ');
  constexpr unsigned mode = 0644;
  return write_file(
      place.config_file(),
      fmt::format("# Template used to create this container: {}\n"
                  "# Parameters passed to the template:{}\n"
                  "# For additional config options, please look at lxc.container.conf(5)\n\n"
                  "# Uncomment the following line to support nesting containers:\n"
                  "#lxc.include = /usr/share/lxc/config/nesting.conf\n"
                  "# (Be aware this has security implications)\n\n{}",
                  script.empty() ? kind : script, words, text.value_or("")),
      mode);
}

bool fill(const Arguments& args, const Place& place, const std::string& root) {
  const std::string kind = args.value("template");
  if (kind == "none") return true;
  if (kind == "busybox") return busybox(root);
  if (const std::string script = template_of(kind); !script.empty()) {
    std::vector<std::string> command = {script, "--path=" + place.directory(),
                                        "--name=" + place.name(), "--rootfs=" + root};
    command.insert(command.end(), args.words().begin(), args.words().end());
    return made("the template", command);
  }
  struct stat st {};
  const bool there = ::stat(kind.c_str(), &st) == 0;
  if (there && S_ISDIR(st.st_mode)) return made("the copy", {"cp", "-a", "--", kind + "/.", root});
  if (there && S_ISREG(st.st_mode))
    return made("tar", {"tar", "--numeric-owner", "-xpf", kind, "-C", root});
  say("--template={}: neither none nor busybox, and no directory, archive or template", kind);
  return false;
}

/// A sparse file with a file system.
bool make_image(const Arguments& args, const std::string& path) {
  const std::string size = args.has("fssize") ? args.value("fssize") : "1G";
  const auto bytes = size_of(size);
  if (!bytes) {
    say("--fssize={}: no size; 500M or 2G", size);
    return false;
  }
  constexpr unsigned mode = 0600;
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!file.valid() || ::ftruncate(file.get(), *bytes) != 0) {
    say("'{}': {}", path, errno_name(errno));
    return false;
  }
  const std::string kind = args.has("fstype") ? args.value("fstype") : "ext4";
  return made("the file system", {"mkfs", "-t", kind, "-q", path});
}

std::optional<lxc::Configuration> first_config(const Arguments& args) {
  std::string file = args.value("config");
  if (file.empty()) {
    const auto system = system_configuration();
    if (!system) return {};
    file = system->default_config.str();
    if (::access(file.c_str(), F_OK) != 0) return lxc::Configuration();
  }
  return Place("", "config", file).load();
}

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  if (!args.has("template")) {
    say("no template is named; -t none for one without a root file system");
    return 1;
  }
  constexpr std::string_view directories[] = {"dir", "best", "none"};
  bool image = args.value("bdev") == "loop";
  if (args.has("bdev") && !image &&
      std::ranges::find(directories, args.value("bdev")) == std::end(directories)) {
    say("--bdev={}: only dir and loop", args.value("bdev"));
    return 1;
  }
  if (image && args.has("dir")) {
    say("--bdev=loop does not go with --dir");
    return 1;
  }
  for (const char* one : {"fssize", "fstype"})
    if (args.has(one) && !image) {
      say("--{} goes with --bdev=loop", one);
      return 1;
    }
  for (const char* one : refused)
    if (args.has(one)) {
      say("--{}: only directories and images are made here", one);
      return 1;
    }
  if (args.value("template") == "none") image = false;  // nothing is made
  auto config = first_config(args);
  if (!config) return 1;
  heed_interruption();
  const auto claim = Claim::take(*place);
  if (!claim) return 1;
  if (is_partial(*place)) return 1;
  std::error_code error;
  fs::create_directories(place->lxcpath(), error);
  auto making = Making::begin(place->directory());
  if (!making) return 1;
  const std::string root =
      args.has("dir") ? whole_path(args.value("dir")) : place->directory() + "/rootfs";
  config->draw_addresses();
  if (args.value("template") != "none") {
    fs::create_directories(root, error);
    if (error) {
      say("'{}': {}", root, error.message());
      return 1;
    }
  }
  Storage storage{.kind = Storage::directory, .type = "dir", .path = root};
  if (image)
    storage = {.kind = Storage::image, .type = "loop", .path = place->directory() + "/rootdev"};
  if (args.value("template") != "none" && !set_item(*config, "lxc.rootfs.path", storage.text()))
    return 1;
  if (!set_item(*config, "lxc.uts.name", place->name())) return 1;
  // Before the template, which may have something to change and to add.
  constexpr unsigned mode = 0644;
  if (!write_file(place->config_file(), config->text(), mode) ||
      (image && !make_image(args, storage.path)) ||
      !with_root(storage, root, [&](const std::string& at) { return fill(args, *place, at); }) ||
      !begin_with_its_origin(args, *place))
    return 1;
  if (interrupted()) {
    say("it was interrupted");
    return 1;
  }
  making->done();
  return 0;
}

}  // namespace

const Tool lxc_create = {
    .name = "lxc-create",
    .synopsis =
        "-n NAME -t TEMPLATE [-f FILE] [--dir DIR | -B loop] [-- ARGUMENTS OF THE TEMPLATE]",
    .brief = "Makes a container: its directory, with a configuration and a root file system.",
    .options = options,
    .more = "Exit status: 0; 1 when it exists or could not be made. Nothing is left then.",
    .run = &run,
};
