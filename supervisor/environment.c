#include "supervisor/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool add(struct environment *environment, size_t *count, char *entry)
{
    if (strncmp(entry, "NOTIFY_SOCKET=", sizeof("NOTIFY_SOCKET=") - 1) == 0 || entry[0] == '\0')
        return true;
    if (*count >= ENVIRONMENT_ENTRIES_MAX)
        return false;
    environment->entries[(*count)++] = entry;
    return true;
}

/* Returns the bytes read, or -1; a file that fills the buffer is one that does not fit. */
static ssize_t read_whole(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t got = 0;
    while (len < size && (got = read(fd, buffer + len, size - len)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return got < 0 || len == size ? -1 : (ssize_t)len;
}

static bool add_file(struct environment *environment, size_t *count, const char *path)
{
    environment->text = malloc(ENVIRONMENT_BYTES_MAX + 1);
    if (!environment->text)
        return false;
    ssize_t len = read_whole(path, environment->text, ENVIRONMENT_BYTES_MAX);
    if (len < 0)
        return false;
    environment->text[len] = '\0';
    char *end = environment->text + len;
    bool fits = true;
    for (char *entry = environment->text; entry < end; entry += strlen(entry) + 1)
        fits = fits && add(environment, count, entry);
    return fits;
}

bool environment_load(const char *path, const char *state, struct environment *environment)
{
    size_t count = 0;
    bool complete = true;
    environment->text = NULL;
    if (path) {
        complete = add_file(environment, &count, path);
    } else {
        for (char **entry = environ; *entry; entry++)
            complete = complete && add(environment, &count, *entry);
    }
    int len = snprintf(environment->notify, sizeof(environment->notify),
                       "NOTIFY_SOCKET=%s/notify.sock", state);
    environment->entries[count++] = environment->notify;
    environment->entries[count] = NULL;
    return complete && len > 0 && (size_t)len < sizeof(environment->notify);
}

void environment_done(struct environment *environment)
{
    free(environment->text);
    environment->text = NULL;
}
