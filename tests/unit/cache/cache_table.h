/*
 * A cache of its own for each test of this folder, and a look into its table. The clock is moved by
 * moving the times in the table.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/cache.h"
#include "cache/cache_layout.h"

enum { PATH_SIZE = 128, KEYS = CACHE_BUCKET_SLOTS + 1 };

static char path[PATH_SIZE];
static struct cache *cache;

static inline struct cache *open_ok(void)
{
    char problem[256] = "";
    struct cache *opened = NULL;
    enum error err = cache_open(path, &opened, problem);
    assert_string_equal(problem, "");
    assert_int_equal(err, ERROR_OK);
    return opened;
}

static inline void unlink_all(void)
{
    char name[PATH_SIZE + 8];
    unlink(path);
    snprintf(name, sizeof(name), "%s.lock", path);
    unlink(name);
}

static inline int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/dev/shm/dreamlens-unit-%d.cache", (int)getpid());
    unlink_all();
    cache = open_ok();
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    cache_close(cache);
    unlink_all();
    return 0;
}

/* The mapping is the table (cache.c). */
static inline struct cache_table *table_of(struct cache *of)
{
    return (struct cache_table *)of;
}

static inline size_t index_of(const struct cache_key *key)
{
    return cache_hash_key(table_of(cache), key) & (CACHE_BUCKETS - 1);
}

static inline struct cache_bucket *bucket_of(const struct cache_key *key)
{
    return &table_of(cache)->buckets[index_of(key)];
}

/* Keys that share the bucket of the first. */
static inline void make_colliding(struct cache_key keys[static KEYS])
{
    keys[0] = (struct cache_key){CACHE_BALANCE, uuid_new()};
    for (size_t found = 1; found < KEYS; found++) {
        keys[found] = keys[0];
        uint64_t n = (uint64_t)found << 32;
        do {
            n++;
            memcpy(keys[found].id.bytes, &n, sizeof(n));
        } while (index_of(&keys[found]) != index_of(&keys[0]));
    }
}

/* What a reader does that finds value in the database. */
static inline bool fill(const struct cache_key *key, int64_t value)
{
    struct cache_lease lease;
    int64_t old;
    return cache_get(cache, key, &old, sizeof(old), &lease) ||
           cache_store(cache, key, &lease, &value, sizeof(value));
}

static inline int64_t read_value(const struct cache_key *key)
{
    struct cache_lease lease;
    int64_t value;
    return cache_get(cache, key, &value, sizeof(value), &lease) ? value : -1;
}

/* As if everything in the bucket had happened ms earlier. */
static inline void age_bucket(const struct cache_key *key, int64_t ms)
{
    struct cache_bucket *bucket = bucket_of(key);
    bucket->dirty_until_ms -= ms;
    bucket->generation_until_ms -= ms;
    for (size_t i = 0; i < CACHE_BUCKET_SLOTS; i++) {
        table_of(cache)->slots[index_of(key)][i].expires_ms -= ms;
        bucket->used_at_ms[i] -= (uint32_t)ms;
    }
}
