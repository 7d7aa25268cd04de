#include "base/blocking.h"

#include <stddef.h>

static __thread const struct blocking_hooks *called;
static __thread void *called_with;

void blocking_begin(void)
{
    if (called)
        called->begin(called_with);
}

bool blocking_run(struct task *task)
{
    if (called)
        called->run(called_with, task);
    return called != NULL;
}

void blocking_set(const struct blocking_hooks *hooks, void *context)
{
    called = hooks;
    called_with = context;
}
