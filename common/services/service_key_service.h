/*
 * Keys of other back-end services: made, revoked and checked. Only a SHA-256 of a key is stored:
 * keys are 256 random bits, so there is nothing to guess and no need for a slow hash. Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "base/app.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"
#include "repositories/service_key_repository.h"

/* What a key allows; one bit each. */
#define SERVICE_SCOPE_TABLE(X) \
    X(SPEND, "spend")          \
    X(GRANT, "grant")          \
    X(HOLD, "hold")            \
    X(REVERSE, "reverse")      \
    X(READ, "read")            \
    X(VERIFY, "verify")        \
    X(REFUND, "refund")

enum service_scope {
#define SERVICE_SCOPE_ENUM(name, word) SERVICE_SCOPE_##name,
    SERVICE_SCOPE_TABLE(SERVICE_SCOPE_ENUM)
#undef SERVICE_SCOPE_ENUM
        SERVICE_SCOPE_COUNT,
};

/* Who is calling. Plain data without pointers, because it lives in the shared cache. */
struct service_caller {
    uint32_t scopes; /* bit 1 << scope */
    char
        scope[SERVICE_NAME_BYTES_MAX + 9]; /* "service:<name>": the scope of its idempotency keys */
};

/* key: what followed "Service " in Authorization. ERROR_UNAUTHORIZED: unknown, or revoked. */
enum error service_key_service_identify(struct app *app, struct text key,
                                        struct service_caller *ret_caller) MUST_CHECK;

bool service_key_service_allows(const struct service_caller *caller, enum service_scope scope);

/* A key: 256 random bits in base64url, without padding, and the NUL. */
enum { SERVICE_KEY_SIZE = 44 };

/*
 * Makes a key. scopes: comma list of the words above; empty for all but refund, which gives money
 * back. ret_key: the key, which is not kept anywhere. ERROR_INVALID_PARAMETER: bad name or scope;
 * ERROR_CONFLICT: the name is taken.
 */
enum error service_key_service_create(struct app *app, struct text name, struct text scopes,
                                      char ret_key[static SERVICE_KEY_SIZE]) MUST_CHECK;

/* At once for every handler of this host. ERROR_NOT_FOUND: no such name. Safe to repeat. */
enum error service_key_service_revoke(struct app *app, struct text name) MUST_CHECK;

enum error service_key_service_list(struct app *app, struct service_key_list *ret_list) MUST_CHECK;
