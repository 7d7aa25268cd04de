#include "supervisor/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/command.h"
#include "supervisor/journal.h"

void control_init(struct control *control, struct program_set *programs)
{
    *control = (struct control){.programs = programs};
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        control->clients[i].fd = -1;
}

/* --- answers --- */

static void close_client(struct control_client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    *client = (struct control_client){.fd = -1};
}

/* A client that does not read its answer loses it; the supervisor never waits. */
static void answer(struct control_client *client, const char *text)
{
    if (client->fd >= 0 && send(client->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        journal_write("warning", NULL, "a control client did not take its answer, errno", errno);
    close_client(client);
}

static void answer_failure(struct control_client *client, const char *program, const char *reason)
{
    char text[256];
    snprintf(text, sizeof(text), "error: %s: %s\n", program, reason);
    journal_write("error", program, "command failed", 0);
    answer(client, text);
}

/* --- commands --- */

static void answer_status(const struct program_set *set, struct control_client *client)
{
    char text[CONTROL_ANSWER_BYTES_MAX];
    size_t len = 0;
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < set->count; i++)
        len += program_format_status(&set->programs[i], now_ms, text + len);
    snprintf(text + len, sizeof(text) - len, "ok\n");
    answer(client, text);
}

static void start(struct program_set *set, struct control_client *client, const char *name)
{
    if (!program_name_valid(name))
        answer(client, "error: expected the name of a handler\n");
    else if (program_set_find(set, name) || program_set_add(set, name, clock_monotonic_ms()))
        answer(client, "ok\n");
    else
        answer(client, "error: cannot add the handler; see the log of the supervisor\n");
}

static void queue_restart(struct control *control, struct control_client *client, size_t first,
                          size_t last)
{
    client->first = first;
    client->last = last;
    client->queued = true;
    client->number = ++control->number;
}

static void restart(struct control *control, struct control_client *client, const char *name)
{
    struct program_set *set = control->programs;
    const struct program *program = program_set_find(set, name);
    if (program) {
        size_t index = (size_t)(program - set->programs);
        queue_restart(control, client, index, index + 1);
    } else if (strcmp(name, "all") == 0) {
        queue_restart(control, client, 0, set->count);
    } else {
        answer(client, "error: no such handler; `status` lists them\n");
    }
}

static void run_command(struct control *control, struct control_client *client)
{
    struct command command;
    if (control->programs->stopping) {
        answer(client, "error: the supervisor stops\n");
        return;
    }
    if (!command_parse(client->line, &command)) {
        answer(client, "error: expected restart NAME|all, start NAME, status or stop\n");
        return;
    }
    switch (command.kind) {
    case COMMAND_STATUS:
        answer_status(control->programs, client);
        break;
    case COMMAND_STOP:
        answer(client, "ok\n");
        control_stop(control);
        break;
    case COMMAND_RESTART:
        restart(control, client, command.argument);
        break;
    case COMMAND_START:
        start(control->programs, client, command.argument);
        break;
    }
}

/* --- clients --- */

void control_accept(struct control *control, int fd)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (!control->clients[i].used) {
            control->clients[i] = (struct control_client){.used = true, .fd = fd};
            return;
        }
    }
    close(fd);
}

void control_read(struct control *control, struct control_client *client)
{
    ssize_t got =
        read(client->fd, client->line + client->len, sizeof(client->line) - 1 - client->len);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (client->queued && got <= 0) {
        /* It no longer waits for the answer; what it asked for is finished all the same. */
        close(client->fd);
        client->fd = -1;
        return;
    }
    client->len += got > 0 ? (size_t)got : 0;
    client->line[client->len] = '\0';
    char *end = strchr(client->line, '\n');
    if (end && !client->queued) {
        *end = '\0';
        run_command(control, client);
    } else if (got <= 0 || client->len == sizeof(client->line) - 1) {
        close_client(client);
    }
}

void control_restart_all(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX && !control->programs->stopping; i++) {
        struct control_client *client = &control->clients[i];
        if (client->used)
            continue;
        *client = (struct control_client){.used = true, .fd = -1};
        queue_restart(control, client, 0, control->programs->count);
        return;
    }
}

void control_stop(struct control *control)
{
    program_set_stop(control->programs, clock_monotonic_ms());
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        if (control->clients[i].used && control->clients[i].queued)
            answer(&control->clients[i], "error: the supervisor stops\n");
}

/* --- the queue --- */

/* Of those who wait, the one that came first; NULL for none. */
static struct control_client *queue_head(struct control *control)
{
    struct control_client *head = NULL;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        struct control_client *client = &control->clients[i];
        if (client->used && client->queued && (!head || client->number < head->number))
            head = client;
    }
    return head;
}

void control_advance(struct control *control)
{
    struct program_set *set = control->programs;
    struct control_client *head;
    while ((head = queue_head(control))) {
        if (head->first == head->last) {
            answer(head, "ok\n");
            continue;
        }
        struct program *program = &set->programs[head->first];
        const char *reason = "";
        if (!head->begun && !program_restart_begin(program, &set->folders, &reason)) {
            answer_failure(head, program->name, reason);
            continue;
        }
        head->begun = true;
        enum restart_result result = program_restart_poll(program, clock_monotonic_ms(), &reason);
        if (result == RESTART_PENDING)
            return;
        if (result == RESTART_FAILED) {
            answer_failure(head, program->name, reason);
            continue;
        }
        head->begun = false;
        head->first++;
    }
}

/* --- the other side --- */

int control_send(const char *path, char **words, size_t word_count)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[CONTROL_ANSWER_BYTES_MAX];
    size_t len = 0;
    ssize_t got;
    if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
        (int)sizeof(address.sun_path)) {
        fprintf(stderr, "supervisor: %s: longer than a Unix socket path may be\n", path);
        return EXIT_FAILURE;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        fprintf(stderr, "supervisor: %s: %s\n", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < word_count; i++)
        dprintf(fd, "%s%s", words[i], i + 1 < word_count ? " " : "\n");
    while (len < sizeof(text) - 1 && (got = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)got;
    close(fd);
    text[len] = '\0';
    fputs(text, stdout);
    bool ok = len >= 3 && strcmp(text + len - 3, "ok\n") == 0;
    if (len == 0)
        fputs("error: the supervisor ended before it answered\n", stdout);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
