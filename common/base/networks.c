#include "base/networks.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

/* Where the IPv4 address is in an IPv4-mapped IPv6 one (RFC 4291, section 2.5.5.2). */
enum { MAPPED_BYTES = 12 };
static const uint8_t MAPPED[MAPPED_BYTES] = {[10] = 0xFF, [11] = 0xFF};

/* IPv4 is kept as its mapped form, but stays a family of its own: ::/0 holds no IPv4 address. */
struct address {
    uint8_t bytes[16];
    bool is_ipv4;
};

static bool read_address(struct text text, struct address *ret_address)
{
    char string[INET6_ADDRSTRLEN];
    struct address address;
    if (text.len == 0 || memchr(text.data, '\0', text.len) ||
        !text_copy(text, string, sizeof(string)))
        return false;
    memcpy(address.bytes, MAPPED, MAPPED_BYTES);
    if (inet_pton(AF_INET, string, address.bytes + MAPPED_BYTES) != 1 &&
        inet_pton(AF_INET6, string, address.bytes) != 1)
        return false;
    address.is_ipv4 = memcmp(address.bytes, MAPPED, MAPPED_BYTES) == 0;
    *ret_address = address;
    return true;
}

/* The first bits of both are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned bytes = bits / 8;
    if (memcmp(a, b, bytes) != 0)
        return false;
    return bits % 8 == 0 || (a[bytes] ^ b[bytes]) >> (8 - bits % 8) == 0;
}

static bool host_part_is_zero(const uint8_t bytes[static 16], unsigned bits)
{
    uint8_t network[16] = {0};
    memcpy(network, bytes, (bits + 7) / 8);
    if (bits % 8 != 0)
        network[bits / 8] &= (uint8_t)(0xFF << (8 - bits % 8));
    return memcmp(network, bytes, sizeof(network)) == 0;
}

/* ret_bits: of the 128. */
static bool read_network(struct text item, struct address *ret_address, unsigned *ret_bits)
{
    const char *slash = item.len > 0 ? memchr(item.data, '/', item.len) : NULL;
    struct text text = {item.data, slash ? (size_t)(slash - item.data) : item.len};
    if (!read_address(text, ret_address))
        return false;
    *ret_bits = 128;
    if (!slash)
        return true;
    /* A mapped network is written with the prefix of IPv6, an IPv4 one with its own. */
    int64_t shift = memchr(text.data, ':', text.len) ? 0 : 8 * MAPPED_BYTES;
    struct text prefix = {slash + 1, item.len - text.len - 1};
    int64_t bits;
    if (prefix.len == 0 || prefix.len > 3 || (prefix.len > 1 && prefix.data[0] == '0') ||
        !text_to_int64(prefix, &bits) || prefix.data[0] == '-' || bits + shift > 128)
        return false;
    *ret_bits = (unsigned)(bits + shift);
    return host_part_is_zero(ret_address->bytes, *ret_bits);
}

bool networks_contain(struct text networks, struct text address)
{
    struct address who;
    struct address network;
    struct text item;
    unsigned bits;
    if (!read_address(address, &who))
        return false;
    while (text_next_item(&networks, ',', &item))
        if (read_network(item, &network, &bits) && network.is_ipv4 == who.is_ipv4 &&
            same_prefix(network.bytes, who.bytes, bits))
            return true;
    return false;
}

bool networks_valid(struct text networks)
{
    struct address network;
    struct text item;
    unsigned bits;
    if (networks.len == 0)
        return false;
    while (text_next_item(&networks, ',', &item))
        if (!read_network(item, &network, &bits))
            return false;
    return true;
}
