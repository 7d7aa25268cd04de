/*
 * The threads of a serve loop: the leader/followers pattern (Schmidt et al., Pattern-Oriented
 * Software Architecture, volume 2). At any time one thread leads: it has the loop. The others, the
 * followers, wait for something to run, or run what they have. The leader runs short requests
 * within the loop; before it waits for anything (base/blocking.h) a follower takes the lead. So a
 * request that does not wait costs no change of threads, and one that does holds up nobody. Tasks
 * of blocking_run are run by a follower that has nothing to do, or by the first that is done. There
 * may be as many of them as requests that are answered later, which COALESCE_QUEUE_MAX and the
 * flights under way bound.
 */
#pragma once

#include <stdbool.h>

struct leader_followers;

/* Runs the loop until leader_followers_has_loop() is false, or the set stops. Whatever it keeps
 * between calls is used by one thread at a time. */
typedef void leader_followers_loop(void *context);

/* threads: how many there may be; they are started as they are needed. NULL: memory is out. */
struct leader_followers *leader_followers_new(int threads, leader_followers_loop *loop,
                                              void *context);
/* After leader_followers_stop, or when no thread was started. Takes NULL. */
void leader_followers_free(struct leader_followers *set);

/* Starts the first thread. False: there is none to be had. */
bool leader_followers_start(struct leader_followers *set);

/* Whether the calling thread has the loop, and should go on with it. */
bool leader_followers_has_loop(void);

/*
 * Said by a loop that served what there was without waiting for anything. Until it gives the loop
 * up, the calling thread no longer preempts the one that wakes it (SCHED_BATCH, sched(7)): nginx
 * goes on to send what it has read of other connections, and the loop gets all of it at once. Does
 * nothing without the loop, where the process was given another policy, or where the system
 * refuses.
 */
void leader_followers_batch(void);

/*
 * Ends all threads once they have run what they have, and waits for them. The loop must return
 * soon by itself: wake is called for that, with the loop's context.
 */
void leader_followers_stop(struct leader_followers *set, void (*wake)(void *context));
