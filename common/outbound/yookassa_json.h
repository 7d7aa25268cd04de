/*
 * Reads the objects of YooKassa's API. Fields that we do not use are ignored. A field that we use
 * must have the type and the range that the API documents. For yookassa.c and its tests.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "outbound/yookassa.h"

enum yookassa_object {
    YOOKASSA_OBJECT_PAYMENT,
    YOOKASSA_OBJECT_REFUND,
    YOOKASSA_OBJECT_PAYMENT_LIST,
    YOOKASSA_OBJECT_REFUND_LIST,
};

/*
 * Reads the body of a 200 into ret_answer: payments or refunds, count, skipped, next_cursor, owned.
 * ERROR_MALFORMED_JSON: it is not what was expected; ERROR_NO_MEMORY. ret_answer is then untouched.
 */
enum error yookassa_json_read(struct text body, enum yookassa_object expected,
                              struct yookassa_answer *ret_answer) MUST_CHECK;

/*
 * Reads an error object: error_code, error_parameter, retry_after_ms, owned. Returns false when the
 * body is none; ret_answer is then untouched.
 */
bool yookassa_json_read_error(struct text body, struct yookassa_answer *ret_answer);

/* Whether the text can be an object's id or an idempotence key: 1 to 64 of A-Z a-z 0-9 - _. */
bool yookassa_json_is_id(struct text text);
