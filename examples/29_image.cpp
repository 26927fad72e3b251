// A root file system in an image: mounted for the container, shared by all who have the same, and
// nothing of it, no loop device either, stays.
#include <condroid/condroid.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

using namespace condroid;
namespace fs = std::filesystem;

namespace {

/// What there is when none is named: busybox in a squashfs. Empty, and it was said, without.
fs::path small_image(const fs::path& place) {
  std::error_code error;
  for (const char* name : {"bin", "dev", "etc", "proc", "run", "sys", "tmp"})
    if (!error) fs::create_directories(place / "root" / name, error);
  if (!error) fs::copy_file("/bin/busybox", place / "root/bin/sh", error);
  if (error) {
    fmt::print(stderr, "{}: {}\n", place.string(), error.message());
    return {};
  }
  const std::string make =
      fmt::format("mksquashfs {}/root {}/image > /dev/null", place.string(), place.string());
  if (std::system(make.c_str()) == 0) return place / "image";
  fmt::print(stderr, "mksquashfs could not make {}/image\n", place.string());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  char place[] = "/tmp/condroid-image.XXXXXX";
  if (::mkdtemp(place) == nullptr) return std::perror(place), 1;
  const fs::path image = argc > 1 ? fs::absolute(argv[1]) : small_image(place);
  const auto run = [&]() -> Result<void> {
    auto runtime = Runtime::open();
    if (!runtime) return fail(runtime);
    const auto box = ContainerBuilder{"image"}
                         .root_image(HostPath(image.string()))
                         .ephemeral()  // the image is only read
                         .exec({"/bin/sh", "-c", "echo changed > /etc/motd; cat /etc/motd"});
    auto first = box.launch(*runtime);
    if (!first) return fail(first);
    auto second = box.launch(*runtime);  // the same loop device, the same cache
    if (!second) return fail(second);
    for (Container* one : {&*first, &*second}) {
      auto ended = one->wait();
      if (!ended) return fail(ended);
      fmt::print("{}\n", *ended);
    }
    return {};
  };
  bool fine = !image.empty();
  if (fine) {
    const auto done = run();
    if (!done) fmt::print(stderr, "{}\n", done.error());
    fine = done.has_value();
  }
  std::error_code error;
  fs::remove_all(place, error);
  if (error) fmt::print(stderr, "removing {}: {}\n", place, error.message());
  return fine && !error ? 0 : 1;
}
