/*
 * One process of a program: it gets the program's socket on fd 0, its log on fds 1 and 2, and says
 * READY=1 on $NOTIFY_SOCKET (the sd_notify protocol) when it serves. Should the supervisor die, the
 * kernel sends it SIGTERM.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum {
    PROCESS_PATH_BYTES_MAX = 512,
    PROCESS_READY_MS_MAX = 10000, /* from exec to READY=1 when a restart waits for it */
    PROCESS_DRAIN_MS_MAX = 35000, /* DRAIN_MS_MAX of base/limits.h and 5 s to end */
};

/* Where the supervisor works; the strings live as long as the supervisor. */
struct folders {
    const char *bin;         /* executables, one a program */
    const char *state;       /* sockets/, notify.sock, supervisor.sock */
    const char *logs;        /* NAME.log, opened anew by every process that starts */
    const char *environment; /* of environment_load; NULL inherits ours */
};

/* pid 0: none. */
struct process {
    pid_t pid;
    int64_t started_ms; /* monotonic */
    int64_t kill_at_ms; /* draining: when SIGKILL follows; 0: not asked to leave */
    bool ready;         /* READY=1 arrived */
};

/*
 * Starts BIN/name with listen_fd as its fd 0. Returns false, with a line in the journal, when no
 * process could be made; that its file cannot be executed is exit status 127 later on.
 */
bool process_start(const char *name, int listen_fd, const struct folders *folders,
                   struct process *ret_process) MUST_CHECK;

/* Asks it to leave (SIGTERM) and notes when it will be killed. */
void process_terminate(struct process *process, int64_t now_ms);

/* Kills one that was asked to leave and has had its time; name is for the journal. */
void process_kill_when_due(struct process *process, const char *name, int64_t now_ms);
