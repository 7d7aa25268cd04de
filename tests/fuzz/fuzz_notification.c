/*
 * Notifications, which anybody may send. What is taken of one is an event's name and an id that
 * becomes part of a URL, and nothing else.
 */
#include "base/limits.h"
#include "outbound/yookassa_json.h"
#include "support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yookassa_notification notification;
    struct text input = fuzz_input(data, size);
    enum error err = yookassa_notification_parse(input, &notification);
    if (err) {
        REQUIRE(err == ERROR_MALFORMED_JSON || err == ERROR_INVALID_FIELD);
        REQUIRE(!notification.owned && !notification.event.data && !notification.object_id.data);
        yookassa_notification_done(&notification);
        return 0;
    }
    if (!notification.is_payment &&
        !notification.is_refund) { /* understood, and about nothing of ours */
        REQUIRE(!notification.object_id.data);
        yookassa_notification_done(&notification);
        return 0;
    }
    REQUIRE(yookassa_json_is_id(notification.object_id));
    REQUIRE(notification.event.len > 7 && notification.event.len <= PROVIDER_WORD_BYTES_MAX);
    REQUIRE(!memchr(notification.event.data, '\0', notification.event.len));
    REQUIRE(memcmp(notification.event.data, notification.is_refund ? "refund." : "payment", 7) ==
            0);
    /* An id has no escapes but may be written with some; without them it stands there as it is. */
    REQUIRE(memchr(data, '\\', size) ||
            memmem(data, size, notification.object_id.data, notification.object_id.len));
    yookassa_notification_done(&notification);
    REQUIRE(!notification.owned);
    return 0;
}
