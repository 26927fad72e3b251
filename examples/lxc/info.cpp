// lxc-info: what there is to know of one container.
#include <fmt/format.h>

#include <charconv>
#include <fstream>

#include "place.hpp"
#include "say.hpp"
#include "tools.hpp"
#include "usage.hpp"

using namespace condroid;

namespace {

constexpr Option options[] = {
    {'c', "config", "KEY", "A key of its configuration, as it runs; may be repeated"},
    {'i', "ips", "", "Its addresses"},
    {'p', "pid", "", "Its first process"},
    {'S', "stats", "", "What it uses"},
    {'H', "no-humanize", "", "Values alone, and numbers as they are"},
    {'s', "state", "", "Its state"},
    {0, "rcfile", "FILE", "Read FILE in the place of the container's configuration"},
};

class Printer {
 public:
  explicit Printer(bool bare) : bare_(bare) {}
  void line(std::string_view name, const std::string& value) const {
    if (bare_)
      fmt::print("{}\n", value);
    else
      fmt::print("{:<15} {}\n", name, value);
  }
  void bytes(std::string_view name, std::uint64_t n) const {
    line(name, bare_ ? std::to_string(n) : human(n));
  }
  [[nodiscard]] bool bare() const { return bare_; }

 private:
  bool bare_;
};

/// The host's ends of its interfaces, whose counters are the host's: sent there is received here.
void print_links(const control::Client& client, const Printer& out) {
  constexpr unsigned most = 128;
  for (unsigned i = 0; i < most; ++i) {
    const auto ask = [&](const char* key) {
      const auto value = client.config_item(fmt::format("lxc.net.{}.{}", i, key));
      return value ? value->value_or("") : std::string();
    };
    const std::string type = ask("type");
    if (type.empty()) return;
    const std::string link = ask(type == "veth" ? "veth.pair" : "link");
    if (link.empty()) continue;
    const auto counter = [&](const char* name) {
      std::uint64_t n = 0;
      std::ifstream(fmt::format("/sys/class/net/{}/statistics/{}", link, name)) >> n;
      return n;
    };
    const std::uint64_t sent = counter("rx_bytes"), received = counter("tx_bytes");
    out.line("Link:", link);
    out.bytes(" TX bytes:", sent);
    out.bytes(" RX bytes:", received);
    out.bytes(" Total bytes:", sent + received);
  }
}

void print_usage(const control::Client& client, const Printer& out) {
  const Usage u = usage_of(client);
  constexpr double ns = 1e9;
  if (u.cpu_ns)
    out.line("CPU use:", out.bare()
                             ? std::to_string(*u.cpu_ns)
                             : fmt::format("{:.2f} seconds", static_cast<double>(*u.cpu_ns) / ns));
  if (u.io_bytes) out.bytes("BlkIO use:", *u.io_bytes);
  if (u.memory) out.bytes("Memory use:", *u.memory);
  if (u.kernel) out.bytes("KMem use:", *u.kernel);
  print_links(client, out);
}

void print_item(const Place& place, bool runs, const std::string& key) {
  std::optional<std::string> value;
  if (runs) {
    const auto answer = place.client().config_item(key);
    if (answer) value = *answer;
  }
  if (!value && place.defined()) {
    const auto config = place.load();
    if (!config) return;
    const auto answer = config->get(key);
    if (!answer) {
      fmt::print(stderr, "{} invalid\n", key);
      return;
    }
    value = *answer;
  }
  // As it is told: each of a list on a line of its own, with an empty one after them.
  if (const std::string text = value.value_or(""); text.empty())
    fmt::print("{} =\n", key);
  else
    fmt::print("{} = {}\n", key, text);
}

int run(const Arguments& args) {
  const auto place = Place::of(args);
  if (!place) return 1;
  const auto state = place->state();
  if (!state) return say_error(state.error());
  const bool runs = *state != control::State::stopped;
  if (!runs && !place->defined()) {
    fmt::print(stderr, "{} doesn't exist\n", place->name());
    return 1;
  }
  const Printer out(args.has("no-humanize"));
  const bool all = !args.has("ips") && !args.has("pid") && !args.has("stats") &&
                   !args.has("state") && !args.has("config");
  if (all) out.line("Name:", place->name());
  if (all || args.has("state")) out.line("State:", std::string(to_string(*state)));
  if (runs && (all || args.has("pid") || args.has("ips"))) {
    const auto pid = place->client().init_pid();
    if (pid && (all || args.has("pid"))) out.line("PID:", std::to_string(pid->value));
    if (pid && (all || args.has("ips")))
      for (const Address& a : addresses_of(pid->value)) out.line("IP:", a.address);
  }
  if (runs && (all || args.has("stats"))) print_usage(place->client(), out);
  for (const std::string& key : args.values("config")) print_item(*place, runs, key);
  return 0;
}

}  // namespace

const Tool lxc_info = {
    .name = "lxc-info",
    .synopsis = "-n NAME [-cipsSH]",
    .brief = "Says what there is to know of a container: state, first process, addresses, usage.",
    .options = options,
    .more = "Exit status: 0; 1 when there is no such container.",
    .run = &run,
};
