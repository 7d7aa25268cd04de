/*
 * Keeps the schema at the version of this build. Private to the room; others call
 * database_bootstrap.
 *
 * A statement that finds the schema wanting asks for a bootstrap. It runs in a thread of its own,
 * one at a time in this process, and the statements wait for it; one that takes long, here or in
 * another process, they do not wait for: adopting a large database takes minutes. Thread-safe.
 */
#pragma once

#include <stdint.h>

#include "database/database.h"

struct schema_update;

/* Both are borrowed and must outlive it. Returns NULL when memory is out. */
struct schema_update *schema_update_new(const struct database_options *options,
                                        const char *owner_url);

/* Breaks off what runs; the database is then as it was. Takes NULL. */
void schema_update_free(struct schema_update *update);

/* How many bootstraps of this process have succeeded. */
uint64_t schema_update_count(const struct schema_update *update);

/*
 * After a statement found the schema wanting. seen: schema_update_count before it was sent; if one
 * has succeeded since, repeating the statement is all there is to do. Waits for a bootstrap that is
 * short. ERROR_SCHEMA_UPDATING: it takes long, or somebody else's does. ERROR_DATABASE: the last
 * bootstrap found nothing to do a moment ago, so that the statement is at fault, not the schema.
 * Others as bootstrap_run.
 */
enum error schema_update_ensure(struct schema_update *update, uint64_t seen) MUST_CHECK;

/* Runs a bootstrap in the calling thread, however long it takes. Errors as bootstrap_run. */
enum error schema_update_run(struct schema_update *update,
                             struct bootstrap_report *ret_report) MUST_CHECK;
