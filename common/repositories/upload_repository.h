/*
 * Photos and pictures that a person uploaded to the original backend. One function a statement;
 * errors are those of database_run.
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

struct upload {
    struct uuid id;
    struct text url; /* at most 8,192 characters of it */
    struct text file_path;
    bool has_quality_score;
    int32_t quality_score; /* 0 to 100 */
    struct text mime_type;
    int64_t created_at; /* microseconds since 1970 */
};

struct upload_list {
    struct upload *items; /* owned */
    size_t count;
    struct rows *rows; /* owned; what the texts are borrowed from */
};

/* In key order after range->after_id. */
enum error upload_repository_export(struct database *database, const struct uuid *user_id,
                                    const struct row_range *range,
                                    struct upload_list *ret_list) MUST_CHECK;
void upload_list_done(struct upload_list *list);
