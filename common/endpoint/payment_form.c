#include "endpoint/payment_form.h"

#include "base/config.h"
#include "base/limits.h"
#include "base/public_id.h"
#include "endpoint/idempotency.h"

/* Sets ret_same where the two have one origin. What is configured and no URL is nobody's. */
static enum error same_origin(struct text configured, const struct web_url *url, bool *ret_same)
{
    struct web_url own;
    enum error err = web_url_parse(configured, &own);
    if (!err && text_equal(web_url_origin(&own), web_url_origin(url)))
        *ret_same = true;
    return err == ERROR_NO_MEMORY ? err : ERROR_OK;
}

/* Where nothing is configured, anywhere; else where the browsers or the default lead to. */
static enum error find_allowed(const struct config *config, const struct web_url *url,
                               bool *ret_allowed)
{
    struct text fallback = text_from(config->payments_return_url);
    struct text rest = text_from(config->allowed_origins);
    struct text item;
    *ret_allowed = rest.len == 0 && fallback.len == 0;
    enum error err = same_origin(fallback, url, ret_allowed);
    while (!err && !*ret_allowed && text_next_item(&rest, ',', &item))
        err = same_origin(item, url, ret_allowed);
    return err;
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

static enum error invalid(const struct call *call, const char *expected)
{
    return response_invalid(call->response, ERROR_INVALID_FIELD, "returnUrl", expected);
}

enum error payment_form_return_url(const struct call *call, struct web_url *url,
                                   struct text *ret_url)
{
    static const struct body_text_rule RULE = {.name = "returnUrl", .bytes_max = URL_BYTES_MAX};
    const struct config *config = call->app->config;
    struct text given;
    bool allowed;
    enum error err = body_text(call->body, &RULE, &given);
    if (err)
        return err;
    if (!given.data) {
        *ret_url = default_url(config);
        return ret_url->data ? ERROR_OK : invalid(call, "expected a URL: no default is configured");
    }
    /* Plain http leads to nobody but the host itself: a developer's browser. */
    err = web_url_parse(given, url);
    if (err == ERROR_NO_MEMORY)
        return err;
    if (err || (!url->secure && !text_equal(web_url_host(url), TEXT_LITERAL("localhost"))))
        return invalid(call, "expected an https URL, without a name before the host");
    err = find_allowed(config, url, &allowed);
    if (err)
        return err;
    if (!allowed)
        return invalid(call, "expected a URL of an origin that is allowed");
    *ret_url = web_url_href(url);
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
