#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
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
#include "supervisor/journal.h"

/* --- events --- */

static void on_signals(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue; /* coalesced: reap_children asks for all of them */
        if (info.ssi_signo == SIGHUP)
            control_restart_all(&supervisor->control);
        else if (!supervisor->programs.stopping)
            control_stop(&supervisor->control);
    }
}

static void reap_children(struct supervisor *supervisor)
{
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0)
        program_set_notify_exit(&supervisor->programs, pid, wait_status, clock_monotonic_ms());
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
        if (ready)
            program_set_notify_ready(&supervisor->programs, sender.pid);
    }
}

static void on_connection(struct supervisor *supervisor)
{
    int fd = accept4(supervisor->control_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        control_accept(&supervisor->control, fd);
}

static int poll_timeout_ms(const struct supervisor *supervisor)
{
    int64_t deadline = program_set_next_deadline(&supervisor->programs);
    if (deadline == INT64_MAX)
        return -1;
    int64_t left = deadline - clock_monotonic_ms();
    return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void loop(struct supervisor *supervisor)
{
    struct program_set *programs = &supervisor->programs;
    struct control_client *clients = supervisor->control.clients;
    while (!programs->stopping || program_set_any_process(programs)) {
        struct pollfd polls[3 + CONTROL_CLIENTS_MAX] = {
            {.fd = supervisor->signal_fd, .events = POLLIN},
            {.fd = supervisor->notify_fd, .events = POLLIN},
            {.fd = supervisor->control_fd, .events = POLLIN},
        };
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
            polls[3 + i] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
        if (poll(polls, 3 + CONTROL_CLIENTS_MAX, poll_timeout_ms(supervisor)) < 0 && errno != EINTR)
            break;
        /* READY=1 before the deaths: a process may say it and end at once. */
        on_notify(supervisor);
        on_signals(supervisor);
        reap_children(supervisor);
        for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
            if (polls[3 + i].revents && clients[i].fd == polls[3 + i].fd)
                control_read(&supervisor->control, &clients[i]);
        if (polls[2].revents)
            on_connection(supervisor);
        program_set_tick(programs, clock_monotonic_ms());
        if (!programs->stopping)
            control_advance(&supervisor->control);
    }
}

/* --- start and end --- */

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
    if (!bound || (type == SOCK_STREAM && listen(fd, CONTROL_CLIENTS_MAX) != 0)) {
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
    char path[PROCESS_PATH_BYTES_MAX];
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

bool supervisor_open(struct supervisor *supervisor, const struct folders *folders)
{
    char path[PROCESS_PATH_BYTES_MAX];
    *supervisor = (struct supervisor){.programs.folders = *folders, .control_fd = -1};
    control_init(&supervisor->control, &supervisor->programs);
    if (snprintf(path, sizeof(path), "%s/sockets", folders->state) >= (int)sizeof(path))
        return false;
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        fprintf(stderr, "supervisor: %s: %s\n", path, strerror(errno));
        return false;
    }
    if (!lock_state(folders->state))
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
    supervisor->notify_fd = own_socket(folders->state, "notify.sock", SOCK_DGRAM);
    int on = 1;
    return supervisor->signal_fd >= 0 && supervisor->notify_fd >= 0 &&
           setsockopt(supervisor->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0;
}

int supervisor_run(struct supervisor *supervisor, char **names, size_t name_count)
{
    struct program_set *programs = &supervisor->programs;
    for (size_t i = 0; i < name_count && !programs->stopping; i++) {
        if (program_set_add(programs, names[i], clock_monotonic_ms()))
            continue;
        fprintf(stderr, "supervisor: handler %s: a bad name, a name twice, or no socket\n",
                names[i]);
        program_set_stop(programs, clock_monotonic_ms());
    }
    /* Last, so that who reaches the control socket finds every program known. */
    if (!programs->stopping) {
        supervisor->control_fd =
            own_socket(programs->folders.state, "supervisor.sock", SOCK_STREAM);
        if (supervisor->control_fd < 0)
            program_set_stop(programs, clock_monotonic_ms());
    }
    bool failed = programs->stopping;
    loop(supervisor);
    journal_write("info", NULL, "stopped", 0);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

void supervisor_close(const struct supervisor *supervisor)
{
    static const char *const OWN[] = {"supervisor.sock", "notify.sock", "supervisor.pid"};
    const struct folders *folders = &supervisor->programs.folders;
    char path[PROCESS_PATH_BYTES_MAX];
    for (size_t i = 0; i < supervisor->programs.count; i++)
        program_unlink(&supervisor->programs.programs[i], folders);
    for (size_t i = 0; i < sizeof(OWN) / sizeof(OWN[0]); i++)
        if (snprintf(path, sizeof(path), "%s/%s", folders->state, OWN[i]) < (int)sizeof(path))
            unlink(path);
}
