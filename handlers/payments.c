/* /api/payments: packages of tokens bought by the caller; refunds by the operator. */
#include "base/public_id.h"
#include "endpoint/handler.h"
#include "endpoint/idempotency.h"
#include "endpoint/payment_form.h"
#include "http/page.h"
#include "services/payment_service.h"
#include "services/refund_service.h"

enum { PACKAGE_BYTES_MAX = 50 }; /* token_packages.name */

/* ret_order borrows url. */
static enum error read_order(const struct call *call, struct web_url *url,
                             struct payment_order *ret_order)
{
    static const struct body_text_rule PACKAGE = {.name = "package", .bytes_max = BODY_BYTES_MAX};
    enum error err = body_text(call->body, &PACKAGE, &ret_order->package);
    if (!err && (ret_order->package.len == 0 || ret_order->package.len > PACKAGE_BYTES_MAX))
        err = ERROR_INVALID_PACKAGE;
    if (!err)
        err = payment_form_return_url(call, url, &ret_order->return_url);
    if (!err)
        err = payment_form_receipt_email(call, &ret_order->receipt_email);
    return err;
}

static enum error create(struct call *call)
{
    struct payment_order order;
    struct web_url url;
    struct payment_answer answer;
    enum error err = read_order(call, &url, &order);
    if (err)
        return err;
    order.key = &call->key;
    err = payment_service_create(call->app, &call->account, &order, &answer);
    if (err)
        return payment_form_failure(call->response, err);
    payment_form_answer(call->response, &answer, NULL);
    return ERROR_OK;
}

static void write_optional(struct json_writer *json, const char *name, bool there, int64_t value)
{
    if (there)
        json_member_int(json, name, value);
    else
        json_member_null(json, name);
}

static void write_payment(struct json_writer *json, const struct payment *payment)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&payment->user_id, &payment->id, id);
    json_begin_object(json);
    json_member_string(json, "id", id);
    json_member_text(json, "purpose", payment->purpose);
    json_member_text(json, "status", payment->status);
    json_member_text(json, "amount", payment->amount);
    json_member_text(json, "currency", payment->currency);
    json_member_text(json, "package", payment->token_package);
    write_optional(json, "tokens", payment->has_tokens_amount, payment->tokens_amount);
    json_member_text(json, "plan", payment->plan);
    json_member_text(json, "refundedAmount", payment->refunded_amount);
    json_member_text(json, "confirmationUrl", payment->confirmation_url);
    json_member_text(json, "cancellationReason", payment->cancellation_reason);
    json_member_time(json, "createdAt", payment->created_at);
    json_end_object(json);
}

static enum error get_payment(struct call *call)
{
    struct payment_list list = {.count = 0};
    /* Among the caller's own: a payment of a device that was linked is the account's now. */
    enum error err = payment_service_get(call->app, &call->account, &call->id, &list);
    if (err)
        return err;
    struct json_writer *json = response_data(call->response, 200);
    json_key(json, "payment");
    write_payment(json, &list.items[0]);
    response_data_end(call->response);
    payment_list_done(&list);
    return ERROR_OK;
}

static enum error list_payments(struct call *call)
{
    struct response *response = call->response;
    struct page page;
    struct payment_list list = {.count = 0};
    enum error err = page_read(call->request, response, &page);
    if (!err) {
        const struct row_page wanted = {page.before.created_at, page.before.id, page.limit + 1};
        err = payment_service_list(call->app, &call->account, &wanted, &list);
    }
    if (err)
        return err;
    bool more = list.count == (size_t)page.limit + 1;
    size_t count = more ? list.count - 1 : list.count;
    struct json_writer *json = response_data(response, 200);
    json_key(json, "payments");
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        write_payment(json, &list.items[i]);
    json_end_array(json);
    struct page_position last = {.total = -1};
    if (more) {
        last.created_at = list.items[count - 1].created_at;
        last.id = list.items[count - 1].id;
    }
    page_write_cursor(json, &page, more ? &last : NULL);
    response_data_end(response);
    payment_list_done(&list);
    return ERROR_OK;
}

/* --- refunds --- */

static void write_refund(struct response *response, const struct refund_answer *refund)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&refund->user_id, &refund->id, id);
    idempotency_replayed(response, refund->replayed);
    struct json_writer *json = response_data(response, 201);
    json_member_string(json, "refundId", id);
    json_member_string(json, "status", refund->status);
    json_member_string(json, "amount", refund->amount);
    json_member_string(json, "currency", refund->currency);
    json_member_int(json, "tokensTaken", refund->tokens_taken);
    json_member_int(json, "tokensOwed", refund->tokens_owed);
    response_data_end(response);
}

static enum error refund_failure(struct response *response, enum error err)
{
    if (err == ERROR_INVALID_PARAMETER)
        return response_invalid(response, ERROR_INVALID_FIELD, "amount",
                                "expected an amount above zero such as \"99.00\"");
    return payment_form_failure(response, err);
}

static enum error refund(struct call *call)
{
    static const struct body_text_rule AMOUNT = {.name = "amount", .bytes_max = 15};
    struct refund_order order = {.payment = {call->user_id, call->id}, .key = &call->key};
    struct refund_answer answer;
    enum error err = body_text(call->body, &AMOUNT, &order.amount);
    if (!err)
        err = payment_form_receipt_email(call, &order.receipt_email);
    if (err)
        return err;
    err = refund_service_create(call->app, &order, &answer);
    if (err)
        return refund_failure(call->response, err);
    write_refund(call->response, &answer);
    return ERROR_OK;
}

int main(int argc, char **argv)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/payments", .access = ACCESS_PERSON, .run = list_payments},
        {"POST", "/api/payments/create", .access = ACCESS_PERSON, .payments = true,
         .idempotent = true, .body = true, .run = create},
        {"GET", "/api/payments/{id}", .access = ACCESS_PERSON, .id = ROUTE_ID_PUBLIC,
         .run = get_payment},
        {"POST", "/api/payments/{id}/refund", .access = ACCESS_SERVICE_REFUND, .payments = true,
         .idempotent = true, .id = ROUTE_ID_PUBLIC, .body = true, .run = refund},
    };
    static const struct handler HANDLER = {
        .name = "payments",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    return handler_main(&HANDLER, argc, argv);
}
