/* Version 7 ids: their bits, their order across threads, and the text form. */
#include "base/uuid.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { THREADS = 4, IDS = 5000 };

static void test_bits(void **state)
{
    (void)state;
    uint64_t before_ms = (uint64_t)(clock_unix_us() / 1000);
    for (int i = 0; i < 1000; i++) {
        struct uuid uuid = uuid_new();
        uint64_t ms = 0;
        for (int byte = 0; byte < 6; byte++)
            ms = ms << 8 | uuid.bytes[byte];
        assert_int_equal(uuid.bytes[6] >> 4, 7);
        assert_int_equal(uuid.bytes[8] >> 6, 2);
        assert_true(ms >= before_ms && ms <= before_ms + 10000);
    }
}

static void *make_ids(void *argument)
{
    struct uuid *ids = argument;
    for (int i = 0; i < IDS; i++)
        ids[i] = uuid_new();
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static void test_ascending_and_unique_across_threads(void **state)
{
    (void)state;
    struct uuid *ids = calloc(THREADS * IDS, sizeof(*ids));
    pthread_t threads[THREADS];
    assert_non_null(ids);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_ids, ids + i * IDS), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS * IDS; i++)
        assert_true(i % IDS == 0 || compare(&ids[i - 1], &ids[i]) < 0);
    qsort(ids, THREADS * IDS, sizeof(*ids), compare);
    /* The leading 64 bits alone differ: they are the process-wide order. */
    for (int i = 1; i < THREADS * IDS; i++)
        assert_true(memcmp(&ids[i - 1], &ids[i], 8) < 0);
    free(ids);
}

static void test_random_tails_differ(void **state)
{
    (void)state;
    struct uuid ids[100]; /* more than one draw from the kernel */
    for (size_t i = 0; i < COUNT(ids); i++) {
        ids[i] = uuid_new();
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(ids[i].bytes + 8, ids[j].bytes + 8, 8);
    }
}

static void test_format_and_parse(void **state)
{
    (void)state;
    static const struct uuid KNOWN = {{0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 0xFE, 0xDC,
                                       0xBA, 0x98, 0x76, 0x54, 0x32, 0x10}};
    char text[UUID_TEXT_SIZE];
    struct uuid back;
    uuid_format(&KNOWN, text);
    assert_string_equal(text, "01234567-89ab-cdef-fedc-ba9876543210");
    assert_true(uuid_parse(text_from(text), &back));
    assert_true(uuid_equal(&back, &KNOWN));
    assert_true(uuid_parse(TEXT_LITERAL("01234567-89AB-CDEF-FEDC-BA9876543210"), &back));
    assert_true(uuid_equal(&back, &KNOWN));
    for (int i = 0; i < 1000; i++) {
        struct uuid uuid = uuid_new();
        uuid_format(&uuid, text);
        assert_true(uuid_parse((struct text){text, UUID_TEXT_SIZE - 1}, &back));
        assert_true(uuid_equal(&back, &uuid));
    }
}

static void test_parse_bad(void **state)
{
    (void)state;
    static const char *const ROWS[] = {
        "",
        "01234567-89ab-cdef-fedc-ba987654321",
        "01234567-89ab-cdef-fedc-ba98765432100",
        "0123456789abcdeffedcba9876543210",
        "01234567-89ab-cdef-fedc-ba987654321g",
        "01234567+89ab-cdef-fedc-ba9876543210",
        "0123456-789ab-cdef-fedc-ba9876543210",
        "{1234567-89ab-cdef-fedc-ba987654321}",
        " 1234567-89ab-cdef-fedc-ba9876543210",
        "'; DROP TABLE users; -- ------------",
        "-----------------------------------",
        "01234567-89ab-cdef-fedc-ba98765432-0",
    };
    static const struct uuid ZERO;
    struct uuid uuid = ZERO;
    for (size_t i = 0; i < COUNT(ROWS); i++)
        assert_false(uuid_parse(text_from(ROWS[i]), &uuid));
    assert_false(uuid_parse((struct text){NULL, UUID_TEXT_SIZE - 1}, &uuid));
    assert_true(uuid_equal(&uuid, &ZERO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_ascending_and_unique_across_threads),
        cmocka_unit_test(test_random_tails_differ),
        cmocka_unit_test(test_format_and_parse),
        cmocka_unit_test(test_parse_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
