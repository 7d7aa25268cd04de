/*
 * Notifications of the payment provider. They are not signed, so nothing of one is believed but
 * which object to ask the provider for. Thread-safe; the same one may come any number of times.
 */
#pragma once

#include "base/app.h"
#include "base/error.h"
#include "base/text.h"
#include "services/settlement_service.h"

/*
 * body: as it came. ERROR_PAYMENTS_NOT_CONFIGURED, ERROR_MALFORMED_JSON, ERROR_INVALID_FIELD (no
 * notification), else as settlement_service_fetch_payment: then it has to come again.
 */
enum error notification_service_receive(struct app *app, struct text body,
                                        enum settlement *ret_settlement) MUST_CHECK;
