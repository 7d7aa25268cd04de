/* What the bodies that begin a payment have in common, and the answer to them. */
#pragma once

#include "base/web_url.h"
#include "endpoint/call.h"
#include "services/payment_service.h"

/*
 * Reads returnUrl, in the form in which a browser opens it (base/web_url.h): https (http for
 * localhost alone), at most URL_BYTES_MAX bytes, of an origin of ALLOWED_ORIGINS or that of
 * PAYMENTS_RETURN_URL where one of them is set. Without it PAYMENTS_RETURN_URL, else the first of
 * ALLOWED_ORIGINS. url: the room for it. ERROR_INVALID_FIELD. ret_url borrows url or the
 * configuration.
 */
enum error payment_form_return_url(const struct call *call, struct web_url *url,
                                   struct text *ret_url) MUST_CHECK;

/* Reads receiptEmail, absent when it is not there. ERROR_INVALID_FIELD. */
enum error payment_form_receipt_email(const struct call *call, struct text *ret_email) MUST_CHECK;

/* Names receiptEmail where the service misses it; other errors pass. */
enum error payment_form_failure(struct response *response, enum error err) MUST_CHECK;

/*
 * {"paymentId":...,"confirmationUrl":...,"status":...} with status 200, and "creditDays" of a
 * subscription; else NULL.
 */
void payment_form_answer(struct response *response, const struct payment_answer *answer,
                         const int32_t *credit_days);
