#include "support/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void fuzz_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

struct text fuzz_line(struct text *input)
{
    if (input->len == 0)
        return TEXT_LITERAL("");
    const char *newline = memchr(input->data, '\n', input->len);
    struct text line = {input->data, newline ? (size_t)(newline - input->data) : input->len};
    size_t taken = newline ? line.len + 1 : line.len;
    *input = (struct text){input->data + taken, input->len - taken};
    return line;
}

char *fuzz_string(struct text text)
{
    char *copy = malloc(text.len + 1);
    REQUIRE(copy);
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

bool fuzz_within(struct text part, struct text whole)
{
    return part.data >= whole.data && part.data <= whole.data + whole.len &&
           part.len <= (size_t)(whole.data + whole.len - part.data);
}
