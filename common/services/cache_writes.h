/*
 * Statements that change what the shared cache holds: what a reader read before them it does not
 * store after them (cache/cache.h).
 */
#pragma once

#include <stddef.h>

#include "cache/cache.h"
#include "services/account_step.h"

/* Runs a step that may change what the cache holds of the account's balance; returns its result. */
enum error cache_writes_balance(struct app *app, const struct uuid *user_id, account_step *step,
                                void *context) MUST_CHECK;

/* The same as a step itself, for a function that takes one. context: a struct cache_writes_inner.
 */
struct cache_writes_inner {
    account_step *step;
    void *context;
};
enum error cache_writes_step(struct app *app, const struct uuid *user_id, void *context) MUST_CHECK;

/* Before and after a statement that may change what count keys name. */
void cache_writes_begin(struct app *app, const struct cache_key *keys, size_t count,
                        struct cache_write *ret_writes);
void cache_writes_end(struct app *app, struct cache_write *writes, size_t count);
