// How single values are written in the text form of a Spec: a Codec for each type.
//
//   Codec<Bytes>::print({512U << 20U})              // "512MiB"
//   Bytes size;
//   Codec<Bytes>::parse("512MiB", size)             // "", or what would be right: "expected a size
//   like ..."
//
// print() gives the bare value; quoting is the line's business. parse() takes the whole word or
// nothing, and everything that the type can hold: whether a value makes sense is compile()'s
// question, since a Spec that makes no sense must be printable in a bug report, too.
#pragma once

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "condroid/path.hpp"
#include "condroid/units.hpp"
#include "formatted.hpp"
#include "spec/names.hpp"
#include "spec/suggest.hpp"

namespace condroid {
inline namespace v0 {
namespace spec_text {

template <class T>
struct Codec;

/// The whole word as a number: no blanks, no '+', no "0x", no overflow.
template <class Number, class... Format>
[[nodiscard]] std::errc parse_number(std::string_view word, Number& out,
                                     Format... format) noexcept {
  const char* const end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, out, format...);
  if (error != std::errc{}) return error;
  return stop == end ? std::errc{} : std::errc::invalid_argument;
}

template <std::integral N>
struct Codec<N> {
  static std::string print(N value) { return formatted("{}", value); }
  static std::string parse(std::string_view word, N& out) {
    if (parse_number(word, out) == std::errc{}) return {};
    return formatted("expected a whole number from {} to {}", std::numeric_limits<N>::min(),
                     std::numeric_limits<N>::max());
  }
};

template <>
struct Codec<bool> {
  static std::string print(bool value) { return value ? "true" : "false"; }
  static std::string parse(std::string_view word, bool& out) {
    if (word != "true" && word != "false") return "expected true or false";
    out = word == "true";
    return {};
  }
};

template <>
struct Codec<double> {
  static std::string print(double value) {
    return formatted("{}", value);
  }  // shortest that reads back the same
  static std::string parse(std::string_view word, double& out) {
    // from_chars also takes "nan" (which would not even equal itself) and "INFINITY".
    const bool number =
        !word.empty() && (word.back() == '.' || (word.back() >= '0' && word.back() <= '9'));
    const bool known = number || word == "inf" || word == "-inf";
    if (known && parse_number(word, out, std::chars_format::general) == std::errc{}) return {};
    return "expected a number like 0.5";
  }
};

template <>
struct Codec<std::string> {
  static std::string print(std::string_view value) { return std::string(value); }
  static std::string parse(std::string_view word, std::string& out) {
    out = word;
    return {};
  }
};

template <class Tag>
struct Codec<detail::TaggedPath<Tag>> {
  static std::string print(const detail::TaggedPath<Tag>& value) { return value.str(); }
  static std::string parse(std::string_view word, detail::TaggedPath<Tag>& out) {
    out = detail::TaggedPath<Tag>(word);
    return {};
  }
};

/// A number that is its own type: written as the number.
template <class T, auto Member>
struct WrappedNumber {
  using Number = std::remove_reference_t<decltype(std::declval<T&>().*Member)>;
  static std::string print(T value) { return Codec<Number>::print(value.*Member); }
  static std::string parse(std::string_view word, T& out) {
    return Codec<Number>::parse(word, out.*Member);
  }
};
template <>
struct Codec<Uid> : WrappedNumber<Uid, &Uid::value> {};
template <>
struct Codec<Gid> : WrappedNumber<Gid, &Gid::value> {};
template <>
struct Codec<Pid> : WrappedNumber<Pid, &Pid::value> {};
template <>
struct Codec<HostFd> : WrappedNumber<HostFd, &HostFd::number> {};

template <>
struct Codec<Mode> {
  static std::string print(Mode value) { return formatted("{:#o}", value.value); }
  static std::string parse(std::string_view word, Mode& out) {
    return parse_number(word, out.value, 8) == std::errc{} ? ""
                                                           : "expected an octal mode like 0755";
  }
};

template <>
struct Codec<Signal> {
  static std::string print(Signal value) { return signal_name(value); }
  static std::string parse(std::string_view word, Signal& out) {
    Suggestion near(word);
    for (const auto& [number, name] : signal_names) {
      if (name == word) {
        out.value = number;
        return {};
      }
      near.offer(name);
    }
    if (parse_number(word, out.value) == std::errc{}) return {};
    return formatted("expected a signal like {} or its number",
                     near.best().empty() ? "SIGTERM" : near.best());
  }
};

/// A number followed by one of `units`, which are given from the largest to the smallest, 1.
template <class Number, std::size_t N>
struct UnitNumber {
  std::array<std::pair<std::string_view, Number>, N> units;

  [[nodiscard]] std::string print(Number value) const {
    const auto fits = [&](const auto& unit) { return value != 0 && value % unit.second == 0; };
    const auto found = std::ranges::find_if(units, fits);
    const auto& [name, factor] = found == units.end() ? units.back() : *found;
    return formatted("{}{}", value / factor, name);
  }

  /// False also for a value that is out of range.
  [[nodiscard]] bool parse(std::string_view word, Number& out) const {
    const auto digits = word.substr(0, word.find_first_not_of("-0123456789"));
    const auto unit = word.substr(digits.size());
    const auto found = std::ranges::find(units, unit, [](const auto& u) { return u.first; });
    Number count = 0;
    if (found == units.end() || parse_number(digits, count) != std::errc{}) return false;
    return !__builtin_mul_overflow(count, found->second, &out);
  }
};

template <>
struct Codec<Bytes> {
  static constexpr UnitNumber<std::uint64_t, 7> units{{{{"EiB", std::uint64_t{1} << 60U},
                                                        {"PiB", std::uint64_t{1} << 50U},
                                                        {"TiB", std::uint64_t{1} << 40U},
                                                        {"GiB", std::uint64_t{1} << 30U},
                                                        {"MiB", std::uint64_t{1} << 20U},
                                                        {"KiB", std::uint64_t{1} << 10U},
                                                        {"B", 1}}}};
  static std::string print(Bytes value) { return units.print(value.value); }
  static std::string parse(std::string_view word, Bytes& out) {
    if (units.parse(word, out.value)) return {};
    return "expected a size like 512MiB, in B, KiB, MiB, GiB, TiB, PiB or EiB, below 16EiB";
  }
};

template <>
struct Codec<std::chrono::nanoseconds> {
  using Count = std::chrono::nanoseconds::rep;
  static constexpr UnitNumber<Count, 4> units{
      {{{"s", 1000000000}, {"ms", 1000000}, {"us", 1000}, {"ns", 1}}}};
  static std::string print(std::chrono::nanoseconds value) { return units.print(value.count()); }
  static std::string parse(std::string_view word, std::chrono::nanoseconds& out) {
    Count count = 0;
    if (!units.parse(word, count))
      return "expected a time like 10s, in s, ms, us or ns, within 292 years";
    out = std::chrono::nanoseconds(count);
    return {};
  }
};

/// What to say about a word that is none of the `known` ones.
[[nodiscard]] inline std::string unknown_word(std::string_view what, std::string_view word,
                                              const std::vector<std::string_view>& known) {
  Suggestion near(word);
  for (const std::string_view name : known) near.offer(name);
  if (!near.best().empty()) return formatted("unknown {}; did you mean {}?", what, near.best());
  return formatted("unknown {}; expected one of {}", what, fmt::join(known, ", "));
}

/// The same, for the table of E and `more` words.
template <class E>
[[nodiscard]] std::string unknown_name(std::string_view word,
                                       std::vector<std::string_view> known = {}) {
  for (const auto& entry : EnumNames<E>::table) known.push_back(entry.second);
  return unknown_word(EnumNames<E>::what, word, known);
}

template <NamedEnum E>
struct Codec<E> {
  static std::string print(E value) {
    const std::string_view name = name_of(value);
    // A value outside of the enum is for the reader only; parse_spec refuses it.
    return name.empty() ? formatted("unknown-{}", static_cast<unsigned>(value)) : std::string(name);
  }
  static std::string parse(std::string_view word, E& out) {
    const std::optional<E> value = from_name<E>(word);
    if (!value) return unknown_name<E>(word);
    out = *value;
    return {};
  }
};

/// "bit29", as unnamed_bit() writes it, of the bits below `count`. Bits that have a name are
/// refused: "bit7" must not get past a reviewer who looks for "new_privileges".
template <class Bits, class HasName>
[[nodiscard]] bool parse_unnamed_bit(std::string_view name, unsigned count, HasName has_name,
                                     Bits& out) {
  unsigned bit = 0;
  if (!name.starts_with("bit") || parse_number(name.substr(3), bit) != std::errc{} || bit >= count)
    return false;
  if (has_name(bit)) return false;
  out = static_cast<Bits>(Bits{1} << bit);
  return true;
}

/// A set of names: print() gives "a,b,c" or "none", parse() adds one name. Splitting is the
/// reader's business.
template <class E>
struct Codec<Flags<E>> {
  static constexpr bool is_set = true;
  using Bits = typename Flags<E>::Bits;

  static std::string print(Flags<E> value) { return flag_names(value); }
  static std::string parse(std::string_view name, Flags<E>& out) {
    const auto has_name = [](unsigned bit) {
      return !name_of(static_cast<E>(Bits{1} << bit)).empty();
    };
    Bits bit = 0;
    if (const std::optional<E> flag = from_name<E>(name)) {
      out |= *flag;
    } else if (parse_unnamed_bit(name, std::numeric_limits<Bits>::digits, has_name, bit)) {
      out |= Flags<E>::from_bits(bit);
    } else {
      return unknown_name<E>(name, {"none"});
    }
    return {};
  }
};

/// Capabilities by name, or "small", "all", "none"; "small,net_admin" is the small set and one
/// more.
template <>
struct Codec<CapabilitySet> {
  static constexpr bool is_set = true;

  static std::string print(CapabilitySet value) {
    std::uint64_t rest = value.bits();
    std::string text;
    const auto append = [&](std::string_view word) {
      if (!text.empty()) text += ',';
      text += word;
    };
    for (const auto& [name, set] :
         {std::pair{"all", CapabilitySet::all()}, {"small", CapabilitySet::small()}}) {
      if ((rest & set.bits()) != set.bits()) continue;
      append(name);
      rest &= ~set.bits();
    }
    for (const auto& [capability, name] : EnumNames<Capability>::table) {
      if (CapabilitySet::from_bits(rest).has(capability)) append(name);
    }
    for (rest &= ~CapabilitySet::all().bits(); rest != 0; rest &= rest - 1) {
      append(unnamed_bit(std::countr_zero(rest)));
    }
    return text.empty() ? "none" : text;
  }

  static std::string parse(std::string_view name, CapabilitySet& out) {
    const auto has_name = [](unsigned bit) { return bit < capability_count; };
    std::uint64_t bits = 0;
    if (const auto capability = from_name<Capability>(name)) {
      bits = CapabilitySet{*capability}.bits();
    } else if (name == "small") {
      bits = CapabilitySet::small().bits();
    } else if (name == "all") {
      bits = CapabilitySet::all().bits();
    } else if (!parse_unnamed_bit(name, 64, has_name, bits)) {
      return unknown_name<Capability>(name, {"none", "small", "all"});
    }
    out = CapabilitySet::from_bits(out.bits() | bits);
    return {};
  }
};

/// Rights over files by name, or "read", "run", "write", "all", "none" for those that belong
/// together.
template <>
struct Codec<Flags<LandlockAccess>> {
  static constexpr bool is_set = true;
  using Access = Flags<LandlockAccess>;
  static constexpr std::array<std::pair<std::string_view, Access>, 4> words = {
      {{"all", landlock::all},
       {"run", landlock::run},
       {"read", landlock::read},
       {"write", landlock::write}}};

  static std::string print(Access value) {
    std::string text;
    for (const auto& [name, set] : words) {
      if ((value & set) != set) continue;
      if (!text.empty()) text += ',';
      text += name;
      value -= set;
    }
    if (value.empty() && !text.empty()) return text;
    return text.empty() ? flag_names(value) : text + ',' + flag_names(value);
  }
  static std::string parse(std::string_view name, Access& out) {
    const auto found = std::ranges::find(words, name, &std::pair<std::string_view, Access>::first);
    if (found != words.end()) {
      out |= found->second;
      return {};
    }
    const auto has_name = [](unsigned bit) {
      return bit < EnumNames<LandlockAccess>::table.size();
    };
    std::uint32_t bit = 0;
    if (const auto right = from_name<LandlockAccess>(name)) {
      out |= *right;
    } else if (parse_unnamed_bit(name, 32, has_name, bit)) {
      out |= Access::from_bits(bit);
    } else {
      return unknown_name<LandlockAccess>(name, {"none", "read", "run", "write", "all"});
    }
    return {};
  }
};

/// "pty", and "fd:7" for a descriptor. A number that a stream of another kind has by mistake is
/// kept: "null:7".
template <>
struct Codec<Stream> {
  static std::string print(Stream value) {
    std::string text = Codec<Stream::Kind>::print(value.kind);
    if (value.kind == Stream::descriptor || value.fd != HostFd{}) {
      append_formatted(text, ":{}", value.fd.number);
    }
    return text;
  }
  static std::string parse(std::string_view word, Stream& out) {
    out = {};
    const auto colon = word.find(':');
    if (std::string wrong = Codec<Stream::Kind>::parse(word.substr(0, colon), out.kind);
        !wrong.empty())
      return wrong;
    if (colon != std::string_view::npos)
      return Codec<HostFd>::parse(word.substr(colon + 1), out.fd);
    return out.kind == Stream::descriptor ? "expected a number after it, like fd:7" : "";
  }
};

/// "inside:outside:count", the order of /proc/PID/uid_map.
template <>
struct Codec<IdRange> {
  static std::string print(IdRange value) {
    return formatted("{}:{}:{}", value.inside, value.outside, value.count);
  }
  static std::string parse(std::string_view word, IdRange& out) {
    const auto first = word.find(':');
    const auto second = first == std::string_view::npos ? first : word.find(':', first + 1);
    if (second != std::string_view::npos &&
        parse_number(word.substr(0, first), out.inside) == std::errc{} &&
        parse_number(word.substr(first + 1, second - first - 1), out.outside) == std::errc{} &&
        parse_number(word.substr(second + 1), out.count) == std::errc{}) {
      return {};
    }
    return "expected inside:outside:count like 0:100000:65536, each at most 4294967295";
  }
};

/// Where a joined namespace comes from: an absolute path, or "path:", "pid:" or "fd:" and the rest.
template <>
struct Codec<std::variant<Pid, HostPath, HostFd>> {
  using From = std::variant<Pid, HostPath, HostFd>;
  static std::string print(const From& value) {
    if (const auto* pid = std::get_if<Pid>(&value)) return "pid:" + Codec<Pid>::print(*pid);
    if (const auto* fd = std::get_if<HostFd>(&value)) return "fd:" + Codec<HostFd>::print(*fd);
    const auto& path = *std::get_if<HostPath>(&value);
    return path.is_absolute() ? path.str() : "path:" + path.str();
  }
  static std::string parse(std::string_view word, From& out) {
    if (word.starts_with("pid:")) return Codec<Pid>::parse(word.substr(4), out.emplace<Pid>());
    if (word.starts_with("fd:")) return Codec<HostFd>::parse(word.substr(3), out.emplace<HostFd>());
    const bool tagged = word.starts_with("path:");
    if (!tagged && !word.starts_with('/'))
      return "expected pid:N, fd:N or an absolute path like /run/netns/x";
    return Codec<HostPath>::parse(word.substr(tagged ? 5 : 0), out.emplace<HostPath>());
  }
};

/// A limit has a word for there being none.
template <class T>
struct Codec<Limit<T>> {
  static std::string print(Limit<T> value) {
    return value.limited() ? Codec<T>::print(value.most()) : "max";
  }
  static std::string parse(std::string_view word, Limit<T>& out) {
    out = unlimited;
    if (word == "max") return {};
    T most{};
    std::string wrong = Codec<T>::parse(word, most);
    if (!wrong.empty()) return wrong + "; max is no limit";
    out = most;
    return {};
  }
};

/// "8:16", or a path: an absolute one as it is, another one after "path:".
template <>
struct Codec<std::variant<HostPath, DeviceNumber>> {
  using Device = std::variant<HostPath, DeviceNumber>;
  static std::string print(const Device& value) {
    if (const auto* number = std::get_if<DeviceNumber>(&value))
      return formatted("{}:{}", number->major, number->minor);
    const auto& path = *std::get_if<HostPath>(&value);
    return path.is_absolute() ? path.str() : "path:" + path.str();
  }
  static std::string parse(std::string_view word, Device& out) {
    const bool tagged = word.starts_with("path:");
    if (tagged || word.starts_with('/'))
      return Codec<HostPath>::parse(word.substr(tagged ? 5 : 0), out.emplace<HostPath>());
    auto& number = out.emplace<DeviceNumber>();
    const auto colon = word.find(':');
    if (colon != std::string_view::npos &&
        parse_number(word.substr(0, colon), number.major) == std::errc{} &&
        parse_number(word.substr(colon + 1), number.minor) == std::errc{})
      return {};
    return "expected major:minor like 8:0, or an absolute path like /dev/sda";
  }
};

/// "1==5", "0<8", and with a mask "1&0xffffffff==0x5412".
template <>
struct Codec<ArgumentCheck> {
  // In the order of ArgumentCheck::Op.
  static constexpr std::array<std::string_view, 6> words = {"==", "!=", "<", "<=", ">", ">="};

  static std::string print(const ArgumentCheck& check) {
    std::string text = formatted("{}", check.index);
    if (check.mask != ArgumentCheck{}.mask) text += formatted("&{:#x}", check.mask);
    const auto op = static_cast<std::size_t>(check.op);
    return text + formatted("{}{:#x}", op < words.size() ? words[op] : "?", check.value);
  }
  static std::string parse(std::string_view word, ArgumentCheck& out) {
    constexpr const char* expected = "expected a comparison like 1==5 or 1&0xff==0x12";
    const std::size_t at = word.find_first_of("=!<>");
    if (at == std::string_view::npos) return expected;
    std::string_view left = word.substr(0, at);
    std::string_view right = word.substr(at);
    const std::string_view sign = right.substr(0, right.find_first_not_of("=!<>"));
    const auto op = std::ranges::find(words, sign);
    if (op == words.end()) return expected;
    out.op = static_cast<ArgumentCheck::Op>(op - words.begin());
    right.remove_prefix(sign.size());
    if (const std::size_t mask = left.find('&'); mask != std::string_view::npos) {
      if (!number(left.substr(mask + 1), out.mask)) return expected;
      left = left.substr(0, mask);
    }
    if (parse_number(left, out.index) != std::errc{} || !number(right, out.value)) return expected;
    return {};
  }

 private:
  static bool number(std::string_view word, std::uint64_t& out) {
    if (word.starts_with("0x")) return parse_number(word.substr(2), out, 16) == std::errc{};
    return parse_number(word, out) == std::errc{};
  }
};

/// What parse() of the type itself reads, and to_string() writes.
template <class T>
struct AddressCodec {
  static std::string print(const T& value) { return to_string(value); }
  static std::string parse_as(std::string_view word, T& out, const char* expected) {
    const std::optional<T> value = T::parse(word);
    if (!value) return expected;
    out = *value;
    return {};
  }
};
template <>
struct Codec<IpAddress> : AddressCodec<IpAddress> {
  static std::string parse(std::string_view word, IpAddress& out) {
    return parse_as(word, out, "expected an address like 10.0.3.1 or fd00::1");
  }
};
template <>
struct Codec<IpPrefix> : AddressCodec<IpPrefix> {
  static std::string parse(std::string_view word, IpPrefix& out) {
    return parse_as(word, out, "expected an address and its prefix like 10.0.3.2/24 or fd00::2/64");
  }
};
template <>
struct Codec<MacAddress> : AddressCodec<MacAddress> {
  static std::string parse(std::string_view word, MacAddress& out) {
    return parse_as(word, out, "expected an Ethernet address like 02:00:00:00:00:01");
  }
};

/// "10.1.0.0/16,via=10.0.3.9,metric=100".
template <>
struct Codec<Route> {
  static std::string print(const Route& route) {
    std::string text = to_string(route.to);
    if (route.via) text += ",via=" + to_string(*route.via);
    if (route.metric) text += formatted(",metric={}", *route.metric);
    return text;
  }
  static std::string parse(std::string_view word, Route& out) {
    std::size_t comma = word.find(',');
    if (std::string wrong = Codec<IpPrefix>::parse(word.substr(0, comma), out.to); !wrong.empty())
      return wrong;
    while (comma != std::string_view::npos) {
      word.remove_prefix(comma + 1);
      comma = word.find(',');
      const std::string_view part = word.substr(0, comma);
      std::string wrong = "expected via=ADDRESS or metric=NUMBER after the network, each once";
      if (part.starts_with("via=") && !out.via)
        wrong = Codec<IpAddress>::parse(part.substr(4), out.via.emplace());
      else if (part.starts_with("metric=") && !out.metric)
        wrong = Codec<std::uint32_t>::parse(part.substr(7), out.metric.emplace());
      if (!wrong.empty()) return wrong;
    }
    return {};
  }
};

/// "127.0.0.1:8080->80/tcp", "[::1]:53->53/udp", "8080->80".
template <>
struct Codec<PublishedPort> {
  static std::string print(const PublishedPort& p) {
    std::string text = p.host_address ? to_string(*p.host_address) : std::string();
    if (p.host_address) text = (p.host_address->is_v6() ? "[" + text + "]" : text) + ":";
    return formatted("{}{}->{}/{}", text, p.host_port, p.port,
                     Codec<PublishedPort::Protocol>::print(p.protocol));
  }
  static std::string parse(std::string_view word, PublishedPort& out) {
    const char* expected = "expected ports like 8080->80, 127.0.0.1:8080->80 or [::1]:53->53/udp";
    const std::size_t arrow = word.find("->");
    if (arrow == std::string_view::npos) return expected;
    std::string_view host = word.substr(0, arrow);
    std::string_view inner = word.substr(arrow + 2);
    if (const std::size_t colon = host.rfind(':'); colon != std::string_view::npos) {
      std::string_view address = host.substr(0, colon);
      const bool v6 = address.starts_with('[') && address.ends_with(']');
      if (v6) address = address.substr(1, address.size() - 2);
      out.host_address = IpAddress::parse(address);
      if (!out.host_address || out.host_address->is_v6() != v6) return expected;
      host.remove_prefix(colon + 1);
    }
    if (const std::size_t slash = inner.find('/'); slash != std::string_view::npos) {
      if (std::string wrong =
              Codec<PublishedPort::Protocol>::parse(inner.substr(slash + 1), out.protocol);
          !wrong.empty())
        return wrong;
      inner = inner.substr(0, slash);
    }
    if (parse_number(host, out.host_port) != std::errc{} ||
        parse_number(inner, out.port) != std::errc{})
      return expected;
    return {};
  }
};

/// A value of RlimitSetting, which has a word for "no limit".
struct RlimitCodec {
  static std::string print(std::uint64_t value) {
    return value == RlimitSetting::unlimited ? "unlimited" : Codec<std::uint64_t>::print(value);
  }
  static std::string parse(std::string_view word, std::uint64_t& out) {
    if (word == "unlimited") {
      out = RlimitSetting::unlimited;
      return {};
    }
    if (parse_number(word, out) == std::errc{}) return {};
    return formatted("expected unlimited or a whole number below {}", RlimitSetting::unlimited);
  }
};

}  // namespace spec_text
}  // namespace v0
}  // namespace condroid
