// What single values of LXC's language may be, and how LXC gives them back.

#include <algorithm>
#include <charconv>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <utility>

#include "condroid/spec.hpp"
#include "config/lxc_keys.hpp"
#include "formatted.hpp"
#include "spec/names.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid::inline v0::lxc_language {

namespace {

using Words = std::vector<std::string_view>;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// One of these; what is wrong otherwise, with the nearest.
std::string one_of(std::string_view what, std::string_view value, const Words& known) {
  if (std::ranges::find(known, value) != known.end()) return {};
  return spec_text::unknown_word(what, value, known);
}

std::string signed_number(std::string& value, std::int64_t least, std::int64_t most) {
  std::string_view digits = value;
  const bool minus = digits.starts_with('-');
  if (minus || digits.starts_with('+')) digits.remove_prefix(1);
  std::uint64_t n = 0;
  if (!read_whole(digits, static_cast<std::uint64_t>(most) + (minus ? 1 : 0), n))
    return "is no number in range";
  const auto number = static_cast<std::int64_t>(minus ? 0 - n : n);
  if (number < least) return "is no number in range";
  value = formatted("{}", number);
  return {};
}

std::string unsigned_number(std::string& value, std::uint64_t least, std::uint64_t most) {
  // LXC reads no '-', but strtoul(3) takes a '+'.
  std::string_view digits = value;
  if (digits.size() > 1 && digits[0] == '+' && digits[1] >= '0' && digits[1] <= '9')
    digits.remove_prefix(1);
  std::uint64_t n = 0;
  if (!read_whole(digits, most, n) || n < least) return "is no number in range";
  value = formatted("{}", n);
  return {};
}

/// A size with KB, MB or GB. Other letters LXC passes over, so 10K is 10.
std::string size_with_unit(std::string& value) {
  const std::size_t digits = std::min(value.find_first_not_of("0123456789"), value.size());
  std::uint64_t n = 0;
  if (digits == 0 || !read_whole(std::string_view(value).substr(0, digits), ULLONG_MAX, n))
    return "is no size";
  std::string unit = lower(std::string_view(value).substr(digits));
  unit.erase(0, unit.find_first_not_of(" \t"));
  std::uint64_t factor = 1;
  if (unit == "kb") factor = 1ULL << 10U;
  if (unit == "mb") factor = 1ULL << 20U;
  if (unit == "gb") factor = 1ULL << 30U;
  if (factor == 1 && unit.size() > 1) return "has an unknown unit";
  if (__builtin_mul_overflow(n, factor, &n)) return "is too large";
  value = formatted("{}", n);
  return {};
}

std::string address(std::string& value, bool v6) {
  const auto words = words_of(value);
  if (words.empty() || words.size() > (v6 ? 1U : 2U)) return "is no address";
  const auto own = IpPrefix::parse(words[0]);
  if (!own || own->address.is_v6() != v6) return v6 ? "is no IPv6 address" : "is no IPv4 address";
  if (words.size() == 2) {
    const auto broadcast = IpAddress::parse(words[1]);
    if (!broadcast || broadcast->is_v6()) return "has no IPv4 address for its broadcast";
  }
  return {};
}

std::string gateway(const std::string& value, bool v6) {
  if (value == "auto" || value == "dev") return {};
  const auto ip = IpAddress::parse(value);
  if (ip && ip->is_v6() == v6) return {};
  return v6 ? "is no IPv6 address" : "is no IPv4 address";
}

std::string route(const std::string& value, bool v6) {
  const auto to = IpPrefix::parse(value);
  if (value.find('/') == value.npos) return "has no prefix length";
  if (to && to->address.is_v6() == v6) return {};
  return v6 ? "is no IPv6 network" : "is no IPv4 network";
}

constexpr std::string_view levels[] = {"TRACE", "DEBUG", "INFO",  "NOTICE", "WARN",
                                       "ERROR", "CRIT",  "ALERT", "FATAL"};

}  // namespace

std::vector<std::string_view> words_of(std::string_view text, std::string_view blanks) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = text.find_first_not_of(blanks, at)) < text.size();) {
    const std::size_t end = std::min(text.find_first_of(blanks, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

IpPrefix prefix_of(std::string_view text) {
  IpPrefix p = IpPrefix::parse(text).value_or(IpPrefix{});
  if (text.find('/') != text.npos) return p;
  // Of the classes A, B and C.
  const auto first = p.address.bytes()[0];
  const std::uint8_t of_class = first < 128 ? 8 : first < 192 ? 16 : 24;
  p.length = p.address.is_v6() ? std::uint8_t{64} : of_class;
  return p;
}

bool names_type(std::string_view root) {
  constexpr std::string_view types[] = {"dir", "overlay", "overlayfs", "loop", "nbd",
                                        "lvm", "zfs",     "btrfs",     "rbd",  "best"};
  const std::size_t colon = root.find(':');
  return colon != root.npos && std::ranges::find(types, root.substr(0, colon)) != std::end(types);
}

/// As strtoull(3) with base 0 reads it, but without a sign, and the whole of it.
bool read_whole(std::string_view text, std::uint64_t most, std::uint64_t& out) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
  }
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out, base);
  return error == std::errc{} && stop == end && out <= most;
}

std::string split_command(std::string_view text, std::vector<std::string>& words) {
  std::string word;
  bool begun = false;
  char quote = 0;
  for (const char c : text) {
    if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      begun = true;
    } else if (c == ' ' || c == '\t') {
      if (begun) words.push_back(std::exchange(word, {}));
      begun = false;
    } else {
      word += c;
      begun = true;
    }
  }
  // As in LXC, what is not closed goes to the end.
  if (begun) words.push_back(std::move(word));
  return {};
}

std::string joined_command(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    if (!text.empty()) text += ' ';
    if (!word.empty() && word.find_first_of(" \t'\"") == word.npos) {
      text += word;
    } else {
      const char quote = word.find('"') == word.npos ? '"' : '\'';
      text += quote;
      text += word;
      text += quote;
    }
  }
  return text;
}

std::string anything(std::string& /*value*/) { return {}; }

std::string flag(std::string& value) {
  return unsigned_number(value, 0, 1).empty() ? "" : "is neither 0 nor 1";
}
std::string whole(std::string& value) { return unsigned_number(value, 0, UINT_MAX); }
std::string positive(std::string& value) { return unsigned_number(value, 1, INT_MAX); }
std::string integer(std::string& value) { return signed_number(value, INT_MIN, INT_MAX); }

/// Without what says nothing: "//", "/./" and a '/' at the end. ".." stays.
std::string path(std::string& value) {
  if (value.size() >= 4096) return "is too long for a path";
  std::string clean;
  const bool from_top = value.starts_with('/');
  for (const std::string_view part : words_of(value, "/")) {
    if (part == ".") continue;
    if (!clean.empty() || from_top) clean += '/';
    clean += part;
  }
  value = clean.empty() ? (from_top ? "/" : ".") : clean;
  return {};
}

std::string host_name(std::string& value) {
  return value.size() > 64 ? formatted("has {} bytes", value.size()) : "";
}

std::string architecture(std::string& value) {
  static constexpr std::string_view narrow[] = {
      "arm",  "armel", "armhf",  "armv7l", "athlon",  "i386",    "i486", "i586",
      "i686", "mips",  "mipsel", "ppc",    "powerpc", "linux32", "x86",  "x32"};
  static constexpr std::string_view wide[] = {
      "aarch64", "amd64",   "arm64",   "linux64",   "loongarch64", "loong64", "mips64", "mips64el",
      "ppc64",   "ppc64el", "ppc64le", "powerpc64", "riscv64",     "s390x",   "x86_64"};
  if (std::ranges::find(narrow, value) != std::end(narrow)) {
    value = "i686";
    return {};
  }
  Words all(std::begin(wide), std::end(wide));
  all.insert(all.end(), std::begin(narrow), std::end(narrow));
  std::string wrong = one_of("architecture", value, all);
  if (wrong.empty()) value = "x86_64";
  return wrong;
}

std::string root_path(std::string& value) {
  return value.size() >= 4096 ? "is too long for a path" : "";
}

std::string root_options(std::string& value) {
  for (const std::string_view option : words_of(value, ","))
    if (option.starts_with("create=") || option == "optional" || option == "relative")
      return formatted("{} is for lxc.mount.entry alone", option);
  return {};
}

std::string command(std::string& value) {
  std::vector<std::string> words;
  return split_command(value, words);
}

std::string group_id(std::string& value) {
  return unsigned_number(value, 0, UINT_MAX - 1).empty() ? "" : "is no group id";
}

std::string absolute(std::string& value) {
  if (!value.starts_with('/')) return "is not absolute";
  return path(value);
}

std::string auto_mount(std::string& value) {
  const std::string_view kind = std::string_view(value).substr(0, value.find(':'));
  if (kind == "shmounts") {
    const auto parts = words_of(std::string_view(value).substr(kind.size()), ":");
    return parts.empty() || parts.size() > 2 ? "shmounts needs a directory of the host" : "";
  }
  std::string_view rest = std::string_view(value).substr(kind.size());
  if ((kind.starts_with("cgroup")) && rest.ends_with(":force")) rest.remove_suffix(6);
  const auto is = [&](std::initializer_list<std::string_view> all) {
    return rest.empty() || std::ranges::find(all, rest) != all.end();
  };
  const bool good = (kind == "proc" && is({":mixed", ":rw"})) ||
                    (kind == "sys" && is({":mixed", ":ro", ":rw"})) ||
                    ((kind == "cgroup" || kind == "cgroup-full") && is({":mixed", ":ro", ":rw"})) ||
                    (kind == "cgroup2" && is({":ro"}));
  if (good) {
    if (value == "proc" || value == "sys") value += ":mixed";
    return {};
  }
  return formatted("unknown word {}", spec_text::shown(value));
}

std::string dev_size(std::string& value) { return unsigned_number(value, 0, INT_MAX); }

std::string tty_dir(std::string& value) {
  if (value.size() > 255) return "is too long";
  return {};
}

std::string log_size(std::string& value) {
  if (value == "auto") value = "131072";
  std::string wrong = size_with_unit(value);
  if (!wrong.empty()) return wrong;
  std::uint64_t n = 0;
  if (!read_whole(value, ULLONG_MAX, n)) return "is no size";
  if (n == 0) return {};
  constexpr std::uint64_t page = 4096, most = std::uint64_t{1} << 62U;
  if (n > most) return "is too large";
  std::uint64_t rounded = page;
  while (rounded < n) rounded <<= 1U;
  value = formatted("{}", rounded);
  return {};
}
std::string buffer_size(std::string& value) { return log_size(value); }

std::string id_range(std::string& value) {
  const auto words = words_of(value);
  if (words.size() != 4) return formatted("has {} words, not 4", words.size());
  if (words[0] != "u" && words[0] != "g")
    return formatted("{} is neither u nor g", spec_text::shown(words[0]));
  std::uint64_t n[3] = {};
  for (std::size_t i = 0; i < 3; ++i)
    if (!read_whole(words[i + 1], UINT_MAX, n[i]))
      return formatted("{} is no id", spec_text::shown(words[i + 1]));
  if (n[2] == 0) return "is a range of no ids";
  value = formatted("{} {} {} {}", words[0], n[0], n[1], n[2]);
  return {};
}

std::string namespace_kind(std::string& value) {
  value = lower(value);
  if (value == "mount") return "is mnt in LXC's words";
  return one_of("namespace", value, {"user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"});
}

std::string shared_namespace(std::string& /*value*/) { return {}; }

std::string time_offset(std::string& value) {
  const auto words = words_of(value);
  if (words.empty() || words.size() > 2) return "is no offset";
  std::string number(words[0]);
  std::string_view unit = words.size() == 2 ? words[1] : std::string_view{};
  if (unit.empty()) {
    const std::size_t end = words[0].find_first_not_of("+-0123456789");
    if (end == words[0].npos) return "has no unit";
    number = words[0].substr(0, end);
    unit = words[0].substr(end);
  }
  const Words units = {"h", "m", "s", "ms", "us", "ns"};
  if (std::ranges::find(units, unit) == units.end())
    return formatted("{} is no unit", spec_text::shown(unit));
  std::string_view digits = number;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  std::int64_t count = 0;
  const char* const end = digits.data() + digits.size();
  if (const auto [stop, error] = std::from_chars(digits.data(), end, count);
      error != std::errc{} || stop != end)
    return "is no number";
  constexpr std::int64_t factors[] = {3600000000000, 60000000000, 1000000000, 1000000, 1000, 1};
  std::int64_t ns = 0;
  const auto factor = factors[std::ranges::find(units, unit) - units.begin()];
  if (__builtin_mul_overflow(count, factor, &ns)) return "is more than 292 years";
  // As LXC keeps it: whole seconds apart from the rest.
  const bool seconds = factor >= factors[2] && ns != 0;
  value = seconds ? formatted("{} s", ns / factors[2]) : formatted("{} ns", ns);
  return {};
}

std::string capability(std::string& value) {
  std::uint64_t number = 0;
  if (!value.empty() && value[0] >= '0' && value[0] <= '9') {
    if (!read_whole(value, capability_count - 1, number))
      return formatted("{} is no capability; the last is {}", spec_text::shown(value),
                       capability_count - 1);
    return {};  // LXC gives the number back
  }
  if (value == "none") return "none goes with lxc.cap.keep alone";
  if (from_name<Capability>(value)) return {};
  return formatted("{}: {}", spec_text::shown(value), spec_text::unknown_name<Capability>(value));
}
std::string kept_capability(std::string& value) {
  return value == "none" ? std::string() : capability(value);
}

std::string limit(std::string& value) {
  const std::size_t colon = value.find(':');
  std::string parts[2] = {value.substr(0, colon),
                          colon == value.npos ? value : value.substr(colon + 1)};
  if (colon != value.npos && parts[1].empty()) return "has no hard limit after the ':'";
  for (std::string& part : parts) {
    const auto words = words_of(part);
    part = words.size() == 1 ? std::string(words[0]) : std::string();
    if (part == "unlimited") continue;
    if (!unsigned_number(part, 0, ULLONG_MAX).empty()) return "is no limit";
  }
  value = parts[0] == parts[1] ? parts[0] : formatted("{}:{}", parts[0], parts[1]);
  return {};
}

std::string proxy(std::string& value) {
  if (!value.starts_with("unix:") || value.size() < 7 || (value[5] != '/' && value[5] != '@'))
    return "is no socket";
  return value.size() - 5 > 107 ? "is too long for a socket" : "";
}

std::string cgroup_path(std::string& value) {
  if (value.starts_with('/')) return "begins with '/'";
  for (const std::string_view part : words_of(value, "/"))
    if (part == "..") return "goes up by '..'";
  return path(value);
}
std::string cgroup_name(std::string& value) {
  if (value.find('/') != value.npos) return "has a '/' in it";
  return value == "." || value == ".." ? "is no name" : "";
}

std::string environment(std::string& value) {
  const std::size_t equals = value.find('=');
  if (equals == 0) return "has no name";
  if (equals != value.npos) return {};
  const char* const here = ::secure_getenv(value.c_str());
  if (here == nullptr) return formatted("{} is not in this environment", spec_text::shown(value));
  value += '=';
  value += here;
  return {};
}

std::string signal(std::string& value) {
  constexpr int first = 34, last = 64;  // as glibc has the real-time ones
  if (!value.empty() && value[0] >= '0' && value[0] <= '9')
    return unsigned_number(value, 0, last).empty() ? "" : "is no signal";
  std::string upper(value);
  for (char& c : upper)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  const auto real_time = [&](std::string_view prefix, int from, int sign) {
    std::uint64_t n = 0;
    std::string_view rest = upper;
    if (!rest.starts_with(prefix)) return 0;
    rest.remove_prefix(prefix.size());
    if (!rest.starts_with(sign > 0 ? '+' : '-') || !read_whole(rest.substr(1), last - first, n))
      return 0;
    return from + sign * static_cast<int>(n);
  };
  int number = real_time("SIGRTMIN", first, 1);
  if (number == 0) number = real_time("SIGRTMAX", last, -1);
  Words names;
  for (const auto& [n, name] : signal_names) {
    if (name == upper) number = n;
    names.push_back(name);
  }
  if (upper == "SIGPOLL") number = SIGIO;
  if (upper == "SIGIOT") number = SIGABRT;
  if (number == 0) return spec_text::unknown_word("signal", upper, names);
  value = formatted("{}", number);
  return {};
}

std::string log_level(std::string& value) {
  std::uint64_t n = 0;
  if (read_whole(value, std::size(levels) - 1, n)) {
    value = levels[n];
    return {};
  }
  for (char& c : value)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return one_of("level", value, Words(std::begin(levels), std::end(levels)));
}

std::string syslog_facility(std::string& value) {
  value = lower(value);
  return one_of(
      "facility", value,
      {"daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"});
}

std::string net_type(std::string& value) {
  return one_of("type", value, {"veth", "macvlan", "ipvlan", "vlan", "phys", "empty", "none"});
}
std::string net_up(std::string& value) {
  value = "up";
  return {};
}
std::string net_name(std::string& value) {
  if (value.size() > 15) return formatted("has {} bytes", value.size());
  return value.find_first_of("/ \t:") == value.npos ? "" : "is no name of an interface";
}
std::string net_mac(std::string& value) {
  std::string drawn = value;
  for (char& c : drawn)
    if (c == 'x' || c == 'X') c = '2';
  const auto mac = MacAddress::parse(drawn);
  if (!mac) return "is no Ethernet address";
  return {};
}
std::string net_mtu(std::string& value) { return unsigned_number(value, 1, UINT_MAX); }
std::string net_address4(std::string& value) { return address(value, false); }
std::string net_address6(std::string& value) { return address(value, true); }
std::string net_gateway4(std::string& value) { return gateway(value, false); }
std::string net_gateway6(std::string& value) { return gateway(value, true); }
std::string net_route4(std::string& value) { return route(value, false); }
std::string net_route6(std::string& value) { return route(value, true); }
std::string net_veth_mode(std::string& value) {
  return one_of("mode", value, {"bridge", "router"});
}
std::string net_vlan(std::string& value) {
  return value == "none" ? std::string() : unsigned_number(value, 0, 4094);
}
std::string net_tagged(std::string& value) { return unsigned_number(value, 0, 4094); }
std::string net_macvlan_mode(std::string& value) {
  return one_of("mode", value, {"private", "vepa", "bridge", "passthru"});
}
std::string net_ipvlan_mode(std::string& value) {
  return one_of("mode", value, {"l3", "l3s", "l2"});
}
std::string net_ipvlan_isolation(std::string& value) {
  return one_of("isolation", value, {"bridge", "private", "vepa"});
}
std::string net_vlan_id(std::string& value) { return unsigned_number(value, 0, 65535); }

}  // namespace condroid::inline v0::lxc_language
