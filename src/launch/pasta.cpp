#include "launch/pasta.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include "formatted.hpp"
#include "launch/engine.hpp"
#include "launch/helper.hpp"
#include "launch/interfaces.hpp"
#include "launch/ports.hpp"

namespace condroid::inline v0::detail {

namespace {

const IpPrefix* first_of(const Interface& i, bool v6) {
  const auto found = std::ranges::find_if(
      i.addresses, [v6](const IpPrefix& p) { return p.address.is_v6() == v6; });
  return found == i.addresses.end() ? nullptr : &*found;
}

}  // namespace

std::vector<std::string> pasta_command(const op::StartPasta& o) {
  const Interface& i = o.interface;
  const auto& pasta = std::get<Pasta>(i.link);
  // In the foreground it is the zygote's child, and ends when that says so.
  std::vector<std::string> argv = {o.program, "--foreground",    "--stderr",    "--quiet",
                                   "--pid",   "/proc/self/fd/2", "--ns-ifname", i.name};
  const auto add = [&](std::string option, std::string value) {
    argv.push_back(std::move(option));
    argv.push_back(std::move(value));
  };
  if (i.addresses.empty()) {
    argv.emplace_back("--config-net");
    if (i.mtu) add("--mtu", formatted("{}", *i.mtu));
  } else {
    for (const bool v6 : {false, true}) {
      const IpPrefix* const p = first_of(i, v6);
      if (p == nullptr) {
        argv.emplace_back(v6 ? "--ipv4-only" : "--ipv6-only");
        continue;
      }
      add("--address", to_string(p->address));
      if (!v6) add("--netmask", formatted("{}", p->length));
    }
    for (const IpAddress& g : i.gateways) add("--gateway", to_string(g));
  }
  if (i.mac) add("--ns-mac-addr", to_string(*i.mac));
  if (!pasta.parent.empty()) add("--interface", pasta.parent);
  if (!pasta.reach_host) argv.emplace_back("--no-map-gw");
  // What is the container's and what is the host's is published by nothing else.
  for (const char* option : {"--tcp-ns", "--udp-ns"}) add(option, "none");
  for (const auto protocol : {PublishedPort::tcp, PublishedPort::udp}) {
    const std::string option = protocol == PublishedPort::tcp ? "--tcp-ports" : "--udp-ports";
    bool any = false;
    for (const PublishedPort& p : o.publish) {
      if (p.protocol != protocol) continue;
      add(option,
          formatted("{}{}:{}", p.host_address ? to_string(*p.host_address) + "/" : std::string{},
                    p.host_port, p.port));
      any = true;
    }
    if (!any) add(option, "none");
  }
  if (o.own_users) {
    add("--userns", "/proc/self/fd/1");
  } else {
    argv.emplace_back("--netns-only");
    add("--runas", "0");
  }
  add("--netns", "/proc/self/fd/0");
  return argv;
}

PastaWords pasta_words(std::string_view said) {
  PastaWords words;
  while (!said.empty()) {
    const std::size_t end = said.find('\n');
    const bool whole = end != said.npos;
    const std::string_view line = said.substr(0, end);
    said.remove_prefix(whole ? end + 1 : said.size());
    if (line.empty()) continue;
    if (std::ranges::all_of(line, [](char c) { return c >= '0' && c <= '9'; })) {
      words.ready = words.ready || whole;
      continue;
    }
    // Where no system log is, it says so of each line.
    if (line.starts_with("Failed to send ") && line.ends_with("syslog")) continue;
    if (!words.complaint.empty()) words.complaint += "; ";
    words.complaint += one_line(line);
  }
  return words;
}

std::string last_words(std::string_view said) {
  constexpr std::size_t most = 512;
  std::string all = pasta_words(said).complaint;
  if (all.size() > most) all = "..." + all.substr(all.size() - most);
  return all;
}

Result<bool> LaunchEngine::do_op(const op::StartPasta& o) {
  if (auto known = know_child(Step::start_pasta); !known || !*known)
    return known ? state_ != State::configuring : known;
  const std::string what = formatted("'{}'", o.interface.name);
  if (!helper_) {
    // What it says of a port that it cannot have is little, and in some versions nothing.
    for (const PublishedPort& p : o.publish)
      if (const int e = try_port(p); e != 0) return no_port(p, e);
    int error = 0;
    const Fd network = network_of(pidfd_, pid_, error);
    if (error != 0) return fail(error, Step::start_pasta, what + ": the child's network namespace");
    int users = network.get();
    if (o.own_users) {
      auto ns = user_namespace();
      if (!ns) return fail(ns);
      users = *ns;
    }
    auto helper = Helper::serve(zygote_, pasta_command(o), {network.get(), users}, live_);
    if (!helper) return fail(helper);
    helper_ = std::move(*helper);
    helper_said_.clear();
  }
  bool end = false;
  helper_said_ += helper_->heard(end);
  PastaWords words = pasta_words(helper_said_);
  if (words.ready && !end) {
    made_.companion = std::shared_ptr<Helper>(std::move(helper_));
    return true;
  }
  auto done = helper_->step();
  if (!done) return fail(done);
  if (!*done) return false;
  const Helper::Outcome out = std::move(**done);
  helper_said_ += helper_->heard(end);
  words = pasta_words(helper_said_);
  helper_.reset();
  if (out.failed) return fail(out.error, Step::run_helper, formatted("'{}'", o.program));
  const std::string how = out.code == CLD_EXITED ? formatted("it exited with status {}", out.status)
                                                 : formatted("signal {}", out.status);
  return fail(make_error(Errc::unsupported, Step::start_pasta,
                         formatted("{}: '{}' failed: {}", what, o.program,
                                   words.complaint.empty() ? how : words.complaint),
                         "that is its own word; it needs a default route, /dev/net/tun for its "
                         "user, and ports that are free"));
}

}  // namespace condroid::inline v0::detail
