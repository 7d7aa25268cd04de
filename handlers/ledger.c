/* /api/ledger: movements of tokens for other back-end services, which carry a service key. */
#include <stdlib.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "base/public_id.h"
#include "http/body.h"
#include "http/page.h"
#include "observe/log.h"
#include "endpoint/entry_json.h"
#include "process/handler_main.h"
#include "endpoint/idempotency.h"
#include "services/ledger_service.h"
#include "services/service_key_service.h"
#include "services/token_service.h"

/* Who calls, with what key: the first thing every route needs. */
struct ledger_call {
    struct service_caller caller;
    struct operation_key key;
};

static enum error begin(struct app *app, const struct request *request, struct response *response,
                        enum service_scope scope, struct ledger_call *ret_call)
{
    struct text key;
    enum error err = request_service_key(request, &key);
    if (!err)
        err = service_key_service_identify(app, key, &ret_call->caller);
    if (err)
        return err;
    if (!service_key_service_allows(&ret_call->caller, scope))
        return ERROR_FORBIDDEN;
    response_header(response, "Cache-Control", "no-store");
    return idempotency_read(request, response, text_from(ret_call->caller.scope), &ret_call->key);
}

static enum error read_order(const struct body *body, struct response *response,
                             struct ledger_order *ret_order)
{
    static const struct body_text_rule USER = {.name = "userId", .required = true, .bytes_max = 36};
    static const struct body_text_rule DESCRIPTION = {
        .name = "description",
        .bytes_max = 4 * DESCRIPTION_CHARACTERS_MAX,
        .characters_max = DESCRIPTION_CHARACTERS_MAX,
    };
    static const struct body_int_rule AMOUNT = {
        .name = "amount", .required = true, .least = 1, .most = INT32_MAX};
    struct text user;
    int64_t amount = 0;
    enum error err = body_text(body, &USER, &user);
    if (!err && !uuid_parse(user, &ret_order->user_id))
        err = response_invalid(response, ERROR_INVALID_FIELD, "userId", "expected a uuid");
    if (!err)
        err = body_int(body, &AMOUNT, &amount, NULL);
    if (!err)
        err = body_text(body, &DESCRIPTION, &ret_order->description);
    ret_order->amount = (int32_t)amount;
    return err;
}

/* A grant's type; a spend is always a generation. */
static enum error read_kind(const struct body *body, bool grant, struct ledger_order *order)
{
    static const struct body_text_rule TYPE = {
        .name = "type", .required = true, .bytes_max = 16, .choices = "purchase,bonus,refund"};
    if (grant)
        return body_text(body, &TYPE, &order->type);
    order->type = TEXT_LITERAL("generation");
    order->amount = -order->amount;
    return ERROR_OK;
}

static void write_transaction_id(struct json_writer *json, const struct ledger_answer *answer)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&answer->user_id, &answer->entry_id, id);
    json_member_string(json, "transactionId", id);
}

static enum error answer_movement(struct response *response, int status, enum error err,
                                  const struct ledger_answer *answer)
{
    if (err == ERROR_INSUFFICIENT_TOKENS) {
        response->has_balance = true;
        response->balance = answer->balance;
    }
    if (err)
        return err;
    idempotency_replayed(response, answer->replayed);
    struct json_writer *json = response_data(response, status);
    write_transaction_id(json, answer);
    json_member_int(json, "balance", answer->balance);
    response_data_end(response);
    return ERROR_OK;
}

/* A spend or a grant that no thread waits for. */
struct posting {
    struct task task; /* first: what is left to do, when that may wait */
    struct exchange *exchange;
    struct body *body; /* owned; the texts of the order are borrowed from it */
    struct ledger_order order;
    struct ledger_call call;
    struct ledger_post post;
};

static void end_posting(struct posting *posting, enum error err)
{
    struct exchange *exchange = posting->exchange;
    body_free(posting->body);
    free(posting);
    router_answer(exchange, err);
}

static void finish_posting(struct task *task)
{
    struct posting *posting = (struct posting *)task;
    struct ledger_answer answer;
    log_set_request_id(posting->exchange->request->request_id);
    enum error err = ledger_service_post_finish(&posting->post, &answer);
    end_posting(posting, answer_movement(posting->exchange->response, 201, err, &answer));
}

static void posted(void *context)
{
    struct posting *posting = context;
    if (!ledger_service_post_waits(&posting->post) || !blocking_run(&posting->task))
        finish_posting(&posting->task);
}

static void post(struct app *app, struct exchange *exchange, bool grant)
{
    struct request *request = exchange->request;
    struct response *response = exchange->response;
    struct posting *posting = malloc(sizeof(*posting));
    if (!posting) {
        router_answer(exchange, ERROR_NO_MEMORY);
        return;
    }
    *posting = (struct posting){.task.run = finish_posting,
                                .exchange = exchange,
                                .post = {.done = posted, .context = posting}};
    enum error err = begin(app, request, response,
                           grant ? SERVICE_SCOPE_GRANT : SERVICE_SCOPE_SPEND, &posting->call);
    if (!err)
        err = body_parse(request, response, &posting->body);
    if (!err)
        err = read_order(posting->body, response, &posting->order);
    if (!err)
        err = read_kind(posting->body, grant, &posting->order);
    if (!err)
        err = ledger_service_post_start(app, &posting->order, &posting->call.key, &posting->post);
    if (err)
        end_posting(posting, err);
}

static void spend(struct app *app, struct exchange *exchange)
{
    post(app, exchange, false);
}

static void grant(struct app *app, struct exchange *exchange)
{
    post(app, exchange, true);
}

static void write_hold(struct response *response, const struct ledger_hold *hold)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&hold->user_id, &hold->hold_id, id);
    idempotency_replayed(response, hold->replayed);
    struct json_writer *json = response_data(response, 201);
    json_member_string(json, "holdId", id);
    json_member_int(json, "balance", hold->balance);
    json_member_int(json, "held", hold->held);
    json_member_time(json, "expiresAt", hold->expires_at);
    response_data_end(response);
}

static enum error create_hold(struct app *app, struct request *request, struct response *response)
{
    static const struct body_int_rule TTL = {
        .name = "ttlSeconds", .required = true, .least = 1, .most = HOLD_SECONDS_MAX};
    struct ledger_call call;
    struct ledger_hold_order order = {.ttl_seconds = 0};
    struct ledger_hold hold = {.balance = 0};
    struct body *body = NULL;
    int64_t ttl = 0;
    enum error err = begin(app, request, response, SERVICE_SCOPE_HOLD, &call);
    if (!err)
        err = body_parse(request, response, &body);
    if (!err)
        err = read_order(body, response, &order.order);
    if (!err)
        err = body_int(body, &TTL, &ttl, NULL);
    order.ttl_seconds = (int32_t)ttl;
    if (!err)
        err = ledger_service_hold(app, &order, &call.key, &hold);
    if (err == ERROR_INSUFFICIENT_TOKENS) {
        response->has_balance = true;
        response->balance = hold.balance;
    }
    if (!err)
        write_hold(response, &hold);
    body_free(body);
    return err;
}

/* The id of the path; one that is not of the right form names nothing. */
static enum error read_id(const struct request *request, struct row_key *ret_key)
{
    return public_id_parse(request->id, &ret_key->user_id, &ret_key->id) ? ERROR_OK
                                                                         : ERROR_NOT_FOUND;
}

static enum error capture_hold(struct app *app, struct request *request, struct response *response)
{
    static const struct body_int_rule AMOUNT = {.name = "amount", .least = 1, .most = INT32_MAX};
    struct ledger_call call;
    struct ledger_answer answer;
    struct ledger_capture capture;
    struct body *body = NULL;
    int64_t amount = 0;
    bool there = false;
    enum error err = begin(app, request, response, SERVICE_SCOPE_HOLD, &call);
    if (!err)
        err = read_id(request, &capture.hold);
    if (!err)
        err = body_parse(request, response, &body);
    if (!err)
        err = body_int(body, &AMOUNT, &amount, &there);
    if (!err) {
        int32_t part = (int32_t)amount;
        capture.amount = there ? &part : NULL;
        err = ledger_service_capture(app, &capture, &call.key, &answer);
        if (err == ERROR_INVALID_FIELD)
            err = response_invalid(response, err, "amount", "expected at most the hold");
        else
            err = answer_movement(response, 200, err, &answer);
    }
    body_free(body);
    return err;
}

static enum error release_hold(struct app *app, struct request *request, struct response *response)
{
    struct ledger_call call;
    struct ledger_answer answer;
    struct row_key hold;
    enum error err = begin(app, request, response, SERVICE_SCOPE_HOLD, &call);
    if (!err)
        err = read_id(request, &hold);
    if (!err)
        err = ledger_service_release(app, &hold, &answer);
    if (err)
        return err;
    struct json_writer *json = response_data(response, 200);
    json_member_int(json, "balance", answer.balance);
    response_data_end(response);
    return ERROR_OK;
}

static enum error reverse(struct app *app, struct request *request, struct response *response)
{
    struct ledger_call call;
    struct ledger_answer answer = {.balance = 0};
    struct row_key entry;
    enum error err = begin(app, request, response, SERVICE_SCOPE_REVERSE, &call);
    if (!err)
        err = read_id(request, &entry);
    if (err)
        return err;
    err = ledger_service_reverse(app, &entry, &call.key, &answer);
    return answer_movement(response, 201, err, &answer);
}

/* One operation of a batch. What is wrong with it is its own result. */
struct batch_item {
    struct text operation_id; /* absent when it could not be read */
    struct response problems; /* where its field errors are described */
    struct body *body;        /* owned; the texts of the order are borrowed from it */
    bool ready;               /* read without an error, and in the flight */
    enum error err;
    size_t place; /* in the flight */
};

static enum error read_item(struct ledger_call *call, const struct request *request,
                            struct batch_item *item, struct ledger_item *ret_item)
{
    static const struct body_text_rule OPERATION = {
        .name = "operationId", .required = true, .bytes_max = IDEMPOTENCY_KEY_BYTES_MAX};
    static const struct body_text_rule KIND = {
        .name = "kind", .required = true, .bytes_max = 8, .choices = "spend,grant"};
    struct text kind;
    enum error err = body_text(item->body, &OPERATION, &item->operation_id);
    if (!err)
        err = body_text(item->body, &KIND, &kind);
    if (!err)
        err = read_order(item->body, &item->problems, &ret_item->order);
    if (err)
        return err;
    bool granting = text_equal(kind, TEXT_LITERAL("grant"));
    if (!service_key_service_allows(&call->caller,
                                    granting ? SERVICE_SCOPE_GRANT : SERVICE_SCOPE_SPEND))
        return ERROR_FORBIDDEN;
    err = read_kind(item->body, granting, &ret_item->order);
    if (err)
        return err;
    return idempotency_for_operation(request, text_from(call->caller.scope), item->operation_id,
                                     item->body, &ret_item->key);
}

static void write_item(struct json_writer *json, const struct batch_item *item,
                       const struct ledger_item *settled)
{
    enum error err = item->ready ? settled->err : item->err;
    const struct error_info *info = error_describe(err);
    json_begin_object(json);
    json_member_text(json, "operationId", item->operation_id);
    json_member_int(json, "status", err ? info->status : 201);
    if (!err)
        write_transaction_id(json, &settled->answer);
    if (!err || err == ERROR_INSUFFICIENT_TOKENS)
        json_member_int(json, "balance", settled->answer.balance);
    if (err)
        json_member_string(json, "code", info->code);
    if (err && item->problems.field[0])
        json_member_string(json, "field", item->problems.field);
    json_end_object(json);
}

static void write_batch(struct response *response, const struct batch_item *items, size_t count,
                        const struct ledger_item *flight)
{
    struct json_writer *json = response_data(response, 200);
    json_key(json, "results");
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        write_item(json, &items[i], &flight[items[i].place]);
    json_end_array(json);
    response_data_end(response);
}

static enum error run_batch(struct app *app, const struct request *request,
                            struct ledger_call *call, const struct body *body,
                            struct batch_item *items, struct ledger_item *flight, size_t count)
{
    size_t flying = 0;
    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = &items[i];
        const struct body_element element = {.array = "operations", .index = i};
        item->err = body_array_object(body, &element, &item->problems, &item->body);
        if (!item->err)
            item->err = read_item(call, request, item, &flight[flying]);
        /* Nothing was done yet: better all of it again than some without a name. */
        if (item->err == ERROR_NO_MEMORY)
            return ERROR_NO_MEMORY;
        item->ready = !item->err;
        item->place = item->ready ? flying++ : 0;
    }
    return flying > 0 ? ledger_service_post_many(app, flight, flying) : ERROR_OK;
}

static enum error batch(struct app *app, struct request *request, struct response *response)
{
    struct ledger_call call;
    struct body *body = NULL;
    struct batch_item *items = NULL;
    struct ledger_item *flight = NULL;
    size_t count = 0;
    enum error err = begin(app, request, response, SERVICE_SCOPE_SPEND, &call);
    if (!err)
        err = body_parse(request, response, &body);
    if (!err)
        err = body_array(body, "operations", &count);
    if (!err && count == 0)
        err = response_invalid(response, ERROR_INVALID_FIELD, "operations",
                               "expected 1 to 1000 operations");
    if (!err && count > BATCH_OPERATIONS_MAX)
        err = ERROR_BATCH_TOO_LARGE;
    if (err)
        goto out;
    items = calloc(count, sizeof(*items));
    flight = calloc(count, sizeof(*flight));
    err = items && flight ? run_batch(app, request, &call, body, items, flight, count)
                          : ERROR_NO_MEMORY;
    if (!err)
        write_batch(response, items, count, flight);
out:
    for (size_t i = 0; items && i < count; i++)
        body_free(items[i].body);
    free(items);
    free(flight);
    body_free(body);
    return err;
}

static enum error read_at(const struct request *request, struct response *response, int64_t *ret_at,
                          bool *ret_there)
{
    char buffer[64];
    struct text value;
    enum error err = request_query(request, "at", buffer, sizeof(buffer), &value);
    if (err || (value.data && !clock_parse_time(value, ret_at)))
        return response_invalid(response, ERROR_INVALID_PARAMETER, "at",
                                "expected a time such as 2026-01-31T10:00:00Z or a date");
    *ret_there = value.data != NULL;
    return ERROR_OK;
}

static enum error get_account(struct app *app, struct request *request, struct response *response)
{
    struct ledger_call call;
    struct account account;
    struct ledger_account balance;
    struct transaction_list list = {.count = 0};
    struct page page;
    int64_t at = INT64_MAX - 1;
    bool past = false;
    enum error err = begin(app, request, response, SERVICE_SCOPE_READ, &call);
    if (!err && !uuid_parse(request->id, &account.user_id))
        err = ERROR_USER_NOT_FOUND;
    if (!err)
        err = read_at(request, response, &at, &past);
    if (!err)
        err = page_read(request, response, &page);
    if (!err)
        err = ledger_service_account(app, &account.user_id, past ? &at : NULL, &balance);
    if (err)
        return err;
    struct transaction_filter filter = {
        .before_created_at = page.before.created_at,
        .before_id = page.before.id,
        .limit = page.limit + 1,
        .from = INT64_MIN,
        .to = at + 1, /* exclusive */
    };
    err = token_service_transactions(app, &account, &filter, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(response, 200);
    json_member_int(json, "balance", balance.balance);
    json_member_int(json, "held", balance.held);
    entry_json_page(json, "entries", &list, page.limit);
    response_data_end(response);
    transaction_list_done(&list);
    return ERROR_OK;
}

static enum error verify(struct app *app, struct request *request, struct response *response)
{
    struct ledger_call call;
    struct ledger_totals totals;
    struct ledger_mismatch_list list = {.count = 0};
    enum error err = begin(app, request, response, SERVICE_SCOPE_VERIFY, &call);
    if (!err)
        err = ledger_service_verify(app, &totals, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(response, 200);
    json_member_int(json, "accounts", totals.accounts);
    json_member_int(json, "entries", totals.entries);
    json_key(json, "mismatches");
    json_begin_array(json);
    for (size_t i = 0; i < list.count; i++) {
        const struct ledger_mismatch *mismatch = &list.items[i];
        json_begin_object(json);
        json_member_uuid(json, "userId", &mismatch->user_id);
        json_member_int(json, "balance", mismatch->balance);
        json_member_int(json, "entriesSum", mismatch->entries_sum);
        json_member_int(json, "chainBreaks", mismatch->chain_breaks);
        json_member_int(json, "held", mismatch->held);
        json_member_int(json, "holdsSum", mismatch->holds_sum);
        json_end_object(json);
    }
    json_end_array(json);
    response_data_end(response);
    ledger_mismatch_list_done(&list);
    return ERROR_OK;
}

/* Expired holds count as released already; this tidies the rows. The next round tries again. */
static void sweep(struct app *app)
{
    if (ledger_service_sweep(app))
        return;
}

int main(void)
{
    static const struct route ROUTES[] = {
        {"POST", "/api/ledger/spend", .start = spend},
        {"POST", "/api/ledger/grant", .start = grant},
        {"POST", "/api/ledger/holds", .run = create_hold},
        {"POST", "/api/ledger/holds/{id}/capture", .run = capture_hold},
        {"POST", "/api/ledger/holds/{id}/release", .run = release_hold},
        {"POST", "/api/ledger/transactions/{id}/reverse", .run = reverse},
        {"POST", "/api/ledger/batch", .run = batch, .body_max = BATCH_BODY_BYTES_MAX},
        {"GET", "/api/ledger/users/{id}", .run = get_account},
        {"GET", "/api/ledger/verify", .run = verify},
    };
    static const struct handler HANDLER = {
        .name = "ledger",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
        .background = sweep,
        .background_interval_ms = SWEEP_INTERVAL_MS,
    };
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    return handler_main(&HANDLER, &NEEDS);
}
