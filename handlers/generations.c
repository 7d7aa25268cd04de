/* /api/generations: the history of generated images. */
#include "endpoint/handler.h"
#include "endpoint/idempotency.h"
#include "endpoint/usage_limit.h"
#include "http/page.h"
#include "services/generation_service.h"
#include "services/usage_service.h"

static void write_generation(struct json_writer *json, const struct generation *generation)
{
    json_begin_object(json);
    json_member_uuid(json, "id", &generation->id);
    json_member_uuid(json, "user_id", &generation->user_id);
    json_member_text(json, "image_url", generation->image_url);
    json_member_text(json, "prompt_used", generation->prompt_used);
    json_member_text(json, "trend", generation->trend);
    json_member_text(json, "quality", generation->quality);
    json_member_text(json, "status", generation->status);
    json_member_text(json, "error_message", generation->error_message);
    json_member_time(json, "created_at", generation->created_at);
    json_member_time(json, "updated_at", generation->updated_at);
    json_end_object(json);
}

static enum error list_generations(struct call *call)
{
    struct response *response = call->response;
    struct page page;
    struct generation_list list = {.count = 0};
    enum error err = page_read(call->request, response, &page);
    if (err)
        return err;
    int64_t total = page.before.total;
    const struct row_page rows = {.before_created_at = page.before.created_at,
                                  .before_id = page.before.id,
                                  .limit = page.limit + 1};
    if (total < 0)
        err = generation_service_count(call->app, &call->account, &total);
    if (!err)
        err = generation_service_list(call->app, &call->account, &rows, &list);
    if (err)
        return err;
    bool more = list.count == (size_t)page.limit + 1;
    size_t count = more ? list.count - 1 : list.count;
    struct json_writer *json = response_data(response, 200);
    json_key(json, "generations");
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        write_generation(json, &list.items[i]);
    json_end_array(json);
    json_member_int(json, "total", total);
    struct page_position last = {.total = total > INT32_MAX ? INT32_MAX : (int32_t)total};
    if (more) {
        last.created_at = list.items[count - 1].created_at;
        last.id = list.items[count - 1].id;
    }
    page_write_cursor(json, &page, more ? &last : NULL);
    response_data_end(response);
    generation_list_done(&list);
    return ERROR_OK;
}

static enum error read_draft(const struct body *body, struct new_generation *ret_draft)
{
    static const struct body_text_rule PROMPT = {.name = "promptUsed",
                                                 .bytes_max = PROMPT_BYTES_MAX,
                                                 .characters_max = PROMPT_CHARACTERS_MAX};
    static const struct body_text_rule TREND = {
        .name = "trend", .bytes_max = BODY_BYTES_MAX, .characters_max = TREND_CHARACTERS_MAX};
    static const struct body_text_rule QUALITY = {
        .name = "quality", .bytes_max = 8, .choices = "1K,2K,4K"};
    static const struct body_text_rule IMAGE_URL = {.name = "imageUrl",
                                                    .bytes_max = IMAGE_URL_BYTES_MAX};
    enum error err = body_text(body, &IMAGE_URL, &ret_draft->image_url);
    if (!err && ret_draft->image_url.len == 0)
        err = ERROR_IMAGE_URL_REQUIRED;
    if (!err)
        err = body_text(body, &PROMPT, &ret_draft->prompt_used);
    if (!err)
        err = body_text(body, &TREND, &ret_draft->trend);
    if (!err)
        err = body_text(body, &QUALITY, &ret_draft->quality);
    return err;
}

static enum error create_generation(struct call *call)
{
    struct response *response = call->response;
    struct generation_draft draft = {
        .generation = {.ip_address = call->request->client_address,
                       .by_address = call->account.identity.kind == IDENTITY_DEVICE},
        .key = &call->key,
    };
    struct generation_recorded recorded = {.usage = {.used = 0}};
    const struct usage_outcome *usage = &recorded.usage;
    enum error err = read_draft(call->body, &draft.generation);
    if (err)
        return err;
    err = generation_service_record(call->app, &call->account, &draft, &recorded);
    if (err == ERROR_RATE_LIMITED)
        err = usage_limit_refuse(response, usage);
    if (err)
        return err;
    usage_limit_header(response, usage);
    idempotency_replayed(response, usage->result == USAGE_REPLAYED);
    struct json_writer *json = response_data(response, 201);
    json_key(json, "generation");
    write_generation(json, &recorded.generation);
    response_data_end(response);
    return ERROR_OK;
}

static enum error delete_generation(struct call *call)
{
    enum error err = generation_service_delete(call->app, &call->account, &call->id);
    if (err)
        return err;
    response_empty(call->response, 204);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/generations", .access = ACCESS_ACCOUNT, .run = list_generations},
        {"POST", "/api/generations", .access = ACCESS_ACCOUNT, .idempotent = true, .body = true,
         .body_max = GENERATION_BODY_BYTES_MAX, .run = create_generation},
        {"DELETE", "/api/generations/{id}", .access = ACCESS_ACCOUNT, .id = ROUTE_ID_UUID,
         .run = delete_generation},
    };
    static const struct handler HANDLER = {
        .name = "generations",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
