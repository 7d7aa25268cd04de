/*
 * A cache in shared memory that all handler processes of a host share, without stale fills.
 *
 * The table is a fixed file under /dev/shm (mode 0600, magic and layout version), cut into buckets;
 * a bucket has a process-shared robust mutex, a version and a few slots. These rules keep a reader
 * from storing a value that a writer has just made old (the leases of "Scaling Memcache at
 * Facebook", NSDI 2013):
 *   - a reader captures the bucket's version before its SELECT (cache_get does it on a miss) and
 *     cache_store stores only if the version is the same and no writer is under way;
 *   - a writer calls cache_write_begin before its statement may commit, which drops the key's slot
 *     and bumps the version, and cache_write_end after, which bumps it again;
 *   - a writer that dies in between leaves the bucket uncacheable for the time to live, never
 * stale. Versions belong to buckets, so they survive the eviction of a slot. The cache decides
 * nothing about money: no debit is admitted from it.
 *
 * Thread-safe and process-safe. Every call is short and takes one bucket lock; a cache that is NULL
 * is always a miss, so callers need no second path.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"

enum {
    CACHE_VALUE_BYTES_MAX = 120, /* a slot with key, expiry and value fills whole cache lines */
    CACHE_TTL_MS = 30000,        /* the original backend also kept balances for 30 s */
};

struct cache;

/* The kind of thing that a key names; two kinds never meet in one slot. */
enum cache_kind { CACHE_BALANCE = 1, CACHE_IDENTITY, CACHE_SESSION, CACHE_LINK, CACHE_SERVICE };

/* Sixteen bytes that name the thing: a user id, or a digest of an identity. */
struct cache_key {
    enum cache_kind kind;
    struct uuid id;
};

/* Lets a reader store what it is about to read. Plain data, no release needed. */
struct cache_lease {
    uint64_t version;
    bool may_store;
};

/*
 * A write under way. Plain data; end it once, within CACHE_TTL_MS. A statement with its retries has
 * a far shorter deadline. Later the write counts as dead, and the bucket may be filled again. A
 * late end still drops the slot.
 */
struct cache_write {
    struct cache_key key;
    uint64_t writer; /* generation of the bucket at begin; 0: begin did nothing, or ended */
};

/*
 * Maps the table at path, creating it 0600 when missing or when magic, layout version or size is
 * another. A file of another owner is refused. Returns ERROR_INTERNAL and fills problem (a sentence
 * without newline) when it cannot.
 */
enum error cache_open(const char *path, struct cache **ret_cache,
                      char problem[static 256]) MUST_CHECK;
void cache_close(struct cache *cache);

/*
 * Copies the value of key to value (value_size bytes; a stored value of another size is a miss) and
 * returns true, or returns false and fills ret_lease for cache_store.
 */
bool cache_get(struct cache *cache, const struct cache_key *key, void *value, size_t value_size,
               struct cache_lease *ret_lease);

/*
 * Stores a value read under lease, for CACHE_TTL_MS, unless a writer came in between.
 * value_size: at most CACHE_VALUE_BYTES_MAX. Returns whether it was stored.
 */
bool cache_store(struct cache *cache, const struct cache_key *key, const struct cache_lease *lease,
                 const void *value, size_t value_size);

/* Call it before a statement that may change the value of key. */
void cache_write_begin(struct cache *cache, const struct cache_key *key,
                       struct cache_write *ret_write);
/* Call it when the outcome of the statement is known, or nobody waits for it any more. */
void cache_write_end(struct cache *cache, struct cache_write *write);

/* Drops everything; for the bootstrap of a schema, after which every id may be new. */
void cache_clear(struct cache *cache);

/* Since the table was made, all processes together. */
struct cache_stats {
    uint64_t hits, misses, stores, refused_stores, evictions, recoveries;
    uint64_t slots, slots_used;
};
void cache_read_stats(struct cache *cache, struct cache_stats *ret_stats);
