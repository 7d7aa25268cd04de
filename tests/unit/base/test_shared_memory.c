/* Who may map a segment, when it is made anew, and that it is made once. */
#include "base/shared_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CHILDREN = 8, PATH_SIZE = 128 };

struct segment {
    struct shared_memory_header header;
    _Atomic uint32_t initialised;
    _Atomic uint32_t visitors;
    char filling[8192];
};

static char folder[PATH_SIZE];
static char path[PATH_SIZE];

static void initialise(void *memory)
{
    struct segment *segment = memory;
    atomic_fetch_add(&segment->initialised, 1);
}

static const struct shared_memory_layout LAYOUT = {
    .magic = 0x1234, .version = 3, .size = sizeof(struct segment), .initialise = initialise};

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/dev/shm/dreamlens-unit-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%.64s/segment", folder);
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const SUFFIXES[] = {"", ".lock", ".new", ".other"};
    (void)state;
    for (size_t i = 0; i < sizeof(SUFFIXES) / sizeof(SUFFIXES[0]); i++) {
        char name[2 * PATH_SIZE];
        snprintf(name, sizeof(name), "%s%s", path, SUFFIXES[i]);
        if (unlink(name) != 0)
            rmdir(name);
    }
    return rmdir(folder);
}

static struct segment *map_ok(const struct shared_memory_layout *layout)
{
    char problem[256] = "";
    void *segment = NULL;
    enum error err = shared_memory_map(path, layout, &segment, problem);
    assert_string_equal(problem, "");
    assert_int_equal(err, ERROR_OK);
    assert_non_null(segment);
    return segment;
}

static void assert_refused(const char *name, const struct shared_memory_layout *layout,
                           const char *cause)
{
    char problem[256] = "";
    void *segment = NULL;
    assert_int_equal(shared_memory_map(name, layout, &segment, problem), ERROR_INTERNAL);
    assert_null(segment);
    assert_non_null(strstr(problem, cause));
    assert_null(strchr(problem, '\n'));
}

static void test_made_once_and_private(void **state)
{
    (void)state;
    struct stat info;
    umask(0);
    struct segment *first = map_ok(&LAYOUT);
    struct segment *second = map_ok(&LAYOUT);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(info.st_size, sizeof(struct segment));
    assert_int_equal(first->header.ready, 1);
    assert_ptr_not_equal(first, second);
    atomic_store(&first->visitors, 7);
    assert_int_equal(atomic_load(&second->visitors), 7);
    assert_int_equal(atomic_load(&second->initialised), 1);
    shared_memory_unmap(first, &LAYOUT);
    shared_memory_unmap(second, &LAYOUT);
    shared_memory_unmap(NULL, &LAYOUT);
}

static void test_processes_race_to_make_it(void **state)
{
    (void)state;
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            char problem[256];
            void *memory;
            if (shared_memory_map(path, &LAYOUT, &memory, problem))
                _exit(1);
            struct segment *segment = memory;
            atomic_fetch_add(&segment->visitors, 1);
            _exit(0);
        }
        assert_true(children[i] > 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    struct segment *segment = map_ok(&LAYOUT);
    assert_int_equal(atomic_load(&segment->visitors), CHILDREN);
    assert_int_equal(atomic_load(&segment->initialised), 1);
    shared_memory_unmap(segment, &LAYOUT);
}

/* Each row spoils a good file in one way; the next map makes it anew and leaves the old alone. */
enum spoil { MAGIC, VERSION, SIZE_FIELD, READY, BOOT, FILE_SIZE, FILE_MODE, SPOIL_COUNT };

static void spoil_file(enum spoil spoil, struct segment *segment)
{
    switch (spoil) {
    case MAGIC:
        segment->header.magic++;
        break;
    case VERSION:
        segment->header.layout_version++;
        break;
    case SIZE_FIELD:
        segment->header.size++;
        break;
    case READY:
        segment->header.ready = 0;
        break;
    case BOOT:
        segment->header.boot_id[3]++;
        break;
    case FILE_SIZE:
        assert_int_equal(truncate(path, sizeof(struct segment) + 1), 0);
        break;
    default:
        assert_int_equal(chmod(path, 0640), 0);
    }
}

static void test_made_anew(void **state)
{
    (void)state;
    for (int spoil = 0; spoil < SPOIL_COUNT; spoil++) {
        struct segment *old = map_ok(&LAYOUT);
        atomic_store(&old->visitors, 5);
        spoil_file((enum spoil)spoil, old);
        struct segment *new = map_ok(&LAYOUT);
        assert_int_equal(atomic_load(&new->visitors), 0);
        assert_int_equal(atomic_load(&new->initialised), 1);
        assert_int_equal(atomic_load(&old->visitors), 5);
        shared_memory_unmap(old, &LAYOUT);
        shared_memory_unmap(new, &LAYOUT);
    }
}

static void test_another_layout_makes_it_anew(void **state)
{
    (void)state;
    struct shared_memory_layout other = LAYOUT;
    other.version = 4;
    struct segment *old = map_ok(&LAYOUT);
    struct segment *new = map_ok(&other);
    assert_int_equal(old->header.layout_version, 3);
    assert_int_equal(new->header.layout_version, 4);
    shared_memory_unmap(old, &LAYOUT);
    shared_memory_unmap(new, &other);
}

static void test_leftover_of_a_dead_maker(void **state)
{
    (void)state;
    char name[2 * PATH_SIZE];
    snprintf(name, sizeof(name), "%s.new", path);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs("half made", file);
    fclose(file);
    struct segment *segment = map_ok(&LAYOUT);
    assert_int_equal(access(name, F_OK), -1);
    shared_memory_unmap(segment, &LAYOUT);
}

static void test_symbolic_link_refused(void **state)
{
    (void)state;
    char name[2 * PATH_SIZE];
    snprintf(name, sizeof(name), "%s.other", path);
    assert_int_equal(symlink(name, path), 0);
    assert_refused(path, &LAYOUT, "symbolic link");
    assert_int_equal(access(name, F_OK), -1);
    assert_int_equal(unlink(path), 0);

    /* The lock file is no way in either. */
    snprintf(name, sizeof(name), "%s.lock", path);
    assert_int_equal(symlink("/dev/null", name), 0);
    assert_refused(path, &LAYOUT, "symbolic link");
}

static void test_other_kinds_of_file_refused(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(path, &LAYOUT, "not a regular file");
    assert_int_equal(unlink(path), 0);
    assert_refused("/dev/null", &LAYOUT, "not a regular file");
    assert_refused(folder, &LAYOUT, "open");
    assert_refused("", &LAYOUT, "empty or too long");
    char missing[2 * PATH_SIZE];
    snprintf(missing, sizeof(missing), "%s/none/segment", folder);
    assert_refused(missing, &LAYOUT, "open: No such file");
    char long_path[400];
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_refused(long_path, &LAYOUT, "shared memory file xxx");
}

/* As root the file is given away; anybody else takes one that is root's. */
static void test_file_of_another_owner_refused(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        assert_refused("/etc/passwd", &LAYOUT, "open");
        return;
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_refused(path, &LAYOUT, "another user");
}

static void test_no_room_refused(void **state)
{
    (void)state;
    struct shared_memory_layout huge = LAYOUT;
    huge.size = (size_t)1 << 50;
    assert_refused(path, &huge, "too little room");
    assert_int_equal(access(path, F_OK), -1);
    char name[2 * PATH_SIZE];
    snprintf(name, sizeof(name), "%s.new", path);
    assert_int_equal(access(name, F_OK), -1);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(test_made_once_and_private),
        TEST(test_processes_race_to_make_it),
        TEST(test_made_anew),
        TEST(test_another_layout_makes_it_anew),
        TEST(test_leftover_of_a_dead_maker),
        TEST(test_symbolic_link_refused),
        TEST(test_other_kinds_of_file_refused),
        TEST(test_file_of_another_owner_refused),
        TEST(test_no_room_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
