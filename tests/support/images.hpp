// Images that tests make: tar archives entry by entry, so that they can lie, and OCI layouts of
// them.
//
//   Tar tar;
//   tar.dir("bin").file("bin/tool", "text", 0755).link("sbin", "bin");
//   write_file(scratch / "image.tar", tar.bytes());
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/sys/fd.hpp"
#include "images/digest.hpp"
#include "images/tree.hpp"

#if CONDROID_IMAGES
#include <archive.h>
#include <archive_entry.h>
#endif

namespace condroid::test {

inline void need(bool fine, std::string_view what) {
  if (!fine) throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

/// A directory below /tmp that goes with the handle.
class Scratch {
 public:
  Scratch() {
    char name[] = "/tmp/test-images.XXXXXX";
    need(::mkdtemp(name) != nullptr, "mkdtemp");
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    const Fd top(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    (void)detail::empty_directory(top);
    (void)::rmdir(path_.c_str());
  }
  [[nodiscard]] std::string operator/(std::string_view name) const {
    return fmt::format("{}/{}", path_, name);
  }
  [[nodiscard]] const std::string& str() const { return path_; }

 private:
  std::string path_;
};

inline void write_file(const std::string& path, std::string_view bytes, mode_t mode = 0644) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  need(fd.valid(), path);
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
    need(n > 0, path);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}
/// What is in it; "(none)" without one.
inline std::string text_of(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return "(none)";
  std::string all;
  std::array<char, 65536> some;
  for (ssize_t n = 0; (n = ::read(fd.get(), some.data(), some.size())) > 0;)
    all.append(some.data(), static_cast<std::size_t>(n));
  return all;
}
inline bool is_there(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}
/// The names in a directory.
inline std::size_t count_in(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat st {};
  if (!fd.valid() || ::fstat(fd.get(), &st) < 0) return 0;
  return static_cast<std::size_t>(st.st_nlink) - 2;
}

/// An archive in the format ustar.
class Tar {
 public:
  struct Head {
    std::string name = {};
    char type = '0';
    unsigned mode = 0644;
    std::string target = {};
    std::uint64_t size = 0;
    unsigned major = 0;
    unsigned minor = 0;
    unsigned uid = 0;
    unsigned gid = 0;
  };
  Tar& entry(const Head& h, std::string_view contents = {}) {
    std::array<char, 512> block{};
    const auto put = [&](std::size_t at, std::string_view text) {
      text.copy(block.data() + at, block.size() - at);
    };
    need(h.name.size() <= 100 && h.target.size() <= 100, "a name too long for a test");
    put(0, h.name);
    put(100, fmt::format("{:07o}", h.mode));
    put(108, fmt::format("{:07o}", h.uid));
    put(116, fmt::format("{:07o}", h.gid));
    put(124, fmt::format("{:011o}", h.size));
    put(136, fmt::format("{:011o}", 1000000000));
    put(148, "        ");
    block[156] = h.type;
    put(157, h.target);
    put(257, std::string_view("ustar\00000", 8));
    put(329, fmt::format("{:07o}", h.major));
    put(337, fmt::format("{:07o}", h.minor));
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum));
    block[154] = '\0';
    block[155] = ' ';
    bytes_.append(block.data(), block.size());
    bytes_ += contents;
    bytes_.resize((bytes_.size() + 511) / 512 * 512, '\0');
    return *this;
  }
  Tar& file(const std::string& name, std::string_view contents, unsigned mode = 0644) {
    return entry({.name = name, .mode = mode, .size = contents.size()}, contents);
  }
  Tar& dir(const std::string& name, unsigned mode = 0755) {
    return entry({.name = name + "/", .type = '5', .mode = mode});
  }
  Tar& link(const std::string& name, const std::string& to) {
    return entry({.name = name, .type = '2', .mode = 0777, .target = to});
  }
  Tar& hard(const std::string& name, const std::string& to) {
    return entry({.name = name, .type = '1', .target = to});
  }
  /// With the end of an archive.
  [[nodiscard]] std::string bytes() const { return bytes_ + std::string(1024, '\0'); }
  /// Without.
  [[nodiscard]] const std::string& open_end() const { return bytes_; }

 private:
  std::string bytes_;
};

/// A root with nothing in it but the machine's busybox, which has to be a static one; empty where
/// there is none.
inline std::string busybox_tar() {
  std::string program = text_of("/bin/busybox");
  if (program == "(none)") program = text_of("/usr/bin/busybox");
  if (program == "(none)") return {};
  Tar tar;
  for (const char* name : {"bin", "dev", "etc", "proc", "root", "sys", "var"}) tar.dir(name);
  tar.dir("tmp", 01777).file("bin/busybox", program, 0755);
  for (const char* name :
       {"cat",   "echo", "false", "grep",  "head", "hostname", "httpd", "id",  "ip",
        "kill",  "ls",   "mkdir", "nc",    "ping", "ps",       "rm",    "seq", "sh",
        "sleep", "tail", "test",  "touch", "true", "wc",       "wget",  "yes"})
    tar.link(fmt::format("bin/{}", name), "busybox");
  tar.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
  return tar.bytes();
}

#if CONDROID_IMAGES

/// Packed with "gzip", "zstd" or "xz".
inline std::string packed(const std::string& bytes, const char* how) {
  std::string out;
  ::archive* a = ::archive_write_new();
  need(::archive_write_set_format_raw(a) == ARCHIVE_OK &&
           ::archive_write_add_filter_by_name(a, how) == ARCHIVE_OK,
       how);
  const auto take = [](::archive*, void* to, const void* data, std::size_t size) -> la_ssize_t {
    static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
    return static_cast<la_ssize_t>(size);
  };
  ::archive_write_set_bytes_in_last_block(a, 1);
  need(::archive_write_open(a, &out, nullptr, take, nullptr) == ARCHIVE_OK, how);
  ::archive_entry* e = ::archive_entry_new();
  ::archive_entry_set_filetype(e, AE_IFREG);
  ::archive_entry_set_pathname(e, "data");
  need(::archive_write_header(a, e) == ARCHIVE_OK &&
           ::archive_write_data(a, bytes.data(), bytes.size()) ==
               static_cast<la_ssize_t>(bytes.size()) &&
           ::archive_write_close(a) == ARCHIVE_OK,
       how);
  ::archive_entry_free(e);
  ::archive_write_free(a);
  return out;
}

inline std::string sha256(std::string_view bytes) {
  detail::Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  return hash.text();
}

/// An OCI layout in a directory. What is public says what is written; write() writes it.
struct Layout {
  struct Layer {
    std::string tar;
    std::string type = "application/vnd.oci.image.layer.v1.tar+gzip";
    std::string packing = "gzip";
    std::string digest = {};     ///< Said instead of the right one.
    std::int64_t longer_by = 0;  ///< Than it is, it says it is.
    std::string diff_id = {};    ///< As digest.
    bool leave_out = false;      ///< The blob.
    std::string blob = {};       ///< Instead of the tar, packed.
  };
  std::vector<Layer> layers = {};
  std::string architecture = {};  ///< Empty: this machine's.
  std::string config_type = "application/vnd.oci.image.config.v1+json";
  std::string manifest_type = "application/vnd.oci.image.manifest.v1+json";

  std::string manifest_digest = {};
  std::uint64_t manifest_size = 0;

  void write(const std::string& path, std::string_view own_architecture) {
    ::mkdir(path.c_str(), 0755);
    ::mkdir((path + "/blobs").c_str(), 0755);
    ::mkdir((path + "/blobs/sha256").c_str(), 0755);
    write_file(path + "/oci-layout", R"({"imageLayoutVersion": "1.0.0"})");
    std::string list, ids;
    for (const Layer& l : layers) {
      const std::string bytes = !l.blob.empty()     ? l.blob
                                : l.packing.empty() ? l.tar
                                                    : packed(l.tar, l.packing.c_str());
      const std::string digest = l.digest.empty() ? sha256(bytes) : l.digest;
      if (!l.leave_out) write_file(blob(path, digest), bytes);
      list += fmt::format(R"({}{{"mediaType": "{}", "digest": "{}", "size": {}}})",
                          list.empty() ? "" : ", ", l.type, digest,
                          static_cast<std::int64_t>(bytes.size()) + l.longer_by);
      ids += fmt::format(R"({}"{}")", ids.empty() ? "" : ", ",
                         l.diff_id.empty() ? sha256(l.tar) : l.diff_id);
    }
    const std::string config = fmt::format(
        R"({{"os": "linux", "architecture": "{}", "rootfs": {{"type": "layers", "diff_ids": [{}]}}}})",
        architecture.empty() ? own_architecture : architecture, ids);
    write_file(blob(path, sha256(config)), config);
    const std::string manifest = fmt::format(
        R"({{"schemaVersion": 2, "mediaType": "{}", "config": {{"mediaType": "{}", "digest": "{}", "size": {}}}, "layers": [{}]}})",
        manifest_type, config_type, sha256(config), config.size(), list);
    manifest_digest = sha256(manifest);
    manifest_size = manifest.size();
    write_file(blob(path, manifest_digest), manifest);
    write_file(path + "/index.json",
               fmt::format(R"({{"schemaVersion": 2, "manifests": [{}]}})", descriptor("", "")));
  }
  /// For an index.
  [[nodiscard]] std::string descriptor(std::string_view platform,
                                       std::string_view reference) const {
    std::string more;
    if (!platform.empty())
      more += fmt::format(R"(, "platform": {{"os": "linux", "architecture": "{}"}})", platform);
    if (!reference.empty())
      more += fmt::format(R"(, "annotations": {{"org.opencontainers.image.ref.name": "{}"}})",
                          reference);
    return fmt::format(R"({{"mediaType": "{}", "digest": "{}", "size": {}{}}})", manifest_type,
                       manifest_digest, manifest_size, more);
  }
  static std::string blob(const std::string& path, const std::string& digest) {
    return path + "/blobs/sha256/" + digest.substr(digest.find(':') + 1);
  }
};

#endif

}  // namespace condroid::test
