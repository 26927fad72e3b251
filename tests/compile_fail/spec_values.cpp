// A number without its unit, and flags in a set of another kind.
#include <condroid/spec.hpp>

using namespace condroid;
using namespace condroid::literals;

void user(Spec& spec) {
#ifdef CONDROID_WRONG
  spec.resources.memory_max = 1024;     // wrong: no viable overloaded '='|no match for 'operator='
  spec.process.uid = 1000;              // wrong: no viable overloaded '='|no match for 'operator='
  spec.namespaces = MountFlag::nosuid;  // wrong: no viable overloaded '='|no match for 'operator='
#else
  spec.resources.memory_max = 1024_B;
  spec.process.uid = Uid{1000};
  spec.namespaces = Namespace::pid;
#endif
}
