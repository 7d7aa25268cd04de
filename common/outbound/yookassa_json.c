#include "outbound/yookassa_json.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json_parse.h"
#include "base/limits.h"
#include "outbound/http_client.h"

static const char *const STATUS_WORDS[] = {
    [YOOKASSA_PENDING] = "pending",
    [YOOKASSA_WAITING_FOR_CAPTURE] = "waiting_for_capture",
    [YOOKASSA_SUCCEEDED] = "succeeded",
    [YOOKASSA_CANCELED] = "canceled",
};
enum { STATUSES = sizeof(STATUS_WORDS) / sizeof(STATUS_WORDS[0]) };

const char *yookassa_status_word(enum yookassa_status status)
{
    return STATUS_WORDS[status];
}

bool yookassa_json_is_id(struct text text)
{
    if (text.len == 0 || text.len > PROVIDER_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            c != '-' && c != '_')
            return false;
    }
    return true;
}

/* ---- members; null counts as missing ---- */

static struct json_object *member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    if (object)
        json_object_object_get_ex(object, name, &value);
    return value;
}

/* A member that is an object, or NULL without it. Returns false when it is something else. */
static bool read_object(struct json_object *object, const char *name,
                        struct json_object **ret_object)
{
    struct json_object *value = member(object, name);
    if (value && !json_object_is_type(value, json_type_object))
        return false;
    *ret_object = value;
    return true;
}

/* The absent text without the member. A NUL would end the text early in the database. */
static bool read_text(struct json_object *object, const char *name, size_t bytes_max,
                      struct text *ret_text)
{
    struct json_object *value = member(object, name);
    if (!value) {
        *ret_text = (struct text){NULL, 0};
        return true;
    }
    struct text text = json_parse_string(object, name);
    if (!text.data || text.len > bytes_max || memchr(text.data, '\0', text.len))
        return false;
    *ret_text = text;
    return true;
}

/* The absent text without the member. */
static bool read_id(struct json_object *object, const char *name, struct text *ret_id)
{
    return read_text(object, name, PROVIDER_ID_BYTES_MAX, ret_id) &&
           (!ret_id->data || yookassa_json_is_id(*ret_id));
}

static bool read_required_id(struct json_object *object, const char *name, struct text *ret_id)
{
    return read_id(object, name, ret_id) && ret_id->data;
}

/* ret_flag is untouched without the member. */
static bool read_flag(struct json_object *object, const char *name, bool *ret_flag)
{
    struct json_object *value = member(object, name);
    if (value && !json_object_is_type(value, json_type_boolean))
        return false;
    if (value)
        *ret_flag = json_object_get_boolean(value);
    return true;
}

static bool read_required_flag(struct json_object *object, const char *name, bool *ret_flag)
{
    return member(object, name) && read_flag(object, name, ret_flag);
}

/* ret_money is untouched without the member. */
static bool read_money(struct json_object *object, const char *name, struct money *ret_money)
{
    struct json_object *value;
    if (!read_object(object, name, &value))
        return false;
    return !value || money_parse(json_parse_string(value, "value"),
                                 json_parse_string(value, "currency"), ret_money);
}

static bool read_time(struct json_object *object, const char *name, int64_t *ret_unix_us)
{
    return clock_parse_time(json_parse_string(object, name), ret_unix_us);
}

static bool read_status(struct json_object *object, enum yookassa_status *ret_status)
{
    struct text word = json_parse_string(object, "status");
    for (int i = 0; i < STATUSES; i++) {
        if (text_equal(word, text_from(STATUS_WORDS[i]))) {
            *ret_status = (enum yookassa_status)i;
            return true;
        }
    }
    return false;
}

/* What somebody else wrote there counts as nothing: only what we wrote is looked for. */
static struct text read_metadata(struct json_object *object, const char *name)
{
    struct json_object *metadata;
    struct text text;
    if (!read_object(object, "metadata", &metadata) ||
        !read_text(metadata, name, UUID_TEXT_SIZE - 1, &text))
        return (struct text){NULL, 0};
    return text;
}

/* ---- objects ---- */

static bool read_confirmation(struct json_object *object, struct yookassa_payment *payment)
{
    struct json_object *confirmation;
    if (!read_object(object, "confirmation", &confirmation) ||
        !read_text(confirmation, "confirmation_url", URL_BYTES_MAX, &payment->confirmation_url))
        return false;
    /* A text of json-c ends with a NUL. People are sent there. */
    return !payment->confirmation_url.data ||
           http_client_url_allowed(payment->confirmation_url.data);
}

static bool read_method(struct json_object *object, struct yookassa_payment *payment)
{
    struct json_object *method;
    return read_object(object, "payment_method", &method) &&
           read_id(method, "id", &payment->payment_method_id) &&
           read_flag(method, "saved", &payment->payment_method_saved);
}

static bool read_cancellation(struct json_object *object, struct yookassa_payment *payment)
{
    struct json_object *details;
    return read_object(object, "cancellation_details", &details) &&
           read_text(details, "party", PROVIDER_WORD_BYTES_MAX, &payment->cancellation_party) &&
           read_text(details, "reason", PROVIDER_WORD_BYTES_MAX, &payment->cancellation_reason);
}

static bool read_payment(struct json_object *object, struct yookassa_payment *ret_payment)
{
    struct yookassa_payment payment = {.paid = false};
    struct json_object *recipient;
    if (!read_required_id(object, "id", &payment.id) || !read_status(object, &payment.status) ||
        !member(object, "amount") || !read_money(object, "amount", &payment.amount) ||
        !read_time(object, "created_at", &payment.created_at) ||
        !read_required_flag(object, "paid", &payment.paid) ||
        !read_required_flag(object, "test", &payment.test) ||
        !read_flag(object, "refundable", &payment.refundable))
        return false;
    payment.refunded = payment.amount;
    payment.refunded.minor = 0;
    if (!read_money(object, "refunded_amount", &payment.refunded) ||
        strcmp(payment.refunded.currency, payment.amount.currency) != 0 ||
        payment.refunded.minor > payment.amount.minor)
        return false;
    /* Tokens follow the status, so it must not contradict whether anybody paid. */
    if (payment.status == YOOKASSA_SUCCEEDED && !payment.paid)
        return false;
    if (!read_object(object, "recipient", &recipient) ||
        !read_id(recipient, "account_id", &payment.shop_id) ||
        !read_confirmation(object, &payment) || !read_method(object, &payment) ||
        !read_cancellation(object, &payment))
        return false;
    payment.metadata_user_id = read_metadata(object, "user_id");
    payment.metadata_payment_id = read_metadata(object, "payment_id");
    *ret_payment = payment;
    return true;
}

static bool read_refund(struct json_object *object, struct yookassa_refund *ret_refund)
{
    struct yookassa_refund refund;
    if (!read_required_id(object, "id", &refund.id) ||
        !read_required_id(object, "payment_id", &refund.payment_id) ||
        !read_status(object, &refund.status) || refund.status == YOOKASSA_WAITING_FOR_CAPTURE ||
        !member(object, "amount") || !read_money(object, "amount", &refund.amount) ||
        !read_time(object, "created_at", &refund.created_at))
        return false;
    refund.metadata_refund_id = read_metadata(object, "refund_id");
    *ret_refund = refund;
    return true;
}

/* One object; an answer's array has room for it. */
static bool add(struct json_object *object, struct yookassa_answer *answer)
{
    if (!json_object_is_type(object, json_type_object))
        return false;
    bool understood = answer->payments ? read_payment(object, &answer->payments[answer->count])
                                       : read_refund(object, &answer->refunds[answer->count]);
    answer->count += understood;
    return understood;
}

static enum error make_room(bool payments, size_t count, struct yookassa_answer *answer)
{
    size_t room = count > 0 ? count : 1;
    if (payments)
        answer->payments = calloc(room, sizeof(*answer->payments));
    else
        answer->refunds = calloc(room, sizeof(*answer->refunds));
    return answer->payments || answer->refunds ? ERROR_OK : ERROR_NO_MEMORY;
}

static enum error read_list(struct json_object *root, bool payments, struct yookassa_answer *answer)
{
    struct json_object *items = member(root, "items");
    if (!text_equal(json_parse_string(root, "type"), TEXT_LITERAL("list")) ||
        !json_object_is_type(items, json_type_array) ||
        !read_text(root, "next_cursor", PROVIDER_CURSOR_BYTES_MAX, &answer->next_cursor))
        return ERROR_MALFORMED_JSON;
    size_t length = json_object_array_length(items);
    enum error err = make_room(payments, length, answer);
    for (size_t i = 0; !err && i < length; i++)
        answer->skipped += !add(json_object_array_get_idx(items, i), answer);
    return err;
}

static enum error parse(struct text body, struct json_object **ret_root)
{
    struct json_report report;
    switch (json_parse_object(body, ret_root, &report)) {
    case JSON_PROBLEM_NONE:
        if (!report.duplicates)
            return ERROR_OK;
        /* Two readers of such an object may read two amounts. */
        json_object_put(*ret_root);
        *ret_root = NULL;
        return ERROR_MALFORMED_JSON;
    case JSON_PROBLEM_MEMORY:
        return ERROR_NO_MEMORY;
    default:
        return ERROR_MALFORMED_JSON;
    }
}

enum error yookassa_json_read(struct text body, enum yookassa_object expected,
                              struct yookassa_answer *ret_answer)
{
    struct yookassa_answer answer = *ret_answer;
    struct json_object *root = NULL;
    bool payments = expected == YOOKASSA_OBJECT_PAYMENT || expected == YOOKASSA_OBJECT_PAYMENT_LIST;
    enum error err = parse(body, &root);
    if (err)
        return err;
    if (expected == YOOKASSA_OBJECT_PAYMENT_LIST || expected == YOOKASSA_OBJECT_REFUND_LIST) {
        err = read_list(root, payments, &answer);
    } else {
        err = make_room(payments, 1, &answer);
        if (!err && !add(root, &answer))
            err = ERROR_MALFORMED_JSON;
    }
    if (err) {
        free(answer.payments);
        free(answer.refunds);
        json_object_put(root);
        return err;
    }
    answer.owned = root;
    *ret_answer = answer;
    return ERROR_OK;
}

bool yookassa_json_read_error(struct text body, struct yookassa_answer *ret_answer)
{
    struct json_object *root = NULL;
    struct text code;
    struct text parameter;
    if (parse(body, &root))
        return false;
    if (!text_equal(json_parse_string(root, "type"), TEXT_LITERAL("error")) ||
        !read_text(root, "code", PROVIDER_WORD_BYTES_MAX, &code) || !code.data) {
        json_object_put(root);
        return false;
    }
    if (!read_text(root, "parameter", PROVIDER_WORD_BYTES_MAX, &parameter))
        parameter = (struct text){NULL, 0};
    struct json_object *retry = member(root, "retry_after");
    int64_t ms = json_object_is_type(retry, json_type_int) ? json_object_get_int64(retry) : 0;
    if (ms > 0)
        ret_answer->retry_after_ms = ms < RETRY_AFTER_MS_MAX ? ms : RETRY_AFTER_MS_MAX;
    ret_answer->error_code = code;
    ret_answer->error_parameter = parameter;
    ret_answer->owned = root;
    return true;
}

void yookassa_answer_done(struct yookassa_answer *answer)
{
    free(answer->payments);
    free(answer->refunds);
    json_object_put(answer->owned);
    *answer = (struct yookassa_answer){.status = 0};
}

/* ---- notifications ---- */

static bool starts(struct text text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len > len && memcmp(text.data, prefix, len) == 0;
}

enum error yookassa_notification_parse(struct text body,
                                       struct yookassa_notification *ret_notification)
{
    struct yookassa_notification notification;
    struct json_object *root = NULL;
    struct json_object *object = NULL;
    *ret_notification = (struct yookassa_notification){.owned = NULL};
    enum error err = parse(body, &root);
    if (err)
        return err;
    if (!text_equal(json_parse_string(root, "type"), TEXT_LITERAL("notification")) ||
        !read_text(root, "event", PROVIDER_WORD_BYTES_MAX, &notification.event) ||
        notification.event.len == 0)
        goto refused;
    notification.is_payment = starts(notification.event, "payment.");
    notification.is_refund = starts(notification.event, "refund.");
    notification.object_id = (struct text){NULL, 0};
    if ((notification.is_payment || notification.is_refund) &&
        (!read_object(root, "object", &object) ||
         !read_required_id(object, "id", &notification.object_id)))
        goto refused;
    notification.owned = root;
    *ret_notification = notification;
    return ERROR_OK;
refused:
    json_object_put(root);
    return ERROR_INVALID_FIELD;
}

void yookassa_notification_done(struct yookassa_notification *notification)
{
    json_object_put(notification->owned);
    *notification = (struct yookassa_notification){.owned = NULL};
}
