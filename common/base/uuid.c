#include "base/uuid.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

/*
 * Milliseconds and a 12-bit counter in one word, so that two ids of one millisecond ascend
 * (RFC 9562, section 6.2, method 1). Process-wide on purpose: order is per process.
 */
static atomic_uint_least64_t last_tick;

static uint64_t next_tick(void)
{
    uint64_t now = (uint64_t)(clock_unix_us() / 1000) << 12;
    uint64_t last = atomic_load_explicit(&last_tick, memory_order_relaxed);
    uint64_t next;
    do {
        next = now > last ? now : last + 1;
    } while (!atomic_compare_exchange_weak_explicit(&last_tick, &last, next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return next;
}

/* Kernel randomness, fetched 32 ids at a time per thread: a system call an id costs more. */
static void random_tail(uint8_t out[8])
{
    static __thread uint8_t pool[256];
    static __thread size_t used = sizeof(pool);
    if (used == sizeof(pool)) {
        size_t have = 0;
        while (have < sizeof(pool)) {
            ssize_t n = getrandom(pool + have, sizeof(pool) - have, 0);
            if (n > 0)
                have += (size_t)n;
        }
        used = 0;
    }
    memcpy(out, pool + used, 8);
    used += 8;
}

struct uuid uuid_new(void)
{
    struct uuid uuid;
    uint64_t tick = next_tick();
    uint64_t ms = tick >> 12;
    for (int i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    uuid.bytes[6] = (uint8_t)(0x70 | (tick >> 8 & 0x0F));
    uuid.bytes[7] = (uint8_t)tick;
    random_tail(uuid.bytes + 8);
    uuid.bytes[8] = (uint8_t)(0x80 | (uuid.bytes[8] & 0x3F));
    return uuid;
}

bool uuid_parse(struct text text, struct uuid *ret_uuid)
{
    struct uuid uuid;
    size_t at = 0;
    if (!text.data || text.len != UUID_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < sizeof(uuid.bytes); i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && text.data[at++] != '-')
            return false;
        int high = text_hex_digit(text.data[at++]);
        int low = text_hex_digit(text.data[at++]);
        if (high < 0 || low < 0)
            return false;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_uuid = uuid;
    return true;
}

void uuid_format(const struct uuid *uuid, char buffer[static UUID_TEXT_SIZE])
{
    static const char DIGITS[] = "0123456789abcdef";
    char *p = buffer;
    for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = DIGITS[uuid->bytes[i] >> 4];
        *p++ = DIGITS[uuid->bytes[i] & 0x0F];
    }
    *p = '\0';
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
