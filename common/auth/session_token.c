#include "auth/session_token.h"

#include <string.h>

#include "base/base64url.h"
#include "base/json_parse.h"

/* Clerk's category of machine-to-machine tokens, which are signed with the same key. */
static const char MACHINE_CATEGORY[] = "cl_B7d4PD333AAA";

struct parts {
    struct text header, payload, signature; /* as they stand, base64url */
    struct text signed_part;                /* header, dot, payload */
};

static bool split(struct text token, struct parts *ret_parts)
{
    if (!token.data || token.len > TOKEN_BYTES_MAX)
        return false;
    const char *end = token.data + token.len;
    const char *first = memchr(token.data, '.', token.len);
    const char *second = first ? memchr(first + 1, '.', (size_t)(end - first - 1)) : NULL;
    if (!second || memchr(second + 1, '.', (size_t)(end - second - 1)))
        return false;
    ret_parts->header = (struct text){token.data, (size_t)(first - token.data)};
    ret_parts->payload = (struct text){first + 1, (size_t)(second - first - 1)};
    ret_parts->signature = (struct text){second + 1, (size_t)(end - second - 1)};
    ret_parts->signed_part = (struct text){token.data, (size_t)(second - token.data)};
    return true;
}

/* A part as a JSON object, owned by the caller; ERROR_UNAUTHORIZED when it is none. */
static enum error decode_object(struct text part, struct json_object **ret_object)
{
    unsigned char bytes[TOKEN_BYTES_MAX];
    size_t len;
    struct json_report report;
    if (!base64url_decode(part, bytes, sizeof(bytes), &len))
        return ERROR_UNAUTHORIZED;
    switch (json_parse_object((struct text){(const char *)bytes, len}, ret_object, &report)) {
    case JSON_PROBLEM_NONE:
        return ERROR_OK;
    case JSON_PROBLEM_MEMORY:
        return ERROR_NO_MEMORY;
    default:
        return ERROR_UNAUTHORIZED;
    }
}

static bool has_member(struct json_object *object, const char *name)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(object, name, &value);
}

/* RS256 only; typ absent or JWT; no critical extensions; not a machine token. */
static bool header_allowed(struct json_object *header)
{
    if (!text_equal(json_parse_string(header, "alg"), TEXT_LITERAL("RS256")))
        return false;
    if (has_member(header, "typ") &&
        !text_equal(json_parse_string(header, "typ"), TEXT_LITERAL("JWT")))
        return false;
    return !has_member(header, "crit") &&
           !text_equal(json_parse_string(header, "cat"), text_from(MACHINE_CATEGORY));
}

/*
 * A time claim: a number, of which the whole seconds count, as in Clerk's own library. Returns
 * false for another type.
 */
static bool read_time(struct json_object *payload, const char *name, int64_t *ret_seconds)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(payload, name, &value);
    if (!json_object_is_type(value, json_type_int) && !json_object_is_type(value, json_type_double))
        return false;
    double seconds = json_object_get_double(value);
    if (!(seconds >= -TOKEN_TIME_MAX && seconds <= TOKEN_TIME_MAX))
        return false;
    *ret_seconds = (int64_t)seconds;
    return true;
}

static bool times_allowed(struct json_object *payload, int64_t now,
                          struct session_claims *ret_claims)
{
    int64_t not_before;
    if (!read_time(payload, "exp", &ret_claims->expires_at_unix) ||
        ret_claims->expires_at_unix <= now - TOKEN_SKEW_SECONDS)
        return false;
    if (has_member(payload, "nbf") &&
        (!read_time(payload, "nbf", &not_before) || not_before > now + TOKEN_SKEW_SECONDS))
        return false;
    ret_claims->issued_at_unix = 0;
    return !has_member(payload, "iat") || (read_time(payload, "iat", &ret_claims->issued_at_unix) &&
                                           ret_claims->issued_at_unix <= now + TOKEN_SKEW_SECONDS);
}

static bool party_allowed(struct json_object *payload, struct text parties)
{
    struct text azp = json_parse_string(payload, "azp");
    struct text item;
    if (parties.len == 0)
        return true;
    while (text_next_item(&parties, ',', &item))
        if (item.len > 0 && text_equal(item, azp))
            return true;
    return false;
}

static bool claims_allowed(struct json_object *payload, const struct session_policy *policy,
                           int64_t now, struct session_claims *ret_claims)
{
    struct text subject = json_parse_string(payload, "sub");
    struct text email = json_parse_string(payload, "email");
    if (subject.len == 0 || memchr(subject.data, '\0', subject.len) ||
        !text_copy(subject, ret_claims->subject, sizeof(ret_claims->subject)))
        return false;
    if (policy->issuer.len > 0 && !text_equal(json_parse_string(payload, "iss"), policy->issuer))
        return false;
    if (!party_allowed(payload, policy->authorized_parties) ||
        !times_allowed(payload, now, ret_claims))
        return false;
    /* A session that still has a task to do (choosing an organisation, say) is not signed in. */
    if (text_equal(json_parse_string(payload, "sts"), TEXT_LITERAL("pending")))
        return false;
    ret_claims->email[0] = '\0';
    if (email.len > 0 && !memchr(email.data, '\0', email.len))
        (void)text_copy(email, ret_claims->email, sizeof(ret_claims->email));
    return true;
}

static enum error read_claims(struct text payload, const struct session_policy *policy,
                              int64_t now_unix, struct session_claims *ret_claims)
{
    struct json_object *object = NULL;
    struct session_claims claims;
    enum error err = decode_object(payload, &object);
    if (err)
        return err;
    if (claims_allowed(object, policy, now_unix, &claims))
        *ret_claims = claims;
    else
        err = ERROR_UNAUTHORIZED;
    json_object_put(object);
    return err;
}

static bool has_key_id(struct json_object *header)
{
    struct text kid = json_parse_string(header, "kid");
    return kid.len > 0 && kid.len <= KEY_ID_BYTES_MAX && !memchr(kid.data, '\0', kid.len);
}

enum error session_token_needs_key(struct text token, const struct session_policy *policy,
                                   int64_t now_unix)
{
    struct parts parts;
    struct session_claims claims;
    struct json_object *header = NULL;
    if (!split(token, &parts))
        return ERROR_UNAUTHORIZED;
    enum error err = decode_object(parts.header, &header);
    if (err)
        return err;
    err = header_allowed(header) && has_key_id(header)
              ? read_claims(parts.payload, policy, now_unix, &claims)
              : ERROR_UNAUTHORIZED;
    json_object_put(header);
    return err;
}

enum error session_token_verify(struct text token, const struct key_set *keys,
                                const struct session_policy *policy, int64_t now_unix,
                                struct session_claims *ret_claims)
{
    unsigned char signature[KEY_BITS_MAX / 8];
    size_t signature_len;
    struct parts parts;
    struct json_object *header = NULL;
    if (!split(token, &parts))
        return ERROR_UNAUTHORIZED;
    enum error err = decode_object(parts.header, &header);
    if (err)
        return err;
    err = ERROR_UNAUTHORIZED;
    if (header_allowed(header) &&
        base64url_decode(parts.signature, signature, sizeof(signature), &signature_len))
        err = key_set_verify(keys, json_parse_string(header, "kid"), parts.signed_part,
                             (struct text){(const char *)signature, signature_len});
    if (!err)
        err = read_claims(parts.payload, policy, now_unix, ret_claims);
    json_object_put(header);
    return err;
}
