/* The serve loop and its connections: kept ones, many, slow and broken ones. */
#include "serve_server.h"

enum { KEPT = 20 };

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

/*
 * libfcgi closes a connection that is not kept, and waits two seconds for its peer, who takes its
 * time. Others are served meanwhile: then what the peer sends still finds the connection open. A
 * machine that is too busy for that has another chance.
 */
static void test_a_peer_that_does_not_close(void **state)
{
    (void)state;
    struct buffer request;
    struct buffer answer;
    bool meanwhile = false;
    buffer_init(&request, 1000);
    buffer_init(&answer, 1000);
    client_request(&request, "POST", "/echo", TEXT_LITERAL("word"));
    request.data[10] = 0; /* FCGI_KEEP_CONN is not asked for */
    for (int chance = 0; chance < 10 && !meanwhile; chance++) {
        int other = open_connection();
        int lingering = open_connection();
        client_send(lingering, buffer_text(&request));
        client_answer(lingering, &answer);
        expect_echo(other, "meanwhile");
        meanwhile = send(lingering, "x", 1, MSG_NOSIGNAL) == 1;
        close(lingering);
        close(other);
    }
    assert_true(meanwhile);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
