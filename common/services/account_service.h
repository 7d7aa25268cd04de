/*
 * From an identity to an account: found, or opened by the first request. The answer is kept in the
 * shared cache, so a known caller costs no statement. Thread-safe.
 */
#pragma once

#include "auth/identity.h"
#include "base/app.h"
#include "base/error.h"
#include "base/uuid.h"

/* Who is calling, for the life of a request. */
struct account {
    struct identity identity;
    struct uuid user_id;
};

/*
 * Fills user_id from identity. Concurrent first requests of one identity open one account.
 * Errors are those of the database layer.
 */
enum error account_service_resolve(struct app *app, const struct identity *identity,
                                   struct account *ret_account) MUST_CHECK;

/*
 * After a statement found no row for account->user_id: what the cache or the identity table said is
 * no longer true (the schema was made anew, rows were removed). Looks again, mends what is missing,
 * and updates account; the caller then repeats its statement once.
 */
enum error account_service_reopen(struct app *app, struct account *account) MUST_CHECK;
