#include "endpoint/etag.h"

#include <stdio.h>

#include "base/digest.h"

enum { TAG_BYTES = 16, TAG_SIZE = 2 * TAG_BYTES + 3 };

static void format_tag(struct text body, char tag[static TAG_SIZE])
{
    unsigned char digest[DIGEST_BYTES];
    digest_sha256(body, digest);
    tag[0] = '"';
    for (size_t i = 0; i < TAG_BYTES; i++)
        snprintf(tag + 1 + 2 * i, 3, "%02x", digest[i]);
    tag[TAG_SIZE - 2] = '"';
    tag[TAG_SIZE - 1] = '\0';
}

/* Weak comparison: nginx weakens a tag when it compresses. */
static bool is_named(struct text list, const char *tag)
{
    struct text item;
    while (text_next_item(&list, ',', &item)) {
        if (text_starts_nocase(item, "W/"))
            item = (struct text){item.data + 2, item.len - 2};
        if (text_equal(item, text_from(tag)) || text_equal(item, TEXT_LITERAL("*")))
            return true;
    }
    return false;
}

void etag_answer(struct call *call)
{
    struct response *response = call->response;
    char tag[TAG_SIZE];
    if (buffer_error(&response->body))
        return;
    format_tag(buffer_text(&response->body), tag);
    response_header(response, "ETag", tag);
    if (is_named(request_param(call->request, "HTTP_IF_NONE_MATCH"), tag))
        response_empty(response, 304);
}
