/*
 * Amounts of money: line 1 the amount, line 2 the currency. What is accepted has one canonical form
 * and survives the way there and back; what is refused leaves the result alone.
 */
#include <stdlib.h>

#include "base/money.h"
#include "support/fuzz.h"

/* As a person reads it: digits, at most one point with one or two digits behind it. */
static bool looks_like_money(struct text amount)
{
    size_t whole = 0;
    while (whole < amount.len && amount.data[whole] >= '0' && amount.data[whole] <= '9')
        whole++;
    if (whole == 0 || whole > 8 || (whole > 1 && amount.data[0] == '0'))
        return false;
    if (whole == amount.len)
        return true;
    size_t places = amount.len - whole - 1;
    if (amount.data[whole] != '.' || places < 1 || places > 2)
        return false;
    for (size_t i = whole + 1; i < amount.len; i++)
        if (amount.data[i] < '0' || amount.data[i] > '9')
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct text RUB = {"RUB", 3};
    struct text input = fuzz_input(data, size);
    struct text amount = fuzz_line(&input);
    struct text currency = fuzz_line(&input);
    struct money money = {.minor = -4711, .currency = "?"};
    struct money back;
    char formatted[MONEY_TEXT_SIZE];
    bool accepted = money_parse(amount, RUB, &money);
    REQUIRE(accepted == looks_like_money(amount));
    if (!accepted) {
        REQUIRE(money.minor == -4711 && money.currency[0] == '?');
    } else {
        REQUIRE(money.minor >= 0 && money.minor <= INT64_C(9999999999));
        money_format(&money, formatted);
        REQUIRE(money_parse(text_from(formatted), RUB, &back) && money_equal(&money, &back));
        /* The point has two digits behind it, and before it what was given. */
        size_t len = strlen(formatted);
        REQUIRE(len >= 4 && formatted[len - 3] == '.');
        REQUIRE(strncmp(formatted, amount.data, len - 3 < amount.len ? len - 3 : amount.len) == 0);
    }
    if (money_parse(TEXT_LITERAL("1.00"), currency, &money))
        REQUIRE(text_equal(currency, text_from(money.currency)) && currency.len == 3);
    return 0;
}
