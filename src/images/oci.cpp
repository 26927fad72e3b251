#include "images/oci.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "formatted.hpp"
#include "images/digest.hpp"

#if CONDROID_IMAGES
#include <nlohmann/json.hpp>
#endif

namespace condroid::inline v0::detail {

std::string_view oci_architecture() noexcept {
#if defined(__x86_64__)
  return "amd64";
#else
  return "arm64";
#endif
}

#if CONDROID_IMAGES

namespace {

using nlohmann::json;

constexpr std::uint64_t most_text = std::uint64_t{4} << 20U;
constexpr std::size_t most_layers = 1024;
constexpr std::size_t most_descriptors = 1024;  // of manifests and of indexes
constexpr int most_indexes = 4;

struct Descriptor {
  std::string type = {};
  std::string digest = {};
  std::uint64_t size = 0;
  std::string os = {};
  std::string architecture = {};
  std::string reference = {};
};

class Layout {
 public:
  Layout(FdView directory, const std::string& name, std::string_view reference)
      : directory_(directory), name_(name), reference_(reference) {}

  Result<OciImage> read() {
    auto marker = file("oci-layout", most_text);
    if (!marker) return fail(marker);
    auto version = parse("oci-layout", *marker);
    if (!version) return fail(version);
    const std::string is = text(*version, "imageLayoutVersion");
    if (!is.starts_with("1."))
      return fail(Errc::unsupported, Step::open_rootfs,
                  formatted("{}: a layout of version '{}'", name_, is));
    auto index = file("index.json", most_text);
    if (!index) return fail(index);
    std::vector<Descriptor> found;
    if (auto searched = search("index.json", *index, "", 0, found); !searched)
      return tl::unexpected<Error>(searched.error());
    auto chosen = choose(found);
    if (!chosen) return fail(chosen);
    return manifest(*chosen);
  }

 private:
  tl::unexpected<Error> wrong(std::string_view where, std::string_view why) {
    return fail(EBADMSG, Step::open_rootfs, formatted("{}: {}: {}", name_, where, why));
  }
  tl::unexpected<Error> unsupported(std::string_view where, std::string_view why) {
    return fail(Errc::unsupported, Step::open_rootfs, formatted("{}: {}: {}", name_, where, why));
  }

  Result<std::string> contents(const Fd& fd, std::string_view where, std::uint64_t most) {
    std::string all;
    char some[16 * 1024];
    for (;;) {
      const ssize_t n = ::read(fd.get(), some, sizeof some);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail(errno, Step::open_rootfs, formatted("{}: {}", name_, where));
      if (n == 0) return all;
      all.append(some, static_cast<std::size_t>(n));
      if (all.size() > most)
        return fail(EFBIG, Step::open_rootfs, formatted("{}: {}", name_, where));
    }
  }
  Result<std::string> file(const std::string& path, std::uint64_t most) {
    const Fd fd = open_beneath(directory_, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!fd.valid()) return fail(errno, Step::open_rootfs, formatted("{}: {}", name_, path));
    return contents(fd, path, most);
  }
  /// JSON that has the digest that it was named by.
  Result<std::string> blob(const Descriptor& what) {
    if (what.size > most_text)
      return fail(EFBIG, Step::open_rootfs,
                  formatted("{}: {}: {} bytes of JSON", name_, what.digest, what.size));
    const auto fd = open_blob(directory_, name_, what.digest, what.size);
    if (!fd) return tl::unexpected<Error>(fd.error());
    auto all = contents(*fd, what.digest, what.size);
    if (!all) return all;
    Sha256 hash;
    hash.add(all->data(), all->size());
    if (const std::string is = hash.text(); all->size() != what.size || is != what.digest)
      return wrong(what.digest, formatted("its digest is {}", is));
    return all;
  }

  Result<json> parse(std::string_view where, const std::string& from) {
    json all = json::parse(from, nullptr, false);
    if (all.is_discarded() || !all.is_object()) return wrong(where, "it is no JSON object");
    return all;
  }
  static std::string text(const json& object, const char* key) {
    const auto at = object.find(key);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
  }
  static const json& part(const json& object, const char* key) {
    static const json nothing;
    const auto at = object.find(key);
    return at != object.end() ? *at : nothing;
  }
  std::optional<Descriptor> descriptor(const json& from) {
    if (!from.is_object()) return {};
    const json& size = part(from, "size");
    if (!size.is_number_unsigned()) return {};
    Descriptor d{.type = text(from, "mediaType"),
                 .digest = text(from, "digest"),
                 .size = size.get<std::uint64_t>()};
    if (!blob_path(d.digest)) return {};
    if (const json& platform = part(from, "platform"); platform.is_object()) {
      d.os = text(platform, "os");
      d.architecture = text(platform, "architecture");
    }
    if (const json& notes = part(from, "annotations"); notes.is_object())
      d.reference = text(notes, "org.opencontainers.image.ref.name");
    return d;
  }

  /// The manifests that an index names, those of indexes in it among them.
  Result<void> search(std::string_view where, const std::string& from, const std::string& reference,
                      int depth, std::vector<Descriptor>& found) {
    const auto index = parse(where, from);
    if (!index) return tl::unexpected<Error>(index.error());
    const json& manifests = part(*index, "manifests");
    if (!manifests.is_array()) return wrong(where, "it has no list 'manifests'");
    for (const json& each : manifests) {
      auto d = descriptor(each);
      if (!d) return wrong(where, "a manifest without a size or with a digest that is not sha256");
      // What is said of an index counts for all in it.
      if (d->reference.empty()) d->reference = reference;
      if (++searched_ > most_descriptors) return wrong(where, "too many manifests");
      if (d->type == "application/vnd.oci.image.index.v1+json" ||
          d->type == "application/vnd.docker.distribution.manifest.list.v2+json") {
        if (depth + 1 >= most_indexes) return wrong(where, "indexes within indexes");
        const auto inner = blob(*d);
        if (!inner) return tl::unexpected<Error>(inner.error());
        if (auto done = search(d->digest, *inner, d->reference, depth + 1, found); !done)
          return done;
        continue;
      }
      found.push_back(std::move(*d));
    }
    return {};
  }

  Result<Descriptor> choose(const std::vector<Descriptor>& found) {
    std::vector<Descriptor> fit;
    std::string names;
    std::string others;
    const auto add = [](std::string& list, const std::string& word) {
      if (word.empty()) return;
      if (!list.empty()) list += ", ";
      list += word;
    };
    for (const Descriptor& d : found) {
      if (!d.os.empty() && (d.os != "linux" || d.architecture != oci_architecture())) {
        if (d.os != "unknown") add(others, d.os + "/" + d.architecture);
        continue;
      }
      add(names, d.reference);
      if (!reference_.empty() && d.reference != reference_) continue;
      // The same one under two names is one.
      if (std::ranges::none_of(fit, [&](const Descriptor& f) { return f.digest == d.digest; }))
        fit.push_back(d);
    }
    if (fit.size() == 1) return fit.front();
    if (fit.empty() && !reference_.empty() && !names.empty()) {
      Error e = sys_error(ENOENT, Step::open_rootfs,
                          formatted("{}: no image '{}' in it", name_, reference_));
      e.hint = "there are: " + names;
      return fail(std::move(e));
    }
    if (fit.empty())
      return unsupported("index.json", formatted("no image for linux/{}{}{}", oci_architecture(),
                                                 others.empty() ? "" : "; there are: ", others));
    return fail(Errc::bad_spec, Step::open_rootfs,
                formatted("{}: {} images are in it", name_, fit.size()),
                names.empty() ? "" : "name one of them: " + names);
  }

  Result<OciImage> manifest(const Descriptor& which) {
    if (which.type != "application/vnd.oci.image.manifest.v1+json" &&
        which.type != "application/vnd.docker.distribution.manifest.v2+json")
      return unsupported(which.digest, formatted("media type '{}' is no image's", which.type));
    const auto bytes = blob(which);
    if (!bytes) return tl::unexpected<Error>(bytes.error());
    const auto all = parse(which.digest, *bytes);
    if (!all) return tl::unexpected<Error>(all.error());
    const json& version = part(*all, "schemaVersion");
    if (!version.is_number_integer() || version != 2)
      return unsupported(which.digest, "a manifest that is not of schema version 2");
    const std::string type = text(*all, "mediaType");
    if (!type.empty() && type != which.type)
      return wrong(which.digest, formatted("it says that it is '{}', not '{}'", type, which.type));

    OciImage image{.digest = which.digest};
    const json& layers = part(*all, "layers");
    if (!layers.is_array() || layers.size() > most_layers)
      return wrong(which.digest, "it has no list 'layers' of a sensible length");
    for (const json& each : layers) {
      const auto d = descriptor(each);
      if (!d)
        return wrong(which.digest, "a layer without a size or with a digest that is not sha256");
      auto packing = packing_of(d->type);
      if (!packing)
        return unsupported(which.digest,
                           formatted("layer {}: media type '{}'", d->digest, d->type));
      image.layers.push_back({.digest = d->digest, .size = d->size, .packing = *packing});
    }
    const auto config = descriptor(part(*all, "config"));
    if (!config) return wrong(which.digest, "it has no 'config'");
    if (config->type != "application/vnd.oci.image.config.v1+json" &&
        config->type != "application/vnd.docker.container.image.v1+json")
      return unsupported(which.digest,
                         formatted("media type '{}' of its configuration", config->type));
    if (auto done = configuration(*config, image); !done)
      return tl::unexpected<Error>(done.error());
    return image;
  }

  static std::optional<Packing> packing_of(std::string_view type) {
    for (const std::string_view kind :
         {"application/vnd.oci.image.layer.v1.tar",
          "application/vnd.oci.image.layer.nondistributable.v1.tar"}) {
      if (!type.starts_with(kind)) continue;
      const std::string_view rest = type.substr(kind.size());
      if (rest.empty()) return Packing::none;
      if (rest == "+gzip") return Packing::gzip;
      if (rest == "+zstd") return Packing::zstd;
    }
    if (type == "application/vnd.docker.image.rootfs.diff.tar") return Packing::none;
    if (type == "application/vnd.docker.image.rootfs.diff.tar.gzip") return Packing::gzip;
    if (type == "application/vnd.docker.image.rootfs.diff.tar.zstd") return Packing::zstd;
    return {};
  }

  Result<void> configuration(const Descriptor& where, OciImage& image) {
    const auto bytes = blob(where);
    if (!bytes) return tl::unexpected<Error>(bytes.error());
    const auto all = parse(where.digest, *bytes);
    if (!all) return tl::unexpected<Error>(all.error());
    const std::string os = text(*all, "os");
    const std::string architecture = text(*all, "architecture");
    if (os != "linux" || architecture != oci_architecture())
      return unsupported(where.digest, formatted("an image for {}/{}, this is linux/{}", os,
                                                 architecture, oci_architecture()));
    const json& rootfs = part(*all, "rootfs");
    const json& ids = rootfs.is_object() ? part(rootfs, "diff_ids") : rootfs;
    if (!ids.is_array() || ids.size() != image.layers.size())
      return wrong(where.digest,
                   formatted("its 'diff_ids' are not those of {} layers", image.layers.size()));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (!ids[i].is_string() || !blob_path(ids[i].get<std::string>()))
        return wrong(where.digest, "a diff id that is not sha256");
      image.layers[i].diff_id = ids[i].get<std::string>();
    }
    return {};
  }

  FdView directory_;
  const std::string& name_;
  std::string_view reference_;
  std::size_t searched_ = 0;
};

}  // namespace

Result<OciImage> read_layout(FdView layout, const std::string& name, std::string_view reference) {
  return Layout(layout, name, reference).read();
}

Result<Fd> open_blob(FdView layout, const std::string& name, std::string_view digest,
                     std::uint64_t size) {
  const auto path = blob_path(digest);
  if (!path) return fail(EBADMSG, Step::open_rootfs, formatted("{}: digest '{}'", name, digest));
  // Not one that waits for somebody to write to it.
  Fd fd = open_beneath(layout, "blobs/" + *path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd.valid()) return fail(errno, Step::open_rootfs, formatted("{}: {}", name, digest));
  struct stat st {};
  if (::fstat(fd.get(), &st) < 0)
    return fail(errno, Step::open_rootfs, formatted("{}: {}", name, digest));
  if (!S_ISREG(st.st_mode))
    return fail(EBADMSG, Step::open_rootfs, formatted("{}: {}: it is no file", name, digest));
  if (static_cast<std::uint64_t>(st.st_size) != size)
    return fail(EBADMSG, Step::open_rootfs,
                formatted("{}: {}: it has {} bytes, not {}", name, digest, st.st_size, size));
  return fd;
}

#else

Result<OciImage> read_layout(FdView, const std::string& name, std::string_view) {
  return fail(Errc::unsupported, Step::open_rootfs, name,
              "this build of condroid reads no image layouts: meson's option images, which needs "
              "libarchive, nettle and "
              "nlohmann-json");
}
Result<Fd> open_blob(FdView, const std::string& name, std::string_view, std::uint64_t) {
  return fail(Errc::unsupported, Step::open_rootfs, name);
}

#endif

}  // namespace condroid::inline v0::detail
