/*
 * Keeps the handlers and workers of one host alive and restarts them without dropping a request.
 *
 *   supervisor --bin DIR --state DIR [--log-dir DIR] [--env FILE] HANDLER...
 *   supervisor --control STATE/supervisor.sock COMMAND [ARGUMENT]
 *   supervisor --settings
 *
 * Commands, one line each, answered by lines of text of which the last is "ok" or "error: WHY":
 *   restart NAME|all   start the new process, wait for READY=1, tell the old one to leave
 *   start NAME         add a program that was not on the command line
 *   status             one line a program
 *   stop               the same as SIGTERM
 *
 * SIGTERM, SIGINT  every process is told to leave; the supervisor follows when all have
 * SIGHUP           restart all, which also reopens their log files after a rotation
 *
 * --settings prints the names of the environment variables a program of this build reads, one a
 * line: what scripts/up passes on to them.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/config.h"
#include "supervisor/control.h"
#include "supervisor/supervisor.h"

struct options {
    struct folders folders;
    const char *control_path;
    bool settings;
    bool usage; /* something was not understood */
};

static struct options read_options(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"bin", required_argument, NULL, 'b'},
        {"state", required_argument, NULL, 's'},
        {"log-dir", required_argument, NULL, 'l'},
        {"env", required_argument, NULL, 'e'},
        {"control", required_argument, NULL, 'c'},
        {"settings", no_argument, NULL, 'p'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {0};
    int option;
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'b':
            options.folders.bin = optarg;
            break;
        case 's':
            options.folders.state = optarg;
            break;
        case 'l':
            options.folders.logs = optarg;
            break;
        case 'e':
            options.folders.environment = optarg;
            break;
        case 'c':
            options.control_path = optarg;
            break;
        case 'p':
            options.settings = true;
            break;
        default:
            options.usage = true;
        }
    }
    return options;
}

static int print_settings(void)
{
    const char *name;
    for (size_t i = 0; (name = config_variable(i)); i++)
        puts(name);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int serve(const struct folders *folders, char **names, size_t name_count)
{
    static struct supervisor supervisor; /* too large for the stack, lives as long as main */
    if (!supervisor_open(&supervisor, folders))
        return EXIT_FAILURE;
    int status = supervisor_run(&supervisor, names, name_count);
    supervisor_close(&supervisor);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = read_options(argc, argv);
    struct folders *folders = &options.folders;
    char logs[PROCESS_PATH_BYTES_MAX];
    size_t rest = (size_t)(argc - optind);
    if (!options.usage && options.settings && rest == 0)
        return print_settings();
    if (!options.usage && options.control_path && rest > 0)
        return control_send(options.control_path, argv + optind, rest);
    if (options.usage || !folders->bin || !folders->state || rest == 0 || rest > PROGRAMS_MAX) {
        fputs("usage: supervisor --bin DIR --state DIR [--log-dir DIR] [--env FILE] HANDLER...\n"
              "       supervisor --control STATE/supervisor.sock"
              " restart NAME|all | start NAME | status | stop\n"
              "       supervisor --settings\n",
              stderr);
        return EXIT_FAILURE;
    }
    if (!folders->logs) {
        if (snprintf(logs, sizeof(logs), "%s/logs", folders->state) >= (int)sizeof(logs))
            return EXIT_FAILURE;
        folders->logs = logs;
    }
    return serve(folders, argv + optind, rest);
}
