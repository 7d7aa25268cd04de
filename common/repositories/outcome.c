#include "repositories/outcome.h"

enum error outcome_read(const char *const *words, size_t count, struct text word, int *ret_outcome)
{
    for (size_t i = 0; word.data && i < count; i++) {
        if (words[i] && text_equal(word, text_from(words[i]))) {
            *ret_outcome = (int)i;
            return ERROR_OK;
        }
    }
    return ERROR_INTERNAL;
}
