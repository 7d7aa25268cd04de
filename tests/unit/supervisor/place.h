/*
 * A folder for a supervisor that never runs: executables, sockets, logs, an environment. The
 * programs in it are real processes of one line of shell each.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "supervisor/process.h"

struct place {
    char root[64];
    char environment[96];
    struct folders folders;
};

/* A file below the place; mode 0755. */
static inline void place_write(const struct place *place, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s", place->root, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0 && fchmod(fileno(file), 0755) == 0);
    assert_int_equal(fclose(file), 0);
}

/* The programs: `sleeper` runs until SIGTERM, `wrong` refuses its configuration, `brief` ends. */
static inline void place_make(struct place *place)
{
    char path[96];
    strcpy(place->root, "/tmp/dl-unit-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(path, sizeof(path), "%s/sockets", place->root);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(place->environment, sizeof(place->environment), "%s/environment", place->root);
    place_write(place, "environment", "PATH=/usr/bin:/bin");
    place_write(place, "sleeper", "#!/bin/sh\nexec sleep 600\n");
    place_write(place, "wrong", "#!/bin/sh\nexit 78\n");
    place_write(place, "brief", "#!/bin/sh\nexit 3\n");
    place->folders = (struct folders){
        .bin = place->root,
        .state = place->root,
        .logs = place->root,
        .environment = place->environment,
    };
}

static inline void place_remove(const struct place *place)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", place->root);
    assert_int_equal(system(command), 0);
}

/* Waits until a child has ended; its status. */
static inline int place_reap(pid_t pid)
{
    int wait_status;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    return wait_status;
}
