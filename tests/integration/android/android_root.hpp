// An Android-shaped root whose init is tests/support/fake_init.cpp, as a directory or as images.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "condroid/android/device.hpp"
#include "condroid/android/launch.hpp"
#include "containers.hpp"

namespace condroid::test {

inline void shell(const std::string& command) {
  must(std::system((command + " > /dev/null 2>&1").c_str()) == 0, command);
}

/// The files that have loop devices, this one so often.
inline std::size_t loops_of(const std::string& path) {
  std::size_t found = 0;
  for (const std::string& name : entries_of("/sys/block")) {
    const std::string file = read_file("/sys/block/" + name + "/loop/backing_file");
    if (file.substr(0, file.find('\n')) == path) ++found;
  }
  return found;
}
/// None is left, or soon none: the kernel takes a mount down in its own time.
inline bool gone(const std::string& path) {
  for (int i = 0; i < 2000 && loops_of(path) > 0; ++i) ::usleep(10000);
  return loops_of(path) == 0;
}

/// system/ is the root and vendor/ a part of it.
class AndroidRoot : public TempDir {
 public:
  AndroidRoot() {
    for (const char* root : {"system", "vendor"}) make_dir(*this / root);
    for (const char* name : {"acct",       "apex",         "bootstrap-apex",
                             "config",     "data",         "debug_ramdisk",
                             "dev",        "linkerconfig", "metadata",
                             "mnt",        "mnt_extra",    "odm",
                             "oem",        "postinstall",  "proc",
                             "product",    "run",          "second_stage_resources",
                             "storage",    "sys",          "system",
                             "system_ext", "tmp",          "var",
                             "vendor"})
      make_dir(*this / ("system/" + std::string(name)));
    make_dir(*this / "system/system/bin");
    make_dir(*this / "system/system/etc");
    const std::string init = read_file(CONDROID_FAKE_INIT);
    make_file(*this / "system/init", init, 0755);
    make_file(*this / "system/system/bin/init", init, 0755);
    make_file(*this / "system/system/etc/fake-part", "of the system\n");
    make_file(*this / "system/default.prop", "ro.of=the image\n");
    make_file(*this / "system/vendor/waydroid.prop", "");
    make_dir(*this / "vendor/etc");
    make_file(*this / "vendor/etc/fake-part", "of the vendor\n");
    make_file(*this / "vendor/waydroid.prop", "ro.of=the image\n");
    make_dir(*this / "data");
  }

  [[nodiscard]] std::string image(const std::string& type, const std::string& part) const {
    const std::string file = *this / (part + "." + type), from = *this / part;
    if (type == "ext4") {
      shell("truncate -s 24M " + file);
      shell("mkfs.ext4 -q -d " + from + " " + file);
    } else if (type == "erofs") {
      shell("mkfs.erofs " + file + " " + from);
    } else {
      shell("mksquashfs " + from + " " + file + " -noappend");
    }
    return file;
  }

  [[nodiscard]] android::Device device() const {
    return {.name = "phone",
            .system = {.directory = host("system")},
            .vendor = {.directory = host("vendor")},
            .data = host("data"),
            .androidboot = {{"hardware", "fake"}, {"serialno", "0001"}},
            .binder = android::Binder::none};
  }
  [[nodiscard]] android::Device device(const std::string& type) const {
    android::Device d = device();
    d.system = {.image = HostPath(image(type, "system"))};
    d.vendor = {.image = HostPath(image(type, "vendor"))};
    return d;
  }
};

/// Its init has told all that it found, and waits.
struct Booted {
  Container box;
  Report report;
  android::Lease lease;
};

inline android::Ready prepared(const android::Device& device) {
  auto ready = android::prepare(device, facts());
  if (!ready) throw std::runtime_error(to_string(ready.error()));
  return std::move(*ready);
}

inline Booted boot(const android::Device& device) {
  android::Ready ready = prepared(device);
  ready.spec.process.stdio = {Stdio::null, Stdio::pipe, Stdio::inherit};
  auto box = android::launch(runtime(), ready);
  if (!box) throw std::runtime_error(to_string(box.error()));
  const Fd out = box->take_stdout();
  Exit told;
  told.out = read_until(out, "ready=yes\n");
  if (!told.out.ends_with("ready=yes\n"))
    throw std::runtime_error(fmt::format("{} after '{}'", wait(*box), told.out));
  return {std::move(*box), Report(std::move(told)), std::move(ready.lease)};
}

}  // namespace condroid::test
