/*
 * /api/payments/webhook: notifications of the payment provider. They are not signed, so nothing of
 * one is believed but which object to ask the provider for, and even that only from its addresses.
 * Any answer but 200 makes it come again, for a day.
 */
#include "base/config.h"
#include "base/networks.h"
#include "observe/log.h"
#include "process/handler_main.h"
#include "services/notification_service.h"

static enum error describe(struct response *response, enum error err)
{
    if (err == ERROR_INVALID_FIELD)
        return response_invalid(response, err, "event",
                                "expected a notification of a payment or refund");
    if (err == ERROR_INVALID_PARAMETER)
        return response_invalid(response, ERROR_INVALID_FIELD, "object",
                                "expected an object with an id");
    return err;
}

static void acknowledge(struct response *response, enum settlement settlement)
{
    struct json_writer *json = response_json(response, 200);
    json_begin_object(json);
    json_member_boolean(json, "received", true);
    if (settlement == SETTLEMENT_KNOWN)
        json_member_boolean(json, "alreadyProcessed", true);
    json_end_object(json);
}

static enum error receive(struct app *app, struct request *request, struct response *response)
{
    enum settlement settlement;
    /* nginx asks the same; this holds whatever stands in front. */
    if (!networks_contain(text_from(app->config->yookassa_webhook_networks),
                          request->client_address)) {
        log_event(app->log, LOG_WARNING, "notification from a foreign address",
                  LOG_TEXT("address", request->client_address));
        return ERROR_FORBIDDEN;
    }
    enum error err = notification_service_receive(app, buffer_text(&request->body), &settlement);
    if (err)
        return describe(response, err);
    acknowledge(response, settlement);
    return ERROR_OK;
}

int main(void)
{
    static const struct route ROUTES[] = {
        {"POST", "/api/payments/webhook", .run = receive},
    };
    static const struct handler HANDLER = {
        .name = "payments-webhook",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    return handler_main(&HANDLER, &NEEDS);
}
