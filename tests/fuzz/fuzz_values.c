/*
 * Values that arrive as text: times, uuids, owned ids, numbers. What is accepted has one canonical
 * form and survives the way there and back; what is refused leaves the result alone.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/public_id.h"
#include "support/fuzz.h"

static void check_time(struct text text)
{
    /* Years 1 to 9999 with 16 hours of time zone on either side. */
    const int64_t least = INT64_C(-62135596800000000) - INT64_C(57600000000);
    const int64_t most = INT64_C(253402300799999999) + INT64_C(57600000000);
    int64_t time = INT64_MIN;
    char formatted[CLOCK_TIME_SIZE];
    int64_t again;
    if (!clock_parse_time(text, &time)) {
        REQUIRE(time == INT64_MIN);
        return;
    }
    REQUIRE(time >= least && time <= most);
    size_t len = clock_format_time(time, formatted);
    REQUIRE(len == strlen(formatted));
    /* A zone may lead out of the years that have four digits. */
    if (time < INT64_C(-62135596800000000) || time > INT64_C(253402300799999999))
        return;
    REQUIRE(clock_parse_time(text_from(formatted), &again));
    REQUIRE(again <= time && time - again < 1000);
}

static void check_uuid(struct text text)
{
    static const struct uuid UNTOUCHED = {{0xA5, 0x5A, 0xA5}};
    struct uuid uuid = UNTOUCHED;
    char formatted[UUID_TEXT_SIZE];
    if (!uuid_parse(text, &uuid)) {
        REQUIRE(uuid_equal(&uuid, &UNTOUCHED));
        return;
    }
    uuid_format(&uuid, formatted);
    REQUIRE(text_equal_nocase(text, formatted));
}

static void check_public_id(struct text text)
{
    static const struct uuid UNTOUCHED = {{0xA5, 0x5A, 0xA5}};
    struct uuid user_id = UNTOUCHED;
    struct uuid id = UNTOUCHED;
    char formatted[PUBLIC_ID_SIZE];
    if (!public_id_parse(text, &user_id, &id)) {
        REQUIRE(uuid_equal(&user_id, &UNTOUCHED) && uuid_equal(&id, &UNTOUCHED));
        return;
    }
    public_id_format(&user_id, &id, formatted);
    REQUIRE(text_equal(text_from(formatted), text));
}

static bool is_number(const char *string, size_t len)
{
    const char *p = string + (*string == '-');
    return *p && strspn(p, "0123456789") == len - (size_t)(p - string);
}

static void check_number(struct text text)
{
    char *string = fuzz_string(text);
    int64_t value = 4711;
    bool accepted = text_to_int64(text, &value);
    errno = 0;
    intmax_t expected = strtoimax(string, NULL, 10);
    REQUIRE(accepted == (is_number(string, text.len) && errno == 0));
    REQUIRE(value == (accepted ? expected : 4711));
    free(string);
}

/* Any 64 bits are a time that can be written: a damaged row must not end a handler. */
static void check_format(struct text text)
{
    int64_t time = 0;
    int32_t days = 0;
    char buffer[CLOCK_TIME_SIZE];
    char date[CLOCK_DATE_SIZE];
    memcpy(&time, text.data, text.len < sizeof(time) ? text.len : sizeof(time));
    memcpy(&days, text.data, text.len < sizeof(days) ? text.len : sizeof(days));
    REQUIRE(clock_format_time(time, buffer) == strlen(buffer));
    REQUIRE(buffer[strlen(buffer) - 1] == 'Z');
    REQUIRE(clock_format_date(days, date) == strlen(date));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct text absent = {NULL, 0};
    int64_t number;
    struct uuid uuid;
    REQUIRE(!clock_parse_time(absent, &number) && !text_to_int64(absent, &number));
    REQUIRE(!uuid_parse(absent, &uuid) && !public_id_parse(absent, &uuid, &uuid));
    check_time(input);
    check_uuid(input);
    check_public_id(input);
    check_number(input);
    if (size > 0)
        check_format(input);
    return 0;
}
