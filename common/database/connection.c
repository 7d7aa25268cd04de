#include "database/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "database/wire.h"

/*
 * What a connection string need not say. connect_timeout bounds each host; tcp_user_timeout ends a
 * connection whose peer is gone without a word; several hosts mean a standby may be among them.
 */
static const struct {
    const char *keyword, *value;
} DEFAULTS[] = {
    {"connect_timeout", "3"},
    {"keepalives_idle", "30"},
    {"tcp_user_timeout", "5000"},
    {"client_encoding", "UTF8"},
};

enum { KEYWORDS_MAX = 64 }; /* libpq 15 knows 41 */

struct keywords {
    const char *names[KEYWORDS_MAX + 1];
    const char *values[KEYWORDS_MAX + 1];
    size_t count;
};

static void keywords_add(struct keywords *keywords, const char *name, const char *value)
{
    if (keywords->count < KEYWORDS_MAX) {
        keywords->names[keywords->count] = name;
        keywords->values[keywords->count++] = value;
    }
}

static const char *keywords_get(const struct keywords *keywords, const char *name)
{
    for (size_t i = 0; i < keywords->count; i++)
        if (strcmp(keywords->names[i], name) == 0)
            return keywords->values[i];
    return NULL;
}

enum error connection_check_url(const char *url, char ret_problem[static 128])
{
    bool is_uri = strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0;
    char *message = NULL;
    PQconninfoOption *options = NULL;
    enum error err = ERROR_OK;
    if (!is_uri && !strchr(url, '=')) {
        snprintf(ret_problem, 128, "expected postgresql://user:password@host/database");
        return ERROR_NOT_CONFIGURED;
    }
    errno = 0;
    options = PQconninfoParse(url, &message);
    if (!options)
        err = errno == ENOMEM ? ERROR_NO_MEMORY : ERROR_NOT_CONFIGURED;
    if (err == ERROR_NOT_CONFIGURED)
        snprintf(ret_problem, 128,
                 "libpq cannot parse it; expected "
                 "postgresql://user:password@host/database");
    /* message may quote the string, and with it the password: it is not passed on. */
    PQfreemem(message);
    PQconninfoFree(options);
    return err;
}

/*
 * A commit whose wait for the synchronous standby was cancelled (by pg_cancel_backend or
 * statement_timeout) is answered as done, with a warning: it is on the primary alone and lost with
 * it. The warning has no SQLSTATE of its own and is translated; the function it comes from is not.
 */
static void read_notice(void *context, const PGresult *notice)
{
    struct connection *connection = context;
    const char *source = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);
    if (source && strcmp(source, "SyncRepWaitForLSN") == 0)
        connection->unconfirmed = true;
    if (connection->on_notice)
        connection->on_notice(connection->on_notice_context, notice);
}

struct connection *connection_open(const char *url, const char *application_name,
                                   char ret_problem[static 256])
{
    struct keywords keywords = {.count = 0};
    struct connection *connection = NULL;
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    snprintf(ret_problem, 256, "out of memory");
    if (!options)
        goto out;
    for (PQconninfoOption *option = options; option->keyword; option++)
        if (option->val)
            keywords_add(&keywords, option->keyword, option->val);
    for (size_t i = 0; i < sizeof(DEFAULTS) / sizeof(DEFAULTS[0]); i++)
        if (!keywords_get(&keywords, DEFAULTS[i].keyword))
            keywords_add(&keywords, DEFAULTS[i].keyword, DEFAULTS[i].value);
    if (!keywords_get(&keywords, "application_name"))
        keywords_add(&keywords, "application_name", application_name);
    const char *host = keywords_get(&keywords, "host");
    if (host && strchr(host, ',') && !keywords_get(&keywords, "target_session_attrs"))
        keywords_add(&keywords, "target_session_attrs", "read-write");

    connection = calloc(1, sizeof(*connection));
    if (!connection)
        goto out;
    connection->pg = PQconnectdbParams(keywords.names, keywords.values, 0);
    if (!connection->pg || PQstatus(connection->pg) != CONNECTION_OK ||
        PQsetnonblocking(connection->pg, 1) != 0) {
        if (connection->pg) {
            snprintf(ret_problem, 256, "%s", PQerrorMessage(connection->pg));
            ret_problem[strcspn(ret_problem, "\n")] = '\0';
        }
        connection_close(connection);
        connection = NULL;
        goto out;
    }
    PQsetNoticeReceiver(connection->pg, read_notice, connection);
    ret_problem[0] = '\0';
out:
    PQconninfoFree(options);
    return connection;
}

void connection_close(struct connection *connection)
{
    if (!connection)
        return;
    PQfinish(connection->pg);
    free(connection);
}

/* Waits for the socket. Returns false when the deadline passed or the socket is no more. */
static bool wait_socket(const struct connection *connection, short events, int64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = PQsocket(connection->pg), .events = events};
    for (;;) {
        int64_t left = deadline_ms - clock_monotonic_ms();
        if (poll_fd.fd < 0)
            return false;
        /* What is there already is taken even when the time is up. */
        int ready = poll(&poll_fd, 1, left > 60000 ? 60000 : left > 0 ? (int)left : 0);
        if (ready > 0)
            return true;
        if (left <= 0 || (ready < 0 && errno != EINTR))
            return false;
    }
}

/* Sends what libpq has buffered; reads meanwhile, because the server may wait for that. */
static bool flush(struct connection *connection, int64_t deadline_ms)
{
    int rest;
    while ((rest = PQflush(connection->pg)) > 0) {
        if (!wait_socket(connection, POLLIN | POLLOUT, deadline_ms) ||
            !PQconsumeInput(connection->pg))
            return false;
    }
    return rest == 0;
}

static void fill_failure(struct reply *reply, const PGresult *result)
{
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    reply->ok = false;
    if (sqlstate && strlen(sqlstate) == 5) {
        reply->has_sqlstate = true;
        memcpy(reply->sqlstate, sqlstate, 6);
    }
    snprintf(reply->message, sizeof(reply->message), "%s", message ? message : "");
}

/* Reads every result of what was sent; keeps the last one, or what the first failure says. */
static void collect(struct connection *connection, int64_t deadline_ms, struct reply *reply)
{
    bool failed = false;
    blocking_idle();
    for (;;) {
        while (PQisBusy(connection->pg)) {
            if (!wait_socket(connection, POLLIN, deadline_ms) || !PQconsumeInput(connection->pg)) {
                connection->broken = true;
                break;
            }
        }
        if (connection->broken)
            break;
        PGresult *result = PQgetResult(connection->pg);
        if (!result)
            break;
        ExecStatusType status = PQresultStatus(result);
        if (failed || (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)) {
            if (!failed)
                fill_failure(reply, result);
            failed = true;
            PQclear(result);
            continue;
        }
        PQclear(reply->result);
        reply->result = result;
    }
    /* Unconfirmed is as good as no answer: the caller finds out by repeating it. */
    if (PQstatus(connection->pg) != CONNECTION_OK || connection->unconfirmed)
        connection->broken = true;
    reply->ok = !failed && !connection->broken && reply->result;
    if (!reply->ok) {
        PQclear(reply->result);
        reply->result = NULL;
    }
}

/* sent: what the PQsend function returned. */
static void finish(struct connection *connection, int sent, int64_t deadline_ms,
                   struct reply *ret_reply)
{
    *ret_reply = (struct reply){.ok = false};
    if (!sent || !flush(connection, deadline_ms)) {
        /* The server may have said why before it closed; that answer is still to be read. */
        if (PQstatus(connection->pg) == CONNECTION_OK && !sent) {
            connection->broken = true;
            return;
        }
    }
    collect(connection, deadline_ms, ret_reply);
}

static bool is_prepared(const struct connection *connection, const struct query *query)
{
    for (size_t i = 0; i < connection->prepared_count; i++)
        if (connection->prepared[i] == query)
            return true;
    return false;
}

/* Returns false with the failure in ret_reply. */
static bool prepare(struct connection *connection, const struct connection_request *request,
                    const struct wire_params *wire, struct reply *ret_reply)
{
    const struct query *query = request->statement->query;
    if (is_prepared(connection, query))
        return true;
    int sent = PQsendPrepare(connection->pg, query->prepared_name, query->text,
                             request->statement->param_count, wire->types);
    finish(connection, sent, request->deadline_ms, ret_reply);
    if (!ret_reply->ok)
        return false;
    PQclear(ret_reply->result);
    ret_reply->result = NULL;
    if (connection->prepared_count < PREPARED_MAX)
        connection->prepared[connection->prepared_count++] = query;
    return true;
}

void connection_run(struct connection *connection, const struct connection_request *request,
                    struct reply *ret_reply)
{
    const struct query *query = request->statement->query;
    struct wire_params wire;
    int count = request->statement->param_count;
    int sent;
    wire_encode(request->params, request->statement->param_count, &wire);
    if (request->prepared) {
        if (!prepare(connection, request, &wire, ret_reply))
            return;
        sent = PQsendQueryPrepared(connection->pg, query->prepared_name, count, wire.values,
                                   wire.lengths, wire.formats, 1);
    } else {
        sent = PQsendQueryParams(connection->pg, query->text, count, wire.types, wire.values,
                                 wire.lengths, wire.formats, 1);
    }
    finish(connection, sent, request->deadline_ms, ret_reply);
}

void connection_execute(struct connection *connection, const char *text, int64_t deadline_ms,
                        struct reply *ret_reply)
{
    finish(connection, PQsendQuery(connection->pg, text), deadline_ms, ret_reply);
}

void connection_execute_params(struct connection *connection,
                               const struct connection_command *command, struct reply *ret_reply)
{
    int sent = PQsendQueryParams(connection->pg, command->text, command->count, NULL,
                                 command->values, NULL, NULL, 0);
    finish(connection, sent, command->deadline_ms, ret_reply);
}
