/* SHA-256 against the examples of FIPS 180-4, its HMAC against those of RFC 4231. */
#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_vectors(void **state)
{
    (void)state;
    static const struct {
        struct text data;
        const char *digest;
    } ROWS[] = {
        {TEXT_LITERAL(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {{NULL, 0}, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {TEXT_LITERAL("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {TEXT_LITERAL("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        unsigned char digest[DIGEST_BYTES];
        char text[2 * DIGEST_BYTES + 1];
        digest_sha256(ROWS[i].data, digest);
        for (size_t n = 0; n < DIGEST_BYTES; n++)
            snprintf(text + 2 * n, 3, "%02x", digest[n]);
        assert_string_equal(text, ROWS[i].digest);
    }
}

/* RFC 4231, test cases 1, 2, 6 and 7, and a key of exactly a block. */
static void test_keyed_vectors(void **state)
{
    (void)state;
    static char long_key[131];
    static char block_key[64];
    memset(long_key, 0xAA, sizeof(long_key));
    memset(block_key, 'k', sizeof(block_key));
    static const char CASE_7[] =
        "This is a test using a larger than block-size key and a larger than block-size data. The "
        "key needs to be hashed before being used by the HMAC algorithm.";
    const struct {
        struct text key, data;
        const char *digest;
    } ROWS[] = {
        {TEXT_LITERAL("\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"
                      "\x0b\x0b\x0b"),
         TEXT_LITERAL("Hi There"),
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {TEXT_LITERAL("Jefe"), TEXT_LITERAL("what do ya want for nothing?"),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {{long_key, sizeof(long_key)},
         TEXT_LITERAL("Test Using Larger Than Block-Size Key - Hash Key First"),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {{long_key, sizeof(long_key)},
         text_from(CASE_7 + 0),
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
        {{block_key, sizeof(block_key)},
         TEXT_LITERAL("data"),
         "93244b031118b8060c6619e5900fcf916faefb2d8d020fecb22ae0f62275db08"},
        {{NULL, 0}, {NULL, 0}, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        unsigned char digest[DIGEST_BYTES];
        char text[DIGEST_TEXT_SIZE];
        digest_hmac_sha256(ROWS[i].key, ROWS[i].data, digest);
        digest_format(digest, text);
        assert_string_equal(text, ROWS[i].digest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors),
                                       cmocka_unit_test(test_keyed_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
