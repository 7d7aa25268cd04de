/*
 * A supervised program (a handler, or a worker beside them): its listening socket, its processes,
 * and the change from an old process to a new one without a refused connection.
 *
 * The supervisor binds each socket once and holds it for its own life, so a request that arrives
 * while no process runs waits in the listen queue. A program that serves no requests leaves its
 * socket alone.
 *
 * Single-threaded: everything here is called from the one event loop of supervisor.c. now_ms is
 * monotonic.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "supervisor/backoff.h"
#include "supervisor/process.h"

enum {
    PROGRAM_NAME_BYTES_MAX = 32,
    PROGRAM_DRAINING_MAX = 32,      /* a restart drill of 20 leaves at most 20 old processes */
    PROGRAM_STATUS_BYTES_MAX = 160, /* a line of program_format_status */
};

struct program {
    char name[PROGRAM_NAME_BYTES_MAX];
    int listen_fd;
    struct process current;
    struct process next;                           /* a restart waits for its READY=1 */
    struct process draining[PROGRAM_DRAINING_MAX]; /* were told to leave; pid 0 is a free place */
    int64_t start_at_ms; /* when a dead one is started again; 0: not planned */
    struct backoff backoff;
    unsigned restarts;  /* starts after a death */
    bool misconfigured; /* left with EX_CONFIG; waits for a restart */
};

/*
 * waiting: no process, one is planned. misconfigured: the process refused its configuration, and
 * starting it again would not help.
 */
enum program_state {
    PROGRAM_WAITING,
    PROGRAM_STARTING,
    PROGRAM_READY,
    PROGRAM_MISCONFIGURED,
};

/* What became of a restart. */
enum restart_result { RESTART_PENDING, RESTART_DONE, RESTART_FAILED };

/* True for a lower-case name of letters, digits and dashes that fits struct program. */
bool program_name_valid(const char *name);

/*
 * Binds STATE/sockets/NAME.sock, mode 0660, under a temporary name renamed into place, so that
 * nobody ever finds a socket that is not listening. name: a valid one. Returns false with a line in
 * the journal otherwise. ret_program: filled; its listen_fd stays open until the supervisor ends.
 */
bool program_open(const char *name, const struct folders *folders,
                  struct program *ret_program) MUST_CHECK;

/* Removes the socket's name. Requests that still wait in its queue are refused from then on. */
void program_unlink(const struct program *program, const struct folders *folders);

/* Starts the first process. A failure is in the journal and tried again later. */
void program_start(struct program *program, const struct folders *folders, int64_t now_ms);

/* Starts the process that shall take over. Returns false with the reason in ret_reason. */
bool program_restart_begin(struct program *program, const struct folders *folders,
                           const char **ret_reason) MUST_CHECK;

/* How the restart that was begun stands; when it failed, ret_reason says why. */
enum restart_result program_restart_poll(struct program *program, int64_t now_ms,
                                         const char **ret_reason) MUST_CHECK;

/* Takes note that pid said READY=1. Returns false when pid is none of this program. */
bool program_notify_ready(struct program *program, pid_t pid);

/* Takes note that pid ended, with a status of waitpid. Returns false when pid is none of it. */
bool program_notify_exit(struct program *program, pid_t pid, int wait_status, int64_t now_ms);

/* Starts what is due and kills what drains too long. */
void program_tick(struct program *program, const struct folders *folders, int64_t now_ms);

/* The earliest time at which program_tick or program_restart_poll has work; INT64_MAX: none. */
int64_t program_next_deadline(const struct program *program);

/* Asks every process of it to leave; starts none again. */
void program_stop(struct program *program, int64_t now_ms);

/* Number of its processes that live, draining ones included. */
size_t program_process_count(const struct program *program);
size_t program_draining_count(const struct program *program);

enum program_state program_get_state(const struct program *program);

/*
 * Writes "NAME pid=N state=STATE uptime=SECONDS restarts=N draining=N\n" and returns its length.
 * pid is 0 while there is no process.
 */
size_t program_format_status(const struct program *program, int64_t now_ms,
                             char ret_line[static PROGRAM_STATUS_BYTES_MAX]);
