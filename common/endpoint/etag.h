/*
 * Conditional requests for answers that may be stored (RFC 9110, sections 8.8.3 and 13.1.2): the
 * same body again costs the client no bytes.
 */
#pragma once

#include "endpoint/call.h"

/*
 * Called when the answer of status 200 is built: adds ETag, a digest of its body, and makes it 304
 * without a body when If-None-Match names it.
 */
void etag_answer(struct call *call);
