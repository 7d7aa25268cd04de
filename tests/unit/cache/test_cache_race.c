/*
 * Readers against writers: no cache_get that begins after a write has ended returns an older value,
 * whatever runs beside it and whoever is killed.
 *
 * The database is a number a key that only grows; ended is the highest number whose write has
 * ended.
 */
#include "cache/cache.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../await.h"
#include "cache/cache_layout.h"

enum {
    PATH_SIZE = 128,
    KEYS = 4, /* the first two share a bucket */
    READERS = 4,
    WRITERS = 3,
    ENOUGH = 500, /* hits, stores and writes of a race */
    CLEARS = 5,
    KILL_ROUNDS = 60,
};

struct world {
    struct cache_key keys[KEYS];
    _Atomic int64_t truth[KEYS];
    _Atomic int64_t ended[KEYS];
    _Atomic int stop;
    _Atomic uint64_t hits, stores, writes, stale;
};

static char path[PATH_SIZE];
static struct cache *cache;
static struct world *world; /* shared with the children */

static void unlink_all(void)
{
    char name[PATH_SIZE + 8];
    unlink(path);
    snprintf(name, sizeof(name), "%s.lock", path);
    unlink(name);
}

static size_t index_of(const struct cache_key *key)
{
    /* The mapping is the table (cache.c). */
    return cache_hash_key((const struct cache_table *)cache, key) & (CACHE_BUCKETS - 1);
}

static void new_keys(void)
{
    for (size_t i = 0; i < KEYS; i++)
        world->keys[i] = (struct cache_key){CACHE_BALANCE, uuid_new()};
    while (index_of(&world->keys[1]) != index_of(&world->keys[0]))
        world->keys[1].id = uuid_new();
}

static int set_up(void **state)
{
    char problem[256];
    (void)state;
    snprintf(path, sizeof(path), "/dev/shm/dreamlens-unit-%d.race", (int)getpid());
    unlink_all();
    world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED || cache_open(path, &cache, problem))
        return -1;
    new_keys();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cache_close(cache);
    munmap(world, sizeof(*world));
    unlink_all();
    return 0;
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

/* Lets others in at a moment when they may do harm, now and then. */
static void pause_sometimes(unsigned *seed)
{
    if (next_random(seed) % 4 == 0)
        sched_yield();
}

static void raise_ended(size_t i, int64_t value)
{
    int64_t seen = atomic_load(&world->ended[i]);
    while (seen < value && !atomic_compare_exchange_weak(&world->ended[i], &seen, value))
        ;
}

static void write_once(unsigned *seed)
{
    size_t i = next_random(seed) % KEYS;
    struct cache_write write;
    cache_write_begin(cache, &world->keys[i], &write);
    pause_sometimes(seed);
    int64_t value = atomic_fetch_add(&world->truth[i], 1) + 1;
    pause_sometimes(seed);
    cache_write_end(cache, &write);
    raise_ended(i, value);
    atomic_fetch_add(&world->writes, 1);
}

static void read_once(unsigned *seed)
{
    size_t i = next_random(seed) % KEYS;
    struct cache_lease lease;
    int64_t value;
    int64_t floor = atomic_load(&world->ended[i]);
    if (cache_get(cache, &world->keys[i], &value, sizeof(value), &lease)) {
        atomic_fetch_add(&world->hits, 1);
        if (value < floor)
            atomic_fetch_add(&world->stale, 1);
        return;
    }
    pause_sometimes(seed);
    value = atomic_load(&world->truth[i]);
    pause_sometimes(seed);
    if (cache_store(cache, &world->keys[i], &lease, &value, sizeof(value)))
        atomic_fetch_add(&world->stores, 1);
}

static void *read_until_stopped(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&world->stop))
        read_once(&seed);
    return NULL;
}

/* Writers rest between writes, or no reader would ever find a bucket without one. */
static void *write_until_stopped(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    while (!atomic_load(&world->stop)) {
        write_once(&seed);
        usleep(next_random(&seed) % 200);
    }
    return NULL;
}

/* Whether each kind of thing has happened so often. Threads get turns as the machine likes. */
static bool raced(uint64_t times)
{
    return atomic_load(&world->hits) >= times && atomic_load(&world->stores) >= times &&
           atomic_load(&world->writes) >= times;
}

/* Lets the others race: cleared is whether the table is cleared meanwhile, too. */
static bool race(bool cleared)
{
    bool enough = true;
    for (int i = 1; i <= CLEARS; i++) {
        enough = enough && AWAIT_TRUE(raced((uint64_t)i * ENOUGH / CLEARS));
        if (cleared)
            cache_clear(cache);
    }
    atomic_store(&world->stop, 1);
    return enough;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[READERS + WRITERS];
    for (uintptr_t i = 0; i < READERS + WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL,
                                        i < READERS ? read_until_stopped : write_until_stopped,
                                        (void *)(i + 1)),
                         0);
    bool enough = race(true);
    for (size_t i = 0; i < READERS + WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(enough);
    assert_int_equal(atomic_load(&world->stale), 0);
}

static void test_processes(void **state)
{
    (void)state;
    pid_t children[READERS + WRITERS];
    for (uintptr_t i = 0; i < READERS + WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            (i < READERS ? read_until_stopped : write_until_stopped)((void *)(i + 1));
            _exit(0);
        }
        assert_true(children[i] > 0);
    }
    bool enough = race(false);
    for (size_t i = 0; i < READERS + WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_true(enough);
    assert_int_equal(atomic_load(&world->stale), 0);
}

static void work_until_killed(unsigned seed)
{
    for (;;) {
        write_once(&seed);
        for (int i = 0; i < 2 * KEYS; i++)
            read_once(&seed);
    }
}

/*
 * A child is killed wherever it happens to be. With it every write has ended, one way or the other:
 * from then on the truth is all that may be read, and nobody waits for a lock.
 */
static void test_killed_anywhere(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < KILL_ROUNDS; round++) {
        int status;
        new_keys(); /* what the last one left dirty stays so for the time to live */
        uint64_t writes = atomic_load(&world->writes);
        pid_t child = fork();
        if (child == 0)
            work_until_killed(seed + (unsigned)round);
        assert_true(child > 0);
        AWAIT(atomic_load(&world->writes) != writes);
        usleep(next_random(&seed) % 1000);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        alarm(100); /* ends a test that waits for ever for a lock of the dead */
        for (size_t i = 0; i < KEYS; i++)
            raise_ended(i, atomic_load(&world->truth[i]));
        for (int i = 0; i < 8 * KEYS; i++)
            read_once(&seed);
        alarm(0);
    }
    assert_int_equal(atomic_load(&world->stale), 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_processes),
        TEST(test_killed_anywhere),
        TEST(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
