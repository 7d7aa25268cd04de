#include "auth/identity.h"

#include <string.h>

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
        bool allowed = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!allowed)
            return false;
    }
    return true;
}

enum error identity_read(const struct identity_headers *headers, struct identity *ret_identity)
{
    static const char SCHEME[] = "Device ";
    struct text authorization = text_trim(headers->authorization);
    /* RFC 9110, section 11.1: the scheme is case-insensitive. */
    if (!text_starts_nocase(authorization, SCHEME))
        return ERROR_UNAUTHORIZED;
    size_t skip = sizeof(SCHEME) - 1;
    struct text id = text_trim((struct text){authorization.data + skip, authorization.len - skip});
    if (!is_device_id(id))
        return ERROR_UNAUTHORIZED;
    fill(ret_identity, IDENTITY_DEVICE, id);
    return ERROR_OK;
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
