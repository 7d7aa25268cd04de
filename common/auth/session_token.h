/*
 * Clerk session tokens (JSON Web Token, RFC 7519, signed RS256; Clerk: "Manual JWT verification").
 * The signature is checked before anything is granted on claims.
 */
#pragma once

#include <stdint.h>

#include "auth/key_set.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

/* What a verified token says. Copied, NUL-terminated. */
struct session_claims {
    char subject[CLERK_ID_BYTES_MAX + 1];
    char email[EMAIL_BYTES_MAX + 1]; /* empty when the token carries none */
    int64_t issued_at_unix;          /* seconds; 0 when the token does not say */
    int64_t expires_at_unix;         /* seconds; the skew is not in it */
};

/* The claims that a token has to have. Empty texts are not checked. */
struct session_policy {
    struct text issuer;             /* iss must be this */
    struct text authorized_parties; /* comma list; azp must be there and one of it */
};

/*
 * Whether some key might make the token good at that time: its form, header, kid and claims allow
 * it, and only the signature is not looked at. ERROR_OK; ERROR_UNAUTHORIZED: no key could;
 * ERROR_NO_MEMORY.
 */
enum error session_token_needs_key(struct text token, const struct session_policy *policy,
                                   int64_t now_unix) MUST_CHECK;

/*
 * Verifies a token at a time (seconds since 1970). ERROR_OK; ERROR_NOT_FOUND: the key set has no
 * key of its kid (fetch again, perhaps); ERROR_UNAUTHORIZED: anything else is wrong with it;
 * ERROR_NO_MEMORY.
 */
enum error session_token_verify(struct text token, const struct key_set *keys,
                                const struct session_policy *policy, int64_t now_unix,
                                struct session_claims *ret_claims) MUST_CHECK;
