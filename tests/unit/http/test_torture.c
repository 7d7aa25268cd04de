/*
 * Every allocation fails in turn: a request with a body, its parsing and its answer, the buffer and
 * the JSON writer. Nothing crashes, nothing leaks (AddressSanitizer tells), nothing half built is
 * taken for whole.
 *
 * This program's malloc, calloc and realloc stand before those of the C library, for the libraries
 * as well, and go on to the sanitizer's where there is one. Of json-c's own allocations only those
 * fail that it survives: version 0.16 crashes in json_object_object_add_ex when it cannot copy a
 * name, and leaks the value when its table cannot grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/json_writer.h"
#include "fake_transport.h"
#include "plain_entry.h"
#include "http/body.h"
#include "http/router.h"

#ifdef __SANITIZE_ADDRESS__
#define REAL(function) __interceptor_##function
#else
#define REAL(function) __libc_##function
#endif

/* ThreadSanitizer allocates before it can be called, and there is one thread here: nothing for it.
 */
#ifndef __SANITIZE_THREAD__

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *pointer, size_t size);

/* The program's own code, as the linker lays it out. */
extern const char __executable_start[];
extern const char etext[];

/* Which allocation fails, counted from 0. */
enum failing {
    FAIL_NONE,
    FAIL_OWN,       /* of the program's own: it and all after it */
    FAIL_OWN_ALONE, /* it alone, after which memory is there again: the hardest to notice */
    FAIL_ANY,       /* of the libraries' as well: it and all after it */
};

static struct {
    enum failing failing;
    long left; /* that are still to succeed */
    long failed;
} plan;

static bool may_allocate(const void *caller)
{
    const char *from = caller;
    bool own = from >= __executable_start && from < etext;
    if (plan.failing == FAIL_NONE || (!own && plan.failing != FAIL_ANY))
        return true;
    if (plan.left > 0) {
        plan.left--;
        return true;
    }
    if (plan.failing == FAIL_OWN_ALONE)
        plan.failing = FAIL_NONE;
    plan.failed++;
    return false;
}

#define NOT_INLINED __attribute__((noinline))

NOT_INLINED void *malloc(size_t size)
{
    return may_allocate(__builtin_return_address(0)) ? REAL(malloc)(size) : NULL;
}

NOT_INLINED void *calloc(size_t count, size_t size)
{
    return may_allocate(__builtin_return_address(0)) ? REAL(calloc)(count, size) : NULL;
}

NOT_INLINED void *realloc(void *pointer, size_t size)
{
    return may_allocate(__builtin_return_address(0)) ? REAL(realloc)(pointer, size) : NULL;
}

static void fail_from(enum failing failing, long n)
{
    plan.left = n;
    plan.failed = 0;
    plan.failing = failing;
}

/* Ends the failing and tells whether any allocation failed. */
static bool failed(void)
{
    plan.failing = FAIL_NONE;
    return plan.failed > 0;
}

/* The parser cannot be made, and for an empty body not even an empty object. */
static void test_parser_cannot_be_made(void **state)
{
    static const char *const BODIES[] = {"", "{\"a\":1}"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct body *body = NULL;
        struct request request = {.transport = NULL};
        struct response response = {.transport = NULL};
        request_init(&request);
        buffer_append_string(&request.body, BODIES[i / 2]);
        fail_from(FAIL_ANY, i % 2); /* the second allocation is json-c's */
        enum error err = body_parse(&request, &response, &body);
        assert_true(failed());
        assert_int_equal(err, ERROR_NO_MEMORY);
        assert_null(body);
        request_done(&request);
    }
}

static void test_buffer_and_writer(void **state)
{
    (void)state;
    bool complete = false;
    for (long n = 0; !complete; n++) {
        struct buffer buffer;
        struct json_writer json;
        assert_true(n < 1000);
        buffer_init(&buffer, 100000);
        json_writer_init(&json, &buffer);
        fail_from(FAIL_OWN, n);
        json_begin_object(&json);
        for (int i = 0; i < 200; i++) {
            json_member_int(&json, "number", i);
            json_member_string(&json, "text", "a \"quoted\" \xFF text");
            json_member_time(&json, "time", i);
        }
        json_end_object(&json);
        buffer_append_format(&buffer, "%0900d", 1);
        complete = !failed();
        assert_int_equal(buffer_error(&buffer), complete ? ERROR_OK : ERROR_NO_MEMORY);
        if (buffer.data)
            assert_int_equal(strlen(buffer.data), buffer.len);
        buffer_done(&buffer);
    }
}

static const char BODY[] =
    "{\"name\":\"a text that is longer than any first buffer of the parser, and than two of them\","
    "\"list\":[1,2,{\"deep\":{\"er\":true}},\"x\",null,1.5],\"e\":\"\\u041f\\ud83d\\ude00\","
    "\"m1\":1,\"m2\":2,\"m3\":3,\"m4\":4,\"m5\":5,\"m6\":6,\"m7\":7,\"m8\":8,\"m9\":9,\"m10\":10,"
    "\"m11\":11,\"m12\":12,\"m13\":13,\"m14\":14,\"m15\":15,\"m16\":16,\"m17\":17,\"m18\":18}";
static const char NAME[] =
    "a text that is longer than any first buffer of the parser, and than two of them";

static enum error answer_name(struct app *app, struct request *request, struct response *response)
{
    static const struct body_text_rule RULE = {.name = "name", .required = true, .bytes_max = 1000};
    struct body *body = NULL;
    struct text name;
    (void)app;
    enum error err = body_parse(request, response, &body);
    if (!err)
        err = body_text(body, &RULE, &name);
    if (!err) {
        json_member_text(response_data(response, 200), "name", name);
        response_data_end(response);
    }
    body_free(body);
    return err;
}

/* A stream whose last piece needs more room than there is. */
static enum error stream_end(struct app *app, struct request *request, struct response *response)
{
    static const char LAST[] = "end";
    (void)app;
    (void)request;
    buffer_append_format(response_stream(response, "text/plain"), "%5000s", LAST);
    return ERROR_OK;
}

static const struct router_entry ENTRIES[] = {
    {"POST", "/name", PLAIN(answer_name)},
    {"GET", "/stream", PLAIN(stream_end)},
};
static const struct router_table TABLE = {.name = "test", .entries = ENTRIES, .entry_count = 2};

static bool abandoned;

static void fake_abandon(void *context)
{
    (void)context;
    abandoned = true;
}

static void serve_with_failures(enum failing failing)
{
    static struct config config = {.allowed_origins = "https://a.example"};
    static struct app app = {.handler = "test", .config = &config};
    struct router *router = router_new(&app, &TABLE);
    bool complete = false;
    assert_non_null(router);
    for (long n = 0; !complete; n++) {
        struct fake_transport fake;
        struct request request;
        struct response response;
        assert_true(n < 10000);
        fake_init(&fake);
        /* What was sent is kept without an allocation of its own. */
        assert_non_null(buffer_reserve(&fake.sent, 100000));
        fake.params[0] = (struct fake_param){"REQUEST_METHOD", "POST"};
        fake.params[1] = (struct fake_param){"DOCUMENT_URI", "/name"};
        fake.params[2] = (struct fake_param){"HTTP_ORIGIN", "https://a.example"};
        fake.body = text_from(BODY);
        request_init(&request);
        response_init(&response);
        fail_from(failing, n);
        bool keep = router_serve(router, &fake.transport, &request, &response);
        complete = !failed();
        bool success = strstr(buffer_text(&fake.sent).data, "Status: 200\r\n") != NULL;
        /* An answer of success is the right one, whatever failed on its way. */
        if (success && !strstr(fake.sent.data, NAME))
            fail_msg("allocation %ld: %s", n, fake.sent.data);
        assert_true(!complete || (success && keep));
        assert_true(fake.sent.len > 0 || !keep);
        request_done(&request);
        response_done(&response);
        fake_done(&fake);
    }
    router_free(router);
}

static void test_whole_request(void **state)
{
    (void)state;
    serve_with_failures(FAIL_OWN);
}

static void test_whole_request_with_one_failure(void **state)
{
    (void)state;
    serve_with_failures(FAIL_OWN_ALONE);
}

/* A stream that lacks its end is abandoned: END_REQUEST would make it look whole. */
static void test_stream(void **state)
{
    (void)state;
    static struct config config = {.allowed_origins = ""};
    static struct app app = {.handler = "test", .config = &config};
    struct router *router = router_new(&app, &TABLE);
    bool complete = false;
    assert_non_null(router);
    for (long n = 0; !complete; n++) {
        struct fake_transport fake;
        struct request request;
        struct response response;
        assert_true(n < 1000);
        fake_init(&fake);
        assert_non_null(buffer_reserve(&fake.sent, 100000));
        fake.params[0] = (struct fake_param){"DOCUMENT_URI", "/stream"};
        fake.transport.abandon = fake_abandon;
        abandoned = false;
        request_init(&request);
        response_init(&response);
        fail_from(FAIL_OWN_ALONE, n);
        bool keep = router_serve(router, &fake.transport, &request, &response);
        complete = !failed();
        bool began = strstr(buffer_text(&fake.sent).data, "Status: 200") != NULL;
        bool ended = strstr(buffer_text(&fake.sent).data, "end") != NULL;
        assert_true(ended ? keep && !abandoned : !keep || !began);
        assert_true(ended || !began || abandoned);
        assert_true(!complete || ended);
        request_done(&request);
        response_done(&response);
        fake_done(&fake);
    }
    router_free(router);
}

static void test_router_new(void **state)
{
    (void)state;
    static struct app app = {.handler = "test"};
    fail_from(FAIL_OWN, 0);
    struct router *router = router_new(&app, &TABLE);
    assert_true(failed());
    assert_null(router);
    router_free(router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parser_cannot_be_made),
        cmocka_unit_test(test_buffer_and_writer),
        cmocka_unit_test(test_whole_request),
        cmocka_unit_test(test_whole_request_with_one_failure),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_router_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int main(void)
{
    puts("one thread: left to the other modes");
    return 0;
}

#endif
