/*
 * Who is calling, from the request's headers: an anonymous device or a Clerk account. Further kinds
 * are added here and nowhere else.
 */
#pragma once

#include "auth/origin.h"
#include "base/digest.h"
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
    struct text cookie; /* looked at only without an Authorization header; so is what follows */
    bool changes;       /* the method is not GET, HEAD or OPTIONS */
    bool has_body;      /* at least one byte */
    struct text content_type; /* Content-Type */
    struct origin_headers from;
    const char *allowed_origins; /* as origin_is_listed; may be NULL where nothing changes */
};

/*
 * Reads and checks the identity. Of several session cookies (Clerk sets __session and, by
 * application, __session_<suffix>) the first SESSION_COOKIES_MAX are tried, and the newest good one
 * counts. ret_identity is untouched on failure:
 * ERROR_UNAUTHORIZED: there is none, or it is not well formed or not good.
 * ERROR_ORIGIN_NOT_ALLOWED, ERROR_UNSUPPORTED_MEDIA_TYPE: a cookie is not enough for a change that
 * another site's page may have asked for: of an origin that is not trusted, or with a body that is
 * not JSON.
 * Others as clerk_verify. clerk: NULL when Clerk is not configured. Thread-safe.
 */
enum error identity_read(const struct identity_headers *headers, struct clerk *clerk,
                         struct identity *ret_identity) MUST_CHECK;

/* The key of another back-end service, from "Service <key>"; absent for anything else. Borrowed. */
struct text identity_service_key(struct text authorization);

/* The identity of a device id by itself, as X-Device-Id carries one. ERROR_UNAUTHORIZED: bad id. */
enum error identity_from_device(struct text device_id, struct identity *ret_identity) MUST_CHECK;

/* What the keys of a kind begin with: "clerk:". */
struct text identity_prefix(enum identity_kind kind);

/* The identity without its kind: the device id, or the Clerk user id. Borrowed from identity. */
struct text identity_subject(const struct identity *identity);

/*
 * What is kept of an identity after an erasure: its HMAC-SHA256 with the instance's secret, in
 * hexadecimal. key: as identity_key.
 */
void identity_digest(struct text secret, struct text key, char ret_digest[static DIGEST_TEXT_SIZE]);

/* The whole key, borrowed from identity. */
struct text identity_key(const struct identity *identity);
