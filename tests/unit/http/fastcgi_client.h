/*
 * The web server's side of FastCGI for the tests of this folder: builds the records of a request
 * and takes an answer apart (FastCGI specification 1.0, sections 3 to 5).
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"

enum { CLIENT_BEGIN = 1, CLIENT_END = 3, CLIENT_PARAMS = 4, CLIENT_STDIN = 5, CLIENT_STDOUT = 6 };
enum { CLIENT_KEEP = 1, CLIENT_RESPONDER = 1 };

/* padding: bytes behind the content, 0 to 255. */
static inline void client_record(struct buffer *out, int type, struct text content, int padding)
{
    const char header[8] = {
        1, (char)type, 0, 1, (char)(content.len >> 8), (char)content.len, (char)padding, 0};
    static const char ZEROS[255];
    buffer_append(out, header, sizeof(header));
    buffer_append_text(out, content);
    buffer_append(out, ZEROS, (size_t)padding);
}

static inline void client_begin(struct buffer *out, int role, int flags)
{
    const char content[8] = {0, (char)role, (char)flags};
    client_record(out, CLIENT_BEGIN, (struct text){content, sizeof(content)}, 0);
}

static inline void client_length(struct buffer *out, size_t len)
{
    if (len > 127) {
        buffer_append_char(out, (char)(0x80 | len >> 24));
        buffer_append_char(out, (char)(len >> 16));
        buffer_append_char(out, (char)(len >> 8));
    }
    buffer_append_char(out, (char)len);
}

static inline void client_param(struct buffer *params, const char *name, const char *value)
{
    client_length(params, strlen(name));
    client_length(params, strlen(value));
    buffer_append_string(params, name);
    buffer_append_string(params, value);
}

/* A whole request as nginx sends it. Content of a record is at most 32 KB, as nginx has it. */
static inline void client_request(struct buffer *out, const char *method, const char *path,
                                  struct text body)
{
    struct buffer params;
    char length[24];
    buffer_init(&params, 65535);
    client_param(&params, "REQUEST_METHOD", method);
    client_param(&params, "DOCUMENT_URI", path);
    snprintf(length, sizeof(length), "%zu", body.len);
    client_param(&params, "CONTENT_LENGTH", length);
    client_begin(out, CLIENT_RESPONDER, CLIENT_KEEP);
    client_record(out, CLIENT_PARAMS, buffer_text(&params), (int)(-params.len & 7));
    client_record(out, CLIENT_PARAMS, (struct text){NULL, 0}, 0);
    while (body.len > 0) {
        size_t piece = body.len < 32768 ? body.len : 32768;
        client_record(out, CLIENT_STDIN, (struct text){body.data, piece}, (int)(-piece & 7));
        body = (struct text){body.data + piece, body.len - piece};
    }
    client_record(out, CLIENT_STDIN, (struct text){NULL, 0}, 0);
    buffer_done(&params);
}

static inline bool client_send(int fd, struct text data)
{
    while (data.len > 0) {
        ssize_t n = send(fd, data.data, data.len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data = (struct text){data.data + n, data.len - (size_t)n};
    }
    return true;
}

static inline bool client_receive_all(int fd, char *to, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, to, len, 0);
        if (n <= 0)
            return false;
        to += n;
        len -= (size_t)n;
    }
    return true;
}

/* Reads one answer to its END_REQUEST; false when the connection ended before. */
static inline bool client_answer(int fd, struct buffer *out)
{
    for (;;) {
        unsigned char header[8];
        char content[65535 + 255];
        if (!client_receive_all(fd, (char *)header, sizeof(header)))
            return false;
        size_t len = (size_t)(header[4] << 8 | header[5]);
        if (!client_receive_all(fd, content, len + header[6]))
            return false;
        if (header[1] == CLIENT_STDOUT)
            buffer_append(out, content, len);
        if (header[1] == CLIENT_END)
            return true;
    }
}
