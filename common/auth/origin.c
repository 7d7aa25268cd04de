#include "auth/origin.h"

#include <strings.h>

static struct text without_slash(struct text origin)
{
    while (origin.len > 0 && origin.data[origin.len - 1] == '/')
        origin.len--;
    return origin;
}

bool origin_is_listed(const char *origins, struct text origin)
{
    struct text rest = text_from(origins);
    struct text item;
    if (origin.len == 0)
        return false;
    while (text_next_item(&rest, ',', &item))
        if (item.len > 0 && text_equal(without_slash(item), origin))
            return true;
    return false;
}

/* The scheme and authority of a URL; the absent text for what is none. */
static struct text origin_of(struct text url)
{
    const char *scheme_end = url.len > 0 ? memmem(url.data, url.len, "://", 3) : NULL;
    if (!scheme_end)
        return (struct text){NULL, 0};
    size_t len = (size_t)(scheme_end - url.data) + 3;
    while (len < url.len && url.data[len] != '/' && url.data[len] != '?' && url.data[len] != '#')
        len++;
    return (struct text){url.data, len};
}

/* A port that the scheme implies is left out by browsers, and not by every proxy. */
static struct text without_default_port(struct text host)
{
    static const char PORT[] = ":443";
    size_t len = sizeof(PORT) - 1;
    if (host.len > len && memcmp(host.data + host.len - len, PORT, len) == 0)
        host.len -= len;
    return host;
}

/* Plain http is not ours: nginx only sends it on to https. */
static bool is_own(struct text origin, struct text host)
{
    static const char SCHEME[] = "https://";
    size_t skip = sizeof(SCHEME) - 1;
    host = without_default_port(host);
    return host.len > 0 && text_starts_nocase(origin, SCHEME) && origin.len - skip == host.len &&
           strncasecmp(origin.data + skip, host.data, host.len) == 0;
}

bool origin_is_trusted(const struct origin_headers *headers, const char *allowed_origins)
{
    /* It holds as well where a proxy changed Host, or where a page's policy made Origin null. */
    if (text_equal(headers->fetch_site, TEXT_LITERAL("same-origin")))
        return true;
    struct text origin = headers->origin.data ? headers->origin : origin_of(headers->referer);
    return origin_is_listed(allowed_origins, origin) || is_own(origin, headers->host);
}
