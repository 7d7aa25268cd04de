/* The holds of an account as rows. One function a statement; errors are those of database_run. */
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
