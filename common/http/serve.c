#include "http/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/gateway_fastcgi.h"

enum {
    /* A worker's deepest frame is a response with its pages of rows, far below this. */
    WORKER_STACK_BYTES = 512 * KIB,
    /* nginx closes an idle upstream connection long before (nginx/nginx.conf: keepalive_timeout). */
    DRAIN_IDLE_MS = 5000,
    DRAIN_POLL_MS = 20,
};

struct serve {
    const struct serve_options *options;
    int epoll_fd;
    int stop_fd; /* an eventfd that stays readable once set: every worker sees it */
    atomic_int connections; /* open ones, idle or busy */
    atomic_int busy;        /* requests being served */
    atomic_bool draining;

    /*
     * Workers that wait for events. When the last of them gets one, a parked worker takes its place,
     * or a new one is started; a worker that finds waiting_max of them parks. Each event wakes one
     * that sleeps, and few sleep while there is work: with one for each processor and one more, a
     * cached read took half the processor time that it took with 64.
     */
    atomic_int waiting;
    int waiting_max;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wanted; /* parked workers wait here */
    struct worker *workers; /* options->threads of them */
    pthread_t *threads;
    int started;
    int parked;
    bool stopping;
};

/* What a worker reuses from request to request. */
struct worker {
    struct serve *serve;
    struct fastcgi fastcgi;
    struct request request;
    struct response response;
};

#ifdef __SANITIZE_THREAD__
/*
 * A connection goes from one worker to the next through the kernel: EPOLL_CTL_MOD by the one, then
 * epoll_wait by the other. gcc 12's ThreadSanitizer takes only EPOLL_CTL_ADD for such a hand-over.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:^watch$\n";
}
#endif

static bool watch(const struct serve *serve, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(serve->epoll_fd, operation, fd, &event) == 0;
}

static void close_connection(struct serve *serve, int fd)
{
    close(fd);
    atomic_fetch_sub(&serve->connections, 1);
}

/* A peer that stops in the middle of a record must not hold a worker. */
static void set_timeouts(int fd)
{
    struct timeval limit = {.tv_sec = CONNECTION_READ_TIMEOUT_MS / 1000,
                            .tv_usec = CONNECTION_READ_TIMEOUT_MS % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static void accept_connection(struct serve *serve)
{
    /* Counted first: then either drain waits for this connection, or this sees that it drains. */
    atomic_fetch_add(&serve->connections, 1);
    bool draining = atomic_load(&serve->draining);
    int fd = draining ? -1 : accept4(serve->options->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int cause = errno;
    /* Another process was first, or descriptors are out: they come back by closing. */
    if (fd < 0 && !draining && (cause == EMFILE || cause == ENFILE))
        clock_sleep_ms(10);
    /* Watched again, for whoever is next. Not while draining: then it is watched no more. */
    watch(serve, EPOLL_CTL_MOD, serve->options->listen_fd, EPOLLIN | EPOLLONESHOT);
    if (fd < 0) {
        atomic_fetch_sub(&serve->connections, 1);
        return;
    }
    set_timeouts(fd);
    if (!watch(serve, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT))
        close_connection(serve, fd);
}

static void serve_connection(struct worker *worker, int fd)
{
    struct serve *serve = worker->serve;
    if (!fastcgi_receive(&worker->fastcgi, fd)) {
        atomic_fetch_sub(&serve->connections, 1);
        return;
    }
    atomic_fetch_add(&serve->busy, 1);
    bool keep = router_serve(serve->options->router, &worker->fastcgi.gateway, &worker->request,
                             &worker->response);
    int kept = fastcgi_finish(&worker->fastcgi, keep);
    atomic_fetch_sub(&serve->busy, 1);
    if (kept < 0)
        atomic_fetch_sub(&serve->connections, 1);
    else if (!watch(serve, EPOLL_CTL_MOD, kept, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT))
        close_connection(serve, kept);
}

static void call_worker(struct serve *serve);

/* Counts the worker among those that wait, as soon as it is wanted there. False: the end has come. */
static bool join_waiting(struct serve *serve)
{
    bool stopping = false;
    while (!stopping && atomic_fetch_add(&serve->waiting, 1) >= serve->waiting_max) {
        atomic_fetch_sub(&serve->waiting, 1);
        pthread_mutex_lock(&serve->lock);
        serve->parked++;
        /* Looked at under the lock: either this sees that the last one left, or that one sees this. */
        while (!serve->stopping && atomic_load(&serve->waiting) >= serve->waiting_max)
            pthread_cond_wait(&serve->wanted, &serve->lock);
        serve->parked--;
        stopping = serve->stopping;
        pthread_mutex_unlock(&serve->lock);
    }
    return !stopping;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct serve *serve = worker->serve;
    while (join_waiting(serve)) {
        struct epoll_event event;
        int count = epoll_wait(serve->epoll_fd, &event, 1, -1);
        bool last = atomic_fetch_sub(&serve->waiting, 1) == 1;
        if (count < 0 && errno != EINTR)
            break;
        if (count <= 0)
            continue;
        if (event.data.fd == serve->stop_fd)
            break;
        if (last)
            call_worker(serve);
        if (event.data.fd == serve->options->listen_fd)
            accept_connection(serve);
        else
            serve_connection(worker, event.data.fd);
    }
    return NULL;
}

/* Waits until the kept connections are gone. Returns false when requests run on after all. */
static bool drain(struct serve *serve)
{
    int64_t start_ms = clock_monotonic_ms();
    atomic_store(&serve->draining, true);
    epoll_ctl(serve->epoll_fd, EPOLL_CTL_DEL, serve->options->listen_fd, NULL);
    for (;;) {
        int64_t waited_ms = clock_monotonic_ms() - start_ms;
        if (atomic_load(&serve->connections) == 0)
            return true;
        if (waited_ms >= DRAIN_IDLE_MS && atomic_load(&serve->busy) == 0)
            return true;
        if (waited_ms >= DRAIN_MS_MAX)
            return false;
        clock_sleep_ms(DRAIN_POLL_MS);
    }
}

static bool open_descriptors(struct serve *serve)
{
    int listen_fd = serve->options->listen_fd;
    int flags = fcntl(listen_fd, F_GETFL);
    serve->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    serve->stop_fd = eventfd(0, EFD_CLOEXEC);
    /* Several processes may wake for one connection, so accept must not block. */
    return serve->epoll_fd >= 0 && serve->stop_fd >= 0 && flags >= 0 &&
           fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           watch(serve, EPOLL_CTL_ADD, listen_fd, EPOLLIN | EPOLLONESHOT) &&
           watch(serve, EPOLL_CTL_ADD, serve->stop_fd, EPOLLIN);
}

/* With the lock held. A thread that cannot be had now is tried for again. */
static void start_worker(struct serve *serve)
{
    pthread_attr_t attributes;
    struct worker *worker = &serve->workers[serve->started];
    worker->serve = serve;
    fastcgi_init(&worker->fastcgi);
    request_init(&worker->request);
    response_init(&worker->response);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WORKER_STACK_BYTES);
    if (pthread_create(&serve->threads[serve->started], &attributes, work, worker) == 0)
        serve->started++;
    pthread_attr_destroy(&attributes);
}

/* One more worker to wait for events: a parked one, else a new one, unless there are enough. */
static void call_worker(struct serve *serve)
{
    pthread_mutex_lock(&serve->lock);
    if (serve->parked > 0)
        pthread_cond_signal(&serve->wanted);
    else if (serve->started < serve->options->threads && !serve->stopping)
        start_worker(serve);
    pthread_mutex_unlock(&serve->lock);
}

/* Until a signal to stop comes; the background work runs meanwhile. */
static void wait_for_stop(const struct serve_options *options, const sigset_t *signals)
{
    struct timespec interval = {
        .tv_sec = options->background_interval_ms / 1000,
        .tv_nsec = options->background_interval_ms % 1000 * 1000000L,
    };
    int received;
    if (!options->background) {
        while (sigwait(signals, &received) != 0)
            ;
        return;
    }
    while (sigtimedwait(signals, NULL, &interval) < 0)
        if (errno == EAGAIN)
            options->background(options->background_context);
}

static int count_workers(struct serve *serve)
{
    pthread_mutex_lock(&serve->lock);
    int started = serve->started;
    pthread_mutex_unlock(&serve->lock);
    return started;
}

/* No worker is started from now on, and none stays parked. Returns how many there are. */
static int stop_workers(struct serve *serve)
{
    uint64_t one = 1;
    pthread_mutex_lock(&serve->lock);
    serve->stopping = true;
    int started = serve->started;
    pthread_cond_broadcast(&serve->wanted);
    pthread_mutex_unlock(&serve->lock);
    if (started > 0 && write(serve->stop_fd, &one, sizeof(one)) != sizeof(one))
        return -1;
    return started;
}

/*
 * Blocks whatever could interrupt a read in a worker; libfcgi takes EINTR for the end of a body.
 * ret_stop: the signals that end serving, for sigwait.
 */
static void block_signals(sigset_t *ret_stop)
{
    static const int HARMLESS[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM};
    sigset_t blocked;
    sigemptyset(ret_stop);
    sigaddset(ret_stop, SIGTERM);
    sigaddset(ret_stop, SIGINT);
    blocked = *ret_stop;
    for (size_t i = 0; i < sizeof(HARMLESS) / sizeof(HARMLESS[0]); i++)
        sigaddset(&blocked, HARMLESS[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
}

enum error serve_run(const struct serve_options *options)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct serve serve = {
        .options = options,
        .epoll_fd = -1,
        .stop_fd = -1,
        .waiting_max = processors > 0 ? (int)processors + 1 : 2,
    };
    size_t count = (size_t)options->threads;
    enum error err = ERROR_INTERNAL;
    sigset_t signals;

    serve.workers = calloc(count, sizeof(*serve.workers));
    serve.threads = calloc(count, sizeof(*serve.threads));
    pthread_mutex_init(&serve.lock, NULL);
    pthread_cond_init(&serve.wanted, NULL);
    block_signals(&signals);
    if (!serve.workers || !serve.threads || !open_descriptors(&serve))
        goto out;
    call_worker(&serve);
    if (count_workers(&serve) == 0)
        goto out;
    if (options->on_ready)
        options->on_ready();
    wait_for_stop(options, &signals);
    err = drain(&serve) ? ERROR_OK : ERROR_OVERLOADED;
out:
    /* Workers that will not end keep their memory: the process is about to exit. */
    if (err == ERROR_OVERLOADED)
        return err;
    int started = stop_workers(&serve);
    if (started < 0)
        return ERROR_OVERLOADED;
    for (int i = 0; i < started; i++)
        pthread_join(serve.threads[i], NULL);
    for (int i = 0; i < started; i++) {
        request_done(&serve.workers[i].request);
        response_done(&serve.workers[i].response);
    }
    if (serve.epoll_fd >= 0)
        close(serve.epoll_fd);
    if (serve.stop_fd >= 0)
        close(serve.stop_fd);
    pthread_cond_destroy(&serve.wanted);
    pthread_mutex_destroy(&serve.lock);
    free(serve.workers);
    free(serve.threads);
    return err;
}
