// parse_spec: every line to its member, and everything that is wrong at once.

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/spec.hpp"
#include "formatted.hpp"
#include "spec/fields.hpp"
#include "spec/mistakes.hpp"
#include "spec/names.hpp"
#include "spec/suggest.hpp"
#include "spec/text.hpp"
#include "spec/values.hpp"
#include "spec/words.hpp"

namespace condroid {
inline namespace v0 {
namespace spec_text {
namespace {

constexpr std::size_t most_bytes = std::size_t{16} << 20U;
constexpr std::size_t most_bytes_of_a_line = std::size_t{1} << 20U;
constexpr std::size_t most_words = std::size_t{1} << 18U;

/// What is wrong with a text, in the order of its lines.
class Problems {
 public:
  void begin_line(std::size_t number) { line_ = number; }
  [[nodiscard]] std::size_t line() const { return line_; }

  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    all_.add(formatted("line {}", line_), format, std::forward<Args>(args)...);
  }
  [[nodiscard]] bool full() const { return all_.full(); }
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] Error error() && { return std::move(all_).error(); }

 private:
  detail::Mistakes all_;
  std::size_t line_ = 0;
};

using Words = std::span<const std::string>;

/// The first words of a line, for a message.
std::string all_shown(Words words) {
  if (words.empty()) return "(nothing)";
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i == 4) return text + " ...";
    append_formatted(text, "{}{}", i == 0 ? "" : " ", shown(words[i]));
  }
  return text;
}

/// A member that can be set: the type is in the functions.
struct Slot {
  std::string key;
  Form form;
  void* member;
  /// Reads one value, or one record. `where` goes in front of a complaint: "mounts: ".
  void (*read)(void* member, Words words, std::string_view where, Problems& problems);
  void (*clear)(void* list) = nullptr;
  std::size_t line = 0;  ///< Where it was set; 0: nowhere yet.
  bool emptied = false;  ///< By a key with nothing after '='.
};

template <class T>
void read_record(T& record, Words words, std::string_view where, Problems& problems);
void read_record(Mount& mount, Words words, std::string_view where, Problems& problems);
void read_record(Interface& interface, Words words, std::string_view where, Problems& problems);

template <class T, class C>
void read_value(void* member, Words words, std::string_view where, Problems& problems) {
  const std::string wrong = C::parse(words[0], *static_cast<T*>(member));
  if (!wrong.empty()) problems.add("{}{}: {}", where, shown(words[0]), wrong);
}

/// Reads the names of a set, from words that may hold several with commas between them.
template <class T, class C>
void read_set(void* member, Words words, std::string_view where, Problems& problems) {
  T& set = *static_cast<T*>(member);
  set = {};
  if (words.size() == 1 && words[0] == "none") return;
  for (std::string_view names : words) {
    for (bool more = true; more;) {
      const std::size_t comma = names.find(',');
      const std::string_view name = names.substr(0, comma);
      const std::string wrong =
          name == "none" ? "this is the empty set and stands alone" : C::parse(name, set);
      if (!wrong.empty()) problems.add("{}{}: {}", where, shown(name), wrong);
      if (problems.full()) return;
      more = comma != std::string_view::npos;
      names.remove_prefix(more ? comma + 1 : 0);
    }
  }
}

/// The visitor of fields.hpp that knows where to put what is read.
class Binder {
 public:
  std::vector<Slot> slots;

  template <class T, class C = Codec<T>>
  void operator()(std::string_view key, T& member, C /*codec*/ = {}) {
    constexpr Form form = form_of<T, C>();
    if constexpr (form == Form::set) {
      add(key, form, &member, &read_set<T, C>);
    } else {
      add(key, form, &member, &read_value<T, C>);
    }
  }
  template <class T>
  void operator()(std::string_view key, std::optional<T>& member) {
    add(key, form_of<T, Codec<T>>(), &member,
        [](void* m, Words words, std::string_view where, Problems& problems) {
          T& value = static_cast<std::optional<T>*>(m)->emplace();
          if constexpr (form_of<T, Codec<T>>() == Form::set)
            read_set<T, Codec<T>>(&value, words, where, problems);
          else
            read_value<T, Codec<T>>(&value, words, where, problems);
        });
  }
  template <class T>
  void group(std::string_view key, T& part) {
    const std::size_t outer = prefix_.size();
    prefix_.append(key).append(".");
    fields(*this, part);
    prefix_.resize(outer);
  }
  template <class T>
  void part(T& part) {
    fields(*this, part);
  }
  template <class T>
  void words(std::string_view key, std::vector<T>& list) {
    add_list(key, Form::words, list,
             [](void* m, Words words, std::string_view where, Problems& problems) {
               read_value<T, Codec<T>>(&static_cast<std::vector<T>*>(m)->emplace_back(), words,
                                       where, problems);
             });
  }
  template <class T>
  void lines(std::string_view key, std::vector<T>& list) {
    words(key, list);
  }
  template <class T>
  void records(std::string_view key, std::vector<T>& list) {
    add_list(key, Form::records, list,
             [](void* m, Words words, std::string_view where, Problems& problems) {
               read_record(static_cast<std::vector<T>*>(m)->emplace_back(), words, where, problems);
             });
  }
  template <class T>
  void first(std::string_view key, T& member) {
    add(key, Form::first, &member, &read_value<T, Codec<T>>);
  }
  template <class T, class C = Codec<T>>
  void must(std::string_view key, T& member, C /*codec*/ = {}) {
    add(key, Form::must, &member, &read_value<T, C>);
  }

 private:
  using Read = decltype(Slot::read);

  void add(std::string_view key, Form form, void* member, Read read) {
    slots.push_back({prefix_ + std::string(key), form, member, read});
  }
  template <class T>
  void add_list(std::string_view key, Form form, std::vector<T>& list, Read read) {
    add(key, form, &list, read);
    slots.back().clear = [](void* m) { static_cast<std::vector<T>*>(m)->clear(); };
  }

  std::string prefix_;
};

/// Reads a word "key=value" or "key" of a record.
void read_member(std::vector<Slot>& slots, const std::string& word, std::string_view where,
                 Problems& problems) {
  const std::size_t equals = word.find('=');
  const std::string_view key = std::string_view(word).substr(0, equals);
  const auto slot = std::ranges::find_if(
      slots, [&](const Slot& s) { return s.form != Form::first && s.key == key; });
  if (slot == slots.end()) {
    std::vector<std::string_view> known;
    for (const Slot& s : slots) {
      if (s.form != Form::first) known.push_back(s.key);
    }
    if (known.empty()) return problems.add("{}{}: nothing may follow here", where, shown(word));
    return problems.add("{}{}: {}", where, shown(key), unknown_word("key", key, known));
  }
  if (slot->line != 0 && slot->form != Form::words) {
    return problems.add("{}{}: {} is given twice", where, shown(word), key);
  }
  if (slot->line == 0 && slot->clear != nullptr) slot->clear(slot->member);
  slot->line = problems.line();
  std::string value = "true";
  if (equals != std::string::npos) {
    value = word.substr(equals + 1);
  } else if (slot->form != Form::truth) {
    return problems.add("{}{}: expected {}=VALUE", where, key, key);
  }
  slot->read(slot->member, {&value, 1}, formatted("{}{}=", where, key), problems);
}

template <class T>
void read_record(T& record, Words words, std::string_view where, Problems& problems) {
  Binder binder;
  fields(binder, record);
  for (Slot& slot : binder.slots) {
    if (slot.form != Form::first) continue;
    if (words.empty()) return problems.add("{}{} is missing", where, slot.key);
    slot.read(slot.member, words.first(1), where, problems);
    words = words.subspan(1);
  }
  for (const std::string& word : words) {
    if (problems.full()) return;
    read_member(binder.slots, word, where, problems);
  }
  for (const Slot& slot : binder.slots) {
    if (slot.form == Form::must && slot.line == 0) {
      problems.add("{}{}= is missing", where, slot.key);
    }
  }
}

/// Makes `mount` the kind that its first word says, and reads the rest.
template <std::size_t... I>
void read_mount(Mount& mount, Words words, std::string_view where, Problems& problems,
                std::index_sequence<I...> /*kinds*/) {
  const auto read_if = [&]<class M>(std::type_identity<M> /*kind*/) {
    if (words[0] != mount_kind<M>) return false;
    read_record(mount.emplace<M>(), words.subspan(1), formatted("{}{}: ", where, words[0]),
                problems);
    return true;
  };
  if ((read_if(std::type_identity<std::variant_alternative_t<I, Mount>>{}) || ...)) return;
  problems.add("{}{}: {}", where, shown(words[0]),
               unknown_word("kind of mount", words[0],
                            {mount_kind<std::variant_alternative_t<I, Mount>>...}));
}

void read_record(Mount& mount, Words words, std::string_view where, Problems& problems) {
  read_mount(mount, words, where, problems, std::make_index_sequence<std::variant_size_v<Mount>>{});
}

/// Makes the link of `interface` the kind that its first word says, and reads the rest.
template <std::size_t... I>
void read_interface(Interface& interface, Words words, std::string_view where, Problems& problems,
                    std::index_sequence<I...> /*kinds*/) {
  const auto read_if = [&]<class L>(std::type_identity<L> /*kind*/) {
    if (words[0] != link_kind<L>) return false;
    interface.link.emplace<L>();
    read_record<Interface>(interface, words.subspan(1), formatted("{}{}: ", where, words[0]),
                           problems);
    return true;
  };
  if ((read_if(std::type_identity<std::variant_alternative_t<I, Interface::Link>>{}) || ...))
    return;
  problems.add("{}{}: {}", where, shown(words[0]),
               unknown_word("kind of interface", words[0],
                            {link_kind<std::variant_alternative_t<I, Interface::Link>>...}));
}

void read_record(Interface& interface, Words words, std::string_view where, Problems& problems) {
  read_interface(interface, words, where, problems,
                 std::make_index_sequence<std::variant_size_v<Interface::Link>>{});
}

/// Sets one member of the Spec from the words of one line.
void read_line(Slot& slot, Words words, Problems& problems) {
  const bool list = slot.clear != nullptr;
  if (list) {
    if (slot.line != 0 && (slot.emptied || words.empty())) {
      return problems.add("{} = {}: cannot be both empty and not; see line {}", slot.key,
                          all_shown(words), slot.line);
    }
    if (slot.line == 0) slot.clear(slot.member);
    slot.emptied = words.empty();
  } else if (slot.line != 0) {
    return problems.add("{} = {}: already set in line {}", slot.key, all_shown(words), slot.line);
  }
  slot.line = problems.line();

  if (slot.form == Form::records) {
    if (!words.empty()) slot.read(slot.member, words, slot.key + ": ", problems);
    return;
  }
  const std::string where = slot.key + " = ";
  if (list) {
    for (std::size_t i = 0; i < words.size() && !problems.full(); ++i) {
      slot.read(slot.member, words.subspan(i, 1), where, problems);
    }
    return;
  }
  if (words.empty()) {
    return problems.add(
        "{}: a value is missing{}", slot.key,
        slot.form == Form::set ? "; none is the empty set" : "; \"\" is empty text");
  }
  if (words.size() > 1 && slot.form != Form::set) {
    return problems.add("{}{}: expected one word; put double quotes around blanks", where,
                        all_shown(words));
  }
  slot.read(slot.member, words, where, problems);
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

/// A text being read into a Spec.
class Parser {
 public:
  explicit Parser(Spec& spec) {
    fields(binder_, spec);
    std::ranges::sort(binder_.slots, {}, &Slot::key);
  }

  void parse_line(std::string_view line, Problems& problems) {
    if (line.size() > most_bytes_of_a_line) return problems.add("longer than 1 MiB");
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = trimmed(line);
    if (line.empty() || line[0] == '#') return;
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      return problems.add("{}: expected key = value", shown(line));
    }
    const std::string_view key = trimmed(line.substr(0, equals));
    const auto slot = std::ranges::lower_bound(binder_.slots, key, {}, &Slot::key);
    if (slot == binder_.slots.end() || slot->key != key) return complain_about(key, problems);
    words_.clear();
    const std::string_view value = trimmed(line.substr(equals + 1));
    const std::string wrong = split_words(value, words_);
    if (!wrong.empty()) return problems.add("{} = {}: {}", key, shown(value), wrong);
    count_ += words_.size();
    if (count_ <= most_words) read_line(*slot, words_, problems);
  }

  [[nodiscard]] bool too_many_words() const { return count_ > most_words; }

 private:
  void complain_about(std::string_view key, Problems& problems) const {
    Suggestion near(key);
    for (const Slot& slot : binder_.slots) near.offer(slot.key);
    if (near.best().empty()) return problems.add("{}: unknown key", shown(key));
    problems.add("{}: unknown key; did you mean {}?", shown(key), near.best());
  }

  Binder binder_;
  std::vector<std::string> words_;
  std::size_t count_ = 0;
};

}  // namespace
}  // namespace spec_text

Result<Spec> parse_spec(std::string_view text) {
  using namespace spec_text;
  if (text.size() > most_bytes) {
    return fail(Errc::bad_text, Step::parse,
                formatted("a spec of {} bytes; at most 16 MiB are read", text.size()));
  }
  Spec spec;
  Parser parser(spec);
  Problems problems;
  for (std::size_t number = 1; !text.empty() && !problems.full(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    problems.begin_line(number);
    parser.parse_line(line, problems);
    if (parser.too_many_words()) {
      problems.add("more than {} words; the rest of the text was not read", most_words);
      break;
    }
  }
  if (!problems.empty()) return fail(std::move(problems).error());
  return spec;
}

}  // namespace v0
}  // namespace condroid
