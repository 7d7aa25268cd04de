#include "http/page.h"

#include <endian.h>
#include <string.h>

#include "base/base64url.h"

/* Version 2 of a cursor: a version byte, list, created_at, id and total, in network byte order. */
enum { CURSOR_VERSION = 2, CURSOR_BYTES = 1 + 4 + 8 + 16 + 4 };

/*
 * The first time PostgreSQL can hold, in microseconds since 1970 (manual, section 8.5: 4713 BC). A
 * forged cursor before it would be a failed statement; the last time is beyond INT64_MAX.
 */
#define TIMESTAMP_FIRST (-INT64_C(210866803200000000))

/* FNV-1a (draft-eastlake-fnv, 32 bits): a slip is told, nothing is kept secret. */
static uint32_t list_of(struct text path)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.data[i];
        hash ^= (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); /* of a uuid */
        hash *= 16777619U;
    }
    return hash;
}

static bool decode_cursor(struct text text, uint32_t wanted_list,
                          struct page_position *ret_position)
{
    unsigned char bytes[CURSOR_BYTES];
    struct page_position position;
    uint32_t list;
    uint64_t created_at;
    uint32_t total;
    size_t len;
    if (!base64url_decode(text, bytes, sizeof(bytes), &len) || len != sizeof(bytes) ||
        bytes[0] != CURSOR_VERSION)
        return false;
    memcpy(&list, bytes + 1, sizeof(list));
    memcpy(&created_at, bytes + 5, sizeof(created_at));
    memcpy(position.id.bytes, bytes + 13, sizeof(position.id.bytes));
    memcpy(&total, bytes + 29, sizeof(total));
    position.created_at = (int64_t)be64toh(created_at);
    position.total = (int32_t)be32toh(total);
    if (be32toh(list) != wanted_list || position.created_at < TIMESTAMP_FIRST ||
        position.total < -1)
        return false;
    *ret_position = position;
    return true;
}

void page_write_cursor(struct json_writer *json, const struct page *page,
                       const struct page_position *position)
{
    unsigned char bytes[CURSOR_BYTES];
    char text[BASE64URL_SIZE(CURSOR_BYTES)];
    if (!position) {
        json_member_null(json, "nextCursor");
        return;
    }
    uint32_t list = htobe32(page->list);
    uint64_t created_at = htobe64((uint64_t)position->created_at);
    uint32_t total = htobe32((uint32_t)position->total);
    bytes[0] = CURSOR_VERSION;
    memcpy(bytes + 1, &list, sizeof(list));
    memcpy(bytes + 5, &created_at, sizeof(created_at));
    memcpy(bytes + 13, position->id.bytes, sizeof(position->id.bytes));
    memcpy(bytes + 29, &total, sizeof(total));
    base64url_encode(bytes, sizeof(bytes), text);
    json_member_string(json, "nextCursor", text);
}

enum error page_read(const struct request *request, struct response *response,
                     struct page *ret_page)
{
    char buffer[CURSOR_BYTES_MAX];
    struct text value;
    int64_t limit = PAGE_ITEMS_DEFAULT;
    *ret_page = (struct page){
        .before = {.created_at = INT64_MAX, .total = -1},
        .list = list_of(request->path),
    };
    memset(ret_page->before.id.bytes, 0xFF, sizeof(ret_page->before.id.bytes));
    enum error err =
        request_query(request, &(struct query_field){"limit", buffer, sizeof(buffer)}, &value);
    if (err ||
        (value.data && (!text_to_int64(value, &limit) || limit < 1 || limit > PAGE_ITEMS_MAX)))
        return response_invalid(response, ERROR_INVALID_PARAMETER, "limit",
                                "expected a whole number from 1 to 100");
    ret_page->limit = (int32_t)limit;
    err = request_query(request, &(struct query_field){"cursor", buffer, sizeof(buffer)}, &value);
    if (err || (value.data && !decode_cursor(value, ret_page->list, &ret_page->before)))
        return response_invalid(response, ERROR_INVALID_PARAMETER, "cursor",
                                "expected a nextCursor of this list");
    return ERROR_OK;
}
