#include "sys/systemd.hpp"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>

#include "formatted.hpp"
#include "sys/dbus.hpp"

namespace condroid::inline v0::detail {

namespace {

constexpr const char* systemd = "org.freedesktop.systemd1";
constexpr const char* manager_path = "/org/freedesktop/systemd1";
constexpr const char* manager = "org.freedesktop.systemd1.Manager";
constexpr const char* bus = "org.freedesktop.DBus";

DbusCall of_bus(const char* member, const char* argument) {
  return {.destination = bus,
          .path = "/org/freedesktop/DBus",
          .interface = bus,
          .member = member,
          .signature = "s",
          .body = DbusWriter().string(argument).bytes()};
}

DbusCall of_manager(const char* member) {
  return {.destination = systemd, .path = manager_path, .interface = manager, .member = member};
}

DbusCall start_transient_unit(const ScopeRequest& request) {
  DbusWriter w;
  w.string(request.unit).string("fail");
  const std::size_t properties = w.begin_array(8);
  const auto property = [&w](const char* name, const char* type) -> DbusWriter& {
    return w.align(8).string(name).signature(type);
  };
  property("Description", "s").string(formatted("containers of process {}", ::getpid()));
  property("Delegate", "b").boolean(true);
  // It goes when its last process has ended, however that was.
  property("CollectMode", "s").string("inactive-or-failed");
  // Not DefaultTasksMax=, which would be a limit on all containers together that nobody asked for.
  property("TasksMax", "t").u64(~std::uint64_t{0});
  if (!request.slice.empty()) property("Slice", "s").string(request.slice);
  property("PIDs", "au");
  const std::size_t pids = w.begin_array(4);
  w.u32(static_cast<std::uint32_t>(request.process));
  w.end_array(pids, 4);
  w.end_array(properties, 8);
  w.end_array(w.begin_array(8), 8);  // no further units
  DbusCall call = of_manager("StartTransientUnit");
  call.signature = "ssa(sv)a(sa(sv))";
  call.body = w.bytes();
  return call;
}

/// What systemd says of our unit and its job while we wait.
struct Heard {
  std::string unit;
  std::string job = {};  // of ours that ended, and how
  std::string result = {};
  bool removed = false;
  bool on_the_bus = false;

  void operator()(const DbusMessage& m) {
    if (m.interface == bus && m.member == "NameOwnerChanged") on_the_bus = true;
    if (m.interface != manager) return;
    DbusReader body(m.body);
    if (m.member == "JobRemoved" && m.signature == "uoss") {
      (void)body.u32();
      const std::string path = body.string(), of = body.string(), how = body.string();
      if (body.ok() && of == unit) job = path, result = how;
    } else if (m.member == "UnitRemoved" && m.signature == "so") {
      removed = removed || body.string() == unit;
    }
  }
};

/// The number of a process means something else to a systemd of another pid namespace, whose bus
/// was passed into ours.
Result<void> same_pids(DbusConnection& connection) {
  auto pid =
      connection.call(of_bus("GetConnectionUnixProcessID", connection.unique_name().c_str()));
  if (!pid) return fail(pid);
  if (DbusReader(pid->body).u32() == static_cast<std::uint32_t>(::getpid())) return {};
  return fail(Errc::unsupported, Step::start_scope,
              formatted("{} knows this process by another number", connection.name()),
              "it is of another pid namespace: run a systemd in this one");
}

Result<void> listen(DbusConnection& connection, const std::string& rule) {
  if (auto ok = connection.call(of_bus("AddMatch", rule.c_str())); !ok) return fail(ok);
  return {};
}

/// Whether this systemd runs, be it on the bus or not.
bool is_there(bool of_user) {
  const char* dir = of_user ? ::secure_getenv("XDG_RUNTIME_DIR") : "/run";
  const std::string usual = formatted("/run/user/{}", ::geteuid());
  return ::access(formatted("{}/systemd/private", dir != nullptr ? dir : usual).c_str(), F_OK) == 0;
}

/// Has systemd tell us of jobs and units.
Result<void> subscribe(DbusConnection& connection, const ScopeRequest& request,
                       const Heard& heard) {
  for (const char* member : {"JobRemoved", "UnitRemoved"})
    if (auto ok = listen(connection,
                         formatted("type='signal',sender='{}',path='{}',interface='{}',member='{}'",
                                   systemd, manager_path, manager, member));
        !ok)
      return fail(ok);
  if (auto ok = listen(connection, formatted("type='signal',sender='{}',interface='{}',"
                                             "member='NameOwnerChanged',arg0='{}'",
                                             bus, bus, systemd));
      !ok)
    return fail(ok);
  auto ok = connection.call(of_manager("Subscribe"));
  // A user's bus may have been started by this very connection; systemd comes to it then.
  if (!ok && connection.nobody_there() && is_there(request.of_user)) {
    if (auto came = connection.wait("systemd's coming", [&] { return heard.on_the_bus; }); !came)
      return fail(came);
    ok = connection.call(of_manager("Subscribe"));
  }
  if (!ok) return fail(ok);
  return {};
}

}  // namespace

Result<void> start_scope(const ScopeRequest& request, bool& asked) {
  asked = false;
  auto connection = DbusConnection::open(bus_address(request.of_user),
                                         request.of_user ? "the user bus" : "the system bus",
                                         std::chrono::steady_clock::now() + request.patience);
  if (!connection) return fail(connection);
  Heard heard{.unit = request.unit};
  connection->heard = std::ref(heard);
  if (auto ok = same_pids(*connection); !ok) return fail(ok);
  if (auto ok = subscribe(*connection, request, heard); !ok) return fail(ok);
  for (;;) {
    heard.removed = false;
    asked = true;
    auto job = connection->call(start_transient_unit(request));
    if (!job) {
      if (connection->last_error() != "org.freedesktop.systemd1.UnitExists") {
        // It has answered, and not done it.
        asked = connection->last_error().empty();
        return fail(job);
      }
      if (auto ok = connection->wait("the end of the scope before", [&] { return heard.removed; });
          !ok)
        return fail(ok);
      continue;
    }
    const std::string path = DbusReader(job->body).string();
    if (auto ok = connection->wait("starting the scope", [&] { return heard.job == path; }); !ok)
      return fail(ok);
    if (heard.result == "done") return {};
    return fail(Errc::unsupported, Step::start_scope,
                formatted("'{}' at {}: its job ended as '{}'", request.unit, connection->name(),
                          heard.result),
                "see journalctl");
  }
}

}  // namespace condroid::inline v0::detail
