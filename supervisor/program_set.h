/*
 * The programs of one host, by name: what the control socket and the event loop have in common.
 * Single-threaded. now_ms is monotonic.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "supervisor/program.h"

enum { PROGRAMS_MAX = 32 }; /* about three times the endpoints of the whole contract */

struct program_set {
    struct folders folders;
    struct program programs[PROGRAMS_MAX];
    size_t count;
    bool stopping; /* every process was told to leave; nothing is started any more */
};

/* The program of that name, or NULL. Borrowed. */
struct program *program_set_find(struct program_set *set, const char *name);

/*
 * Opens the socket of a new program and starts it. Returns false for a name that is not valid or
 * there already, for one too many, and with a line in the journal for a socket that cannot be made.
 */
bool program_set_add(struct program_set *set, const char *name, int64_t now_ms) MUST_CHECK;

/* Passes READY=1 of a process on to its program; one that is nobody's is left alone. */
void program_set_notify_ready(struct program_set *set, pid_t pid);
/* The same for the end of a process, with a status of waitpid. */
void program_set_notify_exit(struct program_set *set, pid_t pid, int wait_status, int64_t now_ms);

/* program_tick of each. */
void program_set_tick(struct program_set *set, int64_t now_ms);

/* The earliest of their deadlines; INT64_MAX for none. */
int64_t program_set_next_deadline(const struct program_set *set);

/* Tells every process to leave. */
void program_set_stop(struct program_set *set, int64_t now_ms);

bool program_set_any_process(const struct program_set *set);
