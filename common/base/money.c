#include "base/money.h"

#include <stdio.h>
#include <string.h>

enum {
    WHOLE_DIGITS_MAX = 8, /* numeric(10,2) */
    PLACES = 2,
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Moves the digits at the front of rest into minor. Returns how many there were. */
static size_t take_digits(struct text *rest, int64_t *minor)
{
    size_t count = 0;
    while (count < rest->len && count <= WHOLE_DIGITS_MAX && is_digit(rest->data[count])) {
        *minor = *minor * 10 + (rest->data[count] - '0');
        count++;
    }
    *rest = (struct text){rest->data + count, rest->len - count};
    return count;
}

static bool read_minor(struct text amount, int64_t *ret_minor)
{
    struct text rest = amount;
    int64_t minor = 0;
    size_t places = 0;
    if (rest.len == 0)
        return false;
    size_t whole = take_digits(&rest, &minor);
    if (whole == 0 || whole > WHOLE_DIGITS_MAX || (whole > 1 && amount.data[0] == '0'))
        return false;
    if (rest.len > 0) {
        if (rest.data[0] != '.')
            return false;
        rest = (struct text){rest.data + 1, rest.len - 1};
        places = take_digits(&rest, &minor);
        if (places == 0 || places > PLACES || rest.len > 0)
            return false;
    }
    for (; places < PLACES; places++)
        minor *= 10;
    *ret_minor = minor;
    return true;
}

static bool is_currency(struct text currency)
{
    if (currency.len != CURRENCY_SIZE - 1)
        return false;
    for (size_t i = 0; i < currency.len; i++)
        if (currency.data[i] < 'A' || currency.data[i] > 'Z')
            return false;
    return true;
}

bool money_parse(struct text amount, struct text currency, struct money *ret_money)
{
    int64_t minor;
    if (!is_currency(currency) || !read_minor(amount, &minor))
        return false;
    ret_money->minor = minor;
    memcpy(ret_money->currency, currency.data, currency.len);
    ret_money->currency[currency.len] = '\0';
    return true;
}

void money_format(const struct money *money, char buffer[static MONEY_TEXT_SIZE])
{
    snprintf(buffer, MONEY_TEXT_SIZE, "%u.%02u", (unsigned)(money->minor / 100),
             (unsigned)(money->minor % 100));
}

bool money_equal(const struct money *a, const struct money *b)
{
    return a->minor == b->minor && strcmp(a->currency, b->currency) == 0;
}
