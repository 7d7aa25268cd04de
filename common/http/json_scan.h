/*
 * Looks at the bytes of a JSON text for what the parser does not report: which member a position
 * belongs to, and members that occur twice. Needs no valid input and never reads past its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* The number of members (name and value pairs) of all objects of a valid text together. */
size_t json_scan_count_members(struct text json);

/*
 * The first member name that occurs twice in one object, as it stands between its quotes. Returns
 * false when there is none among the first 256 members of any object.
 */
bool json_scan_find_duplicate(struct text json, struct text *ret_name);

/* The last member name that starts before offset; absent when there is none. */
struct text json_scan_member_at(struct text json, size_t offset);
