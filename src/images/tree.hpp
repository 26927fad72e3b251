// Files of an image, made below one directory and nowhere else. Private.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"

namespace condroid::inline v0::detail {

/// What was wrong with an entry: errno and words that may be empty.
struct Trouble {
  int error = 0;
  std::string why = {};
};
template <class T>
using Tried = tl::expected<T, Trouble>;
[[nodiscard]] inline tl::unexpected<Trouble> trouble(int error, std::string why = {}) {
  return tl::unexpected<Trouble>(Trouble{error, std::move(why)});
}

/// The names of a path in an archive: without "." and empty ones. EXDEV for an absolute one, and
/// for one with ".."; ENAMETOOLONG for one of PATH_MAX bytes or more.
[[nodiscard]] Tried<std::vector<std::string>> names_of(std::string_view path);

/// Beneath `directory`, never through one of the kernel's own links; openat2(2).
[[nodiscard]] Fd open_beneath(FdView directory, const std::string& path, int flags);

/// Removes all that is in a directory. With few descriptors, however deep it is. errno, or 0.
[[nodiscard]] int empty_directory(FdView directory);

/// What every entry has.
struct Entry {
  std::vector<std::string> names = {};
  mode_t mode = 0;  ///< Permissions, with the set-id bits and the sticky one.
  uid_t uid = 0;
  gid_t gid = 0;
  timespec modified = {};
  std::vector<std::pair<std::string, std::string>> attributes = {};
};

/// Symbolic links on the way to an entry are followed as in a container that has `root` as its own.
/// What is there under an entry's name is replaced; only directories stay.
class Tree {
 public:
  /// `trash`: an empty directory beside `root`, on the same file system. Both are borrowed.
  Tree(FdView root, FdView trash, bool as_root) : root_(root), trash_(trash), root_user_(as_root) {}

  [[nodiscard]] Tried<void> directory(const Entry& entry);
  /// Empty, to be written; finish() has to follow.
  [[nodiscard]] Tried<Fd> file(const Entry& entry);
  [[nodiscard]] Tried<void> finish(FdView file, const Entry& entry);
  [[nodiscard]] Tried<void> link(const Entry& entry, const std::string& text);
  [[nodiscard]] Tried<void> hard_link(const Entry& entry, const std::string& target);
  /// A device or a FIFO; devices for root only, otherwise nothing is made.
  [[nodiscard]] Tried<void> node(const Entry& entry, mode_t kind, dev_t device);
  /// Takes away what is there, if anything.
  [[nodiscard]] Tried<void> remove(const std::vector<std::string>& names);
  /// Takes away what is in there, if it is a directory and no link to one.
  [[nodiscard]] Tried<void> clear(const std::vector<std::string>& names);
  /// Gives directories the modes and times that they are to have in the end.
  [[nodiscard]] Tried<void> settle();

 private:
  struct Place {
    FdView parent = {};
    std::string leaf = {};
  };
  struct Late {
    mode_t mode;
    timespec modified;
  };
  [[nodiscard]] Tried<FdView> folder(const std::vector<std::string>& names, bool make);
  [[nodiscard]] Tried<Fd> walk(const std::vector<std::string>& names, bool make);
  [[nodiscard]] Tried<Place> place(const std::vector<std::string>& names, bool make);
  [[nodiscard]] Tried<void> discard(const Place& place);
  [[nodiscard]] Tried<void> owners(const Place& place, const Entry& entry);
  [[nodiscard]] Tried<void> attributes(FdView file, const Entry& entry);
  void forget();

  FdView root_;
  FdView trash_;
  bool root_user_;
  /// The last one that was looked for: entries of one directory follow one another.
  std::vector<std::string> known_names_ = {};
  Fd known_ = {};
  /// By path, so that what is below comes behind.
  std::map<std::string, Late> late_ = {};
  std::size_t late_bytes_ = 0;
};

}  // namespace condroid::inline v0::detail
