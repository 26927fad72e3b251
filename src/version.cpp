#include "condroid/version.hpp"

namespace condroid {
inline namespace v0 {

std::string_view library_version() noexcept { return version; }

}  // namespace v0
}  // namespace condroid
