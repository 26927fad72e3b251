#include "launcher.hpp"

namespace bench {

std::unique_ptr<Launcher> make_launcher(const Work&, std::string* error) {
  *error = "this benchmark was built without the library";
  return nullptr;
}

}  // namespace bench
