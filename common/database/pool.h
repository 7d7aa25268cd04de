/*
 * The connections of one process. Opened when first needed, at most size of them; a thread that
 * finds none free waits until one is released or its deadline passes. Thread-safe.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "database/connection.h"

struct pool;

/* url and application_name: kept by pointer. size: 1 to POOL_SIZE_MAX. NULL: memory is out. */
struct pool *pool_new(const char *url, const char *application_name, size_t size);
/* Every connection must have been released. Takes NULL. */
void pool_free(struct pool *pool);

/*
 * Borrows a connection until pool_release. ERROR_OVERLOADED: none came free by deadline_ms (of
 * clock_monotonic_ms). ERROR_DATABASE_UNAVAILABLE: it could not connect; ret_problem says why.
 */
enum error pool_acquire(struct pool *pool, int64_t deadline_ms, struct connection **ret_connection,
                        char ret_problem[static 256]) MUST_CHECK;

/*
 * Gives it back. A broken one is closed, and with it every idle one opened before now: whatever
 * broke it (a restarted server, a fail-over) most likely broke them too.
 */
void pool_release(struct pool *pool, struct connection *connection);

void pool_count(struct pool *pool, size_t *ret_open, size_t *ret_idle);
