#include "base/base64url.h"

#include <stdint.h>

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void base64url_encode(const unsigned char *data, size_t len, char *text)
{
    uint32_t bits = 0;
    int count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | data[i];
        for (count += 8; count >= 6; count -= 6)
            *text++ = ALPHABET[bits >> (count - 6) & 0x3F];
    }
    if (count > 0)
        *text++ = ALPHABET[bits << (6 - count) & 0x3F];
    *text = '\0';
}

bool base64url_decode(struct text text, unsigned char *buffer, size_t size, size_t *ret_len)
{
    uint32_t bits = 0;
    int count = 0;
    size_t len = 0;
    if (text.len % 4 == 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *at = text.data[i] ? strchr(ALPHABET, text.data[i]) : NULL;
        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - ALPHABET);
        count += 6;
        if (count >= 8) {
            count -= 8;
            if (len == size)
                return false;
            buffer[len++] = (unsigned char)(bits >> count);
        }
    }
    if (bits & ((1U << count) - 1))
        return false;
    *ret_len = len;
    return true;
}
