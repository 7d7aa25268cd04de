/* The error table: what programs and people are told of each result. */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static void assert_snake_case(const char *code)
{
    size_t len = strlen(code);
    assert_true(len > 0 && len == strspn(code, "abcdefghijklmnopqrstuvwxyz_"));
    assert_true(code[0] != '_' && code[len - 1] != '_' && !strstr(code, "__"));
}

static void test_rows(void **state)
{
    (void)state;
    for (int i = 0; i < ERROR_COUNT; i++) {
        const struct error_info *info = error_describe((enum error)i);
        assert_non_null(info);
        assert_snake_case(info->code);
        assert_true(info->name[0] != '\0');
        if (i == ERROR_OK) {
            assert_int_equal(info->status, 200);
            continue;
        }
        assert_in_range(info->status, 400, 599);
        const char *const texts[] = {info->russian, info->english, info->message};
        for (size_t n = 0; n < sizeof(texts) / sizeof(texts[0]); n++) {
            assert_true(texts[n][0] != '\0');
            assert_true(text_is_utf8(text_from(texts[n])));
            assert_null(strpbrk(texts[n], "\r\n"));
        }
        for (const char *p = info->english; *p; p++)
            assert_true((unsigned char)*p < 0x80);
    }
}

/*
 * One code tells a program one thing. What a client cannot tell apart shares its code on purpose:
 * then status and texts are the same too.
 */
static void test_codes_mean_one_thing(void **state)
{
    (void)state;
    for (int i = 0; i < ERROR_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            const struct error_info *a = error_describe((enum error)i);
            const struct error_info *b = error_describe((enum error)j);
            assert_string_not_equal(a->name, b->name);
            if (strcmp(a->code, b->code) != 0)
                continue;
            bool inside = strcmp(a->code, "overloaded") == 0 ||
                          strcmp(a->code, "internal_error") == 0 ||
                          strcmp(a->code, "database_unavailable") == 0;
            assert_true(inside);
            assert_int_equal(a->status, b->status);
            assert_string_equal(a->russian, b->russian);
            assert_string_equal(a->english, b->english);
            assert_string_equal(a->message, b->message);
        }
    }
}

/* Texts and statuses that clients in the field compare (openapi.yaml). */
static void test_what_clients_rely_on(void **state)
{
    (void)state;
    static const struct {
        enum error err;
        int status;
        const char *code, *russian;
    } ROWS[] = {
        {ERROR_UNAUTHORIZED, 401, "unauthorized", "Unauthorized"},
        {ERROR_BONUS_ALREADY_CLAIMED, 400, "bonus_already_claimed",
         "Ежедневный бонус уже получен сегодня"},
        {ERROR_RATE_LIMITED, 429, "rate_limited", "Rate limit exceeded"},
        {ERROR_IMAGE_URL_REQUIRED, 400, "image_url_required", "imageUrl is required"},
        {ERROR_MALFORMED_JSON, 400, "malformed_json", "Некорректный JSON"},
        {ERROR_DATABASE_UNAVAILABLE, 503, "database_unavailable", "База данных недоступна"},
        {ERROR_NOT_CONFIGURED, 500, "not_configured", "Сервис не настроен"},
        {ERROR_BODY_TOO_LARGE, 413, "body_too_large", "Слишком большой запрос"},
    };
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        const struct error_info *info = error_describe(ROWS[i].err);
        assert_int_equal(info->status, ROWS[i].status);
        assert_string_equal(info->code, ROWS[i].code);
        assert_string_equal(info->russian, ROWS[i].russian);
    }
    assert_string_equal(error_describe(ERROR_UNAUTHORIZED)->message, "Authentication required");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_codes_mean_one_thing),
        cmocka_unit_test(test_what_clients_rely_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
