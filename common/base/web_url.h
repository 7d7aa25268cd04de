/*
 * An absolute http or https URL in the form in which a browser opens it (url.spec.whatwg.org, "URL
 * parsing"), so that what is checked is what is opened: blanks at the ends, tabs and line breaks
 * go, backslashes are slashes, any number of slashes leads to the host, scheme and host are in
 * lower case, a host in another script is in Punycode (UTS #46), the default port goes, dot
 * segments are resolved, and what has to be is percent-encoded.
 *
 * Refused beyond what a browser refuses: names and passwords before the host, and IPv4 addresses
 * that are not four decimal numbers.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/text.h"

struct web_url {
    char href[URL_BYTES_MAX + 1]; /* whole, NUL-terminated */
    size_t len;
    size_t origin_len; /* of its origin: "https://host" or "https://host:port" */
    size_t host_start; /* where the host begins in it, and its length */
    size_t host_len;
    bool secure; /* https */
};

/*
 * ERROR_INVALID_PARAMETER: input is no such URL, or is longer than URL_BYTES_MAX. ERROR_NO_MEMORY.
 * ret_url is untouched then.
 */
enum error web_url_parse(struct text input, struct web_url *ret_url) MUST_CHECK;

/* Borrowed from url. */
struct text web_url_href(const struct web_url *url);
struct text web_url_origin(const struct web_url *url);
struct text web_url_host(const struct web_url *url);
