// What clone.cpp and the helper that waits have in common: a child that is to be cloned, and what
// comes of it.
#pragma once

#include "zygote/zygote.hpp"

namespace condroid::zygote {

struct CloneJob {
  bool share_memory;
  CloneArgs args;
  const int* joins;
  unsigned join_count;
  uint64_t join_flags;   // the one of joins is a pidfd
  bool own_descriptors;  // who joins has a table of his own already
  ChildContext* context;
};

/// What is to be cloned: `fds` are the cgroup, if there is one, what is to be joined, the sync
/// socket and what the child gets. Names it where the host looks. 0, or an error.
long prepare(const Request& request, const int* fds, unsigned count, ChildContext& context,
             CloneJob& job);
/// Runs in a process of its own that the zygote waits for: joins namespaces that decide how the
/// child is cloned, and clones it as the zygote's own child, with a copy of the memory.
[[noreturn]] void join_and_clone(const CloneJob& job, int64_t& result);
/// Who was killed before it could tell: the kernel has told where the host looks, if there is a
/// child.
long child_of_helper(long result, int told);
/// The pidfd of a child that was not waited for: the number is still its own. Its pid, or an error.
long open_child(long child, int& pidfd);

/// There is no child.
void refuse(const Request& request, const int* fds, unsigned count, long error);
/// There is one: it is watched, and the host told.
void take_up(const Request& request, long pid, int pidfd, int exit_socket);

/// helper.cpp: the host has asked the helper, and tells us.
void on_clone_by_helper(const Request& request, const int* fds, unsigned count);

}  // namespace condroid::zygote
