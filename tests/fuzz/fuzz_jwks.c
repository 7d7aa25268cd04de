/*
 * Key sets as a provider sends them. Whatever is in one, a set that is accepted finds keys by their
 * id only and accepts no signature that nobody made.
 */
#include "auth/key_set.h"
#include "base/limits.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char SIGNATURE[KEY_BITS_MIN / 8] = {0x42};
    static const char *const KIDS[] = {"key-1", "key-2", "", "none"};
    struct text signature = {SIGNATURE, sizeof(SIGNATURE)};
    struct text input = fuzz_input(data, size);
    struct key_set *set = NULL;
    enum error err = key_set_from_jwks(input, &set);
    if (err) {
        REQUIRE(err == ERROR_MALFORMED_JSON && !set);
        return 0;
    }
    REQUIRE(set);
    for (size_t i = 0; i < sizeof(KIDS) / sizeof(KIDS[0]); i++) {
        struct text kid = text_from(KIDS[i]);
        err = key_set_verify(set, kid, TEXT_LITERAL("header.payload"), signature);
        REQUIRE(err == ERROR_NOT_FOUND || err == ERROR_UNAUTHORIZED);
        /* An id may be written with escapes; without them it stands there as it is. */
        REQUIRE(err == ERROR_NOT_FOUND || memchr(data, '\\', size) ||
                (kid.len > 0 && memmem(data, size, kid.data, kid.len)));
    }
    err = key_set_verify(set, (struct text){NULL, 0}, TEXT_LITERAL("header.payload"), signature);
    REQUIRE(err == ERROR_NOT_FOUND);
    key_set_free(set);
    return 0;
}
