/*
 * Counters and histograms in shared memory: every handler process of a host adds to the same
 * segment and one endpoint renders them all, so values survive the restart of a handler.
 *
 * Thread-safe and process-safe; adding is one relaxed atomic operation (two for a histogram).
 * Format rendered: Prometheus text exposition format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

struct metrics; /* a mapping of the segment */
struct metric;  /* one series in it; lives as long as the mapping */

/*
 * Maps the segment at path (a file under /dev/shm), creating it 0600 when missing or when its
 * magic, layout version or size is another. A file of another owner is refused.
 * Returns ERROR_INTERNAL and fills problem (a sentence without newline) when it cannot.
 */
enum error metrics_open(const char *path, struct metrics **ret_metrics,
                        char problem[static 256]) MUST_CHECK;
void metrics_close(struct metrics *metrics);

/*
 * The calls below take a NULL metrics or metric and then do nothing, so that callers without a
 * segment (a unit test, a tool) need no second path. Each addition to the overflow series counts
 * one.
 */

/*
 * Finds or adds a series. name: Prometheus name, one of METRIC_TABLE in metrics.c (which holds type
 * and help). labels: rendered label pairs without braces, such as handler="tokens",status="200";
 * NULL or "" for none. Values hold neither quotes, backslashes nor control characters. The caller
 * keeps their number bounded (no ids, no raw paths).
 * Returns NULL only when metrics is NULL. When the table is full, the name is not in it or the
 * labels are malformed, it returns a shared overflow series, rendered as metrics_overflow_total. It
 * scans, and takes a lock to add a series: on a hot path call it once and keep the pointer.
 */
struct metric *metrics_series(struct metrics *metrics, const char *name, const char *labels);

/* Counter: adds n. Gauge (and a counter kept elsewhere, such as the cache's): metric_set. */
void metric_add(struct metric *metric, uint64_t n);
void metric_set(struct metric *metric, uint64_t value);

/* Histogram: one observation in microseconds; rendered in seconds. */
void metric_observe_us(struct metric *metric, uint64_t us);

/* Reads one series back, for /api/health?metrics=true and tests. */
uint64_t metric_count(const struct metric *metric);
uint64_t metric_sum_us(const struct metric *metric);

/* One series as metrics_each visits it. Strings are borrowed for the call. */
struct metric_view {
    const char *name;
    const char *labels;
    bool histogram;
    bool gauge;      /* a value that is not added up */
    uint64_t count;  /* counter value, or number of observations */
    uint64_t sum_us; /* histograms only */
};
void metrics_each(struct metrics *metrics, void (*visit)(const struct metric_view *, void *),
                  void *context);

/* Appends the whole exposition. */
void metrics_render(struct metrics *metrics, struct buffer *out);
