/*
 * Whole requests through the router, from a transport of any parameters: paths, methods, languages,
 * origins, bodies. Input: lines NAME=VALUE, an empty line, the body. Names that start with an
 * exclamation mark are the transport's own: !piece (bytes a read gives at most), !broken (the body
 * breaks off after so many bytes), !full (so many bytes of the answer can be written).
 */
#include <stdlib.h>

#include "base/error.h"
#include "support/answer_check.h"
#include "support/fuzz.h"
#include "support/stub_handler.h"

enum { PARAMS = 24 };

struct fake {
    struct transport transport;
    struct {
        char *name;
        char *value;
    } params[PARAMS];
    size_t param_count;
    struct text body; /* what is not read yet */
    size_t body_read;
    size_t piece, broken, full;
    bool failed; /* a write did not fit */
    struct buffer answer;
};

static struct router *router;
static struct request request;
static struct response response;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    router = router_new(&STUB_APP, &STUB_TABLE);
    REQUIRE(router);
    request_init(&request);
    response_init(&response);
    return 0;
}

static const char *fake_param(void *context, const char *name)
{
    const struct fake *fake = context;
    for (size_t i = 0; i < fake->param_count; i++)
        if (strcmp(fake->params[i].name, name) == 0)
            return fake->params[i].value;
    return NULL;
}

static long fake_read(void *context, char *buffer, size_t size)
{
    struct fake *fake = context;
    size_t len = size < fake->body.len ? size : fake->body.len;
    if (len > fake->piece)
        len = fake->piece;
    if (fake->body_read + len > fake->broken)
        return -1;
    if (len > 0)
        memcpy(buffer, fake->body.data, len);
    fake->body = (struct text){fake->body.data + len, fake->body.len - len};
    fake->body_read += len;
    return (long)len;
}

static bool fake_write(void *context, const char *data, size_t len)
{
    struct fake *fake = context;
    if (fake->answer.len + len > fake->full) {
        fake->failed = true;
        return false;
    }
    buffer_append(&fake->answer, data, len);
    REQUIRE(!buffer_error(&fake->answer));
    return true;
}

/* A setting of the transport: a number, or fallback when it is none. */
static size_t setting(struct fake *fake, const char *name, size_t fallback)
{
    int64_t value;
    const char *text = fake_param(fake, name);
    return text && text_to_int64(text_from(text), &value) && value >= 0 ? (size_t)value : fallback;
}

static void fake_init(struct fake *fake, struct text input)
{
    *fake = (struct fake){
        .transport = {
            .context = fake, .param = fake_param, .read = fake_read, .write = fake_write}};
    buffer_init(&fake->answer, RESPONSE_BYTES_MAX);
    for (struct text line = fuzz_line(&input); line.len > 0; line = fuzz_line(&input)) {
        const char *equals = memchr(line.data, '=', line.len);
        if (!equals || fake->param_count == PARAMS)
            continue;
        size_t len = (size_t)(equals - line.data);
        fake->params[fake->param_count].name = fuzz_string((struct text){line.data, len});
        fake->params[fake->param_count++].value =
            fuzz_string((struct text){equals + 1, line.len - len - 1});
    }
    fake->body = input.len > 0 ? input : TEXT_LITERAL("");
    fake->piece = setting(fake, "!piece", SIZE_MAX);
    fake->piece += fake->piece == 0;
    fake->broken = setting(fake, "!broken", SIZE_MAX);
    fake->full = setting(fake, "!full", SIZE_MAX);
}

static void fake_done(struct fake *fake)
{
    for (size_t i = 0; i < fake->param_count; i++) {
        free(fake->params[i].name);
        free(fake->params[i].value);
    }
    buffer_done(&fake->answer);
}

/* Every answer says that it depends on the origin, and only a listed one is named. */
static void check_cors(const struct answer *answer, const char *origin)
{
    bool listed = origin && (strcmp(origin, "https://app.example") == 0 ||
                             strcmp(origin, "https://b.example") == 0);
    struct text allowed = answer_header(answer, "Access-Control-Allow-Origin");
    REQUIRE(text_equal(answer_header(answer, "Vary"), TEXT_LITERAL("Origin")));
    REQUIRE(text_equal(allowed, text_from(listed ? origin : NULL)));
    REQUIRE(listed == (answer_header(answer, "Access-Control-Allow-Credentials").data != NULL));
}

static void check_answer(struct fake *fake, size_t body_len, bool kept)
{
    struct answer answer = answer_check(buffer_text(&fake->answer));
    /* A body that was too large is the one failure before the origin is looked at. */
    if (answer.status != 413)
        check_cors(&answer, fake_param(fake, "HTTP_ORIGIN"));
    if (answer.status == 405)
        REQUIRE(answer_header(&answer, "Allow").len > 0);
    if (answer.status == 429)
        REQUIRE(text_equal(answer_header(&answer, "Retry-After"), TEXT_LITERAL("7")));
    REQUIRE(answer.status < 500);
    REQUIRE(kept == (answer.status != 413));
    REQUIRE(!kept || fake->body_read == body_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fake fake;
    fake_init(&fake, fuzz_input(data, size));
    size_t body_len = fake.body.len;
    bool kept = router_serve(router, &fake.transport, &request, &response);
    if (!fake.failed && fake.answer.len > 0)
        check_answer(&fake, body_len, kept);
    else
        REQUIRE(!kept);
    fake_done(&fake);
    return 0;
}
