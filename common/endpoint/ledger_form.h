/* What bodies that move tokens have in common, alone or as an operation of a batch. */
#pragma once

#include "base/json_writer.h"
#include "http/body.h"
#include "http/response.h"
#include "services/ledger_service.h"

/*
 * Reads userId, amount and description. response: where a bad field is named. Texts of ret_order
 * are borrowed from body. ERROR_INVALID_FIELD.
 */
enum error ledger_form_order(const struct body *body, struct response *response,
                             struct ledger_order *ret_order) MUST_CHECK;

/*
 * Completes an order that was read: a grant's type is in the body, a spend is always a generation
 * and takes its amount away. ERROR_INVALID_FIELD.
 */
enum error ledger_form_kind(const struct body *body, bool grant,
                            struct ledger_order *order) MUST_CHECK;

/* Writes the entry's public id as member "transactionId". */
void ledger_form_transaction_id(struct json_writer *json, const struct ledger_answer *answer);
