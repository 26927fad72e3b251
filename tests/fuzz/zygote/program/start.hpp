// Found before src/program/start.hpp: here there is a libc, and somebody who calls.
#pragma once

extern "C" [[noreturn]] void program_main(long* stack);
