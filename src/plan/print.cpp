// A plan as a table, and looking an op up by name.

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

#include "condroid/plan.hpp"
#include "formatted.hpp"

namespace condroid::inline v0 {

namespace {

constexpr std::string_view actor_name(op::Actor actor) {
  switch (actor) {
    case op::Actor::host:
      return "host";
    case op::Actor::zygote:
      return "zygote";
    case op::Actor::child:
      return "child";
  }
  return "";
}

}  // namespace

std::string to_string(const Plan& plan) {
  std::size_t step_width = 0;
  for (const Op& o : plan.ops) step_width = std::max(step_width, to_string(step_of(o)).size());
  const std::size_t digits = fmt::formatted_size("{}", plan.ops.empty() ? 0 : plan.ops.size() - 1);
  std::string out;
  for (std::size_t i = 0; i < plan.ops.size(); ++i) {
    const Op& o = plan.ops[i];
    std::string object = describe(o);
    if (const std::string undo = describe_undo(o); !undo.empty()) object += "; undone by " + undo;
    out += formatted("{:>{}}  {:<6}  {:<{}}  {}\n", i, digits, actor_name(actor_of(o)),
                     to_string(step_of(o)), step_width, object);
  }
  for (const std::string& note : plan.notes) out += formatted("note: {}\n", note);
  return out;
}

Result<std::size_t> Plan::find(std::string_view what) const {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(what.data(), what.data() + what.size(), number);
  if (error == std::errc{} && end == what.data() + what.size() && number < ops.size())
    return number;
  const auto same = [](char a, char b) { return (a == '_' ? ' ' : a) == (b == '_' ? ' ' : b); };
  for (std::size_t i = 0; i < ops.size(); ++i)
    if (std::ranges::equal(to_string(step_of(ops[i])), what, same)) return i;
  std::string known;
  for (const Op& o : ops) {
    const std::string step(to_string(step_of(o)));
    if (known.find(step) != std::string::npos) continue;
    if (!known.empty()) known += ", ";
    known += step;
  }
  return fail(Errc::bad_text, Step::compile,
              formatted("no step '{}' in the plan of '{}'", what, name),
              formatted("a number below {}, or one of: {}", ops.size(), known));
}

}  // namespace condroid::inline v0
