/* SHA-256 (FIPS 180-4) by libcrypto. Needs no memory and cannot fail. Thread-safe. */
#pragma once

#include "base/text.h"

enum { DIGEST_BYTES = 32 };

void digest_sha256(struct text data, unsigned char ret_digest[static DIGEST_BYTES]);
