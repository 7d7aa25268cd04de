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
#include "repositories/user_repository.h"
#include "services/account_step.h"

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
 * Runs a step for the account. Where it finds none, what the cache or the identity table said is no
 * longer true (it was erased or linked to another, the schema was made anew): looks again, mends
 * what is missing, updates account and runs the step anew, up to REOPENS_MAX times. Returns the
 * step's result, ERROR_INTERNAL when there was no account to the last, or what kept it from
 * looking.
 */
enum error account_service_retry(struct app *app, struct account *account, account_step *step,
                                 void *context) MUST_CHECK;

/* The same of a step that may change what the cache holds of the account's balance. */
enum error account_service_write(struct app *app, struct account *account, account_step *step,
                                 void *context) MUST_CHECK;

/*
 * Whether the account is a signed-in person's, and the identity only a device that is linked to it:
 * it may spend and see images, and not what is about the person.
 */
enum error account_service_needs_sign_in(struct app *app, const struct account *account,
                                         bool *ret_needs) MUST_CHECK;

/* The same, with the identities of the account at hand. */
bool account_is_linked_device(const struct account *account,
                              const struct user_identity_list *identities);
