/* Base64 with the URL-safe alphabet and without padding (RFC 4648, section 5). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* Characters and terminator for bytes. */
#define BASE64URL_SIZE(bytes) (((bytes)*4 + 2) / 3 + 1)

/* text: BASE64URL_SIZE(len) bytes. */
void base64url_encode(const unsigned char *data, size_t len, char *text);

/*
 * Decodes all of text; returns false when a character is not of the alphabet, the length is
 * impossible, unused bits are set (so that each value has one text), or buffer is too small.
 */
bool base64url_decode(struct text text, unsigned char *buffer, size_t size, size_t *ret_len);
