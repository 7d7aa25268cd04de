/*
 * What a process, a handler or a worker, is made of. Built once by app_open (process/app_open.h),
 * passed down by pointer, never global. The members are opaque here so that every layer may name
 * the struct.
 */
#pragma once

struct config;
struct log;
struct metrics;
struct cache;
struct clerk;
struct database;
struct yookassa;

struct app {
    const char *handler; /* its name: "tokens" */
    const struct config *config;
    struct log *log;
    struct metrics *metrics;   /* shared memory of the host */
    struct cache *cache;       /* shared memory of the host; NULL when the handler asks for none */
    struct clerk *clerk;       /* NULL when Clerk is not configured */
    struct yookassa *yookassa; /* NULL when payments are not configured */
    struct database *database; /* NULL when the handler asks for none */
};
