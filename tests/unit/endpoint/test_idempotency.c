/*
 * Which keys are accepted, whose they are, and the hash that tells another request. The hash is
 * kept as long as what the request made, so its values are golden: of SHA-256 over
 * "METHOD path\nbody", the first 8 bytes as a little-endian number, halved, and made odd.
 */
#include "call_fixture.h"

#include "endpoint/idempotency.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct call begin(struct call_fixture *f, const char *path)
{
    call_fixture_init(f, path);
    request_begin(&f->request, &f->fake.transport, "/");
    response_begin(&f->response, &f->fake.transport);
    return (struct call){.app = &f->app, .request = &f->request, .response = &f->response};
}

static char longest[IDEMPOTENCY_KEY_BYTES_MAX + 1];
static char too_long[IDEMPOTENCY_KEY_BYTES_MAX + 2];

static void test_keys(void **state)
{
    (void)state;
    memset(longest, 'k', sizeof(longest) - 1);
    memset(too_long, 'k', sizeof(too_long) - 1);
    const struct {
        const char *key;
        bool good;
    } ROWS[] = {
        {"k", true},         {"!", true},         {"~", true},   {longest, true},   {"a,b", true},
        {"{\"a\":1}", true}, {"", false},         {" ", false},  {"a b", false},    {"a\tb", false},
        {"a\x7f", false},    {"\xd0\xba", false}, {" k", false}, {too_long, false},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        struct operation_key key;
        struct call call = begin(&f, "/a");
        call_fixture_param(&f, "HTTP_IDEMPOTENCY_KEY", ROWS[i].key);
        enum error err = idempotency_read(&call, &key);
        if (err != (ROWS[i].good ? ERROR_OK : ERROR_INVALID_PARAMETER))
            fail_msg("row %zu", i);
        assert_string_equal(f.response.field, ROWS[i].good ? "" : "Idempotency-Key");
        if (!err)
            assert_true(text_equal(key.key, text_from(ROWS[i].key)));
        call_fixture_done(&f);
    }
}

/* Two keys, or one twice: as nginx 1.22 passes them on, and joined as later ones do. */
static void test_two_keys(void **state)
{
    (void)state;
    static const char *const JOINED = "a, b";
    for (int joined = 0; joined < 2; joined++) {
        struct call_fixture f;
        struct operation_key key;
        struct call call = begin(&f, "/a");
        f.fake.params[2] = (struct fake_param){"HTTP_IDEMPOTENCY_KEY", joined ? JOINED : "a"};
        if (!joined)
            f.fake.params[3] = (struct fake_param){"HTTP_IDEMPOTENCY_KEY", "a"};
        assert_int_equal(idempotency_read(&call, &key), ERROR_INVALID_PARAMETER);
        assert_string_equal(f.response.field, "Idempotency-Key");
        call_fixture_done(&f);
    }
}

static void test_without_a_key(void **state)
{
    (void)state;
    struct call_fixture f;
    struct operation_key key;
    struct call call = begin(&f, "/a");
    assert_int_equal(idempotency_read(&call, &key), ERROR_OK);
    assert_null(key.key.data);
    call_fixture_done(&f);
}

static void test_whose_it_is(void **state)
{
    (void)state;
    struct call_fixture f;
    struct operation_key key;
    struct call call = begin(&f, "/a");
    call_fixture_param(&f, "HTTP_IDEMPOTENCY_KEY", "k");
    assert_int_equal(idempotency_read(&call, &key), ERROR_OK);
    assert_true(text_equal(key.scope, TEXT_LITERAL("user")));
    snprintf(call.service.scope, sizeof(call.service.scope), "service:shop");
    assert_int_equal(idempotency_read(&call, &key), ERROR_OK);
    assert_true(text_equal(key.scope, TEXT_LITERAL("service:shop")));
    call_fixture_done(&f);
}

static void test_hash(void **state)
{
    (void)state;
    static const struct {
        const char *path, *body;
        int64_t hash;
    } ROWS[] = {
        {"/api/usage", "{\"action\":\"download\"}", INT64_C(5372864223863589217)},
        {"/api/usage", "", INT64_C(406807188288083341)},
        {"/api/tokens", "", INT64_C(1189988161828191399)},
        {"/api/tokens", "{}", INT64_C(5847764480494504011)},
        {"/api/ledger/spend", "{\"description\":\"Привет\"}", INT64_C(1237023283723220571)},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        struct operation_key key;
        struct call call = begin(&f, ROWS[i].path);
        call_fixture_param(&f, "HTTP_IDEMPOTENCY_KEY", "k");
        buffer_append_string(&f.request.body, ROWS[i].body);
        assert_int_equal(idempotency_read(&call, &key), ERROR_OK);
        assert_int_equal(key.request_hash, ROWS[i].hash);
        call_fixture_done(&f);
    }
}

/* The operation of a batch counts by what it says, however it is spaced; its id is the key. */
static void test_hash_of_an_operation(void **state)
{
    (void)state;
    static const char *const BODIES[] = {
        "{\"operationId\":\"1\",\"amount\":5}",
        " { \"operationId\" : \"\\u0031\", \"amount\" : 5 } ",
    };
    for (size_t i = 0; i < COUNT(BODIES); i++) {
        struct call_fixture f;
        struct operation_key key;
        struct body *body = NULL;
        struct call call = begin(&f, "/api/ledger/batch");
        buffer_append_string(&f.request.body, BODIES[i]);
        assert_int_equal(body_parse(&f.request, &f.response, &body), ERROR_OK);
        assert_int_equal(idempotency_for_operation(&call, TEXT_LITERAL("1"), body, &key), ERROR_OK);
        assert_true(text_equal(key.key, TEXT_LITERAL("1")));
        assert_int_equal(key.request_hash, INT64_C(5255022638141372357));
        body_free(body);
        call_fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),          cmocka_unit_test(test_two_keys),
        cmocka_unit_test(test_without_a_key), cmocka_unit_test(test_whose_it_is),
        cmocka_unit_test(test_hash),          cmocka_unit_test(test_hash_of_an_operation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
