/*
 * The control socket: what `supervisor --control` asks for, who asked, and the queue of restarts,
 * which run one at a time. Answers are lines of text of which the last is "ok" or "error: WHY".
 * Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/program_set.h"

enum {
    CONTROL_CLIENTS_MAX = 16,
    CONTROL_COMMAND_BYTES_MAX = 128,
    CONTROL_ANSWER_BYTES_MAX = PROGRAMS_MAX * PROGRAM_STATUS_BYTES_MAX + 64,
};

/* Somebody on the control socket, or SIGHUP (fd -1). */
struct control_client {
    bool used;
    int fd;
    size_t len;
    char line[CONTROL_COMMAND_BYTES_MAX];
    bool queued;        /* asked for a restart: programs first to last, the queue is by number */
    unsigned number;    /* order of arrival */
    size_t first, last; /* programs still to be restarted, last not included */
    bool begun;         /* programs[first] has its new process under way */
};

struct control {
    struct program_set *programs; /* borrowed */
    struct control_client clients[CONTROL_CLIENTS_MAX];
    unsigned number; /* of the last restart that was queued */
};

void control_init(struct control *control, struct program_set *programs);

/*
 * Takes over a connection that was accepted, non-blocking. One too many is closed. Free again when
 * its command is answered.
 */
void control_accept(struct control *control, int fd);

/* Reads from a client; a whole line is run, and answered at once unless it is a restart. */
void control_read(struct control *control, struct control_client *client);

/* Queues a restart of all programs for which nobody waits (SIGHUP). */
void control_restart_all(struct control *control);

/* Moves the restart at the head of the queue as far as it goes without waiting. */
void control_advance(struct control *control);

/* Stops all programs, and tells every waiting client that its restart will not happen. */
void control_stop(struct control *control);

/*
 * The other side: sends the words as one line to the socket at path, prints the answer, and
 * returns the exit status, success when the answer ended with "ok".
 */
int control_send(const char *path, char **words, size_t word_count);
