/*
 * Handler processes: their listening sockets, their lives, and the change from an old process to a
 * new one without a refused connection.
 *
 * The supervisor binds each socket once and holds it for its own life, so a request that arrives
 * while no process runs waits in the listen queue. A process gets the socket on fd 0, its log on
 * fds 1 and 2, and says READY=1 on $NOTIFY_SOCKET (the sd_notify protocol) when it serves. A
 * program that serves no requests (workers/) leaves its socket alone.
 *
 * Single-threaded: everything here is called from the one event loop of supervisor.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    HANDLERS_MAX = 32, /* about three times the endpoints of the whole contract */
    HANDLER_NAME_BYTES_MAX = 32,
    PATH_BYTES_MAX = 512,
    DRAINING_MAX = 32, /* a restart drill of 20 leaves at most 20 old processes */
    ENVIRONMENT_BYTES_MAX = 256 * 1024,
    ENVIRONMENT_ENTRIES_MAX = 1024,

    READY_MS_MAX = 10000,  /* from exec to READY=1 when a restart waits for it */
    DRAIN_KILL_MS = 35000, /* DRAIN_MS_MAX of base/limits.h and 5 s to end */
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MS_MAX = 5000,
    BACKOFF_RESET_MS = 10000, /* a process that lived this long starts from the first delay */
    EXIT_CONFIGURATION = 78,  /* EX_CONFIG of sysexits.h: starting again would not help */
};

/* Where the supervisor works; the strings live as long as the supervisor. */
struct folders {
    const char *bin;         /* executables, one a handler */
    const char *state;       /* sockets/, notify.sock, supervisor.sock */
    const char *logs;        /* HANDLER.log, opened anew by every process that starts */
    const char *environment; /* file of NAME=VALUE, each ended by NUL; NULL inherits ours */
};

/* One process. pid 0: none. */
struct process {
    pid_t pid;
    int64_t started_ms; /* monotonic */
    int64_t kill_at_ms; /* draining: when SIGKILL follows; 0: not asked to leave */
    bool ready;         /* READY=1 arrived */
};

/* An endpoint: its socket, the process that serves it, and those on their way in and out. */
struct handler {
    char name[HANDLER_NAME_BYTES_MAX];
    int listen_fd;
    struct process current;
    struct process next;                   /* a restart waits for its READY=1 */
    struct process draining[DRAINING_MAX]; /* were told to leave; unused entries have pid 0 */
    int64_t start_at_ms;                   /* when a dead one is started again; 0: not planned */
    int64_t backoff_ms;                    /* the delay after the next death */
    unsigned restarts;                     /* starts after a death */
    bool misconfigured;                    /* left with EXIT_CONFIGURATION; waits for `restart` */
};

/* What became of a restart. */
enum restart_result { RESTART_PENDING, RESTART_DONE, RESTART_FAILED };

/* One JSON line on fd 2. handler may be NULL. message: plain ASCII without quotes. */
void supervisor_log(const char *level, const char *handler, const char *message, int64_t number);

/* True for a lower-case name of letters, digits and dashes that fits struct handler. */
bool handler_name_valid(const char *name);

/*
 * Binds STATE/sockets/NAME.sock, mode 0660, under a temporary name renamed into place, so that
 * nobody ever finds a socket that is not listening. Returns false with a log line otherwise.
 * handler: filled; its listen_fd is closed by nobody but the end of the supervisor.
 */
bool handler_open(struct handler *handler, const char *name, const struct folders *folders);

/* Removes the socket's name. Requests that still wait in its queue are refused from then on. */
void handler_unlink(const struct handler *handler, const struct folders *folders);

/* Starts the first process. A failure is logged and tried again later. */
void handler_start(struct handler *handler, const struct folders *folders);

/* Starts the process that shall take over. Returns false with the reason in ret_reason. */
bool handler_restart_begin(struct handler *handler, const struct folders *folders,
                           const char **ret_reason);

/* How the restart that was begun stands; when it failed, ret_reason says why. */
enum restart_result handler_restart_poll(struct handler *handler, int64_t now_ms,
                                         const char **ret_reason);

/* Takes note that pid said READY=1. Returns false when pid is none of this handler. */
bool handler_notify_ready(struct handler *handler, pid_t pid);

/* Takes note that pid ended. Returns false when pid is none of this handler. */
bool handler_notify_exit(struct handler *handler, pid_t pid, int wait_status);

/* Starts what is due and kills what drains too long. */
void handler_tick(struct handler *handler, const struct folders *folders, int64_t now_ms);

/* The earliest time at which handler_tick or handler_restart_poll has work; INT64_MAX for none. */
int64_t handler_next_deadline(const struct handler *handler);

/* Asks every process of it to leave (SIGTERM, after DRAIN_KILL_MS SIGKILL); starts none again. */
void handler_stop(struct handler *handler);

/* Number of its processes that live, draining ones included. */
size_t handler_process_count(const struct handler *handler);
size_t handler_draining_count(const struct handler *handler);
