/* SHA-256 (FIPS 180-4) by libcrypto, and its HMAC. Needs no memory, cannot fail. Thread-safe. */
#pragma once

#include "base/text.h"

enum { DIGEST_BYTES = 32, DIGEST_TEXT_SIZE = 2 * DIGEST_BYTES + 1 };

void digest_sha256(struct text data, unsigned char ret_digest[static DIGEST_BYTES]);

/* HMAC-SHA256 (RFC 2104) of data with a key of any length. */
void digest_hmac_sha256(struct text key, struct text data,
                        unsigned char ret_digest[static DIGEST_BYTES]);

/* In lower-case hexadecimal, NUL-terminated. */
void digest_format(const unsigned char digest[static DIGEST_BYTES],
                   char ret_text[static DIGEST_TEXT_SIZE]);
