// A path of the container where a path of the host belongs.
// wrong: conversion from .*GuestPath.* to .*HostPath
#include <condroid/path.hpp>

using namespace condroid::literals;

#ifdef CONDROID_WRONG
const condroid::HostPath source = "/tmp"_guest;
#else
const condroid::HostPath source = "/tmp"_host;
#endif
