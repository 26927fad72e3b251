// What a device needs of the machine: its images are looked into, its data and its binder nodes
// are taken for it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "android/host_devices.hpp"
#include "condroid/android/binder.hpp"
#include "condroid/android/device.hpp"
#include "formatted.hpp"
#include "plan/words.hpp"
#include "sys/image.hpp"
#include "sys/kernel_files.hpp"

namespace condroid::inline v0::android {

namespace {

using detail::quoted;

std::string read_whole(const char* path) {
  std::string text;
  const Fd fd(::open(path, O_RDONLY | O_CLOEXEC));
  char some[4096];
  for (ssize_t n = 0; fd.valid() && (n = ::read(fd.get(), some, sizeof some)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;
    text.append(some, static_cast<std::size_t>(n));
  }
  return text;
}

/// The lines of a text, as pairs of a number (if there is one) and a word: /proc/misc,
/// /proc/devices.
std::vector<std::pair<std::uint32_t, std::string>> numbered(const std::string& text) {
  std::vector<std::pair<std::uint32_t, std::string>> list;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line(text.data() + at, end - at);
    at = end + 1;
    const std::size_t digit = line.find_first_not_of(" \t");
    if (digit == std::string_view::npos) continue;
    line.remove_prefix(digit);
    std::uint32_t number = 0;
    while (!line.empty() && line.front() >= '0' && line.front() <= '9') {
      number = number * 10 + static_cast<std::uint32_t>(line.front() - '0');
      line.remove_prefix(1);
    }
    const std::size_t word = line.find_first_not_of(" \t");
    if (word != std::string_view::npos) list.emplace_back(number, std::string(line.substr(word)));
  }
  return list;
}

/// A node that the guest gets where the host has it, with Android's mode and owners. Ids are those
/// of android_filesystem_config.h.
struct KnownNode {
  const char* host;
  const char* name;
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint32_t gid;
};
constexpr KnownNode known_nodes[] = {
    {"/dev/fuse", "fuse", 0666, 0, 0},
    {"/dev/net/tun", "tun", 0660, 1000, 1016},
    {"/dev/net/tun", "net/tun", 0660, 1000, 1016},
    {"/dev/ashmem", "ashmem", 0666, 0, 0},
    {"/dev/ion", "ion", 0666, 0, 0},
    {"/dev/dma_heap/system", "dma_heap/system", 0444, 1000, 1000},
    {"/dev/sw_sync", "sw_sync", 0660, 1000, 1000},
};

tl::unexpected<Error> bad(std::string_view field, const std::string& what, std::string hint) {
  return fail(Errc::bad_spec, Step::compile, formatted("{}: {}", field, what), std::move(hint));
}

Result<void> look_at_directory(std::string_view field, const HostPath& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) < 0)
    return fail(errno, Step::open_source, formatted("{}: {}", field, quoted(path.str())));
  if (!S_ISDIR(st.st_mode))
    return bad(field, formatted("{} is no directory", quoted(path.str())), "name a directory");
  return {};
}

Result<void> look_into_image(const std::string& field, const Part& part) {
  const std::string& path = part.image.str();
  struct stat st {};
  if (::stat(path.c_str(), &st) < 0)
    return fail(errno, Step::open_source, formatted("{}: {}", field, quoted(path)));
  if (S_ISBLK(st.st_mode)) return {};  // the kernel knows how long it is
  if (!S_ISREG(st.st_mode))
    return bad(field, formatted("{} is neither a file nor a block device", quoted(path)),
               S_ISDIR(st.st_mode) ? "name it as directory" : "name an image");
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid()) return fail(errno, Step::open_source, formatted("{}: {}", field, quoted(path)));
  std::vector<std::uint8_t> head(detail::image_head);
  std::size_t have = 0;
  while (have < head.size()) {
    const ssize_t n =
        ::pread(fd.get(), head.data() + have, head.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      return fail(errno, Step::open_source, formatted("{}: reading {}", field, quoted(path)));
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  head.resize(have);
  const detail::ImageKind kind = detail::image_kind(head);
  constexpr std::uint32_t sparse = 0xed26ff3a;  // system/core/libsparse/sparse_format.h
  if (head.size() >= 4 && (head[0] | static_cast<std::uint32_t>(head[1]) << 8U |
                           static_cast<std::uint32_t>(head[2]) << 16U |
                           static_cast<std::uint32_t>(head[3]) << 24U) == sparse)
    return bad(field, formatted("{} is a sparse image", quoted(path)),
               formatted("simg2img {} {}.raw makes a plain one of it", path, path));
  if (part.type.empty() && kind.type.empty())
    return bad(field, formatted("{} is {}", quoted(path), kind.what),
               "Android's are ext4, erofs or squashfs; name any other type");
  const auto size = static_cast<std::uint64_t>(st.st_size);
  if (kind.size > size && (part.type.empty() || part.type == kind.type))
    return bad(
        field,
        formatted("{} is {} of {} bytes in {} bytes", quoted(path), kind.what, kind.size, size),
        "it is truncated, or damaged: copy it again");
  return {};
}

Result<void> look_at(const std::string& field, const Part& part) {
  if (!part.image.empty()) {
    if (auto ok = look_into_image(field + ".image", part); !ok) return ok;
  } else if (!part.directory.empty()) {
    if (auto ok = look_at_directory(field + ".directory", part.directory); !ok) return ok;
  }
  for (const auto& [name, dir] : {std::pair{".upper", &part.upper}, {".work", &part.work}})
    if (!dir->empty())
      if (auto ok = look_at_directory(field + name, *dir); !ok) return ok;
  return {};
}

Result<void> look_at_socket(std::string_view field, const HostPath& path) {
  struct stat st {};
  if (path.empty()) return {};
  if (::stat(path.c_str(), &st) < 0)
    return fail(errno, Step::open_source, formatted("{}: {}", field, quoted(path.str())));
  if (!S_ISSOCK(st.st_mode))
    return bad(field, formatted("{} is no socket", quoted(path.str())), "name the socket itself");
  return {};
}

/// With an id map a node is the host's, and its owner nobody.
Result<void> look_whether_for_all(std::string_view field, const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) < 0)
    return fail(errno, Step::open_source, formatted("{}: {}", field, quoted(path)));
  if ((st.st_mode & 0666U) == 0666U) return {};
  return bad(field, formatted("{} is not for all, as services need it", quoted(path)),
             formatted("chmod 666 {}", path));
}

/// Held by the directory itself: there is no file that could stay.
Result<Fd> lock_data(const HostPath& data) {
  if (auto ok = look_at_directory("data", data); !ok) return fail(ok);
  Fd fd(::open(data.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return fail(errno, Step::open_source, formatted("data: {}", quoted(data.str())));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  Error e = sys_error(errno == EWOULDBLOCK ? EBUSY : errno, Step::open_source,
                      formatted("data: {}{}", quoted(data.str()),
                                errno == EWOULDBLOCK ? ": a running device has it" : ""));
  if (e.is_errno(EBUSY)) e.hint = "end that device, or give this one a directory of its own";
  return fail(std::move(e));
}

}  // namespace

Facts probe_facts() {
  Facts f;
  for (const auto& [number, word] : numbered(read_whole("/proc/filesystems"))) {
    const std::size_t blank = word.find_last_of(" \t");
    if (word.substr(blank == std::string::npos ? 0 : blank + 1) == "binder") f.binderfs = true;
  }
  for (const auto& [number, word] : numbered(read_whole("/proc/devices")))
    if (word == "binder") f.binder_major = number;
  std::vector<MiscNode> misc;
  for (const auto& [number, word] : numbered(read_whole("/proc/misc")))
    if (word.ends_with("binder") && ::access(("/dev/" + word).c_str(), F_OK) == 0)
      misc.push_back({word, number});
  f.binder_pool = binder_triples(misc);
  f.binder_module =
      "modprobe binder_linux devices=c1-binder,c1-hwbinder,c1-vndbinder,c2-binder,c2-hwbinder,"
      "c2-vndbinder makes nodes for two devices; it can be loaded once";
  for (const KnownNode& k : known_nodes) {
    struct stat st {};
    if (::stat(k.host, &st) < 0 || !S_ISCHR(st.st_mode)) continue;
    f.nodes.push_back({.name = k.name,
                       .major = major(st.st_rdev),
                       .minor = minor(st.st_rdev),
                       .mode = {k.mode},
                       .uid = {k.uid},
                       .gid = {k.gid}});
  }
  f.host_nodes = find_host_nodes();
  f.render_nodes = find_render_nodes();
  f.memory_pressure = ::access("/proc/pressure/memory", F_OK) == 0;
  f.loop_devices = ::access("/dev/loop-control", F_OK) == 0;
  f.ipv6 = ::access("/proc/sys/net/ipv6/conf/all", F_OK) == 0;
  f.bootconfig = ::access("/proc/bootconfig", F_OK) == 0;
  f.inotify_instances =
      std::strtoull(read_whole("/proc/sys/fs/inotify/max_user_instances").c_str(), nullptr, 10);
  if (const long size = ::sysconf(_SC_PAGESIZE); size > 0)
    f.page_size = static_cast<std::uint64_t>(size);
  return f;
}

Result<Ready> prepare(const Device& device, const HostFacts& host, const Facts& facts) {
  Ready ready;
  // All that can be told without a look is told first, and at once.
  if (auto spec = spec_for(device, host, facts); !spec) return fail(spec);
  for (const auto& [field, part] : {std::pair{"system", &device.system},
                                    {"vendor", &device.vendor},
                                    {"product", &device.product},
                                    {"system_ext", &device.system_ext},
                                    {"odm", &device.odm}})
    if (auto ok = look_at(field, *part); !ok) return fail(ok);
  for (std::size_t i = 0; i < device.folders.size(); ++i)
    if (auto ok = look_at_directory(formatted("folders[{}].source", i), device.folders[i].source);
        !ok)
      return fail(ok);
  for (const auto& [field, path] : {std::pair{"session.wayland", &device.session.wayland},
                                    {"session.pulse", &device.session.pulse}})
    if (auto ok = look_at_socket(field, *path); !ok) return fail(ok);
  const bool mapped = device.idmap.kind != IdMap::none;
  for (const HostNode& n : facts.host_nodes)
    if (mapped && device.host_devices.has(n.kind))
      if (auto ok = look_whether_for_all("host_devices", "/dev/" + n.node.name); !ok)
        return fail(ok);
  const HostPath gpu = render_node_of(device, facts);
  if (mapped && !gpu.empty())
    if (auto ok = look_whether_for_all("render_node", gpu.str()); !ok) return fail(ok);
  if (!device.data.empty()) {
    auto lock = lock_data(device.data);
    if (!lock) return fail(lock);
    ready.lease.data = std::move(*lock);
  }
  Device given = device;
  const bool pool =
      device.binder == Binder::pool || (device.binder == Binder::automatic && !facts.binderfs);
  ready.binderfs = device.binder != Binder::none && !pool;
  if (pool) {
    const bool named = !device.binder_nodes.binder.empty();
    auto lease = lease_binder(named ? std::vector{device.binder_nodes} : facts.binder_pool);
    if (!lease) return fail(lease);
    // Those of a user namespace of its own are the host's, bound.
    if (mapped)
      for (const HostPath* path :
           {&lease->nodes.binder, &lease->nodes.hwbinder, &lease->nodes.vndbinder})
        if (auto ok = look_whether_for_all("binder", path->str()); !ok) return fail(ok);
    given.binder_nodes = std::move(lease->nodes);
    ready.lease.binder = std::move(lease->locks);
  }
  auto spec = spec_for(given, host, facts);
  if (!spec) return fail(spec);
  ready.spec = std::move(*spec);
  return ready;
}

Result<Ready> prepare(const Device& device, const HostFacts& host) {
  return prepare(device, host, probe_facts());
}

}  // namespace condroid::inline v0::android
