#include "database/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/blocking.h"

struct pool {
    const char *url;
    const char *application_name;
    size_t size;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t freed; /* a connection came back, or room for a new one */
    uint64_t epoch;       /* raised when a connection broke; older idle ones are not used */
    size_t open;          /* connections that exist or are being opened */
    size_t idle_count;
    struct connection *idle[]; /* the last released is the first used: it is warm */
};

struct pool *pool_new(const char *url, const char *application_name, size_t size)
{
    assert(size >= 1 && size <= POOL_SIZE_MAX);
    struct pool *pool = calloc(1, sizeof(*pool) + size * sizeof(pool->idle[0]));
    if (!pool)
        return NULL;
    pool->url = url;
    pool->application_name = application_name;
    pool->size = size;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->freed, &attributes);
    pthread_condattr_destroy(&attributes);
    return pool;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    for (size_t i = 0; i < pool->idle_count; i++)
        connection_close(pool->idle[i]);
    pthread_cond_destroy(&pool->freed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/*
 * With the lock held: an idle connection, or NULL and a reserved place to open one. Returns false
 * when the deadline passed.
 */
static bool take_place(struct pool *pool, int64_t deadline_ms, struct connection **ret_connection)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000,
                             .tv_nsec = (deadline_ms % 1000) * 1000000};
    bool idle = false;
    for (;;) {
        if (pool->idle_count > 0) {
            *ret_connection = pool->idle[--pool->idle_count];
            return true;
        }
        if (pool->open < pool->size) {
            pool->open++;
            *ret_connection = NULL;
            return true;
        }
        if (!idle) {
            idle = true;
            pthread_mutex_unlock(&pool->lock);
            blocking_idle();
            pthread_mutex_lock(&pool->lock);
            continue;
        }
        if (pthread_cond_timedwait(&pool->freed, &pool->lock, &until) != 0)
            return false;
    }
}

enum error pool_acquire(struct pool *pool, int64_t deadline_ms, struct connection **ret_connection,
                        char ret_problem[static 256])
{
    struct connection *connection;
    blocking_begin(); /* who acquires a connection waits for answers on it */
    pthread_mutex_lock(&pool->lock);
    bool placed = take_place(pool, deadline_ms, &connection);
    uint64_t epoch = pool->epoch;
    pthread_mutex_unlock(&pool->lock);
    if (!placed)
        return ERROR_OVERLOADED;
    if (connection && connection->epoch != epoch) {
        connection_close(connection);
        connection = NULL;
    }
    if (!connection) {
        blocking_idle();
        connection = connection_open(pool->url, pool->application_name, ret_problem);
        if (!connection) {
            pthread_mutex_lock(&pool->lock);
            pool->open--;
            pthread_cond_signal(&pool->freed);
            pthread_mutex_unlock(&pool->lock);
            return ERROR_DATABASE_UNAVAILABLE;
        }
        connection->epoch = epoch;
    }
    *ret_connection = connection;
    return ERROR_OK;
}

void pool_release(struct pool *pool, struct connection *connection)
{
    bool broken = connection->broken;
    pthread_mutex_lock(&pool->lock);
    if (broken) {
        pool->open--;
        if (connection->epoch == pool->epoch)
            pool->epoch++;
    } else {
        pool->idle[pool->idle_count++] = connection;
    }
    pthread_cond_signal(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
    if (broken)
        connection_close(connection);
}

void pool_count(struct pool *pool, size_t *ret_open, size_t *ret_idle)
{
    pthread_mutex_lock(&pool->lock);
    *ret_open = pool->open;
    *ret_idle = pool->idle_count;
    pthread_mutex_unlock(&pool->lock);
}
