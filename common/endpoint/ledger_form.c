#include "endpoint/ledger_form.h"

#include "base/limits.h"
#include "base/public_id.h"

enum error ledger_form_order(const struct body *body, struct response *response,
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

enum error ledger_form_kind(const struct body *body, bool grant, struct ledger_order *order)
{
    static const struct body_text_rule TYPE = {
        .name = "type", .required = true, .bytes_max = 16, .choices = "purchase,bonus,refund"};
    if (grant)
        return body_text(body, &TYPE, &order->type);
    order->type = TEXT_LITERAL("generation");
    order->amount = -order->amount;
    return ERROR_OK;
}

void ledger_form_transaction_id(struct json_writer *json, const struct ledger_answer *answer)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&answer->user_id, &answer->entry_id, id);
    json_member_string(json, "transactionId", id);
}
