// An image whose path leads to another by the time that it is mounted.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "attacks/attacks.hpp"
#include "forked.hpp"

namespace {

using namespace condroid;                 // NOLINT(google-build-using-namespace)
using namespace condroid::test;           // NOLINT(google-build-using-namespace)
using namespace condroid::test::attacks;  // NOLINT(google-build-using-namespace)

void shell(const std::string& command) {
  must(std::system((command + " > /dev/null 2>&1").c_str()) == 0, command);
}

/// Two images, each with its name in the file "which" and as its label.
class TwoImages : public TempDir {
 public:
  TwoImages() {
    const TempRoot root;
    for (const char* name : {"checked", "other"}) {
      make_file(root / "which", name);
      shell(fmt::format("truncate -s 16M {0} && mkfs.ext4 -q -L {1} -d {2} {0}", *this / name, name,
                        root.str()));
    }
  }
};

/// Both as block devices, by links of these names.
class TwoDevices : public TempDir {
 public:
  explicit TwoDevices(const TwoImages& images) {
    for (const char* name : {"checked", "other"}) {
      shell(fmt::format("ln -s $(losetup -f --show {}) {}", images / name, *this / name));
      made_.push_back(std::filesystem::read_symlink(*this / name));
    }
  }
  ~TwoDevices() {
    for (const std::string& device : made_) (void)std::system(("losetup -d " + device).c_str());
  }

 private:
  std::vector<std::string> made_ = {};
};

/// A host that launches again and again, and is stopped behind one of its system calls.
class Traced {
 public:
  Traced(const Spec& spec, std::string path)
      : path_(std::move(path)), child_([&] {
          (void)runtime();
          ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
          for (;;) {
            ::raise(SIGSTOP);
            std::string said;
            try {
              said = run(spec)["/which"];
            } catch (const std::exception& e) {
              said = e.what();
            }
            said += "\n";
            write_to(to_, said);
          }
        }) {
    to_.reset();
    until_stopped();
    must(::ptrace(PTRACE_SETOPTIONS, child_.pid(), nullptr,
                  PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0,
         "trace");
  }

  /// Launches, and does something when that many system calls have come back since the image was
  /// opened. What the container has, or nothing if the image was mounted before that.
  template <class Disturb>
  std::string disturbed(int calls, Disturb disturb) {
    int seen = -1;  // not opened yet
    bool mounted = false, done = false;
    for (;;) {
      const bool watching = !mounted && !done;
      go(watching ? PTRACE_SYSCALL : PTRACE_CONT);
      if (signal_ == SIGSTOP) break;
      if (signal_ != syscall_stop) continue;
      __ptrace_syscall_info info{};
      must(::ptrace(PTRACE_GET_SYSCALL_INFO, child_.pid(), sizeof info, &info) > 0, "its call");
      if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        opens_ = info.entry.nr == SYS_openat && text_at(info.entry.args[1]) == path_;
        mounts_ = info.entry.nr == SYS_fsmount;
        continue;
      }
      if (info.op != PTRACE_SYSCALL_INFO_EXIT) continue;
      mounted = seen >= 0 && mounts_;
      if (seen >= 0 || opens_) ++seen;
      if (mounted || seen != calls) continue;
      disturb();
      done = true;
    }
    const std::string said = read_until(from_, "\n");
    return done ? said : "";
  }

 private:
  static constexpr int syscall_stop = SIGTRAP | 0x80;

  void until_stopped() {
    int status = 0;
    must(::waitpid(child_.pid(), &status, 0) == child_.pid() && WIFSTOPPED(status), "it ended");
    signal_ = WSTOPSIG(status);
  }
  void go(__ptrace_request how) {
    const bool its_own = signal_ != syscall_stop && signal_ != SIGSTOP && signal_ != SIGTRAP;
    must(::ptrace(how, child_.pid(), nullptr, its_own ? signal_ : 0) == 0, "go on");
    until_stopped();
  }
  std::string text_at(std::uint64_t address) const {
    std::string text(path_.size() + 1, '\0');
    iovec here{text.data(), text.size()}, there{reinterpret_cast<void*>(address), text.size()};
    const auto n = ::process_vm_readv(child_.pid(), &here, 1, &there, 1, 0);
    return n > 0 ? std::string(text.c_str()) : "";
  }

  static std::array<int, 2> pipe() {
    std::array<int, 2> ends{};
    must(::pipe2(ends.data(), O_CLOEXEC) == 0, "pipe");
    return ends;
  }

  std::string path_;
  std::array<int, 2> ends_ = pipe();
  Fd from_{ends_[0]}, to_{ends_[1]};
  Forked child_;
  int signal_ = 0;
  bool opens_ = false, mounts_ = false;
};

}  // namespace

TEST_CASE("an image that is exchanged after it was looked into is not what is mounted",
          "[attack][.root]") {
  const TwoImages images;
  SECTION("condroid, behind each of its system calls") {
    const std::string what = GENERATE("to be written", "read-only", "a device");
    CAPTURE(what);
    std::optional<TwoDevices> devices;
    if (what == "a device") devices.emplace(images);
    const TempDir& dir = devices ? static_cast<const TempDir&>(*devices) : images;
    const auto exchange = [&] {
      must(::syscall(SYS_renameat2, AT_FDCWD, (dir / "checked").c_str(), AT_FDCWD,
                     (dir / "other").c_str(), RENAME_EXCHANGE) == 0,
           "renameat2");
    };
    Spec spec = payload({"read", "/which"});
    spec.root.image.path = dir.host("checked");
    spec.root.read_only = what == "read-only";
    Traced host(spec, dir / "checked");
    int exchanged = 0;
    for (;; ++exchanged) {
      CAPTURE(exchanged);
      const std::string said = host.disturbed(exchanged, exchange);
      if (said.empty()) break;
      exchange();
      CHECK(said == "checked\n");
    }
    CHECK(exchanged > 10);
    // One that comes earlier is noticed.
    exchange();
    CHECK(run(spec)["/which"] == "other");
  }
  SECTION("naive") {
    const TempDir root;
    const Naive how{.root = root.str(),
                    .argv = {"/bin/payload", "read", "/which"},
                    .image = images / "checked",
                    .image_label = "checked"};
    CHECK(run_naive(how).out == "/which=checked\n");
    Naive twice = how;
    twice.opens_twice = true;
    const Exchanger exchanger({{images / "checked", images / "other"}});
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    std::string seen;
    while (seen != "/which=other\n" && std::chrono::steady_clock::now() < until)
      seen = run_naive(twice).out;
    CHECK(seen == "/which=other\n");
  }
}
