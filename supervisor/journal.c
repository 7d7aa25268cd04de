#include "supervisor/journal.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

void journal_write(const char *level, const char *program, const char *message, int64_t number)
{
    char when[CLOCK_TIME_SIZE];
    clock_format_time(clock_unix_us(), when);
    dprintf(STDERR_FILENO,
            "{\"time\":\"%s\",\"level\":\"%s\",\"handler\":\"supervisor\",\"pid\":%d,"
            "\"message\":\"%s\",\"process\":\"%s\",\"value\":%lld}\n",
            when, level, (int)getpid(), message, program ? program : "", (long long)number);
}
