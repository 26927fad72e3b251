// burn CALL COUNT PROGRAM ARG...: makes the named system call COUNT times with arguments that it
// refuses, then executes PROGRAM. strace counts calls per process, and a container's command is the
// process that was set up before: faults that are meant for others fall on these calls.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr struct {
  const char* name;
  long number;
} calls[] = {
    {"capget", SYS_capget},
    {"clock_gettime", SYS_clock_gettime},
    {"close", SYS_close},
    {"dup3", SYS_dup3},
    {"faccessat", SYS_faccessat},
    {"faccessat2", SYS_faccessat2},
    {"fcntl", SYS_fcntl},
    {"fstat", SYS_fstat},
    {"fstatfs", SYS_fstatfs},
    {"getcwd", SYS_getcwd},
    {"getdents64", SYS_getdents64},
    {"getgroups", SYS_getgroups},
    {"getpriority", SYS_getpriority},
    {"getrandom", SYS_getrandom},
    {"ioctl", SYS_ioctl},
    {"lseek", SYS_lseek},
    {"newfstatat", SYS_newfstatat},
    {"openat", SYS_openat},
    {"openat2", SYS_openat2},
    {"prctl", SYS_prctl},
    {"prlimit64", SYS_prlimit64},
    {"read", SYS_read},
    {"readlinkat", SYS_readlinkat},
    {"recvmsg", SYS_recvmsg},
    {"rt_sigprocmask", SYS_rt_sigprocmask},
    {"sched_getaffinity", SYS_sched_getaffinity},
    {"sched_getscheduler", SYS_sched_getscheduler},
    {"sendmsg", SYS_sendmsg},
    {"socket", SYS_socket},
    {"statfs", SYS_statfs},
    {"statx", SYS_statx},
    {"uname", SYS_uname},
    {"write", SYS_write},
#ifdef SYS_access
    {"access", SYS_access},
    {"poll", SYS_poll},
    {"readlink", SYS_readlink},
    {"stat", SYS_stat},
#endif
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const int count = std::atoi(argv[2]);
  for (const auto& call : calls)
    if (std::strcmp(call.name, argv[1]) == 0)
      for (int i = 0; i < count; ++i) (void)syscall(call.number, -1L, -1L, -1L, -1L, -1L, -1L);
  execv(argv[3], argv + 3);
  std::perror(argv[3]);
  return 127;
}
