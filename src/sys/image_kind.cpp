// What an image has in it, by its first bytes.
#include <algorithm>
#include <limits>
#include <string_view>

#include "formatted.hpp"
#include "sys/image.hpp"

namespace condroid::inline v0::detail {

namespace {

using Bytes8 = std::span<const std::uint8_t>;

/// A number of `size` bytes; 0 behind the end.
std::uint64_t little(Bytes8 head, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  if (at + size > head.size()) return 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8U | head[at + i];
  return value;
}

std::uint64_t big(Bytes8 head, std::size_t at, std::size_t size) {
  std::uint64_t value = 0;
  if (at + size > head.size()) return 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8U | head[at + i];
  return value;
}

bool has(Bytes8 head, std::size_t at, std::string_view bytes) {
  return at + bytes.size() <= head.size() &&
         std::equal(bytes.begin(), bytes.end(), head.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

/// `count` units of 2^`bits` bytes, or the greatest number where that is more.
std::uint64_t units(std::uint64_t count, std::uint64_t bits) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  return bits > 40 || count > most >> bits ? most : count << bits;
}

constexpr std::size_t second = 1024;  // where the superblock of many of them is

std::uint64_t ext_size(Bytes8 head) {
  std::uint64_t blocks = little(head, second + 0x4, 4);
  constexpr std::uint64_t wide = 0x80;  // INCOMPAT_64BIT
  if ((little(head, second + 0x60, 4) & wide) != 0)
    blocks |= little(head, second + 0x150, 4) << 32U;
  return units(blocks, 10 + little(head, second + 0x18, 4));
}

std::uint64_t erofs_size(Bytes8 head) {
  std::uint64_t blocks = little(head, second + 0x24, 4);
  constexpr std::uint64_t wide = 0x80;  // INCOMPAT_48BIT
  if ((little(head, second + 0x50, 4) & wide) != 0) blocks |= little(head, second + 0xe, 2) << 32U;
  return units(blocks, little(head, second + 0xc, 1));
}

std::uint64_t xfs_size(Bytes8 head) {
  const std::uint64_t block = big(head, 4, 4), blocks = big(head, 8, 8);
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  return block != 0 && blocks > most / block ? most : block * blocks;
}

/// What is no file system, and often taken for an image of one.
struct Other {
  std::size_t at;
  std::string_view bytes;
  std::string_view what;
};
constexpr Other others[] = {
    {0, "\x1f\x8b", "gzip data: unpack it first"},
    {0,
     {"\xfd"
      "7zXZ\0",
      6},
     "xz data: unpack it first"},
    {0, "\x28\xb5\x2f\xfd", "zstd data: unpack it first"},
    {0, "BZh", "bzip2 data: unpack it first"},
    {0, "\x04\x22\x4d\x18", "lz4 data: unpack it first"},
    {0, "PK\x03\x04", "a zip archive: unpack it first"},
    {0, "QFI\xfb", "a disk of QEMU (qcow2): qemu-img convert -O raw makes an image of it"},
    {0, "\x3a\xff\x26\xed", "a sparse image of Android: simg2img makes a plain one of it"},
    {0, "LUKS\xba\xbe", "an encrypted disk (LUKS): open it, and name its device"},
    {0,
     "\x7f"
     "ELF",
     "a program"},
    {0, "#!", "a script"},
    {0, "070701", "a cpio archive: unpack it into a directory"},
    {512, "EFI PART", "a disk with partitions (GPT): losetup -P, and name the partition's device"},
    {32769, "CD001", "a CD (ISO 9660): name iso9660 as its type"},
    {257, "ustar", "a tar archive: unpack it into a directory"},
    {510, "\x55\xaa",
     "a disk with partitions, or a boot sector: name the partition's device, or "
     "the type"},
};

}  // namespace

ImageKind image_kind(std::span<const std::uint8_t> head) {
  if (head.empty()) return {.what = "nothing: it is empty"};
  if (has(head, 0, "hsqs")) return {"squashfs", "a squashfs file system", little(head, 40, 8)};
  if (has(head, second, "\xe2\xe1\xf5\xe0"))
    return {"erofs", "an erofs file system", erofs_size(head)};
  if (has(head, second + 56, "\x53\xef")) return {"ext4", "an ext4 file system", ext_size(head)};
  if (has(head, second, "\x10\x20\xf5\xf2"))
    return {"f2fs", "an f2fs file system",
            units(little(head, second + 36, 8), little(head, second + 16, 4))};
  if (has(head, 0, "XFSB")) return {"xfs", "an xfs file system", xfs_size(head)};
  if (has(head, 0x10040, "_BHRfS_M"))
    return {"btrfs", "a btrfs file system", little(head, 0x100d1, 8)};
  for (const Other& other : others)
    if (has(head, other.at, other.bytes)) return {.what = std::string(other.what)};
  if (std::ranges::all_of(head, [](std::uint8_t b) { return b == 0; }))
    return {.what = "nothing but zeros: was a file system made in it?"};
  std::string first;
  for (std::size_t i = 0; i < std::min<std::size_t>(head.size(), 8); ++i)
    append_formatted(first, "{}{:02x}", i == 0 ? "" : " ", head[i]);
  return {.what = formatted("no file system that is known here; it begins with {}", first)};
}

}  // namespace condroid::inline v0::detail
