#include "sys/namespace_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "condroid/sys/fd.hpp"
#include "formatted.hpp"

namespace condroid::inline v0::detail {

Result<Flags<Namespace>> foreign_namespaces(Pid pid) {
  Flags<Namespace> out = {};
  const Fd own(::open("/proc/self/ns", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!own.valid()) return fail(errno, Step::open_descriptor, "'/proc/self/ns'");
  for (const auto& [kind, file] : namespace_files) {
    struct stat ours {
    }, theirs{};
    if (::fstatat(own.get(), file, &ours, 0) < 0) {
      if (errno == ENOENT) continue;  // a kernel without that kind
      return fail(errno, Step::open_descriptor, formatted("'/proc/self/ns/{}'", file));
    }
    const std::string path = formatted("/proc/{}/ns/{}", pid.value, file);
    if (::stat(path.c_str(), &theirs) < 0)
      return fail(errno == ENOENT ? ESRCH : errno, Step::open_descriptor, formatted("'{}'", path));
    if (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev) out |= kind;
  }
  return out;
}

}  // namespace condroid::inline v0::detail
