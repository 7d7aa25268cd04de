/*
 * One connection to PostgreSQL: connect, run, with a deadline on every reply.
 * Used by one thread at a time.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "database/statement.h"

struct connection {
    PGconn *pg;
    uint64_t epoch;   /* the pool's, when it was opened */
    bool broken;      /* not to be used again */
    bool unconfirmed; /* a commit was answered that no synchronous standby has */
    /* Called with what the server says beside its replies; NULL: nobody wants to know. */
    void (*on_notice)(void *context, const PGresult *notice);
    void *on_notice_context;
    size_t prepared_count;
    const struct query *prepared[PREPARED_MAX]; /* on this connection */
};

/* The answer to one statement. */
struct reply {
    PGresult *result; /* owned by the caller (PQclear) when ok, else NULL */
    bool ok;
    bool has_sqlstate; /* false: the connection broke or the deadline passed */
    char sqlstate[6];
    char message[160]; /* the server's primary message, for the log of a fatal failure */
};

/*
 * Connects and waits. url: a connection string. Parameters it does not set get the values of
 * connection.c. Blocking, at most 3 s a host. Returns NULL when memory is out or it cannot connect;
 * ret_problem then says why, without password (libpq's text names host and user only), and is empty
 * otherwise.
 */
struct connection *connection_open(const char *url, const char *application_name,
                                   char ret_problem[static 256]);
void connection_close(struct connection *connection);

struct connection_request {
    const struct statement *statement;
    const struct param *params;
    bool prepared; /* prepare it once on this connection and execute it by name; else send it whole
                    */
    int64_t deadline_ms; /* of clock_monotonic_ms; when it passes the connection is broken */
};

/* Runs a typed statement. */
void connection_run(struct connection *connection, const struct connection_request *request,
                    struct reply *ret_reply);

/* Runs a text of one or more commands without parameters; the reply is the last one's. */
void connection_execute(struct connection *connection, const char *text, int64_t deadline_ms,
                        struct reply *ret_reply);

struct connection_command {
    const char *text;
    const char *const *values;
    int count;           /* of values, at most PARAMS_MAX */
    int64_t deadline_ms; /* as above */
};

/* Runs one command with text parameters and text results. */
void connection_execute_params(struct connection *connection,
                               const struct connection_command *command, struct reply *ret_reply);

/*
 * Checks a connection string. ERROR_NOT_CONFIGURED, and ret_problem says what is wrong without the
 * string's values; or ERROR_NO_MEMORY.
 */
enum error connection_check_url(const char *url, char ret_problem[static 128]) MUST_CHECK;
