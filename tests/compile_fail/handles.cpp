// Handles own what they name: nothing of it has two owners, and what is borrowed is not owned.
#include <condroid/launch.hpp>
#include <utility>

using namespace condroid;

void user(Fd fd, FdView borrowed, Container box, Launch launch) {
#ifdef CONDROID_WRONG
  Fd second_fd = fd;              // wrong: deleted (function|constructor)
  Fd owner = borrowed;            // wrong: no viable conversion|conversion from
  Container second_box = box;     // wrong: deleted (function|constructor)
  Launch second_launch = launch;  // wrong: deleted (function|constructor)
#else
  Fd second_fd = std::move(fd);
  FdView owner = borrowed;
  Container second_box = std::move(box);
  Launch second_launch = std::move(launch);
#endif
  (void)owner;
}
