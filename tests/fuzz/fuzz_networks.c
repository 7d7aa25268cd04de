/*
 * Networks: line 1 the list, line 2 an address. Who is let in must not depend on how it is written:
 * an address is compared bit by bit here, in the slowest way there is.
 */
#include <arpa/inet.h>
#include <stdlib.h>

#include "base/networks.h"
#include "support/fuzz.h"

static bool read_address(const char *string, int *ret_family, uint8_t bytes[static 16])
{
    static const uint8_t MAPPED[12] = {[10] = 0xFF, [11] = 0xFF};
    if (inet_pton(AF_INET, string, bytes) == 1) {
        *ret_family = AF_INET;
        return true;
    }
    if (inet_pton(AF_INET6, string, bytes) != 1)
        return false;
    *ret_family = memcmp(bytes, MAPPED, sizeof(MAPPED)) == 0 ? AF_INET : AF_INET6;
    if (*ret_family == AF_INET)
        memmove(bytes, bytes + sizeof(MAPPED), 4);
    return true;
}

/* One item without a prefix, or with one of IPv4: what the rest of the list says is not looked at.
 */
static bool item_contains(const char *item, const char *address)
{
    char *copy = strdup(item);
    REQUIRE(copy);
    uint8_t network[16], who[16];
    int family, its_family;
    char *slash = strchr(copy, '/');
    if (slash)
        *slash = '\0';
    bool contained = false;
    if (read_address(copy, &family, network) && read_address(address, &its_family, who) &&
        family == its_family) {
        int all = family == AF_INET ? 32 : 128;
        bool is_mapped = family == AF_INET && strchr(copy, ':');
        int bits = slash ? atoi(slash + 1) - (is_mapped ? 96 : 0) : all;
        contained = bits >= 0 && bits <= all;
        for (int i = 0; contained && i < bits; i++)
            contained = ((network[i / 8] ^ who[i / 8]) >> (7 - i % 8) & 1) == 0;
    }
    free(copy);
    return contained;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_input(data, size);
    struct text networks = fuzz_line(&input);
    struct text address = fuzz_line(&input);
    bool valid = networks_valid(networks);
    bool contained = networks_contain(networks, address);
    if (memchr(networks.data, '\0', networks.len) || memchr(address.data, '\0', address.len)) {
        REQUIRE(!memchr(address.data, '\0', address.len) || !contained);
        return 0;
    }
    char *who = fuzz_string(address);
    struct text rest = networks;
    struct text item;
    bool expected = false;
    while (text_next_item(&rest, ',', &item)) {
        char *string = fuzz_string(item);
        bool in_item = networks_contain(item, address);
        REQUIRE(!in_item || contained);
        /* What is no network lets nobody in; what is one lets in whom it says. */
        REQUIRE(networks_valid(item) || !in_item);
        if (networks_valid(item))
            REQUIRE(in_item == item_contains(string, who));
        REQUIRE(!valid || networks_valid(item));
        expected |= in_item;
        free(string);
    }
    REQUIRE(contained == expected);
    free(who);
    return 0;
}
