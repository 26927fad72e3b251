#pragma once

int do_attack(int argc, char** argv);
int do_call(int argc, char** argv);
int do_calls(int argc, char** argv);
int do_device(int argc, char** argv);
int do_interfaces(int argc, char** argv);
int do_reach(int argc, char** argv);
int do_serve(int argc, char** argv);
int do_echo(int argc, char** argv);
int do_give(int argc, char** argv);
