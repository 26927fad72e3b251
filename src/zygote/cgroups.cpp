// Undoing cgroups: what a container leaves is killed and removed, whatever it nested there.
#include "zygote/zygote.hpp"

namespace condroid::zygote {

namespace {

bool same(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

/// Writes one word to a file of a directory.
long write_file(int dir, const char* name, const char* text) {
  const long fd = call(__NR_openat, dir, name, o_wronly | o_cloexec);
  if (fd < 0) return fd;
  size_t n = 0;
  while (text[n] != 0) ++n;
  const long e = call(__NR_write, fd, text, n);
  close(static_cast<int>(fd));
  return e;
}

/// SIGKILL to every process of a v1 cgroup. They die by themselves; the caller tries again.
void kill_listed(int dir) {
  const long fd = call(__NR_openat, dir, "cgroup.procs", o_rdonly | o_cloexec);
  if (fd < 0) return;
  char text[4096];
  long pid = 0;
  for (;;) {
    const long n = call(__NR_read, fd, text, sizeof text);
    if (n <= 0) break;
    for (long i = 0; i < n; ++i) {
      if (text[i] >= '0' && text[i] <= '9') {
        pid = pid * 10 + (text[i] - '0');
      } else {
        if (pid > 1) call(__NR_kill, pid, sig_kill);
        pid = 0;
      }
    }
  }
  close(static_cast<int>(fd));
}

/// On v1 who is stopped meanwhile does not fork, and who was stopped before has to go on to die.
void kill_in(int dir, bool v2) {
  if (v2 && write_file(dir, "cgroup.kill", "1") >= 0) return;
  const bool stops = !v2 && write_file(dir, "freezer.state", "FROZEN") >= 0;
  kill_listed(dir);
  if (stops) write_file(dir, "freezer.state", "THAWED");
}

bool is_subdirectory(const DirEntry& e) {
  return e.type == 4 && !same(e.name, ".") && !same(e.name, "..");
}

/// Removes subdirectories up to the first that is not empty, and opens that one; negative when
/// there is none.
long first_full(int dir, unsigned* removed) {
  alignas(8) char list[2048];
  for (;;) {
    const long n = call(__NR_getdents64, dir, list, sizeof list);
    if (n <= 0) return -e_noent;
    for (long i = 0; i < n;) {
      const auto* entry = reinterpret_cast<const DirEntry*>(list + i);
      i += entry->size;
      if (!is_subdirectory(*entry)) continue;
      if (call(__NR_unlinkat, dir, entry->name, at_removedir) < 0)
        return call(__NR_openat, dir, entry->name, open_directory);
      ++*removed;
    }
  }
}

/// What is deeper than anybody nests but who means harm: down to one without subdirectories, up by
/// "..", with one descriptor. Stops where something still runs, and after so many steps; it is
/// tried again.
void remove_deep(int top, bool v2, bool kill) {
  long at = call(__NR_openat, top, ".", open_directory);
  unsigned depth = 0;
  bool came_up = false;
  for (int steps = 0; at >= 0 && steps < 20000; ++steps) {
    unsigned removed = 0;
    long next = first_full(static_cast<int>(at), &removed);
    if (next >= 0 && came_up && removed == 0) {
      if (kill) kill_in(static_cast<int>(next), v2);
      close(static_cast<int>(next));
      break;
    }
    came_up = next < 0;
    if (came_up) {
      if (depth == 0) break;
      next = call(__NR_openat, at, "..", open_directory);
      --depth;
    } else {
      ++depth;
    }
    close(static_cast<int>(at));
    at = next;
  }
  close(static_cast<int>(at));
}

/// What one small file of a cgroup says, ended by 0; nothing when there is none.
struct Text {
  char bytes[512];
  Text(int dir, const char* file) {
    const long fd = call(__NR_openat, dir, file, o_rdonly | o_cloexec);
    const long n = fd < 0 ? 0 : call(__NR_read, fd, bytes, sizeof bytes - 1);
    if (fd >= 0) close(static_cast<int>(fd));
    bytes[n > 0 ? n : 0] = 0;
  }
};

/// A number at `p`, into the figure; nothing where there is none.
void take_number(const char* p, Figures& figures, Figure figure, uint64_t divisor = 1) {
  if (*p < '0' || *p > '9') return;
  uint64_t value = 0;
  for (; *p >= '0' && *p <= '9'; ++p) value = value * 10 + static_cast<uint64_t>(*p - '0');
  figures.raise(figure, value / divisor);
}

/// Thaws the cgroups directly below, from behind the one with inode `from` on (0: all of them), up
/// to the first that has others below it, and opens that one; negative when there is none.
long thaw_to_nested(int dir, uint64_t from, long* budget) {
  constexpr long cost_of_thawing = 16;  // where passing by an entry costs one
  alignas(8) char list[2048];
  for (;;) {
    const long n = call(__NR_getdents64, dir, list, sizeof list);
    if (n <= 0) return -e_noent;
    for (long i = 0; i < n;) {
      const auto* entry = reinterpret_cast<const DirEntry*>(list + i);
      i += entry->size;
      --*budget;
      if (!is_subdirectory(*entry)) continue;
      if (from != 0) {
        if (entry->ino == from) from = 0;
        continue;
      }
      if ((*budget -= cost_of_thawing) < 0) return -e_noent;
      const long child = call(__NR_openat, dir, entry->name, open_directory);
      if (child < 0) continue;
      write_file(static_cast<int>(child), "freezer.state", "THAWED");
      // Two links, and one more for each directory in it: kernfs counts them.
      Statx st;
      if (call(__NR_statx, child, "", at_empty_path, statx_basic, &st) >= 0 && st.nlink > 2)
        return child;
      close(static_cast<int>(child));
    }
  }
}

/// Thaws a cgroup and all below it. How deep they are nested was the container's to say, so nothing
/// grows with that: one descriptor goes down by name and up by "..". Of more than a quarter of a
/// million cgroups it gives up.
void thaw_tree(int parent, const char* name) {
  long at = call(__NR_openat, parent, name, open_directory);
  if (at < 0) return;
  long budget = 1L << 22U;
  uint64_t from = 0;
  unsigned depth = 0;
  const bool is_freezer = write_file(static_cast<int>(at), "freezer.state", "THAWED") >= 0;
  while (is_freezer && at >= 0 && budget > 0) {
    long next = thaw_to_nested(static_cast<int>(at), from, &budget);
    if (next >= 0) {
      ++depth;
      from = 0;
    } else {
      Statx st;
      if (depth == 0 || call(__NR_statx, at, "", at_empty_path, statx_basic, &st) < 0) break;
      from = st.ino;
      --depth;
      next = call(__NR_openat, at, "..", open_directory);
    }
    close(static_cast<int>(at));
    at = next;
  }
  close(static_cast<int>(at));
}

/// The number after `key` in a flat keyed file like memory.events.
void take_key(const Text& text, const char* key, Figures& figures, Figure figure) {
  for (const char* line = text.bytes; *line != 0;) {
    const char* k = key;
    const char* p = line;
    while (*k != 0 && *p == *k) ++p, ++k;
    if (*k == 0 && *p == ' ') return take_number(p + 1, figures, figure);
    while (*line != 0 && *line != '\n') ++line;
    if (*line != 0) ++line;
  }
}

void take_memory(int dir, bool v2, Figures& f) {
  const Text events(dir, v2 ? "memory.events" : "memory.oom_control");
  take_key(events, "oom_kill", f, Figure::oom_kills);
  take_number(Text(dir, v2 ? "memory.peak" : "memory.max_usage_in_bytes").bytes, f,
              Figure::peak_memory);
  if (!v2) return;
  take_key(events, "low", f, Figure::memory_low);
  take_key(events, "high", f, Figure::memory_high);
  take_key(events, "max", f, Figure::memory_max);
}

void take_cpu(int dir, bool v2, Figures& f) {
  if (v2) {
    const Text stat(dir, "cpu.stat");
    take_key(stat, "usage_usec", f, Figure::cpu_total);
    take_key(stat, "user_usec", f, Figure::cpu_user);
    take_key(stat, "system_usec", f, Figure::cpu_system);
  } else {
    take_number(Text(dir, "cpuacct.usage").bytes, f, Figure::cpu_total, 1000);
    take_number(Text(dir, "cpuacct.usage_user").bytes, f, Figure::cpu_user, 1000);
    take_number(Text(dir, "cpuacct.usage_sys").bytes, f, Figure::cpu_system, 1000);
  }
}

/// Who has made a cgroup: this runtime, another one, or somebody else.
enum Maker : uint8_t { nobody, another, ours };
/// A Maker, or an error.
long maker_of(int parent, const char* name) {
  const long dir = call(__NR_openat, parent, name, open_directory);
  // What may not be looked at is none that this user's runtimes have made.
  if (dir < 0) return dir == -e_acces ? long{nobody} : dir;
  char text[sizeof ArenaHeader::runtime] = {};
  const long n = call(__NR_fgetxattr, dir, made_mark, text, sizeof text - 1);
  close(static_cast<int>(dir));
  if (n == -e_nodata || n == -e_opnotsupp || n == -e_range || n == -e_acces) return nobody;
  if (n < 0) return n;
  if (n == 0) return nobody;
  return same(text, header().runtime) ? ours : another;
}

/// Those above that were made for what is below them, as far as they are empty. 0, or an error.
long remove_way(int parent, Path path) {
  while (path.size > 0) {
    if (path.text[--path.size] != '/') continue;
    path.text[path.size] = 0;
    const long maker = maker_of(parent, path.text);
    if (maker == nobody) return 0;
    const long e = maker < 0 ? maker : call(__NR_unlinkat, parent, path.text, at_removedir);
    if (e == -e_busy || e == -e_notempty) return 0;
    // What is above belongs to somebody else by now, as that of another runtime may.
    if (maker == another && (e == -e_acces || e == -e_perm || e == -e_rofs)) return 0;
    // At an earlier try it was removed, and what is above it was not.
    if (e < 0 && e != -e_noent) return e;
  }
  return 0;
}

/// What is attached has its cgroup below the container's, which goes with that one.
bool is_attached(const LiveEntry& entry) {
  for (size_t i = 0; i < sizeof entry.name && entry.name[i] != 0; ++i)
    if (entry.name[i] == '/') return true;
  return false;
}
}  // namespace

Path place_of(const LiveEntry& entry) {
  Path path;
  if (entry.place[0] == 0) return path.add(header().runtime).add("/").add(entry.name);
  // The host's to write: it may be none of ours any more that ends it.
  for (size_t i = 0; i < sizeof entry.place - 1 && entry.place[i] != 0; ++i)
    path.text[path.size++] = entry.place[i];
  path.text[path.size] = 0;
  return path;
}

long remove_places(unsigned h) {
  long first = 0;
  for (uint32_t i = 0; i < max_live && i < header().places; ++i) {
    if (live(i).place[0] == 0) continue;
    const Path path = place_of(live(i));
    long e = maker_of(parents[h], path.text);
    if (e == nobody || e == another) continue;
    if (e == ours) e = remove_tree(parents[h], path.text, parent_v2[h], true, 0);
    // Its way may have been made before it.
    if (e == 0 || e == -e_noent) e = remove_way(parents[h], path);
    if (first == 0 || e == -e_busy) first = e;
  }
  return first;
}

long remove_tree(int parent, const char* name, bool v2, bool kill, int depth) {
  const long e = call(__NR_unlinkat, parent, name, at_removedir);
  if (e == 0 || e == -e_noent) return 0;
  const long dir = call(__NR_openat, parent, name, open_directory);
  if (dir < 0) return dir == -e_noent ? 0 : dir;
  if (kill) kill_in(static_cast<int>(dir), v2);
  alignas(8) char list[2048];
  if (depth == 32) remove_deep(static_cast<int>(dir), v2, kill);
  for (; depth < 32;) {
    const long n = call(__NR_getdents64, dir, list, sizeof list);
    if (n <= 0) break;
    for (long i = 0; i < n;) {
      const auto* entry = reinterpret_cast<const DirEntry*>(list + i);
      i += entry->size;
      if (is_subdirectory(*entry))
        remove_tree(static_cast<int>(dir), entry->name, v2, kill, depth + 1);
    }
  }
  close(static_cast<int>(dir));
  const long again = call(__NR_unlinkat, parent, name, at_removedir);
  return again == -e_noent ? 0 : again;
}

void take_figures(uint32_t i, Figures& figures) {
  const Container& c = containers[i];
  const uint64_t counting = (c.memory | c.pids | c.cpu) & c.cgroups;
  for (unsigned h = 0; h < max_hierarchies && (counting >> h) != 0; ++h) {
    if (((counting >> h) & 1U) == 0 || !adopted[h]) continue;
    const Path path = place_of(live(i));
    const int dir = static_cast<int>(call(__NR_openat, parents[h], path.text, open_directory));
    if (dir < 0) continue;
    if (((c.memory >> h) & 1U) != 0) take_memory(dir, parent_v2[h], figures);
    if (((c.pids >> h) & 1U) != 0) {
      take_key(Text(dir, "pids.events"), "max", figures, Figure::pids_limit_hits);
      take_number(Text(dir, "pids.peak").bytes, figures, Figure::peak_pids);
    }
    if (((c.cpu >> h) & 1U) != 0) take_cpu(dir, parent_v2[h], figures);
    close(dir);
  }
}

void thaw_cgroups(uint32_t i) {
  const Container& c = containers[i];
  for (unsigned h = 0; h < max_hierarchies; ++h) {
    if (((c.cgroups >> h) & 1U) == 0 || !adopted[h] || parent_v2[h]) continue;
    const Path path = place_of(live(i));
    thaw_tree(parents[h], path.text);
  }
}

long undo_cgroups(uint32_t i, uint32_t* where) {
  Container& c = containers[i];
  long first = 0;
  for (unsigned h = 0; h < max_hierarchies; ++h) {
    const uint64_t bit = uint64_t{1} << h;
    if (((c.cgroups | c.ways) & bit) == 0 || !adopted[h]) continue;
    const Path path = place_of(live(i));
    long e = 0;
    // Once it is gone, another one of its name is none of ours: what is tried again is the way.
    if ((c.cgroups & bit) != 0) {
      e = remove_tree(parents[h], path.text, parent_v2[h], true, 0);
      if (e == 0) c.cgroups &= ~bit;
      if (e == 0 && live(i).place[0] != 0 && !is_attached(live(i))) c.ways |= bit;
    }
    if ((c.ways & bit) != 0) {
      e = remove_way(parents[h], path);
      if (e == 0) c.ways &= ~bit;
    }
    if (e != 0 && first == 0) first = e, *where = h;
  }
  return first;
}

}  // namespace condroid::zygote
