#include "repositories/user_repository.h"

#include <stdlib.h>

#include "base/limits.h"
#include "database/array.h"
#include "queries.h"
#include "repositories/outcome.h"
#include "repositories/row_access.h"

enum { ERASE_ARRAY_BYTES_MAX = 16 * MIB }; /* 50,000 identities of 300 bytes */

struct id_row {
    struct uuid user_id;
};

STATEMENT(FIND_IDENTITY, .query = &query_identity_find, .flight = &query_identity_find_flight,
          .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_TEXT),
          STATEMENT_COLUMNS(struct id_row, COLUMN(struct id_row, user_id, UUID)));

enum error user_repository_find_identity(struct database *database, struct text identity,
                                         struct uuid *ret_user_id, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(identity)};
    struct id_row row;
    enum error err = row_access_one(database, &FIND_IDENTITY, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_user_id = row.user_id;
    return err;
}

STATEMENT(OPEN, .query = &query_account_open, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT, SQL_TEXT),
          STATEMENT_COLUMNS(struct id_row, COLUMN(struct id_row, user_id, UUID)));

enum error user_repository_open(struct database *database, const struct account_names *names,
                                const struct uuid *new_id, struct uuid *ret_user_id)
{
    const struct param params[] = {PARAM_UUID(*new_id),          PARAM_TEXT(names->identity),
                                   PARAM_TEXT(names->clerk_id),  PARAM_TEXT(names->device_id),
                                   PARAM_TEXT(names->email),     PARAM_TEXT(names->digest),
                                   PARAM_TEXT(names->ip_address)};
    struct id_row row;
    enum error err = row_access_one(database, &OPEN, params, &row, NULL, NULL);
    if (!err)
        *ret_user_id = row.user_id;
    return err;
}

STATEMENT(ADOPT_IDENTITY, .query = &query_identity_adopt, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_TEXT, SQL_TEXT),
          STATEMENT_COLUMNS(struct id_row, COLUMN(struct id_row, user_id, UUID)));

enum error user_repository_adopt_identity(struct database *database,
                                          const struct account_names *names,
                                          struct uuid *ret_user_id, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(names->identity), PARAM_TEXT(names->clerk_id),
                                   PARAM_TEXT(names->device_id)};
    struct id_row row;
    enum error err = row_access_one(database, &ADOPT_IDENTITY, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_user_id = row.user_id;
    return err;
}

STATEMENT(ATTACH_IDENTITY, .query = &query_identity_attach, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_UUID),
          STATEMENT_COLUMNS(struct id_row, COLUMN(struct id_row, user_id, UUID)));

enum error user_repository_attach_identity(struct database *database,
                                           const struct identity_owner *owner,
                                           struct uuid *ret_user_id, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(owner->identity), PARAM_UUID(owner->user_id)};
    struct id_row row;
    enum error err = row_access_one(database, &ATTACH_IDENTITY, params, &row, ret_found, NULL);
    if (!err && *ret_found)
        *ret_user_id = row.user_id;
    return err;
}

struct link_row {
    struct text outcome;
    int32_t moved_tokens;
};

STATEMENT(LINK_DEVICE, .query = &query_device_link, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_UUID, SQL_UUID, SQL_UUID),
          STATEMENT_COLUMNS(struct link_row, COLUMN(struct link_row, outcome, TEXT),
                            COLUMN(struct link_row, moved_tokens, INT4)));

enum error user_repository_link_device(struct database *database, const struct device_link *link,
                                       enum link_outcome *ret_outcome)
{
    static const char *const WORDS[] = {
        [LINK_DONE] = "linked",
        [LINK_ALREADY] = "already_linked",
        [LINK_ELSEWHERE] = "linked_elsewhere",
    };
    const struct param params[] = {PARAM_UUID(link->user_id), PARAM_UUID(link->device_user_id),
                                   PARAM_UUID(link->entry_ids[0]), PARAM_UUID(link->entry_ids[1])};
    struct link_row row;
    struct rows *rows = NULL;
    int outcome = LINK_NO_ACCOUNT;
    bool found = false;
    enum error err = row_access_one(database, &LINK_DEVICE, params, &row, &found, &rows);
    if (!err && found)
        err = OUTCOME_READ(WORDS, row.outcome, &outcome);
    rows_free(rows);
    if (!err)
        *ret_outcome = (enum link_outcome)outcome;
    return err;
}

struct touched_row {
    struct uuid id;
};

STATEMENT(SET_EMAIL, .query = &query_user_set_email, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_TEXT),
          STATEMENT_COLUMNS(struct touched_row, COLUMN(struct touched_row, id, UUID)));

enum error user_repository_set_email(struct database *database, const struct uuid *user_id,
                                     struct text email)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_TEXT(email)};
    return database_run(database, &SET_EMAIL, params, NULL);
}

STATEMENT(RESTORE, .query = &query_user_restore, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_TEXT, SQL_TEXT),
          STATEMENT_COLUMNS(struct touched_row, COLUMN(struct touched_row, id, UUID)));

enum error user_repository_restore(struct database *database, const struct account_names *names,
                                   const struct uuid *user_id)
{
    const struct param params[] = {PARAM_UUID(*user_id), PARAM_TEXT(names->clerk_id),
                                   PARAM_TEXT(names->device_id)};
    return database_run(database, &RESTORE, params, NULL);
}

STATEMENT(PROFILE, .query = &query_user_profile, .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct user_profile, COLUMN(struct user_profile, id, UUID),
                            COLUMN(struct user_profile, email, TEXT),
                            COLUMN(struct user_profile, created_at, TIMESTAMP),
                            COLUMN(struct user_profile, subscription_plan, TEXT),
                            COLUMN(struct user_profile, subscription_status, TEXT),
                            COLUMN_NULLABLE(struct user_profile, period_end, TIMESTAMP),
                            COLUMN(struct user_profile, plan, TEXT),
                            COLUMN_NULLABLE(struct user_profile, daily_generations, INT4),
                            COLUMN_NULLABLE(struct user_profile, history_max, INT4),
                            COLUMN(struct user_profile, quality, TEXT),
                            COLUMN(struct user_profile, used_today, INT4),
                            COLUMN_NULLABLE(struct user_profile, next_attempt_at, TIMESTAMP),
                            COLUMN_NULLABLE(struct user_profile, grace_ends_at, TIMESTAMP)));

enum error user_repository_profile(struct database *database, const struct uuid *user_id,
                                   struct user_profile *ret_profile, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &PROFILE, params, ret_profile, ret_found, &rows);
    if (!err && *ret_found)
        ret_profile->rows = rows;
    return err;
}

void user_profile_done(struct user_profile *profile)
{
    rows_free(profile->rows);
    profile->rows = NULL;
}

STATEMENT(STATS, .query = &query_user_stats, .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct user_stats, COLUMN(struct user_stats, total_generations, INT8),
                            COLUMN(struct user_stats, today_generations, INT8),
                            COLUMN(struct user_stats, week_generations, INT8)));

enum error user_repository_stats(struct database *database, const struct uuid *user_id,
                                 struct user_stats *ret_stats)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    return row_access_one(database, &STATS, params, ret_stats, NULL, NULL);
}

STATEMENT(
    EXPORT, .query = &query_user_export, .kind = STATEMENT_READ, STATEMENT_PARAMS(SQL_UUID),
    STATEMENT_COLUMNS(
        struct user_export, COLUMN(struct user_export, id, UUID),
        COLUMN(struct user_export, clerk_id, TEXT), COLUMN(struct user_export, device_id, TEXT),
        COLUMN(struct user_export, email, TEXT), COLUMN(struct user_export, telegram_id, TEXT),
        COLUMN(struct user_export, first_name, TEXT), COLUMN(struct user_export, last_name, TEXT),
        COLUMN(struct user_export, username, TEXT), COLUMN(struct user_export, photo_url, TEXT),
        COLUMN(struct user_export, language_code, TEXT), COLUMN(struct user_export, vk_id, TEXT),
        COLUMN(struct user_export, yandex_id, TEXT),
        COLUMN(struct user_export, created_at, TIMESTAMP),
        COLUMN(struct user_export, updated_at, TIMESTAMP),
        COLUMN(struct user_export, balance, INT4), COLUMN(struct user_export, held, INT4),
        COLUMN_NULLABLE(struct user_export, last_bonus_date, DATE),
        COLUMN(struct user_export, welcome, BOOL),
        COLUMN_NULLABLE(struct user_export, used_before, TIMESTAMP),
        COLUMN(struct user_export, digest_days, INT4)));

enum error user_repository_export(struct database *database, const struct uuid *user_id,
                                  struct user_export *ret_export, bool *ret_found)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &EXPORT, params, ret_export, ret_found, &rows);
    if (!err && *ret_found)
        ret_export->rows = rows;
    return err;
}

void user_export_done(struct user_export *user)
{
    rows_free(user->rows);
    user->rows = NULL;
}

STATEMENT(IDENTITIES, .query = &query_user_identities, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_UUID),
          STATEMENT_COLUMNS(struct user_identity, COLUMN(struct user_identity, identity, TEXT)));

enum error user_repository_identities(struct database *database, const struct uuid *user_id,
                                      struct user_identity_list *ret_list)
{
    const struct param params[] = {PARAM_UUID(*user_id)};
    return row_access_all(database, &IDENTITIES, params, (void **)&ret_list->items,
                          &ret_list->count, &ret_list->rows);
}

void user_identity_list_done(struct user_identity_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct user_identity_list){.count = 0};
}

struct erased_row {
    struct text outcome;
};

STATEMENT(ERASE, .query = &query_user_erase, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_UUID, SQL_TEXT_ARRAY, SQL_TEXT_ARRAY),
          STATEMENT_COLUMNS(struct erased_row, COLUMN(struct erased_row, outcome, TEXT)));

static enum error run_erase(struct database *database, const struct param *params,
                            enum erase_outcome *ret_outcome)
{
    static const char *const WORDS[] = {
        [ERASE_DONE] = "erased",
        [ERASE_GONE] = "gone",
        [ERASE_CHANGED] = "changed",
    };
    int outcome = ERASE_GONE;
    struct erased_row row;
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &ERASE, params, &row, NULL, &rows);
    if (!err)
        err = OUTCOME_READ(WORDS, row.outcome, &outcome);
    rows_free(rows);
    if (!err)
        *ret_outcome = (enum erase_outcome)outcome;
    return err;
}

enum error user_repository_erase(struct database *database, const struct uuid *user_id,
                                 const struct user_erasure *erasure,
                                 enum erase_outcome *ret_outcome)
{
    struct buffer identities;
    struct buffer digests;
    buffer_init(&identities, ERASE_ARRAY_BYTES_MAX);
    buffer_init(&digests, ERASE_ARRAY_BYTES_MAX);
    array_begin(&identities, SQL_TEXT, erasure->count);
    array_begin(&digests, SQL_TEXT, erasure->count);
    for (size_t i = 0; i < erasure->count; i++) {
        array_append(&identities, &PARAM_TEXT(erasure->identities[i].identity));
        array_append(&digests, &PARAM_TEXT(text_from(erasure->digests[i])));
    }
    enum error err = buffer_error(&identities);
    if (!err)
        err = buffer_error(&digests);
    if (!err) {
        const struct param params[] = {PARAM_UUID(*user_id),
                                       PARAM_ARRAY(SQL_TEXT_ARRAY, buffer_text(&identities)),
                                       PARAM_ARRAY(SQL_TEXT_ARRAY, buffer_text(&digests))};
        err = run_erase(database, params, ret_outcome);
    }
    buffer_done(&identities);
    buffer_done(&digests);
    return err;
}

struct swept_row {
    int32_t swept;
};

STATEMENT(SWEEP, .query = &query_person_sweep, .kind = STATEMENT_WRITE, STATEMENT_PARAMS(SQL_INT4),
          STATEMENT_COLUMNS(struct swept_row, COLUMN(struct swept_row, swept, INT4)));

enum error user_repository_sweep(struct database *database, int32_t limit)
{
    const struct param params[] = {PARAM_INT4(limit)};
    struct swept_row row;
    return row_access_one(database, &SWEEP, params, &row, NULL, NULL);
}
