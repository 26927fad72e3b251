// What holds for whatever an image's author wrote: it is unpacked below its root or refused with an
// error that can be shown to a terminal, and nothing beside the root is touched. Used by the fuzz
// target and, with its seeds, by a unit test.
//
// The first byte says what the rest is:
//   'A'  an archive, as it is
//   'L'  layers: per entry four bytes, kind, name, where a link leads, and its mode; see entry_of()
//   'O'  a layout: index, manifest and configuration with a line "--" between them. In the first
//        @M stands for a descriptor's size and digest of the second, there @C for that of the third
//        and @L for that of a layer.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "images/archive.hpp"
#include "images/digest.hpp"
#include "images/oci.hpp"
#include "images/tree.hpp"

namespace images_property {

namespace detail = condroid::detail;
using condroid::Fd;

/// A directory that goes with it: root and trash are in it, and what must not be touched.
class Place {
 public:
  Place() {
    char path[] = "/tmp/images-XXXXXX";
    if (::mkdtemp(path) == nullptr) std::abort();
    path_ = path;
    top_ = directory("");
    for (const char* name : {"root", "trash", "beside", "beside/full"})
      if (::mkdirat(top_.get(), name, 0755) != 0) std::abort();
    const Fd secret(::openat(top_.get(), "beside/secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (::write(secret.get(), "secret", 6) != 6) std::abort();
    root = directory("root");
    trash = directory("trash");
    before_ = seen();
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    (void)detail::empty_directory(top_);
    (void)::rmdir(path_.c_str());
  }

  [[nodiscard]] Fd directory(const std::string& name) const {
    return Fd(::open((path_ + "/" + name).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }
  void put(const std::string& name, std::string_view text) const {
    const Fd file(
        ::openat(top_.get(), name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      std::abort();
  }
  [[nodiscard]] bool is_touched() const { return seen() != before_; }

  Fd root;
  Fd trash;

 private:
  /// The names in a directory, the text of a file.
  [[nodiscard]] std::string held_by(const char* name) const {
    std::string all;
    const Fd at(::openat(top_.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    char some[64];
    if (const ssize_t n = ::read(at.get(), some, sizeof some); n >= 0)
      return {some, static_cast<std::size_t>(n)};
    DIR* const entries = ::fdopendir(::dup(at.get()));
    while (const dirent* entry = entries == nullptr ? nullptr : ::readdir(entries))
      all += std::string(entry->d_name) + "/";
    if (entries != nullptr) ::closedir(entries);
    return all;
  }
  struct Seen {
    ino_t inode;
    mode_t mode;
    nlink_t links;
    off_t size;
    time_t changed;
    long changed_ns;
    std::string holds;  ///< The clock of a file system stands still for milliseconds.
    bool operator==(const Seen&) const = default;
  };
  /// Whatever is done with one of them changes its ctime.
  [[nodiscard]] std::vector<Seen> seen() const {
    std::vector<Seen> list;
    for (const char* name : {"beside", "beside/full", "beside/secret"}) {
      struct stat st {};
      if (::fstatat(top_.get(), name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        list.push_back({st.st_ino, st.st_mode, st.st_nlink, st.st_size, st.st_ctim.tv_sec,
                        st.st_ctim.tv_nsec, held_by(name)});
    }
    return list;
  }

  std::string path_;
  Fd top_;
  std::vector<Seen> before_;
};

/// No bytes that a terminal would take for commands, and no line of its own.
inline bool is_shown_plainly(const condroid::Error& error) {
  const std::string text = to_string(error);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto before = static_cast<unsigned char>(i == 0 ? 0 : text[i - 1]);
    if (c < 0x20 || c == 0x7f || (before == 0xc2 && c < 0xa0) || c == 0xff) return false;
  }
  return true;
}

inline std::string unpack(std::string_view archive, detail::Tree& tree, detail::Allowance& left,
                          bool layer) {
  const Fd file(::memfd_create("archive", MFD_CLOEXEC));
  if (::write(file.get(), archive.data(), archive.size()) != static_cast<ssize_t>(archive.size()))
    std::abort();
  const auto digest = detail::digest_of(file, "image");
  if (!digest) return "no digest";
  const auto done = detail::unpack(
      {.file = file, .name = "image", .digest = *digest, .size = archive.size(), .layer = layer},
      tree, left);
  if (done) return {};
  if (done.error().step != condroid::Step::open_rootfs) return "an error of another step";
  return is_shown_plainly(done.error()) ? "" : "an error that a terminal obeys";
}

/// A header of ustar, and what the file has.
inline std::string entry_of(std::string_view four) {
  static constexpr std::array names = {
      "a",         "b",        "a/b",      "a/b/c",          "..",       "../beside/secret",
      "a/../b",    "/beside",  ".wh.a",    "a/.wh..wh..opq", "a/.wh.b",  ".wh...",
      ".wh.",      ".",        "b/secret", "b/full/x",       "a//b/./c", "b/.wh.secret",
      ".wh..wh.x", "a/.wh...", "c/d/e/f",  "b/..",           "a\x1b[2J", "b/.wh..wh..opq"};
  static constexpr std::array targets = {"a",         "b",   "../beside", "../beside/secret",
                                         "/",         ".",   "..",        "../../../../..",
                                         "/a/../../", "c/d", "",          "/proc/self/cwd"};
  static constexpr std::string_view kinds = "0123456755LKxg";
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(four[i]); };
  char header[512] = {};
  std::snprintf(header, 100, "%s", names[at(1) % names.size()]);
  const unsigned size = at(3) >> 5U;
  std::snprintf(header + 100, 8, "%07o", (at(3) & 31U) << 4U | 0200U);
  std::snprintf(header + 108, 8, "%07o", ::geteuid());
  std::snprintf(header + 116, 8, "%07o", ::getegid());
  const char kind = kinds[at(0) % kinds.size()];
  const bool has_data = kind == '0' || kind == 'L' || kind == 'K';
  std::snprintf(header + 124, 12, "%011o", has_data ? size : 0U);
  std::snprintf(header + 136, 12, "%011o", 0U);
  header[156] = kind;
  std::snprintf(header + 157, 100, "%s", targets[at(2) % targets.size()]);
  std::memcpy(header + 257, "ustar\00000", 8);
  std::memset(header + 148, ' ', 8);
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::snprintf(header + 148, 8, "%06o", sum);
  std::string all(header, sizeof header);
  if (has_data && size > 0) all += std::string(size, '.') + std::string(512 - size, '\0');
  return all;
}

inline std::string broken_layers(std::string_view bytes, const Place& place) {
  detail::Tree tree(place.root, place.trash, ::geteuid() == 0);
  detail::Allowance left{.bytes = 1 << 20, .entries = 200};
  // Two zeros end a layer.
  std::string layer;
  for (; bytes.size() >= 4; bytes.remove_prefix(4)) {
    if (bytes[0] == 0 && bytes[1] == 0) {
      if (auto wrong = unpack(layer + std::string(1024, '\0'), tree, left, true); !wrong.empty())
        return wrong;
      layer.clear();
      continue;
    }
    layer += entry_of(bytes.substr(0, 4));
  }
  auto wrong = unpack(layer + std::string(1024, '\0'), tree, left, true);
  (void)tree.settle();
  return wrong;
}

inline void replace(std::string& text, std::string_view mark, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(mark, at)) != text.npos; at += by.size())
    text.replace(at, mark.size(), by);
}

/// What a layout of these parts has.
inline condroid::Result<detail::OciImage> read(std::string_view bytes, const Place& place) {
  std::array<std::string, 3> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t end = i + 1 < parts.size() ? bytes.find("\n--\n") : bytes.npos;
    parts[i] = bytes.substr(0, end);
    bytes.remove_prefix(end == bytes.npos ? bytes.size() : end + 4);
  }
  for (const char* name : {"root/blobs", "root/blobs/sha256"})
    (void)::mkdirat(place.root.get(), name + 5, 0755);
  const auto blob = [&](const std::string& text) {
    detail::Sha256 hash;
    hash.add(text.data(), text.size());
    const std::string digest = hash.text();
    place.put("root/blobs/sha256/" + digest.substr(7), text);
    return "\"size\":" + std::to_string(text.size()) + ",\"digest\":\"" + digest + "\"";
  };
  replace(parts[2], "@A", std::string(detail::oci_architecture()));
  replace(parts[1], "@C", blob(parts[2]));
  replace(parts[1], "@L", blob("a layer"));
  replace(parts[0], "@M", blob(parts[1]));
  replace(parts[0], "@A", std::string(detail::oci_architecture()));
  place.put("root/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  place.put("root/index.json", parts[0]);
  return detail::read_layout(place.root, "image", "");
}

inline std::string broken_layout(std::string_view bytes, const Place& place) {
  const auto image = read(bytes, place);
  if (!image) {
    if (image.error().step != condroid::Step::open_rootfs) return "an error of another step";
    return is_shown_plainly(image.error()) ? "" : "an error that a terminal obeys";
  }
  if (!detail::blob_path(image->digest)) return "an image without a digest";
  for (const detail::OciLayer& layer : image->layers)
    if (!detail::blob_path(layer.digest) || !detail::blob_path(layer.diff_id))
      return "a layer without a digest";
  return {};
}

/// Empty when it holds, otherwise what does not.
inline std::string broken(std::string_view bytes) {
  if (bytes.empty()) return {};
  const char kind = bytes.front();
  bytes.remove_prefix(1);
  const Place place;
  std::string wrong;
  if (kind == 'L') {
    wrong = broken_layers(bytes, place);
  } else if (kind == 'O') {
    wrong = broken_layout(bytes, place);
  } else {
    detail::Tree tree(place.root, place.trash, ::geteuid() == 0);
    detail::Allowance left{.bytes = 1 << 20, .entries = 200};
    wrong = unpack(bytes, tree, left, true);
    (void)tree.settle();
  }
  if (!wrong.empty()) return wrong;
  if (place.is_touched()) return "something beside the root was touched";
  if (detail::empty_directory(place.root) != 0) return "a root that cannot be removed";
  return {};
}

}  // namespace images_property
