/*
 * What is sold and for how much: rows that the operator changes. One function a statement; errors
 * are those of database_run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct database;
struct rows;

/* Of token_packages or plans. Texts live until price_done. */
struct price {
    struct text amount; /* decimal, "99.00" */
    struct text currency;
    int32_t tokens;    /* 0 for a plan */
    struct rows *rows; /* owned */
};
void price_done(struct price *price);

/* ret_found false: no such package. */
enum error price_repository_find_package(struct database *database, struct text package,
                                         struct price *ret_price, bool *ret_found) MUST_CHECK;
/* A month of a plan. ret_found false: no such plan, or one that costs nothing. */
enum error price_repository_find_plan(struct database *database, struct text plan,
                                      struct price *ret_price, bool *ret_found) MUST_CHECK;
