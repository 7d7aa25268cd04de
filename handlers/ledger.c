/* /api/ledger: movements of tokens for other back-end services, which carry a service key. */
#include <stdlib.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "base/public_id.h"
#include "endpoint/entry_json.h"
#include "endpoint/handler.h"
#include "endpoint/hold_json.h"
#include "endpoint/idempotency.h"
#include "endpoint/ledger_batch.h"
#include "endpoint/ledger_form.h"
#include "http/page.h"
#include "observe/log.h"
#include "services/hold_service.h"
#include "services/ledger_service.h"
#include "services/payment_service.h"
#include "services/user_service.h"
#include "services/token_service.h"

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
    ledger_form_transaction_id(json, answer);
    json_member_int(json, "balance", answer->balance);
    response_data_end(response);
    return ERROR_OK;
}

/* A spend or a grant that no thread waits for. */
struct posting {
    struct task task; /* first: what is left to do, when that may wait */
    struct call *call;
    struct ledger_order order; /* texts borrowed from the call's body */
    struct ledger_post post;
};

static void end_posting(struct posting *posting, enum error err)
{
    struct call *call = posting->call;
    free(posting);
    call_answer(call, err);
}

static void finish_posting(struct task *task)
{
    struct posting *posting = (struct posting *)task;
    struct call *call = posting->call;
    struct ledger_answer answer;
    log_set_request_id(call->request->request_id);
    enum error err = ledger_service_post_finish(&posting->post, &answer);
    end_posting(posting, answer_movement(call->response, 201, err, &answer));
}

static void posted(void *context)
{
    struct posting *posting = context;
    if (!ledger_service_post_waits(&posting->post) || !blocking_run(&posting->task))
        finish_posting(&posting->task);
}

static void post(struct call *call, bool grant)
{
    struct posting *posting = malloc(sizeof(*posting));
    if (!posting) {
        call_answer(call, ERROR_NO_MEMORY);
        return;
    }
    *posting = (struct posting){
        .task.run = finish_posting, .call = call, .post = {.done = posted, .context = posting}};
    enum error err = ledger_form_order(call->body, call->response, &posting->order);
    if (!err)
        err = ledger_form_kind(call->body, grant, &posting->order);
    if (!err)
        err = ledger_service_post_start(call->app, &posting->order, &call->key, &posting->post);
    if (err)
        end_posting(posting, err);
}

static void spend(struct call *call)
{
    post(call, false);
}

static void grant(struct call *call)
{
    post(call, true);
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

static enum error create_hold(struct call *call)
{
    static const struct body_int_rule TTL = {
        .name = "ttlSeconds", .required = true, .least = 1, .most = HOLD_SECONDS_MAX};
    struct ledger_hold_order order = {.ttl_seconds = 0};
    struct ledger_hold hold = {.balance = 0};
    int64_t ttl = 0;
    enum error err = ledger_form_order(call->body, call->response, &order.order);
    if (!err)
        err = body_int(call->body, &TTL, &ttl, NULL);
    order.ttl_seconds = (int32_t)ttl;
    if (!err)
        err = ledger_service_hold(call->app, &order, &call->key, &hold);
    if (err == ERROR_INSUFFICIENT_TOKENS) {
        call->response->has_balance = true;
        call->response->balance = hold.balance;
    }
    if (!err)
        write_hold(call->response, &hold);
    return err;
}

static struct row_key key_of_path(const struct call *call)
{
    return (struct row_key){.user_id = call->user_id, .id = call->id};
}

static enum error capture_hold(struct call *call)
{
    static const struct body_int_rule AMOUNT = {.name = "amount", .least = 1, .most = INT32_MAX};
    struct ledger_answer answer;
    int64_t amount = 0;
    bool there = false;
    enum error err = body_int(call->body, &AMOUNT, &amount, &there);
    if (err)
        return err;
    int32_t part = (int32_t)amount;
    const struct ledger_capture capture = {.hold = key_of_path(call),
                                           .amount = there ? &part : NULL};
    err = ledger_service_capture(call->app, &capture, &call->key, &answer);
    if (err == ERROR_INVALID_FIELD)
        return response_invalid(call->response, err, "amount", "expected at most the hold");
    return answer_movement(call->response, 200, err, &answer);
}

static enum error release_hold(struct call *call)
{
    struct ledger_answer answer;
    const struct row_key hold = key_of_path(call);
    enum error err = ledger_service_release(call->app, &hold, &answer);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_member_int(json, "balance", answer.balance);
    response_data_end(call->response);
    return ERROR_OK;
}

static enum error get_hold(struct call *call)
{
    struct hold_list list = {.count = 0};
    enum error err = hold_service_get(call->app, &call->user_id, &call->id, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_key(json, "hold");
    hold_json(json, &list.items[0]);
    response_data_end(call->response);
    hold_list_done(&list);
    return ERROR_OK;
}

enum { STATUS_SIZE = 16 };

/* ret_status borrows buffer; absent without the parameter. */
static enum error read_status(const struct call *call, char buffer[static STATUS_SIZE],
                              struct text *ret_status)
{
    const struct query_field field = {"status", buffer, STATUS_SIZE};
    enum error err = request_query(call->request, &field, ret_status);
    if (!err && (!ret_status->data || text_equal(*ret_status, TEXT_LITERAL("pending")) ||
                 text_equal(*ret_status, TEXT_LITERAL("captured")) ||
                 text_equal(*ret_status, TEXT_LITERAL("released")) ||
                 text_equal(*ret_status, TEXT_LITERAL("expired"))))
        return ERROR_OK;
    return response_invalid(call->response, ERROR_INVALID_PARAMETER, "status",
                            "expected pending, captured, released or expired");
}

static enum error list_holds(struct call *call)
{
    char status[STATUS_SIZE];
    struct page page;
    struct hold_list list = {.count = 0};
    struct hold_filter filter;
    enum error err = page_read(call->request, call->response, &page);
    if (!err)
        err = read_status(call, status, &filter.status);
    if (err)
        return err;
    filter.page = (struct row_page){page.before.created_at, page.before.id, page.limit + 1};
    err = hold_service_list(call->app, &call->user_id, &filter, &list);
    if (err)
        return err;
    hold_json_page(response_data(call->response, 200), &list, &page);
    response_data_end(call->response);
    hold_list_done(&list);
    return ERROR_OK;
}

static enum error reverse(struct call *call)
{
    struct ledger_answer answer = {.balance = 0};
    const struct row_key entry = key_of_path(call);
    enum error err = ledger_service_reverse(call->app, &entry, &call->key, &answer);
    return answer_movement(call->response, 201, err, &answer);
}

static enum error read_at(const struct call *call, int64_t *ret_at, bool *ret_there)
{
    char buffer[64];
    struct text value;
    enum error err =
        request_query(call->request, &(struct query_field){"at", buffer, sizeof(buffer)}, &value);
    if (err || (value.data && !clock_parse_time(value, ret_at)))
        return response_invalid(call->response, ERROR_INVALID_PARAMETER, "at",
                                "expected a time such as 2026-01-31T10:00:00Z or a date");
    *ret_there = value.data != NULL;
    return ERROR_OK;
}

static enum error get_account(struct call *call)
{
    struct account account = {.user_id = call->user_id};
    struct ledger_account balance;
    struct transaction_list list = {.count = 0};
    struct page page;
    int64_t at = INT64_MAX - 1;
    bool past = false;
    enum error err = read_at(call, &at, &past);
    if (!err)
        err = page_read(call->request, call->response, &page);
    if (!err)
        err = ledger_service_account(call->app, &call->user_id, past ? &at : NULL, &balance);
    if (err)
        return err;
    struct transaction_filter filter = {
        .before_created_at = page.before.created_at,
        .before_id = page.before.id,
        .limit = page.limit + 1,
        .from = INT64_MIN,
        .to = at + 1, /* exclusive */
    };
    err = token_service_transactions(call->app, &account, &filter, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_member_int(json, "balance", balance.balance);
    json_member_int(json, "held", balance.held);
    entry_json_page(json, "entries", &list, &page);
    response_data_end(call->response);
    transaction_list_done(&list);
    return ERROR_OK;
}

static void write_payment_mismatches(struct json_writer *json,
                                     const struct payment_mismatch_list *list)
{
    char id[PUBLIC_ID_SIZE];
    json_key(json, "payments");
    json_begin_array(json);
    for (size_t i = 0; i < list->count; i++) {
        const struct payment_mismatch *mismatch = &list->items[i];
        public_id_format(&mismatch->user_id, &mismatch->id, id);
        json_begin_object(json);
        json_member_string(json, "id", id);
        json_member_int(json, "expected", mismatch->expected);
        json_member_int(json, "found", mismatch->found);
        json_member_int(json, "entries", mismatch->entries);
        json_end_object(json);
    }
    json_end_array(json);
}

static enum error verify(struct call *call)
{
    struct ledger_totals totals;
    struct ledger_mismatch_list list = {.count = 0};
    struct payment_mismatch_list payments = {.count = 0};
    enum error err = ledger_service_verify(call->app, &totals, &list);
    if (!err)
        err = payment_service_verify(call->app, &payments);
    if (err) {
        ledger_mismatch_list_done(&list);
        return err;
    }
    struct json_writer *json = response_data(call->response, 200);
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
    write_payment_mismatches(json, &payments);
    response_data_end(call->response);
    ledger_mismatch_list_done(&list);
    payment_mismatch_list_done(&payments);
    return ERROR_OK;
}

/* What it removes counts no more already; this tidies the rows. The next round tries again. */
static void sweep(struct app *app)
{
    if (ledger_service_sweep(app) || user_service_sweep(app))
        return;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"POST", "/api/ledger/spend", .access = ACCESS_SERVICE_SPEND, .idempotent = true,
         .body = true, .start = spend},
        {"POST", "/api/ledger/grant", .access = ACCESS_SERVICE_GRANT, .idempotent = true,
         .body = true, .start = grant},
        {"POST", "/api/ledger/holds", .access = ACCESS_SERVICE_HOLD, .idempotent = true,
         .body = true, .run = create_hold},
        {"GET", "/api/ledger/holds/{id}", .access = ACCESS_SERVICE_READ, .id = ROUTE_ID_PUBLIC,
         .run = get_hold},
        {"POST", "/api/ledger/holds/{id}/capture", .access = ACCESS_SERVICE_HOLD,
         .idempotent = true, .id = ROUTE_ID_PUBLIC, .body = true, .run = capture_hold},
        {"POST", "/api/ledger/holds/{id}/release", .access = ACCESS_SERVICE_HOLD,
         .idempotent = true, .id = ROUTE_ID_PUBLIC, .run = release_hold},
        {"POST", "/api/ledger/transactions/{id}/reverse", .access = ACCESS_SERVICE_REVERSE,
         .idempotent = true, .id = ROUTE_ID_PUBLIC, .run = reverse},
        {"POST", "/api/ledger/batch", .access = ACCESS_SERVICE_SPEND, .idempotent = true,
         .body = true, .body_max = BATCH_BODY_BYTES_MAX, .run = ledger_batch_post},
        {"GET", "/api/ledger/users/{id}", .access = ACCESS_SERVICE_READ, .id = ROUTE_ID_USER,
         .run = get_account},
        {"GET", "/api/ledger/users/{id}/holds", .access = ACCESS_SERVICE_READ, .id = ROUTE_ID_USER,
         .run = list_holds},
        {"GET", "/api/ledger/verify", .access = ACCESS_SERVICE_VERIFY, .run = verify},
    };
    static const struct handler HANDLER = {
        .name = "ledger",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
        .background = sweep,
        .background_interval_ms = SWEEP_INTERVAL_MS,
    };
    return handler_main(&HANDLER, argc, argv);
}
