/* The keys under which services keep things in the shared cache. */
#pragma once

#include "auth/identity.h"
#include "base/text.h"
#include "base/uuid.h"
#include "cache/cache.h"

/* identity: the whole key of user_identities; any length, hence a digest of it. */
struct cache_key cache_keys_identity(struct text identity);

/* That a device belongs to another account than this one. */
struct cache_key cache_keys_refused_link(const struct uuid *user_id, const struct identity *device);

struct cache_key cache_keys_balance(const struct uuid *user_id);
