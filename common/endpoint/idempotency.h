/*
 * The Idempotency-Key header: 1 to 255 visible characters, accepted on every POST that changes
 * something (openapi.yaml).
 */
#pragma once

#include "base/operation.h"
#include "endpoint/call.h"

/*
 * Reads the header and hashes the request. The key belongs to who chose it: the account, or the
 * service that calls. Texts are borrowed from call. Without the header ret_key->key is absent.
 * ERROR_INVALID_PARAMETER for a malformed one, or
 * for two.
 */
enum error idempotency_read(const struct call *call, struct operation_key *ret_key) MUST_CHECK;

/* The same for one operation of a batch, whose operationId is its key. */
enum error idempotency_for_operation(const struct call *call, struct text operation_id,
                                     const struct body *operation,
                                     struct operation_key *ret_key) MUST_CHECK;

/* Marks an answer that was given before. */
void idempotency_replayed(struct response *response, bool replayed);
