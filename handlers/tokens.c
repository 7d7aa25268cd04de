/* /api/tokens: balance, daily bonus, ledger entries. */
#include <stdio.h>

#include "base/clock.h"
#include "endpoint/entry_json.h"
#include "endpoint/handler.h"
#include "endpoint/idempotency.h"
#include "http/page.h"
#include "services/token_service.h"

/* To the letter what clients of the original backend got; the caches of HTTP/1.0 as well. */
static const char NOT_CACHED[] = "no-store, no-cache, must-revalidate, proxy-revalidate";

static void forbid_old_caches(struct response *response)
{
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

static enum error get_balance(struct call *call)
{
    struct response *response = call->response;
    struct token_status status;
    enum error err = token_service_status(call->app, &call->account, &status);
    if (err)
        return err;
    forbid_old_caches(response);
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

static enum error claim_bonus(struct call *call)
{
    struct response *response = call->response;
    struct token_bonus bonus;
    char message[96];
    enum error err = token_service_claim_bonus(call->app, &call->account, &call->key, &bonus);
    if (err)
        return err;
    snprintf(message, sizeof(message),
             call->request->english ? "Tokens received: %d" : "Получено токенов: %d",
             bonus.tokens_awarded);
    forbid_old_caches(response);
    idempotency_replayed(response, bonus.outcome == BONUS_REPLAYED);
    struct json_writer *json = response_data(response, 200);
    json_member_int(json, "tokensAwarded", bonus.tokens_awarded);
    json_member_string(json, "message", message);
    json_member_int(json, "balance", bonus.balance);
    response_data_end(response);
    return ERROR_OK;
}

/* A time of the query string into ret_time, which keeps its value without one. */
static enum error read_time(const struct call *call, const char *name, int64_t *ret_time)
{
    char buffer[64];
    struct text value;
    enum error err =
        request_query(call->request, &(struct query_field){name, buffer, sizeof(buffer)}, &value);
    if (err || (value.data && !clock_parse_time(value, ret_time)))
        return response_invalid(call->response, ERROR_INVALID_PARAMETER, name,
                                "expected a time such as 2026-01-31T10:00:00Z or a date");
    return ERROR_OK;
}

static bool is_type(struct text word)
{
    return text_equal(word, TEXT_LITERAL("purchase")) || text_equal(word, TEXT_LITERAL("bonus")) ||
           text_equal(word, TEXT_LITERAL("generation")) || text_equal(word, TEXT_LITERAL("refund"));
}

enum { TYPE_SIZE = 32 };

/* ret_filter borrows type. */
static enum error read_filter(const struct call *call, const struct page *page,
                              char type[static TYPE_SIZE], struct transaction_filter *ret_filter)
{
    *ret_filter = (struct transaction_filter){
        .before_created_at = page->before.created_at,
        .before_id = page->before.id,
        .limit = page->limit + 1, /* one more tells whether there is a next page */
        .from = INT64_MIN,
        .to = INT64_MAX,
    };
    enum error err = request_query(call->request, &(struct query_field){"type", type, TYPE_SIZE},
                                   &ret_filter->type);
    if (err || (ret_filter->type.data && !is_type(ret_filter->type)))
        return response_invalid(call->response, ERROR_INVALID_PARAMETER, "type",
                                "expected purchase, bonus, generation or refund");
    err = read_time(call, "from", &ret_filter->from);
    if (!err)
        err = read_time(call, "to", &ret_filter->to);
    return err;
}

static enum error list_transactions(struct call *call)
{
    struct transaction_filter filter;
    struct transaction_list list = {.count = 0};
    char type[TYPE_SIZE];
    struct page page;
    enum error err = page_read(call->request, call->response, &page);
    if (!err)
        err = read_filter(call, &page, type, &filter);
    if (!err)
        err = token_service_transactions(call->app, &call->account, &filter, &list);
    if (err)
        return err;
    entry_json_page(response_data(call->response, 200), "transactions", &list, &page);
    response_data_end(call->response);
    transaction_list_done(&list);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/tokens", .access = ACCESS_ACCOUNT, .cache_control = NOT_CACHED,
         .run = get_balance},
        {"POST", "/api/tokens", .access = ACCESS_ACCOUNT, .idempotent = true,
         .cache_control = NOT_CACHED, .run = claim_bonus},
        {"GET", "/api/tokens/transactions", .access = ACCESS_ACCOUNT, .run = list_transactions},
    };
    static const struct handler HANDLER = {
        .name = "tokens",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
