/*
 * The serve loop in a process of its own over a real listening socket, for the tests of this
 * folder: a server with routes that echo, wait and fail, and the client's calls of it.
 */
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "base/config.h"
#include "fastcgi_client.h"
#include "http/serve.h"
#include "http/transport_fastcgi.h"
#include "plain_entry.h"

enum { THREADS = 2 };

static int threads; /* of the server */

static enum error answer_echo(struct app *app, struct request *request, struct response *response)
{
    (void)app;
    buffer_append_text(response_plain(response, 200, "text/plain"), buffer_text(&request->body));
    return ERROR_OK;
}

static enum error answer_slowly(struct app *app, struct request *request, struct response *response)
{
    clock_sleep_ms(200);
    return answer_echo(app, request, response);
}

/* How many connections of this process have both time-outs of base/limits.h. */
static enum error answer_timeouts(struct app *app, struct request *request,
                                  struct response *response)
{
    (void)app;
    (void)request;
    int count = 0;
    for (int fd = 3; fd < 100; fd++) {
        struct timeval in = {.tv_sec = 0};
        struct timeval out = {.tv_sec = 0};
        socklen_t len = sizeof(in);
        if (getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &in, &len) == 0 &&
            getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &out, &len) == 0)
            count += in.tv_sec * 1000 == CONNECTION_READ_TIMEOUT_MS && out.tv_sec == in.tv_sec;
    }
    buffer_append_int(response_plain(response, 200, "text/plain"), count);
    return ERROR_OK;
}

/* Answers when as many as the server has threads are in here at once. */
static enum error answer_together(struct app *app, struct request *request,
                                  struct response *response)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static pthread_cond_t all_in = PTHREAD_COND_INITIALIZER;
    static int count, rounds;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    blocking_begin();
    pthread_mutex_lock(&lock);
    int round = rounds;
    if (++count == threads) {
        count = 0;
        rounds++;
        pthread_cond_broadcast(&all_in);
    }
    int rc = 0;
    while (round == rounds && rc == 0)
        rc = pthread_cond_timedwait(&all_in, &lock, &until);
    pthread_mutex_unlock(&lock);
    return rc == 0 ? answer_echo(app, request, response) : ERROR_OVERLOADED;
}

static enum error stream_then_fail(struct app *app, struct request *request,
                                   struct response *response)
{
    (void)app;
    (void)request;
    struct buffer *out = response_stream(response, "text/plain");
    for (int i = 0; i < 3; i++) {
        assert_non_null(buffer_reserve(out, 40000));
        memset(out->data + out->len, 'x', 40000);
        buffer_commit(out, 40000);
        response_stream_flush(response);
    }
    return ERROR_DATABASE_UNAVAILABLE;
}

/* A request that nobody waits for: a thread of its own answers it, of many. */
struct later {
    struct task task;
    struct exchange *exchange;
};

static void answer_later(struct task *task)
{
    struct later *later = (struct later *)task;
    struct exchange *exchange = later->exchange;
    clock_sleep_ms(2);
    free(later);
    buffer_append_text(response_plain(exchange->response, 200, "text/plain"),
                       buffer_text(&exchange->request->body));
    router_answer(exchange, ERROR_OK);
}

static void start_later(struct app *app, struct exchange *exchange)
{
    (void)app;
    struct later *later = malloc(sizeof(*later));
    *later = (struct later){.task.run = answer_later, .exchange = exchange};
    if (!blocking_run(&later->task))
        router_answer(exchange, ERROR_INTERNAL);
}

static const struct router_entry ENTRIES[] = {
    {"POST", "/echo", PLAIN(answer_echo), .body_max = 1000},
    {"POST", "/slow", PLAIN(answer_slowly)},
    {"GET", "/timeouts", PLAIN(answer_timeouts)},
    {"GET", "/stream", PLAIN(stream_then_fail)},
    {"POST", "/together", PLAIN(answer_together)},
    {"POST", "/later", .serve = start_later},
};
static const struct router_table TABLE = {
    .name = "test", .entries = ENTRIES, .entry_count = sizeof(ENTRIES) / sizeof(ENTRIES[0])};

static struct sockaddr_un address;
static socklen_t address_len;
static pid_t server;
static int ready_fd;
static int server_listens_on; /* the number its listening socket has there */

static void tell_ready(void)
{
    (void)!write(ready_fd, "R", 1);
}

static int serve_in_child(int listen_fd)
{
    static struct config config = {.allowed_origins = ""};
    static struct app app = {.handler = "test", .config = &config};
    struct router *router = router_new(&app, &TABLE);
    struct serve_options options = {
        .listen_fd = listen_fd, .threads = threads, .router = router, .on_ready = tell_ready};
    if (!router || !fastcgi_library_init())
        return 100;
    enum error err = serve_run(&options);
    router_free(router);
    return (int)err;
}

static inline int start_server_of(int thread_count)
{
    int ready[2];
    char byte;
    threads = thread_count;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address = (struct sockaddr_un){.sun_family = AF_UNIX}; /* any free abstract name */
    address_len = sizeof(address);
    if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &address_len) != 0 || pipe(ready) != 0)
        return -1;
    server_listens_on = fd;
    server = fork();
    if (server == 0) {
        close(ready[0]);
        ready_fd = ready[1];
        exit(serve_in_child(fd));
    }
    close(fd);
    close(ready[1]);
    ssize_t n = read(ready[0], &byte, 1);
    close(ready[0]);
    return n == 1 ? 0 : -1;
}

static inline int start_server(void **state)
{
    (void)state;
    return start_server_of(THREADS);
}

/* More threads than wait for events at a time, however many processors there are. */
static inline int start_large_server(void **state)
{
    (void)state;
    return start_server_of((int)sysconf(_SC_NPROCESSORS_ONLN) + 8);
}

/* Waits for the end of the server; -1 when it takes longer than limit_ms. */
static inline int await_exit(int limit_ms)
{
    int64_t until_ms = clock_monotonic_ms() + limit_ms;
    int status;
    while (waitpid(server, &status, WNOHANG) == 0) {
        if (clock_monotonic_ms() >= until_ms)
            return -1;
        clock_sleep_ms(2);
    }
    server = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

static inline int stop_server(void **state)
{
    (void)state;
    if (server == 0)
        return 0;
    kill(server, SIGTERM);
    int status = await_exit(10000);
    if (server != 0) {
        kill(server, SIGKILL);
        waitpid(server, &status, 0);
        return -1;
    }
    return status == ERROR_OK ? 0 : -1;
}

static inline int open_connection(void)
{
    struct timeval limit = {.tv_sec = 60};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, address_len), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static inline void send_request(int fd, const char *method, const char *path, struct text body)
{
    struct buffer request;
    buffer_init(&request, 1 << 20);
    client_request(&request, method, path, body);
    client_send(fd, buffer_text(&request));
    buffer_done(&request);
}

static inline void expect_end(int fd, const char *end)
{
    struct buffer answer;
    buffer_init(&answer, 1 << 20);
    assert_true(client_answer(fd, &answer));
    struct text got = buffer_text(&answer);
    assert_true(got.len >= strlen(end));
    assert_string_equal(got.data + got.len - strlen(end), end);
    buffer_done(&answer);
}

static inline void expect_echo(int fd, const char *word)
{
    send_request(fd, "POST", "/echo", text_from(word));
    expect_end(fd, word);
}

/* Whether the server watches its listening socket: the kernel tells what an epoll set has. */
static inline bool is_accepting(void)
{
    bool found = false;
    char wanted[32];
    snprintf(wanted, sizeof(wanted), "tfd: %8d ", server_listens_on);
    for (int fd = 0; fd < 100 && !found; fd++) {
        char path[64];
        char line[256];
        snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)server, fd);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof(line), file))
            found = found || strncmp(line, wanted, strlen(wanted)) == 0;
        if (file)
            fclose(file);
    }
    return found;
}
