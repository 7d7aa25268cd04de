/*
 * Operation ids: what makes a write repeatable. With an Idempotency-Key the id is made of the key,
 * so that every repetition of the request meets the same row; without one it is new.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "base/uuid.h"

/* What came with the request. Texts are borrowed. */
struct operation_key {
    struct text scope; /* who chose the key: "user", or "service:<name>" */
    struct text key;   /* absent without an Idempotency-Key */
    /* Of method, path and body: tells another request with the same key. */
    int64_t request_hash;
};

/* A write that happens once; goes as it is from the service to the statement. */
struct operation {
    struct uuid id; /* also of the row it makes */
    bool keyed;
    int64_t request_hash; /* meaningless unless keyed */
};

/* key may be NULL: a new operation. user_id: whose rows it touches; keys are scoped to the user. */
struct operation operation_make(const struct operation_key *key, const struct uuid *user_id);

/* An id made of a name: the same name always gives the same id. */
struct uuid operation_derive(struct text name);
