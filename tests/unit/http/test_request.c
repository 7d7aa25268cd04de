/* Parameters, language, path, query values and bodies, over a transport in memory. */
#include "http/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/limits.h"
#include "fake_transport.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct fixture {
    struct fake_transport fake;
    struct request request;
};

static void start(struct fixture *f)
{
    fake_init(&f->fake);
    request_init(&f->request);
}

static void begin(struct fixture *f)
{
    request_begin(&f->request, &f->fake.transport, "/default");
}

static void finish(struct fixture *f)
{
    request_done(&f->request);
    fake_done(&f->fake);
}

static void test_nothing_but_defaults(void **state)
{
    (void)state;
    struct fixture f;
    start(&f);
    begin(&f);
    assert_true(text_equal(f.request.method, TEXT_LITERAL("GET")));
    assert_true(text_equal(f.request.path, TEXT_LITERAL("/default")));
    assert_true(text_equal(f.request.query, TEXT_LITERAL("")));
    assert_true(text_equal(f.request.request_id, TEXT_LITERAL("")));
    assert_true(text_equal(f.request.client_address, TEXT_LITERAL("")));
    assert_null(f.request.id.data);
    assert_false(f.request.english);
    assert_null(request_param(&f.request, "HTTP_ORIGIN").data);
    assert_int_equal(request_read_body(&f.request, 10), ERROR_OK);
    assert_int_equal(buffer_text(&f.request.body).len, 0);
    struct identity identity;
    struct config config = {.allowed_origins = ""};
    struct app app = {.config = &config};
    assert_int_equal(request_identity(&f.request, &app, &identity), ERROR_UNAUTHORIZED);
    finish(&f);
}

static void test_path(void **state)
{
    (void)state;
    static const struct {
        struct fake_param params[3];
        const char *path;
    } ROWS[] = {
        {{{"DOCUMENT_URI", "/a"}, {"SCRIPT_NAME", "/b"}}, "/a"},
        {{{"SCRIPT_NAME", "/b"}, {"REQUEST_URI", "/c"}}, "/b"},
        {{{"DOCUMENT_URI", ""}, {"SCRIPT_NAME", "/b"}}, "/b"},
        {{{"REQUEST_URI", "/c?x=/d?e"}}, "/c"},
        {{{"REQUEST_URI", "?x"}}, ""},
        {{{"DOCUMENT_URI", "/api/%2e%2e/x"}}, "/api/%2e%2e/x"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        start(&f);
        memcpy(f.fake.params, ROWS[i].params, sizeof(ROWS[i].params));
        begin(&f);
        assert_true(text_equal(f.request.path, text_from(ROWS[i].path)));
        finish(&f);
    }
}

static void test_language(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool english;
    } ROWS[] = {
        {NULL, false},
        {"", false},
        {"en", true},
        {"EN-us", true},
        {"ru", false},
        {"de", false},
        {"*", false},
        {"ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", false},
        {"en-US,en;q=0.9,ru;q=0.8", true},
        {"ru;q=0.5, en;q=0.6", true},
        {"ru;q=0.55, en;q=0.549", false},
        {"en;q=0.001", true},
        {"en;q=0", false},
        {"en;q=0.000", false},
        {"en;q=0.5,ru;q=0.5", false},
        {"en; q=1.000, ru; q=0.999", true},
        {"en;q=", false},
        {"en;q=1", true},
        {"en;q=.", false},
        {"en;q=0.", false},
        {"en;q=0.99999999999999999999,ru;q=0.998", true},
        {",,;q=,=,en", true},
        {"q=", false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        start(&f);
        f.fake.params[0] = (struct fake_param){"HTTP_ACCEPT_LANGUAGE", ROWS[i].header};
        begin(&f);
        if (f.request.english != ROWS[i].english)
            fail_msg("%s", ROWS[i].header);
        finish(&f);
    }
}

static void test_query(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        enum error err;
        const char *value; /* NULL: absent */
    } ROWS[] = {
        {"", ERROR_OK, NULL},
        {"x=1", ERROR_OK, "1"},
        {"a=2&x=1&x=3", ERROR_OK, "1"},
        {"xx=1&ax=2&x2=3", ERROR_OK, NULL},
        {"x", ERROR_OK, ""},
        {"x=", ERROR_OK, ""},
        {"x&y=1", ERROR_OK, ""},
        {"x==", ERROR_OK, "="},
        {"&&x=1&", ERROR_OK, "1"},
        {"x=a+b%20c", ERROR_OK, "a b c"},
        {"x=%d0%9F", ERROR_OK, "П"},
        {"x=%26%3D%25", ERROR_OK, "&=%"},
        {"x='%3B+DROP+TABLE+users%3B+--", ERROR_OK, "'; DROP TABLE users; --"},
        {"x=1234567", ERROR_OK, "1234567"},
        {"x=%", ERROR_INVALID_PARAMETER, NULL},
        {"x=%4", ERROR_INVALID_PARAMETER, NULL},
        {"x=%4&y=1", ERROR_INVALID_PARAMETER, NULL},
        {"x=%zz", ERROR_INVALID_PARAMETER, NULL},
        {"x=%4z", ERROR_INVALID_PARAMETER, NULL},
        {"x=%-1", ERROR_INVALID_PARAMETER, NULL},
        {"x=a%00b", ERROR_INVALID_PARAMETER, NULL},
        {"x=%ff", ERROR_INVALID_PARAMETER, NULL},
        {"x=\xFF", ERROR_INVALID_PARAMETER, NULL},
        {"x=%ED%A0%80", ERROR_INVALID_PARAMETER, NULL},
        {"y=%ff&x=1", ERROR_OK, "1"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct fixture f;
        char buffer[32];
        struct text value = TEXT_LITERAL("untouched");
        start(&f);
        f.fake.params[0] = (struct fake_param){"QUERY_STRING", ROWS[i].query};
        begin(&f);
        enum error err =
            request_query(&f.request, &(struct query_field){"x", buffer, sizeof(buffer)}, &value);
        if (err != ROWS[i].err || (!err && !text_equal(value, text_from(ROWS[i].value))))
            fail_msg("%s", ROWS[i].query);
        finish(&f);
    }
}

/* A value that just fits, and one byte more. */
static void test_query_length(void **state)
{
    (void)state;
    struct fixture f;
    char *buffer = malloc(8);
    struct text value;
    assert_non_null(buffer);
    start(&f);
    f.fake.params[0] = (struct fake_param){"QUERY_STRING", "fits=1234567&not=12345678"};
    begin(&f);
    assert_int_equal(request_query(&f.request, &(struct query_field){"fits", buffer, 8}, &value),
                     ERROR_OK);
    assert_string_equal(buffer, "1234567");
    assert_int_equal(request_query(&f.request, &(struct query_field){"not", buffer, 8}, &value),
                     ERROR_INVALID_PARAMETER);
    assert_null(value.data);
    finish(&f);
    free(buffer);
}

static void test_bodies(void **state)
{
    (void)state;
    enum { CAP = 20000 };
    static const size_t PIECES[] = {0, 1, 7, 8192};
    static const struct {
        size_t sent;
        const char *declared; /* NULL: no CONTENT_LENGTH */
        bool fails;
        enum error err;
    } ROWS[] = {
        {0, NULL, false, ERROR_OK},
        {0, "", false, ERROR_OK},
        {0, "0", false, ERROR_OK},
        {5, "5", false, ERROR_OK},
        {5, NULL, false, ERROR_OK},
        {8192, "8192", false, ERROR_OK},
        {8193, "8193", false, ERROR_OK},
        {CAP - 1, "19999", false, ERROR_OK},
        {CAP, "20000", false, ERROR_OK},
        {CAP, NULL, false, ERROR_OK},
        {CAP + 1, "20001", false, ERROR_BODY_TOO_LARGE},
        {CAP + 1, NULL, false, ERROR_BODY_TOO_LARGE},
        {2 * CAP, "40000", false, ERROR_BODY_TOO_LARGE},
        {5, "6", false, ERROR_CLIENT_GONE}, /* short */
        {6, "5", false, ERROR_CLIENT_GONE}, /* long */
        {5, "5", true, ERROR_CLIENT_GONE},  /* broken off behind the last byte */
        {CAP, "20000", true, ERROR_CLIENT_GONE},
        {0, "5", true, ERROR_CLIENT_GONE},
        {5, "-5", false, ERROR_CLIENT_GONE},
        {5, "five", false, ERROR_CLIENT_GONE},
        {5, "5, 5", false, ERROR_CLIENT_GONE},
        {5, "99999999999999999999", false, ERROR_CLIENT_GONE},
    };
    char *content = malloc(2 * CAP);
    assert_non_null(content);
    for (size_t i = 0; i < 2 * CAP; i++)
        content[i] = (char)(i * 7);
    for (size_t i = 0; i < COUNT(ROWS) * COUNT(PIECES); i++) {
        struct fixture f;
        size_t row = i / COUNT(PIECES);
        start(&f);
        f.fake.params[0] = (struct fake_param){"CONTENT_LENGTH", ROWS[row].declared};
        f.fake.body = (struct text){content, ROWS[row].sent};
        f.fake.body_fails = ROWS[row].fails;
        f.fake.piece = PIECES[i % COUNT(PIECES)];
        begin(&f);
        assert_int_equal(request_read_body(&f.request, CAP), ROWS[row].err);
        assert_true(f.request.body.len <= CAP);
        if (ROWS[row].err == ERROR_OK) {
            assert_int_equal(f.request.body.len, ROWS[row].sent);
            assert_memory_equal(buffer_text(&f.request.body).data, content, ROWS[row].sent);
            assert_int_equal(f.fake.body_read, ROWS[row].sent);
        }
        /* What is unread is never more than the cap and one byte away. */
        assert_true(f.fake.body_read <= CAP + 1);
        finish(&f);
    }
    free(content);
}

/* A worker's request serves one after another and leaves nothing of the one before. */
static void test_reuse(void **state)
{
    (void)state;
    struct fixture f;
    char *content = calloc(1, 300000);
    assert_non_null(content);
    start(&f);
    f.fake.body = (struct text){content, 300000};
    f.fake.params[0] = (struct fake_param){"HTTP_ACCEPT_LANGUAGE", "en"};
    begin(&f);
    f.request.id = TEXT_LITERAL("left over");
    assert_int_equal(request_read_body(&f.request, 300000), ERROR_OK);
    f.fake.params[0] = (struct fake_param){NULL, NULL};
    f.fake.body = TEXT_LITERAL("{}");
    f.fake.body_read = 0;
    begin(&f);
    assert_true(f.request.body.capacity <= RESPONSE_KEEP_BYTES);
    assert_false(f.request.english);
    assert_null(f.request.id.data);
    assert_int_equal(request_read_body(&f.request, 2), ERROR_OK);
    assert_string_equal(buffer_text(&f.request.body).data, "{}");
    finish(&f);
    free(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_but_defaults),
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_query_length),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
