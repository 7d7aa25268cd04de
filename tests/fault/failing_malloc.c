/*
 * Loaded into a handler before the C library (LD_PRELOAD): one allocation of the process, chosen
 * from outside while it runs, fails. tests/fault/test_torture.py is the other side.
 *
 * FAIL_MALLOC names a file that both map (struct control below). A countdown of n makes the n-th
 * allocation from then on fail, whoever asks for it; 0 fails none. What failed is written down as
 * lines "MODULE+OFFSET FUNCTION", innermost first, and so is where the process then died. The file
 * is mapped before main, because the handlers confine themselves.
 *
 * Not for builds with a sanitizer, which have an allocator of their own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FRAMES_MAX = 48, PLACE_BYTES = 4000 };

/* Its layout is known to test_torture.py; 4 + 4 + 4,000 + 4,000 bytes. */
struct control {
    atomic_int countdown;
    atomic_int signal; /* that ended the process, 0 for none */
    char failed[PLACE_BYTES];
    char died[PLACE_BYTES];
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static struct control *control;

/* Without an allocation: backtrace has loaded what it needs in the constructor. */
static void write_place(char place[static PLACE_BYTES])
{
    void *frames[FRAMES_MAX];
    size_t len = 0;
    int count = backtrace(frames, FRAMES_MAX);
    for (int i = 0; i < count; i++) {
        Dl_info info;
        if (!dladdr(frames[i], &info) || !info.dli_fname)
            continue;
        const char *slash = strrchr(info.dli_fname, '/');
        int n = snprintf(place + len, PLACE_BYTES - len, "%s+%#jx %s\n",
                         slash ? slash + 1 : info.dli_fname,
                         (uintmax_t)((uintptr_t)frames[i] - (uintptr_t)info.dli_fbase),
                         info.dli_sname ? info.dli_sname : "?");
        if (n < 0 || (size_t)n >= PLACE_BYTES - len)
            break;
        len += (size_t)n;
    }
    place[len] = '\0';
}

/* The signal is raised again, with its default action, when this returns. */
static void note_death(int number)
{
    atomic_store(&control->signal, number);
    write_place(control->died);
}

__attribute__((constructor)) static void map_control(void)
{
    static const int DEADLY[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {.sa_handler = note_death, .sa_flags = (int)SA_RESETHAND};
    void *frames[1];
    const char *path = getenv("FAIL_MALLOC");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *mapped = MAP_FAILED;
    if (fd >= 0)
        mapped = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        fprintf(stderr, "FAIL_MALLOC: %s\n", strerror(errno));
        _exit(EXIT_FAILURE);
    }
    close(fd);
    backtrace(frames, 1);
    for (size_t i = 0; i < sizeof(DEADLY) / sizeof(DEADLY[0]); i++)
        sigaction(DEADLY[i], &action, NULL);
    control = mapped;
}

static bool fails(void)
{
    if (!control || atomic_load(&control->countdown) <= 0 ||
        atomic_fetch_sub(&control->countdown, 1) != 1)
        return false;
    write_place(control->failed);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size)
{
    return fails() ? NULL : __libc_realloc(pointer, size);
}

void *reallocarray(void *pointer, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(pointer, bytes);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **ret_pointer, size_t alignment, size_t size)
{
    void *pointer = aligned_alloc(alignment, size);
    if (!pointer)
        return ENOMEM;
    *ret_pointer = pointer;
    return 0;
}
