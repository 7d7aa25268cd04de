/* Public keys in PEM. An accepted one answers to every key id and accepts no made-up signature. */
#include "auth/key_set.h"
#include "base/limits.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char SIGNATURE[KEY_BITS_MIN / 8] = {0x42};
    struct text signature = {SIGNATURE, sizeof(SIGNATURE)};
    struct text message = TEXT_LITERAL("header.payload");
    struct key_set *set = NULL;
    enum error err = key_set_from_pem(fuzz_input(data, size), &set);
    if (err) {
        REQUIRE(err == ERROR_NOT_CONFIGURED && !set);
        return 0;
    }
    REQUIRE(set && memmem(data, size, "PUBLIC KEY", 10) && size <= PEM_BYTES_MAX);
    REQUIRE(key_set_verify(set, TEXT_LITERAL("any"), message, signature) == ERROR_UNAUTHORIZED);
    REQUIRE(key_set_verify(set, (struct text){NULL, 0}, message, signature) == ERROR_UNAUTHORIZED);
    key_set_free(set);
    return 0;
}
