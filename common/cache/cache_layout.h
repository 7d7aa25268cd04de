/*
 * The layout of the shared cache's segment, for cache.c and for the test that plays a process
 * killed inside a bucket. A change of any struct here needs a new CACHE_LAYOUT_VERSION. Handlers of
 * two layouts do not see each other's writes, so such an upgrade restarts them together.
 */
#pragma once

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/shared_memory.h"
#include "cache/cache.h"

#define CACHE_MAGIC UINT64_C(0x65686361434c4d44) /* "DMLCache" in memory, little-endian */

enum { CACHE_LAYOUT_VERSION = 1, CACHE_LINE_BYTES = 64 };

/*
 * The head of a bucket. lock guards the other members and the bucket's slots. Heads lie apart from
 * slots, so that an empty table takes 4 MiB and not 40.
 *
 * Writers under way are counted by generation, a span of at least CACHE_TTL_MS: a writer that is
 * neither of this generation nor of the one before is dead, even when other writers kept coming.
 */
struct cache_bucket {
    alignas(CACHE_LINE_BYTES) pthread_mutex_t lock;
    uint64_t version;    /* bumped by each event that makes values read before it old */
    uint64_t generation; /* from 2 upwards, so that a ticket is never 0 */
    int64_t generation_until_ms;
    int64_t dirty_until_ms; /* the last begin + CACHE_TTL_MS: by then every writer is dead */
    uint32_t writers[2];    /* of generation g at [g & 1]: this one and the one before */
    uint32_t used_at_ms[CACHE_BUCKET_SLOTS];   /* low bits of the last hit or store */
    _Atomic uint32_t tags[CACHE_BUCKET_SLOTS]; /* of the key's hash; 0: free. Counted unlocked */
};

struct cache_slot {
    alignas(CACHE_LINE_BYTES) struct cache_key key;
    uint32_t value_size; /* bytes */
    int64_t expires_ms;  /* CLOCK_MONOTONIC, which all processes of a host share */
    unsigned char value[CACHE_VALUE_BYTES_MAX];
};

/* On a cache line of its own, so that counting hits does not slow the counting of misses. */
struct cache_counter {
    alignas(CACHE_LINE_BYTES) _Atomic uint64_t value;
};

struct cache_table {
    struct shared_memory_header header;
    uint64_t hash_key[2]; /* random, so that nobody can choose identities that share a bucket */
    struct cache_counter hits, misses, stores, refused_stores, evictions, recoveries;
    struct cache_bucket buckets[CACHE_BUCKETS];
    struct cache_slot slots[CACHE_BUCKETS][CACHE_BUCKET_SLOTS];
};

_Static_assert(sizeof(struct cache_bucket) == 2 * CACHE_LINE_BYTES, "a head is two cache lines");
_Static_assert(sizeof(struct cache_slot) == 3 * CACHE_LINE_BYTES, "a slot is three cache lines");
_Static_assert(sizeof(struct cache_table) <= CACHE_BYTES_MAX, "the table fits a container");

/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012) under the table's key of 24 bytes: the id, then the
 * kind as a little-endian 64-bit number. Keyed, because clients choose identities, and a client
 * that can aim at a bucket can keep others out of the cache. The low bits pick the bucket.
 */
uint64_t cache_hash_key(const struct cache_table *table, const struct cache_key *key);
