/* Log lines: their exact form, escapes, truncation, level filter and one write a line. */
#include "observe/log.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/limits.h"

enum { THREADS = 4, LINES = 100 };

/*
 * Stands in for descriptor 2 during a call. A datagram socket keeps writes apart: each receive
 * returns one write.
 */
static int receiver;
static int saved_stderr;

static int capture(void **state)
{
    int pair[2];
    (void)state;
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) != 0)
        return -1;
    saved_stderr = dup(STDERR_FILENO);
    dup2(pair[1], STDERR_FILENO);
    close(pair[1]);
    receiver = pair[0];
    return 0;
}

static int release(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(receiver);
    log_set_request_id((struct text){NULL, 0});
    return 0;
}

/* The next write, or the empty string when there was none. */
static size_t receive(char *line, size_t size)
{
    ssize_t n = recv(receiver, line, size - 1, MSG_DONTWAIT);
    line[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

/* Receives a line that must be one JSON object and a newline; the caller puts the object. */
static struct json_object *receive_object(void)
{
    char line[2 * LOG_LINE_BYTES_MAX];
    size_t len = receive(line, sizeof(line));
    assert_in_range(len, 1, LOG_LINE_BYTES_MAX);
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    struct json_tokener *tokener = json_tokener_new();
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, line, (int)len - 1);
    assert_int_equal(json_tokener_get_error(tokener), json_tokener_success);
    assert_int_equal(json_tokener_get_parse_end(tokener), len - 1);
    json_tokener_free(tokener);
    assert_true(json_object_is_type(object, json_type_object));
    return object;
}

static const char *string_of(struct json_object *object, const char *name)
{
    struct json_object *value;
    return json_object_object_get_ex(object, name, &value) ? json_object_get_string(value) : NULL;
}

static void test_exact_line(void **state)
{
    (void)state;
    char line[LOG_LINE_BYTES_MAX];
    char expected[LOG_LINE_BYTES_MAX];
    struct log *log = log_new("tokens", LOG_INFO);
    log_set_request_id(TEXT_LITERAL("4f2a"));
    log_event(log, LOG_WARNING, "slow query", LOG_STRING("query", "balance_read"),
              LOG_NUMBER("duration_us", -123456), LOG_TEXT("empty", TEXT_LITERAL("")));
    receive(line, sizeof(line));
    assert_memory_equal(line, "{\"time\":\"20", 11);
    snprintf(expected, sizeof(expected),
             "Z\",\"level\":\"warning\",\"handler\":\"tokens\",\"pid\":%d,\"request_id\":\"4f2a\","
             "\"message\":\"slow query\",\"query\":\"balance_read\",\"duration_us\":-123456,"
             "\"empty\":\"\"}\n",
             (int)getpid());
    assert_string_equal(line + strlen("{\"time\":\"2026-11-22T10:11:12.123"), expected);

    /* Without a request id and without fields. */
    log_set_request_id((struct text){NULL, 0});
    log_write(log, LOG_ERROR, "plain", NULL, 0);
    struct json_object *object = receive_object();
    assert_int_equal(json_object_object_length(object), 5);
    assert_string_equal(string_of(object, "level"), "error");
    assert_string_equal(string_of(object, "message"), "plain");
    json_object_put(object);
    log_free(log);
}

static void test_levels(void **state)
{
    static const char *const NAMES[] = {"debug", "info", "warning", "error"};
    (void)state;
    for (int at = LOG_DEBUG; at < LOG_LEVEL_COUNT; at++) {
        struct log *log = log_new("h", (enum log_level)at);
        for (int level = LOG_DEBUG; level < LOG_LEVEL_COUNT; level++) {
            char line[LOG_LINE_BYTES_MAX];
            log_write(log, (enum log_level)level, "m", NULL, 0);
            size_t len = receive(line, sizeof(line));
            assert_int_equal(len > 0, level >= at);
            if (len > 0)
                assert_non_null(strstr(line, NAMES[level]));
        }
        log_free(log);
    }
    log_write(NULL, LOG_ERROR, "no log", NULL, 0);
    log_free(NULL);
    char line[16];
    assert_int_equal(receive(line, sizeof(line)), 0);
}

static void test_escapes(void **state)
{
    static const struct {
        struct text in;
        const char *out; /* as json-c reads it back */
    } ROWS[] = {
        {TEXT_LITERAL("a\"b\\c"), "a\"b\\c"},
        {TEXT_LITERAL("line\nbreak\r\ttab\x01\x1f\x7f"), "line\nbreak\r\ttab\x01\x1f\x7f"},
        {TEXT_LITERAL("привет 🎨"), "привет 🎨"},
        {TEXT_LITERAL("bad\xff\xe2\x82"), "bad\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {TEXT_LITERAL("\xed\xa0\x80x"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx"},
        {TEXT_LITERAL("\",\"level\":\"forged"), "\",\"level\":\"forged"},
    };
    (void)state;
    struct log *log = log_new("h", LOG_DEBUG);
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        log_set_request_id(ROWS[i].in);
        char message[64];
        assert_true(text_copy(ROWS[i].in, message, sizeof(message)));
        log_event(log, LOG_INFO, message, LOG_TEXT("value", ROWS[i].in));
        struct json_object *object = receive_object();
        assert_string_equal(string_of(object, "value"), ROWS[i].out);
        assert_string_equal(string_of(object, "message"), ROWS[i].out);
        assert_string_equal(string_of(object, "request_id"), ROWS[i].out);
        assert_null(string_of(object, "truncated"));
        json_object_put(object);
    }
    /* A NUL inside a text stays inside. */
    log_event(log, LOG_INFO, "nul", LOG_TEXT("value", TEXT_LITERAL("a\0b")));
    char line[LOG_LINE_BYTES_MAX];
    receive(line, sizeof(line));
    assert_non_null(strstr(line, "\"value\":\"a\\u0000b\""));
    log_free(log);
}

/* Whatever is too long, the line stays JSON, keeps its beginning and says so. */
static void test_truncation(void **state)
{
    static const char *const UNITS[] = {"x", "\"", "\n", "я", "🎨", "\xff", "\x01"};
    static char huge[3 * LOG_LINE_BYTES_MAX];
    (void)state;
    struct log *log = log_new("tokens", LOG_DEBUG);
    for (size_t unit = 0; unit < sizeof(UNITS) / sizeof(UNITS[0]); unit++) {
        size_t unit_len = strlen(UNITS[unit]);
        for (size_t start = 0; start < 8; start++) { /* every alignment of unit and cap */
            memset(huge, 'a', start);
            for (size_t at = start; at + unit_len < sizeof(huge); at += unit_len) {
                memcpy(huge + at, UNITS[unit], unit_len);
                huge[at + unit_len] = '\0';
            }
            log_event(log, LOG_INFO, huge, LOG_STRING("one", huge), LOG_STRING("two", huge),
                      LOG_STRING("three", huge), LOG_STRING("four", huge),
                      LOG_NUMBER("number", INT64_MIN), LOG_STRING("five", huge));
            struct json_object *object = receive_object();
            assert_string_equal(string_of(object, "handler"), "tokens");
            assert_string_equal(string_of(object, "truncated"), "true");
            assert_in_range(strlen(string_of(object, "message")), LOG_TEXT_BYTES_MAX / 6 - 6,
                            LOG_TEXT_BYTES_MAX);
            assert_non_null(string_of(object, "two"));
            json_object_put(object);
        }
    }
    log_free(log);
}

static void test_many_fields(void **state)
{
    (void)state;
    static struct log_field fields[1000];
    struct log *log = log_new("tokens", LOG_DEBUG);
    for (size_t i = 0; i < 1000; i++)
        fields[i] = i % 2 ? LOG_NUMBER("number", (int64_t)i) : LOG_STRING("text", "value");
    for (size_t count = 200; count <= 1000; count++) { /* the cap is met at every offset */
        char name[] = "xxxxxxxxxxxxxxxx";
        name[count % 16] = '\0';
        fields[0] = LOG_STRING(name, "");
        log_write(log, LOG_INFO, "many", fields, count);
        struct json_object *object = receive_object();
        json_object_put(object);
    }
    log_free(log);
}

static void test_request_id_is_capped(void **state)
{
    (void)state;
    char id[200];
    memset(id, 'r', sizeof(id));
    struct log *log = log_new("h", LOG_DEBUG);
    log_set_request_id((struct text){id, sizeof(id)});
    log_write(log, LOG_INFO, "m", NULL, 0);
    struct json_object *object = receive_object();
    assert_int_equal(strlen(string_of(object, "request_id")), REQUEST_ID_BYTES_MAX);
    json_object_put(object);
    log_free(log);
}

static void test_errno_survives(void **state)
{
    (void)state;
    struct log *log = log_new("h", LOG_DEBUG);
    int held = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    errno = ENOSPC;
    log_write(log, LOG_INFO, "nowhere to go", NULL, 0);
    assert_int_equal(errno, ENOSPC);
    dup2(held, STDERR_FILENO);
    close(held);
    log_free(log);
}

struct writer {
    struct log *log;
    char id[8];
};

static void *write_lines(void *argument)
{
    struct writer *writer = argument;
    log_set_request_id(text_from(writer->id));
    for (int i = 0; i < LINES; i++)
        log_event(writer->log, LOG_INFO, "threaded", LOG_STRING("own_id", writer->id));
    return NULL;
}

/* The request id belongs to the thread, and lines do not mix. */
static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    struct log *log = log_new("h", LOG_DEBUG);
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.log = log};
        snprintf(writers[i].id, sizeof(writers[i].id), "id-%d", i % 10);
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &writers[i]), 0);
    }
    for (int i = 0; i < THREADS * LINES; i++) {
        char line[LOG_LINE_BYTES_MAX];
        ssize_t n = recv(receiver, line, sizeof(line) - 1, 0);
        assert_true(n > 0);
        line[n] = '\0';
        struct json_object *object = json_tokener_parse(line);
        assert_non_null(object);
        assert_string_equal(string_of(object, "request_id"), string_of(object, "own_id"));
        json_object_put(object);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    log_write(log, LOG_INFO, "main", NULL, 0);
    struct json_object *object = receive_object();
    assert_null(string_of(object, "request_id"));
    json_object_put(object);
    log_free(log);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, capture, release)
    const struct CMUnitTest tests[] = {
        TEST(test_exact_line), TEST(test_levels),         TEST(test_escapes),
        TEST(test_truncation), TEST(test_many_fields),    TEST(test_request_id_is_capped),
        TEST(test_threads),    TEST(test_errno_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
