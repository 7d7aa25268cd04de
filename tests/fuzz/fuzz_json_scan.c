/* The scan of JSON text that need not be valid: what it returns lies within the text. */
#include "base/json_scan.h"

#include "support/fuzz.h"
#include "support/json_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = size > 0 ? fuzz_input(data, size) : TEXT_LITERAL("");
    struct text name = TEXT_LITERAL("untouched");
    struct json_facts facts;
    size_t count = json_scan_count_members(input);
    /* A member takes its quotes and its colon. */
    REQUIRE(count <= size / 3);
    if (json_scan_find_duplicate(input, &name) == JSON_SCAN_FOUND) {
        REQUIRE(fuzz_within(name, input) && count >= 2);
        if (json_check(input, &facts))
            REQUIRE(facts.duplicate_name || facts.crowded);
    } else {
        REQUIRE(text_equal(name, TEXT_LITERAL("untouched")));
    }
    size_t fault = size;
    REQUIRE(!json_scan_find_fault(input, &fault) || fault < input.len);
    for (size_t offset = 0; offset <= size; offset += 1 + size / 32) {
        struct text at = json_scan_member_at(input, offset);
        if (at.data)
            REQUIRE(fuzz_within(at, input) && (size_t)(at.data - input.data) <= offset);
    }
    return 0;
}
