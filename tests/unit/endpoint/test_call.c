/* What a route declares, asked of a request: who is refused, in which order, and what is read. */
#include "call_fixture.h"

#include "base/public_id.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What the last call came with. */
static struct {
    int runs;
    struct uuid user_id, id;
    bool has_body;
    bool has_key;
} seen;

static enum error see(struct call *call)
{
    seen.runs++;
    seen.user_id = call->user_id;
    seen.id = call->id;
    seen.has_body = call->body != NULL;
    seen.has_key = call->key.key.data != NULL;
    response_empty(call->response, 204);
    return ERROR_OK;
}

static void see_later(struct call *call)
{
    call_answer(call, see(call));
}

static enum error refuse(struct call *call)
{
    (void)call;
    return ERROR_CONFLICT;
}

/* One row a request: an access, a header of the request, and what is answered. */
static void test_access(void **state)
{
    (void)state;
    static const struct {
        enum access access;
        const char *name, *value;
        int status;
        const char *code;
    } ROWS[] = {
        {ACCESS_PUBLIC, NULL, NULL, 204, NULL},
        {ACCESS_ACCOUNT, NULL, NULL, 401, "unauthorized"},
        {ACCESS_ACCOUNT, "HTTP_AUTHORIZATION", "Device short", 401, "unauthorized"},
        {ACCESS_ACCOUNT, "HTTP_AUTHORIZATION", "Service 0123456789", 401, "unauthorized"},
        {ACCESS_ACCOUNT, "HTTP_X_DEVICE_ID", "device_0123456789abc", 401, "unauthorized"},
        {ACCESS_CLERK, NULL, NULL, 401, "unauthorized"},
        {ACCESS_CLERK, "HTTP_AUTHORIZATION", "Device device_0123456789abc", 401, "unauthorized"},
        {ACCESS_SERVICE_SPEND, NULL, NULL, 401, "unauthorized"},
        {ACCESS_SERVICE_SPEND, "HTTP_AUTHORIZATION", "Device device_0123456789abc", 401,
         "unauthorized"},
        {ACCESS_SERVICE_REFUND, "HTTP_AUTHORIZATION", "Service ", 401, "unauthorized"},
        {ACCESS_PROVIDER, NULL, NULL, 403, "forbidden"},
        {ACCESS_PROVIDER, "REMOTE_ADDR", "185.71.76.32", 403, "forbidden"},
        {ACCESS_PROVIDER, "REMOTE_ADDR", "185.71.76.31", 204, NULL},
        {ACCESS_LOOPBACK, NULL, NULL, 204, NULL},
        {ACCESS_LOOPBACK, "REMOTE_ADDR", "127.0.0.1", 204, NULL},
        {ACCESS_LOOPBACK, "REMOTE_ADDR", "::1", 204, NULL},
        {ACCESS_LOOPBACK, "REMOTE_ADDR", "128.0.0.1", 403, "forbidden"},
        {ACCESS_LOOPBACK, "REMOTE_ADDR", "2001:db8::1", 403, "forbidden"},
        /* Refused at the start; and if one came here, nobody would be let in. */
        {ACCESS_UNDECLARED, NULL, NULL, 500, "internal_error"},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        const struct route route = {"POST", "/a", .access = ROWS[i].access, .run = see};
        seen.runs = 0;
        call_fixture_init(&f, "/a");
        if (ROWS[i].name)
            call_fixture_param(&f, ROWS[i].name, ROWS[i].value);
        int status = call_fixture_serve(&f, &route);
        if (status != ROWS[i].status || (ROWS[i].code && !call_fixture_answered(&f, ROWS[i].code)))
            fail_msg("row %zu: %s", i, fake_sent(&f.fake));
        assert_int_equal(seen.runs, status == 204);
        call_fixture_done(&f);
    }
}

static void test_init_secret(void **state)
{
    (void)state;
    static const struct {
        const char *secret, *query, *header;
        int status;
    } ROWS[] = {
        {"", NULL, NULL, 500},           {"", "secret=", "", 500},
        {"s3cret", NULL, NULL, 401},     {"s3cret", "secret=", NULL, 401},
        {"s3cret", NULL, "", 401},       {"s3cret", "secret=S3cret", NULL, 401},
        {"s3cret", NULL, "s3cre", 401},  {"s3cret", "secret=s3cret", NULL, 204},
        {"s3cret", NULL, "s3cret", 204}, {"s3cret", "secret=no", "s3cret", 401},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        const struct route route = {"POST", "/a", .access = ACCESS_INIT_SECRET, .run = see};
        call_fixture_init(&f, "/a");
        f.config.db_init_secret = ROWS[i].secret;
        if (ROWS[i].query)
            call_fixture_param(&f, "QUERY_STRING", ROWS[i].query);
        if (ROWS[i].header)
            call_fixture_param(&f, "HTTP_X_DB_INIT_SECRET", ROWS[i].header);
        if (call_fixture_serve(&f, &route) != ROWS[i].status)
            fail_msg("row %zu: %s", i, fake_sent(&f.fake));
        call_fixture_done(&f);
    }
}

/* Everything is wrong at first; each row mends the first thing, and the next one is answered. */
static void test_order(void **state)
{
    (void)state;
    const struct route route = {"POST",           "/a/{id}",          .access = ACCESS_PROVIDER,
                                .payments = true, .idempotent = true, .id = ROUTE_ID_PUBLIC,
                                .body = true,     .run = see};
    static const char *const CODES[] = {"forbidden", "payments_not_configured", "Idempotency-Key",
                                        "not_found", "malformed_json"};
    char public_id[PUBLIC_ID_SIZE];
    char path[PUBLIC_ID_SIZE + 3];
    const struct uuid user_id = {.bytes = {1}};
    const struct uuid id = {.bytes = {2}};
    public_id_format(&user_id, &id, public_id);
    snprintf(path, sizeof(path), "/a/%s", public_id);
    for (size_t mended = 0; mended <= COUNT(CODES); mended++) {
        struct call_fixture f;
        seen.runs = 0;
        call_fixture_init(&f, mended > 3 ? path : "/a/x");
        call_fixture_param(&f, "REMOTE_ADDR", mended > 0 ? "185.71.76.1" : "10.0.0.1");
        f.app.yookassa = mended > 1 ? (struct yookassa *)&f : NULL; /* only asked whether it is */
        call_fixture_param(&f, "HTTP_IDEMPOTENCY_KEY", mended > 2 ? "k" : "k k");
        f.fake.body = mended > 4 ? TEXT_LITERAL("{}") : TEXT_LITERAL("{");
        int status = call_fixture_serve(&f, &route);
        if (mended < COUNT(CODES) && !call_fixture_answered(&f, CODES[mended]))
            fail_msg("%zu mended: %s", mended, fake_sent(&f.fake));
        assert_int_equal(status == 204, mended == COUNT(CODES));
        call_fixture_done(&f);
    }
    assert_int_equal(seen.runs, 1);
    assert_true(uuid_equal(&seen.user_id, &user_id));
    assert_true(uuid_equal(&seen.id, &id));
    assert_true(seen.has_body);
    assert_true(seen.has_key);
}

/* What is not declared is not read. */
static void test_nothing_declared(void **state)
{
    (void)state;
    struct call_fixture f;
    const struct route route = {"POST", "/a", .access = ACCESS_PUBLIC, .run = see};
    call_fixture_init(&f, "/a");
    call_fixture_param(&f, "HTTP_IDEMPOTENCY_KEY", "not a good one");
    f.fake.body = TEXT_LITERAL("{");
    assert_int_equal(call_fixture_serve(&f, &route), 204);
    assert_false(seen.has_body);
    assert_false(seen.has_key);
    call_fixture_done(&f);
}

static void test_ids(void **state)
{
    (void)state;
    static const struct {
        enum route_id id;
        const char *path;
        int status;
        const char *part;
    } ROWS[] = {
        {ROUTE_ID_UUID, "/a/00000000-0000-0000-0000-000000000001", 204, ""},
        {ROUTE_ID_UUID, "/a/1", 400, "\"field\":\"id\""},
        {ROUTE_ID_USER, "/a/00000000-0000-0000-0000-000000000001", 204, ""},
        {ROUTE_ID_USER, "/a/1", 404, "user_not_found"},
        {ROUTE_ID_PUBLIC, "/a/00000000-0000-0000-0000-000000000001", 404, "\"not_found\""},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        const struct route route = {"POST", "/a/{id}", .access = ACCESS_PUBLIC, .id = ROWS[i].id,
                                    .run = see};
        call_fixture_init(&f, ROWS[i].path);
        assert_int_equal(call_fixture_serve(&f, &route), ROWS[i].status);
        assert_true(call_fixture_answered(&f, ROWS[i].part));
        if (ROWS[i].status == 204) {
            const struct uuid *read = ROWS[i].id == ROUTE_ID_UUID ? &seen.id : &seen.user_id;
            assert_int_equal(read->bytes[15], 1);
        }
        call_fixture_done(&f);
    }
}

/* What depends on who calls is not stored; a route may say otherwise; a failure never is. */
static void test_caching(void **state)
{
    (void)state;
    static const struct {
        struct route route;
        const char *cache_control; /* NULL for none */
    } ROWS[] = {
        {{"POST", "/a", .access = ACCESS_PUBLIC, .run = see}, NULL},
        {{"POST", "/a", .access = ACCESS_PUBLIC, .cache_control = "max-age=5", .run = see},
         "max-age=5"},
        {{"POST", "/a", .access = ACCESS_INIT_SECRET, .run = see}, "no-store"},
        {{"POST", "/a", .access = ACCESS_INIT_SECRET, .cache_control = "max-age=5", .run = see},
         "max-age=5"},
        {{"POST", "/a", .access = ACCESS_INIT_SECRET, .start = see_later}, "no-store"},
        {{"POST", "/a", .access = ACCESS_PUBLIC, .cache_control = "max-age=5", .run = refuse},
         "no-store"},
        {{"POST", "/a", .access = ACCESS_PUBLIC, .run = refuse}, "no-store"},
        {{"POST", "/a", .access = ACCESS_ACCOUNT, .run = see}, "no-store"}, /* 401 */
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        char line[64];
        call_fixture_init(&f, "/a");
        f.config.db_init_secret = "s";
        call_fixture_param(&f, "QUERY_STRING", "secret=s");
        call_fixture_serve(&f, &ROWS[i].route);
        const char *first = strstr(fake_sent(&f.fake), "Cache-Control: ");
        snprintf(line, sizeof(line), "Cache-Control: %s\r\n", ROWS[i].cache_control);
        if (!first != !ROWS[i].cache_control ||
            (first &&
             (strncmp(first, line, strlen(line)) != 0 || strstr(first + 1, "Cache-Control: "))))
            fail_msg("row %zu: %s", i, fake_sent(&f.fake));
        call_fixture_done(&f);
    }
}

/* Every 401 says how to come back (RFC 9110, section 11.6.1), and nothing else does. */
static void test_challenges(void **state)
{
    (void)state;
    static const struct {
        enum access access;
        const char *challenge;
    } ROWS[] = {
        {ACCESS_ACCOUNT, "Bearer realm=\"DreamLens\", Device realm=\"DreamLens\""},
        {ACCESS_CLERK, "Bearer realm=\"DreamLens\""},
        {ACCESS_INIT_SECRET, "Secret realm=\"DreamLens\""},
        {ACCESS_SERVICE_SPEND, "Service realm=\"DreamLens\""},
        {ACCESS_SERVICE_REFUND, "Service realm=\"DreamLens\""},
        {ACCESS_PROVIDER, NULL}, /* 403 */
        {ACCESS_PUBLIC, NULL},
    };
    for (size_t i = 0; i < COUNT(ROWS); i++) {
        struct call_fixture f;
        char line[128];
        const struct route route = {"POST", "/a", .access = ROWS[i].access, .run = see};
        call_fixture_init(&f, "/a");
        f.config.db_init_secret = "s3cret";
        assert_int_equal(call_fixture_serve(&f, &route) == 401, ROWS[i].challenge != NULL);
        snprintf(line, sizeof(line), "WWW-Authenticate: %s\r\n", ROWS[i].challenge);
        if (ROWS[i].challenge ? !call_fixture_answered(&f, line)
                              : call_fixture_answered(&f, "WWW-Authenticate"))
            fail_msg("row %zu: %s", i, fake_sent(&f.fake));
        call_fixture_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),     cmocka_unit_test(test_init_secret),
        cmocka_unit_test(test_order),      cmocka_unit_test(test_nothing_declared),
        cmocka_unit_test(test_ids),        cmocka_unit_test(test_caching),
        cmocka_unit_test(test_challenges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
