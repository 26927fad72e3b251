// The programs there are, by name.
#pragma once

#include "tool.hpp"

#define EACH_TOOL(ONE)   \
  ONE(lxc_attach)        \
  ONE(lxc_autostart)     \
  ONE(lxc_cgroup)        \
  ONE(lxc_checkconfig)   \
  ONE(lxc_config)        \
  ONE(lxc_console)       \
  ONE(lxc_copy)          \
  ONE(lxc_create)        \
  ONE(lxc_destroy)       \
  ONE(lxc_device)        \
  ONE(lxc_execute)       \
  ONE(lxc_freeze)        \
  ONE(lxc_info)          \
  ONE(lxc_ls)            \
  ONE(lxc_monitor)       \
  ONE(lxc_snapshot)      \
  ONE(lxc_start)         \
  ONE(lxc_stop)          \
  ONE(lxc_top)           \
  ONE(lxc_unfreeze)      \
  ONE(lxc_unshare)       \
  ONE(lxc_update_config) \
  ONE(lxc_usernsexec)    \
  ONE(lxc_wait)

#define ONE(name) extern const Tool name;
EACH_TOOL(ONE)
#undef ONE
