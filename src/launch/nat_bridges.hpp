// Bridges of condroid's own: who takes part, which addresses are given, and what of the host leads
// to them. Private.
//
// A file in the state directory stands for a bridge in one network namespace. What is held there is
// locked, byte by byte, by one open file that host and zygote share (fcntl(2), F_OFD_SETLK): it is
// free again when both are gone, however they went.
//
// It says which number the bridge has, in four bytes, and what it is; a newline once it is whole.
//
//   byte 0            shared by everybody who takes part; the last one removes the bridge
//   byte 1            by who makes it, or finds it made
//   byte 1024 + n     the address of number n
//
// Tables of nftables belong to a socket that both share, and go with it.
#pragma once

#include <sys/types.h>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "condroid/error.hpp"
#include "condroid/spec/address.hpp"
#include "condroid/spec/network.hpp"
#include "condroid/sys/fd.hpp"
#include "launch/conntrack.hpp"

namespace condroid::inline v0::detail {

class Zygote;

/// One bridge, as all containers of one zygote take part in it. Thread-safe.
class NatBridgeUse : public std::enable_shared_from_this<NatBridgeUse> {
 public:
  /// Addresses that nobody else has until it goes.
  class Lease {
   public:
    Lease(std::shared_ptr<NatBridgeUse> of, std::vector<std::uint64_t> numbers);
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
    /// The zygote keeps them from now on, until its end.
    void leave() noexcept;

   private:
    std::shared_ptr<NatBridgeUse> of_;
    std::vector<std::uint64_t> numbers_;
  };
  /// Ports of the host that lead somewhere until it goes.
  class Published {
   public:
    Published(std::shared_ptr<NatBridgeUse> of, std::string table, std::vector<Fd> held,
              std::vector<DatagramFlows> flows);
    Published(const Published&) = delete;
    Published& operator=(const Published&) = delete;
    ~Published();
    void leave() noexcept { table_.clear(); }

   private:
    std::shared_ptr<NatBridgeUse> of_;
    std::string table_;
    std::vector<Fd> held_;              ///< Sockets at the ports, so that nobody else takes them.
    std::vector<DatagramFlows> flows_;  ///< That were led to the container.
  };

  NatBridgeUse(const NatBridgeUse&) = delete;
  NatBridgeUse& operator=(const NatBridgeUse&) = delete;
  ~NatBridgeUse();

  /// Takes addresses for an interface and fills them, and the bridge as gateway, in.
  [[nodiscard]] Result<std::unique_ptr<Lease>> lease(Interface& interface);
  [[nodiscard]] Result<std::unique_ptr<Published>> publish(const std::vector<PublishedPort>& ports,
                                                           const std::vector<IpPrefix>& addresses);
  /// The number of the bridge that it takes part in.
  [[nodiscard]] std::uint32_t index() const noexcept { return index_; }

 private:
  friend class NatBridges;
  NatBridgeUse(NatBridge bridge, Zygote& zygote, std::size_t number);

  /// False: others are at it, for milliseconds; to be called again.
  [[nodiscard]] Result<bool> take_part(std::optional<std::chrono::steady_clock::time_point>& until);
  [[nodiscard]] Result<bool> open_file(std::chrono::steady_clock::time_point until);
  /// What it is called, by whomever; empty: somebody else has removed it. Who cannot be told takes
  /// it to be as it was.
  [[nodiscard]] std::string name_now() const;
  [[nodiscard]] Result<void> ensure_bridge();
  [[nodiscard]] Result<void> set_up_host();
  [[nodiscard]] Result<void> create_table();
  /// From now on the host passes nothing on between those at the bridge.
  [[nodiscard]] Result<void> keep_apart();
  void forget(const std::vector<DatagramFlows>& flows);
  [[nodiscard]] int tell_zygote() const;
  [[nodiscard]] bool is_taken(std::uint64_t& number) const;
  [[nodiscard]] int lock_number(std::uint64_t number, bool wanted) const;
  /// What the zygote does at its end; for when it is dead, or another use of the same name begins.
  void depart();
  [[nodiscard]] tl::unexpected<Error> wrong(int error, const std::string& what,
                                            const std::string& kernel = {}) const;

  pid_t owner_;
  NatBridge bridge_;
  Zygote& zygote_;
  std::size_t number_;  ///< Of the zygote's bridges.
  std::uint64_t namespace_ = 0;
  std::string file_name_;
  std::string table_;
  Fd state_dir_;
  Fd shared_;  ///< The locks; the zygote has it, too.
  Fd look_;    ///< The same file, to see the locks of the other.
  Fd route_;
  Fd nft_;
  Fd flows_;                ///< For what is remembered of datagrams.
  std::mutex flows_mutex_;  ///< Of that socket alone: it may take a while.
  std::uint32_t index_ = 0;
  MacAddress mark_;  ///< The bridge's Ethernet address.
  bool ready_ = false;
  std::mutex mutex_;
  bool left_ = false;   ///< Some of it is a detached container's.
  bool apart_ = false;  ///< The table says so.
  bool departed_ = false;
  std::uint64_t next_ = 0;
  std::uint64_t last_table_ = 0;
  std::set<std::string> published_;  ///< Tables that are there.
};

/// Those that one zygote takes part in, by name and network namespace. Thread-safe.
class NatBridges {
 public:
  /// Of the calling thread's network namespace; made at the first call. Nothing: others are at it,
  /// to be called again with the same `until`, which is when that ends.
  [[nodiscard]] Result<std::shared_ptr<NatBridgeUse>> get(
      const NatBridge& bridge, Zygote& zygote,
      std::optional<std::chrono::steady_clock::time_point>& until);
  /// The zygote is dead.
  void depart();

 private:
  std::mutex mutex_;
  [[nodiscard]] std::optional<std::size_t> free_place();
  /// No container has anything of it, or will.
  [[nodiscard]] static bool is_idle(const std::shared_ptr<NatBridgeUse>& use);

  std::vector<std::shared_ptr<NatBridgeUse>> all_;  ///< By the zygote's number.
};

/// Removes what is left in this thread's network namespace of one that nobody takes part in any
/// more, since all who did were killed together with their zygotes.
void sweep_bridge(int dir, const std::string& file_name);

/// What a container has of them: given back in this order when it has ended.
struct BridgeShare {
  std::vector<std::unique_ptr<NatBridgeUse::Published>> published;
  std::vector<std::unique_ptr<NatBridgeUse::Lease>> leases;
  std::vector<Interface> interfaces;                ///< With the addresses that were leased.
  std::vector<std::shared_ptr<NatBridgeUse>> uses;  ///< Of the interfaces.

  /// With what was leased; nothing for an interface that is no matter of ours.
  [[nodiscard]] const Interface* find(const std::string& name) const;
  /// The number of the bridge whose address it was given.
  [[nodiscard]] std::uint32_t bridge_of(const std::string& name) const;
  void give_back();
  /// It lives on without us.
  void leave();
};

}  // namespace condroid::inline v0::detail
