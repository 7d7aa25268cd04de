/*
 * The supervisor of one instance: one event loop in which signals arrive through a signalfd,
 * READY=1 through a datagram socket, and commands through a stream socket. Single-threaded; one a
 * process.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "supervisor/control.h"
#include "supervisor/program_set.h"

struct supervisor {
    struct program_set programs;
    struct control control;
    int signal_fd;
    int notify_fd;
    int control_fd;
};

/*
 * Takes STATE/supervisor.pid, which a second supervisor of the same STATE is refused, and makes the
 * sockets for signals and READY=1. Returns false with a message on fd 2.
 */
bool supervisor_open(struct supervisor *supervisor, const struct folders *folders) MUST_CHECK;

/*
 * Starts the programs, then takes commands until it is told to stop and every process has left.
 * Returns the exit status.
 */
int supervisor_run(struct supervisor *supervisor, char **names, size_t name_count);

/* Removes what it has made under STATE. */
void supervisor_close(const struct supervisor *supervisor);
