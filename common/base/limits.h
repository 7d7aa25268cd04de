/*
 * Every cap of the program, with its arithmetic. A buffer, queue, list, retry or wait without a cap
 * is a defect.
 */
#pragma once

#define KIB (1024L)
#define MIB (1024L * KIB)

/* Seconds since 1970 beyond which a token's time is nonsense: the year 9999. */
#define TOKEN_TIME_MAX 253402300799.0

enum {
    /* HTTP. nginx refuses more before a handler sees it; these guard a handler on its own. */
    BODY_BYTES_MAX = 64 * KIB,        /* openapi.yaml: body cap of an ordinary endpoint */
    RESPONSE_BYTES_MAX = 16 * MIB,    /* a page of 100 generations with 16 KiB prompts is 2 MiB */
    RESPONSE_KEEP_BYTES = 64 * KIB,   /* what a slot keeps of its buffers between requests */
    QUERY_STRING_BYTES_MAX = 8 * KIB, /* nginx: one large_client_header_buffers buffer */
    HEADER_BYTES_MAX = 8 * KIB,       /* the same, for one header value */
    REQUEST_ID_BYTES_MAX = 64,        /* nginx: 32 hexadecimal digits */
    JSON_DEPTH_MAX = 16,              /* the deepest documented body has 4 levels */
    PAGE_ITEMS_MAX = 100,             /* openapi.yaml: limit */
    PAGE_ITEMS_DEFAULT = 50,
    CURSOR_BYTES_MAX = 64,  /* 33 bytes in base64url are 44 characters */
    EXPORT_PAGE_ROWS = 500, /* x 16 KiB of prompt at most = 8 MiB for one page */

    /* Serving. */
    THREADS_MAX = 256,
    LISTEN_BACKLOG = 1024,             /* measured: a backlog of 8 gave 85,000 502s in 3 s */
    CONNECTION_READ_TIMEOUT_MS = 5000, /* nginx buffers requests, so a pause here is a fault */
    DRAIN_MS_MAX = 30000, /* after SIGTERM; then the process ends with requests under way */

    /* Identity. */
    DEVICE_ID_BYTES_MIN = 20, /* openapi.yaml */
    DEVICE_ID_BYTES_MAX = 255,
    REOPENS_MAX = 8,           /* an account erased and opened again under a request */
    CLERK_ID_BYTES_MAX = 255,  /* users.clerk_id; Clerk's have 32 characters */
    EMAIL_BYTES_MAX = 255,     /* users.email */
    TOKEN_BYTES_MAX = 8 * KIB, /* one header; Clerk's tokens are below 4 KiB (a cookie) */
    SESSION_COOKIES_MAX = 4, /* of a request: 26 us a signature; two instances of Clerk set four */
    TOKEN_SKEW_SECONDS = 5,  /* Clerk's default clock skew */
    KEYS_MAX = 16,           /* of a key set; Clerk's have one or two */
    KEY_ID_BYTES_MAX = 128,
    KEY_BITS_MIN = 2048, /* RFC 7518, section 3.3 */
    KEY_BITS_MAX = 4096,
    PEM_BYTES_MAX = 2 * KIB,  /* an RSA public key of 4,096 bits is 800 bytes */
    IDENTITY_BYTES_MAX = 300, /* "device:" or "clerk:" and 255 bytes, rounded up */

    IDEMPOTENCY_KEY_BYTES_MAX = 255, /* openapi.yaml */
    SERVICE_NAME_BYTES_MAX = 64,     /* of a service key */
    SERVICE_KEY_BYTES_MAX = 128,     /* a key has 43 characters */

    /* Ledger. */
    BATCH_OPERATIONS_MAX = 1000,    /* openapi.yaml */
    BATCH_BODY_BYTES_MAX = 1 * MIB, /* 1,000 operations of up to 1,000 bytes */
    DESCRIPTION_CHARACTERS_MAX = 500,
    HOLD_SECONDS_MAX = 86400, /* openapi.yaml: a day */
    SWEEP_INTERVAL_MS = 5000,
    SWEEP_ACCOUNTS_MAX = 500,     /* a sweep: some 100 ms of locks, one account at a time */
    PERSON_SWEEP_ROWS_MAX = 2000, /* of each kind, every SWEEP_INTERVAL_MS: 400 a second */
    VERIFY_MISMATCHES_MAX = 1000, /* sql/queries/ledger_verify.sql */

    /* Payments. */
    PAYMENT_REQUEST_BYTES_MAX = 16 * KIB, /* a return URL with every byte escaped is 12 KiB */
    PAYMENT_LEASE_SPARE_SECONDS = 5,      /* the statements before and after a call */
    SUBSCRIPTIONS_MAX = 100,              /* of one account, in an answer: 8 years of months */
    LISTING_SECONDS = 60,                 /* between listings of the provider's payments */
    LISTING_OVERLAP_SECONDS = 600,        /* clocks that differ, and objects that show up late */
    LISTING_LAG_SECONDS_MAX = 3 * 86400,  /* for unbooked objects; then only the log has them */
    LISTING_LEASE_SECONDS = 120,
    LISTING_PAGES_MAX = 10000,           /* of 100: a million since the last time */
    CREATION_REPEAT_SECONDS = 23 * 3600, /* YooKassa keeps an idempotence key for 24 hours */
    RECONCILER_POLLERS = 4,              /* threads; a call takes some 150 ms: 25 a second */
    RECONCILER_IDLE_MS = 1000,
    RECONCILER_STOP_MS = 2000, /* for calls under way; leases cover what is cut off */

    /* Calls of other services. */
    RETRY_AFTER_MS_MAX = 3600000, /* a service that asks for more is called again after this */
    URL_BYTES_MAX = 2048,         /* of a page that a person is sent to */
    PROVIDER_ID_BYTES_MAX = 64,   /* YooKassa's have 36 characters */
    PROVIDER_KEY_BYTES_MAX = 64,  /* YooKassa: Idempotence-Key */
    PROVIDER_SECRET_BYTES_MAX = 256,
    PROVIDER_CURSOR_BYTES_MAX = 256,
    PROVIDER_WORD_BYTES_MAX = 64,          /* reason, party, event: 40 characters at most */
    PROVIDER_URL_BYTES_MAX = 480,          /* and the longest path stay below 1 KiB */
    PROVIDER_PAGE_ITEMS = 100,             /* YooKassa: limit of a list */
    PROVIDER_OBJECT_BYTES_MAX = 256 * KIB, /* 16 metadata of 512 characters of 12 bytes: 96 KiB */
    PROVIDER_LIST_BYTES_MAX = 8 * MIB,     /* 100 objects of 3 KiB, and 80 KiB for each at worst */

    /* Fields of bodies: the widths of their columns (sql/schema.sql), else what fits the body. */
    IMAGE_URL_BYTES_MAX = 8 * KIB,
    PROMPT_BYTES_MAX = 40 * KIB,   /* 10,000 characters of up to 4 bytes */
    PROMPT_CHARACTERS_MAX = 10000, /* openapi.yaml: userPrompt, which it comes from */
    TREND_CHARACTERS_MAX = 50,
    /*
     * A field counts decoded. In a body a byte takes up to 6 bytes (\u0041), a character up to 12
     * (a surrogate pair): prompt 120,000, image URL 49,152, trend 600, and the names: 169,800.
     */
    GENERATION_BODY_BYTES_MAX = 192 * KIB, /* nginx/routes/generations.conf says the same */
    ADDRESS_BYTES_MAX = 45,                /* the longest text form of an IPv6 address */

    /* Database. */
    PARAMS_MAX = 16,
    COLUMNS_MAX = 24,
    POOL_SIZE_MAX = 64,
    COALESCE_FLIGHT_MAX = 256,
    COALESCE_QUEUE_MAX = 1024,  /* a tenth of a second of spends; more requests get 503 */
    COALESCE_SLOTS = 2,         /* for small flights, and beside one that waits for a row */
    COALESCE_SMALL = 4,         /* items; docs/decisions.md */
    COALESCE_PATIENCE_MS = 50,  /* several times what a large flight takes */
    STATEMENT_ATTEMPTS = 3,     /* the first and two repetitions */
    RETRY_FIRST_DELAY_MS = 100, /* at most; twice that before the next one */
    /* The deepest frame of a thread is a response with its pages of rows, far below this. */
    THREAD_STACK_BYTES = 512 * KIB,
    PREPARED_MAX = 256,              /* statements one connection may have prepared */
    BOOTSTRAP_PAUSE_MS = 1000,       /* between bootstraps of a process that did not help */
    BOOTSTRAP_TURN_MS = 10000,       /* for a bootstrap of another process, if it is a short one */
    BOOTSTRAP_TURN_STEP_MS = 20,     /* between looks whether it has ended */
    BOOTSTRAP_SHORT_BYTES = 4 * MIB, /* about 40,000 entries, and a second of an adoption */
    SCHEMA_WAIT_SECONDS = 5,         /* Retry-After while a large database is brought up to date */
    MIGRATION_TIMEOUT_MS = 600000,   /* an adopted ledger of 10,000,000 rows is rewritten once */

    /* Logs and metrics. */
    LOG_LINE_BYTES_MAX = 4096, /* PIPE_BUF on Linux: a line stays one atomic write */
    METRIC_SERIES_MAX = 2048,  /* 12 handlers x 20 routes and statuses + 100 queries x 3 */
    METRIC_NAME_BYTES_MAX = 64,
    METRIC_LABELS_BYTES_MAX = 160,
    LOG_TEXT_BYTES_MAX = 1024, /* of one value, escaped: three long ones fit a line */

    /* Shared memory. */
    SHARED_MEMORY_PATH_BYTES_MAX = 160, /* path and cause fit the 256 bytes of a message */
    SHARED_MEMORY_WAIT_MS = 5000,       /* for the creator of a segment, which takes some 10 ms */
    CACHE_BUCKETS = 32768,              /* a power of two; x 128 bytes of head = 4 MiB */
    CACHE_BUCKET_SLOTS = 6,             /* x 32,768 = 196,608 slots x 192 bytes = 36 MiB, sparse */
    CACHE_BYTES_MAX = 48 * MIB,         /* below the 64 MiB that containers give /dev/shm */
};

_Static_assert((int)PAGE_ITEMS_DEFAULT <= (int)PAGE_ITEMS_MAX, "default page fits the cap");
_Static_assert((int)IDENTITY_BYTES_MAX >= (int)DEVICE_ID_BYTES_MAX + (int)sizeof("device:"),
               "an identity holds every device id");
_Static_assert(12 * ((int)PROMPT_CHARACTERS_MAX + (int)TREND_CHARACTERS_MAX) +
                       6 * (int)IMAGE_URL_BYTES_MAX + 1024 <=
                   (int)GENERATION_BODY_BYTES_MAX,
               "the longest fields fit a body, however they are escaped");
_Static_assert(3 * (int)LOG_TEXT_BYTES_MAX < (int)LOG_LINE_BYTES_MAX, "three long values fit");
_Static_assert(((int)CACHE_BUCKETS & ((int)CACHE_BUCKETS - 1)) == 0, "a mask picks the bucket");
