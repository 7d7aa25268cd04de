/*
 * The serve loop in a process of its own over a real listening socket: kept connections, broken
 * ones, and the ways it ends.
 */
#include "http/serve.h"

#include <fcntl.h>
#include <poll.h>
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
#include "http/transport_fastcgi.h"
#include "plain_entry.h"

enum { THREADS = 2, KEPT = 20 };

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
    until.tv_sec += 8;
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

static int start_server_of(int thread_count)
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

static int start_server(void **state)
{
    (void)state;
    return start_server_of(THREADS);
}

/* More threads than wait for events at a time, however many processors there are. */
static int start_large_server(void **state)
{
    (void)state;
    return start_server_of((int)sysconf(_SC_NPROCESSORS_ONLN) + 8);
}

/* Waits for the end of the server; -1 when it takes longer than limit_ms. */
static int await_exit(int limit_ms)
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

static int stop_server(void **state)
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

static int open_connection(void)
{
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, address_len), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void send_request(int fd, const char *method, const char *path, struct text body)
{
    struct buffer request;
    buffer_init(&request, 1 << 20);
    client_request(&request, method, path, body);
    client_send(fd, buffer_text(&request));
    buffer_done(&request);
}

static void expect_end(int fd, const char *end)
{
    struct buffer answer;
    buffer_init(&answer, 1 << 20);
    assert_true(client_answer(fd, &answer));
    struct text got = buffer_text(&answer);
    assert_true(got.len >= strlen(end));
    assert_string_equal(got.data + got.len - strlen(end), end);
    buffer_done(&answer);
}

static void expect_echo(int fd, const char *word)
{
    send_request(fd, "POST", "/echo", text_from(word));
    expect_end(fd, word);
}

/* More kept connections than threads, all of them served again and again. */
static void test_kept_connections_pin_no_thread(void **state)
{
    (void)state;
    int fds[KEPT];
    for (int i = 0; i < KEPT; i++) {
        fds[i] = open_connection();
        expect_echo(fds[i], "first");
    }
    for (int round = 0; round < 3; round++)
        for (int i = KEPT - 1; i >= 0; i--)
            expect_echo(fds[i], "again");
    for (int i = 0; i < KEPT; i++)
        close(fds[i]);
}

static void test_concurrent_requests(void **state)
{
    (void)state;
    int fds[KEPT];
    for (int i = 0; i < KEPT; i++) {
        fds[i] = open_connection();
        send_request(fds[i], "POST", i < THREADS ? "/slow" : "/echo", TEXT_LITERAL("word"));
    }
    for (int i = KEPT - 1; i >= 0; i--) {
        expect_end(fds[i], "word");
        close(fds[i]);
    }
}

/* All threads serve at once, and again after most of them had nothing to wait for. */
static void test_threads_that_were_idle(void **state)
{
    (void)state;
    int fds[THREADS_MAX];
    assert_true(threads <= THREADS_MAX);
    for (int i = 0; i < threads; i++)
        fds[i] = open_connection();
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < threads; i++)
            send_request(fds[i], "POST", "/together", TEXT_LITERAL("word"));
        for (int i = 0; i < threads; i++)
            expect_end(fds[i], "word");
    }
    kill(server, SIGTERM);
    /* Leaving, it is all there for the connections it has. */
    for (int i = 0; i < threads; i++)
        send_request(fds[i], "POST", "/together", TEXT_LITERAL("last"));
    for (int i = 0; i < threads; i++) {
        expect_end(fds[i], "last");
        close(fds[i]);
    }
}

/* Answers that come later, among others, until the end and all of them. */
static void test_answers_later(void **state)
{
    (void)state;
    enum { CONNECTIONS = 100, ROUNDS = 10 };
    int fds[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = open_connection();
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < CONNECTIONS; i++)
            send_request(fds[i], "POST", i % 3 == 0 ? "/echo" : "/later", TEXT_LITERAL("word"));
        if (round == ROUNDS)
            kill(server, SIGTERM);
        for (int i = 0; i < CONNECTIONS; i++)
            expect_end(fds[i], "word");
    }
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
    assert_int_equal(await_exit(8000), 0);
}

/* libfcgi closes a connection that is not kept, and waits for its peer, who takes its time. */
static void test_a_peer_that_does_not_close(void **state)
{
    (void)state;
    struct buffer request;
    struct buffer answer;
    int other = open_connection();
    int lingering = open_connection();
    buffer_init(&request, 1000);
    buffer_init(&answer, 1000);
    client_request(&request, "POST", "/echo", TEXT_LITERAL("word"));
    request.data[10] = 0; /* FCGI_KEEP_CONN is not asked for */
    client_send(lingering, buffer_text(&request));
    client_answer(lingering, &answer);
    int64_t start_ms = clock_monotonic_ms();
    expect_echo(other, "meanwhile");
    assert_true(clock_monotonic_ms() - start_ms < 1500);
    close(lingering);
    close(other);
    buffer_done(&request);
    buffer_done(&answer);
}

/* Who stops in the middle of a record holds one thread, and for a bounded time. */
static void test_partial_record(void **state)
{
    (void)state;
    int silent = open_connection();
    int idle = open_connection();
    assert_true(client_send(silent, TEXT_LITERAL("\1\1\0\1")));
    int fd = open_connection();
    expect_echo(fd, "served all the same");
    send_request(fd, "GET", "/timeouts", TEXT_LITERAL(""));
    expect_end(fd, "\r\n\r\n3");
    close(fd);
    close(silent);
    close(idle);
}

static void test_broken_connections(void **state)
{
    (void)state;
    static const struct text ROWS[] = {
        TEXT_LITERAL(""),
        TEXT_LITERAL("\1"),
        TEXT_LITERAL("GET / HTTP/1.1\r\n\r\n"),
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"),
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0\1\4\0\1\0\0\0\0"),
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0\1\4\0\1\0\6\0\0\377\377\377\377\377\377"),
    };
    for (int i = 0; i < 60; i++) {
        int fd = open_connection();
        client_send(fd, ROWS[(size_t)i % (sizeof(ROWS) / sizeof(ROWS[0]))]);
        close(fd);
    }
    /* And some that leave before the answer. */
    for (int i = 0; i < 20; i++) {
        int fd = open_connection();
        send_request(fd, "POST", "/echo", TEXT_LITERAL("nobody waits"));
        close(fd);
    }
    for (int i = 0; i < 2 * THREADS; i++) {
        int fd = open_connection();
        expect_echo(fd, "alive");
        close(fd);
    }
}

/* The answer arrives although the body was not read to its end; then the connection ends. */
static void test_body_above_the_cap(void **state)
{
    (void)state;
    char body[3000];
    char byte;
    memset(body, 'b', sizeof(body));
    int fd = open_connection();
    send_request(fd, "POST", "/echo", (struct text){body, 1000});
    struct buffer answer;
    buffer_init(&answer, 1 << 20);
    assert_true(client_answer(fd, &answer));
    assert_non_null(strstr(answer.data, "Status: 200"));
    buffer_reset(&answer, 0);
    send_request(fd, "POST", "/echo", (struct text){body, sizeof(body)});
    assert_true(client_answer(fd, &answer));
    assert_non_null(strstr(answer.data, "Status: 413"));
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    buffer_done(&answer);
    close(fd);
}

/* An answer that failed half-way is not ended as a whole one is. */
static void test_failed_stream(void **state)
{
    (void)state;
    struct buffer answer;
    int fd = open_connection();
    send_request(fd, "GET", "/stream", TEXT_LITERAL(""));
    buffer_init(&answer, 1 << 20);
    assert_false(client_answer(fd, &answer));
    assert_true(answer.len > 100000);
    assert_int_equal(answer.data[answer.len - 1], 'x');
    buffer_done(&answer);
    close(fd);
    fd = open_connection();
    expect_echo(fd, "alive");
    close(fd);
}

static void test_idle_exit(void **state)
{
    (void)state;
    int fd = open_connection();
    expect_echo(fd, "word");
    close(fd);
    kill(server, SIGTERM);
    assert_int_equal(await_exit(5000), ERROR_OK);
}

/* After SIGTERM: kept connections are served, new ones are left to the next process. */
static void test_drain(void **state)
{
    (void)state;
    int kept = open_connection();
    expect_echo(kept, "before");
    kill(server, SIGTERM);
    clock_sleep_ms(50);
    expect_echo(kept, "during");
    int late = open_connection();
    send_request(late, "POST", "/echo", TEXT_LITERAL("late"));
    struct pollfd poll_fd = {.fd = late, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 100), 0);
    expect_echo(kept, "still");
    assert_int_equal(waitpid(server, NULL, WNOHANG), 0);
    close(kept);
    assert_int_equal(await_exit(5000), ERROR_OK);
    close(late);
}

static void test_drain_waits_for_a_request(void **state)
{
    (void)state;
    int fd = open_connection();
    expect_echo(fd, "accepted");
    send_request(fd, "POST", "/slow", TEXT_LITERAL("finished"));
    kill(server, SIGTERM);
    kill(server, SIGTERM);
    expect_end(fd, "finished");
    close(fd);
    assert_int_equal(await_exit(5000), ERROR_OK);
}

static void test_interrupt_ends_it_too(void **state)
{
    (void)state;
    kill(server, SIGINT);
    assert_int_equal(await_exit(5000), ERROR_OK);
}

/* Nothing to listen on: it cannot start, and says so. */
static void test_cannot_start(void **state)
{
    (void)state;
    static struct config config = {.allowed_origins = ""};
    static struct app app = {.handler = "test", .config = &config};
    struct router *router = router_new(&app, &TABLE);
    struct serve_options options = {.listen_fd = -1, .threads = 1, .router = router};
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(serve_run(&options), ERROR_INTERNAL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    router_free(router);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, start_server, stop_server)
    const struct CMUnitTest tests[] = {
        TEST(test_kept_connections_pin_no_thread),
        TEST(test_concurrent_requests),
        cmocka_unit_test_setup_teardown(test_threads_that_were_idle, start_large_server,
                                        stop_server),
        cmocka_unit_test_setup_teardown(test_answers_later, start_large_server, stop_server),
        TEST(test_a_peer_that_does_not_close),
        TEST(test_partial_record),
        TEST(test_broken_connections),
        TEST(test_body_above_the_cap),
        TEST(test_failed_stream),
        TEST(test_idle_exit),
        TEST(test_drain),
        TEST(test_drain_waits_for_a_request),
        TEST(test_interrupt_ends_it_too),
        cmocka_unit_test(test_cannot_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
