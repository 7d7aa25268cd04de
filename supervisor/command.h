/* The lines of the control socket: "restart NAME|all", "start NAME", "status", "stop". */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum command_kind { COMMAND_RESTART, COMMAND_START, COMMAND_STATUS, COMMAND_STOP };

struct command {
    enum command_kind kind;
    const char *argument; /* borrowed from the line; NULL for commands without one */
};

/*
 * Reads a line without its newline. The line is cut where the argument begins, and ret_command
 * points into it. Returns false for a word that is no command, for an argument too many, and for
 * one that is missing.
 */
bool command_parse(char *line, struct command *ret_command) MUST_CHECK;
