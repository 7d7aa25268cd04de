/*
 * A handler without a database that uses what http/ offers: query, page, body, identity, stream.
 * Its answers repeat what was asked, so that a mistake in quoting shows.
 */
#pragma once

#include "http/router.h"

extern const struct router_table STUB_TABLE;

/* What the stub runs with: no log, no metrics; two listed origins. */
extern const char STUB_ORIGINS[];
extern struct app STUB_APP;
