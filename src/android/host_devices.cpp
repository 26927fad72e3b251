#include "android/host_devices.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace condroid::inline v0::android {

namespace {

/// "event12" is behind "event9".
bool by_number(const std::string& a, const std::string& b) {
  return std::tuple(a.size(), std::string_view(a)) < std::tuple(b.size(), std::string_view(b));
}

/// Names in a directory that are `begin` and a number, or any where that is empty.
std::vector<std::string> names_in(const char* directory, std::string_view begin) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir(directory), ::closedir);
  while (const dirent* e = all ? ::readdir(all.get()) : nullptr) {
    const std::string_view name = e->d_name;
    if (name.starts_with('.') || !name.starts_with(begin)) continue;
    const std::string_view rest = name.substr(begin.size());
    const bool number = !rest.empty() && rest.find_first_not_of("0123456789") == rest.npos;
    if (begin.empty() || number) names.emplace_back(name);
  }
  std::ranges::sort(names, by_number);
  return names;
}

// Ids are those of android_filesystem_config.h.
struct HostPlace {
  HostDevice kind;
  std::string_view below;  ///< /dev
  std::string_view begin;
  std::uint32_t uid, gid;
};
constexpr std::array host_places = {
    HostPlace{HostDevice::camera, "", "video", 0, 1006},
    HostPlace{HostDevice::camera, "", "media", 0, 1006},
    HostPlace{HostDevice::sound, "snd/", "", 1000, 1005},
    HostPlace{HostDevice::input, "input/", "event", 0, 1004},
};

}  // namespace

std::vector<HostNode> find_host_nodes() {
  std::vector<HostNode> list;
  for (const HostPlace& p : host_places) {
    const std::string directory = "/dev/" + std::string(p.below);
    for (const std::string& name : names_in(directory.c_str(), p.begin)) {
      struct stat st {};
      if (::stat((directory + name).c_str(), &st) < 0 || !S_ISCHR(st.st_mode)) continue;
      list.push_back({.kind = p.kind,
                      .node = {.name = std::string(p.below) + name,
                               .major = major(st.st_rdev),
                               .minor = minor(st.st_rdev),
                               .mode = {0660},
                               .uid = {p.uid},
                               .gid = {p.gid}}});
    }
  }
  return list;
}

std::vector<RenderNode> find_render_nodes() {
  std::vector<RenderNode> list;
  for (const std::string& name : names_in("/dev/dri", "renderD")) {
    RenderNode node{.path = HostPath("/dev/dri/" + name)};
    struct stat st {};
    if (::stat(node.path.c_str(), &st) < 0 || !S_ISCHR(st.st_mode)) continue;
    node.minor = minor(st.st_rdev);
    std::array<char, 4096> to{};
    const std::string link = "/sys/class/drm/" + name + "/device/driver";
    const ssize_t size = ::readlink(link.c_str(), to.data(), to.size());
    if (size > 0) {
      node.driver.assign(to.data(), static_cast<std::size_t>(size));
      node.driver.erase(0, node.driver.rfind('/') + 1);
    }
    list.push_back(std::move(node));
  }
  return list;
}

HostPath render_node_of(const Device& device, const Facts& facts) {
  if (!device.render_node.empty() || !device.any_render_node) return device.render_node;
  return render_node(facts);
}

HostPath render_node(const Facts& facts) {
  const auto found = std::ranges::find_if(facts.render_nodes,
                                          [](const RenderNode& n) { return n.driver != "nvidia"; });
  return found == facts.render_nodes.end() ? HostPath() : found->path;
}

}  // namespace condroid::inline v0::android
