/*
 * Movements of many requests in one statement and one commit: what waits while a statement is out is
 * the next one (database/coalesce.h). Each caller gets its own result; a movement that fails does not
 * fail its neighbours. Same guarantees as ledger_repository_post. Thread-safe.
 */
#pragma once

#include "base/error.h"
#include "repositories/ledger_repository.h"

struct movement_queue;

/* database: kept by pointer. NULL: memory is out. */
struct movement_queue *movement_queue_new(struct database *database);
/* Takes NULL. */
void movement_queue_free(struct movement_queue *queue);

/* As ledger_repository_post, and ERROR_OVERLOADED when too many wait. */
enum error movement_queue_post(struct movement_queue *queue, const struct movement *movement,
                               enum ledger_outcome *ret_outcome, int32_t *ret_balance,
                               bool *ret_found) MUST_CHECK;
