#include "supervisor/program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/limits.h"
#include "supervisor/journal.h"

bool program_name_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && name[0] != '-' && name[len] == '\0' && len < PROGRAM_NAME_BYTES_MAX;
}

/* --- sockets --- */

static bool socket_path(const struct folders *folders, const char *name, const char *suffix,
                        struct sockaddr_un *ret_address)
{
    ret_address->sun_family = AF_UNIX;
    int len = snprintf(ret_address->sun_path, sizeof(ret_address->sun_path), "%s/sockets/%s.sock%s",
                       folders->state, name, suffix);
    return len > 0 && (size_t)len < sizeof(ret_address->sun_path);
}

bool program_open(const char *name, const struct folders *folders, struct program *ret_program)
{
    struct sockaddr_un temporary;
    struct sockaddr_un final;
    if (!socket_path(folders, name, ".new", &temporary) ||
        !socket_path(folders, name, "", &final)) {
        journal_write("error", name, "socket path longer than a Unix socket allows", 0);
        return false;
    }
    unlink(temporary.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* bind creates the file with 0777 less the umask: 0660, nginx connects through the group. */
    mode_t before = umask(0117);
    bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&temporary, sizeof(temporary)) == 0;
    umask(before);
    if (!bound || listen(fd, LISTEN_BACKLOG) != 0 ||
        rename(temporary.sun_path, final.sun_path) != 0) {
        journal_write("error", name, "cannot make the listening socket, errno", errno);
        if (fd >= 0)
            close(fd);
        return false;
    }
    *ret_program = (struct program){.listen_fd = fd};
    snprintf(ret_program->name, sizeof(ret_program->name), "%s", name);
    return true;
}

void program_unlink(const struct program *program, const struct folders *folders)
{
    struct sockaddr_un address;
    if (socket_path(folders, program->name, "", &address))
        unlink(address.sun_path);
}

/* --- the life of a program --- */

void program_start(struct program *program, const struct folders *folders, int64_t now_ms)
{
    program->start_at_ms = 0;
    if (!process_start(program->name, program->listen_fd, folders, &program->current))
        program->start_at_ms = now_ms + backoff_next(&program->backoff, 0);
}

/* Tells a process to leave and files it among the draining ones. */
static void drain(struct program *program, struct process *process, int64_t now_ms)
{
    for (size_t i = 0; process->pid != 0 && i < PROGRAM_DRAINING_MAX; i++) {
        struct process *place = &program->draining[i];
        if (place->pid != 0)
            continue;
        *place = *process;
        process_terminate(place, now_ms);
        break;
    }
    *process = (struct process){0};
}

bool program_restart_begin(struct program *program, const struct folders *folders,
                           const char **ret_reason)
{
    /* Two free places: the old process after a success, the new one after a failure. */
    if (program_draining_count(program) + 2 > PROGRAM_DRAINING_MAX) {
        *ret_reason = "too many old processes still finish their requests; try again in 35 s";
        return false;
    }
    if (!process_start(program->name, program->listen_fd, folders, &program->next)) {
        *ret_reason = "the process could not be started; see the log of the supervisor";
        return false;
    }
    return true;
}

enum restart_result program_restart_poll(struct program *program, int64_t now_ms,
                                         const char **ret_reason)
{
    if (program->next.pid == 0) {
        *ret_reason = "the new process ended before it was ready; see the log of the handler";
        return RESTART_FAILED;
    }
    if (program->next.ready) {
        struct process old = program->current;
        program->current = program->next;
        program->next = (struct process){0};
        program->start_at_ms = 0;
        program->misconfigured = false;
        backoff_reset(&program->backoff);
        drain(program, &old, now_ms);
        return RESTART_DONE;
    }
    if (now_ms - program->next.started_ms >= PROCESS_READY_MS_MAX) {
        drain(program, &program->next, now_ms);
        *ret_reason = "the new process was not ready within 10 s";
        return RESTART_FAILED;
    }
    return RESTART_PENDING;
}

bool program_notify_ready(struct program *program, pid_t pid)
{
    struct process *process = program->current.pid == pid ? &program->current
                              : program->next.pid == pid  ? &program->next
                                                          : NULL;
    if (!process)
        return false;
    process->ready = true;
    journal_write("info", program->name, "ready, pid", pid);
    return true;
}

static void current_ended(struct program *program, int wait_status, int64_t now_ms)
{
    int64_t lived_ms = now_ms - program->current.started_ms;
    program->current = (struct process){0};
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EX_CONFIG) {
        program->misconfigured = true;
        journal_write("error", program->name, "configuration error, not started again; exit status",
                      EX_CONFIG);
        return;
    }
    if (WIFSIGNALED(wait_status))
        journal_write("error", program->name, "killed by signal", WTERMSIG(wait_status));
    else
        journal_write("error", program->name, "ended, exit status", WEXITSTATUS(wait_status));
    program->restarts++;
    program->start_at_ms = now_ms + backoff_next(&program->backoff, lived_ms);
}

bool program_notify_exit(struct program *program, pid_t pid, int wait_status, int64_t now_ms)
{
    if (program->current.pid == pid) {
        current_ended(program, wait_status, now_ms);
        return true;
    }
    if (program->next.pid == pid) {
        program->next = (struct process){0};
        journal_write("error", program->name, "the new process ended before it was ready, pid",
                      pid);
        return true;
    }
    for (size_t i = 0; i < PROGRAM_DRAINING_MAX; i++) {
        if (program->draining[i].pid == pid) {
            program->draining[i] = (struct process){0};
            journal_write("info", program->name, "drained, pid", pid);
            return true;
        }
    }
    return false;
}

void program_tick(struct program *program, const struct folders *folders, int64_t now_ms)
{
    if (program->start_at_ms != 0 && program->start_at_ms <= now_ms)
        program_start(program, folders, now_ms);
    for (size_t i = 0; i < PROGRAM_DRAINING_MAX; i++)
        process_kill_when_due(&program->draining[i], program->name, now_ms);
}

int64_t program_next_deadline(const struct program *program)
{
    int64_t deadline = program->start_at_ms != 0 ? program->start_at_ms : INT64_MAX;
    if (program->next.pid != 0 && program->next.started_ms + PROCESS_READY_MS_MAX < deadline)
        deadline = program->next.started_ms + PROCESS_READY_MS_MAX;
    for (size_t i = 0; i < PROGRAM_DRAINING_MAX; i++)
        if (program->draining[i].pid != 0 && program->draining[i].kill_at_ms < deadline)
            deadline = program->draining[i].kill_at_ms;
    return deadline;
}

void program_stop(struct program *program, int64_t now_ms)
{
    program->start_at_ms = 0;
    drain(program, &program->current, now_ms);
    drain(program, &program->next, now_ms);
}

/* --- how it stands --- */

size_t program_draining_count(const struct program *program)
{
    size_t count = 0;
    for (size_t i = 0; i < PROGRAM_DRAINING_MAX; i++)
        count += program->draining[i].pid != 0;
    return count;
}

size_t program_process_count(const struct program *program)
{
    return program_draining_count(program) + (program->current.pid != 0) + (program->next.pid != 0);
}

enum program_state program_get_state(const struct program *program)
{
    if (program->misconfigured)
        return PROGRAM_MISCONFIGURED;
    if (program->current.pid == 0)
        return PROGRAM_WAITING;
    return program->current.ready ? PROGRAM_READY : PROGRAM_STARTING;
}

size_t program_format_status(const struct program *program, int64_t now_ms,
                             char ret_line[static PROGRAM_STATUS_BYTES_MAX])
{
    static const char *const STATES[] = {
        [PROGRAM_WAITING] = "waiting",
        [PROGRAM_STARTING] = "starting",
        [PROGRAM_READY] = "ready",
        [PROGRAM_MISCONFIGURED] = "misconfigured",
    };
    int64_t uptime_ms = program->current.pid ? now_ms - program->current.started_ms : 0;
    int len =
        snprintf(ret_line, PROGRAM_STATUS_BYTES_MAX,
                 "%s pid=%d state=%s uptime=%lld restarts=%u draining=%zu\n", program->name,
                 (int)program->current.pid, STATES[program_get_state(program)],
                 (long long)(uptime_ms / 1000), program->restarts, program_draining_count(program));
    return len > 0 ? (size_t)len : 0;
}
