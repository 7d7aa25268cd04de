/*
 * UUIDs in binary, as PostgreSQL sends them, and their text form (RFC 9562).
 *
 * The handlers make ids of version 7. Their leading 48 bits are Unix milliseconds, so an index that
 * begins with the id grows at its end. The id is also the operation id. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct uuid {
    uint8_t bytes[16];
};

enum { UUID_TEXT_SIZE = 37 }; /* 36 characters and terminator */

/* A new version 7 id; random bits from the kernel. Ids of one process are strictly ascending. */
struct uuid uuid_new(void);

/* Reads the 36-character form, either case. Returns false otherwise; ret_uuid is then untouched. */
bool uuid_parse(struct text text, struct uuid *ret_uuid);

/* Writes the lower-case 36-character form. */
void uuid_format(const struct uuid *uuid, char buffer[static UUID_TEXT_SIZE]);

bool uuid_equal(const struct uuid *a, const struct uuid *b);
