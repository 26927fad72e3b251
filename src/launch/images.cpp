// A root file system in an image, mounted for the child.
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "program/kernel_bits.hpp"
#include "sys/image.hpp"

namespace condroid::inline v0::detail {

namespace {

/// Setting up an image takes a moment. Who holds its lock for longer does something else with it.
constexpr std::chrono::seconds patience{5};
constexpr std::chrono::seconds taken_down{1};

}  // namespace

Result<std::optional<Fd>> LaunchEngine::image_for_child(const RootImage& image, bool read_only,
                                                        bool idmapped) {
  auto mounted = mount_image({.path = image.path.str(),
                              .type = image.type,
                              .options = image.options,
                              .read_only = read_only});
  // Of a container that has ended the kernel takes the mounts down a moment later.
  if (!mounted && mounted.error().is_errno(EBUSY) && !read_only) {
    if (!image_ends_until_) image_ends_until_ = Clock::now() + taken_down;
    if (Clock::now() < *image_ends_until_) return std::optional<Fd>{};
  }
  if (!mounted) return fail(mounted);
  if (!*mounted) {
    if (!image_until_) image_until_ = Clock::now() + patience;
    if (Clock::now() < *image_until_) return std::optional<Fd>{};
    Error e = sys_error(EBUSY, Step::mount_root,
                        formatted("image '{}': another program holds its lock", image.path));
    e.hint = "flock(2) keeps two launches from setting it up at once; see lslocks";
    return fail(std::move(e));
  }
  image_until_.reset();
  image_ends_until_.reset();
  Fd fd = (*mounted)->release();
  if (!idmapped) return fd;
  auto ns = user_namespace();
  if (!ns) return fail(ns);
  const kernel::MountAttr attr{kernel::attr_idmap, 0, 0, static_cast<std::uint64_t>(*ns)};
  if (::syscall(__NR_mount_setattr, fd.get(), "", kernel::at_empty_path, &attr, sizeof attr) < 0)
    return fail(errno, Step::set_mount_attributes,
                formatted("image '{}' with shifted owners", image.path));
  return fd;
}

Result<bool> LaunchEngine::do_op(const op::MountImage& o) {
  auto mounted = image_for_child(o.image, o.read_only, o.idmapped);
  if (!mounted) return fail(mounted);
  if (!*mounted) return false;
  if (o.idmapped)
    trees_.push_back(std::move(**mounted));
  else
    give(o.to, std::move(**mounted));
  return true;
}

}  // namespace condroid::inline v0::detail
