/*
 * The control socket: what `supervisor --control` asks for, who asked, and the queue of restarts,
 * which run one at a time. Single-threaded, like all of the supervisor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "process.h"

enum {
    CLIENTS_MAX = 16,
    COMMAND_BYTES_MAX = 128,
    ANSWER_BYTES_MAX = HANDLERS_MAX * 160, /* a status line takes at most 160 bytes */
};

/* Somebody on the control socket, or SIGHUP (fd -1). */
struct client {
    bool used;
    int fd;
    size_t len;
    char line[COMMAND_BYTES_MAX];
    bool queued;        /* asked for a restart: handlers first to last, the queue is by number */
    unsigned number;    /* order of arrival */
    size_t first, last; /* handlers still to be restarted, last not included */
    bool begun;         /* handlers[first] has its new process under way */
};

struct supervisor {
    struct folders folders;
    struct handler handlers[HANDLERS_MAX];
    size_t handler_count;
    struct client clients[CLIENTS_MAX];
    unsigned client_number;
    int signal_fd;
    int notify_fd;
    int control_fd;
    bool stopping;
};

/* The handler of that name, or NULL. Borrowed. */
struct handler *find_handler(struct supervisor *supervisor, const char *name);

/* Opens the socket of a new handler and starts it. Returns false with a log line. */
bool add_handler(struct supervisor *supervisor, const char *name);

/* Tells every process to leave and every waiting client that its restart will not happen. */
void stop_all(struct supervisor *supervisor);

/* Runs the command in client->line; answers at once, except for a restart, which is queued. */
void run_command(struct supervisor *supervisor, struct client *client);

/* Puts the client in the queue of restarts. name: of a handler, or "all". */
void command_restart(struct supervisor *supervisor, struct client *client, const char *name);

/* Moves the restart at the head of the queue as far as it goes without waiting. */
void advance_restarts(struct supervisor *supervisor);

/* Closes the connection, if any, and frees the place. */
void client_close(struct client *client);

/*
 * The other side: sends the words as one line to the socket at path, prints the answer, and
 * returns the exit status, success when the answer ended with "ok".
 */
int control_send(const char *path, char **words, size_t word_count);
