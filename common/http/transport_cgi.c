#include "http/transport_cgi.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/text.h"

static const char *cgi_param(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

/* RFC 3875, section 4.2: a script reads CONTENT_LENGTH bytes; without one there is no body. */
static long cgi_read(void *context, char *buffer, size_t size)
{
    static size_t consumed; /* one request a process */
    int64_t length = 0;
    (void)context;
    const char *declared = getenv("CONTENT_LENGTH");
    if (!declared || !text_to_int64(text_from(declared), &length) || length < 0)
        return 0;
    size_t left = (size_t)length - consumed;
    if (size > left)
        size = left;
    ssize_t n;
    do {
        n = size > 0 ? read(STDIN_FILENO, buffer, size) : 0;
    } while (n < 0 && errno == EINTR);
    if (n > 0)
        consumed += (size_t)n;
    return n;
}

static bool cgi_write(void *context, const char *data, size_t len)
{
    (void)context;
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, data, len);
        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    return true;
}

struct transport transport_cgi(void)
{
    return (struct transport){.param = cgi_param, .read = cgi_read, .write = cgi_write};
}
