// Everything that a program launches containers with, at once. The handles of condroid/sys/ are
// included one by one.
//
//   #include <condroid/condroid.hpp>
#pragma once

#include "condroid/attach.hpp"
#include "condroid/builder.hpp"
#include "condroid/config/seccomp.hpp"
#include "condroid/container.hpp"
#include "condroid/error.hpp"
#include "condroid/host.hpp"
#include "condroid/launch.hpp"
#include "condroid/learn.hpp"
#include "condroid/notify.hpp"
#include "condroid/plan.hpp"
#include "condroid/pool.hpp"
#include "condroid/registry.hpp"
#include "condroid/relay.hpp"
#include "condroid/run.hpp"
#include "condroid/runtime.hpp"
#include "condroid/spec.hpp"
#include "condroid/stats.hpp"
#include "condroid/watch.hpp"
