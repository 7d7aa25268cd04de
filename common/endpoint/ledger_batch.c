#include "endpoint/ledger_batch.h"

#include <stdlib.h>

#include "base/limits.h"
#include "endpoint/idempotency.h"
#include "endpoint/ledger_form.h"
#include "services/ledger_service.h"

/* One operation of a batch. What is wrong with it is its own result. */
struct batch_item {
    struct text operation_id; /* absent when it could not be read */
    struct response problems; /* where its field errors are described */
    struct body *body;        /* owned; the texts of the order are borrowed from it */
    bool ready;               /* read without an error, and in the flight */
    enum error err;
    size_t place; /* in the flight */
};

/* All of them, with what is sent to the database of those that could be read. */
struct batch {
    struct batch_item *items;
    struct ledger_item *flight;
    size_t count;
};

static enum error read_item(const struct call *call, struct batch_item *item,
                            struct ledger_item *ret_item)
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
        err = ledger_form_order(item->body, &item->problems, &ret_item->order);
    if (err)
        return err;
    bool granting = text_equal(kind, TEXT_LITERAL("grant"));
    if (!service_key_service_allows(&call->service,
                                    granting ? SERVICE_SCOPE_GRANT : SERVICE_SCOPE_SPEND))
        return ERROR_FORBIDDEN;
    err = ledger_form_kind(item->body, granting, &ret_item->order);
    if (err)
        return err;
    return idempotency_for_operation(call, item->operation_id, item->body, &ret_item->key);
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
        ledger_form_transaction_id(json, &settled->answer);
    if (!err || err == ERROR_INSUFFICIENT_TOKENS)
        json_member_int(json, "balance", settled->answer.balance);
    if (err)
        json_member_string(json, "code", info->code);
    if (err && item->problems.field[0])
        json_member_string(json, "field", item->problems.field);
    json_end_object(json);
}

static void write_batch(struct response *response, const struct batch *batch)
{
    struct json_writer *json = response_data(response, 200);
    json_key(json, "results");
    json_begin_array(json);
    for (size_t i = 0; i < batch->count; i++)
        write_item(json, &batch->items[i], &batch->flight[batch->items[i].place]);
    json_end_array(json);
    response_data_end(response);
}

static enum error run_batch(const struct call *call, struct batch *batch)
{
    size_t flying = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct batch_item *item = &batch->items[i];
        const struct body_element element = {.array = "operations", .index = i};
        item->err = body_array_object(call->body, &element, &item->problems, &item->body);
        if (!item->err)
            item->err = read_item(call, item, &batch->flight[flying]);
        /* Nothing was done yet: better all of it again than some without a name. */
        if (item->err == ERROR_NO_MEMORY)
            return ERROR_NO_MEMORY;
        item->ready = !item->err;
        item->place = item->ready ? flying++ : 0;
    }
    return flying > 0 ? ledger_service_post_many(call->app, batch->flight, flying) : ERROR_OK;
}

enum error ledger_batch_post(struct call *call)
{
    struct batch batch = {.count = 0};
    enum error err = body_array(call->body, "operations", &batch.count);
    if (!err && batch.count == 0)
        err = response_invalid(call->response, ERROR_INVALID_FIELD, "operations",
                               "expected 1 to 1000 operations");
    if (!err && batch.count > BATCH_OPERATIONS_MAX)
        err = ERROR_BATCH_TOO_LARGE;
    if (err)
        return err;
    batch.items = calloc(batch.count, sizeof(*batch.items));
    batch.flight = calloc(batch.count, sizeof(*batch.flight));
    err = batch.items && batch.flight ? run_batch(call, &batch) : ERROR_NO_MEMORY;
    if (!err)
        write_batch(call->response, &batch);
    for (size_t i = 0; batch.items && i < batch.count; i++)
        body_free(batch.items[i].body);
    free(batch.items);
    free(batch.flight);
    return err;
}
