#include "http/leader_followers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/blocking.h"
#include "base/limits.h"

/* A thread with nothing to do. */
struct idler {
    struct idler *next;
    pthread_cond_t called;
    bool awake;
};

struct leader_followers {
    leader_followers_loop *loop;
    void *context;
    int threads_max;
    bool may_batch;       /* nobody chose another policy for the process */
    pthread_mutex_t lock; /* guards what follows */
    struct idler *idle;   /* the latest first: its memory is still in the processor's cache */
    int awaking;          /* called, and not there yet */
    struct task *first;   /* tasks, oldest first */
    struct task **last;
    bool loop_free; /* nobody has the loop */
    bool stopping;
    int running; /* tasks */
    int started;
    atomic_bool
        short_handed; /* tasks wait, and nobody is there but for the one that has the loop */
    pthread_t threads[];
};

static __thread const struct leader_followers *looping; /* the set whose loop this thread has */
static __thread bool batching;                          /* by leader_followers_batch */

bool leader_followers_has_loop(void)
{
    return looping && !atomic_load_explicit(&looping->short_handed, memory_order_relaxed);
}

struct leader_followers *leader_followers_new(int threads, leader_followers_loop *loop,
                                              void *context)
{
    struct leader_followers *set =
        calloc(1, sizeof(*set) + (size_t)threads * sizeof(set->threads[0]));
    if (!set)
        return NULL;
    set->loop = loop;
    set->context = context;
    set->threads_max = threads;
    set->may_batch = sched_getscheduler(0) == SCHED_OTHER;
    set->last = &set->first;
    set->loop_free = true;
    pthread_mutex_init(&set->lock, NULL);
    return set;
}

void leader_followers_free(struct leader_followers *set)
{
    if (!set)
        return;
    pthread_mutex_destroy(&set->lock);
    free(set);
}

/* Of the calling thread, which is what Linux takes 0 for. */
static bool set_policy(int policy)
{
    static const struct sched_param NO_PRIORITY = {.sched_priority = 0};
    return sched_setscheduler(0, policy, &NO_PRIORITY) == 0;
}

void leader_followers_batch(void)
{
    if (looping && looping->may_batch && !batching)
        batching = set_policy(SCHED_BATCH);
}

static void *work(void *argument);

/* With the lock held. */
static bool start_thread(struct leader_followers *set)
{
    pthread_attr_t attributes;
    if (set->started == set->threads_max || set->stopping)
        return false;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    bool started = pthread_create(&set->threads[set->started], &attributes, work, set) == 0;
    pthread_attr_destroy(&attributes);
    set->started += started;
    return started;
}

/* With the lock held: whether new requests come before tasks, lest those have all threads. */
static bool enough_run_tasks(const struct leader_followers *set)
{
    return set->running > 0 && set->running >= set->threads_max / 2;
}

/* With the lock held: the latest of the idle threads, of which there is one. */
static void wake_idler(struct leader_followers *set)
{
    struct idler *idler = set->idle;
    set->idle = idler->next;
    idler->awake = true;
    set->awaking++;
    pthread_cond_signal(&idler->called);
}

/* With the lock held, in a thread that has nothing to do. */
static void idle(struct leader_followers *set)
{
    struct idler self = {.next = set->idle};
    pthread_cond_init(&self.called, NULL);
    set->idle = &self;
    while (!self.awake)
        pthread_cond_wait(&self.called, &set->lock);
    set->awaking--;
    pthread_cond_destroy(&self.called);
}

/*
 * With the lock held: somebody looks after the loop or the tasks, an idle thread or a new one,
 * unless one is coming that calls the next. When there is none to be had, the first that is done
 * does, or the one that has the loop.
 */
static void call(struct leader_followers *set)
{
    if (set->awaking > 0)
        return;
    if (set->idle)
        wake_idler(set);
    else if (!start_thread(set))
        atomic_store(&set->short_handed, set->first && !enough_run_tasks(set));
}

/* blocking_begin: somebody else takes the loop. */
static void hand_over(void *context)
{
    struct leader_followers *set = context;
    if (!looping)
        return;
    looping = NULL;
    if (batching)
        batching = !set_policy(SCHED_OTHER);
    pthread_mutex_lock(&set->lock);
    set->loop_free = true;
    call(set);
    pthread_mutex_unlock(&set->lock);
}

/* blocking_run. */
static void add_task(void *context, struct task *task)
{
    struct leader_followers *set = context;
    task->next = NULL;
    pthread_mutex_lock(&set->lock);
    *set->last = task;
    set->last = &task->next;
    call(set);
    pthread_mutex_unlock(&set->lock);
}

/*
 * The oldest task, or NULL after the loop was taken. Tasks come first, what was begun before what
 * is new, until half of the threads have one. False: the end has come.
 */
static bool take(struct leader_followers *set, struct task **ret_task)
{
    pthread_mutex_lock(&set->lock);
    while (!set->first && !set->loop_free && !set->stopping)
        idle(set);
    bool loop_first = set->loop_free && enough_run_tasks(set) && !set->stopping;
    struct task *task = loop_first ? NULL : set->first;
    bool ended = !set->first && set->stopping;
    if (task) {
        set->running++;
        set->first = task->next;
        if (!set->first)
            set->last = &set->first;
    } else if (!ended) {
        set->loop_free = false;
        looping = set;
    }
    atomic_store(&set->short_handed, false);
    /* One thread may have been called for both. */
    if (set->first || set->loop_free)
        call(set);
    pthread_mutex_unlock(&set->lock);
    *ret_task = task;
    return !ended;
}

static void *work(void *argument)
{
    static const struct blocking_hooks HOOKS = {.begin = hand_over, .run = add_task};
    struct leader_followers *set = argument;
    struct task *task;
    blocking_set(&HOOKS, set);
    /* A thread that batches may have started this one, which inherits its policy. */
    if (set->may_batch)
        set_policy(SCHED_OTHER);
    while (take(set, &task)) {
        if (task) {
            task->run(task);
            pthread_mutex_lock(&set->lock);
            set->running--;
            pthread_mutex_unlock(&set->lock);
        } else {
            set->loop(set->context);
            /* It came back with the loop, for a task or because the set stops. */
            hand_over(set);
        }
    }
    return NULL;
}

bool leader_followers_start(struct leader_followers *set)
{
    pthread_mutex_lock(&set->lock);
    call(set);
    bool started = set->started > 0;
    pthread_mutex_unlock(&set->lock);
    return started;
}

void leader_followers_stop(struct leader_followers *set, void (*wake)(void *context))
{
    pthread_mutex_lock(&set->lock);
    set->stopping = true;
    int started = set->started;
    while (set->idle)
        wake_idler(set);
    pthread_mutex_unlock(&set->lock);
    if (started > 0)
        wake(set->context);
    for (int i = 0; i < started; i++)
        pthread_join(set->threads[i], NULL);
}
