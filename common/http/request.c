#include "http/request.h"

#include <stdlib.h>

#include "base/config.h"
#include "base/limits.h"

void request_init(struct request *request)
{
    *request = (struct request){.transport = NULL};
    buffer_init(&request->body, BODY_BYTES_MAX);
}

void request_done(struct request *request)
{
    buffer_done(&request->body);
}

struct text request_param(const struct request *request, const char *name)
{
    return text_from(request->transport->param(request->transport->context, name));
}

bool request_param_repeated(const struct request *request, const char *name)
{
    const struct transport *transport = request->transport;
    return transport->param_repeated && transport->param_repeated(transport->context, name);
}

/* The weight of one language range of Accept-Language in thousandths (RFC 9110, section 12.5.4). */
static int language_weight(struct text item)
{
    const char *p = memmem(item.data, item.len, "q=", 2);
    if (!p)
        return 1000;
    p += 2;
    const char *end = item.data + item.len;
    int weight = p < end && *p == '1' ? 1000 : 0;
    int unit = 100;
    if (p + 1 < end && p[1] == '.' && weight == 0)
        for (p += 2; p < end && *p >= '0' && *p <= '9' && unit > 0; p++, unit /= 10)
            weight += (*p - '0') * unit;
    return weight;
}

static bool prefers_english(struct text accept_language)
{
    int russian = 0;
    int english = 0;
    struct text item;
    while (text_next_item(&accept_language, ',', &item)) {
        int weight = language_weight(item);
        if (text_starts_nocase(item, "en") && weight > english)
            english = weight;
        else if (text_starts_nocase(item, "ru") && weight > russian)
            russian = weight;
    }
    return english > russian;
}

static struct text find_path(const struct request *request, const char *default_path)
{
    static const char *const NAMES[] = {"DOCUMENT_URI", "SCRIPT_NAME", "REQUEST_URI"};
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        struct text path = request_param(request, NAMES[i]);
        if (path.len == 0)
            continue;
        const char *question = memchr(path.data, '?', path.len);
        return question ? (struct text){path.data, (size_t)(question - path.data)} : path;
    }
    return text_from(default_path);
}

static struct text present(struct text text)
{
    return text.data ? text : TEXT_LITERAL("");
}

void request_begin(struct request *request, const struct transport *transport,
                   const char *default_path)
{
    request->transport = transport;
    request->method = request_param(request, "REQUEST_METHOD");
    if (request->method.len == 0)
        request->method = TEXT_LITERAL("GET");
    request->path = find_path(request, default_path);
    request->query = present(request_param(request, "QUERY_STRING"));
    request->request_id = present(request_param(request, "REQUEST_ID"));
    request->client_address = present(request_param(request, "REMOTE_ADDR"));
    request->id = (struct text){NULL, 0};
    request->english = prefers_english(request_param(request, "HTTP_ACCEPT_LANGUAGE"));
    buffer_reset(&request->body, RESPONSE_KEEP_BYTES);
}

enum error request_read_body(struct request *request, size_t body_max)
{
    const struct transport *transport = request->transport;
    int64_t declared = -1;
    struct text length = request_param(request, "CONTENT_LENGTH");
    if (length.len > 0 && (!text_to_int64(length, &declared) || declared < 0))
        return ERROR_CLIENT_GONE;
    request->body.max = body_max;
    for (;;) {
        /* One byte more than allowed is asked for, so that too much is told from just enough. */
        char overflow[1];
        size_t room = body_max - request->body.len;
        size_t want = room < 8192 ? room : 8192;
        char *to = want > 0 ? buffer_reserve(&request->body, want) : overflow;
        if (!to)
            return buffer_error(&request->body);
        long n = transport->read(transport->context, to, want > 0 ? want : 1);
        if (n < 0)
            return ERROR_CLIENT_GONE;
        if (n == 0)
            break;
        if (want == 0)
            return ERROR_BODY_TOO_LARGE;
        buffer_commit(&request->body, (size_t)n);
    }
    bool whole = declared < 0 || (size_t)declared == request->body.len;
    return whole ? ERROR_OK : ERROR_CLIENT_GONE;
}

enum error request_service_key(const struct request *request, struct text *ret_key)
{
    *ret_key = identity_service_key(request_param(request, "HTTP_AUTHORIZATION"));
    return ret_key->len > 0 ? ERROR_OK : ERROR_UNAUTHORIZED;
}

static bool is_safe(struct text method)
{
    return text_equal(method, TEXT_LITERAL("GET")) || text_equal(method, TEXT_LITERAL("HEAD")) ||
           text_equal(method, TEXT_LITERAL("OPTIONS"));
}

enum error request_identity(const struct request *request, const struct app *app,
                            struct identity *ret_identity)
{
    struct identity_headers headers = {
        .authorization = request_param(request, "HTTP_AUTHORIZATION"),
        .cookie = request_param(request, "HTTP_COOKIE"),
        .changes = !is_safe(request->method),
        .has_body = request->body.len > 0,
        .content_type = request_param(request, "CONTENT_TYPE"),
        .from = {.origin = request_param(request, "HTTP_ORIGIN"),
                 .referer = request_param(request, "HTTP_REFERER"),
                 .fetch_site = request_param(request, "HTTP_SEC_FETCH_SITE"),
                 .host = request_param(request, "HTTP_HOST")},
        .allowed_origins = app->config->allowed_origins,
    };
    return identity_read(&headers, app->clerk, ret_identity);
}

/* application/x-www-form-urlencoded: %XX and plus for a blank. False when it does not fit. */
static bool decode(struct text encoded, const struct query_field *field, size_t *ret_len)
{
    size_t len = 0;
    for (size_t i = 0; i < encoded.len; i++) {
        char c = encoded.data[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < encoded.len ? text_hex_digit(encoded.data[i + 1]) : -1;
            int low = high >= 0 ? text_hex_digit(encoded.data[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0' || len + 1 >= field->size)
            return false;
        field->buffer[len++] = c;
    }
    field->buffer[len] = '\0';
    *ret_len = len;
    return text_is_utf8((struct text){field->buffer, len});
}

enum error request_query(const struct request *request, const struct query_field *field,
                         struct text *ret_value)
{
    struct text rest = request->query;
    struct text item;
    size_t name_len = strlen(field->name);
    *ret_value = (struct text){NULL, 0};
    while (text_next_item(&rest, '&', &item)) {
        if (item.len < name_len || memcmp(item.data, field->name, name_len) != 0)
            continue;
        struct text value = {item.data + name_len, item.len - name_len};
        if (value.len > 0 && value.data[0] != '=')
            continue;
        if (value.len > 0)
            value = (struct text){value.data + 1, value.len - 1};
        size_t len;
        if (!decode(value, field, &len))
            return ERROR_INVALID_PARAMETER;
        *ret_value = (struct text){field->buffer, len};
        return ERROR_OK;
    }
    return ERROR_OK;
}
