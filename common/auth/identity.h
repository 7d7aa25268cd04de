/*
 * Who is calling, from the request's headers. Today an anonymous device; further kinds are added
 * here and nowhere else (a Clerk session token comes next).
 */
#pragma once

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

enum identity_kind { IDENTITY_DEVICE, IDENTITY_CLERK };

struct identity {
    enum identity_kind kind;
    /* "device:<device id>" or "clerk:<user id>": the key of user_identities. NUL-terminated. */
    char key[IDENTITY_BYTES_MAX];
    size_t key_len;
};

/* What an identity is read from; absent texts for headers that did not come. Borrowed. */
struct identity_headers {
    struct text authorization;
};

/*
 * Reads and checks the identity. Returns ERROR_UNAUTHORIZED when there is none or it is not well
 * formed; ret_identity is then untouched. Thread-safe, no allocation.
 */
enum error identity_read(const struct identity_headers *headers,
                         struct identity *ret_identity) MUST_CHECK;

/* The identity without its kind: the device id, or the Clerk user id. Borrowed from identity. */
struct text identity_subject(const struct identity *identity);

/* The whole key, borrowed from identity. */
struct text identity_key(const struct identity *identity);
