/*
 * Accounts and the identities that lead to them. One function a statement of sql/queries; errors
 * are those of database_run. Text fields are borrowed from the rows and live until the matching
 * _done, unless a field is said to be copied.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"

struct database;
struct rows;

/* Whose account: at most one of the two ids is present, as columns of users. */
struct account_names {
    struct text identity; /* "device:<id>" or "clerk:<id>" */
    struct text clerk_id;
    struct text device_id;
    struct text email;      /* absent when unknown */
    struct text digest;     /* of identity (identity_digest); absent: not looked at */
    struct text ip_address; /* where the request comes from */
};

/* ret_found false: nobody has this identity. */
enum error user_repository_find_identity(struct database *database, struct text identity,
                                         struct uuid *ret_user_id, bool *ret_found) MUST_CHECK;

/*
 * Opens an account under new_id, or returns the one a concurrent request has just opened.
 * ERROR_CONFLICT: the original backend made one without an identity row (see _adopt_identity).
 */
enum error user_repository_open(struct database *database, const struct account_names *names,
                                const struct uuid *new_id, struct uuid *ret_user_id) MUST_CHECK;

enum error user_repository_adopt_identity(struct database *database,
                                          const struct account_names *names,
                                          struct uuid *ret_user_id, bool *ret_found) MUST_CHECK;

/* An identity, and the account it is to lead to. */
struct identity_owner {
    struct text identity;
    struct uuid user_id;
};

/*
 * Lets a new identity lead to an account; ret_user_id: whose it is now, or was already. ret_found
 * false: there is no such account (any more).
 */
enum error user_repository_attach_identity(struct database *database,
                                           const struct identity_owner *owner,
                                           struct uuid *ret_user_id, bool *ret_found) MUST_CHECK;

enum link_outcome {
    LINK_DONE,       /* everything moved now */
    LINK_ALREADY,    /* it had moved to this account before */
    LINK_ELSEWHERE,  /* it belongs to another account, or is one */
    LINK_NO_ACCOUNT, /* one of the accounts does not exist (any more) */
};

struct device_link {
    struct uuid user_id;
    struct uuid device_user_id;
    struct uuid entry_ids[2]; /* of its ledger entries, so that it can be repeated */
};

/* Moves a device's account into another, at once and once. */
enum error user_repository_link_device(struct database *database, const struct device_link *link,
                                       enum link_outcome *ret_outcome) MUST_CHECK;

enum error user_repository_set_email(struct database *database, const struct uuid *user_id,
                                     struct text email) MUST_CHECK;

/* Makes the account row again where only the identity is left. */
enum error user_repository_restore(struct database *database, const struct account_names *names,
                                   const struct uuid *user_id) MUST_CHECK;

struct user_profile {
    struct uuid id;
    struct text email;
    int64_t created_at;
    struct text subscription_plan; /* absent without an active subscription */
    struct text subscription_status;
    bool has_period_end;
    int64_t period_end;
    bool has_next_attempt_at, has_grace_ends_at; /* of a subscription that is past due */
    int64_t next_attempt_at, grace_ends_at;
    struct text plan;
    bool has_daily_generations; /* false: unlimited */
    int32_t daily_generations;
    bool has_history_max; /* false: unlimited */
    int32_t history_max;
    struct text quality;
    int32_t used_today;
    struct rows *rows; /* owned; what the texts are borrowed from */
};

enum error user_repository_profile(struct database *database, const struct uuid *user_id,
                                   struct user_profile *ret_profile, bool *ret_found) MUST_CHECK;
void user_profile_done(struct user_profile *profile);

struct user_stats {
    int64_t total_generations, today_generations, week_generations;
};

enum error user_repository_stats(struct database *database, const struct uuid *user_id,
                                 struct user_stats *ret_stats) MUST_CHECK;

/* Everything of the account row, for the export. */
struct user_export {
    struct uuid id;
    struct text clerk_id, device_id, email;
    struct text telegram_id, first_name, last_name, username, photo_url, language_code;
    struct text vk_id, yandex_id;
    int64_t created_at, updated_at;
    int32_t balance, held;
    bool has_last_bonus_date;
    int32_t last_bonus_date; /* days since 1970-01-01 */
    bool welcome;            /* opened with the welcome bonus */
    bool has_used_before;
    int64_t used_before; /* of an erased account of the same person: when a limit was used last */
    int32_t digest_days; /* how long digests of the identities outlive an erasure */
    struct rows *rows;   /* owned */
};

enum error user_repository_export(struct database *database, const struct uuid *user_id,
                                  struct user_export *ret_export, bool *ret_found) MUST_CHECK;
void user_export_done(struct user_export *user);

struct user_identity {
    struct text identity;
};

struct user_identity_list {
    struct user_identity *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

enum error user_repository_identities(struct database *database, const struct uuid *user_id,
                                      struct user_identity_list *ret_list) MUST_CHECK;
void user_identity_list_done(struct user_identity_list *list);

enum erase_outcome {
    ERASE_DONE,    /* now or before */
    ERASE_GONE,    /* no such account, or it was linked to another one meanwhile */
    ERASE_CHANGED, /* it has other identities by now: read them again */
};

/* The identities of an account, and what is kept of each. Borrowed. */
struct user_erasure {
    const struct user_identity *identities;
    const char (*digests)[DIGEST_TEXT_SIZE];
    size_t count;
};

/* Safe to repeat. */
enum error user_repository_erase(struct database *database, const struct uuid *user_id,
                                 const struct user_erasure *erasure,
                                 enum erase_outcome *ret_outcome) MUST_CHECK;

/* Removes at most limit rows of each kind that count no more (sql/functions/person_sweep.sql). */
enum error user_repository_sweep(struct database *database, int32_t limit) MUST_CHECK;
