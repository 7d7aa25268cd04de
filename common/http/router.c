#include "http/router.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/clerk.h"
#include "base/clock.h"
#include "base/config.h"
#include "http/cors.h"
#include "observe/log.h"
#include "observe/metrics.h"

enum { STATUS_FIRST = 100, STATUS_COUNT = 500 };

/* The metrics of one entry; the last one of a router is for requests that match none. */
struct entry_metrics {
    struct metric *duration;
    struct metric *_Atomic by_status[STATUS_COUNT]; /* filled when a status first occurs */
};

struct router {
    struct app *app;
    const struct router_table *table;
    struct metric *write_errors;
    struct entry_metrics metrics[]; /* entry_count + 1 */
};

struct router *router_new(struct app *app, const struct router_table *table)
{
    size_t count = table->entry_count + 1;
    struct router *router = calloc(1, sizeof(*router) + count * sizeof(router->metrics[0]));
    if (!router)
        return NULL;
    router->app = app;
    router->table = table;
    char labels[METRIC_LABELS_BYTES_MAX];
    snprintf(labels, sizeof(labels), "handler=\"%s\"", table->name);
    router->write_errors = metrics_series(app->metrics, "response_write_errors_total", labels);
    for (size_t i = 0; i < count; i++) {
        snprintf(labels, sizeof(labels), "handler=\"%s\",route=\"%s\"", table->name,
                 i < table->entry_count ? table->entries[i].path : "none");
        router->metrics[i].duration =
            metrics_series(app->metrics, "http_request_duration_seconds", labels);
    }
    return router;
}

void router_free(struct router *router)
{
    free(router);
}

static bool path_matches(const char *pattern, struct text path, struct text *ret_id)
{
    const char *place = strstr(pattern, "{id}");
    size_t len = strlen(pattern);
    if (!place)
        return path.len == len && memcmp(path.data, pattern, len) == 0;
    size_t prefix = (size_t)(place - pattern);
    const char *suffix = place + strlen("{id}");
    size_t suffix_len = strlen(suffix);
    if (path.len <= prefix + suffix_len || memcmp(path.data, pattern, prefix) != 0 ||
        memcmp(path.data + path.len - suffix_len, suffix, suffix_len) != 0)
        return false;
    struct text id = {path.data + prefix, path.len - prefix - suffix_len};
    if (memchr(id.data, '/', id.len))
        return false;
    *ret_id = id;
    return true;
}

static bool method_matches(const char *method, struct text wanted)
{
    return text_equal(text_from(method), wanted) ||
           (strcmp(method, "GET") == 0 && text_equal(wanted, TEXT_LITERAL("HEAD")));
}

/*
 * The entry for a request, or NULL; methods then has the comma list of what the path does take,
 * empty for an unknown path.
 */
static const struct router_entry *find_entry(const struct router_table *table,
                                             struct request *request, char methods[static 128])
{
    size_t len = 0;
    methods[0] = '\0';
    /* A path has a handful of methods; what would not fit is left out. */
    for (size_t i = 0; i < table->entry_count && len < 128 - sizeof("DELETE, OPTIONS"); i++) {
        const struct router_entry *entry = &table->entries[i];
        request->id = (struct text){NULL, 0};
        if (!path_matches(entry->path, request->path, &request->id))
            continue;
        if (method_matches(entry->method, request->method))
            return entry;
        len += (size_t)snprintf(methods + len, 128 - len, "%s%s, ", entry->method,
                                strcmp(entry->method, "GET") == 0 ? ", HEAD" : "");
    }
    if (len > 0)
        snprintf(methods + len, 128 - len, "OPTIONS");
    return NULL;
}

/* A body that is compressed is none that we can read (RFC 9110, section 15.5.16). */
static enum error check_encoding(const struct exchange *exchange)
{
    const struct request *request = exchange->request;
    struct text encoding = text_trim(request_param(request, "HTTP_CONTENT_ENCODING"));
    if (request->body.len == 0 || encoding.len == 0 || text_equal_nocase(encoding, "identity"))
        return ERROR_OK;
    response_header(exchange->response, "Accept-Encoding", "identity");
    return ERROR_UNSUPPORTED_ENCODING;
}

/* methods: what the path takes, empty for an unknown path. */
static enum error answer_unrouted(const struct exchange *exchange, const char *methods)
{
    const struct request *request = exchange->request;
    if (!methods[0])
        return ERROR_NOT_FOUND;
    if (text_equal(request->method, TEXT_LITERAL("OPTIONS"))) {
        cors_preflight(exchange->router->app->config->allowed_origins, request, methods,
                       exchange->response);
        return ERROR_OK;
    }
    response_header(exchange->response, "Allow", methods);
    return ERROR_METHOD_NOT_ALLOWED;
}

static void count_request(struct router *router, const struct router_entry *entry, int status,
                          int64_t duration_us)
{
    const struct router_table *table = router->table;
    size_t index = entry ? (size_t)(entry - table->entries) : table->entry_count;
    struct entry_metrics *metrics = &router->metrics[index];
    metric_observe_us(metrics->duration, (uint64_t)duration_us);
    struct metric *_Atomic *slot =
        &metrics->by_status[(unsigned)(status - STATUS_FIRST) % STATUS_COUNT];
    struct metric *counter = atomic_load_explicit(slot, memory_order_relaxed);
    if (!counter) {
        char labels[METRIC_LABELS_BYTES_MAX];
        /* A method that no entry has is the client's choice of words: not a label. */
        snprintf(labels, sizeof(labels), "handler=\"%s\",route=\"%s\",method=\"%s\",status=\"%d\"",
                 table->name, entry ? entry->path : "none", entry ? entry->method : "other",
                 status);
        counter = metrics_series(router->app->metrics, "http_requests_total", labels);
        atomic_store_explicit(slot, counter, memory_order_relaxed);
    }
    metric_add(counter, 1);
}

/* The request boundary: the one place that logs a failure. Those of the database are logged where
 * their SQLSTATE is known, and a key set that is missing where it was not fetched. */
static void log_failure(const struct router *router, const struct request *request, enum error err)
{
    const struct error_info *info = error_describe(err);
    if (info->status < 500 || err == ERROR_DATABASE || err == ERROR_DATABASE_BUSY ||
        err == ERROR_DATABASE_UNAVAILABLE || err == ERROR_SCHEMA_UPDATING ||
        err == ERROR_IDENTITY_UNAVAILABLE)
        return;
    log_event(router->app->log, LOG_ERROR, "request failed", LOG_STRING("error", info->name),
              LOG_TEXT("method", request->method), LOG_TEXT("path", request->path));
}

void router_answer(struct exchange *exchange, enum error err)
{
    struct router *router = exchange->router;
    struct response *response = exchange->response;
    const struct transport *transport = exchange->transport;
    log_set_request_id(exchange->request->request_id);
    if (!err && !response->streaming)
        err = buffer_error(&response->body) ? ERROR_NO_MEMORY : ERROR_OK;
    if (err)
        log_failure(router, exchange->request, err);
    if (err == ERROR_IDENTITY_UNAVAILABLE)
        response->wait_seconds = clerk_wait_seconds(router->app->clerk);
    if (err == ERROR_SCHEMA_UPDATING)
        response->wait_seconds = SCHEMA_WAIT_SECONDS;
    if (err && response->streaming)
        response->write_failed = true;
    else if (err)
        response_fail(response, err, exchange->request->english);
    bool sent = err != ERROR_CLIENT_GONE && response_send(response);
    if (!sent)
        metric_add(router->write_errors, 1);
    /* Too late to say what went wrong: the answer ends short, and the connection with it. */
    if (!sent && response->streaming && transport->abandon)
        transport->abandon(transport->context);
    count_request(router, exchange->entry, response->status,
                  clock_monotonic_us() - exchange->start_us);
    log_set_request_id((struct text){NULL, 0});
    exchange->ended(exchange, exchange->body_read && sent);
}

void router_begin(struct exchange *exchange)
{
    struct router *router = exchange->router;
    struct request *request = exchange->request;
    struct response *response = exchange->response;
    char methods[128];
    exchange->start_us = clock_monotonic_us();
    request_begin(request, exchange->transport, router->table->entries[0].path);
    response_begin(response, exchange->transport);
    log_set_request_id(request->request_id);

    /* Before anything can fail: a page may read a failure only if its origin is named. */
    cors_apply(router->app->config->allowed_origins, request, response);
    const struct router_entry *entry = find_entry(router->table, request, methods);
    exchange->entry = entry;
    enum error err =
        request_read_body(request, entry && entry->body_max ? entry->body_max : BODY_BYTES_MAX);
    exchange->body_read = !err;
    if (!err && entry)
        err = check_encoding(exchange);
    if (err || !entry) {
        router_answer(exchange, err ? err : answer_unrouted(exchange, methods));
        return;
    }
    entry->serve(router->app, exchange);
    log_set_request_id((struct text){NULL, 0});
}

/* An exchange that a thread waits for. */
struct awaited {
    struct exchange exchange;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool ended;
    bool keep;
};

static void end_awaited(struct exchange *exchange, bool keep)
{
    struct awaited *awaited = (struct awaited *)exchange;
    pthread_mutex_lock(&awaited->lock);
    awaited->ended = true;
    awaited->keep = keep;
    pthread_cond_signal(&awaited->changed);
    pthread_mutex_unlock(&awaited->lock);
}

bool router_serve(struct router *router, const struct transport *transport, struct request *request,
                  struct response *response)
{
    struct awaited awaited = {
        .exchange = {.router = router,
                     .transport = transport,
                     .request = request,
                     .response = response,
                     .ended = end_awaited},
    };
    pthread_mutex_init(&awaited.lock, NULL);
    pthread_cond_init(&awaited.changed, NULL);
    router_begin(&awaited.exchange);
    pthread_mutex_lock(&awaited.lock);
    while (!awaited.ended)
        pthread_cond_wait(&awaited.changed, &awaited.lock);
    pthread_mutex_unlock(&awaited.lock);
    pthread_cond_destroy(&awaited.changed);
    pthread_mutex_destroy(&awaited.lock);
    return awaited.keep;
}
