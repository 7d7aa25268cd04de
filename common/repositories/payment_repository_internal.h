/* What the files of payment_repository.h share. */
#pragma once

#include "database/database.h"
#include "repositories/payment_repository.h"

struct outcome_word {
    const char *word; /* of sql/migrations; NULL ends a table */
    int outcome;
};

/* ERROR_INTERNAL for a word that is not in the table, which is a defect of this build. */
enum error payment_repository_outcome(const struct outcome_word *table, struct text word,
                                      int *ret_outcome) MUST_CHECK;

/* The row of a statement that only says which it touched. */
struct touched_row {
    struct uuid id;
};

struct removed_row {
    bool removed;
};

/* Runs payment_refused or refund_refused. */
enum error payment_repository_run_refused(struct database *database,
                                          const struct statement *statement,
                                          const struct param *params, bool *ret_removed) MUST_CHECK;

struct applied_row {
    struct text outcome, kind;
};

#define APPLIED_COLUMNS \
    COLUMN(struct applied_row, outcome, TEXT), COLUMN(struct applied_row, kind, TEXT)

/* What payment_apply and refund_apply answer. */
struct applied {
    enum payment_apply_outcome outcome;
    char kind[PAYMENT_KIND_SIZE]; /* empty without a difference */
};

/* Runs payment_apply or refund_apply. */
enum error payment_repository_run_apply(struct database *database,
                                        const struct statement *statement,
                                        const struct param *params,
                                        struct applied *ret_applied) MUST_CHECK;
