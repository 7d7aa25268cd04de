/*
 * Who is calling, from the request's headers: an anonymous device or a Clerk account. Further kinds
 * are added here and nowhere else.
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
    char email[EMAIL_BYTES_MAX + 1]; /* of a Clerk account, when the token told; else empty */
};

struct clerk;

/* The headers that an identity is read from; absent texts for those that did not come. Borrowed. */
struct identity_headers {
    struct text authorization;
    struct text cookie; /* looked at only without an Authorization header */
};

/*
 * Reads and checks the identity. Returns ERROR_UNAUTHORIZED when there is none or it is not well
 * formed; ret_identity is then untouched. clerk: NULL when Clerk is not configured. Thread-safe.
 */
enum error identity_read(const struct identity_headers *headers, struct clerk *clerk,
                         struct identity *ret_identity) MUST_CHECK;

/* The key of another back-end service, from "Service <key>"; absent for anything else. Borrowed. */
struct text identity_service_key(struct text authorization);

/* The identity of a device id by itself, as X-Device-Id carries one. ERROR_UNAUTHORIZED: bad id. */
enum error identity_from_device(struct text device_id, struct identity *ret_identity) MUST_CHECK;

/* The identity without its kind: the device id, or the Clerk user id. Borrowed from identity. */
struct text identity_subject(const struct identity *identity);

/* The whole key, borrowed from identity. */
struct text identity_key(const struct identity *identity);
