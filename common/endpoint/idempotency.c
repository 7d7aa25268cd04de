#include "endpoint/idempotency.h"

#include <string.h>

#include "base/digest.h"
#include "base/limits.h"

static bool is_visible(struct text key)
{
    for (size_t i = 0; i < key.len; i++)
        if (key.data[i] < 0x21 || key.data[i] > 0x7E)
            return false;
    return key.len >= 1 && key.len <= IDEMPOTENCY_KEY_BYTES_MAX;
}

/* 63 bits of a digest over method, path and body: enough to tell a slip, and never zero. */
static enum error hash_request(const struct request *request, struct text body, int64_t *ret_hash)
{
    struct buffer whole;
    unsigned char digest[DIGEST_BYTES];
    uint64_t hash;
    buffer_init(&whole, body.len + 2 * QUERY_STRING_BYTES_MAX);
    buffer_append_text(&whole, request->method);
    buffer_append_char(&whole, ' ');
    buffer_append_text(&whole, request->path);
    buffer_append_char(&whole, '\n');
    buffer_append_text(&whole, body);
    enum error err = buffer_error(&whole);
    if (!err) {
        digest_sha256(buffer_text(&whole), digest);
        memcpy(&hash, digest, sizeof(hash));
        *ret_hash = (int64_t)(hash >> 1 | 1);
    }
    buffer_done(&whole);
    return err;
}

static struct text scope_of(const struct call *call)
{
    return call->service.scope[0] ? text_from(call->service.scope) : TEXT_LITERAL("user");
}

enum error idempotency_read(const struct call *call, struct operation_key *ret_key)
{
    struct text key = request_param(call->request, "HTTP_IDEMPOTENCY_KEY");
    *ret_key = (struct operation_key){.scope = scope_of(call), .key = key};
    if (!key.data)
        return ERROR_OK;
    /* Two keys are two promises; joined by a proxy they are no key either. */
    if (request_param_repeated(call->request, "HTTP_IDEMPOTENCY_KEY"))
        return response_invalid(call->response, ERROR_INVALID_PARAMETER, "Idempotency-Key",
                                "expected the header once");
    if (!is_visible(key))
        return response_invalid(call->response, ERROR_INVALID_PARAMETER, "Idempotency-Key",
                                "expected 1 to 255 visible characters");
    return hash_request(call->request, buffer_text(&call->request->body), &ret_key->request_hash);
}

enum error idempotency_for_operation(const struct call *call, struct text operation_id,
                                     const struct body *operation, struct operation_key *ret_key)
{
    struct text body;
    enum error err = body_canonical(operation, &body);
    if (err)
        return err;
    *ret_key = (struct operation_key){.scope = scope_of(call), .key = operation_id};
    return hash_request(call->request, body, &ret_key->request_hash);
}

void idempotency_replayed(struct response *response, bool replayed)
{
    if (replayed)
        response_header(response, "Idempotency-Replayed", "true");
}
