/* The primary key of every table whose rows belong to a user. */
#pragma once

#include "base/uuid.h"

struct row_key {
    struct uuid user_id, id;
};
