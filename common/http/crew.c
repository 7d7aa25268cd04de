#include "http/crew.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/blocking.h"
#include "base/limits.h"

enum {
    /* The deepest frame of a thread is a response with its pages of rows, far below this. */
    THREAD_STACK_BYTES = 512 * KIB,
};

/* A thread with nothing to do. */
struct idler {
    struct idler *next;
    pthread_cond_t called;
    bool awake;
};

struct crew {
    crew_loop *loop;
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
    atomic_bool short_handed; /* tasks wait, and nobody is there but for whoever has the loop */
    pthread_t threads[];
};

static __thread const struct crew *looping; /* the crew whose loop this thread has */
static __thread bool batching;              /* by crew_batch */

bool crew_has_loop(void)
{
    return looping && !atomic_load_explicit(&looping->short_handed, memory_order_relaxed);
}

struct crew *crew_new(int threads, crew_loop *loop, void *context)
{
    struct crew *crew = calloc(1, sizeof(*crew) + (size_t)threads * sizeof(crew->threads[0]));
    if (!crew)
        return NULL;
    crew->loop = loop;
    crew->context = context;
    crew->threads_max = threads;
    crew->may_batch = sched_getscheduler(0) == SCHED_OTHER;
    crew->last = &crew->first;
    crew->loop_free = true;
    pthread_mutex_init(&crew->lock, NULL);
    return crew;
}

void crew_free(struct crew *crew)
{
    if (!crew)
        return;
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}

/* Of the calling thread, which is what Linux takes 0 for. */
static bool set_policy(int policy)
{
    static const struct sched_param NO_PRIORITY = {.sched_priority = 0};
    return sched_setscheduler(0, policy, &NO_PRIORITY) == 0;
}

void crew_batch(void)
{
    if (looping && looping->may_batch && !batching)
        batching = set_policy(SCHED_BATCH);
}

static void *work(void *argument);

/* With the lock held. */
static bool start_thread(struct crew *crew)
{
    pthread_attr_t attributes;
    if (crew->started == crew->threads_max || crew->stopping)
        return false;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    bool started = pthread_create(&crew->threads[crew->started], &attributes, work, crew) == 0;
    pthread_attr_destroy(&attributes);
    crew->started += started;
    return started;
}

/* With the lock held: whether new requests come before tasks, lest those have all threads. */
static bool enough_run_tasks(const struct crew *crew)
{
    return crew->running > 0 && crew->running >= crew->threads_max / 2;
}

/* With the lock held: the latest of the idle threads, of which there is one. */
static void wake_idler(struct crew *crew)
{
    struct idler *idler = crew->idle;
    crew->idle = idler->next;
    idler->awake = true;
    crew->awaking++;
    pthread_cond_signal(&idler->called);
}

/* With the lock held, in a thread that has nothing to do. */
static void idle(struct crew *crew)
{
    struct idler self = {.next = crew->idle};
    pthread_cond_init(&self.called, NULL);
    crew->idle = &self;
    while (!self.awake)
        pthread_cond_wait(&self.called, &crew->lock);
    crew->awaking--;
    pthread_cond_destroy(&self.called);
}

/*
 * With the lock held: somebody looks after the loop or the tasks, an idle thread or a new one, unless
 * one is coming that calls the next. When there is none to be had, the first that is done does, or
 * whoever has the loop.
 */
static void call(struct crew *crew)
{
    if (crew->awaking > 0)
        return;
    if (crew->idle)
        wake_idler(crew);
    else if (!start_thread(crew))
        atomic_store(&crew->short_handed, crew->first && !enough_run_tasks(crew));
}

/* blocking_begin: somebody else takes the loop. */
static void hand_over(void *context)
{
    struct crew *crew = context;
    if (!looping)
        return;
    looping = NULL;
    if (batching)
        batching = !set_policy(SCHED_OTHER);
    pthread_mutex_lock(&crew->lock);
    crew->loop_free = true;
    call(crew);
    pthread_mutex_unlock(&crew->lock);
}

/* blocking_run. */
static void add_task(void *context, struct task *task)
{
    struct crew *crew = context;
    task->next = NULL;
    pthread_mutex_lock(&crew->lock);
    *crew->last = task;
    crew->last = &task->next;
    call(crew);
    pthread_mutex_unlock(&crew->lock);
}

/*
 * The oldest task, or NULL after the loop was taken. Tasks come first, what was begun before what is
 * new, until half of the threads have one. False: the end has come.
 */
static bool take(struct crew *crew, struct task **ret_task)
{
    pthread_mutex_lock(&crew->lock);
    while (!crew->first && !crew->loop_free && !crew->stopping)
        idle(crew);
    bool loop_first = crew->loop_free && enough_run_tasks(crew) && !crew->stopping;
    struct task *task = loop_first ? NULL : crew->first;
    bool ended = !crew->first && crew->stopping;
    if (task) {
        crew->running++;
        crew->first = task->next;
        if (!crew->first)
            crew->last = &crew->first;
    } else if (!ended) {
        crew->loop_free = false;
        looping = crew;
    }
    atomic_store(&crew->short_handed, false);
    /* One thread may have been called for both. */
    if (crew->first || crew->loop_free)
        call(crew);
    pthread_mutex_unlock(&crew->lock);
    *ret_task = task;
    return !ended;
}

static void *work(void *argument)
{
    static const struct blocking_hooks HOOKS = {.begin = hand_over, .run = add_task};
    struct crew *crew = argument;
    struct task *task;
    blocking_set(&HOOKS, crew);
    /* A thread that batches may have started this one, which inherits its policy. */
    if (crew->may_batch)
        set_policy(SCHED_OTHER);
    while (take(crew, &task)) {
        if (task) {
            task->run(task);
            pthread_mutex_lock(&crew->lock);
            crew->running--;
            pthread_mutex_unlock(&crew->lock);
        } else {
            crew->loop(crew->context);
            /* It came back with the loop, for a task or because the crew stops. */
            hand_over(crew);
        }
    }
    return NULL;
}

bool crew_start(struct crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    call(crew);
    bool started = crew->started > 0;
    pthread_mutex_unlock(&crew->lock);
    return started;
}

void crew_stop(struct crew *crew, void (*wake)(void *context))
{
    pthread_mutex_lock(&crew->lock);
    crew->stopping = true;
    int started = crew->started;
    while (crew->idle)
        wake_idler(crew);
    pthread_mutex_unlock(&crew->lock);
    if (started > 0)
        wake(crew->context);
    for (int i = 0; i < started; i++)
        pthread_join(crew->threads[i], NULL);
}
