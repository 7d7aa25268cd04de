/*
 * Base64url both ways. Every value has exactly one text: what decodes, encodes to the same
 * characters; what was encoded, decodes to the same bytes.
 */
#include <stdlib.h>

#include "base/base64url.h"
#include "support/fuzz.h"

static void decode_then_encode(struct text text)
{
    size_t size = text.len;
    size_t len = SIZE_MAX;
    unsigned char *bytes = malloc(size + 1);
    char *again = malloc(BASE64URL_SIZE(size));
    REQUIRE(bytes && again);
    if (base64url_decode(text, bytes, size, &len)) {
        REQUIRE(len == text.len / 4 * 3 + (text.len % 4 ? text.len % 4 - 1 : 0));
        base64url_encode(bytes, len, again);
        REQUIRE(text_equal(text_from(again), text));
        size_t short_len = SIZE_MAX;
        if (len > 0)
            REQUIRE(!base64url_decode(text, bytes, len - 1, &short_len) && short_len == SIZE_MAX);
    } else {
        REQUIRE(len == SIZE_MAX);
    }
    free(bytes);
    free(again);
}

static void encode_then_decode(struct text data)
{
    char *text = malloc(BASE64URL_SIZE(data.len));
    unsigned char *again = malloc(data.len + 1);
    size_t len;
    REQUIRE(text && again);
    base64url_encode((const unsigned char *)data.data, data.len, text);
    REQUIRE(strlen(text) < BASE64URL_SIZE(data.len));
    REQUIRE(base64url_decode(text_from(text), again, data.len, &len));
    REQUIRE(len == data.len && (len == 0 || memcmp(again, data.data, len) == 0));
    free(text);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    decode_then_encode(input);
    encode_then_decode(input);
    return 0;
}
