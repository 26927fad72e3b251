#include "sys/image.hpp"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"

using condroid::detail::image_head;
using condroid::detail::image_kind;
using condroid::detail::ImageKind;

namespace {

using Head = std::vector<std::uint8_t>;

void put(Head& head, std::size_t at, std::uint64_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) head[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}
void put(Head& head, std::size_t at, std::string_view bytes) {
  for (const char c : bytes) head[at++] = static_cast<std::uint8_t>(c);
}

}  // namespace

TEST_CASE("a file system is known by its superblock, and so is its size", "[sys][image]") {
  Head head(image_head);
  SECTION("ext4") {
    put(head, 1024 + 56, 0xef53, 2);
    put(head, 1024 + 4, 1000, 4);
    put(head, 1024 + 24, 2, 4);  // blocks of 4 KiB
    CHECK(image_kind(head).type == "ext4");
    CHECK(image_kind(head).size == 4096 * 1000);
    put(head, 1024 + 0x150, 1, 4);  // counts with 64 bits only
    CHECK(image_kind(head).size == 4096 * 1000);
    put(head, 1024 + 0x60, 0x80, 4);
    CHECK(image_kind(head).size == 4096 * ((std::uint64_t{1} << 32U) + 1000));
    put(head, 1024 + 24, 200, 4);
    CHECK(image_kind(head).size == UINT64_MAX);
  }
  SECTION("squashfs") {
    put(head, 0, "hsqs");
    put(head, 40, 123456, 8);
    CHECK(image_kind(head).type == "squashfs");
    CHECK(image_kind(head).size == 123456);
  }
  SECTION("erofs") {
    put(head, 1024, 0xe0f5e1e2, 4);
    put(head, 1024 + 12, 12, 1);
    put(head, 1024 + 36, 10, 4);
    CHECK(image_kind(head).type == "erofs");
    CHECK(image_kind(head).size == 40960);
  }
  SECTION("xfs, btrfs and f2fs") {
    put(head, 0x10040, "_BHRfS_M");
    put(head, 0x100d1, 1U << 30U, 8);
    CHECK(image_kind(head).type == "btrfs");
    CHECK(image_kind(head).size == 1U << 30U);
    put(head, 0, "XFSB");
    put(head, 6, 0x10, 1);  // big-endian 4096
    put(head, 15, 3, 1);
    CHECK(image_kind(head).type == "xfs");
    CHECK(image_kind(head).size == 3 * 4096);
    put(head, 1024, 0xf2f52010, 4);
    put(head, 1024 + 16, 12, 4);
    put(head, 1024 + 36, 5, 8);
    CHECK(image_kind(head).type == "f2fs");
    CHECK(image_kind(head).size == 5 * 4096);
  }
}

TEST_CASE("what is no file system is called by its name", "[sys][image]") {
  Head head(image_head);
  const auto what = [&] { return image_kind(head).what; };
  CHECK(image_kind({}).what == "nothing: it is empty");
  CHECK(what().starts_with("nothing but zeros"));
  put(head, 510, "\x55\xaa");
  CHECK(what().starts_with("a disk with partitions, or a boot sector"));
  put(head, 512, "EFI PART");
  CHECK(what().starts_with("a disk with partitions (GPT)"));
  put(head, 0, "\x3a\xff\x26\xed");
  CHECK(what().starts_with("a sparse image of Android"));
  put(head, 0, "#!/bin/sh");
  CHECK(what() == "a script");
  put(head, 0, "words");
  head[510] = head[512] = 0;
  CHECK(what() == "no file system that is known here; it begins with 77 6f 72 64 73 6e 2f 73");
  CHECK(image_kind(Head{'a', 'b'}).what ==
        "no file system that is known here; it begins with 61 62");
  CHECK(image_kind(head).type.empty());
}

TEST_CASE("any bytes at all, of any length, are something", "[sys][image]") {
  std::mt19937 random(20);  // NOLINT(cert-msc*): the same each time
  const std::string_view starts[] = {"hsqs", "XFSB", "\xe2\xe1\xf5\xe0", "\x10\x20\xf5\xf2"};
  for (int i = 0; i < 2000; ++i) {
    Head head(random() % (i % 10 == 0 ? image_head : 2048));
    for (auto& byte : head) byte = static_cast<std::uint8_t>(random());
    const std::string_view start = starts[i % 4];
    if (head.size() >= 4) put(head, 0, start);
    if (head.size() >= 1028) put(head, 1024, start);
    const ImageKind kind = image_kind(head);
    CHECK(kind.what.empty() == false);
  }
}
