// lxc-copy: a container made of another, under another name, or for as long as it runs.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "claim.hpp"
#include "copy.hpp"
#include "destroy.hpp"
#include "relatives.hpp"
#include "say.hpp"
#include "script.hpp"
#include "tools.hpp"
#include "tree.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'N', "newname", "NEWNAME", "The name of the copy"},
    {'p', "newpath", "NEWPATH", "Where the copy is to be, in the place of where NAME is"},
    {'R', "rename", "", "NAME itself is NEWNAME then"},
    {'s', "snapshot", "", "A directory is not copied: what the copy changes lies above it"},
    {'a', "allowrunning", "", "Although it runs: what it writes meanwhile may be half there"},
    {'e', "ephemeral", "", "Start it, by -s; when it has stopped it is removed"},
    {'F', "foreground", "", "With -e: this terminal is its console"},
    {'d', "daemon", "", "With -e: in the background; that is usual"},
    {'D', "keepdata", "", "With -e: it is not removed"},
    {'m', "mount", "MOUNT",
     "With -e: {bind,overlay}=/SOURCE[:/TARGET], bind[:ro]; may be repeated"},
    {'B', "backingstorage", "TYPE", "dir: a copy; overlay: as -s"},
    {'K', "keepname", "", "Its host keeps its name"},
    {'M', "keepmac", "", "Its interfaces keep their addresses"},
    {'L', "fssize", "SIZE",
     "Of an image: the copy has so much room, 500M or 2G; with -t: all that it changes"},
    {'t', "tmpfs", "", "With -e: what it changes is in memory, and lost when it reboots"},
};

struct Mount {
  bool overlay = false;
  bool read_only = false;
  std::string source = {}, target = {};
};

/// "bind=/a:/b:ro,overlay=/c". Nothing, and it was said.
std::optional<std::vector<Mount>> mounts_of(const Arguments& args) {
  std::vector<Mount> all;
  const auto wrong = [](const std::string& text, std::string_view what) {
    say("--mount={}: {}; {{bind,overlay}}=/SOURCE[:/TARGET]", text, what);
  };
  for (const std::string& text : args.values("mount")) {
    std::istringstream list(text);
    for (std::string one; std::getline(list, one, ',');) {
      Mount mount;
      const std::size_t at = one.find('=');
      const std::string kind = one.substr(0, at);
      mount.overlay = kind == "overlay";
      if (at == one.npos || (kind != "bind" && kind != "overlay")) {
        wrong(text, "neither bind nor overlay");
        return {};
      }
      std::vector<std::string> parts;
      std::istringstream rest(one.substr(at + 1));
      for (std::string part; std::getline(rest, part, ':');) parts.push_back(part);
      if (!mount.overlay && parts.size() > 1 && (parts.back() == "ro" || parts.back() == "rw")) {
        mount.read_only = parts.back() == "ro";
        parts.pop_back();
      }
      if (parts.empty() || parts.size() > 2 || !parts[0].starts_with('/')) {
        wrong(text, "no whole path of a source, and at most one of a target");
        return {};
      }
      mount.source = parts[0];
      mount.target = parts.back();
      mount.target.erase(0, mount.target.find_first_not_of('/'));
      if (text.find_first_of(" \t\n") != text.npos || mount.target.empty()) {
        wrong(text, "a blank, or no target");
        return {};
      }
      struct stat st {};
      const bool there = ::stat(mount.source.c_str(), &st) == 0;
      if (!there || (mount.overlay && !S_ISDIR(st.st_mode))) {
        wrong(text,
              fmt::format("'{}': {}", mount.source, there ? "no directory" : errno_name(errno)));
        return {};
      }
      all.push_back(std::move(mount));
    }
  }
  return all;
}

std::string quoted_for_shell(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// Has each of its lives begin in memory: in its mount namespace what it changes is a tmpfs, with
/// what the copy had at first. A hook does it, for LXC's lxc-start does the same then.
bool place_on_tmpfs(const Place& to, std::optional<off_t> size, lxc::Configuration& config) {
  constexpr unsigned mode = 0755;
  const std::string script = to.directory() + "/tmpfs", there = to.directory() + "/rootfs",
                    layers = to.directory() + "/overlay";
  const std::string how = size ? fmt::format("mode=0755,size={}", *size) : "mode=0755";
  const std::string text = fmt::format(
      "#!/bin/sh -e\n"
      "mount -n -t tmpfs -o {} tmpfs {}\n"
      "cp -a {}/. {}\n"
      "mount -n --move {} {}\n",
      how, quoted_for_shell(there), quoted_for_shell(layers), quoted_for_shell(there),
      quoted_for_shell(there), quoted_for_shell(layers));
  return write_file(script, text, mode) &&
         set_item(config, "lxc.hook.pre-mount", quoted_for_shell(script));
}

/// What it has more than a copy: its mounts, and its end.
bool make_ephemeral(const Arguments& args, const std::vector<Mount>& mounts, const Place& to,
                    lxc::Configuration& config) {
  if (!args.has("keepdata") && !set_item(config, "lxc.ephemeral", "1")) return false;
  if (args.has("tmpfs") && !place_on_tmpfs(to, size_of(args.value("fssize")), config)) return false;
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const Mount& m = mounts[i];
    struct stat st {};
    const bool folder = ::stat(m.source.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
    std::string entry = fmt::format("{} {} none bind,optional,{},create={} 0 0", m.source, m.target,
                                    m.read_only ? "ro" : "rw", folder ? "dir" : "file");
    if (m.overlay) {
      constexpr unsigned mode = 0755;
      const std::string above = fmt::format("{}/delta{}", to.directory(), i),
                        work = fmt::format("{}/work{}", to.directory(), i);
      if (!make_directory(above, mode) || !make_directory(work, mode)) return false;
      entry = fmt::format("{} {} overlay lowerdir={},upperdir={},workdir={},create=dir 0 0",
                          m.source, m.target, m.source, above, work);
    }
    if (!set_item(config, "lxc.mount.entry", entry)) return false;
  }
  return true;
}

/// A directory for a name that nobody has, and then none again. LXC's way: NAME_XXXXXX.
std::string drawn_name(const std::string& path, const std::string& name) {
  std::string text = fmt::format("{}/{}_XXXXXX", path, name);
  if (::mkdtemp(text.data()) == nullptr || ::rmdir(text.c_str()) != 0) {
    say("'{}': {}", text, errno_name(errno));
    return {};
  }
  return text.substr(path.size() + 1);
}

std::vector<std::string> of_ours(const char* tool, const Place& place) {
  return {"/proc/self/exe", tool, "-P", place.lxcpath(), "-n", place.name()};
}

int start(const Arguments& args, const Place& place, bool ephemeral) {
  std::vector<std::string> command = of_ours("lxc-start", place);
  const bool words = !args.words().empty();
  // With a command it is there for that, and in the background.
  command.emplace_back(args.has("foreground") && !words ? "-F" : "-d");
  const int status = run_program(command);
  if (status != 0) {
    // lxc-start has removed what was for one run.
    if (ephemeral && exists(place.directory()))
      if (const auto config = place.load()) (void)destroy_container(place, *config);
    return 1;
  }
  if (!words) return 0;
  command = of_ours("lxc-attach", place);
  command.emplace_back("--clear-env");
  command.emplace_back("--");
  command.insert(command.end(), args.words().begin(), args.words().end());
  const int done = run_program(command);
  command = of_ours("lxc-stop", place);
  // As LXC: however long it takes.
  command.emplace_back("-t");
  command.emplace_back("-1");
  (void)run_program(command);
  return done >= 0 ? 0 : 1;
}

int rename(const Place& from, const Place& to) {
  if (!snapshots_of(from).empty() || !clones_of(from).empty()) {
    say("it has {}: their names would lead nowhere",
        clones_of(from).empty() ? "snapshots" : "clones whose files lie above its own");
    return 1;
  }
  const auto config = from.load();
  if (!config || !nothing_mounted_below(from.directory())) return 1;
  auto changed = moved(*config, from.directory(), to.directory(), from.directory());
  if (!changed) return 1;
  Storage storage = Storage::of(*config);
  bool other = false;
  for (std::string* path : {&storage.path, &storage.upper})
    if (path->starts_with(from.directory() + "/")) {
      *path = to.directory() + path->substr(from.directory().size());
      other = true;
    }
  if (other && !set_item(*changed, "lxc.rootfs.path", storage.text())) return 1;
  if (!set_item(*changed, "lxc.uts.name", to.name())) return 1;
  if (interrupted() || !move_to_nothing(from.directory(), to.directory())) return 1;
  if (const auto saved = changed->save(HostPath(to.config_file())); !saved) {
    say_error(saved.error());
    (void)move_to_nothing(to.directory(), from.directory());
    return 1;
  }
  forget(from, &to);
  return 0;
}

int run(const Arguments& args) {
  const auto from = Place::of(args);
  if (!from) return 1;
  const bool ephemeral = args.has("ephemeral");
  if (!args.has("newname") && !ephemeral) {
    say("no name is said for the copy; -N NEWNAME");
    return 1;
  }
  for (const char* one : {"mount", "foreground", "keepdata", "tmpfs"})
    if (args.has(one) && !ephemeral) {
      say("--{} goes with --ephemeral", one);
      return 1;
    }
  const std::string storage = args.value("backingstorage");
  const bool overlay = storage == "overlay" || storage == "overlayfs";
  if (!storage.empty() && !overlay && storage != "dir") {
    say("--backingstorage={}: dir or overlay", storage);
    return 1;
  }
  const auto size = args.has("fssize") ? size_of(args.value("fssize")) : 0;
  if (!size) {
    say("--fssize={}: no size; 500M or 2G", args.value("fssize"));
    return 1;
  }
  if (args.has("tmpfs"))
    for (const auto& [one, wrong] : {std::pair("keepdata", args.has("keepdata")),
                                     std::pair("backingstorage", !storage.empty() && !overlay)})
      if (wrong) {
        say("--tmpfs: what an overlay changes is in memory; that does not go with --{}", one);
        return 1;
      }
  if (args.has("rename"))
    for (const char* one : {"ephemeral", "snapshot", "newpath", "rcfile"})
      if (args.has(one)) {
        say("--rename does not go with --{}", one);
        return 1;
      }
  const auto mounts = mounts_of(args);
  if (!mounts) return 1;
  if (!from->defined()) {
    say("there is no such container");
    return 1;
  }
  if (is_partial(*from)) return 1;
  heed_interruption();
  const std::string path =
      args.has("newpath") ? whole_path(args.value("newpath")) : from->lxcpath();
  std::string name = args.value("newname");
  if (name.empty() && ephemeral) name = drawn_name(path, from->name());
  const auto place = name.empty() ? std::nullopt : Place::of_path(path, name);
  if (!place) return 1;
  if (exists(place->directory())) {
    say("'{}' exists already", place->directory());
    return 1;
  }
  const auto config = from->load();
  if (!config) return 1;
  {
    const bool runs = from->state().value_or(control::State::stopped) != control::State::stopped;
    std::optional<Claim> claim, claimed;
    if (!(runs && args.has("allowrunning") && !args.has("rename"))) {
      claim = Claim::take(*from);
      if (!claim) return 1;
    }
    claimed = Claim::take(*place);
    if (!claimed) return 1;
    if (args.has("rename")) return rename(*from, *place);
    const bool directory = Storage::of(*config).kind == Storage::directory;
    CopyWish wish{.by_overlay = directory && storage != "dir" &&
                                (overlay || ephemeral || args.has("snapshot")),
                  .keep_name = args.has("keepname"),
                  .keep_mac = args.has("keepmac"),
                  .image_size = *size};
    // Of an overlay there is no copy but one that shares what is below.
    if (const auto kind = Storage::of(*config).kind;
        kind == Storage::overlay && !overlay && !ephemeral && !args.has("snapshot")) {
      say("its root file system is an overlay: -s makes a copy of what is its own, above the same");
      return 1;
    } else if (kind == Storage::image && (overlay || args.has("snapshot"))) {
      wish.by_overlay = true;  // which is refused
    }
    if (const auto kind = Storage::of(*config).kind;
        args.has("tmpfs") && kind != Storage::directory && kind != Storage::overlay) {
      say("--tmpfs: its root file system is no directory, which an overlay could lie over");
      return 1;
    }
    if (ephemeral)
      wish.finish = [&](lxc::Configuration& c) { return make_ephemeral(args, *mounts, *place, c); };
    else
      wish.hook_words = args.words();
    if (!copy_container(*from, *config, *place, wish)) return 1;
  }
  if (!ephemeral) return 0;
  if (!args.has("quiet")) {
    fmt::print("Created {} as clone of {}\n", place->name(), from->name());
    if (args.has("tmpfs"))
      fmt::print(
          "Container is placed on tmpfs.\nRebooting will cause all changes made to it to be "
          "lost!\n");
    std::fflush(stdout);
  }
  return start(args, *place, !args.has("keepdata"));
}

}  // namespace

const Tool lxc_copy = {
    .name = "lxc-copy",
    .synopsis =
        "-n NAME -N NEWNAME [-p NEWPATH] [-s] [-K] [-M] [-- HOOK ARGUMENTS]\n"
        "       lxc-copy -n NAME [-N NEWNAME] -e [-d | -F] [-D | -t] [-m MOUNT]... [-- "
        "COMMAND...]\n"
        "       lxc-copy -n NAME -N NEWNAME -R",
    .brief = "Makes a container of another that is stopped, gives it another name, or runs a copy.",
    .options = options,
    .more =
        "A copy has all of the files' attributes, and room on the disk of its own only for what "
        "changes, where the\nfile system can do that. One by -s needs the other's files: that one "
        "cannot be removed while it is there.\nWith a COMMAND, -e starts it, runs that inside and "
        "stops it.\n\n"
        "Exit status: 0; 1 when it could not be done. Nothing is left of the copy then.",
    .run = &run,
};
