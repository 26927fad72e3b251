// Archives with a root file system in them, or a layer of one; libarchive reads them. Private.
#pragma once

#include <cstdint>
#include <string>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "images/tree.hpp"

namespace condroid::inline v0::detail {

/// What is left of what an image may have.
struct Allowance {
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
};

/// How an archive is packed.
enum class Packing : std::uint8_t { any, none, gzip, zstd };

struct ArchiveWanted {
  FdView file = {};
  std::string name = {};  ///< For messages: "image '/tmp/x.tar'".
  Packing packing = Packing::any;
  std::string digest = {};   ///< Of the file.
  std::uint64_t size = 0;    ///< Of the file.
  std::string diff_id = {};  ///< Of what was packed; empty: not known.
  bool layer = false;        ///< It has whiteouts.
};

/// "sha256:..." of a file, read from its beginning.
[[nodiscard]] Result<std::string> digest_of(FdView file, const std::string& name);

/// Reads it once and compares digests and sizes, before anything of it is believed; of a layer
/// takes away what it hides of those below. Then reads it again and makes its files.
/// @errors Step::open_rootfs with the entry named.
[[nodiscard]] Result<void> unpack(const ArchiveWanted& what, Tree& tree, Allowance& left);

}  // namespace condroid::inline v0::detail
