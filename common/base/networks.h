/*
 * Lists of networks in CIDR notation, IPv4 and IPv6 (RFC 4632, RFC 4291). Blanks beside a comma are
 * ignored. Thread-safe, no allocation.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"

/*
 * Whether address is in one of a comma list of networks and addresses, such as
 * "185.71.76.0/27,2a02:5180::/32". An IPv4 address written as IPv6 (::ffff:1.2.3.4) counts as IPv4.
 * False for a text that is not an address.
 */
bool networks_contain(struct text networks, struct text address);

/* Whether every item of the list is a network or an address; bits behind the prefix have to be 0.
 */
bool networks_valid(struct text networks);
