// A root file system in an image: what it may be, who shares it, and that no loop device stays.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "containers.hpp"

using condroid::Container;
using condroid::Errc;
using condroid::Fd;
using condroid::HostPath;
using condroid::IdMap;
using condroid::Runtime;
using condroid::Spec;
using condroid::Step;
using condroid::test::attempt;
using condroid::test::entries_of;
using condroid::test::FailsWith;
using condroid::test::in_child;
using condroid::test::launch;
using condroid::test::make_file;
using condroid::test::must;
using condroid::test::payload;
using condroid::test::read_file;
using condroid::test::read_until;
using condroid::test::Report;
using condroid::test::run;
using condroid::test::Surroundings;
using condroid::test::TempDir;
using condroid::test::TempRoot;
using namespace condroid::literals;

namespace {

void shell(const std::string& command) {
  must(std::system((command + " > /dev/null 2>&1").c_str()) == 0, command);
}

/// The files that have loop devices.
std::vector<std::string> loops() {
  std::vector<std::string> list;
  for (const std::string& name : entries_of("/sys/block")) {
    const std::string file = read_file("/sys/block/" + name + "/loop/backing_file");
    if (!file.empty()) list.push_back(file.substr(0, file.find('\n')));
  }
  return list;
}
std::size_t loops_of(const std::string& path) {
  const auto all = loops();
  return static_cast<std::size_t>(std::ranges::count(all, path));
}
/// None is left, or soon none: the kernel takes a mount down in its own time.
bool gone(const std::string& path) {
  for (int i = 0; i < 2000 && loops_of(path) > 0; ++i) ::usleep(10000);
  return loops_of(path) == 0;
}

/// The usual root of tests, as images.
class Images : public TempDir {
 public:
  [[nodiscard]] std::string ext4() const {
    shell("truncate -s 24M " + *this / "ext4");
    shell("mkfs.ext4 -q -d " + root_.str() + " " + *this / "ext4");
    return *this / "ext4";
  }
  [[nodiscard]] std::string squashfs() const {
    shell("mksquashfs " + root_.str() + " " + *this / "squashfs" + " -noappend");
    return *this / "squashfs";
  }
  [[nodiscard]] std::string erofs() const {
    shell("mkfs.erofs " + *this / "erofs" + " " + root_.str());
    return *this / "erofs";
  }

 private:
  TempRoot root_;
};

Spec on_image(const std::string& image, std::vector<std::string> args) {
  Spec spec = payload(std::move(args));
  spec.root.image.path = HostPath(image);
  return spec;
}

IdMap shifted() {
  return {.kind = IdMap::ranges,
          .uids = {{.inside = 0, .outside = 100000, .count = 65536}},
          .gids = {{.inside = 0, .outside = 100000, .count = 65536}}};
}

/// The file system that is its root.
dev_t root_of(const Container& box) {
  struct stat st {};
  must(::stat(fmt::format("/proc/{}/root/", box.pid().value).c_str(), &st) == 0, "stat");
  return st.st_dev;
}

}  // namespace

TEST_CASE("an image is the root, by what is in it", "[launch][images][.root]") {
  const Images images;
  const Surroundings before = Surroundings::quiet();
  for (const auto& [type, image] :
       {std::pair("ext4", images.ext4()), std::pair("squashfs", images.squashfs()),
        std::pair("erofs", images.erofs())}) {
    INFO(type);
    Spec spec = on_image(image, {"read", "/data/file"});
    CHECK(run(spec)["/data/file"] == "original");
    CHECK(gone(image));
    spec = on_image(image, {"probe"});
    CHECK(run(spec).mount("/").starts_with(type));
    // Named, and with an option that any file system has.
    spec.root.image.type = type;
    spec.root.image.options = {"dirsync"};
    CHECK(run(spec).mount("/").starts_with(type));
    CHECK(gone(image));
  }
  CHECK(Surroundings::settled(before) == before);
}

TEST_CASE("what can be written of an image is kept, unless it is read-only or ephemeral",
          "[launch][images][.root]") {
  const Images images;
  const std::string ext4 = images.ext4(), squashfs = images.squashfs(), erofs = images.erofs();
  Spec spec = on_image(ext4, {"touch", "/data/made"});
  SECTION("ext4") {
    CHECK(run(spec)["/data/made"] == "ok");
    CHECK(gone(ext4));
    CHECK(run(on_image(ext4, {"list", "/data"})).exit().out.find("made") != std::string::npos);
    CHECK(gone(ext4));
    shell("e2fsck -fn " + ext4);
  }
  SECTION("read-only") {
    spec.root.read_only = true;
    const std::string bytes = read_file(ext4);
    CHECK(run(spec)["/data/made"] == "EROFS");
    CHECK(gone(ext4));
    CHECK(read_file(ext4) == bytes);
  }
  SECTION("squashfs and erofs never can") {
    for (const std::string& image : {squashfs, erofs})
      CHECK(run(on_image(image, {"touch", "/data/made"}))["/data/made"] == "EROFS");
  }
  SECTION("ephemeral") {
    spec.root.ephemeral = true;
    for (const std::string& image : {ext4, squashfs, erofs}) {
      INFO(image);
      const std::string bytes = read_file(image);
      spec.root.image.path = HostPath(image);
      spec.process.argv = {"/bin/payload", "touch", "/data/made"};
      CHECK(run(spec)["/data/made"] == "ok");
      spec.process.argv = {"/bin/payload", "read", "/data/file"};
      CHECK(run(spec)["/data/file"] == "original");
      CHECK(gone(image));
      CHECK(read_file(image) == bytes);
    }
  }
  SECTION("with an upper layer that is kept") {
    const TempDir layers;
    condroid::test::make_dir(layers / "upper");
    condroid::test::make_dir(layers / "work");
    spec.root.image.path = HostPath(erofs);
    spec.root.ephemeral = true;
    spec.root.upper = layers.host("upper");
    spec.root.work = layers.host("work");
    CHECK(run(spec)["/data/made"] == "ok");
    CHECK(::access((layers / "upper/data/made").c_str(), F_OK) == 0);
  }
}

TEST_CASE("an image's owners are shifted, also below an upper layer", "[launch][images][.root]") {
  const Images images;
  for (const std::string& image : {images.ext4(), images.erofs()}) {
    INFO(image);
    Spec spec = on_image(image, {"owner", "/data/file"});
    spec.idmap = shifted();
    spec.root.read_only = true;
    CHECK(run(spec)["/data/file"].starts_with("65534:65534 "));
    spec.root.idmapped = true;
    CHECK(run(spec)["/data/file"].starts_with("0:0 "));
    spec.root.read_only = false;
    spec.root.ephemeral = true;
    CHECK(run(spec)["/data/file"].starts_with("0:0 "));
    spec.process.argv = {"/bin/payload", "touch", "/data/made"};
    CHECK(run(spec)["/data/made"] == "ok");
    spec.root.idmapped = false;
    spec.process.argv = {"/bin/payload", "read", "/data/file"};
    CHECK(run(spec)["/data/file"] == "original");
    CHECK(gone(image));
  }
}

TEST_CASE("containers of one image share its loop device and its file system",
          "[launch][images][.root]") {
  const Images images;
  const std::string image = images.ext4();
  Spec spec = on_image(image, {"pause"});
  SECTION("all read") { spec.root.ephemeral = true; }
  SECTION("all write") {}
  SECTION("one writes, others read") {
    Container writer = launch(spec);
    spec.root.read_only = true;
    Container reader = launch(spec);
    CHECK(loops_of(image) == 1);
    CHECK(root_of(writer) == root_of(reader));
    CHECK(reader.kill().has_value());
    CHECK(writer.kill().has_value());
  }
  std::vector<Container> boxes;
  for (int i = 0; i < 5; ++i) boxes.push_back(launch(spec));
  CHECK(loops_of(image) == 1);
  if (!spec.root.ephemeral)
    for (const Container& box : boxes) CHECK(root_of(box) == root_of(boxes[0]));
  for (auto& box : boxes) CHECK(box.kill().has_value());
  boxes.clear();
  CHECK(gone(image));
}

TEST_CASE("what others read is not written to", "[launch][images][.root]") {
  const Images images;
  const std::string image = images.ext4();
  Spec spec = on_image(image, {"pause"});
  spec.root.read_only = true;
  {
    Container reader = launch(spec);
    spec.root.read_only = false;
    CHECK_THAT(attempt(spec), FailsWith(EBUSY, Step::mount_root, "has it read-only"));
    CHECK(loops_of(image) == 1);
  }
  CHECK(gone(image));
}

TEST_CASE("a block device is a root, too", "[launch][images][.root]") {
  const Images images;
  const std::string image = images.ext4();
  FILE* out = ::popen(("losetup -f --show " + image).c_str(), "r");
  must(out != nullptr, "losetup");
  char device[64] = {};
  must(std::fscanf(out, "%63s", device) == 1 && ::pclose(out) == 0, "losetup");
  CHECK(run(on_image(device, {"read", "/data/file"}))["/data/file"] == "original");
  // The same file has that one already.
  CHECK(run(on_image(image, {"read", "/data/file"}))["/data/file"] == "original");
  CHECK(loops_of(image) == 1);
  shell(fmt::format("losetup -d {}", device));
  CHECK(gone(image));
}

TEST_CASE("a host that is killed leaves no loop device behind", "[launch][images][.root]") {
  const Images images;
  const std::string image = images.ext4();
  int pair[2];
  must(::pipe(pair) == 0, "pipe");
  const pid_t host = ::fork();
  if (host == 0) {
    ::close(pair[0]);
    auto own = Runtime::open({.state_dir = images.host("state")});
    if (!own) ::_exit(1);
    auto box = own->launch(on_image(image, {"pause"}));
    if (!box || ::write(pair[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  ::close(pair[1]);
  char said = 0;
  REQUIRE(::read(pair[0], &said, 1) == 1);
  ::close(pair[0]);
  CHECK(loops_of(image) == 1);
  must(::kill(host, SIGKILL) == 0, "kill");
  must(::waitpid(host, nullptr, 0) == host, "waitpid");
  CHECK(gone(image));
}

TEST_CASE("a launch with an image that fails leaves no loop device behind",
          "[launch][images][.root]") {
  const Images images;
  const std::string image = images.ext4();
  Spec spec = on_image(image, {"pause"});
  spec.process.argv = {"/no/such"};
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "/no/such"));
  spec.idmap = shifted();
  spec.root.idmapped = true;
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "/no/such"));
  spec.root.ephemeral = true;
  CHECK_THAT(attempt(spec), FailsWith(ENOENT, Step::exec, "/no/such"));
  CHECK(gone(image));
}

TEST_CASE("what is no image says what it is", "[launch][images][.root]") {
  const Images images;
  const TempDir dir;
  const auto fails = [](const std::string& image, int errnum, const std::string& words) {
    INFO(image);
    CHECK_THAT(attempt(on_image(image, {"pause"})), FailsWith(errnum, Step::mount_root, words));
    CHECK(loops_of(image) == 0);
  };
  fails(dir / "none", ENOENT, "none");
  fails(dir.str(), EISDIR, "it is a directory");
  fails("/dev/null", ENOTBLK, "neither a file nor a block device");
  make_file(dir / "empty", "");
  fails(dir / "empty", EINVAL, "it is empty");
  make_file(dir / "text", "just words");
  fails(dir / "text", EINVAL, "begins with 6a 75 73 74");
  make_file(dir / "zeros", std::string(100000, '\0'));
  fails(dir / "zeros", EINVAL, "nothing but zeros");
  shell("tar -C / -cf " + dir / "tar etc/passwd");
  fails(dir / "tar", EINVAL, "a tar archive");
  shell("gzip -k " + dir / "tar");
  fails(dir / "tar.gz", EINVAL, "gzip data");
  for (const std::string& image : {images.ext4(), images.squashfs(), images.erofs()}) {
    shell("cp " + image + " " + image + ".cut && truncate -s 65536 " + image + ".cut");
    fails(image + ".cut", EINVAL, "bytes in 65536 bytes");
    // The beginning is there and the rest is not what it says.
    shell("cp " + image + " " + image + ".bad && dd conv=notrunc bs=1 seek=1120 count=200 of=" +
          image + ".bad if=/dev/urandom && dd conv=notrunc bs=1 seek=4 count=36 of=" + image +
          ".bad if=/dev/urandom");
    const auto bad = attempt(on_image(image + ".bad", {"pause"}));
    REQUIRE(bad.error);
    CHECK(gone(image + ".bad"));
  }
  // One of whose last sector a device would show nothing.
  const std::string odd = images.squashfs() + ".odd";
  std::string bytes = read_file(images / "squashfs");
  bytes.resize(bytes.size() - 100);
  const std::uint64_t size = bytes.size();
  bytes.replace(40, sizeof size, reinterpret_cast<const char*>(&size), sizeof size);
  make_file(odd, bytes);
  fails(odd, EINVAL, "are no whole sectors");

  Spec spec = on_image(images.squashfs(), {"pause"});
  spec.root.image.type = "nosuchfs";
  CHECK_THAT(attempt(spec), FailsWith(ENODEV, Step::mount_root, "nosuchfs"));
  spec.root.image.type = "ext4";
  CHECK_THAT(attempt(spec),
             FailsWith(EINVAL, Step::mount_root, "a squashfs file system, mounting"));
  spec.root.image.type = "";
  spec.root.image.options = {"nosuchoption=1"};
  CHECK_THAT(attempt(spec), FailsWith(EINVAL, Step::mount_root, "nosuchoption"));
  CHECK(gone(images / "squashfs"));
}

TEST_CASE("an image that somebody else has locked is not waited for for ever",
          "[long][launch][images][.root]") {
  const Images images;
  const std::string image = images.squashfs();
  const Fd other(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  must(::flock(other.get(), LOCK_EX) == 0, "flock");
  CHECK_THAT(attempt(on_image(image, {"pause"})),
             FailsWith(EBUSY, Step::mount_root, "another program holds its lock"));
  must(::flock(other.get(), LOCK_UN) == 0, "flock");
  CHECK(run(on_image(image, {"read", "/data/file"}))["/data/file"] == "original");
}

TEST_CASE("many who launch the same image at once have one loop device",
          "[launch][images][.root]") {
  const Images images;
  const std::string image = images.ext4();
  std::vector<int> ends;
  std::vector<pid_t> hosts;
  for (int i = 0; i < 6; ++i) {
    int pair[2];
    must(::pipe(pair) == 0, "pipe");
    const pid_t host = ::fork();
    if (host == 0) {
      auto own = Runtime::open({.state_dir = images.host(fmt::format("state{}", i))});
      if (!own) ::_exit(1);
      auto box = own->launch(on_image(image, {"pause"}));
      if (!box || ::write(pair[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(pair[1]);
    hosts.push_back(host);
    ends.push_back(pair[0]);
  }
  for (const int end : ends) {
    char said = 0;
    CHECK(::read(end, &said, 1) == 1);
    ::close(end);
  }
  CHECK(loops_of(image) == 1);
  for (const pid_t host : hosts) {
    must(::kill(host, SIGKILL) == 0, "kill");
    must(::waitpid(host, nullptr, 0) == host, "waitpid");
  }
  CHECK(gone(image));
}
