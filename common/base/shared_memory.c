#include "base/shared_memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/uuid.h"

enum {
    PROBLEM_SIZE = 256, /* of the caller's buffer, by contract */
    RETRY_MS = 10,
    NAME_SIZE = SHARED_MEMORY_PATH_BYTES_MAX + 8, /* path, ".lock" or ".new", terminator */
};

static enum error fail(char *problem, const char *path, const char *what)
{
    snprintf(problem, PROBLEM_SIZE, "shared memory file %.*s: %.60s",
             SHARED_MEMORY_PATH_BYTES_MAX + 5, path, what);
    return ERROR_INTERNAL;
}

static enum error fail_errno(char *problem, const char *path, const char *call)
{
    char text[48];
    char what[64];
    snprintf(what, sizeof(what), "%.10s: %.48s", call, strerror_r(errno, text, sizeof(text)));
    return fail(problem, path, what);
}

static void read_boot_id(uint8_t boot_id[16])
{
    struct uuid id = {{0}};
    char text[UUID_TEXT_SIZE - 1];
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, text, sizeof(text)) == (ssize_t)sizeof(text))
            (void)uuid_parse((struct text){text, sizeof(text)}, &id);
        close(fd);
    }
    memcpy(boot_id, id.bytes, sizeof(id.bytes));
}

/*
 * Opens name without following a link and checks that it is a regular file of ours.
 * ret_fd is -1 when there is no such file and flags do not create it.
 */
static enum error open_own(const char *name, int flags, int *ret_fd, char *problem)
{
    struct stat info;
    int fd = open(name, flags | O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0 && errno == ENOENT && !(flags & O_CREAT)) {
        *ret_fd = -1;
        return ERROR_OK;
    }
    if (fd < 0 && errno == ELOOP)
        return fail(problem, name, "is a symbolic link");
    if (fd < 0)
        return fail_errno(problem, name, "open");
    enum error err = ERROR_INTERNAL;
    if (fstat(fd, &info) != 0)
        err = fail_errno(problem, name, "fstat");
    else if (!S_ISREG(info.st_mode))
        err = fail(problem, name, "is not a regular file");
    else if (info.st_uid != geteuid())
        err = fail(problem, name, "belongs to another user");
    else
        err = ERROR_OK;
    if (err) {
        close(fd);
        return err;
    }
    *ret_fd = fd;
    return ERROR_OK;
}

static bool fits(int fd, const struct shared_memory_layout *layout)
{
    struct shared_memory_header header;
    struct stat info;
    uint8_t boot_id[16];
    read_boot_id(boot_id);
    if (fstat(fd, &info) != 0 || (info.st_mode & 077) != 0 || info.st_size < 0 ||
        (uint64_t)info.st_size != layout->size ||
        pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
        return false;
    return header.magic == layout->magic && header.layout_version == layout->version &&
           header.ready == 1 && header.size == layout->size &&
           memcmp(header.boot_id, boot_id, sizeof(boot_id)) == 0;
}

static enum error map_file(const char *path, int fd, const struct shared_memory_layout *layout,
                           void **ret_segment, char *problem)
{
    void *segment = mmap(NULL, layout->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (segment == MAP_FAILED)
        return fail_errno(problem, path, "mmap");
    *ret_segment = segment;
    return ERROR_OK;
}

/* Maps the file as it stands; ret_segment is NULL when it is missing or has to be made anew. */
static enum error map_existing(const char *path, const struct shared_memory_layout *layout,
                               void **ret_segment, char *problem)
{
    int fd;
    enum error err = open_own(path, 0, &fd, problem);
    if (err)
        return err;
    *ret_segment = NULL;
    if (fd < 0)
        return ERROR_OK;
    if (fits(fd, layout))
        err = map_file(path, fd, layout, ret_segment, problem);
    close(fd);
    return err;
}

/* Takes the creation lock: an open file, closed to release it. */
static enum error lock_creation(const char *path, int *ret_fd, char *problem)
{
    char name[NAME_SIZE];
    int fd;
    snprintf(name, sizeof(name), "%s.lock", path);
    enum error err = open_own(name, O_CREAT, &fd, problem);
    if (err)
        return err;
    int64_t deadline_ms = clock_monotonic_ms() + SHARED_MEMORY_WAIT_MS;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        bool retry = errno == EINTR || errno == EWOULDBLOCK;
        if (!retry || clock_monotonic_ms() >= deadline_ms) {
            err = fail_errno(problem, name, "flock");
            close(fd);
            return err;
        }
        clock_sleep_ms(RETRY_MS);
    }
    *ret_fd = fd;
    return ERROR_OK;
}

/* Sizes the new file and fills it. The caller holds the creation lock. */
static enum error build(const char *name, int fd, const struct shared_memory_layout *layout,
                        void **ret_segment, char *problem)
{
    struct statvfs room;
    void *segment = NULL;
    if (fchmod(fd, 0600) != 0) /* whatever the umask made of it */
        return fail_errno(problem, name, "fchmod");
    if (fstatvfs(fd, &room) != 0)
        return fail_errno(problem, name, "fstatvfs");
    if ((uint64_t)room.f_bavail * room.f_frsize < layout->size)
        return fail(problem, name, "the file system has too little room for the segment");
    if (ftruncate(fd, (off_t)layout->size) != 0)
        return fail_errno(problem, name, "ftruncate");
    enum error err = map_file(name, fd, layout, &segment, problem);
    if (err)
        return err;
    struct shared_memory_header *header = segment;
    header->magic = layout->magic;
    header->layout_version = layout->version;
    header->size = layout->size;
    read_boot_id(header->boot_id);
    layout->initialise(segment);
    __atomic_store_n(&header->ready, 1, __ATOMIC_RELEASE);
    *ret_segment = segment;
    return ERROR_OK;
}

/* The caller holds the creation lock, so a path.new that exists was left by one that died. */
static enum error create(const char *path, const struct shared_memory_layout *layout,
                         void **ret_segment, char *problem)
{
    char name[NAME_SIZE];
    void *segment = NULL;
    int fd;
    snprintf(name, sizeof(name), "%s.new", path);
    if (unlink(name) != 0 && errno != ENOENT)
        return fail_errno(problem, name, "unlink");
    enum error err = open_own(name, O_CREAT | O_EXCL, &fd, problem);
    if (err)
        return err;
    err = build(name, fd, layout, &segment, problem);
    close(fd);
    if (err) {
        unlink(name);
        return err;
    }
    if (rename(name, path) != 0) {
        err = fail_errno(problem, path, "rename");
        shared_memory_unmap(segment, layout);
        unlink(name);
        return err;
    }
    *ret_segment = segment;
    return ERROR_OK;
}

enum error shared_memory_map(const char *path, const struct shared_memory_layout *layout,
                             void **ret_segment, char problem[static PROBLEM_SIZE])
{
    void *segment = NULL;
    int lock = -1;
    assert(layout->size >= sizeof(struct shared_memory_header));
    if (path[0] == '\0' || strlen(path) > SHARED_MEMORY_PATH_BYTES_MAX)
        return fail(problem, path, "the path is empty or too long");
    enum error err = map_existing(path, layout, &segment, problem);
    if (err)
        return err;
    if (!segment) {
        err = lock_creation(path, &lock, problem);
        if (err)
            return err;
        /* Another process may have made it while this one waited for the lock. */
        err = map_existing(path, layout, &segment, problem);
        if (!err && !segment)
            err = create(path, layout, &segment, problem);
        close(lock);
        if (err)
            return err;
    }
    *ret_segment = segment;
    return ERROR_OK;
}

void shared_memory_unmap(void *segment, const struct shared_memory_layout *layout)
{
    if (segment)
        munmap(segment, layout->size);
}
