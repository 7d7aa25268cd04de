#include <assert.h>

#include "base/buffer.h"
#include "base/json_writer.h"
#include "outbound/yookassa.h"

enum { DESCRIPTION_CHARACTERS = 128 }; /* of a payment and of a receipt's line */

/* At most 128 characters; text: UTF-8. */
static struct text cut(struct text text)
{
    size_t characters = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool begins = (text.data[i] & 0xC0) != 0x80;
        if (begins && ++characters > DESCRIPTION_CHARACTERS)
            return (struct text){text.data, i};
    }
    return text;
}

static void write_amount(struct json_writer *json, const struct money *amount)
{
    char value[MONEY_TEXT_SIZE];
    money_format(amount, value);
    json_key(json, "amount");
    json_begin_object(json);
    json_member_string(json, "value", value);
    json_member_string(json, "currency", amount->currency);
    json_end_object(json);
}

struct receipt {
    const struct money *amount;
    struct text description, email;
    int vat_code;
};

/* One line, a service that is paid for and given at the same time (54-FZ). */
static void write_receipt(struct json_writer *json, const struct receipt *receipt)
{
    if (!receipt->email.data)
        return;
    json_key(json, "receipt");
    json_begin_object(json);
    json_key(json, "customer");
    json_begin_object(json);
    json_member_text(json, "email", receipt->email);
    json_end_object(json);
    json_key(json, "items");
    json_begin_array(json);
    json_begin_object(json);
    json_member_text(json, "description", cut(receipt->description));
    json_member_int(json, "quantity", 1);
    write_amount(json, receipt->amount);
    json_member_int(json, "vat_code", receipt->vat_code);
    json_member_string(json, "payment_mode", "full_payment");
    json_member_string(json, "payment_subject", "service");
    json_end_object(json);
    json_end_array(json);
    json_end_object(json);
}

enum error yookassa_payment_body(const struct yookassa_order *order, struct buffer *ret_body)
{
    struct json_writer json;
    assert(order->amount.minor > 0 && order->description.len > 0);
    json_writer_init(&json, ret_body);
    json_begin_object(&json);
    write_amount(&json, &order->amount);
    json_member_boolean(&json, "capture", true);
    json_member_text(&json, "description", cut(order->description));
    if (order->return_url.data) {
        json_key(&json, "confirmation");
        json_begin_object(&json);
        json_member_string(&json, "type", "redirect");
        json_member_text(&json, "return_url", order->return_url);
        json_end_object(&json);
    }
    if (order->save_payment_method)
        json_member_boolean(&json, "save_payment_method", true);
    if (order->payment_method_id.data)
        json_member_text(&json, "payment_method_id", order->payment_method_id);
    write_receipt(&json, &(struct receipt){&order->amount, order->description, order->receipt_email,
                                           order->vat_code});
    json_key(&json, "metadata");
    json_begin_object(&json);
    json_member_uuid(&json, "user_id", &order->user_id);
    json_member_uuid(&json, "payment_id", &order->payment_id);
    json_end_object(&json);
    json_end_object(&json);
    return buffer_error(ret_body);
}

enum error yookassa_refund_body(const struct yookassa_refund_order *order, struct buffer *ret_body)
{
    struct json_writer json;
    assert(order->amount.minor > 0);
    json_writer_init(&json, ret_body);
    json_begin_object(&json);
    json_member_text(&json, "payment_id", order->provider_payment_id);
    write_amount(&json, &order->amount);
    write_receipt(&json, &(struct receipt){&order->amount, order->description, order->receipt_email,
                                           order->vat_code});
    json_key(&json, "metadata");
    json_begin_object(&json);
    json_member_uuid(&json, "refund_id", &order->refund_id);
    json_end_object(&json);
    json_end_object(&json);
    return buffer_error(ret_body);
}
