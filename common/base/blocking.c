#include "base/blocking.h"

#include <assert.h>
#include <stddef.h>

static __thread const struct blocking_hooks *called;
static __thread void *called_with;
static __thread struct task *deferred;

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

void blocking_defer(struct task *task)
{
    assert(!deferred);
    deferred = task;
}

void blocking_idle(void)
{
    struct task *task = deferred;
    deferred = NULL;
    if (task)
        task->run(task);
}
