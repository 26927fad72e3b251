// Profiles of AppArmor that were loaded for containers.
#include "zygote/zygote.hpp"

namespace condroid::zygote {

namespace {

/// 0 when it is not there any more.
long remove_profile(const char* name) {
  const long fd =
      call(__NR_openat, at_fdcwd, "/sys/kernel/security/apparmor/.remove", o_wronly | o_cloexec);
  if (fd < 0) return fd;
  size_t size = 0;
  while (name[size] != 0) ++size;
  const long e = call(__NR_write, fd, name, size);
  close(static_cast<int>(fd));
  return e >= 0 || e == -e_noent ? 0 : e;
}

/// Of an entry of the kernel's list, which is a name with a number behind it: "name.12". False when
/// it is none of ours.
bool our_profile(const char* entry, Path& name) {
  const char* ours = header().runtime;
  for (const char* e = entry; *ours != 0; ++ours, ++e)
    if (*ours != *e) return false;
  name.size = 0;
  name.add(entry);
  while (name.size > 0 && name.text[name.size - 1] != '.') --name.size;
  if (name.size == 0) return false;
  name.text[--name.size] = 0;
  return true;
}

}  // namespace

long undo_profile_of(uint32_t i) {
  Container& c = containers[i];
  if (!c.profile) return 0;
  Path name;
  name.add(header().runtime).add(".").add(live(i).name);
  const long e = remove_profile(name.text);
  if (e == 0) c.profile = false;
  return e;
}

void remove_profiles() {
  const long dir = call(__NR_openat, at_fdcwd, "/sys/kernel/security/apparmor/policy/profiles",
                        o_rdonly | o_directory | o_cloexec);
  if (dir < 0) return;
  alignas(8) char list[2048];
  for (;;) {
    const long n = call(__NR_getdents64, dir, list, sizeof list);
    if (n <= 0) break;
    for (long i = 0; i < n;) {
      const auto* entry = reinterpret_cast<const DirEntry*>(list + i);
      i += entry->size;
      Path name;
      if (our_profile(entry->name, name)) remove_profile(name.text);
    }
  }
  close(static_cast<int>(dir));
}

}  // namespace condroid::zygote
