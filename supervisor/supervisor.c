/*
 * Keeps the handlers of one host alive and restarts them without dropping a request.
 *
 *   supervisor --bin DIR --state DIR [--log-dir DIR] [--env FILE] HANDLER...
 *   supervisor --control STATE/supervisor.sock COMMAND [ARGUMENT]
 *
 * Commands, one line each, answered by lines of text of which the last is "ok" or "error: WHY":
 *   restart NAME|all   start the new process, wait for READY=1, tell the old one to leave
 *   start NAME         add a handler that was not on the command line
 *   status             one line a handler
 *   stop               the same as SIGTERM
 *
 * SIGTERM, SIGINT  every process is told to leave; the supervisor follows when all have
 * SIGHUP           restart all, which also reopens their log files after a rotation
 *
 * One event loop: signals arrive through a signalfd, READY=1 through a datagram socket, commands
 * through a stream socket. Should the supervisor die, the kernel sends its handlers SIGTERM.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "control.h"
#include "process.h"

/* --- events --- */

static void on_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue; /* coalesced: reap_children asks for all of them */
        if (info.ssi_signo != SIGHUP) {
            if (!supervisor->stopping)
                stop_all(supervisor);
            continue;
        }
        for (size_t i = 0; i < CLIENTS_MAX && !supervisor->stopping; i++) {
            struct client *client = &supervisor->clients[i];
            if (client->used)
                continue;
            *client = (struct client){.used = true, .fd = -1};
            command_restart(supervisor, client, "all");
            break;
        }
    }
}

static void reap_children(struct supervisor *supervisor)
{
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        for (size_t i = 0; i < supervisor->handler_count; i++)
            if (handler_notify_exit(&supervisor->handlers[i], pid, wait_status))
                break;
}

/* The kernel vouches for the sender's pid, so one socket serves all processes. */
static void on_notify(struct supervisor *supervisor)
{
    for (;;) {
        char text[512];
        union {
            char bytes[CMSG_SPACE(sizeof(struct ucred))];
            struct cmsghdr align;
        } control;
        struct iovec part = {.iov_base = text, .iov_len = sizeof(text) - 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control.bytes)};
        ssize_t len = recvmsg(supervisor->notify_fd, &message, MSG_CMSG_CLOEXEC);
        if (len < 0)
            return;
        text[len] = '\0';
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_CREDENTIALS)
            continue;
        struct ucred sender;
        memcpy(&sender, CMSG_DATA(header), sizeof(sender));
        bool ready = strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1") != NULL;
        for (size_t i = 0; ready && i < supervisor->handler_count; i++)
            if (handler_notify_ready(&supervisor->handlers[i], sender.pid))
                break;
    }
}

static void on_control(struct supervisor *supervisor)
{
    int fd = accept4(supervisor->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        if (!supervisor->clients[i].used) {
            supervisor->clients[i] = (struct client){.used = true, .fd = fd};
            return;
        }
    }
    close(fd);
}

static void on_client(struct supervisor *supervisor, struct client *client)
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
        run_command(supervisor, client);
    } else if (got <= 0 || client->len == sizeof(client->line) - 1) {
        client_close(client);
    }
}

static int poll_timeout_ms(const struct supervisor *supervisor)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < supervisor->handler_count; i++) {
        int64_t one = handler_next_deadline(&supervisor->handlers[i]);
        deadline = one < deadline ? one : deadline;
    }
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - clock_monotonic_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static bool any_process(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->handler_count; i++)
        if (handler_process_count(&supervisor->handlers[i]) > 0)
            return true;
    return false;
}

static void run(struct supervisor *supervisor)
{
    while (!supervisor->stopping || any_process(supervisor)) {
        struct pollfd polls[3 + CLIENTS_MAX] = {
            {.fd = supervisor->signal_fd, .events = POLLIN},
            {.fd = supervisor->notify_fd, .events = POLLIN},
            {.fd = supervisor->control_fd, .events = POLLIN},
        };
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            polls[3 + i] = (struct pollfd){.fd = supervisor->clients[i].fd, .events = POLLIN};
        if (poll(polls, 3 + CLIENTS_MAX, poll_timeout_ms(supervisor)) < 0 && errno != EINTR)
            break;
        /* READY=1 before the deaths: a process may say it and end at once. */
        on_notify(supervisor);
        on_signals(supervisor);
        reap_children(supervisor);
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            if (polls[3 + i].revents && supervisor->clients[i].fd == polls[3 + i].fd)
                on_client(supervisor, &supervisor->clients[i]);
        if (polls[2].revents)
            on_control(supervisor);
        int64_t now_ms = clock_monotonic_ms();
        for (size_t i = 0; i < supervisor->handler_count; i++)
            handler_tick(&supervisor->handlers[i], &supervisor->folders, now_ms);
        if (!supervisor->stopping)
            advance_restarts(supervisor);
    }
}

/* --- start --- */

/* A socket of the supervisor's own under STATE, mode 0600. Returns -1 with a message. */
static int own_socket(const char *state, const char *name, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", state, name);
    if (len < 0 || (size_t)len >= sizeof(address.sun_path)) {
        fprintf(stderr, "supervisor: --state: path of %s is longer than a Unix socket allows\n",
                name);
        return -1;
    }
    unlink(address.sun_path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0177);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    umask(before);
    if (!bound || (type == SOCK_STREAM && listen(fd, CLIENTS_MAX) != 0)) {
        fprintf(stderr, "supervisor: %s: %s\n", address.sun_path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* STATE/supervisor.pid, locked: a second supervisor of the same STATE must not take its sockets. */
static bool lock_state(const char *state)
{
    char path[PATH_BYTES_MAX];
    int len = snprintf(path, sizeof(path), "%s/supervisor.pid", state);
    if (len < 0 || (size_t)len >= sizeof(path))
        return false;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        fprintf(stderr, "supervisor: %s: %s\n", path, strerror(errno));
        return false;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        fprintf(stderr, "supervisor: %s: another supervisor runs here\n", path);
        close(fd);
        return false;
    }
    /* The descriptor stays open, and the lock held, until the process ends. */
    return ftruncate(fd, 0) == 0 && dprintf(fd, "%d\n", (int)getpid()) > 0;
}

static bool prepare(struct supervisor *supervisor)
{
    const char *state = supervisor->folders.state;
    char path[PATH_BYTES_MAX];
    if (snprintf(path, sizeof(path), "%s/sockets", state) >= (int)sizeof(path))
        return false;
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "supervisor: %s: %s\n", path, strerror(errno));
        return false;
    }
    if (!lock_state(state))
        return false;
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_SETMASK, &set, NULL);
    supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    supervisor->notify_fd = own_socket(state, "notify.sock", SOCK_DGRAM);
    int on = 1;
    if (supervisor->signal_fd < 0 || supervisor->notify_fd < 0 ||
        setsockopt(supervisor->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0)
        return false;
    return true;
}

static int serve(const struct folders *folders, char **names, size_t name_count)
{
    static struct supervisor supervisor; /* too large for the stack, lives as long as main */
    supervisor = (struct supervisor){.folders = *folders};
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        supervisor.clients[i].fd = -1;
    if (!prepare(&supervisor))
        return EXIT_FAILURE;
    for (size_t i = 0; i < name_count; i++) {
        if (!handler_name_valid(names[i]) || find_handler(&supervisor, names[i]) ||
            !add_handler(&supervisor, names[i])) {
            fprintf(stderr, "supervisor: handler %s: a bad name, a name twice, or no socket\n",
                    names[i]);
            stop_all(&supervisor);
            break;
        }
    }
    /* Last, so that whoever reaches the control socket finds every handler known. */
    supervisor.control_fd =
        supervisor.stopping ? -1 : own_socket(folders->state, "supervisor.sock", SOCK_STREAM);
    if (supervisor.control_fd < 0 && !supervisor.stopping)
        stop_all(&supervisor);
    bool failed = supervisor.stopping;
    run(&supervisor);
    for (size_t i = 0; i < supervisor.handler_count; i++)
        handler_unlink(&supervisor.handlers[i], folders);
    static const char *const OWN[] = {"supervisor.sock", "notify.sock", "supervisor.pid"};
    char path[PATH_BYTES_MAX];
    for (size_t i = 0; i < sizeof(OWN) / sizeof(OWN[0]); i++)
        if (snprintf(path, sizeof(path), "%s/%s", folders->state, OWN[i]) < (int)sizeof(path))
            unlink(path);
    supervisor_log("info", NULL, "stopped", 0);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"bin", required_argument, NULL, 'b'},     {"state", required_argument, NULL, 's'},
        {"log-dir", required_argument, NULL, 'l'}, {"env", required_argument, NULL, 'e'},
        {"control", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0},
    };
    struct folders folders = {0};
    const char *control_path = NULL;
    char logs[PATH_BYTES_MAX];
    int option;
    bool usage = false;
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'b':
            folders.bin = optarg;
            break;
        case 's':
            folders.state = optarg;
            break;
        case 'l':
            folders.logs = optarg;
            break;
        case 'e':
            folders.environment = optarg;
            break;
        case 'c':
            control_path = optarg;
            break;
        default:
            usage = true;
        }
    }
    size_t rest = (size_t)(argc - optind);
    if (!usage && control_path && rest > 0)
        return control_send(control_path, argv + optind, rest);
    if (usage || !folders.bin || !folders.state || rest == 0 || rest > HANDLERS_MAX) {
        fputs("usage: supervisor --bin DIR --state DIR [--log-dir DIR] [--env FILE] HANDLER...\n"
              "       supervisor --control STATE/supervisor.sock"
              " restart NAME|all | start NAME | status | stop\n",
              stderr);
        return EXIT_FAILURE;
    }
    if (!folders.logs) {
        if (snprintf(logs, sizeof(logs), "%s/logs", folders.state) >= (int)sizeof(logs))
            return EXIT_FAILURE;
        folders.logs = logs;
    }
    return serve(&folders, argv + optind, rest);
}
