/*
 * Amounts of money as whole minor units (kopecks). Never a floating-point number.
 *
 * The decimal text is the one of PostgreSQL's numeric(10,2) and of the payment provider: digits, a
 * point, two digits ("100.00"). Currencies are the three capital letters of ISO 4217, those with
 * two decimal places only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum {
    MONEY_TEXT_SIZE = 16, /* "99999999.99" (numeric(10,2)) and terminator, rounded up */
    CURRENCY_SIZE = 4,    /* three letters and terminator */
};

struct money {
    int64_t minor; /* kopecks, 0 .. 9,999,999,999: what numeric(10,2) holds */
    char currency[CURRENCY_SIZE];
};

/*
 * amount: "0.00" .. "99999999.99", also without a fraction ("100") or with one place ("99.5"); no
 * sign, blanks or exponent, and no leading zero except one before the point. Zero is an amount,
 * because it says how much was refunded so far; code that makes a payment or refund checks for
 * more. currency: three capital letters. Returns false otherwise; ret_money is then untouched.
 */
bool money_parse(struct text amount, struct text currency, struct money *ret_money);

/* The amount with two places, without the currency. */
void money_format(const struct money *money, char buffer[static MONEY_TEXT_SIZE]);

bool money_equal(const struct money *a, const struct money *b);
