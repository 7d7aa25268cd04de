/* Lists of networks in CIDR notation, IPv4 and IPv6 (RFC 4632, RFC 4291). */
#pragma once

#include <stdbool.h>

#include "base/text.h"

/*
 * Whether address is in one of a comma list of networks and addresses ("185.71.76.0/27,2a02:5180::/32").
 * An IPv4 address written as IPv6 (::ffff:1.2.3.4) counts as IPv4. False for what is no address.
 */
bool networks_contain(struct text networks, struct text address);

/* Whether every item of the list is a network or an address; the host part has to be zero. */
bool networks_valid(struct text networks);
