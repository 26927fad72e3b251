#include "condroid/image_store.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <csignal>
#include <functional>
#include <thread>
#include <vector>

#include "catch.hpp"
#include "forked.hpp"
#include "images.hpp"
#include "images/oci.hpp"

namespace condroid {

using namespace test;

namespace {

ImageStore store_in(const Scratch& scratch, ImageStoreOptions options = {}) {
  options.cache = HostPath(scratch / "cache");
  options.sync = false;
  auto store = ImageStore::open(options);
  if (!store) throw std::runtime_error(to_string(store.error()));
  return *store;
}

struct stat status_of(const std::string& path) {
  struct stat st {};
  need(::lstat(path.c_str(), &st) == 0, path);
  return st;
}

/// Nothing finished, nothing begun.
bool cache_is_empty(const Scratch& scratch) {
  return count_in(scratch / "cache/roots") == 0 && count_in(scratch / "cache/work") == 0;
}

/// The error of an image that is in `path`; what it is about has to be said in it.
void refused(const Scratch& scratch, const std::string& path, int error,
             std::initializer_list<std::string_view> words, ImageStoreOptions options = {}) {
  const auto got = store_in(scratch, std::move(options)).get(HostPath(path));
  REQUIRE_FALSE(got);
  INFO(to_string(got.error()));
  CHECK(got.error().step == Step::open_rootfs);
  if (error != 0) CHECK(got.error().is_errno(error));
  for (const std::string_view word : words)
    CHECK(to_string(got.error()).find(word) != std::string::npos);
  CHECK(cache_is_empty(scratch));
}

}  // namespace

TEST_CASE("a directory is an image as it is", "[images]") {
  const Scratch scratch;
  need(::mkdir((scratch / "root").c_str(), 0755) == 0, "mkdir");
  const auto got = store_in(scratch).get(HostPath(scratch / "root"));
  REQUIRE(got);
  CHECK(got->root.str() == scratch / "root");
  CHECK(got->kind == StoredImage::directory);
  CHECK_FALSE(got->unpacked);
}

TEST_CASE("an image that is not there is one clear error", "[images]") {
  const Scratch scratch;
  refused(scratch, scratch / "no-such", ENOENT, {"no-such"});
  need(::mkfifo((scratch / "fifo").c_str(), 0644) == 0, "mkfifo");
  refused(scratch, scratch / "fifo", EINVAL, {"neither a file nor a directory"});
}

TEST_CASE("a cache that others may write to is refused", "[images]") {
  const Scratch scratch;
  need(::mkdir((scratch / "cache").c_str(), 0777) == 0 &&
           ::chmod((scratch / "cache").c_str(), 0777) == 0,
       "mkdir");
  const auto store = ImageStore::open({.cache = HostPath(scratch / "cache")});
  REQUIRE_FALSE(store);
  CHECK(store.error().is_errno(EPERM));
}

#if CONDROID_IMAGES

TEST_CASE("an archive is unpacked once, however it is packed", "[images]") {
  Tar tar;
  tar.dir(".").dir("etc").file("etc/name", "value\n", 0640).file("bin/tool", "tool", 0755);
  tar.link("sbin", "bin").hard("bin/same", "bin/tool").dir("closed", 0500);
  tar.file("sbin/by-link", "follows");
  tar.entry({.name = "pipe", .type = '6', .mode = 0600});
  for (const char* how : {"", "gzip", "zstd", "xz"}) {
    INFO("packed with " << how);
    const Scratch scratch;
    write_file(scratch / "image.tar", *how == '\0' ? tar.bytes() : packed(tar.bytes(), how));
    const ImageStore store = store_in(scratch);
    const auto got = store.get(HostPath(scratch / "image.tar"));
    REQUIRE(got);
    CHECK(got->kind == StoredImage::archive);
    CHECK(got->unpacked);
    CHECK(got->digest == sha256(text_of(scratch / "image.tar")));
    const std::string& root = got->root.str();
    CHECK(text_of(root + "/etc/name") == "value\n");
    CHECK((status_of(root + "/etc/name").st_mode & 07777) == 0640);
    CHECK(status_of(root + "/etc/name").st_mtim.tv_sec == 1000000000);
    CHECK(status_of(root + "/etc").st_mtim.tv_sec == 1000000000);
    CHECK((status_of(root + "/closed").st_mode & 07777) == 0500);
    CHECK(text_of(root + "/bin/by-link") == "follows");
    CHECK(S_ISLNK(status_of(root + "/sbin").st_mode));
    CHECK(status_of(root + "/bin/same").st_ino == status_of(root + "/bin/tool").st_ino);
    CHECK(S_ISFIFO(status_of(root + "/pipe").st_mode));
    const auto again = store.get(HostPath(scratch / "image.tar"));
    REQUIRE(again);
    CHECK_FALSE(again->unpacked);
    CHECK(again->root == got->root);
    CHECK(count_in(scratch / "cache/work") == 0);
  }
}

TEST_CASE("an archive that was changed is another image", "[images]") {
  const Scratch scratch;
  const ImageStore store = store_in(scratch);
  write_file(scratch / "image.tar", Tar().file("one", "1").bytes());
  const auto one = store.get(HostPath(scratch / "image.tar"));
  write_file(scratch / "image.tar", Tar().file("two", "2").bytes());
  const auto two = store.get(HostPath(scratch / "image.tar"));
  REQUIRE((one && two));
  CHECK(one->root != two->root);
  CHECK(text_of(two->root.str() + "/two") == "2");
}

TEST_CASE("owners, set-id bits, nodes and attributes are root's to have", "[images]") {
  const Scratch scratch;
  Tar tar;
  tar.entry({.name = "tool", .mode = 04755, .size = 1, .uid = 1234, .gid = 2345}, "x");
  tar.entry({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3});
  write_file(scratch / "image.tar", tar.bytes());
  const auto got = store_in(scratch).get(HostPath(scratch / "image.tar"));
  REQUIRE(got);
  const auto tool = status_of(got->root.str() + "/tool");
  CHECK((tool.st_mode & 07777) == 04755);
  if (::geteuid() != 0) {
    CHECK(tool.st_uid == ::geteuid());
    CHECK_FALSE(is_there(got->root.str() + "/null"));
    return;
  }
  CHECK(tool.st_uid == 1234);
  CHECK(tool.st_gid == 2345);
  if (is_there(got->root.str() + "/null"))
    CHECK(status_of(got->root.str() + "/null").st_rdev == makedev(1, 3));
}

TEST_CASE("names are bytes of UTF-8 whatever the locale is", "[images]") {
  const Scratch scratch;
  // A pax header, which has names in UTF-8.
  const std::string record = "22 path=\xc3\xa4/\xe6\x96\x87.text\n";
  const std::string length = fmt::format("{}", record.size());
  Tar tar;
  const std::string right = length + record.substr(2);
  tar.entry({.name = "head", .type = 'x', .size = right.size()}, right).file("short", "here");
  write_file(scratch / "image.tar", tar.bytes());
  const auto got = store_in(scratch).get(HostPath(scratch / "image.tar"));
  REQUIRE(got);
  CHECK(text_of(got->root.str() + "/\xc3\xa4/\xe6\x96\x87.text") == "here");
}

TEST_CASE("an archive that climbs out is refused, and leaves nothing", "[images]") {
  const Scratch scratch;
  // What it would reach: beside the root, in the directory that is being unpacked, and above.
  write_file(scratch / "victim", "untouched");
  const auto attempt = [&](const Tar& tar, int error,
                           std::initializer_list<std::string_view> words) {
    write_file(scratch / "image.tar", tar.bytes());
    refused(scratch, scratch / "image.tar", error, words);
    CHECK(text_of(scratch / "victim") == "untouched");
  };
  SECTION("by '..'") {
    attempt(Tar().file("a", "").file("a/../../../victim", "x"), EXDEV,
            {"entry 'a/../../../victim'", "'..'"});
  }
  SECTION("by an absolute name") {
    attempt(Tar().file(scratch / "victim", "x"), EXDEV, {scratch / "victim", "absolute"});
  }
  SECTION("by a symbolic link on the way") {
    attempt(Tar().link("up", "../../../..").file("up/victim", "x"), EXDEV,
            {"entry 'up/victim'", "symbolic link leads out"});
    attempt(Tar().dir("d").link("d/up", "../..").file("d/up/x", "x"), EXDEV, {"entry 'd/up/x'"});
    attempt(Tar().link("loop", "loop").file("loop/x", "x"), ELOOP, {"entry 'loop/x'"});
  }
  SECTION("by a hard link") {
    attempt(Tar().hard("mine", "../../../victim"), EXDEV,
            {"entry 'mine'", "hard link to '../../../victim'"});
    attempt(Tar().hard("mine", scratch / "victim"), EXDEV, {"entry 'mine'"});
    attempt(Tar().link("up", "../../..").hard("mine", "up/victim"), EXDEV, {"entry 'mine'"});
    attempt(Tar().hard("mine", "nothing"), ENOENT, {"entry 'mine'", "hard link to 'nothing'"});
  }
  SECTION("by a path below a file") {
    attempt(Tar().file("f", "").file("f/x", ""), ENOTDIR, {"entry 'f/x'"});
  }
}

TEST_CASE("a link to an absolute path stays in the image", "[images]") {
  const Scratch scratch;
  Tar tar;
  // What the container would write there, it writes into its own root.
  tar.link("out", scratch.str()).file("out/victim", "inside");
  // And a file in the place of a link is no write through it.
  tar.link("name", scratch / "victim").file("name", "own");
  // Nor is a hard link to a link.
  tar.link("other", scratch / "victim").hard("third", "other").file("third", "own");
  write_file(scratch / "victim", "untouched");
  write_file(scratch / "image.tar", tar.bytes());
  const auto got = store_in(scratch).get(HostPath(scratch / "image.tar"));
  if (!got) FAIL(to_string(got.error()));
  CHECK(text_of(scratch / "victim") == "untouched");
  CHECK(text_of(got->root.str() + scratch.str() + "/victim") == "inside");
  CHECK(text_of(got->root.str() + "/name") == "own");
}

TEST_CASE("an archive that is not one, or ends too early, or is too large is refused", "[images]") {
  const Scratch scratch;
  const auto attempt = [&](const std::string& bytes, int error,
                           std::initializer_list<std::string_view> words,
                           ImageStoreOptions options = {}) {
    write_file(scratch / "image.tar", bytes);
    refused(scratch, scratch / "image.tar", error, words, std::move(options));
  };
  SECTION("text") { attempt("this is no archive at all, only text\n", EBADMSG, {"no archive"}); }
  SECTION("an entry that is longer than the archive") {
    Tar tar;
    tar.entry({.name = "lies", .size = 100000}, "short");
    attempt(tar.open_end(), EBADMSG, {"lies"});
  }
  SECTION("a packed one that is cut off") {
    std::string bytes = packed(Tar().file("f", std::string(100000, 'a')).bytes(), "gzip");
    bytes.resize(bytes.size() / 2);
    attempt(bytes, EBADMSG, {"image.tar"});
  }
  SECTION("more than it may have") {
    attempt(Tar().file("a", std::string(600, 'a')).file("b", std::string(600, 'b')).bytes(), EFBIG,
            {"entry 'b'"}, {.most = {1000}});
    attempt(Tar().file("a", "").file("b", "").file("c", "").bytes(), EFBIG, {"entry 'c'"},
            {.most_entries = 2});
  }
  SECTION("a small one that becomes large") {
    Tar tar;
    tar.file("zeros", std::string(std::size_t{8} << 20U, '\0'));
    attempt(packed(tar.bytes(), "gzip"), EFBIG, {"entry 'zeros'"}, {.most = {1U << 20U}});
  }
  SECTION("much behind its last entry") {
    const std::string tar = Tar().file("a", "text").bytes();
    attempt(packed(tar + std::string(std::size_t{8} << 20U, '\0'), "gzip"), EFBIG,
            {"behind its last entry"}, {.most = {1U << 20U}});
    // Some pad theirs to a size of a tape's.
    write_file(scratch / "padded.tar", tar + std::string(std::size_t{64} << 10U, '\0'));
    CHECK(store_in(scratch, {.most = {4}}).get(HostPath(scratch / "padded.tar")));
  }
}

TEST_CASE("what an attribute says to overlayfs is not an image's to say", "[images]") {
  const Scratch scratch;
  Tar tar;
  const std::string value = "SCHILY.xattr.trusted.overlay.opaque=y\n";
  const std::string record = fmt::format("{} {}", value.size() + 3, value);
  tar.entry({.name = "head", .type = 'x', .size = record.size()}, record).dir("d");
  write_file(scratch / "image.tar", tar.bytes());
  refused(scratch, scratch / "image.tar", EPERM, {"entry 'd/'", "trusted.overlay.opaque"});
}

TEST_CASE("layers lie on one another, and whiteouts hide what is below", "[images]") {
  const Scratch scratch;
  Layout image;
  Tar first;
  first.dir("etc").file("etc/keep", "1").file("etc/gone", "1").dir("data").file("data/old", "1");
  first.dir("data/deep")
      .file("data/deep/x", "1")
      .dir("tree")
      .file("tree/a", "1")
      .file("was-file", "");
  first.file("etc/below", "1").link("was-link", "etc").dir("was-dir").file("was-dir/x", "");
  Tar second;
  // The opaque one comes after what it must not hide, which is of its own layer.
  second.file("etc/.wh.gone", "").file("data/new", "2").file("data/.wh..wh..opq", "");
  second.file(".wh.tree", "").file(".wh.never-was", "").dir("was-file").file("was-file/x", "2");
  // One whose lower layer has a link in its place hides nothing of where that leads to.
  second.dir("was-link").file("was-link/.wh..wh..opq", "").file("was-dir", "2");
  second.file("etc/keep", "2");
  Tar third;
  third.file("etc/gone", "3");
  image.layers = {
      {.tar = first.bytes()},
      {.tar = second.bytes(),
       .type = "application/vnd.oci.image.layer.v1.tar+zstd",
       .packing = "zstd"},
      {.tar = third.bytes(), .type = "application/vnd.oci.image.layer.v1.tar", .packing = ""}};
  image.write(scratch / "layout", detail::oci_architecture());
  const ImageStore store = store_in(scratch);
  const auto got = store.get(HostPath(scratch / "layout"));
  if (!got) FAIL(to_string(got.error()));
  CHECK(got->kind == StoredImage::oci);
  CHECK(got->digest == image.manifest_digest);
  const std::string root = got->root.str() + "/";
  CHECK(text_of(root + "etc/keep") == "2");
  CHECK(text_of(root + "etc/gone") == "3");
  CHECK(text_of(root + "data/new") == "2");
  CHECK_FALSE(is_there(root + "data/old"));
  CHECK_FALSE(is_there(root + "data/deep"));
  CHECK_FALSE(is_there(root + "tree"));
  CHECK_FALSE(is_there(root + ".wh.tree"));
  CHECK_FALSE(is_there(root + "data/.wh..wh..opq"));
  CHECK(text_of(root + "was-file/x") == "2");
  CHECK(S_ISDIR(status_of(root + "was-link").st_mode));
  CHECK(text_of(root + "etc/below") == "1");
  CHECK(text_of(root + "was-dir") == "2");
  const auto again = store.get(HostPath(scratch / "layout"));
  REQUIRE(again);
  CHECK_FALSE(again->unpacked);
}

TEST_CASE("a layout that lies is refused, and the layer is named", "[images]") {
  const Scratch scratch;
  const std::string path = scratch / "layout";
  Layout image;
  const std::string good = Tar().file("f", "text").bytes();
  image.layers = {{.tar = good}, {.tar = Tar().file("g", "more").bytes()}};
  const auto attempt = [&](int error, std::initializer_list<std::string_view> words) {
    image.write(path, detail::oci_architecture());
    refused(scratch, path, error, words);
  };
  const std::string other = "sha256:" + std::string(64, 'a');
  SECTION("a digest that is another one's") {
    image.layers[1].digest = other;
    attempt(EBADMSG, {"layer " + other, "its digest is"});
  }
  SECTION("a digest that leads out") {
    image.layers[1].digest = "sha256:../../../../victim";
    image.layers[1].leave_out = true;
    attempt(EBADMSG, {"digest that is not sha256"});
  }
  SECTION("a size that is not the blob's") {
    image.layers[1].longer_by = 1;
    attempt(EBADMSG, {"bytes, not"});
    image.layers[1].longer_by = -1;
    attempt(EBADMSG, {"bytes, not"});
  }
  SECTION("a blob that is not there") {
    image.layers[1].leave_out = true;
    attempt(ENOENT, {sha256(packed(image.layers[1].tar, "gzip"))});
  }
  SECTION("a blob that is cut off") {
    image.write(path, detail::oci_architecture());
    const std::string digest = sha256(packed(good, "gzip"));
    need(::truncate(Layout::blob(path, digest).c_str(), 20) == 0, "truncate");
    refused(scratch, path, EBADMSG, {digest, "20 bytes"});
  }
  SECTION("what is packed is something else") {
    image.layers[1].diff_id = other;
    attempt(EBADMSG, {other, "what is packed in it"});
  }
  SECTION("a media type that is not the packing") {
    image.layers[1].type = "application/vnd.oci.image.layer.v1.tar+zstd";
    attempt(EBADMSG, {"not packed as its media type says"});
  }
  SECTION("media types that nobody knows") {
    image.layers[1].type = "application/x-layer";
    attempt(0, {"media type 'application/x-layer'", sha256(packed(image.layers[1].tar, "gzip"))});
    image.layers[1].type = image.layers[0].type;
    image.config_type = "application/vnd.oci.empty.v1+json";
    attempt(0, {"of its configuration"});
  }
  SECTION("another machine's") {
    image.architecture = "s390x";
    attempt(0, {"linux/s390x", fmt::format("linux/{}", detail::oci_architecture())});
  }
  SECTION("a layer that climbs out") {
    image.layers[1].tar = Tar().link("up", "../../..").file("up/victim", "x").bytes();
    attempt(EXDEV, {"layer " + sha256(packed(image.layers[1].tar, "gzip")), "entry 'up/victim'"});
    image.layers[0].tar = Tar().link("up", "../../..").bytes();
    image.layers[1].tar = Tar().file("up/.wh.victim", "").bytes();
    attempt(EXDEV, {"layer ", "victim"});
    image.layers[1].tar = Tar().file("up/any/.wh..wh..opq", "").bytes();
    attempt(EXDEV, {"layer "});
    image.layers[1].tar = Tar().file(".wh...", "").bytes();
    attempt(EXDEV, {"whiteout of no name"});
  }
  SECTION("an index that is none") {
    image.write(path, detail::oci_architecture());
    for (const char* text : {"", "[]", "{", "{}", R"({"manifests": 5})", R"({"manifests": [1]})",
                             R"({"manifests": [{"digest": "sha256:00", "size": -1}]})"}) {
      write_file(path + "/index.json", text);
      refused(scratch, path, EBADMSG, {"index.json"});
    }
  }
  SECTION("a manifest that was changed") {
    image.write(path, detail::oci_architecture());
    std::string text = text_of(Layout::blob(path, image.manifest_digest));
    text[text.find("layers")] = 'L';
    write_file(Layout::blob(path, image.manifest_digest), text);
    refused(scratch, path, EBADMSG, {image.manifest_digest, "its digest is"});
  }
}

TEST_CASE("of several images in a layout this machine's is taken, or the one that was named",
          "[images]") {
  const Scratch scratch;
  const std::string path = scratch / "layout";
  const std::string own(detail::oci_architecture());
  Layout one, two, foreign;
  one.layers = {{.tar = Tar().file("name", "one").bytes()}};
  two.layers = {{.tar = Tar().file("name", "two").bytes()}};
  foreign.layers = {{.tar = Tar().file("name", "foreign").bytes()}};
  foreign.architecture = "s390x";
  for (Layout* each : {&one, &two, &foreign}) each->write(path, own);
  const auto index = [&](const std::string& list) {
    write_file(path + "/index.json",
               fmt::format(R"({{"schemaVersion": 2, "manifests": [{}]}})", list));
  };
  const ImageStore store = store_in(scratch);
  const auto name_in = [&](std::string_view reference) {
    const auto got = store.get(HostPath(path), reference);
    return got ? text_of(got->root.str() + "/name") : to_string(got.error());
  };
  index(foreign.descriptor("s390x", "") + ", " + one.descriptor(own, ""));
  CHECK(name_in("") == "one");
  index(one.descriptor("", "v1") + ", " + two.descriptor("", "v2"));
  CHECK(name_in("v2") == "two");
  CHECK(name_in("").find("name one of them: v1, v2") != std::string::npos);
  CHECK(name_in("v3").find("there are: v1, v2") != std::string::npos);
  index(foreign.descriptor("s390x", ""));
  CHECK(name_in("").find("linux/s390x") != std::string::npos);
  // An index in the index.
  const std::string inner =
      fmt::format(R"({{"schemaVersion": 2, "manifests": [{}]}})", two.descriptor(own, ""));
  write_file(Layout::blob(path, sha256(inner)), inner);
  index(fmt::format(
      R"({{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": "{}", "size": {}, "annotations": {{"org.opencontainers.image.ref.name": "tag"}}}})",
      sha256(inner), inner.size()));
  CHECK(name_in("tag") == "two");
}

TEST_CASE("processes and threads that want an image at once get one", "[images]") {
  const Scratch scratch;
  Tar tar;
  for (int i = 0; i < 100; ++i) tar.file(fmt::format("d{}/f", i), std::string(1000, 'x'));
  tar.file("last", "complete");
  write_file(scratch / "image.tar", packed(tar.bytes(), "gzip"));
  // 0: it was there; 1: it was unpacked; 2: something is wrong.
  const auto fetch = [&] {
    const auto store = ImageStore::open({.cache = HostPath(scratch / "cache"), .sync = false});
    if (!store) return 2;
    const auto got = store->get(HostPath(scratch / "image.tar"));
    if (!got || text_of(got->root.str() + "/last") != "complete") return 2;
    return got->unpacked ? 1 : 0;
  };
  std::vector<Forked> others;
  for (int i = 0; i < 8; ++i) others.emplace_back(fetch);
  std::vector<int> results;
  for (Forked& each : others) results.push_back(each.wait());
  CHECK(std::count(results.begin(), results.end(), 1) == 1);
  CHECK(std::count(results.begin(), results.end(), 0) == 7);
  CHECK(count_in(scratch / "cache/roots") == 1);
  CHECK(count_in(scratch / "cache/work") == 0);

  write_file(scratch / "image.tar", packed(tar.file("more", "").bytes(), "zstd"));
  std::vector<int> said(4, -1);
  std::vector<std::thread> threads;
  for (int& each : said) threads.emplace_back([&] { each = fetch(); });
  for (auto& each : threads) each.join();
  CHECK(std::count(said.begin(), said.end(), 1) == 1);
  CHECK(std::count(said.begin(), said.end(), 0) == 3);
}

TEST_CASE("who is killed while he unpacks leaves nothing that looks finished", "[images]") {
  const Scratch scratch;
  Tar tar;
  for (int i = 0; i < 1000; ++i) tar.file(fmt::format("d{}/f", i), "x");
  write_file(scratch / "image.tar", tar.bytes());
  {
    Forked unpacker([&] { (void)store_in(scratch).get(HostPath(scratch / "image.tar")); });
    // Killed as soon as there is something.
    while (count_in(scratch / "cache/work") == 0 && count_in(scratch / "cache/roots") == 0)
      ::usleep(200);
    ::kill(unpacker.pid(), SIGKILL);
    (void)unpacker.wait();
  }
  REQUIRE(count_in(scratch / "cache/roots") == 0);
  REQUIRE(count_in(scratch / "cache/work") == 1);
  // The next one that opens it clears it away, and the image is as it should be.
  const ImageStore store = store_in(scratch);
  CHECK(count_in(scratch / "cache/work") == 0);
  const auto got = store.get(HostPath(scratch / "image.tar"));
  REQUIRE(got);
  CHECK(got->unpacked);
  CHECK(text_of(got->root.str() + "/d999/f") == "x");
}

TEST_CASE("a directory as deep as can be is taken apart", "[images]") {
  const Scratch scratch;
  // Deeper than there are descriptors: by way of links, as no single path is so long.
  Layout image;
  std::string deep;
  while (deep.size() < 96) deep += "d/";
  Tar first;
  for (int i = 0; i < 40; ++i) {
    first.dir(i == 0 ? deep : fmt::format("l{}/{}", i - 1, deep));
    first.link(fmt::format("l{}", i), i == 0 ? deep : fmt::format("l{}/{}", i - 1, deep));
    // A chain of links is 40 long at most, so every one begins anew where that is possible.
    if (i >= 6) break;
  }
  image.layers = {{.tar = first.bytes()}, {.tar = Tar().file(".wh.d", "").bytes()}};
  image.write(scratch / "layout", detail::oci_architecture());
  const auto got = store_in(scratch).get(HostPath(scratch / "layout"));
  if (!got) FAIL(to_string(got.error()));
  CHECK_FALSE(is_there(got->root.str() + "/d"));
  CHECK(is_there(got->root.str() + "/l0"));
}

#else

TEST_CASE("without libarchive an archive is refused, and a directory is not", "[images]") {
  const Scratch scratch;
  write_file(scratch / "image.tar", Tar().file("f", "").bytes());
  const auto got = store_in(scratch).get(HostPath(scratch / "image.tar"));
  REQUIRE_FALSE(got);
  CHECK(got.error().is(Errc::unsupported));
  CHECK(got.error().hint.find("libarchive") != std::string::npos);
}

#endif

}  // namespace condroid
