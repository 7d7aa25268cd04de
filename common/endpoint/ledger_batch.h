/* A batch: many spends and grants in one request, each with a result of its own. */
#pragma once

#include "endpoint/call.h"

/*
 * Runs POST /api/ledger/batch: reads the operations of the body, posts those that are right in one
 * flight, and answers with a result for each, in their order. A bad operation is its own result;
 * the request fails as a whole where "operations" is no array, is empty or has more than
 * BATCH_OPERATIONS_MAX, and where memory or the database is missing.
 */
enum error ledger_batch_post(struct call *call) MUST_CHECK;
