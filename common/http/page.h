/*
 * Keyset pagination: limit and cursor of the query string, nextCursor of the answer. A cursor is
 * the position of the last row of a page, so page 1,000 costs what page 1 costs. It names its list,
 * by the path of the request; every other list refuses it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "http/request.h"
#include "http/response.h"

/* The position of a row in the order (created_at, id), newest first. */
struct page_position {
    int64_t created_at; /* microseconds since 1970 */
    struct uuid id;
    int32_t total; /* rows of the whole list, counted for the first page; -1 for unknown */
};

struct page {
    int32_t limit;               /* rows, 1 to PAGE_ITEMS_MAX */
    struct page_position before; /* rows older than this; on the first page, than everything */
    uint32_t list;               /* what a cursor of this list carries */
};

/* Reads limit and cursor. ERROR_INVALID_PARAMETER with the name and what was expected. */
enum error page_read(const struct request *request, struct response *response,
                     struct page *ret_page) MUST_CHECK;

/*
 * Writes the member nextCursor: the position in opaque form, or null for NULL. page: as it was read
 * from the request that is answered.
 */
void page_write_cursor(struct json_writer *json, const struct page *page,
                       const struct page_position *position);
