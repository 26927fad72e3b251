// A Runtime's scope: whether systemd is asked, and what becomes of the zygote then. Private.
#pragma once

#include <memory>

#include "launch/zygote.hpp"

namespace condroid::inline v0::detail {

/// Decides by RuntimeOptions::systemd, asks, and puts the zygote and the facts where they belong.
/// Once, by Runtime::open: nobody else has the core yet.
/// @errors what systemd or the bus said, when a scope is required.
[[nodiscard]] Result<void> settle_scope(RuntimeCore& core);

/// Puts the zygote that came in the place of a dead one into a scope of the same name, so that
/// plans and facts stay right. Blocks until systemd has taken the old one away.
[[nodiscard]] Result<void> enter_scope_again(RuntimeCore& core, const Zygote& zygote);

}  // namespace condroid::inline v0::detail
