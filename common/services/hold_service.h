/*
 * Holds, read by back-end services; what changes one is in ledger_service.h. A service that
 * remembers a device's user id finds the holds in the account that it was linked to. Thread-safe.
 */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "repositories/hold_repository.h"

/* ret_list: the one hold, owned by the caller. ERROR_NOT_FOUND. */
enum error hold_service_get(struct app *app, const struct uuid *user_id, const struct uuid *id,
                            struct hold_list *ret_list) MUST_CHECK;

/* A page, newest first. ERROR_USER_NOT_FOUND. */
enum error hold_service_list(struct app *app, const struct uuid *user_id,
                             const struct hold_filter *filter,
                             struct hold_list *ret_list) MUST_CHECK;
