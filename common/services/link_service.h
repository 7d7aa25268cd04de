/*
 * Linking a device to a Clerk account: what the device had, the account has from then on, and the
 * device's id leads to the account. Thread-safe; safe to repeat and to race.
 */
#pragma once

#include <stdbool.h>

#include "base/app.h"
#include "base/error.h"
#include "services/account_service.h"

/*
 * Links now. account: of a Clerk identity; its user_id is another one afterwards when it was linked
 * meanwhile. device: of kind IDENTITY_DEVICE. ret_moved: whether this call moved anything (false
 * when it was linked to this account before). ERROR_DEVICE_ALREADY_LINKED: to another account; else
 * those of the database layer.
 */
enum error link_service_link(struct app *app, struct account *account,
                             const struct identity *device, bool *ret_moved) MUST_CHECK;

/*
 * The same for a request that merely carries the device's id: links the first time, costs two cache
 * reads afterwards, and leaves a device that belongs to somebody else alone.
 */
enum error link_service_link_quietly(struct app *app, struct account *account,
                                     const struct identity *device) MUST_CHECK;
