/* The supervisor's log: JSON lines on fd 2, of the form the handlers' logs have. */
#pragma once

#include <stdint.h>

/*
 * Writes one line. level: debug, info, warning or error. program: the one it is about, or NULL.
 * message: plain ASCII without quotes. number: what the message ends with (a pid, an errno).
 */
void journal_write(const char *level, const char *program, const char *message, int64_t number);
