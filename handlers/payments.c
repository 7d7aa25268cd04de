/* /api/payments: packages of tokens bought by the caller; refunds by the operator. */
#include "base/public_id.h"
#include "http/body.h"
#include "http/page.h"
#include "endpoint/caller.h"
#include "process/handler_main.h"
#include "endpoint/idempotency.h"
#include "endpoint/payment_form.h"
#include "services/payment_service.h"
#include "services/refund_service.h"
#include "services/service_key_service.h"

enum { PACKAGE_BYTES_MAX = 50 }; /* token_packages.name */

static enum error read_order(const struct app *app, const struct body *body,
                             struct response *response, struct payment_order *ret_order)
{
    static const struct body_text_rule PACKAGE = {.name = "package", .bytes_max = BODY_BYTES_MAX};
    enum error err = body_text(body, &PACKAGE, &ret_order->package);
    if (!err && (ret_order->package.len == 0 || ret_order->package.len > PACKAGE_BYTES_MAX))
        err = ERROR_INVALID_PACKAGE;
    if (!err)
        err = payment_form_return_url(app, body, response, &ret_order->return_url);
    if (!err)
        err = payment_form_receipt_email(body, response, &ret_order->receipt_email);
    return err;
}

static enum error create(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct operation_key key;
    struct payment_order order;
    struct payment_answer answer;
    struct body *body = NULL;
    enum error err = caller_resolve(app, request, &account);
    if (!err && !app->yookassa)
        err = ERROR_PAYMENTS_NOT_CONFIGURED;
    if (!err)
        err = idempotency_read(request, response, TEXT_LITERAL("user"), &key);
    if (!err)
        err = body_parse(request, response, &body);
    if (!err)
        err = read_order(app, body, response, &order);
    if (!err) {
        order.key = &key;
        err = payment_service_create(app, &account, &order, &answer);
        err = payment_form_failure(response, err);
    }
    if (!err)
        payment_form_answer(response, &answer);
    body_free(body);
    return err;
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

static enum error get_payment(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct uuid user_id;
    struct uuid id;
    struct payment_list list = {.count = 0};
    enum error err = caller_resolve(app, request, &account);
    if (!err && !public_id_parse(request->id, &user_id, &id))
        err = ERROR_NOT_FOUND;
    /* Among the caller's own: a payment of a device that was linked is the account's now. */
    if (!err)
        err = payment_service_get(app, &account, &id, &list);
    if (err)
        return err;
    response_header(response, "Cache-Control", "no-store");
    struct json_writer *json = response_data(response, 200);
    json_key(json, "payment");
    write_payment(json, &list.items[0]);
    response_data_end(response);
    payment_list_done(&list);
    return ERROR_OK;
}

static enum error list_payments(struct app *app, struct request *request, struct response *response)
{
    struct account account;
    struct page page;
    struct payment_list list = {.count = 0};
    enum error err = caller_resolve(app, request, &account);
    if (!err)
        err = page_read(request, response, &page);
    if (!err) {
        const struct row_page wanted = {page.before.created_at, page.before.id, page.limit + 1};
        err = payment_service_list(app, &account, &wanted, &list);
    }
    if (err)
        return err;
    bool more = list.count == (size_t)page.limit + 1;
    size_t count = more ? list.count - 1 : list.count;
    response_header(response, "Cache-Control", "no-store");
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
    page_write_cursor(json, more ? &last : NULL);
    response_data_end(response);
    payment_list_done(&list);
    return ERROR_OK;
}

/* --- refunds --- */

static enum error read_operator(struct app *app, const struct request *request,
                                struct service_caller *ret_caller)
{
    struct text key;
    enum error err = request_service_key(request, &key);
    if (!err)
        err = service_key_service_identify(app, key, ret_caller);
    if (!err && !service_key_service_allows(ret_caller, SERVICE_SCOPE_REFUND))
        err = ERROR_FORBIDDEN;
    return err;
}

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

static enum error refund(struct app *app, struct request *request, struct response *response)
{
    static const struct body_text_rule AMOUNT = {.name = "amount", .bytes_max = 15};
    struct service_caller caller;
    struct operation_key key;
    struct refund_order order = {.amount = {NULL, 0}};
    struct refund_answer answer;
    struct body *body = NULL;
    enum error err = read_operator(app, request, &caller);
    if (!err && !app->yookassa)
        err = ERROR_PAYMENTS_NOT_CONFIGURED;
    if (!err)
        err = idempotency_read(request, response, text_from(caller.scope), &key);
    if (!err && !public_id_parse(request->id, &order.payment.user_id, &order.payment.id))
        err = ERROR_NOT_FOUND;
    if (!err)
        err = body_parse(request, response, &body);
    if (!err)
        err = body_text(body, &AMOUNT, &order.amount);
    if (!err)
        err = payment_form_receipt_email(body, response, &order.receipt_email);
    if (!err) {
        order.key = &key;
        err = refund_service_create(app, &order, &answer);
        err = refund_failure(response, err);
    }
    if (!err)
        write_refund(response, &answer);
    body_free(body);
    return err;
}

int main(void)
{
    static const struct route ROUTES[] = {
        {"GET", "/api/payments", .run = list_payments},
        {"POST", "/api/payments/create", .run = create},
        {"GET", "/api/payments/{id}", .run = get_payment},
        {"POST", "/api/payments/{id}/refund", .run = refund},
    };
    static const struct handler HANDLER = {
        .name = "payments",
        .routes = ROUTES,
        .route_count = sizeof(ROUTES) / sizeof(ROUTES[0]),
    };
    static const struct app_needs NEEDS = {.database = true, .cache = APP_CACHE_REQUIRED};
    return handler_main(&HANDLER, &NEEDS);
}
