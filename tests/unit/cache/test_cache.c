/* Each promise of cache.h for itself, in one process. */
#include "cache_table.h"

static void test_null_is_always_a_miss(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    struct cache_lease lease = {1, true};
    struct cache_write write = {.writer = 9};
    struct cache_stats stats = {.hits = 1};
    int64_t value = 5;
    assert_false(cache_get(NULL, &key, &value, sizeof(value), &lease));
    assert_false(lease.may_store);
    assert_false(cache_store(NULL, &key, &lease, &value, sizeof(value)));
    cache_write_begin(NULL, &key, &write);
    assert_int_equal(write.writer, 0);
    cache_write_end(NULL, &write);
    cache_clear(NULL);
    cache_read_stats(NULL, &stats);
    assert_int_equal(stats.hits, 0);
    cache_close(NULL);
}

static void test_store_and_get(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    struct cache_key other_kind = {CACHE_IDENTITY, key.id};
    struct cache_lease lease;
    unsigned char value[CACHE_VALUE_BYTES_MAX];
    unsigned char read[CACHE_VALUE_BYTES_MAX];
    memset(value, 0xA5, sizeof(value));
    assert_false(cache_get(cache, &key, read, sizeof(read), &lease));
    assert_true(lease.may_store);
    assert_true(cache_store(cache, &key, &lease, value, sizeof(value)));
    assert_true(cache_get(cache, &key, read, sizeof(read), &lease));
    assert_memory_equal(read, value, sizeof(value));
    assert_false(lease.may_store);
    assert_false(cache_get(cache, &other_kind, read, sizeof(read), &lease));

    /* Another size is a miss, and the caller may store what it reads instead. */
    assert_false(cache_get(cache, &key, read, 8, &lease));
    assert_true(cache_store(cache, &key, &lease, "12345678", 8));
    assert_true(cache_get(cache, &key, read, 8, &lease));
    assert_memory_equal(read, "12345678", 8);
}

static void test_expiry(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    assert_true(fill(&key, 1));
    age_bucket(&key, CACHE_TTL_MS - 5000);
    assert_int_equal(read_value(&key), 1);
    age_bucket(&key, 5000);
    assert_int_equal(read_value(&key), -1);
    assert_true(fill(&key, 2));
    assert_int_equal(read_value(&key), 2);
}

/* The lease problem: at whichever moment the reader looked, an older value is not stored. */
static void test_lease_against_writer(void **state)
{
    (void)state;
    for (int moment = 0; moment < 3; moment++) {
        struct cache_key key = {CACHE_BALANCE, uuid_new()};
        struct cache_lease before;
        struct cache_lease during;
        struct cache_lease after;
        struct cache_write write;
        int64_t value = 1;
        assert_false(cache_get(cache, &key, &value, sizeof(value), &before));
        assert_true(before.may_store);
        cache_write_begin(cache, &key, &write);
        assert_int_not_equal(write.writer, 0);
        assert_false(cache_get(cache, &key, &value, sizeof(value), &during));
        assert_false(during.may_store);
        if (moment == 0) /* the writer is still under way */
            assert_false(cache_store(cache, &key, &before, &value, sizeof(value)));
        cache_write_end(cache, &write);
        if (moment == 1)
            assert_false(cache_store(cache, &key, &before, &value, sizeof(value)));
        if (moment == 2) /* a lease taken during a write stays void after it */
            assert_false(cache_store(cache, &key, &during, &value, sizeof(value)));
        assert_int_equal(read_value(&key), -1);
        assert_false(cache_get(cache, &key, &value, sizeof(value), &after));
        assert_true(after.may_store);
        value = 2;
        assert_true(cache_store(cache, &key, &after, &value, sizeof(value)));
        assert_int_equal(read_value(&key), 2);
    }
}

static void test_writer_drops_the_value(void **state)
{
    (void)state;
    struct cache_key keys[KEYS];
    struct cache_write write;
    make_colliding(keys);
    assert_true(fill(&keys[0], 1));
    assert_true(fill(&keys[1], 10));
    cache_write_begin(cache, &keys[0], &write);
    assert_int_equal(read_value(&keys[0]), -1);
    assert_int_equal(read_value(&keys[1]), 10); /* a neighbour keeps its value */
    assert_false(fill(&keys[2], 20));           /* and waits with new ones */
    cache_write_end(cache, &write);
    assert_true(fill(&keys[2], 20));
}

static void test_two_writers_and_two_ends(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    struct cache_write first;
    struct cache_write second;
    cache_write_begin(cache, &key, &first);
    cache_write_begin(cache, &key, &second);
    cache_write_end(cache, &first);
    assert_int_equal(first.writer, 0);
    cache_write_end(cache, &first); /* does not end the other one */
    assert_false(fill(&key, 1));
    cache_write_end(cache, &second);
    assert_true(fill(&key, 1));
}

static void test_dead_writer_heals_after_the_ttl(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    struct cache_write dead;
    struct cache_write late;
    struct cache_stats stats;
    cache_write_begin(cache, &key, &dead);
    age_bucket(&key, CACHE_TTL_MS - 5000);
    assert_false(fill(&key, 1));
    age_bucket(&key, 5000);
    assert_true(fill(&key, 1));
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.recoveries, 1);

    /* It was alive after all: its end drops the value, and is no end of a later writer. */
    cache_write_begin(cache, &key, &late);
    cache_write_end(cache, &dead);
    assert_false(fill(&key, 2));
    cache_write_end(cache, &late);
    assert_true(fill(&key, 2));
    assert_int_equal(read_value(&key), 2);
    dead.writer = 2; /* once more, with no writer under way */
    cache_write_end(cache, &dead);
    assert_int_equal(read_value(&key), -1);
    assert_int_equal(bucket_of(&key)->writers[0] + bucket_of(&key)->writers[1], 0);
    assert_true(fill(&key, 3));
}

/* A begin every second postpones dirty_until for ever; generations heal the bucket nevertheless. */
static void test_dead_writer_among_living_ones(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    struct cache_write dead;
    struct cache_write living;
    cache_write_begin(cache, &key, &dead);
    int64_t waited_ms = 0;
    bool stored = false;
    for (; !stored && waited_ms < 10 * CACHE_TTL_MS; waited_ms += 1000) {
        age_bucket(&key, 1000);
        cache_write_begin(cache, &key, &living);
        cache_write_end(cache, &living);
        stored = fill(&key, 1);
        assert_false(stored && waited_ms < CACHE_TTL_MS - 1000);
    }
    assert_in_range(waited_ms, CACHE_TTL_MS, 2 * CACHE_TTL_MS);

    /* A writer slower than a generation, but not than the time to live, still counts. */
    cache_write_begin(cache, &key, &dead);
    age_bucket(&key, CACHE_TTL_MS - 5000);
    cache_write_begin(cache, &key, &living);
    age_bucket(&key, 6000);
    cache_write_end(cache, &dead);
    assert_false(fill(&key, 2));
    cache_write_end(cache, &living);
    assert_true(fill(&key, 2));
}

static void test_eviction_takes_the_least_used(void **state)
{
    (void)state;
    struct cache_key keys[KEYS];
    struct cache_stats stats;
    make_colliding(keys);
    for (size_t i = 0; i < CACHE_BUCKET_SLOTS; i++) {
        assert_true(fill(&keys[i], (int64_t)i));
        age_bucket(&keys[0], 10);
    }
    assert_int_equal(read_value(&keys[0]), 0); /* now keys[1] is the one not used for longest */
    assert_true(fill(&keys[KEYS - 1], 100));
    for (size_t i = 0; i < CACHE_BUCKET_SLOTS; i++)
        assert_int_equal(read_value(&keys[i]), i == 1 ? -1 : (int64_t)i);
    assert_int_equal(read_value(&keys[KEYS - 1]), 100);
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.evictions, 1);
    assert_int_equal(stats.slots_used, CACHE_BUCKET_SLOTS);

    /* The version belongs to the bucket: a lease older than a write is void, slot or no slot. */
    struct cache_lease lease;
    struct cache_write write;
    int64_t value;
    assert_false(cache_get(cache, &keys[1], &value, sizeof(value), &lease));
    cache_write_begin(cache, &keys[1], &write);
    cache_write_end(cache, &write);
    assert_false(cache_store(cache, &keys[1], &lease, &value, sizeof(value)));

    /* Expired ones give way before live ones and are no evictions. */
    age_bucket(&keys[0], CACHE_TTL_MS);
    assert_true(fill(&keys[1], 1));
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.evictions, 1);
}

static void test_clear(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    struct cache_key other = {CACHE_IDENTITY, uuid_new()};
    struct cache_lease lease;
    struct cache_stats stats;
    int64_t value = 1;
    assert_true(fill(&key, 1));
    assert_false(cache_get(cache, &other, &value, sizeof(value), &lease));
    cache_clear(cache);
    assert_int_equal(read_value(&key), -1);
    assert_false(cache_store(cache, &other, &lease, &value, sizeof(value)));
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.slots_used, 0);

    struct cache_write write; /* a write under way stays under way */
    cache_write_begin(cache, &key, &write);
    cache_clear(cache);
    assert_false(fill(&key, 2));
    cache_write_end(cache, &write);
    assert_true(fill(&key, 2));
}

static void test_stats(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    struct cache_lease none = {0};
    struct cache_stats stats;
    int64_t value = 1;
    assert_true(fill(&key, 1));
    assert_int_equal(read_value(&key), 1);
    assert_int_equal(read_value(&key), 1);
    assert_false(cache_store(cache, &key, &none, &value, sizeof(value)));
    cache_read_stats(cache, &stats);
    const struct cache_stats expected = {.hits = 2,
                                         .misses = 1,
                                         .stores = 1,
                                         .refused_stores = 1,
                                         .slots = (uint64_t)CACHE_BUCKETS * CACHE_BUCKET_SLOTS,
                                         .slots_used = 1};
    assert_memory_equal(&stats, &expected, sizeof(stats));
}

/* The expected number is OpenSSL's: openssl mac -macopt size:8 SIPHASH. */
static void test_hash_is_siphash(void **state)
{
    (void)state;
    static struct cache_table table;
    struct cache_key key = {.kind = CACHE_BALANCE};
    for (uint8_t i = 0; i < 16; i++) {
        ((uint8_t *)table.hash_key)[i] = i;
        key.id.bytes[i] = i;
    }
    assert_int_equal(cache_hash_key(&table, &key), UINT64_C(0x27b3c12f956224f9));
    const uint64_t *secret = table_of(cache)->hash_key;
    assert_true(secret[0] != 0 && secret[1] != 0 && secret[0] != secret[1]);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_null_is_always_a_miss),
        TEST(test_store_and_get),
        TEST(test_expiry),
        TEST(test_lease_against_writer),
        TEST(test_writer_drops_the_value),
        TEST(test_two_writers_and_two_ends),
        TEST(test_dead_writer_heals_after_the_ttl),
        TEST(test_dead_writer_among_living_ones),
        TEST(test_eviction_takes_the_least_used),
        TEST(test_clear),
        TEST(test_stats),
        TEST(test_hash_is_siphash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
