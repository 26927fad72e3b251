// Checks while compiling that the tables of names.hpp are whole: an enumerator that is added to a
// Spec does not compile until it has a word, and a word that is not the enumerator's own spelling
// is one of two listed exceptions.
#include "spec/names.hpp"

#include <limits>
#include <type_traits>

namespace condroid {
inline namespace v0 {
namespace {

// g++ and clang both write an enumerator by its name here, and any other value of the enum as a
// cast: "(E)7". The standard has nothing for this before reflection.
template <auto V>
constexpr std::string_view spelled() {
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_prefix(text.find("V = ") + 4);
  text = text.substr(0, text.find_first_of(";]"));
  if (text.find('(') != std::string_view::npos) return {};
  const auto colon = text.rfind(':');
  return colon == std::string_view::npos ? text : text.substr(colon + 1);
}
static_assert(spelled<Namespace::pid>() == "pid" && spelled<IdMap::single>() == "single");
static_assert(spelled<static_cast<Namespace>(3)>().empty());

template <class E, std::size_t N>
constexpr E nth() {
  if constexpr (is_flag_enum<E>::value) {
    return static_cast<E>(std::underlying_type_t<E>{1} << N);
  } else {
    return static_cast<E>(N);
  }
}

// The two words that are not the enumerator's spelling: "private" is a keyword of C++, and a
// descriptor is "fd:7".
constexpr std::string_view word_for(std::string_view spelling) {
  if (spelling == "private_") return "private";
  if (spelling == "descriptor") return "fd";
  return spelling;
}

template <class E, std::size_t... N>
constexpr bool whole(std::index_sequence<N...> /*values*/) {
  return ((name_of(nth<E, N>()) == word_for(spelled<nth<E, N>()>())) && ...);
}

// All 32 bits of a set, or the first 64 values of a plain enum: each is either a named enumerator
// or neither.
template <class E>
constexpr bool whole() {
  constexpr auto bits = std::numeric_limits<std::underlying_type_t<E>>::digits;
  return whole<E>(std::make_index_sequence < is_flag_enum<E>::value ? bits : 64 > {});
}

static_assert(whole<Namespace>());
static_assert(whole<IdMap::Kind>());
static_assert(whole<Restart>());
static_assert(whole<HookPoint>());
static_assert(whole<HookValue>());
static_assert(whole<MountFlag>());
static_assert(whole<Propagation>());
static_assert(whole<DeviceNode::Kind>());
static_assert(whole<DeviceAccess>());
static_assert(whole<DeviceFilter>());
static_assert(whole<Stream::Kind>());
static_assert(whole<Rlimit>());
static_assert(whole<SchedPolicy>());
static_assert(whole<Personality>());
static_assert(whole<CgroupMode>());
static_assert(whole<Capability>());
static_assert(whole<Allow>());
static_assert(whole<SyscallArch>());
static_assert(whole<SyscallAction>());
static_assert(whole<Seccomp::Kind>());
static_assert(whole<LandlockAccess>());
static_assert(whole<LandlockTcp>());
static_assert(whole<LandlockScope>());
static_assert(whole<Macvlan::Mode>());
static_assert(whole<Ipvlan::Mode>());
static_assert(whole<Ipvlan::Isolation>());
static_assert(whole<PublishedPort::Protocol>());
static_assert(EnumNames<Capability>::table.size() == capability_count);

}  // namespace
}  // namespace v0
}  // namespace condroid
