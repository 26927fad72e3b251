// Digests of OCI's images, "sha256:..."; image-spec, descriptor.md. Private.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace condroid::inline v0::detail {

class Sha256 {
 public:
  Sha256();
  void add(const void* data, std::size_t size);
  /// "sha256:" and 64 hexadecimal digits. Begins anew.
  [[nodiscard]] std::string text();

 private:
  alignas(16) unsigned char state_[256];
};

/// The file of a layout's `blobs` that has what a digest names, "sha256/..."; none for a digest
/// that is malformed or made in another way.
[[nodiscard]] std::optional<std::string> blob_path(std::string_view digest);

}  // namespace condroid::inline v0::detail
