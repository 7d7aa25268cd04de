#include "observe/metrics.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/shared_memory.h"

/* clang-format off */
#define METRIC_TABLE(X) \
    X("http_requests_total", COUNTER, "Requests answered, by handler, route, method and status.") \
    X("http_request_duration_seconds", HISTOGRAM, "Time from request to answer.") \
    X("response_write_errors_total", COUNTER, "Answers that could not be written.") \
    X("db_query_duration_seconds", HISTOGRAM, "Metric db.query: time of a statement, by name.") \
    X("db_query_errors_total", COUNTER, "Statements that failed, by name and SQLSTATE.") \
    X("db_slow_queries_total", COUNTER, "Statements slower than the warning threshold.") \
    X("db_retries_total", COUNTER, "Units of work run again after a transient failure.") \
    X("db_reconnects_total", COUNTER, "Connections made again after one was lost.") \
    X("db_bootstraps_total", COUNTER, "Schema bootstraps, by result.") \
    X("db_pool_wait_seconds", HISTOGRAM, "Time a thread waited for a free connection.") \
    X("db_pool_timeouts_total", COUNTER, "Waits for a free connection that were given up.") \
    X("db_prepared_fallbacks_total", COUNTER, "Changes to unnamed statements behind a pooler.") \
    X("payments_total", COUNTER, "Payments whose status went forward, by the new status.") \
    X("payment_differences_total", COUNTER, "Differences from the provider seen, by kind.") \
    X("payment_provider_calls_total", COUNTER, "Calls of the payment provider, by result.") \
    X("cache_hits_total", COUNTER, "Reads answered by the shared cache.") \
    X("cache_misses_total", COUNTER, "Reads the shared cache could not answer.") \
    X("cache_stores_total", COUNTER, "Values stored in the shared cache.") \
    X("cache_refused_stores_total", COUNTER, "Values not stored because a writer came between.") \
    X("cache_evictions_total", COUNTER, "Live values that gave way to others.") \
    X("cache_recoveries_total", COUNTER, "Buckets reset after a process died in them.") \
    X("cache_slots", GAUGE, "Slots of the shared cache.") \
    X("cache_slots_used", GAUGE, "Slots of the shared cache that hold a value.") \
    X("process_start_time_seconds", GAUGE, "Unix time a handler started.") \
    X("metrics_overflow_total", COUNTER, "Observations without a series: full table or bad name.")
/* clang-format on */

/* The row every segment starts with and everything without a row of its own falls into. */
static const char OVERFLOW_NAME[] = "metrics_overflow_total";

#define METRICS_MAGIC UINT64_C(0x63697274654d4c44) /* "DLMetric" in memory, little-endian */

enum {
    METRICS_LAYOUT_VERSION = 1,
    CACHE_LINE_BYTES = 64,
    BUCKET_COUNT = 14, /* the 13 bounds below and +Inf */
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_row {
    const char *name;
    enum metric_type type;
    const char *help;
};

static const struct metric_row ROWS[] = {
#define METRIC_ROW(name, type, help) {name, METRIC_##type, help},
    METRIC_TABLE(METRIC_ROW)
#undef METRIC_ROW
};

enum { ROW_COUNT = sizeof(ROWS) / sizeof(ROWS[0]) };

static const char *const TYPE_NAMES[] = {"counter", "gauge", "histogram"};

/* Upper bounds, inclusive: 0.5 ms is a prepared read nearby, 5 s the longest a client waits. */
static const struct bucket_bound {
    uint64_t us;
    const char *seconds;
} BOUNDS[BUCKET_COUNT - 1] = {
    {500, "0.0005"},  {1000, "0.001"},  {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},
    {25000, "0.025"}, {50000, "0.05"},  {100000, "0.1"},  {250000, "0.25"}, {500000, "0.5"},
    {1000000, "1"},   {2500000, "2.5"}, {5000000, "5"},
};

/* On cache lines of its own. Name, labels and type never change once the series is published. */
struct metric {
    alignas(CACHE_LINE_BYTES) _Atomic uint64_t value; /* counters and gauges */
    _Atomic uint64_t sum_us;                          /* histograms, as are the buckets */
    _Atomic uint64_t buckets[BUCKET_COUNT];           /* each its own observations, not cumulated */
    uint32_t type;
    uint32_t overflow; /* 1 in the series that stands for all that have none */
    char name[METRIC_NAME_BYTES_MAX];
    char labels[METRIC_LABELS_BYTES_MAX];
};

/*
 * Series are only ever added, at the end, and published by count: who reads up to count needs no
 * lock, and one killed while adding leaves an unpublished series that the next one overwrites.
 */
struct segment {
    struct shared_memory_header header;
    pthread_mutex_t lock; /* guards adding; robust */
    _Atomic uint32_t count;
    struct metric series[METRIC_SERIES_MAX]; /* the first is the overflow series */
};

struct metrics {
    struct segment *segment;
};

static const struct metric_row *find_row(const char *name)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (strcmp(ROWS[i].name, name) == 0)
            return &ROWS[i];
    return NULL;
}

static void initialise(void *memory)
{
    struct segment *segment = memory;
    pthread_mutexattr_t attributes;
    int failed = pthread_mutexattr_init(&attributes);
    failed |= pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    failed |= pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    failed |= pthread_mutex_init(&segment->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    assert(!failed);
    struct metric *overflow = &segment->series[0];
    overflow->type = METRIC_COUNTER;
    overflow->overflow = 1;
    memcpy(overflow->name, OVERFLOW_NAME, sizeof(OVERFLOW_NAME));
    atomic_store_explicit(&segment->count, 1, memory_order_release);
}

static const struct shared_memory_layout LAYOUT = {
    .magic = METRICS_MAGIC,
    .version = METRICS_LAYOUT_VERSION,
    .size = sizeof(struct segment),
    .initialise = initialise,
};

enum error metrics_open(const char *path, struct metrics **ret_metrics, char problem[static 256])
{
    struct metrics *metrics = malloc(sizeof(*metrics));
    void *segment;
    if (!metrics)
        return ERROR_NO_MEMORY;
    enum error err = shared_memory_map(path, &LAYOUT, &segment, problem);
    if (err) {
        free(metrics);
        return err;
    }
    metrics->segment = segment;
    *ret_metrics = metrics;
    return ERROR_OK;
}

void metrics_close(struct metrics *metrics)
{
    if (!metrics)
        return;
    shared_memory_unmap(metrics->segment, &LAYOUT);
    free(metrics);
}

static bool is_label_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    /* "le" is what the histogram itself adds. */
    return len > 0 && !(len == 2 && memcmp(name, "le", 2) == 0);
}

/* name="value",name="value" or nothing; what it lets through needs no escape in the exposition. */
static bool are_labels(const char *labels)
{
    const char *p = labels;
    size_t len = strlen(labels);
    if (len >= METRIC_LABELS_BYTES_MAX || !text_is_utf8((struct text){labels, len}))
        return false;
    while (*p != '\0') {
        size_t name_len = strcspn(p, "=");
        if (!is_label_name(p, name_len) || strncmp(p + name_len, "=\"", 2) != 0)
            return false;
        for (p += name_len + 2; *p != '"'; p++)
            if ((unsigned char)*p < 0x20 || *p == '\\')
                return false;
        p++;
        if (*p == ',' && p[1] != '\0')
            p++;
        else if (*p != '\0')
            return false;
    }
    return true;
}

static uint32_t published(const struct segment *segment)
{
    return atomic_load_explicit(&segment->count, memory_order_acquire);
}

/* Looks at the series from first up to end. */
static struct metric *find_series(struct segment *segment, uint32_t first, uint32_t end,
                                  const struct metric *wanted)
{
    for (uint32_t i = first; i < end; i++) {
        struct metric *metric = &segment->series[i];
        if (strcmp(metric->labels, wanted->labels) == 0 && strcmp(metric->name, wanted->name) == 0)
            return metric;
    }
    return NULL;
}

static struct metric *add_series(struct segment *segment, uint32_t seen,
                                 const struct metric *wanted)
{
    int rc = pthread_mutex_lock(&segment->lock);
    if (rc == EOWNERDEAD) /* nothing to repair: the series it was adding is not published */
        rc = pthread_mutex_consistent(&segment->lock);
    assert(rc == 0);
    uint32_t end = published(segment);
    struct metric *metric = find_series(segment, seen, end, wanted);
    if (!metric && end < METRIC_SERIES_MAX) {
        metric = &segment->series[end];
        memcpy(metric, wanted, sizeof(*metric));
        atomic_store_explicit(&segment->count, end + 1, memory_order_release);
    }
    pthread_mutex_unlock(&segment->lock);
    return metric ? metric : &segment->series[0];
}

struct metric *metrics_series(struct metrics *metrics, const char *name, const char *labels)
{
    if (!metrics)
        return NULL;
    struct segment *segment = metrics->segment;
    const struct metric_row *row = find_row(name);
    if (!labels)
        labels = "";
    if (!row || !are_labels(labels))
        return &segment->series[0];
    struct metric wanted = {.type = row->type};
    memcpy(wanted.name, row->name, strlen(row->name));
    memcpy(wanted.labels, labels, strlen(labels));
    uint32_t end = published(segment);
    struct metric *metric = find_series(segment, 0, end, &wanted);
    return metric ? metric : add_series(segment, end, &wanted);
}

static void add(_Atomic uint64_t *value, uint64_t n)
{
    atomic_fetch_add_explicit(value, n, memory_order_relaxed);
}

static uint64_t get(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

void metric_add(struct metric *metric, uint64_t n)
{
    if (metric)
        add(&metric->value, n);
}

void metric_set(struct metric *metric, uint64_t value)
{
    if (metric && metric->overflow)
        add(&metric->value, 1);
    else if (metric)
        atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void metric_observe_us(struct metric *metric, uint64_t us)
{
    if (!metric)
        return;
    if (metric->overflow) {
        add(&metric->value, 1);
        return;
    }
    size_t i = 0;
    while (i < BUCKET_COUNT - 1 && us > BOUNDS[i].us)
        i++;
    add(&metric->buckets[i], 1);
    add(&metric->sum_us, us);
}

uint64_t metric_count(const struct metric *metric)
{
    if (!metric || metric->type != METRIC_HISTOGRAM)
        return metric ? get(&metric->value) : 0;
    uint64_t count = 0;
    for (size_t i = 0; i < BUCKET_COUNT; i++)
        count += get(&metric->buckets[i]);
    return count;
}

uint64_t metric_sum_us(const struct metric *metric)
{
    return metric ? get(&metric->sum_us) : 0;
}

void metrics_each(struct metrics *metrics, void (*visit)(const struct metric_view *, void *),
                  void *context)
{
    if (!metrics)
        return;
    uint32_t end = published(metrics->segment);
    for (uint32_t i = 0; i < end; i++) {
        const struct metric *metric = &metrics->segment->series[i];
        struct metric_view view = {
            .name = metric->name,
            .labels = metric->labels,
            .histogram = metric->type == METRIC_HISTOGRAM,
            .gauge = metric->type == METRIC_GAUGE,
            .count = metric_count(metric),
            .sum_us = metric_sum_us(metric),
        };
        visit(&view, context);
    }
}

/* name_suffix{labels,le="bound"} with the parts that there are. */
static void render_name(struct buffer *out, const struct metric *metric, const char *suffix,
                        const char *bound)
{
    bool labels = metric->labels[0] != '\0';
    buffer_append_string(out, metric->name);
    buffer_append_string(out, suffix);
    if (!labels && !bound)
        return;
    buffer_append_char(out, '{');
    buffer_append_string(out, metric->labels);
    if (bound)
        buffer_append_format(out, "%sle=\"%s\"", labels ? "," : "", bound);
    buffer_append_char(out, '}');
}

/* The buckets are read one by one, so the count is their sum and not a number of its own. */
static void render_histogram(struct buffer *out, const struct metric *metric)
{
    uint64_t count = 0;
    for (size_t i = 0; i < BUCKET_COUNT; i++) {
        count += get(&metric->buckets[i]);
        render_name(out, metric, "_bucket", i < BUCKET_COUNT - 1 ? BOUNDS[i].seconds : "+Inf");
        buffer_append_format(out, " %" PRIu64 "\n", count);
    }
    uint64_t sum_us = metric_sum_us(metric);
    render_name(out, metric, "_sum", NULL);
    buffer_append_format(out, " %" PRIu64 ".%06" PRIu64 "\n", sum_us / 1000000, sum_us % 1000000);
    render_name(out, metric, "_count", NULL);
    buffer_append_format(out, " %" PRIu64 "\n", count);
}

/* All series of one name together, as the format asks. */
static void render_row(const struct segment *segment, const struct metric_row *row,
                       struct buffer *out)
{
    uint32_t end = published(segment);
    bool described = false;
    for (uint32_t i = 0; i < end; i++) {
        const struct metric *metric = &segment->series[i];
        if (strcmp(metric->name, row->name) != 0)
            continue;
        if (!described)
            buffer_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help,
                                 row->name, TYPE_NAMES[row->type]);
        described = true;
        if (row->type == METRIC_HISTOGRAM) {
            render_histogram(out, metric);
            continue;
        }
        render_name(out, metric, "", NULL);
        buffer_append_format(out, " %" PRIu64 "\n", get(&metric->value));
    }
}

void metrics_render(struct metrics *metrics, struct buffer *out)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < ROW_COUNT; i++)
        render_row(metrics->segment, &ROWS[i], out);
}
