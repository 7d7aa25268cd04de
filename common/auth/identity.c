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

static enum error from_token(struct text token, struct clerk *clerk, struct identity *ret_identity)
{
    struct session_claims claims;
    enum error err = clerk_verify(clerk, token, &claims);
    if (err)
        return err;
    fill(ret_identity, IDENTITY_CLERK, text_from(claims.subject));
    (void)text_copy(text_from(claims.email), ret_identity->email, sizeof(ret_identity->email));
    return ERROR_OK;
}

/* The value of cookie __session (RFC 6265, section 4.2), where Clerk's web client keeps its token.
 */
static struct text session_cookie(struct text cookies)
{
    static const char NAME[] = "__session=";
    struct text item;
    while (text_next_item(&cookies, ';', &item))
        if (item.len > sizeof(NAME) - 1 && memcmp(item.data, NAME, sizeof(NAME) - 1) == 0)
            return (struct text){item.data + sizeof(NAME) - 1, item.len - (sizeof(NAME) - 1)};
    return (struct text){NULL, 0};
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
    if (authorization.len == 0) {
        struct text token = session_cookie(headers->cookie);
        return token.data ? from_token(token, clerk, ret_identity) : ERROR_UNAUTHORIZED;
    }
    struct text device = credentials(authorization, "Device ");
    if (device.data)
        return identity_from_device(device, ret_identity);
    struct text token = credentials(authorization, "Bearer ");
    return token.data ? from_token(token, clerk, ret_identity) : ERROR_UNAUTHORIZED;
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
