/*
 * Text slices and the small string work that the standard library lacks.
 *
 * A struct text borrows its bytes: it lives as long as what it was cut from. It is not
 * NUL-terminated unless the maker says so. data == NULL means absent (SQL NULL, missing field).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct text {
    const char *data;
    size_t len; /* bytes */
};

#define TEXT_LITERAL(literal) ((struct text){(literal), sizeof(literal) - 1})

/* A slice of a NUL-terminated string; string == NULL gives the absent text. */
static inline struct text text_from(const char *string)
{
    return (struct text){string, string ? strlen(string) : 0};
}

/* Byte equality; two absent texts are equal, absent and empty are not. */
bool text_equal(struct text a, struct text b);

/* ASCII case-insensitive equality with a NUL-terminated string; absent equals nothing. */
bool text_equal_nocase(struct text a, const char *b);

/* True when a starts with the NUL-terminated prefix, ASCII case-insensitively. */
bool text_starts_nocase(struct text a, const char *prefix);

/* The text without leading and trailing blanks (space and tab). */
struct text text_trim(struct text a);

/*
 * Cuts the first item off a list such as "a, b,c". Returns false at the end.
 * rest: the list, moved past the item. ret_item: the item, blanks trimmed, possibly empty.
 */
bool text_next_item(struct text *rest, char separator, struct text *ret_item);

/*
 * Equality for secrets, in a time that depends on the lengths only. A comparison that stops at the
 * first difference tells an attacker how far a guess was right.
 */
bool text_equal_secret(struct text a, struct text b);

/* The value of a hexadecimal digit, either case, or -1. */
int text_hex_digit(char c);

/* True when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool text_is_utf8(struct text a);

/*
 * Reads a whole decimal integer with an optional minus sign: no blanks, no plus, no rest.
 * Returns false when a is not one or it does not fit; ret_value is then untouched.
 */
bool text_to_int64(struct text a, int64_t *ret_value);

/*
 * Copies at most size - 1 bytes and terminates. Returns false when it did not fit; buffer then
 * holds the empty string. size: of buffer, at least 1.
 */
bool text_copy(struct text a, char *buffer, size_t size);
