/* Holds as the answers show them. */
#pragma once

#include "base/json_writer.h"
#include "http/page.h"
#include "repositories/hold_repository.h"

/* Writes an object, the next value of json. */
void hold_json(struct json_writer *json, const struct hold *hold);

/*
 * Writes a page of holds as member "holds", then nextCursor. list: asked for with one row more than
 * page->limit, which tells whether there is a next page.
 */
void hold_json_page(struct json_writer *json, const struct hold_list *list,
                    const struct page *page);
