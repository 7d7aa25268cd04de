/*
 * A file under /dev/shm that several processes map; the first one that comes creates it safely.
 * Used by the metrics segment and the shared cache.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* The first bytes of every segment. */
struct shared_memory_header {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t ready;      /* set with release order after initialise returned */
    uint64_t size;       /* bytes, this header included */
    uint8_t boot_id[16]; /* of the kernel that ran when it was made; zero when not readable */
};

struct shared_memory_layout {
    uint64_t magic;
    uint32_t version;
    size_t size;                       /* bytes, a multiple of the page size is not needed */
    void (*initialise)(void *segment); /* called once, on zeroed memory, header already filled */
};

/*
 * Maps path as layout says, mode 0600.
 *   Made anew: a missing file, one with another magic, version or size, one that others may open,
 *     and one from before the last boot, because its locks and monotonic times mean nothing now.
 * The new file is built as path.new and renamed over the old one. So a process that maps the old
 * one keeps it, and nobody sees a half-made one. flock on path.lock, which stays, serialises this.
 *   Refused: a file of another owner, a symbolic link, anything but a regular file, and a file
 *     system with less room than the segment may come to need. Pages are taken when first touched,
 *     and a touch without room would kill the process.
 * Returns ERROR_INTERNAL with problem filled (a sentence without newline) when it is refused.
 * ret_segment: the mapping, unmapped by shared_memory_unmap. Thread-safe.
 */
enum error shared_memory_map(const char *path, const struct shared_memory_layout *layout,
                             void **ret_segment, char problem[static 256]) MUST_CHECK;
void shared_memory_unmap(void *segment, const struct shared_memory_layout *layout);
