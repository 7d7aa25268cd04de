/*
 * An HTTP server on the loopback for unit tests: one thread, one connection at a time unless it is
 * kept, an answer that the test chooses. It counts what it was asked and keeps the last request.
 */
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

enum local_fault {
    LOCAL_ANSWER,  /* status, headers and body below */
    LOCAL_HANG,    /* reads the request, then nothing */
    LOCAL_CLOSE,   /* reads the request and closes */
    LOCAL_CUT,     /* half of the body, then closes */
    LOCAL_GARBAGE, /* bytes that are no HTTP */
    LOCAL_ENDLESS, /* a body without a length that does not end */
};

struct local_server {
    int listener;
    int stop_pipe[2];
    pthread_t thread;
    char url[64]; /* http://127.0.0.1:PORT */

    pthread_mutex_t lock; /* guards what follows */
    enum local_fault fault;
    int status;
    const char *headers; /* whole lines with \r\n, or "" */
    const char *body;
    size_t body_len;
    int delay_ms; /* before the answer */
    char request[8192];

    atomic_int requests, connections;
};

/* Waits until there is something to read; false when the test is over or the client is gone. */
static inline bool local_server_wait(struct local_server *server, int fd, int timeout_ms)
{
    struct pollfd polled[2] = {{.fd = server->stop_pipe[0], .events = POLLIN},
                               {.fd = fd, .events = POLLIN}};
    return poll(polled, 2, timeout_ms) > 0 && !polled[0].revents && polled[1].revents;
}

/* A whole request with its body; false when the connection ended. */
static inline bool local_server_read(struct local_server *server, int fd)
{
    char text[sizeof(server->request)];
    size_t len = 0;
    size_t want = 0;
    while (want == 0 || len < want) {
        if (!local_server_wait(server, fd, -1))
            return false;
        ssize_t got = read(fd, text + len, sizeof(text) - 1 - len);
        if (got <= 0)
            return false;
        len += (size_t)got;
        text[len] = '\0';
        char *end = strstr(text, "\r\n\r\n");
        if (end && want == 0) {
            unsigned long body = 0;
            const char *length = strcasestr(text, "\r\nContent-Length:");
            if (length)
                sscanf(length + 17, "%lu", &body);
            want = (size_t)(end + 4 - text) + body;
        }
    }
    pthread_mutex_lock(&server->lock);
    memcpy(server->request, text, len + 1);
    pthread_mutex_unlock(&server->lock);
    atomic_fetch_add(&server->requests, 1);
    return true;
}

static inline void local_server_send(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        data += sent;
        len -= (size_t)sent;
    }
}

/* Returns whether the connection stays open. */
static inline bool local_server_answer(struct local_server *server, int fd)
{
    char head[1024];
    static const char FILLER[4096] = {'x'};
    pthread_mutex_lock(&server->lock);
    enum local_fault fault = server->fault;
    const char *body = server->body;
    size_t body_len = server->body_len;
    int delay_ms = server->delay_ms;
    int len = snprintf(head, sizeof(head), "HTTP/1.1 %d Status\r\n%sContent-Length: %zu\r\n\r\n",
                       server->status, server->headers, body_len);
    pthread_mutex_unlock(&server->lock);
    if (delay_ms > 0)
        poll(&(struct pollfd){.fd = server->stop_pipe[0], .events = POLLIN}, 1, delay_ms);
    switch (fault) {
    case LOCAL_ANSWER:
        local_server_send(fd, head, (size_t)len);
        local_server_send(fd, body, body_len);
        return true;
    case LOCAL_HANG:
        local_server_wait(server, fd, -1);
        return false;
    case LOCAL_CLOSE:
        return false;
    case LOCAL_CUT:
        local_server_send(fd, head, (size_t)len);
        local_server_send(fd, body, body_len / 2);
        return false;
    case LOCAL_GARBAGE:
        local_server_send(fd, "\x16\x03\x01 what?\n\n", 11);
        return false;
    case LOCAL_ENDLESS:
        local_server_send(fd, "HTTP/1.1 200 OK\r\n\r\n", 19);
        while (send(fd, FILLER, sizeof(FILLER), MSG_NOSIGNAL) > 0)
            continue;
        return false;
    }
    return false;
}

static inline void *local_server_run(void *context)
{
    struct local_server *server = context;
    while (local_server_wait(server, server->listener, -1)) {
        int fd = accept(server->listener, NULL, NULL);
        int yes = 1;
        /* Or a body waits 40 ms for the acknowledgement of its head. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        atomic_fetch_add(&server->connections, 1);
        while (local_server_read(server, fd) && local_server_answer(server, fd))
            continue;
        close(fd);
    }
    return NULL;
}

static inline void local_server_start(struct local_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    *server = (struct local_server){.status = 200, .headers = "", .body = ""};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = bind(server->listener, (struct sockaddr *)&address, sizeof(address)) ||
                 listen(server->listener, 64) ||
                 getsockname(server->listener, (struct sockaddr *)&address, &size) ||
                 pipe(server->stop_pipe) ||
                 pthread_create(&server->thread, NULL, local_server_run, server);
    assert(!failed);
    snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d", ntohs(address.sin_port));
}

static inline void local_server_stop(struct local_server *server)
{
    close(server->stop_pipe[1]);
    pthread_join(server->thread, NULL);
    close(server->stop_pipe[0]);
    close(server->listener);
    pthread_mutex_destroy(&server->lock);
}

/* What the next requests get: an answer of this status and body. */
static inline void local_server_set(struct local_server *server, enum local_fault fault, int status,
                                    const char *headers, struct text body)
{
    pthread_mutex_lock(&server->lock);
    server->fault = fault;
    server->status = status;
    server->headers = headers;
    server->body = body.data ? body.data : "";
    server->body_len = body.len;
    pthread_mutex_unlock(&server->lock);
}
