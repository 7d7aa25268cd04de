/*
 * Finds in the bytes of a JSON text what the parser does not report: the member that a position
 * belongs to, and members that occur twice. Takes invalid input too, and never reads past its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* The number of members (name and value pairs) of all objects of a valid text together. */
size_t json_scan_count_members(struct text json);

enum json_scan_duplicate {
    JSON_SCAN_NONE,
    JSON_SCAN_FOUND,
    JSON_SCAN_UNKNOWN, /* none in the part that was looked at, which is not all of the text */
};

/*
 * The first member name that occurs twice in one object, as it stands between its quotes. Names
 * that differ only in their escapes are the same. Looks at the first 64 objects, and at the first
 * 256 members of each. ret_name: filled for JSON_SCAN_FOUND.
 */
enum json_scan_duplicate json_scan_find_duplicate(struct text json, struct text *ret_name);

/*
 * Finds what RFC 8259 forbids and json-c 0.16 lets pass even in its strict mode: NaN, Infinity,
 * numbers such as 01 and 1., control characters, surrogates and overlong UTF-8 inside strings, and
 * a NUL escaped in a member's name (which json-c then cuts there). json: a text that json-c has
 * accepted. Returns false when there is none.
 */
bool json_scan_find_fault(struct text json, size_t *ret_offset);

/* The last member name that starts before offset; absent when there is none. */
struct text json_scan_member_at(struct text json, size_t offset);
