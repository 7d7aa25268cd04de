/* Balance, daily bonus and ledger entries of the calling account. Thread-safe. */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "base/operation.h"
#include "repositories/token_repository.h"
#include "services/account_service.h"
#include "services/token_status.h"

/* From the cache when it is there and of today, else from the database. */
enum error token_service_status(struct app *app, struct account *account,
                                struct token_status *ret_status) MUST_CHECK;

/*
 * ERROR_BONUS_ALREADY_CLAIMED when it was claimed today; ret_bonus is then untouched. key may be
 * NULL.
 */
enum error token_service_claim_bonus(struct app *app, struct account *account,
                                     const struct operation_key *key,
                                     struct token_bonus *ret_bonus) MUST_CHECK;

/* A page of entries, newest first. transaction_list_done when finished. */
enum error token_service_transactions(struct app *app, const struct account *account,
                                      const struct transaction_filter *filter,
                                      struct transaction_list *ret_list) MUST_CHECK;
