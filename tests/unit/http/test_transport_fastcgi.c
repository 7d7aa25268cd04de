/* FastCGI over socket pairs: whole requests, requests in pieces, and bytes that are no request. */
#include "http/transport_fastcgi.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "fastcgi_client.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct pair {
    int client, server;
};

static struct pair make_pair(void)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    return (struct pair){ends[0], ends[1]};
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int initialise(void **state)
{
    (void)state;
    return fastcgi_library_init() ? 0 : -1;
}

static void test_self_test(void **state)
{
    (void)state;
    int before = dup(0);
    close(before);
    for (int i = 0; i < 3; i++)
        assert_true(fastcgi_self_test());
    int after = dup(0);
    close(after);
    assert_int_equal(before, after); /* it leaves no descriptor open */
}

/* Not before its last byte, and what was looked at is still there to be read. */
static void test_look_ahead(void **state)
{
    (void)state;
    struct pair pair = make_pair();
    struct fastcgi fastcgi;
    struct buffer request;
    char body[16];
    buffer_init(&request, 65536);
    client_request(&request, "POST", "/", TEXT_LITERAL("body"));
    fastcgi_init(&fastcgi);
    for (size_t i = 0; i < request.len; i++) {
        assert_int_equal(fastcgi_look_ahead(pair.server), FASTCGI_PARTIAL);
        assert_true(client_send(pair.client, (struct text){request.data + i, 1}));
    }
    assert_int_equal(fastcgi_look_ahead(pair.server), FASTCGI_WHOLE);
    assert_true(fastcgi_receive(&fastcgi, pair.server));
    const struct transport *transport = &fastcgi.transport;
    assert_int_equal(transport->read(transport->context, body, sizeof(body)), 4);
    assert_int_equal(transport->read(transport->context, body, sizeof(body)), 0);
    assert_int_equal(fastcgi_finish(&fastcgi, true), pair.server);

    /* One that does not fit what is looked at may well be there, and is not said to be. */
    char *large = calloc(1, 16000);
    assert_non_null(large);
    buffer_reset(&request, 0);
    client_request(&request, "POST", "/", (struct text){large, 16000});
    assert_true(client_send(pair.client, buffer_text(&request)));
    assert_int_equal(fastcgi_look_ahead(pair.server), FASTCGI_PARTIAL);
    free(large);
    buffer_done(&request);
    close(pair.client);
    close(pair.server);

    pair = make_pair();
    close(pair.client);
    assert_int_equal(fastcgi_look_ahead(pair.server), FASTCGI_WHOLE);
    close(pair.server);
}

/* Lengths of a name and a value, and what comes of them when the record ends after both. */
static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum fastcgi_ahead ahead;
    } TABLE[] = {
        {"\x01\x01"
         "Ab",
         4, FASTCGI_PARTIAL},
        {"\x80\x10\x00\x00\x01", 5, FASTCGI_PARTIAL},   /* 1 MiB, and it may come */
        {"\x80\x10\x00\x01\x01", 5, FASTCGI_MALFORMED}, /* a byte more */
        {"\xFF\xFF\xFF\xFF\x00", 5, FASTCGI_MALFORMED},
        {"\xFF\xFF\xFF\xFE", 4, FASTCGI_MALFORMED}, /* the value's is not there yet */
        {"\x01\xC0\x00\x00\x00"
         "A",
         6, FASTCGI_MALFORMED},
        {"\x01\x01"
         "Ab"
         "\x01\xFF\xFF\xFF\xFF",
         9, FASTCGI_MALFORMED}, /* in the second pair */
        {"\x05\x05"
         "ab"
         "\xFF\xFF\xFF\xFF\xFF",
         9, FASTCGI_PARTIAL}, /* within a name */
    };
    for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++) {
        for (int split = 0; split < 2; split++) {
            struct pair pair = make_pair();
            size_t first = split ? 1 : TABLE[i].len;
            const size_t parts[] = {first, TABLE[i].len - first};
            const char *here = TABLE[i].bytes;
            for (int part = 0; part <= split; part++) {
                const char header[8] = {1, 4, 0, 1, 0, (char)parts[part], 0, 0};
                assert_true(client_send(pair.client, (struct text){header, 8}));
                assert_true(client_send(pair.client, (struct text){here, parts[part]}));
                here += parts[part];
            }
            assert_int_equal(fastcgi_look_ahead(pair.server), TABLE[i].ahead);
            close(pair.client);
            close(pair.server);
        }
    }
}

static void test_is_listening(void **state)
{
    (void)state;
    struct pair pair = make_pair();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX}; /* any free abstract name */
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    assert_false(fastcgi_is_listening(fd));
    assert_int_equal(listen(fd, 1), 0);
    assert_true(fastcgi_is_listening(fd));
    assert_false(fastcgi_is_listening(pair.client));
    assert_false(fastcgi_is_listening(-1));
    int null = open("/dev/null", O_RDONLY);
    assert_false(fastcgi_is_listening(null));
    close(null);
    close(fd);
    close(pair.client);
    close(pair.server);
}

/* Reads the request on fd, checks it and answers with its body. */
static void serve_echo(struct fastcgi *fastcgi, int fd, const char *path, struct text body)
{
    char piece[1000];
    struct buffer got;
    const struct transport *transport = &fastcgi->transport;
    buffer_init(&got, 1 << 20);
    assert_true(fastcgi_receive(fastcgi, fd));
    assert_string_equal(transport->param(transport->context, "DOCUMENT_URI"), path);
    assert_null(transport->param(transport->context, "HTTP_NONE"));
    for (long n; (n = transport->read(transport->context, piece, sizeof(piece))) != 0;) {
        assert_true(n > 0);
        buffer_append(&got, piece, (size_t)n);
    }
    assert_int_equal(transport->read(transport->context, piece, sizeof(piece)), 0);
    assert_int_equal(got.len, body.len);
    assert_memory_equal(buffer_text(&got).data, body.len ? body.data : "", body.len);
    assert_true(transport->write(transport->context, "ok", 2));
    assert_int_equal(fastcgi_finish(fastcgi, true), fd);
    buffer_done(&got);
}

static void expect_answer(int fd, const char *expected)
{
    struct buffer answer;
    buffer_init(&answer, 1 << 20);
    assert_true(client_answer(fd, &answer));
    assert_string_equal(buffer_text(&answer).data, expected);
    buffer_done(&answer);
}

static void test_requests_on_one_connection(void **state)
{
    (void)state;
    static const size_t BODIES[] = {0, 1, 7, 8, 8191, 8192, 8193, 40000};
    struct pair pair = make_pair();
    struct fastcgi fastcgi;
    char path[300] = "/";
    char *body = malloc(40000);
    assert_non_null(body);
    memset(body, 'b', 40000);
    memset(path + 1, 'p', sizeof(path) - 2); /* a value longer than 127 bytes */
    fastcgi_init(&fastcgi);
    for (size_t i = 0; i < COUNT(BODIES); i++) {
        struct buffer request;
        buffer_init(&request, 1 << 20);
        client_request(&request, "POST", path, (struct text){body, BODIES[i]});
        assert_true(client_send(pair.client, buffer_text(&request)));
        serve_echo(&fastcgi, pair.server, path, (struct text){body, BODIES[i]});
        expect_answer(pair.client, "ok");
        buffer_done(&request);
    }
    close(pair.client);
    assert_false(fastcgi_receive(&fastcgi, pair.server));
    assert_false(is_open(pair.server));
    free(body);
}

struct sender {
    int fd;
    struct text data;
};

static void *send_bytewise(void *argument)
{
    const struct sender *sender = argument;
    for (size_t i = 0; i < sender->data.len; i++)
        client_send(sender->fd, (struct text){sender->data.data + i, 1});
    return NULL;
}

static void test_request_in_single_bytes(void **state)
{
    (void)state;
    struct pair pair = make_pair();
    struct fastcgi fastcgi;
    struct buffer request;
    pthread_t thread;
    buffer_init(&request, 1 << 20);
    client_request(&request, "POST", "/x", TEXT_LITERAL("hello"));
    struct sender sender = {pair.client, buffer_text(&request)};
    assert_int_equal(pthread_create(&thread, NULL, send_bytewise, &sender), 0);
    fastcgi_init(&fastcgi);
    serve_echo(&fastcgi, pair.server, "/x", TEXT_LITERAL("hello"));
    pthread_join(thread, NULL);
    expect_answer(pair.client, "ok");
    buffer_done(&request);
    close(pair.client);
    close(pair.server);
}

/* The web server's end: closes once the handler did, so that no side waits for the other. */
static void *close_after_peer(void *argument)
{
    int fd = *(int *)argument;
    char byte;
    while (recv(fd, &byte, 1, 0) > 0)
        ;
    close(fd);
    return NULL;
}

/* Bytes that are no request, each followed by the end of the connection or by silence. */
static void test_garbage(void **state)
{
    (void)state;
    static const struct text ROWS[] = {
        TEXT_LITERAL(""),
        TEXT_LITERAL("\1"),
        TEXT_LITERAL("\1\1\0\1\0\10\0"),
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\1"),
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"),
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0\1\4\0\1\0\4\0\0\1\1"),
        TEXT_LITERAL("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        TEXT_LITERAL("\2\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"),  /* version 2 */
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\11\1\0\0\0\0\0"), /* role 9 */
        TEXT_LITERAL("\1\5\0\1\0\2\0\0hi\1\5\0\1\0\0\0\0"), /* a body of nothing */
        TEXT_LITERAL("\1\4\0\1\0\0\0\0"),                   /* parameters of nothing */
        TEXT_LITERAL(
            "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"
            "\1\4\0\1\0\6\0\0\377\377\377\377\377\377\1\4\0\1\0\0\0\0"), /* CVE-2025-23016 */
        TEXT_LITERAL("\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0"
                     "\1\4\0\1\0\2\0\0\5\5\1\4\0\1\0\0\0\0"), /* lengths past the end */
    };
    for (size_t i = 0; i < 2 * COUNT(ROWS); i++) {
        struct pair pair = make_pair();
        struct fastcgi fastcgi;
        struct timeval limit = {.tv_usec = 5000};
        pthread_t thread;
        assert_true(client_send(pair.client, ROWS[i / 2]));
        if (i % 2)
            shutdown(pair.client, SHUT_WR);
        setsockopt(pair.server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        assert_int_equal(pthread_create(&thread, NULL, close_after_peer, &pair.client), 0);
        fastcgi_init(&fastcgi);
        if (fastcgi_receive(&fastcgi, pair.server))
            fail_msg("row %zu is a request", i / 2);
        assert_false(is_open(pair.server));
        pthread_join(thread, NULL);
    }
}

/* A body that stops: what came is given, then the failure. */
static void test_body_broken_off(void **state)
{
    (void)state;
    struct pair pair = make_pair();
    struct fastcgi fastcgi;
    struct buffer request;
    pthread_t thread;
    char body[100];
    buffer_init(&request, 1 << 20);
    client_request(&request, "POST", "/x", TEXT_LITERAL("0123456789abcdef"));
    request.len -= 8 + 6; /* the last record, and the end of the body */
    assert_true(client_send(pair.client, buffer_text(&request)));
    shutdown(pair.client, SHUT_WR);
    fastcgi_init(&fastcgi);
    assert_true(fastcgi_receive(&fastcgi, pair.server));
    const struct transport *transport = &fastcgi.transport;
    assert_int_equal(transport->read(transport->context, body, sizeof(body)), 10);
    assert_int_equal(transport->read(transport->context, body, sizeof(body)), -1);
    assert_int_equal(transport->read(transport->context, body, sizeof(body)), -1);
    assert_int_equal(pthread_create(&thread, NULL, close_after_peer, &pair.client), 0);
    assert_int_equal(fastcgi_finish(&fastcgi, false), -1);
    assert_false(is_open(pair.server));
    pthread_join(thread, NULL);
    buffer_done(&request);
}

/* The web server is gone before the answer: writing fails, without a signal. */
static void test_write_to_nobody(void **state)
{
    (void)state;
    struct pair pair = make_pair();
    struct fastcgi fastcgi;
    struct buffer request;
    char body[10];
    char *answer = calloc(1, 100000);
    assert_non_null(answer);
    buffer_init(&request, 1 << 20);
    client_request(&request, "GET", "/x", TEXT_LITERAL(""));
    assert_true(client_send(pair.client, buffer_text(&request)));
    fastcgi_init(&fastcgi);
    assert_true(fastcgi_receive(&fastcgi, pair.server));
    const struct transport *transport = &fastcgi.transport;
    assert_int_equal(transport->read(transport->context, body, sizeof(body)), 0);
    close(pair.client);
    assert_false(transport->write(transport->context, answer, 100000));
    assert_int_equal(fastcgi_finish(&fastcgi, false), -1);
    free(answer);
    buffer_done(&request);
}

static void test_large_answer(void **state)
{
    (void)state;
    enum { LENGTH = 3000000 };
    struct pair pair = make_pair();
    struct fastcgi fastcgi;
    struct buffer request;
    char body[10];
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct buffer answer;
        buffer_init(&answer, LENGTH);
        buffer_init(&request, 1 << 20);
        client_request(&request, "GET", "/x", TEXT_LITERAL(""));
        bool ok = client_send(pair.client, buffer_text(&request)) &&
                  client_answer(pair.client, &answer) && answer.len == LENGTH &&
                  !memchr(answer.data, 0, LENGTH);
        _exit(ok ? 0 : 1);
    }
    char *answer = malloc(LENGTH);
    assert_non_null(answer);
    memset(answer, 'a', LENGTH);
    fastcgi_init(&fastcgi);
    assert_true(fastcgi_receive(&fastcgi, pair.server));
    const struct transport *transport = &fastcgi.transport;
    assert_int_equal(transport->read(transport->context, body, sizeof(body)), 0);
    assert_true(transport->write(transport->context, answer, LENGTH));
    assert_int_equal(fastcgi_finish(&fastcgi, true), pair.server);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    free(answer);
    close(pair.client);
    close(pair.server);
}

/* Descriptors beyond FD_SETSIZE: libfcgi closes connections with select(2) on its way. */
static void test_high_descriptor(void **state)
{
    (void)state;
    enum { HIGH = 1500 };
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max <= HIGH)
        skip();
    struct pair pair = make_pair();
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct fastcgi fastcgi;
        limit.rlim_cur = HIGH + 1;
        setrlimit(RLIMIT_NOFILE, &limit);
        dup2(pair.server, HIGH);
        close(pair.server);
        close(pair.client);
        fastcgi_init(&fastcgi);
        _exit(fastcgi_receive(&fastcgi, HIGH) || is_open(HIGH));
    }
    close(pair.client);
    close(pair.server);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_test),
        cmocka_unit_test(test_is_listening),
        cmocka_unit_test(test_look_ahead),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_requests_on_one_connection),
        cmocka_unit_test(test_request_in_single_bytes),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_body_broken_off),
        cmocka_unit_test(test_write_to_nobody),
        cmocka_unit_test(test_large_answer),
        cmocka_unit_test(test_high_descriptor),
    };
    return cmocka_run_group_tests(tests, initialise, NULL);
}
