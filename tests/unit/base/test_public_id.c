/* Ids that carry their user: round trip, and every spoilt text refused or read as another id. */
#include "base/public_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct uuid user_id = uuid_new();
        struct uuid id = uuid_new();
        struct uuid user_back;
        struct uuid back;
        char text[PUBLIC_ID_SIZE];
        public_id_format(&user_id, &id, text);
        assert_int_equal(strlen(text), PUBLIC_ID_SIZE - 1);
        assert_true(public_id_parse(text_from(text), &user_back, &back));
        assert_true(uuid_equal(&user_id, &user_back));
        assert_true(uuid_equal(&id, &back));
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "",
        "AAAA",
        "01234567-89ab-cdef-fedc-ba9876543210",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",   /* 42 */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* 44 */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",  /* unused bits set */
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAA AAAAAAAAAAAAAAAAAA",
    };
    static const struct uuid ZERO;
    struct uuid user_id = uuid_new();
    struct uuid id = user_id;
    struct uuid untouched = user_id;
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
        assert_false(public_id_parse(text_from(ROWS[i]), &user_id, &id));
    assert_false(public_id_parse((struct text){NULL, 0}, &user_id, &id));
    assert_true(uuid_equal(&user_id, &untouched) && uuid_equal(&id, &untouched));
    assert_true(public_id_parse(TEXT_LITERAL("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
                                &user_id, &id));
    assert_true(uuid_equal(&user_id, &ZERO) && uuid_equal(&id, &ZERO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
