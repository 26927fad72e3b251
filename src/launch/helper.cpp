#include "launch/helper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "formatted.hpp"

namespace condroid::inline v0::detail {

std::string one_line(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  return out;
}

Result<std::unique_ptr<Helper>> Helper::start(std::shared_ptr<Zygote> zygote, Encoder& encoder,
                                              std::vector<int> passed, std::string what,
                                              std::uint32_t lives_with, std::uint32_t marks) {
  auto program = encoder.finish(program::no_op);
  if (!program) return fail(program);
  std::unique_ptr<Helper> h(new Helper);
  h->zygote_ = std::move(zygote);
  h->what_ = std::move(what);
  Fd sync_child, exit_zygote;
  if (const int e = socket_pair(h->sync_, sync_child); e != 0)
    return fail(e, Step::run_helper, h->what_);
  if (const int e = socket_pair(h->exit_, exit_zygote); e != 0)
    return fail(e, Step::run_helper, h->what_);
  if (const int e = h->zygote_->take_places(h->live_, h->page_); e != 0) {
    h->ended_ = true;
    if (e != EAGAIN)
      return fail(e, Step::run_helper, formatted("{}: '{}'", h->what_, h->zygote_->state_file()));
    return fail(e, Step::run_helper, h->what_ + ": too many launches at once");
  }
  program::ResultPage& page = h->zygote_->page(h->page_);
  std::memset(&page, 0, offsetof(program::ResultPage, ticks));
  int e = 0;
  for (std::size_t sent = 0; sent < program->size && e == 0;) {
    const std::size_t n = std::min<std::size_t>(program->size - sent, program::chunk_size);
    e = send_message(h->sync_.get(), program->data() + sent, n);
    sent += n;
  }
  program::Request request{};
  request.magic = program::magic;
  request.kind = program::RequestKind::clone;
  request.live = h->live_;
  request.page = h->page_;
  request.lives_with = lives_with;
  request.marks = marks;
  request.program_size = static_cast<std::uint32_t>(program->size);
  std::vector<int> fds = {exit_zygote.get(), sync_child.get()};
  fds.insert(fds.end(), passed.begin(), passed.end());
  if (e == 0) e = h->zygote_->request_surely(request, fds);
  if (e != 0) {
    h->ended_ = true;
    h->zygote_->give_back_live(h->live_);
    h->zygote_->give_back_page(h->page_);
    return fail(e, Step::run_helper, h->what_);
  }
  return h;
}

Result<std::optional<Helper::Outcome>> Helper::step() {
  for (;;) {
    program::Record record{};
    std::array<Fd, 1> fd;
    const bool alive = zygote_->alive();  // asked first: what it said before its end is read
    const Received r = receive_message(exit_.get(), &record, sizeof record, fd);
    if (r.error == EAGAIN && alive) return std::optional<Outcome>{};
    if (r.error != 0 || r.end || r.size != sizeof record || record.magic != program::magic) {
      ended_ = true;
      return fail(Errc::zygote_lost, Step::run_helper, what_);
    }
    if (record.kind == program::RecordKind::cloned) {
      pidfd_ = std::move(fd[0]);
      pid_ = record.pid;
      continue;
    }
    ended_ = true;
    const program::ResultPage& page = zygote_->page(page_);
    Outcome out;
    if (record.kind == program::RecordKind::failed) {
      zygote_->give_back_live(live_);
      zygote_->give_back_page(page_);
      return fail(record.error, Step::run_helper, what_);
    }
    out.code = record.code;
    out.status = record.status;
    out.ended = record.ended;
    out.failed = page.state == program::ChildState::failed;
    out.op = page.op;
    out.error = page.error;
    out.part = page.part;
    out.text.assign(page.text, std::min<std::size_t>(page.text_size, sizeof page.text));
    if (output_.valid() && !serves_) {
      char text[1024];
      const ssize_t n = ::read(output_.get(), text, sizeof text);
      if (n > 0) out.text.assign(text, static_cast<std::size_t>(n));
    }
    while (!out.text.empty() && (out.text.back() == '\n' || out.text.back() == '\0'))
      out.text.pop_back();
    out.text = one_line(out.text);
    for (;;) {
      program::SyncMessage message{};
      std::array<Fd, program::max_passed> fds;
      const Received t = receive_message(sync_.get(), &message, sizeof message, fds);
      if (t.error != 0 || t.end) break;
      for (std::size_t i = 0; i < t.fd_count; ++i) out.received.push_back(std::move(fds[i]));
    }
    zygote_->give_back_live(live_);
    zygote_->give_back_page(page_);
    return out;
  }
}

Helper::~Helper() {
  if (finishes_) release();
  if (ended_ || owner_ != ::getpid()) return;
  sync_.reset();
  // Its end gives the places back; it is killed as soon as its pidfd is known, within milliseconds.
  // Of a zygote that does not say so, nobody waits here.
  for (int i = 0; i < 4 && !ended_; ++i) {
    kill();
    if (auto done = step(); !done || *done) return;
    (void)wait_for_fd(exit_.get(), POLLIN, 25);
  }
  if (!ended_) zygote_->keep_until_end(std::move(exit_), live_, page_);
}

Result<std::unique_ptr<Helper>> Helper::serve(std::shared_ptr<Zygote> zygote,
                                              const std::vector<std::string>& argv,
                                              std::array<int, 2> descriptors, std::uint32_t place) {
  const std::string& tool = argv[0];
  int pair[2];
  // It is not to wait for somebody who does not read.
  if (::pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0) return fail(errno, Step::run_helper, tool);
  Fd read_end(pair[0]);
  const Fd write_end(pair[1]);
  const op::Slot in{0}, out{1}, said{2};
  Encoder encoder;
  for (const op::Slot slot : {in, out, said}) encoder.pass(slot);
  encoder.add(op::ArmDeathSignal{}, 0);
  encoder.add(op::PlaceDescriptors{.entries = {{in, 0}, {out, 1}, {said, 2}}}, 1);
  encoder.add(
      op::Exec{.paths = {tool}, .argv = argv, .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}, 2);
  auto helper = start(std::move(zygote), encoder, {descriptors[0], descriptors[1], write_end.get()},
                      formatted("'{}'", tool), place + 1);
  if (!helper) return helper;
  (*helper)->output_ = std::move(read_end);
  (*helper)->hears_ = (*helper)->serves_ = true;
  return helper;
}

std::string Helper::heard(bool& end) {
  std::string all;
  char text[1024];
  ssize_t n = 0;
  while ((n = ::read(output_.get(), text, sizeof text)) > 0)
    all.append(text, static_cast<std::size_t>(n));
  end = n == 0 || !output_.valid();
  if (end) hears_ = false;
  return all;
}

/// The kernel wrote its pid into the shared file before it ran; its pidfd may not have come, or
/// have found no room here.
void Helper::kill() {
  const int pid = pidfd_.valid() || ended_ ? 0 : zygote_->live(live_).pid;
  if (pid > 1) {
    pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!is_the_one(zygote_->live(live_), pid)) pidfd_.reset();
  }
  if (pidfd_.valid()) (void)pidfd_signal(pidfd_.get(), SIGKILL);
}

void Helper::kill_group() const {
  if (pid_ <= 1 || !pidfd_.valid()) return;
  constexpr unsigned to_group = 1U << 2U;  // PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, to_group) == 0 ||
      errno != EINVAL)
    return;
  // By number: as long as others are in the group, or it is not reaped, that is given to nobody.
  const bool there = pidfd_signal(pidfd_.get(), SIGKILL) == 0;
  if (there || (::kill(pid_, 0) < 0 && errno == ESRCH)) (void)::kill(-pid_, SIGKILL);
}

void Helper::kill_orphans() const {
  if (!ended_ && owner_ == ::getpid() && !zygote_->alive()) kill_group();
}

void Helper::release() {
  if (owner_ != ::getpid() || std::exchange(ended_, true)) return;
  zygote_->keep_until_end(std::move(exit_), live_, page_, true);
}

Result<std::unique_ptr<Helper>> Helper::run(std::shared_ptr<Zygote> zygote,
                                            const std::vector<std::string>& argv, int input,
                                            std::uint32_t marks) {
  const std::string& tool = argv[0];
  int pair[2];
  if (::pipe2(pair, O_CLOEXEC) < 0) return fail(errno, Step::run_helper, tool);
  Fd read_end(pair[0]);
  const Fd write_end(pair[1]);
  if (::fcntl(read_end.get(), F_SETFL, O_NONBLOCK) < 0) return fail(errno, Step::run_helper, tool);
  Fd null;
  if (input < 0) null = Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (input < 0 && !null.valid()) return fail(errno, Step::run_helper, "'/dev/null'");
  const op::Slot in{0}, out{1};
  Encoder encoder;
  encoder.pass(in);
  encoder.pass(out);
  encoder.add(op::ArmDeathSignal{}, 0);
  encoder.add(op::PlaceDescriptors{.entries = {{in, 0}, {out, 1}, {out, 2}}}, 1);
  encoder.add(
      op::Exec{.paths = {tool}, .argv = argv, .env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}, 2);
  // One that is to finish keeps somebody who could read what it says: itself. SIGPIPE would end it.
  const bool finishes = (marks & program::mark_finishes) != 0;
  const int from = finishes ? read_end.get() : input < 0 ? null.get() : input;
  auto helper =
      start(std::move(zygote), encoder, {from, write_end.get()}, formatted("'{}'", tool), 0, marks);
  if (!helper) return helper;
  (*helper)->output_ = std::move(read_end);
  (*helper)->finishes_ = finishes;
  return helper;
}

}  // namespace condroid::inline v0::detail
