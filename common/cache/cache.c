#include "cache/cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "cache/cache_layout.h"

/* The table is the mapping itself: one pointer is all that a process knows of it. */
struct cache {
    struct cache_table table;
};

/* A bucket whose lock this thread holds, and where a key belongs in it. */
struct place {
    struct cache_table *table;
    struct cache_bucket *bucket;
    struct cache_slot *slots;
    const struct cache_key *key;
    uint32_t tag;
    int64_t now_ms;
};

static void count(struct cache_counter *counter)
{
    atomic_fetch_add_explicit(&counter->value, 1, memory_order_relaxed);
}

static uint64_t counted(const struct cache_counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

static uint32_t tag_of(const struct cache_bucket *bucket, size_t slot)
{
    return atomic_load_explicit(&bucket->tags[slot], memory_order_relaxed);
}

static void set_tag(struct cache_bucket *bucket, size_t slot, uint32_t tag)
{
    atomic_store_explicit(&bucket->tags[slot], tag, memory_order_relaxed);
}

/* Robust: a process killed inside a bucket does not take the others with it. */
static void initialise(void *segment)
{
    struct cache_table *table = segment;
    pthread_mutexattr_t attributes;
    size_t have = 0;
    while (have < sizeof(table->hash_key)) {
        ssize_t n = getrandom((char *)table->hash_key + have, sizeof(table->hash_key) - have, 0);
        if (n > 0)
            have += (size_t)n;
    }
    int failed = pthread_mutexattr_init(&attributes);
    failed |= pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    failed |= pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    for (size_t i = 0; i < CACHE_BUCKETS; i++) {
        table->buckets[i].generation = 2;
        failed |= pthread_mutex_init(&table->buckets[i].lock, &attributes);
    }
    pthread_mutexattr_destroy(&attributes);
    assert(!failed);
}

static const struct shared_memory_layout LAYOUT = {
    .magic = CACHE_MAGIC,
    .version = CACHE_LAYOUT_VERSION,
    .size = sizeof(struct cache_table),
    .initialise = initialise,
};

enum error cache_open(const char *path, struct cache **ret_cache, char problem[static 256])
{
    void *segment;
    enum error err = shared_memory_map(path, &LAYOUT, &segment, problem);
    if (err)
        return err;
    *ret_cache = segment;
    return ERROR_OK;
}

void cache_close(struct cache *cache)
{
    shared_memory_unmap(cache, &LAYOUT);
}

static void sip_round(uint64_t v[static 4])
{
#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
    v[0] += v[1];
    v[2] += v[3];
    v[1] = ROTATE(v[1], 13) ^ v[0];
    v[3] = ROTATE(v[3], 16) ^ v[2];
    v[0] = ROTATE(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = ROTATE(v[1], 17) ^ v[2];
    v[3] = ROTATE(v[3], 21) ^ v[0];
    v[2] = ROTATE(v[2], 32);
#undef ROTATE
}

uint64_t cache_hash_key(const struct cache_table *table, const struct cache_key *key)
{
    const uint64_t *k = table->hash_key;
    uint64_t words[4] = {0, 0, (uint64_t)key->kind, UINT64_C(24) << 56};
    uint64_t v[4] = {k[0] ^ UINT64_C(0x736f6d6570736575), k[1] ^ UINT64_C(0x646f72616e646f6d),
                     k[0] ^ UINT64_C(0x6c7967656e657261), k[1] ^ UINT64_C(0x7465646279746573)};
    memcpy(words, key->id.bytes, sizeof(key->id.bytes));
    for (int i = 0; i < 4; i++) {
        v[3] ^= words[i];
        sip_round(v);
        sip_round(v);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void empty_bucket(struct cache_bucket *bucket)
{
    for (size_t i = 0; i < CACHE_BUCKET_SLOTS; i++)
        set_tag(bucket, i, 0);
    bucket->version++;
}

/*
 * What a dead process left half done is unknown, writers of others included: nothing is kept, every
 * ticket given out is void, and one made-up writer keeps the bucket uncacheable until all that was
 * under way must have ended.
 */
static void recover(struct cache_bucket *bucket, int64_t now_ms)
{
    empty_bucket(bucket);
    bucket->generation += 2;
    bucket->writers[bucket->generation & 1] = 1;
    bucket->writers[(bucket->generation + 1) & 1] = 0;
    bucket->generation_until_ms = now_ms + CACHE_TTL_MS;
    bucket->dirty_until_ms = now_ms + CACHE_TTL_MS;
}

/* Gives up writers that began longer than CACHE_TTL_MS ago: they died between begin and end. */
static void give_up_dead_writers(struct cache_table *table, struct cache_bucket *bucket,
                                 int64_t now_ms)
{
    uint32_t dead = 0;
    if (bucket->writers[0] == 0 && bucket->writers[1] == 0)
        return;
    if (now_ms >= bucket->dirty_until_ms) {
        dead = bucket->writers[0] + bucket->writers[1];
        bucket->generation += 2;
        bucket->writers[0] = 0;
        bucket->writers[1] = 0;
    } else if (now_ms >= bucket->generation_until_ms) {
        bucket->generation++;
        bucket->generation_until_ms = now_ms + CACHE_TTL_MS;
        dead = bucket->writers[bucket->generation & 1];
        bucket->writers[bucket->generation & 1] = 0;
    }
    if (dead > 0) {
        bucket->version++;
        count(&table->recoveries);
    }
}

/* Nobody sleeps, allocates or makes a system call while holding the lock of a bucket. */
static void lock_bucket(struct cache_table *table, struct cache_bucket *bucket, int64_t now_ms)
{
    int rc = pthread_mutex_lock(&bucket->lock);
    if (rc == EOWNERDEAD) {
        recover(bucket, now_ms);
        count(&table->recoveries);
        rc = pthread_mutex_consistent(&bucket->lock);
    }
    assert(rc == 0);
    give_up_dead_writers(table, bucket, now_ms);
}

static struct place lock_place(struct cache *cache, const struct cache_key *key)
{
    struct cache_table *table = &cache->table;
    uint64_t hash = cache_hash_key(table, key);
    size_t index = hash & (CACHE_BUCKETS - 1);
    struct place place = {
        .table = table,
        .bucket = &table->buckets[index],
        .slots = table->slots[index],
        .key = key,
        .tag = (uint32_t)(hash >> 32) | 1,
        .now_ms = clock_monotonic_ms(),
    };
    lock_bucket(table, place.bucket, place.now_ms);
    return place;
}

static void unlock_place(const struct place *place)
{
    pthread_mutex_unlock(&place->bucket->lock);
}

/* The slot that holds the key, expired or not, or CACHE_BUCKET_SLOTS. */
static size_t find_slot(const struct place *place)
{
    for (size_t i = 0; i < CACHE_BUCKET_SLOTS; i++) {
        const struct cache_key *key = &place->slots[i].key;
        if (tag_of(place->bucket, i) == place->tag && key->kind == place->key->kind &&
            uuid_equal(&key->id, &place->key->id))
            return i;
    }
    return CACHE_BUCKET_SLOTS;
}

static void drop_slot(const struct place *place)
{
    size_t i = find_slot(place);
    if (i < CACHE_BUCKET_SLOTS)
        set_tag(place->bucket, i, 0);
}

static bool may_store(const struct cache_bucket *bucket)
{
    return bucket->writers[0] == 0 && bucket->writers[1] == 0;
}

bool cache_get(struct cache *cache, const struct cache_key *key, void *value, size_t value_size,
               struct cache_lease *ret_lease)
{
    *ret_lease = (struct cache_lease){0};
    if (!cache)
        return false;
    struct place place = lock_place(cache, key);
    size_t i = find_slot(&place);
    bool hit = false;
    if (i < CACHE_BUCKET_SLOTS) {
        const struct cache_slot *slot = &place.slots[i];
        if (place.now_ms >= slot->expires_ms)
            set_tag(place.bucket, i, 0);
        else
            hit = slot->value_size == value_size;
        if (hit) {
            memcpy(value, slot->value, value_size);
            place.bucket->used_at_ms[i] = (uint32_t)place.now_ms;
        }
    }
    if (!hit)
        *ret_lease = (struct cache_lease){place.bucket->version, may_store(place.bucket)};
    unlock_place(&place);
    count(hit ? &place.table->hits : &place.table->misses);
    return hit;
}

/* A free slot, else an expired one, else the one not used for longest. */
static size_t choose_slot(const struct place *place, bool *ret_evicts)
{
    const struct cache_bucket *bucket = place->bucket;
    size_t oldest = 0;
    uint32_t oldest_age = 0;
    *ret_evicts = false;
    for (size_t i = 0; i < CACHE_BUCKET_SLOTS; i++)
        if (tag_of(bucket, i) == 0 || place->now_ms >= place->slots[i].expires_ms)
            return i;
    for (size_t i = 0; i < CACHE_BUCKET_SLOTS; i++) {
        /* Right across the wrap of 32 bits: no slot lives for 49 days. */
        uint32_t age = (uint32_t)place->now_ms - bucket->used_at_ms[i];
        if (age > oldest_age) {
            oldest = i;
            oldest_age = age;
        }
    }
    *ret_evicts = true;
    return oldest;
}

bool cache_store(struct cache *cache, const struct cache_key *key, const struct cache_lease *lease,
                 const void *value, size_t value_size)
{
    assert(value_size <= CACHE_VALUE_BYTES_MAX);
    if (!cache)
        return false;
    struct place place = lock_place(cache, key);
    struct cache_bucket *bucket = place.bucket;
    bool store = lease->may_store && lease->version == bucket->version && may_store(bucket);
    bool evicts = false;
    if (store) {
        size_t i = find_slot(&place);
        if (i == CACHE_BUCKET_SLOTS)
            i = choose_slot(&place, &evicts);
        struct cache_slot *slot = &place.slots[i];
        slot->key = *key;
        slot->value_size = (uint32_t)value_size;
        slot->expires_ms = place.now_ms + CACHE_TTL_MS;
        memcpy(slot->value, value, value_size);
        bucket->used_at_ms[i] = (uint32_t)place.now_ms;
        set_tag(bucket, i, place.tag);
    }
    unlock_place(&place);
    count(store ? &place.table->stores : &place.table->refused_stores);
    if (evicts)
        count(&place.table->evictions);
    return store;
}

void cache_write_begin(struct cache *cache, const struct cache_key *key,
                       struct cache_write *ret_write)
{
    *ret_write = (struct cache_write){.key = *key};
    if (!cache)
        return;
    struct place place = lock_place(cache, key);
    struct cache_bucket *bucket = place.bucket;
    drop_slot(&place);
    bucket->version++;
    if (may_store(bucket)) /* first of a generation; later ones do not prolong it */
        bucket->generation_until_ms = place.now_ms + CACHE_TTL_MS;
    bucket->writers[bucket->generation & 1]++;
    bucket->dirty_until_ms = place.now_ms + CACHE_TTL_MS;
    ret_write->writer = bucket->generation;
    unlock_place(&place);
}

void cache_write_end(struct cache *cache, struct cache_write *write)
{
    if (!cache || write->writer == 0)
        return;
    struct place place = lock_place(cache, &write->key);
    struct cache_bucket *bucket = place.bucket;
    drop_slot(&place);
    bucket->version++;
    bool counts = write->writer == bucket->generation || write->writer + 1 == bucket->generation;
    if (counts && bucket->writers[write->writer & 1] > 0)
        bucket->writers[write->writer & 1]--;
    write->writer = 0;
    unlock_place(&place);
}

/* Bucket by bucket, so that a reader waits for one bucket at most. */
void cache_clear(struct cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < CACHE_BUCKETS; i++) {
        struct cache_bucket *bucket = &cache->table.buckets[i];
        lock_bucket(&cache->table, bucket, clock_monotonic_ms());
        empty_bucket(bucket);
        pthread_mutex_unlock(&bucket->lock);
    }
}

void cache_read_stats(struct cache *cache, struct cache_stats *ret_stats)
{
    *ret_stats = (struct cache_stats){0};
    if (!cache)
        return;
    const struct cache_table *table = &cache->table;
    *ret_stats = (struct cache_stats){
        .hits = counted(&table->hits),
        .misses = counted(&table->misses),
        .stores = counted(&table->stores),
        .refused_stores = counted(&table->refused_stores),
        .evictions = counted(&table->evictions),
        .recoveries = counted(&table->recoveries),
        .slots = (uint64_t)CACHE_BUCKETS * CACHE_BUCKET_SLOTS,
    };
    for (size_t i = 0; i < CACHE_BUCKETS; i++)
        for (size_t slot = 0; slot < CACHE_BUCKET_SLOTS; slot++)
            ret_stats->slots_used += tag_of(&table->buckets[i], slot) != 0;
}
