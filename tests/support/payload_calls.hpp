#pragma once

int do_calls(int argc, char** argv);
