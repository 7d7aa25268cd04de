/* The calling account itself: profile, statistics, export, erasure. Thread-safe. */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "repositories/generation_repository.h"
#include "repositories/hold_repository.h"
#include "repositories/payment_repository.h"
#include "repositories/refund_repository.h"
#include "repositories/subscription_repository.h"
#include "repositories/token_repository.h"
#include "repositories/upload_repository.h"
#include "repositories/usage_repository.h"
#include "repositories/user_repository.h"
#include "services/account_service.h"

/* Who the caller is. ret_profile: user_profile_done when finished. Errors of the database layer. */
enum error user_service_profile(struct app *app, struct account *account,
                                struct user_profile *ret_profile) MUST_CHECK;

/* How many generations the caller has: ever, today, in seven days. Errors of the database layer. */
enum error user_service_stats(struct app *app, const struct account *account,
                              struct user_stats *ret_stats) MUST_CHECK;

/*
 * Where an export goes, a row at a time; rows are borrowed for the call. A function returns false
 * to stop, because the client is gone.
 */
struct export_sink {
    void *context;
    bool (*user)(void *context, const struct user_export *user);
    bool (*identity)(void *context, const struct user_identity *identity);
    bool (*subscription)(void *context, const struct subscription *subscription);
    bool (*payment)(void *context, const struct payment *payment);
    bool (*refund)(void *context, const struct refund *refund);
    bool (*generation)(void *context, const struct generation *generation);
    bool (*upload)(void *context, const struct upload *upload);
    bool (*transaction)(void *context, const struct transaction *transaction);
    bool (*hold)(void *context, const struct hold_entry *hold);
    bool (*usage)(void *context, const struct usage_entry *entry);
};

/*
 * Everything held about the caller, read in pages of EXPORT_PAGE_ROWS, so that memory stays the
 * same for any number of rows. Each page is read committed; rows added meanwhile may be missing.
 * ERROR_CLIENT_GONE when the sink stopped.
 */
enum error user_service_export(struct app *app, struct account *account,
                               const struct export_sink *sink) MUST_CHECK;

/*
 * Erases the person and keeps the books, and a keyed digest of each identity. Safe to repeat.
 * ERROR_NOT_CONFIGURED without IDENTITY_DIGEST_KEY; ERROR_SIGN_IN_REQUIRED for a device that was
 * linked to an account meanwhile.
 */
enum error user_service_erase(struct app *app, struct account *account) MUST_CHECK;

/* Removes what is counted by person and by address and counts no more, a piece at a time. */
enum error user_service_sweep(struct app *app) MUST_CHECK;
