/*
 * RSA public keys that sign session tokens, by key id. Each key is pinned to RS256 by being here:
 * no other algorithm is ever tried with it. A set does not change once made; thread-safe.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "base/text.h"

struct key_set;

/*
 * Starts libcrypto; call it before the other functions of this file. libcrypto tries its start once
 * in a process, and never again. So false, for lack of memory, means that the process has to end.
 */
bool key_set_library_init(void) MUST_CHECK;

/*
 * From one PEM public key ("-----BEGIN PUBLIC KEY-----"); line breaks may be written as \n in one
 * line, as environment files do. It answers to every key id. ERROR_NOT_CONFIGURED: not such a key,
 * or RSA below KEY_BITS_MIN. ERROR_NO_MEMORY.
 */
enum error key_set_from_pem(struct text pem, struct key_set **ret_set) MUST_CHECK;

/*
 * From a JSON Web Key Set (RFC 7517): the RSA keys that have a kid and are not for another use or
 * algorithm; others are left out. ERROR_MALFORMED_JSON: not a key set, or no usable key in it.
 * ERROR_NO_MEMORY; a set never lacks a key because memory ran out.
 */
enum error key_set_from_jwks(struct text json, struct key_set **ret_set) MUST_CHECK;

/* Takes NULL. No verification may be running. */
void key_set_free(struct key_set *set);

/*
 * Checks an RS256 signature (RFC 7518, section 3.3) with the key of exactly this kid.
 * ERROR_OK; ERROR_NOT_FOUND: no such key; ERROR_UNAUTHORIZED: the signature is not the key's;
 * ERROR_NO_MEMORY.
 */
enum error key_set_verify(const struct key_set *set, struct text kid, struct text signed_part,
                          struct text signature) MUST_CHECK;
