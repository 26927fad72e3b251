// /dev and the terminals.

#include <utility>

#include "formatted.hpp"
#include "plan/draft.hpp"

namespace condroid::inline v0::detail {

namespace {

struct UsualNode {
  const char* name;
  std::uint32_t major, minor;
};
constexpr UsualNode usual_nodes[] = {{"full", 1, 7}, {"null", 1, 3},    {"random", 1, 8},
                                     {"tty", 5, 0},  {"urandom", 1, 9}, {"zero", 1, 5}};

struct UsualLink {
  const char* name;
  const char* content;
};
constexpr UsualLink usual_links[] = {{"fd", "/proc/self/fd"},
                                     {"stdin", "/proc/self/fd/0"},
                                     {"stdout", "/proc/self/fd/1"},
                                     {"stderr", "/proc/self/fd/2"},
                                     {"ptmx", "pts/ptmx"}};

}  // namespace

void populate_dev(Draft& d) {
  const Devices& devices = d.spec.devices;
  d.dev = d.slot();
  d.add(op::MountOp{.source = op::MountOp::filesystem,
                    .what = "tmpfs",
                    .options = {"mode=0755", formatted("size={}", devices.size.value)},
                    .flags = MountFlag::nosuid,
                    .base = d.root,
                    .target = "/dev",
                    .to = d.dev});
  // A node made in a user namespace cannot be opened; the host's, bound, can.
  const bool bind = d.shape.confined;
  const auto node = [&](DeviceNode n) {
    std::string host_path = "/dev/" + n.name;
    d.add(op::MakeNode{
        .base = d.dev, .node = std::move(n), .bind = bind, .host_path = std::move(host_path)});
  };
  for (const auto& n : usual_nodes) node({.name = n.name, .major = n.major, .minor = n.minor});
  for (const auto& n : devices.nodes) node(n);
  for (const auto& l : usual_links)
    d.add(op::MakeEntry{
        .kind = op::MakeEntry::link, .base = d.dev, .path = l.name, .content = l.content});
  for (const char* name : {"pts", "shm", "mqueue"})
    d.add(op::MakeEntry{.kind = op::MakeEntry::directory, .base = d.dev, .path = name});
}

void open_terminals(Draft& d) {
  const Terminal& t = d.spec.terminal;
  unsigned count = 0;
  const std::string dir = d.dev.valid() ? "" : "dev/";
  const op::Slot base = d.dev.valid() ? d.dev : d.root;
  const auto open = [&](std::string path, std::string second, bool console) {
    op::OpenPty o{.devpts = d.devpts,
                  .dev = base,
                  .path = std::move(path),
                  .link_from = std::move(second),
                  .console = console,
                  .rows = t.rows,
                  .columns = t.columns,
                  .uid = d.spec.process.uid,
                  .gid = d.spec.process.gid};
    if (console) o.slave = d.console = d.slot();
    d.add(std::move(o));
    ++count;
  };
  if (!d.shape.console && t.ttys == 0) return;
  if (!t.tty_dir.empty())
    d.add(op::MakeEntry{.kind = op::MakeEntry::directory, .base = base, .path = dir + t.tty_dir});
  if (d.shape.console) {
    if (t.tty_dir.empty())
      open(dir + "console", "", true);
    else
      open(formatted("{}{}/console", dir, t.tty_dir), dir + "console", true);
  }
  for (unsigned i = 1; i <= t.ttys; ++i) {
    if (t.tty_dir.empty())
      open(formatted("{}tty{}", dir, i), "", false);
    else
      open(formatted("{}{}/tty{}", dir, t.tty_dir, i), formatted("{}tty{}", dir, i), false);
  }
  op::SendPtys send{.count = count};
  if (d.spec.lifecycle.restart != Restart::never) send.devpts = d.devpts;
  d.add(send);
}

}  // namespace condroid::inline v0::detail
