// A list of ops gets one more. Private.
#pragma once

#include <vector>

#include "condroid/plan/op.hpp"

namespace condroid::inline v0::detail {

/// As emplace_back(), compiled once for each kind of op (ops.cpp), rather than in every file that
/// adds some: what a vector of variants needs is most of such a file's code.
template <class O>
void add_op(std::vector<Op>& list, O o);

}  // namespace condroid::inline v0::detail
