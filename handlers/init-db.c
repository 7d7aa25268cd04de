/* /api/init-db: brings the schema up to date, for an operator who knows DB_INIT_SECRET. */
#include "base/clock.h"
#include "endpoint/handler.h"
#include "services/system_service.h"

static enum error init_db(struct call *call)
{
    struct schema_report report;
    enum error err = system_service_migrate(call->app, &report);
    if (err)
        return err;
    struct json_writer *json = response_json(call->response, 200);
    json_begin_object(json);
    json_member_boolean(json, "success", true);
    json_member_string(json, "message",
                       report.applied_count > 0 ? "Database initialized"
                                                : "Database was already up to date");
    json_member_time(json, "timestamp", clock_unix_us());
    json_key(json, "data");
    json_begin_object(json);
    json_member_int(json, "version", report.version);
    json_key(json, "applied");
    json_begin_array(json);
    for (size_t i = 0; i < report.applied_count; i++)
        json_int(json, report.applied[i]);
    json_end_array(json);
    json_end_object(json);
    json_end_object(json);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/init-db", .access = ACCESS_INIT_SECRET, .run = init_db},
        {"POST", "/api/init-db", .access = ACCESS_INIT_SECRET, .run = init_db},
    };
    static const struct handler HANDLER = {
        .name = "init-db",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
