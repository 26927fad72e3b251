// A host process: what a program that links the library looks like, of any size and with any number
// of threads. Driven by the harness over descriptor 3.
#pragma once

namespace bench {

/// Serves until the harness closes the socket. Gives the exit status of the process.
int serve_host_worker();

}  // namespace bench
