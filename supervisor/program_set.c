#include "supervisor/program_set.h"

#include <string.h>

#include "supervisor/journal.h"

struct program *program_set_find(struct program_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->programs[i].name, name) == 0)
            return &set->programs[i];
    return NULL;
}

bool program_set_add(struct program_set *set, const char *name, int64_t now_ms)
{
    if (set->count == PROGRAMS_MAX || !program_name_valid(name) || program_set_find(set, name))
        return false;
    struct program *program = &set->programs[set->count];
    if (!program_open(name, &set->folders, program))
        return false;
    set->count++;
    program_start(program, &set->folders, now_ms);
    return true;
}

void program_set_notify_ready(struct program_set *set, pid_t pid)
{
    for (size_t i = 0; i < set->count; i++)
        if (program_notify_ready(&set->programs[i], pid))
            return;
}

void program_set_notify_exit(struct program_set *set, pid_t pid, int wait_status, int64_t now_ms)
{
    for (size_t i = 0; i < set->count; i++)
        if (program_notify_exit(&set->programs[i], pid, wait_status, now_ms))
            return;
}

void program_set_tick(struct program_set *set, int64_t now_ms)
{
    for (size_t i = 0; i < set->count; i++)
        program_tick(&set->programs[i], &set->folders, now_ms);
}

int64_t program_set_next_deadline(const struct program_set *set)
{
    int64_t deadline = INT64_MAX;
    for (size_t i = 0; i < set->count; i++) {
        int64_t one = program_next_deadline(&set->programs[i]);
        deadline = one < deadline ? one : deadline;
    }
    return deadline;
}

void program_set_stop(struct program_set *set, int64_t now_ms)
{
    set->stopping = true;
    journal_write("info", NULL, "stopping", 0);
    for (size_t i = 0; i < set->count; i++)
        program_stop(&set->programs[i], now_ms);
}

bool program_set_any_process(const struct program_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (program_process_count(&set->programs[i]) > 0)
            return true;
    return false;
}
