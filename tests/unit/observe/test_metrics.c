/* Series, the exact exposition, overflow, and what processes share. */
#include "observe/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/shared_memory.h"

enum { PATH_SIZE = 128, CHILDREN = 4, THREADS = 4, ROUNDS = 2000 };

static char path[PATH_SIZE];
static struct metrics *metrics;

static struct metrics *open_ok(void)
{
    char problem[256] = "";
    struct metrics *opened = NULL;
    enum error err = metrics_open(path, &opened, problem);
    assert_string_equal(problem, "");
    assert_int_equal(err, ERROR_OK);
    return opened;
}

static void unlink_all(void)
{
    char name[PATH_SIZE + 8];
    unlink(path);
    snprintf(name, sizeof(name), "%s.lock", path);
    unlink(name);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "/dev/shm/dreamlens-unit-%d.metrics", (int)getpid());
    unlink_all();
    metrics = open_ok();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    metrics_close(metrics);
    unlink_all();
    return 0;
}

static uint64_t overflow(void)
{
    return metric_count(metrics_series(metrics, "metrics_overflow_total", ""));
}

/* clang-format off */
static const char EXPECTED[] =
    "# HELP http_requests_total Requests answered, by handler, route, method and status.\n"
    "# TYPE http_requests_total counter\n"
    "http_requests_total{handler=\"tokens\",route=\"/api/tokens\",status=\"200\"} 3\n"
    "http_requests_total{handler=\"user\"} 1\n"
    "# HELP db_query_duration_seconds Metric db.query: time of a statement, by name.\n"
    "# TYPE db_query_duration_seconds histogram\n"
#define BUCKET(bound, count) \
    "db_query_duration_seconds_bucket{query=\"balance_read\",le=\"" bound "\"} " count "\n"
    BUCKET("0.0005", "2")
    BUCKET("0.001", "4")
    BUCKET("0.0025", "4")
    BUCKET("0.005", "4")
    BUCKET("0.01", "4")
    BUCKET("0.025", "4")
    BUCKET("0.05", "4")
    BUCKET("0.1", "5")
    BUCKET("0.25", "5")
    BUCKET("0.5", "5")
    BUCKET("1", "5")
    BUCKET("2.5", "5")
    BUCKET("5", "6")
    BUCKET("+Inf", "8")
#undef BUCKET
    "db_query_duration_seconds_sum{query=\"balance_read\"} 80.102001\n"
    "db_query_duration_seconds_count{query=\"balance_read\"} 8\n"
    "# HELP cache_slots_used Slots of the shared cache that hold a value.\n"
    "# TYPE cache_slots_used gauge\n"
    "cache_slots_used 12\n"
    "# HELP process_start_time_seconds Unix time a handler started.\n"
    "# TYPE process_start_time_seconds gauge\n"
    "process_start_time_seconds{handler=\"tokens\"} 17\n"
    "# HELP metrics_overflow_total Observations without a series: full table or bad name.\n"
    "# TYPE metrics_overflow_total counter\n"
    "metrics_overflow_total 0\n";
/* clang-format on */

static void test_exact_exposition(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, MIB);
    metric_set(metrics_series(metrics, "cache_slots_used", NULL), 12);
    metric_add(metrics_series(metrics, "http_requests_total",
                              "handler=\"tokens\",route=\"/api/tokens\",status=\"200\""),
               3);
    metric_set(metrics_series(metrics, "process_start_time_seconds", "handler=\"tokens\""), 17);
    metric_add(metrics_series(metrics, "http_requests_total", "handler=\"user\""), 1);
    struct metric *histogram =
        metrics_series(metrics, "db_query_duration_seconds", "query=\"balance_read\"");
    static const uint64_t OBSERVED_US[] = {0, 500, 501, 1000, 99999, 5000000, 5000001, 70000000};
    for (size_t i = 0; i < sizeof(OBSERVED_US) / sizeof(OBSERVED_US[0]); i++)
        metric_observe_us(histogram, OBSERVED_US[i]);
    metrics_render(metrics, &out);
    assert_int_equal(buffer_error(&out), ERROR_OK);
    assert_string_equal(buffer_text(&out).data, EXPECTED);
    assert_int_equal(metric_count(histogram), 8);
    assert_int_equal(metric_sum_us(histogram), 80102001);
    buffer_done(&out);
}

static void test_histogram_without_labels(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, MIB);
    metric_observe_us(metrics_series(metrics, "db_pool_wait_seconds", ""), 7);
    metrics_render(metrics, &out);
    const char *text = buffer_text(&out).data;
    assert_non_null(strstr(text, "\ndb_pool_wait_seconds_bucket{le=\"0.0005\"} 1\n"));
    assert_non_null(strstr(text, "\ndb_pool_wait_seconds_sum 0.000007\n"));
    assert_non_null(strstr(text, "\ndb_pool_wait_seconds_count 1\n"));
    buffer_done(&out);
}

static void test_a_capped_buffer_fails_quietly(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, 10);
    metrics_render(metrics, &out);
    assert_int_equal(buffer_error(&out), ERROR_BODY_TOO_LARGE);
    buffer_done(&out);
}

static void test_labels(void **state)
{
    static char long_label[METRIC_LABELS_BYTES_MAX + 8];
    static char longest[METRIC_LABELS_BYTES_MAX];
    (void)state;
    memset(long_label, 'x', sizeof(long_label) - 1);
    memcpy(long_label, "a=\"", 3);
    memcpy(longest, long_label, sizeof(longest) - 1);
    long_label[sizeof(long_label) - 2] = '"';
    longest[sizeof(longest) - 2] = '"';
    const struct {
        const char *labels;
        bool good;
    } rows[] = {
        {"", true},
        {NULL, true},
        {"a=\"\"", true},
        {"a=\"1\",b_2=\"x, {y}=z\"", true},
        {"route=\"/api/generations/{id}\"", true},
        {"имя=\"x\"", false},
        {"a=\"имя\"", true},
        {longest, true},
        {long_label, false},
        {"a", false},
        {"=\"x\"", false},
        {"a=x", false},
        {"a=\"x", false},
        {"a=\"x\",", false},
        {",a=\"x\"", false},
        {"a=\"x\"b=\"y\"", false},
        {"a=\"x\" ,b=\"y\"", false},
        {"a=\"x\"y\"", false},
        {"a=\"x\\\"y\"", false},
        {"a=\"x\\\\\"", false},
        {"a=\"x\ny\"", false},
        {"a=\"x\ty\"", false},
        {"a=\"\xff\"", false},
        {"1a=\"x\"", false},
        {"a-b=\"x\"", false},
        {"le=\"1\"", false},
        {"a=\"x\"} 1\nforged 2", false},
    };
    struct metric *lost = metrics_series(metrics, "metrics_overflow_total", "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct metric *metric = metrics_series(metrics, "http_requests_total", rows[i].labels);
        assert_non_null(metric);
        if ((metric != lost) != rows[i].good)
            fail_msg("labels %s", rows[i].labels);
    }
}

static void test_overflow(void **state)
{
    (void)state;
    struct metric *unknown = metrics_series(metrics, "no_such_metric", "");
    metric_add(unknown, 2);
    metric_set(unknown, 1000);
    metric_observe_us(unknown, 1000);
    assert_int_equal(overflow(), 4);

    struct metric *known = metrics_series(metrics, "db_retries_total", "");
    for (int i = 0; i < METRIC_SERIES_MAX + 10; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "query=\"%d\"", i);
        metric_observe_us(metrics_series(metrics, "db_query_duration_seconds", labels), 1);
    }
    /* Two of the table were taken before: the overflow series itself and the retries. */
    assert_int_equal(overflow(), 4 + 12);
    assert_ptr_equal(metrics_series(metrics, "db_retries_total", ""), known);
    struct buffer out;
    buffer_init(&out, 16 * MIB);
    metrics_render(metrics, &out);
    assert_int_equal(buffer_error(&out), ERROR_OK);
    assert_non_null(strstr(buffer_text(&out).data, "\nmetrics_overflow_total 16\n"));
    buffer_done(&out);
}

static void test_null_is_ignored(void **state)
{
    (void)state;
    struct buffer out;
    buffer_init(&out, MIB);
    assert_null(metrics_series(NULL, "http_requests_total", ""));
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe_us(NULL, 1);
    assert_int_equal(metric_count(NULL), 0);
    assert_int_equal(metric_sum_us(NULL), 0);
    metrics_render(NULL, &out);
    metrics_each(NULL, NULL, NULL);
    metrics_close(NULL);
    assert_int_equal(buffer_text(&out).len, 0);
    buffer_done(&out);
}

static void visit(const struct metric_view *view, void *context)
{
    char *seen = context;
    size_t len = strlen(seen);
    snprintf(seen + len, 512 - len, "%s{%s}%d:%d/%d ", view->name, view->labels, view->histogram,
             (int)view->count, (int)view->sum_us);
}

static void test_each(void **state)
{
    (void)state;
    char seen[512] = "";
    metric_add(metrics_series(metrics, "db_retries_total", "a=\"b\""), 5);
    metric_observe_us(metrics_series(metrics, "db_pool_wait_seconds", ""), 9);
    metrics_each(metrics, visit, seen);
    assert_string_equal(seen, "metrics_overflow_total{}0:0/0 db_retries_total{a=\"b\"}0:5/0 "
                              "db_pool_wait_seconds{}1:1/9 ");
}

static void test_two_mappings_and_reopening(void **state)
{
    (void)state;
    struct metrics *other = open_ok();
    struct metric *here = metrics_series(metrics, "db_retries_total", "handler=\"x\"");
    struct metric *there = metrics_series(other, "db_retries_total", "handler=\"x\"");
    assert_ptr_not_equal(here, there);
    metric_add(here, 2);
    metric_add(there, 3);
    assert_int_equal(metric_count(here), 5);
    metrics_close(other);
    metrics_close(metrics);
    metrics = open_ok(); /* as a handler that was restarted */
    assert_int_equal(metric_count(metrics_series(metrics, "db_retries_total", "handler=\"x\"")), 5);
}

/* Adds to the same few series, finding each anew every time. */
static void *work(void *argument)
{
    struct metrics *used = argument;
    for (int i = 0; i < ROUNDS; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "query=\"%d\"", i % 40);
        metric_add(metrics_series(used, "db_retries_total", labels), 1);
        metric_observe_us(metrics_series(used, "db_query_duration_seconds", labels), 10);
    }
    return NULL;
}

static void sum(const struct metric_view *view, void *context)
{
    uint64_t *totals = context; /* series, counted, observed, sum */
    totals[0]++;
    totals[view->histogram ? 2 : 1] += view->count;
    totals[3] += view->sum_us;
}

static void assert_totals(int workers)
{
    uint64_t totals[4] = {0};
    metrics_each(metrics, sum, totals);
    assert_int_equal(totals[0], 1 + 2 * 40);
    assert_int_equal(totals[1], workers * ROUNDS);
    assert_int_equal(totals[2], workers * ROUNDS);
    assert_int_equal(totals[3], workers * ROUNDS * 10);
}

static void test_threads_add_every_series_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, metrics), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_totals(THREADS);
}

static void test_processes_add_every_series_once(void **state)
{
    (void)state;
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            char problem[256];
            struct metrics *own;
            if (metrics_open(path, &own, problem))
                _exit(1);
            work(own);
            _exit(0);
        }
        assert_true(children[i] > 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_totals(CHILDREN);
}

/* The start of the segment as metrics.c lays it out, for a process that dies holding the lock. */
struct segment_start {
    struct shared_memory_header header;
    pthread_mutex_t lock;
};

static void ignore(void *segment)
{
    (void)segment;
}

static void die_holding_the_lock(void)
{
    struct shared_memory_header header;
    char problem[256];
    void *memory;
    FILE *file = fopen(path, "r");
    if (!file || fread(&header, sizeof(header), 1, file) != 1)
        _exit(1);
    struct shared_memory_layout layout = {.magic = header.magic,
                                          .version = header.layout_version,
                                          .size = header.size,
                                          .initialise = ignore};
    if (shared_memory_map(path, &layout, &memory, problem))
        _exit(1);
    struct segment_start *start = memory;
    if (pthread_mutex_lock(&start->lock) != 0)
        _exit(1);
    kill(getpid(), SIGKILL);
}

static void test_killed_while_adding(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0)
        die_holding_the_lock();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    alarm(10);
    metric_add(metrics_series(metrics, "db_retries_total", "after=\"1\""), 1);
    metric_add(metrics_series(metrics, "db_retries_total", "after=\"2\""), 1);
    alarm(0);
    assert_int_equal(metric_count(metrics_series(metrics, "db_retries_total", "after=\"1\"")), 1);
    assert_int_equal(overflow(), 0);
}

static void test_refused(void **state)
{
    (void)state;
    char problem[256] = "";
    struct metrics *opened = NULL;
    assert_int_equal(metrics_open("/dev/null", &opened, problem), ERROR_INTERNAL);
    assert_non_null(strstr(problem, "/dev/null"));
    assert_null(opened);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_exact_exposition),
        TEST(test_histogram_without_labels),
        TEST(test_a_capped_buffer_fails_quietly),
        TEST(test_labels),
        TEST(test_overflow),
        TEST(test_null_is_ignored),
        TEST(test_each),
        TEST(test_two_mappings_and_reopening),
        TEST(test_processes_add_every_series_once),
        TEST(test_killed_while_adding),
        TEST(test_threads_add_every_series_once),
        TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
