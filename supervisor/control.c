#include "control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

/* --- answers --- */

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    *client = (struct client){.fd = -1};
}

/* A client that does not read its answer loses it; the supervisor never waits. */
static void client_answer(struct client *client, const char *text)
{
    if (client->fd >= 0 && send(client->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        supervisor_log("warning", NULL, "a control client did not take its answer, errno", errno);
    client_close(client);
}

static void client_fail(struct client *client, const char *handler, const char *reason)
{
    char text[256];
    snprintf(text, sizeof(text), "error: %s: %s\n", handler, reason);
    supervisor_log("error", handler, "command failed", 0);
    client_answer(client, text);
}

/* --- commands --- */

struct handler *find_handler(struct supervisor *supervisor, const char *name)
{
    for (size_t i = 0; i < supervisor->handler_count; i++)
        if (strcmp(supervisor->handlers[i].name, name) == 0)
            return &supervisor->handlers[i];
    return NULL;
}

static const char *state_name(const struct handler *handler)
{
    if (handler->misconfigured)
        return "misconfigured";
    if (handler->current.pid == 0)
        return "waiting";
    return handler->current.ready ? "ready" : "starting";
}

static void command_status(struct supervisor *supervisor, struct client *client)
{
    char text[ANSWER_BYTES_MAX];
    size_t len = 0;
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < supervisor->handler_count; i++) {
        const struct handler *handler = &supervisor->handlers[i];
        int64_t uptime_ms = handler->current.pid ? now_ms - handler->current.started_ms : 0;
        int written =
            snprintf(text + len, sizeof(text) - len,
                     "%s pid=%d state=%s uptime=%lld restarts=%u draining=%zu\n", handler->name,
                     (int)handler->current.pid, state_name(handler), (long long)(uptime_ms / 1000),
                     handler->restarts, handler_draining_count(handler));
        len += written > 0 ? (size_t)written : 0;
    }
    snprintf(text + len, sizeof(text) - len, "ok\n");
    client_answer(client, text);
}

bool add_handler(struct supervisor *supervisor, const char *name)
{
    if (supervisor->handler_count == HANDLERS_MAX)
        return false;
    struct handler *handler = &supervisor->handlers[supervisor->handler_count];
    if (!handler_open(handler, name, &supervisor->folders))
        return false;
    supervisor->handler_count++;
    handler_start(handler, &supervisor->folders);
    return true;
}

static void command_start(struct supervisor *supervisor, struct client *client, const char *name)
{
    if (!handler_name_valid(name) || strlen(name) >= HANDLER_NAME_BYTES_MAX)
        client_answer(client, "error: expected the name of a handler\n");
    else if (find_handler(supervisor, name))
        client_answer(client, "ok\n");
    else if (!add_handler(supervisor, name))
        client_answer(client, "error: cannot add the handler; see the log of the supervisor\n");
    else
        client_answer(client, "ok\n");
}

void command_restart(struct supervisor *supervisor, struct client *client, const char *name)
{
    struct handler *handler = find_handler(supervisor, name);
    if (!handler && strcmp(name, "all") != 0) {
        client_answer(client, "error: no such handler; `status` lists them\n");
        return;
    }
    client->first = handler ? (size_t)(handler - supervisor->handlers) : 0;
    client->last = handler ? client->first + 1 : supervisor->handler_count;
    client->queued = true;
    client->number = ++supervisor->client_number;
}

void stop_all(struct supervisor *supervisor)
{
    supervisor->stopping = true;
    supervisor_log("info", NULL, "stopping", 0);
    for (size_t i = 0; i < supervisor->handler_count; i++)
        handler_stop(&supervisor->handlers[i]);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (supervisor->clients[i].used && supervisor->clients[i].queued)
            client_answer(&supervisor->clients[i], "error: the supervisor stops\n");
}

void run_command(struct supervisor *supervisor, struct client *client)
{
    char *argument = strchr(client->line, ' ');
    if (argument)
        *argument++ = '\0';
    if (supervisor->stopping) {
        client_answer(client, "error: the supervisor stops\n");
    } else if (strcmp(client->line, "status") == 0 && !argument) {
        command_status(supervisor, client);
    } else if (strcmp(client->line, "stop") == 0 && !argument) {
        client_answer(client, "ok\n");
        stop_all(supervisor);
    } else if (strcmp(client->line, "restart") == 0 && argument) {
        command_restart(supervisor, client, argument);
    } else if (strcmp(client->line, "start") == 0 && argument) {
        command_start(supervisor, client, argument);
    } else {
        client_answer(client, "error: expected restart NAME|all, start NAME, status or stop\n");
    }
}

void advance_restarts(struct supervisor *supervisor)
{
    for (;;) {
        struct client *head = NULL;
        for (size_t i = 0; i < CLIENTS_MAX; i++) {
            struct client *client = &supervisor->clients[i];
            if (client->used && client->queued && (!head || client->number < head->number))
                head = client;
        }
        if (!head)
            return;
        if (head->first == head->last) {
            client_answer(head, "ok\n");
            continue;
        }
        struct handler *handler = &supervisor->handlers[head->first];
        const char *reason = "";
        if (!head->begun && !handler_restart_begin(handler, &supervisor->folders, &reason)) {
            client_fail(head, handler->name, reason);
            continue;
        }
        head->begun = true;
        enum restart_result result = handler_restart_poll(handler, clock_monotonic_ms(), &reason);
        if (result == RESTART_PENDING)
            return;
        if (result == RESTART_FAILED) {
            client_fail(head, handler->name, reason);
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
    char answer[ANSWER_BYTES_MAX];
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
    while (len < sizeof(answer) - 1 && (got = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
        len += (size_t)got;
    close(fd);
    answer[len] = '\0';
    fputs(answer, stdout);
    bool ok = len >= 3 && strcmp(answer + len - 3, "ok\n") == 0;
    if (len == 0)
        fputs("error: the supervisor ended before it answered\n", stdout);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
