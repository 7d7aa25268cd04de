/*
 * What is sold: packages of tokens and plans by the month. One function a statement; errors are
 * those of database_run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

struct database;
struct rows;

struct package {
    struct text package; /* its name: small */
    int32_t tokens;
    struct text price; /* decimal, "99.00" */
    struct text currency;
};
struct package_list {
    struct package *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};
void package_list_done(struct package_list *list);

struct plan {
    struct text plan; /* its name: pro */
    bool has_daily_generations;
    int32_t daily_generations; /* free generations a day; without it, unlimited */
    bool has_history_max;
    int32_t history_max; /* generations shown in the history; without it, unlimited */
    struct text quality; /* the best of a free generation */
    struct text price;   /* of a month, decimal; "0.00" for what is not sold */
    struct text currency;
};
struct plan_list {
    struct plan *items; /* owned */
    size_t count;
    struct rows *rows; /* owned */
};
void plan_list_done(struct plan_list *list);

enum error catalog_repository_packages(struct database *database,
                                       struct package_list *ret_list) MUST_CHECK;
enum error catalog_repository_plans(struct database *database,
                                    struct plan_list *ret_list) MUST_CHECK;
