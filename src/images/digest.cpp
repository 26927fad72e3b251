#include "images/digest.hpp"

#include <algorithm>

#if CONDROID_IMAGES
#include <nettle/sha2.h>
#include <nettle/version.h>

#include <array>
#include <new>
#endif

namespace condroid::inline v0::detail {

#if CONDROID_IMAGES
namespace {
sha256_ctx* context(unsigned char* state) {
  return std::launder(reinterpret_cast<sha256_ctx*>(state));
}
}  // namespace

Sha256::Sha256() {
  static_assert(sizeof(sha256_ctx) <= sizeof state_ && alignof(sha256_ctx) <= 16);
  sha256_init(new (state_) sha256_ctx);
}

void Sha256::add(const void* data, std::size_t size) {
  sha256_update(context(state_), size, static_cast<const std::uint8_t*>(data));
}

std::string Sha256::text() {
  std::array<std::uint8_t, SHA256_DIGEST_SIZE> bytes{};
#if NETTLE_VERSION_MAJOR < 4
  sha256_digest(context(state_), bytes.size(), bytes.data());
#else
  sha256_digest(context(state_), bytes.data());
#endif
  std::string all = "sha256:";
  for (const std::uint8_t b : bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    all += digits[b >> 4U];
    all += digits[b & 15U];
  }
  return all;
}
#endif

std::optional<std::string> blob_path(std::string_view digest) {
  constexpr std::string_view kind = "sha256:";
  constexpr std::size_t length = 64;
  if (!digest.starts_with(kind)) return {};
  digest.remove_prefix(kind.size());
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (digest.size() != length || !std::ranges::all_of(digest, is_digit)) return {};
  return "sha256/" + std::string(digest);
}

}  // namespace condroid::inline v0::detail
