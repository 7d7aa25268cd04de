/* /api/tokens: balance, daily bonus, ledger entries. */
#include <stdio.h>

#include "base/clock.h"
#include "http/page.h"
#include "endpoint/caller.h"
#include "endpoint/entry_json.h"
#include "process/handler_main.h"
#include "endpoint/idempotency.h"
#include "services/token_service.h"

static void forbid_caching(struct response *response)
{
    response_header(response, "Cache-Control",
                    "no-store, no-cache, must-revalidate, proxy-revalidate");
    response_header(response, "Pragma", "no-cache");
    response_header(response, "Expires", "0");
}

static void write_free_generations(struct json_writer *json, const struct token_status *status)
{
    json_key(json, "freeGenerations");
    json_begin_object(json);
    if (status->unlimited) {
        json_member_null(json, "remaining");
        json_member_null(json, "total");
    } else {
        json_member_int(json, "remaining", status->free_remaining);
        json_member_int(json, "total", status->free_total);
    }
    json_member_string(json, "maxQuality", status->max_quality);
    json_end_object(json);
}

static enum error get_balance(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct token_status status;
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = token_service_status(app, &account, &status);
    if (err)
        return err;
    forbid_caching(response);
    struct json_writer *json = response_data(response, 200);
    json_member_int(json, "balance", status.balance);
    if (status.has_last_bonus_date)
        json_member_date(json, "lastBonusDate", status.last_bonus_date);
    else
        json_member_null(json, "lastBonusDate");
    json_member_date(json, "serverDate", status.server_date);
    json_member_boolean(json, "canClaimBonus", status.can_claim_bonus);
    write_free_generations(json, &status);
    json_member_string(json, "plan", status.plan);
    json_member_int(json, "held", status.held);
    json_member_time(json, "asOf", status.as_of);
    response_data_end(response);
    return ERROR_OK;
}

static enum error claim_bonus(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct token_bonus bonus;
    struct operation_key key;
    char message[96];
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = idempotency_read(request, response, TEXT_LITERAL("user"), &key);
    if (!err)
        err = token_service_claim_bonus(app, &account, &key, &bonus);
    if (err)
        return err;
    snprintf(message, sizeof(message),
             request->english ? "Tokens received: %d" : "Получено токенов: %d",
             bonus.tokens_awarded);
    forbid_caching(response);
    idempotency_replayed(response, bonus.outcome == BONUS_REPLAYED);
    struct json_writer *json = response_data(response, 200);
    json_member_int(json, "tokensAwarded", bonus.tokens_awarded);
    json_member_string(json, "message", message);
    json_member_int(json, "balance", bonus.balance);
    response_data_end(response);
    return ERROR_OK;
}

/* A time of the query string into ret_time, which keeps its value without one. */
static enum error read_time(const struct request *request, struct response *response,
                            const char *name, int64_t *ret_time)
{
    char buffer[64];
    struct text value;
    enum error err = request_query(request, name, buffer, sizeof(buffer), &value);
    if (err || (value.data && !clock_parse_time(value, ret_time)))
        return response_invalid(response, ERROR_INVALID_PARAMETER, name,
                                "expected a time such as 2026-01-31T10:00:00Z or a date");
    return ERROR_OK;
}

static enum error read_filter(const struct request *request, struct response *response,
                              char *type_buffer, size_t type_size,
                              struct transaction_filter *ret_filter)
{
    struct page page;
    struct text type;
    enum error err = page_read(request, response, &page);
    if (err)
        return err;
    *ret_filter = (struct transaction_filter){
        .before_created_at = page.before.created_at,
        .before_id = page.before.id,
        .limit = page.limit + 1, /* one more tells whether there is a next page */
        .from = INT64_MIN,
        .to = INT64_MAX,
    };
    err = request_query(request, "type", type_buffer, type_size, &type);
    if (err || (type.data && !text_equal(type, TEXT_LITERAL("purchase")) &&
                !text_equal(type, TEXT_LITERAL("bonus")) &&
                !text_equal(type, TEXT_LITERAL("generation")) &&
                !text_equal(type, TEXT_LITERAL("refund"))))
        return response_invalid(response, ERROR_INVALID_PARAMETER, "type",
                                "expected purchase, bonus, generation or refund");
    ret_filter->type = type;
    err = read_time(request, response, "from", &ret_filter->from);
    if (!err)
        err = read_time(request, response, "to", &ret_filter->to);
    return err;
}

static enum error list_transactions(struct app *app, struct request *request,
                                    struct response *response)
{
    struct account account;
    struct transaction_filter filter;
    struct transaction_list list = {.count = 0};
    char type[32];
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = read_filter(request, response, type, sizeof(type), &filter);
    if (!err)
        err = token_service_transactions(app, &account, &filter, &list);
    if (err)
        return err;
    entry_json_page(response_data(response, 200), "transactions", &list, filter.limit - 1);
    response_data_end(response);
    transaction_list_done(&list);
    return ERROR_OK;
}

int main(void)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/tokens", .run = get_balance},
        {"POST", "/api/tokens", .run = claim_bonus},
        {"GET", "/api/tokens/transactions", .run = list_transactions},
    };
    static const struct handler HANDLER = {
        .name = "tokens",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    return handler_main(&HANDLER, &NEEDS);
}
