// A path of the container where a path of the host belongs, the other way round, and one that says
// neither.
#include <condroid/path.hpp>

using namespace condroid;
using namespace condroid::literals;

#ifdef CONDROID_WRONG
const HostPath source = "/tmp"_guest;  // wrong: conversion from .*GuestPath.* to .*HostPath
const GuestPath target = "/tmp"_host;  // wrong: conversion from .*HostPath.* to .*GuestPath
const HostPath bare = "/tmp";          // wrong: conversion from .* to .*HostPath
#else
const HostPath source = "/tmp"_host;
const GuestPath target = "/tmp"_guest;
const HostPath bare{"/tmp"};
#endif
