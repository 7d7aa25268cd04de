#include "http/transport_fastcgi.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/blocking.h"
#include "base/limits.h"

/* The first entry of a name from here on; ret_value: what it says. */
static char **find_param(char **entry, const char *name, const char **ret_value)
{
    for (; *entry; entry++) {
        const char *here = *entry;
        const char *wanted = name;
        while (*wanted != '\0' && *here == *wanted) {
            here++;
            wanted++;
        }
        if (*wanted == '\0' && *here == '=') {
            *ret_value = here + 1;
            return entry;
        }
    }
    return NULL;
}

/* As FCGX_GetParam, at half the price: most names differ in their first few bytes. */
static const char *fastcgi_param(void *context, const char *name)
{
    const struct fastcgi *fastcgi = context;
    const char *value = NULL;
    find_param(fastcgi->request.envp, name, &value);
    return value;
}

/* nginx sends a header that came twice as two entries; from 1.23 on as one, joined by commas. */
static bool fastcgi_param_repeated(void *context, const char *name)
{
    const struct fastcgi *fastcgi = context;
    const char *value;
    char **first = find_param(fastcgi->request.envp, name, &value);
    return first && find_param(first + 1, name, &value);
}

static long fastcgi_read(void *context, char *buffer, size_t size)
{
    struct fastcgi *fastcgi = context;
    int n = FCGX_GetStr(buffer, (int)size, fastcgi->request.in);
    if (n == 0 && FCGX_GetError(fastcgi->request.in) != 0)
        return -1;
    return n;
}

static bool fastcgi_write(void *context, const char *data, size_t len)
{
    struct fastcgi *fastcgi = context;
    enum { PIECE = 1 << 20 }; /* FCGX_PutStr takes an int */
    while (len > 0) {
        int piece = len < PIECE ? (int)len : PIECE;
        if (FCGX_PutStr(data, piece, fastcgi->request.out) != piece)
            return false;
        data += piece;
        len -= (size_t)piece;
    }
    return FCGX_GetError(fastcgi->request.out) == 0;
}

/*
 * Without END_REQUEST the web server knows that the answer is cut off, and tells its client;
 * FCGX_Finish_r would send one.
 */
static void fastcgi_abandon(void *context)
{
    struct fastcgi *fastcgi = context;
    shutdown(fastcgi->request.ipcFd, SHUT_WR);
}

bool fastcgi_library_init(void)
{
    return FCGX_Init() == 0;
}

bool fastcgi_is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

void fastcgi_init(struct fastcgi *fastcgi)
{
    /* Without a listening socket FCGX_Accept_r returns instead of accepting by itself. */
    FCGX_InitRequest(&fastcgi->request, -1, 0);
    fastcgi->transport = (struct transport){
        .context = fastcgi,
        .param = fastcgi_param,
        .param_repeated = fastcgi_param_repeated,
        .read = fastcgi_read,
        .write = fastcgi_write,
        .abandon = fastcgi_abandon,
    };
}

/* Record types of the FastCGI specification 1.0, section 8. */
enum { FCGI_HEADER_BYTES = 8, FCGI_PARAMS_TYPE = 4, FCGI_STDIN_TYPE = 5 };

enum {
    LOOK_AHEAD_BYTES = 8 * KIB,
    PARAM_BYTES_MAX = MIB, /* of a name, or of a value: far above what nginx sends */
};

/* A length of a name-value pair: the specification, section 3.4. Returns false at the end. */
static bool read_length(const unsigned char *bytes, size_t len, size_t *at, size_t *ret_length)
{
    if (*at >= len)
        return false;
    const unsigned char *here = bytes + *at;
    if (here[0] < 0x80) {
        *ret_length = here[0];
        *at += 1;
        return true;
    }
    if (len - *at < 4)
        return false;
    *ret_length =
        (size_t)(here[0] & 0x7F) << 24 | (size_t)here[1] << 16 | (size_t)here[2] << 8 | here[3];
    *at += 4;
    return true;
}

/* As far as the pairs are there. */
static bool lengths_are_sane(const unsigned char *bytes, size_t len)
{
    size_t at = 0, name;
    while (read_length(bytes, len, &at, &name)) {
        size_t value = 0;
        bool valued = read_length(bytes, len, &at, &value);
        if (name > PARAM_BYTES_MAX || value > PARAM_BYTES_MAX)
            return false;
        if (!valued || name + value > len - at)
            break;
        at += name + value;
    }
    return true;
}

enum fastcgi_ahead fastcgi_look_ahead(int fd)
{
    unsigned char bytes[LOOK_AHEAD_BYTES], params[LOOK_AHEAD_BYTES];
    ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
    ssize_t at = 0;
    size_t params_len = 0;
    bool whole = n == 0, params_end = false;
    while (!whole && n - at >= FCGI_HEADER_BYTES) {
        const unsigned char *header = bytes + at;
        ssize_t len = header[4] << 8 | header[5];
        ssize_t there = n - at - FCGI_HEADER_BYTES;
        if (header[1] == FCGI_PARAMS_TYPE && !params_end) {
            size_t part = (size_t)(len < there ? len : there);
            memcpy(params + params_len, header + FCGI_HEADER_BYTES, part);
            params_len += part;
            params_end = len == 0;
        }
        at += FCGI_HEADER_BYTES + len + header[6];
        if (header[1] == FCGI_STDIN_TYPE && len == 0) {
            whole = at <= n;
            break;
        }
    }
    if (!lengths_are_sane(params, params_len))
        return FASTCGI_MALFORMED;
    return whole ? FASTCGI_WHOLE : FASTCGI_PARTIAL;
}

bool fastcgi_receive(struct fastcgi *fastcgi, int fd)
{
    /* FCGX_Accept_r first finishes the request before, which must not close the new connection. */
    fastcgi->request.keepConnection = 1;
    fastcgi->request.ipcFd = fd;
    if (FCGX_Accept_r(&fastcgi->request) != 0)
        return false;
    /* Parameters that broke off between two of them are taken for all of them by libfcgi. */
    if (FCGX_GetError(fastcgi->request.in) == 0)
        return true;
    blocking_begin();
    fastcgi_finish(fastcgi, false);
    return false;
}

bool fastcgi_closes(const struct fastcgi *fastcgi, bool keep)
{
    return !keep || !fastcgi->request.keepConnection;
}

int fastcgi_finish(struct fastcgi *fastcgi, bool keep)
{
    if (!keep)
        fastcgi->request.keepConnection = 0;
    FCGX_Finish_r(&fastcgi->request);
    int fd = fastcgi->request.ipcFd;
    fastcgi->request.ipcFd = -1;
    return fd;
}

/*
 * A request as nginx sends it (FastCGI specification 1.0, sections 3 to 5): BEGIN_REQUEST with
 * KEEP_CONN for a responder, PARAMS with A=b, empty PARAMS, STDIN with "hi", empty STDIN.
 */
static const unsigned char SAMPLE[] = {
    1, 1, 0, 1, 0, 8, 0, 0, 0,   1,   1,   0,   0, 0, 0, 0, /* BEGIN_REQUEST */
    1, 4, 0, 1, 0, 4, 4, 0, 1,   1,   'A', 'b', 0, 0, 0, 0, /* PARAMS */
    1, 4, 0, 1, 0, 0, 0, 0,                                 /* end of PARAMS */
    1, 5, 0, 1, 0, 2, 6, 0, 'h', 'i', 0,   0,   0, 0, 0, 0, /* STDIN */
    1, 5, 0, 1, 0, 0, 0, 0,                                 /* end of STDIN */
};

static bool serve_sample(struct fastcgi *fastcgi, int fd)
{
    char body[4];
    const struct transport *transport = &fastcgi->transport;
    if (!fastcgi_receive(fastcgi, fd))
        return false;
    const char *value = transport->param(transport->context, "A");
    bool ok = value && strcmp(value, "b") == 0;
    ok = transport->read(transport->context, body, sizeof(body)) == 2 &&
         memcmp(body, "hi", 2) == 0 && ok;
    ok = transport->read(transport->context, body, sizeof(body)) == 0 && ok;
    ok = transport->write(transport->context, "ok", 2) && ok;
    return fastcgi_finish(fastcgi, true) == fd && ok;
}

bool fastcgi_self_test(void)
{
    struct fastcgi fastcgi;
    int ends[2];
    char answer[128];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    fastcgi_init(&fastcgi);
    bool ok = true;
    /* Twice, because keeping the connection is what is tested. */
    for (int round = 0; round < 2 && ok; round++) {
        ok = write(ends[0], SAMPLE, sizeof(SAMPLE)) == (ssize_t)sizeof(SAMPLE) &&
             serve_sample(&fastcgi, ends[1]);
        ssize_t n = ok ? recv(ends[0], answer, sizeof(answer), MSG_DONTWAIT) : -1;
        /* The first record is STDOUT (6) with the two bytes. */
        ok = n > 10 && answer[1] == 6 && memcmp(answer + 8, "ok", 2) == 0;
    }
    close(ends[0]);
    /* A connection that the peer closed ends without blocking, and is closed here too. */
    ok = ok && !fastcgi_receive(&fastcgi, ends[1]) && fastcgi.request.ipcFd == -1;
    if (!ok)
        close(ends[1]);
    return ok;
}
