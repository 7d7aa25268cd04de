#include "endpoint/payment_form.h"

#include "base/config.h"
#include "base/limits.h"
#include "base/public_id.h"
#include "endpoint/idempotency.h"

/* Where the origin of a URL ends: at the first character that cannot be part of it. */
static struct text origin_of(struct text url)
{
    size_t len = text_starts_nocase(url, "https://") ? 8 : 7;
    while (len < url.len && url.data[len] != '/' && url.data[len] != '?' && url.data[len] != '#')
        len++;
    return (struct text){url.data, len};
}

static bool is_host_and_port(struct text authority)
{
    for (size_t i = 0; i < authority.len; i++) {
        char c = authority.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.' || c == ':' || c == '[' || c == ']'))
            return false;
    }
    return authority.len > 0 && authority.data[0] != ':';
}

/* Plain http leads to nobody but the host itself: a developer's browser. */
static bool is_local(struct text authority)
{
    static const char LOCAL[] = "localhost";
    size_t len = sizeof(LOCAL) - 1;
    return text_starts_nocase(authority, LOCAL) &&
           (authority.len == len || authority.data[len] == ':');
}

static bool is_return_url(struct text url)
{
    bool secure = text_starts_nocase(url, "https://");
    if (!secure && !text_starts_nocase(url, "http://"))
        return false;
    for (size_t i = 0; i < url.len; i++)
        if (url.data[i] <= 0x20 || url.data[i] >= 0x7F || url.data[i] == '\\' || url.data[i] == '"')
            return false;
    struct text origin = origin_of(url);
    size_t scheme = secure ? 8 : 7;
    struct text authority = {origin.data + scheme, origin.len - scheme};
    return is_host_and_port(authority) && (secure || is_local(authority));
}

static struct text without_slash(struct text origin)
{
    while (origin.len > 0 && origin.data[origin.len - 1] == '/')
        origin.len--;
    return origin;
}

static bool is_listed(const char *origins, struct text origin)
{
    struct text rest = text_from(origins);
    struct text item;
    while (text_next_item(&rest, ',', &item))
        if (item.len > 0 && text_equal(without_slash(item), origin))
            return true;
    return false;
}

/* Where nothing is configured, anywhere; else where the browsers or the default lead to. */
static bool is_allowed(const struct config *config, struct text url)
{
    struct text origin = origin_of(url);
    struct text fallback = text_from(config->payments_return_url);
    if (!config->allowed_origins[0] && fallback.len == 0)
        return true;
    return is_listed(config->allowed_origins, origin) ||
           (fallback.len > 0 && text_equal(origin_of(fallback), origin));
}

static struct text default_url(const struct config *config)
{
    struct text rest = text_from(config->allowed_origins);
    struct text item;
    if (config->payments_return_url[0])
        return text_from(config->payments_return_url);
    while (text_next_item(&rest, ',', &item))
        if (item.len > 0)
            return item;
    return (struct text){NULL, 0};
}

enum error payment_form_return_url(const struct call *call, struct text *ret_url)
{
    static const struct body_text_rule RULE = {.name = "returnUrl", .bytes_max = URL_BYTES_MAX};
    struct text url;
    const struct config *config = call->app->config;
    struct response *response = call->response;
    enum error err = body_text(call->body, &RULE, &url);
    if (err)
        return err;
    if (!url.data) {
        *ret_url = default_url(config);
        return ret_url->data ? ERROR_OK
                             : response_invalid(response, ERROR_INVALID_FIELD, "returnUrl",
                                                "expected a URL: no default is configured");
    }
    if (!is_return_url(url))
        return response_invalid(response, ERROR_INVALID_FIELD, "returnUrl",
                                "expected an https URL without blanks");
    if (!is_allowed(config, url))
        return response_invalid(response, ERROR_INVALID_FIELD, "returnUrl",
                                "expected a URL of an origin that is allowed");
    *ret_url = url;
    return ERROR_OK;
}

/* As far as a slip goes; the provider has the last word. */
static bool is_email(struct text email)
{
    size_t at = 0;
    size_t ats = 0;
    for (size_t i = 0; i < email.len; i++) {
        if (email.data[i] <= 0x20 || email.data[i] >= 0x7F)
            return false;
        if (email.data[i] == '@') {
            at = i;
            ats++;
        }
    }
    return ats == 1 && at > 0 && at + 1 < email.len;
}

enum error payment_form_receipt_email(const struct call *call, struct text *ret_email)
{
    static const struct body_text_rule RULE = {.name = "receiptEmail",
                                               .bytes_max = EMAIL_BYTES_MAX};
    enum error err = body_text(call->body, &RULE, ret_email);
    if (!err && ret_email->data && !is_email(*ret_email))
        err = response_invalid(call->response, ERROR_INVALID_FIELD, "receiptEmail",
                               "expected an e-mail address");
    return err;
}

enum error payment_form_failure(struct response *response, enum error err)
{
    if (err != ERROR_INVALID_FIELD)
        return err;
    return response_invalid(response, err, "receiptEmail",
                            "expected an e-mail address for the receipt: the account has none");
}

void payment_form_answer(struct response *response, const struct payment_answer *answer,
                         const int32_t *credit_days)
{
    char id[PUBLIC_ID_SIZE];
    public_id_format(&answer->user_id, &answer->id, id);
    idempotency_replayed(response, answer->replayed);
    struct json_writer *json = response_data(response, 200);
    json_member_string(json, "paymentId", id);
    if (answer->confirmation_url[0])
        json_member_string(json, "confirmationUrl", answer->confirmation_url);
    else
        json_member_null(json, "confirmationUrl");
    json_member_string(json, "status", answer->status);
    if (credit_days)
        json_member_int(json, "creditDays", *credit_days);
    response_data_end(response);
}
