#include "database/connection_files.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*each_function)(void *context, const char *path);

static void each_option(const PQconninfoOption *option, each_function each, void *context)
{
    static const char *const FILES[] = {"passfile", "sslrootcert", "sslcert",
                                        "sslkey",   "sslcrl",      "sslcrldir"};
    for (; option && option->keyword; option++) {
        for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++)
            if (option->val && option->val[0] == '/' && strcmp(option->keyword, FILES[i]) == 0)
                each(context, option->val);
    }
}

bool connection_files(const char *url, each_function each, void *context)
{
    static const char *const VARIABLES[] = {"PGSERVICEFILE", "PGSYSCONFDIR"};
    static const char *const BELOW_HOME[] = {".pgpass", ".postgresql", ".pg_service.conf"};
    const char *home = getenv("HOME");
    PQconninfoOption *named = url[0] ? PQconninfoParse(url, NULL) : NULL;
    PQconninfoOption *defaults = PQconndefaults();
    bool complete = defaults && (named || !url[0]);
    each_option(named, each, context);
    each_option(defaults, each, context);
    PQconninfoFree(named);
    PQconninfoFree(defaults);
    for (size_t i = 0; i < sizeof(VARIABLES) / sizeof(VARIABLES[0]); i++) {
        const char *value = getenv(VARIABLES[i]);
        if (value && value[0] == '/')
            each(context, value);
    }
    for (size_t i = 0; home && home[0] == '/' && i < sizeof(BELOW_HOME) / sizeof(BELOW_HOME[0]);
         i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", home, BELOW_HOME[i]);
        each(context, path);
    }
    return complete;
}
