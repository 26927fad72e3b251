#include "images/archive.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "formatted.hpp"
#include "images/digest.hpp"

#if CONDROID_IMAGES
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#endif

namespace condroid::inline v0::detail {

#if CONDROID_IMAGES

namespace {

constexpr std::size_t piece = std::size_t{256} * 1024;

tl::unexpected<Error> wrong(const ArchiveWanted& what, int error, const std::string& why) {
  return fail(error, Step::open_rootfs,
              formatted("{}{}{}", what.name, why.empty() ? "" : ": ", why));
}
tl::unexpected<Error> wrong(const ArchiveWanted& what, std::string_view entry, const Trouble& t) {
  return wrong(what, t.error, formatted("entry '{}'{}{}", entry, t.why.empty() ? "" : ": ", t.why));
}

/// libarchive gives names in the locale's characters, and those of pax headers are UTF-8: in the
/// plain C locale they would come out as question marks.
class Utf8Names {
 public:
  Utf8Names() : utf8_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (utf8_ != nullptr) before_ = ::uselocale(utf8_);
  }
  Utf8Names(const Utf8Names&) = delete;
  Utf8Names& operator=(const Utf8Names&) = delete;
  ~Utf8Names() {
    if (utf8_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(utf8_);
  }

 private:
  locale_t utf8_;
  locale_t before_ = nullptr;
};

struct FreeArchive {
  void operator()(::archive* a) const { ::archive_read_free(a); }
};
using Handle = std::unique_ptr<::archive, FreeArchive>;

/// One reading of the file: what is packed is unpacked by one reader, its bytes are hashed, and a
/// second one finds the entries in them.
class Reading {
 public:
  explicit Reading(const ArchiveWanted& what) : what_(what), bytes_(piece), plain_(piece) {}
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  Result<void> begin() {
    unpacked_.reset(::archive_read_new());
    entries_.reset(::archive_read_new());
    if (!unpacked_ || !entries_) throw std::bad_alloc();
    ::archive* a = unpacked_.get();
    ::archive_read_support_format_raw(a);
    ::archive_read_support_format_empty(a);
    // One that would start a program for it says ARCHIVE_WARN, and is done without.
    const auto with = [&](int (*filter)(::archive*), const char* name) -> Result<void> {
      if (filter(a) == ARCHIVE_OK) return {};
      if (what_.packing == Packing::any) return {};
      return fail(Errc::unsupported, Step::open_rootfs,
                  formatted("{}: libarchive was built without {}", what_.name, name));
    };
    if (what_.packing == Packing::any || what_.packing == Packing::gzip)
      if (auto ok = with(::archive_read_support_filter_gzip, "gzip"); !ok) return ok;
    if (what_.packing == Packing::any || what_.packing == Packing::zstd)
      if (auto ok = with(::archive_read_support_filter_zstd, "zstd"); !ok) return ok;
    if (what_.packing == Packing::any)
      if (auto ok = with(::archive_read_support_filter_xz, "xz"); !ok) return ok;
    if (::archive_read_open(a, this, nullptr, read_file, nullptr) != ARCHIVE_OK) return broken(a);
    ::archive_entry* whole = nullptr;
    const int got = ::archive_read_next_header(a, &whole);
    if (got == ARCHIVE_EOF) {
      ended_ = true;
    } else if (got != ARCHIVE_OK) {
      return broken(a);
    }
    const int outer =
        ::archive_filter_count(a) > 1 ? ::archive_filter_code(a, 0) : ARCHIVE_FILTER_NONE;
    const int wanted = what_.packing == Packing::gzip   ? ARCHIVE_FILTER_GZIP
                       : what_.packing == Packing::zstd ? ARCHIVE_FILTER_ZSTD
                                                        : ARCHIVE_FILTER_NONE;
    if (what_.packing != Packing::any && outer != wanted)
      return wrong(what_, EBADMSG, "it is not packed as its media type says");

    ::archive* e = entries_.get();
    ::archive_read_support_format_tar(e);
    if (::archive_read_open(e, this, nullptr, read_plain, nullptr) != ARCHIVE_OK) return broken(e);
    return {};
  }

  /// The next entry, or none at the end.
  Result<::archive_entry*> next() {
    ::archive_entry* entry = nullptr;
    const int got = ::archive_read_next_header(entries_.get(), &entry);
    if (got == ARCHIVE_EOF) return nullptr;
    if (got == ARCHIVE_WARN) {
      // What it warns of is spelled in ways that do not matter, but for names.
      const std::string text = said(entries_.get());
      if (text.find("athname") != text.npos || text.find("inkname") != text.npos)
        return broken(entries_.get());
    } else if (got != ARCHIVE_OK) {
      return broken(entries_.get());
    }
    const char* name = ::archive_entry_pathname(entry);
    last_ = name == nullptr ? "" : name;
    return entry;
  }

  /// The bytes of an entry, with holes where it has some.
  Result<void> copy(FdView to, std::string_view name, std::uint64_t size) {
    std::uint64_t end = 0;
    for (;;) {
      const void* data = nullptr;
      std::size_t count = 0;
      la_int64_t at = 0;
      const int got = ::archive_read_data_block(entries_.get(), &data, &count, &at);
      if (got == ARCHIVE_EOF) break;
      if (got != ARCHIVE_OK) return wrong(what_, name, {EBADMSG, said(entries_.get())});
      if (at < 0 || static_cast<std::uint64_t>(at) > size ||
          count > size - static_cast<std::uint64_t>(at))
        return wrong(what_, name, {EBADMSG, "it is longer than its size"});
      const char* from = static_cast<const char*>(data);
      end = static_cast<std::uint64_t>(at) + count;
      while (count > 0) {
        const ssize_t n = ::pwrite(to.get(), from, count, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return wrong(what_, name, {n < 0 ? errno : EIO});
        from += n;
        at += n;
        count -= static_cast<std::size_t>(n);
      }
    }
    if (end < size && ::ftruncate(to.get(), static_cast<off_t>(size)) < 0)
      return wrong(what_, name, {errno});
    return {};
  }

  /// Reads what is left, and compares. Behind the last entry are blocks of zeros, or what somebody
  /// would have us unpack for days: no more than `room` bytes and what is usual are read of it.
  Result<void> end(std::uint64_t room) {
    constexpr std::uint64_t usual = std::uint64_t{1} << 20U;
    const void* some = nullptr;
    for (std::uint64_t behind = 0;;) {
      const la_ssize_t n = read_plain(unpacked_.get(), this, &some);
      if (n < 0) return broken(unpacked_.get());
      if (n == 0) break;
      behind += static_cast<std::uint64_t>(n);
      if (behind > usual && behind - usual > room)
        return wrong(what_, EFBIG,
                     formatted("behind its last entry are more than the {} bytes that the image "
                               "may have left",
                               room));
    }
    for (;;) {
      const la_ssize_t n = read_file(nullptr, this, &some);
      if (n < 0) return wrong(what_, error_, "");
      if (n == 0) break;
    }
    if (size_ != what_.size)
      return wrong(what_, EBADMSG, formatted("it has {} bytes, not {}", size_, what_.size));
    if (const std::string is = packed_hash_.text(); is != what_.digest)
      return wrong(what_, EBADMSG, formatted("its digest is {}, not {}", is, what_.digest));
    if (!what_.diff_id.empty())
      if (const std::string is = plain_hash_.text(); is != what_.diff_id)
        return wrong(
            what_, EBADMSG,
            formatted("what is packed in it has the digest {}, not {}", is, what_.diff_id));
    return {};
  }

 private:
  static std::string said(::archive* a) {
    const char* text = ::archive_error_string(a);
    return text == nullptr ? "it cannot be read" : text;
  }
  tl::unexpected<Error> broken(::archive* a) {
    if (error_ != 0) return wrong(what_, error_, "");
    const int e = ::archive_errno(a);
    return wrong(what_, e == ENOMEM ? ENOMEM : EBADMSG,
                 last_.empty() ? "no archive that can be read: " + said(a)
                               : formatted("at or behind entry '{}': {}", last_, said(a)));
  }

  static la_ssize_t read_file(::archive* a, void* self, const void** data) {
    auto& me = *static_cast<Reading*>(self);
    for (;;) {
      const ssize_t n = ::pread(me.what_.file.get(), me.bytes_.data(), me.bytes_.size(),
                                static_cast<off_t>(me.size_));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        me.error_ = errno;
        if (a != nullptr) ::archive_set_error(a, errno, "it cannot be read");
        return -1;
      }
      me.size_ += static_cast<std::uint64_t>(n);
      me.packed_hash_.add(me.bytes_.data(), static_cast<std::size_t>(n));
      *data = me.bytes_.data();
      return n;
    }
  }
  static la_ssize_t read_plain(::archive* a, void* self, const void** data) {
    auto& me = *static_cast<Reading*>(self);
    if (me.ended_) return 0;
    const la_ssize_t n =
        ::archive_read_data(me.unpacked_.get(), me.plain_.data(), me.plain_.size());
    if (n < 0) {
      if (a != me.unpacked_.get())
        ::archive_set_error(a, EBADMSG, "%s", said(me.unpacked_.get()).c_str());
      return -1;
    }
    me.ended_ = n == 0;
    me.plain_hash_.add(me.plain_.data(), static_cast<std::size_t>(n));
    *data = me.plain_.data();
    return n;
  }

  const ArchiveWanted& what_;
  std::vector<char> bytes_;
  std::vector<char> plain_;
  Sha256 packed_hash_;
  Sha256 plain_hash_;
  std::uint64_t size_ = 0;
  std::string last_ = {};
  int error_ = 0;
  bool ended_ = false;
  Handle unpacked_;
  Handle entries_;
};

constexpr std::string_view whiteout = ".wh.";
constexpr std::string_view opaque = ".wh..wh..opq";

std::string name_of(::archive_entry* entry) {
  const char* name = ::archive_entry_pathname(entry);
  return name == nullptr ? std::string() : name;
}

/// The first reading.
Result<void> look(const ArchiveWanted& what, Tree& tree, Allowance& left) {
  // What is hidden is only taken away when the digest is known to be right.
  std::vector<std::vector<std::string>> hidden;
  std::vector<std::vector<std::string>> hollow;
  std::size_t bytes = 0;
  std::uint64_t room = left.bytes;
  constexpr std::size_t most_bytes = std::size_t{64} << 20U;
  Reading reading(what);
  if (auto begun = reading.begin(); !begun) return begun;
  for (;;) {
    const auto entry = reading.next();
    if (!entry) return tl::unexpected<Error>(entry.error());
    if (*entry == nullptr) break;
    const std::string path = name_of(*entry);
    if (left.entries-- == 0) {
      left.entries = 0;
      return wrong(what, path, {EFBIG, "the image has too many entries"});
    }
    auto names = names_of(path);
    if (!names) return wrong(what, path, names.error());
    if (path.empty() || path.find('\0') != path.npos)
      return wrong(what, path, {EBADMSG, "no name"});
    // Before it is read past: little may unpack to so much that this would take days.
    const la_int64_t length = ::archive_entry_size(*entry);
    if (length > 0 && static_cast<std::uint64_t>(length) > room)
      return wrong(
          what, path,
          {EFBIG, formatted("its {} bytes are more than the {} that the image may have left",
                            length, room)});
    if (length > 0) room -= static_cast<std::uint64_t>(length);
    if (!what.layer || names->empty() || !names->back().starts_with(whiteout)) continue;
    bytes += path.size();
    if (bytes > most_bytes) return wrong(what, path, {EFBIG, "too many whiteouts"});
    const std::string last = std::move(names->back());
    names->pop_back();
    if (last == opaque) {
      hollow.push_back(std::move(*names));
      continue;
    }
    if (last.starts_with(".wh..wh.")) continue;  // aufs's own
    names->push_back(last.substr(whiteout.size()));
    if (names->back().empty() || names->back() == "." || names->back() == "..")
      return wrong(what, path, {EXDEV, "a whiteout of no name"});
    hidden.push_back(std::move(*names));
  }
  if (auto ended = reading.end(room); !ended) return ended;
  for (const auto& names : hollow)
    if (const auto done = tree.clear(names); !done)
      return wrong(what, "opaque whiteout", done.error());
  for (const auto& names : hidden)
    if (const auto done = tree.remove(names); !done)
      return wrong(what, formatted("{}{}", whiteout, names.back()), done.error());
  return {};
}

Result<void> make(const ArchiveWanted& what, ::archive_entry* from, Reading& reading, Tree& tree,
                  Allowance& left) {
  const std::string path = name_of(from);
  Entry entry;
  auto names = names_of(path);
  if (!names) return wrong(what, path, names.error());
  entry.names = std::move(*names);
  if (what.layer && !entry.names.empty() && entry.names.back().starts_with(whiteout)) return {};
  entry.mode = ::archive_entry_perm(from);
  const la_int64_t uid = ::archive_entry_uid(from);
  const la_int64_t gid = ::archive_entry_gid(from);
  constexpr la_int64_t most_id = 0xfffffffe;
  if (uid < 0 || uid > most_id || gid < 0 || gid > most_id)
    return wrong(what, path, {EBADMSG, "an owner that there cannot be"});
  entry.uid = static_cast<uid_t>(uid);
  entry.gid = static_cast<gid_t>(gid);
  if (::archive_entry_mtime_is_set(from) != 0)
    entry.modified = {static_cast<time_t>(::archive_entry_mtime(from)),
                      ::archive_entry_mtime_nsec(from)};
  ::archive_entry_xattr_reset(from);
  const char* attribute = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (::archive_entry_xattr_next(from, &attribute, &value, &size) == ARCHIVE_OK)
    if (attribute != nullptr)
      entry.attributes.emplace_back(attribute, std::string(static_cast<const char*>(value), size));

  const auto answer = [&](const Tried<void>& done) -> Result<void> {
    if (done) return {};
    return wrong(what, path, done.error());
  };
  if (const char* target = ::archive_entry_hardlink(from); target != nullptr)
    return answer(tree.hard_link(entry, target));
  switch (::archive_entry_filetype(from)) {
    case AE_IFREG:
      break;
    case AE_IFDIR:
      return answer(tree.directory(entry));
    case AE_IFLNK: {
      const char* text = ::archive_entry_symlink(from);
      if (text == nullptr || *text == '\0')
        return wrong(what, path, {EBADMSG, "a link to nothing"});
      return answer(tree.link(entry, text));
    }
    case AE_IFIFO:
      return answer(tree.node(entry, S_IFIFO, 0));
    case AE_IFCHR:
    case AE_IFBLK:
      return answer(tree.node(entry, ::archive_entry_filetype(from),
                              makedev(static_cast<unsigned>(::archive_entry_rdevmajor(from)),
                                      static_cast<unsigned>(::archive_entry_rdevminor(from)))));
    case AE_IFSOCK:
      return {};
    default:
      return wrong(what, path, {EBADMSG, "a kind of file that is not known"});
  }
  const la_int64_t length = ::archive_entry_size(from);
  if (length < 0) return wrong(what, path, {EBADMSG, "a size below zero"});
  if (static_cast<std::uint64_t>(length) > left.bytes)
    return wrong(what, path,
                 {EFBIG, formatted("its {} bytes are more than the {} that the image may have left",
                                   length, left.bytes)});
  left.bytes -= static_cast<std::uint64_t>(length);
  auto file = tree.file(entry);
  if (!file) return wrong(what, path, file.error());
  if (auto copied = reading.copy(*file, path, static_cast<std::uint64_t>(length)); !copied)
    return copied;
  return answer(tree.finish(*file, entry));
}

}  // namespace

Result<std::string> digest_of(FdView file, const std::string& name) {
  Sha256 hash;
  std::vector<char> bytes(piece);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(file.get(), bytes.data(), bytes.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, Step::open_rootfs, name);
    if (n == 0) return hash.text();
    hash.add(bytes.data(), static_cast<std::size_t>(n));
    at += n;
  }
}

Result<void> unpack(const ArchiveWanted& what, Tree& tree, Allowance& left) {
  const Utf8Names names;
  if (auto looked = look(what, tree, left); !looked) return looked;
  Reading reading(what);
  if (auto begun = reading.begin(); !begun) return begun;
  for (;;) {
    const auto entry = reading.next();
    if (!entry) return tl::unexpected<Error>(entry.error());
    if (*entry == nullptr) break;
    if (auto made = make(what, *entry, reading, tree, left); !made) return made;
  }
  // It may have changed since.
  return reading.end(left.bytes);
}

#else

Result<std::string> digest_of(FdView, const std::string& name) {
  return fail(
      Errc::unsupported, Step::open_rootfs, name,
      "this build of condroid reads no archives: meson's option images, which needs libarchive");
}
Result<void> unpack(const ArchiveWanted& what, Tree&, Allowance&) {
  return fail(Errc::unsupported, Step::open_rootfs, what.name);
}

#endif

}  // namespace condroid::inline v0::detail
