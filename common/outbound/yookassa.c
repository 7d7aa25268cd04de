#include "outbound/yookassa.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/limits.h"
#include "base/networks.h"
#include "outbound/http_client.h"
#include "outbound/yookassa_json.h"

/* ---- configuration ---- */

static enum error refuse(const char *variable, const char *expected, char problem[static 256])
{
    snprintf(problem, 256, "%s: expected %s", variable, expected);
    return ERROR_NOT_CONFIGURED;
}

/* Visible ASCII only: no blank, no control character. */
static bool is_visible(const char *string, size_t bytes_max)
{
    size_t len = 0;
    for (; string[len]; len++)
        if (string[len] <= ' ' || string[len] > '~')
            return false;
    return len <= bytes_max;
}

/* Something before the only @ and something behind it; the provider checks the rest. */
static bool is_email(const char *string)
{
    const char *at = strchr(string, '@');
    return at && at != string && at[1] != '\0' && !strchr(at + 1, '@') &&
           is_visible(string, EMAIL_BYTES_MAX);
}

static bool is_base_url(const char *url)
{
    return http_client_url_allowed(url) && is_visible(url, PROVIDER_URL_BYTES_MAX) &&
           !strpbrk(url, "?#") && url[strlen(url) - 1] != '/';
}

static enum error check_shop(const struct config *config, char problem[static 256])
{
    const char *shop = config->yookassa_shop_id;
    const char *secret = config->yookassa_secret_key;
    if (shop[0] && !yookassa_json_is_id(text_from(shop)))
        return refuse("YOOKASSA_SHOP_ID", "1 to 64 letters, digits, - and _", problem);
    if (!is_visible(secret, PROVIDER_SECRET_BYTES_MAX))
        return refuse("YOOKASSA_SECRET_KEY", "at most 256 characters without blanks", problem);
    if (shop[0] && !secret[0])
        return refuse("YOOKASSA_SECRET_KEY", "it beside YOOKASSA_SHOP_ID", problem);
    if (secret[0] && !shop[0])
        return refuse("YOOKASSA_SHOP_ID", "it beside YOOKASSA_SECRET_KEY", problem);
    return ERROR_OK;
}

static enum error check_config(const struct config *config, char problem[static 256])
{
    const char *email = config->yookassa_receipt_email;
    const char *return_url = config->payments_return_url;
    if (!is_base_url(config->yookassa_api_url))
        return refuse("YOOKASSA_API_URL",
                      "an https URL of at most 480 characters without a slash at its end", problem);
    if (!networks_valid(text_from(config->yookassa_webhook_networks)))
        return refuse("YOOKASSA_WEBHOOK_NETWORKS", "a comma list of networks and addresses",
                      problem);
    if (email[0] && !is_email(email))
        return refuse("YOOKASSA_RECEIPT_EMAIL", "an e-mail address", problem);
    if (return_url[0] &&
        (!http_client_url_allowed(return_url) || !is_visible(return_url, URL_BYTES_MAX)))
        return refuse("PAYMENTS_RETURN_URL", "an https URL of at most 2048 characters", problem);
    return check_shop(config, problem);
}

enum error yookassa_new(const struct config *config, struct yookassa **ret_provider,
                        char problem[static 256])
{
    *ret_provider = NULL;
    enum error err = check_config(config, problem);
    if (err || !config->yookassa_shop_id[0])
        return err;
    struct yookassa *provider = http_client_library_init() ? malloc(sizeof(*provider)) : NULL;
    if (!provider)
        return ERROR_NO_MEMORY;
    *provider = (struct yookassa){
        .base_url = config->yookassa_api_url,
        .shop_id = config->yookassa_shop_id,
        .secret_key = config->yookassa_secret_key,
        .timeout_ms = config->yookassa_timeout_ms,
    };
    *ret_provider = provider;
    return ERROR_OK;
}

void yookassa_free(struct yookassa *provider)
{
    free(provider);
}

/* ---- calls ---- */

struct call {
    const struct yookassa *provider;
    const char *path;            /* and query, behind base_url */
    const char *idempotence_key; /* of a POST; NULL for a GET */
    struct text body;
    enum yookassa_object expected;
};

static enum yookassa_result classify(long status, bool is_error_object)
{
    switch (status) {
    case 401:
        return YOOKASSA_DENIED;
    case 429:
        return YOOKASSA_LATER;
    case 404:
        return is_error_object ? YOOKASSA_NOT_FOUND : YOOKASSA_UNKNOWN;
    case 400:
    case 403:
    case 405:
    case 415:
        return is_error_object ? YOOKASSA_REFUSED : YOOKASSA_UNKNOWN;
    default:
        return YOOKASSA_UNKNOWN;
    }
}

/* The answer's body is copied by the parser; nothing of it is needed afterwards. */
static void understand(const struct call *call, const struct http_answer *from,
                       struct yookassa_answer *answer)
{
    struct text body = buffer_text(&from->body);
    answer->status = from->status;
    answer->retry_after_ms = from->retry_after_ms;
    if (from->status == 200) {
        /* Out of memory is one more way of not knowing what the provider did. */
        enum error err = yookassa_json_read(body, call->expected, answer);
        answer->result = err ? YOOKASSA_UNKNOWN : YOOKASSA_DONE;
        return;
    }
    bool is_error_object = yookassa_json_read_error(body, answer);
    answer->result = classify(from->status, is_error_object);
}

static enum error make_call(const struct call *call, struct yookassa_answer *ret_answer)
{
    const struct yookassa *provider = call->provider;
    char url[PROVIDER_URL_BYTES_MAX + 1024];
    char user_password[PROVIDER_ID_BYTES_MAX + PROVIDER_SECRET_BYTES_MAX + 2];
    char key_line[sizeof("Idempotence-Key: ") + PROVIDER_KEY_BYTES_MAX] = "";
    const char *headers[] = {"Content-Type: application/json", key_line, NULL};
    bool is_list = call->expected == YOOKASSA_OBJECT_PAYMENT_LIST ||
                   call->expected == YOOKASSA_OBJECT_REFUND_LIST;
    struct http_call http = {
        .method = call->idempotence_key ? "POST" : "GET",
        .url = url,
        .headers = call->idempotence_key ? headers : NULL,
        .user_password = user_password,
        .body = call->body,
        .timeout_ms = provider->timeout_ms,
        .answer_bytes_max = is_list ? PROVIDER_LIST_BYTES_MAX : PROVIDER_OBJECT_BYTES_MAX,
    };
    struct http_answer answer;
    *ret_answer = (struct yookassa_answer){.status = 0};
    if (call->idempotence_key && !yookassa_json_is_id(text_from(call->idempotence_key)))
        return ERROR_INVALID_PARAMETER;
    snprintf(url, sizeof(url), "%s%s", provider->base_url, call->path);
    snprintf(user_password, sizeof(user_password), "%s:%s", provider->shop_id,
             provider->secret_key);
    if (call->idempotence_key)
        snprintf(key_line, sizeof(key_line), "Idempotence-Key: %s", call->idempotence_key);
    enum error err = http_client_call(&http, &answer);
    if (!err)
        understand(call, &answer, ret_answer);
    else
        ret_answer->result = answer.maybe_sent ? YOOKASSA_UNKNOWN : YOOKASSA_LATER;
    bool was_made = !err || err == ERROR_OVERLOADED || answer.maybe_sent;
    buffer_done(&answer.body);
    return was_made ? ERROR_OK : err;
}

/* "/payments/ID/capture": suffix as "/capture". Returns false for a text that is not an id. */
static bool object_path(const char *folder, struct text id, const char *suffix,
                        char path[static 128])
{
    if (!yookassa_json_is_id(id))
        return false;
    snprintf(path, 128, "%s/%.*s%s", folder, (int)id.len, id.data, suffix);
    return true;
}

/* An answer about another object than the one asked for says nothing about that. */
static void check_id(struct text id, struct yookassa_answer *answer)
{
    if (answer->result == YOOKASSA_DONE &&
        !text_equal(answer->payments ? answer->payments[0].id : answer->refunds[0].id, id))
        answer->result = YOOKASSA_UNKNOWN;
}

enum error yookassa_create_payment(const struct yookassa *provider, const char *idempotence_key,
                                   struct text body, struct yookassa_answer *ret_answer)
{
    struct call call = {.provider = provider,
                        .path = "/payments",
                        .idempotence_key = idempotence_key,
                        .body = body,
                        .expected = YOOKASSA_OBJECT_PAYMENT};
    return make_call(&call, ret_answer);
}

enum error yookassa_get_payment(const struct yookassa *provider, struct text id,
                                struct yookassa_answer *ret_answer)
{
    char path[128];
    struct call call = {.provider = provider, .path = path, .expected = YOOKASSA_OBJECT_PAYMENT};
    *ret_answer = (struct yookassa_answer){.status = 0};
    if (!object_path("/payments", id, "", path))
        return ERROR_INVALID_PARAMETER;
    enum error err = make_call(&call, ret_answer);
    if (!err)
        check_id(id, ret_answer);
    return err;
}

enum error yookassa_capture_payment(const struct yookassa *provider, const char *idempotence_key,
                                    struct text id, struct yookassa_answer *ret_answer)
{
    char path[128];
    struct call call = {.provider = provider,
                        .path = path,
                        .idempotence_key = idempotence_key,
                        .body = TEXT_LITERAL("{}"),
                        .expected = YOOKASSA_OBJECT_PAYMENT};
    *ret_answer = (struct yookassa_answer){.status = 0};
    if (!object_path("/payments", id, "/capture", path))
        return ERROR_INVALID_PARAMETER;
    enum error err = make_call(&call, ret_answer);
    if (!err)
        check_id(id, ret_answer);
    return err;
}

enum error yookassa_create_refund(const struct yookassa *provider, const char *idempotence_key,
                                  struct text body, struct yookassa_answer *ret_answer)
{
    struct call call = {.provider = provider,
                        .path = "/refunds",
                        .idempotence_key = idempotence_key,
                        .body = body,
                        .expected = YOOKASSA_OBJECT_REFUND};
    return make_call(&call, ret_answer);
}

enum error yookassa_get_refund(const struct yookassa *provider, struct text id,
                               struct yookassa_answer *ret_answer)
{
    char path[128];
    struct call call = {.provider = provider, .path = path, .expected = YOOKASSA_OBJECT_REFUND};
    *ret_answer = (struct yookassa_answer){.status = 0};
    if (!object_path("/refunds", id, "", path))
        return ERROR_INVALID_PARAMETER;
    enum error err = make_call(&call, ret_answer);
    if (!err)
        check_id(id, ret_answer);
    return err;
}

/* ---- lists ---- */

/* RFC 3986, section 2.3: what needs no escape. */
static bool is_unreserved(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("-._~", c));
}

static void append_escaped(struct buffer *out, struct text value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (is_unreserved(value.data[i]))
            buffer_append_char(out, value.data[i]);
        else
            buffer_append_format(out, "%%%02X", (unsigned char)value.data[i]);
    }
}

struct list {
    const struct yookassa *provider;
    const char *folder;
    enum yookassa_object expected;
    int64_t created_since;
    struct text cursor;
};

static enum error get_list(const struct list *list, struct yookassa_answer *ret_answer)
{
    char since[CLOCK_TIME_SIZE];
    struct buffer path;
    *ret_answer = (struct yookassa_answer){.status = 0};
    if (list->cursor.len > PROVIDER_CURSOR_BYTES_MAX)
        return ERROR_INVALID_PARAMETER;
    size_t len = clock_format_time(list->created_since, since);
    buffer_init(&path, 1000);
    buffer_append_format(&path, "%s?limit=%d&created_at.gte=", list->folder, PROVIDER_PAGE_ITEMS);
    append_escaped(&path, (struct text){since, len});
    if (list->cursor.data) {
        buffer_append_string(&path, "&cursor=");
        append_escaped(&path, list->cursor);
    }
    enum error err = buffer_error(&path);
    struct call call = {.provider = list->provider, .path = path.data, .expected = list->expected};
    if (!err)
        err = make_call(&call, ret_answer);
    buffer_done(&path);
    return err;
}

enum error yookassa_list_payments(const struct yookassa *provider, int64_t created_since,
                                  struct text cursor, struct yookassa_answer *ret_answer)
{
    struct list list = {provider, "/payments", YOOKASSA_OBJECT_PAYMENT_LIST, created_since, cursor};
    return get_list(&list, ret_answer);
}

enum error yookassa_list_refunds(const struct yookassa *provider, int64_t created_since,
                                 struct text cursor, struct yookassa_answer *ret_answer)
{
    struct list list = {provider, "/refunds", YOOKASSA_OBJECT_REFUND_LIST, created_since, cursor};
    return get_list(&list, ret_answer);
}
