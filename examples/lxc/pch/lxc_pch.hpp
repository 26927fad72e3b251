// What every file of these programs includes, compiled once. Never included by hand: each file
// includes what it uses, and is built without this by -Db_pch=false.
#include "../place.hpp"
#include "../say.hpp"
#include "../tools.hpp"
