#include "http/serve.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/blocking.h"
#include "base/clock.h"
#include "http/leader_followers.h"
#include "http/transport_fastcgi.h"

enum {
    /* nginx closes an idle upstream connection long before (nginx/nginx.conf: keepalive_timeout).
     */
    DRAIN_IDLE_MS = 5000,
    DRAIN_POLL_MS = 20,
    EVENTS_MAX = 64,            /* of one system call */
    FREE_SLOTS_MAX = 256,       /* what a burst took beyond is given back */
    NOTHING_LEFT_PAUSE_MS = 10, /* of memory or descriptors */
};

/* A request with the memory that requests reuse, one after the other. */
struct slot {
    struct exchange exchange; /* first: the slot is found by it */
    struct task closing;
    struct serve *serve;
    struct slot *next; /* of the free ones */
    struct fastcgi fastcgi;
    struct request request;
    struct response response;
};

struct serve {
    const struct serve_options *options;
    struct leader_followers *thread_set;
    int epoll_fd;
    int stop_fd;            /* an eventfd that stays readable once set */
    atomic_int connections; /* open ones, idle or busy */
    atomic_int busy;        /* requests being served */
    atomic_bool draining;

    /* Of the thread that has the loop. */
    struct epoll_event events[EVENTS_MAX];
    int event_count;
    int event_next;

    pthread_mutex_t lock;    /* guards what follows */
    struct slot *free_slots; /* the last used is the first taken: it is warm */
    int free_count;
};

#ifdef __SANITIZE_THREAD__
/*
 * A connection goes from one thread to the next through the kernel: EPOLL_CTL_MOD by the one, then
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

/* A peer that stops in the middle of a record must not hold a thread. */
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
        clock_sleep_ms(NOTHING_LEFT_PAUSE_MS);
    /* Watched again, for the next thread. Not while draining: then it is watched no more. */
    watch(serve, EPOLL_CTL_MOD, serve->options->listen_fd, EPOLLIN | EPOLLONESHOT);
    if (fd < 0) {
        atomic_fetch_sub(&serve->connections, 1);
        return;
    }
    set_timeouts(fd);
    if (!watch(serve, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT))
        close_connection(serve, fd);
}

static void end_exchange(struct exchange *exchange, bool keep);
static void close_later(struct task *task);

static struct slot *new_slot(struct serve *serve)
{
    struct slot *slot = malloc(sizeof(*slot));
    if (!slot)
        return NULL;
    slot->serve = serve;
    slot->closing.run = close_later;
    fastcgi_init(&slot->fastcgi);
    request_init(&slot->request);
    response_init(&slot->response);
    slot->exchange = (struct exchange){
        .router = serve->options->router,
        .transport = &slot->fastcgi.transport,
        .request = &slot->request,
        .response = &slot->response,
        .ended = end_exchange,
    };
    return slot;
}

static void free_slot(struct slot *slot)
{
    request_done(&slot->request);
    response_done(&slot->response);
    free(slot);
}

/* NULL: memory is out. */
static struct slot *take_slot(struct serve *serve)
{
    pthread_mutex_lock(&serve->lock);
    struct slot *slot = serve->free_slots;
    if (slot) {
        serve->free_slots = slot->next;
        serve->free_count--;
    }
    pthread_mutex_unlock(&serve->lock);
    return slot ? slot : new_slot(serve);
}

static void leave_slot(struct slot *slot)
{
    struct serve *serve = slot->serve;
    pthread_mutex_lock(&serve->lock);
    bool kept = serve->free_count < FREE_SLOTS_MAX;
    if (kept) {
        slot->next = serve->free_slots;
        serve->free_slots = slot;
        serve->free_count++;
    }
    pthread_mutex_unlock(&serve->lock);
    if (!kept)
        free_slot(slot);
}

static void finish(struct slot *slot, bool keep)
{
    struct serve *serve = slot->serve;
    int kept = fastcgi_finish(&slot->fastcgi, keep);
    leave_slot(slot);
    if (kept < 0)
        atomic_fetch_sub(&serve->connections, 1);
    else if (!watch(serve, EPOLL_CTL_MOD, kept, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT))
        close_connection(serve, kept);
    /* Last: the loop ends, and its memory with it, when nothing is busy any more. */
    atomic_fetch_sub(&serve->busy, 1);
}

static void close_later(struct task *task)
{
    struct slot *slot = (struct slot *)((char *)task - offsetof(struct slot, closing));
    blocking_begin();
    finish(slot, false);
}

static void end_exchange(struct exchange *exchange, bool keep)
{
    struct slot *slot = (struct slot *)exchange;
    /* Closing waits for the peer, and this thread may have more to do. */
    if (!fastcgi_closes(&slot->fastcgi, keep) || !blocking_run(&slot->closing))
        finish(slot, keep);
}

static void serve_connection(struct serve *serve, int fd)
{
    struct slot *slot = take_slot(serve);
    if (!slot) {
        /* The request waits where it is; memory comes back as others are answered. */
        clock_sleep_ms(NOTHING_LEFT_PAUSE_MS);
        if (!watch(serve, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT))
            close_connection(serve, fd);
        return;
    }
    enum fastcgi_ahead ahead = fastcgi_look_ahead(fd);
    if (ahead == FASTCGI_MALFORMED) {
        leave_slot(slot);
        close_connection(serve, fd);
        return;
    }
    if (ahead == FASTCGI_PARTIAL)
        blocking_begin();
    if (!fastcgi_receive(&slot->fastcgi, fd)) {
        leave_slot(slot);
        atomic_fetch_sub(&serve->connections, 1);
        return;
    }
    atomic_fetch_add(&serve->busy, 1);
    router_begin(&slot->exchange);
}

/* Until this thread has lost the loop, or the end has come. */
static void loop(void *context)
{
    struct serve *serve = context;
    bool stayed = false; /* after it served what there was */
    while (leader_followers_has_loop()) {
        if (serve->event_next == serve->event_count) {
            if (stayed)
                leader_followers_batch();
            stayed = true;
            int count = epoll_wait(serve->epoll_fd, serve->events, EVENTS_MAX, -1);
            assert(count >= 0 || errno == EINTR);
            serve->event_count = count > 0 ? count : 0;
            serve->event_next = 0;
            continue;
        }
        int fd = serve->events[serve->event_next++].data.fd;
        if (fd == serve->stop_fd)
            return;
        if (fd == serve->options->listen_fd)
            accept_connection(serve);
        else
            serve_connection(serve, fd);
    }
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

static void wake_loop(void *context)
{
    const struct serve *serve = context;
    uint64_t one = 1;
    (void)!write(serve->stop_fd, &one, sizeof(one)); /* fails only when it is readable already */
}

static void close_descriptors(const struct serve *serve)
{
    if (serve->epoll_fd >= 0)
        close(serve->epoll_fd);
    if (serve->stop_fd >= 0)
        close(serve->stop_fd);
}

/*
 * Blocks whatever could interrupt a read in a follower thread; libfcgi takes EINTR for the end of
 * a body. ret_stop: the signals that end serving, for sigwait.
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
    /* Not on the stack: threads that will not end use it after the return. */
    struct serve *serve = calloc(1, sizeof(*serve));
    enum error err = ERROR_INTERNAL;
    sigset_t signals;

    if (!serve)
        return ERROR_INTERNAL;
    serve->options = options;
    serve->epoll_fd = -1;
    serve->stop_fd = -1;
    pthread_mutex_init(&serve->lock, NULL);
    block_signals(&signals);
    serve->thread_set = leader_followers_new(options->threads, loop, serve);
    if (!serve->thread_set || !open_descriptors(serve) ||
        !leader_followers_start(serve->thread_set))
        goto out;
    if (options->on_ready)
        options->on_ready();
    wait_for_stop(options, &signals);
    if (!drain(serve))
        return ERROR_OVERLOADED;
    leader_followers_stop(serve->thread_set, wake_loop);
    err = ERROR_OK;
out:
    leader_followers_free(serve->thread_set);
    while (serve->free_slots) {
        struct slot *slot = serve->free_slots;
        serve->free_slots = slot->next;
        free_slot(slot);
    }
    close_descriptors(serve);
    pthread_mutex_destroy(&serve->lock);
    free(serve);
    return err;
}
