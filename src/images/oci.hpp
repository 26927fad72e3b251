// OCI image layouts on disk: which manifest, which layers; image-spec 1.1. Private.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/sys/fd.hpp"
#include "images/archive.hpp"

namespace condroid::inline v0::detail {

struct OciLayer {
  std::string digest = {};
  std::uint64_t size = 0;
  Packing packing = Packing::none;
  std::string diff_id = {};
};

struct OciImage {
  std::string digest = {};  ///< Of its manifest.
  std::vector<OciLayer> layers = {};
};

/// What OCI calls the machine that this was compiled for.
[[nodiscard]] std::string_view oci_architecture() noexcept;

/// Reads index, manifest and configuration. `name` is for messages.
/// @errors as ImageStore::get
[[nodiscard]] Result<OciImage> read_layout(FdView layout, const std::string& name,
                                           std::string_view reference);

/// The file of a blob, which has that size.
[[nodiscard]] Result<Fd> open_blob(FdView layout, const std::string& name, std::string_view digest,
                                   std::uint64_t size);

}  // namespace condroid::inline v0::detail
