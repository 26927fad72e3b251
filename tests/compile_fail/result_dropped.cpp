// The Error of a call that may fail, dropped. The functions are marked one by one: tl::expected 1.0
// is not nodiscard.
#include <condroid/error.hpp>

[[nodiscard]] condroid::Result<int> may_fail();

void user() {
#ifdef CONDROID_WRONG
  may_fail();  // wrong: nodiscard
#else
  if (!may_fail()) return;
#endif
}
