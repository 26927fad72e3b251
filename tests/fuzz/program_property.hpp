// What holds for any bytes that a child is sent as its program: they are refused before anything is
// done, or they are run to an end, and in no case is a byte outside of them touched. Used by the
// fuzz target and, with its seeds and with spoiled programs, by a unit test.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "program/interpreter.hpp"
#include "recording_system.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONDROID_ADDRESS_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CONDROID_ADDRESS_SANITIZER
#endif

namespace program_property {

/// A copy of the bytes with nothing behind them: an access there ends this program.
class Guarded {
 public:
  explicit Guarded(std::string_view bytes) {
#if defined(CONDROID_ADDRESS_SANITIZER)
    start_ = static_cast<char*>(std::malloc(bytes.size()));
    if (start_ == nullptr) throw std::bad_alloc();
    at_ = start_;
#else
    constexpr std::size_t page = 1U << 16U;  // a multiple of any page size here
    size_ = (bytes.size() / page + 1) * page + page;
    start_ = static_cast<char*>(
        ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (start_ == MAP_FAILED) throw std::bad_alloc();
    char* const end = start_ + size_ - page;
    ::mprotect(end, page, PROT_NONE);
    at_ = end - (bytes.size() + 7) / 8 * 8;
#endif
    std::memcpy(at_, bytes.data(), bytes.size());
  }
  Guarded(const Guarded&) = delete;
  ~Guarded() {
#if defined(CONDROID_ADDRESS_SANITIZER)
    std::free(start_);
#else
    ::munmap(start_, size_);
#endif
  }
  [[nodiscard]] char* data() const { return at_; }

 private:
  char* start_ = nullptr;
  char* at_ = nullptr;
  [[maybe_unused]] std::size_t size_ = 0;  // of what is mapped
};

struct Outcome {
  std::string broken = {};  ///< What does not hold; empty when all does.
  bool valid = false;       ///< The program was run.
};

inline Outcome check(std::string_view bytes) {
  namespace program = condroid::program;
  using condroid::test::RecordingSystem;
  Outcome out;
  if (bytes.size() < sizeof(program::Header) || bytes.size() > program::max_program) return out;
  const Guarded copy(bytes);
  const auto* header = reinterpret_cast<const program::Header*>(copy.data());

  auto page = std::make_unique<program::ResultPage>();
  RecordingSystem system(*page);
  system.remember = false;
  system.incoming.assign(bytes);
  // What a host could answer.
  using K = program::SyncKind;
  for (const auto& [kind, count] :
       {std::pair{K::post_configure, 0U}, std::pair{K::post_configure, 2U},
        std::pair{K::post_cgroup, 0U}, std::pair{K::resume, 0U}})
    system.answers.push_back({kind, count});
  program::ChildContext context;
  context.sync = 100;
  context.zygote = 6;
  system.open[context.sync] = {.what = "sync"};
  system.open[context.zygote] = {.what = "zygote"};
  context.program_size = static_cast<std::uint32_t>(bytes.size());
  context.room = copy.data();
  context.page = page.get();
  while (context.passed_count < header->passed && context.passed_count < program::max_passed) {
    const int fd = 110 + static_cast<int>(context.passed_count);
    context.passed[context.passed_count++] = fd;
    system.open[fd] = {.what = "passed"};
  }
  std::size_t calls = 0;
  system.before = [&](const condroid::test::Call& c) -> std::optional<long> {
    if (c.nr != __NR_recvfrom) ++calls;
    return {};
  };

  using program::ChildState;
  program::Interpreter<RecordingSystem> child(system, context);
  try {
    const int status = child.run();
    if (status == 0 ? page->state != ChildState::done : page->state != ChildState::failed)
      out.broken = "it came back, and the result page does not say so";
    if (status != 0 && page->error <= 0) out.broken = "a failure without an errno";
  } catch (const RecordingSystem::Executed&) {
    if (page->state != ChildState::exec) out.broken = "executed without the mark";
  } catch (const RecordingSystem::Left&) {
    out.broken = "nobody was to be an init here";
  } catch (const RecordingSystem::Endless&) {
    // A long path, looked up often. It does end.
  }
  out.valid = calls > 0;
  if (!out.valid && page->error != 71 /* EPROTO */) out.broken = "refused with another errno";
  if (page->stamps > std::size(page->ticks)) out.broken = "more stamps than there is room for";
  if (page->text_size > sizeof page->text) out.broken = "more text than there is room for";
  return out;
}

}  // namespace program_property
