#include "base/web_url.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_BYTES_MAX = 255, PORT_MAX = 65535 };

/* The form being written. */
struct writer {
    struct web_url url;
    bool full;
    bool no_memory;
};

static void put(struct writer *writer, char c)
{
    struct web_url *url = &writer->url;
    if (url->len >= URL_BYTES_MAX)
        writer->full = true;
    else
        url->href[url->len++] = c;
}

static void put_text(struct writer *writer, struct text text)
{
    for (size_t i = 0; i < text.len; i++)
        put(writer, text.data[i]);
}

/* also: what is encoded beside control characters and what is not ASCII. */
static void put_encoded(struct writer *writer, char c, const char *also)
{
    static const char DIGITS[] = "0123456789ABCDEF";
    unsigned char byte = (unsigned char)c;
    if (byte >= 0x20 && byte < 0x7F && !strchr(also, c)) {
        put(writer, c);
        return;
    }
    put(writer, '%');
    put(writer, DIGITS[byte >> 4]);
    put(writer, DIGITS[byte & 15]);
}

static bool is_slash(char c)
{
    return c == '/' || c == '\\';
}

static struct text skip(struct text text, size_t count)
{
    return (struct text){text.data + count, text.len - count};
}

/* Without blanks and control characters at the ends, and without tabs and line breaks. */
static struct text clean(struct text input, char buffer[static URL_BYTES_MAX])
{
    struct text cleaned = {buffer, 0};
    while (input.len > 0 && (unsigned char)input.data[0] <= 0x20)
        input = skip(input, 1);
    while (input.len > 0 && (unsigned char)input.data[input.len - 1] <= 0x20)
        input.len--;
    for (size_t i = 0; i < input.len; i++)
        if (!strchr("\t\n\r", input.data[i]))
            buffer[cleaned.len++] = input.data[i];
    return cleaned;
}

/* Up to the path. Its first character, if any, is a slash, a question mark or a number sign. */
static size_t authority_len(struct text rest)
{
    size_t len = 0;
    while (len < rest.len && !is_slash(rest.data[len]) && rest.data[len] != '?' &&
           rest.data[len] != '#')
        len++;
    return len;
}

static bool decode_host(struct text host, char decoded[static HOST_BYTES_MAX + 1])
{
    size_t len = 0;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i];
        int high = c == '%' && i + 2 < host.len ? text_hex_digit(host.data[i + 1]) : -1;
        int low = high >= 0 ? text_hex_digit(host.data[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0' || len == HOST_BYTES_MAX)
            return false;
        decoded[len++] = c;
    }
    decoded[len] = '\0';
    return len > 0 && text_is_utf8((struct text){decoded, len});
}

static bool is_number(struct text label)
{
    bool hexadecimal = text_starts_nocase(label, "0x");
    bool digits = label.len > 0;
    for (size_t i = hexadecimal ? 2 : 0; i < label.len; i++)
        digits = digits && (hexadecimal ? text_hex_digit(label.data[i]) >= 0
                                        : label.data[i] >= '0' && label.data[i] <= '9');
    return digits;
}

/* A browser takes a host that ends in a number for an IPv4 address, in any of its old forms. */
static bool is_honest_ipv4(const char *host)
{
    struct in_addr address;
    struct text name = text_from(host);
    if (name.len > 0 && name.data[name.len - 1] == '.')
        name.len--;
    size_t start = name.len;
    while (start > 0 && name.data[start - 1] != '.')
        start--;
    return !is_number(skip(name, start)) || inet_pton(AF_INET, host, &address) == 1;
}

static bool put_domain(struct writer *writer, struct text host)
{
    static const char FORBIDDEN[] = " #%/:<>?@[\\]^|";
    char decoded[HOST_BYTES_MAX + 1];
    char *ascii = NULL;
    if (!decode_host(host, decoded))
        return false;
    int rc = idn2_to_ascii_8z(decoded, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    writer->no_memory = rc == IDN2_MALLOC;
    bool good = rc == IDN2_OK && ascii[0] != '\0' && is_honest_ipv4(ascii);
    for (const char *c = ascii; good && *c; c++) {
        char lower = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        good =
            (unsigned char)lower > 0x20 && (unsigned char)lower < 0x7F && !strchr(FORBIDDEN, lower);
        put(writer, lower);
    }
    idn2_free(ascii);
    return good;
}

static bool put_ipv6(struct writer *writer, struct text inside)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN];
    if (!text_copy(inside, text, sizeof(text)) || inet_pton(AF_INET6, text, &address) != 1 ||
        !inet_ntop(AF_INET6, &address, text, sizeof(text)))
        return false;
    put(writer, '[');
    put_text(writer, text_from(text));
    put(writer, ']');
    return true;
}

/* port: what follows the colon; empty for none. */
static bool put_port(struct writer *writer, struct text port)
{
    char digits[8];
    int number = 0;
    for (size_t i = 0; i < port.len; i++) {
        if (port.data[i] < '0' || port.data[i] > '9')
            return false;
        number = number * 10 + (port.data[i] - '0');
        if (number > PORT_MAX)
            return false;
    }
    if (port.len == 0 || number == (writer->url.secure ? 443 : 80))
        return true;
    size_t count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put(writer, ':');
    while (count > 0)
        put(writer, digits[--count]);
    return true;
}

static bool put_authority(struct writer *writer, struct text authority)
{
    const char *bracket = memchr(authority.data, ']', authority.len);
    bool ipv6 = authority.len > 0 && authority.data[0] == '[';
    if (memchr(authority.data, '@', authority.len) || (ipv6 && !bracket))
        return false;
    size_t host_len = ipv6 ? (size_t)(bracket - authority.data) + 1 : 0;
    while (!ipv6 && host_len < authority.len && authority.data[host_len] != ':')
        host_len++;
    struct text port = skip(authority, host_len);
    if (port.len > 0 && port.data[0] != ':')
        return false;
    writer->url.host_start = writer->url.len;
    if (ipv6 ? !put_ipv6(writer, (struct text){authority.data + 1, host_len - 2})
             : !put_domain(writer, (struct text){authority.data, host_len}))
        return false;
    writer->url.host_len = writer->url.len - writer->url.host_start;
    return put_port(writer, port.len > 0 ? skip(port, 1) : port);
}

/* How many dots a segment is, written as they are or encoded; 0 for one that is anything else. */
static int count_dots(struct text segment)
{
    int dots = 0;
    while (segment.len > 0) {
        size_t width = segment.data[0] == '.' ? 1 : text_starts_nocase(segment, "%2e") ? 3 : 0;
        if (width == 0 || dots == 2)
            return 0;
        dots++;
        segment = skip(segment, width);
    }
    return dots;
}

static void remove_segment(struct web_url *url)
{
    while (url->len > url->origin_len && url->href[--url->len] != '/')
        ;
}

/* Returns what follows the path. */
static struct text put_path(struct writer *writer, struct text rest)
{
    bool more = true;
    if (rest.len > 0 && is_slash(rest.data[0]))
        rest = skip(rest, 1);
    while (more) {
        struct text segment = {rest.data, authority_len(rest)};
        rest = skip(rest, segment.len);
        more = rest.len > 0 && is_slash(rest.data[0]);
        if (more)
            rest = skip(rest, 1);
        int dots = count_dots(segment);
        if (dots == 2)
            remove_segment(&writer->url);
        if (dots == 0)
            put(writer, '/');
        for (size_t i = 0; dots == 0 && i < segment.len; i++)
            put_encoded(writer, segment.data[i], " \"#<>?^`{}");
        if (dots > 0 && !more)
            put(writer, '/');
    }
    return rest;
}

static void put_query_and_fragment(struct writer *writer, struct text rest)
{
    bool fragment = false;
    for (size_t i = 0; i < rest.len; i++) {
        char c = rest.data[i];
        bool begins = (c == '?' && i == 0) || (c == '#' && !fragment);
        fragment = fragment || c == '#';
        if (begins)
            put(writer, c);
        else
            put_encoded(writer, c, fragment ? " \"<>`" : " \"<>'");
    }
}

enum error web_url_parse(struct text input, struct web_url *ret_url)
{
    char buffer[URL_BYTES_MAX];
    struct writer writer = {.full = false};
    if (input.len > URL_BYTES_MAX)
        return ERROR_INVALID_PARAMETER;
    struct text rest = clean(input, buffer);
    writer.url.secure = text_starts_nocase(rest, "https:");
    if (!writer.url.secure && !text_starts_nocase(rest, "http:"))
        return ERROR_INVALID_PARAMETER;
    put_text(&writer, writer.url.secure ? TEXT_LITERAL("https://") : TEXT_LITERAL("http://"));
    rest = skip(rest, writer.url.secure ? strlen("https:") : strlen("http:"));
    while (rest.len > 0 && is_slash(rest.data[0]))
        rest = skip(rest, 1);
    struct text authority = {rest.data, authority_len(rest)};
    if (!put_authority(&writer, authority))
        return writer.no_memory ? ERROR_NO_MEMORY : ERROR_INVALID_PARAMETER;
    writer.url.origin_len = writer.url.len;
    rest = put_path(&writer, skip(rest, authority.len));
    put_query_and_fragment(&writer, rest);
    if (writer.full)
        return ERROR_INVALID_PARAMETER;
    writer.url.href[writer.url.len] = '\0';
    *ret_url = writer.url;
    return ERROR_OK;
}

struct text web_url_href(const struct web_url *url)
{
    return (struct text){url->href, url->len};
}

struct text web_url_origin(const struct web_url *url)
{
    return (struct text){url->href, url->origin_len};
}

struct text web_url_host(const struct web_url *url)
{
    return (struct text){url->href + url->host_start, url->host_len};
}
