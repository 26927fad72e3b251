// A root file system in an image: mounted for the container, shared by all who have the same, and
// nothing of it, no loop device either, stays.
#include <condroid/condroid.hpp>
#include <cstdlib>
#include <filesystem>

using namespace condroid;
namespace fs = std::filesystem;

namespace {

/// What there is when none is named: busybox in a squashfs.
fs::path small_image(const fs::path& place) {
  for (const char* name : {"bin", "dev", "etc", "proc", "run", "sys", "tmp"})
    fs::create_directories(place / "root" / name);
  fs::copy_file("/bin/busybox", place / "root/bin/sh");
  const std::string make =
      fmt::format("mksquashfs {}/root {}/image > /dev/null", place.string(), place.string());
  return std::system(make.c_str()) == 0 ? place / "image" : fs::path{};
}

}  // namespace

int main(int argc, char** argv) {
  char place[] = "/tmp/condroid-image.XXXXXX";
  if (::mkdtemp(place) == nullptr) return 1;
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
  const auto done = run();
  if (!done) fmt::print(stderr, "{}\n", done.error());
  fs::remove_all(place);
  return done ? 0 : 1;
}
