// Loop devices, file systems of images, FUSE, and devices that containers are given.
#pragma once

#include <linux/fuse.h>
#include <linux/loop.h>

#include "probe/image_bytes.hpp"
#include "probe/try.hpp"

namespace condroid::probe {

/// An image as an open file in memory.
inline long image_file(Try& t, const Image& image) {
  const long file = t("memfd_create", call(__NR_memfd_create, "image", 1U));
  t("ftruncate", call(__NR_ftruncate, file, image.size));
  for (size_t i = 0; i < image.run_count; ++i)
    t("write the image",
      call(__NR_pwrite64, file, image.runs[i].bytes, image.runs[i].size, image.runs[i].at));
  return file;
}

/// Runs `body(path of a loop device that shows the image)` in a child; the device is let go of by
/// its end, and removed if it was made for us.
template <class Body>
void with_loop(Try& t, const Image& image, Body body) {
  const long control = t("open /dev/loop-control",
                         call(__NR_openat, at_fdcwd, "/dev/loop-control", o_rdwr | o_cloexec));
  bool known[256];
  for (unsigned i = 0; i < 256; ++i)
    known[i] =
        call(__NR_faccessat, at_fdcwd, Path("/sys/block/loop").add(uint64_t{i}).text, 0, 0) == 0;
  const long free = t("find a free loop device", call(__NR_ioctl, control, LOOP_CTL_GET_FREE, 0));
  const long pid = t("fork", fork_child());
  if (pid == 0) {
    const Path path = Path("/dev/loop").add(static_cast<uint64_t>(free));
    const long device =
        t("open the loop device", call(__NR_openat, at_fdcwd, path.text, o_rdonly | o_cloexec));
    loop_config config{};
    config.fd = static_cast<uint32_t>(image_file(t, image));
    config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    t("attach the image", call(__NR_ioctl, device, LOOP_CONFIGURE, &config));
    body(path.text);
    t.works();
    leave(0);
  }
  wait_child(pid);
  if (free < 256 && !known[free]) call(__NR_ioctl, control, LOOP_CTL_REMOVE, free);
  leave(0);  // the child has said what came of it
}

inline void image_loop(Try& t, const Facts&) {
  with_loop(t, ext4_image, [&](const char* path) {
    const long device = t("open it again", call(__NR_openat, at_fdcwd, path, o_rdonly | o_cloexec));
    char magic[2];
    t("read it", call(__NR_pread64, device, magic, 2, 1080));
    t.check("read it", magic[0] == '\x53' && static_cast<unsigned char>(magic[1]) == 0xef,
            "it shows something else");
  });
}
inline void mount_image(Try& t, const Facts& f, const Image& image, const char* type) {
  with_loop(t, image, [&](const char* path) {
    own(t, f, clone_newns);
    const long device = t("open the loop device",  // kept through the new mounts
                          call(__NR_openat, at_fdcwd, path, o_rdonly | o_cloexec));
    const Path again = Path("/proc/self/fd/").add(static_cast<uint64_t>(device));
    directory_in_scratch(t);
    t("mount", call(__NR_mount, again.text, "d", type, 1 /* read-only */, 0));
  });
}
inline void image_ext4(Try& t, const Facts& f) { mount_image(t, f, ext4_image, "ext4"); }
inline void image_erofs(Try& t, const Facts& f) { mount_image(t, f, erofs_image, "erofs"); }
inline void image_squashfs(Try& t, const Facts& f) {
  mount_image(t, f, squashfs_image, "squashfs");
}
/// Without a loop device; Linux 6.12.
inline void image_erofs_file(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  const long file = image_file(t, erofs_image);
  directory_in_scratch(t);
  const Path path = Path("/proc/self/fd/").add(static_cast<uint64_t>(file));
  t("mount", call(__NR_mount, path.text, "d", "erofs", 1, 0));
}

inline void fuse(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  const long device = t("open /dev/fuse",
                        call(__NR_openat, at_fdcwd, "/dev/fuse", o_rdwr | o_cloexec | o_nonblock));
  directory_in_scratch(t);
  const Text<128> options = Text<128>("fd=")
                                .add(static_cast<uint64_t>(device))
                                .add(",rootmode=40000,user_id=0,group_id=0");
  t("mount", call(__NR_mount, "probe", "d", "fuse", 6 /* nosuid, nodev */, options.text));
  alignas(8) static char request[FUSE_MIN_READ_BUFFER];
  t("read the first request", call(__NR_read, device, request, sizeof request));
}

// ---- terminals ----------------------------------------------------------------------------------

/// A terminal of a devpts of the probe's own; its master.
inline long terminal(Try& t, const Facts& f) {
  own(t, f, clone_newns);
  directory_in_scratch(t);
  t("mount devpts", call(__NR_mount, "devpts", "d", "devpts", 0xa /* nosuid, noexec */,
                         "newinstance,ptmxmode=0666,mode=620"));
  const long master =
      t("open ptmx", call(__NR_openat, at_fdcwd, "d/ptmx", o_rdwr | o_noctty | o_cloexec));
  const int unlocked = 0;
  t("unlock it", call(__NR_ioctl, master, tiocsptlck, &unlocked));
  return master;
}
inline void tty_devpts(Try& t, const Facts& f) {
  (void)terminal(t, f);
  t("open the terminal", call(__NR_openat, at_fdcwd, "d/0", o_rdwr | o_noctty | o_cloexec));
}
inline void tty_peer(Try& t, const Facts& f) {
  const long master = terminal(t, f);
  t("TIOCGPTPEER", call(__NR_ioctl, master, tiocgptpeer, o_rdwr | o_noctty | o_cloexec));
}

// ---- devices ------------------------------------------------------------------------------------

inline void kvm(Try& t, const Facts&) {
  const long device =
      t("open /dev/kvm", call(__NR_openat, at_fdcwd, "/dev/kvm", o_rdwr | o_cloexec));
  t("KVM_GET_API_VERSION", call(__NR_ioctl, device, 0xae00, 0));
  t("KVM_CREATE_VM", call(__NR_ioctl, device, 0xae01, 0));
}

inline void check_binder(Try& t, const char* path) {
  const long device = t("open the device", call(__NR_openat, at_fdcwd, path, o_rdwr | o_cloexec));
  int32_t version = 0;
  t("BINDER_VERSION", call(__NR_ioctl, device, 0xc0046209UL, &version));
  t.how(Text<64>("protocol ").add(static_cast<uint64_t>(version)).text);
}
inline void binderfs(Try& t, const Facts& f) {
  own(t, f, clone_newns | clone_newipc);
  directory_in_scratch(t);
  t("mount", call(__NR_mount, "binder", "d", "binder", 0, 0));
  const long control =
      t("open binder-control", call(__NR_openat, at_fdcwd, "d/binder-control", o_rdwr | o_cloexec));
  struct {
    char name[256];
    uint32_t major, minor;
  } device{};
  copy(device.name, "probe");
  t("BINDER_CTL_ADD", call(__NR_ioctl, control, 0xc1086201UL, &device));
  check_binder(t, "d/probe");
}
inline void binder(Try& t, const Facts&) { check_binder(t, "/dev/binder"); }

}  // namespace condroid::probe
