/* The hash of the shared cache's keys is SipHash-2-4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/cache_layout.h"

/* The expected number is OpenSSL's: openssl mac -macopt size:8 SIPHASH. */
static void test_hash_is_siphash(void **state)
{
    (void)state;
    static struct cache_table table;
    struct cache_key key = {.kind = CACHE_BALANCE};
    for (uint8_t i = 0; i < 16; i++) {
        ((uint8_t *)table.hash_key)[i] = i;
        key.id.bytes[i] = i;
    }
    assert_int_equal(cache_hash_key(&table, &key), UINT64_C(0x27b3c12f956224f9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_is_siphash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
