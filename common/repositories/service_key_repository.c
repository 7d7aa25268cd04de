#include "repositories/service_key_repository.h"

#include <stdlib.h>

#include "queries.h"
#include "repositories/row_access.h"

STATEMENT(FIND, .query = &query_service_key_find, .kind = STATEMENT_READ,
          STATEMENT_PARAMS(SQL_TEXT),
          STATEMENT_COLUMNS(struct service_key, COLUMN(struct service_key, name, TEXT),
                            COLUMN(struct service_key, scopes, TEXT)));

enum error service_key_repository_find(struct database *database, struct text key_hash,
                                       struct service_key *ret_key, bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(key_hash)};
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &FIND, params, ret_key, ret_found, &rows);
    if (!err && *ret_found)
        ret_key->rows = rows;
    return err;
}

void service_key_done(struct service_key *key)
{
    rows_free(key->rows);
    key->rows = NULL;
}

struct hash_row {
    struct text key_hash;
};

STATEMENT(CREATE, .query = &query_service_key_create, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT, SQL_TEXT, SQL_TEXT),
          STATEMENT_COLUMNS(struct hash_row, COLUMN(struct hash_row, key_hash, TEXT)));

enum error service_key_repository_create(struct database *database,
                                         const struct new_service_key *key, bool *ret_created)
{
    const struct param params[] = {PARAM_TEXT(key->name), PARAM_TEXT(key->key_hash),
                                   PARAM_TEXT(key->scopes)};
    struct hash_row row;
    return row_access_one(database, &CREATE, params, &row, ret_created, NULL);
}

STATEMENT(REVOKE, .query = &query_service_key_revoke, .kind = STATEMENT_WRITE,
          STATEMENT_PARAMS(SQL_TEXT),
          STATEMENT_COLUMNS(struct hash_row, COLUMN(struct hash_row, key_hash, TEXT)));

enum error service_key_repository_revoke(struct database *database, struct text name,
                                         char ret_key_hash[static 65], bool *ret_found)
{
    const struct param params[] = {PARAM_TEXT(name)};
    struct hash_row row;
    struct rows *rows = NULL;
    enum error err = row_access_one(database, &REVOKE, params, &row, ret_found, &rows);
    if (!err && *ret_found) {
        err = text_copy(row.key_hash, ret_key_hash, 65) ? ERROR_OK : ERROR_INTERNAL;
        rows_free(rows);
    }
    return err;
}

STATEMENT(LIST, .query = &query_service_key_list, .kind = STATEMENT_READ,
          STATEMENT_COLUMNS(struct service_key, COLUMN(struct service_key, name, TEXT),
                            COLUMN(struct service_key, scopes, TEXT),
                            COLUMN(struct service_key, created_at, TIMESTAMP),
                            COLUMN_NULLABLE(struct service_key, revoked_at, TIMESTAMP)));

enum error service_key_repository_list(struct database *database, struct service_key_list *ret_list)
{
    return row_access_all(database, &LIST, NULL, (void **)&ret_list->items, &ret_list->count,
                          &ret_list->rows);
}

void service_key_list_done(struct service_key_list *list)
{
    free(list->items);
    rows_free(list->rows);
    *list = (struct service_key_list){.count = 0};
}
