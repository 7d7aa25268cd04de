#include "base/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"

enum kind { KIND_TEXT, KIND_SECRET, KIND_NUMBER, KIND_CHOICE };

struct rule {
    enum kind kind;
    size_t offset;
    const char *variable, *fallback;
    long least, most;
    const char *choices;
};

static const struct rule RULES[] = {
#define CONFIG_RULE(kind, field, variable, fallback, least, most, choices) \
    {KIND_##kind, offsetof(struct config, field), variable, fallback, least, most, choices},
    CONFIG_TABLE(CONFIG_RULE)
#undef CONFIG_RULE
};

static const char *const LIBRARY_VARIABLES[] = {
#define CONFIG_NAME(variable) variable,
    CONFIG_LIBRARY_TABLE(CONFIG_NAME)
#undef CONFIG_NAME
};

static bool read_number(const struct rule *rule, const char *value, int *ret_number)
{
    int64_t number;
    if (!text_to_int64(text_from(value), &number) || number < rule->least || number > rule->most)
        return false;
    *ret_number = (int)number;
    return true;
}

static bool read_choice(const struct rule *rule, const char *value, int *ret_choice)
{
    struct text rest = text_from(rule->choices);
    struct text item;
    for (int i = 0; text_next_item(&rest, ',', &item); i++) {
        if (text_equal(item, text_from(value))) {
            *ret_choice = i;
            return true;
        }
    }
    return false;
}

enum error config_load(struct config *ret_config, char problem[static 256])
{
    for (size_t i = 0; i < sizeof(RULES) / sizeof(RULES[0]); i++) {
        const struct rule *rule = &RULES[i];
        void *field = (char *)ret_config + rule->offset;
        const char *value = getenv(rule->variable);
        if (!value || !value[0])
            value = rule->fallback;
        switch (rule->kind) {
        case KIND_SECRET:
            if (value[0] && strlen(value) < (size_t)rule->least) {
                snprintf(problem, 256, "%s: expected at least %ld characters", rule->variable,
                         rule->least);
                return ERROR_NOT_CONFIGURED;
            }
            *(const char **)field = value;
            break;
        case KIND_TEXT:
            *(const char **)field = value;
            break;
        case KIND_NUMBER:
            if (!read_number(rule, value, field)) {
                snprintf(problem, 256, "%s: expected a whole number from %ld to %ld",
                         rule->variable, rule->least, rule->most);
                return ERROR_NOT_CONFIGURED;
            }
            break;
        case KIND_CHOICE:
            if (!read_choice(rule, value, field)) {
                snprintf(problem, 256, "%s: expected one of %s", rule->variable, rule->choices);
                return ERROR_NOT_CONFIGURED;
            }
            break;
        }
    }
    return ERROR_OK;
}

const char *config_variable(size_t index)
{
    size_t own = sizeof(RULES) / sizeof(RULES[0]);
    size_t all = own + sizeof(LIBRARY_VARIABLES) / sizeof(LIBRARY_VARIABLES[0]);
    if (index < own)
        return RULES[index].variable;
    return index < all ? LIBRARY_VARIABLES[index - own] : NULL;
}

const char *config_database_url(const struct config *config)
{
    return config->postgres_url[0] ? config->postgres_url : config->database_url;
}

const char *config_database_variable(const struct config *config)
{
    return config->postgres_url[0] ? "POSTGRES_URL" : "DATABASE_URL";
}
