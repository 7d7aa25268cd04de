/*
 * Holds, read. What changes one is in ledger_repository.h. One function a statement; errors are
 * those of database_run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "base/uuid.h"
#include "repositories/row_page.h"

struct database;
struct rows;

struct hold {
    struct uuid user_id;
    struct uuid id;
    int32_t amount;
    struct text status;      /* pending, captured, released or expired */
    struct text description; /* absent: none */
    int64_t created_at;      /* microseconds since 1970 */
    int64_t expires_at;
    /* Of the entry that captured it, whose id is the hold's; the account it happened in. */
    bool has_entry_user_id;
    struct uuid entry_user_id;
    bool has_captured;
    int32_t captured; /* tokens that were taken */
};
struct hold_list {
    struct hold *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};
void hold_list_done(struct hold_list *list);

struct hold_filter {
    struct row_page page;
    struct text status; /* absent: any */
};

/* One, or none. user_id: also of a device that was linked since. */
enum error hold_repository_get(struct database *database, const struct uuid *user_id,
                               const struct uuid *id, struct hold_list *ret_list) MUST_CHECK;
/* Newest first. */
enum error hold_repository_list(struct database *database, const struct uuid *user_id,
                                const struct hold_filter *filter,
                                struct hold_list *ret_list) MUST_CHECK;

/* A hold as the export tells it: by its row, whatever the time is. */
struct hold_entry {
    struct uuid id;
    int32_t amount;     /* tokens */
    struct text status; /* pending, captured or released */
    struct text description;
    int64_t expires_at; /* microseconds since 1970, as all times */
    int64_t created_at;
    bool has_settled_at;
    int64_t settled_at;
};

struct hold_entry_list {
    struct hold_entry *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};

/* Part of an export. */
enum error hold_repository_export(struct database *database, const struct uuid *user_id,
                                  const struct row_range *range,
                                  struct hold_entry_list *ret_list) MUST_CHECK;
void hold_entry_list_done(struct hold_entry_list *list);
