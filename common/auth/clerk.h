/*
 * Verifies Clerk's session tokens in a running process: fetches the keys, and remembers tokens that
 * were verified. Thread-safe.
 *
 * Keys: a PEM in CLERK_JWT_KEY (no network), else the key set at CLERK_JWKS_URL, kept five minutes
 * and fetched again for an unknown key id; one fetch at a time, at most one in JWKS_PAUSE_MS, and
 * the old keys stay when a fetch fails.
 */
#pragma once

#include "auth/session_token.h"
#include "base/error.h"
#include "base/text.h"

struct cache;
struct clerk;
struct config;
struct log;

/*
 * cache: where verified tokens are remembered until they expire; may be NULL. Everything is kept by
 * pointer. ERROR_NOT_CONFIGURED with problem filled when a value is refused; ret_clerk is NULL and
 * ERROR_OK returned when Clerk is not configured at all: no token is then accepted.
 */
enum error clerk_new(const struct config *config, struct log *log, struct cache *cache,
                     struct clerk **ret_clerk, char problem[static 256]) MUST_CHECK;
/* Takes NULL. */
void clerk_free(struct clerk *clerk);

/*
 * ERROR_OK, or ERROR_UNAUTHORIZED for a token that is not valid now, for any reason.
 * ERROR_IDENTITY_UNAVAILABLE: it may be good, but its key is not known, and the key set could not
 * be fetched since it came: no answer, or the pause after a fetch. ERROR_NO_MEMORY. clerk may be
 * NULL (not configured).
 */
enum error clerk_verify(struct clerk *clerk, struct text token,
                        struct session_claims *ret_claims) MUST_CHECK;

/* Seconds after ERROR_IDENTITY_UNAVAILABLE until the key set may be fetched again; at least 1. */
int clerk_wait_seconds(struct clerk *clerk);
