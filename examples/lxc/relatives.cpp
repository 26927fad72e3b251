#include "relatives.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "say.hpp"
#include "tree.hpp"

using namespace condroid;

namespace {

constexpr unsigned mode = 0644;

std::vector<Relative> read(const std::string& file) {
  std::vector<Relative> all;
  std::istringstream lines(read_file(file).value_or(""));
  for (Relative one; std::getline(lines, one.lxcpath) && std::getline(lines, one.name);)
    all.push_back(one);
  return all;
}

bool write(const std::string& file, const std::vector<Relative>& all) {
  if (all.empty()) return ::unlink(file.c_str()) == 0 || errno == ENOENT;
  std::string text;
  for (const Relative& one : all) text += fmt::format("{}\n{}\n", one.lxcpath, one.name);
  return write_file(file, text, mode);
}

/// One change at a time of what a base knows.
bool change(const Relative& base, const Relative& out, const Relative* in) {
  const Place place(base.lxcpath, base.name);
  const Fd dir(::open(place.directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir.valid() || ::flock(dir.get(), LOCK_EX) != 0) {
    say("'{}': {}", place.directory(), errno_name(errno));
    return false;
  }
  const std::string file = place.directory() + "/lxc_snapshots";
  std::vector<Relative> all = read(file);
  std::erase(all, out);
  if (in != nullptr) all.push_back(*in);
  return write(file, all);
}

}  // namespace

std::vector<Relative> clones_of(const Place& place) {
  return read(place.directory() + "/lxc_snapshots");
}

std::vector<Relative> bases_of(const Place& place) {
  return read(place.directory() + "/lxc_rdepends");
}

bool depend(const Place& clone, const std::vector<Relative>& bases) {
  const Relative self{clone.lxcpath(), clone.name()};
  if (!write(clone.directory() + "/lxc_rdepends", bases)) return false;
  return std::ranges::all_of(bases,
                             [&](const Relative& base) { return change(base, self, &self); });
}

void forget(const Place& clone, const Place* instead) {
  const Relative self{clone.lxcpath(), clone.name()};
  const Relative other =
      instead == nullptr ? Relative{} : Relative{instead->lxcpath(), instead->name()};
  for (const Relative& base : bases_of(instead == nullptr ? clone : *instead))
    if (exists(Place(base.lxcpath, base.name).directory()))
      (void)change(base, self, instead == nullptr ? nullptr : &other);
}
