/*
 * From an identity to an account: found, or opened by the first request. The answer is kept in the
 * shared cache, so a known caller costs no statement. Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "auth/identity.h"
#include "base/app.h"
#include "base/error.h"
#include "base/uuid.h"

/* Who is calling, for the life of a request. */
struct account {
    struct identity identity;
    struct uuid user_id;
    struct text
        client_address; /* borrowed; whose new devices are counted together; may be absent */
};

/*
 * Fills identity and user_id; client_address is the caller's to set before. Concurrent first
 * requests of one identity open one account. Errors are those of the database layer.
 */
enum error account_service_resolve(struct app *app, const struct identity *identity,
                                   struct account *ret_account) MUST_CHECK;

/*
 * After a statement found no row for account->user_id: what the cache or the identity table said is
 * no longer true (the schema was made anew, rows were removed). Looks again, mends what is missing,
 * and updates account; the caller then repeats its statement once.
 */
enum error account_service_reopen(struct app *app, struct account *account) MUST_CHECK;

/*
 * Whether the account is a signed-in person's, and the identity only a device that is linked to it:
 * it may spend and see images, and not what is about the person.
 */
enum error account_service_needs_sign_in(struct app *app, const struct account *account,
                                         bool *ret_needs) MUST_CHECK;
