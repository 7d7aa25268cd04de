/*
 * Keys of other back-end services, for the operator (scripts/service-key). Changes are seen by
 * every handler of this host at once.
 *   service-key create NAME [SCOPES]   prints the key, once
 *   service-key revoke NAME
 *   service-key list
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "process/app_open.h"
#include "services/service_key_service.h"

static int report(enum error err, const char *hint)
{
    fprintf(stderr, "service-key: %s: %s\n", error_describe(err)->english, hint);
    return EXIT_FAILURE;
}

static int create(struct app *app, const char *name, const char *scopes)
{
    char key[SERVICE_KEY_SIZE];
    enum error err = service_key_service_create(app, text_from(name), text_from(scopes), key);
    if (err == ERROR_CONFLICT)
        return report(err, "a key of this name exists; revoked names are not used again");
    if (err)
        return report(err, "expected NAME of a-z, 0-9, - and _ (at most 64), and SCOPES from "
                           "spend,grant,hold,reverse,read,verify,refund");
    puts(key);
    return EXIT_SUCCESS;
}

static int revoke(struct app *app, const char *name)
{
    enum error err = service_key_service_revoke(app, text_from(name));
    if (err)
        return report(err, "expected the name of a key; service-key list shows them");
    printf("revoked %s\n", name);
    return EXIT_SUCCESS;
}

static int list(struct app *app)
{
    struct service_key_list keys = {.count = 0};
    enum error err = service_key_service_list(app, &keys);
    if (err)
        return report(err, "the database does not answer");
    for (size_t i = 0; i < keys.count; i++) {
        const struct service_key *key = &keys.items[i];
        char created[CLOCK_TIME_SIZE];
        char revoked[CLOCK_TIME_SIZE] = "active";
        clock_format_time(key->created_at, created);
        if (key->has_revoked_at)
            clock_format_time(key->revoked_at, revoked);
        printf("%-24.*s %s  %-26s %.*s\n", (int)key->name.len, key->name.data, created,
               key->has_revoked_at ? revoked : "active", (int)key->scopes.len, key->scopes.data);
    }
    service_key_list_done(&keys);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    struct process process;
    struct app *app = &process.app;
    int status = EX_USAGE;
    const char *verb = argc > 1 ? argv[1] : "";
    if (app_open("service-key", APP_NEEDS_ALL, &process)) {
        fprintf(stderr, "service-key: %s\n", process.problem);
        app_close(app);
        return EX_CONFIG;
    }
    if (strcmp(verb, "create") == 0 && (argc == 3 || argc == 4))
        status = create(app, argv[2], argc == 4 ? argv[3] : "");
    else if (strcmp(verb, "revoke") == 0 && argc == 3)
        status = revoke(app, argv[2]);
    else if (strcmp(verb, "list") == 0 && argc == 2)
        status = list(app);
    else
        fprintf(stderr, "expected: service-key create NAME [SCOPES] | revoke NAME | list\n");
    app_close(app);
    return status;
}
