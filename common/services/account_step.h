/* A part of a unit of work that is done for one account. */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "base/uuid.h"

/*
 * ERROR_USER_NOT_FOUND: there is no such account, or it was closed; nothing was done. The function
 * that takes a step says what it does then, and around it.
 */
typedef enum error account_step(struct app *app, const struct uuid *user_id, void *context);
