// What there is to see of the devices: a table on a terminal, lines elsewhere, pictures.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "emulator.hpp"

/// The table: a line of titles and one for each device, then advice and ends.
[[nodiscard]] std::vector<std::string> table_of(const Emulator& all);
/// The same as a picture.
[[nodiscard]] std::string table_svg(const Emulator& all);
/// Who was where when: a bar for each device, a part of it for each rung.
[[nodiscard]] std::string timeline_svg(const Emulator& all);

/// Shows the table in place on a terminal, or each event once as a line.
class View {
 public:
  explicit View(bool terminal) : terminal_(terminal) {}
  void show(const Emulator& all);

 private:
  struct Said {
    bool launched = false, over = false;
    std::size_t events = 0, advice = 0;
    unsigned lives = 0;
    State state = State::launching;
  };
  void draw(const Emulator& all);
  void tell(const Guest& guest, Said& said);

  bool terminal_;
  std::size_t drawn_ = 0;  ///< Lines above the cursor that are the table's.
  std::map<const Guest*, Said> said_;
};
