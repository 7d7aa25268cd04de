#include "base/error.h"

#include <assert.h>

static const struct error_info TABLE[ERROR_COUNT] = {
#define ERROR_ROW(name, status, code, russian, english, message) \
    [ERROR_##name] = {#name, status, code, russian, english, message},
    ERROR_TABLE(ERROR_ROW)
#undef ERROR_ROW
};

const struct error_info *error_describe(enum error err)
{
    assert(err >= 0 && err < ERROR_COUNT);
    return &TABLE[err];
}
