/* /api/packages: the packages of tokens that are sold. */
#include "endpoint/etag.h"
#include "endpoint/handler.h"
#include "services/catalog_service.h"

static void write_package(struct json_writer *json, const struct package *package)
{
    json_begin_object(json);
    json_member_text(json, "package", package->package);
    json_member_int(json, "tokens", package->tokens);
    json_member_text(json, "price", package->price);
    json_member_text(json, "currency", package->currency);
    json_end_object(json);
}

static enum error list_packages(struct call *call)
{
    struct package_list list = {.count = 0};
    enum error err = catalog_service_packages(call->app, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_key(json, "packages");
    json_begin_array(json);
    for (size_t i = 0; i < list.count; i++)
        write_package(json, &list.items[i]);
    json_end_array(json);
    response_data_end(call->response);
    package_list_done(&list);
    etag_answer(call);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/packages", .access = ACCESS_PUBLIC, .cache_control = "public, max-age=60",
         .run = list_packages},
    };
    static const struct handler HANDLER = {
        .name = "packages",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
        .needs = APP_NEEDS_DATABASE,
    };
    return handler_main(&HANDLER, argc, argv);
}
