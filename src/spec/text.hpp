// The text form of a Spec.
//
//   name = worker
//   root.path = /srv/alpine
//   process.argv = sh -c "echo \"hi\""
//   process.stdio.out = fd:7
//   namespaces = mount pid uts
//   idmap.uids = 0:100000:65536
//   mounts = bind source=/etc/resolv.conf target=/etc/resolv.conf flags=read_only,nosuid recursive
//   mounts = overlay lower=/a lower=/b target=/data      # topmost first
//   resources.memory_max = 512MiB
//
// Keys are the members of the structs, joined by dots, so that the headers are the reference.
// Values are words (words.hpp), written as values.hpp says. What is not given is as in a default
// Spec, and only what differs is printed.
//
// A list is words on a line, and a line of the same key again adds to it; the first one replaces
// the default, and a key with nothing after '=' empties it. One item a line would make a command
// unreadable, all items on one line would make an environment unreadable and its diffs useless;
// with this rule the printer may choose: values that belong together fill lines of up to 100
// columns, the others get a line each. Structs get a line each, with a word per member as
// "key=value", "key" for a truth, and none for a default; a list in a struct repeats its key.
//
// A single value has exactly one word and may be set once: in a long file the second one would win
// or lose silently.
//
// Limits, so that garbage is refused quickly and with bounded memory: 16 MiB, 1 MiB a line, 262144
// words, 100 errors.
#pragma once

#include <type_traits>

namespace condroid {
inline namespace v0 {
namespace spec_text {

/// How a member is written, which is a matter of its type and of the verb it has in fields.hpp.
enum class Form : unsigned char {
  one,      ///< One word.
  truth,    ///< A bool: one word, or in a record none.
  set,      ///< Names: words on a line, joined by commas in a record.
  first,    ///< In a record: a word without a key, in order.
  must,     ///< In a record: one word, never left out.
  words,    ///< A list, filled into lines.
  lines,    ///< A list, an item a line.
  records,  ///< A list of structs.
};

template <class T, class C>
constexpr Form form_of() {
  if constexpr (std::is_same_v<T, bool>) return Form::truth;
  if constexpr (requires { C::is_set; }) return Form::set;
  return Form::one;
}

}  // namespace spec_text
}  // namespace v0
}  // namespace condroid
