#include "auth/identity.h"

#include <string.h>

#include "auth/clerk.h"

static const char *const PREFIXES[] = {
    [IDENTITY_DEVICE] = "device:",
    [IDENTITY_CLERK] = "clerk:",
};

static void fill(struct identity *identity, enum identity_kind kind, struct text subject)
{
    size_t prefix = strlen(PREFIXES[kind]);
    identity->kind = kind;
    memcpy(identity->key, PREFIXES[kind], prefix);
    memcpy(identity->key + prefix, subject.data, subject.len);
    identity->key_len = prefix + subject.len;
    identity->key[identity->key_len] = '\0';
    identity->email[0] = '\0';
}

/* device_[A-Za-z0-9_-]+, 20 to 255 characters (openapi.yaml, securitySchemes.device). */
static bool is_device_id(struct text id)
{
    static const char START[] = "device_";
    if (id.len < DEVICE_ID_BYTES_MIN || id.len > DEVICE_ID_BYTES_MAX ||
        memcmp(id.data, START, sizeof(START) - 1) != 0)
        return false;
    for (size_t i = sizeof(START) - 1; i < id.len; i++) {
        char c = id.data[i];
        bool allowed = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '-';
        if (!allowed)
            return false;
    }
    return true;
}

enum error identity_from_device(struct text device_id, struct identity *ret_identity)
{
    if (!device_id.data || !is_device_id(device_id))
        return ERROR_UNAUTHORIZED;
    fill(ret_identity, IDENTITY_DEVICE, device_id);
    return ERROR_OK;
}

static void fill_from_claims(struct identity *identity, const struct session_claims *claims)
{
    fill(identity, IDENTITY_CLERK, text_from(claims->subject));
    (void)text_copy(text_from(claims->email), identity->email, sizeof(identity->email));
}

static enum error from_token(struct text token, struct clerk *clerk, struct identity *ret_identity)
{
    struct session_claims claims;
    enum error err = clerk_verify(clerk, token, &claims);
    if (!err)
        fill_from_claims(ret_identity, &claims);
    return err;
}

/* The tokens of cookies __session and __session_<suffix>, each once, in the order they came. */
struct session_cookies {
    struct text tokens[SESSION_COOKIES_MAX];
    size_t count;
};

static void add_token(struct session_cookies *cookies, struct text token)
{
    for (size_t i = 0; i < cookies->count; i++)
        if (text_equal(cookies->tokens[i], token))
            return; /* Clerk's client sets both cookies to one token. */
    cookies->tokens[cookies->count++] = token;
}

/* A Cookie header (RFC 6265, section 4.2). */
static void find_session_cookies(struct text header, struct session_cookies *ret_cookies)
{
    static const char NAME[] = "__session";
    size_t name_len = sizeof(NAME) - 1;
    struct text item;
    ret_cookies->count = 0;
    while (ret_cookies->count < SESSION_COOKIES_MAX && text_next_item(&header, ';', &item)) {
        const char *equals = item.len > 0 ? memchr(item.data, '=', item.len) : NULL;
        size_t len = equals ? (size_t)(equals - item.data) : 0;
        if (len < name_len || memcmp(item.data, NAME, name_len) != 0)
            continue;
        bool named = len == name_len || (item.data[name_len] == '_' && len > name_len + 1);
        if (named && item.len > len + 1)
            add_token(ret_cookies, (struct text){equals + 1, item.len - len - 1});
    }
}

/* A token that cannot be judged now hides none that is good. */
static enum error newest_good(const struct session_cookies *cookies, struct clerk *clerk,
                              struct session_claims *ret_claims)
{
    enum error result = ERROR_UNAUTHORIZED;
    for (size_t i = 0; i < cookies->count; i++) {
        struct session_claims claims;
        enum error err = clerk_verify(clerk, cookies->tokens[i], &claims);
        if (err == ERROR_NO_MEMORY)
            return err;
        if (err == ERROR_IDENTITY_UNAVAILABLE && result == ERROR_UNAUTHORIZED)
            result = err;
        if (err || (!result && claims.issued_at_unix <= ret_claims->issued_at_unix))
            continue;
        *ret_claims = claims;
        result = ERROR_OK;
    }
    return result;
}

static bool is_json(struct text content_type)
{
    struct text media_type;
    return text_next_item(&content_type, ';', &media_type) &&
           text_equal_nocase(media_type, "application/json");
}

/* A page of any site can send what a form can: its cookies, and a body that is not JSON. */
static enum error check_forgery(const struct identity_headers *headers)
{
    if (!headers->changes)
        return ERROR_OK;
    if (!origin_is_trusted(&headers->from, headers->allowed_origins))
        return ERROR_ORIGIN_NOT_ALLOWED;
    bool plain = headers->has_body || headers->content_type.len > 0;
    return plain && !is_json(headers->content_type) ? ERROR_UNSUPPORTED_MEDIA_TYPE : ERROR_OK;
}

static enum error from_cookies(const struct identity_headers *headers, struct clerk *clerk,
                               struct identity *ret_identity)
{
    struct session_cookies cookies;
    struct session_claims claims;
    find_session_cookies(headers->cookie, &cookies);
    if (cookies.count == 0)
        return ERROR_UNAUTHORIZED;
    enum error err = check_forgery(headers);
    if (!err)
        err = newest_good(&cookies, clerk, &claims);
    if (!err)
        fill_from_claims(ret_identity, &claims);
    return err;
}

/* What follows a scheme such as "Bearer "; RFC 9110, section 11.1: case-insensitive. */
static struct text credentials(struct text authorization, const char *scheme)
{
    size_t skip = strlen(scheme);
    if (!text_starts_nocase(authorization, scheme))
        return (struct text){NULL, 0};
    return text_trim((struct text){authorization.data + skip, authorization.len - skip});
}

struct text identity_service_key(struct text authorization)
{
    return credentials(text_trim(authorization), "Service ");
}

enum error identity_read(const struct identity_headers *headers, struct clerk *clerk,
                         struct identity *ret_identity)
{
    struct text authorization = text_trim(headers->authorization);
    if (authorization.len == 0)
        return from_cookies(headers, clerk, ret_identity);
    struct text device = credentials(authorization, "Device ");
    if (device.data)
        return identity_from_device(device, ret_identity);
    struct text token = credentials(authorization, "Bearer ");
    return token.data ? from_token(token, clerk, ret_identity) : ERROR_UNAUTHORIZED;
}

struct text identity_prefix(enum identity_kind kind)
{
    return text_from(PREFIXES[kind]);
}

struct text identity_subject(const struct identity *identity)
{
    size_t prefix = strlen(PREFIXES[identity->kind]);
    return (struct text){identity->key + prefix, identity->key_len - prefix};
}

struct text identity_key(const struct identity *identity)
{
    return (struct text){identity->key, identity->key_len};
}

void identity_digest(struct text secret, struct text key, char ret_digest[static DIGEST_TEXT_SIZE])
{
    unsigned char digest[DIGEST_BYTES];
    digest_hmac_sha256(secret, key, digest);
    digest_format(digest, ret_digest);
}
