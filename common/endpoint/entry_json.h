/* Ledger entries as the answers show them. */
#pragma once

#include "base/json_writer.h"
#include "http/page.h"
#include "repositories/token_repository.h"

/*
 * Writes a page of entries as member name, then nextCursor. list: asked for with one row more than
 * page->limit, which tells whether there is a next page.
 */
void entry_json_page(struct json_writer *json, const char *name,
                     const struct transaction_list *list, const struct page *page);
