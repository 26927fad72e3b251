// The interpreter: everything that runs in a container's process between clone and exec.
// Freestanding, one thread, no allocation, raw system calls. A template over the system calls, so
// that tests run this very code with recording, failing ones.
//
// Rules (docs/child-rules.md): nothing is believed of what is found in the container's root; paths
// there are looked up by openat2 from a descriptor; every result is looked at; a failure leaves
// (op, part, errno) in the result page and the process ends.
#pragma once

#include "program/format.hpp"
#include "program/kernel.hpp"

namespace condroid::program {

using namespace condroid::kernel;

/// What the process knows besides its program.
struct ChildContext {
  int sync = -1;    ///< Its end of the sync socket.
  int zygote = -1;  ///< pidfd of the zygote: readable when it is dead.
  int join = -1;    ///< A pidfd whose namespaces it joins first of all; -1: none.
  uint64_t join_flags = 0;
  int bare_mounts = -1;  ///< An empty mount namespace; -1: the host's is copied.
  int passed[max_passed] = {};
  unsigned passed_count = 0;
  ResultPage* page = nullptr;
  void* arena = nullptr;      ///< The shared mapping, given up by the small init.
  Rlimit64 nofile{};          ///< The caller's limit, which the zygote raised for itself.
  uint32_t program_size = 0;  ///< As the host announced it.
  char* room = nullptr;       ///< Memory for the program; without it some is mapped.
};

template <class System>
class Interpreter {
 public:
  Interpreter(System& system, ChildContext& context) : sys_(system), cx_(context) {
    for (auto& r : regs_) r = -1;
  }

  /// Reads the program from the sync socket and runs it. Comes back only on failure or at
  /// Code::end.
  int run() {
    cx_.page->started = ticks();
    cx_.page->state = ChildState::reading;
    if (const long e = read_program(); e < 0) return failed(no_op, e);
    cx_.page->state = ChildState::running;
    return interpret();
  }

  /// Checks a program once: after this every register, string and count in it is in bounds.
  [[nodiscard]] static bool valid(const Header& h, size_t size) {
    if (size < sizeof(Header) || h.magic != magic || h.total != size || size > max_program)
      return false;
    if (h.count > 65536 || h.blob < sizeof(Header) + uint64_t{h.count} * sizeof(Rec) ||
        h.blob > size || h.blob % 8 != 0 || h.blob_size != size - h.blob || h.passed > max_passed)
      return false;
    if (h.blob_size == 0) return false;
    for (const int16_t r : h.slots)
      if (r < -1 || r >= static_cast<int>(slot_count)) return false;
    const auto* recs = reinterpret_cast<const Rec*>(&h + 1);
    const auto* blob = reinterpret_cast<const char*>(&h) + h.blob;
    for (uint32_t i = 0; i < h.count; ++i) {
      const Rec& x = recs[i];
      if (static_cast<uint16_t>(x.code) == 0 || static_cast<uint16_t>(x.code) >= code_count)
        return false;
      for (const int16_t r : x.r)
        if (r < -1 || r >= static_cast<int>(slot_count)) return false;
      for (const Str& s : x.s)
        if (s.offset >= h.blob_size || s.size >= h.blob_size - s.offset ||
            blob[s.offset + s.size] != 0)
          return false;
      if (!operands_fit(x, blob)) return false;
    }
    return true;
  }

  /// Runs a program that is already in memory; for tests.
  int run_program(Header* program) {
    program_ = program;
    if (!valid(*program, program->total)) return failed(no_op, -e_proto);
    for (unsigned i = 0; i < program->passed && i < cx_.passed_count; ++i)
      if (program->slots[i] >= 0) regs_[program->slots[i]] = cx_.passed[i];
    return interpret();
  }

 private:
  // ---- small things ----
  template <class... A>
  long call(long nr, A... a) {
    return sys_(nr, raw(a)...);
  }
  template <class T>
  static long raw(T v) {
    if constexpr (requires { static_cast<long>(v); })
      return static_cast<long>(v);
    else
      return reinterpret_cast<long>(v);
  }

  static size_t length(const char* s) {
    size_t n = 0;
    while (s[n] != 0) ++n;
    return n;
  }
  char* blob() { return reinterpret_cast<char*>(program_) + program_->blob; }
  char* str(const Rec& x, int i) { return blob() + x.s[i].offset; }
  int reg(const Rec& x, int i) const { return x.r[i] < 0 ? -1 : regs_[x.r[i]]; }
  void set_reg(const Rec& x, int i, long fd) {
    if (x.r[i] >= 0) regs_[x.r[i]] = static_cast<int>(fd);
  }
  long at(Part part, long result) {
    if (result < 0) part_ = part;
    return result;
  }
  void close(long fd) {
    if (fd >= 0) call(__NR_close, fd);
  }

  /// What valid() must know of an instruction's lists: nothing in them may lead outside.
  static bool operands_fit(const Rec& x, const char* blob) {
    const auto* p = blob + x.s[0].offset;
    switch (x.code) {
      case Code::sync:
      case Code::send_slots:
        return x.s[0].size % 2 == 0 && x.s[0].offset % 2 == 0 && x.s[0].size / 2 <= max_passed &&
               registers_fit(reinterpret_cast<const int16_t*>(p), x.s[0].size / 2);
      case Code::place_descriptors: {
        if (x.s[0].size % sizeof(Placement) != 0 || x.s[0].offset % 4 != 0) return false;
        const auto* list = reinterpret_cast<const Placement*>(p);
        const size_t n = x.s[0].size / sizeof(Placement);
        if (n > max_passed) return false;
        for (size_t i = 0; i < n; ++i)
          if (list[i].from < 0 || list[i].from >= static_cast<int>(slot_count) ||
              list[i].number < 0 || (i > 0 && list[i].number <= list[i - 1].number))
            return false;
        return true;
      }
      case Code::set_credentials:
        return x.s[0].size % 4 == 0 && x.s[0].offset % 4 == 0 && x.n[2] < 64 &&
               x.s[1].size == sizeof(CapabilityMasks) && x.s[1].offset % 8 == 0;
      case Code::set_scheduling:
        return x.s[0].offset % 8 == 0 && x.s[0].size % 8 == 0 && x.n[2] < 256;
      case Code::send_ptys:
        return x.n[0] <= max_ptys;
      case Code::load_seccomp:
        return x.s[0].size % 8 == 0 && x.s[0].offset % 8 == 0 && x.s[0].size >= 8 &&
               x.s[0].size / 8 <= max_filter && x.n[2] <= 2;
      case Code::apply_landlock:
        return strings_fit(x.s[0], x.n[3], blob) && x.s[1].offset % 8 == 0 &&
               x.s[1].size / 8 == x.n[3] && x.s[1].size % 8 == 0 && x.s[2].offset % 8 == 0 &&
               x.s[2].size % 8 == 0;
      case Code::configure_interface: {
        if (x.s[0].size >= interface_name_size || x.s[1].offset % 4 != 0 ||
            x.s[2].offset % 4 != 0 || x.s[2].size % 4 != 0 || !apart(x.s[1], x.s[2]))
          return false;
        const auto* places = reinterpret_cast<const uint32_t*>(blob + x.s[2].offset);
        for (uint32_t i = 0; i < x.s[2].size / 4; ++i)
          if (places[i] % 4 != 0 || x.s[1].size < 4 || places[i] > x.s[1].size - 4) return false;
        return true;
      }
      case Code::await_interface:
        return x.s[0].size < interface_name_size && x.s[1].size % address_size == 0 &&
               x.s[2].size == netlink_room && x.s[2].offset % 8 == 0 && apart(x.s[2], x.s[0]) &&
               apart(x.s[2], x.s[1]);
      case Code::exec: {
        // Room for both arrays of pointers with their ends; as many strings as are counted.
        const uint64_t room = (x.n[0] + x.n[1] + 2) * sizeof(char*);
        return x.n[0] >= 1 && x.n[0] < (1U << 20U) && x.n[1] < (1U << 20U) && x.n[2] >= 1 &&
               x.n[2] < 4096 && x.s[3].size >= room && x.s[3].offset % 8 == 0 &&
               apart(x.s[3], x.s[0]) && apart(x.s[3], x.s[1]) && apart(x.s[3], x.s[2]) &&
               strings_fit(x.s[0], x.n[2], blob) && strings_fit(x.s[1], x.n[0], blob) &&
               strings_fit(x.s[2], x.n[1], blob);
      }
      case Code::run_hook: {
        const uint64_t room = (x.n[0] + x.n[1] + 1) * sizeof(char*);
        return x.n[0] >= 2 && x.n[0] < (1U << 20U) && x.n[1] < (1U << 20U) &&
               x.n[2] <= hook_longest && x.n[3] < 4096 && x.s[3].size >= room &&
               x.s[3].offset % 8 == 0 && apart(x.s[3], x.s[0]) && apart(x.s[3], x.s[1]) &&
               apart(x.s[3], x.s[2]) && strings_fit(x.s[0], x.n[0], blob) &&
               strings_fit(x.s[1], x.n[1], blob);
      }
      case Code::mount:
        return strings_fit(x.s[2], x.n[3], blob) && static_cast<int64_t>(x.n[2]) >= -1 &&
               static_cast<int64_t>(x.n[2]) < static_cast<int64_t>(slot_count);
      default:
        return true;
    }
  }
  /// Neither holds a byte of the other, nor its NUL: writing to one leaves the other's ends where
  /// they are.
  static bool apart(const Str& a, const Str& b) {
    return uint64_t{a.offset} + a.size < b.offset || uint64_t{b.offset} + b.size < a.offset;
  }
  static bool registers_fit(const int16_t* list, size_t n) {
    for (size_t i = 0; i < n; ++i)
      if (list[i] < 0 || list[i] >= static_cast<int>(slot_count)) return false;
    return true;
  }
  /// `count` strings, each with its NUL, fill exactly `s`.
  static bool strings_fit(const Str& s, uint64_t count, const char* blob) {
    uint64_t seen = 0;
    for (uint32_t i = 0; i < s.size; ++i)
      if (blob[s.offset + i] == 0) ++seen;
    return seen == count && (s.size == 0 || blob[s.offset + s.size - 1] == 0);
  }

  int failed(uint32_t op, long error) {
    cx_.page->op = op;
    cx_.page->error = static_cast<int32_t>(-error);
    cx_.page->part = part_;
    cx_.page->detail = detail_;
    cx_.page->state = ChildState::failed;
    return 125;
  }

  // ---- program ----
  long map_memory(size_t size, char*& at) {
    // PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS
    const long mapped = call(__NR_mmap, 0L, size, 3, 0x22, -1, 0);
    if (mapped < 0 && mapped > -4096) return mapped;
    at = reinterpret_cast<char*>(mapped);
    return at != nullptr ? 0 : -e_nomem;  // where nothing is mapped unasked
  }
  /// `have` bytes of it are at `first` already.
  long read_program(const char* first = nullptr, size_t have = 0) {
    const uint32_t size = cx_.program_size;
    if (size < sizeof(Header) || size > max_program || have > size) return -e_proto;
    char* bytes = cx_.room;
    if (bytes == nullptr)
      if (const long e = map_memory(size, bytes); e < 0) return e;
    if (bytes != first)
      for (size_t i = 0; i < have; ++i) bytes[i] = first[i];
    while (have < size) {
      const long n = receive_bytes(bytes + have, size - have);
      if (n < 0) return n;
      have += static_cast<size_t>(n);
    }
    program_ = reinterpret_cast<Header*>(bytes);
    if (!valid(*program_, size) || program_->passed != cx_.passed_count) return -e_proto;
    for (unsigned i = 0; i < cx_.passed_count; ++i)
      if (program_->slots[i] >= 0) regs_[program_->slots[i]] = cx_.passed[i];
    return 0;
  }
  long receive_bytes(char* to, size_t size) {
    for (;;) {
      const long n = call(__NR_recvfrom, cx_.sync, to, size, 0, 0, 0);
      if (n == -e_intr) continue;
      if (n == 0) return -e_pipe;  // the host is gone
      return n;
    }
  }

  int interpret() {
    const Rec* recs = reinterpret_cast<const Rec*>(program_ + 1);
    call(__NR_umask, 0);
    for (uint32_t i = 0; i < program_->count; ++i) {
      const Rec& x = recs[i];
      part_ = Part::whole;
      detail_ = 0;
      cx_.page->op = x.index;
      if (cx_.page->stamps < sizeof cx_.page->ticks / sizeof cx_.page->ticks[0]) {
        auto& stamp = cx_.page->ticks[cx_.page->stamps];
        stamp.op = x.index;
        stamp.ticks = ticks();
        ++cx_.page->stamps;
      }
      if (x.index == program_->stop_before)
        if (const long e = pause_here(x.index); e < 0) return failed(x.index, e);
      if (x.code == Code::end) {
        cx_.page->state = ChildState::done;
        return 0;
      }
      if (x.code == Code::park) {
        if (const long e = park(x.index); e < 0) return failed(x.index, e);
        recs = reinterpret_cast<const Rec*>(program_ + 1);
        i = ~uint32_t{0};  // the first of the new program is next
        continue;
      }
      const long e = step(x);
      if (e < 0) return failed(x.index, e);
    }
    return failed(no_op, -e_proto);  // a program that neither executes nor ends
  }

  long pause_here(uint32_t index) {
    cx_.page->state = ChildState::stopped;
    if (const long e = send(SyncKind::stopped, index, nullptr, 0); e < 0) return e;
    if (const long e = expect(SyncKind::resume, nullptr, 0); e < 0) return e;
    cx_.page->state = ChildState::running;
    return 0;
  }

  /// Waits, then goes on with another program. What the registers hold stays.
  long park(uint32_t index) {
    // Whoever takes us waits for us: the memory for it is there, and touched, before.
    char* next = nullptr;
    if (const long e = map_memory(woken_with, next); e < 0) return e;
    for (size_t i = 0; i < woken_with; i += 4096) static_cast<volatile char*>(next)[i] = 0;
    cx_.page->state = ChildState::stopped;
    if (const long e = send(SyncKind::stopped, index, nullptr, 0); e < 0) return e;
    SyncMessage message{};
    unsigned got = 0;
    size_t have = 0;
    if (const long e = receive(message, received_, max_passed, got, next, &have); e < 0) return e;
    if (message.kind != SyncKind::resume) return -e_proto;
    cx_.program_size = message.value;
    cx_.room = message.value <= woken_with ? next : nullptr;
    cx_.passed_count = got;
    for (unsigned i = 0; i < got; ++i) cx_.passed[i] = received_[i];
    if (const long e = read_program(next, have); e < 0) return e;
    cx_.page->state = ChildState::running;
    return still_wanted();
  }

  long step(const Rec& x) {
    switch (x.code) {
      case Code::arm_death_signal:
        return arm_death_signal(static_cast<int>(x.n[0]), x.n[1] != 0);
      case Code::enter_cgroup:
        return write_all(reg(x, 0), "0", 1);
      case Code::unshare:
        return unshare(x.n[0]);
      case Code::join_namespace:
        return call(__NR_setns, reg(x, 0), x.n[0]);
      case Code::set_time_offsets:
        return set_time_offsets(x);
      case Code::sync:
        return barrier(x);
      case Code::become_root:
        return become_root(x);
      case Code::contain_propagation:
        return bare_ ? 0 : call(__NR_mount, 0L, "/", 0L, ms_rec | x.n[0], 0L);
      case Code::mount:
        return mount(x);
      case Code::make_directory:
        return make_directory(reg(x, 0), str(x, 0), static_cast<uint32_t>(x.n[0]));
      case Code::make_link:
        return make_link(x);
      case Code::make_file:
        return make_file(x);
      case Code::make_node:
        return make_node(x);
      case Code::open_pty:
        return open_pty(x);
      case Code::send_ptys:
        return send_ptys(x);
      case Code::mask_path:
        return mask_path(x);
      case Code::protect_path:
        return protect_path(x);
      case Code::set_mount_flags:
        return set_attributes(reg(x, 0), x.n[0], x.n[1], x.n[2] != 0, -1);
      case Code::pivot_root:
        return pivot_root(x);
      case Code::set_hostname:
        return call(__NR_sethostname, str(x, 0), x.s[0].size);
      case Code::set_domainname:
        return call(__NR_setdomainname, str(x, 0), x.s[0].size);
      case Code::raise_loopback:
        return raise_loopback();
      case Code::configure_interface:
        return configure_interface(x);
      case Code::await_interface:
        return await_interface(x);
      case Code::write_setting:
        return write_setting(x);
      case Code::set_rlimit: {
        const Rlimit64 limit{x.n[1], x.n[2]};
        if (x.n[0] == rlimit_nofile) nofile_set_ = true;
        return call(__NR_prlimit64, 0, x.n[0], &limit, 0L);
      }
      case Code::set_scheduling:
        return set_scheduling(x);
      case Code::set_personality:
        return call(__NR_personality, x.n[0]);
      case Code::set_umask:
        umask_ = static_cast<uint32_t>(x.n[0]);
        return 0;
      case Code::join_keyring: {
        const long e = call(__NR_keyctl, keyctl_join_session_keyring, 0L, 0, 0, 0);
        return e == -e_nosys || e > 0 ? 0 : e;  // a kernel without keys has none to hide
      }
      case Code::new_session:
        return new_session(x);
      case Code::place_descriptors:
        return place_descriptors(x);
      case Code::change_directory:
        return change_directory(x);
      case Code::set_credentials:
        return set_credentials(x);
      case Code::no_new_privs:
        return call(__NR_prctl, pr_set_no_new_privs, 1, 0, 0, 0);
      case Code::start_init:
        return start_init();
      case Code::run_hook:
        return run_hook(x);
      case Code::exec:
        return exec(x);
      case Code::set_owner:
        return call(__NR_fchownat, reg(x, 0), str(x, 0), low(x.n[0]), high(x.n[0]),
                    at_symlink_nofollow);
      case Code::send_slots:
        return send_slots(x);
      case Code::enter_root:
        return enter_root(x);
      case Code::open_inside:
        return open_inside(x);
      case Code::remove_entry:
        return remove_entry(x);
      case Code::open_sockets:
        return open_sockets(x);
      case Code::load_seccomp:
        return load_seccomp(x);
      case Code::apply_landlock:
        return apply_landlock(x);
      case Code::set_label:
        return set_label(x);
      case Code::park:
      case Code::end:
        return 0;
    }
    return -e_proto;
  }

  // ---- talking to the host ----
  long send(SyncKind kind, uint32_t value, const int* fds, unsigned count, bool as_many = false) {
    SyncMessage message{kind, value};
    IoVec iov{&message, sizeof message};
    alignas(8) char control[sizeof(CmsgHdr) + sizeof(int) * (max_passed + 2)];
    MsgHdr m{nullptr, 0, &iov, 1, nullptr, 0, 0};
    if (count > 0) {
      auto* c = reinterpret_cast<CmsgHdr*>(control);
      c->size = sizeof(CmsgHdr) + count * sizeof(int);
      c->level = sol_socket;
      c->type = scm_rights;
      int* list = reinterpret_cast<int*>(c + 1);
      for (unsigned i = 0; i < count; ++i) list[i] = fds[i];
      m.control = control;
      m.control_size = (c->size + 7) & ~size_t{7};
    }
    struct {
      MsgHdr header;
      uint32_t sent;
    } many{m, 0};
    for (;;) {
      const long n = as_many ? call(__NR_sendmmsg, cx_.sync, &many, 1, msg_nosignal)
                             : call(__NR_sendmsg, cx_.sync, &m, msg_nosignal);
      if (n == -e_intr) continue;
      return n < 0 ? n : 0;
    }
  }

  /// One message, with at most `room` descriptors; more than that are closed, and an error. With
  /// `more`, up to woken_with bytes behind it, `have` of them.
  long receive(SyncMessage& message, int* fds, unsigned room, unsigned& got, char* more = nullptr,
               size_t* have = nullptr) {
    IoVec iov[2] = {{&message, sizeof message}, {more, woken_with}};
    const size_t parts = more != nullptr ? 2 : 1;
    alignas(8) char control[sizeof(CmsgHdr) + sizeof(int) * (max_passed + 2)];
    long n = 0;
    MsgHdr m{};
    do {
      m = MsgHdr{nullptr, 0, iov, parts, control, sizeof control, 0};
      n = call(__NR_recvmsg, cx_.sync, &m, msg_cmsg_cloexec);
    } while (n == -e_intr);
    if (n < 0) return n;
    if (n == 0) return -e_pipe;
    got = 0;
    if (m.control_size >= sizeof(CmsgHdr)) {
      const auto* c = reinterpret_cast<const CmsgHdr*>(control);
      if (c->level == sol_socket && c->type == scm_rights && c->size >= sizeof(CmsgHdr)) {
        const int* list = reinterpret_cast<const int*>(c + 1);
        got = static_cast<unsigned>((c->size - sizeof(CmsgHdr)) / sizeof(int));
        for (unsigned i = 0; i < got; ++i) {
          if (i < room)
            fds[i] = list[i];
          else
            close(list[i]);
        }
      }
    }
    if (n < static_cast<long>(sizeof message) || got > room ||
        (m.flags & (msg_ctrunc | msg_trunc)) != 0)
      return -e_proto;
    if (have != nullptr) *have = static_cast<size_t>(n) - sizeof message;
    return 0;
  }

  /// Waits for one message; descriptors that come with it go to `fds`. Anything else than `kind` is
  /// the end.
  long expect(SyncKind kind, int* fds, unsigned count) {
    SyncMessage message{};
    unsigned got = 0;
    const long e = receive(message, fds, count, got);
    if (e < 0 && e != -e_proto) return e;
    if (e < 0 || message.kind != kind || got != count)
      return message.kind == SyncKind::error ? -e_canceled : -e_proto;
    return 0;
  }

  long barrier(const Rec& x) {
    const auto* list = reinterpret_cast<const int16_t*>(str(x, 0));
    const unsigned count = x.s[0].size / 2;
    cx_.page->state = ChildState::waiting;
    if (const long e = send(static_cast<SyncKind>(x.n[0]), 0, nullptr, 0); e < 0) return e;
    if (const long e = expect(static_cast<SyncKind>(x.n[1]), received_, count); e < 0) return e;
    for (unsigned i = 0; i < count; ++i) regs_[list[i]] = received_[i];
    cx_.page->state = ChildState::running;
    return 0;
  }

  long send_slots(const Rec& x) {
    const auto* list = reinterpret_cast<const int16_t*>(str(x, 0));
    const unsigned count = x.s[0].size / 2;
    for (unsigned i = 0; i < count; ++i) received_[i] = regs_[list[i]];
    return send(SyncKind::trees, count, received_, count);
  }

  /// The masters, and behind them a copy of the mount of their devpts, if one is wanted.
  long send_ptys(const Rec& x) {
    unsigned count = static_cast<unsigned>(x.n[0]);
    if (count != pty_count_) return -e_proto;
    if (x.r[0] >= 0) {
      const long tree =
          call(__NR_open_tree, reg(x, 0), "",
               open_tree_clone | open_tree_cloexec | static_cast<unsigned>(at_empty_path));
      if (tree < 0) return at(Part::open_source, tree);
      masters_[count++] = static_cast<int>(tree);
    }
    const long e = send(SyncKind::ptys, count, masters_, count);
    for (unsigned i = 0; i < count; ++i) close(masters_[i]);
    pty_count_ = 0;
    return e;
  }

  /// Nobody to live for: the host closed its end, or the zygote is dead.
  long still_wanted() {
    PollFd list[2] = {{cx_.zygote, pollin, 0}, {cx_.sync, static_cast<int16_t>(pollrdhup), 0}};
    const Timespec none{0, 0};
    const long n = call(__NR_ppoll, list, cx_.zygote < 0 ? 1 : 2, &none, 0L, 8);
    if (n < 0) return n == -e_intr ? 0 : n;
    return n == 0 ? 0 : at(Part::host_gone, -e_pipe);
  }

  long arm_death_signal(int signal, bool dumpable) {
    if (const long e = call(__NR_prctl, pr_set_pdeathsig, signal, 0, 0, 0); e < 0)
      return at(Part::death_signal, e);
    death_signal_ = signal;
    if (dumpable)
      if (const long e = call(__NR_prctl, pr_set_dumpable, 1, 0, 0, 0); e < 0) return e;
    return still_wanted();
  }

  long write_all(int fd, const char* text, size_t size) {
    const long n = call(__NR_write, fd, text, size);
    if (n < 0) return at(Part::write, n);
    return static_cast<size_t>(n) == size ? 0 : at(Part::write, -e_inval);
  }

  /// What is copied is the mount namespace that the process is in: an empty one costs a fifth of
  /// the host's.
  long unshare(uint64_t namespaces) {
    if (cx_.bare_mounts >= 0 && (namespaces & clone_newns) != 0)
      bare_ = call(__NR_setns, cx_.bare_mounts, clone_newns) == 0;
    return call(__NR_unshare, namespaces);
  }

  long become_root(const Rec& x) {
    if (x.n[2] != 0)
      if (const long e = set_groups(0, nullptr, x.n[2] == 2); e < 0) return e;
    if (const long e = call(__NR_setresgid, x.n[1], x.n[1], x.n[1]); e < 0) return at(Part::gid, e);
    if (const long e = call(__NR_setresuid, x.n[0], x.n[0], x.n[0]); e < 0) return at(Part::uid, e);
    // The id change cleared the death signal and may have made us traceable.
    if (const long e = call(__NR_prctl, pr_set_dumpable, 0, 0, 0, 0); e < 0) return e;
    if (const long e = call(__NR_prctl, pr_set_pdeathsig, death_signal_, 0, 0, 0); e < 0)
      return at(Part::death_signal, e);
    return still_wanted();
  }

  /// EPERM has one reason left for who has all rights in his namespace: it denies setgroups(2),
  /// user_namespaces(7).
  long set_groups(size_t count, const char* list, bool may_be_denied) {
    const long e = call(__NR_setgroups, count, list);
    return e < 0 && !(may_be_denied && e == -e_perm) ? at(Part::groups, e) : 0;
  }

  long set_time_offsets(const Rec& x) {
    if (const long e = call(__NR_unshare, clone_newtime); e < 0) return e;
    // "self" is us as procfs's pid namespace numbers us.
    if (const long e =
            write_proc(reg(x, 0), "self/timens_offsets", str(x, 0), x.s[0].size, x.n[0] != 0);
        e < 0)
      return e;
    // A magic link, in a procfs that nobody else has seen yet.
    const long ns =
        open_how(reg(x, 0), "self/ns/time_for_children", static_cast<uint64_t>(o_rdonly), 0);
    if (ns < 0) return ns;
    const long e = call(__NR_setns, ns, clone_newtime);
    close(ns);
    return e;
  }

  // ---- looking up paths ----
  /// Opens below `base` and nowhere else; EAGAIN means that something was renamed meanwhile.
  long open_how(int base, const char* path, uint64_t flags, uint64_t resolve) {
    const OpenHow how{flags | static_cast<uint64_t>(o_cloexec), 0, resolve};
    long fd = -e_again;
    for (int i = 0; i < 128 && fd == -e_again; ++i)
      fd = call(__NR_openat2, base, path, &how, sizeof how);
    return fd;
  }
  long resolve(int base, const char* path, bool follow) {
    return open_how(base, path, static_cast<uint64_t>(o_path),
                    resolve_in_root | resolve_no_magiclinks | (follow ? 0 : resolve_no_symlinks));
  }

  /// Makes what is missing of `path`, one name at a time, each in a directory held open; then opens
  /// it.
  long make_path(int base, const char* path, bool directory, uint32_t mode, bool follow) {
    char prefix[4096];
    const size_t size = length(path);
    if (size >= sizeof prefix) return -e_nametoolong;
    long parent = -1;
    size_t i = 0;
    while (i < size && path[i] == '/') ++i;
    size_t start = i;
    for (size_t k = 0; k < i; ++k) prefix[k] = '/';
    long result = -e_noent;
    while (start < size) {
      size_t stop = start;
      while (stop < size && path[stop] != '/') prefix[stop] = path[stop], ++stop;
      prefix[stop] = 0;
      size_t next = stop;
      while (next < size && path[next] == '/') ++next;
      const bool last = next >= size;
      long fd = resolve(base, prefix, follow);
      if (fd == -e_noent) {
        const long dir = parent < 0 ? base : parent;
        char name[256];
        if (stop - start >= sizeof name) {
          fd = -e_nametoolong;
        } else {
          for (size_t k = start; k <= stop; ++k) name[k - start] = prefix[k];
          const long made = last && !directory
                                ? call(__NR_mknodat, dir, name, s_ifreg | (mode & 0666), 0)
                                : call(__NR_mkdirat, dir, name, mode);
          fd = made < 0 && made != -e_exist ? made : resolve(base, prefix, follow);
        }
      }
      if (parent >= 0) close(parent);
      parent = -1;
      if (fd < 0) return fd;
      if (last) return fd;
      parent = fd;
      for (size_t k = stop; k < next; ++k) prefix[k] = '/';
      start = next;
    }
    if (result == -e_noent) result = resolve(base, "/", false);  // the path is the root itself
    return result;
  }

  long type_of(int fd, uint32_t* type, uint32_t* major = nullptr, uint32_t* minor = nullptr) {
    Statx st;
    if (const long e = call(__NR_statx, fd, "", at_empty_path, statx_type, &st); e < 0) return e;
    *type = st.mode & s_ifmt;
    if (major != nullptr) *major = st.rdev_major;
    if (minor != nullptr) *minor = st.rdev_minor;
    return 0;
  }

  /// Whether both are the same file: what a path leads to may have changed since the descriptor was
  /// opened.
  long same_file(int a, int b) {
    Statx x, y;
    if (const long e = call(__NR_statx, a, "", at_empty_path, statx_ino, &x); e < 0) return e;
    if (const long e = call(__NR_statx, b, "", at_empty_path, statx_ino, &y); e < 0) return e;
    return x.ino == y.ino && x.dev_major == y.dev_major && x.dev_minor == y.dev_minor ? 0
                                                                                      : -e_stale;
  }

  /// The target of something of this type: looked up, made when missing and wanted.
  long target(int base, const char* path, int source, bool create, bool follow) {
    long fd = resolve(base, path, follow);
    if (fd != -e_noent || !create) return at(Part::resolve_target, fd);
    uint32_t type = 0;
    if (const long e = type_of(source, &type); e < 0) return at(Part::make_target, e);
    return at(Part::make_target, make_path(base, path, type == s_ifdir, 0755, follow));
  }

  // ---- mounts ----
  long move_to(int mount, int onto) {
    return at(Part::attach, call(__NR_move_mount, mount, "", onto, "",
                                 move_mount_f_empty_path | move_mount_t_empty_path));
  }

  long set_attributes(int fd, uint64_t attr, uint64_t propagation, bool recursive, int userns) {
    MountAttr a{attr, 0, propagation, 0};
    if ((attr & (attr_noatime | attr_strictatime)) != 0) a.attr_clr = attr_atime;
    if (userns >= 0) {
      a.attr_set |= attr_idmap;
      a.userns_fd = static_cast<uint64_t>(userns);
    }
    return at(Part::set_attributes,
              call(__NR_mount_setattr, fd, "", at_empty_path | (recursive ? at_recursive : 0), &a,
                   sizeof a));
  }

  /// A new file system, configured and detached.
  long new_filesystem(const Rec& x) {
    const long fs = call(__NR_fsopen, str(x, 0), fsopen_cloexec);
    if (fs < 0) return at(Part::create_filesystem, fs);
    // overlayfs looks relative paths up when it is given them since Linux 6.5, before that when it
    // is created.
    const int cwd = static_cast<int64_t>(x.n[2]) >= 0 ? regs_[x.n[2]] : -1;
    if (cwd >= 0) cwd_ = -1;
    long e = cwd >= 0 ? at(Part::create_filesystem, call(__NR_fchdir, cwd)) : 0;
    // Without a source mount(8) says "none".
    if (e >= 0)
      e = at(Part::filesystem_option, call(__NR_fsconfig, fs, fsconfig_set_string, "source",
                                           str(x, x.s[3].size > 0 ? 3 : 0), 0));
    char* option = str(x, 2);
    for (uint64_t i = 0; e >= 0 && i < x.n[3]; ++i) {
      const size_t size = length(option);
      char* value = option;
      while (*value != 0 && *value != '=') ++value;
      detail_ = static_cast<uint16_t>(i);
      if (*value == '=') {
        *value = 0;
        e = call(__NR_fsconfig, fs, fsconfig_set_string, option, value + 1, 0);
        *value = '=';
      } else {
        e = call(__NR_fsconfig, fs, fsconfig_set_flag, option, 0L, 0);
      }
      at(Part::filesystem_option, e);
      option += size + 1;
    }
    if (e >= 0)
      e = at(Part::create_filesystem, call(__NR_fsconfig, fs, fsconfig_cmd_create, 0L, 0L, 0));
    long mount = e;
    if (e >= 0)
      mount = at(Part::create_filesystem, call(__NR_fsmount, fs, fsmount_cloexec, x.n[0]));
    if (mount < 0) read_log(fs);
    close(fs);
    return mount;
  }

  /// What the kernel has to say about a file system's parameters, for the host's message.
  void read_log(long fs) {
    const long n = call(__NR_read, fs, cx_.page->text, sizeof cx_.page->text - 1);
    cx_.page->text_size = n > 0 ? static_cast<uint32_t>(n) : 0;
  }

  long mount(const Rec& x) {
    const bool optional = (x.flags & mount_optional) != 0;
    const long e = mount_now(x);
    if (e >= 0 || !optional) return e;
    cx_.page->text_size = 0;  // what the kernel said of it is not why something else fails
    return 0;
  }

  /// What statfs(2) says of a file system; 0: not known here.
  static uint64_t type_magic(const char* name) {
    constexpr struct {
      const char* name;
      uint64_t magic;
    } known[] = {{"proc", proc_magic},
                 {"sysfs", sysfs_magic},
                 {"tmpfs", tmpfs_magic},
                 {"devpts", devpts_magic}};
    for (const auto& k : known) {
      size_t i = 0;
      while (name[i] != 0 && name[i] == k.name[i]) ++i;
      if (name[i] == k.name[i]) return k.magic;
    }
    return 0;
  }
  /// 0, or `other` where it is of another file system than this.
  long is_on(int fd, uint64_t type, long other) {
    uint64_t fs[15] = {};  // struct statfs begins with the type
    if (const long e = call(__NR_fstatfs, fd, fs); e < 0) return e;
    return fs[0] == type ? 0 : other;
  }
  /// Whether something is the topmost directory of a mounted file system of this type.
  long is_top_of(int fd, uint64_t type) {
    Statx st;
    if (const long e = call(__NR_statx, fd, "", at_empty_path, statx_mount, &st); e < 0) return e;
    if (const long e = is_on(fd, type, -e_stale); e < 0) return e;
    return (st.attributes & statx_attr_mount_root) != 0 ? 0 : -e_stale;
  }

  /// A usual file system in one call of mount(2), which costs a third less than the six or more of
  /// the newer interface. What goes wrong here is tried again there, where the kernel says more
  /// about it.
  bool mounted_at_once(const Rec& x) {
    // the same bits as mount(2)'s
    constexpr uint64_t plain = attr_nosuid | attr_nodev | attr_noexec;
    static_assert(attr_nosuid == 2 && attr_nodev == 4 && attr_noexec == 8);
    if ((x.flags & mount_fs) == 0 || (x.flags & mount_at_target) == 0 || (x.n[0] & ~plain) != 0 ||
        x.n[1] != 0 || static_cast<int64_t>(x.n[2]) >= 0 || x.s[2].size > 4000 ||
        (x.r[2] >= 0 && type_magic(str(x, 0)) == 0))
      return false;
    char* options = str(x, 2);
    const uint32_t size = x.s[2].size;
    for (uint32_t i = 0; i < size; ++i)
      if (options[i] == ',') return false;
    const bool near = (x.flags & mount_near) != 0;
    long e = 0;
    if (near) {
      if (cwd_ != reg(x, 0)) e = call(__NR_fchdir, reg(x, 0));
      cwd_ = e < 0 ? -1 : reg(x, 0);
    } else {
      cwd_ = -1;
      const long onto = resolve(reg(x, 0), str(x, 1), (x.flags & mount_follow) != 0);
      if (onto < 0) return false;
      e = call(__NR_fchdir, onto);
      close(onto);
    }
    if (e < 0) return false;
    for (uint32_t i = 0; i + 1 < size; ++i)
      if (options[i] == 0) options[i] = ',';
    e = call(__NR_mount, str(x, x.s[3].size > 0 ? 3 : 0), near ? str(x, 1) : ".", str(x, 0), x.n[0],
             size > 0 ? options : nullptr);
    for (uint32_t i = 0; i + 1 < size; ++i)
      if (options[i] == ',') options[i] = 0;
    return e == 0;
  }

  long mount_now(const Rec& x) {
    if (mounted_at_once(x)) {
      if (x.r[2] < 0) return 0;
      const long top =
          at(Part::resolve_target, resolve(reg(x, 0), str(x, 1), (x.flags & mount_follow) != 0));
      if (top < 0) return top;
      // Whoever may rename there could have put something else in its place.
      if ((x.flags & mount_near) == 0)
        if (const long e = is_top_of(static_cast<int>(top), type_magic(str(x, 0))); e < 0)
          return close(top), at(Part::resolve_target, e);
      set_reg(x, 2, top);
      return 0;
    }
    long fd = -1;
    const bool recursive = (x.flags & mount_recursive) != 0;
    if ((x.flags & mount_fs) != 0) {
      fd = new_filesystem(x);
      if (fd >= 0 && x.n[1] != 0)
        if (const long e = set_attributes(static_cast<int>(fd), 0, x.n[1], false, -1); e < 0)
          return close(fd), e;
    } else {
      const unsigned how = open_tree_clone | open_tree_cloexec |
                           static_cast<unsigned>(at_no_automount) |
                           (recursive ? static_cast<unsigned>(at_recursive) : 0U);
      if ((x.flags & mount_tree) != 0 && (x.flags & mount_inside) != 0) {
        fd = at(Part::open_source, resolve(reg(x, 0), str(x, 0), false));
        if (fd < 0) return fd;
        const long there = fd;
        fd = at(Part::open_source,
                call(__NR_open_tree, there, "", how | static_cast<unsigned>(at_empty_path)));
        close(there);
      } else if ((x.flags & mount_tree) != 0) {
        fd = at(Part::open_source,
                call(__NR_open_tree, static_cast<int64_t>(x.n[2]) >= 0 ? regs_[x.n[2]] : at_fdcwd,
                     str(x, 0), how));
      } else {
        fd = reg(x, 1);
      }
      if (fd < 0 && (x.flags & mount_tree) == 0) return at(Part::open_source, -e_badf);
      if (fd >= 0 && (x.flags & mount_tree) != 0 && reg(x, 1) >= 0) {
        if (const long e = same_file(static_cast<int>(fd), reg(x, 1)); e < 0)
          return close(fd), at(Part::open_source, e);
      }
      if (fd >= 0 && (x.n[0] != 0 || x.n[1] != 0 || x.r[3] >= 0)) {
        if (const long e = set_attributes(static_cast<int>(fd), x.n[0], x.n[1],
                                          (x.flags & mount_recursive_flags) != 0, reg(x, 3));
            e < 0)
          return close(fd), e;
      }
    }
    if (fd < 0) return fd;
    if ((x.flags & mount_on_root) != 0) {
      const long e =
          at(Part::attach, call(__NR_move_mount, fd, "", at_fdcwd,
                                x.s[1].size > 0 ? str(x, 1) : "/", move_mount_f_empty_path));
      if (e < 0) return close(fd), e;
      ++on_root_;
    } else if ((x.flags & mount_at_target) != 0) {
      const long onto = target(reg(x, 0), str(x, 1), static_cast<int>(fd),
                               (x.flags & mount_create) != 0, (x.flags & mount_follow) != 0);
      const long e = onto < 0 ? onto : move_to(static_cast<int>(fd), static_cast<int>(onto));
      close(onto);
      if (e < 0) return close(fd), e;
    }
    if (x.r[2] >= 0)
      set_reg(x, 2, fd);
    else
      close(fd);
    return 0;
  }

  long make_directory(int base, const char* path, uint32_t mode) {
    // One name in a directory of our own needs no look-up.
    bool deep = false;
    for (const char* p = path; *p != 0; ++p) deep = deep || *p == '/';
    if (!deep) {
      const long e = call(__NR_mkdirat, base, path, mode);
      if (e != -e_exist) return at(Part::make_target, e);
    }
    const long fd = at(Part::make_target, make_path(base, path, true, mode, false));
    if (fd < 0) return fd;
    uint32_t type = 0;
    const long e = type_of(static_cast<int>(fd), &type);
    close(fd);
    return e < 0 ? e : type == s_ifdir ? 0 : at(Part::make_target, -e_notdir);
  }

  /// The directory that holds the last name of `path`, and that name. `*opened` is to be closed.
  long parent_of(int base, char* path, char** name, long* opened, bool make = true) {
    size_t slash = 0;
    const size_t size = length(path);
    bool found = false;
    for (size_t i = 0; i < size; ++i)
      if (path[i] == '/') slash = i, found = true;
    *opened = -1;
    *name = path;
    if (!found) return base;
    *name = path + slash + 1;
    if (slash == 0) return base;
    path[slash] = 0;
    *opened = make ? make_path(base, path, true, 0755, false) : resolve(base, path, false);
    path[slash] = '/';
    return *opened;
  }

  long make_link(const Rec& x) {
    char* name = nullptr;
    long opened = -1;
    const long dir = parent_of(reg(x, 0), str(x, 0), &name, &opened);
    if (dir < 0) return at(Part::make_target, dir);
    const long e = call(__NR_symlinkat, str(x, 1), dir, name);
    close(opened);
    return e == -e_exist ? 0 : at(Part::make_target, e);
  }

  long make_file(const Rec& x) {
    char* name = nullptr;
    long opened = -1;
    const long dir = parent_of(reg(x, 0), str(x, 0), &name, &opened);
    if (dir < 0) return at(Part::make_target, dir);
    const long fd =
        call(__NR_openat, dir, name, o_creat | o_excl | o_wronly | o_nofollow | o_cloexec, x.n[0]);
    close(opened);
    if (fd == -e_exist) return 0;
    if (fd < 0) return at(Part::make_target, fd);
    const long e = x.s[1].size > 0 ? write_all(static_cast<int>(fd), str(x, 1), x.s[1].size) : 0;
    close(fd);
    return e;
  }

  long make_node(const Rec& x) {
    char* name = nullptr;
    long opened = -1;
    const long dir = parent_of(reg(x, 0), str(x, 0), &name, &opened);
    if (dir < 0) return at(Part::make_target, dir);
    long e = -e_perm;
    if (x.n[3] == 0) {
      // Asked twice: who may not make nodes here (a device cgroup) may not the second time either.
      for (int i = 0; i < 2 && e == -e_perm; ++i) e = call(__NR_mknodat, dir, name, x.n[0], x.n[1]);
      if (e == 0 && x.n[2] != 0)
        e = call(__NR_fchownat, dir, name, x.n[2] & 0xffffffffU, x.n[2] >> 32U,
                 at_symlink_nofollow);
    }
    if (e == -e_perm) e = bind_node(x, static_cast<int>(dir), name);
    close(opened);
    return e;
  }

  /// The host's node in place of one of our own: same type and number, or it is refused.
  long bind_node(const Rec& x, int dir, const char* name) {
    const long source = at(Part::open_source, call(__NR_open_tree, at_fdcwd, str(x, 1),
                                                   open_tree_clone | open_tree_cloexec));
    if (source < 0) return source;
    uint32_t type = 0, major = 0, minor = 0;
    long e = type_of(static_cast<int>(source), &type, &major, &minor);
    const uint32_t want_major = static_cast<uint32_t>((x.n[1] >> 8U) & 0xfffU);
    const uint32_t want_minor =
        static_cast<uint32_t>((x.n[1] & 0xffU) | ((x.n[1] >> 12U) & 0xfff00U));
    if (e == 0 && (type != (x.n[0] & s_ifmt) || major != want_major || minor != want_minor))
      e = at(Part::device_mismatch, -e_nodev);
    bool made = false;
    if (e == 0) {
      e = call(__NR_mknodat, dir, name, s_ifreg | 0666, 0);
      made = e == 0;
      if (e == -e_exist) e = 0;
      at(Part::make_target, e);
    }
    if (made) {
      // Nobody else has seen the directory, and the name in it is a file of ours.
      if (e == 0)
        e = at(Part::attach, call(__NR_move_mount, source, "", dir, name, move_mount_f_empty_path));
    } else if (e == 0) {
      const long onto = e = at(Part::resolve_target, resolve(dir, name, false));
      if (onto >= 0) e = move_to(static_cast<int>(source), static_cast<int>(onto));
      close(onto);
    }
    close(source);
    return e;
  }

  long open_pty(const Rec& x) {
    if (x.s[2].size > 0) {
      // Of a life before, by its number: the devpts is the one that it was made in.
      const long kept = open_how(reg(x, 0), str(x, 2), static_cast<uint64_t>(o_rdwr | o_noctty),
                                 resolve_beneath | resolve_no_xdev | resolve_no_magiclinks);
      return kept < 0 ? at(Part::terminal, kept) : bind_pty(x, static_cast<int>(kept));
    }
    if (pty_count_ >= max_ptys) return -e_proto;
    // A file of devpts itself, whatever lies on it.
    const long master = open_how(reg(x, 0), "ptmx", static_cast<uint64_t>(o_rdwr | o_noctty),
                                 resolve_beneath | resolve_no_xdev | resolve_no_magiclinks);
    if (master < 0) return at(Part::terminal, master);
    masters_[pty_count_++] = static_cast<int>(master);
    const int unlocked = 0;
    if (const long e = call(__NR_ioctl, master, tiocsptlck, &unlocked); e < 0)
      return at(Part::terminal, e);
    // By the master, not by name: a path could lead to another instance. Linux 4.13.
    const long slave = call(__NR_ioctl, master, tiocgptpeer, o_rdwr | o_noctty | o_cloexec);
    if (slave < 0) return at(Part::terminal, slave);
    const Winsize size{static_cast<uint16_t>(x.n[1] & 0xffffU),
                       static_cast<uint16_t>(x.n[1] >> 16U), 0, 0};
    if (const long e = call(__NR_ioctl, master, tiocswinsz, &size); e < 0)
      return at(Part::terminal, e);
    return bind_pty(x, static_cast<int>(slave));
  }

  long bind_pty(const Rec& x, int slave) {
    if (const long e = call(__NR_fchown, slave, x.n[0] & 0xffffffffU, x.n[0] >> 32U); e < 0)
      return at(Part::terminal, e);
    if (x.s[0].size > 0)
      if (const long e = bind_fd(slave, reg(x, 1), str(x, 0)); e < 0) return e;
    if (x.s[1].size > 0) {
      if (x.n[2] != 0) {
        if (const long e = bind_fd(slave, reg(x, 1), str(x, 1)); e < 0) return e;
      } else {
        char* name = nullptr;
        long opened = -1;
        const long dir = parent_of(reg(x, 1), str(x, 1), &name, &opened);
        if (dir < 0) return at(Part::make_target, dir);
        // From where the link is: both begin with the same directory.
        const long e = call(__NR_symlinkat, str(x, 0) + (name - str(x, 1)), dir, name);
        close(opened);
        if (e < 0 && e != -e_exist) return at(Part::make_target, e);
      }
    }
    if (x.r[2] >= 0)
      set_reg(x, 2, slave);
    else
      close(slave);
    return 0;
  }

  /// Binds the file that `fd` is, at `path` below `base`.
  long bind_fd(int fd, int base, char* path) {
    const long source = at(Part::open_source, call(__NR_open_tree, fd, "",
                                                   open_tree_clone | open_tree_cloexec |
                                                       static_cast<unsigned>(at_empty_path)));
    if (source < 0) return source;
    const long onto = at(Part::make_target, make_path(base, path, false, 0620, false));
    const long e = onto < 0 ? onto : move_to(static_cast<int>(source), static_cast<int>(onto));
    close(onto);
    close(source);
    return e;
  }

  /// A cover for a file: a copy of the mount of a node that is /dev/null.
  long copy_null(const Rec& x) {
    if (null_ >= 0)
      return at(Part::open_source,
                call(__NR_open_tree, null_, "",
                     open_tree_clone | open_tree_cloexec | static_cast<unsigned>(at_empty_path)));
    const long cover =
        reg(x, 1) >= 0
            ? call(__NR_open_tree, reg(x, 1), "null",
                   open_tree_clone | open_tree_cloexec | static_cast<unsigned>(at_symlink_nofollow))
            : call(__NR_open_tree, at_fdcwd, "/dev/null", open_tree_clone | open_tree_cloexec);
    if (cover < 0) return at(Part::open_source, cover);
    uint32_t type = 0, major = 0, minor = 0;
    long e = type_of(static_cast<int>(cover), &type, &major, &minor);
    if (e == 0 && (type != s_ifchr || major != 1 || minor != 3))
      e = at(Part::device_mismatch, -e_nodev);
    return e < 0 ? (close(cover), e) : cover;
  }

  /// A cover for something of this type. One file system for all directories, one node for all
  /// files.
  long cover_for(uint32_t type, const Rec& x) {
    if (type != s_ifdir) return copy_null(x);
    return empty_ < 0 ? empty_directory()
                      : at(Part::open_source, call(__NR_open_tree, empty_, "",
                                                   open_tree_clone | open_tree_cloexec |
                                                       static_cast<unsigned>(at_empty_path)));
  }
  /// The first cover of its type is kept, to be copied.
  void keep_cover(uint32_t type, long cover) {
    long& kept = type == s_ifdir ? empty_ : null_;
    if (kept < 0)
      kept = cover;
    else
      close(cover);
  }

  long mask_path(const Rec& x) {
    if ((x.flags & path_near) != 0) {
      Statx st;
      // Looked at first: a copy that finds nothing to cover would have to be taken down, which
      // waits for RCU.
      long e = call(__NR_statx, reg(x, 0), str(x, 0), at_symlink_nofollow, statx_type, &st);
      if (e == -e_noent || e == -e_notdir) return 0;
      if (e < 0) return at(Part::resolve_target, e);
      const uint32_t type = st.mode & s_ifmt;
      if (type == s_iflnk) return at(Part::resolve_target, -e_loop);
      const long cover = cover_for(type, x);
      if (cover < 0) return cover;
      e = at(Part::attach,
             call(__NR_move_mount, cover, "", reg(x, 0), str(x, 0), move_mount_f_empty_path));
      return e < 0 ? (close(cover), e) : (keep_cover(type, cover), 0);
    }
    const long onto = resolve(reg(x, 0), str(x, 0), false);
    if (onto == -e_noent || onto == -e_notdir) return 0;
    if (onto < 0) return at(Part::resolve_target, onto);
    uint32_t type = 0;
    long e = type_of(static_cast<int>(onto), &type);
    if (e == 0) {
      const long cover = e = cover_for(type, x);
      if (cover >= 0) e = move_to(static_cast<int>(cover), static_cast<int>(onto));
      if (e >= 0)
        keep_cover(type, cover);
      else
        close(cover);
    }
    close(onto);
    return e;
  }

  long empty_directory() {
    const long fs = call(__NR_fsopen, "tmpfs", fsopen_cloexec);
    if (fs < 0) return at(Part::create_filesystem, fs);
    long e = call(__NR_fsconfig, fs, fsconfig_set_string, "size", "4k", 0);
    if (e >= 0) e = call(__NR_fsconfig, fs, fsconfig_set_string, "mode", "0555", 0);
    if (e >= 0) e = call(__NR_fsconfig, fs, fsconfig_cmd_create, 0L, 0L, 0);
    if (e >= 0)
      e = call(__NR_fsmount, fs, fsmount_cloexec,
               attr_rdonly | attr_nosuid | attr_nodev | attr_noexec);
    close(fs);
    return at(Part::create_filesystem, e);
  }

  /// A copy of the mounts at `path`, read-only.
  long copy_read_only(long dir, const char* path, unsigned flags) {
    flags |= open_tree_clone | open_tree_cloexec | static_cast<unsigned>(at_recursive);
    const MountAttr a{attr_rdonly, 0, 0, 0};
    if (attr_at_once_) {
      const long copy = call(nr_open_tree_attr, dir, path, flags, &a, sizeof a);
      // EPERM: filters of older programs know it no better than an older kernel.
      if (copy != -e_nosys && copy != -e_perm) return at(Part::open_source, copy);
      attr_at_once_ = false;
    }
    const long copy = at(Part::open_source, call(__NR_open_tree, dir, path, flags));
    if (copy < 0) return copy;
    const long e = set_attributes(static_cast<int>(copy), attr_rdonly, 0, true, -1);
    return e < 0 ? (close(copy), e) : copy;
  }

  long protect_path(const Rec& x) {
    if ((x.flags & path_near) != 0) {
      const long copy =
          copy_read_only(reg(x, 0), str(x, 0), static_cast<unsigned>(at_symlink_nofollow));
      if (copy == -e_noent || copy == -e_notdir) return 0;
      if (copy < 0) return copy;
      uint32_t type = 0;
      long e = type_of(static_cast<int>(copy), &type);
      // whoever follows it is not held up by a mount
      if (e == 0 && type == s_iflnk) e = at(Part::resolve_target, -e_loop);
      if (e == 0)
        e = at(Part::attach,
               call(__NR_move_mount, copy, "", reg(x, 0), str(x, 0), move_mount_f_empty_path));
      close(copy);
      return e;
    }
    const long onto = resolve(reg(x, 0), str(x, 0), false);
    if (onto == -e_noent || onto == -e_notdir) return 0;
    if (onto < 0) return at(Part::resolve_target, onto);
    const long copy = copy_read_only(onto, "", static_cast<unsigned>(at_empty_path));
    const long e = copy < 0 ? copy : move_to(static_cast<int>(copy), static_cast<int>(onto));
    close(copy);
    close(onto);
    return e;
  }

  long pivot_root(const Rec& x) {
    if (const long e = call(__NR_fchdir, reg(x, 0)); e < 0) return e;
    if (bare_) {
      // The new root lies on top of an empty read-only directory and nothing else. It stays there,
      // as every machine's root lies on an empty rootfs: whoever climbs out of the root finds
      // nothing. Taking it away would wait for RCU.
      if (const long e = call(__NR_chroot, "."); e < 0) return e;
    } else {
      if (const long e = call(__NR_pivot_root, ".", "."); e < 0) return e;
      // The old root lies on top of the new one now, and on top of it all that was put there but
      // the new root: "." leads to the topmost each time.
      for (unsigned i = 0; i < on_root_; ++i)
        if (const long e = call(__NR_umount2, ".", mnt_detach); e < 0) return at(Part::attach, e);
      if (const long e = call(__NR_chdir, "/"); e < 0) return e;
    }
    // ".." of a root leads nowhere, but into what still lies on top of it.
    Statx root, above;
    if (const long e = call(__NR_statx, reg(x, 0), "", at_empty_path, statx_mount, &root); e < 0)
      return at(Part::verify, e);
    if (const long e = call(__NR_statx, at_fdcwd, "..", 0, statx_mount, &above); e < 0)
      return at(Part::verify, e);
    return root.mount == above.mount ? 0 : at(Part::verify, -e_busy);
  }

  long enter_root(const Rec& x) {
    if (const long e = call(__NR_fchdir, reg(x, 0)); e < 0) return e;
    if (const long e = call(__NR_chroot, "."); e < 0) return e;
    return call(__NR_chdir, "/");
  }

  /// Somebody else may have put anything there.
  long open_inside(const Rec& x) {
    const long fd = resolve(x.r[1] < 0 ? at_fdcwd : reg(x, 1), str(x, 0), false);
    if (fd < 0) return at(Part::resolve_target, fd);
    set_reg(x, 0, fd);
    return x.n[0] == 0 ? 0 : at(Part::verify, is_on(static_cast<int>(fd), x.n[0], -e_nodev));
  }

  /// By the name in a directory that is held: where it is, nobody can change.
  long remove_entry(const Rec& x) {
    char* name = nullptr;
    long opened = -1;
    const long dir = parent_of(reg(x, 0), str(x, 0), &name, &opened, false);
    if (dir < 0) return at(Part::resolve_target, dir);
    long e = call(__NR_fchdir, dir);
    cwd_ = -1;
    if (e == 0 && x.n[0] != 0) {
      e = call(__NR_umount2, name, mnt_detach | umount_nofollow);
      if (e == -e_inval && x.n[1] != 0) e = 0;  // a node of its own, on which nothing lies
    }
    if (e == 0 && x.n[1] != 0) e = at(Part::make_target, call(__NR_unlinkat, dir, name, 0));
    close(opened);
    return e;
  }

  long open_sockets(const Rec& x) {
    for (uint64_t i = 0; i < x.n[3]; ++i) {
      if (pty_count_ >= max_ptys) return -e_proto;
      const long s = call(__NR_socket, x.n[0], x.n[1] | sock_cloexec, x.n[2]);
      if (s < 0) return s;
      masters_[pty_count_++] = static_cast<int>(s);
    }
    return 0;
  }

  long raise_loopback() {
    const long s = call(__NR_socket, af_unix, sock_dgram | sock_cloexec, 0);
    if (s < 0) return s;
    struct {
      char name[16];
      int16_t flags;
      char pad[22];
    } request = {{'l', 'o', 0}, 0, {}};
    // IFF_UP; a new namespace's loopback has no other flag to keep but IFF_LOOPBACK, which is fixed
    request.flags = 1;
    const long e = call(__NR_ioctl, s, siocsifflags, &request);
    close(s);
    return e;
  }

  /// All messages are sent at once: the kernel does one after the other, and answers those that
  /// fail, and the last one.
  long configure_interface(const Rec& x) {
    if (x.r[0] >= 0)
      if (const long e = at(Part::write, write_proc(reg(x, 0), str(x, 3), "1", 1, false));
          e < 0 && e != -e_noent)
        return e;
    part_ = Part::whole;
    if (x.s[2].size == 0) return 0;
    const long s = call(__NR_socket, af_netlink, sock_raw | sock_cloexec, netlink_route);
    if (s < 0) return s;
    const long e = send_about_interface(x, static_cast<int>(s));
    close(s);
    return e;
  }
  long send_about_interface(const Rec& x, int socket) {
    InterfaceQuery request = {};
    for (uint32_t i = 0; i < x.s[0].size; ++i) request.name[i] = str(x, 0)[i];
    if (const long e = call(__NR_ioctl, socket, siocgifindex, &request); e < 0) return e;
    const auto* places = reinterpret_cast<const uint32_t*>(str(x, 2));
    const uint32_t count = x.s[2].size / 4;
    for (uint32_t i = 0; i < count; ++i)
      *reinterpret_cast<int32_t*>(str(x, 1) + places[i]) = request.index;
    if (const long n = call(__NR_sendto, socket, str(x, 1), x.s[1].size, 0, 0, 0); n < 0) return n;
    struct {
      NetlinkError error;
      char rest[1024];
    } answer;
    for (uint32_t answered = 0; answered < count;) {
      const long n = call(__NR_recvfrom, socket, &answer, sizeof answer, 0, 0, 0);
      if (n == -e_intr) continue;
      if (n < 0) return n;
      if (n < static_cast<long>(sizeof answer.error) || answer.error.head.type != nlmsg_error)
        return -e_proto;
      answered = answer.error.head.sequence;
      if (answer.error.error == 0) continue;
      detail_ = static_cast<uint16_t>(answered - 1);
      return at(Part::message, answer.error.error);
    }
    return 0;
  }

  /// How it is with an interface's addresses, as the kernel tells it.
  struct Look {
    InterfaceQuery request{};
    bool changed = false;  ///< Something was told besides: it may be different by now.
    bool wait = false;
  };
  long await_interface(const Rec& x) {
    const long s = call(__NR_socket, af_netlink, sock_raw | sock_cloexec, netlink_route);
    if (s < 0) return s;
    const long e = await_on(x, static_cast<int>(s));
    close(s);
    return e;
  }
  long await_on(const Rec& x, int socket) {
    Look look;
    for (uint32_t i = 0; i < x.s[0].size; ++i) look.request.name[i] = str(x, 0)[i];
    if (const long e = call(__NR_ioctl, socket, siocgifindex, &look.request); e < 0) return e;
    const int32_t index = look.request.index;
    // What happens from here on is told.
    const NetlinkAddress all{af_netlink, 0, 0, rtmgrp_link | rtmgrp_ipv6_ifaddr};
    if (const long e = call(__NR_bind, socket, &all, sizeof all); e < 0) return e;
    Timespec left{static_cast<int64_t>(x.n[2] / 1000000000U),
                  static_cast<int64_t>(x.n[2] % 1000000000U)};
    for (;;) {
      look.wait = look.changed = false;
      if (const long e = look_at_addresses(x, socket, index, look); e < 0) return e;
      if (!look.wait && x.n[0] != 0) {
        if (const long e = call(__NR_ioctl, socket, siocgifflags, &look.request); e < 0) return e;
        look.wait = (look.request.flags & iff_running) == 0;
        part_ = Part::carrier;
      }
      if (!look.wait) return 0;
      if (look.changed) continue;
      // The kernel takes what has passed off the time that is left.
      PollFd list[3] = {{socket, pollin, 0},
                        {cx_.sync, static_cast<int16_t>(pollrdhup), 0},
                        {cx_.zygote, pollin, 0}};
      const long n = call(__NR_ppoll, list, cx_.zygote < 0 ? 2 : 3, &left, 0L, 8);
      if (n == -e_intr) continue;
      if (n < 0) return n;
      if (n == 0) return -e_timedout;
      if (list[1].revents != 0 || list[2].revents != 0) return at(Part::host_gone, -e_pipe);
      if (const long e = read_netlink(x, socket, index, look, msg_dontwait); e < 0 && e != -e_again)
        return e;
    }
  }
  long look_at_addresses(const Rec& x, int socket, int32_t index, Look& look) {
    struct {
      NetlinkHead head;
      NetlinkIfAddr address;
    } dump{{sizeof dump, rtm_getaddr, nlm_f_request | nlm_f_dump, 1, 0}, {af_inet6, 0, 0, 0, 0}};
    if (const long n = call(__NR_sendto, socket, &dump, sizeof dump, 0, 0, 0); n < 0) return n;
    part_ = Part::whole;
    for (;;) {
      const long e = read_netlink(x, socket, index, look, 0);
      if (e != 0) return e < 0 ? e : 0;
    }
  }
  /// One piece of what the kernel says: an error, 1 at the end of the answer.
  long read_netlink(const Rec& x, int socket, int32_t index, Look& look, int how) {
    const char* const said = str(x, 2);
    long n = 0;
    do {
      n = call(__NR_recvfrom, socket, said, netlink_room, how, 0, 0);
    } while (n == -e_intr);
    if (n == -e_nobufs) {  // more was told than there was room for
      look.changed = true;
      return 0;
    }
    if (n < 0) return n;
    for (size_t at = 0, size = static_cast<size_t>(n); at + sizeof(NetlinkHead) <= size;) {
      const auto* head = reinterpret_cast<const NetlinkHead*>(said + at);
      if (head->size < sizeof *head || head->size > size - at) return -e_proto;
      if (head->sequence != 1 || (head->flags & nlm_f_dump_intr) != 0) {
        look.changed = true;
      } else if (head->type == nlmsg_done) {
        return 1;
      } else if (head->type == nlmsg_error) {
        const int error = head->size >= sizeof(NetlinkError)
                              ? reinterpret_cast<const NetlinkError*>(head)->error
                              : -static_cast<int>(e_proto);
        return error < 0 ? error : 1;
      } else if (head->type == rtm_newaddr && head->size >= sizeof *head + sizeof(NetlinkIfAddr)) {
        if (const long e = judge_address(x, head, index, look); e < 0) return e;
      }
      at += (head->size + 3U) & ~size_t{3};
    }
    return 0;
  }
  long judge_address(const Rec& x, const NetlinkHead* head, int32_t index, Look& look) {
    const auto* const address = reinterpret_cast<const NetlinkIfAddr*>(head + 1);
    if (static_cast<int32_t>(address->index) != index) return 0;
    uint32_t flags = address->flags;
    const char* bytes = nullptr;
    const auto* const begin = reinterpret_cast<const char*>(head);
    for (size_t at = sizeof *head + sizeof *address; at + 4 <= head->size;) {
      const auto* const attribute = reinterpret_cast<const uint16_t*>(begin + at);
      const size_t size = attribute[0];
      if (size < 4 || size > head->size - at) break;
      if (attribute[1] == ifa_flags && size >= 8)
        flags = *reinterpret_cast<const uint32_t*>(begin + at + 4);
      if (attribute[1] == ifa_address && size >= 4 + address_size) bytes = begin + at + 4;
      at += (size + 3) & ~size_t{3};
    }
    if (bytes == nullptr || (flags & (ifa_f_tentative | ifa_f_dadfailed)) == 0) return 0;
    uint32_t number = 0;
    const uint32_t count = x.s[1].size / address_size;
    while (number < count && !same(str(x, 1) + size_t{number} * address_size, bytes)) ++number;
    const bool link_local =
        static_cast<uint8_t>(bytes[0]) == 0xfe && (static_cast<uint8_t>(bytes[1]) & 0xc0U) == 0x80;
    if (number == count && link_local && x.n[1] == 0) return 0;
    part_ = Part::address;
    detail_ = static_cast<uint16_t>(number);
    if ((flags & ifa_f_dadfailed) != 0) return -e_addrinuse;
    look.wait = true;
    return 0;
  }
  static bool same(const char* a, const char* b) {
    for (size_t i = 0; i < address_size; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }

  /// Writes through the private procfs: one file of procfs itself, reached through nothing mounted
  /// on it. Files of a process that is not dumpable belong to the machine's root; `dumpable` opens
  /// them as one that is.
  long write_proc(int proc, const char* path, const char* text, size_t size, bool dumpable) {
    if (dumpable)
      if (const long e = call(__NR_prctl, pr_set_dumpable, 1, 0, 0, 0); e < 0) return e;
    const long fd = open_how(proc, path, static_cast<uint64_t>(o_wronly),
                             resolve_beneath | resolve_no_xdev | resolve_no_magiclinks);
    if (dumpable)
      if (const long e = call(__NR_prctl, pr_set_dumpable, 0, 0, 0, 0); e < 0) return e;
    if (fd < 0) return at(Part::resolve_target, fd);
    const long e = write_all(static_cast<int>(fd), text, size);
    close(fd);
    return e;
  }
  long write_setting(const Rec& x) {
    return write_proc(reg(x, 0), str(x, 0), str(x, 1), x.s[1].size, x.n[0] != 0);
  }

  /// The write of a label must not end anywhere else: the file is procfs's, on the very mount that
  /// is held, and says afterwards what was written.
  long set_label(const Rec& x) {
    const long fd = open_how(reg(x, 0), str(x, 0), static_cast<uint64_t>(o_rdwr),
                             resolve_beneath | resolve_no_xdev | resolve_no_magiclinks);
    if (fd < 0) return at(Part::resolve_target, fd);
    long e = at(Part::verify, is_of_procfs(static_cast<int>(fd), reg(x, 0)));
    if (e == 0) e = write_all(static_cast<int>(fd), str(x, 1), x.s[1].size);
    if (e == 0) e = at(Part::verify, reads(static_cast<int>(fd), str(x, 2), x.s[2].size));
    close(fd);
    return e;
  }
  long is_of_procfs(int fd, int proc) {
    if (const long e = is_on(fd, proc_magic, -e_nodev); e < 0) return e;
    Statx file, root;
    constexpr unsigned mask = statx_type | statx_mount;
    if (const long e = call(__NR_statx, fd, "", at_empty_path, mask, &file); e < 0) return e;
    if (const long e = call(__NR_statx, proc, "", at_empty_path, mask, &root); e < 0) return e;
    return (file.mode & s_ifmt) == s_ifreg && file.mount == root.mount ? 0 : -e_nodev;
  }
  /// "label", "label (enforce)\n", and with or without a NUL. What it is instead is left for the
  /// host's message.
  long reads(int fd, const char* label, size_t size) {
    char text[4096];
    const long n = call(__NR_pread64, fd, text, sizeof text - 1, 0);
    if (n < 0) return n;
    text[n] = 0;
    size_t same = 0;
    while (same < size && text[same] == label[same]) ++same;
    const char next = text[same];
    if (same == size && (next == 0 || next == '\n' || next == ' ')) return 0;
    uint32_t kept = 0;
    for (; kept + 1 < sizeof cx_.page->text && text[kept] > ' '; ++kept)
      cx_.page->text[kept] = text[kept];
    cx_.page->text_size = kept;
    return -e_perm;
  }

  // ---- the process itself ----
  long set_scheduling(const Rec& x) {
    if ((x.flags & share_no_core) != 0) {
      const long e = call(__NR_prctl, pr_sched_core, pr_sched_core_create, 0, pidtype_tgid, 0);
      if (e < 0 && e != -e_nodev) return at(Part::core, e);  // ENODEV: no core has two threads
    }
    if (x.n[3] != 0)
      if (const long e =
              call(__NR_prctl, pr_sched_core, pr_sched_core_share_from, x.n[3], pidtype_pid, 0);
          e < 0)
        return at(Part::core, e);
    if (x.s[0].size > 0)
      if (const long e = call(__NR_sched_setaffinity, 0, x.s[0].size, str(x, 0)); e < 0) return e;
    const int priority = static_cast<int>(x.n[1]);
    if (x.n[0] != 0)
      if (const long e = call(__NR_sched_setscheduler, 0, x.n[0], &priority); e < 0) return e;
    if (x.n[2] != 0)
      if (const long e = call(__NR_setpriority, 0, 0, static_cast<long>(x.n[2]) - 100); e < 0)
        return e;
    return 0;
  }

  long new_session(const Rec& x) {
    if (const long e = call(__NR_setsid); e < 0) return e;
    if (reg(x, 0) < 0) return 0;
    return at(Part::terminal, call(__NR_ioctl, reg(x, 0), tiocsctty, 0));
  }

  long place_descriptors(const Rec& x) {
    auto* list = reinterpret_cast<const Placement*>(str(x, 0));
    const unsigned count = x.s[0].size / sizeof(Placement);
    const int top = count > 0 ? list[count - 1].number + 1 : 3;
    const int first_free = top + (x.r[0] >= 0 ? 3 : 2);
    // Everything that we still need is moved above the numbers that are given away.
    for (unsigned i = 0; i < count; ++i) {
      int& fd = regs_[list[i].from];
      if (fd < 0) return detail_ = static_cast<uint16_t>(list[i].number), -e_badf;
      if (fd < first_free) {
        const long moved = call(__NR_fcntl, fd, 1030 /* F_DUPFD_CLOEXEC */, first_free);
        if (moved < 0) return moved;
        fd = static_cast<int>(moved);
      }
    }
    int kept = reg(x, 0);
    int* const still_needed[] = {&cx_.sync, &cx_.zygote, &kept};
    for (int* fd : still_needed) {
      if (*fd < 0) continue;
      const long moved = call(__NR_fcntl, *fd, 1030, first_free);
      if (moved < 0) return moved;
      *fd = static_cast<int>(moved);
    }
    for (unsigned i = 0; i < count; ++i) {
      const long e = call(__NR_dup3, regs_[list[i].from], list[i].number, 0);
      if (e < 0) return detail_ = static_cast<uint16_t>(list[i].number), e;
    }
    int first_other = top;
    for (int* fd : still_needed) {
      if (*fd < 0) continue;
      if (const long e = call(__NR_dup3, *fd, first_other, o_cloexec); e < 0) return e;
      *fd = first_other++;
    }
    int next = 0;
    for (unsigned i = 0; i < count; ++i) {
      if (list[i].number > next)
        if (const long e = call(__NR_close_range, next, list[i].number - 1, 0); e < 0) return e;
      next = list[i].number + 1;
    }
    if (next < top)
      if (const long e = call(__NR_close_range, next, top - 1, 0); e < 0) return e;
    if (const long e = call(__NR_close_range, first_other, 0xffffffffL, 0); e < 0) return e;
    for (unsigned i = 0; i < slot_count; ++i) {
      int now = -1;
      for (unsigned k = 0; k < count; ++k)
        if (list[k].from == static_cast<int>(i)) now = list[k].number;
      regs_[i] = now;
    }
    if (kept >= 0) regs_[x.r[0]] = kept;
    return 0;
  }

  long change_directory(const Rec& x) {
    long e = call(__NR_chdir, str(x, 0));
    if (e == -e_noent && x.n[0] != 0) {
      const long fd = make_path(at_fdcwd, str(x, 0), true, 0755, false);
      if (fd < 0) return at(Part::make_target, fd);
      e = call(__NR_fchdir, fd);
      close(fd);
    }
    if (e < 0) return e;
    char where[4096];
    e = call(__NR_getcwd, where, sizeof where);
    if (e < 0) return at(Part::verify, e);
    // The kernel says "(unreachable)" of a directory that is not below our root.
    return where[0] == '/' ? 0 : at(Part::verify, -e_acces);
  }

  long set_credentials(const Rec& x) {
    const uint32_t uid = static_cast<uint32_t>(x.n[0]), gid = static_cast<uint32_t>(x.n[0] >> 32U);
    const auto& sets = *reinterpret_cast<const CapabilityMasks*>(str(x, 1));
    const uint64_t securebits = x.n[1];
    // What the program that launches has of its own is not inherited.
    if (const long e = call(__NR_prctl, pr_cap_ambient, pr_cap_ambient_clear_all, 0, 0, 0); e < 0)
      return at(Part::ambient, e);
    const long had = call(__NR_prctl, pr_get_securebits, 0, 0, 0, 0);
    if (had < 0) return at(Part::securebits, had);
    const bool other_bits = static_cast<uint64_t>(had & ~securebit_keep_caps) != securebits;
    for (unsigned c = 0; c <= x.n[2]; ++c)
      if (((sets.bounding >> c) & 1U) == 0)
        if (const long e = call(__NR_prctl, pr_capbset_drop, c, 0, 0, 0); e < 0) {
          detail_ = static_cast<uint16_t>(c);
          return at(Part::bounding_set, e);
        }
    if ((x.flags & cred_set_groups) != 0)
      if (const long e =
              set_groups(x.s[0].size / 4, str(x, 0), (x.flags & cred_groups_may_stay) != 0);
          e < 0)
        return e;
    if (uid != 0 && (sets.permitted != 0 || other_bits))
      if (const long e = call(__NR_prctl, pr_set_keepcaps, 1, 0, 0, 0); e < 0)
        return at(Part::ambient, e);
    if (const long e = call(__NR_setresgid, gid, gid, gid); e < 0) return at(Part::gid, e);
    if (const long e = call(__NR_setresuid, uid, uid, uid); e < 0) return at(Part::uid, e);
    // The securebits come after the ambient ones, which they may forbid, and need a right that the
    // final sets may lack.
    CapabilityMasks first = sets;
    if (other_bits) first.effective = first.permitted |= uint64_t{1} << cap_setpcap;
    if (const long e = set_capabilities(first); e < 0) return e;
    for (unsigned c = 0; sets.ambient != 0 && c <= x.n[2]; ++c)
      if (((sets.ambient >> c) & 1U) != 0)
        if (const long e = call(__NR_prctl, pr_cap_ambient, pr_cap_ambient_raise, c, 0, 0); e < 0)
          return at(Part::ambient, e);
    if (other_bits) {
      if (const long e = call(__NR_prctl, pr_set_securebits, securebits, 0, 0, 0); e < 0)
        return at(Part::securebits, e);
      if (const long e = set_capabilities(sets); e < 0) return e;
      const long now = call(__NR_prctl, pr_get_securebits, 0, 0, 0, 0);
      if (now < 0) return at(Part::securebits, now);
      if (static_cast<uint64_t>(now) != securebits) return at(Part::verify, -e_perm);
    }
    const CapHeader head{cap_version_3, 0};
    CapData now[2] = {};
    if (const long e = call(__NR_capget, &head, now); e < 0) return at(Part::verify, e);
    if (now[0].permitted != low(sets.permitted) || now[1].permitted != high(sets.permitted) ||
        now[0].effective != low(sets.effective) || now[1].effective != high(sets.effective) ||
        now[0].inheritable != low(sets.inheritable) || now[1].inheritable != high(sets.inheritable))
      return at(Part::verify, -e_perm);
    // Each id change may have made us traceable and cleared the death signal.
    if (const long e = call(__NR_prctl, pr_set_dumpable, 0, 0, 0, 0); e < 0) return e;
    if (const long e = call(__NR_prctl, pr_set_pdeathsig, x.n[3], 0, 0, 0); e < 0)
      return at(Part::death_signal, e);
    death_signal_ = static_cast<int>(x.n[3]);
    return 0;
  }
  long set_capabilities(const CapabilityMasks& sets) {
    const CapHeader head{cap_version_3, 0};
    const CapData data[2] = {{low(sets.effective), low(sets.permitted), low(sets.inheritable)},
                             {high(sets.effective), high(sets.permitted), high(sets.inheritable)}};
    const long e = call(__NR_capset, &head, data);
    return e < 0 ? at(Part::capset, e) : 0;
  }
  static uint32_t low(uint64_t v) { return static_cast<uint32_t>(v); }
  static uint32_t high(uint64_t v) { return static_cast<uint32_t>(v >> 32U); }

  /// The program may lie in one of the zygote's rooms, which are empty in a further copy of its
  /// memory.
  long keep_program_on_fork() {
    long e = 0;
    // Whole pages, of a size that the machine knows.
    for (uintptr_t page = 4096; page <= 65536; page *= 4) {
      const auto first = reinterpret_cast<uintptr_t>(program_) & ~(page - 1);
      e = call(__NR_madvise, first, reinterpret_cast<uintptr_t>(program_) + program_->total - first,
               madv_keeponfork);
      if (e != -e_inval) break;
    }
    return e;
  }

  /// Splits into pid 1, which stays here, and the command's process, which goes on.
  long start_init() {
    // Before there is a command, which runs before we do. Neither is handed on: exec gives it a
    // name of its own.
    if (const long e = call(__NR_prctl, pr_set_name, "condroid-init", 0, 0, 0); e < 0) return e;
    // Without a pid namespace of its own this gathers the command's orphans all the same.
    if (const long e = call(__NR_prctl, pr_set_child_subreaper, 1, 0, 0, 0); e < 0) return e;
    if (const long e = keep_program_on_fork(); e < 0) return e;
    // CLONE_VFORK without CLONE_VM: we wait until the command was executed or is dead, in memory of
    // our own.
    const uint64_t all = ~uint64_t{0};
    if (const long e = call(__NR_rt_sigprocmask, sig_setmask, &all, 0L, 8); e < 0) return e;
    // Not clone3(2): a filter may be loaded already, and cannot look into its arguments.
    const long pid =
        call(__NR_clone, clone_vfork | static_cast<uint64_t>(sig_chld), 0L, 0L, 0L, 0L);
    if (pid < 0) return pid;
    if (pid == 0) {
      if (const long e = call(__NR_prctl, pr_set_pdeathsig, sig_kill, 0, 0, 0); e < 0)
        return at(Part::death_signal, e);
      cx_.zygote = -1;
      return 0;
    }
    be_init(static_cast<int>(pid));
    return 0;
  }

  // ---- hooks ----

  long look_at_clock(int64_t& time) {
    Timespec t{0, 0};
    const long e = call(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &t);
    time = t.sec * 1000000000 + t.nsec;
    return e;
  }

  /// A program of the caller's, which has nothing of ours: not a descriptor, not our session.
  long run_hook(const Rec& x) {
    int64_t began = 0;
    if (const long e = look_at_clock(began); e < 0) return e;
    if (const long e = keep_program_on_fork(); e < 0) return e;
    const long input = hook_input(x);
    if (input < 0) return at(Part::write, input);
    int ends[2] = {-1, -1};
    if (const long e = call(__NR_pipe2, ends, o_cloexec); e < 0) return close(input), e;
    int hook = -1;
    // Not clone3(2), as in start_init(). The third argument is where the pidfd goes.
    const long pid =
        call(__NR_clone, clone_pidfd | static_cast<uint64_t>(sig_chld), 0L, &hook, 0L, 0L);
    if (pid == 0) become_hook(x, static_cast<int>(input), ends[0], ends[1]);
    close(input);
    close(ends[1]);
    long e = pid;
    if (pid > 0) {
      e = call(__NR_fcntl, ends[0], 4 /* F_SETFL */, o_rdonly | o_nonblock);
      if (e >= 0) e = await_hook(x, hook, ends[0], began);
      // Whatever happens it does not outlive its failure, and is not left to the command to reap.
      if (e < 0) end_hook(static_cast<int>(pid), hook);
    }
    close(hook);
    close(ends[0]);
    return e;
  }

  /// It is read to its end and holds nobody up.
  long hook_input(const Rec& x) {
    long fd = call(__NR_memfd_create, "hook", mfd_cloexec | mfd_noexec_seal);
    if (fd == -e_inval) fd = call(__NR_memfd_create, "hook", mfd_cloexec);  // before Linux 6.3
    if (fd < 0) return fd;
    for (size_t done = 0; done < x.s[2].size;) {
      const long n = call(__NR_pwrite64, fd, str(x, 2) + done, x.s[2].size - done, done);
      if (n <= 0) return close(fd), n < 0 ? n : -e_inval;
      done += static_cast<size_t>(n);
    }
    return fd;
  }

  [[noreturn]] void become_hook(const Rec& x, int input, int read_end, int output) {
    const long e = prepare_hook(x, input, read_end, output);
    if (e == 0) {
      char* const program = str(x, 0);
      auto** argv = reinterpret_cast<char**>(str(x, 3));
      char** envp = argv + x.n[0];
      char* p = program + length(program) + 1;
      for (uint64_t i = 0; i + 1 < x.n[0]; ++i, p += length(p) + 1) argv[i] = p;
      argv[x.n[0] - 1] = nullptr;
      p = str(x, 1);
      for (uint64_t i = 0; i < x.n[1]; ++i, p += length(p) + 1) envp[i] = p;
      envp[x.n[1]] = nullptr;
      cx_.page->error = static_cast<int32_t>(-call(__NR_execve, program, argv, envp));
    } else {
      cx_.page->error = static_cast<int32_t>(-e);
    }
    cx_.page->part = Part::hook_exec;
    leave(hook_never_ran);
  }
  long prepare_hook(const Rec& x, int input, int read_end, int output) {
    if (const long e = call(__NR_prctl, pr_set_pdeathsig, sig_kill, 0, 0, 0); e < 0) return e;
    close(read_end);
    // Nobody reads any more: whoever wanted it was dead before that.
    PollFd alive{output, 0, 0};
    const Timespec none{0, 0};
    if (const long n = call(__NR_ppoll, &alive, 1, &none, 0L, 8); n != 0)
      return n < 0 ? n : -e_pipe;
    if (const long e = call(__NR_setsid); e < 0) return e;
    const long in = call(__NR_fcntl, input, 1030 /* F_DUPFD_CLOEXEC */, 3);
    const long out = call(__NR_fcntl, output, 1030, 3);
    if (in < 0 || out < 0) return in < 0 ? in : out;
    for (int number = 0; number < 3; ++number)
      if (const long e = call(__NR_dup3, number == 0 ? in : out, number, 0); e < 0) return e;
    if (const long e = call(__NR_close_range, 3, 0xffffffffL, 0); e < 0) return e;
    if (const long e = call(__NR_chdir, "/"); e < 0) return e;
    if (cx_.nofile.hard != 0 && !nofile_set_)
      if (const long e = call(__NR_prlimit64, 0, rlimit_nofile, &cx_.nofile, 0L); e < 0) return e;
    if (const long e = call(__NR_umask, 022); e < 0) return e;
    const uint64_t no_signals = 0;
    if (const long e = call(__NR_rt_sigprocmask, sig_setmask, &no_signals, 0L, 8); e < 0) return e;
    if ((x.flags & hook_filtered) == 0) return 0;
    // What the command gets, in the same order; none of them asks anybody.
    const Rec* const end = reinterpret_cast<const Rec*>(program_ + 1) + program_->count;
    for (const Rec* later = &x + 1; later < end; ++later) {
      if (later->code != Code::load_seccomp || later->n[2] != 0) continue;
      const FilterProgram filter{static_cast<uint16_t>(later->s[0].size / 8), str(*later, 0)};
      if (const long e = call(__NR_seccomp, seccomp_set_mode_filter, later->n[0], &filter); e < 0)
        return e;
    }
    return 0;
  }

  long await_hook(const Rec& x, int hook, int output, int64_t began) {
    HookOutput said{};
    const int64_t until = began + static_cast<int64_t>(x.n[2]);
    bool open = true;
    SigInfo info{};
    for (;;) {
      int64_t now = 0;
      if (const long e = look_at_clock(now); e < 0) return e;
      said.took = static_cast<uint64_t>(now - began);
      const int64_t left = until > now ? until - now : 0;
      const Timespec limit{left / 1000000000, left % 1000000000};
      PollFd list[4] = {{hook, pollin, 0},
                        {cx_.sync, static_cast<int16_t>(pollrdhup), 0},
                        {open ? output : -1, pollin, 0},
                        {cx_.zygote, pollin, 0}};
      const long n = call(__NR_ppoll, list, cx_.zygote < 0 ? 3 : 4, &limit, 0L, 8);
      if (n == -e_intr) continue;
      if (n < 0) return n;
      if (list[1].revents != 0 || list[3].revents != 0) return at(Part::host_gone, -e_pipe);
      if (list[2].revents != 0) {
        const long more = read_hook(x, output, said);
        if (more < 0 && more != -e_again) return at(Part::write, more);
        open = more != 0;
      }
      if (list[0].revents != 0) break;
      if (left == 0) {  // and its end was looked for after that
        const long e = keep_hook(x, said);
        return e < 0 ? e : at(Part::hook_time, -e_timedout);
      }
    }
    // What it left running may hold the pipe for ever, and fill it.
    for (int pieces = 0; open && pieces < 64; ++pieces) {
      const long more = read_hook(x, output, said);
      if (more < 0 && more != -e_again) return at(Part::write, more);
      if (more <= 0) break;
    }
    // It stays a zombie until its group is dead, so that the number is nobody else's.
    if (const long e = call(__NR_waitid, p_pidfd, hook, &info, wexited | wnowait | wall, 0L); e < 0)
      return e;
    const bool exited = info.code == cld_exited;
    int64_t ended = 0;
    if (const long e = look_at_clock(ended); e < 0) return e;
    said.took = static_cast<uint64_t>(ended - began);
    if (const long e = keep_hook(x, said); e < 0) return e;
    if (exited && info.status == 0)
      return call(__NR_waitid, p_pidfd, hook, &info, wexited | wall, 0L);
    if (exited && info.status == hook_never_ran && cx_.page->part == Part::hook_exec)
      return at(Part::hook_exec, -cx_.page->error);
    detail_ = static_cast<uint16_t>((exited ? 0 : 256) + (info.status & 0xff));
    return at(Part::hook_status, -e_child);
  }
  void end_hook(int pid, int hook) {
    call(__NR_kill, -pid, sig_kill);
    // Whom we may not kill, as of a program that took other ids, is not waited for.
    if (call(__NR_pidfd_send_signal, hook, sig_kill, 0L, 0) == -e_perm) return;
    SigInfo info;
    while (call(__NR_waitid, p_pidfd, hook, &info, wexited | wall, 0L) == -e_intr) {
    }
  }
  /// A piece of what it says, for the host. 0: that was all.
  long read_hook(const Rec& x, int output, HookOutput& said) {
    char text[1024];
    const long n = call(__NR_read, output, text, sizeof text);
    if (n <= 0) return n == -e_intr ? -e_again : n;
    for (long done = 0; done < n;) {
      const uint64_t where = said.total % hook_text;
      const uint64_t room = hook_text - where;
      const uint64_t rest = static_cast<uint64_t>(n - done);
      const uint64_t piece = rest < room ? rest : room;
      const long w = call(__NR_pwrite64, reg(x, 0), text + done, piece,
                          x.n[3] * hook_place + sizeof said + where);
      if (w <= 0) return w < 0 ? w : -e_inval;
      done += w;
      said.total += static_cast<uint64_t>(w);
    }
    return n;
  }
  long keep_hook(const Rec& x, HookOutput& said) {
    said.ended = 1;
    const long n = call(__NR_pwrite64, reg(x, 0), &said, sizeof said, x.n[3] * hook_place);
    return n < 0 ? at(Part::write, n) : 0;
  }
  static constexpr int hook_never_ran = 127;

  [[noreturn]] void leave(int status) {
    for (int i = 0; i < 2; ++i) call(__NR_exit_group, status);
    __builtin_trap();  // a filter denies it
  }

  [[noreturn]] void be_init(int command) {
    if (cx_.page->state != ChildState::exec || cx_.page->error != 0) leave(125);
    // Nothing of the launch stays open here but the socket that reports the end. Whoever leaves
    // before he has said that the command runs ends the launch.
    if ((cx_.sync > 0 && call(__NR_close_range, 0, cx_.sync - 1, 0) < 0) ||
        call(__NR_close_range, cx_.sync + 1, 0xffffffffL, 0) < 0)
      leave(125);
    if (send(SyncKind::started, static_cast<uint32_t>(command), nullptr, 0) < 0) leave(125);
    if (cx_.arena != nullptr) call(__NR_munmap, cx_.arena, arena_size);
    const uint64_t all = ~uint64_t{0};
    // in a row: neither call has a reason to fail, and an end of ours ends the container
    int failures = 0;
    while (failures < 100) {
      SigInfo info;
      const long signal = call(__NR_rt_sigtimedwait, &all, &info, 0L, 8);
      if (signal == sig_chld) {
        int status = 0;
        for (;;) {
          const long pid = call(__NR_wait4, -1, &status, wnohang | wall, 0L);
          if (pid < 0 && pid != -e_child && ++failures < 100) continue;
          if (pid <= 0) break;
          failures = 0;
          if (pid != command) continue;
          send(SyncKind::ended, static_cast<uint32_t>(status), nullptr, 0);
          const int term = status & 0x7f;
          leave(term != 0 ? 128 + term : (status >> 8) & 0xff);
        }
      } else if (signal > 0) {
        call(__NR_kill, command, signal);
      } else if (signal != -e_intr && signal != -e_again) {
        ++failures;
      }
    }
    leave(125);
  }

  long load_seccomp(const Rec& x) {
    if (x.n[1] != 0)
      if (const long e = make_ready(); e < 0) return e;
    const FilterProgram program{static_cast<uint16_t>(x.s[0].size / 8), str(x, 0)};
    if (x.n[2] == 0) return call(__NR_seccomp, seccomp_set_mode_filter, x.n[0], &program);
    // Linux 5.19: a call that was told of is not taken back for a signal that does not kill.
    long fd = call(__NR_seccomp, seccomp_set_mode_filter,
                   x.n[0] | seccomp_filter_flag_wait_killable, &program);
    if (fd == -e_inval) fd = call(__NR_seccomp, seccomp_set_mode_filter, x.n[0], &program);
    if (fd < 0) return fd;
    // From here on only calls that it does not ask about. The listener is closed by exec.
    const int listener = static_cast<int>(fd);
    return send(SyncKind::listener, 0, &listener, 1, x.n[2] == 2);
  }

  long apply_landlock(const Rec& x) {
    const LandlockRuleset handled{x.n[0], x.n[1], x.n[2]};
    const long rules = call(__NR_landlock_create_ruleset, &handled, sizeof handled, 0);
    if (rules < 0) return rules;
    long e = permit_paths(x, static_cast<int>(rules));
    const auto* ports = reinterpret_cast<const uint64_t*>(str(x, 2));
    for (uint32_t i = 0; e >= 0 && i < x.s[2].size / 8; ++i) {
      const LandlockPort port{ports[i] >> 16U, ports[i] & 0xffff};
      e = call(__NR_landlock_add_rule, rules, landlock_rule_port, &port, 0);
    }
    if (e >= 0) e = call(__NR_landlock_restrict_self, rules, 0);
    close(rules);
    return e;
  }
  /// Each path is looked up from the root, whatever the working directory is.
  long permit_paths(const Rec& x, int rules) {
    if (x.n[3] == 0) return 0;
    const long root = open_how(at_fdcwd, "/", static_cast<uint64_t>(o_path | o_directory), 0);
    if (root < 0) return root;
    const auto* rights = reinterpret_cast<const uint64_t*>(str(x, 1));
    const char* path = str(x, 0);
    long e = 0;
    for (uint64_t i = 0; e >= 0 && i < x.n[3]; ++i, path += length(path) + 1) {
      detail_ = static_cast<uint16_t>(i);
      const long fd = resolve(static_cast<int>(root), path, (rights[i] & landlock_follow) != 0);
      if ((fd == -e_noent || fd == -e_notdir) && (rights[i] & landlock_optional) != 0) continue;
      e = at(Part::resolve_target, fd);
      if (e >= 0) e = at(Part::resolve_target, permit_path(rules, static_cast<int>(fd), rights[i]));
      close(fd);
    }
    close(root);
    return e;
  }
  long permit_path(int rules, int fd, uint64_t rights) {
    uint32_t type = 0;
    if (const long e = type_of(fd, &type); e < 0) return e;
    LandlockPath rule{rights & ~(landlock_follow | landlock_optional), fd};
    if (type != s_ifdir) rule.access &= landlock_of_files;
    if (rule.access == 0) return -e_notdir;  // all of it is for directories
    return call(__NR_landlock_add_rule, rules, landlock_rule_path, &rule, 0);
  }

  /// The last things before the command.
  long make_ready() {
    if (!nofile_set_ && cx_.nofile.hard != 0)
      if (const long e = call(__NR_prlimit64, 0, rlimit_nofile, &cx_.nofile, 0L); e < 0) return e;
    if (const long e = call(__NR_umask, umask_); e < 0) return e;  // a filter's answer
    const uint64_t none = 0;
    if (const long e = call(__NR_rt_sigprocmask, sig_setmask, &none, 0L, 8); e < 0) return e;
    ready_ = true;
    return still_wanted();
  }

  long exec(const Rec& x) {
    if (!ready_)
      if (const long e = make_ready(); e < 0) return e;
    auto** argv = reinterpret_cast<char**>(str(x, 3));
    char** envp = argv + x.n[0] + 1;
    char* p = str(x, 1);
    for (uint64_t i = 0; i < x.n[0]; ++i, p += length(p) + 1) argv[i] = p;
    argv[x.n[0]] = nullptr;
    p = str(x, 2);
    for (uint64_t i = 0; i < x.n[1]; ++i, p += length(p) + 1) envp[i] = p;
    envp[x.n[1]] = nullptr;
    cx_.page->state = ChildState::exec;
    long result = -e_noent;
    p = str(x, 0);
    for (uint64_t i = 0; i < x.n[2]; ++i, p += length(p) + 1) {
      const long e = call(__NR_execve, p, argv, envp);
      detail_ = static_cast<uint16_t>(i);
      // As execvp(3): a missing one is passed over, a forbidden one is remembered.
      if (e == -e_acces)
        result = e;
      else if (e != -e_noent && e != -e_notdir)
        return e;
    }
    return result;
  }

  System& sys_;
  ChildContext& cx_;
  Header* program_ = nullptr;
  int regs_[slot_count];
  int received_[max_passed + 2] = {};
  int masters_[max_ptys + 1] = {};
  unsigned pty_count_ = 0;
  long empty_ = -1;           ///< A masked directory's cover, for the next ones.
  long null_ = -1;            ///< A masked file's.
  int cwd_ = -1;              ///< The descriptor of the working directory, if that is known.
  bool attr_at_once_ = true;  ///< open_tree_attr(2), until the kernel says that it has none.
  unsigned on_root_ = 0;      ///< Mounts stacked on the host's "/".
  int death_signal_ = sig_kill;
  uint32_t umask_ = 022;
  bool nofile_set_ = false;
  bool ready_ = false;  ///< make_ready() was there.
  bool bare_ = false;   ///< The mount namespace began empty.
  Part part_ = Part::whole;
  uint16_t detail_ = 0;
};

}  // namespace condroid::program
