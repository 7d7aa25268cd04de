/* The cache among processes: they share it, die in it, and may be of another build. */
#include <signal.h>
#include <sys/wait.h>

#include "cache_table.h"

static void test_two_processes_share(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    int status;
    assert_true(fill(&key, 1));
    pid_t child = fork();
    if (child == 0) {
        char problem[256];
        struct cache_lease lease;
        struct cache_write write;
        int64_t value = 0;
        if (cache_open(path, &cache, problem) ||
            !cache_get(cache, &key, &value, sizeof(value), &lease) || value != 1)
            _exit(1);
        cache_write_begin(cache, &key, &write);
        cache_write_end(cache, &write);
        _exit(fill(&key, 2) ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read_value(&key), 2);
}

/* A child that changes the bucket half-way under its lock and is killed there. */
static void kill_inside(const struct cache_key *key)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct cache_bucket *bucket = bucket_of(key);
        pthread_mutex_lock(&bucket->lock);
        bucket->writers[0] = 77;
        bucket->writers[1] = 77;
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void test_killed_inside_a_bucket(void **state)
{
    (void)state;
    struct cache_key keys[KEYS];
    struct cache_write write;
    struct cache_lease lease;
    struct cache_stats stats;
    int64_t value = 1;
    make_colliding(keys);
    assert_true(fill(&keys[0], 1));
    assert_false(cache_get(cache, &keys[1], &value, sizeof(value), &lease));
    cache_write_begin(cache, &keys[2], &write);
    alarm(100); /* ends a test that waits for ever for the lock of the dead */
    kill_inside(&keys[0]);
    assert_int_equal(read_value(&keys[0]), -1);
    assert_false(fill(&keys[0], 2));
    assert_false(cache_store(cache, &keys[1], &lease, &value, sizeof(value)));
    cache_write_end(cache, &write);
    assert_false(fill(&keys[0], 2));
    age_bucket(&keys[0], CACHE_TTL_MS);
    assert_true(fill(&keys[0], 2));
    assert_int_equal(read_value(&keys[0]), 2);
    cache_read_stats(cache, &stats);
    assert_int_equal(stats.recoveries, 2); /* the dead owner, then the writers given up */

    kill_inside(&keys[0]); /* cache_clear meets it first */
    cache_clear(cache);
    alarm(0);
    assert_false(fill(&keys[0], 3));
}

static void test_layout_version_mismatch(void **state)
{
    (void)state;
    struct cache_key key = {CACHE_BALANCE, uuid_new()};
    assert_true(fill(&key, 1));
    cache_close(cache);
    cache = open_ok();
    assert_int_equal(read_value(&key), 1);
    table_of(cache)->header.layout_version++;
    cache_close(cache);
    cache = open_ok();
    assert_int_equal(table_of(cache)->header.layout_version, CACHE_LAYOUT_VERSION);
    assert_int_equal(read_value(&key), -1);
}

static void test_refused(void **state)
{
    (void)state;
    char problem[256] = "";
    struct cache *opened = NULL;
    assert_int_equal(cache_open("/dev/null", &opened, problem), ERROR_INTERNAL);
    assert_non_null(strstr(problem, "/dev/null"));
    assert_null(opened);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_two_processes_share),
        TEST(test_killed_inside_a_bucket),
        TEST(test_layout_version_mismatch),
        TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
