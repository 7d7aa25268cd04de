/*
 * /api/payments/webhook: notifications of the payment provider. They are not signed, so nothing of
 * one is believed but which object to ask the provider for, and even that only from its addresses.
 * Any answer but 200 makes it come again, for a day.
 */
#include "endpoint/handler.h"
#include "services/notification_service.h"

static enum error describe(struct response *response, enum error err)
{
    if (err == ERROR_INVALID_FIELD)
        return response_invalid(response, err, "event", "expected the event of a notification");
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
    if (settlement == SETTLEMENT_IGNORED)
        json_member_boolean(json, "ignored", true);
    json_end_object(json);
}

static enum error receive(struct call *call)
{
    enum settlement settlement;
    enum error err =
        notification_service_receive(call->app, buffer_text(&call->request->body), &settlement);
    if (err)
        return describe(call->response, err);
    acknowledge(call->response, settlement);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"POST", "/api/payments/webhook", .access = ACCESS_PROVIDER, .run = receive},
    };
    static const struct handler HANDLER = {
        .name = "payments-webhook",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
