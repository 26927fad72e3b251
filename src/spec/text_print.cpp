// print_spec: the members that differ from a default Spec, in the order of fields.hpp.

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "condroid/spec.hpp"
#include "formatted.hpp"
#include "spec/fields.hpp"
#include "spec/names.hpp"
#include "spec/text.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid {
inline namespace v0 {
namespace spec_text {
namespace {

/// A struct whose members have been looked at, as words ready to be printed.
struct Member {
  std::string key;
  Form form;
  std::vector<std::string> values;
};

template <class T>
std::string print_record(const T& record);
std::string print_record(const Mount& mount);
std::string print_record(const Interface& interface);

/// The visitor of fields.hpp that prints.
class Printer {
 public:
  std::vector<Member> members;

  template <class T, class C = Codec<T>>
  void operator()(std::string_view key, const T& member, C /*codec*/ = {}) {
    add(key, form_of<T, C>(), {spec_text::quoted(C::print(member))});
  }
  template <class T>
  void operator()(std::string_view key, const std::optional<T>& member) {
    add(key, form_of<T, Codec<T>>(), {});
    if (member) members.back().values.push_back(spec_text::quoted(Codec<T>::print(*member)));
  }
  template <class T>
  void group(std::string_view key, const T& part) {
    const std::size_t outer = prefix_.size();
    prefix_.append(key).append(".");
    fields(*this, part);
    prefix_.resize(outer);
  }
  template <class T>
  void part(const T& part) {
    fields(*this, part);
  }
  template <class T>
  void words(std::string_view key, const std::vector<T>& list) {
    add(key, Form::words, {});
    for (const T& item : list)
      members.back().values.push_back(spec_text::quoted(Codec<T>::print(item)));
  }
  template <class T>
  void lines(std::string_view key, const std::vector<T>& list) {
    words(key, list);
    members.back().form = Form::lines;
  }
  template <class T>
  void records(std::string_view key, const std::vector<T>& list) {
    add(key, Form::records, {});
    for (const T& item : list) members.back().values.push_back(print_record(item));
  }
  template <class T>
  void first(std::string_view key, const T& member) {
    add(key, Form::first, {spec_text::quoted(Codec<T>::print(member))});
  }
  template <class T, class C = Codec<T>>
  void must(std::string_view key, const T& member, C /*codec*/ = {}) {
    add(key, Form::must, {spec_text::quoted(C::print(member))});
  }

 private:
  void add(std::string_view key, Form form, std::vector<std::string> values) {
    members.push_back({prefix_ + std::string(key), form, std::move(values)});
  }

  std::string prefix_;
};

/// Calls each(member) for the members of `object` that differ from those of `usual_object`, a
/// default one. Comparing what is printed instead of the values needs no second list of members,
/// and no two values are printed alike.
template <class T, class Each>
void each_difference(const T& object, const T& usual_object, Each each) {
  Printer given;
  Printer usual;
  fields(given, object);
  fields(usual, usual_object);
  for (std::size_t i = 0; i < given.members.size(); ++i) {
    const Member& member = given.members[i];
    const bool always = member.form == Form::first || member.form == Form::must;
    if (always || member.values != usual.members[i].values) each(member);
  }
}

template <class T>
std::string print_record(const T& record, const T& usual) {
  std::string line;
  const auto append = [&](std::string_view word) {
    if (!line.empty()) line += ' ';
    line += word;
  };
  each_difference(record, usual, [&](const Member& member) {
    if (member.form == Form::first) return append(member.values[0]);
    if (member.form == Form::truth && member.values[0] == "true") return append(member.key);
    for (const std::string& value : member.values) append(formatted("{}={}", member.key, value));
  });
  return line;
}

template <class T>
std::string print_record(const T& record) {
  return print_record(record, T{});
}

std::string print_record(const Mount& mount) {
  return std::visit(
      []<class M>(const M& m) {
        const std::string words = print_record<M>(m);
        return formatted("{}{}{}", mount_kind<M>, words.empty() ? "" : " ", words);
      },
      mount);
}

std::string print_record(const Interface& interface) {
  return std::visit(
      [&]<class L>(const L& /*link*/) {
        return formatted("{} {}", link_kind<L>,
                         print_record<Interface>(interface, Interface{.link = L{}}));
      },
      interface.link);
}

/// Appends `key = value value ...`, in lines of up to 100 columns.
void print_filled(std::string& text, std::string_view key, const std::vector<std::string>& values) {
  constexpr std::size_t columns = 100;
  std::size_t used = columns;  // no line yet
  for (const std::string& value : values) {
    if (used + 1 + value.size() > columns) {
      if (!text.empty() && text.back() != '\n') text += '\n';
      text.append(key).append(" =");
      used = key.size() + 2;
    }
    text.append(" ").append(value);
    used += 1 + value.size();
  }
  text += '\n';
}

void print_member(std::string& text, const Member& member) {
  const auto line = [&](std::string_view value) {
    append_formatted(text, "{} = {}\n", member.key, value);
  };
  if (member.values.empty()) {
    append_formatted(text, "{} =\n", member.key);
  } else if (member.form == Form::words) {
    print_filled(text, member.key, member.values);
  } else if (member.form == Form::set) {
    std::string names = member.values[0];
    std::ranges::replace(names, ',', ' ');
    line(names);
  } else {
    for (const std::string& value : member.values) line(value);
  }
}

}  // namespace
}  // namespace spec_text

std::string print_spec(const Spec& spec) {
  std::string text;
  spec_text::each_difference(spec, Spec{},
                             [&](const spec_text::Member& m) { spec_text::print_member(text, m); });
  return text;
}

}  // namespace v0
}  // namespace condroid
