/*
 * Operation ids are kept for ever: whoever repeats a request of last year must arrive at the same
 * one. The values were computed by other means, Python's hashlib and uuid:
 *
 *     d = bytearray(hashlib.sha256(name).digest()[:16])
 *     d[6] = 0x80 | d[6] & 0x0F
 *     d[8] = 0x80 | d[8] & 0x3F
 *     uuid.UUID(bytes=bytes(d))
 *
 * where the name of a keyed request is user.bytes + scope + b"\0" + key.
 */
#include "base/operation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"

#define USER "018f3a5c-7b21-7c44-9d3e-5a1b2c3d4e5f"
#define OTHER_USER "018f3a5c-7b21-7c44-9d3e-5a1b2c3d4e60"

static void assert_id(const struct uuid *id, const char *expected)
{
    char text[UUID_TEXT_SIZE];
    uuid_format(id, text);
    assert_string_equal(text, expected);
}

static void test_derive(void **state)
{
    (void)state;
    static const struct {
        const char *name, *id;
    } ROWS[] = {
        {"", "e3b0c442-98fc-8c14-9afb-f4c8996fb924"},
        {"refund:216749f7-0016-50be-b000-078d43a63ae4", "e3c76c5c-9dc5-8758-b60a-11b2ce033fe7"},
        {"renewal:" USER ":1767225600000000:0", "d42ff69d-4bb7-8524-a169-eed67aacfb9f"},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct uuid id = operation_derive(text_from(ROWS[i].name));
        assert_id(&id, ROWS[i].id);
    }
}

static void test_make(void **state)
{
    (void)state;
    char service[SERVICE_NAME_BYTES_MAX + sizeof("service:")] = "service:";
    char longest[IDEMPOTENCY_KEY_BYTES_MAX + 1] = "";
    memset(service + strlen(service), 'n', SERVICE_NAME_BYTES_MAX);
    memset(longest, '~', IDEMPOTENCY_KEY_BYTES_MAX);
    const struct {
        const char *user, *scope, *key, *id;
    } rows[] = {
        {USER, "user", "k", "dc5913b9-25c1-8c8f-be70-462661f41761"},
        {OTHER_USER, "user", "k", "4f60b005-9fe8-8805-8078-16a0c727b28b"},
        {USER, "user", "7d9f0c1e-order", "54ab82a4-11bf-8244-a388-9357b3899f05"},
        {USER, "service:images", "7d9f0c1e-order", "1a6b615e-5980-8432-9b32-c7c062aa1197"},
        {USER, service, longest, "0b77d8a9-4fb4-87e1-9476-af100c297b9d"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct uuid user_id;
        struct operation_key key = {
            .scope = text_from(rows[i].scope),
            .key = text_from(rows[i].key),
            .request_hash = INT64_C(1) << 62 | (int64_t)i,
        };
        assert_true(uuid_parse(text_from(rows[i].user), &user_id));
        struct operation operation = operation_make(&key, &user_id);
        assert_id(&operation.id, rows[i].id);
        assert_true(operation.keyed);
        assert_true(operation.request_hash == key.request_hash);
    }
}

/* Without a key every request is an operation of its own. */
static void test_make_without_a_key(void **state)
{
    (void)state;
    struct operation_key absent = {.scope = TEXT_LITERAL("user"), .request_hash = 7};
    struct uuid user_id = uuid_new();
    struct operation first = operation_make(NULL, &user_id);
    struct operation second = operation_make(&absent, &user_id);
    assert_false(first.keyed);
    assert_false(second.keyed);
    assert_false(uuid_equal(&first.id, &second.id));
    assert_int_equal(second.id.bytes[6] >> 4, 7);
}

int main(void)
{
    static const struct CMUnitTest TESTS[] = {
        cmocka_unit_test(test_derive),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_make_without_a_key),
    };
    return cmocka_run_group_tests(TESTS, NULL, NULL);
}
