/*
 * What the statements that settle the provider's state of a payment or of a refund answer alike.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "repositories/reconcile_repository.h"

struct database;
struct param;
struct statement;

enum apply_outcome {
    APPLY_DONE,       /* the status went forward; tokens or period are as they should be now */
    APPLY_UNCHANGED,  /* it had this status, or a later one that may follow it */
    APPLY_CONFLICT,   /* another amount, currency or provider id, a test payment, or a way back:
                         nothing changed and the difference is recorded */
    APPLY_UNCREDITED, /* applied, but not everything could be given or taken: recorded */
    APPLY_NOT_FOUND,  /* no such payment of this user: see payment_repository_locate */
};

struct applied {
    enum apply_outcome outcome;
    char kind[DIFFERENCE_KIND_SIZE]; /* of the difference that was recorded, empty without */
};

/* The row of payment_apply and refund_apply. */
struct applied_row {
    struct text outcome, kind;
};

#define APPLIED_COLUMNS \
    COLUMN(struct applied_row, outcome, TEXT), COLUMN(struct applied_row, kind, TEXT)

/* Runs one of them. Errors are those of database_run. */
enum error provider_state_apply(struct database *database, const struct statement *statement,
                                const struct param *params, struct applied *ret_applied) MUST_CHECK;
