// lxc-snapshot: copies of a container that can be gone back to.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>

#include "claim.hpp"
#include "copy.hpp"
#include "destroy.hpp"
#include "relatives.hpp"
#include "say.hpp"
#include "script.hpp"
#include "tools.hpp"
#include "tree.hpp"

using namespace condroid;
namespace fs = std::filesystem;

namespace {

constexpr Option options[] = {
    {'L', "list", "", "List its snapshots"},
    {'C', "showcomments", "", "List them with their comments"},
    {'c', "comment", "FILE", "What is in FILE is the comment of the new one"},
    {'r', "restore", "SNAPSHOT", "The container becomes what it was, or NEWNAME is made"},
    {'N', "newname", "NEWNAME", "With -r: a container of that name is made of it"},
    {'d', "destroy", "SNAPSHOT", "Remove it; ALL removes all of them"},
};
constexpr unsigned mode = 0644;

/// LXC's way to write it.
std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&time, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%Y:%m:%d %H:%M:%S", &parts)};
}

int list(const Place& place, bool comments) {
  const auto names = snapshots_of(place);
  if (names.empty()) fmt::print("No snapshots\n");
  for (const std::string& name : names) {
    const std::string directory = fmt::format("{}/{}", snapshots_path(place), name);
    fmt::print("{} ({}) {}\n", name, snapshots_path(place),
               read_file(directory + "/ts").value_or(""));
    if (comments) fmt::print("{}", read_file(directory + "/comment").value_or(""));
  }
  return 0;
}

int create(const Place& place, const Arguments& args) {
  std::optional<std::string> comment;
  if (args.has("comment")) {
    comment = read_file(args.value("comment"));
    if (!comment) {
      say("--comment={}: {}", args.value("comment"), errno_name(errno));
      return 1;
    }
  }
  const auto claim = Claim::take(place);
  if (!claim) return 1;
  const auto config = place.load();
  if (!config) return 1;
  constexpr unsigned directory_mode = 0755;
  const std::string path = snapshots_path(place);
  if (!exists(path) && !make_directory(path, directory_mode)) return 1;
  int number = 0;
  while (exists(fmt::format("{}/snap{}", path, number))) ++number;
  const Place to(path, fmt::format("snap{}", number));
  const bool made = copy_container(
      place, *config, to,
      {.keep_name = true, .keep_mac = true, .finish = [&](lxc::Configuration&) {
         return write_file(to.directory() + "/ts", now(), mode) &&
                (!comment || write_file(to.directory() + "/comment", *comment, mode));
       }});
  if (!made) ::rmdir(path.c_str());
  return made ? 0 : 1;
}

int destroy(const Place& place, const std::string& name) {
  const auto all = snapshots_of(place);
  std::vector<std::string> gone = name == "ALL" ? all : std::vector<std::string>{name};
  const std::string path = snapshots_path(place);
  bool fine = true;
  for (const std::string& one : gone) {
    const auto snapshot = Place::of_path(path, one);
    if (!snapshot || !exists(snapshot->directory())) {
      say("there is no snapshot '{}'", one);
      return 1;
    }
    if (!snapshot->defined() || partial(snapshot->directory()) != Partial::none) {
      fine = !(partial(snapshot->directory()) == Partial::made_now && is_partial(*snapshot)) &&
             remove_half_made(*snapshot) && fine;
      continue;
    }
    const auto config = snapshot->load();
    fine = config && destroy_container(*snapshot, *config) && fine;
  }
  ::rmdir(path.c_str());  // where it was the last
  return fine ? 0 : 1;
}

/// A directory that is gone when this is.
class Scratch {
 public:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (exists(path_)) (void)remove_tree(path_);
  }

 private:
  std::string path_;
};

/// Puts what is at `from` at `to`, and what was there at `from`.
bool put(const std::string& from, const std::string& to) {
  return exists(to) ? exchange(from, to) : move_to_nothing(from, to);
}

/// The hooks' files and the like, each in the place of what it was.
bool put_files(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!exists(from)) return true;
  for (fs::recursive_directory_iterator at(from, error), end; !error && at != end;
       at.increment(error)) {
    const std::string target = to + at->path().string().substr(from.size());
    std::error_code ignored;
    if (at->is_directory(ignored) && !at->is_symlink(ignored)) {
      if (!exists(target)) fs::create_directory(target, at->path(), ignored);
    } else if (!put(at->path().string(), target)) {
      return false;
    }
  }
  if (error) say("'{}': {}", from, error.message());
  return !error;
}

/// Nothing that there is now is removed before all of the other is in its place.
int go_back(const Place& place, const Place& snapshot) {
  const auto claim = Claim::take(place);
  if (!claim) return 1;
  const auto now = place.load(), then = snapshot.load();
  if (!now || !then) return 1;
  if (!clones_of(place).empty()) {
    say("it has clones whose files lie above its own, which would change");
    return 1;
  }
  const Storage old = Storage::of(*now), saved = Storage::of(*then);
  const std::string& dir = place.directory();
  const Storage back = storage_in(dir, saved, false);
  const std::string part = back.kind == Storage::overlay ? "/overlay"
                           : back.kind == Storage::image ? "/rootdev"
                                                         : "/rootfs";
  const std::string &files = old.kind == Storage::overlay ? old.upper : old.path,
                    &new_files = back.kind == Storage::overlay ? back.upper : back.path;
  if (back.kind != Storage::nothing && exists(dir + part) && files != new_files) {
    say("'{}{}' is there and not its root file system, which is '{}': move one of them away", dir,
        part, old.text());
    return 1;
  }
  if (!can_copy(saved, false) || !nothing_mounted_below(dir)) return 1;
  const std::string beside = fmt::format("{}/.restored.{}", dir, ::getpid());
  constexpr unsigned private_mode = 0700;
  if (!make_directory(beside, private_mode)) return 1;
  const Scratch scratch(beside);
  if (!copy_storage(saved, beside, false)) return 1;
  auto config = moved(*then, snapshot.directory(), dir, beside + "/files");
  if (!config) return 1;
  if (back.kind != Storage::nothing && !set_item(*config, "lxc.rootfs.path", back.text())) return 1;
  // The new one has to be on the disk before the old one goes.
  {
    const Fd there(::open(beside.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!there.valid() || ::syncfs(there.get()) != 0) {
      say("'{}': {}", beside, errno_name(errno));
      return 1;
    }
  }
  if (interrupted()) {
    say("it was interrupted");
    return 1;
  }
  const bool had = exists(dir + part);
  if (back.kind != Storage::nothing && !put(beside + part, dir + part)) return 1;
  constexpr unsigned config_mode = 0640;
  struct stat st {};
  const unsigned as_it_was =
      ::stat(place.config_file().c_str(), &st) == 0 ? st.st_mode & 0777U : config_mode;
  if (!put_files(beside + "/files", dir) ||
      !write_file(place.config_file(), config->text(), as_it_was)) {
    if (back.kind != Storage::nothing)
      (void)(had ? exchange(beside + part, dir + part)
                 : move_to_nothing(dir + part, beside + part));
    return 1;
  }
  // Where an overlay is mounted to.
  if (back.kind == Storage::overlay && !exists(dir + "/rootfs"))
    (void)move_to_nothing(beside + "/rootfs", dir + "/rootfs");
  forget(place);
  return depend(place, bases_of(snapshot)) ? 0 : 1;
}

int restore(const Place& place, const Arguments& args) {
  const std::string name = args.value("restore");
  const auto snapshot = Place::of_path(snapshots_path(place), name);
  if (!snapshot || !snapshot->defined() || is_partial(*snapshot)) {
    say("there is no snapshot '{}'", name);
    return 1;
  }
  std::string newname = args.value("newname");
  if (newname.empty() && !args.words().empty()) newname = args.words().front();
  const auto held = Claim::take(*snapshot);
  if (!held) return 1;
  // Its own configuration is what changes, whatever --rcfile says.
  if (newname.empty() || newname == place.name())
    return go_back(Place(place.lxcpath(), place.name()), *snapshot);
  const auto to = Place::of(args, newname);
  if (!to) return 1;
  const Place target(to->lxcpath(), newname);
  const auto config = snapshot->load();
  const auto claim = Claim::take(target);
  return config && claim && copy_container(*snapshot, *config, target, {}) ? 0 : 1;
}

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  if (!place->defined()) {
    say("there is no such container");
    return 1;
  }
  if (is_partial(*place)) return 1;
  if (args.has("restore") + args.has("destroy") + (args.has("list") || args.has("showcomments")) >
      1) {
    say("--list, --restore and --destroy do not go together");
    return 1;
  }
  if (args.words().size() > (args.has("restore") ? 1 : 0)) {
    say("'{}': there is nothing more to be named", args.words().back());
    return 1;
  }
  if (args.has("newname") && !args.has("restore")) {
    say("--newname goes with --restore");
    return 1;
  }
  if (args.has("list") || args.has("showcomments")) return list(*place, args.has("showcomments"));
  heed_interruption();
  if (args.has("destroy")) return destroy(*place, args.value("destroy"));
  return args.has("restore") ? restore(*place, args) : create(*place, args);
}

}  // namespace

const Tool lxc_snapshot = {
    .name = "lxc-snapshot",
    .synopsis = "-n NAME [-c FILE | -L [-C] | -r SNAPSHOT [-N NEWNAME] | -d SNAPSHOT]",
    .brief = "Keeps what a container is now, as snap0, snap1 and so on; or goes back to that.",
    .options = options,
    .more =
        "A directory is copied; of an overlay what is its own. What -r replaces is removed once "
        "all of the\nsnapshot is in its place, and the snapshot stays. The container has to be "
        "stopped, but for -N, -L and -d.\n\n"
        "Exit status: 0; 1 when it could not be done. All is as it was then.",
    .run = &run,
};
