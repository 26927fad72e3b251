#include "device_file.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

using namespace condroid;
namespace fs = std::filesystem;

namespace {

std::string join(const std::vector<std::string_view>& words) {
  std::string all;
  for (const std::string_view w : words) all += (all.empty() ? "" : ", ") + std::string(w);
  return all;
}

class File {
 public:
  File(const std::string& name, std::vector<std::string>& mistakes)
      : name_(name), mistakes_(mistakes) {}

  void wrong(const toml::source_region& at, const std::string& what) {
    mistakes_.push_back(fmt::format("{}:{}:{}: {}", name_, at.begin.line, at.begin.column, what));
  }
  void wrong(const std::string& what) { mistakes_.push_back(fmt::format("{}: {}", name_, what)); }

  /// Of the host, from a path that may be relative to the file.
  [[nodiscard]] HostPath path(const std::string& text) const {
    if (text.empty()) return {};
    std::error_code error;
    return HostPath((fs::absolute(name_, error).parent_path() / text).lexically_normal().string());
  }

 private:
  const std::string& name_;
  std::vector<std::string>& mistakes_;
};

std::string_view kind_of(const toml::node& n) {
  switch (n.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a float";
    case toml::node_type::boolean:
      return "a boolean";
    default:
      return "a date or a time";
  }
}

/// One table: each key is asked for once; those that nobody asked for are mistakes.
class Table {
 public:
  Table(File& file, const toml::table& table, std::string name)
      : file_(file), table_(table), name_(std::move(name)) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table() {
    for (const auto& [key, node] : table_)
      if (std::ranges::find(asked_, key.str()) == asked_.end())
        file_.wrong(key.source(),
                    fmt::format("{}: no such key; there are {}", full(key.str()), join(asked_)));
  }

  const toml::node* get(std::string_view key) {
    asked_.push_back(key);
    return table_.get(key);
  }
  const toml::table* table(std::string_view key) {
    const toml::node* n = get(key);
    if (n != nullptr && !n->is_table()) expected(key, *n, "a table");
    return n != nullptr ? n->as_table() : nullptr;
  }
  const toml::node* text(std::string_view key, std::string& into) {
    const toml::node* n = get(key);
    if (n == nullptr) return nullptr;
    if (const auto* s = n->as_string()) return into = s->get(), n;
    return expected(key, *n, "a string"), nullptr;
  }
  void path(std::string_view key, HostPath& into) {
    std::string word;
    if (text(key, word) != nullptr) into = file_.path(word);
  }
  void flag(std::string_view key, bool& into) {
    const toml::node* n = get(key);
    if (n == nullptr) return;
    if (const auto* b = n->as_boolean())
      into = b->get();
    else
      expected(key, *n, "true or false");
  }
  bool number(std::string_view key, std::uint64_t& into, std::uint64_t least, std::uint64_t most) {
    const toml::node* n = get(key);
    if (n == nullptr) return false;
    const auto* i = n->as_integer();
    if (i == nullptr) return expected(key, *n, "an integer"), false;
    if (i->get() < 0 || static_cast<std::uint64_t>(i->get()) < least ||
        static_cast<std::uint64_t>(i->get()) > most) {
      file_.wrong(n->source(),
                  fmt::format("{}: {} is not among {} to {}", full(key), i->get(), least, most));
      return false;
    }
    into = static_cast<std::uint64_t>(i->get());
    return true;
  }
  bool real(std::string_view key, double& into) {
    const toml::node* n = get(key);
    if (n == nullptr) return false;
    const auto value = n->is_number() ? n->value<double>() : std::nullopt;
    if (!value) return expected(key, *n, "a number"), false;
    if (!(*value > 0 && *value <= 1e6)) {
      file_.wrong(n->source(), fmt::format("{}: is not above 0", full(key)));
      return false;
    }
    into = *value;
    return true;
  }
  /// One of `words`, whose places are the values of E.
  template <class E>
  void choice(std::string_view key, E& into, const std::vector<std::string_view>& words) {
    std::string word;
    const toml::node* n = text(key, word);
    if (n == nullptr) return;
    const auto found = std::ranges::find(words, word);
    if (found == words.end())
      file_.wrong(n->source(), fmt::format("{}: '{}' is none of {}", full(key), word, join(words)));
    else
      into = static_cast<E>(found - words.begin());
  }
  void expected(std::string_view key, const toml::node& n, std::string_view what) {
    file_.wrong(n.source(), fmt::format("{}: is {}, not {}", full(key), kind_of(n), what));
  }
  [[nodiscard]] std::string full(std::string_view key) const {
    return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
  }

 private:
  File& file_;
  const toml::table& table_;
  std::string name_;
  std::vector<std::string_view> asked_;
};

void read_part(File& file, Table& in, std::string_view name, android::Part& into) {
  const toml::table* t = in.table(name);
  if (t == nullptr) return;
  Table part(file, *t, std::string(name));
  part.path("image", into.image);
  part.path("directory", into.directory);
  part.text("type", into.type);
  part.flag("overlay", into.overlay);
  part.path("upper", into.upper);
  part.path("work", into.work);
}

/// A key with dots is a table in a table: ro.hardware = "x" and "ro.hardware" = "x" are the same.
void read_properties(File& file, const toml::table& t, const std::string& above,
                     const std::string& title, std::vector<android::Property>& into) {
  for (const auto& [key, node] : t) {
    const std::string name = above + std::string(key.str());
    if (const auto* inner = node.as_table())
      read_properties(file, *inner, name + ".", title, into);
    else if (const auto* s = node.as_string())
      into.push_back({.key = name, .value = s->get()});
    else if (const auto* i = node.as_integer())
      into.push_back({.key = name, .value = fmt::format("{}", i->get())});
    else if (const auto* b = node.as_boolean())
      into.push_back({.key = name, .value = b->get() ? "true" : "false"});
    else
      file.wrong(node.source(), fmt::format("{}.{}: is {}, not a string, an integer or a boolean",
                                            title, name, kind_of(node)));
  }
}

void read_folders(File& file, Table& in, std::vector<android::SharedFolder>& into) {
  const toml::node* n = in.get("folder");
  if (n == nullptr) return;
  const toml::array* all = n->as_array();
  if (all == nullptr) return in.expected("folder", *n, "an array of tables: [[folder]]");
  for (const toml::node& one : *all) {
    const toml::table* t = one.as_table();
    if (t == nullptr) {
      in.expected("folder", one, "a table: [[folder]]");
      continue;
    }
    android::SharedFolder& folder = into.emplace_back();
    Table f(file, *t, "folder");
    f.path("source", folder.source);
    f.text("name", folder.name);
    f.flag("read_only", folder.read_only);
    f.flag("idmapped", folder.idmapped);
    if (folder.source.empty()) file.wrong(t->source(), "folder.source: is missing");
  }
}

void read_network(File& file, Table& in, android::Device& into) {
  std::string word = "none";
  const toml::node* n = in.text("network", word);
  if (word == "none") return;
  if (word == "nat")
    into.interfaces.push_back({.link = NatBridge{}});
  else if (word.starts_with("bridge:") && word.size() > 7)
    into.interfaces.push_back({.link = Veth{.bridge = word.substr(7)}});
  else
    file.wrong(n->source(), fmt::format("network: '{}' is none of none, nat, bridge:NAME", word));
}

void read_host_devices(File& file, Table& in, android::Device& into) {
  std::string node;
  if (in.text("render_node", node) != nullptr) {
    if (node == "automatic")
      into.any_render_node = true;
    else
      into.render_node = file.path(node);
  }
  if (const toml::node* n = in.get("host_devices")) {
    constexpr std::pair<std::string_view, android::HostDevice> kinds[] = {
        {"camera", android::HostDevice::camera},
        {"sound", android::HostDevice::sound},
        {"input", android::HostDevice::input}};
    if (!n->is_array()) in.expected("host_devices", *n, "an array of strings");
    if (const toml::array* words = n->as_array())
      for (const toml::node& w : *words) {
        const auto* s = w.as_string();
        const auto* const found = std::ranges::find_if(
            kinds, [&](const auto& kind) { return s != nullptr && kind.first == s->get(); });
        if (found == std::end(kinds))
          file.wrong(w.source(), "host_devices: there are camera, sound, input");
        else
          into.host_devices |= found->second;
      }
  }
  if (const toml::table* t = in.table("session")) {
    Table session(file, *t, "session");
    session.path("wayland", into.session.wayland);
    session.path("pulse", into.session.pulse);
  }
}

void read_limits(File& file, Table& in, Resources& into) {
  const toml::table* t = in.table("limits");
  if (t == nullptr) return;
  constexpr std::uint64_t many = std::uint64_t{1} << 22U;
  Table limits(file, *t, "limits");
  std::uint64_t value = 0;
  double processors = 0;
  if (limits.number("memory_mib", value, 1, many)) into.memory_max = Bytes{value << 20U};
  if (limits.number("pids", value, 1, many)) into.pids_max = value;
  if (limits.real("cpus", processors)) into.cpus = processors;
}

void read_screen(File& file, Table& in, std::optional<android::Screen>& into) {
  const toml::table* t = in.table("screen");
  if (t == nullptr) return;
  android::Screen& screen = into.emplace();
  Table s(file, *t, "screen");
  // What is within bounds the library says.
  const auto number = [&](std::string_view key, unsigned& to) {
    std::uint64_t value = 0;
    if (s.number(key, value, 0, std::numeric_limits<unsigned>::max()))
      to = static_cast<unsigned>(value);
  };
  number("width", screen.width);
  number("height", screen.height);
  number("density", screen.density);
  number("fps", screen.fps);
}

void read_all(File& file, const toml::table& root, DeviceFile& into) {
  android::Device& d = into.device;
  Table top(file, root, "");
  top.text("name", d.name);
  top.choice("boot", d.boot, {"patched", "second_stage", "redroid"});
  read_part(file, top, "system", d.system);
  read_part(file, top, "vendor", d.vendor);
  read_part(file, top, "product", d.product);
  read_part(file, top, "system_ext", d.system_ext);
  read_part(file, top, "odm", d.odm);
  top.path("data", d.data);
  top.flag("data_idmapped", d.data_idmapped);
  read_folders(file, top, d.folders);
  if (const auto* t = top.table("androidboot"))
    read_properties(file, *t, "", "androidboot", d.androidboot);
  if (const auto* t = top.table("properties"))
    read_properties(file, *t, "", "properties", d.properties);
  if (const toml::node* n = top.get("cmdline")) {
    if (!n->is_array()) top.expected("cmdline", *n, "an array of strings");
    if (const toml::array* words = n->as_array())
      for (const toml::node& w : *words) {
        if (const auto* s = w.as_string())
          d.cmdline.push_back(s->get());
        else
          top.expected("cmdline", w, "a string");
      }
  }
  std::string inside;
  if (top.text("property_file", inside) != nullptr) d.property_file = GuestPath(inside);
  read_screen(file, top, d.screen);
  top.choice("binder", d.binder, {"automatic", "binderfs", "pool", "none"});
  read_host_devices(file, top, d);
  read_network(file, top, d);
  if (std::uint64_t port = 0; top.number("adb_port", port, 1, 65535))
    into.adb_port = static_cast<std::uint16_t>(port);
  read_limits(file, top, d.resources);
  bool subids = false;
  top.choice("idmap", subids, {"none", "subids"});
  if (subids) d.idmap.kind = IdMap::subids;
  top.flag("may_reboot", d.may_reboot);
  top.flag("may_wake", d.may_wake);
  top.flag("new_privileges", d.new_privileges);
  top.choice("restart", d.restart, {"never", "on_reboot", "on_failure", "always"});
  if (d.system.empty()) file.wrong("system: is missing: an image or a directory, '[system]'");
}

}  // namespace

std::optional<DeviceFile> read_device(const std::string& name, std::vector<std::string>& mistakes) {
  const std::size_t before = mistakes.size();
  File file(name, mistakes);
  DeviceFile read;
  read.device.name = fs::path(name).stem().string();
  try {
    const toml::table root = toml::parse_file(name);
    read_all(file, root, read);
  } catch (const toml::parse_error& e) {
    const std::string what(e.description());
    if (e.source().begin.line == 0)
      file.wrong(what);
    else
      file.wrong(e.source(), what);
  }
  if (mistakes.size() > before) return {};
  return read;
}
