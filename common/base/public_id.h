/*
 * The public form of an id that arrives without its user (a ledger entry, a hold, a payment). It
 * holds the user id and the id, which together are the row's primary key. So a distributed database
 * knows the node of the row. Opaque to clients: 43 characters of base64url.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"
#include "base/uuid.h"

enum { PUBLIC_ID_SIZE = 44 }; /* 43 characters and terminator */

void public_id_format(const struct uuid *user_id, const struct uuid *id,
                      char buffer[static PUBLIC_ID_SIZE]);

/* Returns false when text is not one; the results are then untouched. */
bool public_id_parse(struct text text, struct uuid *ret_user_id, struct uuid *ret_id);
