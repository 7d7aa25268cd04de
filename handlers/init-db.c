/* /api/init-db: brings the schema up to date, for an operator who knows DB_INIT_SECRET. */
#include "base/clock.h"
#include "base/config.h"
#include "process/handler_main.h"
#include "services/system_service.h"

/* The secret is compared even when it is absent, so that time tells nothing. */
static enum error check_secret(const struct app *app, const struct request *request)
{
    char buffer[512];
    struct text given;
    struct text secret = text_from(app->config->db_init_secret);
    if (secret.len == 0)
        return ERROR_NOT_CONFIGURED;
    enum error err = request_query(request, "secret", buffer, sizeof(buffer), &given);
    if (err || !given.data)
        given = request_param(request, "HTTP_X_DB_INIT_SECRET");
    return text_equal_secret(given.data ? given : TEXT_LITERAL(""), secret) ? ERROR_OK
                                                                            : ERROR_UNAUTHORIZED;
}

static enum error init_db(struct app *app, struct request *request, struct response *response)
{
    struct schema_report report;
    enum error err = check_secret(app, request);
    if (!err)
        err = system_service_migrate(app, &report);
    if (err)
        return err;
    response_header(response, "Cache-Control", "no-store");
    struct json_writer *json = response_json(response, 200);
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

int main(void)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/init-db", .run = init_db},
        {"POST", "/api/init-db", .run = init_db},
    };
    static const struct handler HANDLER = {
        .name = "init-db",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    return handler_main(&HANDLER, &NEEDS);
}
