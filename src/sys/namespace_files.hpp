// The names of namespaces below /proc/PID/ns, namespaces(7). Private.
#pragma once

#include "condroid/error.hpp"
#include "condroid/namespaces.hpp"
#include "condroid/units.hpp"

namespace condroid::inline v0::detail {

struct NamespaceFile {
  Namespace kind;
  const char* name;
};
inline constexpr NamespaceFile namespace_files[] = {
    {Namespace::mount, "mnt"},     {Namespace::pid, "pid"},  {Namespace::uts, "uts"},
    {Namespace::ipc, "ipc"},       {Namespace::net, "net"},  {Namespace::user, "user"},
    {Namespace::cgroup, "cgroup"}, {Namespace::time, "time"}};

[[nodiscard]] constexpr const char* file_of(Namespace kind) noexcept {
  for (const NamespaceFile& f : namespace_files)
    if (f.kind == kind) return f.name;
  return "?";
}

/// Those in which the process and this program are apart. ESRCH: there is no such process.
[[nodiscard]] Result<Flags<Namespace>> foreign_namespaces(Pid pid);

}  // namespace condroid::inline v0::detail
