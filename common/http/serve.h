/*
 * The serve loop over one inherited listening socket.
 *
 * All descriptors wait in one epoll set: the listening socket, every kept connection (one-shot, so
 * that nothing comes of one that is being served) and an event to stop. One thread
 * (leader_followers.h) has the loop and serves what is ready, until it is about to wait; an idle
 * connection pins no thread, and a request that does not wait needs no change of threads.
 *
 * On SIGTERM or SIGINT it stops accepting and goes on serving its kept connections until nginx has
 * closed them (nginx's upstream keepalive_timeout), so that no request is lost that nginx has just
 * sent; then it returns.
 */
#pragma once

#include "base/error.h"
#include "http/router.h"
#include "observe/log.h"

struct serve_options {
    int listen_fd; /* listening, mode and backlog are the supervisor's */
    int threads;
    struct router *router;
    struct log *log;
    /* Called once when requests are being served; may be NULL. */
    void (*on_ready)(void);
    /* Called every background_interval_ms by the calling thread; may be NULL. */
    void (*background)(void *context);
    void *background_context;
    int background_interval_ms;
};

/*
 * Serves until SIGTERM or SIGINT, which it waits for itself; those and what could interrupt a read
 * (SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM) are blocked for the threads.
 * Returns ERROR_OK after draining, ERROR_INTERNAL when it cannot start, ERROR_OVERLOADED when
 * requests were still running after DRAIN_MS_MAX (the process should then exit at once).
 */
enum error serve_run(const struct serve_options *options) MUST_CHECK;
