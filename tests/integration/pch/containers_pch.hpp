// What every file of the integration tests includes, compiled once. Never included by hand: each
// test includes what it uses, and is built without this by -Db_pch=false.
#include "containers.hpp"
