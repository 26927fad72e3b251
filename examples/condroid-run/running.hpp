// What --ps and --stop do with containers that run already.
#pragma once

#include <string>

/// Prints a table of this user's running containers. The exit status.
[[nodiscard]] int list_running();
/// Ends the one of this name, id or pid. The exit status.
[[nodiscard]] int stop_running(const std::string& what);
