// Files of LXC's language: reading them with all that they include, and writing them.
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "config/lxc_file.hpp"
#include "config/lxc_state.hpp"
#include "config/lxc_translate.hpp"
#include "formatted.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc_language {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

constexpr std::chrono::seconds patience{2};  // for what comes through a pipe

}  // namespace

int read_text(const std::string& path, std::size_t most, FileText& out) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat st {};
  if (fd.get() < 0 || ::fstat(fd.get(), &st) != 0) return errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  if (st.st_size > 0 && static_cast<std::uint64_t>(st.st_size) > most) return EFBIG;
  out.device = st.st_dev;
  out.inode = st.st_ino;
  const auto begin = std::chrono::steady_clock::now();
  char some[std::size_t{16} << 10U];
  for (;;) {
    const ssize_t n = ::read(fd.get(), some, sizeof some);
    if (n == 0) return 0;
    if (n > 0) {
      if (out.text.size() + static_cast<std::size_t>(n) > most) return EFBIG;
      out.text.append(some, static_cast<std::size_t>(n));
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return errno;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        begin + patience - std::chrono::steady_clock::now());
    pollfd waiter{fd.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&waiter, 1, static_cast<int>(left.count())) == 0)
      return ETIMEDOUT;
  }
}

}  // namespace condroid::inline v0::lxc_language

namespace condroid::inline v0::lxc {

using lxc_language::FileText;
using lxc_language::Report;
using lxc_language::row;

namespace {

/// Reads files into an Impl, one below the other.
class Reader {
 public:
  explicit Reader(Configuration::Impl& impl) : impl_(impl) {}

  /// What a line that is there already names. One file below another is `included`.
  void include_at(std::size_t item) { include(item); }

  void text(std::string_view text, std::string_view file, Item::Origin origin) {
    const std::uint32_t number_of_file = impl_.file(file);
    bytes_ += text.size();
    std::uint32_t number = 0;
    for (std::size_t at = 0; at < text.size() && !full();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      ++number;
      pieces(text.substr(at, end - at), number_of_file, number, origin);
      at = end + 1;
    }
  }

  [[nodiscard]] int top(const std::string& path) {
    FileText file;
    const int error = lxc_language::read_text(path, lxc_language::most_bytes, file);
    if (error != 0) return error;
    open_.emplace_back(file.device, file.inode);
    text(file.text, path, Item::own);
    return 0;
  }
  /// All that is wrong: where there is something, what the making of a Spec finds in the rest, too.
  Report& report() {
    if (judged_ || report_.errors() == 0 || report_.full()) return report_;
    judged_ = true;
    lxc_language::Translator translator(
        impl_,
        {.apparmor = false, .selinux = false, .kernel_settings = std::vector<std::string>()});
    translator.all();
    const auto at = [&](const Diagnostic& d) {
      return std::pair(std::ranges::find(impl_.files, d.file) - impl_.files.begin(), d.line);
    };
    // Of a line one mistake is enough.
    std::set<std::pair<std::ptrdiff_t, std::uint32_t>> wrong;
    for (const Diagnostic& d : report_.all()) wrong.insert(at(d));
    std::size_t told = 0;
    for (Diagnostic& d : translator.report().all()) {
      ++told;
      if (wrong.insert(at(d)).second) report_.add(std::move(d));
    }
    for (; told < translator.report().errors(); ++told) report_.count();
    std::ranges::stable_sort(report_.all(), {}, at);
    return report_;
  }

 private:
  static constexpr std::string_view ends{"\r\0", 2};

  [[nodiscard]] bool full() {
    if (impl_.items.size() < lxc_language::most_lines) return false;
    if (!over_ && !impl_.items.empty())
      report_.add({.file = impl_.files[impl_.items.back().file],
                   .line = impl_.items.back().line,
                   .what = formatted("more than {} lines; the rest was not read",
                                     lxc_language::most_lines)});
    over_ = true;
    impl_.misspelt.back() = true;
    return true;
  }

  /// CR and NUL end a line, too.
  void pieces(std::string_view line, std::uint32_t file, std::uint32_t number,
              Item::Origin origin) {
    for (bool first = true;; first = false) {
      const std::size_t end = line.find_first_of(ends);
      const std::string_view piece = line.substr(0, end);
      if ((first && line.size() == piece.size()) || !piece.empty()) {
        if (full()) return;
        take(impl_.push(piece, origin, file, number));
      }
      if (end == line.npos) return;
      line.remove_prefix(end + 1);
    }
  }

  void take(std::size_t item) {
    impl_.digest(item, report_);
    if (impl_.meanings[item].row == row("lxc.include") && impl_.items[item].kind == Item::setting &&
        !impl_.items[item].value().empty())
      include(item);
  }

  void include(std::size_t item) {
    const std::string path(impl_.items[item].value());
    struct stat st {};
    const bool there = ::stat(path.c_str(), &st) == 0;
    if (!path.ends_with('/') && !(there && S_ISDIR(st.st_mode))) return file(path, item);
    DIR* const dir = ::opendir(path.c_str());
    if (dir == nullptr) {
      if (errno == ENOENT) return;
      return wrong(item, errno);
    }
    std::vector<std::string> names;
    while (const dirent* const entry = ::readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name.size() >= 6 && name.ends_with(".conf")) names.emplace_back(name);
      if (names.size() > lxc_language::most_files) break;
    }
    ::closedir(dir);
    std::ranges::sort(names);
    const std::string folder = path.ends_with('/') ? path : path + '/';
    for (const std::string& name : names) file(folder + name, item);
  }

  void file(const std::string& path, std::size_t item) {
    if (report_.full() || over_) return;
    if (open_.size() >= lxc_language::most_depth)
      return wrong(item, formatted("is included {} files deep", open_.size()),
                   "does one of them include itself?");
    if (++files_ > lxc_language::most_files)
      return wrong(item, formatted("is one of more than {} files", lxc_language::most_files), "");
    FileText text;
    const std::size_t left = lxc_language::most_bytes - std::min(lxc_language::most_bytes, bytes_);
    if (const int error = lxc_language::read_text(path, left, text); error != 0) {
      if (error != EFBIG) return wrong(item, error);
      over_ = true;
      return wrong(
          item, "is too large",
          formatted("all files together have at most {} MiB", lxc_language::most_bytes >> 20U));
    }
    const std::pair self(text.device, text.inode);
    if (std::ranges::find(open_, self) != open_.end())
      return wrong(item, "includes itself", "take the line out of one of the files");
    open_.push_back(self);
    this->text(text.text, path, Item::included);
    open_.pop_back();
  }

  void wrong(std::size_t item, int error) {
    std::string why = std::generic_category().message(error);
    wrong(item, formatted("cannot be read: {} ({})", why, errno_name(error)), "");
  }
  void wrong(std::size_t item, std::string what, std::string hint) {
    impl_.misspelt.back() = true;  // what is there may have said it
    report_.add(impl_.about(item, Diagnostic::error, std::move(what), std::move(hint)));
  }

  Configuration::Impl& impl_;
  Report report_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> open_;
  std::size_t files_ = 0, bytes_ = 0;
  bool over_ = false, judged_ = false;
};

/// The same line with another key or value.
void rewrite(Item& item, std::string_view key, std::string_view value) {
  std::string line = item.text.substr(0, item.key_at);
  line += key;
  const std::size_t after = item.key_at + item.key_size;
  line += item.text.substr(after, item.value_at - after);
  const std::size_t begin = line.size();
  line += value;
  line += item.text.substr(item.value_at + item.value_size);
  const auto at = [](std::size_t n) { return static_cast<std::uint32_t>(n); };
  item.key_size = at(key.size());
  item.value_at = at(begin);
  item.value_size = at(value.size());
  item.text = std::move(line);
}

/// Whether a value can stand in a line as it is.
bool fits(std::string_view text) {
  return text.find_first_of(std::string_view("\n\r\0", 3)) == text.npos;
}

/// As it must be written to be read as it is.
std::string written(std::string_view value) {
  const auto outer = [&](char c) { return c == ' ' || c == '\t' || c == '"' || c == '\''; };
  if (value.empty() || (!outer(value.front()) && !outer(value.back()))) return std::string(value);
  return formatted("\"{}\"", value);
}

}  // namespace

namespace {

tl::unexpected<Error> unknown(std::string_view key) {
  const std::string near = lxc_language::near_key(key);
  return fail(Errc::bad_text, Step::parse, formatted("{}: unknown key", spec_text::shown(key)),
              near.empty() ? "" : formatted("did you mean {}?", near));
}
tl::unexpected<Error> no_include() {
  return fail(Errc::bad_text, Step::parse, "lxc.include: files are included when one is read",
              "write the line into the text, and read that");
}

/// Interfaces that are counted get their numbers: without one of them the others stay the same.
void number_all(Configuration::Impl& impl) {
  for (std::size_t i = 0; i < impl.items.size(); ++i) {
    Item& item = impl.items[i];
    if (item.origin != Item::own || item.kind != Item::setting) continue;
    const auto found = lxc_language::find_key(item.key());
    const Configuration::Impl::Meaning& m = impl.meanings[i];
    if (!found.counts || m.row >= lxc_language::table.size() ||
        !lxc_language::of_net(lxc_language::table[m.row]))
      continue;
    const std::string key =
        formatted("lxc.net.{}.{}", m.rest,
                  lxc_language::table[m.row].name.substr(lxc_language::net_prefix.size()));
    rewrite(item, key, std::string(item.value()));
  }
}

/// What lxc-info -c prints of a value that is kept otherwise.
std::string as_asked(std::size_t r, const std::string& text) {
  if (r == row("lxc.rootfs.path")) {
    const std::size_t colon = text.find(':');
    const bool typed = colon != text.npos && text.find('/') > colon;
    std::string path = typed ? text.substr(colon + 1) : text;
    (void)lxc_language::path(path);
    return path;
  }
  if (r == row("lxc.net.N.ipv4.address") || r == row("lxc.net.N.ipv6.address"))
    return to_string(lxc_language::prefix_of(lxc_language::words_of(text)[0]));
  if (r == row("lxc.net.N.veth.ipv4.route") || r == row("lxc.net.N.veth.ipv6.route"))
    return to_string(lxc_language::prefix_of(text));
  if (r == row("lxc.net.N.ipv4.gateway") || r == row("lxc.net.N.ipv6.gateway"))
    if (const auto address = IpAddress::parse(text)) return to_string(*address);
  if (r == row("lxc.net.N.veth.vlan.id") && text == "none") return "-1";
  return text;
}

/// Of words it knows those that it keeps as they are, in its own order.
std::string auto_words(const std::vector<lxc_language::Value>& values) {
  std::string all;
  for (const std::string_view kind : {"proc", "sys", "cgroup"})
    for (const auto& v : values)
      if (v.text.starts_with(kind) && !v.text.ends_with(":force") && !v.text.starts_with("cgroup2"))
        all += formatted("{}{}", all.empty() ? "" : " ", v.text);
  return all;
}
std::string kinds(const std::vector<lxc_language::Value>& values) {
  std::string all;
  for (const std::string_view kind : {"user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"})
    if (std::ranges::find(values, kind, &lxc_language::Value::text) != values.end())
      all += formatted("{}\n", kind);
  return all;
}

}  // namespace

Configuration::Configuration() : impl_(std::make_unique<Impl>()) {}
Configuration::~Configuration() = default;
Configuration::Configuration(const Configuration& other)
    : impl_(std::make_unique<Impl>(*other.impl_)) {}
Configuration::Configuration(Configuration&& other) noexcept = default;
Configuration& Configuration::operator=(const Configuration& other) {
  if (this != &other) impl_ = std::make_unique<Impl>(*other.impl_);
  return *this;
}
Configuration& Configuration::operator=(Configuration&& other) noexcept = default;

Result<Configuration> Configuration::load(const HostPath& file, std::vector<Diagnostic>* mistakes) {
  Configuration config;
  Reader reader(*config.impl_);
  if (const int error = reader.top(file.str()); error != 0)
    return fail(error, Step::parse, file.str());
  if (mistakes != nullptr) *mistakes = reader.report().all();
  if (reader.report().errors() != 0) return fail(reader.report().error());
  return config;
}

Result<Configuration> Configuration::parse(std::string_view text, std::string_view file,
                                           std::vector<Diagnostic>* mistakes) {
  if (text.size() > lxc_language::most_bytes)
    return fail(Errc::bad_text, Step::parse,
                formatted("a configuration of {} bytes; at most {} MiB are read", text.size(),
                          lxc_language::most_bytes >> 20U));
  Configuration config;
  Reader reader(*config.impl_);
  reader.text(text, file, Item::own);
  if (mistakes != nullptr) *mistakes = reader.report().all();
  if (reader.report().errors() != 0) return fail(reader.report().error());
  return config;
}

Result<void> Configuration::apply(std::string_view definition) {
  if (!fits(definition))
    return fail(Errc::bad_text, Step::parse, "-s: a definition of more than one line");
  auto changed = std::make_unique<Impl>(*impl_);
  const std::size_t begin = std::min(definition.find_first_not_of(" \t"), definition.size());
  if (!definition.substr(begin).starts_with("lxc."))
    return fail(Errc::bad_text, Step::parse,
                formatted("-s {}: is no key of LXC's", spec_text::shown(definition)),
                "a key begins with lxc.");
  Report report;
  const std::size_t item = changed->push(definition, Item::applied, changed->file("-s"), 0);
  changed->digest(item, report);
  if (report.errors() == 0 && changed->meanings[item].row == row("lxc.include")) {
    Reader reader(*changed);
    if (!changed->items[item].value().empty()) reader.include_at(item);
    for (std::size_t i = item + 1; i < changed->items.size(); ++i)
      changed->items[i].origin = Item::applied;
    if (reader.report().errors() != 0) return fail(reader.report().error());
  }
  if (report.errors() != 0) return fail(report.error());
  impl_ = std::move(changed);
  return {};
}

Result<void> Configuration::set(std::string_view key, std::string_view value) {
  if (value.empty()) return clear(key);
  const auto found = lxc_language::find_key(key);
  if (!found.known()) return unknown(key);
  if (found.row == row("lxc.include")) return no_include();
  const std::string line = formatted("{} = {}", key, written(value));
  if (!fits(line)) return fail(Errc::bad_text, Step::parse, "a value of more than one line");
  const auto own_file = [&](Impl& impl) {
    return impl.file(files().empty() ? std::string() : files()[0]);
  };
  if (!found.counts && lxc_language::table[found.row].shape == lxc_language::Shape::once) {
    std::size_t place = impl_->items.size();
    for (std::size_t i = 0; i < impl_->items.size(); ++i)
      if (impl_->meanings[i].row == found.row && impl_->meanings[i].rest == found.rest)
        place = impl_->items[i].origin == Item::own ? i : impl_->items.size();
    if (place < impl_->items.size()) {
      auto changed = std::make_unique<Impl>(*impl_);
      Impl one;
      one.files = changed->files;
      one.push(line, Item::own, changed->items[place].file, changed->items[place].line);
      changed->items[place] = std::move(one.items.front());
      Report report;
      changed->settle(report);
      if (report.errors() != 0) return fail(report.error());
      // A line below may clear it.
      const lxc_language::Value* const holds = changed->one(found.row, found.rest);
      if (holds != nullptr && holds->item == place) {
        impl_ = std::move(changed);
        return {};
      }
    }
  }
  auto changed = std::make_unique<Impl>(*impl_);
  changed->push(line, Item::own, own_file(*changed), 0);
  Report report;
  changed->settle(report);
  if (report.errors() != 0) return fail(report.error());
  impl_ = std::move(changed);
  return {};
}

Result<void> Configuration::clear(std::string_view key) {
  auto found = lxc_language::find_key(key);
  if (!found.known()) return unknown(key);
  if (found.row == row("lxc.include")) return no_include();
  if (found.row == row("lxc.net.N.type")) found.row = row("lxc.net.N");
  auto changed = std::make_unique<Impl>(*impl_);
  const std::string_view name = lxc_language::table[found.row].name;
  const bool group = lxc_language::table[found.row].shape == lxc_language::Shape::group;
  const auto meant = [&](std::size_t i) {
    const Impl::Meaning& m = changed->meanings[i];
    if (m.row >= lxc_language::table.size()) return false;
    if (m.row == found.row && m.rest == found.rest) return true;
    if (!group) return false;
    if (found.row == row("lxc.net.N") || found.row == row("lxc.net"))
      return lxc_language::of_net(lxc_language::table[m.row]) &&
             (found.row == row("lxc.net") || m.rest == found.rest);
    const std::string_view other = lxc_language::table[m.row].name;
    if (found.row == row("lxc.hook"))
      return other.starts_with("lxc.hook.") && other != "lxc.hook.version";
    return other == formatted("{}.", name);
  };
  std::vector<Item> items;
  bool others = false;
  if (group) number_all(*changed);
  for (std::size_t i = 0; i < changed->items.size(); ++i) {
    if (changed->items[i].kind == Item::setting && meant(i)) {
      if (changed->items[i].origin == Item::own) continue;
      others = true;
    }
    items.push_back(std::move(changed->items[i]));
  }
  changed->items = std::move(items);
  changed->meanings.assign(changed->items.size(), {});
  if (others)
    changed->push(formatted("{} =", key), Item::own,
                  changed->file(files().empty() ? std::string() : files()[0]), 0);
  Report report;
  changed->settle(report);
  if (report.errors() != 0) return fail(report.error());
  impl_ = std::move(changed);
  return {};
}

Result<std::optional<std::string>> Configuration::get(std::string_view key) const {
  using Answer = std::optional<std::string>;
  const auto found = lxc_language::find_key(key);
  const auto refuse = [&](std::string_view why, std::string hint) {
    return fail(Errc::bad_text, Step::parse, formatted("{}: {}", spec_text::shown(key), why),
                std::move(hint));
  };
  if (!found.known()) return unknown(key);
  using lxc_language::Shape;
  const lxc_language::Key& k = lxc_language::table[found.row];
  std::string text;
  if (k.shape == Shape::group) {
    if (found.row == row("lxc.net")) {
      std::map<std::uint64_t, std::string> types;
      for (const auto& [number, values] : impl_->values[row("lxc.net.N.type")]) {
        std::uint64_t n = 0;
        if (!values.empty() && lxc_language::read_whole(number, UINT32_MAX, n))
          types.emplace(n, values.back().text);
      }
      for (const auto& [number, type] : types) text += type + "\n";
      return text.empty() ? Answer() : Answer(text);
    }
    const std::string below = formatted("{}.", k.name);
    std::vector<std::pair<std::uint32_t, std::string>> lines;  // in the order of the file
    for (std::size_t r = 0; r < lxc_language::table.size(); ++r)
      if (lxc_language::table[r].name == below)
        for (const auto& [rest, values] : impl_->values[r])
          for (const auto& v : values)
            lines.emplace_back(v.item, formatted("{}{} = {}\n", below, rest, v.text));
    std::ranges::sort(lines, {}, [](const auto& l) { return l.first; });
    for (const auto& [item, line] : lines) text += line;
    if (text.empty() && (found.row == row("lxc.hook") || found.row == row("lxc.net.N")))
      return refuse("cannot be asked", "ask for one of the keys below it");
    return text.empty() ? Answer() : Answer(text);
  }
  if (k.shape == Shape::include || k.shape == Shape::dropped) return refuse("cannot be asked", "");
  const auto values = impl_->values[found.row].find(found.rest);
  if (values == impl_->values[found.row].end() || values->second.empty()) {
    if (k.otherwise.empty()) return Answer();
    if (lxc_language::of_net(k)) {
      // What is of a type holds for that type.
      const std::string_view sub = k.name.substr(lxc_language::net_prefix.size());
      const auto* const type = impl_->one(row("lxc.net.N.type"), found.rest);
      if (type == nullptr || (sub != "l2proxy" && type->text != sub.substr(0, sub.find('.'))))
        return Answer();
    }
    return Answer(std::string(k.otherwise));
  }
  if (k.shape == Shape::once) return Answer(as_asked(found.row, values->second.back().text));
  if (found.row == row("lxc.mount.auto")) {
    text = auto_words(values->second);
  } else if (found.row == row("lxc.namespace.clone") || found.row == row("lxc.namespace.keep")) {
    text = kinds(values->second);
  } else if (found.row == row("lxc.init.groups")) {
    for (const auto& v : values->second) text += formatted("{}{}", text.empty() ? "" : ",", v.text);
  } else {
    for (const auto& v : values->second)
      if (found.row != row("lxc.cap.keep") || v.text != "none")
        text += as_asked(found.row, v.text) + "\n";
  }
  return text.empty() ? Answer() : Answer(text);
}

std::string Configuration::text() const {
  std::string text;
  for (const Item& item : impl_->items)
    if (item.origin == Item::own) text += item.text + "\n";
  return text;
}

Result<void> Configuration::save(const HostPath& file) const {
  std::string path = file.str();
  struct stat st {};
  const bool there = ::stat(path.c_str(), &st) == 0;
  const mode_t mode = there ? st.st_mode & 07777U : 0640U;
  if (char* const real = there ? ::realpath(path.c_str(), nullptr) : nullptr; real != nullptr) {
    path = real;
    std::free(real);  // NOLINT(*-no-malloc,*-owning-memory)
  }
  std::string beside = path + ".XXXXXX";
  const lxc_language::Descriptor fd(::mkostemp(beside.data(), O_CLOEXEC));
  if (fd.get() < 0) return fail(errno, Step::parse, path);
  const std::string text = this->text();
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd.get(), text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  // Whoever may not give it away has it.
  const bool given = !there || (st.st_uid == ::geteuid() && st.st_gid == ::getegid()) ||
                     ::fchown(fd.get(), st.st_uid, st.st_gid) == 0 || errno == EPERM;
  if (done == text.size() && given && ::fchmod(fd.get(), mode) == 0 && ::fsync(fd.get()) == 0 &&
      ::rename(beside.c_str(), path.c_str()) == 0)
    return {};
  const int error = errno;
  ::unlink(beside.c_str());
  return fail(error, Step::parse, path);
}

std::vector<Diagnostic> Configuration::modernize() {
  Impl& impl = *impl_;
  std::vector<Diagnostic> said;
  const lxc_language::Value* const backend = impl.one(row("lxc.rootfs.backend"));
  const std::string type = backend == nullptr ? "" : backend->text;
  // A path in a file that is included stays as it is, and needs its type from here.
  const lxc_language::Value* const root = impl.one(row("lxc.rootfs.path"));
  const bool foreign = root != nullptr && impl.items[root->item].origin != Item::own;
  std::vector<Item> items;
  std::vector<Impl::Meaning> meanings;
  for (std::size_t i = 0; i < impl.items.size(); ++i) {
    Item item = impl.items[i];
    const Impl::Meaning meaning = impl.meanings[i];
    const auto say = [&](std::string what) {
      said.push_back(impl.about(i, Diagnostic::note, std::move(what)));
    };
    if (item.origin == Item::own && item.kind == Item::setting) {
      if (meaning.row < lxc_language::table.size() &&
          (lxc_language::table[meaning.row].shape == lxc_language::Shape::dropped ||
           (meaning.row == row("lxc.rootfs.backend") && !foreign))) {
        say("is taken out");
        continue;
      }
      const auto found = lxc_language::find_key(item.key());
      std::string key = found.modern;
      if (found.counts && meaning.row == row("lxc.net"))
        key = "lxc.net";
      else if (found.counts)
        key.replace(key.find(".N."), 3, formatted(".{}.", meaning.rest));
      const bool typed = meaning.row == row("lxc.rootfs.path") && !type.empty() &&
                         !lxc_language::names_type(item.value()) && !item.value().empty();
      if (!key.empty() || typed) {
        if (key.empty()) key = item.key();
        const std::string value = (typed ? type + ":" : std::string()) + std::string(item.value());
        say(typed ? formatted("becomes {} = {}", key, spec_text::shown(value))
                  : formatted("becomes {}", key));
        rewrite(item, key, value);
      }
    } else if (item.origin == Item::own && item.kind == Item::comment) {
      const std::size_t begin = item.text.find_first_not_of("# \t");
      const std::size_t end = std::min(item.text.find_first_of(" \t=", begin), item.text.size());
      if (begin != item.text.npos && item.text.find('=', end) != item.text.npos) {
        const auto found = lxc_language::find_key(item.text.substr(begin, end - begin));
        if (!found.modern.empty() && !found.counts) {
          say(formatted("a comment: {} becomes {}", item.text.substr(begin, end - begin),
                        found.modern));
          item.text.replace(begin, end - begin, found.modern);
        }
      }
    }
    items.push_back(std::move(item));
    meanings.push_back(meaning);
  }
  impl.items = std::move(items);
  impl.meanings = std::move(meanings);
  Report report;
  impl.settle(report);
  return said;
}

void Configuration::draw_addresses() {
  for (std::size_t i = 0; i < impl_->items.size(); ++i) {
    Item& item = impl_->items[i];
    if (item.origin != Item::own || impl_->meanings[i].row != row("lxc.net.N.hwaddr")) continue;
    std::string mac(item.value());
    unsigned char random[32] = {};
    if (::getrandom(random, sizeof random, 0) != sizeof random) return;
    for (std::size_t n = 0; n < mac.size() && n < sizeof random; ++n)
      if (mac[n] == 'x' || mac[n] == 'X')
        mac[n] = "0123456789abcdef"[random[n] & (n == 1 ? 14U : 15U)];
    rewrite(item, item.key(), mac);
  }
  Report report;
  impl_->settle(report);
}

const std::vector<Item>& Configuration::items() const noexcept { return impl_->items; }
const std::vector<std::string>& Configuration::files() const noexcept { return impl_->files; }
std::vector<Diagnostic> Configuration::notes() const { return impl_->notes; }

}  // namespace condroid::inline v0::lxc
