/* Keys of other back-end services. One function a statement; errors are those of database_run. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct database;
struct rows;

struct service_key {
    struct text name;
    struct text scopes; /* comma list */
    int64_t created_at; /* microseconds since 1970; filled by list only */
    bool has_revoked_at;
    int64_t revoked_at;
    struct rows *rows; /* owned; service_key_done */
};

/* key_hash: SHA-256 of the key, hexadecimal. ret_found false: none, or revoked. */
enum error service_key_repository_find(struct database *database, struct text key_hash,
                                       struct service_key *ret_key, bool *ret_found) MUST_CHECK;
void service_key_done(struct service_key *key);

struct new_service_key {
    struct text name;
    struct text key_hash; /* as above */
    struct text scopes;   /* comma list */
};

/* ret_created false: the name is taken. */
enum error service_key_repository_create(struct database *database,
                                         const struct new_service_key *key,
                                         bool *ret_created) MUST_CHECK;

/* ret_key_hash: of the revoked key, 64 characters and terminator. ret_found false: no such name. */
enum error service_key_repository_revoke(struct database *database, struct text name,
                                         char ret_key_hash[static 65], bool *ret_found) MUST_CHECK;

struct service_key_list {
    struct service_key *items; /* owned; their rows are NULL */
    size_t count;
    struct rows *rows; /* owned */
};

enum error service_key_repository_list(struct database *database,
                                       struct service_key_list *ret_list) MUST_CHECK;
void service_key_list_done(struct service_key_list *list);
