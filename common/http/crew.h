/*
 * The threads of a serve loop. At any time one of them has the loop; the others wait for something
 * to run, or run what they have. The one that has the loop runs short requests within it; before it
 * waits for anything (base/blocking.h) another one takes the loop over. So a request that does not
 * wait costs no change of threads, and one that does holds up nobody. Tasks of blocking_run are run
 * by a thread that has nothing to do, or by the first that is done. There may be as many of them as
 * requests that are answered later, which COALESCE_QUEUE_MAX and the flights under way bound.
 */
#pragma once

#include <stdbool.h>

struct crew;

/* Runs the loop until crew_has_loop() is false, or the crew stops. Whatever it keeps between calls is
 * used by one thread at a time. */
typedef void crew_loop(void *context);

/* threads: how many there may be; they are started as they are needed. NULL: memory is out. */
struct crew *crew_new(int threads, crew_loop *loop, void *context);
/* After crew_stop, or when no thread was started. Takes NULL. */
void crew_free(struct crew *crew);

/* Starts the first thread. False: there is none to be had. */
bool crew_start(struct crew *crew);

/* Whether the calling thread has the loop, and should go on with it. */
bool crew_has_loop(void);

/*
 * Said by a loop that served what there was without waiting for anything. Until it gives the loop up,
 * the calling thread no longer preempts whoever wakes it (SCHED_BATCH, sched(7)): nginx goes on to
 * send what it has read of other connections, and the loop gets all of it at once. Does nothing
 * without the loop, where the process was given another policy, or where the system refuses.
 */
void crew_batch(void);

/*
 * Ends all threads once they have run what they have, and waits for them. The loop must return
 * soon by itself: wake is called for that, with the loop's context.
 */
void crew_stop(struct crew *crew, void (*wake)(void *context));
