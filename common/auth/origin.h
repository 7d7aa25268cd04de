/*
 * The page that a request comes from, as its browser vouches: the defence against cross-site
 * request forgery. A browser sends cookies along with the requests of any page. It alone writes the
 * headers below, so they tell our own pages from others (fetch.spec.whatwg.org, "Origin header";
 * w3.org, "Fetch Metadata Request Headers"). Thread-safe.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"

/* Absent texts for headers that did not come. Borrowed. */
struct origin_headers {
    struct text origin;     /* Origin */
    struct text referer;    /* Referer: counts without Origin */
    struct text fetch_site; /* Sec-Fetch-Site */
    struct text host;       /* Host as the client sent it, with its port unless that is 443 */
};

/*
 * Whether the page behind a request is one of ours: of allowed_origins, or of the address it asks,
 * which is served over https alone. False for a request that names no origin.
 * allowed_origins: as origin_is_listed.
 */
bool origin_is_trusted(const struct origin_headers *headers, const char *allowed_origins);

/* Whether a comma list such as ALLOWED_ORIGINS has origin; its trailing slashes are ignored. */
bool origin_is_listed(const char *origins, struct text origin);
